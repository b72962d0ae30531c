"""Boxes: their geometry, both conventions of pixels, COCO and VOC in and out, and files that come from nobody good."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.csv as pacsv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import InputError
from assay.labels.boxes import Boxes, gathered
from assay.labels.checks import pointer_of
from assay.labels.formats import json_stream, rle
from assay.labels.formats.coco import Coco, read_coco, write_coco
from assay.labels.formats.voc import Voc, read_voc, write_voc
from assay.labels.spaces import Space

PETS = Space(("cat", "dog", "never seen"))
MADE = Boxes(PETS, [1, 0, 0], [[0, 0, 5, 5], [2, 1, 4, 3.5], [0, 0, 1, 1]], [0, 2, 2, 3], ("a.png", "b.png", "c.png"))
SIZED = replace(MADE, sizes=[[8, 6], [1, 1], [1, 1]])


def test_by_hand() -> None:
    assert MADE.rows().tolist() == [0, 0, 2]
    assert MADE.names() == ["dog", "cat", "cat"]
    assert (MADE.widths().tolist(), MADE.heights().tolist()) == ([5, 2, 1], [5, 2.5, 1])
    taken = SIZED.take([2, 0])
    assert taken.images == ("c.png", "a.png")
    assert taken.corners.tolist() == [[0, 0, 1, 1], [0, 0, 5, 5], [2, 1, 4, 3.5]]
    assert SIZED.take([0, 1, 2]) == SIZED
    with pytest.raises(ValueError, match="read-only"):
        MADE.corners[0, 0] = 1


@pytest.mark.parametrize(
    ("changes", "said", "row"),
    [
        ({"corners": [[0, 0, 5, 5], [4, 1, 4, 3], [0, 0, 1, 1]]}, "Box 1 of image 'a.png'.* no area", 0),
        ({"corners": [[0, 0, 5, 5], [0, 1, 4, 3], [-1, 0, 1, 1]]}, "Box 0 of image 'c.png'.* leaves the image", 2),
        ({"sizes": [[8, 6], [1, 1], [1, 0]]}, "of 1 x 0 pixels.* leaves", 2),
        ({"corners": [[0, 0, 5, np.nan], [0, 1, 4, 3], [0, 0, 1, 1]]}, "finite", 0),
        ({"label": [1, 3, 0]}, "lie in 0..2", 1),
        ({"images": ("a", "b", "a")}, "comes twice", 2),
        ({"images": ("a", "b")}, "2 images are named", None),
        ({"text": ("x",)}, "1 texts were given for 3", None),
        ({"score": [0.1, 0.2]}, "'score'", None),
    ],
)
def test_what_is_no_box(changes: dict, said: str, row: int | None) -> None:
    with pytest.raises(InputError, match=said) as caught:
        replace(MADE, **changes)
    assert caught.value.row == row


def test_cut_at_the_edge() -> None:
    corners = [[-3, 2, 4, 9], [8, 0, 9, 1], [1, 1, 2, 2]]
    boxes, order = gathered(PETS, ["b", "a"], [[5, 5], [5, 5]], [1, 0, 0], [0, 1, 2], corners, clip=True)
    assert order.tolist() == [2, 0]
    assert boxes.corners.tolist() == [[1, 1, 2, 2], [0, 2, 4, 5]]


def test_pixels_from_one_and_edges_from_zero(tmp_path: Path) -> None:
    """The whole of an 8 x 6 image is 1, 1, 8, 6 in VOC and [0, 0, 8, 6] in COCO; its first pixel 1, 1, 1, 1."""
    whole = Boxes(Space(("x",)), [0, 0], [[0, 0, 8, 6], [0, 0, 1, 1]], [0, 2], ("a.png",), [[8, 6]])
    write_voc(whole, tmp_path / "voc")
    text = (tmp_path / "voc" / "a.xml").read_text()
    assert "<xmin>1</xmin><ymin>1</ymin><xmax>8</xmax><ymax>6</ymax>" in text
    assert "<xmin>1</xmin><ymin>1</ymin><xmax>1</xmax><ymax>1</ymax>" in text
    assert read_voc(tmp_path / "voc").boxes == whole
    write_coco(whole, tmp_path / "coco.json")
    assert [one["bbox"] for one in json.loads((tmp_path / "coco.json").read_text())["annotations"]] == [
        [0, 0, 8, 6],
        [0, 0, 1, 1],
    ]
    write_voc(whole, tmp_path / "edges", one_based=False)
    assert "<xmin>0</xmin><ymin>0</ymin><xmax>8</xmax>" in (tmp_path / "edges" / "a.xml").read_text()
    with pytest.raises(InputError, match="leaves the image"):
        read_voc(tmp_path / "edges")
    assert read_voc(tmp_path / "edges", one_based=False).boxes == whole


NAME = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=5)
EDGE = st.floats(0, 1000, width=32).filter(lambda edge: edge == 0 or edge > 1e-3)


@st.composite
def boxes_of(draw: st.DrawFn, scored: bool) -> Boxes:
    names = draw(st.lists(NAME.filter(lambda name: name not in "\ufffe\uffff"), min_size=1, max_size=3, unique=True))
    n = draw(st.integers(0, 4))
    counts = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    total = sum(counts)
    corners = []
    for _ in range(total):
        (left, right), (top, bottom) = (
            sorted(draw(st.lists(EDGE, min_size=2, max_size=2, unique=True))) for _ in range(2)
        )
        corners.append([left, top, right, bottom])
    score = draw(st.lists(st.floats(0, 1, width=32), min_size=total, max_size=total)) if scored and total else None
    text = draw(st.lists(st.none() | st.text(max_size=4), min_size=total, max_size=total)) if scored else []
    return Boxes(
        Space(tuple(names)),
        draw(st.lists(st.integers(0, len(names) - 1), min_size=total, max_size=total)),
        corners,
        pointer_of(counts),
        tuple(f"{'ä' * (row % 2)}{row}.png" for row in range(n)) if scored else tuple(f"{row}.png" for row in range(n)),
        draw(st.none() | st.just([[1000, 1000]] * n)) if n else None,
        score,
        tuple(text) if any(one is not None for one in text) else None,
    )


@given(boxes_of(scored=True))
def test_coco_round_trip_is_the_identity(tmp_path_factory: pytest.TempPathFactory, boxes: Boxes) -> None:
    path = tmp_path_factory.mktemp("coco") / "c.json"
    write_coco(boxes, path)
    assert read_coco(path).boxes == boxes


@given(boxes_of(scored=False).filter(lambda boxes: boxes.n_rows > 0))
@settings(max_examples=50)
def test_voc_round_trip_is_the_identity(tmp_path_factory: pytest.TempPathFactory, boxes: Boxes) -> None:
    folder = tmp_path_factory.mktemp("voc") / "v"
    write_voc(boxes, folder)
    read = read_voc(folder, space=boxes.space).boxes
    assert read.names() == boxes.names()
    assert np.allclose(read.corners, boxes.corners, rtol=0, atol=1e-12)
    assert (read.images, read.space) == (boxes.images, boxes.space)


def test_what_comes_beside_the_boxes_is_kept(tmp_path: Path) -> None:
    crowd = np.array([False, True, False])
    drawn = ([[0, 0, 1, 1, 1, 0]], {"size": [6, 8], "counts": [0, 48]}, None)
    write_coco(Coco(SIZED, drawn, crowd), tmp_path / "c.json")
    again = read_coco(tmp_path / "c.json")
    assert again.segmentation == drawn
    assert again.crowd.tolist() == crowd.tolist()
    assert rle.decode(again.segmentation[1]).all()
    write_voc(Voc(SIZED, crowd, ~crowd), tmp_path / "v")
    voc = read_voc(tmp_path / "v", space=PETS)
    assert (voc.boxes, voc.difficult.tolist(), voc.truncated.tolist()) == (SIZED, crowd.tolist(), (~crowd).tolist())
    with pytest.raises(InputError, match="no place for scores"):
        write_voc(replace(MADE, score=[0, 0, 0]), tmp_path / "w")
    with pytest.raises(InputError, match="exists already"):
        write_voc(MADE, tmp_path / "v")
    for bad in ("../a.png", "/a.png", "b/../../a.png", "\0"):
        with pytest.raises(InputError, match="names no file below"):
            write_voc(replace(MADE, images=(bad, "b", "c")), tmp_path / "w")
    with pytest.raises(InputError, match="cannot stand in XML"):
        write_voc(replace(MADE, space=Space((" cat", "dog", "x"))), tmp_path / "w")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["c.json", "v"]


def slow_counts(text: str) -> list[int]:
    """The compressed counts again, a character at a time, as the format's own loop."""
    counts: list[int] = []
    at = 0
    while at < len(text):
        value, shift, more = 0, 0, True
        while more:
            group = ord(text[at]) - 48
            value |= (group & 31) << shift
            more, at, shift = bool(group & 32), at + 1, shift + 5
            if not more and group & 16:
                value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts


@given(st.lists(st.integers(0, 40000), min_size=1, max_size=12))
def test_run_lengths_against_a_plain_loop(counts: list[int]) -> None:
    text = ""
    for place, count in enumerate(counts):
        value = count - (counts[place - 2] if place > 2 else 0)
        while True:
            group, value = value & 31, value >> 5
            done = value == (-1 if group & 16 else 0)
            text += chr(48 + group + (0 if done else 32))
            if done:
                break
    assert slow_counts(text) == counts
    assert rle.decompressed(text).tolist() == counts


@pytest.mark.parametrize(
    "bad",
    [
        {"size": [2, 2], "counts": [1, 2]},
        {"size": [2, -2], "counts": []},
        {"size": [2, 2], "counts": [5, -1]},
        {"size": [2, 2], "counts": "o"},
        {"size": [2, 2], "counts": "\x00"},
        {"size": [10**6, 10**6], "counts": [10**12]},
        {"size": [2, 2], "counts": "ooooooooo0"},
        {"size": [2, 2], "counts": None},
        {},
    ],
)
def test_damaged_run_lengths(bad: dict) -> None:
    with pytest.raises(InputError):
        rle.decode(bad)


COCO = {
    "images": [{"id": 7, "file_name": "a.png", "width": 8, "height": 6}],
    "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [0, 0, 2, 2]}],
    "categories": [{"id": 3, "name": "cat", "supercategory": "animal"}],
    "info": {"year": 2014},
}


def spoilt(key: str, **changes: object) -> str:
    return json.dumps({**COCO, key: [{**COCO[key][0], **changes}]})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (spoilt("annotations", bbox=[0, 0, 2]), "bbox.*row: 0"),
        (spoilt("annotations", bbox=[0, 0, "2", 2]), "bbox"),
        (spoilt("annotations", bbox=[0, 0, 0, 2]), "no area"),
        (spoilt("annotations", bbox=[7, 0, 2, 2]), "leaves the image"),
        (spoilt("annotations", image_id=8), "image_id 8"),
        (spoilt("annotations", image_id="7"), "must hold a whole number, got a text"),
        (spoilt("annotations", category_id=10**30), "64 bits"),
        (spoilt("annotations", iscrowd=2), "iscrowd"),
        (spoilt("images", file_name=None), "'file_name' is missing"),
        (json.dumps({**COCO, "categories": COCO["categories"] * 2}), "the id 3"),
        (json.dumps({**COCO, "annotations": {}}), "no COCO file"),
        (json.dumps({**COCO, "annotations": [1]}), "must be an object"),
        ("[]", "no area|no COCO|not JSON|leaves"),
        (json.dumps(COCO)[:-3], "not JSON as expected"),
        (json.dumps(COCO) + "x", "more text follows"),
        (json.dumps(COCO).replace("2, 2]", "2, NaN]"), "element 0 of 'annotations'.* NaN"),
        (json.dumps(COCO).replace("a.png", "\\ud800"), "half a character"),
        ("{" * 100_000, "not JSON"),
        ('{"images": ' + "[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_coco(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    if text == "[]":
        assert read_coco(path).boxes.n_rows == 0
        return
    with pytest.raises(InputError, match=said):
        read_coco(path)


VOC = """<annotation><filename>a.png</filename><size><width>8</width><height>6</height></size>
<object><name>cat</name><part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>
<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></object></annotation>"""
BOMB = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;">]>'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB + VOC, "line 1: a DOCTYPE is refused"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd">' + VOC, "DOCTYPE"),
        (VOC.replace("cat", "&lol;"), "a.xml, line 2: .*undefined entity"),
        (VOC[:-5], "not XML"),
        (VOC.replace("<xmax>2", "<xmax>nine"), "object 0 is no number, 'nine'"),
        (VOC.replace("<xmax>2", "<xmax>nan"), "no coordinate"),
        (VOC.replace("<xmax>2</xmax>", ""), "object 0 has no <bndbox/xmax>"),
        (VOC.replace("<xmax>2", "<xmax>9"), "leaves the image"),
        (VOC.replace("<xmin>1", "<xmin>3"), "no area"),
        (VOC.replace("<name>cat</name>", "<name/>"), "has no <name>"),
        (VOC.replace("<name>cat</name>", "<name>a</name><name>b</name>"), "comes twice"),
        (VOC.replace("<width>8", "<width>8.5"), "no whole number"),
        (VOC.replace("<name>cat", "<difficult>yes</difficult><name>cat"), "0 or 1"),
        ("<svg/>", "not an <annotation>"),
        ("<annotation>" * 40, "levels deep"),
        ('<?xml version="1.0" encoding="martian"?><annotation/>', "not XML"),
        ("<annotation>" + " " * (1 << 22) + "</annotation>", "larger than"),
    ],
)
def test_what_is_no_voc(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(InputError, match=said):
        read_voc(tmp_path)


def test_parts_are_no_boxes_and_an_empty_folder_is_no_data(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no \.xml"):
        read_voc(tmp_path)
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").write_text(VOC)
    read = read_voc(tmp_path).boxes
    assert (read.names(), read.corners.tolist(), read.sizes.tolist()) == (["cat"], [[0, 0, 2, 2]], [[8, 6]])


@given(st.data())
@settings(max_examples=150)
def test_damaged_files_say_so(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """One cut, one replaced piece: the reader reads it or raises one sentence, nothing else."""
    folder = tmp_path_factory.mktemp("fuzz")
    coco = data.draw(st.booleans())
    raw = (json.dumps(COCO) if coco else VOC).encode()
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, min(len(raw), start + 20)))
    piece = data.draw(st.binary(max_size=6) | st.sampled_from([b"null", b"[]", b"{}", b"-1", b"1e999", b'""', b"<a>"]))
    path = folder / ("c.json" if coco else "a.xml")
    path.write_bytes(raw[:start] + piece + raw[end:] or b" ")
    try:
        found = read_coco(path) if coco else read_voc(folder)
    except InputError:
        return
    assert isinstance(found.boxes, Boxes)


@given(st.lists(st.integers(-(10**20), 10**20) | st.text(max_size=3) | st.lists(st.none(), max_size=2), max_size=8))
def test_elements_do_not_depend_on_where_blocks_end(tmp_path_factory: pytest.TempPathFactory, values: list) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps({"a": values, "b": 12}, ensure_ascii=False, indent=1), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "BLOCK", 1)
        found = list(json_stream.elements(path))
    assert found == [*(("a", place, value) for place, value in enumerate(values)), ("b", -1, 12)]


def test_an_endless_element_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "LARGEST", 1000)
    monkeypatch.setattr(json_stream, "BLOCK", 100)
    (tmp_path / "a.json").write_text('["' + "a" * 5000 + '"]')
    with pytest.raises(InputError, match=r"element 0: .*longer than 1000"):
        list(json_stream.elements(tmp_path / "a.json"))


def test_blood_cells_through_both_forms(tmp_path: Path, shared_data) -> None:
    """364 real images: the corners are VOC's own, so the whole image is 1..640 x 1..480."""
    table = pacsv.read_csv(shared_data("bccd/boxes.csv")).to_pydict()
    images = list(dict.fromkeys(table["image"]))
    row = [images.index(name) for name in table["image"]]
    corners = np.stack([table[edge] for edge in ("xmin", "ymin", "xmax", "ymax")], axis=1) - [1, 1, 0, 0]
    space = Space.from_values(table["label"])
    boxes, order = gathered(
        space, images, [[640, 480]] * len(images), row, space.encode(table["label"]), corners, clip=True
    )
    assert (boxes.n_rows, boxes.n_boxes) == (364, 4888)
    assert order.tolist() == sorted(order.tolist())
    write_voc(boxes, tmp_path / "voc")
    assert len(list((tmp_path / "voc").iterdir())) == 364
    through_voc = read_voc(tmp_path / "voc").boxes
    assert through_voc == boxes
    write_coco(through_voc, tmp_path / "coco.json")
    assert read_coco(tmp_path / "coco.json").boxes == boxes
    back = boxes.corners + np.array([1, 1, 0, 0])
    assert back.astype(int).tolist() == [list(one) for one in zip(*(table[edge] for edge in EDGES), strict=True)]


EDGES = ("xmin", "ymin", "xmax", "ymax")

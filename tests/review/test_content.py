"""Rows as what they are, on real data, and what a hostile data set may not do: lead out, blow up, hide."""

import csv
import gzip
import io
import json
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from tests.evidence.hostile import HOSTILE
from tests.review.projects import audited, ready

from assay.errors import InputError
from assay.review.content_image import boxes_of
from assay.review.project import Project, ProjectOptions
from assay.review.words import LogOdds, Words


def decoded(project: Project, row: int, name: str = "image") -> Image.Image:
    data, kind = project.image(row, name)
    image = Image.open(io.BytesIO(data))
    assert Image.MIME[image.format or ""] == kind
    return image


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=form, **options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    """A folder of 300 digits, one folder a class, and the results of its audit."""
    folder = tmp_path_factory.mktemp("digits")
    data = load_digits()
    for row in range(300):
        path = folder / "digits" / str(data.target[row]) / f"{row:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((data.images[row] * 15.9).astype(np.uint8)).save(path)
    audited(folder / "digits", folder / "digits.assay")
    return folder


def test_a_folder_of_images(digits):
    project = Project.open(digits / "digits.assay")
    path = project.source.cell(17, "path")
    content = project.content(17)
    assert content == {
        "kind": "image",
        "name": "image",
        "width": 8,
        "height": 8,
        "alt": "Picture of row 17",
        "boxes": [],
        "masks": [],
    }
    assert np.array_equal(np.asarray(decoded(project, 17)), np.asarray(Image.open(digits / "digits" / path)))
    assert project.given_name(17) == path.split("/")[0]
    with pytest.raises(InputError, match="no picture 'mask0'"):
        project.image(17, "mask0")


def test_nearest_pictures_by_hand(digits):
    project = Project.open(digits / "digits.assay")
    ready(project)
    pixels = np.stack([np.asarray(decoded(project, row), dtype=float).ravel() for row in range(300)])
    distance = np.linalg.norm(pixels - pixels[3], axis=1) * np.sqrt(3)
    distance[3] = np.inf
    found = project.neighbours(3)
    assert found[0]["by"] == "pictures"
    assert [one["row"] for one in found] == np.argsort(distance, kind="stable")[:5].tolist()
    assert sum(one["label"] == project.given_name(3) for one in found) >= 4


def test_while_pictures_are_read_predictions_stand_in(digits, monkeypatch):
    monkeypatch.setattr("assay.review.likeness.PATIENCE", 0.0)
    assert Project.open(digits / "digits.assay").neighbours(3)[0]["by"] == "predictions"


def test_a_picture_that_is_gone_or_broken_says_so(digits, tmp_path):
    project = Project.open(digits / "digits.assay")
    path = digits / "digits" / project.source.cell(20, "path")
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:40])
        assert project.content(20)["width"] in (0, 8)
        with pytest.raises(InputError, match="could not be read"):
            project.image(20, "image")
        path.unlink()
        content = project.content(20)
        assert content["width"] == 0
        assert "no image" in content["alt"]
        with pytest.raises(InputError, match="no image"):
            project.image(20, "image")
    finally:
        path.write_bytes(whole)


def test_a_link_that_leads_out_is_refused_when_it_is_looked_at(digits, tmp_path):
    """The path was good when the audit read it; it must be good when it is shown too."""
    secret = tmp_path / "secret.png"
    Image.new("L", (9, 9), 200).save(secret)
    project = Project.open(digits / "digits.assay")
    path = digits / "digits" / project.source.cell(21, "path")
    whole = path.read_bytes()
    try:
        path.unlink()
        path.symlink_to(secret)
        with pytest.raises(InputError, match="leads out"):
            project.image(21, "image")
        assert "leads out" in project.content(21)["alt"]
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(InputError, match="no image"):
            project.image(21, "image")
    finally:
        path.unlink()
        path.write_bytes(whole)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """A Parquet file whose rows are what somebody who wishes harm would write, with honest rows among them."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "data").mkdir()
    Image.new("RGB", (40, 20), "red").save(folder / "data" / "ok.png")
    Image.new("RGB", (5, 5), "red").save(folder / "outside.png")
    rows = {
        "honest": b"",
        "path out": "../outside.png",
        "absolute": str(folder / "outside.png"),
        "nul": "ok.png\0.txt",
        "long": "a/" * 5000,
        "text file": "notes.txt",
        "itself": "t.parquet",
        "folder": ".",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "html": b"<html><script>alert(1)</script>",
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n",
        "bomb": bomb(60_000, 60_000),
        "smaller bomb": bomb(12_000, 12_000),
        "nothing": None,
    }
    rows["honest"] = encoded(Image.new("RGB", (40, 20), "red"), "PNG")
    (folder / "data" / "notes.txt").write_text("password")
    cells = [{"bytes": None, "path": v} if isinstance(v, str) else {"bytes": v, "path": None} for v in rows.values()]
    table = pa.table(
        {
            "image": pa.array(cells, pa.struct({"bytes": pa.binary(), "path": pa.string()})),
            "case": list(rows),
            "y": (["a", "b"] * len(rows))[: len(rows)],
        }
    )
    pq.write_table(table, folder / "data" / "t.parquet")
    kept = table.set_column(0, "image", pa.array([cells[0]] * len(rows), table["image"].type))
    pq.write_table(kept, folder / "data" / "honest.parquet")
    audited(folder / "data" / "honest.parquet", folder / "t.assay", label="y", image="image")
    # The audit itself refuses broken pictures, so the results of honest rows are pointed at the hostile ones.
    rewrite = pq.read_table(folder / "t.assay" / "rows.parquet")
    metadata = rewrite.schema.metadata
    about = json.loads(metadata[b"assay.rows"]) | {"source": "../data/t.parquet", "sha256": None}
    metadata = {**metadata, b"assay.rows": json.dumps(about).encode()}
    pq.write_table(rewrite.replace_schema_metadata(metadata), folder / "t.assay" / "rows.parquet")
    return folder


def bomb(width: int, height: int) -> bytes:
    """A PNG of some hundred bytes that says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 999)) + chunk(b"IEND", b"")
    )


def test_hostile_pictures_are_refused(pictures):
    project = Project.open(pictures / "t.assay")
    assert decoded(project, 0).size == (40, 20)
    for row in range(1, project.n_rows):
        content = project.content(row)
        assert (content["width"], content["height"]) == (0, 0), row
        assert content["alt"]
        with pytest.raises(InputError):
            project.image(row, "image")
        assert "password" not in json.dumps(content)
    reasons = [project.content(row)["alt"] for row in range(project.n_rows)]
    assert "leads out" in reasons[1]
    assert "leads out" in reasons[2]
    assert "bomb" in reasons[11]
    assert "too many" in reasons[12]
    for name in ("../../etc/passwd", "image/../x", "", "mask0", "image\0"):
        with pytest.raises(InputError):
            project.image(0, name)


def test_pictures_are_drawn_anew_and_turned_upright(tmp_path):
    """Nothing of the file's own bytes is sent: not its notes, not what is hidden behind its end."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "<script>alert(1)</script>"
    photo = Image.fromarray(np.repeat(np.arange(200, dtype=np.uint8)[None], 100, axis=0))
    data = encoded(photo, "JPEG", exif=exif) + b"<script>alert(2)</script>"
    boxes = json.dumps([{"xmin": 10, "ymin": 150, "xmax": 500, "ymax": 20, "label": "top", "text": None}])
    table = pa.table({"photo": pa.array([data, data]), "boxes": [boxes, "{broken"], "y": ["a", "b"]})
    pq.write_table(table, tmp_path / "t.parquet")
    folder = audited(tmp_path / "t.parquet", tmp_path / "t.assay", label="y", image="photo")
    project = Project.open(folder, options=ProjectOptions(boxes="boxes"))
    content = project.content(0)
    assert (content["width"], content["height"]) == (100, 200), "upright"
    box = {"xmin": 10.0, "ymin": 20.0, "xmax": 100.0, "ymax": 150.0, "label": "top", "text": ""}
    assert content["boxes"] == [box], "corners ordered, and within the picture"
    assert project.content(1)["boxes"] == []
    sent, kind = project.image(0, "image")
    assert kind == "image/jpeg"
    assert b"script" not in sent
    image = np.asarray(Image.open(io.BytesIO(sent)).convert("L"), dtype=int)
    assert image.shape == (200, 100)
    assert image[10].mean() < image[190].mean()


def test_pixels_in_a_column(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (150, 6, 5), dtype=np.uint8)
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(pixels)
    table = pa.table({"image": column, "y": ["a", "b"] * 75})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=40)
    project = Project.open(audited(tmp_path / "t.parquet", tmp_path / "t.assay", label="y"))
    assert project.source.large == ("image",)
    for row in (149, 0, 80, 39, 40):
        assert np.array_equal(np.asarray(decoded(project, row)), pixels[row])
    assert project.neighbours(7)
    assert np.array_equal(np.stack(list(project.source.cells("image"))), pixels)


def test_large_cells_are_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("assay.review.source.PART", 4_000)
    cells = [bytes([at % 251]) * 1_000 for at in range(100)]
    table = pa.table({"image": pa.array(cells), "y": ["a", "b"] * 50})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=30, compression="none", use_dictionary=False)
    project = Project.open(audited(tmp_path / "t.parquet", tmp_path / "t.assay", label="y"))
    for row in np.random.default_rng(0).permutation(100).tolist():
        assert project.source.cell(row, "image") == cells[row]
    assert len(project.source._held["image"][1]) <= 5


def test_masks(tmp_path):
    """A mask in a file, in bytes, with several values, with transparency; and one that cannot be read."""
    picture = encoded(Image.new("RGB", (30, 20), "blue"), "PNG")
    inside = np.zeros((20, 30), dtype=np.uint8)
    inside[2:8, 3:9] = 1
    inside[10:15, 3:9] = 2
    Image.fromarray(inside).save(tmp_path / "mask.png")
    clear = np.zeros((20, 30, 4), dtype=np.uint8)
    clear[:5, :5, 3] = 128
    kinds = pa.list_(pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    masks = [
        [{"path": "mask.png", "bytes": None}],
        [{"path": None, "bytes": encoded(Image.fromarray(clear), "PNG")}, {"path": None, "bytes": b"nonsense"}],
        [{"path": "../mask.png", "bytes": None}],
        None,
    ]
    table = pa.table({"image": [picture] * 4, "organ": pa.array(masks, kinds), "y": ["a", "b"] * 2})
    pq.write_table(table, tmp_path / "t.parquet")
    folder = audited(tmp_path / "t.parquet", tmp_path / "t.assay", label="y", image="image")
    project = Project.open(folder, options=ProjectOptions(masks="organ"))
    assert project.content(0)["masks"] == [
        {"name": "mask0.1", "label": "organ 1"},
        {"name": "mask0.2", "label": "organ 2"},
    ]
    for value in (1, 2):
        grey, alpha = decoded(project, 0, f"mask0.{value}").split()
        assert np.array_equal(np.asarray(alpha) > 0, inside == value)
        assert np.array_equal(np.asarray(grey) > 0, inside == value)
    assert project.content(1)["masks"] == [{"name": "mask0", "label": "organ"}]
    assert np.array_equal(np.asarray(decoded(project, 1, "mask0").getchannel("A")) > 0, clear[..., 3] > 0)
    assert project.content(2)["masks"] == project.content(3)["masks"] == []


def test_blood_cells_with_boxes(tmp_path, shared_data):
    """BCCD: boxes from their table, as a column of records, over JPEG files."""
    with shared_data("bccd/boxes.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    names = sorted({line["image"] for line in lines})[:12]
    with zipfile.ZipFile(shared_data("bccd/images.zip")) as archive:
        for name in names:
            (tmp_path / name).write_bytes(archive.read(name))
    corners = ("xmin", "ymin", "xmax", "ymax")
    boxes = [
        [{**{c: int(line[c]) for c in corners}, "label": line["label"]} for line in lines if line["image"] == name]
        for name in names
    ]
    many = ["many" if sum(box["label"] == "RBC" for box in some) > 12 else "few" for some in boxes]
    pq.write_table(pa.table({"image": names, "cells": boxes, "y": many}), tmp_path / "t.parquet")
    folder = audited(tmp_path / "t.parquet", tmp_path / "t.assay", label="y")
    project = Project.open(folder, options=ProjectOptions(boxes="cells"))
    for row in range(12):
        content = project.content(row)
        assert content["kind"] == "image"
        assert (content["width"], content["height"]) == (640, 480) == decoded(project, row).size
        assert [box["label"] for box in content["boxes"]] == [box["label"] for box in boxes[row]]
        assert [[box[c] for c in corners] for box in content["boxes"]] == [
            [box[c] for c in corners] for box in boxes[row]
        ]


def test_receipts(tmp_path, shared_data):
    """SROIE: a document is its picture, its text boxes and its fields."""
    keys = [json.loads(line) for line in shared_data("sroie/keys.jsonl").read_text().splitlines()][:20]
    with gzip.open(shared_data("sroie/boxes.csv.gz"), "rt", newline="", encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file) if line["id"] <= keys[-1]["id"]]
    with zipfile.ZipFile(shared_data("sroie/images-first-300.zip")) as archive:
        images = [archive.read(f"{key['id']}.jpg") for key in keys]
    boxes = [
        json.dumps(
            [
                {c: float(line[c]) * key["scale"] for c in ("xmin", "ymin", "xmax", "ymax")} | {"text": line["text"]}
                for line in lines
                if line["id"] == key["id"]
            ]
        )
        for key in keys
    ]
    fields = {name: [key.get(name) for key in keys] for name in ("company", "date", "address", "total")}
    dear = ["dear" if float(key["total"].strip("$RM ")) > 30 else "cheap" for key in keys]
    table = pa.table({"id": [key["id"] for key in keys], "scan": images, "boxes": boxes, **fields, "y": dear})
    pq.write_table(table, tmp_path / "t.parquet")
    folder = audited(tmp_path / "t.parquet", tmp_path / "t.assay", label="y", id="id", image="scan")
    project = Project.open(folder, options=ProjectOptions(boxes="boxes"))
    for row in range(20):
        content = project.content(row)
        assert content["kind"] == "document"
        assert dict(content["fields"]) == {name: cells[row] for name, cells in fields.items() if cells[row]}
        assert [box["text"] for box in content["boxes"]] == [
            line["text"] for line in lines if line["id"] == keys[row]["id"]
        ]
        within = [box["xmax"] <= content["width"] and box["ymax"] <= content["height"] for box in content["boxes"]]
        assert all(within)
    chosen = Project.open(folder, options=ProjectOptions(boxes="boxes", fields=("total",)))
    assert chosen.content(0)["fields"] == [["total", keys[0]["total"]]]


@pytest.mark.parametrize(
    "cell",
    [
        None,
        "",
        "[1, 2]",
        '{"xmin": 1}',
        [{"xmin": "a", "ymin": 0, "xmax": 1, "ymax": 1}],
        [{"xmin": float("nan"), "ymin": 0, "xmax": 1, "ymax": 1}],
        [{"xmin": 1e400, "ymin": 0, "xmax": 1, "ymax": 1}],
        "[" * 100_000,
        [None],
        7,
    ],
)
def test_boxes_that_are_none(cell):
    assert boxes_of(cell, 10, 10) == []


def test_words_that_speak_by_hand():
    """Log-odds with a Dirichlet prior, in a plain loop over the words."""
    texts = ["Good good FILM", "good plot", "bad film", "Bad, bad plot!", "dull _film_", "gut"]
    given = np.array([1, 1, 0, 0, 0, 2])
    found = LogOdds(Words([pa.chunked_array([texts])]), given).between(["good", "film", "bad", "unknown"], 1, 0)
    split = [text.lower().replace(",", "").replace("!", "").replace("_", "").split() for text in texts]
    every = [word for words in split for word in words]

    def z(word: str) -> float:
        odds, variance = [], 0.0
        for label in (1, 0):
            words = [one for words, code in zip(split, given, strict=True) if code == label for one in words]
            prior = 1000 * every.count(word) / len(every)
            weight = words.count(word) + prior
            odds.append(np.log(weight / (len(words) + 1000 - weight)))
            variance += 1 / weight
        return float((odds[0] - odds[1]) / np.sqrt(variance))

    np.testing.assert_allclose(found, [z("good"), z("film"), z("bad"), 0.0])


def test_words_are_split_the_same_in_the_data_and_in_a_row():
    texts = ["Ünïcode naïve 日本語 words_and_more 12.5€", "emoji 😀face İstanbul ǅ", None, "", "tab\tnew\nline"] * 3
    words = Words([pa.chunked_array([texts[:7], texts[7:]])])
    from assay.review.words import WORD

    for row, text in enumerate(texts):
        mine = words.codes[words.ends[row - 1] if row else 0 : words.ends[row]]
        said = [found[0].lower() for found in WORD.finditer(text or "") if "İ" not in found[0]]
        assert set(words.look_up(said).tolist()) <= set(mine.tolist())
        assert abs(len(mine) - len(said)) <= 2


@pytest.fixture(scope="module")
def tweets(tmp_path_factory, shared_data) -> Path:
    folder = tmp_path_factory.mktemp("tweets")
    with gzip.open(shared_data("davidson-hate-offensive/labeled_data.csv.gz")) as stream:
        table = pyarrow.csv.read_csv(stream, parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True))
    pyarrow.csv.write_csv(table.slice(0, 2500).select(["class", "tweet"]), folder / "tweets.csv")
    audited(folder / "tweets.csv", folder / "tweets.assay", label="class")
    return folder


def test_texts_with_the_words_that_speak_for_either_class(tweets):
    project = Project.open(tweets / "tweets.assay")
    table = project.source.table
    rows = np.flatnonzero(project.given != project.suggested)[:200].tolist()
    seen = {"given": 0, "suggested": 0}
    for row in rows:
        content = project.content(row)
        assert content["kind"] == "text"
        assert content["text"] == table["tweet"][row].as_py()
        words = set()
        for start, end, which, weight in content["highlights"]:
            assert content["text"][start:end].isalnum()
            assert 0 < weight <= 1
            words.add(content["text"][start:end].lower())
            seen[which] += 1
        assert len(words) <= 12
    assert min(seen.values()) > 20
    texts, given = [text.lower() for text in table["tweet"].to_pylist()], project.given
    for row in rows[:40]:
        for start, end, which, _ in project.content(row)["highlights"]:
            word = table["tweet"][row].as_py()[start:end].lower()
            has = np.array([f" {word} " in f" {text} " for text in texts])
            share = [has[given == code].mean() for code in (project.given[row], project.suggested[row])]
            if has.sum() > 60:
                assert (share[0] > share[1]) == (which == "given"), word


def test_hostile_texts_and_names_are_plain_text(tmp_path):
    """Texts and column names that attack a page come through as JSON text, what is hidden spelled out."""
    texts = [text.replace("\ud800", "")[:30_000] for text in HOSTILE]
    some = (["<b>", "=1+1"] * len(texts))[: len(texts)]
    table = pa.table({"<img src=x onerror=alert(1)>\u202e": texts, "x": range(len(texts)), "y": some})
    pq.write_table(table, tmp_path / "t.parquet")
    name = table.column_names[0]
    shown_name = name.replace("\u202e", "⟨U+202E⟩")
    for options in ({"text": name}, {}):
        folder = audited(tmp_path / "t.parquet", tmp_path / f"{len(options)}.assay", label="y", **options)
        project = Project.open(folder)
        for row in range(len(texts)):
            content = project.content(row)
            assert content["kind"] == ("text" if options else "table")
            shown = content["text"] if options else dict(pair[:2] for pair in content["columns"])[shown_name]
            assert len(shown) < 21_000
            assert not set("\x00\x07\x1b\x85\u202e\u2066\u200b\ufeff\uffff") & set(
                json.dumps(content, ensure_ascii=False)
            )
        assert project.content(0)["text" if options else "columns"]
        assert project.classes == ("<b>", "=1+1")


def test_a_word_counts_once_for_the_reader_of_emoji(tmp_path):
    """Places count code points, so that a page that splits by them marks the right letters."""
    texts = ["😀😀 lovely day"] * 40 + ["😀😀 awful day"] * 40
    pq.write_table(pa.table({"t": texts, "y": ["good"] * 40 + ["bad"] * 40}), tmp_path / "t.parquet")
    project = Project.open(audited(tmp_path / "t.parquet", tmp_path / "t.assay", label="y", text="t", wrong=0.0))
    (mark,) = project.content(0)["highlights"]
    assert project.content(0)["text"][mark[0] : mark[1]] == "lovely"
    assert mark[2] == "given"

"""Reports: JSON and back, numbers as shown, rows as shown, a page that hostile text cannot enter."""

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.sparse import csr_array
from tests.evidence.example_report import example
from tests.evidence.hostile import HOSTILE, poison

from assay.errors import InputError
from assay.evidence import rows
from assay.evidence.page import render, write_report
from assay.evidence.report import (
    Card,
    Fact,
    Figure,
    Grid,
    Matrix,
    Picture,
    Report,
    from_json,
    read_report,
    to_json,
)
from assay.evidence.shown import number, short, visible


@pytest.fixture(scope="module")
def report() -> Report:
    return example()


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return render(report)


class Tags(HTMLParser):
    """The elements and attributes of a page, as the parser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.ids: list[str] = []
        self.count = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count += tag == "style"
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.ids += [value or "" for name, value in attrs if name == "id"]


# By hand


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0.052, "%", (0.046, 0.059)), "5.2 % (4.6 to 5.9)"),
        ((0.08, "%", (0.069, 0.093)), "8.0 % (6.9 to 9.3)"),
        ((0.37, "%", (0.30, 0.44)), "37 % (30 to 44)"),
        ((0.997, "%", (0.88, 1.0)), "99.7 % (88 to 100)"),
        ((310, "rows", (280, 345)), "310 rows (280 to 345)"),
        ((0.5, "%", (0.5, 0.5)), "50 % (50 to 50)"),
        ((1234567,), "1,234,567"),
        ((0.99996, "%"), "99.996 %"),
        ((1e-9, "%"), "< 0.0001 %"),
        ((1 - 1e-9, "%"), "> 99.9999 %"),
        ((0.0, "%"), "0 %"),
        ((1.0, "%"), "100 %"),
        ((-0.0123,), "−0.0123"),
        ((0.1 + 0.2,), "0.3"),
        ((6.02e23,), "6.02e+23"),
        (("words",), "words"),
        ((None,), "–"),
    ],
)
def test_numbers_are_shown_with_the_decimals_they_deserve(arguments: tuple, expected: str) -> None:
    assert number(*arguments).replace("\u00a0", " ") == expected


def test_hidden_characters_are_spelled_out_and_joiners_of_scripts_stay() -> None:
    assert visible("a\u202eb\x00c\r\nd") == "a⟨U+202E⟩b⟨U+0000⟩c\nd"
    assert visible("pass\u200dword") == "pass⟨U+200D⟩word"
    family, persian = "👩\u200d👧", "می\u200cخواهم"
    assert visible(family) == family
    assert visible(persian) == persian
    assert visible("x" * 25_000) == "x" * 20_000 + "… (25,000 characters)"
    assert short("a\n\n b" + "c" * 100, 10) == "a bcccc…"


def test_columns_that_speak_for_the_suggested_label_come_first() -> None:
    colour = np.array(["red"] * 6 + ["blue"] * 6)
    shape = np.array(["round", "square"] * 6)
    given = np.array([0] * 5 + [1] + [1] * 6)
    (shown,) = rows.table_rows({"shape": shape, "colour": colour}, [5], given, [0], ["warm", "cold"])

    def share(values: np.ndarray, code: int) -> float:
        here = sum(1 for value, label in zip(values, given, strict=True) if value == values[5] and label == code)
        return (here + 1) / (sum(1 for label in given if label == code) + len(set(values)))

    ratio = share(colour, 0) / share(colour, 1)
    assert shown.values[0] == ("colour", "red", f"{ratio:.1f} times as common in warm")
    assert [column for column, _, _ in shown.values] == ["colour", "shape"]


def test_without_labels_unusual_values_come_first() -> None:
    rng = np.random.default_rng(0)
    columns = {
        "plain": rng.normal(size=200),
        "far": np.r_[rng.normal(size=199), 50.0],
        "rare": np.array(["a"] * 198 + ["b", "b"]),
        "gap": np.r_[np.ones(100), np.zeros(99), np.nan],
        "id": np.array([f"row {at}" for at in range(200)]),
    }
    (shown,) = rows.table_rows(columns, [199])
    values = {column: (value, why) for column, value, why in shown.values}
    assert {column for column, _, _ in shown.values[:3]} == {"far", "rare", "gap"}
    assert values["id"] == ("row 199", "")
    assert values["far"] == ("50", "0.5\u00a0% of rows are as unusual")
    assert values["rare"] == ("b", "1\u00a0% of rows are as unusual")
    assert values["gap"][0] == "missing"


def test_a_matrix_keeps_all_cells_up_to_20_classes_and_the_largest_beyond() -> None:
    rng = np.random.default_rng(1)
    values = rng.random((30, 30))
    names = [f"c{at}" for at in range(30)]
    block = Matrix.of("m", names, values, np.arange(900).reshape(30, 30))
    largest = sorted(((values[r, c], r, c) for r in range(30) for c in range(30) if r != c), reverse=True)[:20]
    assert [(block.names[c.row], block.names[c.column], c.value, c.count) for c in block.cells] == [
        (names[r], names[c], value, 30 * r + c) for value, r, c in largest
    ]
    assert block == Matrix.of("m", names, csr_array(values), csr_array(np.arange(900).reshape(30, 30)))
    assert len(Matrix.of("m", names[:20], values[:20, :20]).cells) == 400


def test_a_million_classes_cost_only_the_cells_that_are_shown() -> None:
    k = 1_000_000
    sparse = csr_array((np.array([0.5, 0.25]), (np.array([3, 999_999]), np.array([4, 0]))), shape=(k, k))
    block = Matrix.of("m", [str(at) for at in range(k)], sparse)
    assert [(block.names[c.row], block.names[c.column]) for c in block.cells] == [("3", "4"), ("999999", "0")]
    assert len(to_json(Report("t", "v"))) < 1000
    assert block.n_classes == k


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
def test_pictures_of_every_mode_become_small_data_uris(mode: str) -> None:
    source = Image.new(mode, (400, 200))
    shown = rows.picture(source, "a test")
    assert isinstance(shown, Picture)
    assert (shown.width, shown.height, shown.crisp) == (160, 80, False)


def test_pictures_of_arrays_keep_their_pixels_and_broken_files_say_so(tmp_path: Path) -> None:
    import base64
    import io

    pixels = np.arange(64).reshape(8, 8)
    shown = rows.picture(pixels, "a ramp", (0, 63))
    assert isinstance(shown, Picture)
    assert shown.crisp
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.uri.split(",")[1]))))
    np.testing.assert_array_equal(decoded, np.round(pixels / 63 * 255))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
    for source in (tmp_path / "broken.png", tmp_path / "absent.png", b""):
        broken = rows.picture(source, "broken")
        assert isinstance(broken, rows.Text)
        assert broken.text.startswith("This picture could not be read")
    with pytest.raises(InputError, match=r"shape .*\(5,\)"):
        rows.picture(np.zeros(5), "flat")
    with pytest.raises(InputError, match="base64 data URI"):
        Picture("data:image/svg+xml;base64,AAAA", 1, 1, "")
    with pytest.raises(InputError, match="base64 data URI"):
        Picture('data:image/png;base64,AAAA" onerror="x', 1, 1, "")


def test_long_texts_show_their_beginning() -> None:
    assert rows.text("a  b\n c").head == "a  b\n c"
    long = rows.text("word " * 10_000)
    assert (len(long.text), long.n_characters, len(long.head) <= 320) == (20_000, 50_000, True)
    assert rows.text("\n".join("abcdefghijkl")).head == "a\nb\nc\nd\ne\nf\ng\nh"
    assert rows.text("x" * 1_000).head == "x" * 320


# Limits


def test_an_empty_report_is_a_page() -> None:
    empty = Report("nothing", "There was nothing to look at.")
    assert from_json(to_json(empty)) == empty
    assert "There was nothing to look at." in render(empty)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda fields: fields.pop("verdict"), "lacks the field 'verdict'"),
        (lambda fields: fields.update(verdict=3), r"report\.verdict holds '3', expected str"),
        (lambda fields: fields.update(extra=1), "unknown field 'extra'"),
        (lambda fields: fields.update(assay_report=2), '"assay_report": 1'),
        (lambda fields: fields["sections"][0]["blocks"][0].update(type="Script"), "type 'Script'"),
        (lambda fields: fields["sections"][0]["blocks"][0].update(kind="pie"), "Unknown kind of plot 'pie'"),
        (lambda fields: fields["sections"][0]["blocks"][0]["data"].pop("cut"), "lacks the field 'cut'"),
        (lambda fields: fields["sections"][0]["blocks"][0]["data"]["counts"].pop(), "equally many 'edges'"),
        (lambda fields: fields["sections"][1]["blocks"][0]["cells"].pop(), "10 classes: give all 100 cells, got 99"),
        (lambda fields: fields["sections"][1]["blocks"][2]["cells"][0].update(row=99), "outside of its"),
        (lambda fields: fields["facts"][0].update(value=8.0), "share from 0 to 1"),
        (lambda fields: fields["facts"][0].update(value=float("inf")), "Infinity is no number"),
        (lambda fields: fields["facts"][0].update(interval=[0.1]), "interval holds"),
        (lambda fields: fields["sections"][2]["blocks"][0]["cards"][0].update(p_wrong=2), "between 0 and 1"),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(report: Report, change: object, sentence: str) -> None:
    fields = json.loads(to_json(report))
    change(fields)  # type: ignore[operator]
    with pytest.raises(InputError, match=sentence):
        from_json(json.dumps(fields))


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, b"\xff\xfe", '{"assay_report": 1e999}'])
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(InputError, match="Not a report"):
        from_json(text)


def test_numbers_must_be_finite_and_tables_straight() -> None:
    with pytest.raises(InputError, match="finite"):
        Report("t", "v", numbers={"rate": float("nan")})
    with pytest.raises(InputError, match="first offending row: 0"):
        Grid("g", (), ((1,),))
    with pytest.raises(InputError, match="between 0 and 1"):
        Card(1, "1", "a", "b", 1.5, rows.text(""))
    with pytest.raises(InputError, match="divide by 100"):
        Fact("rate", 5.2, None, "%")
    with pytest.raises(InputError, match="lacks the field 'above'"):
        Figure("histogram", "t", {})


# State


def test_json_is_the_truth(report: Report, page: str, tmp_path: Path) -> None:
    path = write_report(report, tmp_path / "new" / "folder")
    again = read_report(path.parent)
    assert again == report
    assert read_report(path.with_suffix(".json")) == report
    assert render(again) == page == path.read_text(encoding="utf-8")
    assert sorted(file.name for file in path.parent.iterdir()) == ["report.html", "report.json"]


def test_a_failed_write_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_report(Report("old", "old"), tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_report(Report("new", "new"), path.parent)
    monkeypatch.undo()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_the_page_is_one_file_that_loads_and_runs_nothing(page: str) -> None:
    seen = Tags(page)
    assert not seen.tags & {
        "script",
        "link",
        "iframe",
        "object",
        "embed",
        "form",
        "base",
        "audio",
        "video",
        "foreignobject",
    }
    assert not any(name.startswith("on") for name in seen.attributes)
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page
    outside = re.findall(r"""(?:\ssrc=|href=|url\()["']?\s*([^"')]{0,11})""", page)
    assert {place for place in outside if not place.startswith("#")} <= {"data:image/"}
    assert len(seen.ids) == len(set(seen.ids))
    assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', page)) <= set(seen.ids)
    assert {name for value in re.findall(r'aria-labelledby="([^"]+)"', page) for name in value.split()} <= set(seen.ids)


def test_hostile_text_is_only_text(report: Report, page: str) -> None:
    fields = poison(json.loads(to_json(report)), [0])
    fields["assay_report"] = 1
    hostile = from_json(json.dumps(fields))
    assert from_json(to_json(hostile).encode("utf-8", "surrogatepass")) == hostile
    shown = render(hostile)
    benign, seen = Tags(page), Tags(shown)
    assert seen.tags <= benign.tags
    assert seen.attributes <= benign.attributes
    assert seen.count == 1
    assert "&lt;script&gt;window.pwned=1&lt;/script&gt;" in shown
    assert "{{ 7 * 7 }}" in shown
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]", shown)
    assert len(shown) < 3_000_000
    shown.encode("utf-8")


def test_hostile_text_reaches_the_disk(tmp_path: Path) -> None:
    path = write_report(Report(HOSTILE[7], HOSTILE[6]), tmp_path)
    assert read_report(tmp_path).verdict == HOSTILE[6]
    assert b"lone\xe2\x9f\xa8U+D800\xe2\x9f\xa9" in path.read_bytes()


# The look


def contrast(one: tuple[float, ...], two: tuple[float, ...]) -> float:
    """WCAG 2 contrast ratio of two colours given as red, green, blue from 0 to 1."""

    def luminance(colour: tuple[float, ...]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((luminance(one), luminance(two)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_every_colour_of_text_can_be_read(page: str) -> None:
    light, dark, printed = re.findall(r":root \{([^}]*--page[^}]*)\}", page)
    for theme in (light, dark, printed):
        found = {
            name: tuple(int(value[at : at + 2], 16) / 255 for at in (0, 2, 4))
            for name, value in re.findall(r"--(\w+): #(\w{6});", re.sub(r"#(\w)(\w)(\w);", r"#\1\1\2\2\3\3;", theme))
        }
        for behind in ("page", "paper", "tint"):
            for name in ("ink", "muted", "accent", "c1", "c2", "c3", "c4", "c5", "c6"):
                assert contrast(found[name], found[behind]) >= 4.5, (name, behind)
        hottest = tuple(0.48 * hot + 0.52 * paper for hot, paper in zip(found["c2"], found["paper"], strict=True))
        assert contrast(found["ink"], hottest) >= 4.5


def test_the_verdict_leads(report: Report, page: str) -> None:
    order = [report.title, report.verdict, "Wrong labels, estimated", "Read with care", "How wrong are the labels?"]
    body = page[page.index("<body>") :]
    places = [body.index(part) for part in (*order, "What to do next</h2>", "Where this came from</h2>")]
    assert places == sorted(places)
    assert "8.0\u00a0%" in page

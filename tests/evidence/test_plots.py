"""Plots: what is kept of the raw results, and drawings that follow the page."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from assay.errors import InputError
from assay.evidence import plots
from assay.evidence.draw import svg
from assay.evidence.figures import Figure

RNG = np.random.default_rng(3)
P = RNG.random(500) ** 3
X = np.linspace(0, 0.3, 40)
FIGURES = {
    "histogram": plots.histogram("t", P, 0.5),
    "histogram without a cut": plots.histogram("t", RNG.normal(size=50), x_label="margin", unit=""),
    "bars": plots.bars("t", ["a", "b", "c"], [0.1, 0.3, 0.2], [[0, 0.2], [0.2, 0.4], [0.1, 0.3]], x_label="wrong"),
    "one bar": plots.bars("t", ["a"], [0.0], x_label="wrong", reference=0.1),
    "reliability": plots.reliability("t", P, RNG.random(500) < P),
    "review": plots.review_curve("t", [1, 2, 3], [1, 1, 2], [0, 0, 1], [1, 2, 3], total=4, done=2),
    "half-width": plots.half_width("t", [10, 20, 30], [0.1, 0.07, 0.05], goal=0.06),
    "one point": plots.half_width("t", [10], [0.1]),
    "stability": plots.stability(
        "t", X, {"A": 0.9 - X, "B": 0.88 - X / 2}, crossovers=[(0.04, 0.03, 0.05)], observed=0.1
    ),
    "heat": plots.heat("t", ["a", "b"], [[0.9, 0.1], [0.2, 0.8]]),
    "heat of one": plots.heat("t", ["a"], [[1.0]]),
    "heat of twelve": plots.heat("t", [f"class {at}" for at in range(12)], np.eye(12), unit=""),
}


def draw(figure: Figure, wide: bool, prefix: str = "p-") -> str:
    return svg(figure.kind, figure.title, "d", figure.data, wide=wide, prefix=prefix)


# By hand


def test_the_histogram_counts_rows() -> None:
    data = plots.histogram("t", P, 0.5, bins=10).data
    expected = [sum(1 for p in P if at / 10 <= p < (at + 1) / 10) for at in range(10)]
    assert data["counts"] == expected
    assert data["above"] == sum(1 for p in P if p >= 0.5)


def test_reliability_bins_carry_wilson_intervals() -> None:
    wrong = np.random.default_rng(5).random(500) < P
    data = plots.reliability("t", P, wrong, bins=4).data
    z = 1.959963984540054
    for at, low, high in zip(range(4), data["low"], data["high"], strict=True):
        inside = [(p, w) for p, w in zip(P, wrong, strict=True) if at / 4 <= p < (at + 1) / 4]
        n, hits = len(inside), sum(bool(w) for _, w in inside)
        share = hits / n
        middle = (share + z * z / 2 / n) / (1 + z * z / n)
        half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / 4 / n / n)
        assert data["counts"][at] == n
        assert data["predicted"][at] == pytest.approx(sum(p for p, _ in inside) / n)
        assert (low, high) == pytest.approx((middle - half, middle + half))


def test_bars_are_the_largest_twenty_in_order() -> None:
    values = np.random.default_rng(0).random(77)
    data = plots.bars("t", [str(at) for at in range(77)], values, x_label="x").data
    assert data["values"] == sorted(values, reverse=True)[:20]
    assert [values[int(name)] for name in data["names"]] == data["values"]
    assert data["of"] == 77


def test_lines_are_thinned_and_keep_their_ends() -> None:
    n = 100_000
    data = plots.review_curve("t", np.arange(n), np.arange(n) // 7).data
    assert len(data["x"]) == 200
    assert (data["x"][0], data["x"][-1], data["series"][0]["y"][-1]) == (0, n - 1, (n - 1) // 7)


@pytest.mark.parametrize("name", FIGURES)
def test_the_numbers_of_a_plot_are_a_table(name: str) -> None:
    columns, rows = FIGURES[name].table()
    assert rows
    assert {len(row) for row in rows} == {len(columns)}


def test_a_table_says_what_is_drawn() -> None:
    columns, rows = FIGURES["bars"].table()
    assert columns == ["name", "wrong"]
    assert rows[0] == ["b", "30\u00a0% (20 to 40)"]


# Limits


@pytest.mark.parametrize(
    ("kind", "data", "sentence"),
    [
        ("bars", {}, "lacks the field"),
        ("heat", FIGURES["heat"].data | {"values": [[1.0]]}, "equally many 'names' and 'values'"),
        ("heat", FIGURES["heat"].data | {"values": [[1.0], [1.0, 2.0]]}, "'row 0'"),
        ("reliability", FIGURES["reliability"].data | {"low": []}, "equally many 'predicted' and 'low'"),
        ("lines", FIGURES["review"].data | {"x": []}, "at least one value|equally many"),
        ("lines", FIGURES["review"].data | {"x": [1, 2, "3"]}, r"x\[2\] holds '3', expected float"),
    ],
)
def test_a_plot_that_cannot_be_drawn_is_refused(kind: str, data: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Figure(kind, "t", data)


def test_heat_of_many_classes_points_to_the_list() -> None:
    with pytest.raises(InputError, match="use the block Matrix"):
        plots.heat("t", [str(at) for at in range(13)], np.eye(13))


# State: the drawing


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("name", FIGURES)
def test_a_drawing_follows_the_page(name: str, wide: bool) -> None:
    text = draw(FIGURES[name], wide)
    assert text == draw(FIGURES[name], wide)
    root = ET.fromstring(text)
    left, top, width, height = map(float, root.attrib["viewBox"].split())
    assert (left, top) == (0, 0)
    assert width == 340 if not wide else width <= 680
    assert 0 < height < 900
    assert root[0].tag == "title"
    assert root[1].tag == "desc"
    assert {element.tag for element in root.iter()} <= {
        "svg",
        "title",
        "desc",
        "g",
        "defs",
        "clipPath",
        "rect",
        "path",
        "use",
        "text",
    }
    colours = re.findall(r"(?:fill|stroke): ?([^;\"]+)", text)
    assert {colour for colour in colours if not colour.startswith(("var(--", "none"))} <= {"url(#"}
    sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", text)]
    assert sizes
    assert min(sizes) >= 11.5  # times 348 / 340 on a screen 380 pixels wide
    assert all(element.attrib["id"].startswith("p-") for element in root.iter() if "id" in element.attrib)


def test_no_text_leaves_the_drawing() -> None:
    """Anchors of all texts lie inside the view box, long names of models and classes included."""
    names = ["a model with a name that goes on and on and on", "B", "ein Modell"]
    figures = [
        plots.stability("t", X, {name: 0.9 - X * at for at, name in enumerate(names)}),
        plots.bars("t", names, [0.3, 0.2, 0.1], x_label="x"),
        plots.heat("t", names, np.eye(3)),
    ]
    for figure in figures:
        for wide in (True, False):
            root = ET.fromstring(draw(figure, wide))
            _, _, width, height = map(float, root.attrib["viewBox"].split())
            texts = list(root.iter("text"))
            assert texts
            for element in texts:
                place = element.attrib.get("transform", "")
                shift = re.search(r"translate\(([-\d.]+) ([-\d.]+)\)", place)
                x = float(shift[1]) if shift else float(element.attrib["x"])
                y = float(shift[2]) if shift else float(element.attrib["y"])
                assert -1 <= x <= width + 1, element.text
                assert -1 <= y <= height + 1, element.text


def test_text_is_never_mathematics_or_markup() -> None:
    figure = plots.bars(
        "t</title><script>", ["$\\frac{1}{", "a\x00\ud800<b>&amp;"], [0.2, 0.1], x_label="</svg>$x_1$" * 99
    )
    root = ET.fromstring(draw(figure, True))
    texts = [element.text or "" for element in root.iter("text")]
    assert "$\\frac{1}{" in texts
    assert "a⟨U+0000⟩⟨U+D800⟩<b>&amp;" in texts
    assert root[0].text == "t</title><script>"
    assert "script" not in {element.tag for element in root.iter()}


def test_drawing_leaves_matplotlib_as_it_was() -> None:
    import sys

    import matplotlib as mpl

    before = dict(mpl.rcParams)
    draw(FIGURES["bars"], True)
    assert dict(mpl.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()

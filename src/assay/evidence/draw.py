"""Draw a figure with matplotlib as inline SVG that follows the page: its fonts, its colours, its width.

Colours are written as sentinels and replaced by CSS variables, ids are made unique, and matplotlib's page-wide style
and metadata are dropped. No pyplot, so no global figures; text is never read as mathematics.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.evidence.inline_svg import inline
from assay.evidence.plot_style import DASHES, FONT, INK, MUTED, NARROW, RC, RULE, SERIES, VARIABLES, WIDE
from assay.evidence.shown import number, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def svg(kind: str, title: str, description: str, data: dict[str, Any], *, wide: bool, prefix: str) -> str:
    """SVG of a figure, for inlining into a page.

    Parameters
    ----------
    kind, title, data : as in `Figure`.
    description : what a reader who does not see the plot should know.
    wide : for a column of 680 pixels, else for one of 340.
    prefix : put before every id, so that ids are unique in the page.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    data = _clean(data)
    draw, wide_width, height = _KINDS[kind]
    width = wide_width if wide else NARROW
    with mpl.rc_context(RC), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that matplotlib's font lacks is drawn by the reader's font
        canvas = Canvas(figsize=(width / 72, height(data, width) / 72), dpi=72, layout="constrained")
        FigureCanvasSVG(canvas)
        canvas.patch.set_visible(False)
        axes = canvas.add_subplot()
        axes.patch.set_visible(False)
        draw(axes, data, width)
        stream = io.BytesIO()
        canvas.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return inline(stream.getvalue(), title, description, prefix, VARIABLES)


def _clean(value: Any) -> Any:
    """Copy of a figure's data in which every text is one short line without hidden characters."""
    if isinstance(value, str):
        return short(value) if value else ""
    if isinstance(value, list):
        return [_clean(inner) for inner in value]
    return {key: _clean(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def _ticks(unit: str) -> Callable[[float, int], str]:
    return lambda value, _: number(round(float(value), 10), unit)


def _grid(axes: Axes, x: str, y: str, axis: str = "y") -> None:
    axes.set_xlabel(x)
    axes.set_title(y)
    axes.grid(axis=axis)  # type: ignore[arg-type]


def _axis(axes: Axes, which: str, unit: str, most: int) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(_ticks(unit)))


def _histogram(axes: Axes, data: dict[str, Any], width: int) -> None:
    edges, counts = np.array(data["edges"]), np.array(data["counts"])
    cut = data["cut"]
    beyond = np.zeros(len(counts), dtype=bool) if cut is None else edges[:-1] >= cut - 1e-9
    log = counts.max() > 30 * max(1, np.median(counts[counts > 0], keepdims=False))
    for part, colour in ((~beyond, SERIES[0]), (beyond, SERIES[1])):
        step = np.diff(edges)[part]
        axes.bar(edges[:-1][part] + step * 0.05, counts[part], step * 0.9, align="edge", color=colour, linewidth=0)
    _axis(axes, "x", data["unit"], 5 if width < WIDE else 10)
    if log:
        from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

        axes.set_yscale("log")
        axes.set_ylim(bottom=0.7)
        axes.yaxis.set_major_locator(LogLocator(10, numticks=6))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(_ticks("")))
    else:
        _axis(axes, "y", "", 5)
    axes.set_xlim(edges[0], edges[-1])
    _grid(axes, data["x_label"], "Rows (each line is ten times more)" if log else "Rows")
    if cut is not None:
        label = f"{data['cut_label']} {number(cut, data['unit'])}: {number(data['above'])} rows at or above"
        _vertical(axes, [{"x": cut, "low": None, "high": None, "label": label}], edges[0], edges[-1])


def _bars(axes: Axes, data: dict[str, Any], width: int) -> None:
    values = np.array(data["values"])
    place = np.arange(len(values))[::-1]
    axes.barh(place, values, 0.62, color=SERIES[0], alpha=0.55, linewidth=0)
    ends = values if data["high"] is None else np.array(data["high"])
    if data["high"] is not None:
        axes.hlines(place, data["low"], data["high"], color=INK, linewidth=1.6)
    for y, value, end in zip(place, values, ends, strict=True):
        axes.annotate(
            number(float(value), data["unit"]), (max(end, 0), y), (6, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(place, [short(name, 14 if width < WIDE else 32) for name in data["names"]])
    axes.tick_params("y", labelcolor=INK)
    axes.set_ylim(-0.6, len(values) - 0.4)
    axes.set_xlim(
        min(0, float(values.min())),
        float(max(ends.max(), data["reference"] or 0)) * (1.3 if width < WIDE else 1.12) or 1,
    )
    _axis(axes, "x", data["unit"], 3 if width < WIDE else 7)
    _grid(axes, data["x_label"], "", axis="x")
    if data["reference"] is not None:
        label = f"{data['reference_label']}: {number(data['reference'], data['unit'])}"
        _vertical(axes, [{"x": data["reference"], "low": None, "high": None, "label": label}], *axes.get_xlim())


def _reliability(axes: Axes, data: dict[str, Any], _: int) -> None:
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate(
        "as promised",
        (0.06, 0.06),
        (-3, 5),
        textcoords="offset points",
        rotation=45,
        rotation_mode="anchor",
        color=MUTED,
    )
    axes.vlines(data["predicted"], data["low"], data["high"], color=SERIES[0], linewidth=1.6)
    axes.plot(data["predicted"], data["observed"], "o", color=SERIES[0], markersize=6)
    axes.set_aspect("equal")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    for which in "xy":
        _axis(axes, which, "%", 5)
    _grid(axes, "Called wrong with probability", "Were wrong", axis="both")


def _lines(axes: Axes, data: dict[str, Any], width: int) -> None:
    x = np.array(data["x"])
    ends: list[tuple[float, str, str]] = []
    for at, one in enumerate(data["series"]):
        colour = SERIES[at % len(SERIES)]
        if one["low"] is not None:
            axes.fill_between(x, one["low"], one["high"], color=colour, alpha=0.16, linewidth=0)
        axes.plot(x, one["y"], color=colour, linewidth=2, linestyle=DASHES[at % len(DASHES)])
        ends.append((float(one["y"][-1]), one["name"], colour))
    for mark in data["horizontal"]:
        axes.axhline(mark["y"], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlim(0 if 0 <= x[0] < 0.05 * x[-1] else x[0], x[-1] if x[-1] > x[0] else x[0] + 1)
    low, high = axes.get_ylim()
    lowest = min(min(one["low"] or one["y"]) for one in data["series"])
    axes.set_ylim(0 if 0 <= lowest < 0.4 * high else low, high + 0.06 * (high - low))
    _axis(axes, "x", data["x_unit"], 4 if width < WIDE else 8)
    _axis(axes, "y", data["y_unit"], 5)
    _grid(axes, data["x_label"], data["y_label"])
    for mark in data["horizontal"]:
        axes.annotate(
            mark["label"],
            (1, mark["y"]),
            (-2, 4),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
        )
    if len(ends) > 1:
        _end_labels(axes, ends, width)
    _vertical(axes, data["vertical"], x[0], x[-1])


def _end_labels(axes: Axes, ends: list[tuple[float, str, str]], width: int) -> None:
    """Name every line at its right end; names that would touch are moved apart."""
    low, high = axes.get_ylim()
    gap = (high - low) * (FONT * 1.25) / (190 if width < WIDE else 250)
    ordered = sorted(ends)
    heights = [y for y, _, _ in ordered]
    for at in range(1, len(heights)):
        heights[at] = max(heights[at], heights[at - 1] + gap)
    excess = max(0.0, heights[-1] - high)
    for y, (true_y, name, colour) in zip(heights, ordered, strict=True):
        axes.annotate(
            short(name, 14 if width < WIDE else 26), (1, true_y), (1, y - excess), xycoords=("axes fraction", "data"),
            textcoords=("axes fraction", "data"), color=colour, va="center", annotation_clip=False,
        ).set_x(1.02)  # fmt: skip


def _vertical(axes: Axes, marks: list[dict[str, Any]], left: float, right: float) -> None:
    """Vertical lines, their labels stacked above the plot, each on the side that has room."""
    for at, mark in enumerate(marks):
        if mark["low"] is not None:
            axes.axvspan(mark["low"], mark["high"], color=MUTED, alpha=0.13, linewidth=0)
        axes.axvline(mark["x"], color=INK, linewidth=1, linestyle=(0, (2, 2)))
        share = (mark["x"] - left) / ((right - left) or 1)
        axes.annotate(
            mark["label"], (mark["x"], 1), (0, 4 + 15 * at), xycoords=("data", "axes fraction"),
            textcoords="offset points", ha="left" if share < 0.34 else "right" if share > 0.66 else "center",
            annotation_clip=False,
        )  # fmt: skip
    if marks:
        axes.set_title(axes.get_title("left"), pad=8 + 15 * len(marks))


def _heat_names(data: dict[str, Any], width: int) -> tuple[list[str], float, bool]:
    """Names of the classes, the side of a cell, and whether the names of the columns are turned upright."""
    names = [short(name, 10 if width == NARROW else 18) for name in data["names"]]
    longest = max(map(len, names)) * FONT * 0.6
    room = (width - longest - 40) / len(names)
    return names, room, longest > room


def _heat_height(data: dict[str, Any], width: int) -> float:
    names, room, turned = _heat_names(data, width)
    return room * len(names) + (max(map(len, names)) * FONT * 0.6 if turned else FONT) + 36


def _heat(axes: Axes, data: dict[str, Any], width: int) -> None:
    from matplotlib.patches import Rectangle

    values = np.array(data["values"], dtype=float)
    k = len(values)
    others = values[~np.eye(k, dtype=bool)] if data["mute_diagonal"] and k > 1 else values
    top = float(others.max()) or 1.0
    names, room, turned = _heat_names(data, width)
    for row in range(k):
        for column in range(k):
            value = float(values[row, column])
            muted = data["mute_diagonal"] and row == column
            axes.add_patch(
                Rectangle(
                    (column + 0.03, row + 0.03),
                    0.94,
                    0.94,
                    linewidth=0,
                    facecolor=SERIES[1] if value > 0 and not muted else RULE,
                    alpha=0.7 if muted else 0.05 + 0.5 * min(1.0, value / top) if value > 0 else 0.25,
                )
            )
            label = f"{value * 100:.0f}" if data["unit"] == "%" else number(value)
            if value > 0 and len(label) * 8 < room and (label != "0" or room > 30):
                shown = "<1" if label == "0" else label
                axes.text(column + 0.5, row + 0.53, shown, ha="center", va="center", color=MUTED if muted else INK)
    axes.set_xlim(0, k)
    axes.set_ylim(k, 0)
    axes.set_aspect("equal")
    axes.set_xticks(np.arange(k) + 0.5, names, rotation=90 if turned else 0)
    axes.set_yticks(np.arange(k) + 0.5, names)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelcolor=INK)
    axes.spines[:].set_visible(False)
    axes.xaxis.set_label_position("top")
    axes.set_xlabel(f"{data['column_axis']} →", loc="left", labelpad=8)
    axes.set_ylabel(f"← {data['row_axis']}", loc="top", labelpad=8)


_Draw = Callable[["Axes", dict[str, Any], int], None]
_Height = Callable[[dict[str, Any], int], float]
# Kind: how to draw it, its width on a wide page, its height for a width.
_KINDS: dict[str, tuple[_Draw, int, _Height]] = {
    "histogram": (_histogram, WIDE, lambda _, width: 250 if width < WIDE else 300),
    "bars": (_bars, WIDE, lambda data, _: 90 + 25 * len(data["names"])),
    "reliability": (_reliability, 440, lambda _, width: width + 10),
    "lines": (_lines, WIDE, lambda data, width: (260 if width < WIDE else 320) + 15 * len(data["vertical"])),
    "heat": (_heat, 500, _heat_height),
}

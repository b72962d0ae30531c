"""Plots as specifications, drawn to inline SVG when a report is rendered.

A `Figure` holds numbers, not pixels, so that the JSON of a report can be read, drawn again and tested. The builders
(`histogram`, `bars`, `reliability`, `review_curve`, `half_width`, `stability`, `heat`) take raw results and keep what
is drawn; `draw.py` draws it. The page shows the title, which states the finding, and the numbers as a table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.evidence.record import build, plain
from assay.evidence.shown import number

_POINTS = 200  # a line keeps at most this many points
_BARS = 20
_HEAT = 12  # more would be smaller than text on a telephone


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot as a specification.

    Parameters
    ----------
    kind : "histogram", "bars", "reliability", "lines" or "heat".
    title : the finding, as a sentence.
    data : what is drawn; see the builder of the kind for the fields.
    note : a line below the plot: how to read it.
    """

    TAGGED: ClassVar[bool] = True
    kind: str
    title: str
    data: dict[str, Any]
    note: str = ""

    def __post_init__(self) -> None:
        if self.kind not in _SPECS:
            raise InputError(f"Unknown kind of plot {self.kind!r}: expected one of {', '.join(_SPECS)}.")
        data = plain(self.data, "data")
        build(_SPECS[self.kind][0], data, f"data of the plot {self.title[:40]!r}")
        object.__setattr__(self, "data", data)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """The numbers drawn: column names, and rows of cells as they are shown."""
        columns, rows = _SPECS[self.kind][1](self.data)
        return columns, rows


def histogram(
    title: str,
    scores: npt.ArrayLike,
    cut: float | None = None,
    *,
    cut_label: str = "cut-off",
    x_label: str = "Probability that the label is wrong",
    unit: str = "%",
    bins: int = 40,
    note: str = "",
) -> Figure:
    """Rows by score `(n,)`, what lies above `cut` marked. The count axis is logarithmic when one bar hides the rest."""
    values = np.asarray(scores, dtype=np.float64)
    counts, edges = np.histogram(values, bins=bins, range=(0, 1) if unit == "%" else None)
    above = None if cut is None else int((values >= cut).sum())
    data = {
        "edges": edges, "counts": counts, "cut": cut, "cut_label": cut_label, "above": above, "x_label": x_label,
        "unit": unit,
    }  # fmt: skip
    return Figure("histogram", title, data, note)


def bars(
    title: str,
    names: Sequence[str],
    values: npt.ArrayLike,
    intervals: npt.ArrayLike | None = None,
    *,
    x_label: str,
    unit: str = "%",
    reference: float | None = None,
    reference_label: str = "all rows",
    note: str = "",
) -> Figure:
    """A value `(m,)` per name with its interval `(m, 2)`, largest first; the largest 20 are kept."""
    found = np.asarray(values, dtype=np.float64)
    order = np.argsort(-found, kind="stable")[:_BARS]
    bounds = None if intervals is None else np.asarray(intervals, dtype=np.float64)
    data = {
        "names": [names[at] for at in order],
        "values": found[order],
        "low": None if bounds is None else bounds[order, 0],
        "high": None if bounds is None else bounds[order, 1],
        "of": len(names),
        "x_label": x_label,
        "unit": unit,
        "reference": reference,
        "reference_label": reference_label,
    }
    return Figure("bars", title, data, note)


def reliability(title: str, p: npt.ArrayLike, wrong: npt.ArrayLike, *, bins: int = 10, note: str = "") -> Figure:
    """Of the rows called wrong with probability `p` `(n,)`, how many were `wrong` `(n,)` bool.

    Bins are equally wide, empty ones left out; bars are 95 % Wilson intervals.
    """
    from scipy.stats import binomtest

    called, truth = np.asarray(p, dtype=np.float64), np.asarray(wrong, dtype=bool)
    place = np.minimum((called * bins).astype(np.int64), bins - 1)
    predicted, observed, low, high, counts = [], [], [], [], []
    for part in (np.flatnonzero(place == at) for at in np.unique(place)):
        hits = int(truth[part].sum())
        bounds = binomtest(hits, len(part)).proportion_ci(method="wilson")
        predicted.append(float(called[part].mean()))
        observed.append(hits / len(part))
        low.append(float(bounds.low))
        high.append(float(bounds.high))
        counts.append(len(part))
    data = {"predicted": predicted, "observed": observed, "low": low, "high": high, "counts": counts}
    return Figure("reliability", title, data, note)


def review_curve(
    title: str,
    reviewed: npt.ArrayLike,
    found: npt.ArrayLike,
    low: npt.ArrayLike | None = None,
    high: npt.ArrayLike | None = None,
    *,
    total: float | None = None,
    done: float | None = None,
    note: str = "",
) -> Figure:
    """Errors found `(m,)` after so many `reviewed` rows `(m,)`, with a band; `total` errors expected, `done` so far."""
    horizontal = [] if total is None else [{"y": total, "label": f"about {number(round(total))} errors in all"}]
    return _lines(
        title,
        reviewed,
        {"errors found": (found, low, high)},
        x=("Rows reviewed, worst first", ""),
        y=("Errors found", ""),
        vertical=_done(done),
        horizontal=horizontal,
        note=note,
    )


def half_width(
    title: str,
    reviews: npt.ArrayLike,
    width: npt.ArrayLike,
    *,
    goal: float | None = None,
    done: float | None = None,
    note: str = "",
) -> Figure:
    """Half the width of the error rate's interval, a share `(m,)`, after so many random `reviews` `(m,)`."""
    horizontal = [] if goal is None else [{"y": goal, "label": f"goal: ± {number(goal, '%')}"}]
    return _lines(
        title,
        reviews,
        {"± half-width": (width, None, None)},
        x=("Rows reviewed at random", ""),
        y=("Half-width of the 95 % interval", "%"),
        vertical=_done(done),
        horizontal=horizontal,
        note=note,
    )


def stability(
    title: str,
    prevalence: npt.ArrayLike,
    accuracies: Mapping[str, npt.ArrayLike],
    intervals: Mapping[str, npt.ArrayLike] | None = None,
    *,
    crossovers: Sequence[tuple[float, float, float]] = (),
    observed: float | None = None,
    y_label: str = "Accuracy on corrected labels",
    note: str = "",
) -> Figure:
    """Accuracy of each model `(m,)` against the share of wrong labels `(m,)`.

    Parameters
    ----------
    intervals : model name to `(m, 2)` bounds.
    crossovers : (prevalence, low, high) at which two models change places.
    observed : the prevalence in the data as it is.
    """
    bounds = {name: np.asarray(both, dtype=np.float64) for name, both in (intervals or {}).items()}
    series = {
        name: (values, bounds[name][:, 0] if name in bounds else None, bounds[name][:, 1] if name in bounds else None)
        for name, values in accuracies.items()
    }
    vertical = [
        {"x": at, "low": low, "high": high, "label": f"change places at {number(at, '%', (low, high))}"}
        for at, low, high in crossovers
    ]
    if observed is not None:
        vertical.append({"x": observed, "low": None, "high": None, "label": f"this data: {number(observed, '%')}"})
    x = ("Share of wrong labels in the test set", "%")
    return _lines(title, prevalence, series, x=x, y=(y_label, "%"), vertical=vertical, horizontal=[], note=note)


def heat(
    title: str,
    names: Sequence[str],
    values: npt.ArrayLike,
    *,
    unit: str = "%",
    row_axis: str = "given label",
    column_axis: str = "likely true label",
    mute_diagonal: bool = True,
    note: str = "",
) -> Figure:
    """A `(k, k)` matrix as a picture, k at most 12; with `mute_diagonal` the colours scale to what is off the diagonal.

    For more classes use the block `Matrix`, which lists the largest cells.
    """
    if len(names) > _HEAT:
        raise InputError(f"A heat plot shows at most {_HEAT} classes, got {len(names)}: use the block Matrix instead.")
    data = {
        "names": list(names), "values": np.asarray(values, dtype=np.float64), "unit": unit, "row_axis": row_axis,
        "column_axis": column_axis, "mute_diagonal": mute_diagonal,
    }  # fmt: skip
    return Figure("heat", title, data, note)


def _done(done: float | None) -> list[dict[str, Any]]:
    return [] if done is None else [{"x": done, "low": None, "high": None, "label": f"now: {number(done)}"}]


def _lines(
    title: str,
    at: npt.ArrayLike,
    series: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike | None, npt.ArrayLike | None]],
    *,
    x: tuple[str, str],
    y: tuple[str, str],
    vertical: list[dict[str, Any]],
    horizontal: list[dict[str, Any]],
    note: str,
) -> Figure:
    where = np.asarray(at, dtype=np.float64)
    kept = np.unique(np.linspace(0, len(where) - 1, min(_POINTS, len(where))).round().astype(int))

    def thin(values: npt.ArrayLike | None) -> npt.NDArray[np.float64] | None:
        return None if values is None else np.asarray(values, dtype=np.float64)[kept]

    data = {
        "x": where[kept],
        "series": [{"name": n, "y": thin(v), "low": thin(lo), "high": thin(hi)} for n, (v, lo, hi) in series.items()],
        "x_label": x[0],
        "x_unit": x[1],
        "y_label": y[0],
        "y_unit": y[1],
        "vertical": vertical,
        "horizontal": horizontal,
    }
    return Figure("lines", title, data, note)


# What the data of a kind must hold, checked when a figure is made, because a report may be read from a file.


@dataclass(frozen=True)
class _Histogram:
    edges: tuple[float, ...]
    counts: tuple[float, ...]
    cut: float | None
    cut_label: str
    above: int | None
    x_label: str
    unit: str

    def __post_init__(self) -> None:
        _same("edges", self.edges[1:], counts=self.counts)


@dataclass(frozen=True)
class _Bars:
    names: tuple[str, ...]
    values: tuple[float, ...]
    low: tuple[float, ...] | None
    high: tuple[float, ...] | None
    of: int
    x_label: str
    unit: str
    reference: float | None
    reference_label: str

    def __post_init__(self) -> None:
        _same("names", self.names, values=self.values, low=self.low, high=self.high)


@dataclass(frozen=True)
class _Reliability:
    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        _same("predicted", self.predicted, observed=self.observed, low=self.low, high=self.high, counts=self.counts)


@dataclass(frozen=True)
class _Series:
    name: str
    y: tuple[float, ...]
    low: tuple[float, ...] | None
    high: tuple[float, ...] | None


@dataclass(frozen=True)
class _Vertical:
    x: float
    low: float | None
    high: float | None
    label: str


@dataclass(frozen=True)
class _Horizontal:
    y: float
    label: str


@dataclass(frozen=True)
class _Lines:
    x: tuple[float, ...]
    series: tuple[_Series, ...]
    x_label: str
    x_unit: str
    y_label: str
    y_unit: str
    vertical: tuple[_Vertical, ...]
    horizontal: tuple[_Horizontal, ...]

    def __post_init__(self) -> None:
        for one in self.series:
            _same("x", self.x, y=one.y, low=one.low, high=one.high)


@dataclass(frozen=True)
class _Heat:
    names: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    unit: str
    row_axis: str
    column_axis: str
    mute_diagonal: bool

    def __post_init__(self) -> None:
        _same("names", self.names, values=self.values, **{f"row {at}": row for at, row in enumerate(self.values)})


def _same(name: str, first: Sequence[object], **others: Sequence[object] | None) -> None:
    if not first:
        raise InputError(f"A plot needs at least one value in {name!r}.")
    for other, values in others.items():
        if values is not None and len(values) != len(first):
            raise InputError(f"A plot needs equally many {name!r} and {other!r}, got {len(first)} and {len(values)}.")


_Table = tuple[list[str], list[list[str]]]


def _histogram_table(data: dict[str, Any]) -> _Table:
    unit, edges = data["unit"], data["edges"]
    rows = [
        [number(a, unit), number(b, unit), number(n)] for a, b, n in zip(edges, edges[1:], data["counts"], strict=False)
    ]
    return ["from", "below", "rows"], [row for row in rows if row[2] != "0"]


def _bars_table(data: dict[str, Any]) -> _Table:
    bounds = [None] * len(data["names"]) if data["low"] is None else list(zip(data["low"], data["high"], strict=True))
    shown = [number(value, data["unit"], both) for value, both in zip(data["values"], bounds, strict=True)]
    return ["name", data["x_label"]], [list(pair) for pair in zip(data["names"], shown, strict=True)]


def _reliability_table(data: dict[str, Any]) -> _Table:
    rows = zip(data["predicted"], data["observed"], data["low"], data["high"], data["counts"], strict=True)
    return ["called wrong with", "were wrong", "rows"], [
        [number(p, "%"), number(o, "%", (low, high)), number(n)] for p, o, low, high, n in rows
    ]


def _lines_table(data: dict[str, Any]) -> _Table:
    kept = np.unique(np.linspace(0, len(data["x"]) - 1, min(12, len(data["x"]))).round().astype(int))
    rows = []
    for at in kept:
        cells = [number(data["x"][at], data["x_unit"])]
        for one in data["series"]:
            both = None if one["low"] is None else (one["low"][at], one["high"][at])
            cells.append(number(one["y"][at], data["y_unit"], both))
        rows.append(cells)
    return [data["x_label"], *(one["name"] for one in data["series"])], rows


def _heat_table(data: dict[str, Any]) -> _Table:
    rows = [
        [name, *(number(value, data["unit"]) for value in row)]
        for name, row in zip(data["names"], data["values"], strict=True)
    ]
    return [f"{data['row_axis']} \\ {data['column_axis']}", *data["names"]], rows


_SPECS: dict[str, tuple[type, Callable[[dict[str, Any]], _Table]]] = {
    "histogram": (_Histogram, _histogram_table),
    "bars": (_Bars, _bars_table),
    "reliability": (_Reliability, _reliability_table),
    "lines": (_Lines, _lines_table),
    "heat": (_Heat, _heat_table),
}

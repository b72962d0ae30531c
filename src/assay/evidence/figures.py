"""A figure is a specification: numbers, not pixels, so that a report can be read, drawn again and tested."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from assay.errors import InputError
from assay.evidence.record import build, plain
from assay.evidence.shown import number


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot as a specification.

    Parameters
    ----------
    kind : "histogram", "bars", "reliability", "lines" or "heat".
    title : the finding, as a sentence.
    data : what is drawn; the builders in `plots.py` make it.
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

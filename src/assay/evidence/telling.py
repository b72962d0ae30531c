"""Which columns of a table row speak for one label rather than another, or are unusual; learned once, asked often."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assay.evidence.shown import LONGEST, number

ROWS = 100_000
"""Rows, spread evenly, that are enough to say how common a value is."""
_BINS = 10

Told = tuple[str, str, str]
"""A column, its value as text, and why it is telling, or ""."""


def spread(n: int) -> slice:
    """At most `ROWS` of n rows, evenly spread."""
    return slice(None, None, max(1, -(-n // ROWS)))


def readable(features: pa.Table) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Columns as arrays of plain values; times, lists, records and bytes as text; pixels are left out."""
    for name, column in zip(features.column_names, features.columns, strict=True):
        kind = column.type
        odd = (pa.types.is_nested, pa.types.is_binary, pa.types.is_large_binary, pa.types.is_temporal)
        if isinstance(kind, pa.BaseExtensionType):
            continue
        if any(is_odd(kind) for is_odd in odd):
            yield name, np.array([None if cell is None else str(cell) for cell in column.to_pylist()], dtype=object)
        else:
            yield name, column.to_numpy()


class Telling:
    """How common the values of columns are, in all rows and under each label.

    With labels, a value is telling when it is more common under the suggested label than under the given one
    (one-column naive Bayes, numbers in ten quantile bins); without them, when few rows are as unusual.

    Parameters
    ----------
    columns : column name to n values; numbers, text or missing (None, NaN).
    given : `(n,)` codes of the labels, or None.
    names : `(k,)` class names of the codes.
    """

    def __init__(
        self,
        columns: Mapping[str, npt.NDArray[Any]],
        given: npt.NDArray[Any] | None = None,
        names: Sequence[str] = (),
    ) -> None:
        self._columns = {str(name): _Column(values, given) for name, values in columns.items()}
        self._names = names

    def row(self, values: Mapping[str, object], old: int | None = None, new: int | None = None) -> tuple[Told, ...]:
        """The columns of a row, the most telling first; `old` and `new` are the given and the suggested code."""
        found = []
        for name, column in self._columns.items():
            value = values[name]
            if old is None or new is None:
                score, note = column.surprise(value)
            else:
                ratio = column.evidence(value, old, new)
                label = self._names[new] if len(self._names) > new else f"class {new}"
                telling = ratio >= math.log(1.5)
                score, note = ratio, f"{math.exp(ratio):.1f} times as common in {label[:40]}" if telling else ""
            found.append((score, (name, spell(value), note)))
        return tuple(told for _, told in sorted(found, key=lambda one: -one[0]))


class _Column:
    """Codes `(n,)` of the values of a column; many different numbers share quantile bins, missing has its own code."""

    def __init__(self, values: npt.NDArray[Any], given: npt.NDArray[Any] | None) -> None:
        self._edges: npt.NDArray[np.float64] | None = None
        if values.dtype.kind in "fiu":
            numbers = values.astype(np.float64)
            found, codes = np.unique(numbers, return_inverse=True)
            known = numbers[~np.isnan(numbers)]
            if len(found) - np.isnan(found).any() > 2 * _BINS:
                self._edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1]))
                codes = self._binned(numbers)
                self._middle = float(np.median(known))
                self._distances = np.sort(np.abs(known - self._middle))
                self._missing = 1 - len(known) / len(numbers)
            self._code: dict[object, int] = {one: code for code, one in enumerate(found.tolist()) if one == one}
            if len(self._code) < len(found):
                self._code[None] = len(found) - 1
        else:
            self._code = {}
            codes = np.array([self._code.setdefault(spell(value), len(self._code)) for value in values])
        self._numeric = values.dtype.kind in "fiu"
        self._codes = codes.astype(np.int32)
        self._given = given
        self._counts = np.bincount(self._codes)

    def _binned(self, numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        assert self._edges is not None
        codes = np.searchsorted(self._edges, numbers, side="right")
        codes[np.isnan(numbers)] = len(self._edges) + 1
        return codes

    def _code_of(self, value: Any) -> int | None:
        """The code of a value; None for one that no row has."""
        if not self._numeric:
            return self._code.get(spell(value))
        there = value is not None and value == value
        if self._edges is None:
            return self._code.get(float(value) if there else None)
        code = int(self._binned(np.array([value if there else math.nan], dtype=np.float64))[0])
        return code if code < len(self._counts) else None

    def evidence(self, value: object, old: int, new: int) -> float:
        """Log ratio of how common a value is under the label `new` and under `old`; 0 for one never seen."""
        code = self._code_of(value)
        if code is None or self._given is None:
            return 0.0
        here, n_values = self._given[self._codes == code], len(self._counts)
        before, after = (
            (np.count_nonzero(here == label) + 1) / (np.count_nonzero(self._given == label) + n_values)
            for label in (old, new)
        )
        return math.log(after / before)

    def surprise(self, value: Any) -> tuple[float, str]:
        """How unusual a value is beyond what is usual in its column, so that a column of ids is silent."""
        n = len(self._codes)
        if self._edges is not None:
            if value is None or value != value:
                share = self._missing
            else:
                at = np.searchsorted(self._distances, abs(float(value) - self._middle), side="left")
                share = 1 - at / max(1, len(self._distances))
            share, usual = max(share, 1 / n), 1.0  # the mean of -log of a uniform share
        else:
            code = self._code_of(value)
            shares = self._counts[self._counts > 0] / n
            share = 1 / n if code is None else self._counts[code] / n
            usual = -float((shares * np.log(shares)).sum())
        score = -math.log(share) - usual
        return score, f"{number(float(share), '%')} of rows are as unusual" if score > 1 and share <= 0.05 else ""


def spell(value: object) -> str:
    """A value as text."""
    if value is None or value != value:
        return "missing"
    if isinstance(value, np.generic):
        value = value.item()
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:LONGEST]

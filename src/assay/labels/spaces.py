"""A label space: which values a label can take, and in which order.

Class order is part of the space. Two arrays whose columns mean different classes are the oldest silent bug of this
field, so every space has a fingerprint and every operation that joins two arrays checks it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError


class Kind(StrEnum):
    """What sort of truth a space holds."""

    CATEGORICAL = "categorical"
    MULTILABEL = "multilabel"
    ORDINAL = "ordinal"
    REAL = "real"
    DURATION = "duration"
    SEQUENCE = "sequence"
    MASK = "mask"
    RANKING = "ranking"
    CODE = "code"
    LATTICE = "lattice"
    SOLUTION = "solution"


@dataclass(frozen=True, slots=True)
class Space:
    """An ordered set of class names.

    Parameters
    ----------
    names : the k class names in column order; empty for spaces without classes (real, duration).
    kind : what sort of truth this is.
    open_set : whether rows may belong to a class that is not in `names`.
    """

    names: tuple[str, ...]
    kind: Kind = Kind.CATEGORICAL
    open_set: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.names, str):
            raise InputError(f"Class names must be a sequence of names, got the single string {self.names!r}.")
        object.__setattr__(self, "names", tuple(str(name) for name in self.names))
        object.__setattr__(self, "kind", Kind(self.kind))
        first: dict[str, int] = {}
        for position, name in enumerate(self.names):
            if name in first:
                raise InputError(f"Class names must differ: {name!r} stands at {first[name]} and at {position}.")
            first[name] = position

    @property
    def n_classes(self) -> int:
        """Number of classes, k."""
        return len(self.names)

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change with the kind, the names and their order."""
        text = json.dumps([self.kind.value, self.names, self.open_set], ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def require(self, other: Space) -> None:
        """Raise unless `other` is this very space, saying where they part."""
        if self.fingerprint == other.fingerprint:
            return
        if self.kind != other.kind:
            raise InputError(f"Label spaces differ in kind: {self.kind.value} and {other.kind.value}.")
        if set(self.names) == set(other.names) and self.names != other.names:
            at = next(i for i, (a, b) in enumerate(zip(self.names, other.names, strict=True)) if a != b)
            raise InputError(
                f"The classes come in another order: column {at} is {self.names[at]!r} here and {other.names[at]!r} "
                "there. Re-order the columns with `Space.permutation` before joining the arrays."
            )
        missing = [name for name in self.names if name not in set(other.names)][:3]
        extra = [name for name in other.names if name not in set(self.names)][:3]
        raise InputError(
            f"Label spaces differ: {self.n_classes} and {other.n_classes} classes; "
            f"only here {missing}, only there {extra}."
        )

    def permutation(self, other: Space) -> npt.NDArray[np.int64]:
        """Indices `p` with `array_of_other[:, p]` in this space's column order. Both must hold the same names."""
        if set(self.names) != set(other.names):
            self.require(other)
        where = {name: i for i, name in enumerate(other.names)}
        return np.array([where[name] for name in self.names], dtype=np.int64)

    def encode(
        self, values: Sequence[object] | npt.NDArray[np.generic], mask: npt.NDArray[np.bool_] | None = None
    ) -> npt.NDArray[np.int32]:
        """Turn class names into codes `(n,)` int32; an unknown name raises and names its row.

        Rows where `mask` (n,) is false hold no label: they are not read and get code 0.
        """
        where = {name: i for i, name in enumerate(self.names)}
        found, inverse = distinct(values)
        codes = np.zeros(len(found), dtype=np.int32)
        unknown = {}
        for i, value in enumerate(found):
            code = where.get(name_of(value))
            if code is None:
                unknown[i] = value
            else:
                codes[i] = code
        if unknown:
            wrong = np.isin(inverse, list(unknown))
            rows = np.flatnonzero(wrong if mask is None else wrong & mask)
            if rows.size:
                known = ", ".join(map(repr, self.names[:5])) + (", ..." if self.n_classes > 5 else "")
                came = name_of(unknown[int(inverse[rows[0]])])
                raise InputError(f"Unknown class {came!r}: the space holds {known}.", row=int(rows[0]))
        return codes[inverse]

    def decode(self, codes: npt.ArrayLike) -> list[str]:
        """Turn codes `(n,)` back into class names; a code outside 0..k-1 raises and names its row."""
        array = np.asarray(codes, dtype=np.int64)
        wrong = np.flatnonzero((array < 0) | (array >= self.n_classes))
        if wrong.size:
            row = int(wrong[0])
            raise InputError(f"Code {array[row]} names no class: codes run from 0 to {self.n_classes - 1}.", row=row)
        return [self.names[code] for code in array]

    @classmethod
    def from_values(cls, values: Iterable[object], kind: Kind = Kind.CATEGORICAL) -> Space:
        """Make the space of the values seen: finite numbers in numeric order, other names in code-point order."""
        found, _ = distinct(values if isinstance(values, np.ndarray) else list(values))
        names = {name_of(value) for value in found}
        try:
            numbers = {name: float(name) for name in names}
        except ValueError:
            return cls(tuple(sorted(names)), kind)
        if not all(math.isfinite(number) for number in numbers.values()):  # "nan" has no place in an order
            return cls(tuple(sorted(names)), kind)
        return cls(tuple(sorted(names, key=lambda name: (numbers[name], name))), kind)


def name_of(value: object) -> str:
    """Name of the class that a value stands for; 3.0 is named "3", because a missing cell turns integers into floats.

    >>> name_of(3.0), name_of(3), name_of("3.0")
    ('3', '3', '3.0')
    """
    if isinstance(value, float | np.floating) and value.is_integer():
        return str(int(value))
    return str(value)


def distinct(values: Sequence[object] | npt.NDArray[np.generic]) -> tuple[list[object], npt.NDArray[np.int64]]:
    """Return the different values, and for each row which of them it holds `(n,)`.

    Columns of ten million rows hold few values, so what is slow in Python is done once a value, not once a row.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "biufU":
        typed, inverse = distinct_typed(values)
        return list(typed), inverse
    where: dict[tuple[type, object], int] = {}  # the type tells True from 1, which Python holds equal
    inverse = np.empty(len(values), dtype=np.int64)
    for row, value in enumerate(values):
        try:
            inverse[row] = where.setdefault((type(value), value), len(where))
        except TypeError:
            raise InputError(
                f"A class name cannot be a {type(value).__name__}: give text or numbers.", row=row
            ) from None
    return [value for _, value in where], inverse


def distinct_typed(values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Return what `numpy.unique` says of a typed column `(n,)`: sorted values, and which of them each row holds."""
    if values.dtype.kind in "iu" and len(values):
        low, high = int(values.min()), int(values.max())
        if high - low < 4 * len(values) and high < 2**62:  # a table of what occurs beats sorting
            at = values.astype(np.int64) - low
            occurs = np.zeros(high - low + 1, dtype=bool)
            occurs[at] = True
            return np.flatnonzero(occurs) + low, (np.cumsum(occurs) - 1)[at]
    found, inverse = np.unique(values, return_inverse=True)
    return found, inverse.astype(np.int64).reshape(len(values))

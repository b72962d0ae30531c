"""Masks: a class or a number for every token, pixel or frame of each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels.checks import (
    Bools,
    as_integers,
    as_mask,
    as_pointer,
    as_reals,
    as_rows,
    of_kind,
    pointer_of,
    take_ragged,
)
from assay.labels.container import Container
from assay.labels.spaces import Kind, Space


@dataclass(frozen=True, slots=True, eq=False)
class Masks(Container):
    """Ragged values: one sequence a row, one value an element. Pixels come row by row.

    Parameters
    ----------
    space : kind categorical or mask with k names: the values are class codes; kind real: they are weights.
    values : `(t,)` class codes int32, or float32 weights.
    offsets : `(n + 1,)` int64: row i owns values[offsets[i]:offsets[i + 1]]; a row may be empty.
    mask : `(t,)` bool, false = ignore this element; None when none is ignored.

    Examples
    --------
    >>> masks = Masks.from_spans(Space(("O", "name")), [5, 2], [[(1, 3, "name")], []])
    >>> masks.row(0).tolist(), masks.spans(0)
    ([0, 1, 1, 0, 0], [(0, 1, 'O'), (1, 3, 'name'), (3, 5, 'O')])
    """

    space: Space
    values: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]
    mask: Bools | None = None

    def __post_init__(self) -> None:
        of_kind(self.space, "Masks", Kind.CATEGORICAL, Kind.MASK, Kind.REAL)
        mask = as_mask(self.mask, np.shape(self.values), "masks")
        if self.space.kind is Kind.REAL:
            values: npt.NDArray[Any] = as_reals(self.values, "Mask weights", dtypes=(np.float32,), mask=mask)
        else:
            values = as_integers(self.values, "Mask classes", high=self.space.n_classes, mask=mask)
        offsets = as_pointer(self.offsets, len(values), "masks")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "offsets", offsets)
        object.__setattr__(self, "mask", mask)

    @classmethod
    def from_rows(cls, space: Space, rows: Sequence[npt.ArrayLike]) -> Masks:
        """Read one array of values a row."""
        arrays = [np.asarray(row).reshape(-1) for row in rows]
        empty = np.zeros(0, dtype=np.float32 if space.kind is Kind.REAL else np.int32)
        values = np.concatenate(
            [empty, *(array.astype(array.dtype if array.size else empty.dtype) for array in arrays)]
        )
        return cls(space, values, pointer_of([len(array) for array in arrays]))

    @classmethod
    def from_spans(cls, space: Space, lengths: Sequence[int], spans: Sequence[Sequence[tuple[int, int, str]]]) -> Masks:
        """Read spans (start, stop, class name) for each row; elements in no span get the first class of the space."""
        offsets = pointer_of(lengths)
        values = np.zeros(offsets[-1], dtype=np.int32)
        filled = np.zeros(offsets[-1], dtype=bool)
        for row, (begin, length) in enumerate(zip(offsets[:-1], lengths, strict=True)):
            for start, stop, name in spans[row]:
                if not 0 <= start < stop <= length:
                    raise InputError(f"The span {start}..{stop} leaves its row of {length} elements.", row=row)
                here = slice(begin + start, begin + stop)
                if filled[here].any():
                    raise InputError(f"The span {start}..{stop} overlaps an earlier one.", row=row)
                filled[here] = True
                if name not in space.names:
                    raise InputError(f"Unknown class {name!r}: the space holds {list(space.names[:5])}.", row=row)
                values[here] = space.names.index(name)
        return cls(space, values, offsets)

    @property
    def n_rows(self) -> int:
        """Number of sequences, n."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Number of elements of each row, `(n,)`."""
        return np.diff(self.offsets)

    @property
    def present(self) -> Bools:
        """Which elements are not ignored, `(t,)` bool."""
        return np.ones(len(self.values), dtype=bool) if self.mask is None else self.mask

    def row(self, i: int) -> npt.NDArray[Any]:
        """Return the values of row i, a view."""
        return self.values[self.offsets[i] : self.offsets[i + 1]]

    def spans(self, i: int) -> list[tuple[int, int, str]]:
        """Return the runs of equal class in row i as (start, stop, class name); ignored elements are left out."""
        values = self.row(i).astype(np.int64)
        values[~self.present[self.offsets[i] : self.offsets[i + 1]]] = -1  # only to break the runs
        cuts = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)] if len(values) else []
        runs = pairwise(cuts)
        return [(start, stop, self.space.names[values[start]]) for start, stop in runs if values[start] >= 0]

    def take(self, rows: npt.ArrayLike) -> Masks:
        """Return the sequences of the chosen rows."""
        offsets, at = take_ragged(self.offsets, as_rows(rows, self.n_rows))
        return Masks(self.space, self.values[at], offsets, None if self.mask is None else self.mask[at])

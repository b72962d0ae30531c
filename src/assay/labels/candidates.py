"""Candidate sets: the truth is one of these classes, nobody says which."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels.checks import CLASSES, Bools, Ints, as_integers, as_pointer, as_rows, of_kind, pointer_of, take_ragged
from assay.labels.container import Container
from assay.labels.spaces import Space


@dataclass(frozen=True, slots=True, eq=False)
class Candidates(Container):
    """A non-empty set of classes a row. A set of one is a hard label; the set of all k says nothing.

    Parameters
    ----------
    space : the k classes.
    ptr : offsets `(n + 1,)` int64: row i owns members[ptr[i]:ptr[i + 1]].
    members : class codes `(m,)` int32, rising within a row.

    Examples
    --------
    >>> sets = Candidates.from_sets([{"cat"}, {"dog", "cat"}, None])
    >>> sets.sizes.tolist(), sets.sets()
    ([1, 2, 2], [('cat',), ('cat', 'dog'), ('cat', 'dog')])
    """

    space: Space
    ptr: npt.NDArray[np.int64]
    members: Ints

    def __post_init__(self) -> None:
        of_kind(self.space, "Candidate sets", *CLASSES)
        members = as_integers(self.members, "Candidate classes", high=self.space.n_classes)
        ptr = as_pointer(self.ptr, len(members), "candidate sets", empty=False)
        row_of = np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
        falls = (np.diff(members) <= 0) & (np.diff(row_of) == 0)
        if falls.any():
            row = int(row_of[int(np.argmax(falls))])
            raise InputError("The classes of a candidate set must rise and differ: sort them first.", row=row)
        object.__setattr__(self, "members", members)
        object.__setattr__(self, "ptr", ptr)

    @classmethod
    def from_sets(cls, rows: Sequence[Iterable[object] | None], space: Space | None = None) -> Candidates:
        """Read one set of class names a row; None means that every class is possible."""
        lists = [None if row is None else list(row) for row in rows]
        if space is None:
            space = Space.from_values(value for row in lists for value in row or ())
        everything = np.arange(space.n_classes)
        codes = [everything if row is None else np.unique(space.encode(row)) for row in lists]
        members = np.concatenate([np.zeros(0, dtype=np.int64), *codes]).astype(np.int32)
        return cls(space, pointer_of([len(c) for c in codes]), members)

    @classmethod
    def from_indicator(cls, space: Space, indicator: npt.NDArray[np.bool_]) -> Candidates:
        """Read a matrix `(n, k)` bool, true = this class is possible."""
        rows, members = np.nonzero(indicator)
        return cls(space, pointer_of(np.bincount(rows, minlength=len(indicator))), members.astype(np.int32))

    @property
    def n_rows(self) -> int:
        """Number of rows, n."""
        return len(self.ptr) - 1

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Number of candidates of each row, `(n,)`."""
        return np.diff(self.ptr)

    def indicator(self) -> Bools:
        """Whether each class is possible, `(n, k)` bool."""
        out = np.zeros((self.n_rows, self.space.n_classes), dtype=bool)
        out[np.repeat(np.arange(self.n_rows), self.sizes), self.members] = True
        return out

    def sets(self) -> list[tuple[str, ...]]:
        """Class names of each row, in the order of the space."""
        names = [self.space.names[code] for code in self.members]
        return [tuple(names[start:stop]) for start, stop in zip(self.ptr[:-1], self.ptr[1:], strict=True)]

    def take(self, rows: npt.ArrayLike) -> Candidates:
        """Return the sets of the chosen rows."""
        ptr, at = take_ragged(self.ptr, as_rows(rows, self.n_rows))
        return Candidates(self.space, ptr, self.members[at])

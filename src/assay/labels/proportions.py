"""Proportions: how many of a group belong to each class, not which ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels.checks import (
    CLASSES,
    Floats,
    Ints,
    as_integers,
    as_pointer,
    as_reals,
    as_rows,
    first,
    of_kind,
    take_ragged,
)
from assay.labels.container import Container
from assay.labels.soft import TOLERANCE
from assay.labels.spaces import Space


@dataclass(frozen=True, slots=True, eq=False)
class Proportions(Container):
    """Class counts or class shares of bags of items; the rows are the bags, and no item is in two of them.

    Parameters
    ----------
    space : the k classes.
    n_items : number of items that `members` counts in, whether or not each is in a bag.
    ptr : offsets `(b + 1,)` int64: bag i owns members[ptr[i]:ptr[i + 1]]. A bag is not empty.
    members : item numbers `(m,)` int64.
    counts : `(b, k)` int32, adding up to the size of each bag; or None when only shares are known.
    shares : `(b, k)` float32 or float64, adding up to 1; or None when the counts are known.
    """

    space: Space
    n_items: int
    ptr: npt.NDArray[np.int64]
    members: Ints
    counts: Ints | None = None
    shares: Floats | None = None

    def __post_init__(self) -> None:
        of_kind(self.space, "Proportions", *CLASSES)
        members = as_integers(self.members, "Members of bags", dtypes=(np.int64,), high=self.n_items)
        ptr = as_pointer(self.ptr, len(members), "bags", empty=False)
        twice = np.bincount(members, minlength=1) > 1
        if twice.any():
            raise InputError("An item must be in one bag only.", row=int(np.argmax(twice)))
        if (self.counts is None) == (self.shares is None):
            raise InputError("Bags need either counts or shares, and not both.")
        given: Any = self.counts if self.counts is not None else self.shares
        shape = (len(ptr) - 1, self.space.n_classes)
        if np.shape(given) != shape:
            raise InputError(f"Bags need one row a bag and one column a class, {shape}; got {np.shape(given)}.")
        if self.counts is not None:
            counts = as_integers(self.counts, "Counts of bags", ndim=2)
            row = first(counts.sum(axis=1) != np.diff(ptr))
            if row is not None:
                size = ptr[row + 1] - ptr[row]
                raise InputError(f"A bag of {size} items has counts that add up to {counts[row].sum()}.", row=row)
            object.__setattr__(self, "counts", counts)
        if self.shares is not None:
            shares = as_reals(self.shares, "Shares of bags", dtypes=(np.float64, np.float32), ndim=2)
            row = first((shares.min(axis=1, initial=0) < 0) | (np.abs(shares.sum(axis=1) - 1) > TOLERANCE))
            if row is not None:
                raise InputError(f"The shares of a bag must be positive and add up to 1, got {shares[row]}.", row=row)
            object.__setattr__(self, "shares", shares)
        object.__setattr__(self, "members", members)
        object.__setattr__(self, "ptr", ptr)

    @property
    def n_rows(self) -> int:
        """Number of bags, b."""
        return len(self.ptr) - 1

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Number of items of each bag, `(b,)`."""
        return np.diff(self.ptr)

    @property
    def p(self) -> npt.NDArray[np.float64]:
        """Share of each class in each bag, `(b, k)`."""
        if self.counts is not None:
            return self.counts / self.sizes[:, None]
        return np.asarray(self.shares, dtype=np.float64)

    def bag_of(self) -> npt.NDArray[np.int64]:
        """Bag of each item `(n_items,)`, and b (one past the last) for an item in none."""
        bag = np.full(self.n_items, self.n_rows, dtype=np.int64)
        bag[self.members] = np.repeat(np.arange(self.n_rows), self.sizes)
        return bag

    def take(self, rows: npt.ArrayLike) -> Proportions:
        """Return the chosen bags, each once; items keep their numbers."""
        chosen = as_rows(rows, self.n_rows)
        ptr, at = take_ragged(self.ptr, chosen)
        counts = None if self.counts is None else self.counts[chosen]
        shares = None if self.shares is None else self.shares[chosen]
        return Proportions(self.space, self.n_items, ptr, self.members[at], counts, shares)

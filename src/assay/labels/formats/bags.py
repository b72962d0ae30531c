"""Bags of rows with known shares of the classes, from an id a row and a table of shares."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels.checks import pointer_of, take_ragged
from assay.labels.proportions import Proportions
from assay.labels.soft import TOLERANCE

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Bags:
    """Bags of rows, which may overlap, unlike those of `Proportions`; a row may be in none.

    Parameters
    ----------
    n_rows : number of rows that `members` counts in.
    names : (b,) id of each bag.
    ptr : (b + 1,) bag i owns members[ptr[i]:ptr[i + 1]].
    members : (m,) row numbers.
    shares : (b, k) share of each class; rows add up to 1.
    classes : (k,) in the order of the columns of `shares`.
    """

    n_rows: int
    names: tuple[Any, ...]
    ptr: Ints
    members: Ints
    shares: Floats
    classes: npt.NDArray[Any]

    @property
    def sizes(self) -> Ints:
        """Number of rows of each bag (b,)."""
        return np.diff(self.ptr)

    @property
    def bag_of(self) -> Ints:
        """Bag of each membership (m,)."""
        return np.repeat(np.arange(len(self.names)), self.sizes)

    @property
    def base_rate(self) -> Floats:
        """Share of each class in all bags together (k,)."""
        rate: Floats = self.sizes @ self.shares / len(self.members)
        return rate

    def sums(self, values: npt.NDArray[Any]) -> Floats:
        """Sum over the members of each bag (b, k) of a table with one line a row (n, k)."""
        return np.asarray(np.add.reduceat(values[self.members], self.ptr[:-1], axis=0))

    def row_means(self, values: npt.NDArray[Any], empty: Any) -> Floats:
        """Mean over the bags of each row (n, k) of a table with one line a bag (b, k); `empty` for rows in none."""
        bag, count = self.bag_of, np.bincount(self.members, minlength=self.n_rows)
        columns = [np.bincount(self.members, values[bag, c], self.n_rows) for c in range(values.shape[1])]
        return np.where(count[:, None] > 0, np.stack(columns, axis=1) / np.maximum(count, 1)[:, None], empty)

    def share_errors(self, p: Floats) -> Floats:
        """How far the means over bags of chances (n, k) are from the shares, on average over classes (b,)."""
        return np.asarray(np.abs(self.sums(p) / self.sizes[:, None] - self.shares).mean(axis=1))

    def take(self, chosen: npt.ArrayLike) -> Bags:
        """Some of the bags; rows keep their numbers."""
        at = np.asarray(chosen, dtype=np.int64)
        ptr, places = take_ragged(self.ptr, at)
        names = tuple(self.names[i] for i in at)
        return Bags(self.n_rows, names, ptr, self.members[places], self.shares[at], self.classes)


def read_bags(
    bags: Any,
    proportions: Mapping[Any, Any] | None = None,
    classes: Sequence[Any] | None = None,
    n_rows: int | None = None,
) -> Bags:
    """Read bags, and check that they add up.

    Parameters
    ----------
    bags : the id of each row's bag (n,), None or nan for a row in none; or for each row a list of ids; or
        `Proportions`, which hold everything.
    proportions : by id of the bag, the share of the second class; or k shares that add up to 1; or k counts that add
        up to the size of the bag.
    classes : the k classes; None: 0..k-1.
    n_rows : how many rows there must be.

    Raises
    ------
    InputError for bags without rows or without a proportion, for shares that are negative, above one or no number, for
    shares and counts that do not add up, and for a row that is twice in a bag.

    Examples
    --------
    >>> bags = read_bags(["a", "a", "b"], {"a": 0.5, "b": 1.0})
    >>> bags.ptr.tolist(), bags.members.tolist(), bags.shares.tolist()
    ([0, 2, 3], [0, 1, 2], [[0.5, 0.5], [0.0, 1.0]])
    >>> read_bags(["a", "a", "b"], {"a": [2, 1], "b": [0, 1]})
    Traceback (most recent call last):
    assay.errors.InputError: Bag 'a' of 2 rows has counts that add up to 3. (first offending row: 0)
    """
    if isinstance(bags, Proportions):
        if proportions is not None or classes is not None:
            raise InputError("Proportions hold their shares and classes: leave out `proportions` and `classes`.")
        _expect(n_rows, bags.n_items)
        names = tuple(range(bags.n_rows))
        members = bags.members.astype(np.int64)
        return Bags(bags.n_items, names, bags.ptr, members, bags.p, np.asarray(bags.space.names))
    if proportions is None:
        raise InputError("Bags came without proportions: give a share for each bag, such as {'a': 0.25, 'b': 0.5}.")
    table = dict(proportions.items())
    ids, members, code = _memberships(bags)
    n = len(bags)
    _expect(n_rows, n)
    if not ids:
        raise InputError("No row is in a bag: there is nothing to learn from.")
    order = np.lexsort((members, code))
    members, code = members[order], code[order]
    twice = (np.diff(members) == 0) & (np.diff(code) == 0)
    if twice.any():
        at = int(twice.argmax())
        raise InputError(f"A row is twice in bag {ids[code[at]]!r}.", row=int(members[at]))
    ptr = pointer_of(np.bincount(code, minlength=len(ids)))
    rows = members[ptr[:-1]]
    for name, row in zip(ids, rows, strict=True):
        if name not in table:
            near = next((key for key in table if str(key) == str(name)), None)
            hint = "" if near is None else f" The proportions name {near!r}, which is {type(near).__name__}."
            raise InputError(f"Bag {name!r} has no proportion.{hint}", row=int(row))
    for name in table.keys() - set(ids):
        raise InputError(f"The proportions name bag {name!r}, which has no rows: an empty bag says nothing, drop it.")
    given = [np.atleast_1d(np.asarray(table[name])) for name in ids]
    k = 2 if given[0].shape == (1,) else len(given[0])
    shares = np.empty((len(ids), k))
    for i, (name, said) in enumerate(zip(ids, given, strict=True)):
        shares[i] = _shares(name, said, int(ptr[i + 1] - ptr[i]), given[0].shape, int(rows[i]))
    return Bags(n, tuple(ids), ptr, members, shares, _classes(classes, k))


def _expect(n_rows: int | None, n: int) -> None:
    if n_rows is not None and n != n_rows:
        raise InputError(f"X has {n_rows} rows and the bags are of {n}: they must be of the same rows.")


def _memberships(bags: Any) -> tuple[list[Hashable], Ints, Ints]:
    """Ids, and the row and the code of the id of each membership."""
    ragged = not isinstance(bags, np.ndarray) and any(isinstance(each, list | tuple | set) for each in bags)
    if ragged:
        lists = [each if isinstance(each, list | tuple | set) else [each] for each in bags]
        members = np.repeat(np.arange(len(lists)), [len(each) for each in lists])
        flat: Any = [name for each in lists for name in each]
    else:
        flat = np.asarray(bags)
        if flat.ndim != 1:
            raise InputError(f"Bags have shape {flat.shape}: give one id a row, or a list of ids a row.")
        members = np.arange(len(flat))
    if isinstance(flat, np.ndarray) and flat.dtype.kind in "iubUS":
        found, code = np.unique(flat, return_inverse=True)
        return found.tolist(), members, code.astype(np.int64)
    codes: dict[Hashable, int] = {}
    plain = flat.tolist() if isinstance(flat, np.ndarray) else flat
    missing = [name is None or name != name for name in plain]
    code = np.array(
        [-1 if none else codes.setdefault(name, len(codes)) for name, none in zip(plain, missing, strict=True)],
        dtype=np.int64,
    )
    return list(codes), members[code >= 0], code[code >= 0]


def _shares(name: Any, said: npt.NDArray[Any], size: int, shape: tuple[int, ...], row: int) -> Floats:
    """Shares (k,) of a bag from what was said of it."""
    if said.shape != shape or said.ndim != 1:
        raise InputError(f"Bag {name!r} has {said.size} numbers and the first bag {shape[0]}.", row=row)
    if said.dtype.kind not in "iufb":
        raise InputError(f"The proportion of bag {name!r} is {said.tolist()}: expected numbers.", row=row)
    values = said.astype(np.float64)
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise InputError(
            f"The proportion of bag {name!r} is {said.tolist()}: it can be neither negative nor nan.", row=row
        )
    if len(values) == 1:
        if values[0] > 1:
            hint = (
                "percentages are to be divided by 100, and counts to be given for every class, as [negative, positive]"
            )
            raise InputError(f"The share of bag {name!r} is {values[0]:g}, above one: {hint}.", row=row)
        return np.array([1 - values[0], values[0]])
    total = values.sum()
    if abs(total - 1) <= TOLERANCE:
        return np.asarray(values / total)
    whole = (values == np.round(values)).all()
    if not whole:
        raise InputError(f"The shares of bag {name!r} add up to {total:g}, not to 1.", row=row)
    if total != size:
        raise InputError(f"Bag {name!r} of {size} rows has counts that add up to {total:g}.", row=row)
    return np.asarray(values / size)


def _classes(classes: Sequence[Any] | None, k: int) -> npt.NDArray[Any]:
    found = np.arange(k) if classes is None else np.asarray(classes)
    if found.shape != (k,) or len(set(found.tolist())) != k:
        raise InputError(f"The classes are {found.tolist()}: the proportions tell of {k} different ones.")
    return found

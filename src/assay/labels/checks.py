"""Checks that every container shares: read-only arrays, masks, codes, row indices, ragged pointers.

Each raises `InputError` with what came, what was expected and the first offending row. Values under a false mask are
never read: they are set to zero, so that equal labels are equal arrays.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels.spaces import Kind, Space

Ints: TypeAlias = npt.NDArray[np.integer[Any]]
Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Bools: TypeAlias = npt.NDArray[np.bool_]

CLASSES = (Kind.CATEGORICAL, Kind.ORDINAL, Kind.CODE)  # spaces whose truth is exactly one of k


def frozen(array: npt.NDArray[Any], came: object = None) -> npt.NDArray[Any]:
    """Return a read-only array: a copy, unless nobody else can write to it.

    `came` is what the caller gave; an array that shares no memory with it was made by a check and needs no copy.
    """
    owner: Any = array
    if isinstance(came, np.ndarray | list | tuple) and not (
        isinstance(came, np.ndarray) and np.may_share_memory(came, array)
    ):
        owner = None
    while isinstance(owner, np.ndarray):
        if owner.flags.writeable:
            array = array.copy()
            break
        owner = owner.base
    array.setflags(write=False)
    return array


def first(wrong: Bools) -> int | None:
    """Index of the first row where `wrong` (n,) or (n, k) is true, or None."""
    if not wrong.any():
        return None
    return int(np.argmax(wrong.reshape(len(wrong), -1).any(axis=1)))


def as_mask(mask: npt.ArrayLike | None, shape: tuple[int, ...], what: str) -> Bools | None:
    """Return a presence mask of `shape`, true = present; None when everything is present."""
    if mask is None:
        return None
    array = np.asarray(mask)
    if array.dtype != np.bool_:
        raise InputError(f"The mask of {what} must hold booleans (true = present), got {array.dtype}.")
    if array.shape != shape:
        raise InputError(f"The mask of {what} has shape {array.shape}, expected {shape}.")
    return None if array.all() else frozen(array, mask)


def as_integers(
    values: npt.ArrayLike,
    what: str,
    *,
    dtypes: tuple[type[np.integer[Any]], ...] = (np.int32,),
    high: int | None = None,
    mask: Bools | None = None,
    ndim: int = 1,
) -> Ints:
    """Return read-only integers in 0..high-1 (any non-negative integer without `high`).

    The dtype is kept when it is one of `dtypes`, else the first of them is used.
    """
    array = np.asarray(values)
    if array.size == 0 and array.dtype.kind == "f":  # an empty list
        array = array.astype(dtypes[0])
    if array.dtype.kind not in "iu":
        raise InputError(f"{what} must be integer codes, got {array.dtype}: encode names with the label space first.")
    if array.ndim != ndim:
        raise InputError(f"{what} must have {ndim} dimension{'s' * (ndim > 1)}, got shape {array.shape}.")
    if mask is not None:
        array = np.where(mask, array, 0)
    top = high if high is not None else int(np.iinfo(dtypes[-1]).max) + 1
    if array.size and (array.min() < 0 or array.max() >= top):
        wrong = (array < 0) | (array >= top)
        row = first(wrong if mask is None else wrong & mask)
        if row is not None:
            hint = "; missing is a false mask, never -1" if array.min() < 0 else ""
            wanted = f"lie in 0..{top - 1}" if top else "be absent, the space has no classes"
            raise InputError(f"{what} must {wanted}; got {array.min()}..{array.max()}{hint}.", row=row)
    return frozen(array if array.dtype in dtypes else array.astype(dtypes[0]), values)


def as_reals(
    values: npt.ArrayLike,
    what: str,
    *,
    dtypes: tuple[type[np.floating[Any]], ...] = (np.float64,),
    mask: Bools | None = None,
    ndim: int = 1,
    finite: bool = True,
) -> Floats:
    """Return read-only floats; the dtype is kept when it is one of `dtypes`, else the first of them is used."""
    array = np.asarray(values)
    if array.dtype.kind not in "iufb":
        raise InputError(f"{what} must be numbers, got {array.dtype}.")
    if array.ndim != ndim:
        raise InputError(f"{what} must have {ndim} dimension{'s' * (ndim > 1)}, got shape {array.shape}.")
    if array.dtype not in dtypes:
        array = array.astype(dtypes[0])
    if mask is not None:
        array = np.where(mask if mask.ndim == ndim else mask[:, None], array, array.dtype.type(0))
    wrong = ~np.isfinite(array) if finite else np.isnan(array)
    row = first(wrong)
    if row is not None:
        raise InputError(f"{what} must be {'finite' if finite else 'numbers'}, got {array[row]}.", row=row)
    return frozen(array, values)


def of_kind(space: Space, what: str, *kinds: Kind) -> None:
    """Raise unless the space is of one of the kinds that these labels live in."""
    if space.kind not in kinds:
        wanted = " or ".join(repr(kind.value) for kind in kinds)
        raise InputError(f"{what} live in a space of kind {wanted}, got {space.kind.value!r}.")


def same_length(what: str, n: int, **columns: npt.NDArray[Any] | None) -> None:
    """Raise unless every given column has n entries."""
    for name, column in columns.items():
        if column is not None and len(column) != n:
            raise InputError(f"The column {name!r} of {what} has {len(column)} entries, expected {n}.")


def as_rows(rows: npt.ArrayLike, n_rows: int) -> npt.NDArray[np.int64]:
    """Return row numbers `(m,)` from row numbers or from booleans `(n_rows,)`; negative numbers are refused."""
    array = np.asarray(rows)
    if array.dtype == np.bool_:
        if array.shape != (n_rows,):
            raise InputError(f"A boolean selection must have shape ({n_rows},), got {array.shape}.")
        return np.flatnonzero(array)
    return as_integers(array, "Row numbers", dtypes=(np.int64,), high=n_rows).astype(np.int64)


def as_pointer(ptr: npt.ArrayLike, n_elements: int, what: str, *, empty: bool = True) -> npt.NDArray[np.int64]:
    """Return read-only offsets `(n + 1,)` int64: row i owns the elements ptr[i] to ptr[i + 1]."""
    array = as_integers(ptr, f"The offsets of {what}", dtypes=(np.int64,))
    if not array.size or array[0] != 0 or array[-1] != n_elements:
        ends = f"{array[0]} to {array[-1]}" if array.size else "nothing"
        raise InputError(f"The offsets of {what} must run from 0 to {n_elements}, got {ends}.")
    lengths = np.diff(array)
    row = first(lengths < 0)
    if row is not None:
        raise InputError(f"The offsets of {what} must not fall.", row=row)
    row = None if empty else first(lengths == 0)
    if row is not None:
        raise InputError(f"{what[0].upper()}{what[1:]} must not be empty.", row=row)
    return array.astype(np.int64, copy=False)


def pointer_of(lengths: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Offsets `(n + 1,)` of rows with the given lengths `(n,)`."""
    return np.concatenate([[0], np.cumsum(np.asarray(lengths, dtype=np.int64))]).astype(np.int64)


def take_ragged(ptr: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the offsets of the chosen rows, and the positions of their elements."""
    lengths = np.diff(ptr)[rows]
    new = pointer_of(lengths)
    return new, np.arange(new[-1]) + np.repeat(ptr[rows] - new[:-1], lengths)

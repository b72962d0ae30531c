"""The exact rows to prune, from blocks in any order: a bounded heap for every cell of a prune table."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from assay.kernels.blocks import in_parts, n_parts
from assay.kernels.confident_joint import DISAGREES, Ints, gap_level
from assay.kernels.probabilities import Rows, value


@njit(inline="always")  # type: ignore[untyped-decorator]
def _before(key: Any, row: int, other_key: Any, other_row: int) -> bool:
    """Whether an entry is removed before another: larger key, then earlier row."""
    return key > other_key or (key == other_key and row < other_row)


@njit(inline="always")  # type: ignore[untyped-decorator]  # a call would count references to each array, atomically
def _offer(cell: int, key: Any, row: int, first: Any, sizes: Any, keys: Any, rows: Any, roots: Any) -> None:
    """Keep an entry in its cell's heap, whose root is the entry that would leave first."""
    base, room, size = first[cell], first[cell + 1] - first[cell], sizes[cell]
    if size < room:
        at = size
        sizes[cell] = size + 1
        while at > 0:
            parent = (at - 1) // 2
            if not _before(keys[base + parent], rows[base + parent], key, row):
                break
            keys[base + at], rows[base + at] = keys[base + parent], rows[base + parent]
            at = parent
    else:
        if not _before(key, row, keys[base], rows[base]):
            return
        at = 0
        while 2 * at + 1 < room:
            child = 2 * at + 1
            if child + 1 < room and _before(
                keys[base + child], rows[base + child], keys[base + child + 1], rows[base + child + 1]
            ):
                child += 1
            if not _before(key, row, keys[base + child], rows[base + child]):
                break
            keys[base + at], rows[base + at] = keys[base + child], rows[base + child]
            at = child
    keys[base + at], rows[base + at] = key, row
    if sizes[cell] == room:
        roots[cell] = keys[base]


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _feed_margins(
    part: int,
    parts: int,
    wanted: int,
    start: int,
    bits: Any,
    given: Any,
    status: Any,
    gap: Any,
    begins: Any,
    columns: Any,
    first: Any,
    sizes: Any,
    keys: Any,
    rows: Any,
    roots: Any,
) -> None:
    """Offer `p[true] - p[given]` to every cell of the row's class that could still want it.

    Part `part` of `parts` serves its own classes. Rows are skipped unread when even their best margin is below what
    every cell of their class holds. Rows that disagree go first (`wanted`), for they fill the cells with high margins.
    """
    k = len(begins) - 1
    levels = np.empty(k, np.int64)
    for i in range(k):
        lowest = np.inf
        for cell in range(begins[i], begins[i + 1]):
            lowest = min(lowest, np.float64(roots[cell]))
        levels[i] = gap_level(lowest)
    for r in range(len(given)):
        if status[r] & DISAGREES != wanted:
            continue
        own = given[r]
        if own < 0 or gap[r] < levels[own] or own % parts != part:
            continue
        mine = value(bits[r, own])
        for cell in range(begins[own], begins[own + 1]):
            key = value(bits[r, columns[cell]]) - mine
            if key >= roots[cell]:
                _offer(cell, key, start + r, first, sizes, keys, rows, roots)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _feed_own(
    part: int, parts: int, start: int, bits: Any, given: Any, first: Any, sizes: Any, keys: Any, rows: Any, roots: Any
) -> None:
    """Offer the negated self-confidence of every row to the cell of its class."""
    for r in range(len(given)):
        own = given[r]
        if own < 0 or own % parts != part:
            continue
        key = -value(bits[r, own])
        if key >= roots[own]:
            _offer(own, key, start + r, first, sizes, keys, rows, roots)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _feed_entries(
    other_first: Any,
    other_sizes: Any,
    other_keys: Any,
    other_rows: Any,
    first: Any,
    sizes: Any,
    keys: Any,
    rows: Any,
    roots: Any,
) -> None:
    """Offer everything that another set of cells holds."""
    for cell in range(len(other_sizes)):
        for at in range(other_first[cell], other_first[cell] + other_sizes[cell]):
            _offer(cell, other_keys[at], other_rows[at], first, sizes, keys, rows, roots)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _mark(first: Any, sizes: Any, filled: Any) -> None:
    for cell in range(len(sizes)):
        filled[first[cell] : first[cell] + sizes[cell]] = True


class TopRows:
    """The rows to prune, exactly, from blocks in any order: a bounded heap for every cell of a prune table.

    Ties fall to the earlier row. Memory is one key and one row index for each row to be pruned.

    Parameters
    ----------
    room : (k, k) sparse int64 rows to remove for each (given, true) pair, by largest margin `p[true] - p[given]`;
        or (k,) int64 rows to remove from each given class, by least self-confidence.
    key_type : float32, or float64 for float64 probabilities.
    """

    def __init__(self, room: Any, key_type: npt.DTypeLike) -> None:
        self.room, self.key_type = room, np.dtype(key_type)
        self.margins = not isinstance(room, np.ndarray)
        cells = room.data if self.margins else room
        self._first = np.concatenate([[0], np.cumsum(cells)]).astype(np.int64)
        self._sizes = np.zeros(len(cells), np.int64)
        self._keys = np.empty(self._first[-1], self.key_type)
        self._rows = np.empty(self._first[-1], np.int64)
        self._roots = np.where(cells > 0, -np.inf, np.inf).astype(self.key_type)
        self._heaps = (self._first, self._sizes, self._keys, self._rows, self._roots)

    def fresh(self) -> TopRows:
        """Empty cells that already refuse what these would refuse."""
        empty = TopRows(self.room, self.key_type)
        empty._roots[:] = self._roots
        return empty

    def __getstate__(self) -> tuple[Any, ...]:
        """What to send: the filled part of the cells."""
        filled = self._filled()
        return self.room, self.key_type, self._sizes, self._roots, self._keys[filled], self._rows[filled]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Cells as they were sent."""
        room, key_type, sizes, roots, keys, rows = state
        self.__dict__.update(TopRows(room, key_type).__dict__)
        self._sizes[:], self._roots[:] = sizes, roots
        filled = self._filled()
        self._keys[filled], self._rows[filled] = keys, rows

    def _filled(self) -> npt.NDArray[np.bool_]:
        """Which places (sum of room,) hold an entry."""
        filled = np.zeros(len(self._rows), bool)
        _mark(self._first, self._sizes, filled)
        return filled

    def update(self, block: Rows) -> None:
        """Take in a block."""
        parts = n_parts(len(block.given))
        if not self.margins:
            own = (block.start, block.bits, block.given, *self._heaps)
            in_parts(lambda part: _feed_own(part, parts, *own), parts)
            return
        cells = (self.room.indptr.astype(np.int64), self.room.indices.astype(np.int64))
        both = (block.start, block.bits, block.given, block.status, block.gap, *cells, *self._heaps)
        in_parts(lambda part: _feed_margins(part, parts, DISAGREES, *both), parts)
        in_parts(lambda part: _feed_margins(part, parts, 0, *both), parts)

    def merge(self, other: TopRows) -> None:
        """Take in what other cells of the same table hold."""
        _feed_entries(other._first, other._sizes, other._keys, other._rows, *self._heaps)

    def chosen(self) -> Ints:
        """The rows to prune, without order; a row may come more than once."""
        return self._rows[self._filled()]

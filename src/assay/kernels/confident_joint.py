"""The second pass of confident learning: one sweep of the matrix that counts the confident joint and judges every row.

The sweep validates as it goes. It is a statistic that merges: blocks may come in any order, cut anywhere.

Legend of shapes: n rows, k classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy import sparse

from assay.errors import InputError
from assay.kernels.blocks import in_threads
from assay.kernels.label_scores import Score, scores_of_bits
from assay.kernels.probabilities import TOLERANCE, Rows, bits_of, explain, floats_of, value
from assay.kernels.row_results import RowResults

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Joint = Any  # (k, k) int64: numpy array, or scipy.sparse.csr_array above DENSE classes

DENSE = 2000  # classes up to which a (k, k) table is kept
DISAGREES, OFF_DIAGONAL = 1, 2  # bits of a row's status
SLACK = 1e-6  # how far below its threshold a candidate may lie, and the bonus that favours the given label in a tie
_LEVELS = 127.0


@njit(inline="always")  # type: ignore[untyped-decorator]  # a call would count references to each array, atomically
def _summarise(bits: Any, r: int, own: Any, floors: Any, nothing: Any, zero: Any) -> Any:
    """One branch-free sweep of a row: its sum, largest other value, smallest value, number of candidates."""
    total = value(zero)
    other = nothing
    low = zero
    hits = np.int32(0)
    for j in range(bits.shape[1]):
        b = bits[r, j]
        total += value(b)
        hits = np.int32(hits + np.int32(b >= floors[j]))
        rival = nothing if np.int32(j) == own else b
        other = rival if rival > other else other
        low = b if b < low else low
    return total, other, low, hits


@njit(inline="always")  # type: ignore[untyped-decorator]
def _first_equal(bits: Any, r: int, target: Any, own: Any) -> int:
    """First column other than `own` that holds `target`, as a minimum: it vectorises, which a search cannot."""
    first = np.int32(bits.shape[1])
    for j in range(bits.shape[1]):
        at = np.int32(j) if bits[r, j] == target and np.int32(j) != own else np.int32(bits.shape[1])
        first = at if at < first else first
    return int(first)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def gap_level(gap: float) -> int:
    """A byte that never falls as `gap` (best other class minus given class) grows; 256 for +inf."""
    if gap == np.inf:
        return 256
    return int(min(max((gap + 1.0) * _LEVELS, 0.0), 255.0))


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _margin(mine: Any, other: Any, one: Any) -> Any:
    """Normalised margin, rounded in this order, which the caller's licence to reorder sums must not touch."""
    return (mine - other + one) / (one + one)


@njit(nogil=True, cache=True, fastmath={"reassoc"})  # type: ignore[untyped-decorator]
def _sweep(
    bits: Any,
    given: Any,
    floors: Any,
    zero: Any,
    nothing: Any,
    one: Any,
    bonus: Any,
    margins: bool,
    suggested: Any,
    status: Any,
    gap: Any,
    scores: Any,
    diagonal: Any,
    pairs: Any,
) -> Any:
    """Second pass over rows; returns the first suspicious row (or -1) and how many off-diagonal pairs it wrote."""
    k = bits.shape[1]
    n_pairs = 0
    for r in range(len(given)):
        own = given[r]
        labelled = own >= 0
        total, other_bits, low, hits = _summarise(bits, r, np.int32(own if labelled else -1), floors, nothing, zero)
        if other_bits < zero:  # every other class is -0.0
            other_bits = zero
        other = value(other_bits)
        mine = value(bits[r, own]) if labelled else -one
        if low < zero:  # a negative number, a NaN with its sign set, or a harmless -0.0
            for j in range(k):
                if bits[r, j] < zero and value(bits[r, j]) != value(zero):
                    return r, n_pairs
        if not (abs(total - one) <= TOLERANCE and other <= one + TOLERANCE and mine <= one + TOLERANCE):
            return r, n_pairs

        first = own  # the first class of the largest probability
        agrees = labelled
        if not mine > other:
            # `other` is the largest of all; a tie goes to the earlier class, or within the bonus to the given one
            first = _first_equal(bits, r, other_bits, np.int32(own if labelled else -1))
            agrees = labelled and (mine + bonus > other or (mine + bonus == other and own < first))
            if labelled and mine == other and own < first:
                first = own
        suggested[r] = first
        if not labelled:
            status[r] = 0
            gap[r] = 0
            scores[r] = np.nan
            continue

        counted = own
        if hits > 1:
            counted = first
        elif hits == 1 and bits[r, own] < floors[own]:
            counted = 0
            while bits[r, counted] < floors[counted]:
                counted += 1
        if hits > 0:
            if counted == own:
                diagonal[own] += 1
            else:
                pairs[n_pairs] = own * k + counted
                n_pairs += 1
        status[r] = (0 if agrees else DISAGREES) | (OFF_DIAGONAL if hits > 0 and counted != own else 0)
        gap[r] = gap_level(other - mine)
        scores[r] = _margin(mine, other, one) if margins else mine
    return -1, n_pairs


def floors_of(thresholds: Floats, bits_dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Bits (k,) of the smallest number of the matrix's own type that reaches each threshold less the slack."""
    cutoff = thresholds - SLACK
    floats = cutoff.astype(floats_of(np.empty(0, bits_dtype)).dtype)
    up = floats.astype(np.float64) < cutoff
    floats[up] = np.nextafter(floats[up], floats.dtype.type(np.inf))
    floors: npt.NDArray[Any] = bits_of(floats[None])[0]
    return floors


class RowSweep:
    """Second pass: the confident joint, and the results of every row.

    Parameters
    ----------
    thresholds : (k,) from `SelfConfidence.thresholds`.
    n_rows : rows of the whole data set; None for a share of them, whose results are kept in pieces.
    bits_dtype : type of the blocks' bits.
    score, adjust : what to score rows by.

    Attributes
    ----------
    n_seen : rows seen.
    results : `RowResults` of all rows, when `n_rows` was told.
    """

    def __init__(
        self, thresholds: Floats, n_rows: int | None, bits_dtype: np.dtype[Any], score: Score, adjust: bool
    ) -> None:
        k = len(thresholds)
        self.thresholds, self.bits_dtype, self.score, self.adjust = thresholds, bits_dtype, score, adjust
        self.n_seen = 0
        self.results = None if n_rows is None else RowResults.empty(0, n_rows, bits_dtype)
        self._pieces: list[RowResults] = []
        self._diagonal = np.zeros(k, np.int64)
        self._pairs: list[Ints] = []
        self._table = np.zeros(k * k, np.int64) if k <= DENSE and n_rows is not None else None

    def fresh(self) -> RowSweep:
        """A sweep of no rows, to be merged."""
        return RowSweep(self.thresholds, None, self.bits_dtype, self.score, self.adjust)

    def update(self, block: Rows) -> None:
        """Take in a block; a bad row raises and is named."""
        n, k = block.bits.shape
        results = self._room(block.start, n)
        pairs = np.empty(n, np.int64)
        floors = floors_of(self.thresholds, self.bits_dtype)
        integer, real = self.bits_dtype.type, results.scores.dtype.type
        constants = (integer(0), integer(-1), real(1), real(SLACK), self.score == "normalized_margin")

        def task(start: int, stop: int) -> tuple[Ints, Ints]:
            diagonal, mine = np.zeros(k, np.int64), results.part(start, stop)
            columns = (mine.suggested, mine.status, mine.gap, mine.scores, diagonal, pairs[start:stop])
            bad, n_pairs = _sweep(block.bits[start:stop], block.given[start:stop], floors, *constants, *columns)
            if bad >= 0:
                explain(block, start + bad)
            return diagonal, pairs[start : start + n_pairs]

        parts = in_threads(task, n)
        if self.adjust or self.score == "confidence_weighted_entropy":
            shift = self.thresholds if self.adjust else None
            results.scores[:] = scores_of_bits(block.bits, block.given, self.score, shift)
        results.given = block.given[(results.status & DISAGREES) > 0].astype(np.min_scalar_type(k - 1))
        self._pieces.append(results)
        for diagonal, found in parts:
            self._count(diagonal, found)

    def merge(self, other: RowSweep) -> None:
        """Take in the blocks that another sweep saw."""
        for piece in other._pieces:
            room = self._room(piece.start, len(piece.status))
            room.copy(piece)
            self._pieces.append(room)
        self._count(other._diagonal, *other._pairs)

    def _room(self, start: int, n: int) -> RowResults:
        """Where the results of n rows from `start` go: into those of all rows, or into a piece of their own."""
        self.n_seen += n
        if self.results is None:
            return RowResults.empty(start, n, self.bits_dtype)
        if start + n > len(self.results.status):
            raise unstable_blocks(len(self.results.status), start + n)
        return self.results.part(start, start + n)

    def _count(self, diagonal: Ints, *pairs: Ints) -> None:
        self._diagonal += diagonal
        for found in pairs:
            if self._table is None:
                self._pairs.append(found.copy())
            else:
                np.add.at(self._table, found, 1)

    def joint(self) -> Joint:
        """The confident joint (k, k) int64, given class by true class; its diagonal is at least 1."""
        k = len(self._diagonal)
        diagonal = np.maximum(self._diagonal, 1)
        if self._table is not None:
            joint = self._table.reshape(k, k).copy()
            np.fill_diagonal(joint, diagonal)
            return joint
        cells, counts = np.unique(np.concatenate([*self._pairs, np.empty(0, np.int64)]), return_counts=True)
        every = np.arange(k)
        places: Any = (np.concatenate([cells // k, every]), np.concatenate([cells % k, every]))
        return sparse.coo_array((np.concatenate([counts, diagonal]), places), shape=(k, k)).tocsr()

    def given_of(self, flagged: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
        """Given classes, in row order, of the rows that `flagged` (n,) marks; only rows that disagree may be marked."""
        found = []
        for piece in sorted(self._pieces, key=lambda piece: piece.start):
            marks = flagged[piece.start : piece.start + len(piece.status)]
            found.append(piece.given[marks[(piece.status & DISAGREES) > 0]])
        return np.concatenate(found)

    def annotate(self, blocks: Iterable[Rows]) -> Iterator[Rows]:
        """The same blocks for a third pass, with what this pass found out about their rows."""
        assert self.results is not None
        for block in blocks:
            here = slice(block.start, block.start + len(block.given))
            yield replace(block, status=self.results.status[here], gap=self.results.gap[here])


def unstable_blocks(before: int, now: int) -> InputError:
    """The error of a source of blocks that gives other rows when it is read again."""
    return InputError(
        f"make_blocks gave {before} rows when first called and {now} when called again: it must return a new iterable "
        "over the same blocks every time, not one generator."
    )

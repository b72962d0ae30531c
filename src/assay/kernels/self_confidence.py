"""The first pass of confident learning: the mean probability of each class on the rows that were given it.

Sums are kept in fixed point (2^-60), where addition is exact: the means are correctly rounded, whatever the order or
the cut of the rows. Only one number of each row is read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from assay.kernels.blocks import in_threads
from assay.kernels.probabilities import TOLERANCE, UNLABELLED, Rows, explain, value

UNREACHABLE = 2.0  # threshold of a class without examples
LOWEST_THRESHOLD = 2e-6
_FIXED = 2.0**30


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _add_own(bits: Any, given: Any, counts: Any, whole: Any, part: Any) -> int:
    """Add each row's own-class probability to its class; return the first bad row, or -1."""
    for r in range(len(given)):
        own = given[r]
        if own == UNLABELLED:
            continue
        if own < 0 or own >= len(counts):
            return r
        p = np.float64(value(bits[r, own]))
        if not 0.0 <= p <= 1.0 + TOLERANCE:
            return r
        scaled = p * _FIXED
        high = np.int64(scaled)
        counts[own] += 1
        whole[own] += high
        part[own] += np.int64((scaled - high) * _FIXED)
    return -1


class SelfConfidence:
    """First pass: how many rows each class was given, and the mean probability of that class on them.

    Attributes
    ----------
    n_rows : rows seen, with and without a label.
    counts : (k,) int64 rows given each class.
    """

    def __init__(self, n_classes: int) -> None:
        self.n_rows = 0
        self.counts = np.zeros(n_classes, dtype=np.int64)
        self._whole = np.zeros(n_classes, dtype=np.int64)
        self._part = np.zeros(n_classes, dtype=np.int64)

    def fresh(self) -> SelfConfidence:
        """The statistic of no rows."""
        return SelfConfidence(len(self.counts))

    def update(self, block: Rows) -> None:
        """Take in a block; a bad label or probability raises and names its row."""

        def task(start: int, stop: int) -> SelfConfidence:
            mine = self.fresh()
            bad = _add_own(block.bits[start:stop], block.given[start:stop], mine.counts, mine._whole, mine._part)
            if bad >= 0:
                explain(block, start + bad)
            mine.n_rows = stop - start
            return mine

        for mine in in_threads(task, len(block.given)):
            self.merge(mine)

    def merge(self, other: SelfConfidence) -> None:
        """Add the rows of another block; exact, so the order is forgotten."""
        self.n_rows += other.n_rows
        self.counts += other.counts
        self._whole += other._whole
        self._part += other._part

    def thresholds(self) -> npt.NDArray[np.float64]:
        """Mean self-confidence of each class (k,), not below 2e-6; 2, which nothing reaches, for an empty class."""
        result = np.full(len(self.counts), UNREACHABLE)
        for j in np.flatnonzero(self.counts):  # Python integers: the quotient is correctly rounded
            total = (int(self._whole[j]) << 30) + int(self._part[j])
            result[j] = max(total / (int(self.counts[j]) << 60), LOWEST_THRESHOLD)
        return result

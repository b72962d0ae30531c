"""Bounds on how many rows of a finite table are wrong, from random samples of one or two groups of rows.

Counts drawn without replacement: `hypergeometric_bounds` inverts the exact tail tests, and `stratified_bounds` does it
for the sum over two strata (the nuisance stratum is searched over its own interval, Berger and Boos, 1994). Both hold
for a sample size fixed beforehand; for bounds that hold at every look see `assay.kernels.confidence_sequence`.
"""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.kernels.intervals import check_confidence

Floats = npt.NDArray[np.float64]


class Stratum(NamedTuple):
    """A finite group of rows and a random sample of it without replacement: counts of rows."""

    size: int
    reviewed: int
    wrong: int


@numba.njit(cache=True)
def _pmf(size: int, wrong: int, draws: int) -> tuple[int, Floats]:  # pragma: no cover - compiled
    """First value and probabilities of the number of wrong rows among `draws`, cut where below 1e-18 of the mode."""
    lowest, highest = max(0, draws - (size - wrong)), min(draws, wrong)
    mode = min(max((draws + 1) * (wrong + 1) // (size + 2), lowest), highest)
    up = [1.0]
    x = mode
    while x < highest and up[-1] > 1e-18:
        up.append(up[-1] * (wrong - x) * (draws - x) / ((x + 1.0) * (size - wrong - draws + x + 1.0)))
        x += 1
    down = [1.0]
    x = mode
    while x > lowest and down[-1] > 1e-18:
        down.append(down[-1] * x * (size - wrong - draws + x) / ((wrong - x + 1.0) * (draws - x + 1.0)))
        x -= 1
    out = np.empty(len(up) + len(down) - 1)
    for i in range(len(down)):
        out[len(down) - 1 - i] = down[i]
    for i in range(1, len(up)):
        out[len(down) - 1 + i] = up[i]
    return mode - len(down) + 1, out / out.sum()


@numba.njit(cache=True)
def _tail(a: tuple[int, int, int], m_a: int, b: tuple[int, int, int], m_b: int, at_most: bool) -> float:
    # Probability, if strata a and b hold m_a and m_b wrong rows, of an expanded total as small (large) as was seen.
    ca = a[0] / a[1] if a[1] > 0 else 0.0
    cb = b[0] / b[1] if b[1] > 0 else 0.0
    seen = ca * a[2] + cb * b[2]
    slack = 1e-9 * (1.0 + seen)
    first_a, p_a = _pmf(a[0], m_a, a[1])
    first_b, p_b = _pmf(b[0], m_b, b[1])
    below_b = np.cumsum(p_b)
    total = 0.0
    for i in range(len(p_a)):
        rest = seen - ca * (first_a + i)
        if cb == 0.0:
            inside = rest >= -slack if at_most else rest <= slack
            total += p_a[i] if inside else 0.0
            continue
        if at_most:
            j = int(np.floor((rest + slack) / cb)) - first_b
            total += p_a[i] * (0.0 if j < 0 else below_b[min(j, len(p_b) - 1)])
        else:
            j = int(np.ceil((rest - slack) / cb)) - first_b
            total += p_a[i] * (1.0 if j <= 0 else (0.0 if j >= len(p_b) else 1.0 - below_b[j - 1]))
    return total


@numba.njit(cache=True)
def _best_tail(
    a: tuple[int, int, int], b: tuple[int, int, int], total: int, box: tuple[int, int, int, int], at_most: bool
) -> float:
    # Largest tail probability over the ways to split `total` wrong rows between a and b, each within its own interval.
    low = max(box[0], total - box[3])
    high = min(box[1], total - box[2])
    best = 0.0
    if low > high:
        return best
    where = low
    step = max(1, (high - low) // 24)
    begin, end = low, high
    while True:  # a coarse walk, then ever finer ones around its best split: the tail is smooth in the split
        m_a = begin
        while True:
            p = _tail(a, m_a, b, total - m_a, at_most)
            if p > best:
                best, where = p, m_a
            if m_a >= end:
                break
            m_a = min(m_a + step, end)
        if step == 1:
            return best
        begin, end = max(low, where - step), min(high, where + step)
        step = max(1, step // 6)


@numba.njit(cache=True)
def _exact(size: int, draws: int, found: int, tail: float) -> tuple[int, int]:
    # Counts m that neither one-sided test at level `tail` rejects: smallest and largest.
    empty = (0, 0, 0)
    one = (size, draws, found)
    low, high = found, size - draws + found
    if draws == 0 or draws == size:
        return low, high
    good, bad = int(found * size // draws), high + 1
    while bad - good > 1:
        middle = (good + bad) // 2
        if _tail(one, middle, empty, 0, True) > tail:
            good = middle
        else:
            bad = middle
    upper = good
    good, bad = min(-(-found * size // draws), high), low - 1
    while good - bad > 1:
        middle = (good + bad) // 2
        if _tail(one, middle, empty, 0, False) > tail:
            good = middle
        else:
            bad = middle
    return good, upper


@numba.njit(cache=True)
def _exact_sum(a: tuple[int, int, int], b: tuple[int, int, int], tail: float) -> tuple[int, int]:
    known_a, known_b = a[1] == a[0], b[1] == b[0]
    if known_a or known_b or a[1] == 0 or b[1] == 0:
        # One stratum says everything or nothing, so the other one's exact interval is shifted or widened by it.
        low_a, high_a = _exact(a[0], a[1], a[2], tail)
        low_b, high_b = _exact(b[0], b[1], b[2], tail)
        return low_a + low_b, high_a + high_b
    nuisance = tail / 100  # error spent on each edge of the box in which splits are searched
    a_low, a_high = _exact(a[0], a[1], a[2], nuisance)
    b_low, b_high = _exact(b[0], b[1], b[2], nuisance)
    box = (a_low, a_high, b_low, b_high)
    level = tail - 4 * nuisance
    good = int(a[0] / a[1] * a[2] + b[0] / b[1] * b[2])
    bad = a_high + b_high + 1
    start = max(good, a[2] + b[2])
    good = start
    while bad - good > 1:
        middle = (good + bad) // 2
        if _best_tail(a, b, middle, box, True) > level:
            good = middle
        else:
            bad = middle
    upper = good
    good, bad = start, max(a_low + b_low - 1, a[2] + b[2] - 1)
    while good - bad > 1:
        middle = (good + bad) // 2
        if _best_tail(a, b, middle, box, False) > level:
            good = middle
        else:
            bad = middle
    return good, upper


def check_stratum(stratum: Stratum) -> tuple[int, int, int]:
    """Size, reviewed and wrong as integers; raises unless they are counts of a sample."""
    size, reviewed, wrong = (int(value) for value in stratum)
    if not 0 <= wrong <= reviewed <= size:
        raise InputError(f"Got {stratum}: need 0 <= wrong <= reviewed <= size.")
    return size, reviewed, wrong


def hypergeometric_bounds(stratum: Stratum, confidence: float = 0.95) -> tuple[int, int]:
    """Exact bounds of the number of wrong rows in a group of known size, from a random sample of it.

    Coverage is at least `confidence`, two-sided with equal tails, for a sample size fixed beforehand.
    A group that is reviewed whole has equal bounds; one that is not reviewed has bounds 0 and its size.
    """
    check_confidence(confidence)
    low, high = _exact(*check_stratum(stratum), (1 - confidence) / 2)
    return int(low), int(high)


def stratified_bounds(first: Stratum, second: Stratum, confidence: float = 0.95) -> tuple[int, int]:
    """Bounds of the number of wrong rows in two groups together, each with its own random sample.

    A total m is kept unless, for every plausible split of m between the groups, an expanded total as far off as
    the one seen has probability below the tail. Coverage is at least `confidence` for sample sizes fixed beforehand.
    """
    check_confidence(confidence)
    low, high = _exact_sum(check_stratum(first), check_stratum(second), (1 - confidence) / 2)
    return int(low), int(high)

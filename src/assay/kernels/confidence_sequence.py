"""Bounds on how many rows of a finite table are wrong that hold at every moment at once.

One may look after each review and stop when one likes: the prior-posterior ratio of a beta-binomial prior is a
martingale that exceeds 1/alpha with probability at most alpha (Waudby-Smith and Ramdas, 2020, arXiv 2006.04347), and is
inverted here; the ratios of two strata multiply.
"""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.kernels.intervals import check_confidence
from assay.kernels.strata import Stratum, check_stratum

Floats = npt.NDArray[np.float64]


@numba.njit(cache=True)
def _log_choose(n: float, k: float) -> float:
    value: float = math.lgamma(n + 1.0) - math.lgamma(k + 1.0) - math.lgamma(n - k + 1.0)
    return value


@numba.njit(cache=True)
def _log_ratio(stratum: tuple[int, int, int], m: float, log_evidence: float, hedged: bool) -> float:
    size, draws, found = stratum
    chance = _log_choose(m, found) + _log_choose(size - m, draws - found) - _log_choose(float(size), draws)
    ratio = log_evidence - chance
    if not hedged:
        return float(ratio)
    # Half the stake stays out: (1 + ratio) / 2 is a martingale too, and a stratum known to the last row costs log 2.
    return float(max(ratio, 0.0) + math.log1p(math.exp(-abs(ratio))) - math.log(2.0))


@numba.njit(cache=True)
def _log_evidence(stratum: tuple[int, int, int], alpha: float, beta: float) -> float:
    _, n, x = stratum
    top = math.lgamma(x + alpha) + math.lgamma(n - x + beta) - math.lgamma(n + alpha + beta)
    base = math.lgamma(alpha) + math.lgamma(beta) - math.lgamma(alpha + beta)
    guess = _log_choose(float(n), x) + top - base
    # Half of the prior is uniform, so that a guess that proves bad costs little.
    flat = -math.log(n + 1.0)
    return float(max(guess, flat) + math.log1p(math.exp(-abs(guess - flat))) - math.log(2.0))


@numba.njit(cache=True)
def _edge(
    stratum: tuple[int, int, int], evidence: float, hedged: bool, budget: float, best: float, far: float
) -> float:
    # From the best m towards the far end, the last m whose ratio stays within budget (the ratio is convex in m).
    if _log_ratio(stratum, far, evidence, hedged) <= budget:
        return far
    good, bad = best, far
    while abs(bad - good) > 1e-3:
        middle = 0.5 * (good + bad)
        if _log_ratio(stratum, middle, evidence, hedged) <= budget:
            good = middle
        else:
            bad = middle
    return bad


@numba.njit(cache=True)
def _sequence_sum(
    a: tuple[int, int, int],
    b: tuple[int, int, int],
    prior_a: tuple[float, float],
    prior_b: tuple[float, float],
    budget: float,
) -> tuple[float, float]:
    # a is hedged, b is not: a is the flagged group, often reviewed whole, b the large one that decides the width.
    ev_a, ev_b = _log_evidence(a, prior_a[0], prior_a[1]), _log_evidence(b, prior_b[0], prior_b[1])
    out = np.zeros(2)
    best_a = a[2] / a[1] * a[0] if a[1] else 0.5 * a[0]
    best_b = b[2] / b[1] * b[0] if b[1] else 0.5 * b[0]
    # The largest likelihood of a whole number lies within one of the expanded count: clip into the support.
    best_a = min(max(best_a, float(a[2])), float(a[0] - a[1] + a[2]))
    best_b = min(max(best_b, float(b[2])), float(b[0] - b[1] + b[2]))
    base_a, base_b = _log_ratio(a, best_a, ev_a, True), _log_ratio(b, best_b, ev_b, False)
    for side in range(2):
        far_a = float(a[2]) if side == 0 else float(a[0] - a[1] + a[2])
        far_b = float(b[2]) if side == 0 else float(b[0] - b[1] + b[2])
        end_a = _edge(a, ev_a, True, budget - base_b, best_a, far_a)
        # The set is convex, so the reach of the sum is concave along stratum a: golden section.
        left, right = best_a, end_a
        for _ in range(60):
            if abs(right - left) < 0.02:
                break
            one, two = left + 0.382 * (right - left), left + 0.618 * (right - left)
            reach_one = one + _edge(b, ev_b, False, budget - _log_ratio(a, one, ev_a, True), best_b, far_b)
            reach_two = two + _edge(b, ev_b, False, budget - _log_ratio(a, two, ev_a, True), best_b, far_b)
            if (reach_one > reach_two) == (side == 1):
                right = two
            else:
                left = one
        reach = best_a + _edge(b, ev_b, False, budget - base_a, best_b, far_b)
        for m in (left, right, end_a):
            r = m + _edge(b, ev_b, False, budget - _log_ratio(a, m, ev_a, True), best_b, far_b)
            reach = max(reach, r) if side == 1 else min(reach, r)
        out[side] = reach
    return out[0], out[1]


def stratified_sequence(
    first: Stratum,
    second: Stratum,
    first_prior: tuple[float, float],
    second_prior: tuple[float, float],
    confidence: float = 0.95,
) -> tuple[int, int]:
    """Bounds of the number of wrong rows in two groups that hold at every look, whenever one stops.

    Parameters
    ----------
    first, second : sizes and samples so far; `first` is the group that may become known whole. Rows come in random
        order within a group; which group comes next may depend on what was seen.
    first_prior, second_prior : beta parameters chosen before the first review, mixed half and half with the uniform
        prior; a bad guess widens the bounds, it never misleads.
    confidence : probability that the bounds hold at all looks together.
    """
    check_confidence(confidence)
    for alpha, beta in (first_prior, second_prior):
        if not (alpha > 0 and beta > 0):
            raise InputError(f"A beta prior needs two positive numbers; got {alpha} and {beta}.")
    a, b = check_stratum(first), check_stratum(second)
    low, high = _sequence_sum(a, b, first_prior, second_prior, -math.log1p(-confidence))
    # Bounds were found to a few hundredths of a row on the wide side: whole rows inside them remain.
    return max(math.ceil(low - 0.05), a[2] + b[2]), min(
        math.floor(high + 0.05), a[0] + b[0] - (a[1] - a[2]) - (b[1] - b[2])
    )

"""Intervals for shares, counts and any statistic: arrays in, arrays out.

Shares: `wilson` (Wilson, 1927) for display, `clopper_pearson` (1934) when coverage must hold, both on 0..1.
Counts in a finite population drawn without replacement: `hypergeometric_bounds` inverts the exact tail tests, and
`stratified_bounds` does it for the sum over two strata (the nuisance stratum is searched over its own interval,
Berger and Boos, 1994). Both hold for a sample size fixed beforehand. `stratified_sequence` holds at every moment
at once, so one may look after each review and stop when one likes: it inverts the prior-posterior ratio of a
beta-binomial prior, a martingale that exceeds 1/alpha with probability at most alpha (Waudby-Smith and Ramdas, 2020,
arXiv 2006.04347); the ratios of two strata multiply.
Anything else: `bootstrap`, percentile or BCa (Efron, 1987).
"""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from scipy import special

from assay.errors import InputError

Floats = npt.NDArray[np.float64]


class Stratum(NamedTuple):
    """A finite group of rows and a random sample of it without replacement: counts of rows."""

    size: int
    reviewed: int
    wrong: int


def _counts(successes: npt.ArrayLike, trials: npt.ArrayLike, confidence: float) -> tuple[Floats, Floats]:
    x, n = np.broadcast_arrays(np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64))
    bad = ~((x >= 0) & (x <= n) & np.isfinite(n))
    if bad.any():
        at = int(np.flatnonzero(bad.ravel())[0])
        raise InputError(f"Got {x.ravel()[at]} successes in {n.ravel()[at]} trials: need 0 <= successes <= trials.")
    _check_confidence(confidence)
    return x, n


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise InputError(f"Confidence must lie between 0 and 1, such as 0.95; got {confidence}.")


def wilson(successes: npt.ArrayLike, trials: npt.ArrayLike, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Score interval of a share: short, coverage near nominal on average; `(0, 1)` where there are no trials.

    Parameters
    ----------
    successes, trials : counts of equal or broadcastable shape.
    confidence : two-sided level.

    Returns
    -------
    low, high : arrays of that shape, shares in 0..1.
    """
    x, n = _counts(successes, trials, confidence)
    z = float(special.ndtri(0.5 + confidence / 2))
    safe = np.maximum(n, 1.0)
    share = x / safe
    middle = (share + z * z / (2 * safe)) / (1 + z * z / safe)
    half = z / (1 + z * z / safe) * np.sqrt(share * (1 - share) / safe + z * z / (4 * safe * safe))
    low = np.where((x == 0) | (n == 0), 0.0, middle - half)
    high = np.where((x == n) | (n == 0), 1.0, middle + half)
    return low, high


def clopper_pearson(successes: npt.ArrayLike, trials: npt.ArrayLike, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Exact interval of a share: coverage at least nominal whatever the share. Parameters and returns as `wilson`."""
    x, n = _counts(successes, trials, confidence)
    tail = (1 - confidence) / 2
    inner_low = special.betaincinv(np.maximum(x, 0.5), n - x + 1, tail)
    inner_high = special.betaincinv(x + 1, np.maximum(n - x, 0.5), 1 - tail)
    return np.where(x == 0, 0.0, inner_low), np.where(x == n, 1.0, inner_high)


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


def _check(stratum: Stratum) -> tuple[int, int, int]:
    size, reviewed, wrong = (int(value) for value in stratum)
    if not 0 <= wrong <= reviewed <= size:
        raise InputError(f"Got {stratum}: need 0 <= wrong <= reviewed <= size.")
    return size, reviewed, wrong


def hypergeometric_bounds(stratum: Stratum, confidence: float = 0.95) -> tuple[int, int]:
    """Exact bounds of the number of wrong rows in a group of known size, from a random sample of it.

    Coverage is at least `confidence`, two-sided with equal tails, for a sample size fixed beforehand.
    A group that is reviewed whole has equal bounds; one that is not reviewed has bounds 0 and its size.
    """
    _check_confidence(confidence)
    low, high = _exact(*_check(stratum), (1 - confidence) / 2)
    return int(low), int(high)


def stratified_bounds(first: Stratum, second: Stratum, confidence: float = 0.95) -> tuple[int, int]:
    """Bounds of the number of wrong rows in two groups together, each with its own random sample.

    A total m is kept unless, for every plausible split of m between the groups, an expanded total as far off as
    the one seen has probability below the tail. Coverage is at least `confidence` for sample sizes fixed beforehand.
    """
    _check_confidence(confidence)
    low, high = _exact_sum(_check(first), _check(second), (1 - confidence) / 2)
    return int(low), int(high)


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
    _check_confidence(confidence)
    for alpha, beta in (first_prior, second_prior):
        if not (alpha > 0 and beta > 0):
            raise InputError(f"A beta prior needs two positive numbers; got {alpha} and {beta}.")
    a, b = _check(first), _check(second)
    low, high = _sequence_sum(a, b, first_prior, second_prior, -math.log1p(-confidence))
    # Bounds were found to a few hundredths of a row on the wide side: whole rows inside them remain.
    return max(math.ceil(low - 0.05), a[2] + b[2]), min(
        math.floor(high + 0.05), a[0] + b[0] - (a[1] - a[2]) - (b[1] - b[2])
    )


def bootstrap(
    statistic: Callable[..., float],
    *arrays: npt.NDArray[np.generic],
    strata: npt.ArrayLike | None = None,
    resamples: int = 2000,
    method: Literal["percentile", "bca"] = "percentile",
    confidence: float = 0.95,
    random_state: int = 0,
) -> tuple[float, float]:
    """Interval of `statistic(*arrays)` from rows redrawn with replacement.

    Parameters
    ----------
    statistic : takes the arrays, gives one number.
    arrays : each with n rows, redrawn together.
    strata : (n,) codes; rows are redrawn within each, such as right and wrong rows for an AUROC.
    resamples : number of redraws.
    method : `percentile`, or `bca`, which corrects bias and skew with n further evaluations (the jackknife).
    confidence : two-sided level.
    random_state : seed.

    Returns
    -------
    low, high : the interval.
    """
    _check_confidence(confidence)
    if not arrays or any(len(array) != len(arrays[0]) for array in arrays):
        raise InputError(f"The bootstrap needs arrays of equal length; got lengths {[len(array) for array in arrays]}.")
    n = len(arrays[0])
    if n == 0:
        raise InputError("The bootstrap needs at least one row; got none.")
    codes = np.zeros(n, dtype=np.int64) if strata is None else np.unique(np.asarray(strata), return_inverse=True)[1]
    groups = [np.flatnonzero(codes == code) for code in range(int(codes.max()) + 1)]
    rng = np.random.default_rng(random_state)
    values = np.empty(resamples)
    for draw in range(resamples):
        rows = np.concatenate([group[rng.integers(0, len(group), len(group))] for group in groups])
        values[draw] = statistic(*(array[rows] for array in arrays))
    tail = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    if method == "bca":
        seen = float(statistic(*arrays))
        keep = ~np.eye(n, dtype=bool)
        left_out = np.array([statistic(*(array[keep[row]] for array in arrays)) for row in range(n)])
        below = (np.sum(values < seen) + 0.5 * np.sum(values == seen)) / resamples
        bias = special.ndtri(np.clip(below, 1 / (2 * resamples), 1 - 1 / (2 * resamples)))
        pull = left_out.mean() - left_out
        spread = float(np.sum(pull**2)) ** 1.5
        skew = float(np.sum(pull**3)) / (6 * spread) if spread > 0 else 0.0
        z = bias + special.ndtri(tail)
        tail = special.ndtr(bias + z / (1 - skew * z))
    low, high = np.quantile(values, tail)
    return float(low), float(high)

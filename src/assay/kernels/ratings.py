"""One walk over ratings: the truth of each task given its raters, and what each rater's parameters need to know.

Rater j turns the truth z of a task into value = gain * z + offset + noise, noise of precision `precision[j] * scale`,
where the scale of a single rating falls as it lies far out (Student's t). All expectations are those of a factorised
posterior, so the bound that `assay.aggregate.numeric` climbs never falls.

Legend of shapes: n tasks, w workers, v ratings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.special import digamma, gammaln, polygamma

from assay.kernels.blocks import in_parts, n_parts

Floats = npt.NDArray[np.float64]
TIGHTEST = 1e8  # precision of a prior: the limit where raters do not differ at all
# Below the first, one rater who always gives the same number would be believed without limit; beyond the second all are
# equally careful, and learning the shape only crawls.
SMALLEST_SHAPE, LARGEST_SHAPE = 5.0, 100.0
COUNT, S_1, S_Z, S_ZZ, S_Y, S_ZY, S_YY = range(7)  # columns of the sums of a worker, all but the first times scale


@dataclass(frozen=True, eq=False)
class RatingTable:
    """Ratings sorted by task; those on one task keep the order in which they came.

    Parameters
    ----------
    ptr : (n + 1,) int64; the ratings of task i are those from ptr[i] to ptr[i + 1].
    worker : (v,) int32.
    value, weight : (v,) float64.
    order : (v,) int64, the row from which each rating came.
    n_workers : w.
    """

    ptr: npt.NDArray[np.int64]
    worker: npt.NDArray[np.int32]
    value: Floats
    weight: Floats
    order: npt.NDArray[np.int64]
    n_workers: int


def rating_table(
    task: npt.NDArray[Any],
    worker: npt.NDArray[Any],
    value: npt.NDArray[Any],
    n_tasks: int,
    n_workers: int,
    weight: npt.NDArray[Any] | None = None,
) -> RatingTable:
    """Sort checked columns `(v,)` of ratings by task; `weight` None counts each rating once."""
    order = np.argsort(task, kind="stable")
    ptr = np.zeros(n_tasks + 1, dtype=np.int64)
    np.cumsum(np.bincount(task, minlength=n_tasks), out=ptr[1:])
    w = np.ones(len(order)) if weight is None else weight[order].astype(np.float64)
    return RatingTable(ptr, worker[order].astype(np.int32), value[order].astype(np.float64), w, order, n_workers)


@dataclass(frozen=True, eq=False)
class RaterMoments:
    """What is believed of the raters: moments of gain and offset, mean precision; each (w,) float64."""

    gain: Floats
    offset: Floats
    gain_gain: Floats
    gain_offset: Floats
    offset_offset: Floats
    precision: Floats


def walk_ratings(
    table: RatingTable, raters: RaterMoments, mean: Floats, var: Floats, centre: float, tightness: float, dof: float
) -> tuple[Floats, Floats, Floats, Floats, float]:
    """Update the truths, and sum what the raters need.

    Parameters
    ----------
    mean, var : (n,) current mean and variance of each truth.
    centre, tightness : mean and precision of the truths before any rating.
    dof : degrees of freedom of the noise; infinite for a Gaussian.

    Returns
    -------
    mean, var : (n,) new.
    scale : (v,) of each rating, in the order of the table.
    sums : (w, 7), see the columns above.
    log_rates : sum over ratings of weight * log of the rate of the scale's Gamma posterior.
    """
    n = len(mean)
    parts = n_parts(len(table.value))
    new_mean, new_var, scale = np.empty(n), np.empty(n), np.empty(len(table.value))
    columns = (
        *(table.ptr, table.worker, table.value, table.weight, raters.gain, raters.offset, raters.gain_gain),
        *(raters.gain_offset, raters.offset_offset, raters.precision, mean, var, centre, tightness, dof),
    )

    def walk(part: int) -> tuple[float, Floats]:
        sums = np.zeros((table.n_workers, 7))
        low, high = n * part // parts, n * (part + 1) // parts
        return _walk(*columns, low, high, new_mean, new_var, scale, sums), sums

    done = in_parts(walk, parts)
    total: Floats = np.sum([sums for _, sums in done], axis=0)
    return new_mean, new_var, scale, total, math.fsum(rates for rates, _ in done)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _walk(
    ptr: Any,
    worker: Any,
    value: Any,
    weight: Any,
    gain: Any,
    offset: Any,
    gain_gain: Any,
    gain_offset: Any,
    offset_offset: Any,
    precision: Any,
    mean: Any,
    var: Any,
    centre: Any,
    tightness: Any,
    dof: Any,
    low: Any,
    high: Any,
    new_mean: Any,
    new_var: Any,
    scale: Any,
    sums: Any,
) -> float:
    log_rates = 0.0
    robust = dof < math.inf
    for i in range(low, high):
        z, zz = mean[i], mean[i] * mean[i] + var[i]
        total, pull = tightness, tightness * centre
        for e in range(ptr[i], ptr[i + 1]):
            j, y = worker[e], value[e]
            scale[e] = 1.0
            if robust:
                square = y * y - 2 * y * (gain[j] * z + offset[j])
                square += gain_gain[j] * zz + 2 * gain_offset[j] * z + offset_offset[j]
                rate = 0.5 * (dof + precision[j] * square)
                scale[e] = 0.5 * (dof + 1) / rate
                log_rates += weight[e] * math.log(rate)
            trust = weight[e] * precision[j] * scale[e]
            total += trust * gain_gain[j]
            pull += trust * (gain[j] * y - gain_offset[j])
        z = pull / total
        new_mean[i], new_var[i] = z, 1 / total
        zz = z * z + 1 / total
        for e in range(ptr[i], ptr[i + 1]):
            j, y = worker[e], value[e]
            w = weight[e] * scale[e]
            sums[j, COUNT] += weight[e]
            sums[j, S_1] += w
            sums[j, S_Z] += w * z
            sums[j, S_ZZ] += w * zz
            sums[j, S_Y] += w * y
            sums[j, S_ZY] += w * z * y
            sums[j, S_YY] += w * y * y
    return log_rates


@dataclass(frozen=True, eq=False)
class RaterPrior:
    """What is believed before any rating, in standardised numbers: see `assay.aggregate.numeric`.

    `gain` and `offset` are precisions around 1 and 0; `shape` and `rate` those of the Gamma of the noise precision.
    """

    centre: float = 0.0
    tightness: float = 1.0
    gain: float = 25.0
    offset: float = 4.0
    shape: float = 2.0
    rate: float = 1.0


@dataclass(frozen=True, eq=False)
class RaterPosterior:
    """Moments, and what the bound needs (w,): Gamma `shape`, `rate`, expected `squares`, `log_det` of covariances."""

    moments: RaterMoments
    shape: Floats
    rate: Floats
    squares: Floats
    log_det: Floats


def update_raters(sums: Floats, precision: Floats, prior: RaterPrior) -> RaterPosterior:
    """Posterior of gain and offset, Gaussian together, and then of the precision, from the sums (w, 7) of a walk."""
    aa, ab = prior.gain + precision * sums[:, S_ZZ], precision * sums[:, S_Z]
    bb = prior.offset + precision * sums[:, S_1]
    det = aa * bb - ab * ab
    ha, hb = prior.gain + precision * sums[:, S_ZY], precision * sums[:, S_Y]
    gain, offset = (bb * ha - ab * hb) / det, (aa * hb - ab * ha) / det
    gain_gain, gain_offset, offset_offset = gain**2 + bb / det, gain * offset - ab / det, offset**2 + aa / det
    squares = sums[:, S_YY] - 2 * gain * sums[:, S_ZY] - 2 * offset * sums[:, S_Y]
    squares += gain_gain * sums[:, S_ZZ] + 2 * gain_offset * sums[:, S_Z] + offset_offset * sums[:, S_1]
    squares = np.maximum(squares, 0)
    shape, rate = prior.shape + sums[:, COUNT] / 2, prior.rate + squares / 2
    moments = RaterMoments(gain, offset, gain_gain, gain_offset, offset_offset, shape / rate)
    return RaterPosterior(moments, shape, rate, squares, -np.log(det))


def spread_of(table: RatingTable) -> float:
    """Variance of the truths by the analysis of variance, as a share of the variance of all ratings, 0.05 or above.

    Learned with the rest it can collapse: raters who mostly say the same leave nothing for the truths to explain.
    """
    n = len(table.ptr) - 1
    task = np.repeat(np.arange(n), np.diff(table.ptr))
    total = np.bincount(task, table.weight, minlength=n)
    mean = np.bincount(task, table.weight * table.value, minlength=n) / np.maximum(total, 1e-300)
    grand = float(np.average(table.value, weights=table.weight))
    count, groups = float(total.sum()), int(np.sum(total > 0))
    within = np.sum(table.weight * (table.value - mean[task]) ** 2) / max(count - groups, 1e-300)
    per_task = float(count - np.sum(total**2) / count) / max(groups - 1, 1)
    between = (np.sum(total * (mean - grand) ** 2) / max(groups - 1, 1) - within) / max(per_task, 1e-300)
    whole = float(np.average((table.value - grand) ** 2, weights=table.weight))
    return float(np.clip(between / max(whole, 1e-300), 0.05, 1.0))


def learn_prior(
    mean: Floats, raters: RaterPosterior, known: Any, tightness: float, fixed_gain: float | None
) -> RaterPrior:
    """Return the prior that makes the bound largest; `known` (w,) tells the raters who rated."""
    m = raters.moments
    centre = float(mean.mean())
    gain = 1 / float(np.mean((m.gain_gain - 2 * m.gain + 1)[known]))
    offset = 1 / float(np.mean(m.offset_offset[known]))
    tau, log_tau = (raters.shape / raters.rate)[known], (digamma(raters.shape) - np.log(raters.rate))[known]
    shape = gamma_shape(float(np.log(tau.mean()) - log_tau.mean()))
    shape = min(max(shape, SMALLEST_SHAPE), LARGEST_SHAPE)
    gain = min(gain, TIGHTEST) if fixed_gain is None else fixed_gain
    return RaterPrior(centre, tightness, gain, min(offset, TIGHTEST), shape, shape / float(tau.mean()))


def rater_bound(
    mean: Floats, var: Floats, raters: RaterPosterior, known: Any, counts: Floats, prior: RaterPrior
) -> float:
    """The bound on the log marginal, less what the scales of single ratings add (`scale_bound`)."""
    m, shape, rate = raters.moments, raters.shape, raters.rate
    truths = 0.5 * np.sum(np.log(prior.tightness * var) + 1 - prior.tightness * ((mean - prior.centre) ** 2 + var))
    away = prior.gain * (m.gain_gain - 2 * m.gain + 1) + prior.offset * m.offset_offset
    lines = 0.5 * (np.log(prior.gain * prior.offset) + raters.log_det + 2 - away)
    tau, log_tau = shape / rate, digamma(shape) - np.log(rate)
    noise = 0.5 * counts * (log_tau - np.log(2 * np.pi)) - 0.5 * tau * raters.squares
    apart = (shape - prior.shape) * digamma(shape) - gammaln(shape) + gammaln(prior.shape)
    apart += prior.shape * (np.log(rate) - np.log(prior.rate)) + tau * (prior.rate - rate)
    return float(truths + np.sum((lines + noise - apart)[known]))


def scale_bound(dof: float, count: float, log_rates: float, scales: float) -> float:
    """What the scales of `count` ratings add to the bound; `scales` is their sum, `log_rates` that of a walk."""
    if dof == math.inf:
        return 0.0
    a, half = (dof + 1) / 2, dof / 2
    apart = count * ((a - half) * digamma(a) - gammaln(a) + gammaln(half) - half * math.log(half) - a)
    apart += half * log_rates + half * scales
    return float(0.5 * (count * digamma(a) - log_rates) - apart)


def gamma_shape(gap: float) -> float:
    """Shape a of a Gamma distribution with log(mean) - mean(log) = `gap`, by Newton's method on log(a) - psi(a)."""
    if gap <= 1 / (2 * LARGEST_SHAPE):
        return LARGEST_SHAPE
    a = (3 - gap + np.sqrt((gap - 3) ** 2 + 24 * gap)) / (12 * gap)  # Minka's start, right within 1.5 %
    for _ in range(4):
        a = 1 / (1 / a + (np.log(a) - digamma(a) - gap) / (a * a * (1 / a - polygamma(1, a))))
    return float(a)

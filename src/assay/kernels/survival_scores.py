"""Scores of predictions for labels that are known only up to a bound, with weights that undo the censoring.

The weight of a row with a known label is w = 1 / P(C >= T), of a censored row 0 (`assay.kernels.censoring`); then
E[w psi(T)] = E[psi(Y)] for any psi. Arrays in, numbers out; n rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy import special

from assay.errors import InputError
from assay.kernels.intervals import check_confidence

Floats = npt.NDArray[np.float64]
Normalise = Literal["rows", "weights"]

LARGEST = 20_000  # rows of one sample that a spread is taken from


@dataclass(frozen=True, slots=True)
class WeightedMean:
    """A mean over labels estimated from weighted rows, and its normal interval."""

    value: float
    low: float
    high: float


def weighted_mean(
    values: npt.ArrayLike, weights: npt.ArrayLike, normalise: Normalise = "rows", confidence: float = 0.95
) -> WeightedMean:
    """Mean of `values` (n,) under inverse-probability weights (n,), 0 where the value is unknown.

    Parameters
    ----------
    values, weights : (n,); values of weight 0 are not read.
    normalise : "rows" divides by n, as the paper does, and is unbiased with the true law; "weights" divides by the sum
        of weights (Hajek), which varies less and does not move when all weights are too small.
    confidence : two-sided level. The interval takes the weights for known, which is cautious for Kaplan-Meier
        weights: estimating the law takes out variance. Bias, from a floor or a wide kernel, is not in it.

    Examples
    --------
    >>> round(weighted_mean([1.0, 0.0, 3.0], [1.0, 0.0, 2.0]).value, 3)
    2.333
    """
    check_confidence(confidence)
    w = np.asarray(weights, dtype=np.float64)
    psi = np.where(w > 0, np.asarray(values, dtype=np.float64), 0.0)
    n, total = len(w), float(w.sum())
    if n < 2 or total <= 0:
        raise InputError(f"A mean with an interval needs two rows and a positive weight; got {n} rows, sum {total:g}.")
    if normalise == "rows":
        value = float((w * psi).sum() / n)
        spread = float(np.std(w * psi, ddof=1))
    elif normalise == "weights":
        value = float((w * psi).sum() / total)
        spread = float(np.std(w * (psi - value), ddof=1)) * n / total
    else:
        raise InputError(f"normalise is {normalise!r}: expected 'rows' or 'weights'.")
    half = float(special.ndtri(0.5 + confidence / 2)) * spread / float(np.sqrt(n))
    return WeightedMean(value, value - half, value + half)


def concordance(
    time: npt.ArrayLike, event: npt.ArrayLike, predicted: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Share of comparable pairs that the predictions order as the labels are, in O(n log n).

    A pair is comparable when the earlier row has an event, or both share a time and one has an event; pairs predicted
    equal count half. Without weights this is Harrell's (1982), with the weights of `ipcw` squared Uno's (2011).

    Parameters
    ----------
    time, event : (n,) and (n,) bool.
    predicted : (n,) predicted times: a longer one means later, as in lifelines; scikit-survival's risks are minus that.
    weights : (n,) weight of the pairs in which a row is the earlier one; None: 1.

    Returns
    -------
    A number in 0..1, 0.5 for guesses.

    Examples
    --------
    >>> concordance([1.0, 2.0, 3.0], [True, False, True], [1.0, 5.0, 3.0])
    1.0
    """
    t, e, f = np.asarray(time, dtype=np.float64), np.asarray(event, dtype=np.bool_), np.asarray(predicted)
    if not t.shape == e.shape == f.shape or t.ndim != 1:
        raise InputError(f"time {t.shape}, event {e.shape} and predicted {f.shape} must be columns of one length.")
    if not (np.isfinite(t).all() and np.isfinite(f).all()):
        raise InputError("Times and predictions must be finite: leave out the other rows.")
    w = np.ones(len(t)) if weights is None else np.asarray(weights, dtype=np.float64)
    order = np.lexsort((~e, t))
    _, rank = np.unique(f, return_inverse=True)
    right, pairs = _concordant(t[order], e[order], rank[order].astype(np.int64), w[order])
    if pairs == 0:
        raise InputError("No pair of rows is comparable: the earlier row of each pair is censored.")
    return float(right / pairs)


def concordance_interval(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    predicted: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    *,
    seed: int = 0,
    confidence: float = 0.95,
) -> WeightedMean:
    """`concordance` and its normal interval, from 100 samples of rows drawn with replacement, in O(n log n).

    Of more than `LARGEST` rows smaller samples are drawn, and their spread is scaled by the root of their size. Weights
    are taken for known, as in `weighted_mean`.
    """
    check_confidence(confidence)
    t, e, f = np.asarray(time, dtype=np.float64), np.asarray(event, dtype=np.bool_), np.asarray(predicted)
    w = np.ones(len(t)) if weights is None else np.asarray(weights, dtype=np.float64)
    value, n = concordance(t, e, f, w), len(t)
    rng, size, drawn = np.random.default_rng(seed), min(n, LARGEST), []
    for _ in range(100):
        rows = rng.integers(0, n, size)
        try:
            drawn.append(concordance(t[rows], e[rows], f[rows], w[rows]))
        except InputError:  # no comparable pair among these rows
            continue
    if len(drawn) < 50:
        raise InputError(f"Too few rows have an event to tell how sure the concordance is: {int(e.sum())}.")
    half = float(special.ndtri(0.5 + confidence / 2)) * float(np.std(drawn, ddof=1)) * float(np.sqrt(size / n))
    return WeightedMean(value, max(0.0, value - half), min(1.0, value + half))


def brier(
    time: npt.ArrayLike, survival: npt.ArrayLike, weights: npt.ArrayLike, horizon: float, censoring: npt.ArrayLike
) -> float:
    """Brier score at a horizon: mean squared error of P(Y > horizon), weighted for censoring (Graf et al., 1999).

    Parameters
    ----------
    time : (n,) times.
    survival : (n,) predicted P(Y > horizon), in 0..1.
    weights : (n,) weights of `ipcw`, 0 where the label is unknown: they count rows that ended by the horizon.
    horizon : the time asked about.
    censoring : (n,) or one number, P(C > horizon): its inverse counts the rows that are still there.

    Examples
    --------
    >>> brier([1.0, 3.0], [0.5, 0.5], [1.0, 1.0], horizon=2.0, censoring=1.0)
    0.25
    """
    t, s = np.asarray(time, dtype=np.float64), np.asarray(survival, dtype=np.float64)
    if not ((s >= 0) & (s <= 1)).all():
        raise InputError(f"Survival must be probabilities in 0..1; got {s.min():g}..{s.max():g}.")
    g = np.broadcast_to(np.asarray(censoring, dtype=np.float64), t.shape)
    later = t > horizon
    if (g[later] <= 0).any():
        raise InputError(f"No row is seen beyond {horizon:g}: choose an earlier horizon.")
    w = np.where(later, 1 / np.where(later, g, 1.0), np.asarray(weights, dtype=np.float64))
    return float(np.mean(w * (s - later) ** 2))


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _concordant(time: Any, event: Any, rank: Any, weight: Any) -> Any:
    """Weight of concordant and of comparable pairs; rows by time, events first. A Fenwick tree counts later rows."""
    n = len(time)
    tree = np.zeros(n + 1, np.int64)
    right, pairs, later = 0.0, 0.0, 0
    high = n
    while high > 0:
        low = high - 1
        while low > 0 and time[low - 1] == time[high - 1]:
            low -= 1
        middle = low
        while middle < high and event[middle]:
            middle += 1
        for step in range(2):  # tied censorings are later than tied events, which are no pair among themselves
            if step == 1:
                for row in range(low, middle):
                    below, upto, at = 0, 0, rank[row]
                    while at > 0:
                        below += tree[at]
                        at -= at & -at
                    at = rank[row] + 1
                    while at > 0:
                        upto += tree[at]
                        at -= at & -at
                    right += weight[row] * (later - upto + 0.5 * (upto - below))
                    pairs += weight[row] * later
            for row in range(middle if step == 0 else low, high if step == 0 else middle):
                at = rank[row] + 1
                while at <= n:
                    tree[at] += 1
                    at += at & -at
                later += 1
        high = low
    return right, pairs

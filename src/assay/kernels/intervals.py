"""Intervals for shares and any statistic: arrays in, arrays out.

Shares: `wilson` (Wilson, 1927), on 0..1.
Anything else: `bootstrap`, percentile or BCa (Efron, 1987). Samples of a finite table: `assay.kernels.strata`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from assay.errors import InputError

Floats = npt.NDArray[np.float64]


def check_confidence(confidence: float) -> None:
    """Raise unless a level lies between 0 and 1."""
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
    x, n = np.broadcast_arrays(np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64))
    bad = ~((x >= 0) & (x <= n) & np.isfinite(n))
    if bad.any():
        at = int(np.flatnonzero(bad.ravel())[0])
        raise InputError(f"Got {x.ravel()[at]} successes in {n.ravel()[at]} trials: need 0 <= successes <= trials.")
    check_confidence(confidence)
    z = float(special.ndtri(0.5 + confidence / 2))
    safe = np.maximum(n, 1.0)
    share = x / safe
    middle = (share + z * z / (2 * safe)) / (1 + z * z / safe)
    half = z / (1 + z * z / safe) * np.sqrt(share * (1 - share) / safe + z * z / (4 * safe * safe))
    low = np.where((x == 0) | (n == 0), 0.0, middle - half)
    high = np.where((x == n) | (n == 0), 1.0, middle + half)
    return low, high


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
    check_confidence(confidence)
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

"""Messages from bags to members of k > 2 classes, by one count factor for each class.

Passed as k separate factors, the counts of one bag hear their own echo: each pair of members is on a loop for every
two classes, and propagation does not settle. So a bag first adds to the scores of its members what makes all of its
counts come out right on average, t_c, which is found by Newton's method and unique. Then, at these odds, each count is
heard exactly, one class against the rest, with a power of (k - 1) / k, since of k counts k - 1 are free:

    m_i(c) = t_c + (k - 1) / k * delta_i(c)     delta: `bag_messages` at the odds of scores + t, for phi_c(n) e^(-t_c n)

This is exact for two classes and exact counts. For three and four, in bags of six to eight with strong beliefs of their
own, the largest error of any chance was 0.02 to 0.05 on average (`tests/learn/test_label_proportions.py`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.special import log_softmax, logsumexp

from assay.kernels.bag_messages import bag_messages, slope_at
from assay.kernels.blocks import in_threads

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer[Any]]

STEPS = 50  # of Newton's method, at most
LONGEST = 3.0  # of one step, in log-odds


def bag_class_messages(ptr: Ints, scores: Floats, log_factors: Floats, tilts: Floats) -> Floats:
    """Messages (m, k) from bags to members, logarithms up to a constant a member, so taken that they add up to 0.

    Parameters
    ----------
    ptr : (b + 1,) bag i owns memberships ptr[i]..ptr[i + 1].
    scores : (m, k) logarithms of the chances of each member's classes without what this bag told it.
    log_factors : (k, m + b) a line for each class, see `bag_messages`.
    tilts : (b, k) where the search for t begins, changed in place to t.
    """
    k = scores.shape[1]
    sizes = np.diff(ptr)
    in_threads(lambda start, stop: _balance(ptr, scores, log_factors, start, stop, tilts), len(sizes))
    bag, own = np.repeat(np.arange(len(sizes)), sizes), np.repeat(np.arange(len(sizes)), sizes + 1)
    count = np.arange(len(own)) - (ptr[:-1] + np.arange(len(sizes)))[own]
    chances = log_softmax(scores + tilts[bag], axis=1)
    told = tilts[bag]
    for c in range(k):
        odds = chances[:, c] - logsumexp(np.delete(chances, c, axis=1), axis=1)
        told[:, c] += (k - 1) / k * bag_messages(ptr, odds, log_factors[c] - tilts[own, c] * count)
    return np.asarray(told - told.mean(axis=1, keepdims=True))


@njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _balance(ptr: Any, scores: Any, log_factors: Any, first: Any, last: Any, tilts: Any) -> None:
    """Solve t_c = slope of log phi_c at the mean count of class c, for all c at once, for bags first..last."""
    k = scores.shape[1]
    p, mean, step, matrix = np.empty(k), np.empty(k), np.empty(k), np.empty((k, k))
    for bag in range(first, last):
        t = tilts[bag]
        start, size = ptr[bag] + bag, ptr[bag + 1] - ptr[bag]
        for _ in range(STEPS):
            mean[:] = 0.0
            matrix[:] = 0.0  # first the covariance of the counts
            for i in range(ptr[bag], ptr[bag + 1]):
                top = -np.inf
                for c in range(k):
                    top = max(top, scores[i, c] + t[c])
                total = 0.0
                for c in range(k):
                    p[c] = math.exp(scores[i, c] + t[c] - top)
                    total += p[c]
                for c in range(k):
                    p[c] /= total
                    mean[c] += p[c]
                for c in range(k):
                    matrix[c, c] += p[c]
                    for other in range(k):
                        matrix[c, other] -= p[c] * p[other]
            for c in range(k):
                slope, bend = slope_at(log_factors[c, start : start + size + 1], mean[c])
                loose = 1.0 / max(-bend, 1e-12)
                matrix[c, c] += loose
                step[c] = (t[c] - slope) * loose
            _solve(matrix, step)
            longest = np.abs(step).max()
            if longest > LONGEST:
                step *= LONGEST / longest
            t -= step
            if longest < 1e-9:
                break


@njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _solve(matrix: Any, x: Any) -> None:
    """Turn x (k,) into the solution of matrix @ solution = x; positive definite, so that no pivot is needed."""
    k = len(x)
    for c in range(k):
        for row in range(c + 1, k):
            share = matrix[row, c] / matrix[c, c]
            for column in range(c, k):
                matrix[row, column] -= share * matrix[c, column]
            x[row] -= share * x[c]
    for c in range(k - 1, -1, -1):
        for column in range(c + 1, k):
            x[c] -= matrix[c, column] * x[column]
        x[c] /= matrix[c, c]

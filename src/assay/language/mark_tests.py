"""Tests for marks: exact p-values, z-scores, and what a marked text is expected to count to.

    green tokens g of T:     P(Bin(T, gamma) >= g) = I_gamma(g, T - g + 1)
    Gumbel score S of T:     P(Gamma(T, 1) >= S)

Both hold for text written without the key, whatever its language, when each n-gram counts once. Where nothing could be
scored, as in a text shorter than the context, a p-value is 1 and a z-score 0. The normal test of the Gumbel score in
common use divides by pi / sqrt(6) where the standard deviation is 1; the exact tail is used instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]


def green_p_values(scored: npt.ArrayLike, green: npt.ArrayLike, gamma: float) -> Floats:
    """Exact binomial tails (n,) of `green` tokens among `scored`.

    >>> green_p_values([0, 2, 2], [0, 0, 2], 0.25).tolist()
    [1.0, 1.0, 0.0625]
    """
    n, found = np.asarray(scored, dtype=np.float64), np.asarray(green, dtype=np.float64)
    some = found > 0
    return np.where(some, special.betainc(np.where(some, found, 1.0), n - found + 1.0, gamma), 1.0)


def gumbel_p_values(scored: npt.ArrayLike, score: npt.ArrayLike) -> Floats:
    """Exact gamma tails (n,) of the sum `score` of `scored` terms `-log(1 - u)`.

    >>> gumbel_p_values([0, 1], [0.0, 1.0]).round(4).tolist()
    [1.0, 0.3679]
    """
    n, total = np.asarray(scored, dtype=np.float64), np.asarray(score, dtype=np.float64)
    return np.where(n > 0, special.gammaincc(np.maximum(n, 1.0), total), 1.0)


def green_z(scored: npt.ArrayLike, green: npt.ArrayLike, gamma: float) -> Floats:
    """z-scores (n,) of green counts."""
    n, found = np.asarray(scored, dtype=np.float64), np.asarray(green, dtype=np.float64)
    return _over(found - gamma * n, np.sqrt(n * gamma * (1 - gamma)))


def gumbel_z(scored: npt.ArrayLike, score: npt.ArrayLike) -> Floats:
    """z-scores (n,) of Gumbel scores, whose terms have mean and variance 1."""
    n, total = np.asarray(scored, dtype=np.float64), np.asarray(score, dtype=np.float64)
    return _over(total - n, np.sqrt(n))


def expected_green_share(gamma: float, delta: float) -> float:
    """Share of green tokens that a mark leaves where the distribution is flat.

    >>> round(expected_green_share(0.25, 2.0), 3)
    0.711
    """
    weight = gamma * np.exp(delta)
    return float(weight / (1 - gamma + weight))


def expected_gumbel_score(probabilities: npt.ArrayLike) -> Any:
    """Mean score of a token that the Gumbel mark takes from distributions (..., v): 1 for a certain one, more else.

    The winning number is `M^p` with M uniform, so the mean is `sum_v p_v H(1 / p_v)`, `H(x) = digamma(x+1) + gamma`.

    >>> round(float(expected_gumbel_score([0.5, 0.5])), 6)
    1.5
    """
    p = np.asarray(probabilities, dtype=np.float64)
    some = p > 0
    terms = np.where(some, p * (special.digamma(1 / np.where(some, p, 1.0) + 1) + np.euler_gamma), 0.0)
    return terms.sum(axis=-1)


def _over(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)

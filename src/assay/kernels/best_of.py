"""What the best of n is worth: exact for normal rewards, bounded by theorem, and counted from samples.

For rewards of one prompt that are normal with standard deviation sigma, the best of n exceeds their mean by

    E max(n) sigma  >=  C sqrt(log n),     C = sigma / sqrt(pi log 2)

The bound (Verma, Phan, Trivedi, arXiv 2506.04462; an equality at n = 2) is loose from n = 4 on: both are given. Rewards
that are bounded or tied gain less than either: `best_of_curve` counts what samples really gained.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import integrate, special

from assay.errors import InputError

Floats = npt.NDArray[np.float64]


def expected_maximum(n: int) -> float:
    """Mean of the largest of `n` standard normal numbers, by quadrature.

    >>> [round(expected_maximum(n), 3) for n in (1, 2, 4, 8, 16)]
    [0.0, 0.564, 1.029, 1.424, 1.766]
    """
    _check(n)

    def above(x: float) -> float:
        return -math.expm1(n * float(special.log_ndtr(x)))

    def below(x: float) -> float:
        return math.exp(n * float(special.log_ndtr(x)))

    return float(integrate.quad(above, 0, np.inf, epsabs=1e-12)[0] - integrate.quad(below, -np.inf, 0, epsabs=1e-12)[0])


def gain_bound(n: int) -> float:
    """The theorem's lower bound of `expected_maximum(n)`, `sqrt(log n / (pi log 2))`.

    >>> [round(gain_bound(n), 3) for n in (1, 2, 4, 8, 16)]
    [0.0, 0.564, 0.798, 0.977, 1.128]
    """
    _check(n)
    return math.sqrt(math.log(n) / (math.pi * math.log(2)))


def break_even(drop: float, sigma: float) -> float:
    """How many samples the theorem asks for to make up for a mean reward lowered by `drop`: `ceil(exp((drop/C)^2))`.

    Infinite where all answers to a prompt have one reward and the drop is above 0.

    >>> break_even(0.5, 1.0), break_even(0.0, 1.0)
    (2.0, 1.0)
    """
    if drop <= 0:
        return 1.0
    power = math.pi * math.log(2) * (drop / sigma) ** 2 if sigma > 0 else math.inf
    return float(math.ceil(math.exp(power))) if power < 700 else math.inf


def normal_break_even(drop: float, sigma: float, most: int = 1 << 20) -> float:
    """The fewest samples that make up for `drop` where rewards are normal; infinite above `most`.

    >>> normal_break_even(1.0, 1.0), break_even(1.0, 1.0)
    (4.0, 9.0)
    """
    if drop <= 0:
        return 1.0
    if sigma <= 0 or expected_maximum(most) * sigma < drop:
        return math.inf
    low, high = 1, most  # the gain of `low` falls short, that of `high` does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if expected_maximum(middle) * sigma < drop else (low, middle)
    return float(high)


def within_deviation(rewards: npt.ArrayLike) -> float:
    """Standard deviation of rewards (p, m) within a prompt, averaged over prompts: the theorem's sigma."""
    table = np.asarray(rewards, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2:
        raise InputError(f"Rewards have the shape {table.shape}: the spread within a prompt needs two answers of each.")
    return float(table.std(axis=1, ddof=1).mean())


def best_of_curve(rewards: npt.ArrayLike, n: int) -> Floats:
    """Mean best of `n` among the m rewards of each prompt (p, m), over all subsets of size n: (p,).

    Unbiased for each n up to m, and steadier than looking at the first n alone.

    >>> best_of_curve([[1.0, 2.0, 4.0]], 2).round(3).tolist()
    [3.333]
    """
    table = np.sort(np.asarray(rewards, dtype=np.float64), axis=1)
    m = table.shape[1]
    if not 1 <= n <= m:
        raise InputError(f"The best of {n} cannot be counted from {m} answers a prompt: draw more, or ask for fewer.")
    share = np.array([math.comb(at, n - 1) / math.comb(m, n) for at in range(m)])  # the at-th smallest is the best
    return np.asarray(table @ share)


def _check(n: int) -> None:
    if n < 1:
        raise InputError(f"n is {n}: the best of at least one is asked for.")

"""A judge asked twice, in both orders: what the two answers come to, and what a tournament of such verdicts comes to.

An answer names a place: 1 the label shown first, 2 the one shown second, 0 no usable answer. A verdict names a label:
1 the label that stood first in the first asking, 2 the other, 0 uncertain.

Legend of shapes: p pairs, m candidates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float64]
UNSURE, FIRST, SECOND = 0, 1, 2


def dual_verdict(asked: npt.ArrayLike, swapped: npt.ArrayLike, conservative: bool = False) -> Bytes:
    """Verdicts (p,) from answers in the first order (p,) and with the labels swapped (p,).

    A judge that names the same place twice has looked at the place, not at the labels: uncertain. Where one of the
    answers is unusable, the other stands alone, unless `conservative`.

    >>> dual_verdict([1, 2, 1, 2, 1, 0], [2, 1, 1, 2, 0, 1]).tolist()
    [1, 2, 0, 0, 1, 2]
    >>> dual_verdict([1, 0], [0, 1], conservative=True).tolist()
    [0, 0]
    """
    one, two = np.asarray(asked, dtype=np.int8), np.asarray(swapped, dtype=np.int8)
    two = np.where(two == UNSURE, UNSURE, 3 - two).astype(np.int8)  # the label, not the place
    verdict: Bytes = np.where(one == two, one, UNSURE).astype(np.int8)
    if not conservative:
        alone = (one == UNSURE) ^ (two == UNSURE)
        verdict[alone] = np.maximum(one, two)[alone]
    return verdict


def dual_accuracy(error: npt.ArrayLike) -> Floats:
    """Share of right verdicts among the confident ones, for a judge that errs with chance `error` in either order."""
    e = np.asarray(error, dtype=np.float64)
    return np.asarray((1 - e) ** 2 / dual_coverage(e))


def dual_coverage(error: npt.ArrayLike) -> Floats:
    """Share of confident verdicts for such a judge: both answers right, or both wrong.

    >>> round(float(dual_coverage(0.2)), 2), round(float(dual_accuracy(0.2)), 3)
    (0.68, 0.941)
    """
    e = np.asarray(error, dtype=np.float64)
    return np.asarray((1 - e) ** 2 + e**2)


def error_of_coverage(coverage: float) -> float:
    """The error below one half that gives this coverage; one half where even guessing agrees more often.

    It needs no truth, but holds only for errors that are independent between the two orders. A judge that errs alike in
    both, as any rule does, looks perfect here.
    """
    return float((1 - np.sqrt(max(2 * coverage - 1, 0.0))) / 2)


def copeland(verdicts: npt.ArrayLike) -> Floats:
    """Points (m,) of a round robin: a win is 1, an uncertain pair half a point to both.

    Parameters
    ----------
    verdicts : (m, m); entry [a, b], a < b, is 1 when a won, 2 when b won, 0 when uncertain. The rest is not read.

    In a full round robin this order is that of Bradley-Terry with ties as half wins, whose likelihood knows the pairs
    through these points alone.

    >>> copeland([[0, 1, 0], [0, 0, 2], [0, 0, 0]]).tolist()
    [1.5, 0.0, 1.5]
    """
    said = np.triu(np.asarray(verdicts), 1)
    pairs: Any = np.triu(np.ones(said.shape), 1)
    points = np.where(said == FIRST, 1.0, np.where(said == SECOND, 0.0, 0.5)) * pairs
    return np.asarray(points.sum(axis=1) + (pairs - points).sum(axis=0), dtype=np.float64)

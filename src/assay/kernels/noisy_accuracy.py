"""How often a classifier is right, from labels of which some are wrong and how they come to be wrong.

A label y~ that is drawn from the column T[:, y] of a noise matrix says of a prediction f what the truth would say on
average, when agreement is replaced by

    c = W[y~, f]    with    sum over i of T[i, j] W[i, f] = 1 where j = f, else 0    (W is the inverse of T transposed)

(Natarajan et al. 2013 and Patrini et al. 2017 correct losses so.) The mean of c estimates the accuracy on true labels
without bias, if T is right and noise depends on the class alone; the price is its spread, which grows as T comes near
to a matrix that cannot be inverted. A T that is wrong moves all classifiers alike, and mostly in the same direction.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError

Floats = npt.NDArray[np.float64]

WORST = 50.0  # condition number above which labels say too little: plain agreement is taken instead


def correction(noise_matrix: npt.ArrayLike) -> Floats:
    """W (k, k) by given class and predicted class, of `P(given = i | true = j)` at [i, j].

    Where the matrix is so near to singular that its inverse would be noise, the identity: plain agreement.

    >>> correction([[0.8, 0.4], [0.2, 0.6]]).round(2).tolist()
    [[1.5, -0.5], [-1.0, 2.0]]
    """
    matrix = np.asarray(noise_matrix, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise InputError(f"A noise matrix has shape {matrix.shape}: expected (k, k), given class by true class.")
    if not np.isfinite(matrix).all() or np.linalg.cond(matrix) > WORST:
        return np.eye(len(matrix))
    return np.asarray(np.linalg.inv(matrix).T, dtype=np.float64)


def corrected(said: npt.ArrayLike, given: npt.ArrayLike, weights: Floats) -> Floats:
    """What each row (n,) adds to the accuracy, from predicted codes (n,), given codes (n,) and `correction` (k, k).

    >>> corrected([0, 0, 1], [0, 1, 1], np.eye(2)).tolist()
    [1.0, 0.0, 1.0]
    """
    found: Floats = weights[np.asarray(given), np.asarray(said)]
    return found


def mean_and_error(values: Any) -> tuple[float, float]:
    """Mean of values (n,) and its standard error."""
    found = np.asarray(values, dtype=np.float64)
    return float(found.mean()), float(found.std(ddof=1) / np.sqrt(len(found))) if len(found) > 1 else float("inf")

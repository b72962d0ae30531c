"""Linear heads for many subsets of the rows at once; ridge and nearest neighbour without a row, in closed form.

With the features frozen, a head for subset S needs only the d by d matrix of S, so that all subsets are solved in one
batch. Labels are codes; a head's scores are `X @ W`, with a column of ones in X for the bias.

Ridge (alpha): W_S = (X_S' X_S + alpha I)^-1 X_S' Y_S, with Y one-hot. Without row i, its own scores are

    f_-i(x_i) = (f(x_i) - h_i y_i) / (1 - h_i),     h_i = x_i' (X' X + alpha I)^-1 x_i

Logistic (alpha): the minimum of the summed cross-entropy plus alpha |W|^2 / 2, by steps with Böhning's bound of the
Hessian, X' X / 2 + alpha I (Böhning, 1992), which is one inverse a subset, and Nesterov's momentum.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
_ROOM = 16_000_000  # numbers that a batch of subsets may hold


def _batches(n_subsets: int, numbers: int) -> Iterator[slice]:
    """Subsets in batches, where each holds so many numbers."""
    size = max(1, _ROOM // numbers)
    return (slice(start, start + size) for start in range(0, n_subsets, size))


def _moments(X: Floats, members: Bools) -> Floats:
    """X_S' X_S of each subset (b, d, d), less what is left out from the whole, for that is the smaller part."""
    whole = X.T @ X
    return np.stack([whole - X[~inside].T @ X[~inside] for inside in members])


def ridge_heads(X: Floats, y: Ints, n_classes: int, members: Bools, alpha: float) -> Floats:
    """Weights (b, d, k) of a ridge classifier on each subset, from X (n, d), codes y (n,) and `members` (b, n)."""
    d = X.shape[1]
    W = np.empty((len(members), d, n_classes))
    Y = np.eye(n_classes)[y]
    for at in _batches(len(members), d * (d + n_classes)):
        sums = np.stack([X[inside].T @ Y[inside] for inside in members[at]])
        W[at] = np.linalg.solve(_moments(X, members[at]) + alpha * np.eye(d), sums)
    return W


def logistic_heads(
    X: Floats, y: Ints, n_classes: int, members: Bools, alpha: float, max_iter: int = 200, tol: float = 1e-4
) -> Floats:
    """Weights (b, d, k) of a softmax regression on each subset; stops when no weight moves by more than `tol`."""
    n, d = X.shape
    W = np.zeros((len(members), d, n_classes))
    Y = np.eye(n_classes)[y]
    for at in _batches(len(members), d * d + 3 * n * n_classes):
        inside = members[at, :, None]
        inverse = np.linalg.inv(_moments(X, members[at]) / 2 + alpha * np.eye(d))
        before = ahead = W[at]
        for step in range(1, max_iter + 1):
            pull = X.T @ (inside * (Y - softmax(X @ ahead, axis=2))) - alpha * ahead
            now = ahead + inverse @ pull
            moved = float(np.abs(now - before).max())
            ahead, before = now + (step - 1) / (step + 2) * (now - before), now
            if moved < tol:
                break
        W[at] = before
    return W


def ridge_leave_one_out(X: Floats, y: Ints, n_classes: int, alpha: float) -> tuple[Floats, Floats]:
    """Scores (n, k) of a ridge classifier on its own rows, and of each row by the one that never saw it; O(n d^2)."""
    Y = np.eye(n_classes)[y]
    solved: Any = np.linalg.solve(X.T @ X + alpha * np.eye(X.shape[1]), X.T)  # (d, n)
    scores = X @ (solved @ Y)
    own = np.einsum("nd,dn->n", X, solved)[:, None]
    return scores, (scores - own * Y) / (1 - own)


def nearest_without(near: Ints, y: Ints, n_members: int) -> Floats:
    """Chance (n,) that the nearest row present has the label of row i, in a random subset that leaves row i out.

    `near` (n, j) are the other rows by distance, `y` (n,) codes, `n_members` the size m of the subset. The first l
    neighbours are absent and the next one present with a hypergeometric chance; beyond j of them, the chance is split
    as it is among these, which at a share of 0.7 matters less than 1e-10 from 20 neighbours on.
    """
    others = len(y) - 1
    step = np.arange(near.shape[1])
    gone = np.concatenate([[1.0], np.cumprod(np.maximum(others - n_members - step, 0) / (others - step))[:-1]])
    first = gone * n_members / (others - step)  # (j,)
    return np.asarray((y[near] == y[:, None]) @ (first / first.sum()))

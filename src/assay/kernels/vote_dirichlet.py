"""What everybody would answer to a task, from the few who did: a mixture of Dirichlet-multinomials, one a class.

    class z of a task ~ prior;   shares of the answers | z ~ Dirichlet(alpha[z]);   votes ~ shares

One crowd stands behind all tasks, so its prior is learned from all of them (empirical Bayes). What keeps the classes
what they are called: in a task of class z nothing is answered more often than z on average, the share of the classes
leans on the vote shares, and no crowd is more alike than one correlated by 1 / (1 + 10) (`ALIKE`).

Legend of shapes: n tasks, k classes, u different rows of counts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import digamma, gammaln, logsumexp

Floats = npt.NDArray[np.float64]
ALIKE = 10.0  # largest sum of alpha[z]
LEAN = 0.5  # how much the prior leans on the vote shares: 0.5 tasks for each task
START = 3.0, 1.0  # alpha of the class itself, and of all others together, before the first step
STEPS = 5  # fixed-point steps for alpha in one step of EM


class Mixture(NamedTuple):
    """P(class of a task) (k,), and for each class the Dirichlet parameters of the shares of the answers (k, k)."""

    prior: Floats
    alpha: Floats


class MixtureFit(NamedTuple):
    """The mixture, the objective after each step (never falls), and whether the tolerance ended the ascent."""

    mixture: Mixture
    objective: list[float]
    converged: bool


class _Rows:
    """Different rows of counts (u, k) with their multiplicity, and the different numbers in them.

    A sum of digammas over rows is then a sum over the few different numbers.
    """

    def __init__(self, totals: Floats) -> None:
        self.counts, self.inverse, self.often = distinct_rows(totals)
        self.size = self.counts.sum(axis=1)
        self.values, cells = np.unique(self.counts, return_inverse=True)
        k = totals.shape[1]
        self.cells = cells.reshape(self.counts.shape) * k + np.arange(k)
        self.sizes, self.size_at = np.unique(self.size, return_inverse=True)

    def weigh(self, weight: Floats) -> tuple[Floats, Floats]:
        """Weight (u,) of the rows, summed by number and class (values, k), and by size (sizes,)."""
        k = self.counts.shape[1]
        table = np.bincount(self.cells.ravel(), np.repeat(weight, k), len(self.values) * k)
        by_size = np.bincount(self.size_at, weight, len(self.sizes))
        return np.asarray(table.reshape(-1, k), dtype=np.float64), np.asarray(by_size, dtype=np.float64)

    def log_chance(self, alpha: Floats) -> Floats:
        """Log-probability (u,) of each row, its votes in the order in which they came."""
        by_value = gammaln(self.values[:, None] + alpha) - gammaln(alpha)
        by_size = gammaln(self.sizes + alpha.sum()) - gammaln(alpha.sum())
        return np.asarray(by_value.ravel()[self.cells].sum(axis=1) - by_size[self.size_at])


def distinct_rows(
    totals: Floats,
) -> tuple[Floats, npt.NDArray[np.int64], Floats]:
    """Different rows (u, k), which of them each row is (n,), and how often each comes (u,)."""
    bits = np.ascontiguousarray(totals, dtype=np.float64).view(np.uint64)
    odd = np.random.default_rng(0).integers(0, 2**63, totals.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    mixed = bits ^ (bits >> np.uint64(32))
    hashed = ((mixed * odd) ^ ((mixed * odd) >> np.uint64(29))).sum(axis=1, dtype=np.uint64)
    _, first, inverse = np.unique(hashed, return_index=True, return_inverse=True)
    if not np.array_equal(totals[first[inverse]], totals):  # two rows with one hash: sort the rows themselves
        _, first, inverse = np.unique(totals, axis=0, return_index=True, return_inverse=True)
    inverse = inverse.reshape(len(totals))
    order = np.lexsort(totals[first].T)  # not the order of the hashes: sums must not depend on it
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return totals[first[order]], rank[inverse], np.bincount(inverse, minlength=len(first))[order].astype(np.float64)


def fit_mixture(totals: Floats, max_iter: int = 300, tol: float = 1e-7) -> MixtureFit:
    """Learn the crowd behind votes.

    Parameters
    ----------
    totals : (n, k) votes for each class, weighted or not; rows without votes are not read.
    max_iter : most steps of EM.
    tol : gain of the objective, a task, below which the ascent ends.
    """
    k = totals.shape[1]
    alpha = np.where(np.eye(k, dtype=bool), START[0], START[1] / max(k - 1, 1))
    rows = _Rows(totals[totals.sum(axis=1) > 0])
    n = float(rows.often.sum())
    if not n:
        return MixtureFit(Mixture(np.full(k, 1 / k), alpha), [], True)
    anchor = LEAN * (rows.often @ (rows.counts / rows.size[:, None])) + 1 / k  # one task more, so that no class is out
    prior = anchor / anchor.sum()
    objective: list[float] = []
    converged = False
    for _ in range(max_iter):
        belief, likelihood = _believe(rows, Mixture(prior, alpha))
        objective.append(float(rows.often @ likelihood + anchor @ np.log(prior)))
        converged = len(objective) > 1 and objective[-1] - objective[-2] <= tol * n
        if converged:
            break
        weight = belief * rows.often[:, None]
        prior = (weight.sum(axis=0) + anchor) / (n + anchor.sum())
        alpha = np.stack([_climb(rows, weight[:, z], alpha[z], z) for z in range(k)])
    return MixtureFit(Mixture(prior, alpha), objective, converged)


def believe(mixture: Mixture, totals: Floats) -> tuple[Floats, Floats]:
    """P(class) (n, k), and the shares expected of further votes (n, k); tasks without votes get the prior of both."""
    rows = _Rows(totals)
    truth, _ = _believe(rows, mixture)
    shares = np.zeros_like(truth)
    for z, alpha in enumerate(mixture.alpha):
        shares += truth[:, z, None] * (rows.counts + alpha) / (rows.size + alpha.sum())[:, None]
    return truth[rows.inverse], shares[rows.inverse]


def _believe(rows: _Rows, mixture: Mixture) -> tuple[Floats, Floats]:
    logs = np.log(mixture.prior) + np.stack([rows.log_chance(alpha) for alpha in mixture.alpha], axis=1)
    total = logsumexp(logs, axis=1)
    return np.exp(logs - total[:, None]), np.asarray(total)


def _climb(rows: _Rows, weight: Floats, alpha: Floats, z: int) -> Floats:
    """Minka's fixed point for one Dirichlet-multinomial under the two bounds; never below where it started."""
    by_value, by_size = rows.weigh(weight)
    mass = float(weight.sum())

    def gain(a: Floats) -> float:
        up = (by_value * (gammaln(rows.values[:, None] + a) - gammaln(a))).sum()
        return float(up - by_size @ (gammaln(rows.sizes + a.sum()) - gammaln(a.sum())))

    best, at = alpha, alpha
    height = gain(alpha)
    for _ in range(STEPS):
        up = (by_value * (digamma(rows.values[:, None] + at) - digamma(at))).sum(axis=0)
        down = float(by_size @ (digamma(rows.sizes + at.sum()) - digamma(at.sum())))
        slack = 1e-6 * mass + 1e-12  # keeps a class that is never answered above 0
        at = np.maximum(at * (up + slack) / (down + slack), 1e-4)
        at[z] = at.max()
        at = at * min(1.0, ALIKE / at.sum())
        if (higher := gain(at)) < height:
            break
        best, height = at, higher
    return best

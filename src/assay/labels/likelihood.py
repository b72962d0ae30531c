"""One loss for every type of label: -log sum_y kappa(e | y) p(y | x).

A model says `log_p` (n, k), the log-probability of each class for each row. An observation e was made of the unknown
truth y through a kernel kappa, and the loss is how surprising the observation is. The well-known losses are instances:

    hard          kappa = [e = y]                         cross-entropy
    noisy         kappa = T[y, e]                         forward correction (Patrini et al. 2017, arXiv 1609.03683)
    candidates    kappa = [y in e]                        partial-label loss
    votes         kappa = prod_w C_w[y, e_w]              Dawid and Skene (1979)
    bag           kappa = [sum_i onehot(y_i) = e]         learning from label proportions, exact
    censored      kappa = [lo < y <= hi]                  survival likelihood
    preference    sigmoid(s_a - s_b)                      Bradley and Terry (1952)

These are the reference: exact, in log space, on the CPU. Train with the objectives of the `learn` stage and check them
against these. Rows without a label have loss 0. A kernel entry of zero is raised to 1e-9 (`FLOOR`), so that one
impossible observation costs about 20 nats instead of everything.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from assay.errors import InputError
from assay.labels.candidates import Candidates
from assay.labels.censored import Censored
from assay.labels.checks import Floats, as_reals, first, same_length
from assay.labels.hard import Hard
from assay.labels.preferences import TIE, A, Preferences
from assay.labels.proportions import Proportions
from assay.labels.votes import Votes

FLOOR = 1e-9
STATES = 5_000_000  # a bag's table of partial counts holds at most this many numbers (40 MB)

Array = npt.NDArray[np.float64]


def hard_loss(log_p: Array, labels: Hard) -> Array:
    """Cross-entropy of each row `(n,)`, nats."""
    _check(log_p, labels.n_rows, labels.space.n_classes)
    loss = -log_p[np.arange(labels.n_rows), labels.y]
    return np.where(labels.present, loss, 0.0)


def noisy_loss(log_p: Array, labels: Hard, transition: npt.ArrayLike) -> Array:
    """Loss `(n,)` of labels that were said according to row y of `transition` (k, k) when y was true."""
    k = labels.space.n_classes
    _check(log_p, labels.n_rows, k)
    loss = -logsumexp(log_p + log_kernel(transition, (k, k))[:, labels.y].T, axis=1)
    return np.where(labels.present, loss, 0.0)


def candidates_loss(log_p: Array, labels: Candidates) -> Array:
    """Loss `(n,)` of knowing only that the truth is in a set: minus the log of the set's probability."""
    _check(log_p, labels.n_rows, labels.space.n_classes)
    return np.asarray(-logsumexp(np.where(labels.indicator(), log_p, -np.inf), axis=1))


def votes_loss(log_p: Array, votes: Votes, confusion: npt.ArrayLike) -> Array:
    """Loss `(n,)` of all votes on each task together, given `confusion` (w, k, k): [w, y, e] = P(w says e | y).

    Workers are taken to be independent given the truth; the weight of a vote is the power of its kernel.
    """
    k, n = votes.space.n_classes, votes.n_rows
    _check(log_p, n, k)
    each = log_kernel(confusion, (votes.n_workers, k, k))[votes.worker, :, votes.label]  # (v, k)
    if votes.weight is not None:
        each = each * votes.weight[:, None]
    said = np.stack([np.bincount(votes.task, each[:, y], n) for y in range(k)], axis=1)
    return np.where(votes.present, -logsumexp(log_p + said, axis=1), 0.0)


def bag_loss(log_p: Array, bags: Proportions) -> Array:
    """Loss `(b,)` of knowing only the class counts of each bag, exactly.

    Sums over all assignments with these counts by a table of partial counts: for two classes a bag of m items costs
    m * m steps; the table has prod(counts + 1) entries, and a bag that needs more than five million is refused.
    """
    if bags.counts is None:
        raise InputError("The exact loss needs counts: convert the shares with `counts_from_shares`.")
    _check(log_p, bags.n_items, bags.space.n_classes)
    states = np.prod(bags.counts.astype(np.float64) + 1, axis=1)
    row = first(states > STATES)
    if row is not None:
        raise InputError(f"A bag of {bags.sizes[row]} items is too large to count exactly: `bag_mean_loss`.", row=row)
    loss = np.zeros(bags.n_rows)
    for row in range(bags.n_rows):
        inside = bags.members[bags.ptr[row] : bags.ptr[row + 1]]
        used = np.flatnonzero(bags.counts[row])  # a class with count zero takes no part
        table = np.full(tuple(bags.counts[row, used] + 1), -np.inf)  # log-probability of each partial count
        table.flat[0] = 0.0
        for item in inside:
            fresh = np.full_like(table, -np.inf)
            for axis, y in enumerate(used):
                ahead = tuple(slice(1, None) if a == axis else slice(None) for a in range(table.ndim))
                behind = tuple(slice(None, -1) if a == axis else slice(None) for a in range(table.ndim))
                fresh[ahead] = np.logaddexp(fresh[ahead], table[behind] + log_p[item, y])
            table = fresh
        loss[row] = -table.flat[-1]
    return loss


def bag_mean_loss(log_p: Array, bags: Proportions) -> Array:
    """Surrogate loss `(b,)` of large bags: m times the cross-entropy of the shares under the bag's mean probability."""
    _check(log_p, bags.n_items, bags.space.n_classes)
    mean = np.add.reduceat(np.exp(log_p[bags.members]), bags.ptr[:-1]) if bags.n_rows else np.zeros((0, 1))
    mean = np.maximum(mean / bags.sizes[:, None], np.finfo(np.float64).tiny)
    return np.asarray(-(bags.p * np.log(mean)).sum(axis=1) * bags.sizes)


def censored_loss(labels: Censored, log_density: Floats, log_survival_lo: Floats, log_survival_hi: Floats) -> Array:
    """Loss `(n,)` of bounds: -log f(lo) where the value is exact, else -log(S(lo) - S(hi)).

    `log_density` is the model's log-density at `lo`, the others its log-survival at `lo` and `hi`, each `(n,)`;
    what is not needed in a row is not read.
    """
    same_length("bounds", labels.n_rows, density=log_density, lo=log_survival_lo, hi=log_survival_hi)
    event = labels.event
    at_lo = np.where(event, 0.0, np.maximum(log_survival_lo, -700.0))  # a survival of e^-700 is as good as none
    fall = np.where(event | np.isinf(labels.hi), -np.inf, np.minimum(log_survival_hi - at_lo, 0.0))
    between = at_lo + np.log(np.maximum(-np.expm1(fall), FLOOR))
    return np.asarray(-np.where(event, log_density, between))


def preference_loss(scores: npt.ArrayLike, preferences: Preferences) -> Array:
    """Loss `(p,)` of each pair under scores `(n_items,)`: -log sigmoid(winner - loser); a tie is half of both."""
    s = as_reals(scores, "Scores")
    if len(s) != preferences.n_items:
        raise InputError(f"There must be {preferences.n_items} scores, one an item; got {len(s)}.")
    difference = s[preferences.a] - s[preferences.b]
    a_wins, b_wins = np.logaddexp(0, -difference), np.logaddexp(0, difference)
    decided = np.where(preferences.winner == A, a_wins, b_wins)
    return np.where(preferences.winner == TIE, (a_wins + b_wins) / 2, decided)


def log_kernel(kernel: npt.ArrayLike, shape: tuple[int, ...]) -> Array:
    """Log of a kernel of `shape` whose last axis sums to one; entries below 1e-9 are raised to it."""
    array = as_reals(kernel, "The kernel", ndim=len(shape))
    if array.shape != shape:
        raise InputError(f"The kernel must have shape {shape}, got {array.shape}.")
    row = first((array < 0).reshape(-1, shape[-1]) | (np.abs(array.sum(-1) - 1) > 1e-3).reshape(-1, 1))
    if row is not None:
        raise InputError("Each row of the kernel must be probabilities that add up to 1.", row=row)
    return np.log(np.maximum(array, FLOOR))


def _check(log_p: Array, n: int, k: int) -> None:
    if log_p.shape != (n, k):
        raise InputError(
            f"log_p must have shape ({n}, {k}), one row an item and one column a class; got {log_p.shape}."
        )
    row = first(~(log_p <= 1e-6))
    if row is not None:
        raise InputError(f"Log-probabilities cannot be above 0, got {log_p[row].max():g}.", row=row)

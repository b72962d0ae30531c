"""How good is a belief when nobody knows the truth: hold votes out, and predict them.

A belief formed without a vote, and what its worker says when something is true, give the probability of that vote:

    P(vote l by worker j on task i) = sum over c of belief[i, c] * said[j, c, l]
    said[j, c, l] ~ votes l of j where c is believed + LEAN votes of the average worker

The mean log of it is a proper score. A belief that is too sure predicts contested votes badly, so a temperature that
predicts better is learned from votes alone, and so are the weights of a mean of beliefs (stacking, Yao et al., 2018).
What no vote can show is an error that all workers share.

Legend of shapes: n tasks, w workers, k classes, v votes, h held-out votes, m methods.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.kernels.soft_means import temper

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer[Any]]
Belief = npt.NDArray[np.floating[Any]]
LEAN = 4.0  # votes of the average worker in each class that a worker is lent
FLOOR = 1e-9  # a vote is never less probable, so that one cannot decide
TEMPERATURES = (
    1.0,
    1.25,
    1.5,
    2.0,
    2.5,
    3.0,
    4.0,
    5.0,
    6.0,
)  # votes that err together make beliefs too sure, never shy


class Cast(NamedTuple):
    """Votes as codes (v,), and how much each counts (v,) or None for one each."""

    task: Ints
    worker: Ints
    label: Ints
    weight: npt.NDArray[np.floating[Any]] | None = None

    def take(self, chosen: npt.NDArray[np.bool_]) -> Cast:
        """The chosen votes (v,) bool."""
        return Cast(*(None if column is None else column[chosen] for column in self))  # type: ignore[arg-type]


def held_out(votes: Cast, n_tasks: int, random_state: int = 0) -> npt.NDArray[np.bool_]:
    """Choose at random one vote (v,) bool of each task that has two or more; the order of rows does not matter."""
    order = np.lexsort((votes.label, votes.worker, votes.task))
    n_votes = np.bincount(votes.task, minlength=n_tasks)
    draw = (np.random.default_rng(random_state).random(n_tasks) * n_votes).astype(np.int64)
    place = np.cumsum(n_votes) - n_votes + draw
    chosen = np.zeros(len(votes.task), dtype=bool)
    chosen[order[place[n_votes > 1]]] = True
    return chosen


class Answers:
    """What each worker says when a class is believed, from votes `seen` and beliefs (n, k) about their tasks.

    Only pairs of worker and answer that occur are kept, so that many workers and classes cost no table (w, k, k).
    """

    def __init__(self, seen: Cast, belief: Belief, n_workers: int) -> None:
        self._k = belief.shape[1]
        self._seen, self._n_workers = seen, n_workers
        key = seen.worker.astype(np.int64) * self._k + seen.label
        self._pairs, pair = np.unique(key, return_inverse=True)
        self._pair = pair.reshape(-1)
        self.learn(belief)

    def learn(self, belief: Belief) -> Answers:
        """Forget the beliefs and learn from others (n, k) about the same votes."""
        seen, worker = self._seen, self._pairs // self._k
        mass = belief[seen.task].astype(np.float64)
        if seen.weight is not None:
            mass *= np.asarray(seen.weight, dtype=np.float64)[:, None]
        self._said = _sums(self._pair, mass, len(self._pairs))
        self._total = _sums(worker, self._said, self._n_workers)
        everyone = _sums(self._pairs % self._k, self._said, self._k) + 0.1
        self._average = everyone / everyone.sum(axis=0)
        return self

    def chance(self, votes: Cast, belief: Belief) -> Floats:
        """Probability (h,) of each of `votes`, given beliefs (n, k) formed without them."""
        key = votes.worker.astype(np.int64) * self._k + votes.label
        at = np.minimum(np.searchsorted(self._pairs, key), max(len(self._pairs) - 1, 0))
        known = self._pairs[at] == key if len(self._pairs) else np.zeros(len(key), dtype=bool)
        said = np.where(known[:, None], self._said[at], 0.0) if len(self._pairs) else 0.0
        given = (said + LEAN * self._average[votes.label]) / (self._total[votes.worker] + LEAN)
        return np.asarray((belief[votes.task] * given).sum(axis=1))

    def distribution(self, votes: Cast, belief: Belief) -> Floats:
        """Probability of every answer (h, k) that the workers of `votes` could have given on their tasks."""
        columns = []
        for answer in range(self._k):
            other = Cast(votes.task, votes.worker, np.full(len(votes.task), answer))
            columns.append(self.chance(other, belief))
        return np.stack(columns, axis=1)


def chances(seen: Cast, held: Cast, belief: Belief, n_workers: int) -> Floats:
    """Probability (h,) of held-out votes, from the votes seen and the belief (n, k) that a method formed on them."""
    return np.maximum(Answers(seen, belief, n_workers).chance(held, belief), FLOOR)


def tempered_chances(seen: Cast, held: Cast, belief: Belief, n_workers: int) -> Floats:
    """As `chances`, with the belief at each of `TEMPERATURES` (t, h)."""
    answers = Answers(seen, belief, n_workers)
    warmed = (temper(belief, t) for t in TEMPERATURES)
    return np.stack([np.maximum(answers.learn(warm).chance(held, warm), FLOOR) for warm in warmed])


def best_temperature(by_temperature: Floats) -> int:
    """Which of `TEMPERATURES` predicts best, from chances (t, h); the lowest where nothing is held out."""
    if not by_temperature.shape[1]:
        return 0
    score = np.log(by_temperature).mean(axis=1)
    return int(np.argmax(score >= score.max() - 1e-9))


def stack(by_method: Floats, prior: float = 10.0, steps: int = 300) -> Floats:
    """Weights (m,) of a mean of methods that predicts held-out votes best.

    Parameters
    ----------
    by_method : (h, m) probability of each held-out vote by each method; none is 0.
    prior : votes that speak for equal weights, so that few held-out votes choose nobody.
    steps : most steps of EM; the score is concave in the weights.
    """
    p = np.asarray(by_method, dtype=np.float64)
    if p.ndim != 2 or not p.shape[1] or not (p > 0).all():
        raise InputError(f"Chances must be positive with shape (held-out votes, methods), got {p.shape}.")
    w: Floats = np.full(p.shape[1], 1.0 / p.shape[1])
    if not len(p):
        return w
    for _ in range(steps):
        # Each vote is shared among the methods by how probable they made it: columns sum p * w / (p @ w).
        new: Floats = w * (p.T @ (1 / (p @ w))) + prior / p.shape[1]
        new /= new.sum()
        if np.abs(new - w).max() < 1e-7:
            return new
        w = new
    return w


def evenness(counts: npt.ArrayLike) -> tuple[float, float]:
    """Agreement of two votes on a task beyond chance, and how much it differs between tasks, 1 being chance alone.

    The second is the variance of the share of agreeing pairs, over what it would be if all tasks were alike and every
    vote were drawn from one bag. Real tasks differ, so it is near 1 or above; far below 1 the tasks were chosen by how
    their voters agreed, and such votes say nothing of how often people agree. `counts` is (n, k) votes for each class.
    Both are NaN when no task has three votes or everybody gives one answer.
    """
    c = np.asarray(counts, dtype=np.float64)
    n = c.sum(axis=1)
    c, n = c[n >= 3], n[n >= 3]
    if not len(c):
        return float("nan"), float("nan")
    share = c.sum(axis=0) / c.sum()
    two, three = float((share**2).sum()), float((share**3).sum())
    if two > 1 - 1e-12:
        return float("nan"), float("nan")
    agree = ((c**2).sum(axis=1) - n) / (n * (n - 1))
    chance = 2 / (n * (n - 1)) * (two - two**2 + 2 * (n - 2) * (three - two**2))
    return float((agree.mean() - two) / (1 - two)), float(((agree - agree.mean()) ** 2).sum() / chance.sum())


def _sums(code: Ints, mass: Floats, size: int) -> Floats:
    """Sum the rows (v, k) of `mass` by code (v,) into (size, k)."""
    return np.stack([np.bincount(code, column, size) for column in mass.T], axis=1)

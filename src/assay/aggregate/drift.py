"""Whose accuracy changed over time, when, and by how much: a change-point test for every worker.

Tired, hurried or replaced workers (and models that were updated) stay in the tables of an aggregator as one average
person. This finds them, from any belief about the truth: gold, or what an aggregator believes.

Paper: Brown, Durbin, Evans, "Techniques for Testing the Constancy of Regression Relationships over Time", 1975 (the
CUSUM); false discoveries held as in Benjamini, Hochberg, 1995.

    T = max over t of |sum over votes up to t of (right - mean right)| / sqrt(sum of (right - mean right)^2)
    p = chance that a Brownian bridge strays as far (Kolmogorov);  right = belief[task, said]

When to use: votes with times, tens of votes a worker. When not: tasks that got harder in the course of time, for then
all workers fall together: look at how many drift at once. A belief made of the worker's own votes sees less drift.

Departures: p-values take the limit of many votes, which is a little strict for few; votes of one moment are one step,
so that their order cannot matter; one change a worker is looked for, gradual drift shows as a change in its middle.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import special, stats
from sklearn.base import BaseEstimator

from assay.aggregate import require_tasks
from assay.errors import InputError
from assay.labels import Soft, Votes

METHOD = {
    "name": "drift",
    "title": "Drift of workers over time",
    "paper": "Brown, Durbin, Evans, 1975, Techniques for Testing the Constancy of Regression Relationships over Time",
    "arxiv": None,
    "accepts": ["votes", "soft"],
    "gives": ["worker drift", "vote evidence"],
    "command": "from assay.aggregate.drift import Drift",
    "claim": "Without drift at most 5 % of crowds have a worker flagged; a fall from 0.9 to 0.6 in 200 votes is found.",
    "status": "experimental",
}

Floats = npt.NDArray[np.float64]


def change_points(worker: npt.NDArray[Any], time: Floats, right: Floats, weight: Floats, w: int) -> dict[str, Any]:
    """Farthest stray of the CUSUM of each worker, and where it lies.

    Parameters
    ----------
    worker, time, right, weight : (v,) codes in 0..w-1, seconds, chance to be right, and how often a vote counts.

    Returns
    -------
    Columns (w,): `accuracy`, `statistic` (0 where nothing varies), `changed_at` (time of the first vote after the
    change, NaN for none), and the accuracies `before` and `after` it.
    """
    total = np.bincount(worker, weight, w)
    nothing = np.full(w, np.nan)
    mean = np.divide(np.bincount(worker, weight * right, w), total, out=nothing.copy(), where=total > 0)
    found = {"accuracy": mean, "statistic": np.zeros(w), "changed_at": nothing, "before": mean, "after": mean}
    if not len(worker):
        return found
    order = np.lexsort((right, time, worker))  # votes of one moment in an order that rows do not decide
    who, when = worker[order], time[order]
    stray = weight[order] * (right[order] - mean[who])
    spread = np.sqrt(np.bincount(who, stray * (right[order] - mean[who]), w))
    # each worker's strays sum to zero, so one running sum serves all
    path = np.cumsum(stray)
    inner = np.flatnonzero((who[1:] == who[:-1]) & (when[1:] > when[:-1]))  # the last vote of a moment
    far = np.abs(path[inner])
    far[far < 1e-9] = 0.0
    first = np.lexsort((inner, -far, who[inner]))
    them, start = np.unique(who[inner][first], return_index=True)
    at = inner[first[start]]
    usable = (spread[them] > 1e-9) & (np.abs(path[at]) > 1e-9)
    them, at = them[usable], at[usable]
    found["statistic"][them] = np.abs(path[at]) / spread[them]
    found["changed_at"][them] = when[at + 1]
    late = time >= found["changed_at"][worker]  # false where there is no change
    seen = np.bincount(worker, weight * late, w)[them]
    after = np.bincount(worker, weight * right * late, w)[them] / np.maximum(seen, 1e-300)
    rest = (mean[them] * total[them] - after * seen) / np.maximum(total[them] - seen, 1e-300)
    found["before"], found["after"] = mean.copy(), mean.copy()
    found["before"][them], found["after"][them] = rest, after
    return found


class Drift(BaseEstimator):  # type: ignore[misc]
    """Change of accuracy over time, for votes with times (n tasks, w workers, v votes).

    Parameters
    ----------
    level : largest expected share of false alarms among the workers flagged.
    min_votes : workers with fewer votes are not tested.

    Attributes
    ----------
    drifted_ : (w,) bool, in the order of `votes.worker_ids`.

    Examples
    --------
    >>> from assay.labels import Space
    >>> n, space = 200, Space(("no", "yes"))
    >>> said = np.where(np.arange(n) < 100, 0, np.arange(n) % 2)  # right until the middle, then a coin
    >>> votes = Votes(space, np.arange(n), np.zeros(n, int), said, np.arange(n), np.array(["ann"]), time=np.arange(n))
    >>> rows = Drift().fit(votes, Soft(space, np.tile([1.0, 0.0], (n, 1)))).workers()
    >>> bool(rows["drifted"][0]), float(rows["changed_at"][0])
    (True, 101.0)
    """

    def __init__(self, level: float = 0.05, min_votes: int = 20) -> None:
        self.level = level
        self.min_votes = min_votes

    def fit(self, votes: Votes, belief: Soft) -> Self:
        """Test each worker, given what is believed of each task: `belief` (n, k) in the order of `votes.task_ids`."""
        self._check(votes, belief)
        time = np.asarray(votes.time, dtype=np.float64)
        self._right = belief.p[votes.task, votes.label].astype(np.float64)
        weight = votes.weight_per_vote()
        known = np.ones(votes.n_votes, bool) if belief.mask is None else belief.mask[votes.task]
        self._right[~known] = np.nan
        cast = np.flatnonzero(known & (weight > 0))
        columns = votes.worker[cast], time[cast], self._right[cast], weight[cast]
        self._found = change_points(*columns, votes.n_workers)
        self._n_votes = np.bincount(votes.worker[cast], minlength=votes.n_workers)
        tested = self._n_votes >= self.min_votes
        self._p, self._q = np.full(votes.n_workers, np.nan), np.full(votes.n_workers, np.nan)
        self._p[tested] = special.kolmogorov(self._found["statistic"][tested])
        if tested.any():
            self._q[tested] = stats.false_discovery_control(self._p[tested])
        self.drifted_: npt.NDArray[np.bool_] = self._q <= self.level
        self._votes = votes
        return self

    def workers(self) -> dict[str, npt.NDArray[Any]]:
        """One row a worker.

        `worker`, `n_votes`, `accuracy`, `statistic`, `p`, `q` (p among all workers tested; NaN for those not tested),
        `drifted`, `changed_at` (time of the first vote after the likeliest change), `before` and `after`.
        """
        columns = {"worker": self._votes.worker_ids, "n_votes": self._n_votes, "p": self._p, "q": self._q}
        return {**columns, "drifted": self.drifted_, **self._found}

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """One row a vote: `task`, `worker`, `right` 0..1 (NaN unknown), and `doubtful`, cast after a proven fall."""
        votes, found = self._votes, self._found
        fell = self.drifted_ & (found["after"] < found["before"])
        return {
            "task": votes.task_ids[votes.task],
            "worker": votes.worker_ids[votes.worker],
            "right": self._right,
            "doubtful": fell[votes.worker] & (np.asarray(votes.time) >= found["changed_at"][votes.worker]),
        }

    def _check(self, votes: Votes, belief: Soft) -> None:
        if not 0 < self.level < 1 or self.min_votes < 2:
            raise InputError(
                f"level lies between 0 and 1 and min_votes is at least 2, got {self.level} and {self.min_votes}."
            )
        if votes.time is None:
            raise InputError("The votes have no times: give `time`, seconds for each vote, to look for drift.")
        require_tasks(votes, belief, "belief")

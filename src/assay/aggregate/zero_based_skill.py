"""Weigh each worker by how often they agree with the weighted majority, again and again with a step that shrinks.

Wawa measures workers against a majority in which everyone counts the same; here the majority is taken with the weights
just learned, until they settle. Workers start just above chance, hence the name.

Paper: Wright, Augenstein, "Aggregating Soft Labels from Crowd Annotations Improves Uncertainty Estimation Under
Distribution Shift", PLOS ONE 2025, arXiv 2212.09409; the algorithm is that of crowd-kit (Ustalov et al., 2024).

    start:    skill[j]  = 1 / k + 1e-5
    repeat:   skill[j] += rate * (share of votes of j that are the weighted majority's - skill[j])
    belief[i, c] = sum of skill[j] over votes (j, c) on task i, divided by the sum over all votes on it

When to use: as Wawa, when the good workers are few. When not: the first majority is mostly wrong.

Departures: equal to crowd-kit 1.4.2 in its skills; stops when a step changes nothing; gold, where given, stands in for
the majority; scores that differ only by the order of addition are ties.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from assay.aggregate import gold_codes, table_of, task_evidence
from assay.errors import InputError
from assay.kernels.belief_rows import Ties, top_class
from assay.kernels.intervals import wilson
from assay.kernels.vote_order import worker_codes
from assay.kernels.vote_shares import agreement, shares, winners
from assay.labels import Hard, Soft, Votes

METHOD = {
    "name": "zero_based_skill",
    "title": "Zero-based skill",
    "paper": "Wright, Augenstein, 2025, Aggregating Soft Labels from Crowd Annotations Improves Uncertainty Estimation",
    "arxiv": "2212.09409",
    "accepts": ["votes"],
    "gives": ["soft", "worker skill", "task evidence"],
    "command": "assay aggregate VOTES --method zero_based_skill",
    "claim": "On the RTE votes of Snow et al. it is right more often than the majority and has a lower log-loss.",
    "status": "stable",
}

Floats = npt.NDArray[np.float64]
ABOVE_CHANCE = 1e-5
STILL = 1e-14  # a change of skill that is rounding


class ZeroBasedSkill(BaseEstimator):  # type: ignore[misc]
    """Zero-based skill over votes (n tasks, w workers, k classes).

    Parameters
    ----------
    max_iter : most steps.
    rate : first step size, in 0..1.
    halve_every : steps after which the step size is halved.
    ties : for `predict`: "lowest" code, or "seeded" draw. The majority that skills are measured by takes the lowest.
    random_state : seed of the draw.

    Attributes
    ----------
    belief_ : Soft (n, k), rows in the order of `votes.task_ids`.
    prior_ : (k,) mean belief over the tasks with votes.
    skill_ : (w,) learned weights.
    worker_ids_ : (w,).
    n_iter_, converged_ : steps taken, and whether the last one changed nothing.

    Examples
    --------
    >>> votes = Votes.from_long(["a", "a", "a", "b", "b"], ["x", "y", "z", "x", "z"], ["no", "no", "yes", "no", "no"])
    >>> ZeroBasedSkill().fit(votes).skill_.round(6).tolist()
    [1.0, 1.0, 0.5]
    """

    def __init__(
        self,
        max_iter: int = 100,
        rate: float = 1.0,
        halve_every: int = 20,
        ties: Ties = "lowest",
        random_state: int = 0,
    ) -> None:
        self.max_iter = max_iter
        self.rate = rate
        self.halve_every = halve_every
        self.ties = ties
        self.random_state = random_state

    def fit(self, votes: Votes, gold: Hard | None = None) -> ZeroBasedSkill:
        """Learn weights of workers and weigh their votes; `gold`, one row a task, holds the classes that are known."""
        if self.max_iter < 1 or self.halve_every < 1 or not 0 < self.rate <= 1:
            raise InputError(
                f"max_iter and halve_every must be 1 or more and rate in 0..1, got {self.max_iter}, "
                f"{self.halve_every} and {self.rate}."
            )
        table = table_of(votes)
        known = gold_codes(votes, gold)
        skill = np.full(table.n_workers, 1.0 / max(table.n_classes, 1) + ABOVE_CHANCE)
        rate, self.converged_ = self.rate, False
        for step in range(1, self.max_iter + 1):
            rate *= 0.5 if step % self.halve_every == 0 else 1.0
            found, average = agreement(table, winners(table, skill, known))
            change = np.nan_to_num(found - skill)  # nothing is learned of a worker without votes
            skill = skill + rate * change
            self.n_iter_ = step
            if np.abs(change).max(initial=0.0) < STILL:
                self.converged_ = True
                break
        self._average = float(np.nan_to_num(average, nan=1.0))
        self.skill_: Floats = np.where(np.isnan(found), self._average, skill)
        belief, self.prior_ = shares(table, self.skill_, known)
        belief.setflags(write=False)  # so that Soft needs no copy
        self.space_, self.worker_ids_ = votes.space, votes.worker_ids
        self.belief_ = Soft(votes.space, belief)
        self._evidence = task_evidence(votes, belief)
        self._n_votes = table.per_worker()
        return self

    def predict_proba(self, votes: Votes) -> Floats:
        """Belief (n', k) in the classes of other tasks, workers known by their ids."""
        self.space_.require(votes.space)
        codes = worker_codes(self.worker_ids_, votes.worker_ids)
        table = table_of(votes, codes, len(self.skill_) + 1)
        belief, _ = shares(table, np.append(self.skill_, self._average))
        belief[table.per_task() == 0] = self.prior_
        return belief

    def predict(self, votes: Votes) -> npt.NDArray[np.int32]:
        """Most believed class (n',) int32."""
        return top_class(self.predict_proba(votes), self.ties, self.random_state)

    def workers(self) -> dict[str, npt.NDArray[Any]]:
        """One row a worker: `worker`, `n_votes`, `skill` and its 95 % interval `low`, `high`."""
        low, high = wilson(np.clip(self.skill_, 0.0, 1.0) * self._n_votes, self._n_votes)
        columns = {"worker": self.worker_ids_, "n_votes": self._n_votes, "skill": self.skill_}
        return {**columns, "low": low, "high": high}

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """One row a task: id, number of votes, entropy and margin of the belief, most probable class."""
        return self._evidence

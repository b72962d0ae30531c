"""Weigh each worker by how often they agree with the majority (worker agreement with aggregate).

Two counts, no iteration, and no model of errors: what crowdsourcing platforms use to rank their workers.

Paper: Wright, Augenstein, "Aggregating Soft Labels from Crowd Annotations Improves Uncertainty Estimation Under
Distribution Shift", PLOS ONE 2025, arXiv 2212.09409; the method is older and was named by the platform Appen.

    skill[j]     = share of the votes of worker j that are the majority's
    belief[i, c] = sum of skill[j] over votes (j, c) on task i, divided by the sum over all votes on it

When to use: workers of different skill, several votes a task, results within a second. When not: a majority of bad
workers, or two votes a task (each then agrees with themselves).

Departures: gold, where given, stands in for the majority. Where every worker on a task has skill 0 the votes count the
same; a task without votes gets the mean belief; a worker not seen before has the skill of all votes together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from assay.aggregate import gold_codes, table_of, task_evidence
from assay.kernels.belief_rows import Ties, top_class
from assay.kernels.intervals import wilson
from assay.kernels.vote_order import worker_codes
from assay.kernels.vote_shares import agreement, shares, winners
from assay.labels import Hard, Soft, Votes

METHOD = {
    "name": "wawa",
    "title": "Wawa",
    "paper": "Wright, Augenstein, 2025, Aggregating Soft Labels from Crowd Annotations Improves Uncertainty Estimation",
    "arxiv": "2212.09409",
    "accepts": ["votes"],
    "gives": ["soft", "worker skill", "task evidence"],
    "command": "assay aggregate VOTES --method wawa",
    "claim": "On the RTE votes of Snow et al. its belief has a lower log-loss than the vote shares.",
    "status": "stable",
}

Floats = npt.NDArray[np.float64]


class Wawa(BaseEstimator):  # type: ignore[misc]
    """Worker agreement with aggregate, over votes (n tasks, w workers, k classes).

    Parameters
    ----------
    ties : for `predict`: "lowest" code, or "seeded" draw. The majority that skills are measured by takes the lowest.
    random_state : seed of the draw.

    Attributes
    ----------
    belief_ : Soft (n, k), rows in the order of `votes.task_ids`.
    prior_ : (k,) mean belief over the tasks with votes.
    skill_ : (w,) share of votes that agree with the majority.
    worker_ids_ : (w,).
    n_iter_, converged_ : 1 and True; there is nothing to iterate.

    Examples
    --------
    >>> votes = Votes.from_long(["a", "a", "a", "b", "b"], ["x", "y", "z", "x", "z"], ["no", "no", "yes", "no", "no"])
    >>> Wawa().fit(votes).skill_.tolist()
    [1.0, 1.0, 0.5]
    """

    def __init__(self, ties: Ties = "lowest", random_state: int = 0) -> None:
        self.ties = ties
        self.random_state = random_state

    def fit(self, votes: Votes, gold: Hard | None = None) -> Wawa:
        """Measure the workers and weigh their votes; `gold`, one row a task, holds the classes that are known."""
        table = table_of(votes)
        known = gold_codes(votes, gold)
        skill, average = agreement(table, winners(table, gold=known))
        self._average = float(np.nan_to_num(average, nan=1.0))
        self.skill_: Floats = np.where(np.isnan(skill), self._average, skill)
        belief, self.prior_ = shares(table, self.skill_, known)
        belief.setflags(write=False)  # so that Soft needs no copy
        self.space_, self.worker_ids_ = votes.space, votes.worker_ids
        self.belief_ = Soft(votes.space, belief)
        self._evidence = task_evidence(votes, belief)
        self._n_votes = table.per_worker()
        self.n_iter_, self.converged_ = 1, True
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
        low, high = wilson(self.skill_ * self._n_votes, self._n_votes)
        columns = {"worker": self.worker_ids_, "n_votes": self._n_votes, "skill": self.skill_}
        return {**columns, "low": low, "high": high}

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """One row a task: id, number of votes, entropy and margin of the belief, most probable class."""
        return self._evidence

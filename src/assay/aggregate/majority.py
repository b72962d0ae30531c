"""Let every vote count the same: the share of the votes for a class is the belief in it.

The baseline that everything else must beat, and hard to beat with many votes a task.

Paper: Wright, Augenstein, "Aggregating Soft Labels from Crowd Annotations Improves Uncertainty Estimation Under
Distribution Shift", PLOS ONE 2025, arXiv 2212.09409 (its "standard" and "softmax" labels).

    share:    belief[i, c] = votes[i, c] / sum over c of votes[i, c]
    softmax:  belief[i, c] ~ exp(votes[i, c] / temperature)

When to use: as the baseline; many votes a task by similar workers. When not: workers differ in skill (any other method
knows whom to trust). A share says never where nobody voted for a class, so its log-loss on few votes is bad; a softmax
of counts never says never, but grows sharper with the number of votes.

Departures: a task without votes gets the mean belief; a tie splits the belief evenly and is broken in `predict` alone.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.base import BaseEstimator

from assay.aggregate import table_of, task_evidence
from assay.errors import InputError
from assay.kernels.belief_rows import Ties, top_class
from assay.kernels.intervals import wilson
from assay.kernels.vote_shares import agreement, shares, totals, winners
from assay.kernels.vote_table import VoteTable
from assay.labels import Soft, Votes

METHOD = {
    "name": "majority",
    "title": "Majority vote",
    "paper": "Wright, Augenstein, 2025, Aggregating Soft Labels from Crowd Annotations Improves Uncertainty Estimation",
    "arxiv": "2212.09409",
    "accepts": ["votes"],
    "gives": ["soft", "worker agreement", "task evidence"],
    "command": "assay aggregate VOTES --method majority",
    "claim": "On the RTE votes of Snow et al. the softmax of the counts has a lower log-loss than the vote shares.",
    "status": "stable",
}

Floats = npt.NDArray[np.float64]


class Majority(BaseEstimator):  # type: ignore[misc]
    """Majority vote over votes (n tasks, w workers, k classes).

    Parameters
    ----------
    how : "share" of the votes, or "softmax" of their counts.
    temperature : what the counts are divided by before the softmax; above 1 is less sure.
    ties : for `predict`: "lowest" code, or "seeded" draw.
    random_state : seed of the draw.

    Attributes
    ----------
    belief_ : Soft (n, k), rows in the order of `votes.task_ids`.
    prior_ : (k,) mean belief over the tasks with votes.
    worker_ids_ : (w,).
    n_iter_, converged_ : 1 and True; there is nothing to iterate.

    Examples
    --------
    >>> votes = Votes.from_long(["a", "a", "a", "b"], ["x", "y", "z", "x"], ["no", "no", "yes", "yes"])
    >>> Majority().fit(votes).belief_.p.round(2).tolist()
    [[0.67, 0.33], [0.0, 1.0]]
    """

    def __init__(
        self,
        how: Literal["share", "softmax"] = "share",
        temperature: float = 1.0,
        ties: Ties = "lowest",
        random_state: int = 0,
    ) -> None:
        self.how = how
        self.temperature = temperature
        self.ties = ties
        self.random_state = random_state

    def fit(self, votes: Votes) -> Majority:
        """Count the votes."""
        if self.how not in ("share", "softmax"):
            raise InputError(f"how must be 'share' or 'softmax', got {self.how!r}.")
        if not self.temperature > 0:
            raise InputError(f"temperature must be above 0, got {self.temperature}.")
        table = table_of(votes)
        belief, self.prior_ = self._believe(table)
        belief.setflags(write=False)  # so that Soft needs no copy
        self.space_, self.worker_ids_ = votes.space, votes.worker_ids
        self.belief_ = Soft(votes.space, belief)
        self._evidence = task_evidence(votes, belief)
        self._agreement, _ = agreement(table, winners(table))
        self._n_votes = table.per_worker()
        self.n_iter_, self.converged_ = 1, True
        return self

    def predict_proba(self, votes: Votes) -> Floats:
        """Belief (n', k) in the classes of other tasks; those without votes get the prior of `fit`."""
        self.space_.require(votes.space)
        table = table_of(votes)
        belief, _ = self._believe(table)
        belief[table.per_task() == 0] = self.prior_
        return belief

    def predict(self, votes: Votes) -> npt.NDArray[np.int32]:
        """Class with the most votes (n',) int32."""
        return top_class(self.predict_proba(votes), self.ties, self.random_state)

    def workers(self) -> dict[str, npt.NDArray[Any]]:
        """One row a worker: `worker`, `n_votes`, and `agreement` with the majority (95 % interval `low`, `high`).

        The majority holds the worker's own vote, so agreement is above skill; NaN without votes.
        """
        low, high = wilson(np.nan_to_num(self._agreement) * self._n_votes, self._n_votes)
        columns = {"worker": self.worker_ids_, "n_votes": self._n_votes, "agreement": self._agreement}
        return {**columns, "low": low, "high": high}

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """One row a task: id, number of votes, entropy and margin of the belief, most probable class."""
        return self._evidence

    def _believe(self, table: VoteTable) -> tuple[Floats, Floats]:
        """Beliefs (n, k), and their mean (k,) over the tasks with votes."""
        if self.how == "share":
            return shares(table)
        belief = softmax(totals(table) / self.temperature, axis=1)
        voted = table.per_task() > 0
        prior = belief[voted].mean(axis=0) if voted.any() else np.full(table.n_classes, 1.0 / max(table.n_classes, 1))
        belief[~voted] = prior
        return belief, prior

"""Ask what everybody would answer: vote shares, shrunk by what is usual, and the class behind them.

Three votes of three are not 100 %: how sure they make one depends on how much people agree on the other tasks, which
the votes tell. The model knows no workers, so it works for counts of anonymous votes, and it is honest where people
truly differ: it expects both that the next vote may differ and that votes on one task err together.

Paper: Nie, Zhou, Bansal, "What Can We Learn from Collective Human Opinions on Natural Language Inference Data?", EMNLP
2020, arXiv 2010.03532 (the target: the opinions of a hundred people); the model is the Dirichlet-multinomial of
Mosimann, Biometrika 49, 1962, one for each class, with empirical Bayes.

    class z ~ prior;  shares | z ~ Dirichlet(alpha[z]);  votes ~ shares
    next vote l on task i = sum over z of P(z | votes) * (votes[i, l] + alpha[z, l]) / (votes[i] + sum of alpha[z])

When to use: votes without worker ids, few votes a task, soft labels for tasks on which people may differ. When not:
workers who differ in skill (Dawid-Skene, GLAD, MACE know whom to trust), or tasks chosen by how their voters agreed.

Choices of ours: in a task of class z no answer is commoner than z on average, so that classes keep their names; the
prior leans on the vote shares; alpha sums to 10 at most, for votes on one task never err independently.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from assay.aggregate import task_evidence
from assay.errors import InputError
from assay.kernels.belief_rows import Ties, top_class
from assay.kernels.intervals import wilson
from assay.kernels.vote_dirichlet import believe, fit_mixture
from assay.labels import Soft, Votes

METHOD = {
    "name": "opinions",
    "title": "What everybody would answer",
    "paper": "Nie, Zhou, Bansal, 2020, What Can We Learn from Collective Human Opinions on Natural Language Inference",
    "arxiv": "2010.03532",
    "accepts": ["votes"],
    "gives": ["soft", "worker agreement", "task evidence"],
    "command": "assay aggregate VOTES --method opinions",
    "claim": "On CIFAR-10H three votes foretell the other fifty with a log-loss less than half that of vote shares.",
    "status": "stable",
}

Floats = npt.NDArray[np.float64]


class Opinions(BaseEstimator):  # type: ignore[misc]
    """Dirichlet-multinomial mixture over votes (n tasks, w workers, k classes).

    Parameters
    ----------
    belief : "truth", the class of the task; or "next_vote", what the next person answers.
    max_iter : most steps of EM.
    tol : gain of the objective, a task, below which the ascent ends.
    ties : for `predict`: "lowest" code, or "seeded" draw.
    random_state : seed of the draw.

    Attributes
    ----------
    belief_ : Soft (n, k), rows in the order of `votes.task_ids`; the one that `belief` chose.
    truth_, next_vote_ : (n, k) float64, both.
    prior_ : (k,) P(class).
    alpha_ : (k, k) Dirichlet parameters at [class, answer].
    log_posterior_ : objective after each step; never falls.
    n_iter_, converged_ : steps taken, and whether `tol` ended them.

    Examples
    --------
    >>> votes = Votes.from_long(list("aaabbbccc"), list("xyzxyzxyz"), list("nnnyyynny"))
    >>> Opinions("next_vote").fit(votes).belief_.p[0].round(1).tolist()
    [0.9, 0.1]
    """

    def __init__(
        self,
        belief: Literal["truth", "next_vote"] = "truth",
        max_iter: int = 300,
        tol: float = 1e-7,
        ties: Ties = "lowest",
        random_state: int = 0,
    ) -> None:
        self.belief = belief
        self.max_iter = max_iter
        self.tol = tol
        self.ties = ties
        self.random_state = random_state

    def fit(self, votes: Votes) -> Opinions:
        """Learn the crowd from votes; each counts with its weight."""
        if self.belief not in ("truth", "next_vote"):
            raise InputError(f"belief must be 'truth' or 'next_vote', got {self.belief!r}.")
        if self.max_iter < 1:
            raise InputError(f"max_iter must be at least 1, got {self.max_iter}.")
        if votes.space.n_classes < 1:
            raise InputError("The space of the votes has no classes: there is nothing to believe.")
        totals = votes.totals()
        found = fit_mixture(totals, self.max_iter, self.tol)
        self._mixture = found.mixture
        self.prior_, self.alpha_ = found.mixture
        self.log_posterior_, self.converged_, self.n_iter_ = found.objective, found.converged, len(found.objective)
        self.truth_, self.next_vote_ = believe(found.mixture, totals)
        self.space_, self._votes = votes.space, votes
        self.belief_ = Soft(votes.space, self.truth_ if self.belief == "truth" else self.next_vote_)
        return self

    def predict_proba(self, votes: Votes) -> Floats:
        """Belief (n', k) in the classes of other tasks."""
        self.space_.require(votes.space)
        truth, shares = believe(self._mixture, votes.totals())
        return truth if self.belief == "truth" else shares

    def predict(self, votes: Votes) -> npt.NDArray[np.int32]:
        """Most probable class (n',) int32 of the tasks of `votes`."""
        return top_class(self.predict_proba(votes), self.ties, self.random_state)

    def workers(self) -> dict[str, npt.NDArray[Any]]:
        """One row a worker: `worker`, `n_votes`, `agreement`: mean belief in what they said (95 % `low`, `high`)."""
        return agreement_with(self._votes, self.belief_.p)

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """One row a task: id, number of votes, entropy and margin of the belief, most probable class."""
        return task_evidence(self._votes, self.belief_.p)


def agreement_with(votes: Votes, belief: npt.NDArray[np.floating[Any]]) -> dict[str, npt.NDArray[Any]]:
    """One row a worker: mean belief in the classes that they voted for, with a Wilson interval; NaN without votes."""
    cast = np.bincount(votes.worker, minlength=votes.n_workers)
    hits = np.bincount(votes.worker, belief[votes.task, votes.label], votes.n_workers)
    agreement = np.divide(hits, cast, out=np.full(len(cast), np.nan), where=cast > 0)
    low, high = wilson(np.minimum(hits, cast), cast)
    return {"worker": votes.worker_ids, "n_votes": cast, "agreement": agreement, "low": low, "high": high}

"""Believe able workers more, and expect them to err on hard tasks: one ability a worker, one difficulty a task.

Paper: Whitehill, Ruvolo, Wu, Bergsma, Movellan, "Whose Vote Should Count More: Optimal Integration of Labels from
Labelers of Unknown Expertise", NeurIPS 2009.

    P(vote = truth) = s(ability[worker] * exp(ease[task])),  s(x) = 1 / (1 + exp(-x)),  any other class equally likely
    ability ~ N(1, 1),  ease ~ N(1, 1),  every class equally likely beforehand

When to use: workers of different care, tasks of different difficulty, errors that fall on any class alike. Its beliefs
stay modest where able workers disagree, so it is better calibrated than a confusion matrix for each worker. When not:
classes that are confused in pairs, or workers with a bias to one class (Dawid-Skene, MACE).

Departures: the paper alternates posteriors with a search for the parameters. By Fisher's identity the gradient of the
marginal likelihood is that of the alternation's second half, at the cost of one walk over the votes; so the walk is
given to a quasi-Newton search, scaled by the votes that each parameter has, which climbs the same posterior density to
the same place in a tenth of the walks. Several classes: as in later implementations, errors are uniform.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from scipy import optimize
from sklearn.base import BaseEstimator
from threadpoolctl import threadpool_limits

from assay.aggregate import ranked_votes, table_of, task_evidence
from assay.kernels.belief_rows import Ties, top_class
from assay.kernels.intervals import wilson
from assay.kernels.vote_glad import glad_belief, glad_curvature, glad_marginal
from assay.kernels.vote_order import worker_codes
from assay.kernels.vote_table import UNKNOWN, VoteTable
from assay.labels import Hard, Soft, Votes

METHOD = {
    "name": "glad",
    "title": "GLAD",
    "paper": "Whitehill, Ruvolo, Wu, Bergsma, Movellan, 2009, Whose Vote Should Count More",
    "arxiv": None,
    "accepts": ["votes"],
    "gives": ["soft", "worker abilities", "task difficulties"],
    "command": "assay aggregate VOTES --method glad",
    "claim": "On the RTE votes of Snow et al. at least 92.5 % of the tasks are right, and the NLL beats vote shares.",
    "status": "stable",
}

Floats = npt.NDArray[np.float64]
MEAN = 1.0  # of ability and ease beforehand; both have variance 1
MEMORY = 20  # steps that the quasi-Newton search remembers


class GladFit(NamedTuple):
    """The most probable parameters: ability (w,), ease (n,); and the log of their density by iteration."""

    ability: Floats
    ease: Floats
    log_posterior: list[float]
    log_likelihood: list[float]
    converged: bool


def most_probable(
    votes: VoteTable,
    gold: npt.NDArray[np.int32] = UNKNOWN,
    ability: Floats | None = None,
    *,
    max_iter: int = 500,
    tol: float = 1e-9,
) -> GladFit:
    """Climb the posterior density from the prior mean; with `ability` (w,) given, over the eases of the tasks alone.

    `gold` (n,) holds known classes, negative where unknown, or nothing. `tol` is relative to the log density.
    """
    w = votes.n_workers if ability is None else 0
    weight = votes.weight_per_vote()
    mass = np.r_[
        np.bincount(votes.worker, weight, votes.n_workers)[:w], np.bincount(votes.task(), weight, votes.n_tasks)
    ]
    scale = 1 / np.sqrt(1 + mass / 4)  # a vote bends the log of the density by a quarter at most, the prior by one

    def parameters(at: Floats) -> tuple[Floats, Floats]:
        value = MEAN + at * scale
        return (value[:w] if ability is None else ability), value[w:]

    def loss(at: Floats) -> tuple[float, Floats]:
        value, to_ability, to_ease = glad_marginal(votes, *parameters(at), gold)
        away = at * scale
        return away @ away / 2 - value, (away - np.r_[to_ability[:w], to_ease]) * scale

    log_posterior: list[float] = []
    log_likelihood: list[float] = []

    def note(intermediate_result: optimize.OptimizeResult) -> None:
        away = intermediate_result.x * scale
        log_posterior.append(-float(intermediate_result.fun))
        log_likelihood.append(log_posterior[-1] + float(away @ away) / 2)

    options: Any = {"maxcor": MEMORY, "maxiter": max_iter, "maxfun": 2 * max_iter, "ftol": tol, "gtol": 1e-8}
    with threadpool_limits(1):  # threads of BLAS wait longer for each other than these products take
        found = optimize.minimize(
            loss, np.zeros(len(scale)), jac=True, method="L-BFGS-B", callback=note, options=options
        )
    return GladFit(*parameters(found.x), log_posterior, log_likelihood, bool(found.success))


class GLAD(BaseEstimator):  # type: ignore[misc]
    """Worker abilities and task difficulties, learned together with the truth.

    Parameters
    ----------
    max_iter : most iterations of the search.
    tol : stop when the log posterior density gains less than this share of itself.
    ties : what `predict` does when classes tie: the "lowest" code, or a "seeded" draw.
    random_state : seed of that draw.

    Attributes
    ----------
    belief_ : Soft (n, k), a uniform one for a task without votes.
    ability_ : (w,) 0 for a worker no better than chance on hard tasks, negative for one who is wrong on purpose.
    ease_ : (n,) log of the inverse difficulty.
    log_likelihood_, log_posterior_ : by iteration, the log of the marginal likelihood, and with the log of the prior
        density added (up to a constant), which never falls.
    n_iter_, converged_ : iterations used, and whether they were enough.

    Examples
    --------
    >>> votes = Votes.from_long([0, 0, 0, 1, 1, 1], list("abcabc"), ["x", "x", "y", "y", "y", "y"])
    >>> GLAD().fit(votes).predict(votes).tolist()
    [0, 1]
    """

    def __init__(self, max_iter: int = 500, tol: float = 1e-9, ties: Ties = "lowest", random_state: int = 0) -> None:
        self.max_iter = max_iter
        self.tol = tol
        self.ties = ties
        self.random_state = random_state

    def fit(self, votes: Votes, gold: Hard | None = None) -> Self:
        """Learn from votes; `gold` gives the class of some tasks, one row a task, masked where it is unknown."""
        table, known, tasks, workers = ranked_votes(votes, gold)
        found = most_probable(table, known, max_iter=self.max_iter, tol=self.tol)
        self._votes, self.space_, self.worker_ids_ = votes, votes.space, votes.worker_ids
        self.ability_, self.ease_ = found.ability[workers], found.ease[tasks]
        self._belief = glad_belief(table, found.ability, found.ease, known)[tasks]
        self._belief.setflags(write=False)  # so that Soft needs no copy
        self.belief_ = Soft(votes.space, self._belief)
        self.log_posterior_, self.log_likelihood_ = found.log_posterior, found.log_likelihood
        self.n_iter_, self.converged_ = len(found.log_posterior), found.converged
        return self

    def predict_proba(self, votes: Votes) -> Floats:
        """Belief (n', k) on new tasks, whose difficulty is found with the abilities as they are.

        Workers are matched by id; an unknown one has the mean ability of those who voted.
        """
        self.space_.require(votes.space)
        voted = np.bincount(self._votes.worker, minlength=self._votes.n_workers) > 0
        ability = np.r_[self.ability_, self.ability_[voted].mean() if voted.any() else MEAN]
        table = table_of(votes, worker_codes(self.worker_ids_, votes.worker_ids), len(ability))
        found = most_probable(table, ability=ability, max_iter=self.max_iter, tol=self.tol)
        return glad_belief(table, ability, found.ease)

    def predict(self, votes: Votes) -> npt.NDArray[np.int32]:
        """Most probable class (n',) of new tasks."""
        return top_class(self.predict_proba(votes), self.ties, self.random_state)

    def workers(self) -> dict[str, npt.NDArray[Any]]:
        """One row a worker: `worker`, `n_votes`, `accuracy` (95 % interval `low`, `high`), `ability`, `ability_sd`.

        Accuracy is the mean belief in the worker's votes; its interval takes beliefs for certain. The deviation of the
        ability comes from the curvature at the optimum with all else held, so it is a lower bound.
        """
        table = table_of(self._votes)
        curvature, _ = glad_curvature(table, self.ability_, self.ease_, self._belief)
        deviation = 1 / np.sqrt(np.maximum(1 + curvature, 1e-6))
        weight = table.weight_per_vote()
        mass = np.bincount(table.worker, weight, table.n_workers)
        right = np.bincount(table.worker, weight * self._belief[table.task(), table.label], table.n_workers)
        low, high = wilson(np.minimum(right, mass), mass)
        return {
            "worker": self.worker_ids_,
            "n_votes": table.per_worker(),
            "accuracy": np.divide(right, mass, out=np.full(len(mass), np.nan), where=mass > 0),
            "low": low,
            "high": high,
            "ability": self.ability_,
            "ability_sd": deviation,
        }

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """One row a task: what every aggregator says, and the difficulty exp(-ease)."""
        return {**task_evidence(self._votes, self._belief), "difficulty": np.exp(-self.ease_)}

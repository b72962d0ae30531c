"""Dawid-Skene that knows what it does not know: every worker's confusion matrix has a posterior, and so has the truth.

Papers: Kim, Ghahramani, "Bayesian Classifier Combination", AISTATS 2012; in its variational form Simpson, Roberts,
Psorakis, Smith, "Dynamic Bayesian Combination of Multiple Imperfect Classifiers", 2013, arXiv 1206.1831.

    truth[task] ~ share,  vote | truth = t ~ confusion[worker, t],  share ~ Dirichlet(class_prior),
    confusion[worker, t] ~ Dirichlet(alpha[t])                      alpha[t, a] = pseudo-votes of a typical worker

A worker with few votes is taken for a typical one, and each vote moves the worker away from that; so do the beliefs.

When to use: workers who confuse classes in their own ways; few votes a worker, where plain Dawid-Skene is sure of what
it cannot know; whenever the accuracy of a worker needs an interval. When not: tasks of very different difficulty
(GLAD); the independence of votes given the truth is assumed, and where it fails beliefs are still too sure.

Departures: alpha is learned from all workers (the fixed point of Minka, "Estimating a Dirichlet distribution", 2000,
under a gamma prior that weighs as one worker), where the papers fix it: the typical confusions are in the data, and no
knob stands between two votes a worker and two thousand. `learn_typical=False` gives the papers' model. Variational
deviations are those of independent posteriors, hence somewhat too small.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, gammaln, logsumexp, polygamma, psi
from sklearn.base import BaseEstimator

from assay.aggregate import ranked_votes, table_of, task_evidence
from assay.errors import InputError
from assay.kernels.belief_rows import Ties, top_class
from assay.kernels.vote_bayes import belief_spread
from assay.kernels.vote_em import ExpectedVotes, Scale, TaskVotes, VoteModel, beliefs
from assay.kernels.vote_order import worker_codes
from assay.labels import Hard, Soft, Votes

METHOD = {
    "name": "bayesian_dawid_skene",
    "title": "Bayesian Dawid-Skene",
    "paper": "Kim, Ghahramani, 2012, Bayesian Classifier Combination",
    "arxiv": None,
    "accepts": ["votes"],
    "gives": ["soft", "belief deviations", "worker confusion matrices with intervals"],
    "command": "assay aggregate VOTES --method bayesian_dawid_skene",
    "claim": "With few votes its NLL is far below that of maximum-likelihood Dawid-Skene, at no loss of accuracy.",
    "status": "stable",
}

Floats = npt.NDArray[np.float64]
LEAST = 0.01  # pseudo-votes of the rarest confusion; keeps its expected logarithm within bounds
TYPICAL = 1.0  # how many workers the prior of alpha weighs; more calms beliefs and makes intervals too short
STEPS = 5  # of the fixed point of alpha, in each iteration


def one_coin(k: int, accuracy: float, votes: float) -> Floats:
    """Pseudo-votes (k, k), given by true: `votes` a cell on average, of which a share `accuracy` is right."""
    wrong = np.full((k, k), votes * k * (1 - accuracy) / max(k - 1, 1))
    return np.maximum(np.where(np.eye(k, dtype=bool), votes * k * accuracy, wrong), LEAST)


def learn_alpha(counts: Floats, alpha: Floats, expected: Floats, steps: int = STEPS) -> Floats:
    """Raise the probability of expected votes (w, k, k) under one Dirichlet for all workers; never lowers it.

    `alpha` (k, k) is where to start, and `expected` (k, k) the mode of its gamma prior; all are given by true.
    """
    total = counts.sum(axis=1)
    for _ in range(steps):
        more = alpha * (psi(counts + alpha) - psi(alpha)).sum(axis=0)
        less = (psi(total + alpha.sum(axis=0)) - psi(alpha.sum(axis=0))).sum(axis=0)
        alpha = np.maximum((TYPICAL * expected + more) / (TYPICAL + less), LEAST)
    return alpha


def log_polya(counts: Floats, alpha: Floats) -> float:
    """Log of the probability of votes (..., k, m) in one order, with chances from Dirichlet(alpha) down axis -2."""
    whole, total = alpha.sum(axis=-2), counts.sum(axis=-2)
    cells = (gammaln(counts + alpha) - gammaln(alpha)).sum()
    return float(cells - (gammaln(total + whole) - gammaln(whole)).sum())


def expected_log(posterior: Floats) -> Floats:
    """Expected logarithms of chances (..., k, m) whose columns have these Dirichlet parameters."""
    return np.asarray(psi(posterior) - psi(posterior.sum(axis=-2, keepdims=True)))


class BayesFit(NamedTuple):
    """Posterior parameters `alpha` (k, k), `confusion` (w, k, k), `share` (k,); last model; course of the ascent."""

    alpha: Floats
    confusion: Floats
    share: Floats
    model: VoteModel
    objective: list[float]
    bound: list[float]
    converged: bool


def fit_posterior(
    block: TaskVotes, expected: Floats, learn: bool, class_prior: float, *, max_iter: int = 300, tol: float = 1e-5
) -> BayesFit:
    """Coordinate ascent on the evidence bound from vote shares, until an iteration gains less than `tol` a vote."""
    table, k = block.table, block.table.n_classes
    weight = table.weight_per_vote()
    most = np.bincount(table.worker, weight, table.n_workers).max(initial=0.0)
    scale = Scale.for_size(table.n_tasks, float(weight.sum()), float(most))
    counted = table.per_task() > 0
    if len(block.gold):
        counted |= block.gold >= 0
    n_counted = int(counted.sum())

    def sweep(model: VoteModel | None) -> ExpectedVotes:
        found = ExpectedVotes(table.n_workers, k, False, scale, model)
        found.update(block)
        return found

    found, alpha = sweep(None), expected
    objective: list[float] = []
    bound: list[float] = []
    while True:
        counts, classes = found.counts, found.prior[:, None] * n_counted
        if learn:
            alpha = learn_alpha(counts, alpha, expected)
        confusion, share = alpha + counts, class_prior + classes
        logs, log_share = expected_log(confusion), expected_log(share)
        model = VoteModel(log_share[:, 0], logs)
        found = sweep(model)
        empty = (table.n_tasks - n_counted) * float(logsumexp(model.log_prior))  # of tasks that say nothing
        value = found.log_likelihood - empty - float((counts * logs).sum() + (classes * log_share).sum())
        value += log_polya(counts, alpha) + log_polya(classes, np.full((k, 1), class_prior))
        bound.append(value)
        objective.append(value + TYPICAL * float((expected * np.log(alpha) - alpha).sum()) * learn)
        converged = len(objective) > 1 and objective[-1] - objective[-2] < tol * max(float(weight.sum()), 1.0)
        if converged or len(objective) >= max_iter:
            return BayesFit(alpha, confusion, share[:, 0], model, objective, bound, converged)


class BayesianDawidSkene(BaseEstimator):  # type: ignore[misc]
    """Posteriors of the truth and of each worker's confusion matrix, learned together.

    Parameters
    ----------
    prior_accuracy, prior_votes : the typical worker beforehand: share of right votes, and pseudo-votes for each cell
        of the matrix on average (times k for each true class).
    learn_typical : learn the typical worker from all workers; otherwise it stays as it is beforehand.
    class_prior : pseudo-tasks of each class.
    max_iter, tol : most iterations; the gain in the objective for each vote below which they stop.
    ties, random_state : what `predict` does when classes tie ("lowest" code or "seeded" draw), and its seed.

    Attributes
    ----------
    belief_ : Soft (n, k); a task without votes has the share of each class.
    belief_sd_ : (n, k) how much each belief would vary with what is not known of the workers.
    confusion_, confusion_sd_ : (w, k, k) posterior mean and deviation of P(said | truth) at [worker, truth, said].
    typical_ : (k, k) mean of a worker not seen yet, true by given; typical_votes_ : (k,) pseudo-votes behind its rows.
    prior_ : (k,) share of each class.
    log_likelihood_, objective_ : by iteration, a lower bound on the log of the evidence, and with the log density of
        the typical worker added (up to a constant), which never falls.
    n_iter_, converged_ : iterations used, and whether they were enough.

    Examples
    --------
    >>> votes = Votes.from_long([0, 0, 0, 1, 1, 1], list("abcabc"), ["x", "x", "y", "y", "y", "y"])
    >>> BayesianDawidSkene().fit(votes).predict(votes).tolist()
    [0, 1]
    """

    def __init__(
        self,
        prior_accuracy: float = 0.7,
        prior_votes: float = 10.0,
        learn_typical: bool = True,
        class_prior: float = 1.0,
        max_iter: int = 300,
        tol: float = 1e-5,
        ties: Ties = "lowest",
        random_state: int = 0,
    ) -> None:
        self.prior_accuracy = prior_accuracy
        self.prior_votes = prior_votes
        self.learn_typical = learn_typical
        self.class_prior = class_prior
        self.max_iter = max_iter
        self.tol = tol
        self.ties = ties
        self.random_state = random_state

    def fit(self, votes: Votes, gold: Hard | None = None) -> Self:
        """Learn from votes; `gold` gives the class of some tasks, one row a task, masked where it is unknown."""
        if not 0 < self.prior_accuracy < 1 or self.prior_votes <= 0 or self.class_prior <= 0 or self.max_iter < 1:
            raise InputError(
                "prior_accuracy must lie between 0 and 1, prior_votes and class_prior above 0 and max_iter be at least "
                f"1; got {self.prior_accuracy}, {self.prior_votes}, {self.class_prior} and {self.max_iter}."
            )
        table, known, tasks, workers = ranked_votes(votes, gold)
        block = TaskVotes(table, known)
        expected = one_coin(table.n_classes, self.prior_accuracy, self.prior_votes)
        found = fit_posterior(
            block, expected, self.learn_typical, self.class_prior, max_iter=self.max_iter, tol=self.tol
        )
        self._votes, self.space_, self.worker_ids_ = votes, votes.space, votes.worker_ids
        self.prior_ = found.share / found.share.sum()
        p = beliefs(block, found.model)
        silent = table.per_task() == 0
        if len(known):
            silent &= known < 0
        p[silent] = self.prior_
        whole = found.confusion.sum(axis=1, keepdims=True)
        doubt = polygamma(1, found.share) - polygamma(1, found.share.sum())
        spread = belief_spread(table, p, doubt, polygamma(1, found.confusion) - polygamma(1, whole))
        p = p[tasks]
        p.setflags(write=False)  # so that Soft needs no copy
        self.belief_, self.belief_sd_ = Soft(votes.space, p), spread[tasks]
        mean = found.confusion / whole
        self.confusion_ = mean[workers].transpose(0, 2, 1)
        self.confusion_sd_ = np.sqrt(mean * (1 - mean) / (whole + 1))[workers].transpose(0, 2, 1)
        self.typical_votes_ = found.alpha.sum(axis=0)
        self.typical_ = (found.alpha / self.typical_votes_).T
        self._model = VoteModel(found.model.log_prior, found.model.log_worker[workers])
        self.objective_, self.log_likelihood_ = found.objective, found.bound
        self.n_iter_, self.converged_ = len(found.objective), found.converged
        return self

    def predict_proba(self, votes: Votes) -> Floats:
        """Belief (n', k) on new tasks; workers are matched by id, and an unknown one is the typical worker."""
        self.space_.require(votes.space)
        logs = np.concatenate([self._model.log_worker, np.log(self.typical_.T)[None]])
        table = table_of(votes, worker_codes(self.worker_ids_, votes.worker_ids), len(logs))
        p = beliefs(TaskVotes(table), VoteModel(self._model.log_prior, logs))
        p[table.per_task() == 0] = self.prior_
        return p

    def predict(self, votes: Votes) -> npt.NDArray[np.int32]:
        """Most probable class (n',) of new tasks."""
        return top_class(self.predict_proba(votes), self.ties, self.random_state)

    def workers(self) -> dict[str, npt.NDArray[Any]]:
        """One row a worker: `worker`, `n_votes`, `accuracy` (95 % interval `low`, `high`), `accuracy_sd`.

        Accuracy is that on tasks of all classes in their shares; the interval is that of the beta distribution with
        this mean and deviation.
        """
        own = np.arange(len(self.prior_))
        mean = self.confusion_[:, own, own] @ self.prior_
        variance = self.confusion_sd_[:, own, own] ** 2 @ self.prior_**2
        sure = variance < 1e-15
        size = np.divide(mean * (1 - mean), variance, out=np.full(len(mean), 2.0), where=~sure) - 1
        a, b = np.where(sure, 1.0, mean * size), np.where(sure, 1.0, (1 - mean) * size)
        return {
            "worker": self.worker_ids_,
            "n_votes": np.bincount(self._votes.worker, minlength=self._votes.n_workers),
            "accuracy": mean,
            "low": np.where(sure, mean, betaincinv(a, b, 0.025)),
            "high": np.where(sure, mean, betaincinv(a, b, 0.975)),
            "accuracy_sd": np.sqrt(variance),
        }

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """One row a task: what every aggregator says, and the deviation of the belief in its top class."""
        columns = task_evidence(self._votes, self.belief_.p)
        return {**columns, "top_sd": self.belief_sd_[np.arange(len(self.belief_sd_)), columns["top"]]}

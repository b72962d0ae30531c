"""Tell workers who know from workers who answer out of habit, and believe the first.

Paper: Hovy, Berg-Kirkpatrick, Vaswani, Hovy, "Learning Whom to Trust with MACE", NAACL-HLT 2013.

    P(vote = a | truth = t) = know[worker] * 1[a = t] + spam[worker] * strategy[worker, a],   know + spam = 1
    spam ~ Beta(spam_prior, know_prior),   strategy ~ Dirichlet(strategy_prior),   every class equally likely beforehand

When to use: paid crowds in which some click without reading; few votes a worker, for each has only k numbers. When
not: honest workers who confuse classes in pairs (Dawid-Skene), or a majority that colludes, which defeats every method
without gold.

Departures: sums of logarithms, so that a task with ten thousand votes does not underflow; restarts differ, run from
how much each worker is trusted at first (a draw for each worker id, so neither the order of rows nor that of classes
matters; the first trusts all alike) and are compared by the true objective: the evidence bound with all its terms, or
the log posterior density. Iterations stop when they gain nothing. The paper's smoothing of EM is its prior, and counts.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, betaln, gammaln, psi
from sklearn.base import BaseEstimator

from assay.aggregate import ranked_votes, table_of, task_evidence
from assay.errors import InputError
from assay.kernels.belief_rows import Ties, top_class
from assay.kernels.intervals import wilson
from assay.kernels.vote_mace import mace_expect, vote_counts
from assay.kernels.vote_order import worker_codes
from assay.kernels.vote_table import UNKNOWN, VoteTable
from assay.labels import Hard, Soft, Votes

METHOD = {
    "name": "mace",
    "title": "MACE",
    "paper": "Hovy, Berg-Kirkpatrick, Vaswani, Hovy, 2013, Learning Whom to Trust with MACE",
    "arxiv": None,
    "accepts": ["votes"],
    "gives": ["soft", "worker competences", "habits of spammers"],
    "command": "assay aggregate VOTES --method mace",
    "claim": "On the RTE votes of Snow et al. at least 92.5 % of the tasks are right; the majority has 91.9 %.",
    "status": "stable",
}

Floats = npt.NDArray[np.float64]
Inference = Literal["variational", "em"]


class Prior(NamedTuple):
    """Pseudo-counts of spamming, of knowing, and of each class in a habit. For "em", what is added to the counts."""

    spam: float
    know: float
    strategy: float


class Counts(NamedTuple):
    """Expected votes: out of habit by class (w, k), and out of knowledge (w,)."""

    strategy: Floats
    know: Floats

    @property
    def spam(self) -> Floats:
        """Expected votes out of habit (w,)."""
        return np.asarray(self.strategy.sum(axis=1))


def maximise(counts: Counts, prior: Prior, inference: Inference) -> tuple[Floats, Floats]:
    """From expected counts the chance of knowing (w,) and of answering each class out of habit (w, k).

    In "variational" inference these are exponentials of expected logarithms, and sum to less than one.
    """
    spam, know, strategy = counts.spam + prior.spam, counts.know + prior.know, counts.strategy + prior.strategy
    total = strategy.sum(axis=1, keepdims=True)
    if inference == "em":
        return know / (spam + know), (spam / (spam + know))[:, None] * strategy / total
    both = psi(spam + know)
    return np.exp(psi(know) - both), np.exp((psi(spam) - both)[:, None] + psi(strategy) - psi(total))


def expect(
    votes: VoteTable, cast: Floats, know: Floats, habit: Floats, gold: npt.NDArray[np.int32] = UNKNOWN
) -> tuple[float, Floats, Counts]:
    """Log of the marginal likelihood, belief (n, k) and expected counts; `cast` (w, k) are the votes of each worker."""
    value, belief, right = mace_expect(votes, cast, know, habit, gold)
    chance = know[:, None] + habit
    known = right * np.divide(know[:, None], chance, out=np.zeros_like(chance), where=chance > 0)
    return value, belief, Counts(np.maximum(cast - known, 0.0), known.sum(axis=1))


def prior_terms(counts: Counts, know: Floats, habit: Floats, prior: Prior, inference: Inference) -> float:
    """What the objective has besides the marginal likelihood: the prior's log density, or minus the divergences.

    `counts` are those that gave `know` and `habit`.
    """
    if inference == "em":
        spam = habit.sum(axis=1)
        strategy = np.log(habit / spam[:, None]).sum()
        return float(np.sum(prior.spam * np.log(spam) + prior.know * np.log(know)) + prior.strategy * strategy)
    spam, strategy = counts.spam, counts.strategy
    a, b, c = spam + prior.spam, counts.know + prior.know, strategy + prior.strategy
    both, total = psi(a + b), psi(c.sum(axis=1))
    of_spam = betaln(prior.spam, prior.know) - betaln(a, b) + spam * (psi(a) - both) + counts.know * (psi(b) - both)
    k = c.shape[1]
    of_habit = gammaln(c.sum(axis=1)) - gammaln(k * prior.strategy) + k * gammaln(prior.strategy)
    of_habit += (strategy * (psi(c) - total[:, None]) - gammaln(c)).sum(axis=1)
    return -float(of_spam.sum() + of_habit.sum())


class MaceFit(NamedTuple):
    """One run: the parameters, the belief (n, k) and counts they give, and the course of the objective."""

    know: Floats
    habit: Floats
    belief: Floats
    counts: Counts
    objective: list[float]
    log_likelihood: list[float]
    converged: bool


def run(
    votes: VoteTable,
    trust: Floats,
    prior: Prior,
    inference: Inference,
    gold: npt.NDArray[np.int32] = UNKNOWN,
    *,
    max_iter: int = 200,
    tol: float = 1e-6,
) -> MaceFit:
    """Iterate from a first guess `trust` (w,) of the share of each worker's votes that come from knowledge.

    Stops when an iteration gains less than `tol` a vote.
    """
    cast = vote_counts(votes)
    counts = Counts((1 - trust)[:, None] * cast, trust * cast.sum(axis=1))
    enough = tol * max(float(cast.sum()), 1.0)
    objective: list[float] = []
    likelihood: list[float] = []
    while True:
        know, habit = maximise(counts, prior, inference)
        value, belief, new = expect(votes, cast, know, habit, gold)
        likelihood.append(value)
        objective.append(value + prior_terms(counts, know, habit, prior, inference))
        converged = len(objective) > 1 and objective[-1] - objective[-2] < enough
        if converged or len(objective) >= max_iter:
            return MaceFit(know, habit, belief, new, objective, likelihood, converged)
        counts = new


class MACE(BaseEstimator):  # type: ignore[misc]
    """Competence and habits of workers, learned together with the truth.

    Parameters
    ----------
    inference : "variational" Bayes, or "em" for the most probable parameters.
    spam_prior, know_prior, strategy_prior : pseudo-counts of the variational priors, as in the paper's code.
    smoothing : total pseudo-count of the priors of "em" over the classes.
    n_restarts : runs; the one with the best objective is kept.
    max_iter, tol : most iterations of a run; the gain in objective for each vote below which it stops.
    ties, random_state : what `predict` does when classes tie ("lowest" code or "seeded" draw); seed of draws and runs.

    Attributes
    ----------
    belief_ : Soft (n, k), uniform for a task without votes.
    competence_ : (w,) mean chance of knowing; strategy_ : (w, k) mean habit.
    log_likelihood_, objective_ : of the kept run, by iteration; the second is the evidence bound, or the log posterior
        density up to a constant, and never falls.
    n_iter_, converged_ : iterations of the kept run, and whether they were enough.
    restarts_ : (n_restarts,) objective that each run reached.

    Examples
    --------
    >>> votes = Votes.from_long([0, 0, 0, 1, 1, 1], list("abcabc"), ["x", "x", "y", "y", "y", "y"])
    >>> MACE().fit(votes).predict(votes).tolist()
    [0, 1]
    """

    def __init__(
        self,
        inference: Inference = "variational",
        spam_prior: float = 0.5,
        know_prior: float = 0.5,
        strategy_prior: float = 10.0,
        smoothing: float = 0.01,
        n_restarts: int = 4,
        max_iter: int = 200,
        tol: float = 1e-6,
        ties: Ties = "lowest",
        random_state: int = 0,
    ) -> None:
        self.inference = inference
        self.spam_prior = spam_prior
        self.know_prior = know_prior
        self.strategy_prior = strategy_prior
        self.smoothing = smoothing
        self.n_restarts = n_restarts
        self.max_iter = max_iter
        self.tol = tol
        self.ties = ties
        self.random_state = random_state

    def fit(self, votes: Votes, gold: Hard | None = None) -> Self:
        """Learn from votes; `gold` gives the class of some tasks, one row a task, masked where it is unknown."""
        prior = self._prior(votes.space.n_classes)
        table, known, tasks, workers = ranked_votes(votes, gold)
        rng = np.random.default_rng(self.random_state)
        best: MaceFit | None = None
        reached = []
        for restart in range(self.n_restarts):
            trust = rng.random(votes.n_workers) if restart else np.full(votes.n_workers, 0.5)
            found = run(table, trust, prior, self.inference, known, max_iter=self.max_iter, tol=self.tol)
            reached.append(found.objective[-1])
            if best is None or reached[-1] > best.objective[-1]:
                best = found
        assert best is not None
        self._votes, self.space_, self.worker_ids_ = votes, votes.space, votes.worker_ids
        self._parameters = best.know[workers], best.habit[workers]
        cast = vote_counts(table)
        self._right = mace_expect(table, cast, best.know, best.habit, known)[2].sum(axis=1)[workers]
        self._cast = cast.sum(axis=1)[workers]
        self._counts = Counts(best.counts.strategy[workers], best.counts.know[workers])
        belief = best.belief[tasks]
        belief.setflags(write=False)  # so that Soft needs no copy
        self.belief_ = Soft(votes.space, belief)
        spam, know = self._counts.spam + prior.spam, self._counts.know + prior.know
        self.competence_ = know / (spam + know)
        strategy = self._counts.strategy + prior.strategy
        self.strategy_ = strategy / strategy.sum(axis=1, keepdims=True)
        self.objective_, self.log_likelihood_ = best.objective, best.log_likelihood
        self.n_iter_, self.converged_, self.restarts_ = len(best.objective), best.converged, np.array(reached)
        return self

    def predict_proba(self, votes: Votes) -> Floats:
        """Belief (n', k) on new tasks; workers are matched by id, and an unknown one is the mean of those who voted."""
        self.space_.require(votes.space)
        know, habit = self._parameters
        voted = self._cast > 0
        some = voted if voted.any() else np.ones(len(know), dtype=bool)
        know = np.r_[know, know[some].mean()]
        habit = np.r_[habit, habit[some].mean(axis=0, keepdims=True)]
        table = table_of(votes, worker_codes(self.worker_ids_, votes.worker_ids), len(know))
        return mace_expect(table, vote_counts(table), know, habit)[1]

    def predict(self, votes: Votes) -> npt.NDArray[np.int32]:
        """Most probable class (n',) of new tasks."""
        return top_class(self.predict_proba(votes), self.ties, self.random_state)

    def workers(self) -> dict[str, npt.NDArray[Any]]:
        """One row a worker: `worker`, `n_votes`, `accuracy` (95 % interval `low`, `high`), competence, habit.

        Accuracy is the mean belief in the worker's votes; its interval takes beliefs for certain. `competence_low` and
        `competence_high` are of a beta distribution with the expected counts: they take for certain which votes were
        out of habit. `habit_class` is the code of the class given most out of habit, `habit_share` its share there.
        """
        prior, flat = self._prior(self.space_.n_classes), float(self.inference == "em")
        know, spam = self._counts.know + prior.know + flat, self._counts.spam + prior.spam + flat
        low, high = wilson(np.minimum(self._right, self._cast), self._cast)
        accuracy = np.divide(self._right, self._cast, out=np.full(len(know), np.nan), where=self._cast > 0)
        return {
            "worker": self.worker_ids_,
            "n_votes": np.bincount(self._votes.worker, minlength=len(know)),
            "accuracy": accuracy,
            "low": low,
            "high": high,
            "competence": self.competence_,
            "competence_low": betaincinv(know, spam, 0.025),
            "competence_high": betaincinv(know, spam, 0.975),
            "habit_class": self.strategy_.argmax(axis=1),
            "habit_share": self.strategy_.max(axis=1),
        }

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """One row a task: id, votes, entropy, margin, top class."""
        return task_evidence(self._votes, self.belief_.p)

    def _prior(self, k: int) -> Prior:
        if self.inference not in ("variational", "em"):
            raise InputError(f"inference must be 'variational' or 'em', got {self.inference!r}.")
        small = self.smoothing / max(k, 1)
        vague = Prior(self.spam_prior, self.know_prior, self.strategy_prior)
        prior = vague if self.inference == "variational" else Prior(small, small, small)
        if min(prior) <= 0 or self.n_restarts < 1 or self.max_iter < 1:
            raise InputError(
                f"Pseudo-counts must be positive, and runs and iterations at least 1; got {tuple(prior)}, "
                f"{self.n_restarts} and {self.max_iter}."
            )
        return prior

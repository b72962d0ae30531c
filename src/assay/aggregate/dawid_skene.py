"""Find out what is true and how each worker errs, from votes alone: a confusion table for every worker.

A worker who takes cats for dogs but never dogs for cats is still useful, once that is known. Tables and truths are
learned together: believed truths give the tables, tables give better beliefs.

Papers: Dawid, Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm", Applied Statistics
28, 1979; as soft labels: Wright, Augenstein, "Aggregating Soft Labels from Crowd Annotations", arXiv 2212.09409.

    belief[i, c]       ~ prior[c] * product over votes (j, l) on task i of confusion[j, c, l]
    confusion[j, c, l] ~ smoothing * average[c, l] + sum over votes l of worker j of belief[task, c]

When to use: several votes a task and tens of votes a worker, workers who err in their own ways. When not: one vote a
task (nothing can be learned), very few votes a worker (use one coin), errors that workers share (they count twice).
Beliefs are over-confident: votes on a hard task are not independent. Calibrate them before their numbers matter.

Departures: the likelihood is the true marginal one (crowd-kit adds the prior once a vote, so that its stopping rule is
not monotone); `smoothing` holds each table near the average worker's, as vote shares show it; with smoothing=0 the
beliefs equal those of crowd-kit 1.4.2 after equal iterations; gold is kept in the first step as in the later ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from assay.aggregate import Census, MakeBlocks, Ties, gold_codes, table_of, task_evidence, top_class, worker_codes
from assay.errors import InputError
from assay.kernels.blocks import Backend, fold
from assay.kernels.intervals import wilson
from assay.kernels.vote_em import FLOOR, ExpectedVotes, Scale, TaskVotes, VoteModel, ascend, beliefs
from assay.labels import Hard, Soft, Votes

METHOD = {
    "name": "dawid_skene",
    "title": "Dawid-Skene",
    "paper": "Dawid, Skene, 1979, Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm",
    "arxiv": "2212.09409",
    "accepts": ["votes"],
    "gives": ["soft", "worker confusion", "task evidence"],
    "command": "assay aggregate VOTES --method dawid_skene",
    "claim": "On the RTE votes of Snow et al. the most probable class is right for at least 92.5 % of the tasks.",
    "status": "stable",
}

Floats = npt.NDArray[np.float64]


def average_worker(counts: Floats) -> Floats:
    """P(said | truth) (k, k) at [said, truth] of all workers as one, from expected votes (w, k, k)."""
    total: Floats = np.maximum(counts.sum(axis=0), FLOOR)
    return np.asarray(total / total.sum(axis=0))


def said_given_truth(counts: Floats, smoothing: float, average: Floats) -> Floats:
    """Most probable tables (w, k, k) at [worker, said, truth], given expected votes and a Dirichlet prior.

    The prior is worth `smoothing` votes of the `average` worker (k, k) in each true class. Without it an answer that
    the worker gave has at least 1e-10 of a vote, and one never given tells nothing. Workers without votes are average.
    """
    said = np.maximum(counts + smoothing * average, FLOOR)
    if not smoothing:
        said[counts.sum(axis=2) == 0] = 0.0
    total = said.sum(axis=1, keepdims=True)
    tables: Floats = np.divide(said, total, out=np.broadcast_to(average, said.shape).copy(), where=total > 0)
    return tables


class DawidSkene(BaseEstimator):  # type: ignore[misc]
    """Dawid-Skene over votes (n tasks, w workers, k classes).

    Parameters
    ----------
    smoothing : pseudo-votes of the average worker that each worker has in each true class; 0 is maximum likelihood.
    prior : "learned", "uniform", or (k,) shares of the classes among tasks.
    max_iter : most EM steps.
    tol : gain of the log-posterior, per vote, below which the ascent ends.
    accelerate : jump along the path of the ascent (SQUAREM) where that gains; fewer steps, the same guarantee.
    ties : for `predict`: "lowest" code, or "seeded" draw.
    random_state : seed of the draw.

    Attributes
    ----------
    belief_ : Soft (n, k), rows in the order of `votes.task_ids`; not kept by `fit_blocks`.
    prior_ : (k,) P(truth).
    confusion_ : (w, k, k) P(said | truth) at [worker, truth, said].
    worker_ids_ : (w,).
    log_likelihood_ : per step, the log-probability of all votes. Never falls with smoothing=0.
    log_posterior_ : per step, the same plus the log-density of the tables; what is climbed, never falls.
    n_iter_, converged_ : steps taken (those taken back too), and whether `tol` ended them.

    Examples
    --------
    >>> said = ["no", "no", "yes", "yes", "yes", "yes"]
    >>> votes = Votes.from_long(["a", "a", "a", "b", "b", "b"], ["x", "y", "z", "x", "y", "z"], said)
    >>> DawidSkene().fit(votes).predict(votes).tolist()
    [0, 1]
    """

    def __init__(
        self,
        smoothing: float = 1.0,
        prior: Literal["learned", "uniform"] | npt.ArrayLike = "learned",
        max_iter: int = 100,
        tol: float = 1e-5,
        accelerate: bool = False,
        ties: Ties = "lowest",
        random_state: int = 0,
    ) -> None:
        self.smoothing = smoothing
        self.prior = prior
        self.max_iter = max_iter
        self.tol = tol
        self.accelerate = accelerate
        self.ties = ties
        self.random_state = random_state

    def fit(self, votes: Votes, gold: Hard | None = None) -> DawidSkene:
        """Learn from votes; `gold`, one row a task, holds the classes that are known: they are kept and taught from."""
        table = table_of(votes)
        block = TaskVotes(table, gold_codes(votes, gold))
        each = np.bincount(votes.worker, votes.weight, votes.n_workers)
        size = Scale.for_size(votes.n_rows, float(each.sum()), float(each.max(initial=0.0)))
        self._fit(lambda: [block], votes, table.per_worker(), size, float(each.sum()), "serial")
        belief = beliefs(block, self._model)
        belief.setflags(write=False)  # so that Soft needs no copy
        self.belief_ = Soft(votes.space, belief)
        self._evidence = task_evidence(votes, self.belief_.p)
        return self

    def fit_blocks(self, make_blocks: MakeBlocks, backend: Backend = "serial") -> DawidSkene:
        """Learn from votes that come in blocks, each with all votes on its tasks; the model is that of `fit`.

        Parameters
        ----------
        make_blocks : called once a pass; gives the same `Votes`, or pairs of `Votes` and gold, every time.
        backend : "serial", or "ray".

        Only the workers' tables and one block are held, and nothing is written: a run that was killed is simply run
        again. For the beliefs, ask `predict_proba` of each block.
        """
        census = Census(make_blocks)
        size = Scale.for_size(census.n_tasks, census.weight, float(census.worker_weight.max(initial=0.0)))
        make = lambda: (TaskVotes(*pair) for pair in census.tables())  # noqa: E731
        self._fit(make, census, census.worker_votes, size, census.weight, backend)
        return self

    def predict_proba(self, votes: Votes) -> Floats:
        """P(truth) (n', k) of the tasks of `votes`, workers known by their ids; an unknown one counts as average."""
        self.space_.require(votes.space)
        average = average_worker(self._n_votes.astype(float)[:, None, None] * np.exp(self._model.log_worker))
        everyone = np.concatenate([self._model.log_worker, np.log(average)[None]])
        table = table_of(votes, worker_codes(self.worker_ids_, votes.worker_ids), len(everyone))
        return beliefs(TaskVotes(table), VoteModel(self._model.log_prior, everyone))

    def predict(self, votes: Votes) -> npt.NDArray[np.int32]:
        """Most probable class (n',) int32 of the tasks of `votes`."""
        return top_class(self.predict_proba(votes), self.ties, self.random_state)

    def workers(self) -> dict[str, npt.NDArray[Any]]:
        """One row a worker: `worker`, `n_votes`, `accuracy` (95 % interval `low`, `high`), and `bits`.

        The interval takes the beliefs for certain. `bits` is the information that one vote of this worker carries about
        the truth: 0 for a worker who does not look.
        """
        joint = self.prior_[:, None] * self.confusion_
        accuracy = np.trace(joint, axis1=1, axis2=2)
        low, high = wilson(accuracy * self._n_votes, self._n_votes)
        alone = self.prior_[:, None] * joint.sum(axis=1, keepdims=True)
        bits = np.sum(joint * np.log2(np.maximum(joint, FLOOR**2) / np.maximum(alone, FLOOR**2)), axis=(1, 2))
        columns = {"worker": self.worker_ids_, "n_votes": self._n_votes, "accuracy": accuracy}
        return {**columns, "low": low, "high": high, "bits": np.maximum(bits, 0.0)}

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """One row a task: id, number of votes, entropy and margin of the belief, most probable class."""
        if not hasattr(self, "_evidence"):
            raise InputError("Evidence about tasks is kept by `fit` alone: after `fit_blocks` ask `predict_proba`.")
        return self._evidence

    def _fit(
        self,
        make: Callable[[], Iterable[TaskVotes]],
        source: Votes | Census,
        n_votes: npt.NDArray[np.int64],
        size: Scale,
        weight: float,
        backend: Backend,
    ) -> None:
        k, w = source.space.n_classes, len(source.worker_ids)
        prior = self._check(k)

        def sweep(model: VoteModel | None) -> ExpectedVotes:
            found = ExpectedVotes(w, k, False, size, model)
            fold(found, make(), backend)
            return found

        start = sweep(None)
        average = average_worker(start.counts)
        voted = (start.counts.sum(axis=(1, 2)) > 0)[:, None, None]
        self._model, climbed = ascend(
            sweep,
            start,
            lambda counts: said_given_truth(counts, self.smoothing, average),
            lambda logs: self.smoothing * float(np.sum(average * logs, where=voted)) if self.smoothing else 0.0,
            prior,
            max_iter=self.max_iter,
            tol=self.tol * max(weight, 1.0),
            accelerate=self.accelerate,
        )
        self.space_, self.worker_ids_, self._n_votes = source.space, source.worker_ids, n_votes
        self.prior_ = np.exp(self._model.log_prior)
        self.confusion_ = np.exp(self._model.log_worker).transpose(0, 2, 1)
        self.log_likelihood_, self.log_posterior_ = climbed.log_likelihood, climbed.objective
        self.n_iter_, self.converged_ = climbed.n_iter, climbed.converged

    def _check(self, k: int) -> Floats | None:
        """Refuse bad options; the prior (k,) if it is given, else None."""
        if not 0 <= self.smoothing < np.inf:
            raise InputError(f"smoothing is a number of pseudo-votes, 0 or more, got {self.smoothing}.")
        if self.max_iter < 1:
            raise InputError(f"max_iter must be at least 1, got {self.max_iter}.")
        if k < 1:
            raise InputError("The space of the votes has no classes: there is nothing to believe.")
        if isinstance(self.prior, str):
            if self.prior not in ("learned", "uniform"):
                raise InputError(f"prior must be 'learned', 'uniform' or {k} shares, got {self.prior!r}.")
            return None if self.prior == "learned" else np.full(k, 1.0 / k)
        shares = np.asarray(self.prior, dtype=np.float64)
        if shares.shape != (k,) or not (shares >= 0).all() or abs(shares.sum() - 1) > 1e-3:
            raise InputError(f"prior must be {k} shares of the classes that sum to 1, got {self.prior!r}.")
        return shares

"""Many opinions into one belief: who is right how often, and what is true, learned together.

Here stands what every aggregator does alike: votes into the shared store, gold and workers into codes, a belief into
hard classes and into one line of evidence a task. The methods themselves know nothing of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import starmap
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from assay.errors import InputError
from assay.kernels.belief_rows import Ties, evidence_of, top_class
from assay.kernels.blocks import Backend, fold
from assay.kernels.vote_device import DeviceVotes
from assay.kernels.vote_em import FLOOR, ExpectedVotes, Scale, TaskVotes, VoteModel, ascend, beliefs
from assay.kernels.vote_order import rank, ranked_table, worker_codes
from assay.kernels.vote_table import UNKNOWN, VoteTable, count_codes, vote_table
from assay.labels import Hard, Soft, Space, Votes

Block = Votes | tuple[Votes, Hard | None]
MakeBlocks = Callable[[], Iterable[Block]]
MakeTasks = Callable[[], Iterable[TaskVotes]]
Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
NO_GOLD = -1  # stands in gold codes for a task whose class is not known; never leaves the aggregators


def table_of(votes: Votes, codes: Longs | None = None, n_workers: int | None = None) -> VoteTable:
    """The votes sorted by task; `codes` (w,) renumbers the workers, for votes that came after the model."""
    worker = votes.worker if codes is None else codes[votes.worker]
    w = votes.n_workers if n_workers is None else n_workers
    return vote_table(votes.task, worker, votes.label, votes.n_rows, w, votes.space.n_classes, votes.weight)


def gold_codes(votes: Votes, gold: Hard | None) -> npt.NDArray[np.int32]:
    """Known classes (n,) int32, `NO_GOLD` where there is none; no entries without gold.

    `gold` has one row a task, in the order of `votes.task_ids`; rows without a label are tasks to be found out.
    """
    if gold is None:
        return UNKNOWN
    require_tasks(votes, gold, "gold")
    return np.where(gold.present, gold.y, NO_GOLD).astype(np.int32)


def ranked_votes(votes: Votes, gold: Hard | None) -> tuple[VoteTable, npt.NDArray[np.int32], Longs, Longs]:
    """Votes and gold codes by the order of the ids, and the ranks (n,) and (w,) of tasks and workers in it."""
    tasks, workers = rank(votes.task_ids), rank(votes.worker_ids)
    columns, known = (votes.task, votes.worker, votes.label, votes.weight), gold_codes(votes, gold)
    table = ranked_table(*columns, tasks, workers, votes.space.n_classes)
    return table, known[np.argsort(tasks)] if len(known) else known, tasks, workers


def require_tasks(votes: Votes, said: Hard | Soft, what: str) -> None:
    """Raise unless `said` is of the space of the votes and has one row a task."""
    votes.space.require(said.space)
    if said.n_rows != votes.n_rows:
        raise InputError(
            f"{what} has {said.n_rows} rows for {votes.n_rows} tasks: give one row a task in the order of "
            "votes.task_ids, without a label where nothing is known."
        )


def task_evidence(votes: Votes, p: npt.NDArray[np.floating[Any]]) -> dict[str, npt.NDArray[Any]]:
    """One row a task, see `evidence_of`; `p` (n, k) is the belief."""
    return evidence_of(votes.task_ids, count_codes(votes.task, votes.n_rows), p)


class Census:
    """What a first pass over blocks of votes finds: the space, the workers in sorted order, and how much there is.

    Each block holds all votes on its tasks; `make_blocks` is called once a pass and gives the same blocks every time.

    Attributes
    ----------
    space : the k classes.
    worker_ids : (w,) sorted.
    n_rows, n_votes, weight : totals, n_rows of the tasks; a vote without a weight weighs one.
    worker_votes, worker_weight : (w,) the same for each worker.
    """

    def __init__(self, make_blocks: MakeBlocks) -> None:
        self._make_blocks = make_blocks
        votes_of: dict[Any, int] = {}
        weight_of: dict[Any, float] = {}
        space: Space | None = None
        self.n_rows = self.n_votes = 0
        for votes, _ in self._pairs():
            space = votes.space if space is None else space
            space.require(votes.space)
            cast = np.bincount(votes.worker, minlength=votes.n_workers)
            weights = cast if votes.weight is None else np.bincount(votes.worker, votes.weight, votes.n_workers)
            for worker, n, weight in zip(votes.worker_ids.tolist(), cast.tolist(), weights.tolist(), strict=True):
                votes_of[worker] = votes_of.get(worker, 0) + n
                weight_of[worker] = weight_of.get(worker, 0.0) + weight
            self.n_rows += votes.n_rows
            self.n_votes += votes.n_votes
        if space is None:
            raise InputError("There are no blocks of votes: expected at least one.")
        if len({type(worker) for worker in votes_of}) > 1:
            raise InputError("Worker ids are numbers in some blocks and text in others: use one type.")
        self.space, known = space, sorted(votes_of)
        self.worker_ids = np.array(known)
        self.worker_votes = np.array([votes_of[worker] for worker in known], dtype=np.int64)
        self.worker_weight = np.array([weight_of[worker] for worker in known], dtype=np.float64)
        self.weight = float(self.worker_weight.sum())

    def tables(self) -> Iterator[tuple[VoteTable, npt.NDArray[np.int32]]]:
        """Go over the blocks once more: the votes of each sorted by task, workers coded as here, and gold codes."""
        tasks = cast = 0
        for votes, gold in self._pairs():
            codes = worker_codes(self.worker_ids, votes.worker_ids)
            tasks, cast = tasks + votes.n_rows, cast + votes.n_votes
            if cast > self.n_votes or tasks > self.n_rows or (codes == len(self.worker_ids)).any():
                break
            yield table_of(votes, codes, len(self.worker_ids)), gold_codes(votes, gold)
        if (tasks, cast) != (self.n_rows, self.n_votes):
            raise InputError(
                f"The blocks changed between two passes ({self.n_votes} votes on {self.n_rows} tasks, then {cast} on "
                f"{tasks}): make_blocks must return the same blocks at every call."
            )

    def _pairs(self) -> Iterator[tuple[Votes, Hard | None]]:
        for block in self._make_blocks():
            yield block if isinstance(block, tuple) else (block, None)


class LearnedWorkers(BaseEstimator):  # type: ignore[misc]
    """What Dawid-Skene and its one-coin form do alike: expectation-maximisation from vote shares, in memory or blocks.

    A method says whether a worker has one skill (`_one_coin`), who the average worker is, and how expected votes become
    probabilities; the shapes are those of `assay.kernels.vote_em`.
    """

    _one_coin: bool
    _model: VoteModel

    def __init__(
        self,
        smoothing: float = 1.0,
        prior: Literal["learned", "uniform"] | npt.ArrayLike = "learned",
        max_iter: int = 100,
        tol: float = 1e-5,
        accelerate: bool = False,
        device: str | None = None,
        ties: Ties = "lowest",
        random_state: int = 0,
    ) -> None:
        self.smoothing = smoothing
        self.prior = prior
        self.max_iter = max_iter
        self.tol = tol
        self.accelerate = accelerate
        self.device = device
        self.ties = ties
        self.random_state = random_state

    def _average(self, counts: Floats) -> Floats:
        raise NotImplementedError

    def _maximise(self, counts: Floats, average: Floats) -> Floats:
        raise NotImplementedError

    def fit(self, votes: Votes, gold: Hard | None = None) -> Self:
        """Learn from votes; `gold`, one row a task, holds the classes that are known: they are kept and taught from."""
        table = table_of(votes)
        known = gold_codes(votes, gold)
        block = TaskVotes(table, known, DeviceVotes(table, known, self.device) if self.device else None)
        self._ascend(lambda: [block], votes, table.per_worker(), table.weight_per_worker(), "serial")
        belief = beliefs(block, self._model)
        belief.setflags(write=False)  # so that Soft needs no copy
        self.belief_ = Soft(votes.space, belief)
        self._tasks = votes.task_ids, table.per_task()
        return self

    def fit_blocks(self, make_blocks: MakeBlocks, backend: Backend = "serial", keep: bool = False) -> Self:
        """Learn from votes that come in blocks, each with all votes on its tasks; the model is that of `fit`.

        Parameters
        ----------
        make_blocks : called once a pass; gives the same `Votes`, or pairs of `Votes` and gold, every time.
        backend : "serial", or "ray".
        keep : hold the sorted votes, 6 bytes each and 8 a task, instead of asking for the blocks at every pass.

        Otherwise only what is known of the workers and one block are held. Nothing is written: a run that was killed
        is run again. For the beliefs, ask `predict_proba` of each block.
        """
        seen = Census(make_blocks)
        held = list(starmap(TaskVotes, seen.tables())) if keep else None

        def make() -> Iterable[TaskVotes]:
            return starmap(TaskVotes, seen.tables()) if held is None else held

        self._ascend(make, seen, seen.worker_votes, seen.worker_weight, backend)
        return self

    def predict_proba(self, votes: Votes) -> Floats:
        """P(truth) (n', k) of the tasks of `votes`, workers known by their ids; an unknown one counts as average."""
        self.space_.require(votes.space)
        known = np.exp(self._model.log_worker)
        weight = self._n_votes.astype(np.float64).reshape(-1, *[1] * (known.ndim - 1))
        average = np.log(np.maximum(self._average(weight * known), FLOOR))[None]
        model = VoteModel(self._model.log_prior, np.concatenate([self._model.log_worker, average]))
        codes = worker_codes(self.worker_ids_, votes.worker_ids)
        return beliefs(TaskVotes(table_of(votes, codes, len(known) + 1)), model)

    def predict(self, votes: Votes) -> npt.NDArray[np.int32]:
        """Most probable class (n',) int32 of the tasks of `votes`."""
        return top_class(self.predict_proba(votes), self.ties, self.random_state)

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """One row a task: id, number of votes, entropy and margin of the belief, most probable class."""
        if not hasattr(self, "belief_"):
            raise InputError("Evidence about tasks is kept by `fit` alone: after `fit_blocks` ask `predict_proba`.")
        return evidence_of(*self._tasks, self.belief_.p)

    def _ascend(
        self, make: MakeTasks, source: Votes | Census, n_votes: Longs, weight: Floats, backend: Backend
    ) -> None:
        k, total = source.space.n_classes, float(weight.sum())
        prior = self._check(k)
        scale = Scale.for_size(source.n_rows, total, float(weight.max(initial=0.0)))

        def sweep(model: VoteModel | None) -> ExpectedVotes:
            found = ExpectedVotes(len(weight), k, self._one_coin, scale, model)
            fold(found, make(), backend)
            return found

        start = sweep(None)
        average = self._average(start.counts)

        def log_density(logs: Floats) -> float:
            return self.smoothing * float(np.sum((average * logs)[weight > 0])) if self.smoothing else 0.0

        self._model, climbed = ascend(
            sweep,
            start,
            lambda counts: self._maximise(counts, average),
            log_density,
            prior,
            max_iter=self.max_iter,
            tol=self.tol * max(total, 1.0),
            accelerate=self.accelerate,
        )
        self.space_, self.worker_ids_, self._n_votes = source.space, source.worker_ids, n_votes
        self.prior_ = np.exp(self._model.log_prior)
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

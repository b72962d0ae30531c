"""Many opinions into one belief: who is right how often, and what is true, learned together.

Here stands what every aggregator does alike: votes into the shared store, gold and workers into codes, a belief into
hard classes and into one line of evidence a task. The methods themselves know nothing of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.kernels.vote_table import VoteTable, vote_table
from assay.labels import Hard, Space, Votes

Block = Votes | tuple[Votes, Hard | None]
MakeBlocks = Callable[[], Iterable[Block]]
Ties = Literal["lowest", "seeded"]
TIE = 1e-12  # beliefs this close are equal: the order in which votes were added must not decide
NO_GOLD = -1  # stands in gold codes for a task whose class is not known; never leaves the aggregators


def table_of(votes: Votes, codes: npt.NDArray[np.int64] | None = None, n_workers: int | None = None) -> VoteTable:
    """The votes sorted by task; `codes` (w,) renumbers the workers, for votes that came after the model."""
    worker = votes.worker if codes is None else codes[votes.worker]
    w = votes.n_workers if n_workers is None else n_workers
    return vote_table(votes.task, worker, votes.label, votes.n_rows, w, votes.space.n_classes, votes.weight)


def gold_codes(votes: Votes, gold: Hard | None) -> npt.NDArray[np.int32]:
    """Known classes (n,) int32, `NO_GOLD` where there is none; no entries without gold.

    `gold` has one row a task, in the order of `votes.task_ids`; rows without a label are tasks to be found out.
    """
    if gold is None:
        return np.empty(0, dtype=np.int32)
    votes.space.require(gold.space)
    if gold.n_rows != votes.n_rows:
        raise InputError(
            f"gold has {gold.n_rows} rows for {votes.n_rows} tasks: give one row a task in the order of "
            "votes.task_ids, without a label where the class is not known."
        )
    return np.where(gold.present, gold.y, NO_GOLD).astype(np.int32)


def worker_codes(known: npt.NDArray[Any], ids: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """For each of `ids` (m,) its place in `known` (w,), or w when it is not there: the place of the average worker."""
    if not len(known) or not len(ids) or (known.dtype.kind == "U") != (ids.dtype.kind == "U"):
        return np.full(len(ids), len(known), dtype=np.int64)
    order = np.argsort(known, kind="stable")
    at = order[np.minimum(np.searchsorted(known, ids, sorter=order), len(known) - 1)]
    return np.where(known[at] == ids, at, len(known))


def top_class(p: npt.NDArray[np.floating[Any]], ties: Ties = "lowest", random_state: int = 0) -> npt.NDArray[np.int32]:
    """Most probable class (n,) of beliefs (n, k); a tie falls to the lowest code, or is drawn with the seed."""
    if ties not in ("lowest", "seeded"):
        raise InputError(f"ties must be 'lowest' or 'seeded', got {ties!r}.")
    if not p.shape[1]:
        raise InputError("A space without classes has no most probable one.")
    tied = p >= p.max(axis=1, keepdims=True) - TIE
    top: npt.NDArray[np.int32] = tied.argmax(axis=1).astype(np.int32)
    if ties == "seeded":
        rows = np.flatnonzero(tied.sum(axis=1) > 1)
        draw = np.random.default_rng(random_state).random((len(rows), p.shape[1]))
        top[rows] = np.where(tied[rows], draw, -1.0).argmax(axis=1)
    return top


def task_evidence(votes: Votes, p: npt.NDArray[np.floating[Any]]) -> dict[str, npt.NDArray[Any]]:
    """One row a task: id, number of votes, entropy of the belief in nats, lead of the first class over the second, top.

    `p` (n, k) is the belief. The columns are `task`, `n_votes`, `entropy`, `margin` and `top`, a code of the space.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.where(p > 0, p * np.log(p), 0.0).sum(axis=1)
    two = np.partition(p, -2, axis=1)[:, -2:] if p.shape[1] > 1 else np.column_stack([np.zeros(len(p)), p])
    return {
        "task": votes.task_ids,
        "n_votes": np.bincount(votes.task, minlength=votes.n_rows),
        "entropy": entropy,
        "margin": two[:, 1] - two[:, 0],
        "top": top_class(p),
    }


class Census:
    """What a first pass over blocks of votes finds: the space, the workers in sorted order, and how much there is.

    Each block holds all votes on its tasks; `make_blocks` is called once a pass and gives the same blocks every time.

    Attributes
    ----------
    space : the k classes.
    worker_ids : (w,) sorted.
    n_tasks, n_votes, weight : totals; a vote without a weight weighs one.
    worker_votes, worker_weight : (w,) the same for each worker.
    """

    def __init__(self, make_blocks: MakeBlocks) -> None:
        self._make_blocks = make_blocks
        votes_of: dict[Any, int] = {}
        weight_of: dict[Any, float] = {}
        space: Space | None = None
        self.n_tasks = self.n_votes = 0
        for votes, _ in self._pairs():
            space = votes.space if space is None else space
            space.require(votes.space)
            cast = np.bincount(votes.worker, minlength=votes.n_workers)
            weights = cast if votes.weight is None else np.bincount(votes.worker, votes.weight, votes.n_workers)
            for worker, n, weight in zip(votes.worker_ids.tolist(), cast.tolist(), weights.tolist(), strict=True):
                votes_of[worker] = votes_of.get(worker, 0) + n
                weight_of[worker] = weight_of.get(worker, 0.0) + weight
            self.n_tasks += votes.n_rows
            self.n_votes += votes.n_votes
        if space is None:
            raise InputError("There are no blocks of votes: expected at least one.")
        if len({type(worker) for worker in votes_of}) > 1:
            raise InputError("Worker ids are numbers in some blocks and text in others: use one type.")
        self.space = space
        known = sorted(votes_of)
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
            if cast > self.n_votes or tasks > self.n_tasks or (codes == len(self.worker_ids)).any():
                break
            yield table_of(votes, codes, len(self.worker_ids)), gold_codes(votes, gold)
        if (tasks, cast) != (self.n_tasks, self.n_votes):
            raise InputError(
                f"The blocks changed between two passes ({self.n_votes} votes on {self.n_tasks} tasks, then {cast} on "
                f"{tasks}): make_blocks must return the same blocks at every call."
            )

    def _pairs(self) -> Iterator[tuple[Votes, Hard | None]]:
        for block in self._make_blocks():
            yield block if isinstance(block, tuple) else (block, None)

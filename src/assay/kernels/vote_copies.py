"""Which workers repeat each other's errors, and how each worker answers given the truth.

Legend of shapes: n tasks, w workers, k classes, v votes, p pairs of workers that share a task.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from assay.kernels.vote_agreement import count_pairs, meet
from assay.kernels.vote_table import VoteTable

Floats = npt.NDArray[np.float64]


class RepeatedErrors(NamedTuple):
    """Pairs of workers that voted on a common task, by rising `first` and then `second`; all columns (p,)."""

    first: npt.NDArray[np.int32]
    second: npt.NDArray[np.int32]
    common: Floats  # pairs of votes on the same task
    observed: Floats  # sum of the chances that both said one class and it is wrong
    forth: Floats  # what to expect of it given the votes of `first`, if `second` looked for himself
    back: Floats  # the same given the votes of `second`


def answer_counts(votes: VoteTable, belief: Floats) -> Floats:
    """Expected votes (w, k, k) at [worker, truth, said], given beliefs (n, k); a vote counts with its weight."""
    found = np.zeros((votes.n_workers, votes.n_classes, votes.n_classes))
    _answers(votes.ptr, votes.worker, votes.label, votes.weights, belief, found)
    return found


def repeated_errors(votes: VoteTable, belief: Floats, confusion: Floats) -> RepeatedErrors:
    """Errors in common of every two workers, given beliefs (n, k) and tables (w, k, k) at [worker, truth, said].

    Each vote counts once, whatever its weight: the repetition of a vote is no second trial.
    """
    where = votes.ptr, votes.task(), votes.worker, *votes.by_worker()
    size = count_pairs(*where)
    found = RepeatedErrors(np.empty(size, np.int32), np.empty(size, np.int32), *(np.zeros(size) for _ in range(4)))
    _repeated(*where, votes.label, belief, confusion, *found)
    return found


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _answers(ptr: Any, worker: Any, label: Any, weight: Any, belief: Any, found: Any) -> None:
    for i in range(len(belief)):
        for at in range(ptr[i], ptr[i + 1]):
            one = np.float64(weight[at]) if len(weight) else 1.0
            for c in range(belief.shape[1]):
                found[worker[at], c, label[at]] += one * belief[i, c]


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _says(belief: Any, table: Any, y: Any) -> float:
    chance = 0.0
    for c in range(len(belief)):
        chance += belief[c] * table[c, y]
    return chance


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _repeated(
    ptr: Any, task: Any, worker: Any, wptr: Any, order: Any, label: Any, belief: Any, confusion: Any,
    first: Any, second: Any, common: Any, observed: Any, forth: Any, back: Any,
) -> None:  # fmt: skip
    w = len(wptr) - 1
    seen, met = np.full(w, -1, dtype=np.int64), np.empty(w, dtype=np.int32)
    place = np.empty(w, dtype=np.int64)  # of the pair (a, b) among all, at b
    free = 0
    for a in range(w):
        size = meet(ptr, task, worker, wptr, order, a, seen, met)
        met[:size].sort()
        for b in met[:size]:
            first[free], second[free], place[b] = a, b, free
            free += 1
        for at in range(wptr[a], wptr[a + 1]):
            x = order[at]
            i, mine = task[x], label[x]
            for y in range(ptr[i], ptr[i + 1]):
                b = worker[y]
                if b > a:
                    to, theirs = place[b], label[y]
                    common[to] += 1.0
                    observed[to] += 1.0 - belief[i, mine] if mine == theirs else 0.0
                    forth[to] += (1.0 - belief[i, mine]) * _says(belief[i], confusion[b], mine)
                    back[to] += (1.0 - belief[i, theirs]) * _says(belief[i], confusion[a], theirs)

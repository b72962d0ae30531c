"""Counts of agreeing votes: which classes meet on one task, and which workers meet and agree.

A vote of whole weight m is m votes. Pairs of workers are found one worker at a time, so that memory holds the pairs
that meet and never all w * w of them.

Legend of shapes: n tasks, w workers, k classes, v votes, p pairs of workers that share a task.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from assay.kernels.vote_table import VoteTable

Floats = npt.NDArray[np.float64]


class WorkerPairs(NamedTuple):
    """Pairs of workers that voted on a common task, by rising `first` and then `second`; all columns (p,)."""

    first: npt.NDArray[np.int32]
    second: npt.NDArray[np.int32]
    common: Floats  # pairs of votes on the same task
    agree: Floats  # those with equal classes
    distance: Floats  # sum of the distances between the two classes


def coincidences(votes: VoteTable, times: npt.NDArray[np.integer[Any]] | None = None) -> Floats:
    """How often two votes on one task say two classes (k, k), symmetric, each vote counting one (Krippendorff).

    Each vote is paired with all others on its task, and each pair weighs 1 / (votes on the task - 1). Tasks with one
    vote say nothing. `times` (n,) takes tasks several times, for a bootstrap.
    """
    k = votes.n_classes
    found = np.zeros((k, k))
    often = np.ones(votes.n_tasks, dtype=np.int64) if times is None else np.asarray(times, dtype=np.int64)
    _coincidences(votes.ptr, votes.label, votes.weights, often, found)
    return found


def task_distances(votes: VoteTable, distance: Floats) -> tuple[Floats, Floats]:
    """Votes on each task (n,), and the mean distance between two of them (n,), NaN for fewer than two."""
    total, mean = np.zeros(votes.n_tasks), np.full(votes.n_tasks, np.nan)
    _task_distances(votes.ptr, votes.label, votes.weights, distance, total, mean)
    return total, mean


def worker_pairs(votes: VoteTable, distance: Floats) -> WorkerPairs:
    """Meetings of every two workers, given the distance (k, k) between classes; a worker never meets himself."""
    wptr, order = votes.by_worker()
    where = votes.ptr, votes.task(), votes.worker, wptr, order
    size = count_pairs(*where)
    found = WorkerPairs(np.empty(size, np.int32), np.empty(size, np.int32), *(np.zeros(size) for _ in range(3)))
    _pairs(*where, votes.label, votes.weights, distance, *found)
    return found


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _count(start: Any, stop: Any, label: Any, weight: Any, count: Any, said: Any) -> Any:
    """Count the classes of one task into `count` (k,), all zero before; `said` lists the `size` classes that came."""
    size, total = 0, 0.0
    for at in range(start, stop):
        one = np.float64(weight[at]) if len(weight) else 1.0
        if one > 0:
            c = label[at]
            if count[c] == 0:
                said[size] = c
                size += 1
            count[c] += one
            total += one
    return size, total


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _coincidences(ptr: Any, label: Any, weight: Any, times: Any, found: Any) -> None:
    count, said = np.zeros(len(found)), np.empty(len(found), dtype=np.int64)
    for i in range(len(ptr) - 1):
        if times[i] == 0:
            continue
        size, total = _count(ptr[i], ptr[i + 1], label, weight, count, said)
        if total > 1:
            share = times[i] / (total - 1)
            for a in said[:size]:
                for b in said[:size]:
                    found[a, b] += share * count[a] * (count[b] - (1.0 if a == b else 0.0))
        count[said[:size]] = 0.0


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _task_distances(ptr: Any, label: Any, weight: Any, distance: Any, total: Any, mean: Any) -> None:
    count, said = np.zeros(len(distance)), np.empty(len(distance), dtype=np.int64)
    for i in range(len(ptr) - 1):
        size, total[i] = _count(ptr[i], ptr[i + 1], label, weight, count, said)
        if total[i] > 1:
            apart = 0.0
            for a in said[:size]:
                for b in said[:size]:
                    apart += count[a] * count[b] * distance[a, b]
            mean[i] = apart / (total[i] * (total[i] - 1))
        count[said[:size]] = 0.0


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def meet(ptr: Any, task: Any, worker: Any, wptr: Any, order: Any, a: Any, seen: Any, met: Any) -> int:
    """Write the workers above `a` that share a task with it to `met`, unsorted; return how many."""
    size = 0
    for at in range(wptr[a], wptr[a + 1]):
        i = task[order[at]]
        for y in range(ptr[i], ptr[i + 1]):
            b = worker[y]
            if b > a and seen[b] != a:
                seen[b] = a
                met[size] = b
                size += 1
    return size


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def count_pairs(ptr: Any, task: Any, worker: Any, wptr: Any, order: Any) -> int:
    """How many pairs of workers share a task."""
    w = len(wptr) - 1
    seen, met = np.full(w, -1, dtype=np.int64), np.empty(w, dtype=np.int32)
    size = 0
    for a in range(w):
        size += meet(ptr, task, worker, wptr, order, a, seen, met)
    return size


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _pairs(
    ptr: Any, task: Any, worker: Any, wptr: Any, order: Any, label: Any, weight: Any, distance: Any,
    first: Any, second: Any, common: Any, agree: Any, apart: Any,
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
            for y in range(ptr[task[x]], ptr[task[x] + 1]):
                if worker[y] > a:
                    to = place[worker[y]]
                    one = np.float64(weight[x]) * weight[y] if len(weight) else 1.0
                    common[to] += one
                    agree[to] += one if label[x] == label[y] else 0.0
                    apart[to] += one * distance[label[x], label[y]]

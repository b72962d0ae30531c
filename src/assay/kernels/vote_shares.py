"""Votes counted with a weight for each worker: the shares of the classes, their winner, and who agrees with it.

Legend of shapes: n tasks, w workers, k classes, v votes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from assay.kernels.blocks import in_parts
from assay.kernels.vote_table import UNKNOWN, VoteTable, task_parts

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]
EVEN = np.empty(0)  # skills when every worker counts the same
NEAR = 1e-12  # scores this close, relative to their sum, are equal: the order of addition must not decide
NO_VOTES = -1  # winner of a task without votes


def totals(table: VoteTable, skill: Floats = EVEN) -> Floats:
    """Votes for each class (n, k), each times its weight and the `skill` (w,) of its worker."""
    result = np.zeros((table.n_tasks, table.n_classes))
    edges = task_parts(table.ptr)
    columns = table.ptr, table.worker, table.label, table.weights, np.asarray(skill, dtype=np.float64)
    in_parts(lambda part: _totals(*columns, edges[part], edges[part + 1], result), len(edges) - 1)
    return result


def shares(table: VoteTable, skill: Floats = EVEN, gold: Codes = UNKNOWN) -> tuple[Floats, Floats]:
    """Weighted vote shares (n, k) and their mean (k,) over the tasks with votes, which tasks without votes get.

    Where the weights of all votes on a task are zero, the votes count the same; the mean of nothing is uniform. Tasks
    whose class `gold` (n,) knows get all of it, after the mean is taken.
    """
    score = totals(table, skill)
    sums = score.sum(axis=1)
    silent = np.flatnonzero((sums == 0) & (table.per_task() > 0))
    if silent.size:
        owner = np.full(table.n_tasks, -1)
        owner[silent] = np.arange(len(silent))
        at = owner[table.task()]
        plain = np.zeros((len(silent), table.n_classes))
        np.add.at(plain, (at[at >= 0], table.label[at >= 0]), 1.0)
        score[silent], sums[silent] = plain, plain.sum(axis=1)
    voted = sums > 0
    np.divide(score, sums[:, None], out=score, where=voted[:, None])
    mean = score[voted].mean(axis=0) if voted.any() else np.full(table.n_classes, 1.0 / max(table.n_classes, 1))
    score[~voted] = mean
    if len(gold):
        score[gold >= 0] = np.eye(table.n_classes)[gold[gold >= 0]]
    return score, mean


def winners(table: VoteTable, skill: Floats = EVEN, gold: Codes = UNKNOWN) -> Codes:
    """Class (n,) that `gold` (n,) knows, else with the most weighted votes, the lowest of equals; else `NO_VOTES`."""
    result = np.empty(table.n_tasks, dtype=np.int32)
    edges = task_parts(table.ptr)
    columns = table.ptr, table.worker, table.label, table.weights, np.asarray(skill, dtype=np.float64)
    in_parts(lambda part: _winners(*columns, table.n_classes, edges[part], edges[part + 1], result), len(edges) - 1)
    return np.where(gold >= 0, gold, result) if len(gold) else result


def agreement(table: VoteTable, truth: Codes) -> tuple[Floats, Floats]:
    """Share of each worker's weighted votes (w,) that say `truth` (n,), NaN without any, and the share of all workers.

    Votes on tasks where `truth` is negative are left out.
    """
    hits, cast = np.zeros(table.n_workers), np.zeros(table.n_workers)
    _agreement(table.ptr, table.worker, table.label, table.weights, truth, hits, cast)
    with np.errstate(invalid="ignore"):
        return hits / cast, np.asarray(hits.sum() / cast.sum() if cast.sum() > 0 else np.nan)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _worth(weight: Any, skill: Any, v: Any, j: Any) -> Any:
    """What vote v by worker j counts."""
    one = np.float64(weight[v]) if len(weight) else 1.0
    return one * skill[j] if len(skill) else one


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _totals(ptr: Any, worker: Any, label: Any, weight: Any, skill: Any, low: Any, high: Any, result: Any) -> None:
    for i in range(low, high):
        for v in range(ptr[i], ptr[i + 1]):
            result[i, label[v]] += _worth(weight, skill, v, worker[v])


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _winners(
    ptr: Any, worker: Any, label: Any, weight: Any, skill: Any, k: Any, low: Any, high: Any, result: Any
) -> None:
    score = np.zeros(k)
    for i in range(low, high):
        top, total = 0.0, 0.0
        for v in range(ptr[i], ptr[i + 1]):
            worth = _worth(weight, skill, v, worker[v])
            score[label[v]] += worth
            total += worth
            top = max(top, score[label[v]])
        best = k
        for v in range(ptr[i], ptr[i + 1]):  # the classes that have votes, and no others
            if label[v] < best and score[label[v]] >= top - NEAR * total:
                best = label[v]
        for v in range(ptr[i], ptr[i + 1]):
            score[label[v]] = 0.0
        result[i] = best if best < k else NO_VOTES


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _agreement(ptr: Any, worker: Any, label: Any, weight: Any, truth: Any, hits: Any, cast: Any) -> None:
    for i in range(len(truth)):
        if truth[i] < 0:
            continue
        for v in range(ptr[i], ptr[i + 1]):
            one = np.float64(weight[v]) if len(weight) else 1.0
            cast[worker[v]] += one
            if label[v] == truth[i]:
                hits[worker[v]] += one

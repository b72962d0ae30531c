"""Votes in an order that depends on what they say and not on how they came, so that equal votes give equal bits.

Methods that climb to an optimum stop where rounding tells them to; sums in one fixed order make them stop at one place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.kernels.vote_table import VoteTable, vote_table

Ints = npt.NDArray[np.integer[Any]]


def rank(ids: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Place of each id (m,) among the sorted ids; all differ."""
    place = np.empty(len(ids), dtype=np.int64)
    place[np.argsort(ids, kind="stable")] = np.arange(len(ids))
    return place


def worker_codes(known: npt.NDArray[Any], ids: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """For each of `ids` (m,) its place in `known` (w,), or w when it is not there: the place of the average worker."""
    if not len(known) or not len(ids) or (known.dtype.kind == "U") != (ids.dtype.kind == "U"):
        return np.full(len(ids), len(known), dtype=np.int64)
    order = np.argsort(known, kind="stable")
    at = order[np.minimum(np.searchsorted(known, ids, sorter=order), len(known) - 1)]
    return np.where(known[at] == ids, at, len(known))


def ranked_table(
    task: Ints, worker: Ints, label: Ints, weight: npt.NDArray[Any] | None, task_rank: Ints, worker_rank: Ints, k: int
) -> VoteTable:
    """The votes by task, worker and class, tasks and workers numbered by their rank.

    Parameters
    ----------
    task, worker, label : (v,) codes.
    weight : (v,) or None.
    task_rank, worker_rank : (n,) and (w,) new codes.
    k : number of classes, at least 1; n * w * k must be below 2^63.
    """
    n, w = len(task_rank), len(worker_rank)
    if k < 1:
        raise InputError("The space of the votes has no classes: there is nothing to believe.")
    if n * w * k >= 2**63:
        raise InputError(f"{n} tasks, {w} workers and {k} classes are too many to put in order.")
    key = (task_rank[task] * w + worker_rank[worker]) * k + label
    order = np.argsort(key, kind="stable")
    key, rest = key[order] // k, label[order]
    extra = None if weight is None else weight[order]
    return vote_table(key // max(w, 1), key % max(w, 1), rest, n, w, k, extra)

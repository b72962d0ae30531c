"""The one sparse store of votes that every aggregation method shares: the votes of a task lie side by side.

Six bytes a vote (int32 worker, int16 class), built by a counting sort in O(v). The votes of a worker are reached
through a second index, made when first asked for.

Legend of shapes: n tasks, w workers, k classes, v votes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from assay.errors import InputError
from assay.kernels.blocks import n_parts

Ints = npt.NDArray[np.integer[Any]]
UNIT = np.empty(0, dtype=np.float32)  # weights of votes that count one each
UNIT.setflags(write=False)
UNKNOWN = np.empty(0, dtype=np.int32)  # gold codes when no class is known
WIDE = 32_767  # classes above which labels are int32


@dataclass(frozen=True, eq=False)
class VoteTable:
    """Votes sorted by task; votes on one task keep the order in which they came.

    Parameters
    ----------
    ptr : (n + 1,) int64; the votes of task i are those from ptr[i] to ptr[i + 1].
    worker : (v,) int32 in 0..w-1.
    label : (v,) int16 in 0..k-1; int32 when k > 32767.
    weight : (v,) float32, a vote of weight 2 counts as two; None for one each.
    n_tasks, n_workers, n_classes : n, w, k.
    """

    ptr: npt.NDArray[np.int64]
    worker: npt.NDArray[np.int32]
    label: Ints
    weight: npt.NDArray[np.float32] | None
    n_tasks: int
    n_workers: int
    n_classes: int

    @property
    def n_votes(self) -> int:
        """Number of votes, v."""
        return len(self.worker)

    @property
    def weights(self) -> npt.NDArray[np.float32]:
        """`weight` as kernels want it: (v,), or of no entries when every vote counts one."""
        return UNIT if self.weight is None else self.weight

    def per_task(self) -> npt.NDArray[np.int64]:
        """Number of votes on each task (n,), weights not regarded."""
        return np.diff(self.ptr)

    def per_worker(self) -> npt.NDArray[np.int64]:
        """Number of votes by each worker (w,), weights not regarded."""
        return count_codes(self.worker, self.n_workers)

    def weight_per_vote(self) -> npt.NDArray[np.float64]:
        """Weight of each vote (v,), 1 where none is given."""
        return np.ones(self.n_votes) if self.weight is None else self.weight.astype(np.float64)

    def weight_per_worker(self) -> npt.NDArray[np.float64]:
        """Sum of the weights of each worker's votes (w,)."""
        if self.weight is None:
            return self.per_worker().astype(np.float64)
        total = np.zeros(self.n_workers)
        _add(self.worker, self.weight, total)
        return total

    def task(self) -> npt.NDArray[np.int32]:
        """Task of each vote (v,), made anew at each call."""
        return np.repeat(np.arange(self.n_tasks, dtype=np.int32), self.per_task())

    def by_worker(self) -> tuple[npt.NDArray[np.int64], Ints]:
        """Votes by worker: `wptr` (w + 1,) int64, and `order` (v,) int32 (int64 above 2^31 votes), kept once made.

        The votes of worker j stand at order[wptr[j]:wptr[j + 1]] of `worker`, `label` and `weight`, by rising task.
        """
        return self._by_worker

    @cached_property
    def _by_worker(self) -> tuple[npt.NDArray[np.int64], Ints]:
        wptr = _offsets(self.per_worker())
        order: Ints = (
            np.empty(self.n_votes, dtype=np.int32) if self.n_votes < 2**31 else np.empty(self.n_votes, np.int64)
        )
        _order(self.worker, wptr[:-1].copy(), order)
        return wptr, order


def vote_table(
    task: Ints,
    worker: Ints,
    label: Ints,
    n_tasks: int,
    n_workers: int,
    n_classes: int,
    weight: npt.NDArray[np.floating[Any]] | None = None,
) -> VoteTable:
    """Sort votes by task.

    Parameters
    ----------
    task, worker, label : (v,) integer codes, in any order.
    n_tasks, n_workers, n_classes : n, w, k; tasks and workers without votes are allowed.
    weight : (v,) finite and not negative, or None.

    Raises
    ------
    InputError : columns of different length, or a code outside its range, naming the first bad row.

    Examples
    --------
    >>> table = vote_table(np.array([1, 0, 1]), np.array([0, 0, 1]), np.array([2, 1, 0]), 2, 2, 3)
    >>> table.ptr.tolist(), table.worker.tolist(), table.label.tolist()
    ([0, 1, 3], [0, 0, 1], [1, 2, 0])
    """
    v = len(task)
    if not len(worker) == len(label) == v or (weight is not None and len(weight) != v):
        lengths = [len(column) for column in (task, worker, label, weight) if column is not None]
        raise InputError(f"The columns of votes must have one length, got {lengths}.")
    counts = np.zeros(n_tasks, dtype=np.int64)
    bad, in_order = _count(task, worker, label, n_workers, n_classes, counts)
    if bad >= 0:
        raise InputError(
            f"Vote codes are out of range: task {task[bad]} of {n_tasks}, worker {worker[bad]} of {n_workers}, "
            f"class {label[bad]} of {n_classes}.",
            row=int(bad),
        )
    if weight is not None:
        wrong = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
        if wrong.size:
            raise InputError(
                f"The weight of a vote must be finite and not negative, got {weight[wrong[0]]}.", row=int(wrong[0])
            )
    ptr = _offsets(counts)
    kind: type[np.integer[Any]] = np.int16 if n_classes <= WIDE else np.int32
    if in_order:  # the columns are kept as they are, without a copy where the types fit
        kept: Ints = label.astype(kind, copy=False).view()
        extra = None if weight is None else _shut(weight.astype(np.float32, copy=False).view())
        columns = _shut(ptr), _shut(worker.astype(np.int32, copy=False).view()), _shut(kept), extra
        return VoteTable(*columns, n_tasks, n_workers, n_classes)
    by_task = np.empty(v, dtype=np.int32), np.empty(v, dtype=kind), np.empty(0 if weight is None else v, np.float32)
    _place(task, worker, label, UNIT if weight is None else weight, ptr[:-1].copy(), *by_task)
    extra = None if weight is None else _shut(by_task[2])
    return VoteTable(_shut(ptr), _shut(by_task[0]), _shut(by_task[1]), extra, n_tasks, n_workers, n_classes)


def _shut(column: Any) -> Any:
    """Make a column read-only: nobody may change the store, and kernels are compiled for one type only."""
    column.setflags(write=False)
    return column


def count_codes(codes: Ints, size: int) -> npt.NDArray[np.int64]:
    """How often each of 0..size-1 is among `codes` (v,): `numpy.bincount` without its copy as int64."""
    counts = np.zeros(size, dtype=np.int64)
    _add(codes, UNIT, counts)
    return counts


def task_parts(ptr: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Edges (parts + 1,) of ranges of tasks that hold about as many votes each, one range a thread."""
    v = int(ptr[-1])
    inner = np.searchsorted(ptr, np.linspace(0, v, n_parts(v) + 1)[1:-1])
    return np.concatenate([[0], inner, [len(ptr) - 1]]).astype(np.int64)


def _offsets(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    ptr = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=ptr[1:])
    return ptr


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _count(task: Any, worker: Any, label: Any, n_workers: Any, n_classes: Any, counts: Any) -> Any:
    """Count the votes of each task; return the first row with a bad code (or -1), and whether tasks never fall."""
    in_order: Any = True
    last = np.int64(0)
    for i in range(len(task)):
        t, j, y = np.int64(task[i]), np.int64(worker[i]), np.int64(label[i])
        if t < 0 or t >= len(counts) or j < 0 or j >= n_workers or y < 0 or y >= n_classes:
            return i, False
        in_order = in_order and t >= last
        last = t
        counts[t] += 1
    return -1, in_order


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _place(
    task: Any, worker: Any, label: Any, weight: Any, free: Any, to_worker: Any, to_label: Any, to_weight: Any
) -> None:
    """Put each vote at the next free place of its task. One thread: two would each have to read every row."""
    for i in range(len(task)):
        at = free[task[i]]
        free[task[i]] = at + 1
        to_worker[at] = worker[i]
        to_label[at] = label[i]
        if len(weight):
            to_weight[at] = weight[i]


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _order(worker: Any, free: Any, order: Any) -> None:
    """Fill `order` (v,) with the places of votes, worker by worker."""
    for i in range(len(worker)):
        order[free[worker[i]]] = i
        free[worker[i]] += 1


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _add(codes: Any, weight: Any, total: Any) -> None:
    """Add the weights, or one each when there are none, to the total of their code."""
    for i in range(len(codes)):
        total[codes[i]] += weight[i] if len(weight) else 1

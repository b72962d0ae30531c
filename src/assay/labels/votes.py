"""Votes: several people or models say one class each about the same task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels.checks import (
    CLASSES,
    Bools,
    Floats,
    Ints,
    as_integers,
    as_reals,
    as_rows,
    first,
    of_kind,
    same_length,
)
from assay.labels.container import Container
from assay.labels.hard import Hard, is_missing
from assay.labels.spaces import Space, distinct, distinct_typed, name_of

Column = Sequence[object] | npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True, eq=False)
class Votes(Container):
    """Votes in long form; the rows are the tasks. A task may have no vote, a worker may vote twice.

    Parameters
    ----------
    space : the k classes.
    task, worker : codes `(v,)` int32 into `task_ids` and `worker_ids`.
    label : codes `(v,)` of the classes, int32 (int16 is kept).
    task_ids, worker_ids : names `(n,)` and `(w,)`, integers or text, all different.
    time : seconds since the epoch `(v,)` float64, or None.
    cost : price of each vote `(v,)` float32, or None.
    weight : how much each vote counts `(v,)` float32, or None for one each.

    Examples
    --------
    >>> votes = Votes.from_long(["t1", "t1", "t2"], ["ann", "bob", "ann"], ["cat", "dog", "cat"])
    >>> votes.counts().tolist()
    [[1, 1], [1, 0]]
    """

    space: Space
    task: Ints
    worker: Ints
    label: Ints
    task_ids: npt.NDArray[Any]
    worker_ids: npt.NDArray[Any]
    time: Floats | None = None
    cost: Floats | None = None
    weight: Floats | None = None

    def __post_init__(self) -> None:
        of_kind(self.space, "Votes", *CLASSES)
        task_ids, worker_ids = as_ids(self.task_ids, "Task ids"), as_ids(self.worker_ids, "Worker ids")
        columns: dict[str, npt.NDArray[Any] | None] = {
            "task": as_integers(self.task, "Task codes", high=len(task_ids)),
            "worker": as_integers(self.worker, "Worker codes", high=len(worker_ids)),
            "label": as_integers(self.label, "Votes", dtypes=(np.int32, np.int16), high=self.space.n_classes),
            "time": None if self.time is None else as_reals(self.time, "Times of votes"),
            "cost": None if self.cost is None else as_reals(self.cost, "Costs of votes", dtypes=(np.float32,)),
            "weight": None if self.weight is None else as_reals(self.weight, "Vote weights", dtypes=(np.float32,)),
        }
        _not_negative(columns["weight"])
        same_length("votes", len(self.task), **columns)
        for name, column in {**columns, "task_ids": task_ids, "worker_ids": worker_ids}.items():
            object.__setattr__(self, name, column)

    @classmethod
    def from_long(
        cls,
        task: Column,
        worker: Column,
        label: Column,
        space: Space | None = None,
        *,
        time: npt.ArrayLike | None = None,
        cost: npt.ArrayLike | None = None,
        weight: npt.ArrayLike | None = None,
    ) -> Votes:
        """Read three columns `(v,)`; tasks and workers keep the order in which they first appear.

        A missing label (None, NaN, "") is an abstention: it makes the task and the worker known and casts no vote.
        """
        if not len(task) == len(worker) == len(label):
            raise InputError(f"Votes need columns of one length, got {len(task)}, {len(worker)} and {len(label)}.")
        labels = Hard.from_values(label, space)
        task_ids, tasks = code_ids(task)
        worker_ids, workers = code_ids(worker)
        cast = labels.present
        extra = {"time": time, "cost": cost, "weight": weight}
        chosen: dict[str, Any] = {k: None if v is None else np.asarray(v)[cast] for k, v in extra.items()}
        return cls(labels.space, tasks[cast], workers[cast], labels.y[cast], task_ids, worker_ids, **chosen)

    @property
    def n_rows(self) -> int:
        """Number of tasks, n."""
        return len(self.task_ids)

    @property
    def n_votes(self) -> int:
        """Number of votes, v."""
        return len(self.label)

    @property
    def n_workers(self) -> int:
        """Number of workers, w."""
        return len(self.worker_ids)

    @property
    def present(self) -> Bools:
        """Which tasks have a vote, `(n,)` bool."""
        return np.bincount(self.task, minlength=self.n_rows) > 0

    def counts(self) -> npt.NDArray[np.int64]:
        """Votes for each class `(n, k)`; forgets who cast them and their weights."""
        k = self.space.n_classes
        return np.bincount(self._cells(), minlength=self.n_rows * k).reshape(self.n_rows, k)

    def totals(self) -> npt.NDArray[np.float64]:
        """Votes for each class `(n, k)`, each counted with its weight."""
        k = self.space.n_classes
        cells = np.bincount(self._cells(), self.weight_per_vote(), self.n_rows * k)
        return cells.reshape(self.n_rows, k).astype(np.float64)

    def weight_per_vote(self) -> npt.NDArray[np.float64]:
        """Weight of each vote `(v,)`, 1 where none is given."""
        return np.ones(self.n_votes) if self.weight is None else self.weight.astype(np.float64)

    def _cells(self) -> npt.NDArray[np.int64]:
        cells = self.task.astype(np.int64)
        cells *= self.space.n_classes
        cells += self.label
        return cells

    def take(self, rows: npt.ArrayLike) -> Votes:
        """Return the votes on the chosen tasks, each task once; every worker stays known."""
        at, keep, task = on_tasks(self.task, rows, self.n_rows)
        extra: list[Any] = [None if c is None else c[keep] for c in (self.time, self.cost, self.weight)]
        ids = self.task_ids[at]
        return Votes(self.space, task, self.worker[keep], self.label[keep], ids, self.worker_ids, *extra)

    def joined(self, other: Votes) -> Votes:
        """Return the votes of both, in this order; tasks and workers of one name are one."""
        self.space.require(other.space)
        extra: list[Any] = []
        for name in ("time", "cost", "weight"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if (mine is None) != (theirs is None):
                raise InputError(f"Only one of the two sets of votes has the column {name!r}: give it to both or none.")
            extra.append(None if mine is None else np.concatenate([mine, theirs]))
        columns: list[Any] = []
        names: list[Any] = []
        for ids, codes in (("task_ids", "task"), ("worker_ids", "worker")):
            mine, theirs = getattr(self, ids), getattr(other, ids)
            if mine.dtype.kind != theirs.dtype.kind and len(mine) and len(theirs):
                raise InputError(f"The {ids} are numbers in one set of votes and text in the other.")
            both, new = code_ids(np.concatenate([mine, theirs]))
            columns.append(
                np.concatenate([new[: len(mine)][getattr(self, codes)], new[len(mine) :][getattr(other, codes)]])
            )
            names.append(both)
        label = np.concatenate([self.label, other.label])
        return Votes(self.space, columns[0], columns[1], label, names[0], names[1], *extra)


def on_tasks(
    task: Ints, rows: npt.ArrayLike, n_rows: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """The tasks (m,) that `rows` choose, which entries of `task` (v,) are on them, and the new codes of those."""
    at = as_rows(rows, n_rows)
    code = np.full(n_rows, -1, dtype=np.int64)
    code[at] = np.arange(len(at))
    new = code[task]
    return at, new >= 0, new[new >= 0]


def as_ids(ids: npt.ArrayLike, what: str) -> npt.NDArray[Any]:
    """Return read-only ids `(n,)`, int64 or text, all different."""
    array = np.asarray(ids)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iuUO"):
        raise InputError(f"{what} must be a column of integers or text, got {array.dtype} of shape {array.shape}.")
    array = array.astype(np.int64 if array.dtype.kind in "iuf" else np.str_)
    _, where = np.unique(array, return_index=True)
    if len(where) < len(array):
        row = int(np.setdiff1d(np.arange(len(array)), where)[0])
        raise InputError(f"{what} must differ: {array[row].item()!r} comes twice.", row=row)
    array.setflags(write=False)
    return array


def code_ids(values: Column) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Return the different ids in order of first appearance, and the code of each row `(v,)`."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "iuU":
        ids, inverse = distinct_typed(values)
        start = np.empty(len(ids), dtype=np.int64)
        start[inverse[::-1]] = np.arange(len(inverse))[::-1]  # the earliest row is written last
        order = np.argsort(start)
        rank = np.empty(len(ids), dtype=np.int64)
        rank[order] = np.arange(len(ids))
        ids, inverse = ids[order], rank[inverse]
        missing = np.flatnonzero(ids == "").tolist() if ids.dtype.kind == "U" else []
    else:
        found, inverse = distinct(values)
        missing = [i for i, value in enumerate(found) if is_missing(value)]
        numbers = all(isinstance(value, int | np.integer) for value in found)
        ids = np.array(found, dtype=np.int64) if numbers else np.array([name_of(value) for value in found])
    if missing:
        row = int(np.argmax(inverse == missing[0]))
        raise InputError("An id is missing: each vote must name its task and its worker.", row=row)
    return ids, inverse


def _not_negative(weight: npt.NDArray[Any] | None) -> None:
    row = None if weight is None else first(weight < 0)
    if row is not None:
        raise InputError("The weight of a vote cannot be negative.", row=row)

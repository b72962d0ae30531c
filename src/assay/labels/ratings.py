"""Ratings: several people or models give one number each to the same task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels.checks import Bools, Floats, Ints, as_integers, as_reals, first, of_kind, same_length
from assay.labels.container import Container
from assay.labels.spaces import Kind, Space
from assay.labels.votes import Column, Votes, as_ids, code_ids, on_tasks

NUMBERS = Space((), Kind.REAL)


@dataclass(frozen=True, slots=True, eq=False)
class Ratings(Container):
    """Ratings in long form; the rows are the tasks. A task may have no rating, a worker may rate twice.

    Parameters
    ----------
    task, worker : codes `(v,)` int32 into `task_ids` and `worker_ids`.
    value : the numbers `(v,)` float64, in one unit.
    task_ids, worker_ids : names `(n,)` and `(w,)`, integers or text, all different.
    weight : how much each rating counts `(v,)` float64, never negative; None for one each.
    space : real numbers; there is only this one.

    Examples
    --------
    >>> ratings = Ratings.from_long(["t1", "t1", "t2"], ["ann", "bob", "ann"], [10, 30, None])
    >>> ratings.n_rows, ratings.value.tolist()
    (2, [10.0, 30.0])
    """

    task: Ints
    worker: Ints
    value: Floats
    task_ids: npt.NDArray[Any]
    worker_ids: npt.NDArray[Any]
    weight: Floats | None = None
    space: Space = NUMBERS

    def __post_init__(self) -> None:
        of_kind(self.space, "Ratings", Kind.REAL)
        task_ids, worker_ids = as_ids(self.task_ids, "Task ids"), as_ids(self.worker_ids, "Worker ids")
        columns: dict[str, npt.NDArray[Any] | None] = {
            "task": as_integers(self.task, "Task codes", high=len(task_ids)),
            "worker": as_integers(self.worker, "Worker codes", high=len(worker_ids)),
            "value": as_reals(self.value, "Ratings"),
            "weight": None if self.weight is None else as_reals(self.weight, "Weights of ratings"),
        }
        weight = columns["weight"]
        row = None if weight is None else first(weight < 0)
        if row is not None:
            raise InputError("The weight of a rating cannot be negative.", row=row)
        same_length("ratings", len(self.task), **columns)
        for name, column in {**columns, "task_ids": task_ids, "worker_ids": worker_ids}.items():
            object.__setattr__(self, name, column)

    @classmethod
    def from_long(
        cls, task: Column, worker: Column, value: npt.ArrayLike, *, weight: npt.ArrayLike | None = None
    ) -> Ratings:
        """Read three columns `(v,)`; tasks and workers keep the order in which they first appear.

        A missing value (None, NaN) makes the task and the worker known and gives no rating.
        """
        try:
            numbers = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError("Ratings must be numbers; for classes use `Votes`.") from None
        if not len(task) == len(worker) == len(numbers):
            raise InputError(f"Ratings need columns of one length, got {len(task)}, {len(worker)} and {len(numbers)}.")
        task_ids, tasks = code_ids(task)
        worker_ids, workers = code_ids(worker)
        given = ~np.isnan(numbers)
        kept: Any = None if weight is None else np.asarray(weight)[given]
        return cls(tasks[given], workers[given], numbers[given], task_ids, worker_ids, kept)

    @classmethod
    def from_votes(cls, votes: Votes) -> Ratings:
        """Read votes on an ordered scale as numbers: see `levels_of` for the number of each class."""
        value = levels_of(votes.space)[votes.label]
        return cls(votes.task, votes.worker, value, votes.task_ids, votes.worker_ids, votes.weight)

    @property
    def n_rows(self) -> int:
        """Number of tasks, n."""
        return len(self.task_ids)

    @property
    def n_ratings(self) -> int:
        """Number of ratings, v."""
        return len(self.value)

    @property
    def n_workers(self) -> int:
        """Number of workers, w."""
        return len(self.worker_ids)

    @property
    def present(self) -> Bools:
        """Which tasks have a rating, `(n,)` bool."""
        return np.bincount(self.task, minlength=self.n_rows) > 0

    def take(self, rows: npt.ArrayLike) -> Ratings:
        """Return the ratings of the chosen tasks, each task once; every worker stays known."""
        at, keep, task = on_tasks(self.task, rows, self.n_rows)
        weight = None if self.weight is None else self.weight[keep]
        return Ratings(task, self.worker[keep], self.value[keep], self.task_ids[at], self.worker_ids, weight)


def levels_of(space: Space) -> npt.NDArray[np.float64]:
    """Number of each class `(k,)`: its name where all names are rising numbers, else its place in the order.

    >>> levels_of(Space(("1", "2", "5"), Kind.ORDINAL)).tolist()
    [1.0, 2.0, 5.0]
    >>> levels_of(Space(("bad", "fair", "good"), Kind.ORDINAL)).tolist()
    [0.0, 1.0, 2.0]
    """
    try:
        levels = np.array([float(name) for name in space.names])
    except ValueError:
        return np.arange(space.n_classes, dtype=np.float64)
    rising = bool(np.all(np.isfinite(levels))) and bool(np.all(np.diff(levels) > 0))
    return levels if rising else np.arange(space.n_classes, dtype=np.float64)

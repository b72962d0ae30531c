"""Votes that keep coming: a store that grows, and expectation-maximisation over the tasks that were touched.

The votes of a task form a chain: a new vote points at the one before it, so that adding costs the same whatever has
been stored. Beliefs and the workers' expected votes are kept together: a visit to a task takes its old share out of
the counts of its workers, believes anew, and puts the new share in (Neal and Hinton's incremental EM).

Legend of shapes: n tasks, w workers, k classes, v votes; arrays are longer than that, with room to grow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]
FLOOR = 1e-10  # no probability of a model is smaller


class GrowingVotes:
    """Votes, beliefs and expected votes of workers, all of which grow.

    Attributes
    ----------
    n_tasks, n_workers, n_votes : n, w, v, of what is stored.
    belief : (>= n, k) P(truth); zero for a task that was never visited.
    tally : (>= n, k) weight of the votes for each class.
    counts : (>= w, k, k) expected votes at [worker, truth, said].
    cast : (>= w,) number of votes of each worker, and `on` (>= n,) on each task.
    average : (k, k) at [truth, said]: votes of all workers, each shared among truths as its task's votes are.
    classes : (k,) sum of beliefs of the tasks with votes.
    """

    def __init__(self, n_classes: int) -> None:
        k = n_classes
        self.n_tasks = self.n_workers = self.n_votes = 0
        self.belief, self.tally, self.on = np.zeros((0, k)), np.zeros((0, k)), np.zeros(0, np.int64)
        self.counts, self.cast = np.zeros((0, k, k)), np.zeros(0, np.int64)
        self.average, self.classes = np.zeros((k, k)), np.zeros(k)
        self._worker, self._label = np.zeros(0, np.int32), np.zeros(0, np.int32)
        self._weight, self._before, self._head = np.zeros(0, np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64)

    def add(
        self,
        task: npt.NDArray[Any],
        worker: npt.NDArray[Any],
        label: npt.NDArray[Any],
        weight: npt.NDArray[np.float32] | None,
        n_tasks: int,
        n_workers: int,
    ) -> npt.NDArray[np.int64]:
        """Store votes (m,) coded in 0..n-1 and 0..w-1, the new n and w; return the tasks they touch, rising.

        Time in proportion to the new votes, tasks and workers, on average over many calls. Call `visit` on the tasks.
        """
        touched = np.unique(task).astype(np.int64)
        self.n_tasks, self.n_workers = n_tasks, n_workers
        for name in ("belief", "tally", "on", "_head"):
            setattr(self, name, _roomy(getattr(self, name), n_tasks))
        for name in ("counts", "cast"):
            setattr(self, name, _roomy(getattr(self, name), n_workers))
        start, self.n_votes = self.n_votes, self.n_votes + len(task)
        for name in ("_worker", "_label", "_weight", "_before"):
            setattr(self, name, _roomy(getattr(self, name), self.n_votes))
        _move(touched, -1.0, *self._chains(), *self._state())  # out, before their chains change
        rows = slice(start, self.n_votes)
        self._worker[rows], self._label[rows] = worker, label
        self._weight[rows] = 1.0 if weight is None else weight
        np.add.at(self.cast, worker, 1)
        np.add.at(self.on, task, 1)
        np.add.at(self.tally, (task, label), self._weight[rows])
        _chain(task, start, self._head, self._before)
        _move(touched, 1.0, *self._chains(), *self._state())
        return touched

    def visit(self, tasks: npt.NDArray[np.int64], smoothing: float) -> float:
        """Believe anew, one task after the other, under the workers as they are; return the largest change.

        Workers have `smoothing` pseudo-votes of the average one in each true class.
        """
        sums = self.belief, self.counts, self.average, self.classes
        return float(_visit(tasks, *self._chains(), *sums, smoothing))

    def _chains(self) -> tuple[Any, ...]:
        return self._head, self._before, self._worker, self._label, self._weight

    def _state(self) -> tuple[Any, ...]:
        return self.belief, self.tally, self.counts, self.average, self.classes


def _roomy(array: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """The array with room for `size` rows; when it moves it doubles, so that a row moves once or twice in all."""
    if size <= len(array):
        return array
    larger = np.zeros((max(size, 2 * len(array), 16), *array.shape[1:]), dtype=array.dtype)
    larger[: len(array)] = array
    return larger


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _chain(task: Any, start: Any, head: Any, before: Any) -> None:
    """Hang the votes at the head of their tasks' chains; 0 is the end of a chain, places count from 1."""
    for i in range(len(task)):
        before[start + i] = head[task[i]]
        head[task[i]] = start + i + 1


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _put(
    i: Any, sign: Any, head: Any, before: Any, worker: Any, label: Any, weight: Any, belief: Any, counts: Any
) -> None:
    """Add the belief of task i to the counts of its workers, or take it out."""
    at = head[i]
    while at:
        one = sign * np.float64(weight[at - 1])
        for c in range(belief.shape[1]):
            cell = counts[worker[at - 1], c, label[at - 1]] + one * belief[i, c]
            counts[worker[at - 1], c, label[at - 1]] = max(cell, 0.0)  # rounding must not make a count negative
        at = before[at - 1]


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _move(
    tasks: Any, sign: Any, head: Any, before: Any, worker: Any, label: Any, weight: Any,
    belief: Any, tally: Any, counts: Any, average: Any, classes: Any,
) -> None:  # fmt: skip
    """Put tasks into the sums (sign 1) or take them out (-1); a task never seen starts from the shares of its votes."""
    k = belief.shape[1]
    for i in tasks:
        total = tally[i].sum()
        if sign > 0 and belief[i].sum() == 0:
            belief[i] = (tally[i] + 1e-300) / (total + k * 1e-300)  # even where all votes weigh nothing
        _put(i, sign, head, before, worker, label, weight, belief, counts)
        classes += sign * belief[i]
        if total > 0:
            for c in range(k):
                average[c] += sign * tally[i, c] / total * tally[i]


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _visit(
    tasks: Any, head: Any, before: Any, worker: Any, label: Any, weight: Any,
    belief: Any, counts: Any, average: Any, classes: Any, smoothing: Any,
) -> float:  # fmt: skip
    k = belief.shape[1]
    new = np.empty(k)
    usual, change = average_table(average), 0.0
    for i in tasks:
        for c in range(k):
            new[c] = np.log(max(classes[c] / classes.sum(), FLOOR))
        at = head[i]
        while at:
            table = counts[worker[at - 1]]
            for c in range(k):
                total = smoothing
                for y in range(k):
                    total += table[c, y]
                y = label[at - 1]
                chance = (table[c, y] + smoothing * usual[c, y]) / total
                new[c] += np.float64(weight[at - 1]) * np.log(max(chance, FLOOR))
            at = before[at - 1]
        new = np.exp(new - new.max())
        new /= new.sum()
        change = max(change, np.abs(new - belief[i]).max())
        _put(i, -1.0, head, before, worker, label, weight, belief, counts)
        classes += new - belief[i]
        belief[i] = new
        _put(i, 1.0, head, before, worker, label, weight, belief, counts)
    return change


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def average_table(average: Any) -> Any:
    """P(said | truth) (k, k) of the average worker, each row summing to one."""
    usual = np.maximum(average, FLOOR)
    for c in range(len(usual)):
        usual[c] /= usual[c].sum()
    return usual

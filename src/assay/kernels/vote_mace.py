"""MACE's expectation step: belief in each class when a worker either knows the truth or answers from a habit.

A vote for class a by worker j has the chance habit[j, a] + know[j] where a is the truth and habit[j, a] elsewhere, with
habit = spam * strategy. So the score of a class is the sum of log(1 + know / habit) over the votes for it, and what all
votes add to every class alike needs no walk: it is the sum of counts * log(habit). Sums of logarithms do not underflow.

Legend of shapes: n tasks, w workers, k classes, v votes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from assay.kernels.blocks import in_parts
from assay.kernels.vote_table import UNKNOWN, VoteTable, task_parts

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]
LEAST = 1e-300  # chance of a habit that never gives a class


def mace_expect(
    votes: VoteTable, counts: Floats, know: Floats, habit: Floats, gold: Codes = UNKNOWN
) -> tuple[float, Floats, Floats]:
    """Log of the marginal likelihood, belief (n, k), and how many votes are expected to be right (w, k).

    Parameters
    ----------
    votes : the votes.
    counts : (w, k) votes of each worker for each class, with their weights.
    know : (w,) chance of knowing the truth.
    habit : (w, k) chance of not knowing it and giving this class.
    gold : (n,) the true class of a task, or a negative number where it is not known; empty when none is.
    """
    floor = np.maximum(habit, LEAST)
    gain = np.log1p(know[:, None] / floor)
    edges = task_parts(votes.ptr)
    belief = np.empty((votes.n_tasks, votes.n_classes))
    columns = votes.ptr, votes.worker, votes.label, votes.weights

    def walk(part: int) -> tuple[float, Floats]:
        right = np.zeros_like(gain)
        return _expect(*columns, gain, gold, edges[part], edges[part + 1], belief, right), right

    parts = in_parts(walk, len(edges) - 1)
    common = float(np.sum(counts * np.log(floor)))
    return math.fsum([common, *(part for part, _ in parts)]), belief, sum((right for _, right in parts), 0.0 * gain)


def vote_counts(votes: VoteTable) -> Floats:
    """Votes of each worker for each class (w, k), with their weights."""
    cells = votes.worker.astype(np.int64) * votes.n_classes + votes.label
    size = votes.n_workers * votes.n_classes
    return np.bincount(cells, votes.weight, size).reshape(votes.n_workers, votes.n_classes).astype(np.float64)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _expect(
    ptr: Any, worker: Any, label: Any, weight: Any, gain: Any, gold: Any, low: Any, high: Any, belief: Any, right: Any
) -> Any:
    """Fill `belief` (n, k) for tasks low..high, add to `right` (w, k), return the tasks' part of the log marginal."""
    k = belief.shape[1]
    total = -(high - low) * math.log(k)
    for i in range(low, high):
        chance = belief[i]
        for t in range(k):
            chance[t] = 0.0
        for e in range(ptr[i], ptr[i + 1]):
            w = np.float64(weight[e]) if len(weight) else 1.0
            chance[label[e]] += w * gain[worker[e], label[e]]
        known = np.int64(gold[i]) if len(gold) else -1
        if known >= 0:
            total += chance[known]
            for t in range(k):
                chance[t] = 1.0 if t == known else 0.0
        else:
            top = chance[0]
            for t in range(1, k):
                top = max(top, chance[t])
            scale = 0.0
            for t in range(k):
                chance[t] = math.exp(chance[t] - top)
                scale += chance[t]
            for t in range(k):
                chance[t] /= scale
            total += top + math.log(scale)
        for e in range(ptr[i], ptr[i + 1]):
            w = np.float64(weight[e]) if len(weight) else 1.0
            right[worker[e], label[e]] += w * chance[label[e]]
    return total

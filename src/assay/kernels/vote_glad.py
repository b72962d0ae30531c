"""GLAD's likelihood, its gradient and its curvature, in one walk over the votes of each task.

With x = ability[worker] * exp(ease[task]), a vote is right with chance s(x) = 1 / (1 + exp(-x)) and otherwise any other
class with equal chance, so log P(vote = class) - log P(vote = another class) = x + log(k - 1). The score of a class is
the sum of that over the votes for it, and all else that a task adds is the same for every class.

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


def glad_marginal(
    votes: VoteTable, ability: Floats, ease: Floats, gold: Codes = UNKNOWN
) -> tuple[float, Floats, Floats]:
    """Log of the marginal likelihood, its gradient to the abilities (w,) and to the eases (n,).

    Parameters
    ----------
    votes : the votes.
    ability : (w,) any real number; negative for a worker who is wrong more often than not.
    ease : (n,) log of the inverse difficulty.
    gold : (n,) the true class of a task, or a negative number where it is not known; empty when none is.
    """
    edges = task_parts(votes.ptr)
    to_ease = np.zeros(votes.n_tasks)

    def walk(part: int) -> tuple[float, Floats]:
        to_ability = np.zeros(votes.n_workers)
        columns = votes.ptr, votes.worker, votes.label, votes.weights
        low, high = edges[part], edges[part + 1]
        total = _gradient(*columns, votes.n_classes, ability, ease, gold, low, high, to_ability, to_ease)
        return total, to_ability

    parts = in_parts(walk, len(edges) - 1)
    return math.fsum(total for total, _ in parts), sum((part for _, part in parts), np.zeros(votes.n_workers)), to_ease


def glad_belief(votes: VoteTable, ability: Floats, ease: Floats, gold: Codes = UNKNOWN) -> Floats:
    """Chance of each class for each task (n, k), given abilities (w,) and eases (n,)."""
    belief = np.empty((votes.n_tasks, votes.n_classes))
    edges = task_parts(votes.ptr)
    columns = votes.ptr, votes.worker, votes.label, votes.weights
    in_parts(lambda p: _belief(*columns, ability, ease, gold, edges[p], edges[p + 1], belief), len(edges) - 1)
    return belief


def glad_curvature(votes: VoteTable, ability: Floats, ease: Floats, belief: Floats) -> tuple[Floats, Floats]:
    """Second derivatives of minus the log of the marginal, to each ability (w,) and each ease (n,) alone.

    Exact where a worker votes once on a task.
    """
    to_ability, to_ease = np.zeros(votes.n_workers), np.zeros(votes.n_tasks)
    _curvature(votes.ptr, votes.worker, votes.label, votes.weights, ability, ease, belief, to_ability, to_ease)
    return to_ability, to_ease


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _scores(
    start: Any, stop: Any, worker: Any, label: Any, weight: Any, ability: Any, scale: Any, odd: Any, gold: Any, out: Any
) -> Any:
    """Fill `out` (k,) with the chance of each class of one task; return the log of its marginal less what is common."""
    k = len(out)
    for t in range(k):
        out[t] = 0.0
    for e in range(start, stop):
        w = np.float64(weight[e]) if len(weight) else 1.0
        out[label[e]] += w * (ability[worker[e]] * scale + odd)
    if gold >= 0:
        known = out[gold]
        for t in range(k):
            out[t] = 1.0 if t == gold else 0.0
        return known
    top = out[0]
    for t in range(1, k):
        top = max(top, out[t])
    total = 0.0
    for t in range(k):
        out[t] = math.exp(out[t] - top)
        total += out[t]
    for t in range(k):
        out[t] /= total
    return top + math.log(total)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _gradient(
    ptr: Any,
    worker: Any,
    label: Any,
    weight: Any,
    k: Any,
    ability: Any,
    ease: Any,
    gold: Any,
    low: Any,
    high: Any,
    to_ability: Any,
    to_ease: Any,
) -> Any:
    """Add the gradient of tasks low..high to `to_ability` (w,), set it in `to_ease` (n,), return their log marginal."""
    odd = math.log(max(k - 1, 1))
    chance = np.empty(k)
    total = -(high - low) * math.log(k)
    for i in range(low, high):
        scale = math.exp(ease[i])
        truth = np.int64(gold[i]) if len(gold) else -1
        total += _scores(ptr[i], ptr[i + 1], worker, label, weight, ability, scale, odd, truth, chance)
        slope = 0.0
        for e in range(ptr[i], ptr[i + 1]):
            j = worker[e]
            w = np.float64(weight[e]) if len(weight) else 1.0
            x = ability[j] * scale
            tail = math.exp(-abs(x))
            right = (1.0 if x >= 0 else tail) / (1.0 + tail)
            total -= w * (max(x, 0.0) + math.log1p(tail) + odd)
            pull = w * (chance[label[e]] - right)
            to_ability[j] += pull * scale
            slope += pull * x
        to_ease[i] = slope
    return total


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _belief(
    ptr: Any, worker: Any, label: Any, weight: Any, ability: Any, ease: Any, gold: Any, low: Any, high: Any, out: Any
) -> None:
    odd = math.log(max(out.shape[1] - 1, 1))
    for i in range(low, high):
        truth = np.int64(gold[i]) if len(gold) else -1
        _scores(ptr[i], ptr[i + 1], worker, label, weight, ability, math.exp(ease[i]), odd, truth, out[i])


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _curvature(
    ptr: Any, worker: Any, label: Any, weight: Any, ability: Any, ease: Any, belief: Any, to_ability: Any, to_ease: Any
) -> None:
    """Add to `to_ability` (w,) and `to_ease` (n,): what the votes know, less what not knowing the truth takes away."""
    odd = np.empty(belief.shape[1])
    for i in range(len(ptr) - 1):
        scale = math.exp(ease[i])
        odd[:] = 0.0  # slope of each class's score to the ease
        for e in range(ptr[i], ptr[i + 1]):
            w = np.float64(weight[e]) if len(weight) else 1.0
            odd[label[e]] += w * ability[worker[e]] * scale
        mean, square = 0.0, 0.0
        for t in range(len(odd)):
            mean += belief[i, t] * odd[t]
            square += belief[i, t] * odd[t] ** 2
        to_ease[i] = mean**2 - square - mean
        for e in range(ptr[i], ptr[i + 1]):
            j = worker[e]
            w = np.float64(weight[e]) if len(weight) else 1.0
            x = ability[j] * scale
            tail = math.exp(-abs(x))
            right = (1.0 if x >= 0 else tail) / (1.0 + tail)
            spread = w * tail / (1.0 + tail) ** 2
            chance = belief[i, label[e]]
            to_ability[j] += scale**2 * (spread - w**2 * chance * (1.0 - chance))
            to_ease[i] += x * (w * right + x * spread)

"""Edit distances among the answers of each task, the answer nearest to all, and alignment to it.

Answers are sequences of token codes; those of a task lie side by side, and so do the a x a distances of a task with a
different answers.

Legend of shapes: n tasks, w workers, v votes, q different answers in all.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
INSERTED = -1  # place of a token that stands between tokens of the pivot


def edit_distances(tokens: npt.NDArray[np.int32], start: Longs, answers: Longs) -> tuple[Longs, Floats]:
    """Edit distance over the longer length, 0 to 1, for all pairs of answers of each task.

    Parameters
    ----------
    tokens : codes of all answers, one after another.
    start : (q + 1,) where each answer starts in `tokens`.
    answers : (n + 1,) where the answers of each task start.

    Returns
    -------
    offset : (n + 1,) where the matrix of each task starts.
    distance : the matrices, row by row.
    """
    offset = np.concatenate([[0], np.cumsum(np.diff(answers) ** 2)]).astype(np.int64)
    distance = np.zeros(offset[-1])
    longest = int(np.diff(start).max(initial=0))
    _distances(tokens, start, answers, offset, distance, np.empty(longest + 1, dtype=np.int64))
    return offset, distance


def choose_answers(
    ptr: Longs, worker: Longs, answer: Longs, offset: Longs, distance: Floats, weight: Floats, skill: Floats
) -> tuple[Longs, Floats, Floats]:
    """Weighted medoid of each task, and how far each vote is from the medoid of the others.

    Parameters
    ----------
    ptr : (n + 1,) where the votes of each task start.
    worker, answer, weight : (v,); `answer` counts within its task.
    offset, distance : as `edit_distances` gives them.
    skill : (w,) weight of each worker.

    Returns
    -------
    choice : (n,) answer within the task, -1 without votes; ties go to the lower number.
    mean_distance : (n,) weighted mean distance of the votes to the choice.
    apart : (v,) distance of a vote to what the other workers would choose, NaN where there are none.
    """
    n, v = len(ptr) - 1, len(worker)
    choice, mean_distance, apart = np.full(n, -1, dtype=np.int64), np.full(n, np.nan), np.full(v, np.nan)
    _choose(ptr, worker, answer, offset, distance, weight, skill, choice, mean_distance, apart)
    return choice, mean_distance, apart


def align(pivot: npt.NDArray[np.int32], other: npt.NDArray[np.int32]) -> tuple[Longs, Longs]:
    """Cheapest alignment of two sequences, as columns (c,) of `at` and `token`, from left to right.

    A column is a place of the pivot with the token of `other` there (-1 when it left the place out), or `INSERTED` with
    a token that `other` has in between.
    """
    at, token = _align(pivot, other)
    return at[::-1].copy(), token[::-1].copy()


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _edit(tokens: Any, a: Any, a_stop: Any, b: Any, b_stop: Any, row: Any) -> int:
    m = b_stop - b
    for j in range(m + 1):
        row[j] = j
    for i in range(a, a_stop):
        corner = row[0]
        row[0] += 1
        for j in range(m):
            change = corner + (tokens[i] != tokens[b + j])
            corner = row[j + 1]
            row[j + 1] = min(change, corner + 1, row[j] + 1)
    return int(row[m])


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _distances(tokens: Any, start: Any, answers: Any, offset: Any, distance: Any, row: Any) -> None:
    for i in range(len(answers) - 1):
        first, count = answers[i], answers[i + 1] - answers[i]
        for x in range(count):
            for y in range(x):
                a, b = first + x, first + y
                longer = max(start[a + 1] - start[a], start[b + 1] - start[b])
                d = _edit(tokens, start[a], start[a + 1], start[b], start[b + 1], row) / max(longer, 1)
                distance[offset[i] + x * count + y] = d
                distance[offset[i] + y * count + x] = d


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _choose(
    ptr: Any,
    worker: Any,
    answer: Any,
    offset: Any,
    distance: Any,
    weight: Any,
    skill: Any,
    choice: Any,
    mean_distance: Any,
    apart: Any,
) -> None:
    for i in range(len(ptr) - 1):
        count = int(math.sqrt(offset[i + 1] - offset[i]) + 0.5)
        said, cost, without = np.zeros(count), np.zeros(count), np.zeros(count)
        for e in range(ptr[i], ptr[i + 1]):
            said[answer[e]] += weight[e] * skill[worker[e]]
        for x in range(count):
            for y in range(count):
                cost[x] += said[y] * distance[offset[i] + x * count + y]
        best = -1
        for x in range(count):
            if said[x] > 0 and (best < 0 or cost[x] < cost[best] - 1e-12):
                best = x
        choice[i] = best
        if best >= 0:
            mean_distance[i] = cost[best] / said.sum()
        for e in range(ptr[i], ptr[i + 1]):
            for x in range(count):
                without[x] = said[x]
            for f in range(ptr[i], ptr[i + 1]):
                if worker[f] == worker[e]:
                    without[answer[f]] -= weight[f] * skill[worker[f]]
            least, nearest = math.inf, -1
            for x in range(count):
                if without[x] > 1e-12:
                    total = cost[x]
                    for y in range(count):
                        total -= (said[y] - without[y]) * distance[offset[i] + x * count + y]
                    if total < least - 1e-12:
                        least, nearest = total, x
            if nearest >= 0:
                apart[e] = distance[offset[i] + answer[e] * count + nearest]


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _align(pivot: Any, other: Any) -> Any:
    n, m = len(pivot), len(other)
    cost = np.empty((n + 1, m + 1), dtype=np.int64)
    for i in range(n + 1):
        cost[i, 0] = i
    for j in range(m + 1):
        cost[0, j] = j
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            change = cost[i - 1, j - 1] + (pivot[i - 1] != other[j - 1])
            cost[i, j] = min(change, cost[i - 1, j] + 1, cost[i, j - 1] + 1)
    at, token = np.empty(n + m, dtype=np.int64), np.empty(n + m, dtype=np.int64)
    i, j, c = n, m, 0
    while i > 0 or j > 0:
        same = i > 0 and j > 0 and pivot[i - 1] == other[j - 1]
        if not same and j > 0 and cost[i, j] == cost[i, j - 1] + 1:  # gaps first, so that they lie to the right for all
            j -= 1
            at[c], token[c] = -1, other[j]
        elif i > 0 and j > 0 and cost[i, j] == cost[i - 1, j - 1] + (not same):
            i, j = i - 1, j - 1
            at[c], token[c] = i, other[j]
        else:
            i -= 1
            at[c], token[c] = i, -1
        c += 1
    return at[:c], token[:c]

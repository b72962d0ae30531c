"""The inner loops of expectation-maximisation over votes; `vote_em` says what they are for.

Every sweep reads the votes of tasks low..high-1, a batch of tasks at a time: sum the logs of all, exponentiate all,
count all. The processor then works on many tasks at once, where one task after the other would wait for each logarithm.
Arguments without entries switch something off: `weight` (each vote counts one), `gold` (no class is known),
`log_prior` (vote shares are the beliefs), `cells` (count nothing), `belief` (keep no beliefs). `vote` and `nat` are the
units of the fixed-point sums.

Legend of shapes: n tasks, w workers, k classes, v votes, b tasks of a batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from assay.kernels.exponential import exp_below_zero

BATCH = 64


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _believe(p: Any, m: Any, gold: Any, first: Any, height: Any) -> None:
    """Turn log-probabilities (b, k) of m tasks into beliefs in place, certain where gold is known.

    `height` (b,) gains the log-likelihood of each task.
    """
    k = p.shape[1]
    for t in range(m):
        top = p[t, 0]
        for c in range(1, k):
            top = max(top, p[t, c])
        known = gold[first + t] if len(gold) else -1
        height[t] += p[t, known] if known >= 0 else top
        for c in range(k):
            p[t, c] -= top
    flat = p.reshape(-1)
    for e in range(m * k):
        flat[e] = exp_below_zero(flat[e])
    for t in range(m):
        known = gold[first + t] if len(gold) else -1
        if known >= 0:
            for c in range(k):
                p[t, c] = 1.0 if c == known else 0.0
            continue
        total = 0.0
        for c in range(k):
            total += p[t, c]
        height[t] += np.log(total)
        share = 1.0 / total
        for c in range(k):
            p[t, c] *= share


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _share(p: Any, m: Any, ptr: Any, label: Any, weight: Any, gold: Any, first: Any) -> None:
    """Vote shares (b, k) of m tasks, certain where gold is known; zero where the votes have no weight."""
    for t in range(m):
        known = gold[first + t] if len(gold) else -1
        total = 0.0
        for c in range(p.shape[1]):
            p[t, c] = 1.0 if c == known else 0.0
        if known >= 0:
            continue
        for v in range(ptr[first + t], ptr[first + t + 1]):
            unit = np.float64(weight[v]) if len(weight) else 1.0
            p[t, label[v]] += unit
            total += unit
        if total > 0:
            for c in range(p.shape[1]):
                p[t, c] /= total


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _count_classes(p: Any, m: Any, ptr: Any, gold: Any, first: Any, vote: Any, classes: Any) -> None:
    """Add the beliefs of the tasks with votes or gold to the number of tasks of each class (k,)."""
    for t in range(m):
        if ptr[first + t] < ptr[first + t + 1] or (len(gold) and gold[first + t] >= 0):
            for c in range(p.shape[1]):
                classes[c] += np.int64(p[t, c] * vote + 0.5)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def table_sweep(
    ptr: Any, worker: Any, label: Any, weight: Any, gold: Any, log_prior: Any, logs: Any, low: Any, high: Any,
    vote: Any, nat: Any, cells: Any, classes: Any, belief: Any,
) -> Any:  # fmt: skip
    """Beliefs of tasks low..high-1 under tables, and what they add to the counts; returns units of likelihood."""
    k = len(classes)
    p, height, units = np.empty((BATCH, k)), np.zeros(BATCH), np.empty(k, np.int64)
    likelihood = np.int64(0)
    for first in range(low, high, BATCH):
        m = min(BATCH, high - first)
        if len(log_prior) == 0:
            _share(p, m, ptr, label, weight, gold, first)
        else:
            for t in range(m):
                height[t] = 0.0
                for c in range(k):
                    p[t, c] = log_prior[c]
                for v in range(ptr[first + t], ptr[first + t + 1]):
                    j, y = worker[v], label[v]
                    if len(weight):
                        for c in range(k):
                            p[t, c] += np.float64(weight[v]) * logs[j, y, c]
                    else:
                        for c in range(k):
                            p[t, c] += logs[j, y, c]
            _believe(p, m, gold, first, height)
            for t in range(m):
                likelihood += np.int64(np.rint(height[t] * nat))
        if len(belief):
            belief[first : first + m] = p[:m]
        if len(cells) == 0:
            continue
        _count_classes(p, m, ptr, gold, first, vote, classes)
        for t in range(m):
            for c in range(k):
                units[c] = np.int64(p[t, c] * vote + 0.5)
            for v in range(ptr[first + t], ptr[first + t + 1]):
                j, y = worker[v], label[v]
                if len(weight):
                    for c in range(k):
                        cells[j, y, c] += np.int64(np.float64(weight[v]) * p[t, c] * vote + 0.5)
                else:
                    for c in range(k):
                        cells[j, y, c] += units[c]
    return likelihood


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def skill_sweep(
    ptr: Any, worker: Any, label: Any, weight: Any, gold: Any, log_prior: Any, logs: Any, low: Any, high: Any,
    vote: Any, nat: Any, cells: Any, classes: Any, belief: Any,
) -> Any:  # fmt: skip
    """As `table_sweep`, under skills: a vote costs O(1) whatever the number of classes."""
    k = len(classes)
    others = np.log(max(k - 1, 1))
    p, height = np.empty((BATCH, k)), np.zeros(BATCH)
    likelihood = np.int64(0)
    for first in range(low, high, BATCH):
        m = min(BATCH, high - first)
        if len(log_prior) == 0:
            _share(p, m, ptr, label, weight, gold, first)
        else:
            for t in range(m):
                height[t] = 0.0
                for c in range(k):
                    p[t, c] = log_prior[c]
                for v in range(ptr[first + t], ptr[first + t + 1]):
                    unit = np.float64(weight[v]) if len(weight) else 1.0
                    wrong = logs[worker[v], 1] - others
                    height[t] += unit * wrong
                    p[t, label[v]] += unit * (logs[worker[v], 0] - wrong)
            _believe(p, m, gold, first, height)
            for t in range(m):
                likelihood += np.int64(np.rint(height[t] * nat))
        if len(belief):
            belief[first : first + m] = p[:m]
        if len(cells) == 0:
            continue
        _count_classes(p, m, ptr, gold, first, vote, classes)
        for t in range(m):
            for v in range(ptr[first + t], ptr[first + t + 1]):
                unit = (np.float64(weight[v]) if len(weight) else 1.0) * vote
                right = np.int64(unit * p[t, label[v]] + 0.5)
                cells[worker[v], 0] += right
                cells[worker[v], 1] += np.int64(unit + 0.5) - right
    return likelihood

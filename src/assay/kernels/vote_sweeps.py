"""The inner loops of expectation-maximisation over votes; `vote_em` says what they are for.

Every sweep reads the votes of tasks low..high-1 once. Arguments without entries switch something off: `weight` (each
vote counts one), `gold` (no class is known), `log_prior` (vote shares are the beliefs), `cells` (count nothing),
`belief` (keep no beliefs). `vote` and `nat` are the units of the fixed-point sums.

Legend of shapes: n tasks, w workers, k classes, v votes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _shares(label: Any, weight: Any, a: Any, b: Any, p: Any) -> Any:
    """Vote shares of the votes a..b-1 into p (k,); returns their weight, and leaves p at zero when that is zero."""
    p[:] = 0.0
    total = 0.0
    for v in range(a, b):
        unit = np.float64(weight[v]) if len(weight) else 1.0
        p[label[v]] += unit
        total += unit
    if total > 0:
        for c in range(len(p)):
            p[c] /= total
    return total


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _believe(p: Any, gold: Any) -> Any:
    """Turn log-probabilities (k,) into a belief in place, certain where gold is known; returns the log-likelihood."""
    if gold >= 0:
        likelihood = p[gold]
        p[:] = 0.0
        p[gold] = 1.0
        return likelihood
    top = p[0]
    for c in range(1, len(p)):
        top = max(top, p[c])
    total = 0.0
    for c in range(len(p)):
        p[c] = np.exp(p[c] - top)
        total += p[c]
    for c in range(len(p)):
        p[c] /= total
    return top + np.log(total)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def table_sweep(
    ptr: Any, worker: Any, label: Any, weight: Any, gold: Any, log_prior: Any, logs: Any, low: Any, high: Any,
    vote: Any, nat: Any, cells: Any, classes: Any, belief: Any,
) -> Any:  # fmt: skip
    """Beliefs of tasks low..high-1 under tables, and what they add to the counts; returns units of likelihood."""
    k = len(classes)
    p = np.empty(k)
    units = np.empty(k, np.int64)
    likelihood = np.int64(0)
    for i in range(low, high):
        a, b = ptr[i], ptr[i + 1]
        known = np.int64(gold[i]) if len(gold) else -1
        if len(log_prior) == 0:
            if _shares(label, weight, a, b, p) == 0 and known < 0:
                continue
            if known >= 0:
                p[:] = 0.0
                p[known] = 1.0
        else:
            p[:] = log_prior
            for v in range(a, b):
                j, y = worker[v], label[v]
                if len(weight):
                    for c in range(k):
                        p[c] += np.float64(weight[v]) * logs[j, y, c]
                else:
                    for c in range(k):
                        p[c] += logs[j, y, c]
            likelihood += np.int64(np.rint(_believe(p, known) * nat))
        if len(belief):
            belief[i] = p
        if len(cells) == 0 or (a == b and known < 0):
            continue
        for c in range(k):
            units[c] = np.int64(p[c] * vote + 0.5)
            classes[c] += units[c]
        for v in range(a, b):
            j, y = worker[v], label[v]
            if len(weight):
                for c in range(k):
                    cells[j, y, c] += np.int64(np.float64(weight[v]) * p[c] * vote + 0.5)
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
    p = np.empty(k)
    likelihood = np.int64(0)
    for i in range(low, high):
        a, b = ptr[i], ptr[i + 1]
        known = np.int64(gold[i]) if len(gold) else -1
        if len(log_prior) == 0:
            if _shares(label, weight, a, b, p) == 0 and known < 0:
                continue
            if known >= 0:
                p[:] = 0.0
                p[known] = 1.0
        else:
            p[:] = log_prior
            every = 0.0
            for v in range(a, b):
                unit = np.float64(weight[v]) if len(weight) else 1.0
                every += unit * (logs[worker[v], 1] - others)
                p[label[v]] += unit * (logs[worker[v], 0] - logs[worker[v], 1] + others)
            likelihood += np.int64(np.rint((_believe(p, known) + every) * nat))
        if len(belief):
            belief[i] = p
        if len(cells) == 0 or (a == b and known < 0):
            continue
        for c in range(k):
            classes[c] += np.int64(p[c] * vote + 0.5)
        for v in range(a, b):
            unit = (np.float64(weight[v]) if len(weight) else 1.0) * vote
            right = np.int64(unit * p[label[v]] + 0.5)
            cells[worker[v], 0] += right
            cells[worker[v], 1] += np.int64(unit + 0.5) - right
    return likelihood

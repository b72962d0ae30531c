"""How far doubt about the workers' confusion matrices moves a belief.

Tables are [worker, given, true], as in `vote_em`, so that the row a vote needs lies together.
Legend of shapes: n tasks, w workers, k classes, v votes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from assay.kernels.blocks import in_parts
from assay.kernels.vote_table import VoteTable, task_parts

Floats = npt.NDArray[np.float64]


def belief_spread(votes: VoteTable, belief: Floats, prior_variance: Floats, variance: Floats) -> Floats:
    """Standard deviation (n, k) of each belief when the logs of prior and matrices vary with these variances.

    To first order: d belief[t] = belief[t] * sum over u of (1[t = u] - belief[u]) d score[u], where the scores of two
    classes vary apart, because they come from different columns of a matrix.

    Parameters
    ----------
    votes : the votes; those of one worker on one task are taken to vary apart too.
    belief : (n, k).
    prior_variance : (k,) variance of the log of the share of each class.
    variance : (w, k, k) variance of the log of each chance, at [worker, given, true].
    """
    spread = np.empty_like(belief)
    edges = task_parts(votes.ptr)
    columns = votes.ptr, votes.worker, votes.label, votes.weights
    in_parts(
        lambda p: _spread(*columns, belief, prior_variance, variance, edges[p], edges[p + 1], spread), len(edges) - 1
    )
    return spread


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _spread(
    ptr: Any,
    worker: Any,
    label: Any,
    weight: Any,
    belief: Any,
    prior_variance: Any,
    variance: Any,
    low: Any,
    high: Any,
    spread: Any,
) -> None:
    k = belief.shape[1]
    score = np.empty(k)
    for i in range(low, high):
        for t in range(k):
            score[t] = prior_variance[t]
        for e in range(ptr[i], ptr[i + 1]):
            w = np.float64(weight[e]) if len(weight) else 1.0
            row = variance[worker[e], label[e]]
            for t in range(k):
                score[t] += w**2 * row[t]
        common = 0.0
        for t in range(k):
            common += belief[i, t] ** 2 * score[t]
        for t in range(k):
            p = belief[i, t]
            spread[i, t] = p * math.sqrt(max(common + (1.0 - 2.0 * p) * score[t], 0.0))

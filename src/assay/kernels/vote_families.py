"""Dawid-Skene on a tree: the truth is heard through families, and each family's voice through its members.

    P(votes on a task | truth) = product over families g of
        sum_voice link[g][truth, voice] * product over members j of chance[j][voice, vote]

A source on its own has no voice between: chance[j][truth, vote]. Exact copies then count as one, whatever their number.

Legend of shapes: n tasks, w sources, g families, k classes, v votes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from assay.kernels.blocks import in_parts
from assay.kernels.vote_table import UNKNOWN, VoteTable, task_parts

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tree:
    """Parameters: `family` (w,) of sources, `alone` (g,) bool, `link` (g, k, k), `chance` (w, k, k), `prior` (k,)."""

    family: npt.NDArray[np.int64]
    alone: npt.NDArray[np.bool_]
    link: Floats
    chance: Floats
    prior: Floats

    def confusion(self) -> Floats:
        """Chance of each vote of each source given the truth (w, k, k)."""
        heard = np.einsum("wtv,wvy->wty", self.link[self.family], self.chance)
        return np.where(self.alone[self.family][:, None, None], self.chance, heard)


def by_family(votes: VoteTable, family: npt.NDArray[np.int64]) -> VoteTable:
    """The same votes, those of one family side by side within each task."""
    order = np.lexsort((family[votes.worker], votes.task()))
    weight = None if votes.weight is None else votes.weight[order]
    return replace(votes, worker=votes.worker[order], label=votes.label[order], weight=weight)


def tree_expect(
    votes: VoteTable, tree: Tree, common: float = 0.0, gold: Any = UNKNOWN
) -> tuple[Floats, Floats, Floats, float]:
    """Belief and expected counts.

    Parameters
    ----------
    votes : as `by_family` orders them.
    common : overlap of any two families; m families on a task count as m / (1 + (m - 1) common).
    gold : (n,) int32 true classes, negative where unknown; empty when none is given.

    Returns
    -------
    belief : (n, k).
    link, chance : (g, k, k) and (w, k, k) expected counts.
    total : log of the marginal likelihood, where `common` is 0.
    """
    edges = task_parts(votes.ptr)
    k, room = votes.n_classes, int(votes.per_task().max(initial=0))
    belief = np.empty((votes.n_tasks, k))
    logs = (np.log(tree.link), np.log(tree.chance), np.log(tree.prior))
    columns = votes.ptr, votes.worker, votes.label, votes.weights, tree.family, tree.alone, *logs, common, gold

    def walk(part: int) -> tuple[float, Floats, Floats]:
        link, chance = np.zeros_like(tree.link), np.zeros_like(tree.chance)
        up, down = np.empty((room, k)), np.empty((room, k))
        total = _expect(*columns, edges[part], edges[part + 1], belief, link, chance, up, down)
        return total, link, chance

    parts = in_parts(walk, len(edges) - 1)
    link: Floats = np.sum([part[1] for part in parts], axis=0)
    chance: Floats = np.sum([part[2] for part in parts], axis=0)
    return belief, link, chance, math.fsum(part[0] for part in parts)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _expect(
    ptr: Any,
    worker: Any,
    label: Any,
    weight: Any,
    family: Any,
    alone: Any,
    log_link: Any,
    log_chance: Any,
    log_prior: Any,
    common: Any,
    gold: Any,
    low: Any,
    high: Any,
    belief: Any,
    link: Any,
    chance: Any,
    up: Any,
    down: Any,
) -> float:
    """`up` and `down` (votes of a task, k): log of the voice given members' votes, log of the votes given the truth."""
    k = len(log_prior)
    total = 0.0
    for i in range(low, high):
        runs, e = 0, ptr[i]
        for t in range(k):
            belief[i, t] = 0.0
        while e < ptr[i + 1]:
            g = family[worker[e]]
            for t in range(k):
                up[runs, t] = 0.0
            while e < ptr[i + 1] and family[worker[e]] == g:
                w = np.float64(weight[e]) if len(weight) else 1.0
                for t in range(k):
                    up[runs, t] += w * log_chance[worker[e], t, label[e]]
                e += 1
            for t in range(k):
                down[runs, t] = up[runs, t] if alone[g] else _log_sum(log_link[g, t], up[runs])
                belief[i, t] += down[runs, t]
            runs += 1
        share = 1.0 / (1.0 + max(runs - 1, 0) * common)
        for t in range(k):
            belief[i, t] = log_prior[t] + share * belief[i, t]
        if len(gold) and gold[i] >= 0:
            total += belief[i, gold[i]]
            for t in range(k):
                belief[i, t] = 1.0 if t == gold[i] else 0.0
        else:
            norm = _log_sum(belief[i], np.zeros(k))
            total += norm
            for t in range(k):
                belief[i, t] = math.exp(belief[i, t] - norm)
        run, e = 0, ptr[i]
        while e < ptr[i + 1]:
            g = family[worker[e]]
            for voice in range(k):
                heard = belief[i, voice]
                if not alone[g]:
                    heard = 0.0
                    for t in range(k):
                        both = belief[i, t] * math.exp(log_link[g, t, voice] + up[run, voice] - down[run, t])
                        link[g, t, voice] += both
                        heard += both
                f = e
                while f < ptr[i + 1] and family[worker[f]] == g:
                    chance[worker[f], voice, label[f]] += heard * (np.float64(weight[f]) if len(weight) else 1.0)
                    f += 1
            while e < ptr[i + 1] and family[worker[e]] == g:
                e += 1
            run += 1
    return total


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _log_sum(a: Any, b: Any) -> float:
    """Log of the sum of exp(a + b)."""
    top = a[0] + b[0]
    for t in range(1, len(a)):
        top = max(top, a[t] + b[t])
    total = 0.0
    for t in range(len(a)):
        total += math.exp(a[t] + b[t] - top)
    return float(top + math.log(total))

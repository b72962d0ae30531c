"""Belief propagation over bags with known counts and edges between alike rows: the chance of each class of each row.

    P(y) ~ prod_B prod_c phi_Bc(number of class c in B) * prod_ij psi_ij(y_i, y_j) * prod_i exp(prior_i(y_i))

All edges speak, then all bags, in sweeps until no message changes; for two classes in log-odds, with one factor a bag.

Legend of shapes: n rows, k classes, b bags, m memberships, e directed edges, f = 1 count a bag for two classes, else k.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax

from assay.kernels.bag_class_messages import bag_class_messages
from assay.kernels.bag_messages import bag_messages
from assay.kernels.edge_messages import copy_chances, edge_messages
from assay.kernels.neighbour_graph import Graph

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SHARP = 1e4  # lambda_b of counts that hold exactly: e^-10000 is zero
RAREST = 1e-9  # base rate of a class that no bag has
IMPOSSIBLE = 1e-300  # share that stands for none where a survey found some: its logarithm is finite


@dataclass(frozen=True, slots=True, eq=False)
class Marginals:
    """What is believed of each row.

    Parameters
    ----------
    p : (n, k) chance of each class of each row.
    residuals : (b,) how far the sum of `p` over a bag is from its counts, in rows, for the class that is farthest off.
    converged : whether the last sweep changed no message by more than the tolerance.
    n_sweeps, change : how many sweeps there were, and the largest change of the last one, in log-odds.
    """

    p: Floats
    residuals: Floats
    converged: bool
    n_sweeps: int
    change: float

    def told(self) -> dict[str, float]:
        """What a table of runs says of this one; the residual is the mean over bags."""
        residual = float(self.residuals.mean())
        return {"converged": self.converged, "n_sweeps": self.n_sweeps, "bag_residual": residual}


def count_factors(sizes: Ints, shares: Floats, strength: float = 10.0, survey: float | None = None) -> Floats:
    """The logarithms of phi(c), c = 0..size of each bag, one bag after the other (f, m + b).

    Parameters
    ----------
    sizes : (b,) rows of each bag.
    shares : (b, k) of each class; of two classes the second is counted.
    strength : lambda_b in phi(c) = exp(-lambda_b (c - share * size)^2); infinite: the nearest whole count, exactly.
    survey : the shares were estimated from so many random draws of the bag: phi is the binomial likelihood of c.

    >>> count_factors(np.array([2]), np.array([[0.5, 0.5]])).tolist()
    [[-10.0, -0.0, -10.0]]
    """
    own = np.repeat(np.arange(len(sizes)), sizes + 1)
    count = np.arange(len(own)) - (np.cumsum(sizes + 1) - sizes - 1)[own]
    lines = []
    for share in shares.T[1:] if shares.shape[1] == 2 else shares.T:
        if survey is None:
            wanted = share * sizes if np.isfinite(strength) else np.rint(share * sizes)
            lines.append(-min(strength, SHARP) * (count - wanted[own]) ** 2)
        else:
            part = np.clip(count / sizes[own], IMPOSSIBLE, 1.0)
            rest = np.clip(1 - count / sizes[own], IMPOSSIBLE, 1.0)
            lines.append(survey * (share[own] * np.log(part) + (1 - share[own]) * np.log(rest)))
    return np.stack(lines)


def propagate(
    ptr: Ints,
    members: Ints,
    shares: Floats,
    factors: Floats,
    n_rows: int,
    graph: Graph | None = None,
    couplings: Floats | None = None,
    rate: Floats | None = None,
    prior: Floats | None = None,
    damping: float = 0.5,
    max_sweeps: int = 200,
    tol: float = 1e-3,
) -> Marginals:
    """Send messages until they settle; exact where k = 2 and bags and edges form no loop.

    A sweep costs O(e) for the edges and O(size^1.5) for a bag, times k; memory is O(n + m + e), times k.

    Parameters
    ----------
    ptr, members : bag i has the rows members[ptr[i]:ptr[i + 1]]; a row may be in several bags, or in none.
    shares : (b, k), from which the residuals are measured.
    factors : see `count_factors`.
    n_rows : n.
    graph, couplings : edges, and J of each (e,), see `copy_chances`.
    rate : (k,) base rates of the classes, which edges between rows that know nothing keep; None: equal ones.
    prior : (n, k) logarithms of each row's chances beside bags and edges; None: the base rates.
    damping : share of each message that stays in a sweep.
    max_sweeps, tol : stop after so many, or when no message would change by more than `tol` in log-odds.
    """
    k, two = shares.shape[1], shares.shape[1] == 2
    rate = np.full(k, 1 / k) if rate is None else np.maximum(rate, RAREST) / np.maximum(rate, RAREST).sum()
    base = np.tile(np.log(rate), (n_rows, 1)) if prior is None else prior
    base = base[:, 1] - base[:, 0] if two else base
    told = np.zeros((len(members), *base.shape[1:]))
    tilt = np.zeros((1, len(shares)) if two else shares.shape)
    scores, heard = base, np.zeros_like(base)
    copies = None if couplings is None else copy_chances(couplings, k)
    said = np.zeros((0 if graph is None else len(graph.other), *base.shape[1:]))
    n_sweeps, change = 0, math.inf
    while change >= tol and n_sweeps < max_sweeps:
        n_sweeps, change = n_sweeps + 1, 0.0
        if graph is not None and copies is not None:
            at = graph.ptr, graph.other, graph.twin, copies, rate
            change, said, heard = edge_messages(*at, scores, said, damping)
            scores = base + heard + _per_row(members, told, n_rows)
        if two:
            fresh = bag_messages(ptr, scores[members] - told, factors[0], tilt[0])
        else:
            fresh = bag_class_messages(ptr, scores[members] - told, factors, tilt)
        change = max(change, float(np.abs(fresh - told).max()))
        told = damping * told + (1 - damping) * fresh
        scores = base + heard + _per_row(members, told, n_rows)
    p = np.stack([expit(-scores), expit(scores)], axis=1) if two else softmax(scores, axis=1)
    return Marginals(p, count_residuals(ptr, members, shares, p), change < tol, n_sweeps, change)


def count_residuals(ptr: Ints, members: Ints, shares: Floats, p: Floats) -> Floats:
    """How far sums of chances (n, k) over bags are from their counts, for the class that is farthest off (b,)."""
    off = np.add.reduceat(p[members], ptr[:-1], axis=0) - shares * np.diff(ptr)[:, None]
    return np.asarray(np.abs(off).max(axis=1))


def _per_row(members: Ints, told: Floats, n: int) -> Floats:
    if told.ndim == 1:
        return np.asarray(np.bincount(members, told, n), dtype=np.float64)
    return np.stack([np.bincount(members, column, n) for column in told.T], axis=1)

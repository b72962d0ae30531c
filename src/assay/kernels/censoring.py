"""The law of censoring around a row, from times that are known only up to a bound: arrays in, arrays out.

    G(t-|x) = P(C >= t | x) = product over censored j with T_j < t of (1 - w_j / R_j),     R_j = mass still at risk

with w_j a kernel weight around the query (Beran, 1981), over rows in the order of `assay.kernels.timeline`: ties as
there, (1 - a/R)(1 - b/(R - a)) = 1 - (a + b)/R. Legend of shapes: n rows, m queries, d features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from assay.errors import InputError
from assay.kernels.blocks import in_threads
from assay.kernels.exponential import exp_below_zero
from assay.kernels.timeline import Bools, Floats, Ints, Timeline

LANES = 64  # queries that one pass over the rows serves
FAR = 1e-290  # kernel mass where every row is out of reach: the exponential stops at e^-700


def beran(
    line: Timeline,
    points: npt.NDArray[np.floating[Any]],
    queries: npt.NDArray[np.floating[Any]],
    until: Ints,
    skip: Ints | None = None,
    then: Ints | None = None,
    rates: tuple[Floats, Floats] | None = None,
) -> tuple[Floats, Floats, Bools]:
    """Beran's conditional law of censoring around each query, with a Gaussian kernel of bandwidth one.

    Exact in O(m n d) time and O(n d) memory: one backward pass over the rows for every 64 queries, no matrix.

    Parameters
    ----------
    line : the rows in time.
    points : (n, d) features of the rows in the order of `line`, divided by the bandwidth.
    queries : (m, d) likewise.
    until : (m,) places of `line.places`: censorings before them count.
    skip : (m,) place of the query itself, which is left out; None: the queries are other rows.
    then : (m,) places at or after `until`, for the chance of not being censored from `until` to there.
    rates : relative rates of censoring of rows (n,) and of queries (m,), above 0, from a first guess: a row counts as
        much of the mass at risk as it is likelier to be censored, and the query's own rate scales every step. Where the
        guess is right a wide kernel has no bias, where it is not the kernel mends it. None: all 1.

    Returns
    -------
    G at `until` (m,), G at `then` divided by it (m,), and which queries have no row near enough for any kernel mass
    (m,), for which both are the marginal law's.
    """
    m = len(queries)
    until = np.ascontiguousarray(until, dtype=np.int64)
    skip = np.full(m, -1, dtype=np.int64) if skip is None else np.ascontiguousarray(skip, dtype=np.int64)
    last = until if then is None else np.ascontiguousarray(then, dtype=np.int64)
    before, within, mass = np.ones(m), np.ones(m), np.empty(m)
    rate, own = (np.ones(len(points)), np.ones(m)) if rates is None else rates
    rows, asked = (np.ascontiguousarray(each, dtype=np.float64) for each in (points, queries))

    def run(start: int, stop: int) -> None:
        _beran(rows, line.censored, rate, asked, own, until, last, skip, start, stop, before, within, mass)

    if m * len(rows) > 1 << 20:
        in_threads(run, m)
    else:
        run(0, m)
    alone = mass < FAR
    if alone.any():
        before[alone] = line.left[until[alone]]
        within[alone] = line.left[last[alone]] / np.maximum(before[alone], np.finfo(float).tiny)
    return before, within, alone


def bandwidth_scores(
    line: Timeline,
    points: npt.NDArray[np.floating[Any]],
    grid: npt.ArrayLike,
    rates: Floats | None = None,
    bins: int = 10,
    most: int = 1000,
) -> Floats:
    """Leave-one-out log-likelihood of the censoring process, a row, for every bandwidth of a grid.

    A continuous time has no mass under any step function, so censorings count by the interval that they fall in
    [design]: rows censored in it score log(G at its start - G at its end), rows with an event log G(T-).

    Parameters
    ----------
    line : the rows in time.
    points : (n, d) features in the order of `line`, standardised.
    grid : (g,) bandwidths.
    rates : (n,) as for `beran`, in the order of `line`.
    bins : intervals, with equal counts of censorings.
    most : rows that score, evenly picked from the order of time; all rows serve as neighbours.

    Returns
    -------
    (g,) mean log-likelihoods; no probability counts as less than 1/n.
    """
    n = len(line.order)
    if not line.censored.any():
        raise InputError("No row is censored, so there is no censoring law whose bandwidth could be chosen.")
    at = np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))
    cuts = np.unique(np.quantile(line.time[line.censored], np.linspace(0, 1, bins + 1)[1:-1]))
    edges = np.r_[0, line.places(cuts, after=True), n]
    hidden, time = line.censored[at], line.time[at]
    interval = np.searchsorted(cuts, time)  # (cut, next cut]
    start = np.where(hidden, edges[interval], line.places(time))
    end = np.where(hidden, edges[interval + 1], start)
    scores, given = [], None if rates is None else (rates, rates[at])
    for h in np.asarray(grid, dtype=np.float64):
        scaled = points / h
        before, within, _ = beran(line, scaled, scaled[at], start, at, end, given)
        chance = np.where(hidden, before * (1 - within), before)
        scores.append(np.log(np.maximum(chance, 1 / n)).mean())
    return np.array(scores)


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})  # type: ignore[untyped-decorator]
def _beran(
    points: Any,
    censored: Any,
    rate: Any,
    queries: Any,
    own: Any,
    until: Any,
    last: Any,
    skip: Any,
    start: Any,
    stop: Any,
    before: Any,
    within: Any,
    mass: Any,
) -> None:
    """Fill `before`, `within` and `mass` of queries start..stop-1; the loops over lanes are vectorised."""
    n, d = points.shape
    x = np.zeros((d, LANES))
    u, v, me = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    mine = np.zeros(LANES)
    risk, b, w, far, near = np.zeros(LANES), np.zeros(LANES), np.zeros(LANES), np.zeros(LANES), np.zeros(LANES)
    for base in range(start, stop, LANES):
        width = min(LANES, stop - base)
        for q in range(LANES):
            row = base + min(q, width - 1)
            for k in range(d):
                x[k, q] = queries[row, k]
            u[q], v[q], me[q], mine[q] = until[row], last[row], skip[row], own[row]
            risk[q], b[q], w[q] = 0.0, 1.0, 1.0
        for j in range(n - 1, -1, -1):
            for q in range(LANES):
                far[q] = 0.0
            for k in range(d):
                p = points[j, k]
                for q in range(LANES):
                    gap = p - x[k, q]
                    far[q] += gap * gap
            for q in range(LANES):
                near[q] = exp_below_zero(-0.5 * far[q])
            for q in range(LANES):
                near[q] = 0.0 if me[q] == j else near[q]
            r = rate[j]
            if censored[j]:
                for q in range(LANES):
                    more = risk[q] + near[q] * r
                    left = max(risk[q] + near[q] * (r - mine[q]), 0.0) / more if more > 0.0 else 1.0
                    b[q] *= left if j < u[q] else 1.0
                    w[q] *= left if j >= u[q] and j < v[q] else 1.0
                    risk[q] = more
            else:
                for q in range(LANES):
                    risk[q] += near[q] * r
        for q in range(width):
            before[base + q], within[base + q], mass[base + q] = b[q], w[q], risk[q]

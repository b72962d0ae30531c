"""The law of censoring, from times that are known only up to a bound: arrays in, arrays out.

A row has a time T = min(Y, C) and a flag, true where the label Y came first. For weights one needs the law of C:

    G(t-) = P(C >= t) = product over censored j with T_j < t of (1 - w_j / R_j),     R_j = mass still at risk

with w_j = 1 (Kaplan, Meier, 1958) or a kernel weight around a query (Beran, 1981). Rows are sorted by time, events
before censorings at equal times; the censorings of one instant then multiply to the one factor that the tie rule asks
for, (1 - a/R)(1 - b/(R - a)) = 1 - (a + b)/R, and an event's own censorings, at the same instant, come after it.

Non-negative floats sort as their bits do. Time, flag and row share one integer of 64 bits, the lowest bits of the time
left out where there is no room for all: values are sorted several times as fast as places are, and the few neighbours
that are alike in what is left are put right after it.

Legend of shapes: n rows, m queries, d features.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from assay.errors import InputError
from assay.kernels.blocks import in_threads
from assay.kernels.exponential import exp_below_zero

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

LANES = 64  # queries that one pass over the rows serves
ALIKE = 64  # rows alike in the kept bits of their times, and not alike, that are sorted by insertion
FAR = 1e-290  # kernel mass where every row is out of reach: the exponential stops at e^-700


class Timeline:
    """Rows in the order of time, events before censorings at equal times, and the marginal law of censoring.

    One sort, in O(n log n); what else is asked of it is made then.

    Parameters
    ----------
    time : (n,) finite, not negative; read again later, so not to be changed.
    event : (n,) bool, whether the label is known.

    Attributes
    ----------
    order : (n,) row at each place of the order.
    time, censored : (n,) in that order.
    left : (n + 1,) Kaplan-Meier estimate of P(C > all censored rows before a place); `left[0] = 1`.

    Examples
    --------
    >>> line = Timeline([3.0, 2.0, 2.0, 1.0], [True, True, False, True])
    >>> line.order.tolist(), line.left.round(2).tolist()
    ([3, 1, 2, 0], [1.0, 1.0, 1.0, 0.5, 0.5])
    """

    def __init__(self, time: npt.ArrayLike, event: npt.ArrayLike) -> None:
        times = np.ascontiguousarray(time, dtype=np.float64)
        events = np.asarray(event, dtype=np.bool_)
        if times.ndim != 1 or times.shape != events.shape or not len(times):
            raise InputError(f"Times {times.shape} and events {events.shape} must be two columns of at least one row.")
        low, high = times.min(), times.max()
        if not (low >= 0 and high < np.inf):  # nan fails too
            row = int(np.argmax(~(np.isfinite(times) & (times >= 0))))
            raise InputError(f"Times must be finite and not negative, got {times[row]:g}: mend the row.", row=row)
        self._times, self._events = times, events
        self._bits = max(1, (len(times) - 1).bit_length())
        least, most = (int((bound + 0.0).view(np.uint64)) for bound in (low, high))
        shift = max(0, (most - least).bit_length() + 1 + self._bits - 64)
        bits = times.view(np.uint64)
        self._keys, exact = _packed(bits, events, np.uint64(least), np.uint64(shift), np.uint64(self._bits))
        self._keys.sort()
        if not exact and not _mended(self._keys, bits, np.uint64(self._bits)):
            # Too many are alike in the bits that are left, such as dates to the second over thousands of years.
            whole = (times + 0.0).view(np.uint64) * np.uint64(2) + ~events
            order = np.argsort(whole)
            self._keys = (~events[order]).astype(np.uint64) << np.uint64(self._bits) | order.astype(np.uint64)

    @cached_property
    def order(self) -> Ints:
        """Row at each place (n,)."""
        rows: Ints = (self._keys & np.uint64((1 << self._bits) - 1)).view(np.int64)
        return rows

    @cached_property
    def time(self) -> Floats:
        """Times in order (n,)."""
        return self._times[self.order]

    @cached_property
    def censored(self) -> Bools:
        """Censored rows in order (n,)."""
        return ~self._events[self.order]

    @cached_property
    def left(self) -> Floats:
        """Kaplan-Meier law before each place (n + 1,)."""
        return np.asarray(_left(self.censored))

    def own(self) -> Floats:
        """Kaplan-Meier G(T_i-) of every row with an event (n,), in the rows' own order; nan for censored rows."""
        return np.asarray(_own(self._keys, np.uint64(self._bits)))

    def places(self, time: npt.ArrayLike, after: bool = False) -> Ints:
        """First place whose time is not below `time` (m,), or with `after`, above it."""
        return np.searchsorted(self.time, np.asarray(time, dtype=np.float64), "right" if after else "left")


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


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _left(censored: Any) -> Any:
    n = len(censored)
    out = np.empty(n + 1)
    g = 1.0
    for j in range(n):
        out[j] = g
        g *= (n - j - 1.0 * censored[j]) / (n - j)
    out[n] = g
    return out


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _packed(times: Any, event: Any, least: Any, shift: Any, bits: Any) -> Any:
    """Time above `least` without its lowest `shift` bits, flag and row in one integer; and whether no bit was lost."""
    out = np.empty(len(times), np.uint64)
    one, lost = np.uint64(1), np.uint64(0)
    for row in range(len(times)):
        above = (np.uint64(0) if times[row] == one << np.uint64(63) else times[row]) - least  # -0.0 is 0.0
        kept = above >> shift
        lost |= above ^ (kept << shift)
        out[row] = ((kept << one | np.uint64(not event[row])) << bits) | np.uint64(row)
    return out, lost == 0


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _mended(keys: Any, times: Any, bits: Any) -> Any:
    """Sort rows that are alike in the kept bits of their times; False where too many of them differ in the others."""
    n, one = len(keys), np.uint64(1)
    mask, flag = (one << bits) - one, one << bits
    low = 0
    while low < n:
        high = low + 1
        while high < n and keys[high] >> bits + one == keys[low] >> bits + one:
            high += 1
        first, same = times[keys[low] & mask], True
        for j in range(low + 1, high):
            same &= times[keys[j] & mask] == first
        if not same:
            if high - low > ALIKE:
                return False
            for j in range(low + 1, high):
                key = keys[j]
                time, censored, at = times[key & mask], key & flag, j
                while at > low:
                    other = keys[at - 1]
                    before = times[other & mask]
                    if before < time or (before == time and other & flag <= censored):
                        break
                    keys[at] = other
                    at -= 1
                keys[at] = key
        low = high
    return True


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _own(keys: Any, bits: Any) -> Any:
    """As `_left`, scattered to the rows as it goes: the arrays in between would cost as much as half the sort."""
    n, one = len(keys), np.uint64(1)
    mask = (one << bits) - one
    out = np.empty(n)
    g = 1.0
    for j in range(n):
        censored = keys[j] >> bits & one
        out[keys[j] & mask] = np.nan if censored else g
        g *= (n - j - 1.0 * censored) / (n - j)
    return out


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

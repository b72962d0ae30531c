"""Messages of belief propagation from the count of a bag to its members.

A bag is one factor phi(c) of the number c of its members that have the label. Its message to member i is

    m_i = log( sum_c q_i(c) phi(c + 1) / sum_c q_i(c) phi(c) )

where q_i is the law of the count of the *other* members, each of which has the label with the chance that its own
log-odds h_j say. Three steps give all messages of a bag exactly, in O(b w) time and O(b) memory for b members, where w
is the number of counts that have a chance at all: min(b, about 18 standard deviations of the count):

1. Adding t to every h and taking t c from log phi(c) changes no message but for the t itself. The t that puts the mean
   of the count where q phi is largest keeps all numbers near 1, whatever the odds and however sharp phi is.
2. The law Q of the whole count, one member after the other. Counts below e^-40 are not visited.
3. Taking member i out of it again, Q(c) = p_i q_i(c - 1) + (1 - p_i) q_i(c), from the low counts upward where
   p_i <= 1/2, and from the high ones downward elsewhere, which is the stable way round; 64 members at a time.

Legend of shapes: b bags, m memberships (a row may be in several bags).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from assay.kernels.blocks import in_parts, n_parts
from assay.kernels.exponential import exp_below_zero

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer[Any]]

CAP = 1000.0  # the largest message, in log-odds: certainty
REACH = 40.0  # counts less likely than e^-40 of all are not visited
LANES = 64  # members that are taken out of the law at a time


def bag_messages(ptr: Ints, odds: Floats, log_factor: Floats, tilt: Floats | None = None) -> Floats:
    """Messages from the bags to their members.

    Parameters
    ----------
    ptr : (b + 1,) bag i owns memberships ptr[i]..ptr[i + 1].
    odds : (m,) log-odds of each member without what this bag told it; finite.
    log_factor : (m + b,) log phi(c) for c = 0..size of each bag, one bag after the other; finite and concave in c.
    tilt : (b,) where the search of step 1 begins, changed in place; None: at zero.

    Returns
    -------
    (m,) log-odds, cut at +-1000.

    Examples
    --------
    Two of three members have the label, and one that is sure of it leaves one for the others:

    >>> exact = -1e6 * (np.arange(4.0) - 2) ** 2
    >>> bag_messages(np.array([0, 3]), np.array([0.0, 0.0, 50.0]), exact).round(6).tolist()
    [0.0, 0.0, 0.693147]
    """
    tilt = np.zeros(len(ptr) - 1) if tilt is None else tilt
    out = np.empty(len(odds))
    work = np.concatenate([[0], np.cumsum(np.diff(ptr).astype(np.float64) ** 1.5)])
    parts = n_parts(len(odds))
    edges = np.searchsorted(work, work[-1] * np.arange(parts + 1) / parts)
    edges[-1] = len(ptr) - 1
    in_parts(lambda part: _bags(ptr, odds, log_factor, tilt, edges[part], edges[part + 1], out), parts)
    return out


def count_law(chances: Floats) -> Floats:
    """Chance of each count 0..b of members that have the label, which each has with a chance of its own (b,).

    >>> count_law(np.array([0.5, 0.5])).tolist()
    [0.25, 0.5, 0.25]
    """
    law = np.zeros(len(chances) + 1)
    _add_up(np.asarray(chances, dtype=np.float64), 1 - chances, law)
    return law


@njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _bags(ptr: Any, odds: Any, log_factor: Any, tilt: Any, first: Any, last: Any, out: Any) -> None:
    """Fill `out` for the members of bags first..last."""
    most = 0
    for bag in range(first, last):
        most = max(most, ptr[bag + 1] - ptr[bag])
    p, q = np.empty(most), np.empty(most)
    law, turned = np.empty(most + 1), np.empty(most + 1)
    phi, phi_turned = np.empty(most + 3), np.empty(most + 3)
    group = np.empty(most, np.int64)
    lanes = np.empty((5, LANES))
    for bag in range(first, last):
        base, size = ptr[bag], ptr[bag + 1] - ptr[bag]
        table = log_factor[base + bag : base + bag + size + 1]
        t = _centre(odds[base : base + size], table, tilt[bag], p, q)
        tilt[bag] = t
        law[: size + 1] = 0.0
        low, high = _add_up(p[:size], q[:size], law)
        width = high - low + 1
        top = -np.inf
        for c in range(low, high + 1):
            if law[c] > 0.0:
                top = max(top, table[c] - t * c + math.log(law[c]))
        for j in range(width + 2):  # phi[j] is for the count low - 1 + j
            c = low - 1 + j
            phi[j] = 0.0
            if 0 <= c <= size:
                power = table[c] - t * c - top
                phi[j] = math.exp(min(power, 600.0)) if power > -700.0 else 0.0
            phi_turned[width + 1 - j] = phi[j]
        for c in range(low, high + 1):
            law[c - low] = law[c]
        for j in range(width):
            turned[width - 1 - j] = law[j]
        for high_ones in range(2):
            n = 0
            for i in range(size):
                if (p[i] > 0.5) == (high_ones == 1):
                    group[n] = i
                    n += 1
            for start in range(0, n, LANES):
                some = group[start : min(start + LANES, n)]
                if high_ones == 0:
                    _take_out(law, phi, width - (high == size), width, some, p, q, lanes)
                else:
                    _take_out(turned, phi_turned, width - (low == 0), width, some, q, p, lanes)
                for lane in range(len(some)):
                    gone, come = lanes[0, lane], lanes[1, lane]
                    if high_ones == 1:
                        gone, come = come, gone
                    if gone <= 0.0 and come <= 0.0:
                        told = 0.0
                    elif gone <= 0.0:
                        told = CAP
                    elif come <= 0.0:
                        told = -CAP
                    else:
                        told = min(max(t + math.log(come / gone), -CAP), CAP)
                    out[base + some[lane]] = told


@njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _centre(h: Any, table: Any, start: Any, p: Any, q: Any) -> Any:
    """The t that solves t = slope of log phi at the mean count, by a guarded Newton search, roughly; and p, q at it."""
    size = len(h)
    low, high = -h.max() - 60.0, 60.0 - h.min()  # beyond these nobody has the label, or everybody
    t = min(max(start, low), high)
    for _ in range(60):
        mean = variance = 0.0
        for i in range(size):
            z = h[i] + t
            small = exp_below_zero(-abs(z))
            large = 1.0 / (1.0 + small)
            small *= large
            p[i] = large if z >= 0.0 else small
            q[i] = small if z >= 0.0 else large
            mean += p[i]
            variance += large * small
        slope, bend = slope_at(table, mean)
        off = t - slope
        if abs(off) <= 0.3 * (math.sqrt(variance) + 0.3) * (1.0 / max(variance, 0.05) - bend):
            break
        if off > 0.0:
            high = t
        else:
            low = t
        if high - low < 1e-3:
            break
        t -= off / (1.0 - bend * variance)
        if not low < t < high:
            t = 0.5 * (low + high)
    return t


@njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def slope_at(table: Any, mean: Any) -> Any:
    """First and second derivative of log phi, a table (size + 1,), at a mean count, be it between two counts."""
    size = len(table) - 1
    if size == 1:
        return table[1] - table[0], 0.0
    c = min(max(math.floor(mean - 0.5), 0), size - 2)
    first = table[c + 1] - table[c]
    bend = table[c + 2] - table[c + 1] - first
    return first + (mean - 0.5 - c) * bend, bend


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})  # type: ignore[untyped-decorator]
def _add_up(p: Any, q: Any, law: Any) -> Any:
    """Turn zeros into the law of the count; return the lowest and the highest count that has a chance."""
    law[0] = 1.0
    mean = variance = 0.0
    low = high = 0
    for i in range(len(p)):
        mean += p[i]
        variance += p[i] * q[i]
        reach = REACH / 3 + math.sqrt(REACH * REACH / 9 + 2 * REACH * variance)  # Bernstein's inequality
        low = max(0, int(mean - reach))
        high = min(i + 1, int(mean + reach) + 1)
        a, b = p[i], q[i]
        for c in range(high, max(low, 1) - 1, -1):
            law[c] = law[c] * b + law[c - 1] * a
        if low == 0:
            law[0] *= b
    return low, high


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})  # type: ignore[untyped-decorator]
def _take_out(law: Any, phi: Any, counts: Any, width: Any, some: Any, p: Any, q: Any, lanes: Any) -> None:
    """Sum the law without each of some members against phi: in lanes[0] as it is, in lanes[1] with one more."""
    n = len(some)
    without, with_one, x, ratio, scale = lanes[0], lanes[1], lanes[2], lanes[3], lanes[4]
    for lane in range(n):
        i = some[lane]
        scale[lane] = 1.0 / q[i]
        ratio[lane] = p[i] / q[i]
        without[lane] = with_one[lane] = x[lane] = 0.0
    first, last = 0, width + 1
    while first < width + 1 and phi[first] == 0.0:
        first += 1
    while last > 0 and phi[last] == 0.0:
        last -= 1
    for w in range(min(last, counts)):
        chance = law[w]
        if w < first - 2:
            for lane in range(n):
                x[lane] = chance * scale[lane] - ratio[lane] * x[lane]
        else:
            here, next_one = phi[w + 1], phi[w + 2]
            for lane in range(n):
                x[lane] = chance * scale[lane] - ratio[lane] * x[lane]
                without[lane] += x[lane] * here
                with_one[lane] += x[lane] * next_one

"""Rows in the order of time, and the law of censoring of all of them together: arrays in, arrays out.

A row has a time T = min(Y, C) and a flag, true where the label Y came first. For weights one needs the law of C:

    G(t-) = P(C >= t) = product over censored j with T_j < t of (1 - 1 / R_j),     R_j = rows still at risk

(Kaplan, Meier, 1958). Rows are sorted by time, events before censorings at equal times; the censorings of one instant
then multiply to the one factor that the tie rule asks for, (1 - 1/R)(1 - 1/(R - 1)) = 1 - 2/R, and an event's own
censorings, at the same instant, come after it.

Non-negative floats sort as their bits do. Time, flag and row share one integer of 64 bits, the lowest bits of the time
left out where there is no room for all: values are sorted several times as fast as places are, and the few neighbours
that are alike in what is left are put right after it. Legend of shapes: n rows.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from assay.errors import InputError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

ALIKE = 64  # rows alike in the kept bits of their times, and not alike, that are sorted by insertion


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

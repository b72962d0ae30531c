"""Keyed, counter-based randomness from 32-bit integers alone: every machine and every batch draws the same bits.

A value is a hash of a key and of counters, such as token ids, a row and a step. Nothing is kept between calls, so any
value can be had alone: a detector hashes the one token that was written, not a vocabulary.

    state(key)         = absorb(absorb(0, low half of key), high half)
    absorb(h, c)       = mix((h xor c * 0x9E3779B1) + 0x7F4A7C15)      all mod 2^32
    mix32(key, a, b..) = absorb(absorb(state(key), a), b)...
    uniform            = (mix32 + 1/2) 2^-32, strictly between 0 and 1

`mix` is the 32-bit finaliser "lowbias32" of Wellons' hash prospector (public domain): every input bit flips every
output bit about half of the time. It is no cipher: who has read many values of one context can search for its state,
though not thereby for the key.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

MASK = 0xFFFFFFFF
UNIT = 2.0**-32

_STRIDE, _SHIFT, _FIRST, _SECOND = 0x9E3779B1, 0x7F4A7C15, 0x7FEB352D, 0x846CA68B


def absorb(state: Any, counter: Any) -> Any:
    """One more counter mixed into a state, both integers or integer arrays of 64 bits (numpy or torch), broadcast.

    Only the low 32 bits of a counter count. Products wrap around at 64 bits, which leaves their low 32 bits right.
    """
    x = ((state ^ (counter * _STRIDE & MASK)) + _SHIFT) & MASK
    x = (x ^ (x >> 16)) * _FIRST & MASK
    x = (x ^ (x >> 15)) * _SECOND & MASK
    return x ^ (x >> 16)


def key_state(key: int) -> int:
    """The state that a key of 64 bits starts from."""
    return int(absorb(absorb(0, key & MASK), key >> 32 & MASK))


def mix32(key: int, *counters: Any) -> Any:
    """Uniform integers 0..2^32-1 for a key and counters: integers, or arrays of int64 or uint64 that are broadcast.

    >>> mix32(1, 2, 3)
    1017498323
    >>> bool(mix32(1, 2, np.arange(5))[3] == mix32(1, 2, 3))
    True
    """
    plain = (int(counter) if isinstance(counter, np.integer) else counter for counter in counters)
    return reduce(absorb, plain, key_state(key))


def uniform(key: int, *counters: Any) -> Any:
    """Uniform numbers in (0, 1), multiples of 2^-33, exact in float64."""
    return (mix32(key, *counters) + 0.5) * UNIT


_STRIDE32, _SHIFT32 = np.uint32(_STRIDE), np.uint32(_SHIFT)
_FIRST32, _SECOND32 = np.uint32(_FIRST), np.uint32(_SECOND)
_15, _16 = np.uint32(15), np.uint32(16)


@numba.njit(inline="always")  # type: ignore[untyped-decorator]
def absorb32(state: np.uint32, counter: np.uint32) -> np.uint32:
    """`absorb` for compiled loops, on unsigned integers of 32 bits."""
    x = np.uint32((state ^ np.uint32(counter * _STRIDE32)) + _SHIFT32)
    x = np.uint32(np.uint32(x ^ np.uint32(x >> _16)) * _FIRST32)
    x = np.uint32(np.uint32(x ^ np.uint32(x >> _15)) * _SECOND32)
    return np.uint32(x ^ np.uint32(x >> _16))


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def window_states(tokens: npt.NDArray[Any], width: int, start: np.uint32) -> npt.NDArray[np.uint32]:
    """State of each window of `width` tokens that another token follows, (t - width,) for `tokens` (t,) integers."""
    n = max(len(tokens) - width, 0)
    out = np.empty(n, dtype=np.uint32)
    for at in range(n):
        state = start
        for back in range(width):
            state = absorb32(state, np.uint32(tokens[at + back]))
        out[at] = state
    return out

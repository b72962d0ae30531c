"""The first entries of `torch.randperm` on a CPU for many seeds, bit for bit, without torch and without the whole list.

Watermarks of other libraries seed torch's generator with an integer made from the context and call the first share of a
permutation of the vocabulary green. torch's generator is the Mersenne Twister of Matsumoto and Nishimura (1998),
seeded by the low 32 bits, and its permutation swaps place i with place i + r mod (n - i), so that the first k entries
are known after k draws. Sets come as bits, since one set of a vocabulary of 128,000 then takes 16 kB.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.uint64]
Keep = npt.NDArray[np.bool_]

_N, _M = 624, 397
_UPPER, _LOWER, _TWIST = np.uint32(0x80000000), np.uint32(0x7FFFFFFF), np.uint32(0x9908B0DF)
_STEP, _MASK_B, _MASK_C = np.uint32(1812433253), np.uint32(0x9D2C5680), np.uint32(0xEFC60000)
_ONE = np.uint32(1)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _seed(state: npt.NDArray[np.uint32], seed: np.uint32) -> None:
    state[0] = seed
    for at in range(1, _N):
        last = state[at - 1]
        state[at] = np.uint32(np.uint32(_STEP * np.uint32(last ^ (last >> np.uint32(30)))) + np.uint32(at))


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _twist(state: npt.NDArray[np.uint32]) -> None:
    for at in range(_N):
        mixed = np.uint32((state[at] & _UPPER) | (state[(at + 1) % _N] & _LOWER))
        moved = np.uint32(state[(at + _M) % _N] ^ (mixed >> _ONE))
        state[at] = np.uint32(moved ^ _TWIST) if mixed & _ONE else moved


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _temper(word: np.uint32) -> np.uint32:
    word = np.uint32(word ^ (word >> np.uint32(11)))
    word = np.uint32(word ^ (np.uint32(word << np.uint32(7)) & _MASK_B))
    word = np.uint32(word ^ (np.uint32(word << np.uint32(15)) & _MASK_C))
    return np.uint32(word ^ (word >> np.uint32(18)))


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def first_of_permutation(seed: np.uint32, n: int, k: int, order: npt.NDArray[np.int32]) -> None:
    """Put the first `k` entries of the permutation of 0..n-1 into `order` (n,), whose rest is left in disorder."""
    state = np.empty(_N, dtype=np.uint32)
    _seed(state, seed)
    for at in range(n):
        order[at] = at
    for at in range(min(k, n - 1)):
        word = at % _N
        if word == 0:
            _twist(state)
        other = at + np.int64(_temper(state[word]) % np.uint32(n - at))
        order[at], order[other] = order[other], order[at]


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def permutation_heads(seeds: npt.NDArray[np.uint32], n: int, k: int) -> Bits:
    """For each seed, which of 0..n-1 are among the first `k` of the permutation: bits (s, ceil(n / 64))."""
    out = np.zeros((len(seeds), (n + 63) // 64), dtype=np.uint64)
    order = np.empty(n, dtype=np.int32)
    for row in range(len(seeds)):
        first_of_permutation(seeds[row], n, k, order)
        for at in range(k):
            out[row, order[at] >> 6] |= np.uint64(1) << np.uint64(order[at] & 63)
    return out


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def in_permutation_head(seeds: npt.NDArray[np.uint32], elements: npt.NDArray[np.int64], n: int, k: int) -> Keep:
    """For each seed and element (s,), whether the element is among the first `k` of the permutation of 0..n-1.

    Only where the element lies is followed, from swap to swap: no permutation is stored.
    """
    out = np.zeros(len(seeds), dtype=np.bool_)
    state = np.empty(_N, dtype=np.uint32)
    for row in range(len(seeds)):
        _seed(state, seeds[row])
        place = elements[row]
        for at in range(min(k, n - 1)):
            word = at % _N
            if word == 0:
                _twist(state)
            other = at + np.int64(_temper(state[word]) % np.uint32(n - at))
            if place == other:
                place = at
                break
            if place == at:
                place = other
        out[row] = place < k
    return out


def has_bit(bits: Bits, columns: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Whether row i of `bits` (m, w) holds the element `columns[i]` (m,)."""
    words = bits[np.arange(len(bits)), columns >> 6]
    return np.asarray(words >> (columns & 63).astype(np.uint64) & np.uint64(1), dtype=bool)

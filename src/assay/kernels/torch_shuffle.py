"""The first entries of `torch.randperm` on a CPU for many seeds, bit for bit, without torch and without the whole list.

Watermarks of other libraries seed torch's generator with an integer made from the context and call the first share of a
permutation of the vocabulary green. torch's generator is the Mersenne Twister of Matsumoto and Nishimura (1998),
seeded by the low 32 bits, and its permutation swaps place i with place i + r mod (n - i), so that the first k entries
are known after k draws.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]

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
def permutation_heads(seeds: npt.NDArray[np.uint32], n: int, k: int) -> Mask:
    """For each seed, which of 0..n-1 are among the first `k` of the permutation: (s, n)."""
    out = np.zeros((len(seeds), n), dtype=np.bool_)
    order = np.empty(n, dtype=np.int32)
    for row in range(len(seeds)):
        first_of_permutation(seeds[row], n, k, order)
        for at in range(k):
            out[row, order[at]] = True
    return out


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def in_permutation_heads(seeds: npt.NDArray[np.uint32], elements: npt.NDArray[np.int64], n: int, k: int) -> Mask:
    """For each seed and element (m,), whether the element is among the first `k` of the permutation of 0..n-1.

    Equal seeds should stand together: their permutation is then made once. Where a seed stands alone, only the place of
    its element is followed, from swap to swap.
    """
    out = np.zeros(len(seeds), dtype=np.bool_)
    order = np.empty(n, dtype=np.int32)
    run = np.zeros(n, dtype=np.int64)  # of each element, the start of the last run whose head held it, plus one
    first = 0
    while first < len(seeds):
        stop = first + 1
        while stop < len(seeds) and seeds[stop] == seeds[first]:
            stop += 1
        if stop == first + 1:
            out[first] = _is_in_head(seeds[first], elements[first], n, k)
        else:
            first_of_permutation(seeds[first], n, k, order)
            for at in range(k):
                run[order[at]] = first + 1
            for at in range(first, stop):
                out[at] = run[elements[at]] == first + 1
        first = stop
    return out


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _is_in_head(seed: np.uint32, element: int, n: int, k: int) -> bool:
    place, state = np.int64(element), np.empty(_N, dtype=np.uint32)
    _seed(state, seed)
    for at in range(min(k, n - 1)):
        word = at % _N
        if word == 0:
            _twist(state)
        other = at + np.int64(_temper(state[word]) % np.uint32(n - at))
        if place == other:
            return True
        if place == at:
            place = other
    return bool(place < k)

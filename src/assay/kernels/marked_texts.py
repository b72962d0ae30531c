"""What the marks of many texts count to, in one pass over their tokens: texts one after another, and where each begins.

A scored token has a whole n-gram (the tokens its number depends on, and itself) within its text. Repeats of an n-gram
within a text repeat its number and tell nothing new, so a test that counts them finds marks in text that repeats
itself; `first_ngrams` says which occurrences are the first, in a hash table of a text's own, compared token by token.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

from assay.kernels.keyed_hash import UNIT, absorb32

Tokens = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Keep = npt.NDArray[np.bool_]
_START = np.uint32(2166136261)


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def whole_ngrams(tokens: Tokens, offsets: Offsets, n: int) -> Keep:
    """For each token, whether the `n` tokens that end with it lie within its text: (t,) bool."""
    keep = np.zeros(len(tokens), dtype=np.bool_)
    for text in range(len(offsets) - 1):
        keep[offsets[text] + n - 1 : offsets[text + 1]] = True
    return keep


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def first_ngrams(tokens: Tokens, offsets: Offsets, n: int) -> Keep:
    """For each token, whether the `n` tokens that end with it lie within its text, and not before: (t,) bool."""
    keep = np.zeros(len(tokens), dtype=np.bool_)
    longest = 0
    for text in range(len(offsets) - 1):
        longest = max(longest, offsets[text + 1] - offsets[text])
    size = 16
    while size < 2 * longest:
        size *= 2
    table = np.empty(size, dtype=np.int64)
    for text in range(len(offsets) - 1):
        first, stop = offsets[text] + n - 1, offsets[text + 1]
        size = 16
        while size < 2 * (stop - first):
            size *= 2
        table[:size] = -1
        for at in range(first, stop):
            code = _START
            for back in range(n):
                code = absorb32(code, np.uint32(tokens[at - back]))
            place = np.int64(code) & (size - 1)
            while True:
                other = table[place]
                if other < 0:
                    table[place], keep[at] = at, True
                    break
                same = True
                for back in range(n):
                    same &= tokens[at - back] == tokens[other - back]
                if same:
                    break
                place = (place + 1) & (size - 1)
    return keep


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def green_counts(
    tokens: Tokens, offsets: Offsets, width: int, start: np.uint32, threshold: np.uint32, keep: Keep
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Of each text: tokens scored, and those of them whose hash after `width` tokens of context is below `threshold`.

    `keep` (t,) says which tokens to score; an empty one says all that have their whole context.
    """
    scored = np.zeros(len(offsets) - 1, dtype=np.int64)
    green = np.zeros(len(offsets) - 1, dtype=np.int64)
    for text in range(len(offsets) - 1):
        first, stop, found, count = offsets[text] + width, offsets[text + 1], 0, 0
        if len(keep):
            for at in range(first, stop):
                found += (_value(tokens, at, width, start) < threshold) & keep[at]
                count += keep[at]
        else:
            for at in range(first, stop):
                found += _value(tokens, at, width, start) < threshold
            count = max(stop - first, 0)
        scored[text], green[text] = count, found
    return scored, green


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def gumbel_sums(
    tokens: Tokens, offsets: Offsets, width: int, start: np.uint32, keep: Keep
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Of each text: tokens scored, and their sum of `-log(1 - u)`, u of the hash after `width` tokens of context."""
    scored = np.zeros(len(offsets) - 1, dtype=np.int64)
    score = np.zeros(len(offsets) - 1)
    for text in range(len(offsets) - 1):
        for at in range(offsets[text] + width, offsets[text + 1]):
            if len(keep) == 0 or keep[at]:
                scored[text] += 1
                score[text] -= math.log((np.uint32(~_value(tokens, at, width, start)) + 0.5) * UNIT)
    return scored, score


@numba.njit(inline="always")  # type: ignore[untyped-decorator]
def _value(tokens: Tokens, at: int, width: int, start: np.uint32) -> np.uint32:
    state = start
    for back in range(width, -1, -1):
        state = absorb32(state, np.uint32(tokens[at - back]))
    return state

"""Counts over many models at once: a row's history is a string of bits, and a pair of rows is an AND and a popcount.

Model t is bit t % 64 of word t // 64, so a table of n rows and t models takes n t / 8 bytes, and the number of models
that had row i in their training set *and* were right about row j costs t / 64 word operations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, types
from numba.extending import intrinsic
from scipy.special import ndtri

from assay.kernels.blocks import in_threads

Words = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
WORD = 64  # models in a word
LEAST = 30  # models with a row, and without it, below which nothing is said of it
_TILE = 512  # rows of the second table that stay in the cache while the rows of the first pass by


@intrinsic  # type: ignore[untyped-decorator]
def _ones(_context: Any, word: Any) -> Any:
    """Number of ones in a word, by the processor's own instruction."""

    def code(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(word), code


def pack(flags: npt.NDArray[np.bool_]) -> Words:
    """Bits `(n, w)` of the flags `(t, n)` of t models, w = ceil(t / 64).

    >>> pack(np.array([[True, False], [True, True]])).tolist()
    [[3], [2]]
    """
    bits = np.packbits(flags, axis=0, bitorder="little")  # (t / 8, n)
    whole = np.zeros((flags.shape[1], -(-len(flags) // WORD) * 8), np.uint8)
    whole[:, : len(bits)] = bits.T
    return whole.view("<u8").astype(np.uint64, copy=False)


def sizes(words: Words) -> Ints:
    """Number of models `(n,)` whose bit is set in each row of `words` `(n, w)`."""
    return np.asarray(np.bitwise_count(words).sum(axis=1, dtype=np.int64))


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _count(first: Any, second: Any, out: Any) -> None:
    for tile in range(0, len(second), _TILE):
        stop = min(tile + _TILE, len(second))
        for j in range(len(first)):
            for i in range(tile, stop):
                total = np.uint64(0)
                for w in range(first.shape[1]):
                    total += _ones(first[j, w] & second[i, w])
                out[j, i] = total


def shared_counts(first: Words, second: Words) -> npt.NDArray[np.int32]:
    """Models `(q, n)` whose bit is set in row j of `first` `(q, w)` and in row i of `second` `(n, w)`.

    Time q n w word operations over the threads of numba; memory that of the result, so give `first` in blocks.
    """
    out = np.empty((len(first), len(second)), np.int32)
    in_threads(lambda start, stop: _count(first, second[start:stop], out[:, start:stop]), len(second))
    return out


def contrast(right: Words, inside: Words, n_models: int, alpha: float = 0.05) -> dict[str, Floats]:
    """How often models are right with a row and without it, from the bits (n, w) of right answers and of members.

    Returns
    -------
    `correct_in` and `correct_out`, the two shares; `value`, their difference; `se`, `low` and `high`, its standard
    error and interval, those of shares with one more hit and one more miss (Agresti and Caffo, 2000); each (n,), and
    NaN where fewer than `LEAST` models are on either side.
    """
    n_in, hits_in = sizes(inside), sizes(right & inside)
    n_out, hits_out = n_models - n_in, sizes(right) - hits_in
    enough = np.where((n_in >= LEAST) & (n_out >= LEAST), 1.0, np.nan)
    correct_in, correct_out = hits_in / np.maximum(n_in, 1) * enough, hits_out / np.maximum(n_out, 1) * enough
    a, b = (hits_in + 1) / (n_in + 2) * enough, (hits_out + 1) / (n_out + 2)
    se = np.sqrt(a * (1 - a) / (n_in + 2) + b * (1 - b) / (n_out + 2))
    reach = float(ndtri(1 - alpha / 2)) * se
    return {
        **{"correct_in": correct_in, "correct_out": correct_out, "value": correct_in - correct_out, "se": se},
        **{"low": np.maximum(a - b - reach, -1), "high": np.minimum(a - b + reach, 1)},
    }


def influence(tested: Words, inside: Words, n_models: int) -> Floats:
    """Influences (q, n) of training rows on test rows, from the bits (q, w) of right answers and (n, w) of members."""
    n_in, hits, both = sizes(inside), sizes(tested)[:, None], shared_counts(tested, inside)
    n_out = n_models - n_in
    enough = np.where((n_in >= LEAST) & (n_out >= LEAST), 1.0, np.nan)
    return np.asarray(enough * (both / np.maximum(n_in, 1) - (hits - both) / np.maximum(n_out, 1)))

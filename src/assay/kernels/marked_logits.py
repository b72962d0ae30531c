"""Marks on rows of logits in one pass over the vocabulary, with nothing stored beside the row.

The noise of a Gumbel mark costs two logarithms a token. Nearly all of them are saved: `-log(-log u) <= -log(1 - u)`,
and a lower bound of `log2(1 - u)` lies in the bits of the floating-point number, so only tokens that might win are
computed.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

from assay.kernels.keyed_hash import UNIT, absorb32

Floats = npt.NDArray[np.float32]
States = npt.NDArray[np.uint32]

_BLOCK = 64  # tokens whose bounds are compared together
_LARGEST = 23.0  # above the largest Gumbel number of 32 bits, log(2^33) = 22.87
_SLACK = 1e-4  # more than what float32 can get wrong in a bound
_LN2, _LOG2_E = np.float32(math.log(2)), np.float32(1 / math.log(2))
_SCALE, _BIAS = np.float32(2.0**-23), np.float32(127)


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def add_to_green(logits: Floats, states: States, threshold: np.uint32, delta: np.float32) -> Floats:
    """Logits (b, v) with `delta` added where the hash of a row's state and the token is below `threshold`."""
    out = np.empty_like(logits)
    for row in range(logits.shape[0]):
        state = states[row]
        for token in range(logits.shape[1]):
            green = absorb32(state, np.uint32(token)) < threshold
            out[row, token] = logits[row, token] + (delta if green else np.float32(0))
    return out


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _log2_rest(value: np.uint32) -> np.float32:
    """At most `log2(1 - u)` of the number that a hash stands for: log2(1 + m) >= m for a mantissa m in 0..1."""
    rest = np.float32(np.float32(np.uint32(~value)) + np.float32(0.5)) * np.float32(UNIT)
    return np.float32(np.float32(rest).view(np.int32)) * _SCALE - _BIAS


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _gumbel(value: np.uint32) -> float:
    return -math.log(-math.log((value + 0.5) * UNIT))


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def gumbel_argmax(log_probs: Floats, states: States) -> npt.NDArray[np.int64]:
    """For each row the token with the largest `log p - log(-log u)`, u of the row's state (b,); -1 if every p is 0."""
    out = np.full(len(log_probs), -1, dtype=np.int64)
    for row in range(len(log_probs)):
        state, logs, best = states[row], log_probs[row], -np.inf
        for start in range(0, len(logs), _BLOCK):
            stop, least, hopeful = min(start + _BLOCK, len(logs)), np.float32(best - _SLACK), 0
            for token in range(start, stop):
                hopeful += logs[token] - _LN2 * _log2_rest(absorb32(state, np.uint32(token))) > least
            if hopeful == 0:
                continue
            for token in range(start, stop):
                value = absorb32(state, np.uint32(token))
                if logs[token] - _LN2 * _log2_rest(value) > best - _SLACK:
                    found = logs[token] + _gumbel(value)
                    if found > best:
                        best, out[row] = found, token
    return out


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def gumbel_draw(log_probs: Floats, states: States, others: States) -> npt.NDArray[np.int64]:
    """For each row a token drawn with weights `u^(1/p)`, u of `states`, the draw by `others` (b,); -1 if p is 0.

    The draw is the largest `log(u) / p - log(-log u')`, u' of the other state: exact, and underflow cannot reach it.
    """
    out = np.full(len(log_probs), -1, dtype=np.int64)
    for row in range(len(log_probs)):
        state, logs, best = states[row], log_probs[row], -np.inf
        for start in range(0, len(logs), _BLOCK):
            stop, hopeful = min(start + _BLOCK, len(logs)), 0
            most = np.float32(math.log2(_LARGEST - best) + _SLACK)
            for token in range(start, stop):
                hopeful += _log2_rest(absorb32(state, np.uint32(token))) - logs[token] * _LOG2_E < most
            if hopeful == 0:
                continue
            for token in range(start, stop):
                value = absorb32(state, np.uint32(token))
                if _log2_rest(value) - logs[token] * _LOG2_E < math.log2(_LARGEST - best) + _SLACK:
                    noise = _gumbel(absorb32(others[row], np.uint32(token)))
                    found = math.log((value + 0.5) * UNIT) / math.exp(np.float64(logs[token])) + noise
                    if found > best:
                        best, out[row] = found, token
    return out

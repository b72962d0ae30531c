"""Messages of belief propagation along the edges of a graph.

An edge says that with chance r a row copies the class of the other, and otherwise has any class by its base rate:

    psi(a, b) = 1 - r + r [a = b] / rate(a),       message(a) = log(1 - r + r q(a) / rate(a))

where q are the other row's chances without this edge, so that a row that knows nothing but the base rate says nothing.
At equal rates of k classes psi is exp(-J [a != b]) but for a constant. With that factor at unequal rates each edge is
one more vote for the common class, whatever is known of the neighbours: rows come to be ordered by how many they have.

Legend of shapes: n rows, k classes, e directed edges.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from assay.kernels.blocks import in_threads

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer[Any]]


def copy_chances(couplings: Floats, n_classes: int) -> Floats:
    """Chances r (e,) of edges that, at equal rates of all classes, have the factors exp(-J [a != b]) with J (e,).

    >>> copy_chances(np.array([0.0, np.log(3), np.inf]), 2).round(9).tolist()
    [0.0, 0.5, 1.0]
    """
    weak = np.exp(-couplings)
    return np.asarray((1 - weak) / (1 + (n_classes - 1) * weak))


def edge_messages(
    ptr: Ints, other: Ints, twin: Ints, copies: Floats, rate: Floats, odds: Floats, messages: Floats, damping: float
) -> tuple[float, Floats, Floats]:
    """Messages along all edges at once.

    Parameters
    ----------
    ptr : (n + 1,) edges ptr[i]..ptr[i + 1] lead to row i.
    other, twin : (e,) the row that each edge comes from, and the edge of the other direction.
    copies : (e,) chances r, below 1.
    rate : (k,) base rates of the classes, none of them zero.
    odds : (n,) log-odds of the rows, all messages in; or (n, k) logarithms of their chances up to a constant a row.
    messages : (e,) or (e, k) the messages that are in `odds`.
    damping : the share of the old messages that stays.

    Returns
    -------
    The largest change that an undamped message would have made, the new messages, and their sums for each row.
    """
    new, heard = np.empty_like(messages), np.empty_like(odds)
    walk = _speak if odds.ndim == 1 else _speak_of_classes
    changes = in_threads(
        lambda start, stop: walk(ptr, other, twin, copies, rate, odds, messages, damping, start, stop, new, heard),
        len(odds),
    )
    return max(changes), new, heard


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})  # type: ignore[untyped-decorator]
def _speak(
    ptr: Any,
    other: Any,
    twin: Any,
    copies: Any,
    rate: Any,
    odds: Any,
    old: Any,
    damping: Any,
    start: Any,
    stop: Any,
    new: Any,
    heard: Any,
) -> Any:
    """Fill `new` and `heard` for rows start..stop, and return the largest change."""
    change = 0.0
    for i in range(start, stop):
        total = 0.0
        for e in range(ptr[i], ptr[i + 1]):
            cavity = odds[other[e]] - old[twin[e]]
            small = math.exp(-abs(cavity))
            one, zero = (1.0, small) if cavity >= 0.0 else (small, 1.0)
            any_class = (1.0 - copies[e]) * (1.0 + small)
            told = math.log((any_class + copies[e] * one / rate[1]) / (any_class + copies[e] * zero / rate[0]))
            change = max(change, abs(told - old[e]))
            new[e] = damping * old[e] + (1.0 - damping) * told
            total += new[e]
        heard[i] = total
    return change


@njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _speak_of_classes(
    ptr: Any,
    other: Any,
    twin: Any,
    copies: Any,
    rate: Any,
    scores: Any,
    old: Any,
    damping: Any,
    start: Any,
    stop: Any,
    new: Any,
    heard: Any,
) -> Any:
    """As `_speak`, with the logarithm of what is said of each of k classes."""
    k = scores.shape[1]
    said = np.empty(k)
    change = 0.0
    for i in range(start, stop):
        heard[i] = 0.0
        for e in range(ptr[i], ptr[i + 1]):
            top = -np.inf
            for c in range(k):
                said[c] = scores[other[e], c] - old[twin[e], c]
                top = max(top, said[c])
            total = 0.0
            for c in range(k):
                said[c] = math.exp(said[c] - top)
                total += said[c]
            for c in range(k):
                told = math.log(1.0 - copies[e] + copies[e] * said[c] / (total * rate[c]))
                change = max(change, abs(told - old[e, c]))
                new[e, c] = damping * old[e, c] + (1.0 - damping) * told
                heard[i, c] += new[e, c]
    return change

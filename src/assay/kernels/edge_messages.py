"""Messages of belief propagation along the edges of a graph, whose factors are exp(-J [y_i != y_j]).

Written so, a factor treats the classes alike. Expanded into y_i, y_j and y_i y_j, as in code of others, its first
messages lean to class 0, and with strong edges propagation may settle upside down.

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


def edge_messages(
    ptr: Ints, other: Ints, twin: Ints, weak: Floats, odds: Floats, messages: Floats, damping: float
) -> tuple[float, Floats, Floats]:
    """Messages along all edges at once.

    Parameters
    ----------
    ptr : (n + 1,) edges ptr[i]..ptr[i + 1] lead to row i.
    other, twin : (e,) the row that each edge comes from, and the edge of the other direction.
    weak : (e,) exp(-J).
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
        lambda start, stop: walk(ptr, other, twin, weak, odds, messages, damping, start, stop, new, heard), len(odds)
    )
    return max(changes), new, heard


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})  # type: ignore[untyped-decorator]
def _speak(
    ptr: Any,
    other: Any,
    twin: Any,
    weak: Any,
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
            far = math.exp(-abs(cavity))
            told = math.log((1.0 + weak[e] * far) / (far + weak[e]))
            told = told if cavity >= 0.0 else -told
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
    weak: Any,
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
                told = math.log(weak[e] + (1.0 - weak[e]) * said[c] / total)
                change = max(change, abs(told - old[e, c]))
                new[e, c] = damping * old[e, c] + (1.0 - damping) * told
                heard[i, c] += new[e, c]
    return change

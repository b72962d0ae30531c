"""What one more vote is worth: expected fall of the loss of a belief, for each task and worker.

    log loss : sum over c, l of b[c] A[c, l] log(A[c, l] / p[l])          (information of the vote, nats)
    0-1 loss : sum over l of max over c of b[c] A[c, l]  -  max over c of b[c]
    with belief b, worker's table A (P(said = l | truth = c)) and p[l] = sum over c of b[c] A[c, l]

Legend of shapes: n tasks, w workers, k classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from assay.kernels.blocks import in_threads
from assay.kernels.vote_table import VoteTable

Floats = npt.NDArray[np.float64]


def gains_of_task(belief: Floats, confusion: Floats, zero_one: bool) -> Floats:
    """Expected fall of the loss (w,) of one task's belief (k,) by a vote of each worker, tables (w, k, k)."""
    found = np.empty(len(confusion))
    _gains(belief, confusion, _noise(confusion), zero_one, found, np.empty(confusion.shape[1]))
    return found


def best_workers(
    belief: Floats, confusion: Floats, price: Floats, votes: VoteTable, zero_one: bool
) -> tuple[npt.NDArray[np.int32], Floats]:
    """For each task, who lowers its loss most per unit of price among those who have not voted on it.

    Parameters
    ----------
    belief : (n, k). confusion : (w, k, k) at [worker, truth, said]. price : (w,), above 0.
    votes : who has voted on which task.

    Returns
    -------
    worker (n,) int32, -1 where nobody is left, and the expected fall of the loss (n,).
    """
    n = len(belief)
    worker, gain = np.full(n, -1, dtype=np.int32), np.zeros(n)
    noise = _noise(confusion)

    def part(start: int, stop: int) -> None:
        columns = belief, confusion, noise, price, votes.ptr, votes.worker, zero_one
        _best(*columns, start, stop, worker, gain)

    in_threads(part, n)
    return worker, gain


def _noise(confusion: Floats) -> Floats:
    """Entropy in nats (w, k) of what each worker says, given the truth."""
    logs = np.log(confusion, out=np.zeros_like(confusion), where=confusion > 0)
    return np.asarray(-(confusion * logs).sum(axis=2))


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _gains(belief: Any, confusion: Any, noise: Any, zero_one: Any, found: Any, said: Any) -> None:
    """Fill `found` (w,); `said` (k,) is scratch."""
    k = len(belief)
    top = belief.max()
    for j in range(len(confusion)):
        said[:] = 0.0
        gain = 0.0
        if zero_one:
            for c in range(k):
                for y in range(k):
                    said[y] = max(said[y], belief[c] * confusion[j, c, y])
            for y in range(k):
                gain += said[y]
            gain -= top
        else:
            for c in range(k):
                gain -= belief[c] * noise[j, c]
                for y in range(k):
                    said[y] += belief[c] * confusion[j, c, y]
            for y in range(k):
                if said[y] > 0:
                    gain -= said[y] * np.log(said[y])
        found[j] = max(gain, 0.0)  # never negative but for rounding


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _best(
    belief: Any, confusion: Any, noise: Any, price: Any, ptr: Any, voter: Any, zero_one: Any, start: Any, stop: Any,
    worker: Any, gain: Any,
) -> None:  # fmt: skip
    w, k = len(confusion), belief.shape[1]
    found, said = np.empty(w), np.empty(k)
    for i in range(start, stop):
        _gains(belief[i], confusion, noise, zero_one, found, said)
        for at in range(ptr[i], ptr[i + 1]):
            found[voter[at]] = -1.0
        best = -1.0
        for j in range(w):
            if found[j] >= 0 and found[j] / price[j] > best:
                best = found[j] / price[j]
                worker[i], gain[i] = j, found[j]

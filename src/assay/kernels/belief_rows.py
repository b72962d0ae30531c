"""Beliefs row by row: the most probable class, and one line of evidence a task.

Legend of shapes: n tasks, k classes.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import entr

from assay.errors import InputError

Longs = npt.NDArray[np.int64]
Ties = Literal["lowest", "seeded"]
TIE = 1e-12  # beliefs this close are equal: the order in which votes were added must not decide
ROWS = 65_536  # beliefs looked at in one go


def top_class(p: npt.NDArray[np.floating[Any]], ties: Ties = "lowest", random_state: int = 0) -> npt.NDArray[np.int32]:
    """Most probable class (n,) of beliefs (n, k); a tie falls to the lowest code, or is drawn with the seed."""
    if ties not in ("lowest", "seeded"):
        raise InputError(f"ties must be 'lowest' or 'seeded', got {ties!r}.")
    if not p.shape[1]:
        raise InputError("A space without classes has no most probable one.")
    tied = p >= p.max(axis=1, keepdims=True) - TIE
    top: npt.NDArray[np.int32] = tied.argmax(axis=1).astype(np.int32)
    if ties == "seeded":
        rows = np.flatnonzero(tied.sum(axis=1) > 1)
        draw = np.random.default_rng(random_state).random((len(rows), p.shape[1]))
        top[rows] = np.where(tied[rows], draw, -1.0).argmax(axis=1)
    return top


def evidence_of(task_ids: npt.NDArray[Any], n_votes: Longs, p: npt.NDArray[Any]) -> dict[str, Any]:
    """One row a task: id, number of votes, entropy of the belief in nats, lead of the first class over the second, top.

    From ids (n,), counts (n,) and beliefs (n, k); `top` is a code of the space.
    """
    n, k = p.shape
    entropy, margin, top = np.empty(n), np.empty(n), np.empty(n, dtype=np.int32)
    for start in range(0, n, ROWS):  # so that no second copy of the beliefs is held
        part = slice(start, start + ROWS)
        entropy[part] = entr(p[part]).sum(axis=1)
        two = np.partition(p[part], -2, axis=1)[:, -2:] if k > 1 else np.pad(p[part], ((0, 0), (1, 0)))
        margin[part] = two[:, 1] - two[:, 0]
        top[part] = top_class(p[part])
    return {"task": task_ids, "n_votes": n_votes, "entropy": entropy, "margin": margin, "top": top}

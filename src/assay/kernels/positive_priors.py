"""How many rows have a tag, when only some of those that have it are known: from scores that put these first.

If the known rows are a random part of those with the tag, then at any height the share of all rows above it is at least
the prior times the share of known rows above it. The height where the bound is tightest, with room for chance, gives
the estimate ("best bin estimation": Garg, Wu, Smola, Balakrishnan, Lipton, "Mixture Proportion Estimation and PU
Learning: A Modern Approach", NeurIPS 2021, arXiv 2111.00980). Only the order of the scores matters.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import expit

Floats = npt.NDArray[np.float64]
DELTA = 0.1  # chance that the room left for chance is too small, as in the paper's code


def best_bin(scores: npt.ArrayLike, known: npt.ArrayLike) -> tuple[float, float]:
    """The prior of one tag, and a bound above it that holds with chance 1 - DELTA at a given height.

    Parameters
    ----------
    scores : (n,) higher = more surely there; of all rows.
    known : (n,) bool, rows known to have the tag, at least one.

    Examples
    --------
    >>> scores, known = np.arange(1000) / 1000, np.arange(1000) % 3 == 0
    >>> round(best_bin(np.where(scores > 0.7, scores, 0), known & (scores > 0.7))[0], 3)
    0.298
    """
    s, k = np.asarray(scores, dtype=np.float64), np.asarray(known, dtype=bool)
    order = np.argsort(-s, kind="stable")
    last = np.append(s[order][1:] != s[order][:-1], True)  # the end of each run of equal scores
    above = np.flatnonzero(last) + 1
    of_all = above / len(s)
    of_known = np.cumsum(k[order])[above - 1] / k.sum()
    room = np.sqrt(np.log(4 / DELTA) / (2 * len(s))) + np.sqrt(np.log(4 / DELTA) / (2 * k.sum()))
    there = of_known > 0
    bound = np.divide(of_all + 1.01 * room, of_known, out=np.full(len(above), np.inf), where=there)
    best = int(bound.argmin())
    return float(min(1.0, of_all[best] / of_known[best])), float(min(1.0, bound[best]))


def shifts(logits: Floats, priors: npt.ArrayLike) -> Floats:
    """What to add to each column of logits (n, k) so that its mean probability is the prior (k,), in 0..1.

    >>> shifts(np.array([[1.0], [1.0]]), [0.5]).round(6).tolist()
    [-1.0]
    """
    wanted = np.clip(np.asarray(priors, dtype=np.float64), 1e-9, 1 - 1e-9)
    low, high = -logits.max(0) - 40, -logits.min(0) + 40
    for _ in range(64):
        middle = (low + high) / 2
        short = expit(logits + middle).mean(0) < wanted
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    found: Floats = (low + high) / 2
    return found

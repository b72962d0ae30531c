"""Means of several beliefs about the same rows: arithmetic, Jensen-Shannon centroid, and with temperatures.

Beliefs are `(m, n, k)`: m opinions on n rows over k classes; weights `(m,)` sum to one or are brought there.
Wright and Augenstein, arXiv 2212.09409; the centroid after Nielsen, "On a generalization of the Jensen-Shannon
divergence and the Jensen-Shannon centroid", Entropy 22, 2020.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import optimize
from scipy.special import entr

from assay.errors import InputError

Floats = npt.NDArray[np.float64]
FLOOR = 1e-12  # nobody is surer than this: smaller probabilities are taken for it before they are tempered
COOLEST, WARMEST = 0.05, 100.0  # temperatures that matching may reach


def checked(beliefs: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> tuple[Floats, Floats]:
    """Beliefs (m, n, k) as float64 and weights (m,) that sum to one; None weighs all alike."""
    p = np.asarray(beliefs, dtype=np.float64)
    if p.ndim != 3 or not p.shape[0] or not p.shape[2]:
        raise InputError(f"Beliefs must have shape (opinions, rows, classes) with none of them missing, got {p.shape}.")
    bad = ~((p >= 0).all(axis=(0, 2)) & (np.abs(p.sum(axis=2) - 1) <= 1e-3).all(axis=0))
    if bad.any():
        raise InputError("Beliefs must be probabilities that sum to 1.", row=int(np.flatnonzero(bad)[0]))
    w = np.ones(len(p)) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != (len(p),) or not np.isfinite(w).all() or (w < 0).any() or w.sum() <= 0:
        raise InputError(f"Weights must be {len(p)} numbers, none negative, with a positive sum; got {w.tolist()}.")
    return p, w / w.sum()


def mean(beliefs: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Floats:
    """Arithmetic mean (n, k)."""
    p, w = checked(beliefs, weights)
    return np.asarray(np.tensordot(w, p, axes=1))


def js_divergence(p: npt.ArrayLike, q: npt.ArrayLike) -> Floats:
    """Jensen-Shannon divergence of the rows of two beliefs (n, k), in nats (n,): 0 for equal ones, at most log 2."""
    a, b = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    return np.asarray((entr((a + b) / 2) - entr(a) / 2 - entr(b) / 2).sum(axis=-1))


def js_centroid(
    beliefs: npt.ArrayLike, weights: npt.ArrayLike | None = None, tol: float = 1e-10, max_iter: int = 1000
) -> Floats:
    """The belief (n, k) with the least weighted sum of Jensen-Shannon divergences to the opinions.

    The fixed point of the paper, q ~ product over m of ((q + p_m) / 2) ^ w_m, written in all k coordinates; each step
    is a step of concave-convex minimisation, so the sum never rises. Starts at the mean; a row stops when its
    L1 change is below `tol`.
    """
    p, w = checked(beliefs, weights)
    q = np.tensordot(w, p, axes=1)
    left = np.arange(q.shape[0])
    for _ in range(max_iter):
        if not left.size:
            break
        old = q[left]
        with np.errstate(divide="ignore"):
            logs = np.tensordot(w, np.log((old + p[:, left]) / 2), axes=1)  # -inf where nobody believes in a class
        new = np.exp(logs - logs.max(axis=1, keepdims=True))
        new /= new.sum(axis=1, keepdims=True)
        q[left] = new
        left = left[np.abs(new - old).sum(axis=1) > tol]
    return q


def temper(belief: npt.ArrayLike, temperature: float) -> Floats:
    """`belief ** (1 / temperature)` with rows that sum to one (..., k): above 1 is less sure, 1 changes nothing."""
    if not temperature > 0:
        raise InputError(f"A temperature must be above 0, got {temperature}.")
    p = np.asarray(belief, dtype=np.float64)
    if temperature == 1:
        return p
    logs = np.log(np.maximum(p, FLOOR)) / temperature
    out = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return np.asarray(out / out.sum(axis=-1, keepdims=True))


def match_temperatures(beliefs: npt.ArrayLike, ridge: float = 1e-3, start: float = 1.5) -> Floats:
    """Temperatures (m,) that bring the opinions together: least mean Jensen-Shannon divergence of pairs plus
    `ridge` times the sum of squares, by L-BFGS from `start`.
    """
    p, _ = checked(beliefs)
    m, n, _ = p.shape
    if m == 1 or not n:
        return np.ones(m)
    logs = np.log(np.maximum(p, FLOOR))
    pairs = m * (m - 1) / 2

    def loss(t: Floats) -> tuple[float, Floats]:
        q = np.stack([temper(one, float(at)) for one, at in zip(p, t, strict=True)])
        q = np.maximum(q, FLOOR)
        total, slope = 0.0, np.zeros_like(q)
        for i in range(m):
            for j in range(i):
                middle = (q[i] + q[j]) / 2
                total += float((entr(middle) - entr(q[i]) / 2 - entr(q[j]) / 2).sum())
                slope[i] += np.log(q[i] / middle) / 2
                slope[j] += np.log(q[j] / middle) / 2
        centred = logs - (q * logs).sum(axis=2, keepdims=True)
        by_t = -(slope * q * centred).sum(axis=(1, 2)) / t**2
        return total / (pairs * n) + ridge * float(t @ t), by_t / (pairs * n) + 2 * ridge * t

    found = optimize.minimize(loss, np.full(m, start), jac=True, method="L-BFGS-B", bounds=[(COOLEST, WARMEST)] * m)
    return np.asarray(found.x, dtype=np.float64)

"""The odds that a label is wrong: tempered noise matrix, temperature, matching mean, Bayesian logistic fit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import linalg, optimize, special

from assay.kernels.joint import joint_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_BLOCK = 4_000_000  # probabilities handled at a time


def confident_counts(probs: Floats, given: Ints) -> Floats:
    """Calibrated confident joint (k, k), rows given, columns true, as counts that sum to n; not rounded."""
    found = joint_of(given, probs)
    joint = found.astype(np.float64) if isinstance(found, np.ndarray) else found.toarray().astype(np.float64)
    counts = np.bincount(given, minlength=probs.shape[1])
    return np.asarray(joint / joint.sum(axis=1, keepdims=True) * counts[:, None])


def noise_matrix(joint: Floats) -> Floats:
    """P(given i | true j) (k, k) from joint counts; one pseudo-count a pair, their total kept, tempers rare pairs."""
    k = len(joint)
    off = joint * (1 - np.eye(k))
    total = off.sum()
    off = (off + 1.0) * (1 - np.eye(k))
    off *= max(total, 0.5) / max(off.sum(), 1.0)
    noise = off + np.diag(np.maximum(joint.diagonal(), 0.5))
    return np.asarray(noise / noise.sum(axis=0, keepdims=True))


def temperature(probs: Floats, given: Ints) -> float:
    """The power to which probabilities are raised so that they predict the given labels best (Guo et al., 2017)."""
    step = -(-len(given) // 20_000)  # an even sample settles one number
    logs, y = np.log(probs[::step]), given[::step]

    def loss(log_power: float) -> float:
        scaled = logs * np.exp(log_power)
        return float(np.mean(special.logsumexp(scaled, axis=1) - scaled[np.arange(len(y)), y]))

    return float(np.exp(optimize.minimize_scalar(loss, bounds=(-3.0, 1.5), method="bounded").x))


def match_mean(logits: Floats, mean: float) -> Floats:
    """Shift logits (n,) so that the mean of their chances is `mean`."""
    target = float(np.clip(mean, 1e-9, 1 - 1e-9))
    shift = optimize.brentq(lambda s: float(np.mean(special.expit(logits + s))) - target, -60.0, 60.0)
    return logits + float(shift)


def fit_logistic(
    design: Floats, offset: Floats, outcome: Floats, weights: Floats, spreads: Floats
) -> tuple[Floats, Floats]:
    """Most probable coefficients (d,) and their covariance (d, d) under independent normal priors around zero."""
    beta = np.zeros(design.shape[1])
    precision = 1 / spreads**2
    covariance = np.diag(spreads**2)

    def loss(at: Floats) -> float:
        eta = offset + design @ at
        return float(weights @ (np.logaddexp(0.0, eta) - outcome * eta) + 0.5 * at @ (precision * at))

    for _ in range(100):
        chance = special.expit(offset + design @ beta)
        slope = design.T @ (weights * (chance - outcome)) + precision * beta
        curve = (design * (weights * chance * (1 - chance))[:, None]).T @ design + np.diag(precision)
        factor = linalg.cho_factor(curve)
        covariance = linalg.cho_solve(factor, np.eye(len(beta)))
        step = covariance @ slope
        size, before = 1.0, loss(beta)
        while size > 1e-4 and loss(beta - size * step) > before:
            size /= 2
        beta = beta - size * step
        if np.abs(step).max() < 1e-8:
            break
    return beta, covariance


def blocks_of(n: int, k: int) -> list[slice]:
    """Slices of n rows of k numbers that are handled at a time."""
    step = max(1, _BLOCK // k)
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]

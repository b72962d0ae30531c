"""How good are probabilities and rankings: proper scores, calibration error, ROC and precision, all with weights.

Probabilities are `(n, k)` with classes `(n,)`, or `(n,)` chances of an event with outcomes `(n,)` of 0 and 1.
Lower is better for `nll`, `brier`, `ece`; higher for `auroc`, `average_precision`. Intervals come from
`kernels.intervals.bootstrap`: every function here takes arrays and gives one number.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from assay.errors import InputError

Floats = npt.NDArray[np.float64]


def _weights(weights: npt.ArrayLike | None, n: int) -> Floats:
    if n == 0:
        raise InputError("A score needs at least one row; got none.")
    w = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != (n,) or not np.all(np.isfinite(w)) or np.any(w < 0) or w.sum() <= 0:
        raise InputError(f"Weights must be {n} non-negative numbers with a positive sum; got shape {w.shape}.")
    shares: Floats = w / w.sum()
    return shares


def _two_columns(probs: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.int64]]:
    p = np.asarray(probs, dtype=np.float64)
    y = np.asarray(labels)
    if p.ndim == 1:
        p = np.column_stack([1 - p, p])
    if p.ndim != 2 or y.shape != (len(p),):
        raise InputError(f"Need probabilities (n, k) or (n,) and labels (n,); got {p.shape} and {y.shape}.")
    inside = (p >= -1e-9) & (p <= 1 + 1e-9)
    if not inside.all():
        row = int(np.flatnonzero(~inside.all(axis=1))[0])
        raise InputError("Probabilities must lie in 0..1 without NaN.", row=row)
    codes = y.astype(np.int64)
    outside = (codes != y) | (codes < 0) | (codes >= p.shape[1])
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise InputError(f"Label {y[row]} is not a class code below {p.shape[1]}.", row=row)
    return p, codes


def _event(scores: npt.ArrayLike, outcomes: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.bool_]]:
    s = np.asarray(scores, dtype=np.float64)
    y = np.asarray(outcomes)
    if s.ndim != 1 or y.shape != s.shape:
        raise InputError(f"Need scores (n,) and outcomes (n,); got {s.shape} and {y.shape}.")
    if np.isnan(s).any():
        raise InputError("A score is NaN.", row=int(np.flatnonzero(np.isnan(s))[0]))
    if not np.isin(y, (0, 1)).all():
        raise InputError("Outcomes must be 0 or 1.", row=int(np.flatnonzero(~np.isin(y, (0, 1)))[0]))
    return s, y.astype(bool)


def nll(probs: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """Mean negative log-likelihood in nats; probabilities are floored at 1e-12 so that one row cannot be infinite."""
    p, y = _two_columns(probs, labels)
    w = _weights(weights, len(y))
    return float(-w @ np.log(np.clip(p[np.arange(len(y)), y], 1e-12, None)))


def cross_entropy(probs: npt.ArrayLike, shares: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """Mean cross-entropy in nats to a truth that is a distribution `(n, k)`, as the answers of many people are.

    Probabilities are floored at 1e-12. The entropy of the shares is the least that any belief can reach.
    """
    p, q = np.asarray(probs, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    if p.ndim != 2 or q.shape != p.shape:
        raise InputError(f"Need probabilities and shares of one shape (n, k); got {p.shape} and {q.shape}.")
    for values, what in ((p, "Probabilities"), (q, "Shares")):
        bad = ~((values >= -1e-9) & (values <= 1 + 1e-9)).all(axis=1)
        if bad.any():
            raise InputError(f"{what} must lie in 0..1 without NaN.", row=int(np.flatnonzero(bad)[0]))
    return float(-_weights(weights, len(p)) @ (q * np.log(np.clip(p, 1e-12, None))).sum(axis=1))


def brier(probs: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """Mean squared distance to the outcome: over all k columns for `(n, k)`, over the event alone for `(n,)`."""
    event = np.asarray(probs).ndim == 1
    p, y = _two_columns(probs, labels)
    squares = (p - np.eye(p.shape[1])[y]) ** 2
    return float(_weights(weights, len(y)) @ (squares[:, 1] if event else squares.sum(axis=1)))


def ece(probs: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None, bins: int = 15) -> float:
    """Expected calibration error: mean gap between confidence and accuracy over `bins` bins of equal width.

    For `(n, k)` the confidence is that of the first largest class; for `(n,)` it is the chance of the event.
    """
    if bins < 1:
        raise InputError(f"The calibration error needs at least one bin; got {bins}.")
    event = np.asarray(probs).ndim == 1
    p, y = _two_columns(probs, labels)
    w = _weights(weights, len(y))
    confidence = p[:, 1] if event else p.max(axis=1)
    right = (y == 1) if event else (p.argmax(axis=1) == y)
    bin_of = np.minimum((np.clip(confidence, 0, 1) * bins).astype(np.int64), bins - 1)
    return float(np.abs(np.bincount(bin_of, w * (confidence - right), minlength=bins)).sum())


def _steps(s: Floats, y: npt.NDArray[np.bool_], w: Floats) -> tuple[Floats, Floats]:
    # Weight of outcomes 1 and 0 at each distinct score, from the highest score down.
    _, place = np.unique(-s, return_inverse=True)
    return np.bincount(place, w * y).astype(np.float64), np.bincount(place, w * ~y).astype(np.float64)


def auroc(scores: npt.ArrayLike, outcomes: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """Chance that a random 1 scores above a random 0, ties counted half; NaN where only one outcome occurs."""
    s, y = _event(scores, outcomes)
    ones, zeros = _steps(s, y, _weights(weights, len(y)))
    if ones.sum() == 0 or zeros.sum() == 0:
        return float("nan")
    above = np.cumsum(ones) - ones
    return float(np.sum(zeros * (above + ones / 2)) / (ones.sum() * zeros.sum()))


def average_precision(scores: npt.ArrayLike, outcomes: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """Precision averaged over the recall gained at each distinct score; NaN where no outcome is 1."""
    s, y = _event(scores, outcomes)
    ones, zeros = _steps(s, y, _weights(weights, len(y)))
    if ones.sum() == 0:
        return float("nan")
    taken = np.cumsum(ones + zeros)
    precision = np.divide(np.cumsum(ones), taken, out=np.zeros_like(taken), where=taken > 0)
    return float(np.sum(precision * ones) / ones.sum())

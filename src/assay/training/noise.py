"""Labels made wrong on purpose, so that it is known which ones are: the noise of published experiments, by name.

Rates of different papers are not comparable unless the convention is named. Here `rate` is always the chance that a
label ends up *wrong*; `redraw=True` gives the other convention, in which a label is redrawn over all k classes with
chance `rate` and so ends up wrong with chance rate * (1 - 1/k) only.

Every function takes codes (n,) and gives a `Flipped`; `exact=True` makes exactly round(rate * n_c) labels of each class
wrong instead of that many on average. Rows are chosen by one random number each (order sampling, Rosen 1997).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from assay.errors import InputError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Flipped:
    """Labels of which some were made wrong.

    Parameters
    ----------
    labels : (n,) int64 codes.
    wrong : (n,) bool, which differ from the truth.
    """

    labels: Ints
    wrong: Bools

    @property
    def rate(self) -> float:
        """Share of the labels that are wrong."""
        return float(self.wrong.mean()) if len(self.wrong) else 0.0


def symmetric(
    truth: npt.ArrayLike, n_classes: int, rate: float, *, redraw: bool = False, exact: bool = False, seed: int = 0
) -> Flipped:
    """Each label is wrong with chance `rate`, and then any other class, all alike.

    Parameters
    ----------
    truth : (n,) codes in 0..n_classes-1.
    n_classes : k.
    rate : in 0..1, see the module for its meaning with `redraw`.
    redraw : redraw over all k classes, as the reference code of ELR, LDR and others does.
    exact : the same number in every experiment, class by class.
    seed : of everything drawn.

    >>> found = symmetric(np.repeat([0, 1, 2], 100), 3, 0.4, exact=True)
    >>> found.rate, int(found.wrong[:100].sum())
    (0.4, 40)
    """
    others = (1 - np.eye(n_classes)) / max(n_classes - 1, 1)
    _check_rate(rate)
    return by_matrix(truth, others, rate * (1 - 1 / n_classes) if redraw else rate, exact=exact, seed=seed)


def pair(
    truth: npt.ArrayLike,
    n_classes: int,
    rate: float,
    *,
    pairs: Mapping[int, int] | None = None,
    exact: bool = False,
    seed: int = 0,
) -> Flipped:
    """Each label is wrong with chance `rate`, and then always the same other class ("asymmetric" noise).

    Parameters
    ----------
    pairs : which class each is mistaken for; classes not named stay right. None: each for the next one.
    """
    to = {c: (c + 1) % n_classes for c in range(n_classes)} if pairs is None else dict(pairs)
    others = np.zeros((n_classes, n_classes))
    for c, other in to.items():
        if not (0 <= c < n_classes and 0 <= other < n_classes and c != other):
            raise InputError(f"Pair {c} -> {other} is none of two different classes in 0..{n_classes - 1}.")
        others[c, other] = 1
    return by_matrix(truth, others, rate, exact=exact, seed=seed)


def by_matrix(
    truth: npt.ArrayLike,
    others: npt.ArrayLike,
    rate: float | npt.ArrayLike = 1.0,
    *,
    exact: bool = False,
    seed: int = 0,
) -> Flipped:
    """Each label is wrong with chance `rate`, and then drawn from the row of its class in `others`.

    Parameters
    ----------
    truth : (n,) codes.
    others : (k, k) chances of the wrong classes; the diagonal is not read. A row of zeros is a class that stays right.
    rate : one number, or one a row (n,).
    """
    matrix = np.array(others, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not (np.isfinite(matrix) & (matrix >= 0)).all():
        raise InputError(f"The matrix of wrong classes has shape {matrix.shape}: give (k, k) chances, none negative.")
    codes = _check_codes(truth, len(matrix))
    np.fill_diagonal(matrix, 0)
    total = matrix.sum(1)
    chance = np.broadcast_to(np.asarray(rate, dtype=np.float64), codes.shape)
    _check_rate(chance)
    rng = np.random.default_rng(seed)
    wrong = _chosen(codes, np.where(total[codes] > 0, chance, 0), exact, rng)
    rising = np.cumsum(matrix / np.where(total > 0, total, 1)[:, None], axis=1)  # (k, k)
    labels = codes.copy()
    at = rng.random(len(codes))[wrong] * rising[codes[wrong], -1]
    labels[wrong] = (rising[codes[wrong]] <= at[:, None]).sum(1)
    return Flipped(labels, wrong)


def instance_dependent(
    features: npt.ArrayLike,
    truth: npt.ArrayLike,
    n_classes: int,
    rate: float,
    *,
    spread: float = 0.1,
    exact: bool = False,
    seed: int = 0,
) -> Flipped:
    """Which label is wrong, and how, depends on the row (Xia et al. 2020, "Part-dependent Label Noise", algorithm 2).

        q_i ~ Normal(rate, spread^2) cut to 0..1;   W_c ~ Normal(0, 1) of shape (d, k) for each class c
        label i is wrong with chance q_i, and then class j != y_i with chance softmax_j(x_i W_{y_i})

    Parameters
    ----------
    features : (n, ...) numbers; each column is standardised first, so that no scale is built in.
    spread : standard deviation of the rows' chances; memory is O(n k + d k).
    """
    codes = _check_codes(truth, n_classes)
    _check_rate(rate)
    x = np.asarray(features, dtype=np.float64).reshape(len(codes), -1)
    if not np.isfinite(x).all():
        raise InputError("Features hold a value that is not finite.", row=int((~np.isfinite(x)).any(1).argmax()))
    scale = x.std(0)
    x = (x - x.mean(0)) / np.where(scale > 0, scale, 1)
    rng = np.random.default_rng(seed)
    low, high = (0 - rate) / spread, (1 - rate) / spread
    chance = stats.truncnorm.rvs(low, high, loc=rate, scale=spread, size=len(codes), random_state=rng)
    wrong = _chosen(codes, chance if rate > 0 else np.zeros(len(codes)), exact, rng)
    scores = np.full((len(codes), n_classes), -np.inf)
    for c in range(n_classes):
        rows = codes == c
        scores[rows] = x[rows] @ rng.standard_normal((x.shape[1], n_classes))
    scores[np.arange(len(codes)), codes] = -np.inf
    rising = np.cumsum(special.softmax(scores, axis=1), axis=1)
    drawn = (rising <= (rng.random(len(codes)) * rising[:, -1])[:, None]).sum(1)
    return Flipped(np.where(wrong, drawn, codes), wrong)


def _chosen(codes: Ints, chance: Floats, exact: bool, rng: np.random.Generator) -> Bools:
    """Which rows are wrong: each with its chance, or, exactly, the rounded sum of the chances of each class."""
    u = rng.random(len(codes))
    if not exact:
        return u < chance
    with np.errstate(divide="ignore"):
        rank = special.logit(u) - special.logit(chance)  # the smallest are taken: chances of inclusion stay right
    wrong = np.zeros(len(codes), dtype=bool)
    for c in np.unique(codes):
        rows = np.flatnonzero(codes == c)
        wrong[rows[np.argsort(rank[rows], kind="stable")[: round(chance[rows].sum())]]] = True
    return wrong


def _check_codes(truth: npt.ArrayLike, k: int) -> Ints:
    codes = np.asarray(truth)
    if codes.ndim != 1 or codes.dtype.kind not in "iu":
        raise InputError(f"True labels are {codes.dtype} {codes.shape}: give integer codes (n,).")
    bad = (codes < 0) | (codes >= k)
    if bad.any():
        row = int(bad.argmax())
        raise InputError(f"Label code {codes[row]} is outside 0..{k - 1}.", row=row)
    return codes.astype(np.int64)


def _check_rate(rate: float | Floats) -> None:
    values = np.asarray(rate)
    if not ((values >= 0) & (values <= 1)).all():
        raise InputError(f"A rate is {values[~((values >= 0) & (values <= 1))].flat[0]}: it lies in 0..1.")

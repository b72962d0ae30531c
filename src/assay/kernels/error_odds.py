"""The odds that a label is wrong: tempered noise matrix, temperature, matching mean, Bayesian logistic fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg, optimize, special

from assay.kernels.joint import joint_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_BLOCK = 4_000_000  # probabilities handled at a time
_ROWS = 32_768  # rows handled at a time: small enough that other threads get their turn in between


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


@dataclass(frozen=True, slots=True)
class ErrorOdds:
    """The odds of m rows before any verdict, and what they may be moved by; all columns (m,).

    Parameters
    ----------
    z : logit before verdicts.
    disagrees : whether the classifier prefers another class.
    entropy : of the probabilities, in 0..1.
    extra : (m, f) further columns.
    groups : name to codes; each code of each name has an effect of its own.
    spreads : name to prior standard deviation, of "shift", "disagrees", "slope", "slope_agreeing", "entropy",
        "features" and of each group.
    """

    z: Floats
    disagrees: npt.NDArray[np.bool_]
    entropy: Floats
    extra: Floats
    groups: Mapping[str, Ints]
    spreads: Mapping[str, float]

    def dense(self, rows: Ints | slice) -> Floats:
        """The columns that every row has (., 5 + f)."""
        z, other = self.z[rows], self.disagrees[rows].astype(np.float64)
        columns = [np.ones(len(z)), other, z * other, z * (1 - other), self.entropy[rows]]
        return np.column_stack([*columns, self.extra[rows]])

    def fit(self, rows: Ints, outcome: Floats, weights: Floats) -> OddsPosterior:
        """Learn from the verdicts `outcome` (v,), in 0..1, on some rows (v,)."""
        names = ["shift", "disagrees", "slope", "slope_agreeing", "entropy", *["features"] * self.extra.shape[1]]
        widths, columns = [self.spreads[name] for name in names], [self.dense(rows)]
        levels: dict[str, Ints] = {}
        for name, codes in self.groups.items():
            levels[name] = np.unique(codes[rows])
            columns.append((codes[rows][:, None] == levels[name]).astype(np.float64))
            widths += [self.spreads[name]] * len(levels[name])
        beta, covariance = fit_logistic(np.hstack(columns), self.z[rows], outcome, weights, np.array(widths))
        return OddsPosterior(beta, covariance, len(names), levels)

    def moved(self, by: OddsPosterior) -> Iterator[tuple[slice, Floats, Floats]]:
        """Rows, their logits after the verdicts and the variance of these, a block of rows at a time."""
        for start in range(0, len(self.z), _ROWS):
            rows = slice(start, min(start + _ROWS, len(self.z)))
            yield rows, *self._moved(rows, by)

    def _moved(self, rows: slice, by: OddsPosterior) -> tuple[Floats, Floats]:
        d, dense = by.n_dense, self.dense(rows)
        beta, covariance = by.beta, by.covariance
        eta = self.z[rows] + dense @ beta[:d]
        variance = np.einsum("ni,ni->n", dense @ covariance[:d, :d], dense)
        columns: list[tuple[npt.NDArray[np.bool_], Ints]] = []
        start = d
        for name, all_codes in self.groups.items():
            codes, known_levels = all_codes[rows], by.levels[name]
            found = np.minimum(np.searchsorted(known_levels, codes), max(len(known_levels) - 1, 0))
            known = known_levels[found] == codes if len(known_levels) else np.zeros(len(codes), dtype=bool)
            column = np.where(known, start + found, 0)
            eta = eta + np.where(known, beta[column], 0.0)
            with_dense = np.einsum("ni,ni->n", dense, covariance[column, :d])
            # A level that no verdict has touched keeps its prior variance.
            own = np.where(known, covariance[column, column] + 2 * with_dense, self.spreads[name] ** 2)
            variance = variance + own
            for other_known, other in columns:
                variance = variance + np.where(known & other_known, 2 * covariance[column, other], 0.0)
            columns.append((known, column))
            start += len(known_levels)
        return eta, np.maximum(variance, 0.0)


@dataclass(frozen=True, slots=True)
class OddsPosterior:
    """Coefficients (d,) after verdicts and their covariance (d, d): `n_dense` columns, then each group's levels."""

    beta: Floats
    covariance: Floats
    n_dense: int
    levels: Mapping[str, Ints]

    def of_group(self, name: str) -> Floats:
        """Coefficients of the levels of a group."""
        before = list(self.levels)[: list(self.levels).index(name)]
        start = self.n_dense + sum(len(self.levels[each]) for each in before)
        return self.beta[start : start + len(self.levels[name])]


def blocks_of(n: int, k: int) -> list[slice]:
    """Slices of n rows of k numbers that are handled at a time."""
    step = max(1, _BLOCK // k)
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]

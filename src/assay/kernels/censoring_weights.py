"""Weights that undo censoring, how far to trust them, and the law of censoring that they come from.

    w_i = delta_i / max(G(T_i- | X_i), floor)

with G of `assay.kernels.censoring`: Kaplan-Meier's, or Beran's with each row left out of its own curve. Legend of
shapes: n rows, m other rows, d features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize

from assay.errors import InputError
from assay.kernels.censoring import bandwidth_scores, beran
from assay.kernels.timeline import Timeline

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FEW, PENALTIES, FOLDS = 10, (1e6, 1e4, 1e3, 1e2, 10.0), 3
ROUNDS = 8  # between rates and their baseline; the direction then moves by less than its error


class CensoringLaw:
    """P(C >= t | x), estimated from censored rows.

    Parameters
    ----------
    time, event : (n,) times, and whether the label is known.
    points : (n, d) what censoring may depend on; None for one law for all (Kaplan-Meier).
    bandwidth : of Beran's kernel, in standard deviations; None to choose one by likelihood.
    score : whether rows are near each other by `censoring_score` alone, which then is the first guess of their rates
        too [design]: of many features, where every row is far from every other.

    Attributes
    ----------
    likelihood : leave-one-out log-likelihood of the censoring process, a row, where a bandwidth was chosen; else nan.
    """

    def __init__(
        self,
        time: npt.ArrayLike,
        event: npt.ArrayLike,
        points: npt.ArrayLike | None = None,
        bandwidth: float | None = None,
        score: bool = False,
    ) -> None:
        self.line = Timeline(time, event)
        self.likelihood = float("nan")
        self._points: Floats | None = None
        if points is None or not self.line.censored.any():  # without censoring every law is one
            return
        raw = np.asarray(points, dtype=np.float64)
        if raw.ndim != 2 or len(raw) != len(self.line.order) or not np.isfinite(raw).all():
            raise InputError(
                f"Beran's law needs finite features of {len(self.line.order)} rows, (n, d); got {raw.shape}."
            )
        self._center, scale = raw.mean(0), raw.std(0)
        self._scale = np.where(scale > 1e-12 * np.abs(self._center), scale, np.inf)  # constant columns drop out
        standard = ((raw - self._center) / self._scale)[self.line.order]
        self._direction: Floats | None = None
        near, rates = standard, np.ones(len(standard))
        if score:
            self._direction, scores = censoring_score(self.line, standard)
            near, rates = self._along(scores)
        n, d = near.shape
        if bandwidth is None:
            grid = n ** (-1 / (d + 4)) * 2.0 ** np.arange(-1, 5)
            scores = bandwidth_scores(self.line, near, grid, rates)
            bandwidth, self.likelihood = float(grid[np.argmax(scores)]), float(scores.max())
        if not bandwidth > 0:
            raise InputError(f"bandwidth is {bandwidth}: expected a number above 0, or None to choose one.")
        self.bandwidth = bandwidth
        self._points, self._rates = near / bandwidth, rates

    def _along(self, scores: Floats) -> tuple[Floats, Floats]:
        """Places along the score (m, 1), by which rows are near each other, and rates of censoring (m,)."""
        assert self._direction is not None
        spread = float(np.sqrt(self._direction @ self._direction)) or 1.0
        return scores[:, None] / spread, np.exp(np.clip(scores, -20, 20))

    def own(self) -> tuple[Floats, Bools]:
        """G(T_i- | X_i) of the rows themselves, each left out of Beran's law (n,), nan for censored rows.

        Also which rows had no neighbour and took the Kaplan-Meier law (n,).
        """
        line, n = self.line, len(self.line.order)
        alone = np.zeros(n, dtype=np.bool_)
        if self._points is None:
            return line.own(), alone
        places = np.flatnonzero(~line.censored)
        rows, g = line.order[places], np.full(n, np.nan)
        until, rates = line.places(line.time[places]), (self._rates, self._rates[places])
        g[rows], _, alone[rows] = beran(line, self._points, self._points[places], until, places, rates=rates)
        return g, alone

    def at(self, time: npt.ArrayLike, points: npt.ArrayLike | None = None, after: bool = False) -> Floats:
        """P(C >= time | x), or with `after` P(C > time | x), for other rows (m,)."""
        places = self.line.places(time, after)
        if self._points is None:
            return self.line.left[places]
        raw = np.asarray(points, dtype=np.float64)
        if raw.shape != (len(places), len(self._center)) or not np.isfinite(raw).all():
            raise InputError(
                f"The law was fitted on {len(self._center)} features and is asked at {len(places)} times: expected as "
                f"many finite rows and columns, got {raw.shape}."
            )
        near, rates = (raw - self._center) / self._scale, np.ones(len(raw))
        if self._direction is not None:
            near, rates = self._along(near @ self._direction)
        return beran(self.line, self._points, near / self.bandwidth, places, rates=(self._rates, rates))[0]


def censoring_score(line: Timeline, points: Floats) -> tuple[Floats, Floats]:
    """The direction (d,) in which the rate of censoring grows, and each row's own logarithm of the rate (n,).

    The proportional-hazards model of Cox (1972) with a penalty, of standardised features (n, d), in the order of
    `line`: Poisson regression of the censorings, a row being exposed to the baseline's cumulative hazard until its
    time, and the baseline of Breslow, turn by turn. Only the order of times matters.

    Up to `FEW` features the penalty is 1. More of them would tell the rows apart instead of their rates: rows then get
    theirs from directions that have not seen them, which choose the penalty too.
    """
    n, d = points.shape
    if d <= FEW:
        w = _direction(line.censored, points, 1.0)[0]
        return w, points @ w
    fold, best, least, scores = np.arange(n) % FOLDS, PENALTIES[0], np.inf, np.zeros(n)
    for penalty in PENALTIES:
        told, error = np.zeros(n), 0.0
        for held in range(FOLDS):
            seen, out = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
            w, until = _direction(line.censored[seen], points[seen], penalty)
            log = told[out] = np.minimum(points[out] @ w, 30.0)
            place = np.minimum(np.searchsorted(seen, out), len(seen) - 1)
            error += float((until[place] * np.exp(log) - line.censored[out] * log).sum())
        if error < least:
            best, least, scores = penalty, error, told
    return _direction(line.censored, points, best)[0], scores


def _direction(censored: Bools, points: Floats, penalty: float) -> tuple[Floats, Floats]:
    """The direction (d,) at a penalty, and the cumulative hazard of the baseline until each row (n,)."""
    w = np.zeros(points.shape[1])
    if not censored.any():
        return w, np.zeros(len(points))
    for _ in range(ROUNDS):
        until = np.cumsum(censored / np.cumsum(np.exp(points @ w)[::-1])[::-1])
        until = np.maximum(until, until[until > 0].min() / 2)

        def loss(w: Floats, until: Floats = until) -> tuple[float, Floats]:
            log = np.minimum(points @ w, 30.0)
            expected = until * np.exp(log)
            slope = (expected - censored) @ points + penalty * w
            return float(expected.sum() - log[censored].sum() + 0.5 * penalty * w @ w), slope

        w = optimize.minimize(loss, w, jac=True, method="L-BFGS-B").x
    return np.asarray(w, dtype=np.float64), np.asarray(until)


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Weights of rows with a known label, and how far they can be trusted.

    Parameters
    ----------
    weights : (n,) 0 for censored rows.
    survival : (n,) the chance G(T-|X) to have been seen, before the floor; nan for censored rows.
    isolated : (n,) rows without a neighbour.
    floor : the least chance that counts.
    """

    weights: Floats
    survival: Floats
    isolated: Bools
    floor: float

    @property
    def effective_rows(self) -> float:
        """How many equal weights would vary a mean as much: (sum w)^2 / sum w^2."""
        total = float(self.weights.sum())
        return total * total / float((self.weights**2).sum()) if total > 0 else 0.0

    @property
    def floored(self) -> Bools:
        """Rows whose weight was cut (n,)."""
        return np.asarray(self.survival < self.floor)

    def alarms(self, limit: str = "tau") -> list[str]:
        """What stands against the assumption that every label had a chance to be seen, a sentence each.

        `limit` is what the reader calls the time up to which labels are learned. The thresholds are ours: weights 10 %
        off on average, 2 % of them cut, 30 % of the known labels effective.
        """
        known = self.weights > 0
        found = []
        mean = float(self.weights.mean())
        if not 0.9 <= mean <= 1.1:
            found.append(
                f"The weights average {mean:.2f} and should average 1: long labels are missing, or the law of "
                f"censoring is poor. Set {limit} to a time that enough rows reach."
            )
        if self.floored.sum() > 0.02 * known.sum():
            found.append(
                f"{self.floored.sum()} of {known.sum()} known labels had a chance below {self.floor:g} to be seen; "
                f"their weights were cut, and they count too little. Set {limit} below them."
            )
        if self.effective_rows < 0.3 * known.sum():
            found.append(
                f"{known.sum()} known labels are worth {self.effective_rows:.0f} equal ones: a few rows decide. Set "
                f"{limit} to an earlier time."
            )
        if self.isolated.any():
            found.append(f"{self.isolated.sum()} rows have no neighbour and take the Kaplan-Meier law.")
        return found


def own_weights(law: CensoringLaw, event: Bools, floor: float | None = None) -> Weights:
    """Weights of the rows that the law was fitted on, each left out of Beran's curve.

    `floor` None is `least_chance`.
    """
    if not event.any():
        raise InputError("Every row is censored, so no label is known: at least some events are needed.")
    if floor is None:
        floor = least_chance(len(event))
    if not 0 <= floor < 1:
        raise InputError(f"floor is {floor}: expected a chance in 0..1, such as 0.05.")
    survival, alone = law.own()
    return inverse(survival, event, alone, floor)


def least_chance(n: int) -> float:
    """The usual floor, n^{-1/2} and at most 0.05: one that stays keeps a bias that more rows do not remove."""
    return float(min(0.05, n**-0.5))


def inverse(survival: Floats, event: Bools, alone: Bools, floor: float) -> Weights:
    """Weights from chances to be seen (n,), read where `event`, and which rows were `alone`."""
    least = max(floor, np.finfo(np.float64).tiny)
    weights = np.fmax(survival, least)  # nan is the lesser
    np.reciprocal(weights, out=weights)
    weights *= event
    return Weights(weights, survival, alone, floor)

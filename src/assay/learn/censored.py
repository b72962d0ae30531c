"""Learning durations that are known only up to a bound: any regressor, weighted so that long labels count in full.

Of some rows one knows only that the label is larger than the time at which watching ended. Dropping those rows, or
taking the bound for the label, pulls every prediction down, since long labels are the ones that get cut. A row whose
label T was seen stands for all rows like it whose label was not, so it weighs the inverse of its chance to be seen.

Paper: Ausset, Clemencon, Portier, "Empirical Risk Minimization under Random Censorship", JMLR 2022, arXiv 1906.01908.

    w_i = delta_i / max(G(T_i- | X_i), floor)          risk(f) = 1/n sum_i w_i (T_i - f(X_i))^2

with T = min(Y, C), delta = 1[Y <= C], G(t-|x) = P(C >= t | X = x). Its laws: Kaplan-Meier, where censoring is the same
for all rows, and Beran, a Kaplan-Meier curve around each row that leaves the row itself out, where it depends on X.
The left limit matters with ties: a censoring at the instant of an event comes after it.

When to use: durations, lifetimes, times to default, under right censoring that depends at most on the features. When
not: censoring that knows the label (people leave because they are ill); labels beyond the longest follow-up, which no
weight recovers: set `tau` and learn min(Y, tau). In more than about five features Beran's curve sees no near rows: take
`law="score"`, or give the few that censoring depends on, or a learned representation, as `covariates`.

Departures (the paper states none of these): Gaussian kernel on standardised features; bandwidth by the leave-one-out
likelihood of the censoring process in ten intervals; weights cut at n^{1/2}; a row without any neighbour takes the
Kaplan-Meier law. `law="score"` is Beran's curve along one direction, that of a log-linear rate of censoring, with this
rate as its start: each step is scaled by the row's own rate over those at risk, so that a wide kernel has no bias where
the rate is right. It mends most of the bias that Beran's smoothing leaves. `tests/learn/test_censored.py` has the tie
rules in numbers; scikit-survival reads the curve at T, not before it, and differs where times are tied.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.linear_model import LinearRegression
from sklearn.utils.validation import check_is_fitted, validate_data

from assay.errors import InputError
from assay.kernels.censoring_weights import CensoringLaw, Weights, inverse, own_weights
from assay.kernels.survival_scores import Normalise, WeightedMean, brier, concordance, weighted_mean
from assay.labels import Censored
from assay.labels.formats.survival import read_survival

METHOD = {
    "name": "censored",
    "title": "Regression under censoring",
    "paper": "Ausset, Clemencon, Portier, 2022, Empirical Risk Minimization under Random Censorship",
    "arxiv": "1906.01908",
    "accepts": ["censored"],
    "gives": ["regressor", "weights", "risk with interval", "concordance", "alarms"],
    "command": "assay learn TABLE --time COLUMN --event COLUMN",
    "claim": "With half the labels censored by a law that depends on X, weights remove at least 95 % of the excess "
    "error of taking the bounds for labels; Beran's estimate of a second moment is within 5 %, along the score among "
    "eight columns of noise too, and Kaplan-Meier's is not.",
    "status": "stable",
}

Law = Literal["kaplan_meier", "beran", "score"]
Floats = npt.NDArray[np.float64]

FEWEST = 10  # effective rows below which nothing is learned


def ipcw(
    labels: Censored,
    points: npt.ArrayLike | None = None,
    bandwidth: float | None = None,
    floor: float | None = None,
    score: bool = False,
) -> Weights:
    """Weights that undo censoring, for any loss of any model: pass them as `sample_weight`, or multiply row losses.

    Parameters
    ----------
    labels : times and events.
    points : (n, d) what censoring depends on (Beran's law); None: nothing (Kaplan-Meier), in O(n log n).
    bandwidth, score : see `CensoringLaw`.
    floor : chances to be seen count as no less, which bounds the weights by 1/floor at the price of some bias. None:
        n^{-1/2}, at most 0.05.

    Examples
    --------
    Four of six labels are known. Censorings at 2 and 3 come after the events of the same time:

    >>> tied = Censored.from_time_event([1, 2, 2, 3, 3, 4], np.array([1, 0, 1, 0, 1, 1]) == 1)
    >>> ipcw(tied).weights.round(3).tolist()
    [1.0, 0.0, 1.0, 0.0, 1.333, 2.667]
    """
    return own_weights(CensoringLaw(labels.time, labels.event, points, bandwidth, score), labels.event, floor)


def restricted(labels: Censored, tau: float | None) -> Censored:
    """The labels min(Y, tau): rows watched until tau are known then. None: as they are."""
    if tau is None:
        return labels
    if not tau > 0:
        raise InputError(f"tau is {tau}: expected a time above 0.")
    time = labels.time
    return Censored.from_time_event(np.minimum(time, tau), labels.event | (time >= tau))


class CensoredRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A regressor fitted on the rows whose label is known, weighted for those whose label is not.

    Parameters
    ----------
    regressor : any of scikit-learn's that takes `sample_weight`; None: least squares.
    law : "kaplan_meier" where censoring does not depend on X; "beran" where it may; "score" where it may and X has more
        than a few features: rows are near each other by one number, the rate of censoring that they make likely.
    bandwidth : of Beran's kernel, in standard deviations; None: by likelihood, on a grid of six.
    floor : the least chance to be seen that counts; None: n^{-1/2}, at most 0.05.
    tau : learn min(Y, tau); None: Y itself.

    Attributes
    ----------
    regressor_ : the fitted regressor.
    law_ : the fitted `CensoringLaw`.
    weights_ : the `Weights` of the training rows.

    Examples
    --------
    >>> X, time = np.arange(40.0)[:, None], np.arange(40.0)
    >>> model = CensoredRegressor(law="kaplan_meier").fit(X, time, np.arange(40) % 3 > 0)
    >>> model.predict([[50.0]]).round(6).tolist()
    [50.0]
    """

    def __init__(
        self,
        regressor: Any = None,
        law: Law = "beran",
        bandwidth: float | None = None,
        floor: float | None = None,
        tau: float | None = None,
    ) -> None:
        self.regressor = regressor
        self.law = law
        self.bandwidth = bandwidth
        self.floor = floor
        self.tau = tau

    def fit(self, X: Any, y: Any, event: npt.ArrayLike | None = None, covariates: npt.ArrayLike | None = None) -> Self:
        """Estimate the law of censoring, weigh the rows, and fit the regressor on those with a known label.

        Parameters
        ----------
        X : (n, d) features.
        y : (n,) times with `event` (n,) flags; or both at once: `Censored`, a structured array (flag, time) as
            scikit-survival's, or two columns (time, flag). The latter are split together by scikit-learn's tools.
        covariates : (n, q) what censoring depends on, where it is not X itself.

        Warns where labels had hardly a chance to be seen; refuses where fewer than ten effective rows are left.
        """
        if self.law not in ("kaplan_meier", "beran", "score"):
            raise InputError(f"law is {self.law!r}: expected 'kaplan_meier', 'beran' or 'score'.")
        labels = restricted(read_survival(y, event), self.tau)
        X = validate_data(self, X)
        if len(X) != labels.n_rows:
            raise InputError(f"X has {len(X)} rows and the labels {labels.n_rows}: they must be of the same rows.")
        points = None if self.law == "kaplan_meier" else X if covariates is None else covariates
        self._given = covariates is not None
        self.law_ = CensoringLaw(labels.time, labels.event, points, self.bandwidth, score=self.law == "score")
        self.weights_ = own_weights(self.law_, labels.event, self.floor)
        if self.weights_.effective_rows < FEWEST:
            raise InputError(
                f"The known labels are worth {self.weights_.effective_rows:.1f} equal rows, fewer than {FEWEST}: "
                "bring more rows with events, raise floor, or set tau."
            )
        for alarm in self.weights_.alarms():
            warnings.warn(alarm, stacklevel=2)
        known = np.flatnonzero(labels.event)  # rows of weight 0 would count in the leaves of trees
        model = LinearRegression() if self.regressor is None else clone(self.regressor)
        self.regressor_ = model.fit(X[known], labels.time[known], sample_weight=self.weights_.weights[known])
        return self

    def predict(self, X: Any) -> Floats:
        """Predicted labels, min(Y, tau) where tau was set (m,)."""
        check_is_fitted(self)
        return np.asarray(self.regressor_.predict(validate_data(self, X, reset=False)), dtype=np.float64)

    def weigh(self, X: Any, y: Any, event: npt.ArrayLike | None = None, covariates: Any = None) -> Weights:
        """Weights of other rows, with the law of the training rows; arguments as for `fit`."""
        check_is_fitted(self)
        labels = restricted(read_survival(y, event), self.tau)
        if self.law != "kaplan_meier" and (covariates is not None) != self._given:
            raise InputError(f"`fit` was given {'' if self._given else 'no '}covariates: do likewise here.")
        points = validate_data(self, X, reset=False) if covariates is None else covariates
        survival = np.where(labels.event, self.law_.at(labels.time, points), np.nan)
        return inverse(survival, labels.event, np.zeros(labels.n_rows, dtype=np.bool_), self.weights_.floor)

    def risk(
        self,
        X: Any,
        y: Any,
        event: npt.ArrayLike | None = None,
        covariates: Any = None,
        normalise: Normalise = "rows",
    ) -> WeightedMean:
        """Mean squared error of the predictions on other rows, censored ones among them, with a 95 % interval."""
        labels = restricted(read_survival(y, event), self.tau)
        weights = self.weigh(X, labels, None, covariates).weights
        return weighted_mean((labels.time - self.predict(X)) ** 2, weights, normalise)

    def score(self, X: Any, y: Any, event: npt.ArrayLike | None = None) -> float:
        """Minus the estimated mean squared error, so that scikit-learn's searches pick the least."""
        return -self.risk(X, y, event).value

    def concordance(self, X: Any, y: Any, event: npt.ArrayLike | None = None, covariates: Any = None) -> float:
        """Share of pairs in the right order, weighted for censoring (Uno); 0.5 for guesses."""
        labels = restricted(read_survival(y, event), self.tau)
        weights = self.weigh(X, labels, None, covariates).weights
        return concordance(labels.time, labels.event, self.predict(X), weights**2)

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """Of every training row: weight, chance to be seen, whether that was cut, whether it had no neighbour."""
        check_is_fitted(self)
        told = self.weights_
        return {
            "weight": told.weights,
            "chance_seen": told.survival,
            "cut": told.floored,
            "isolated": told.isolated,
        }


def brier_score(
    model: CensoredRegressor,
    X: Any,
    y: Any,
    survival: npt.ArrayLike,
    horizon: float,
    event: npt.ArrayLike | None = None,
    covariates: Any = None,
) -> float:
    """Brier score at `horizon` of predicted P(Y > horizon) (m,), under the law of censoring that `model` learned."""
    labels = read_survival(y, event)
    weights = model.weigh(X, labels, None, covariates).weights
    later = model.law_.at(np.full(labels.n_rows, horizon), X if covariates is None else covariates, after=True)
    return brier(labels.time, survival, weights, horizon, np.maximum(later, model.weights_.floor))

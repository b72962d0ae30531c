"""The chance that each given label is wrong: calibrated, and better with every verdict of a reviewer.

Before anyone has looked, the chance comes from confident learning (Northcutt, Jiang, Chuang, 2021, arXiv 1911.00068).
Its confident joint says how often class j is given as class i; with the classifier's probabilities p that is, by Bayes,

    odds(wrong | x, given i) = sum_{j != i} N[i, j] p_j / (N[i, i] p_i),        N[i, j] = P(given i | true j)

with one pseudo-count for each pair of classes, the temperature of p fitted to the labels, and the odds scaled until
the mean chance equals the error rate of the joint. Then verdicts w move it, by a Bayesian logistic model:

    logit P(w = 1) = z + a + b z + c + d entropy + g[given] + h[guess] + m[given, guess] + features . f

z is the logit from before; b has one value where the classifier prefers another class and one where it agrees, and c
is added in the first case alone; a ... f are normal around zero with fixed spreads (`SPREADS`), so that with no
verdict the answer is the prior and with few it moves little. The guess is the likeliest other class. `low` and `high`
come from the Laplace approximation and are wide where nobody has looked.

Use it to order a review, to state the precision expected of a list, to draw an audit. Not with in-sample
probabilities, and not when reviewers share the labellers' mistake. Reviewed rows are no random sample: rows picked by
anything the model sees need no weights as long as the model holds; `verdict_weights` (one over the chance of being
picked) protect against its failure, and b and c keep what was learned on flagged rows from being taken for granted on
the others until some of them were reviewed.

Departures: cleanlab's scores rank and are not chances; nothing in the paper learns from verdicts.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import special
from sklearn.base import BaseEstimator

from assay.errors import InputError
from assay.kernels.error_odds import ErrorOdds, blocks_of, confident_counts, match_mean, noise_matrix, temperature

METHOD = {
    "name": "error_probability",
    "title": "The chance that a label is wrong",
    "paper": "Northcutt, Jiang, Chuang, 2021, Confident Learning: Estimating Uncertainty in Dataset Labels",
    "arxiv": "1911.00068",
    "accepts": ["hard"],
    "gives": ["chance that a label is wrong", "interval"],
    "command": "assay audit TABLE --label COL",
    "claim": "After verdicts it is calibrated: log loss on human-checked rows below that of the known share of errors.",
    "status": "stable",
}

# Prior standard deviations, in logits: of the common shift, of the slopes on z, of each effect, and of the caller's
# columns ("features"), which are brought to mean 0 and standard deviation 1.
SPREADS = {
    "shift": 2.0, "disagrees": 1.0, "slope": 0.5, "slope_agreeing": 0.25, "entropy": 2.0,
    "given": 0.5, "guess": 0.5, "pair": 0.3, "features": 1.0,
}  # fmt: skip
_LIMIT = 25.0  # logits beyond this mean certainty to double precision

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class ErrorProbability(BaseEstimator):  # type: ignore[misc]
    """Chance that each given label is wrong.

    Parameters
    ----------
    confident_joint : (k, k) calibrated counts, rows given, columns true, when they are known; None: computed here.
    error_rate : mean chance before any verdict; None: that of the confident joint (for one column of chances: their
        mean).
    confidence : level of `low_` and `high_`.

    Attributes
    ----------
    p_wrong_, low_, high_ : (n,) chance and interval; NaN where `mask` is False.
    prior_ : (n,) chance before verdicts.
    guess_ : (n,) likeliest other class; -1 where there is none.
    n_verdicts_ : verdicts used.
    coefficients_ : what moved: name to (levels,) logits.

    Examples
    --------
    >>> import numpy as np
    >>> probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.95, 0.05]])
    >>> model = ErrorProbability().fit(probs, [0, 1, 0, 0])
    >>> int(model.p_wrong_.argmax())
    2
    """

    p_wrong_: Floats
    low_: Floats
    high_: Floats
    prior_: Floats

    def __init__(
        self, confident_joint: npt.ArrayLike | None = None, error_rate: float | None = None, confidence: float = 0.95
    ) -> None:
        self.confident_joint = confident_joint
        self.error_rate = error_rate
        self.confidence = confidence

    def fit(
        self,
        pred_probs: npt.ArrayLike,
        labels: npt.ArrayLike,
        verdict_rows: npt.ArrayLike | None = None,
        verdict_wrong: npt.ArrayLike | None = None,
        verdict_weights: npt.ArrayLike | None = None,
        features: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | None = None,
    ) -> Self:
        """Learn from probabilities, labels and whatever verdicts there are.

        Parameters
        ----------
        pred_probs : (n, k) out-of-sample probabilities, or (n,) one chance a row that its label is right.
        labels : (n,) given class codes.
        verdict_rows : (v,) row numbers; the same row may come again with another reviewer's verdict.
        verdict_wrong : (v,) True, False, or the share of reviewers who found the label wrong.
        verdict_weights : (v,) one over the chance that the row was picked for review; None: equal.
        features : (n, f) further columns, such as agreement of neighbours; finite.
        mask : (n,) True where a row has a label; None: everywhere.
        """
        probs, given, here = _checked(pred_probs, labels, mask)
        verdicts = _verdicts(verdict_rows, verdict_wrong, verdict_weights, here)
        extra = _features(features, here)
        if not 0 < self.confidence < 1:
            raise InputError(f"Confidence must lie between 0 and 1; got {self.confidence}.")
        z, entropy, guess, disagrees = self._prior(probs, given)
        self._here = here
        self._n_classes = k = max(int(given.max()) + 1, probs.shape[1])
        groups = {"given": given}
        if probs.shape[1] > 1:
            groups |= {"guess": guess, "pair": given * k + guess}
        self._odds = ErrorOdds(z, disagrees, entropy, extra, groups, SPREADS)
        self.prior_ = self._column(special.expit(z))
        self.guess_ = np.full(len(here), -1, dtype=np.int64)
        self.guess_[here] = guess
        return self._learn(*verdicts)

    def update(
        self, verdict_rows: npt.ArrayLike, verdict_wrong: npt.ArrayLike, verdict_weights: npt.ArrayLike | None = None
    ) -> Self:
        """Learn from all verdicts so far, given as to `fit`, in place of those before.

        The answer is that of a new `fit`, in a fraction of its time: what does not depend on verdicts is kept. The
        arrays of the attributes are new ones.
        """
        return self._learn(*_verdicts(verdict_rows, verdict_wrong, verdict_weights, self._here))

    def _learn(self, rows: Ints, wrong: Floats, weights: Floats) -> Self:
        at = (np.cumsum(self._here) - 1)[rows]
        posterior = self._odds.fit(at, wrong, weights)
        half = float(special.ndtri(0.5 + self.confidence / 2))
        p, low, high = np.empty((3, len(self._odds.z)))
        for block, eta, variance in self._odds.moved(posterior):
            reach = half * np.sqrt(variance)
            p[block] = special.expit(eta)
            low[block], high[block] = special.expit(eta - reach), special.expit(eta + reach)
        self.p_wrong_, self.low_, self.high_ = self._column(p), self._column(low), self._column(high)
        self.n_verdicts_ = len(rows)
        names = ("shift", "disagrees", "slope", "slope_agreeing", "entropy")
        self.coefficients_ = {name: posterior.beta[i : i + 1] for i, name in enumerate(names)}
        self.coefficients_["features"] = posterior.beta[len(names) : posterior.n_dense]
        for name in self._odds.groups:
            if name != "pair":
                self.coefficients_[name] = np.zeros(self._n_classes)
                self.coefficients_[name][posterior.levels[name]] = posterior.of_group(name)
        return self

    def _column(self, values: Floats) -> Floats:
        """Values of the labelled rows as a column of all rows, NaN elsewhere."""
        column = np.full(len(self._here), np.nan)
        column[self._here] = values
        return column

    def _prior(self, probs: Floats, given: Ints) -> tuple[Floats, Floats, Ints, npt.NDArray[np.bool_]]:
        """Logit before verdicts, entropy in 0..1, likeliest other class, whether that class beats the given one."""
        n, k = probs.shape
        if k == 1:
            z = np.clip(special.logit(1 - probs[:, 0]), -_LIMIT, _LIMIT)
            mean = float(np.mean(1 - probs)) if self.error_rate is None else self.error_rate
            return match_mean(z, mean), np.zeros(n), np.full(n, -1), probs[:, 0] < 0.5
        if self.confident_joint is None:
            joint = confident_counts(probs, given)
        else:
            joint = np.asarray(self.confident_joint, dtype=np.float64)
            if joint.shape != (k, k) or not np.all(joint >= 0) or joint.sum() <= 0:
                raise InputError(f"confident_joint must hold ({k}, {k}) counts; got shape {joint.shape}.")
        rate = 1 - joint.trace() / joint.sum() if self.error_rate is None else self.error_rate
        if not 0 <= rate <= 1:
            raise InputError(f"error_rate must lie in 0..1; got {rate}.")
        noise, power = noise_matrix(joint), temperature(probs, given)
        z, entropy, disagrees = np.empty(n), np.empty(n), np.empty(n, dtype=bool)
        guess = np.empty(n, dtype=np.int64)
        for rows in blocks_of(n, k):
            p, y = probs[rows], given[rows]
            each = np.arange(len(y))
            entropy[rows] = special.entr(p).sum(axis=1) / np.log(k)
            other = p.copy()
            other[each, y] = -1.0
            guess[rows] = other.argmax(axis=1)
            disagrees[rows] = other.max(axis=1) > p[each, y]
            weight = noise[y] * special.softmax(power * np.log(p), axis=1)
            right = weight[each, y]
            weight[each, y] = 0.0
            with np.errstate(divide="ignore"):
                z[rows] = np.log(weight.sum(axis=1)) - np.log(right)
        return match_mean(np.clip(z, -_LIMIT, _LIMIT), rate), entropy, guess, disagrees

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """Columns row, p_wrong, low, high, one entry for each labelled row."""
        rows = np.flatnonzero(~np.isnan(self.p_wrong_))
        return {"row": rows, "p_wrong": self.p_wrong_[rows], "low": self.low_[rows], "high": self.high_[rows]}


def _checked(
    pred_probs: npt.ArrayLike, labels: npt.ArrayLike, mask: npt.ArrayLike | None
) -> tuple[Floats, Ints, npt.NDArray[np.bool_]]:
    """Probabilities (m, k) as a positive distribution, or (m, 1), and classes (m,) of the labelled rows; the mask."""
    probs = np.asarray(pred_probs, dtype=np.float64)
    codes = np.asarray(labels)
    if probs.ndim not in (1, 2) or codes.shape != (len(probs),) or len(probs) == 0:
        raise InputError(f"Need pred_probs (n, k) or (n,) and labels (n,), n > 0; got {probs.shape} and {codes.shape}.")
    if probs.ndim == 2 and probs.shape[1] < 2:
        raise InputError(f"pred_probs needs at least two classes; got shape {probs.shape}.")
    here = np.ones(len(probs), dtype=bool) if mask is None else np.asarray(mask)
    if here.shape != codes.shape or here.dtype != bool or not here.any():
        raise InputError(f"mask must be bool ({len(codes)},) with at least one True; got {here.dtype} {here.shape}.")
    at = np.flatnonzero(here)
    table = probs[here].reshape(len(at), -1)
    bad = ~((table >= 0) & (table <= 1 + 1e-3)).all(axis=1)
    if bad.any():
        raise InputError("pred_probs must lie in 0..1 without NaN.", row=int(at[np.flatnonzero(bad)[0]]))
    odd = np.abs(table.sum(axis=1) - 1) > 1e-2
    if probs.ndim == 2 and odd.any():
        first = int(np.flatnonzero(odd)[0])
        raise InputError(f"pred_probs must sum to one in each row; got {table[first].sum():.4g}.", row=int(at[first]))
    given = codes[here].astype(np.int64)
    outside = (given != codes[here]) | (given < 0) | (given >= (table.shape[1] if probs.ndim == 2 else np.inf))
    if outside.any():
        first = int(at[np.flatnonzero(outside)[0]])
        raise InputError(f"Label {codes[first]!r} is not a class code 0..{table.shape[1] - 1}.", row=first)
    table = np.clip(table, 1e-12, 1.0)
    return (table / table.sum(axis=1, keepdims=True) if probs.ndim == 2 else table), given, here


def _verdicts(
    rows: npt.ArrayLike | None, wrong: npt.ArrayLike | None, weights: npt.ArrayLike | None, here: npt.NDArray[np.bool_]
) -> tuple[Ints, Floats, Floats]:
    if (rows is None) != (wrong is None):
        raise InputError("Verdicts need both verdict_rows and verdict_wrong.")
    at = np.asarray([] if rows is None else rows)
    share = np.asarray([] if wrong is None else wrong, dtype=np.float64)
    weight = np.ones(len(at)) if weights is None else np.asarray(weights, dtype=np.float64)
    if at.ndim != 1 or share.shape != at.shape or weight.shape != at.shape:
        raise InputError(
            f"Verdict rows, verdicts and weights must agree; got {at.shape}, {share.shape}, {weight.shape}."
        )
    if len(at) == 0:
        return np.zeros(0, dtype=np.int64), share, weight
    if not np.issubdtype(at.dtype, np.integer):
        raise InputError(f"verdict_rows must be row numbers; got {at.dtype}.")
    for bad, why in (
        ((at < 0) | (at >= len(here)), f"is not among the {len(here)} rows"),
        (~here[np.clip(at, 0, len(here) - 1)], "has no label, so no verdict on it"),
        (~((share >= 0) & (share <= 1)), "has a verdict outside 0..1"),
        (~((weight > 0) & np.isfinite(weight)), "has a weight that is not positive"),
    ):
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            raise InputError(f"Verdict {first}: row {at[first]} {why}.", row=int(at[first]))
    # Kish: unequal weights carry the information of fewer verdicts, and the prior must weigh against that many.
    return at.astype(np.int64), share, weight * weight.sum() / np.sum(weight**2)


def _features(features: npt.ArrayLike | None, here: npt.NDArray[np.bool_]) -> Floats:
    if features is None:
        return np.zeros((int(here.sum()), 0))
    extra = np.asarray(features, dtype=np.float64)
    if extra.ndim != 2 or len(extra) != len(here):
        raise InputError(f"features must be ({len(here)}, f); got {extra.shape}.")
    bad = here & ~np.isfinite(extra).all(axis=1)
    if bad.any():
        raise InputError("features must be finite.", row=int(np.flatnonzero(bad)[0]))
    kept = extra[here]
    spread = kept.std(axis=0)
    return np.asarray((kept - kept.mean(axis=0)) / np.where(spread > 0, spread, 1.0))

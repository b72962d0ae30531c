"""Two models of durations that are kept as arrays, and what is needed to predict with them.

`linear` is least squares or logistic regression with a penalty, `trees` gradient boosting. Any other regressor of
scikit-learn can be weighted by `assay.learn.censored`, but could be kept as a pickle alone, and none is read here. What
is asked for is a duration, or the probability to last beyond a horizon.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from assay.errors import InputError
from assay.evidence.learn_reader import Reader
from assay.labels.formats import files

Floats = npt.NDArray[np.float64]
Arrays = dict[str, npt.NDArray[Any]]

KIND, FILE, ARRAYS = "durations", "model.json", "model.npz"
LEARNERS = ("linear", "trees")
"""The simplest first."""
SEEN, DEPTH = 20_000, 3  # rows that one tree sees, and splits from its root to a leaf


def fit_learner(name: str, X: npt.NDArray[Any], y: Floats, weights: Floats, chance: bool, seed: int) -> Arrays:
    """Arrays of `linear` or `trees`, fitted to y (n,) with weights (n,), all above 0; with `chance` y is 0 or 1."""
    if name == "linear":
        return _linear(X, y, weights, chance)
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

    boosting = GradientBoostingClassifier if chance else GradientBoostingRegressor
    share = min(1.0, SEEN / len(X))
    fitted = boosting(subsample=share, max_depth=DEPTH, min_samples_leaf=10, random_state=seed).fit(
        X, y, sample_weight=weights
    )
    trees = [each.tree_ for each in fitted.estimators_[:, 0]]
    starts = np.cumsum([0, *(tree.node_count for tree in trees)])
    found: Arrays = {
        "root": starts[:-1],
        "left": np.concatenate([tree.children_left + at for tree, at in zip(trees, starts, strict=False)]),
        "right": np.concatenate([tree.children_right + at for tree, at in zip(trees, starts, strict=False)]),
        "feature": np.concatenate([tree.feature for tree in trees]),
        "threshold": np.concatenate([tree.threshold for tree in trees]),
        "value": fitted.learning_rate * np.concatenate([tree.value[:, 0, 0] for tree in trees]),
        "start": np.zeros(1),
    }
    told = fitted.decision_function(X[:1]) if chance else fitted.predict(X[:1])
    found["start"] = np.asarray(told, dtype=np.float64) - answers(X[:1], found)
    return found


def _linear(X: npt.NDArray[Any], y: Floats, weights: Floats, chance: bool) -> Arrays:
    from sklearn.linear_model import LogisticRegression, RidgeCV

    rows = np.asarray(X, dtype=np.float64)
    mean, scale = rows.mean(0), rows.std(0)
    scale[scale <= 1e-9 * np.abs(mean)] = np.inf
    rows = (rows - mean) / scale
    if chance:
        model = LogisticRegression(max_iter=1000).fit(rows, y, sample_weight=weights)
    else:
        model = RidgeCV(np.logspace(-2, 4, 13)).fit(rows, y, sample_weight=weights)
    slope = model.coef_.ravel() / scale
    return {"slope": slope, "start": np.atleast_1d(model.intercept_) - slope @ mean}


def answers(X: npt.NDArray[Any], arrays: Arrays) -> Floats:
    """What the arrays of `fit_learner` say of rows (m, d), before it is put in bounds (m,)."""
    if "slope" in arrays:
        return np.asarray(X @ arrays["slope"] + arrays["start"], dtype=np.float64)
    rows, found = np.arange(len(X)), np.full(len(X), arrays["start"][0])
    for root in arrays["root"]:
        at = np.full(len(X), root)
        for _ in range(DEPTH):
            inner = arrays["feature"][at] >= 0
            low = X[rows, np.maximum(arrays["feature"][at], 0)] <= arrays["threshold"][at]
            at = np.where(inner, np.where(low, arrays["left"][at], arrays["right"][at]), at)
        found += arrays["value"][at]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationModel:
    """What is needed to predict durations of new rows.

    Parameters
    ----------
    reader : how rows become numbers.
    time, event, id : columns of the table that it was trained on.
    horizon : durations beyond it count as it; None: none.
    chance : whether P(Y > horizon) is asked for instead of the duration.
    learner : "linear" or "trees".
    arrays : of `fit_learner`.
    """

    reader: Reader
    time: str
    event: str
    id: str | None
    horizon: float | None
    chance: bool
    learner: str
    arrays: Arrays

    def predict(self, X: npt.NDArray[Any]) -> Floats:
        """Durations, or probabilities to last beyond the horizon (m,), of rows as the reader gives them."""
        return bounded(answers(X, self.arrays), self.horizon, self.chance)

    @property
    def asked(self) -> str:
        """What the column of predictions is called."""
        return "p_lasts" if self.chance else "predicted"

    def save(self, folder: Path) -> None:
        """Write `model.json`, `model.npz`, `reader.json` and `reader.npz`, each beside and renamed."""
        told = {
            "kind": KIND,
            **{name: getattr(self, name) for name in ("time", "event", "id", "horizon", "chance", "learner")},
        }
        with files.replacing(folder / ARRAYS) as out:
            np.savez_compressed(out, **self.arrays)  # type: ignore[arg-type]
        self.reader.save(folder)
        files.write_bytes(folder / FILE, json.dumps(told, indent=1).encode())

    @classmethod
    def load(cls, folder: Path) -> DurationModel:
        """Read what `save` wrote; raises InputError where it is damaged."""
        try:
            told = json.loads((folder / FILE).read_text(encoding="utf-8"))
            with np.load(folder / ARRAYS, allow_pickle=False) as kept:
                arrays = {name: kept[name] for name in kept.files}
            names = ("time", "event", "id", "horizon", "chance", "learner")
            return cls(reader=Reader.load(folder), arrays=arrays, **{name: told[name] for name in names})
        except (KeyError, TypeError, ValueError, OSError, EOFError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"The model in {folder} can't be read ({type(error).__name__}): train it again."
            ) from error


def bounded(said: Floats, horizon: float | None, chance: bool) -> Floats:
    """Answers (m,) as probabilities, or as durations that can be."""
    if chance:
        return np.asarray(special.expit(said))
    return np.clip(said, 0, horizon)

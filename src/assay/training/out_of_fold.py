"""Predictions for every row by a model that never saw that row's label.

An audit asks a model what it makes of each label. A model that trained on the label only repeats it, so the rows are
dealt into folds, and each fold is judged by a model fitted to the others (Stone 1974, "Cross-validatory choice").

    P[i] = f_{-fold(i)}(x_i),   f_{-j} fitted to the labelled rows outside fold j

Folds are stratified on the labels as given, wrong ones included; with `groups`, rows of one group share a fold. Every
class that has a label takes part in every training set: where all of its rows lie in one fold, the first of them is
lent to training and its own prediction becomes the one-hot of its label (Northcutt et al. 2021), so nothing can be
said about that row; such rows are counted. Rows without a label never train; they get the mean over the fold models,
or, where their group has labelled rows, the prediction of the one model that never saw their group.

Use it with any scikit-learn classifier. Features that use no labels (tf-idf, PCA, scaling) may be computed once before;
features that use labels belong into the model, as a pipeline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy import optimize, sparse, special
from sklearn.base import clone
from sklearn.utils.parallel import Parallel, delayed

from assay.errors import InputError
from assay.training.checks import check_features, check_labels, check_model
from assay.training.features import default_model
from assay.training.folds import Bools, Floats, Ints, assign_folds, check_groups, check_splits, fold_rows

TRAINING_SAMPLE = 2000  # rows a fold on which training accuracy is estimated; its standard error is below 0.012


class Classifier(Protocol):
    """What is asked of a model: `fit`, and `predict_proba` or `decision_function`."""

    def fit(self, X: Any, y: Any) -> Any:
        """Fit to rows `X` and integer labels `y`."""


@dataclass(frozen=True, slots=True, eq=False)
class OutOfFold:
    """Out-of-fold predictions and what they are worth.

    Parameters
    ----------
    pred_probs : (n, k) float64, rows sum to one, columns in class order; the column of a class without labels is zero.
    fold : (n,) int32, the fold that held the row out; -1 where the mean over all fold models was taken.
    patched : (n,) bool, rows whose prediction is the one-hot of their own label, see the module.
    accuracy, log_loss : agreement with the given labels, log loss in nats, over labelled rows that are not patched.
    fold_accuracy : (n_splits,) accuracy of each fold, nan for a fold without such rows.
    in_fold_accuracy : mean accuracy on (a sample of) the rows that the models trained on. Far above `accuracy`, it
        says how much an in-sample audit would have missed.
    absent_classes : classes without any labelled row.
    temperature : what the scores were divided by before the softmax, for models without `predict_proba`; else None.
    """

    pred_probs: Floats
    fold: npt.NDArray[np.int32]
    patched: Bools
    accuracy: float
    log_loss: float
    fold_accuracy: Floats
    in_fold_accuracy: float
    absent_classes: tuple[int, ...]
    temperature: float | None

    @property
    def n_patched(self) -> int:
        """Number of rows whose prediction is the one-hot of their own label."""
        return int(self.patched.sum())


def out_of_fold(
    X: Any,
    labels: npt.ArrayLike,
    n_classes: int,
    *,
    model: Classifier | None = None,
    n_splits: int = 5,
    random_state: int = 0,
    groups: npt.ArrayLike | None = None,
    mask: npt.ArrayLike | None = None,
    on_fold: Callable[[int, int], None] | None = None,
    n_jobs: int = 1,
) -> OutOfFold:
    """Predict every row with a model that never trained on it.

    Parameters
    ----------
    X : n rows that the model can fit: an array (n, d), a sparse matrix, a list of texts for a text pipeline.
    labels : (n,) integer codes in 0..n_classes-1; whatever stands where `mask` is False is ignored.
    n_classes : k, the number of columns of the answer.
    model : any classifier in scikit-learn's way; cloned for each fold, and seeded where its seed is None.
        None takes `default_model` for embeddings (dense `X`) or for texts (sparse `X`).
    n_splits : number of folds.
    random_state : seed of the folds and of unseeded models.
    groups : (n,) any values; rows of one group (a patient, a document) are never split over folds.
    mask : (n,) True where the row has a label.
    on_fold : called as `on_fold(done, n_splits)` after each fold, from the calling thread.
    n_jobs : folds fitted at a time, in threads.

    Returns
    -------
    OutOfFold, the same for the same seed whatever `n_jobs` is.

    Raises
    ------
    InputError before any fit for shapes, codes, masks, non-finite features and too few rows; after a fit when the
    model's own output breaks its promise (class order, rows that do not sum to one).

    Notes
    -----
    A model with `decision_function` alone gets a softmax of its scores (for two classes, a sigmoid), divided by one
    temperature that minimises the log loss of the out-of-fold scores, one number for all rows.

    >>> import numpy as np
    >>> X = np.r_[np.zeros((20, 1)), np.ones((20, 1))]
    >>> out_of_fold(X, np.repeat([0, 1], 20), 2).accuracy
    1.0
    """
    n = _n_rows(X)
    codes, labelled = check_labels(labels, mask, n, n_classes)
    check_groups(groups, n)
    check_splits(n_splits, labelled, groups)
    estimator = default_model("text" if sparse.issparse(X) else "embedding", n, n_classes) if model is None else model
    check_model(estimator)
    check_features(X, estimator)

    fold = assign_folds(codes, n_splits, random_state=random_state, groups=groups, mask=labelled)
    present = np.unique(codes[labelled])
    jobs = [fold_rows(codes, labelled, fold, present, j) for j in range(n_splits)]
    run = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")
    answers = run(
        delayed(_fit_one)(_seeded(estimator, random_state), X, codes, train, score, present, n_classes)
        for train, score, _ in jobs
    )
    total = np.zeros((n, n_classes))
    training_accuracy = []
    has_probabilities = hasattr(estimator, "predict_proba")
    for done, ((_, score, _), (values, fitted)) in enumerate(zip(jobs, answers, strict=True), start=1):
        total[score] += values
        training_accuracy.append(fitted)
        if on_fold is not None:
            on_fold(done, n_splits)
    total[fold < 0] /= n_splits

    patched = np.zeros(n, dtype=bool)
    patched[np.concatenate([lent for _, _, lent in jobs])] = True
    judged = labelled & ~patched
    temperature = None
    if not has_probabilities:
        some = judged.any()  # without a single one there is nothing to scale by
        temperature = _temperature(total[judged][:, present], np.searchsorted(present, codes[judged])) if some else 1.0
        scores, total = total[:, present] / temperature, np.zeros((n, n_classes))
        total[:, present] = special.softmax(scores, axis=1)
    total[patched] = np.eye(n_classes)[codes[patched]]

    right = total.argmax(axis=1) == codes
    own = total[np.flatnonzero(judged), codes[judged]]
    per_fold = [right[judged & (fold == j)] for j in range(n_splits)]
    return OutOfFold(
        pred_probs=total,
        fold=fold,
        patched=patched,
        accuracy=float(right[judged].mean()) if judged.any() else float("nan"),
        log_loss=float(-np.log(np.maximum(own, np.finfo(float).eps)).mean()) if judged.any() else float("nan"),
        fold_accuracy=np.array([part.mean() if len(part) else np.nan for part in per_fold]),
        in_fold_accuracy=float(np.mean(training_accuracy)),
        absent_classes=tuple(int(c) for c in np.setdiff1d(np.arange(n_classes), present)),
        temperature=temperature,
    )


def _fit_one(
    model: Any, X: Any, codes: Ints, train: Ints, score: Ints, present: Ints, n_classes: int
) -> tuple[Floats, float]:
    """Fit on `train`; return values (score, k) and the accuracy on a sample of the training rows."""
    model.fit(_take(X, train), codes[train])
    if "n_jobs" in model.get_params():
        model.set_params(n_jobs=1)  # a forest adds up its trees in the order in which its threads end
    values = np.zeros((len(score), n_classes))
    if len(score):
        values[:, present] = _predict(model, _take(X, score), score, present)
    sample = train[:: -(-len(train) // TRAINING_SAMPLE)]
    guess = present[_predict(model, _take(X, sample), sample, present).argmax(axis=1)]
    return values, float((guess == codes[sample]).mean())


def _predict(model: Any, X: Any, rows: Ints, present: Ints) -> Floats:
    """Probabilities, or else scores, with one column per present class, after checking that the model kept its word."""
    name = type(model).__name__
    classes = getattr(model, "classes_", None)
    if classes is None or not np.array_equal(np.asarray(classes), present):
        shown = None if classes is None else np.asarray(classes)[:8].tolist()
        raise InputError(
            f"{name} was fitted to the classes {present[:8].tolist()} but its `classes_` is {shown}: the columns of "
            "its output can't be told. Give a classifier that keeps `classes_` as scikit-learn's do."
        )
    if not hasattr(model, "predict_proba"):
        scores = np.asarray(model.decision_function(X), dtype=np.float64)
        scores = np.stack([-scores / 2, scores / 2], axis=1) if scores.ndim == 1 else scores
        _check_output(scores, name, rows, len(present))
        return scores
    probabilities = np.asarray(model.predict_proba(X), dtype=np.float64)
    _check_output(probabilities, name, rows, len(present))
    sums = probabilities.sum(axis=1)
    bad = (np.abs(sums - 1) > 1e-3) | (probabilities.min(axis=1) < -1e-6)
    if bad.any():
        raise InputError(
            f"{name}.predict_proba gave a row that is no distribution (sum {sums[bad][0]:.4g}): rows must be "
            "non-negative and sum to one. Wrap the model in sklearn.calibration.CalibratedClassifierCV.",
            row=int(rows[bad][0]),
        )
    clipped: Floats = np.maximum(probabilities, 0)
    clipped /= clipped.sum(axis=1, keepdims=True)
    return clipped


def _check_output(values: Floats, name: str, rows: Ints, n_columns: int) -> None:
    if values.shape != (len(rows), n_columns):
        raise InputError(f"{name} gave an array {values.shape} for {len(rows)} rows and {n_columns} classes.")
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise InputError(f"{name} gave a prediction that is not finite: check its settings.", row=int(rows[bad][0]))


def _temperature(scores: Floats, codes: Ints) -> float:
    """The T > 0 that minimises the log loss of softmax(scores / T)."""
    own = np.arange(len(codes)), codes

    def loss(log_t: float) -> float:
        return float(-special.log_softmax(scores / np.exp(log_t), axis=1)[own].mean())

    scale = np.log(scores.std() + 1e-12)
    return float(np.exp(optimize.minimize_scalar(loss, bounds=(scale - 7, scale + 7), method="bounded").x))


def _seeded(model: Any, random_state: int) -> Any:
    """A clone whose unset seeds, nested ones too, are `random_state`."""
    copy: Any = clone(model)
    unset = [key for key, value in copy.get_params().items() if key.split("__")[-1] == "random_state" and value is None]
    return copy.set_params(**dict.fromkeys(unset, random_state))


def _n_rows(X: Any) -> int:
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)


def _take(X: Any, rows: Ints) -> Any:
    if hasattr(X, "tocsr"):
        return X.tocsr()[rows]
    if hasattr(X, "take") and hasattr(X, "num_rows"):  # an Arrow table
        return X.take(rows)
    if hasattr(X, "iloc"):  # a pandas frame
        return X.iloc[rows]
    return X[rows] if hasattr(X, "shape") else [X[i] for i in rows]

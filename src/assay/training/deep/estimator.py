"""Any objective as a scikit-learn classifier: arrays in, probabilities and evidence about the labels out.

    NoisyLabelClassifier(ELR).fit(X, y).predict(X_test)

A method derives a class from `NetworkClassifier`, adds its own arguments and says in `make_objective` what they make.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from assay.errors import InputError
from assay.labels import Hard, Soft, Votes
from assay.training.deep import nn, torch
from assay.training.deep.backbones import mlp, small_cnn
from assay.training.deep.batches import Data
from assay.training.deep.loop import fit
from assay.training.deep.objective import Objective
from assay.training.deep.recipe import Recipe
from assay.training.deep.stream import Augment
from assay.training.deep.targets import codes, targets_of
from assay.training.folds import assign_folds

Backbone = Callable[[Sequence[int], int], nn.Module]


class NetworkClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A network trained by cross-entropy; methods derive theirs from it.

    Parameters
    ----------
    backbone : `make(shape, n_classes)` with the shape of one row, such as `mlp`, `partial(mlp, hidden=(64,))` or
        `small_cnn`; None takes a perceptron for tables and embeddings (n, d), and a small convolutional network for
        pictures (n, c, h, w).
    recipe : hyper-parameters; None for the method's own. Its seed is replaced.
    validation : share of the rows, in equal parts of each class, held out to choose the epoch by their noisy labels;
        0 trains on all rows and takes the last epoch.
    augment : a random change of inputs while training, such as `CropFlip`.
    random_state : seed.

    Attributes
    ----------
    classes_ : (k,) in the order of the columns of `predict_proba`.
    network_, objective_ : as trained; the weights are those of the best epoch where there is validation.
    history_, best_epoch_ : how it went.
    """

    default_recipe = Recipe()  # a method may have its own

    def __init__(
        self,
        backbone: Backbone | None = None,
        recipe: Recipe | None = None,
        validation: float = 0.1,
        augment: Augment | None = None,
        random_state: int | None = 0,
    ) -> None:
        self.backbone = backbone
        self.recipe = recipe
        self.validation = validation
        self.augment = augment
        self.random_state = random_state

    def make_objective(self) -> Objective:
        """The objective that the arguments describe."""
        return Objective()

    def make_sampling(self, data: Data) -> npt.NDArray[np.float64] | None:
        """Chances (n,) by which rows are drawn, from the training data; None visits each row once an epoch."""
        del data
        visit_each_once = None
        return visit_each_once

    def fit(self, X: Any, y: Any, sample_weight: npt.ArrayLike | None = None) -> Self:
        """Train on rows `X` (n, d) or (n, c, h, w), and labels: any classes (n,), or `Hard`, `Soft` or `Votes`.

        Rows that weigh nothing and rows without a label are not trained on.
        """
        X, targets, labelled = self._read(X, y)
        unlabelled = ~labelled
        k, n = len(self.classes_), len(X)
        if sample_weight is not None:
            weights = np.asarray(sample_weight, dtype=np.float64)
            if weights.shape != (n,) or not np.isfinite(weights).all() or (weights < 0).any():
                raise InputError(f"sample_weight {weights.shape} must be one finite number a row, none negative.")
            if not weights.any():
                raise InputError("All weights are zero: there is no row to train on.")
            labelled &= weights > 0
            sample_weight = weights
        held = self._hold_out(codes(targets).numpy(), labelled)
        self._scale(X[labelled & ~held])
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        recipe = replace(self.recipe or self.default_recipe, seed=seed)
        inputs = self._inputs(X)
        data = Data(inputs, targets, k, sample_weight, labelled & ~held)
        make = self.backbone or (small_cnn if X.ndim == 4 else mlp)
        run = fit(
            self.make_objective(),
            lambda: make(X.shape[1:], k),
            data,
            recipe,
            validation=Data(inputs, targets, k).take(np.flatnonzero(held)) if held.any() else None,
            augment=self.augment,
            sampling=self.make_sampling(data),
        )
        run.use("last" if run.best_epoch is None else "best")
        self.network_, self.objective_ = run.model, run.objective
        self.history_, self.best_epoch_ = run.history, run.best_epoch
        self._evidence = self._tell(targets, unlabelled)
        return self

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Probabilities (n, k), columns in the order of `classes_`."""
        check_is_fitted(self, "network_")
        X = _finite(validate_data(self, X, allow_nd=True, ensure_all_finite=False, reset=False))
        logits = self._logits(self._inputs(X))
        return np.asarray(softmax(logits.astype(np.float64), axis=1))

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The most probable class of each row (n,)."""
        best = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """What was learned about the labels, one entry a row of `fit`; higher `suspect` = more likely wrong.

        nan stands for rows that were not trained on: held out, weightless or without a label.
        """
        check_is_fitted(self, "network_")
        return self._evidence

    def _logits(self, inputs: Any) -> npt.NDArray[np.floating[Any]]:
        from assay.training.deep.run import predict

        return np.asarray(predict(self.objective_, self.network_, inputs).numpy())

    def _read(self, X: Any, y: Any) -> tuple[npt.NDArray[Any], Any, npt.NDArray[np.bool_]]:
        """Rows, targets and which are labelled, checked; sets `classes_`."""
        if isinstance(y, Hard | Soft | Votes):
            X = validate_data(self, X, allow_nd=True, ensure_all_finite=False)
            targets, present, _ = targets_of(y)
            self.classes_, labelled = np.asarray(y.space.names), present.numpy()
        else:
            X, y = validate_data(self, X, y, allow_nd=True, ensure_all_finite=False)
            check_classification_targets(y)
            self.classes_, found = np.unique(y, return_inverse=True)
            targets, labelled = torch.from_numpy(found.astype(np.int64)), np.ones(len(X), dtype=bool)
        if len(targets) != len(X):
            raise InputError(f"There are {len(X)} rows and {len(targets)} labels: give one label a row.")
        return _finite(X), targets, labelled

    def _hold_out(self, given: npt.NDArray[np.int64], labelled: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Rows to validate on (n,), in equal shares of each class."""
        if not 0 <= self.validation <= 0.5:
            raise InputError(f"validation is {self.validation}: it is a share of the rows in 0..0.5.")
        counts = np.bincount(given[labelled], minlength=len(self.classes_))
        if (counts > 0).sum() < 2:
            raise InputError("The labels are of one class: a classifier needs at least two classes.")
        if self.validation == 0:
            return np.zeros(len(given), dtype=bool)
        if (counts == 1).any():
            code = int((counts == 1).argmax())
            raise InputError(
                f"Class {self.classes_[code]} has one row, which can't be both trained on and held out: set "
                "validation=0, or drop or merge the class.",
                row=int((labelled & (given == code)).argmax()),
            )
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        fold = assign_folds(given, round(1 / self.validation), random_state=seed, mask=labelled)
        return np.asarray(fold == 0)

    def _scale(self, X: npt.NDArray[Any]) -> None:
        """Mean and deviation: of each column of a table, each channel of pictures, or of all numbers."""
        axes = {2: (0,), 4: (0, 2, 3)}.get(X.ndim, tuple(range(X.ndim)))
        numbers = X.astype(np.float64)
        self.mean_ = numbers.mean(axes, keepdims=True)
        deviation = numbers.std(axes, keepdims=True)
        self.scale_ = np.where(deviation > 0, deviation, 1.0)

    def _inputs(self, X: npt.NDArray[Any]) -> Any:
        return torch.from_numpy(((X - self.mean_) / self.scale_).astype(np.float32))

    def _tell(self, targets: Any, unlabelled: npt.NDArray[np.bool_]) -> dict[str, npt.NDArray[Any]]:
        """Evidence with classes instead of codes; `given` is None where there is no label."""
        found = self.objective_.evidence(targets.to(self.objective_.past.device))
        named = {key: self.classes_[value] if key == "suggested" else value for key, value in found.items()}
        given = self.classes_[codes(targets).numpy()]
        if unlabelled.any():
            given = given.astype(object)
            given[unlabelled] = None
        return {"row": named.pop("row"), "given": given, **named}


def _finite(X: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The rows, or an error that names the first with a value that is no number."""
    bad = ~np.isfinite(X.reshape(len(X), -1)).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        found = "NaN" if np.isnan(X[row]).any() else "inf"
        raise InputError(f"X holds {found}, which a network can't take: fill or drop such rows.", row=row)
    return X


class NoisyLabelClassifier(NetworkClassifier):
    """A network trained by any objective.

    Parameters
    ----------
    objective : makes the objective, such as a class or a `functools.partial`; None for cross-entropy with early
        stopping.
    backbone, recipe, validation, augment, random_state : see `NetworkClassifier`.

    Examples
    --------
    >>> X, y = np.repeat([[0.0], [1.0]], 20, axis=0), np.repeat(["no", "yes"], 20)
    >>> NoisyLabelClassifier(recipe=Recipe(epochs=5)).fit(X, y).predict([[0.0], [1.0]]).tolist()
    ['no', 'yes']
    """

    def __init__(
        self,
        objective: Callable[[], Objective] | None = None,
        backbone: Backbone | None = None,
        recipe: Recipe | None = None,
        validation: float = 0.1,
        augment: Augment | None = None,
        random_state: int | None = 0,
    ) -> None:
        super().__init__(backbone, recipe, validation, augment, random_state)
        self.objective = objective

    def make_objective(self) -> Objective:
        """The objective that the argument makes."""
        return Objective() if self.objective is None else self.objective()

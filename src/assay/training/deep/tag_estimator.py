"""Any objective for tags as a scikit-learn style estimator: arrays or `Tags` in, probabilities and evidence out.

A method derives a class from `TagClassifier`, adds its own arguments, and says in `make_objective` what they make.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import expit, log_expit
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from assay.errors import InputError
from assay.kernels.positive_priors import best_bin, shifts
from assay.labels import Tags
from assay.training.deep import torch
from assay.training.deep.backbones import mlp, small_cnn
from assay.training.deep.batches import n_batches
from assay.training.deep.estimator import Backbone, _finite
from assay.training.deep.loop import fit
from assay.training.deep.recipe import Recipe
from assay.training.deep.run import predict
from assay.training.deep.stream import Augment
from assay.training.deep.tag_losses import TagObjective
from assay.training.deep.tags import TagData, checked_tags, hold_out

Floats = npt.NDArray[np.float64]
Marks = npt.NDArray[np.int8]

FLAT = 0.05  # nats of lift, below which confirmed rows are not told from others
SCARCE = 10  # confirmed rows, below which a tag is told to have few
FEWEST = 4  # rows of a batch, so that each half of it has a deviation


class TagClassifier(BaseEstimator):  # type: ignore[misc]
    """A network for tags, trained by binary cross-entropy that takes unknown for absent; methods derive theirs from it.

    Parameters
    ----------
    priors : (k,) shares of all rows that have each tag, where they are known; the logits of each tag are then shifted
        so that its mean probability in the training rows is its prior.
    calibrate : without `priors`, shift them to the estimate of `best_bin`, for methods whose probabilities are those
        of being recorded; it comes out low where the network memorised the confirmed rows.
    threshold : a tag is predicted above this probability; one number or (k,).
    backbone : `make(shape, n_tags)`; None takes a perceptron, or a small convolutional network for pictures.
    recipe : hyper-parameters; None for the method's own. Its seed is replaced.
    validation : share of the rows held out to choose the epoch by what was recorded of them (no truth is needed); 0
        trains on all rows and takes the last epoch, as it must be where the recipe averages weights.
    augment : a random change of inputs while training.
    random_state : seed.

    Attributes
    ----------
    tag_names_, classes_ : (k,) names of the columns.
    priors_ : (k,) shares of the training rows that have each tag: as given, estimated, or else as predicted.
    shift_ : (k,) what is added to the logits.
    network_, objective_, history_, best_epoch_ : as trained; the weights are those of the best epoch.
    """

    default_recipe = Recipe(epochs=30, batch_size=64, optimizer="adam", lr=1e-3, weight_decay=0.0)

    def __init__(
        self,
        priors: npt.ArrayLike | None = None,
        calibrate: bool = False,
        threshold: npt.ArrayLike = 0.5,
        backbone: Backbone | None = None,
        recipe: Recipe | None = None,
        validation: float = 0.1,
        augment: Augment | None = None,
        random_state: int | None = 0,
    ) -> None:
        self.priors = priors
        self.calibrate = calibrate
        self.threshold = threshold
        self.backbone = backbone
        self.recipe = recipe
        self.validation = validation
        self.augment = augment
        self.random_state = random_state

    def make_objective(self, tags: Marks) -> TagObjective:
        """The objective that the arguments describe, for training tags (n, k)."""
        del tags
        return TagObjective()

    def make_sampling(self, tags: Marks) -> Floats | None:
        """Chances (n,) by which rows are drawn; None visits each row once an epoch."""
        del tags
        visit_each_once = None
        return visit_each_once

    def tell(self, logits: Floats) -> dict[str, npt.NDArray[Any]]:
        """More columns (k,) of the evidence about each tag, from logits (n, k) of the training rows."""
        del logits
        return {}

    def fit(self, X: Any, Y: Any, tag_names: Sequence[str] | None = None) -> Self:
        """Train.

        Parameters
        ----------
        X : (n, d) features, or pictures (n, c, h, w).
        Y : (n, k) of 1 (confirmed), 0 (unknown) and -1 (recorded as absent), or `Tags`.
        tag_names : (k,) None: those of `Tags`, or "0", "1", ...
        """
        X = _finite(validate_data(self, X, allow_nd=True, ensure_all_finite=False))
        tags = checked_tags(Y)
        k = tags.shape[1]
        names = Y.space.names if tag_names is None and isinstance(Y, Tags) else tag_names
        self.tag_names_ = self.classes_ = np.asarray(range(k) if names is None else names).astype(str)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        recipe = replace(self.recipe or self.default_recipe, seed=seed)
        if len(X) != len(tags):
            raise InputError(f"X has {len(X)} rows and the tags {len(tags)}: they must be of the same rows.")
        if not 0 <= self.validation <= 0.5:
            raise InputError(f"validation is {self.validation}: it is a share of the rows in 0..0.5.")
        held = hold_out(tags, self.validation, np.random.default_rng(seed))
        self._check(tags[~held], recipe)
        objective, sampling = self.make_objective(tags[~held]), self.make_sampling(tags[~held])
        axes = {2: (0,), 4: (0, 2, 3)}.get(X.ndim, tuple(range(X.ndim)))
        self.mean_ = X.mean(axes, dtype=np.float64, keepdims=True)
        self.scale_ = X.std(axes, dtype=np.float64, keepdims=True)
        self.scale_[self.scale_ == 0] = 1.0
        make = self.backbone or (small_cnn if X.ndim == 4 else mlp)
        inputs = self._inputs(X)
        data = TagData(inputs, tags, k)
        objective.held = data.take(np.flatnonzero(held)) if held.any() else None
        run = fit(
            objective,
            lambda: make(X.shape[1:], k),
            data.take(np.flatnonzero(~held)),
            recipe,
            augment=self.augment,
            sampling=sampling,
        )
        if objective.best:
            run.model.load_state_dict(objective.best)
        self.best_epoch_ = int(np.argmin(objective.scores)) if objective.best else recipe.epochs - 1
        self.network_, self.objective_, self.history_ = run.model, run.objective, run.history
        self._settle(run.logits(inputs).double().numpy(), tags)
        return self

    def decision_function(self, X: Any) -> Floats:
        """Logits (n, k), shifted where `calibrate`."""
        check_is_fitted(self, "network_")
        X = _finite(validate_data(self, X, allow_nd=True, ensure_all_finite=False, reset=False))
        return np.asarray(predict(self.objective_, self.network_, self._inputs(X)).double().numpy() + self.shift_)

    def predict_proba(self, X: Any) -> Floats:
        """Probability (n, k) that each row has each tag."""
        return np.asarray(expit(self.decision_function(X)))

    def predict(self, X: Any) -> Marks:
        """Whether each row has each tag (n, k), 1 or 0."""
        return (self.predict_proba(X) > np.asarray(self.threshold)).astype(np.int8)

    def evidence(self) -> dict[str, dict[str, npt.NDArray[Any]]]:
        """What was learned about the tags, as two tables.

        "tags" has one entry a tag: `tag`, rows `confirmed` and their share `rate`, `prior`, `mean_phi` (the mean
        probability as trained, before any shift), `best_bin` (an estimate of the prior from the order of the rows),
        `bound` (which the prior hardly exceeds), `lift` (mean log probability of confirmed rows above the log of
        `mean_phi`; near 0 where the tag was not learned, or nearly all rows have it), what the method adds, and
        `alarm` (empty, or why not to trust it).
        "suspects" has the unconfirmed cells that are predicted, probable ones first: `row`, `tag`, `probability`,
        `recorded` (0 unknown, -1 recorded as absent).
        """
        check_is_fitted(self, "network_")
        return self._evidence

    def _inputs(self, X: npt.NDArray[Any]) -> Any:
        return torch.from_numpy(((X - self.mean_) / self.scale_).astype(np.float32))

    def _check(self, tags: Marks, recipe: Recipe) -> None:
        """Raise for what can't be trained on."""
        n, k = tags.shape
        if self.tag_names_.shape != (k,):
            raise InputError(f"There are {k} tags and names of shape {self.tag_names_.shape}: give one name a tag.")
        rate = (tags > 0).mean(0)
        if (rate == 0).any():
            name = str(self.tag_names_[rate.argmin()])
            raise InputError(f"The tag {name!r} is confirmed in no row: it can't be learned. Confirm some, or drop it.")
        fewest = n // n_batches(n, recipe.batch_size)
        if fewest < FEWEST:
            raise InputError(
                f"With {n} rows and batch_size {recipe.batch_size} a batch has {fewest}: rows are compared within a "
                f"batch, which needs at least {FEWEST}."
            )
        for name in ("priors", "threshold"):
            found = np.asarray(0.5 if getattr(self, name) is None else getattr(self, name), dtype=np.float64)
            if found.shape not in {(), (k,)} or not ((found > 0) & (found < 1)).all():
                raise InputError(f"{name} is {found}: expected numbers between 0 and 1, one or {k}.")
        if self.priors is not None and (self.priors < rate).any():
            at = int((rate - self.priors).argmax())
            raise InputError(
                f"The prior of {str(self.tag_names_[at])!r} is below {rate[at]:.3g}, the share of rows in which it is "
                "confirmed: give the share of all rows that have it."
            )

    def _settle(self, logits: Floats, tags: Marks) -> None:
        """Priors, shift and evidence, from logits of the training rows as trained (n, k)."""
        confirmed, phi = tags > 0, expit(logits)
        rate, mean_phi = confirmed.mean(0), phi.mean(0)
        best, bound = np.transpose([best_bin(logits[:, c], confirmed[:, c]) for c in range(len(rate))])
        wanted = np.maximum(best, rate) if self.priors is None and self.calibrate else self.priors
        self.shift_ = np.zeros(len(rate)) if wanted is None else shifts(logits, wanted)
        probability = expit(logits + self.shift_)
        self.priors_ = (
            np.where(confirmed, 1.0, probability).mean(0) if wanted is None else np.broadcast_to(wanted, rate.shape)
        )
        alarm = np.where(confirmed.sum(0) < SCARCE, "few confirmed rows", "").astype(object)
        alarm[mean_phi > bound] = "predicted more often than the confirmed rows allow"
        own = np.where(confirmed, log_expit(logits), 0.0).sum(0) / confirmed.sum(0)
        lift = own - np.log(mean_phi.clip(1e-300))
        alarm[lift < FLAT] = "confirmed rows are hardly told from all others"
        for name, why in zip(self.tag_names_.tolist(), alarm, strict=True):
            if why:
                warnings.warn(f"Tag {name!r}: {why}.", stacklevel=3)
        told = {"tag": self.tag_names_, "confirmed": confirmed.sum(0), "rate": rate, "prior": self.priors_}
        told |= {
            "mean_phi": mean_phi,
            "best_bin": best,
            "bound": bound,
            "lift": lift,
            **self.tell(logits),
            "alarm": alarm,
        }
        row, at = np.nonzero((probability > np.asarray(self.threshold)) & ~confirmed)
        order = np.argsort(-probability[row, at], kind="stable")
        row, at = row[order], at[order]
        cells = {"row": row, "tag": self.tag_names_[at], "probability": probability[row, at], "recorded": tags[row, at]}
        self._evidence = {"tags": told, "suspects": cells}

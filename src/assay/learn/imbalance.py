"""Training on classes of very unequal size, where rare classes count as much as common ones.

Labels have a price that depends on the class: where a class has two rows, what is known of it is nearly all in its
labels. Two things need no labels and go with any other remedy: rows without a label (*self-training*: a first network
labels them, a second one learns from all), and the inputs themselves (*pretraining*: a puzzle that they pose alone).

Paper: Yang, Xu, "Rethinking the Value of Labels for Improving Class-Imbalanced Learning", NeurIPS 2020,
arXiv 2006.07529.

    L(D_L) + omega * L(D_U with y = argmax f_B),    all hard, one pass, no threshold

with f_B trained on the labelled rows D_L alone; class counts are then those of true and pseudo-labels together. For two
Gaussians whose pseudo-labels are right with probabilities p and q, the boundary lies off the middle by
(p - q) (mu_1 - mu_2) / 2: imbalance of the *labels* is a bias, that of the unlabelled rows only costs precision.

Both go with any loss and any way to balance classes, here those of `assay.training.deep.long_tail`.

When to use: the rare classes matter, and you hold unlabelled rows of the same kind. When not: the unlabelled rows are
of another kind (below about 60 % relevant rows it hurts, says the paper), or as unequal as the labelled ones.
Pretraining was not seen to help small networks on few rows.

Departures: the last epoch is taken, not the best on the test set; pretraining takes the unlabelled rows too, where
there are any.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestNeighbors

from assay.errors import InputError
from assay.labels import Hard, Soft
from assay.training.deep import Tensor, torch
from assay.training.deep.batches import Data
from assay.training.deep.class_counts import balanced_sampling, class_counts, class_weights
from assay.training.deep.estimator import Backbone, NetworkClassifier
from assay.training.deep.long_tail import LongTail, Loss, retrain_head
from assay.training.deep.pretext import Pretext
from assay.training.deep.recipe import Recipe
from assay.training.deep.stream import Augment
from assay.training.deep.targets import one_hot

METHOD = {
    "name": "imbalance",
    "title": "Long-tailed classes",
    "paper": "Yang, Xu, 2020, Rethinking the Value of Labels for Improving Class-Imbalanced Learning",
    "arxiv": "2006.07529",
    "accepts": ["hard", "soft", "votes"],
    "gives": ["classifier", "suspects", "suggested labels"],
    "command": "assay learn TABLE --label COL --method imbalance",
    "claim": "On long-tailed digits (60 rows to 2), unlabelled rows of balanced classes raise the accuracy of the rare "
    "classes above that of the same training without them.",
    "status": "stable",
}

Rebalance = Literal["none", "weights", "deferred", "sampling", "head"]
ENOUGH = 0.6  # share of relevant rows below which unlabelled ones did harm in the paper


def filled(data: Data, logits: Tensor, threshold: float = 0.0, omega: float = 1.0) -> Data:
    """The data with pseudo-labels where there was no label, ready to train on.

    Parameters
    ----------
    data : rows of which some have no label.
    logits : (n, k) of the first network, in evaluation mode.
    threshold : rows whose top probability is below it stay without a label; the paper has none.
    omega : how much a pseudo-label counts beside a label.
    """
    if data.labelled is None:
        return data
    confidence, guess = logits.softmax(1).max(1)
    if data.targets.ndim == 2:
        guess = one_hot(guess, data.n_classes)
        targets = torch.where(data.labelled[:, None], data.targets, guess)
    else:
        targets = torch.where(data.labelled, data.targets, guess)
    weights = torch.ones(data.n_rows) if data.weights is None else data.weights
    weights = torch.where(data.labelled, weights, omega)
    return Data(data.inputs, targets, data.n_classes, weights, data.labelled | (confidence >= threshold))


def relevance(
    known: npt.NDArray[np.floating[Any]], unlabelled: npt.NDArray[np.floating[Any]], most: int = 2000
) -> float:
    """About which share of the unlabelled rows (m, d) is of the kind of the labelled ones (n, d), in 0..1 [design].

    A row counts where its nearest labelled row is no farther than that of 95 % of the labelled rows among themselves.
    At most `most` rows of either are compared, evenly picked: O(most^2 d).
    """
    known, unlabelled = (rows[:: -(-len(rows) // most)] for rows in (known, unlabelled))
    if len(known) < 2:
        return 1.0
    near = NearestNeighbors(n_neighbors=2).fit(known)
    usual = np.quantile(near.kneighbors(known)[0][:, 1], 0.95)
    return min(1.0, float((near.kneighbors(unlabelled, 1)[0] <= usual).mean()) / 0.95)


class ImbalanceClassifier(NetworkClassifier):
    """A network for classes of very unequal size, which learns from rows without a label too.

    Rows without a label are those that `Hard`, `Soft` or `Votes` mask.

    Parameters
    ----------
    loss : "cross_entropy", "focal" or "ldam", for which the network's linear `head` becomes one of cosines.
    rebalance : "none"; "weights" by the effective number of rows, "deferred" to the last fifth of the training;
        "sampling" with the same weights; "head", which is trained anew on balanced draws.
    self_training : whether rows without a label are labelled by a first network and trained on by a second.
    threshold : pseudo-labels less probable than this are not trained on; the paper has none.
    omega : how much a pseudo-label counts beside a label.
    beta : of the effective numbers.
    pretext : "rotation" (square pictures) or "masking" (anything) to pretrain on the inputs; None not to.
    backbone, recipe, augment, random_state : see `NetworkClassifier`; the recipe serves all trainings.
    validation : as there, but 0: rare classes have no rows to spare, and the last epoch is taken.

    Attributes
    ----------
    class_counts_ : (k,) rows of each class that were trained on, with pseudo-labels.
    relevance_ : about which share of the rows without a label look like the labelled ones; nan where there are none.
    pseudo_counts_ : (k,) pseudo-labels of each class; classes that got none gain nothing.
    """

    def __init__(
        self,
        loss: Loss = "ldam",
        rebalance: Rebalance = "deferred",
        self_training: bool = True,
        threshold: float = 0.0,
        omega: float = 1.0,
        beta: float = 0.9999,
        pretext: Pretext | None = None,
        backbone: Backbone | None = None,
        recipe: Recipe | None = None,
        validation: float = 0.0,
        augment: Augment | None = None,
        random_state: int | None = 0,
    ) -> None:
        super().__init__(backbone, recipe, validation, augment, random_state)
        self.loss = loss
        self.rebalance = rebalance
        self.self_training = self_training
        self.threshold = threshold
        self.omega = omega
        self.beta = beta
        self.pretext = pretext

    _held: npt.NDArray[np.bool_]
    default_recipe = Recipe(epochs=100, lr=0.05, weight_decay=5e-4, schedule="step", milestones=(90,))

    def make_objective(self) -> LongTail:
        """The loss and weights that the arguments describe."""
        weights: Any = {"weights": "all", "deferred": "deferred"}.get(self.rebalance, "none")
        recipe = self.recipe or self.default_recipe
        return LongTail(self.loss, weights, self.beta, pretext=self.pretext, recipe=recipe)

    def make_sampling(self, data: Data) -> npt.NDArray[np.float64] | None:
        """Chances by class, where the balance comes from sampling."""
        if self.rebalance != "sampling":
            return None
        weights = class_weights(class_counts(data.targets, data.n_classes, data.labelled), self.beta)
        return balanced_sampling(data.targets, weights, data.labelled)

    def fit(self, X: Any, y: Any, sample_weight: npt.ArrayLike | None = None) -> Self:
        """Train; where rows have no label, label them, and train a new network on all. Arguments as for its base.

        In `evidence`, `given` is the pseudo-label where there was no label, and `suspect` is nan there; `suggested` and
        `confidence` are what the first network said of every row.
        """
        if self.rebalance not in get_args(Rebalance) or (self.rebalance == "head" and self.loss == "ldam"):
            raise InputError(
                f"rebalance is {self.rebalance!r} with loss {self.loss!r}: expected one of "
                f"{', '.join(get_args(Rebalance))}; LDAM has a head of its own, which can't be trained anew."
            )
        if not (0 <= self.threshold <= 1 and self.omega > 0):
            raise InputError(f"threshold is {self.threshold} and omega {self.omega}: expected 0..1 and above 0.")
        if hasattr(self, "_held"):
            del self._held
        super().fit(X, y, sample_weight)
        if sample_weight is not None:
            sample_weight = np.asarray(sample_weight, dtype=np.float64)
        X, targets, labelled = self._read(X, y)
        data, used = Data(self._inputs(X), targets, len(self.classes_), sample_weight, labelled), labelled
        self.relevance_ = np.nan
        if self.self_training and not labelled.all():
            self.relevance_ = self._relevance(X, labelled)
            said = torch.from_numpy(self._logits(data.inputs))
            data = filled(data, said, self.threshold, self.omega)
            used = np.ones(len(X), dtype=bool) if data.labelled is None else data.labelled.numpy()
            make: Any = Hard if data.targets.ndim == 1 else Soft
            super().fit(X, make(y.space, data.targets.numpy(), used), data.weights.numpy())
            best = said.softmax(1).max(1)
            self._evidence["suspect"][~labelled] = np.nan
            self._evidence |= {"suggested": self.classes_[best.indices], "confidence": best.values.numpy()}
        guessed = torch.from_numpy(used & ~labelled)
        self.pseudo_counts_ = class_counts(data.targets, data.n_classes, guessed).numpy()
        self.class_counts_ = self.objective_.counts.cpu().numpy()
        if self.rebalance == "head":
            recipe = self.recipe or self.default_recipe
            kept = Data(self._inputs(X), data.targets, data.n_classes, data.weights, used & ~self._held)
            retrain_head(self.network_, kept, replace(recipe, epochs=max(1, recipe.epochs // 10)), self.beta)
        return self

    def _relevance(self, X: npt.NDArray[Any], labelled: npt.NDArray[np.bool_]) -> float:
        """Share of the unlabelled rows that look like the labelled ones; warns where it is low."""
        flat = self._inputs(X).numpy().reshape(len(X), -1)
        found = relevance(flat[labelled], flat[~labelled])
        if found < ENOUGH:
            warnings.warn(
                f"Only about {found:.0%} of the rows without a label look like the labelled ones; below {ENOUGH:.0%} "
                "they may do harm. Leave the others out, or set a threshold or self_training=False.",
                stacklevel=3,
            )
        return found

    def _hold_out(self, given: npt.NDArray[np.int64], labelled: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """The same rows for both networks: true labels alone, which the first one did not see."""
        if not hasattr(self, "_held"):
            self._held = super()._hold_out(given, labelled)
        return self._held

"""Losses and heads for classes of very unequal size: what a method for long tails is built on.

- Cross-entropy; the focal loss (Lin et al. 2017, gamma 1), which rows that are easy hardly move; LDAM (Cao et al. 2019,
  arXiv 1906.07413), by which rare classes must win by a margin.
- Weights by the effective number of rows of each class (Cui et al. 2019), all the time or deferred.
- cRT (Kang et al. 2020, arXiv 1910.09217): features from all rows as they come, then a new head from balanced draws.

Weights average to one over the rows, not over the classes, so that the learning rate keeps its meaning. A row's
suspicion is its mean loss above that of its class, without which every rare row would look suspicious.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from assay.errors import InputError
from assay.training.deep import Tensor, nn, torch
from assay.training.deep.batches import Batch, Data, pick, to_device
from assay.training.deep.class_counts import (
    CosineHead,
    balanced_sampling,
    class_counts,
    class_weights,
    deferred,
    ldam_loss,
    ldam_margins,
)
from assay.training.deep.loop import fit
from assay.training.deep.objective import Objective
from assay.training.deep.pretext import Pretext, pretrain
from assay.training.deep.recipe import Recipe
from assay.training.deep.run import evaluating
from assay.training.deep.targets import cross_entropy, of_target, one_hot

Loss = Literal["cross_entropy", "focal", "ldam"]
SCALE = 30.0  # of LDAM's cosines


class LongTail(Objective):
    """A loss and weights that know how many rows each class has.

    Parameters
    ----------
    loss : "cross_entropy", "focal", or "ldam" (which gives the network a head of cosines).
    weights : "none", "all" the time, or "deferred" to the part of the training after `start`.
    beta : of the effective numbers; 1 weighs by the inverse of the counts.
    start : share of the training after which deferred weights begin.
    counts : (k,) rows of each class; None counts those of the training data.
    pretext, recipe : what the network learns first, without labels, and how; see `pretrain`.

    Attributes
    ----------
    counts, weights_now : (k,) buffers.
    """

    counts: Tensor
    weights_now: Tensor

    def __init__(
        self,
        loss: Loss = "cross_entropy",
        weights: Literal["none", "all", "deferred"] = "none",
        beta: float = 0.9999,
        start: float = 0.8,
        counts: Sequence[float] | None = None,
        pretext: Pretext | None = None,
        recipe: Recipe | None = None,
    ) -> None:
        super().__init__()
        if loss not in get_args(Loss) or weights not in ("none", "all", "deferred"):
            raise InputError(f"loss is {loss!r} and weights {weights!r}: see LongTail for what they may be.")
        if not 0 <= start <= 1:
            raise InputError(f"start is {start}: it is a share of the training in 0..1.")
        self.kind, self.weights, self.beta, self.start = loss, weights, beta, start
        self.given_counts, self.pretext, self.recipe = counts, pretext, recipe

    def begin(self, n_rows: int, n_classes: int, data: Data | None = None, model: Any = None) -> None:
        """Count the classes; give the network LDAM's head; pretrain it."""
        super().begin(n_rows, n_classes, data, model)
        if self.given_counts is not None:
            counts = torch.as_tensor(self.given_counts, dtype=torch.float32)
        elif data is not None:
            counts = class_counts(data.targets, n_classes, data.labelled)
        else:
            raise InputError("How many rows has each class? Give LongTail(counts=...), or begin(..., data=...).")
        if counts.shape != (n_classes,):
            raise InputError(f"There are {len(counts)} counts and {n_classes} classes: give one count a class.")
        self.keep("counts", counts)
        self.keep("weights_now", self._weights_of(0.0))
        head = getattr(model, "head", None)
        if model is not None and self.kind == "ldam" and not isinstance(head, CosineHead):
            if not isinstance(head, nn.Linear):
                raise InputError("LDAM replaces the network's linear `head`, and it has none: see backbones.Network.")
            model.head = CosineHead(head.in_features, n_classes).to(head.weight.device)
        if model is not None and data is not None and self.pretext is not None:
            pretrain(model, data.inputs, self.recipe or Recipe(), self.pretext)

    def _weights_of(self, progress: float) -> Tensor:
        """Weights (k,) at a point of the training in 0..1, of mean one over the rows."""
        even = torch.ones_like(self.counts)
        if self.weights == "none":
            return even
        weights = class_weights(self.counts, self.beta)
        weights = weights * self.counts.sum() / (weights * self.counts).sum()
        return weights if self.weights == "all" else deferred(weights, int(progress >= self.start), 1)

    def unweighted(self, logits: Tensor, targets: Tensor) -> Tensor:
        """What each row costs (b,) before its class's weight."""
        if self.kind == "ldam":
            return ldam_loss(logits, targets, ldam_margins(self.counts), SCALE)
        losses = cross_entropy(logits, targets)
        return losses if self.kind == "cross_entropy" else -torch.expm1(-losses) * losses  # (1 - p)^1

    def loss(self, logits: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
        """What each row costs (b,), weighted as of now."""
        del rows
        weights = of_target(self.weights_now.expand(len(targets), -1), targets)
        return self.unweighted(logits, targets) * weights.detach()

    def forward(self, batch: Batch, model: Any) -> Tensor:
        """The loss of a batch; remembers what rows cost without weights."""
        self.weights_now.copy_(self._weights_of(batch.step / batch.n_steps))
        logits = model(batch.inputs)
        self.remember(batch.rows, self.unweighted(logits, batch.targets))
        return batch.mean(self.loss(logits, batch.targets, batch.rows))

    def logits(self, model: Any, inputs: Any) -> Tensor:
        """Logits (b, k); LDAM's cosines are scaled as they are in its loss."""
        said = super().logits(model, inputs)
        return SCALE * said if self.kind == "ldam" else said

    def suspects(self, targets: Tensor) -> Tensor:
        """Mean loss of each row (n,) above that of its class; nan for rows never visited."""
        losses = super().suspects(targets)
        belief = one_hot(targets, self.n_classes).double() * ~losses.isnan()[:, None]
        mean = (belief.T @ losses.nan_to_num()) / belief.sum(0).clamp(min=1e-12)  # (k,)
        return losses - of_target(mean.expand(len(losses), -1), targets)


def retrain_head(model: Any, data: Data, recipe: Recipe, beta: float = 0.9999) -> None:
    """Give a network a new linear head, trained on its features and on draws in which classes are balanced (cRT)."""
    device = model.head.weight.device
    with evaluating(model), torch.no_grad():
        batches = torch.arange(data.n_rows).split(1024)
        parts = [model.features(to_device(pick(data.inputs, rows), device)) for rows in batches]
    features = Data(torch.cat(parts).cpu(), data.targets, data.n_classes, data.weights, data.labelled)
    weights = class_weights(class_counts(data.targets, data.n_classes, data.labelled), beta)
    chances = balanced_sampling(data.targets, weights, data.labelled)
    width = model.head.in_features
    model.head = fit(
        Objective(), lambda: nn.Linear(width, data.n_classes), features, recipe, sampling=chances
    ).model.to(device)

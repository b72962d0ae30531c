"""Features in the order of their worth, and two networks that pick each other's rows by their small losses.

Wrong labels are memorised in many small details. Nested dropout lets the last features through only up to a width that
is drawn anew for each batch, so that the first ones learn first and most, and the last ones hardly at all; few of them
are then kept. Two such networks go on by Co-teaching: each learns from the rows that the other finds easy.

Paper: Chen, Hu, Shen, Ai, Suykens, "Compressing Features for Learning with Noisy Labels", TNNLS 2022, arXiv
2206.13140. Co-teaching itself: Han et al., NeurIPS 2018, arXiv 1804.06872.

    P(k) ~ exp(-(k / sigma)^2),   loss = CE(W (z_1 .. z_k, 0 .. 0), y),   width = argmax_k accuracy(k) - 1e-5 (k - 1)
    Co-teaching: of each batch, each network learns from the (1 - noise_rate) share with the other's smallest losses

with z the features that the head W reads, k the width of a batch, accuracy(k) that on held-out labels when k features
are kept, and noise_rate (tau). sigma is no deviation: the mean of k is about 0.56 sigma.

When to use: about the same, known share of every class is mislabelled; rows should be picked, not only learned from;
or an embedding is wanted that may be cut off. When not: the share is unknown, or small classes must be kept (their
losses are large, and Co-teaching leaves them out: look at `selected` in the evidence, class by class).

Departures: the two networks see one order of rows, and are trained in one run; they and the width are chosen by labels
that may be wrong (in the paper: clean); no row of a batch of odd size is dropped; without held-out rows the width is
sigma, rounded up. Not here: two masked layers in turn. Where the head has a bias, it counts at every width.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy.typing as npt

from assay.errors import InputError
from assay.training.deep import Tensor, functional, nn, torch
from assay.training.deep.batches import Batch, Data, pick, to_device
from assay.training.deep.estimator import Backbone, NetworkClassifier
from assay.training.deep.objective import Objective
from assay.training.deep.prefixes import best_width, prefix, prefix_logits, width_chances
from assay.training.deep.recipe import Recipe
from assay.training.deep.run import evaluating
from assay.training.deep.small_loss import checked_rate, keep_rate, mean_over, small_losses
from assay.training.deep.stream import Augment
from assay.training.deep.targets import codes

METHOD = {
    "name": "nested_coteaching",
    "title": "Nested dropout and Co-teaching",
    "paper": "Chen, Hu, Shen, Ai, Suykens, 2022, Compressing Features for Learning with Noisy Labels",
    "arxiv": "2206.13140",
    "accepts": ["hard", "soft", "votes"],
    "gives": ["classifier", "suspects", "selected rows", "ordered features"],
    "command": "assay learn TABLE --label COL --method nested_coteaching",
    "claim": "On digits with 40 % symmetric noise the last epoch is at least 15 points more accurate than that of "
    "cross-entropy, and at least nine in ten of the selected labels are right.",
    "status": "stable",
}

LEAST_SIGMA = 10.0  # the smallest of the paper; fewer features than about half the classes cannot tell them apart
CHUNK = 256  # rows whose logits at every width are held at once


@contextmanager
def frozen_norms(model: nn.Module) -> Iterator[None]:
    """Inside, batch normalisation uses its running statistics and learns nothing."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    learned = [p for norm in norms for p in norm.parameters() if p.requires_grad]
    for norm in norms:
        norm.eval()
    for parameter in learned:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for norm in norms:
            norm.train()
        for parameter in learned:
            parameter.requires_grad_(True)


class NestedDropout(Objective):
    """Cross-entropy on the first features alone, of which there are more or fewer in each batch.

    Parameters
    ----------
    sigma : scale of the widths; None for the number of classes, and at least 10.
    dropout : a share of the features that is dropped at random, instead of the last ones; 0 for neither.

    Attributes
    ----------
    width : how many features are kept, chosen after each epoch; has no meaning with `dropout`.
    """

    width: Tensor

    def __init__(self, sigma: float | None = None, dropout: float | None = None) -> None:
        super().__init__()
        if (sigma is not None and not sigma > 0) or (dropout is not None and not 0 <= dropout < 1):
            raise InputError(f"sigma is {sigma} and dropout {dropout}: expected a number above 0, and a share below 1.")
        self.sigma, self.dropout = sigma, dropout

    def begin(self, n_rows: int, n_classes: int, data: Data | None = None, model: Any = None) -> None:
        """Keep as many features as the scale says, until there is more to go by."""
        super().begin(n_rows, n_classes, data, model)
        for network in _each(model):
            if not (hasattr(network, "features") and isinstance(getattr(network, "head", None), nn.Linear)):
                raise InputError(
                    f"{type(network).__name__} has no features(x) and linear head, between which features are dropped: "
                    "give a network such as those of assay.training.deep.backbones."
                )
        self.scale = max(LEAST_SIGMA, n_classes) if self.sigma is None else self.sigma
        self.keep("width", torch.tensor(math.ceil(self.scale)))

    def forward(self, batch: Batch, model: Any) -> Tensor:
        """The mean loss at one width."""
        losses = self.masked(batch, model)
        self.remember(batch.rows, losses)
        return batch.mean(losses)

    def masked(self, batch: Batch, network: Any) -> Tensor:
        """Losses (b,) of a network at a width of its own."""
        return self.loss(self.said(network, batch.inputs, self.draw(batch, network)), batch.targets, batch.rows)

    def draw(self, batch: Batch, network: Any) -> int:
        """A width, the same in every process."""
        chances = width_chances(network.head.in_features, self.scale)
        return int(torch.multinomial(chances, 1, generator=batch.generator)) + 1

    def said(self, network: Any, inputs: Any, width: int) -> Tensor:
        """Logits (b, k) of a network that keeps so many features."""
        z = network.features(inputs)
        z = prefix(z, width) if self.dropout is None else functional.dropout(z, self.dropout, network.training)
        logits: Tensor = network.head(z)
        return logits

    def logits(self, model: Any, inputs: Any) -> Tensor:
        """What the network says, or the mean of two, with the chosen width."""
        return torch.stack([self.said(network, inputs, int(self.width)) for network in _each(model)]).mean(0)

    def end_epoch(self, epoch: int, model: Any, validation: Data | None) -> None:
        """Choose the width on held-out rows."""
        del epoch
        if validation is not None:
            self.width.fill_(best_width(self.accuracies(model, validation)[-1])[0])

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def accuracies(self, model: Any, validation: Data) -> Tensor:
        """Accuracy at each width, (networks + 1, d), of each network and last of all together; (., 1) with dropout."""
        labelled = validation.labelled
        use = torch.arange(validation.n_rows) if labelled is None else labelled.nonzero().squeeze(1)
        right: Any = 0
        with evaluating(model):
            for rows in use.split(CHUNK):
                x = to_device(pick(validation.inputs, rows), self.width.device)
                y = codes(validation.targets[rows]).to(self.width.device)
                said = [self._every_width(network, x) for network in _each(model)]
                guesses = torch.stack([*said, sum(said)]).argmax(-1)  # (networks + 1, b, d)
                right = right + (guesses == y[:, None]).sum(1)
        return right / len(use)

    def _every_width(self, network: Any, inputs: Any) -> Tensor:
        z = network.features(inputs)
        return prefix_logits(z, network.head) if self.dropout is None else network.head(z)[:, None]


class NestedCoTeaching(NestedDropout):
    """Two networks that first learn alone with nested dropout, and then from each other's choice of rows.

    A batch is halved: each network learns from the rows of one half, chosen by the other network, which judges them
    with the chosen width. Statistics of batch normalisation stay as they are then.

    Parameters
    ----------
    noise_rate : tau, the share of rows that is left out: about that of the wrong labels.
    sigma, dropout : as for `NestedDropout`.
    alone : epochs of learning alone; then each network goes back to its best epoch, where there are held-out rows. The
        learning rate should fall here, see `Recipe.milestones`.

    Attributes
    ----------
    selected : (n,) 1 where the row was chosen at its last visit, 0 where not; nan before.
    """

    n_models: ClassVar[int] = 2
    selected: Tensor
    best_worth: Tensor

    def __init__(
        self, noise_rate: float = 0.2, sigma: float | None = None, dropout: float | None = None, alone: int = 30
    ) -> None:
        super().__init__(sigma, dropout)
        self.noise_rate, self.alone = checked_rate(noise_rate), alone

    def begin(self, n_rows: int, n_classes: int, data: Data | None = None, model: Any = None) -> None:
        """Nothing is chosen yet; the best networks are those of the beginning."""
        if model is None:
            raise InputError("The best of its networks are kept: call begin(n_rows, n_classes, model=[one, other]).")
        super().begin(n_rows, n_classes, data, model)
        self.keep("selected", torch.full((n_rows,), math.nan))
        self.keep("best_worth", torch.full((2,), -math.inf, dtype=torch.float64))
        self.best = nn.ModuleList(copy.deepcopy(network).requires_grad_(False) for network in model)

    def forward(self, batch: Batch, model: Any) -> Tensor:
        """The sum of both networks' losses."""
        if batch.epoch >= self.alone:
            return self.teach(batch, model)
        losses = [self.masked(batch, network) for network in model]
        self.remember(batch.rows, (losses[0] + losses[1]) / 2)
        return batch.mean(losses[0]) + batch.mean(losses[1])

    def teach(self, batch: Batch, model: Any) -> Tensor:
        """Each network judges a half, and learns from what the other chose of its own."""
        halves = torch.arange(len(batch.rows), device=batch.rows.device).tensor_split(2)
        rate = keep_rate(batch.epoch, self.noise_rate)
        chosen, judged = [], []
        for network, at in zip(model, halves, strict=True):
            with torch.no_grad(), evaluating(network):
                logits = self.said(network, pick(batch.inputs, at), int(self.width))
            judged.append(self.loss(logits, batch.targets[at], batch.rows[at]))
            chosen.append(at[small_losses(judged[-1], rate)])
        self.remember(batch.rows, torch.cat(judged))
        self.write("selected", batch.rows, torch.bincount(torch.cat(chosen), minlength=len(batch.rows)))
        width = self.draw(batch, model[0])
        total: Any = 0
        for network, at in zip(model, chosen[::-1], strict=True):
            if len(at):
                with frozen_norms(network):
                    logits = self.said(network, pick(batch.inputs, at), width)
                total = total + mean_over(batch, at, self.loss(logits, batch.targets[at], batch.rows[at]))
        return total

    def end_epoch(self, epoch: int, model: Any, validation: Data | None) -> None:
        """Choose the width; keep each network's best epoch, and go back to it before they teach each other."""
        if validation is None:
            return
        found = self.accuracies(model, validation)
        if epoch < self.alone:
            for k in (0, 1):
                worth = best_width(found[k])[1]
                if worth > self.best_worth[k]:
                    self.best_worth[k] = worth
                    self.best[k].load_state_dict(model[k].state_dict())
        if epoch == self.alone - 1:
            for network, best in zip(model, self.best, strict=True):
                network.load_state_dict(best.state_dict())
            found = self.accuracies(model, validation)
        self.width.fill_(best_width(found[-1])[0])

    def evidence(self, targets: Tensor) -> dict[str, npt.NDArray[Any]]:
        """Also which rows were selected."""
        return {**super().evidence(targets), "selected": self.selected.cpu().numpy()}


def _each(model: Any) -> Any:
    """The networks: of two a list, of one itself alone."""
    return [] if model is None else model if isinstance(model, nn.ModuleList | list) else [model]


class NestedCoTeachingClassifier(NetworkClassifier):
    """Two networks trained by nested dropout and Co-teaching.

    Parameters
    ----------
    noise_rate, sigma, dropout : as for `NestedCoTeaching`.
    backbone, recipe, validation, augment, random_state : see `NetworkClassifier`.
    """

    default_recipe = Recipe(epochs=60, schedule="step", milestones=(30,))

    def __init__(
        self,
        noise_rate: float = 0.2,
        sigma: float | None = None,
        dropout: float | None = None,
        backbone: Backbone | None = None,
        recipe: Recipe | None = None,
        validation: float = 0.1,
        augment: Augment | None = None,
        random_state: int | None = 0,
    ) -> None:
        super().__init__(backbone, recipe, validation, augment, random_state)
        self.noise_rate = noise_rate
        self.sigma = sigma
        self.dropout = dropout

    def make_objective(self) -> Objective:
        """Nested Co-teaching with these arguments; alone for half of the epochs."""
        epochs = (self.recipe or self.default_recipe).epochs
        return NestedCoTeaching(self.noise_rate, self.sigma, self.dropout, alone=epochs // 2)

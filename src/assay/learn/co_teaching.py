"""Two networks that pick each other's rows: each trains on those of a batch that the other one finds easy.

Networks learn right labels first, so rows whose loss is small are mostly right. One network that picks its own rows
believes its own mistakes ever more; two that began differently and pick for each other forget them.

Paper: Han, Yao, Yu, Niu, Xu, Hu, Tsang, Sugiyama, "Co-teaching: Robust Training of Deep Neural Networks with Extremely
Noisy Labels", NeurIPS 2018, arXiv 1804.06872.

    of each batch, each network learns from the R(T) share on which the other one's loss is smallest,
    R(T) = 1 - noise_rate * min(T / ramp, 1)

with T the epoch, and noise_rate (tau).

When to use: a known share of the labels is wrong, about the same in every class. When not: the share is unknown, or
some classes are small or hard: their losses are large, and they are left out (look at `selected` in the evidence, class
by class).

Departures: a share that is no whole number of rows is rounded down, and at least one row is kept; of equal losses the
first rows are taken.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy.typing as npt

from assay.training.deep import Tensor, torch
from assay.training.deep.batches import Batch, Data
from assay.training.deep.estimator import Backbone, NetworkClassifier
from assay.training.deep.objective import Objective
from assay.training.deep.recipe import Recipe
from assay.training.deep.small_loss import checked_rate, keep_rate, mean_over, small_losses
from assay.training.deep.stream import Augment

METHOD = {
    "name": "co_teaching",
    "title": "Co-teaching",
    "paper": "Han, Yao, Yu, Niu, Xu, Hu, Tsang, Sugiyama, 2018, Co-teaching: Robust Training of Deep Neural Networks "
    "with Extremely Noisy Labels",
    "arxiv": "1804.06872",
    "accepts": ["hard", "soft", "votes"],
    "gives": ["classifier", "suspects", "selected rows"],
    "command": "assay learn TABLE --label COL --method co_teaching",
    "claim": "On digits with 40 % symmetric noise the last epoch is at least 15 points more accurate than that of "
    "cross-entropy, and at least nine in ten of the selected labels are right.",
    "status": "stable",
}


class CoTeaching(Objective):
    """Two networks that train on the rows of each batch on which the other one's loss is small (Han et al. 2018).

    Parameters
    ----------
    noise_rate : tau, the share of rows that is left out: about that of the wrong labels.
    ramp : epochs in which it rises from none.

    Attributes
    ----------
    selected : (n,) share of the networks that chose the row at its last visit; nan before.
    """

    n_models: ClassVar[int] = 2
    selected: Tensor

    def __init__(self, noise_rate: float = 0.2, ramp: int = 10) -> None:
        super().__init__()
        self.noise_rate, self.ramp = checked_rate(noise_rate), ramp

    def begin(self, n_rows: int, n_classes: int, data: Data | None = None, model: Any = None) -> None:
        """Nothing is chosen yet."""
        super().begin(n_rows, n_classes, data, model)
        self.keep("selected", torch.full((n_rows,), math.nan))

    def forward(self, batch: Batch, model: Any) -> Tensor:
        """The sum of both networks' losses, each on the other's choice."""
        losses = [self.loss(network(batch.inputs), batch.targets, batch.rows) for network in model]
        self.remember(batch.rows, (losses[0] + losses[1]) / 2)
        rate = keep_rate(batch.epoch, self.noise_rate, self.ramp)
        chosen = [small_losses(one, rate) for one in losses]
        votes = torch.bincount(torch.cat(chosen), minlength=len(batch.rows))
        self.write("selected", batch.rows, votes / 2)
        return sum(mean_over(batch, at, one[at]) for at, one in zip(chosen[::-1], losses, strict=True))

    def evidence(self, targets: Tensor) -> dict[str, npt.NDArray[Any]]:
        """Also which rows were selected."""
        return {**super().evidence(targets), "selected": self.selected.cpu().numpy()}


class CoTeachingClassifier(NetworkClassifier):
    """Two networks trained by Co-teaching.

    Parameters
    ----------
    noise_rate, ramp : as for `CoTeaching`.
    backbone, recipe, validation, augment, random_state : see `NetworkClassifier`.
    """

    def __init__(
        self,
        noise_rate: float = 0.2,
        ramp: int = 10,
        backbone: Backbone | None = None,
        recipe: Recipe | None = None,
        validation: float = 0.1,
        augment: Augment | None = None,
        random_state: int | None = 0,
    ) -> None:
        super().__init__(backbone, recipe, validation, augment, random_state)
        self.noise_rate = noise_rate
        self.ramp = ramp

    def make_objective(self) -> Objective:
        """Co-teaching with these arguments."""
        return CoTeaching(self.noise_rate, self.ramp)

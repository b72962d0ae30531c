"""Training on bags of rows: batches are whole bags, and a bag's loss may count its rows, its known shares, or both.

    instance part:   mean over rows of H(belief_i, f(x_i))
    bag part:        H(shares_B, head(mean over the bag of features(x_i)))      Havaldar et al. 2024, arXiv 2310.08056
                     H(shares_B, mean over the bag of f(x_i))                   "DLLP", Ardehaly, Culotta 2017

where H is the cross-entropy. A bag is a row of `Data`, its shares are the target:

    fit(BagObjective(), make_network, Data(BagRows(x, ptr, members, beliefs), shares, k), recipe)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from assay.training.deep import Tensor, nn, torch
from assay.training.deep.backbones import mlp
from assay.training.deep.batches import Batch, Data
from assay.training.deep.loop import fit
from assay.training.deep.objective import Objective
from assay.training.deep.recipe import Recipe
from assay.training.deep.run import Run, evaluating
from assay.training.deep.targets import cross_entropy

HEAD = 64  # units of the hidden layer of the bag head
RECIPE = Recipe(epochs=20, batch_size=64, optimizer="adam", lr=1e-3, weight_decay=1e-4)

Floats = npt.NDArray[np.float64]


class BagRows:
    """The rows of bags, to be `inputs` of `Data`: `self[chosen]` has the rows of the chosen bags, one after the other.

    Parameters
    ----------
    x : (n, ...) inputs of all rows, on the CPU.
    ptr, members : bag i has the rows members[ptr[i]:ptr[i + 1]]; bags may overlap, and a row counts once in all.
    beliefs : (n, k) what is believed of each row; None where only the bags count.
    """

    def __init__(self, x: Tensor, ptr: npt.ArrayLike, members: npt.ArrayLike, beliefs: Any = None) -> None:
        self.x, self.ptr, self.members = x, torch.as_tensor(ptr), torch.as_tensor(members)
        self.beliefs = None if beliefs is None else torch.as_tensor(beliefs, dtype=torch.float32)
        self.once = 1.0 / torch.bincount(self.members, minlength=len(x)).clamp(min=1)  # (n,)

    def __len__(self) -> int:
        return len(self.ptr) - 1

    def __getitem__(self, chosen: Tensor) -> dict[str, Tensor]:
        start, size = self.ptr[chosen], self.ptr[chosen + 1] - self.ptr[chosen]
        bag = torch.arange(len(chosen)).repeat_interleave(size)
        within = torch.arange(len(bag)) - (size.cumsum(0) - size)[bag]
        rows = self.members[start[bag] + within]
        found = {"x": self.x[rows], "bag": bag, "size": size, "once": self.once[rows]}
        return found if self.beliefs is None else {**found, "beliefs": self.beliefs[rows]}


class BagObjective(Objective):
    """The loss of bags, by one of two rules.

    Parameters
    ----------
    bag_weight : lambda_a, of the bag part beside the instance part. None: the bag part of DLLP alone, without beliefs.
    """

    own_lr: ClassVar[float] = 1e-3

    def __init__(self, bag_weight: float | None = 0.1) -> None:
        super().__init__()
        self.bag_weight = bag_weight

    def begin(self, n_rows: int, n_classes: int, data: Data | None = None, model: Any = None) -> None:
        """Make the bag head, for which the network's `head` tells how many features there are."""
        super().begin(n_rows, n_classes, data, model)
        if self.bag_weight is not None:
            self.bag_head = nn.Sequential(
                nn.Linear(model.head.in_features, HEAD), nn.ReLU(), nn.Linear(HEAD, n_classes)
            )

    def forward(self, batch: Batch, model: Any) -> Tensor:
        """The loss of some bags."""
        rows = batch.inputs
        mean_size = len(rows["x"]) / len(batch.rows)
        if self.bag_weight is None:
            mean = self._mean(model(rows["x"]).float().softmax(1), rows)
            losses = -(batch.targets * mean.clamp(min=1e-7).log()).sum(1)
            self.remember(batch.rows, losses)
            return batch.mean(losses)
        features = model.features(rows["x"])
        of_rows = cross_entropy(model.head(features), rows["beliefs"]) * rows["once"]
        of_bags = cross_entropy(self.bag_head(self._mean(features, rows)), batch.targets)
        self.remember(batch.rows, of_bags)
        sums = torch.zeros_like(of_bags).index_add(0, rows["bag"], of_rows)
        return batch.mean(sums / mean_size + self.bag_weight * of_bags)

    def _mean(self, values: Tensor, rows: Any) -> Tensor:
        """Means over bags (b, ...) of values of their rows."""
        total = values.new_zeros(len(rows["size"]), values.shape[1]).index_add(0, rows["bag"], values)
        return total / rows["size"][:, None]


@dataclass(frozen=True, slots=True, eq=False)
class BagNetwork:
    """A network trained on bags, for arrays."""

    run: Run

    def predict_proba(self, x: Floats) -> Floats:
        """Chances (n, k) of the classes."""
        return np.asarray(softmax(self.run.logits(_tensor(x)).double().numpy(), axis=1))

    def features(self, x: Floats) -> Floats:
        """Features (n, h), what the last layer reads."""
        network: Any = self.run.model
        place = next(network.parameters()).device
        with torch.no_grad(), evaluating(network):
            parts = [network.features(part.to(place)).double().cpu() for part in _tensor(x).split(1024)]
        return np.asarray(torch.cat(parts).numpy())


def train_on_bags(
    x: Floats,
    ptr: npt.ArrayLike,
    members: npt.ArrayLike,
    shares: Floats,
    beliefs: Floats | None = None,
    bag_weight: float | None = 0.1,
    backbone: Callable[..., nn.Module] | None = None,
    recipe: Recipe | None = None,
    seed: int = 0,
) -> BagNetwork:
    """Train a network on rows x (n, ...) in bags; see `BagRows` and `BagObjective`.

    The recipe's batch size is in rows, and rounded to whole bags. Without a backbone: a perceptron (128, 64).
    """
    k, n_bags = shares.shape[1], len(shares)
    recipe = recipe or RECIPE
    of_bags = min(n_bags, max(1, round(recipe.batch_size * n_bags / len(np.asarray(members)))))
    inputs = BagRows(_tensor(x), ptr, members, beliefs)
    make = backbone or (lambda shape, k: mlp(shape, k, hidden=(128, 64), norm=False))
    run = fit(
        BagObjective(bag_weight),
        lambda: make(x.shape[1:], k),
        Data(inputs, shares, k),
        replace(recipe, batch_size=of_bags, seed=seed),
    )
    return BagNetwork(run)


def _tensor(x: Floats) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))

"""Pretraining without labels: a network first learns to solve a puzzle that the inputs pose by themselves.

- "rotation" (Gidaris, Singh, Komodakis 2018, arXiv 1803.07728): by which of four quarter turns was a picture turned?
  It teaches something only where pictures have a natural upright, which digits hardly have.
- "masking": a share of the numbers of a row is replaced by those of another row; what stood there? For tables and
  embeddings (after VIME, Yoon et al. 2020).
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from assay.errors import InputError
from assay.training.deep import Tensor, nn, torch
from assay.training.deep.backbones import Network
from assay.training.deep.batches import Batch, Data
from assay.training.deep.loop import fit
from assay.training.deep.objective import Objective
from assay.training.deep.recipe import Recipe
from assay.training.deep.run import evaluating
from assay.training.deep.stream import Augment
from assay.training.deep.targets import cross_entropy

Pretext = Literal["rotation", "masking"]


class Rotation(Objective):
    """Cross-entropy of the four quarter turns; each turn has an equal part of every batch."""

    def forward(self, batch: Batch, model: Any) -> Tensor:
        """The loss of a batch of square pictures, each turned once at random."""
        turns = torch.arange(len(batch.rows))[torch.randperm(len(batch.rows), generator=batch.generator)] % 4
        turned = batch.inputs.clone()
        for turn in (1, 2, 3):
            at = turns == turn
            turned[at] = batch.inputs[at].rot90(turn, (-2, -1))
        losses = cross_entropy(model(turned), turns.to(batch.rows.device))
        self.remember(batch.rows, losses)
        return batch.mean(losses)


class Masking(Objective):
    """Mean squared error of the numbers that were replaced.

    Parameters
    ----------
    share : of the numbers that are replaced, each by that of another row of the batch.
    """

    def __init__(self, share: float = 0.5) -> None:
        super().__init__()
        if not 0 < share < 1:
            raise InputError(f"share is {share}: it lies between 0 and 1.")
        self.share = share

    def forward(self, batch: Batch, model: Any) -> Tensor:
        """The loss of a batch of rows of any shape."""
        x = batch.inputs
        hidden = torch.rand(x.shape, device=x.device) < self.share
        other = x[torch.randperm(len(x), device=x.device)]
        wrong = (model(torch.where(hidden, other, x)) - x.flatten(1)) ** 2
        mask = hidden.flatten(1)
        losses = (wrong * mask).sum(1) / mask.sum(1).clamp(min=1)
        self.remember(batch.rows, losses)
        return batch.mean(losses)


def pretrain(
    network: Any, inputs: Any, recipe: Recipe, pretext: Pretext, *, augment: Augment | None = None
) -> list[dict[str, float]]:
    """Train all of a network but its head, in place, on inputs without labels; returns the history.

    Parameters
    ----------
    network : with `features` and `head`, such as those of `backbones`.
    inputs : (n, ...) floats; square pictures (n, c, h, h) for "rotation".

    Raises
    ------
    InputError for a pretext that does not fit the inputs.
    """
    if pretext not in get_args(Pretext):
        raise InputError(f"pretext is {pretext!r}: expected one of {', '.join(get_args(Pretext))}.")
    shape = tuple(getattr(inputs, "shape", ()))
    if pretext == "rotation" and not (len(shape) == 4 and shape[2] == shape[3]):
        raise InputError(f"Inputs have shape {shape}: rotation takes square pictures (n, c, h, h); try masking.")
    if not (isinstance(inputs, Tensor) and inputs.is_floating_point()):
        raise InputError("Pretraining needs inputs that are one tensor of floats, not tokens, ids or mappings.")
    with evaluating(network), torch.no_grad():
        device = next(network.parameters()).device
        features = network.features(inputs[:1].to(device))
    n_answers = 4 if pretext == "rotation" else inputs[0].numel()
    puzzle = Network(_Features(network), nn.Linear(features.shape[1], n_answers))
    objective = Rotation() if pretext == "rotation" else Masking()
    data = Data(inputs, torch.zeros(len(inputs), dtype=torch.int64), max(2, n_answers))
    return fit(objective, puzzle, data, recipe, augment=augment, device=str(device)).history


class _Features(nn.Module):  # type: ignore[misc]
    """The features of a network, as a module that trains them."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Any) -> Tensor:
        return self.network.features(inputs)

"""Three ways to make a network forget: fewer weights, fewer bits, or training that is private by construction.

Each takes from what was learned from few rows; `assay.kernels.long_tail.tail_cost` says from whom.
"""

from __future__ import annotations

import copy
import warnings

from assay.errors import InputError, require
from assay.training.deep import nn, torch
from assay.training.deep.batches import Data
from assay.training.deep.recipe import Recipe
from assay.training.deep.targets import cross_entropy


def pruned(network: nn.Module, share: float) -> nn.Module:
    """A copy without the smallest weights: a `share` of all entries of matrices and filters is zero.

    >>> layer = nn.Linear(2, 2, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, -4.0], [2.0, 3.0]]))
    >>> pruned(layer, 0.5).weight.tolist()
    [[0.0, -4.0], [0.0, 3.0]]
    """
    if not 0 <= share < 1:
        raise InputError(f"The share of weights to prune is {share}: expected a number within 0..1.")
    made = copy.deepcopy(network)
    weights = [p for p in made.parameters() if p.ndim > 1]
    sizes = torch.cat([p.detach().abs().flatten() for p in weights])
    smallest = sizes.argsort(stable=True)[: round(share * len(sizes))]
    keep = torch.ones_like(sizes)
    keep[smallest] = 0
    with torch.no_grad():
        for p, mask in zip(weights, keep.split([p.numel() for p in weights]), strict=True):
            p.mul_(mask.view_as(p))
    return made


def quantised(network: nn.Module, bits: int) -> nn.Module:
    """A copy whose matrices and filters take 2^bits - 1 values a row, evenly spaced between minus and plus its largest.

    >>> layer = nn.Linear(3, 1, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, -0.6, 0.2]]))
    >>> quantised(layer, 2).weight.tolist()
    [[1.0, -1.0, 0.0]]
    """
    if bits < 2:
        raise InputError(f"A weight of {bits} bits has no three values: expected at least 2 bits.")
    made, top = copy.deepcopy(network), 2 ** (bits - 1) - 1
    with torch.no_grad():
        for p in made.parameters():
            if p.ndim > 1:
                step = (p.flatten(1).abs().amax(1) / top).clamp(min=1e-12).view(-1, *[1] * (p.ndim - 1))
                p.copy_((p / step).round() * step)
    return made


def fit_private(
    network: nn.Module, data: Data, recipe: Recipe, *, epsilon: float, delta: float = 1e-5, clip: float = 1.0
) -> float:
    """Train a network in place by cross-entropy, (epsilon, delta)-private about every row; returns what was spent.

    Gradients are clipped row by row to the norm `clip` and drowned in noise (DP-SGD, Abadi et al., 2016), by Opacus;
    batches are Poisson samples of `recipe.batch_size` rows in the mean. Of the recipe, epochs, batch_size, lr, momentum
    and seed count. Weights and labels of the data all count once.

    Raises
    ------
    MissingExtraError without Opacus: `pip install 'assay[privacy]'`.
    InputError for a network with batch normalisation, which mixes rows: take `mlp(..., norm=False)`.
    """
    opacus = require("opacus", "privacy", "Private training")
    if not epsilon > 0 or not 0 < delta < 1 or not clip > 0:
        raise InputError(f"epsilon {epsilon} and clip {clip} must be above 0, and delta {delta} within 0..1.")
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in network.modules()):
        raise InputError("Batch normalisation mixes rows, so no row is private: take a network without, norm=False.")
    rows = torch.utils.data.TensorDataset(data.inputs, data.targets)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Opacus warns of torch's hooks and of its own fast random numbers
        torch.manual_seed(recipe.seed)
        engine = opacus.PrivacyEngine()
        wrapped, optimizer, batches = engine.make_private_with_epsilon(
            module=network.train(),
            optimizer=torch.optim.SGD(network.parameters(), recipe.lr, recipe.momentum),
            data_loader=torch.utils.data.DataLoader(rows, recipe.batch_size),
            target_epsilon=epsilon,
            target_delta=delta,
            epochs=recipe.epochs,
            max_grad_norm=clip,
        )
        for _ in range(recipe.epochs):
            for x, y in batches:
                optimizer.zero_grad()
                if len(y):
                    cross_entropy(wrapped(x), y).mean().backward()
                    optimizer.step()
        wrapped.to_standard_module()
        network.eval()
        return float(engine.get_epsilon(delta))

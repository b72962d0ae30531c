"""Classes of unequal size: weights, margins and chances from the number of rows of each.

- Effective numbers (Cui et al. 2019, arXiv 1901.05555): the n_c rows of a class are worth (1 - beta^n_c) / (1 - beta).
- LDAM (Cao et al. 2019, arXiv 1906.07413): rare classes must win by a margin that falls with n_c^(1/4); with the
  weights deferred to the last part of the training ("DRW").
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.training.deep import Tensor, functional, nn, torch
from assay.training.deep.targets import cross_entropy, of_target, one_hot


def class_counts(targets: Tensor, n_classes: int, labelled: Tensor | None = None) -> Tensor:
    """Rows of each class (k,) float32, of codes (n,) or beliefs (n, k); rows without a label are left out."""
    held = targets if labelled is None else targets[labelled]
    return torch.bincount(held, minlength=n_classes).float() if held.ndim == 1 else held.sum(0)


def class_weights(counts: Tensor, beta: float = 0.9999) -> Tensor:
    """Weights (k,), inverse to the effective numbers, whose mean over the classes present is one.

    Parameters
    ----------
    counts : (k,) rows of each class; an absent class gets weight 0.
    beta : 0 weighs all classes alike, 1 by the inverse of their counts.

    >>> class_weights(torch.tensor([30.0, 10.0]), beta=1.0).tolist()
    [0.5, 1.5]
    """
    if not 0 <= beta <= 1:
        raise InputError(f"beta is {beta}: it lies in 0..1.")
    n = counts.double()
    effective = n if beta == 1 else -torch.expm1(n * float(np.log(beta))) / (1 - beta) if beta > 0 else n.clamp(max=1)
    weights = torch.where(n > 0, 1 / effective.clamp(min=1e-12), 0.0)
    return (weights * (n > 0).sum() / weights.sum()).float()


def deferred(weights: Tensor, epoch: int, start: int) -> Tensor:
    """Class weights (k,) as they are from epoch `start` on, and all one before."""
    return weights if epoch >= start else torch.ones_like(weights)


def balanced_sampling(targets: Tensor, weights: Tensor, labelled: Tensor | None = None) -> npt.NDArray[np.float64]:
    """Chances (n,) of the rows for `fit(sampling=)`: the weight of each row's class, 0 without a label."""
    chances = of_target(weights.expand(len(targets), -1), targets).double()
    return np.asarray((chances if labelled is None else chances * labelled).numpy())


def ldam_margins(counts: Tensor, largest: float = 0.5) -> Tensor:
    """Margins (k,), proportional to n_c^(-1/4), the largest being `largest`; an absent class counts as one row.

    >>> ldam_margins(torch.tensor([16.0, 1.0])).tolist()
    [0.25, 0.5]
    """
    margins = counts.clamp(min=1) ** -0.25
    return largest * margins / margins.max()


def ldam_loss(logits: Tensor, targets: Tensor, margins: Tensor, scale: float = 30.0) -> Tensor:
    """Cross-entropy (b,) after the logit of the true class gave up its margin; for logits of a `CosineHead`.

    With beliefs as targets, each class gives up its share of its margin.
    """
    return cross_entropy(scale * (logits - one_hot(targets, len(margins)) * margins), targets)


class CosineHead(nn.Module):  # type: ignore[misc]
    """Logits (b, k) in -1..1: the cosines between features (b, d) and a direction for each class."""

    def __init__(self, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.empty(n_classes, n_features).uniform_(-1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Cosines (b, k)."""
        return functional.linear(functional.normalize(features), functional.normalize(self.directions))


def long_tail(largest: int, n_classes: int, ratio: float, shape: Literal["exp", "step"] = "exp") -> npt.NDArray[Any]:
    """Class sizes (k,) of a long tail: from `largest` down to largest / ratio, at least one.

    "exp" falls by the same factor from class to class; with "step" the second half of the classes is small.

    >>> long_tail(100, 3, 100).tolist(), long_tail(100, 4, 100, "step").tolist()
    ([100, 10, 1], [100, 100, 1, 1])
    """
    if not (ratio >= 1 and n_classes >= 2 and largest >= 1):
        raise InputError(f"{largest} rows, {n_classes} classes, ratio {ratio}: expected >= 1, >= 2 and >= 1.")
    place = np.arange(n_classes)
    fall = place / (n_classes - 1) if shape == "exp" else (place >= n_classes / 2).astype(float)
    return np.maximum(np.round(largest * ratio**-fall), 1).astype(np.int64)

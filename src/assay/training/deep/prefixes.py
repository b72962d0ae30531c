"""The first of a network's features alone: how many, what they say, and how many are enough.

Trained at widths that are drawn anew for each batch, features come in the order of their worth (Rippel et al. 2014,
"Learning Ordered Representations with Nested Dropout"), so that the last ones may be cut off.
"""

from __future__ import annotations

from assay.training.deep import Tensor, nn, torch

PER_FEATURE = 1e-5  # accuracy that a further feature must bring


def width_chances(n_features: int, sigma: float) -> Tensor:
    """Chances (d,) of the widths 1..d, proportional to exp(-(k / sigma)^2).

    >>> width_chances(3, sigma=1.0).round(decimals=4).tolist()
    [0.9523, 0.0474, 0.0003]
    """
    k = torch.arange(1, n_features + 1, dtype=torch.float64)
    chances: Tensor = torch.softmax(-((k / sigma) ** 2), 0)
    return chances


def prefix(features: Tensor, width: int) -> Tensor:
    """Features (b, d) of which all but the first `width` are zero; they are not scaled up."""
    return features * (torch.arange(features.shape[1], device=features.device) < width)


def prefix_logits(features: Tensor, head: nn.Linear) -> Tensor:
    """Logits (b, d, k) that the head gives when the first 1..d features are kept; memory O(b d k)."""
    logits = (features[:, :, None] * head.weight.T).cumsum(1)
    return logits if head.bias is None else logits + head.bias


def best_width(accuracy: Tensor) -> tuple[int, float]:
    """The width with the best accuracy (d,), where each feature must bring 1e-5, and what is left of that accuracy."""
    worth = accuracy.double() - PER_FEATURE * torch.arange(len(accuracy), device=accuracy.device)
    best = int(worth.argmax())
    return best + 1, float(worth[best])

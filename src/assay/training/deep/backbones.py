"""Networks to begin with: a multi-layer perceptron for tables and embeddings, a small convolutional one for digits.

Every network here is made by `make(shape, n_classes, **options)`, where `shape` is that of one row, and has two parts:

    network(x) = network.head(network.features(x))

so a method that needs the last features (to mask, to compress, to compare) finds them. Any `nn.Module` that takes
inputs and gives logits trains too; only such methods ask for the two parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assay.errors import InputError
from assay.training.deep import Tensor, nn


class Network(nn.Module):  # type: ignore[misc]
    """An encoder from inputs to features (b, d), and a head from features to logits (b, k)."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def features(self, inputs: Any) -> Tensor:
        """Features (b, d), what the head reads."""
        return self.encoder(inputs)

    def forward(self, inputs: Any) -> Tensor:
        """Logits (b, k)."""
        return self.head(self.features(inputs))


def mlp(
    shape: Sequence[int],
    n_classes: int,
    *,
    hidden: Sequence[int] = (128, 128),
    norm: bool = True,
    dropout: float = 0.0,
    bias: bool = True,
) -> Network:
    """A perceptron for rows of any shape, which it flattens; `hidden=()` is a linear classifier.

    Parameters
    ----------
    shape : of one row, such as (64,).
    hidden : widths of the hidden layers; the last one is the number of features.
    norm : batch normalisation after each hidden layer.
    dropout : share of the units of each hidden layer that are dropped.
    bias : of the head.

    >>> import torch
    >>> mlp((8, 8), 10)(torch.zeros(2, 8, 8)).shape
    torch.Size([2, 10])
    """
    width = 1
    for side in shape:
        width *= side
    layers: list[nn.Module] = [nn.Flatten()]
    for units in hidden:
        layers.append(nn.Linear(width, units))
        layers += [nn.BatchNorm1d(units)] if norm else []
        layers.append(nn.ReLU())
        layers += [nn.Dropout(dropout)] if dropout else []
        width = units
    return Network(nn.Sequential(*layers), nn.Linear(width, n_classes, bias=bias))


def small_cnn(shape: Sequence[int], n_classes: int, *, width: int = 32) -> Network:
    """Three convolutions for pictures (c, h, w) of about 8 to 32 pixels a side; 4 * width features.

    >>> import torch
    >>> small_cnn((1, 8, 8), 10)(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """
    channels, _, _ = image_shape(shape)
    layers: list[nn.Module] = []
    for out, stride in ((width, 1), (2 * width, 2), (4 * width, 2)):
        layers += [
            nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
        ]
        channels = out
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return Network(nn.Sequential(*layers), nn.Linear(channels, n_classes))


def image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Channels, height and width of a picture, or an error that says what was expected."""
    if len(shape) != 3:
        raise InputError(f"A row has shape {tuple(shape)}: pictures are (channels, height, width).")
    channels, height, width = shape
    return channels, height, width

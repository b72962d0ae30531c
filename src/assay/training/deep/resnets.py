"""Residual networks for small pictures (He et al. 2016, "Identity Mappings in Deep Residual Networks")."""

from __future__ import annotations

from collections.abc import Sequence

from assay.training.deep import Tensor, functional, nn
from assay.training.deep.backbones import Network, image_shape


class _Block(nn.Module):  # type: ignore[misc]
    """Normalise, activate, convolve, twice; the input is added, projected where its shape changes."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(out)
        self.conv1 = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        same = stride == 1 and channels == out
        self.project = None if same else nn.Conv2d(channels, out, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        ready = functional.relu(self.norm1(x))  # (b, c, h, w)
        kept = x if self.project is None else self.project(ready)
        return kept + self.conv2(functional.relu(self.norm2(self.conv1(ready))))  # (b, out, h / stride, w / stride)


def preact_resnet(
    shape: Sequence[int], n_classes: int, *, width: int = 64, blocks: Sequence[int] = (2, 2, 2, 2)
) -> Network:
    """PreActResNet for pictures (c, h, w) of about 32 pixels a side.

    Parameters
    ----------
    shape : of one row, (c, h, w).
    width : channels of the first stage; each further stage has twice as many and half the pixels a side.
    blocks : residual blocks of each stage: (2, 2, 2, 2) is PreActResNet-18 with 11 million weights at width 64, and
        `width=16, blocks=(5, 5, 5)` the 32 layers of the long-tail literature.
    """
    channels, _, _ = image_shape(shape)
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1, bias=False)]
    channels = width
    for stage, depth in enumerate(blocks):
        out = width * 2**stage
        for block in range(depth):
            layers.append(_Block(channels, out, 2 if stage > 0 and block == 0 else 1))
            channels = out
    layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return Network(nn.Sequential(*layers), nn.Linear(channels, n_classes))


def narrow_resnet(shape: Sequence[int], n_classes: int) -> Network:
    """The same 18 layers with a sixteenth of the weights (0.7 million), for trials on a CPU."""
    return preact_resnet(shape, n_classes, width=16)

"""Weak augmentation of pictures on tensors: a random crop of the padded picture, and a flip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from assay.errors import InputError
from assay.training.deep import Tensor, functional, torch


@dataclass(frozen=True, slots=True)
class CropFlip:
    """Pad pictures (b, c, h, w) with zeros, cut their size out again at random, and mirror every second one.

    Parameters
    ----------
    pad : pixels added on each side.
    flip : mirror left and right with chance a half; not for digits and letters.

    >>> augment = CropFlip(pad=1)
    >>> drawn = augment.draw(2, torch.Generator().manual_seed(0))
    >>> augment(torch.ones(2, 1, 4, 4), drawn).shape
    torch.Size([2, 1, 4, 4])
    """

    pad: int = 4
    flip: bool = True

    def draw(self, n: int, generator: Any) -> Tensor:
        """Rows and columns to shift by, and whether to mirror: (n, 3) int64."""
        shift = torch.randint(2 * self.pad + 1, (n, 2), generator=generator)
        mirror = torch.randint(2, (n, 1), generator=generator) if self.flip else torch.zeros(n, 1, dtype=torch.int64)
        return torch.cat([shift, mirror], 1)

    def __call__(self, inputs: Tensor, drawn: Tensor) -> Tensor:
        """The pictures changed as was drawn."""
        if inputs.ndim != 4:
            raise InputError(f"CropFlip takes pictures (b, channels, height, width), got {tuple(inputs.shape)}.")
        b, c, h, w = inputs.shape
        padded = functional.pad(inputs, (self.pad,) * 4)
        y = drawn[:, :1] + torch.arange(h, device=inputs.device)  # (b, h)
        across = torch.arange(w, device=inputs.device).expand(b, w)
        x = drawn[:, 1:2] + torch.where(drawn[:, 2:] > 0, w - 1 - across, across)  # (b, w)
        at = torch.arange(b, device=inputs.device)[:, None, None, None]
        channel = torch.arange(c, device=inputs.device)[None, :, None, None]
        return padded[at, channel, y[:, None, :, None], x[:, None, None, :]]

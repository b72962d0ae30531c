"""Convolutions that see the whole picture: a global branch added to the 3 x 3 ones of any network.

Each convolution of 3 x 3 pixels becomes `conv(x) + G(x)`, where G gathers one vector a head from all pixels by an
attention, gives it back to each pixel through a gate, and projects (Yuan, Zhang, Huang 2024, arXiv 2306.16016):

    A = softmax over pixels,  s_h = sum_pixels A_h v_h,  G = BN(project(x + gate_h s_h))

Its normalisation begins with weights of deviation 1e-4, so the network begins as it was, pretrained or not. Time and
memory are linear in the pixels: there is no map of pixels by pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assay.errors import InputError
from assay.training.deep import Tensor, functional, nn, torch

START = 1e-4  # deviation of the first weights of the branch's normalisation


@dataclass(frozen=True, slots=True)
class Converted:
    """How many convolutions got a branch, and how many 3 x 3 ones did not, by reason."""

    converted: int
    skipped: Mapping[str, int]


def gather(attention: Tensor, values: Tensor) -> Tensor:
    """One vector a head from all pixels: s (b, heads, c / heads) of attention (b, heads, p) and values (b, c, p).

    >>> gather(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[3.0, 4.0], [5.0, 6.0]]])).tolist()
    [[[4.0, 6.0]]]
    """
    b, heads, p = attention.shape
    return torch.einsum("bhp,bhcp->bhc", attention, values.reshape(b, heads, -1, p))


class LocalGlobal(nn.Module):  # type: ignore[misc]
    """A convolution and its global branch.

    Parameters
    ----------
    local : a convolution of 3 x 3 pixels; kept as it is.
    heads : vectors that are gathered; must divide the channels.
    """

    def __init__(self, local: nn.Conv2d, heads: int = 8) -> None:
        super().__init__()
        c, out = local.in_channels, local.out_channels
        self.local, self.heads = local, heads
        self.reduce = nn.Conv2d(c, c // 4, 1)
        self.attend = nn.Conv2d(2 * (c // 4), heads, 1)
        self.gate = nn.Conv2d(2 * (c // 4), heads, 1)
        self.values = nn.Conv2d(c, c, 1)
        self.project = nn.Conv2d(c, out, 1, stride=local.stride, bias=False)
        self.norm = nn.BatchNorm2d(out)
        nn.init.normal_(self.norm.weight, std=START)
        self.to(local.weight.device, local.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(b, out, h / stride, w / stride) of x (b, c, h, w)."""
        b, c, h, w = x.shape
        near = functional.relu(self.reduce(x))  # (b, c / 4, h, w)
        both = torch.cat([near, near.mean((2, 3), keepdim=True).expand_as(near)], 1)
        attention = self.attend(both).flatten(2).softmax(2)  # (b, heads, h w)
        summary = gather(attention, self.values(x).flatten(2))  # (b, heads, c / heads)
        given = torch.sigmoid(self.gate(both))[:, :, None] * summary[..., None, None]  # (b, heads, c / heads, h, w)
        out: Tensor = self.local(x) + self.norm(self.project(x + given.reshape(b, c, h, w)))
        return out


def add_local_global(model: nn.Module, heads: int = 8) -> Converted:
    """Give every 3 x 3 convolution of a network a global branch, in place.

    Grouped convolutions, those whose channels `heads` or 4 does not divide (such as the first, of a picture), and
    those that shrink the picture at its rim are left as they are, and counted.

    >>> from assay.training.deep.backbones import small_cnn
    >>> add_local_global(small_cnn((1, 8, 8), 10))
    Converted(converted=2, skipped={'channels': 1})
    """
    if heads < 1:
        raise InputError(f"heads is {heads}: expected at least 1.")
    skipped: Counter[str] = Counter()
    converted = 0
    for module in list(model.modules()):
        for name, child in module.named_children():
            if not isinstance(child, nn.Conv2d) or child.kernel_size != (3, 3) or isinstance(module, LocalGlobal):
                continue
            reason = _unfit(child, heads)
            if reason:
                skipped[reason] += 1
            else:
                setattr(module, name, LocalGlobal(child, heads))
                converted += 1
    return Converted(converted, dict(skipped))


def _unfit(conv: Any, heads: int) -> str:
    """Why a convolution gets no branch; empty where it does."""
    if conv.groups > 1:
        return "grouped"
    if conv.in_channels % heads or conv.in_channels % 4:
        return "channels"
    return "" if conv.padding in ("same", conv.dilation) else "size"

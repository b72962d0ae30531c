"""What language-model methods share. torch is taken from here, so that a base install hears which extra brings it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.errors import require

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional
else:
    torch = require("torch", "language", "Work with language models")
    nn, functional, Tensor = torch.nn, torch.nn.functional, torch.Tensor

__all__ = ["Tensor", "functional", "nn", "torch"]

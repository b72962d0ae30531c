"""Labels as a network learns from them: codes or beliefs, and the cross-entropy of either.

Everywhere on this floor targets are either codes (b,) int64 or beliefs (b, k) floats whose rows sum to one. The
functions below take both, so a loss written once serves hard labels, votes, mixed-up rows and beliefs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from assay.errors import InputError
from assay.labels import Hard, Soft, Votes
from assay.training.deep import Tensor, functional, torch


def one_hot(targets: Tensor, n_classes: int) -> Tensor:
    """Beliefs (b, k) float32 of codes (b,); beliefs are returned as they are.

    >>> one_hot(torch.tensor([1, 0]), 2).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    return targets if targets.ndim == 2 else functional.one_hot(targets, n_classes).float()


def codes(targets: Tensor) -> Tensor:
    """Codes (b,) of codes, or the most probable class of beliefs (b, k)."""
    return targets.argmax(1) if targets.ndim == 2 else targets


def of_target(values: Tensor, targets: Tensor) -> Tensor:
    """What `values` (b, k) hold at the target: the entry of its class (b,), or the mean under its belief.

    >>> of_target(torch.tensor([[0.25, 0.75]]), torch.tensor([1])).item()
    0.75
    """
    if targets.ndim == 1:
        return values.gather(1, targets[:, None]).squeeze(1)
    return (values * targets).sum(1)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy (b,) of each row, hard or soft, in single precision or better."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return functional.cross_entropy(
        logits, targets if targets.ndim == 1 else targets.to(logits.dtype), reduction="none"
    )


def targets_of(labels: Hard | Soft | Votes) -> tuple[Tensor, Tensor, int]:
    """Targets, which rows are labelled (n,) bool, and the number of classes, of labels of any of three types.

    Hard labels become codes (n,); soft labels and the vote shares of each task become beliefs (n, k) float32.
    A row without a label holds code 0, or a uniform belief, and False.

    >>> targets, labelled, n_classes = targets_of(Hard.from_values(["cat", None, "dog"]))
    >>> targets.tolist(), labelled.tolist(), n_classes
    ([0, 0, 1], [True, False, True], 2)
    """
    present: Any = labels.present
    k = labels.space.n_classes
    if isinstance(labels, Hard):
        return torch.from_numpy(np.where(present, labels.y, 0).astype(np.int64)), torch.from_numpy(present.copy()), k
    if not isinstance(labels, Soft | Votes):
        raise InputError(f"Labels are {type(labels).__name__}: a network learns from Hard, Soft or Votes.")
    table = labels.totals() if isinstance(labels, Votes) else np.where(present[:, None], labels.p, 0).astype(np.float64)
    total = table.sum(1, keepdims=True)
    shares = np.divide(table, total, out=np.full_like(table, 1 / k), where=total > 0)
    return torch.from_numpy(shares.astype(np.float32)), torch.from_numpy(present & (total[:, 0] > 0)), k

"""The rows of a batch whose losses are small: those that a network believes, and probably the right ones."""

from __future__ import annotations

from assay.errors import InputError
from assay.training.deep import Tensor
from assay.training.deep.batches import Batch


def keep_rate(epoch: int, noise_rate: float, ramp: int = 0) -> float:
    """Share of the rows that Co-teaching keeps: from all of them down to 1 - noise_rate in `ramp` epochs."""
    return 1 - noise_rate * min(1.0, epoch / ramp if ramp else 1.0)


def small_losses(losses: Tensor, rate: float) -> Tensor:
    """Where the share `rate` of smallest losses (m,) is, rounded down, at least one; of equal ones the first.

    >>> import torch
    >>> small_losses(torch.tensor([3.0, 1.0, 1.0, 2.0]), 0.5).tolist()
    [1, 2]
    """
    n = max(1, int(rate * len(losses) + 1e-9))
    return losses.detach().argsort(stable=True)[:n]


def mean_over(batch: Batch, at: Tensor, losses: Tensor) -> Tensor:
    """Mean of the losses (m,) of the rows `at` (m,) of a batch, counting weights."""
    spread = losses.new_zeros(len(batch.rows)).index_copy(0, at, losses)
    return batch.mean(spread) * (len(batch.rows) / max(1, len(at)))


def checked_rate(noise_rate: float) -> float:
    """The share of rows to leave out, or an error that says what it may be."""
    if not 0 <= noise_rate < 1:
        raise InputError(f"noise_rate is {noise_rate}: it is the share of wrong labels, at least 0 and below 1.")
    return noise_rate

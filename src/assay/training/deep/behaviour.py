"""How a row behaves beside the rows that carry the same label: what a method can judge labels by.

Losses and probabilities of several passes under dropout, and where they stand among those of recent rows with the same
label and the same agreement of label and prediction (Heck et al. 2025, arXiv 2412.12955).
"""

from __future__ import annotations

import math

from assay.training.deep import Tensor, functional, nn, torch
from assay.training.deep.processes import gathered
from assay.training.deep.targets import codes, cross_entropy

N_FEATURES = 19
LEAST = 1e-8  # standard deviation of a single row, and the floor of those that overlap


def gaussian_kl(mean: Tensor, std: Tensor, other_mean: Tensor, other_std: Tensor) -> Tensor:
    """KL divergence of N(mean, std) from N(other_mean, other_std), 0 where a deviation is 0; any one shape.

    >>> gaussian_kl(*torch.tensor([1.0, 1.0, 0.0, 1.0])).item()
    0.5
    """
    valid = (std > 0) & (other_std > 0)
    p, q = torch.where(valid, std, 1.0), torch.where(valid, other_std, 1.0)
    found = (q / p).log() + (p**2 + (mean - other_mean) ** 2) / (2 * q**2) - 0.5
    return torch.where(valid, found, 0.0)


def overlap(mean: Tensor, std: Tensor, other_mean: Tensor, other_std: Tensor) -> Tensor:
    """Area that two normal densities share, in 0..1; any one shape, best in double precision.

    >>> round(overlap(*torch.tensor([0.0, 1.0, 2.0, 1.0])).item(), 4)  # 2 Phi(-1)
    0.3173
    """
    s, t = std.clamp(min=LEAST), other_std.clamp(min=LEAST)
    distance, spread = (mean - other_mean).abs(), t**2 - s**2
    alike = spread.abs() <= 1e-9 * (s**2 + t**2)
    spread = torch.where(alike, 1.0, spread)
    root = s * t * (distance**2 + spread * 2 * (t / s).log()).clamp(min=0).sqrt()
    middle = mean * t**2 - other_mean * s**2
    shared = torch.ones_like(s)
    for crossing in ((middle + root) / spread, (middle - root) / spread):
        one, other = torch.special.ndtr((crossing - mean) / s), torch.special.ndtr((crossing - other_mean) / t)
        shared = shared - (one - other).abs()
    return torch.where(alike, torch.special.erfc(distance / (s + t) / math.sqrt(2)), shared)


def group_moments(values: Tensor, member: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and unbiased deviation (g, a, c) of values (g, m, a, c) over the members (g, m, a, 1) of each group.

    A single member deviates by 1e-8, and an empty group is 0.
    """
    n = member.sum(1)
    mean = (values * member).sum(1) / n.clamp(min=1)
    squares = ((values - mean[:, None]) ** 2 * member).sum(1)
    return mean, torch.where(n > 1, (squares / (n - 1).clamp(min=1)).sqrt(), LEAST * n)


class Behaviour(nn.Module):  # type: ignore[misc]
    """Features of rows, and the memory of recent rows that they are made with.

    Parameters
    ----------
    n_groups : g, of rows that are compared: the classes, or 1.
    memory : the most recent rows that are kept of each group, m.

    Attributes
    ----------
    held : (g, m, 5) mean and deviation of the loss, of the highest probability, and the agreement, of kept rows.
    filled : (g,) how many rows were put in.
    """

    held: Tensor
    filled: Tensor

    def __init__(self, n_groups: int, memory: int) -> None:
        super().__init__()
        self.register_buffer("held", torch.zeros(n_groups, memory, 5))
        self.register_buffer("filled", torch.zeros(n_groups, dtype=torch.int64))

    def forget(self) -> None:
        """Empty the memory."""
        self.filled.zero_()

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def forward(self, logits: Tensor, targets: Tensor, groups: Tensor) -> Tensor:
        """Features (b, 19), double, of logits (passes, b, k), targets (b,) or (b, k), and groups (b,).

        Six numbers of each row, each followed by its mean and deviation over the kept rows of the same group and
        agreement: mean and deviation over the passes of the loss, and of the highest probability; KL divergence and
        overlap of two normal distributions of the loss, the row's and that of the means. Last the agreement: whether
        most passes predict the label, the first one breaking ties. The rows are put into the memory first.
        """
        logits = logits.double()
        losses = torch.stack([cross_entropy(one, targets) for one in logits])  # (passes, b)
        sure = logits.softmax(2).amax(2)
        agrees = logits.argmax(2) == codes(targets)
        votes = 2 * agrees.sum(0) - len(logits)
        agreed = torch.where(votes == 0, agrees[0], votes > 0)  # (b,)
        correction = min(1, len(logits) - 1)  # of a single pass the deviation is 0
        own = torch.stack(
            [part for one in (losses, sure) for part in (one.mean(0), one.std(0, correction=correction))], 1
        )
        self._hold(groups, torch.cat([own, agreed[:, None]], 1))
        held = self.held.double()
        known = torch.arange(held.shape[1], device=held.device) < self.filled[:, None]  # (g, m)
        side = torch.arange(2, device=held.device)
        member = ((held[..., 4:] == side) & known[..., None])[..., None]  # (g, m, 2, 1)
        mean, std = group_moments(held[:, :, None, :4], member)  # (g, 2, 4)
        apart = _apart(held[:, :, None], mean[:, None])  # (g, m, 2, 2)
        apart_mean, apart_std = group_moments(apart, member)
        at = groups, agreed.long()
        means, stds = torch.cat([mean, apart_mean], 2)[at], torch.cat([std, apart_std], 2)[at]  # (b, 6)
        values = torch.cat([own, _apart(own, means)], 1)
        return torch.cat([torch.stack([values, means, stds], 2).flatten(1), agreed[:, None]], 1)

    def _hold(self, groups: Tensor, values: Tensor) -> None:
        """Put values (b, 5) into the memory of their groups (b,), over the oldest; all processes hold the same."""
        groups, values = gathered(groups, values)
        memory = self.held.shape[1]
        own = functional.one_hot(groups, len(self.filled))
        rank, count = (own.cumsum(0) * own).sum(1) - 1, own.sum(0)
        last = rank >= count[groups] - memory
        slot = (self.filled[groups] + rank) % memory
        self.held[groups[last], slot[last]] = values[last].to(self.held.dtype)
        self.filled += count


def _apart(rows: Tensor, means: Tensor) -> Tensor:
    """KL divergence and overlap (..., 2) of the losses of rows (..., >= 2) and of group means (..., >= 2)."""
    beside = torch.broadcast_tensors(rows[..., 0], rows[..., 1], means[..., 0], means[..., 1])
    return torch.stack([gaussian_kl(*beside), overlap(*beside)], -1)

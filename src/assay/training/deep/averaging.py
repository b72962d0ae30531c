"""The average of a network's weights over its training: steadier than the weights of any one step.

    a <- g a + (1 - g) w,   g = min(gamma, s / (s + 1)) at the s-th update

While s is small this is the plain mean of the weights so far, later a moving one with a memory of 1 / (1 - gamma)
steps (Tarvainen, Valpola 2017); gamma = 1 keeps the plain mean (Izmailov et al. 2018). Running statistics of
normalisation are averaged alike.
"""

from __future__ import annotations

import copy

from assay.training.deep import nn, torch


class WeightAverage(nn.Module):  # type: ignore[misc]
    """A copy of `model` that follows its average; `module` is that copy.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> average = WeightAverage(model, decay=1.0)
    >>> for weight in (1.0, 2.0, 6.0):
    ...     _ = nn.init.constant_(model.weight, weight)
    ...     average.update(model)
    >>> average.module.weight.item()
    3.0
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__()
        self.module = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._count = -1  # the buffer's value without a wait for the device; -1 = read it

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def update(self, model: nn.Module, decay: float | None = None) -> None:
        """Take in the weights as they are now; `decay` overrides gamma for this update."""
        done = int(self.updates) if self._count < 0 else self._count
        gamma = min(self.decay if decay is None else decay, done / (done + 1))
        mine = [*self.module.parameters(), *self.module.buffers()]
        theirs = [*model.parameters(), *model.buffers()]
        pairs = [(m, t.detach()) for m, t in zip(mine, theirs, strict=True) if m.is_floating_point()]
        if pairs:
            torch._foreach_lerp_([m for m, _ in pairs], [t for _, t in pairs], 1 - gamma)
        for m, t in zip(mine, theirs, strict=True):
            if not m.is_floating_point():
                m.copy_(t)
        self._count = done + 1
        self.updates.fill_(done + 1)

    def _load_from_state_dict(self, *args: object, **kwargs: object) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._count = -1

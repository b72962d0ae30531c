"""How to train: everything that a paper's table of hyper-parameters says, as one value that can be written down."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from assay.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Hyper-parameters of a training, JSON-able by `to_dict`.

    Parameters
    ----------
    epochs, batch_size : passes over the rows, and the most rows a step takes over all processes.
    optimizer : "sgd" (with `momentum`), "adam" or "adamw".
    lr, momentum, weight_decay : of the optimizer; weight decay acts on all parameters.
    schedule : of the learning rate: "constant"; "cosine" to zero over `cycle` epochs, again and again (None: once, over
        all epochs); "step", times `gamma` at each of the epochs in `milestones`.
    warmup : epochs in which the learning rate rises linearly to the schedule's.
    clip : the most the norm of the gradients of each network may be, or None.
    mixup : alpha of the Beta law that rows are mixed by (Zhang et al. 2018), 0 for none.
    average : decay of the weights' average that is validated and returned (an exponential moving average), 1 for
        their plain mean (stochastic weight averaging), None for the weights themselves.
    average_from : epoch with which averaging begins.
    patience : epochs without a better validation after which training stops, or None.
    precision : "no" for single precision, "bf16", or "fp16" with scaled gradients (GPUs only).
    seed : of initial weights, order, augmentation and dropout.

    >>> Recipe(epochs=4, lr=1.0, schedule="step", milestones=(2,)).lr_at(2.5)
    0.1
    """

    epochs: int = 60
    batch_size: int = 64
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 1e-3
    schedule: Literal["constant", "cosine", "step"] = "constant"
    cycle: int | None = None
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    warmup: int = 0
    clip: float | None = None
    mixup: float = 0.0
    average: float | None = None
    average_from: int = 0
    patience: int | None = None
    precision: Literal["no", "bf16", "fp16"] = "no"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "cycle", "patience"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int) and value >= 1):
                raise InputError(f"{name} is {value!r}: expected a whole number of at least 1.")
        for name in ("lr", "clip", "gamma"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} is {value!r}: expected a number above 0.")
        for name in ("momentum", "weight_decay", "mixup", "warmup", "average_from"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)!r}: expected a number of at least 0.")
        choices = {
            "optimizer": ("sgd", "adam", "adamw"),
            "schedule": ("constant", "cosine", "step"),
            "precision": ("no", "bf16", "fp16"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} is {getattr(self, name)!r}: expected one of {', '.join(allowed)}.")
        if self.average is not None and not 0 <= self.average <= 1:
            raise InputError(f"average is {self.average!r}: a decay lies in 0..1, with 1 for the plain mean.")
        if list(self.milestones) != sorted(self.milestones):
            raise InputError(f"milestones are {self.milestones!r}: expected epochs in rising order.")

    def lr_at(self, epoch: float) -> float:
        """Learning rate at a point of the training, in epochs: 1.5 is the middle of the second."""
        rate = self.lr
        if self.schedule == "cosine":
            cycle = self.cycle or self.epochs
            rate *= (1 + math.cos(math.pi * (epoch % cycle) / cycle)) / 2
        elif self.schedule == "step":
            rate *= self.gamma ** sum(epoch >= milestone for milestone in self.milestones)
        return rate * min(1.0, epoch / self.warmup) if self.warmup else rate

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "milestones": list(self.milestones)}

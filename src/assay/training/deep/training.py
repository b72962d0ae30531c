"""A training between two steps: all that changes, how it advances, and how it is saved and taken up again.

A checkpoint is one file written beside and renamed, so a kill leaves the old or the new one. It holds tensors and plain
values; reading it runs no code (`torch.load(weights_only=True)`). Randomness needs no place in it: each step's is made
from its number.
"""

from __future__ import annotations

import hashlib
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from assay.errors import InputError
from assay.labels.formats import files
from assay.training.deep import nn, torch
from assay.training.deep.averaging import WeightAverage
from assay.training.deep.batches import Data
from assay.training.deep.objective import Objective
from assay.training.deep.processes import average, average_gradients, average_statistics, same_everywhere
from assay.training.deep.recipe import Recipe
from assay.training.deep.run import Predict, Run, State, judged, predict, snapshot
from assay.training.deep.stream import Stream

VERSION = 1


class Training:
    """The state of a training; `fit` drives it.

    Parameters
    ----------
    objective : begun, on its device.
    network : one network, or a ModuleList of two, on that device.
    stream : batches by number.
    validation : rows held out, or None.
    """

    def __init__(self, objective: Objective, network: nn.Module, stream: Stream, validation: Data | None) -> None:
        self.objective, self.network, self.stream, self.validation = objective, network, stream, validation
        self.recipe = recipe = stream.recipe
        normalises = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
        if normalises and stream.fewest < 2:
            raise InputError("A batch of one row can't be normalised: raise batch_size, or give more rows.")
        self.done, self.n_steps = 0, recipe.epochs * stream.per_epoch
        self.stopped, self.best_epoch, self.best_accuracy = False, -1, -1.0
        self.history: list[dict[str, float]] = []
        self.states: dict[str, State] = {}
        self.total = torch.zeros((), dtype=torch.float64, device=stream.device)  # of this epoch's losses
        trained, own = ([p for p in part.parameters() if p.requires_grad] for part in (network, objective))
        self.trained = [*trained, *own]
        self.optimizer = make_optimizer(recipe, trained)
        self.own_optimizer = torch.optim.Adam(own, lr=objective.own_lr) if own else None
        kind = torch.device(stream.device).type
        self.scaler = torch.amp.GradScaler(kind, enabled=recipe.precision == "fp16")
        halves = {"bf16": torch.bfloat16, "fp16": torch.float16}
        self.autocast = torch.autocast(kind, halves.get(recipe.precision), enabled=recipe.precision in halves)
        self.average = None if recipe.average is None else WeightAverage(network, recipe.average)

    @property
    def finished(self) -> bool:
        """Whether no step is left."""
        return self.stopped or self.done >= self.n_steps

    def step(self) -> None:
        """Take one step of each optimizer."""
        epoch, within = divmod(self.done, self.stream.per_epoch)
        if within == 0:
            self.network.train()
            self.objective.train()
            self.total.zero_()
        batch = self.stream.batch(epoch, within)
        optimizers = [self.optimizer] if self.own_optimizer is None else [self.optimizer, self.own_optimizer]
        for optimizer in optimizers:
            optimizer.zero_grad()
        with self.autocast:
            loss = self.objective(batch, self.network)
        self.scaler.scale(loss).backward()
        average_gradients(self.trained)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.lr_at(self.done / self.stream.per_epoch)
        if self.recipe.clip is not None:
            self.scaler.unscale_(self.optimizer)
            for network in self.network if self.objective.n_models > 1 else [self.network]:
                nn.utils.clip_grad_norm_(network.parameters(), self.recipe.clip)
        for optimizer in optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()
        if self.average is not None and epoch >= self.recipe.average_from:
            self.average.update(self.network)
        self.total += loss.detach()
        self.done += 1

    def end_epoch(self, on_epoch: Callable[[int, Predict], dict[str, float] | None] | None) -> None:
        """Validate, write the history, decide whether to stop."""
        epoch = self.done // self.stream.per_epoch - 1
        average([self.total])
        mean_loss = float(self.total) / self.stream.per_epoch
        if not math.isfinite(mean_loss):
            raise InputError(
                f"The loss is {mean_loss} in epoch {epoch}: lower lr, clip gradients, or look for huge inputs."
            )
        average_statistics(self.network)
        self.objective.end_epoch(epoch, self.network, self.validation)
        entry = {"epoch": epoch, "lr": self.recipe.lr_at((self.done - 1) / self.stream.per_epoch), "loss": mean_loss}
        if self.validation is not None:
            found = judged(self.predict, self.validation)
            accuracy = same_everywhere(found["accuracy"], self.stream.device)
            entry |= {"validation_accuracy": accuracy, "validation_loss": found["loss"]}
            if accuracy > self.best_accuracy:
                self.best_epoch, self.best_accuracy = epoch, accuracy
                self.states["best"] = snapshot(self.judged_network, self.objective)
            patience = self.recipe.patience
            self.stopped = patience is not None and epoch - self.best_epoch >= patience
        told = on_epoch(epoch, self.predict) if on_epoch is not None else None
        self.history.append(entry | {name: float(value) for name, value in (told or {}).items()})

    @property
    def judged_network(self) -> nn.Module:
        """The network that is validated and returned: the averaged one once there is one."""
        begun = self.average is not None and self.done > self.recipe.average_from * self.stream.per_epoch
        return self.average.module if begun and self.average is not None else self.network

    def predict(self, inputs: Any) -> Any:
        """Logits (n, k) of inputs, on the CPU."""
        return predict(self.objective, self.judged_network, inputs)

    def run(self) -> Run:
        """What is left when no step is."""
        network = self.judged_network.eval()
        self.objective.eval()
        self.states["last"] = snapshot(network, self.objective)
        best = self.best_epoch if self.best_epoch >= 0 else None
        return Run(network, self.objective, self.history, best, self.stopped, self.states)

    def save(self, path: Path) -> None:
        """Write a checkpoint; with several processes the first one does."""
        if self.stream.process == 0:
            with files.replacing(path) as stream:
                torch.save(self._state(), stream)

    def load(self, path: Path) -> None:
        """Take up a checkpoint, or raise if it is of another run."""
        try:
            held = torch.load(path, map_location=self.stream.device, weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            raise InputError(f"{path} is no whole checkpoint: remove it to begin anew ({error}).") from None
        if not isinstance(held, dict) or held.get("version") != VERSION:
            raise InputError(f"{path} is no checkpoint of this version: remove it to begin anew.")
        for name, mine in self._identity().items():
            if held[name] != mine:
                raise InputError(
                    f"The checkpoint {path} is of a run with another {name}: give the same, or remove it to begin anew."
                )
        try:
            self.network.load_state_dict(held["network"])
            self.objective.load_state_dict(held["objective"])
            for part in ("optimizer", "own_optimizer", "scaler", "average"):
                if held[part] is not None:
                    getattr(self, part).load_state_dict(held[part])
        except (RuntimeError, AttributeError) as error:
            raise InputError(f"The checkpoint {path} is of another network or objective: {error}") from None
        for name in ("done", "stopped", "best_epoch", "best_accuracy", "history", "states", "total"):
            setattr(self, name, held[name])
        self.network.train()
        self.objective.train()

    def _identity(self) -> dict[str, Any]:
        """What must be equal for a checkpoint to belong to this run."""
        data = self.stream.data
        labels = hashlib.sha256(data.targets.contiguous().numpy().tobytes()).hexdigest()
        return {"recipe": self.recipe.to_dict(), "rows": data.n_rows, "classes": data.n_classes, "labels": labels}

    def _state(self) -> dict[str, Any]:
        parts = {name: getattr(self, name) for name in ("optimizer", "own_optimizer", "scaler", "average")}
        plain = ("done", "stopped", "best_epoch", "best_accuracy", "history", "states", "total")
        return {
            "version": VERSION,
            **self._identity(),
            "network": self.network.state_dict(),
            "objective": self.objective.state_dict(),
            **{name: None if part is None else part.state_dict() for name, part in parts.items()},
            **{name: getattr(self, name) for name in plain},
        }


def make_optimizer(recipe: Recipe, trained: list[Any]) -> Any:
    """The recipe's optimizer; one serves two networks, since each weight has a state of its own."""
    if not trained:
        raise InputError("The network has no parameter to train.")
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(trained, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(trained, recipe.lr, weight_decay=recipe.weight_decay)

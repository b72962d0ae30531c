"""What a training leaves: the network, what the objective remembers, and how it went."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from assay.errors import InputError
from assay.training.deep import Tensor, nn, torch
from assay.training.deep.batches import Data, length, pick, to_device
from assay.training.deep.objective import Objective
from assay.training.deep.targets import codes, cross_entropy

Predict = Callable[[Any], Tensor]
State = dict[str, dict[str, Any]]


@dataclass(slots=True, eq=False)
class Run:
    """A finished training.

    Parameters
    ----------
    model : the network(s), averaged where the recipe says so, in evaluation mode.
    objective : with what it remembers of each row.
    history : one entry an epoch: epoch, lr, loss, and with validation its accuracy and loss; what `on_epoch` returned.
    best_epoch : of the highest validation accuracy, the earliest on ties; None without validation.
    stopped : whether patience ran out.
    """

    model: nn.Module
    objective: Objective
    history: list[dict[str, float]]
    best_epoch: int | None = None
    stopped: bool = False
    states: dict[str, State] = field(default_factory=dict, repr=False)

    def use(self, which: Literal["last", "best"]) -> Self:
        """Put the weights of the last or of the best epoch in use."""
        if which not in self.states:
            raise InputError(f"There are no weights {which!r}: the best epoch is known only with validation data.")
        restore(self.model, self.objective, self.states[which])
        return self

    def logits(self, inputs: Any, batch_size: int = 1024) -> Tensor:
        """Logits (n, k) of inputs, on the CPU."""
        return predict(self.objective, self.model, inputs, batch_size)


@torch.no_grad()  # type: ignore[untyped-decorator]
def predict(objective: Objective, model: nn.Module, inputs: Any, batch_size: int = 1024) -> Tensor:
    """Logits (n, k) on the CPU of what a network says in evaluation mode; its mode is put back afterwards."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    parts = []
    with evaluating(model), evaluating(objective):
        for rows in torch.arange(length(inputs)).split(batch_size):
            parts.append(objective.logits(model, to_device(pick(inputs, rows), device)).float().cpu())
    return torch.cat(parts) if parts else torch.zeros(0, objective.n_classes)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, the mode of each module as before outside."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def judged(said: Predict, data: Data) -> dict[str, float]:
    """Accuracy and cross-entropy against the labels of data; rows without a label are left out."""
    inputs, targets = data.inputs, data.targets
    if data.labelled is not None:
        inputs, targets = pick(inputs, data.labelled.nonzero().squeeze(1)), targets[data.labelled]
    logits = said(inputs)
    right = logits.argmax(1) == codes(targets)
    return {"accuracy": float(right.double().mean()), "loss": float(cross_entropy(logits, targets).double().mean())}


def snapshot(model: nn.Module, objective: Objective) -> State:
    """Copies of the weights, and of what the objective keeps, except of its tables with an entry for each row."""
    kept = {name: value for name, value in objective.state_dict().items() if not _per_row(value, objective)}
    return {"model": _copied(model.state_dict()), "objective": _copied(kept)}


def restore(model: nn.Module, objective: Objective, state: State) -> None:
    """Put a snapshot back."""
    model.load_state_dict(state["model"])
    objective.load_state_dict(state["objective"], strict=False)


def _per_row(value: Any, objective: Objective) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0 and len(value) == objective.n_rows


def _copied(state: dict[str, Any]) -> dict[str, Any]:
    return {name: v.detach().cpu().clone() if isinstance(v, Tensor) else v for name, v in state.items()}

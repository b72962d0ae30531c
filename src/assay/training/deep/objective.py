"""What is minimised: a loss that may remember each row.

A noise-robust method is an `Objective`. It says what a row costs (`loss`), what it keeps about each row (`keep`,
`read`, `write`), and which rows it came to doubt (`suspects`). It does not say how to train: one loop (`fit`) serves
them all, and so does any loop of your own, since `loss(logits, targets, rows)` asks for nothing else.

What is kept is a registered buffer, so `state_dict` holds all of it and a resume goes on where it stopped.
`docs/learn/floor.md` shows a whole method in thirty lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.training.deep import Tensor, nn, torch
from assay.training.deep.batches import Batch, Data
from assay.training.deep.processes import gathered
from assay.training.deep.targets import cross_entropy


class Objective(nn.Module):  # type: ignore[misc]
    """Cross-entropy that remembers what each row cost, and what every method is derived from.

    Most methods override `loss` and `suspects`; those that need two networks, other inputs, or a step within the step
    override `forward`.

    Attributes
    ----------
    n_models : networks it trains; with 2, `model` is a list of two in every hook.
    n_views : how often each row is augmented, see `Batch.views`.
    needs_unlabelled : whether rows without a label come in batches too.
    own_lr : Adam's step size for the objective's own parameters, where it has any.
    past : (n, 2) float32 buffer: the sum of the losses of each row, and how often it was visited.

    Examples
    --------
    >>> objective = Objective()
    >>> objective.begin(n_rows=3, n_classes=2)
    >>> logits, targets, rows = torch.zeros(2, 2), torch.tensor([0, 1]), torch.tensor([2, 0])
    >>> objective.loss(logits, targets, rows).tolist()
    [0.6931471824645996, 0.6931471824645996]
    """

    n_models: ClassVar[int] = 1
    n_views: ClassVar[int] = 1
    needs_unlabelled: ClassVar[bool] = False
    own_lr: ClassVar[float] = 1e-2

    n_rows: int
    n_classes: int
    past: Tensor
    _staying: frozenset[str] = frozenset()

    # What a method says

    def begin(self, n_rows: int, n_classes: int, data: Data | None = None, model: Any = None) -> None:
        """Make the state of n rows and k classes, empty; anything known before is forgotten.

        `fit` gives the training data and the network(s) too; in a loop of your own the two numbers are enough for
        every method that does not say otherwise.
        """
        del data, model
        if n_rows < 1 or n_classes < 2:
            raise InputError(f"{n_rows} rows and {n_classes} classes: give at least one row and two classes.")
        self.n_rows, self.n_classes = n_rows, n_classes
        self.keep("past", torch.zeros(n_rows, 2))

    def loss(self, logits: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
        """What each row costs (b,), from logits (b, k), targets (b,) or (b, k), and row ids (b,)."""
        del rows
        return cross_entropy(logits, targets)

    def forward(self, batch: Batch, model: Any) -> Tensor:
        """The loss of a batch (a scalar), to be differentiated."""
        losses = self.loss(model(batch.inputs), batch.targets, batch.rows)
        self.remember(batch.rows, losses)
        return batch.mean(losses)

    def end_epoch(self, epoch: int, model: Any, validation: Data | None) -> None:
        """Called after each epoch, before validation; networks may be used here, as they are after the epoch."""

    def logits(self, model: Any, inputs: Any) -> Tensor:
        """What the trained network(s) say of inputs, (b, k): with two networks, the mean of their logits."""
        if self.n_models == 1:
            said: Tensor = model(inputs)
            return said
        return torch.stack([network(inputs) for network in model]).mean(0)

    def suspects(self, targets: Tensor) -> Tensor:
        """How suspicious the label of each row is (n,), higher = more so; nan for rows never visited.

        `targets` (n,) or (n, k) are the labels that were trained on. The default is the mean loss over all visits.
        """
        del targets
        total, visits = self.past.double().unbind(1)
        return total / visits  # 0 / 0 is nan

    def evidence(self, targets: Tensor) -> dict[str, npt.NDArray[Any]]:
        """What the method learned about the labels, one entry a row; a method adds columns of its own."""
        suspect = self.suspects(targets).double().cpu().numpy()
        visits = self.past[:, 1].cpu().numpy().astype(np.int64)
        return {"row": np.arange(self.n_rows), "suspect": suspect, "visits": visits}

    # What it says it with

    def keep(self, name: str, table: Tensor, *, stays: bool = False) -> None:
        """Keep a tensor as part of the state, by this name; rows first where it is per row.

        `stays`: it does not move to the device with the rest, as a table mapped from a file must not.
        """
        self.register_buffer(name, table)
        self._staying = (self._staying - {name}) | (frozenset({name}) if stays else frozenset())

    def read(self, name: str, rows: Tensor) -> Tensor:
        """What is kept of the rows (b,), (b, ...), on the device of `rows` and at least in single precision."""
        table = getattr(self, name)
        found = table[rows.to(table.device)].to(rows.device, non_blocking=True)
        return found.float() if found.dtype in (torch.float16, torch.bfloat16) else found

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def write(self, name: str, rows: Tensor, values: Tensor) -> None:
        """Replace what is kept of the rows (b,) by values (b, ...); no gradient flows.

        With several processes, each hears what the others write. Of a row that comes twice, the last value stays.
        """
        table = getattr(self, name)
        rows, values = gathered(rows, values.detach())
        ordered, order = rows.sort(stable=True)
        last = order[torch.searchsorted(ordered, rows, right=True) - 1]  # equal writes are the same in any order
        table[rows.to(table.device)] = values[last].to(table.device, table.dtype)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def remember(self, rows: Tensor, losses: Tensor) -> None:
        """Add the losses (b,) of rows to their past."""
        rows, losses = gathered(rows, losses.detach())
        seen = torch.stack([losses.to(self.past.dtype), self.past.new_ones(len(losses))], 1)
        self.past.index_add_(0, rows, seen)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        held = {name: self._buffers.pop(name) for name in self._staying}
        super()._apply(fn, recurse)
        self._buffers.update(held)
        return self

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load a state; `begin` must have been called, so that there are tables to load it into."""
        if not hasattr(self, "past"):
            raise InputError("Call begin(n_rows, n_classes) before load_state_dict: the state has no tables yet.")
        return super().load_state_dict(state_dict, strict, assign)

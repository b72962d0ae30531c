"""The batches of a training, each made from its number alone.

Batch (epoch, step) is a function of the data, the recipe and its number: a resume asks for the next number, and each of
several processes asks for its part of the same batch.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.training.deep import Tensor, torch
from assay.training.deep.batches import (
    OWN,
    SHARED,
    Batch,
    Data,
    epoch_batches,
    mix,
    mixed,
    n_batches,
    pick,
    seeds_of,
    to_device,
)
from assay.training.deep.processes import n_processes
from assay.training.deep.recipe import Recipe


class Augment(Protocol):
    """A random change of inputs, in two steps, so that what is drawn does not depend on the number of processes."""

    def draw(self, n: int, generator: Any) -> Tensor:
        """What is drawn for n rows, (n, ...)."""

    def __call__(self, inputs: Any, drawn: Tensor) -> Any:
        """The inputs (b, ...) changed as was drawn (b, ...)."""


class Stream:
    """Batches by number.

    Parameters
    ----------
    data, recipe : the rows and how they are cut, seeded and mixed.
    n_views, needs_unlabelled : what the objective asks for.
    augment : applied to each view.
    sampling : (n,) chances of the rows, for draws with replacement.
    device, process : where the tensors go, and which part of each batch is made.
    """

    def __init__(
        self,
        data: Data,
        recipe: Recipe,
        *,
        n_views: int = 1,
        needs_unlabelled: bool = False,
        augment: Augment | None = None,
        sampling: npt.NDArray[np.float64] | None = None,
        device: Any = "cpu",
        process: int = 0,
    ) -> None:
        self.data, self.recipe, self.n_views, self.augment = data, recipe, n_views, augment
        self.device, self.process, self.processes = device, process, n_processes()
        use = slice(None) if data.labelled is None or needs_unlabelled else data.labelled.numpy()
        self.rows = np.arange(data.n_rows)[use]
        self.sampling = None if sampling is None else _checked_chances(sampling, data.n_rows, self.rows)
        self.per_epoch = n_batches(len(self.rows), recipe.batch_size)
        self.fewest = len(self.rows) // self.per_epoch // self.processes  # rows in the smallest part of a batch
        if self.fewest < 1:
            raise InputError(f"A batch has fewer rows than the {self.processes} processes: raise batch_size.")
        self._epoch = -1
        self._order: list[npt.NDArray[np.int64]] = []
        self._shared: list[int] = []
        self._own: list[int] = []

    def batch(self, epoch: int, step: int) -> Batch:
        """Batch number `step` of an epoch; seeds torch's global randomness for what follows (dropout)."""
        if self._epoch != epoch:
            seed = self.recipe.seed
            self._order = epoch_batches(self.rows, self.recipe.batch_size, seed, epoch, self.sampling)
            self._shared = seeds_of(self.per_epoch, seed, SHARED, epoch)
            self._own = seeds_of(self.per_epoch, seed, OWN, self.process, epoch)
            self._epoch = epoch
        generator = torch.Generator().manual_seed(self._shared[step])
        torch.default_generator.manual_seed(self._own[step])
        if torch.device(self.device).type == "cuda":
            torch.cuda.manual_seed(self._own[step])
        made = self._assemble(torch.from_numpy(self._order[step]), generator, share_out=True)
        made.epoch, made.step, made.n_steps = epoch, epoch * self.per_epoch + step, self.recipe.epochs * self.per_epoch
        return made

    def draw(self, n: int) -> Batch:
        """A batch of n rows drawn with replacement, by torch's global randomness; each process draws its own."""
        rows = torch.from_numpy(self.rows)[torch.randint(len(self.rows), (n,))]
        return self._assemble(rows, torch.default_generator, share_out=False)

    def _assemble(self, rows: Tensor, generator: Any, share_out: bool) -> Batch:
        data, several = self.data, share_out and self.processes > 1
        part = np.array_split(np.arange(len(rows)), self.processes)[self.process] if several else slice(None)
        mine = rows[part]
        alpha = self.recipe.mixup
        if alpha > 0:
            drawn = np.random.default_rng(int(torch.randint(2**62, (), generator=generator))).beta(alpha, alpha)
            share = max(drawn, 1 - drawn)  # so that a row's own part is the larger one
            partners = rows[torch.randperm(len(rows), generator=generator)][part]
        targets = data.targets[mine]
        views = []
        for _ in range(self.n_views):
            view = self._view(mine, part, len(rows), generator)
            if alpha > 0:
                view = mix(view, self._view(partners, part, len(rows), generator), share)
            views.append(view)
        if alpha > 0:
            targets = mixed(targets, data.targets[partners], share, data.n_classes)
        return Batch(
            views[0],
            targets.to(self.device),
            mine.to(self.device),
            to_device(None if data.weights is None else data.weights[mine], self.device),
            to_device(None if data.labelled is None else data.labelled[mine], self.device),
            tuple(views),
            len(rows) if several else None,
            self.processes if several else 1,
            generator=generator,
            draw=self.draw,
        )

    def _view(self, rows: Tensor, part: Any, n: int, generator: Any) -> Any:
        """Inputs of rows, changed by what is drawn for all n rows of the batch."""
        view = to_device(pick(self.data.inputs, rows), self.device)
        if self.augment is None:
            return view
        return self.augment(view, self.augment.draw(n, generator)[part].to(self.device))


def _checked_chances(sampling: npt.ArrayLike, n: int, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    chances = np.asarray(sampling, dtype=np.float64)
    if chances.shape != (n,) or not np.isfinite(chances).all() or (chances < 0).any():
        raise InputError(f"Sampling chances {chances.shape} must be one finite number a row, none negative, ({n},).")
    if not chances[rows].sum() > 0:
        raise InputError("No labelled row has a chance to be sampled.")
    return chances

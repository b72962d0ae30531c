"""Rows in batches that know which rows they are.

The order of an epoch depends on the seed and the number of the epoch alone, so it is the same for any number of
processes and needs no state to resume. An epoch is cut into batches whose sizes differ by at most one: no batch of a
single row is left over at the end, which batch normalisation could not take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels import Hard, Soft, Votes
from assay.training.deep import Tensor, torch
from assay.training.deep.targets import one_hot, targets_of

# Streams of randomness: the order of rows, what all processes share, what each has of its own, initial weights.
ORDER, SHARED, OWN, WEIGHTS = 1, 2, 3, 4


@dataclass(slots=True, eq=False)
class Batch:
    """Some rows. `Batch(inputs, targets, rows)` is enough in a loop of one's own.

    Parameters
    ----------
    inputs : what the network takes: a tensor (b, ...), or a mapping of tensors.
    targets : codes (b,) int64, or beliefs (b, k) float32.
    rows : (b,) int64, which rows of the data set these are; stable over epochs, processes and resumes.
    weights : (b,) float32 whose mean over the data set is one, or None.
    labelled : (b,) bool, or None where every row is.
    views : the inputs augmented `n_views` times; `views[0]` is `inputs`.
    total : rows of the batch over all processes; None for one process.
    processes : how many of them there are.
    epoch, step, n_steps : number of the epoch, of this step in the whole training, and of all its steps.
    generator : randomness that is the same in every process and after a resume. Torch's global one is seeded at each
        step too, but differently in each process.
    draw : `draw(m)` is another batch of m rows, drawn at random from the same data.
    """

    inputs: Any
    targets: Tensor
    rows: Tensor
    weights: Tensor | None = None
    labelled: Tensor | None = None
    views: tuple[Any, ...] = ()
    total: int | None = None
    processes: int = 1
    epoch: int = 0
    step: int = 0
    n_steps: int = 1
    generator: Any = None
    draw: Callable[[int], Batch] | None = None

    def mean(self, values: Tensor) -> Tensor:
        """Mean of a value per row (b,), counting weights; over the processes, these means average to the batch's."""
        weighted = values if self.weights is None else values * self.weights
        return weighted.mean() if self.total is None else weighted.sum() * (self.processes / self.total)


@dataclass(slots=True, eq=False)
class Data:
    """Rows to train or to validate on.

    Parameters
    ----------
    inputs : a tensor or array (n, ...; float64 arrays become float32), a mapping of tensors, or any object with `len`
        whose `[rows]` takes an int64 tensor and gives a batch (images read from disk, say).
    targets : codes (n,) in 0..n_classes-1, or beliefs (n, n_classes), as tensors or arrays.
    n_classes : k.
    weights : (n,) how much each row counts, none negative; scaled here to mean one over the labelled rows.
    labelled : (n,) bool; None when every row has a label. What stands where it is False is not read.

    Raises
    ------
    InputError naming the first row whose target or weight is none.

    >>> Data(torch.zeros(3, 2), [0, 1, 5], 2)
    Traceback (most recent call last):
    assay.errors.InputError: Label code 5 is outside 0..1: encode the labels, or mask those missing. \
(first offending row: 2)
    """

    inputs: Any
    targets: Any
    n_classes: int
    weights: Any = None
    labelled: Any = None
    n_rows: int = field(init=False)

    def __post_init__(self) -> None:
        if isinstance(self.inputs, Mapping):
            self.inputs = {name: _as_tensor(column) for name, column in self.inputs.items()}
        self.inputs = _as_tensor(self.inputs)
        self.n_rows = n = length(self.inputs)
        if self.labelled is not None:
            self.labelled = torch.as_tensor(self.labelled, dtype=torch.bool)
            self.labelled = None if bool(self.labelled.all()) else self.labelled
        self.targets = _checked_targets(self.targets, self.labelled, n, self.n_classes)
        if self.weights is not None:
            self.weights = _checked_weights(self.weights, self.labelled, n)

    @classmethod
    def of(cls, inputs: Any, labels: Hard | Soft | Votes, weights: Any = None) -> Data:
        """Rows with labels of any of three types; the rows without a label are masked."""
        targets, labelled, n_classes = targets_of(labels)
        return cls(inputs, targets, n_classes, weights, labelled)

    def take(self, rows: Any) -> Data:
        """The chosen rows, as data of their own."""
        at = torch.as_tensor(rows, dtype=torch.int64)
        extra = [None if column is None else column[at] for column in (self.weights, self.labelled)]
        return Data(pick(self.inputs, at), self.targets[at], self.n_classes, *extra)


def length(inputs: Any) -> int:
    """Number of rows of inputs."""
    return len(next(iter(inputs.values()))) if isinstance(inputs, Mapping) else len(inputs)


def pick(inputs: Any, rows: Tensor) -> Any:
    """The rows (b,) of inputs, in this order."""
    return {name: column[rows] for name, column in inputs.items()} if isinstance(inputs, Mapping) else inputs[rows]


def to_device(value: Any, device: Any) -> Any:
    """Tensors, mappings of tensors, or None, on a device."""
    if isinstance(value, Mapping):
        return {name: to_device(column, device) for name, column in value.items()}
    return value.to(device, non_blocking=True) if isinstance(value, Tensor) else value


def seeds_of(n: int, *key: int) -> list[int]:
    """Seeds of 64 bits from a key (seed, stream, ...): keys that differ give independent ones."""
    seeds: list[int] = np.random.SeedSequence(key).generate_state(n, np.uint64).tolist()
    return seeds


@lru_cache(maxsize=2)
def _seeded_order(seed: int, epoch: int, n: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng([seed, ORDER, epoch]).permutation(n)


def epoch_batches(
    rows: npt.NDArray[np.int64],
    batch_size: int,
    seed: int,
    epoch: int,
    sampling: npt.NDArray[np.float64] | None = None,
) -> list[npt.NDArray[np.int64]]:
    """Rows of each batch of an epoch.

    Parameters
    ----------
    rows : (m,) the rows to train on.
    batch_size : the most rows a batch has.
    seed, epoch : all that the order depends on.
    sampling : (n,) chance of each row of the data set; m rows are then drawn with replacement. None visits each once.

    >>> [batch.tolist() for batch in epoch_batches(np.arange(5), 2, seed=0, epoch=0)]
    [[1, 4], [3, 0], [2]]
    """
    if sampling is None:
        order = rows[_seeded_order(seed, epoch, len(rows))]
    else:
        chance = sampling[rows]
        order = np.random.default_rng([seed, ORDER, epoch]).choice(rows, len(rows), p=chance / chance.sum())
    return np.array_split(order, n_batches(len(rows), batch_size))


def n_batches(n: int, batch_size: int) -> int:
    """Steps of an epoch over n rows.

    >>> n_batches(5, 2)
    3
    """
    return -(-n // batch_size)


def _as_tensor(values: Any) -> Any:
    """An array as a tensor, in single precision where it was in double; anything else as it is."""
    if not isinstance(values, np.ndarray):
        return values
    return torch.from_numpy(np.ascontiguousarray(values, np.float32 if values.dtype == np.float64 else values.dtype))


def _checked_targets(targets: Any, labelled: Tensor | None, n: int, k: int) -> Tensor:
    found = torch.as_tensor(targets)
    if k < 2:
        raise InputError(f"n_classes is {k}: a classifier needs at least two classes.")
    if found.shape not in {(n,), (n, k)}:
        raise InputError(f"Targets have shape {tuple(found.shape)}: give codes ({n},) or beliefs ({n}, {k}).")
    if labelled is not None and labelled.shape != (n,):
        raise InputError(f"The mask has shape {tuple(labelled.shape)}: expected ({n},), True = labelled.")
    counts = torch.ones(n, dtype=torch.bool) if labelled is None else labelled
    if not bool(counts.any()):
        raise InputError("No row has a label: there is nothing to learn from.")
    if found.ndim == 1:
        if found.is_floating_point() or found.dtype == torch.bool:
            raise InputError(f"Labels are {found.dtype}: give integer codes in 0..{k - 1}.")
        found = torch.where(counts, found, 0).long()
        bad = (found < 0) | (found >= k)
        if bool(bad.any()):
            row = int(bad.int().argmax())
            message = f"Label code {int(found[row])} is outside 0..{k - 1}: encode the labels, or mask those missing."
            raise InputError(message, row=row)
        return found
    found = torch.where(counts[:, None], found.float(), 1.0 / k)
    bad = ~((found.sum(1) - 1).abs() <= 1e-3) | (found < 0).any(1)
    if bool(bad.any()):
        row = int(bad.int().argmax())
        raise InputError(f"A belief is no distribution (sum {float(found[row].sum()):.4g}): normalise it.", row=row)
    return found


def _checked_weights(weights: Any, labelled: Tensor | None, n: int) -> Tensor:
    found = torch.as_tensor(weights, dtype=torch.float32)
    if found.shape != (n,):
        raise InputError(f"Weights have shape {tuple(found.shape)}: give one number a row, ({n},).")
    bad = ~torch.isfinite(found) | (found < 0)
    if bool(bad.any()):
        row = int(bad.int().argmax())
        raise InputError(f"A weight is {float(found[row])}: weights are finite and not negative.", row=row)
    mean = (found if labelled is None else found[labelled]).double().mean()
    if not bool(mean > 0):
        raise InputError("All weights are zero: there is nothing to learn from.")
    return (found / mean).float()


def mix(inputs: Any, partners: Any, share: float) -> Tensor:
    """Inputs (b, ...) mixed with their partners', `share` of the row itself."""
    if not (isinstance(inputs, Tensor) and inputs.is_floating_point()):
        raise InputError("Mixing rows needs inputs that are one tensor of floats: set mixup to 0 for tokens and ids.")
    return share * inputs + (1 - share) * partners


def mixed(targets: Tensor, partners: Tensor, share: float, n_classes: int) -> Tensor:
    """Targets of rows mixed with their partners: beliefs (b, k), `share` of the row itself."""
    return share * one_hot(targets, n_classes) + (1 - share) * one_hot(partners, n_classes)

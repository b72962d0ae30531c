"""Expectation-maximisation over votes: one sweep turns a model of the workers into beliefs, counts and a likelihood.

A sweep reads each vote once. For a task it adds up the logs of what its workers said, turns them into a belief, and at
once adds that belief to the counts of those workers, so that no belief need be kept. Counts are kept in fixed point,
where addition is exact: threads, blocks and machines may add them in any order and the answer is the same.

Two models of a worker: a table (k, k), the probability of what is said given what is true; or a skill, the probability
of saying the truth, with all errors equally likely. Nothing outside this file and `vote_sweeps` asks which it is.

Legend of shapes: n tasks, w workers, k classes, v votes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assay.kernels.blocks import in_parts
from assay.kernels.climb import Climb, climb
from assay.kernels.vote_device import DeviceVotes
from assay.kernels.vote_sweeps import skill_sweep, table_sweep
from assay.kernels.vote_table import UNKNOWN, VoteTable, task_parts

Floats = npt.NDArray[np.float64]
FLOOR = 1e-10  # no probability of a model is smaller


class TaskVotes(NamedTuple):
    """A block of votes that holds all votes on its tasks."""

    table: VoteTable
    gold: npt.NDArray[np.int32] = UNKNOWN  # (n,) known class or -1; of no entries when no class is known
    sent: DeviceVotes | None = None  # the same on a device of torch, where the sweeps then run

    def parts(self) -> Any:
        """Edges of the parts of the tasks that threads share; one part for a device."""
        return task_parts(self.table.ptr) if self.sent is None else np.array([0, self.table.n_tasks])


class Scale(NamedTuple):
    """Units of the fixed-point sums: how many make one expected vote, and one nat of likelihood."""

    vote: float
    nat: float

    @classmethod
    def for_size(cls, n_tasks: int, weight: float, most: float) -> Scale:
        """The finest units in which no sum overflows.

        Parameters
        ----------
        n_tasks : tasks in the whole data set.
        weight : sum of the weights of all votes.
        most : largest sum of weights that one worker has.
        """
        largest = max(n_tasks, most, 1.0), 25.0 * (weight + n_tasks + 1)  # -log(FLOOR) is 23
        vote, nat = (2.0 ** min(60 - int(np.ceil(np.log2(sum_))), 52) for sum_ in largest)
        return cls(vote, nat)


@dataclass(frozen=True, slots=True, eq=False)
class VoteModel:
    """What is believed of the classes and of the workers, as natural logarithms.

    Parameters
    ----------
    log_prior : (k,) of P(truth).
    log_worker : (w, k, k) of P(said | truth) at [worker, said, truth]; or (w, 2) of the chances to be right and wrong.
    """

    log_prior: Floats
    log_worker: Floats

    @classmethod
    def of(cls, prior: Floats, worker: Floats) -> VoteModel:
        """The model with these probabilities, none below 1e-10."""
        return cls(np.log(np.maximum(prior, FLOOR)), np.log(np.maximum(worker, FLOOR)))


_START = {False: np.empty((0, 0, 0)), True: np.empty((0, 0))}  # logs of the model of a first sweep


class ExpectedVotes:
    """The statistic of a sweep; exact, so that the order of updates and merges is forgotten.

    Parameters
    ----------
    n_workers, n_classes : w, k.
    skill : whether workers have one skill and not a table.
    scale : units of the sums, from the size of the whole data set.
    model : the model that gives the beliefs; None for the first sweep, where vote shares are the beliefs.
    """

    def __init__(self, n_workers: int, n_classes: int, skill: bool, scale: Scale, model: VoteModel | None) -> None:
        self.scale, self.model = scale, model
        self._skill = skill
        self._cells = np.zeros((n_workers, 2) if skill else (n_workers, n_classes, n_classes), dtype=np.int64)
        self._classes = np.zeros(n_classes, dtype=np.int64)
        self._likelihood = 0

    def fresh(self) -> ExpectedVotes:
        """The statistic of no votes, under the same model."""
        return ExpectedVotes(len(self._cells), len(self._classes), self._skill, self.scale, self.model)

    def update(self, block: TaskVotes) -> None:
        """Take in a block, in threads over its tasks."""
        edges = block.parts()
        if self._cells.size > block.table.n_votes:  # a table for every thread would cost more than the votes
            edges = edges[[0, -1]]

        def task(part: int) -> tuple[Any, Any, int]:
            cells = np.zeros_like(self._cells) if part else self._cells
            classes = np.zeros_like(self._classes)
            return cells, classes, _sweep(block, self.model, edges[part : part + 2], self.scale, cells, classes)

        for part, (cells, classes, likelihood) in enumerate(in_parts(task, len(edges) - 1)):
            if part:
                self._cells += cells
            self._classes += classes
            self._likelihood += likelihood

    def merge(self, other: ExpectedVotes) -> None:
        """Add the votes of other tasks."""
        self._cells += other._cells
        self._classes += other._classes
        self._likelihood += other._likelihood

    @property
    def log_likelihood(self) -> float:
        """Logarithm of the probability of all votes (and gold) under the model; 0 in the first sweep."""
        return float(self._likelihood / self.scale.nat)

    @property
    def counts(self) -> Floats:
        """Expected votes: (w, k, k) at [worker, said, truth], or (w, 2) right and wrong."""
        return self._cells / self.scale.vote

    @property
    def prior(self) -> Floats:
        """Mean belief (k,) over the tasks with votes or gold; uniform when there are none."""
        total = self._classes.sum()
        return self._classes / total if total else np.full(len(self._classes), 1.0 / max(len(self._classes), 1))


def beliefs(block: TaskVotes, model: VoteModel) -> Floats:
    """P(truth) of each task (n, k) under the model; a task without votes gets the prior, one with gold is certain."""
    result = np.empty((block.table.n_tasks, len(model.log_prior)))
    edges = block.parts()
    uncounted = np.empty((0,) * model.log_worker.ndim, dtype=np.int64)

    def task(part: int) -> None:
        classes = np.empty(len(model.log_prior), dtype=np.int64)
        _sweep(block, model, edges[part : part + 2], Scale(1.0, 1.0), uncounted, classes, result)

    in_parts(task, len(edges) - 1)
    return result


def ascend(
    sweep: Callable[[VoteModel | None], ExpectedVotes],
    start: ExpectedVotes,
    worker_of: Callable[[Floats], Floats],
    log_density: Callable[[Floats], float],
    prior: Floats | None,
    *,
    max_iter: int,
    tol: float,
    accelerate: bool,
) -> tuple[VoteModel, Climb]:
    """Expectation-maximisation from the first sweep `start` to the most probable model.

    Parameters
    ----------
    sweep : a model to the statistic of the whole data set under it.
    worker_of : the M step, expected votes (w, k, k) or (w, 2) to probabilities of the same shape.
    log_density : log of the prior density of a model's log_worker; 0 for maximum likelihood.
    prior : (k,) P(truth) when it is known; None to learn it.
    max_iter, tol, accelerate : as in `climb`; the last chooses jumps.

    The climb's objective is the log-likelihood plus the log-density, at the model that is returned.
    """
    k, shape = len(start.prior), start.counts.shape

    def parameters(found: ExpectedVotes) -> Floats:
        model = VoteModel.of(found.prior if prior is None else prior, worker_of(found.counts))
        return np.concatenate([model.log_prior, model.log_worker.ravel()])

    def model_of(at: Floats) -> VoteModel:
        return VoteModel(at[:k], at[k:].reshape(shape))

    def step(at: Floats) -> tuple[float, float, Floats]:
        model = model_of(at)
        found = sweep(model)
        objective = found.log_likelihood + log_density(model.log_worker)
        return found.log_likelihood, objective, parameters(found)

    def project(at: Floats) -> Floats:
        """Logs of probabilities again, none below the floor, where the sums of a sweep would overflow."""
        prior, worker = at[:k], at[k:].reshape(shape)
        prior = prior - np.logaddexp.reduce(prior)
        worker = worker - np.logaddexp.reduce(worker, axis=1, keepdims=True)
        legal: Floats = np.maximum(np.concatenate([prior, worker.ravel()]), np.log(FLOOR))
        return legal

    found = climb(step, parameters(start), max_iter=max_iter, tol=tol, project=project if accelerate else None)
    return model_of(found.at), found


def _sweep(
    block: TaskVotes,
    model: VoteModel | None,
    span: Any,
    scale: Scale,
    cells: Any,
    classes: Any,
    belief: Any = _START[True],
) -> int:
    """Run the kernel of this model over the tasks span[0]..span[1]-1."""
    table = block.table
    skill = cells.ndim == 2
    logs = (np.empty(0), _START[skill]) if model is None else (model.log_prior, model.log_worker)
    if block.sent is not None:
        return block.sent.sweep(logs[0], logs[1], scale.vote, scale.nat, cells, classes, belief)
    columns = table.ptr, table.worker, table.label, table.weights, block.gold
    kernel = skill_sweep if skill else table_sweep
    return int(kernel(*columns, *logs, span[0], span[1], *scale, cells, classes, belief))

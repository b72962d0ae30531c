"""A project made of arrays, a real ledger and queue over it, and people who review it by a rule."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import assay.review.ranking
from assay.audit.confident_learning import ConfidentLearning
from assay.audit.error_probability import ErrorProbability
from assay.labels.ledger import Event, Ledger
from assay.labels.verdicts import Verdict
from assay.review.queue import Queue, Task
from assay.review.store import Decision, ReviewStore, Shown

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

LEARN_EVERY = 5  # looks between two rounds of learning
KEYS = itertools.count()
Says = Callable[[Task, str], tuple[Verdict, str | None]]


class ArrayProject:
    """What a queue needs to know of a project, from held-out probabilities (n, k) and given labels (n,)."""

    verb = "audit"

    def __init__(self, pred_probs: Floats, given: Ints) -> None:
        n, k = pred_probs.shape
        self.pred_probs, self.given, self.n_rows = pred_probs, given.astype(np.int32), n
        self.classes = tuple(str(code) for code in range(k))
        self.present = np.ones(n, dtype=bool)
        self.flagged = ConfidentLearning().fit(given, pred_probs).is_issue_
        model = ErrorProbability().fit(pred_probs, given)
        self.p_wrong, self.low, self.high, self.suggested = model.p_wrong_, model.low_, model.high_, model.guess_

    def row(self, row: int) -> int:
        return int(row)

    def given_name(self, row: int) -> str:
        return self.classes[int(self.given[row])]

    def row_id(self, _: int) -> None:
        return None


@contextmanager
def at_once() -> Iterator[None]:
    """Let the background learn without a rest in between, so that a replay need not wait."""
    ranking = assay.review.ranking
    kept = ranking.DELAY, ranking.PAUSE
    ranking.DELAY = ranking.PAUSE = 0.0
    try:
        yield
    finally:
        ranking.DELAY, ranking.PAUSE = kept


@contextmanager
def queue_over(
    project: ArrayProject, *, taught: bool = True, double: float = 0.0, random: float = 0.0, seed: int = 0
) -> Iterator[Queue]:
    """A queue over a new ledger on disk; not `taught`, its order stays as it was before the first verdict."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger.open(Path(folder) / "ledger.db", create=True)
        facts = {"sha256": "0" * 64, "n_rows": project.n_rows}
        ledger.append([Event("dataset", "bench", "rule", column="label", evidence=facts)])

        def shown(row: int) -> Shown:
            return Shown(project.given_name(row), project.classes[project.suggested[row]])

        with (
            closing(ReviewStore(ledger, shown)) as store,
            closing(Queue(project, store, double=double, random=random, seed=seed)) as queue,  # type: ignore[arg-type]
        ):
            queue.settle()
            if not taught:
                queue._ranker._teacher.learn = lambda _: None  # type: ignore[union-attr, method-assign]
            yield queue


class Look(NamedTuple):
    """One look of a campaign."""

    row: int
    role: str
    why: str
    verdict: Verdict


def review(queue: Queue, says: Says, reviewers: Collection[str], looks: int, skip: Collection[int] = ()) -> list[Look]:
    """Let reviewers look in turn, until so many looks are made or nothing is left."""
    done: list[Look] = []
    idle = 0
    names = list(reviewers)
    turn = 0
    while len(done) < looks and idle < len(names):
        name = names[turn % len(names)]
        turn += 1
        task = queue.next(name, skip)
        if task is None:
            idle += 1
            continue
        idle = 0
        verdict, label = says(task, name)
        facts = {"key": str(next(KEYS)), "role": task.role, "sampled": task.sampled}
        queue.record(Decision(task.row, name, verdict, label, **facts))  # type: ignore[arg-type]
        done.append(Look(task.row, task.role, task.why, verdict))
        if len(done) % LEARN_EVERY == 0:
            queue.settle()
    queue.settle()
    return done

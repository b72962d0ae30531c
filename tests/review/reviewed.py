"""A small audited data set whose wrong labels are known, and queues over it."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from assay.evidence.audit import audit
from assay.evidence.audit_files import save
from assay.evidence.audit_options import AuditOptions
from assay.labels.ledger import Ledger
from assay.labels.verdicts import Verdict
from assay.review.project import Project
from assay.review.queue import Queue, Task
from assay.review.serve import begin
from assay.review.store import Decision, ReviewStore, Shown, Stored

CLASSES = ("bee", "cow", "elk")
KEYS = itertools.count()


def make_results(folder: Path, n: int = 150, seed: int = 0, rate: float = 0.15) -> tuple[Path, np.ndarray]:
    """Audit n rows; returns the folder of the results and which labels are wrong."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n)
    wrong = rng.random(n) < rate
    given = np.where(wrong, (truth + 1) % 3, truth)
    scores = rng.normal(size=(n, 3)) + 2.5 * np.eye(3)[truth]
    probs = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "herd.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("size", "kind"))
        writer.writerows((round(float(value), 3), CLASSES[y]) for value, y in zip(rng.random(n), given, strict=True))
    save(audit(path, AuditOptions(label="kind", classes=CLASSES), pred_probs=probs), folder / "herd.assay")
    return folder / "herd.assay", wrong


def open_store(project: Project, path: Path) -> ReviewStore:
    """A store over the ledger at `path`, which begins if it is not there."""
    ledger = Ledger.open(path, create=True)
    begin(ledger, project)
    return ReviewStore(ledger, lambda row: Shown(project.given_name(row), project.classes[project.suggested[row]]))


@contextmanager
def queue_over(project: Project, path: Path, **settings: Any) -> Iterator[Queue]:
    """A queue over the ledger at `path`."""
    with closing(open_store(project, path)) as store, closing(Queue(project, store, **settings)) as queue:
        yield queue


def decide(queue: Queue, task: Task, reviewer: str, verdict: str = "given", **more: Any) -> Stored:
    """Record a verdict on a task as the page does."""
    facts = {"key": f"key {next(KEYS)}", "role": task.role, "sampled": task.sampled} | more
    return queue.record(Decision(task.row, reviewer, Verdict(verdict), **facts))

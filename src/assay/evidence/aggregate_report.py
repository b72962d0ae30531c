"""The report of `assay aggregate`: from a belief to a page that a person reads."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.aggregate.agreement import Agreement
from assay.evidence.aggregate_belief import (
    DOUBT,
    against_gold,
    disputed,
    doubt,
    most_doubtful,
    overruled,
    quality,
    ranked,
)
from assay.evidence.aggregate_purchases import next_votes
from assay.evidence.aggregate_run import Aggregation
from assay.evidence.aggregate_votes import VoteSource
from assay.evidence.aggregate_workers import agreed, drifted, idle, measure, workers
from assay.evidence.report import Command, Fact, Report
from assay.evidence.results import versions_of
from assay.evidence.shown import number
from assay.kernels.intervals import wilson

SURE = 0.99
"""Tasks believed more surely are not listed in a terminal."""


def build(
    source: VoteSource,
    found: Aggregation,
    folder: Path,
    bought: dict[str, npt.NDArray[Any]] | None,
    price: float | None,
    provenance: dict[str, object],
) -> Report:
    """The report of an aggregation whose files lie in `folder`."""
    agreement = measure(source)
    parts = [
        quality(source, found),
        disputed(source, found),
        overruled(source, found),
        next_votes(source, found, bought, price),
        workers(source, found),
        idle(source, found),
        drifted(source, found),
        agreed(agreement),
    ]
    return Report(
        title=f"What the votes of {source.path.name} come to",
        verdict=verdict(source, found),
        facts=facts(source, found, agreement),
        sections=tuple(part for part in parts if part is not None),
        commands=commands(source, folder),
        warnings=warnings(source, found),
        provenance={
            "verb": "aggregate",
            "source": source.path.name,
            "sha256": source.digest,
            "tasks": source.votes.n_rows,
            "votes": source.votes.n_votes,
            "workers": None if source.anonymous else source.votes.n_workers,
            "classes": source.votes.space.n_classes,
            "method": found.method,
            "versions": versions_of("assay", "numpy"),
            **provenance,
        },
        numbers=numbers(source, found, agreement),
    )


def facts(source: VoteSource, found: Aggregation, agreement: Agreement | None) -> tuple[Fact, ...]:
    """The numbers that matter."""
    known, calibration = doubt(found), found.calibration
    parts = []
    judged = against_gold(source, found)
    if judged is not None:
        n, right = len(judged[0]), int((~judged[0]).sum())
        low, high = wilson(right, n)
        parts.append(Fact("Known tasks right", right / n, (float(low), float(high)), "%", f"{right:,} of {n:,}"))
    note = f"about {known.sum():,.0f} of {len(known):,} tasks are believed wrongly, if the belief is right about itself"
    parts.append(Fact("Expected errors", float(known.mean()), None, "%", note))
    unsure = int((known >= DOUBT).sum())
    parts.append(Fact("Doubtful tasks", unsure, None, "", f"wrong with {number(DOUBT, '%')} or more"))
    note = f"against {calibration.n:,} {calibration.against}; calibration error {number(calibration.ece, '%')}"
    parts.append(Fact("Log-loss", float(calibration.log_loss), None, "", note))
    if agreement is not None and np.isfinite(agreement.alpha_):
        inside = agreement.interval_ if np.isfinite(agreement.interval_[0]) else None
        parts.append(Fact("Agreement", agreement.alpha_, inside, "", "Krippendorff's alpha: 1 is perfect, 0 is chance"))
    return tuple(parts)


def verdict(source: VoteSource, found: Aggregation) -> str:
    """The finding in a sentence."""
    unsure, n = int((doubt(found) >= DOUBT).sum()), source.votes.n_rows
    rest = f"{unsure:,} stay doubtful" if unsure else "none stays doubtful"
    judged = against_gold(source, found)
    if judged is None:
        return f"{source.votes.n_votes:,} votes settle {n - unsure:,} of {n:,} tasks; {rest}."
    wrong, right = judged[0], int((~judged[0]).sum())
    low, high = wilson(right, len(wrong))
    share = number(right / len(wrong), "%", (float(low), float(high)))
    return f"{source.votes.n_votes:,} votes get {share} of {len(wrong):,} known tasks right; of {n:,} tasks, {rest}."


def warnings(source: VoteSource, found: Aggregation) -> tuple[str, ...]:
    """What makes the numbers doubtful; also that known classes show more errors than the belief admits."""
    judged = against_gold(source, found)
    if judged is None:
        return tuple(found.warnings)
    wrong, said = judged
    expected, spread = float(said.sum()), float(np.sqrt((said * (1 - said)).sum()))
    if wrong.sum() <= expected + 3 * max(spread, 1.0):
        return tuple(found.warnings)
    return (
        *found.warnings,
        f"The belief is too sure of itself: {wrong.sum():,} of {len(wrong):,} tasks with a known class are wrong, "
        f"{expected:,.0f} were expected.",
    )


def numbers(source: VoteSource, found: Aggregation, agreement: Agreement | None) -> dict[str, Any]:
    """The numbers of the run, for machines."""
    votes, calibration = source.votes, found.calibration
    judged = against_gold(source, found)
    alpha = None if agreement is None or np.isnan(agreement.alpha_) else agreement.alpha_
    return {
        "tasks": votes.n_rows,
        "votes": votes.n_votes,
        "workers": None if source.anonymous else votes.n_workers,
        "classes": list(votes.space.names),
        "method": found.method,
        "why": found.why,
        "doubtful": int((doubt(found) >= DOUBT).sum()),
        "expected_errors": float(doubt(found).sum()),
        "accuracy_on_gold": None if judged is None else float(1 - judged[0].mean()),
        "calibration": {
            "against": calibration.against,
            "n": calibration.n,
            "log_loss": calibration.log_loss,
            "brier": calibration.brier,
            "ece": calibration.ece,
        },
        "alpha": alpha,
        "warnings": list(warnings(source, found)),
    }


def summary(source: VoteSource, found: Aggregation) -> str:
    """A few lines for a terminal."""
    lines = [verdict(source, found), f"  {found.method}: {found.why}"]
    names, p, task = source.votes.space.names, found.belief.p, source.votes.task_ids
    for at in (at for at in most_doubtful(found, 5) if p[at].max() < SURE):
        first, second = ranked(p[at])[:2]
        lines.append(f"  task {task[at]}: {names[first]!r} {p[at, first]:.2f}, {names[second]!r} {p[at, second]:.2f}")
    return "\n".join(lines + [f"Warning: {warning}" for warning in warnings(source, found)])


def commands(source: VoteSource, folder: Path) -> tuple[Command, ...]:
    """What to run next."""
    found = [
        Command(
            shlex.join(["assay", "report", str(folder)]),
            "Draw this page again. The belief itself is in beliefs.parquet: a row a task, a column a class.",
        )
    ]
    if source.contents is not None:
        found.insert(
            0,
            Command(
                shlex.join(["assay", "audit", str(folder / "labelled.parquet")]),
                "Audit the labels that the votes came to: the table of the tasks, and the most probable class.",
            ),
        )
    return tuple(found)

"""The report of `assay learn`: what was wrong, what was done about it, and what came of it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np

from assay.evidence import plots
from assay.evidence.learn_contest import Contest, Trial
from assay.evidence.learn_methods import trainables
from assay.evidence.learn_run import Learned
from assay.evidence.report import Column, Command, Fact, Grid, Prose, Report, Section
from assay.evidence.results import versions_of
from assay.evidence.shown import number

N_ROWS = 20
"""Suspicious rows shown in the report; all are in evidence.csv."""


def build(found: Learned, folder: Path, provenance: dict[str, object]) -> Report:
    """The report of a training whose files lie in `folder`."""
    source = found.table.source
    name = source.name if source is not None else "the table"
    sections = [why(found), training(found), suspects(found)]
    return Report(
        title=f"A model of {name}",
        verdict=found.verdict(),
        facts=facts(found),
        sections=tuple(section for section in sections if section is not None),
        commands=commands(found, folder),
        warnings=found.warnings,
        provenance={
            "verb": "learn",
            "source": name,
            "sha256": found.table.digest,
            "rows": found.table.n_rows,
            "label column": found.table.label,
            "media": found.model.reader.media,
            "method": found.model.method,
            "seed": found.options.reading.seed,
            "versions": versions_of("assay", "torch", "scikit-learn"),
            **provenance,
        },
        numbers=found.numbers(),
    )


def facts(found: Learned) -> tuple[Fact, ...]:
    """The numbers that matter."""
    n, flagged = int(found.labels.present.sum()), int(found.confident.is_issue_.sum())
    parts = []
    if found.test is not None and found.test.accuracy is not None:
        share, low, high, m = found.test.accuracy
        parts.append(Fact("Agreement on the test", share, (low, high), "%", f"{m:,} labels as given there"))
    if found.contest is not None:
        value, interval = bounds(found.contest)
        note = "held-out labels, corrected for being wrong"
        parts.append(Fact("Expected accuracy", value, interval, "%", note))
    parts += [
        Fact("Method", " + ".join(found.model.methods), None, "", found.title),
        Fact("Labels that look wrong", flagged, None, "", f"{number(flagged / n, '%')} of {n:,}"),
    ]
    return tuple(parts)


def bounds(trial: Trial | Contest) -> tuple[float, tuple[float, float]]:
    """Accuracy of a trial and its 95 % interval, within 0..1: a correction may lead outside."""
    low, high = trial.accuracy - 1.96 * trial.error, trial.accuracy + 1.96 * trial.error
    inside = np.clip([trial.accuracy, low, high], 0, 1).tolist()
    return inside[0], (inside[1], inside[2])


def why(found: Learned) -> Section | None:
    """What is wrong with the labels, and how methods did on them."""
    if found.diagnosis is None or found.contest is None:
        return None
    rows = sorted(found.contest.trials, key=lambda trial: -trial.accuracy)
    shares = np.array([bounds(trial)[0] for trial in rows])
    intervals = np.array([bounds(trial)[1] for trial in rows])
    bars = plots.bars(
        f"{', '.join(found.contest.taken)} chosen of {len(rows)} methods",
        [trial.name for trial in rows],
        shares,
        intervals,
        x_label="Held-out accuracy, corrected",
        note="Corrected for the errors of the held-out labels by the noise matrix that confident learning estimates. "
        "The intervals do not count that the matrix is an estimate.",
    )
    grid = Grid(
        "Candidates, the simplest first",
        (Column("method"), Column("accuracy", "%"), Column("behind the best", "%"), Column("seconds")),
        tuple(
            (
                trial.name,
                bounds(trial)[0],
                (
                    trial.behind,
                    trial.behind - 1.96 * trial.behind_error,
                    trial.behind + 1.96 * trial.behind_error,
                ),
                round(trial.seconds, 1),
            )
            for trial in found.contest.trials
        ),
        note="The three best are trained, and their probabilities averaged."
        if found.diagnosis.wrong
        else "Next to no label is wrong: of the methods within one standard error of the best, the simplest is taken.",
    )
    prose = Prose(
        " ".join(found.diagnosis.sentences())
        + f" Such labels call for {found.diagnosis.proposal}; the held-out labels decide."
    )
    return Section("What is wrong, and what to do about it", found.why(), (prose, bars, grid))


def training(found: Learned) -> Section:
    """How the training went."""
    first, network = found.model.methods[0], found.model.estimators[0]
    history, best = network.history_, network.best_epoch_
    blocks: list[Any] = []
    if best is not None and len(history) > 1:
        accuracy = np.array([entry["validation_accuracy"] for entry in history])
        fallen = float(accuracy.max() - accuracy[-1])
        title = (
            f"Agreement with held-out labels falls by {number(fallen, '%')} after epoch {best}"
            if fallen > 0.02
            else f"Agreement with held-out labels is highest after epoch {best}"
        )
        note = f"By {first}. Held-out labels are as wrong as the others: agreement stays below accuracy."
        blocks.append(plots.learning_curve(title, np.arange(len(history)), accuracy, best=float(best), note=note))
    if found.predictions.notes:
        blocks.append(Prose("\n\n".join(found.predictions.notes)))
    lead = f"{len(history)} epochs of {trainables()[first].title.lower()}."
    return Section("The training", lead, tuple(blocks))


def suspects(found: Learned) -> Section:
    """The labels that the training came to doubt."""
    values = found.suspect[found.labels.present]
    n, rows = len(values), found.ranking()[:N_ROWS]
    flagged = int(found.confident.is_issue_.sum())
    cut = float(np.sort(values)[::-1][flagged - 1]) if flagged else 1.0
    hist = plots.histogram(
        f"{flagged:,} of {n:,} labels are flagged",
        values,
        cut=cut,
        cut_label="as many as are flagged",
        x_label="Suspicion: mean rank by the method and by confident learning",
        note="Ranks: 100 % is the most suspicious row of all. No probability.",
    )
    columns = found.columns(rows)
    grid = Grid(
        "The most suspicious rows",
        (Column("row"), Column("given"), Column("rather"), Column("suspicion", "%")),
        tuple(
            zip(
                columns["row"].tolist(),
                map(str, columns["given"]),
                map(str, columns["suggested"]),
                columns["suspect"].tolist(),
                strict=True,
            )
        ),
    )
    lead = f"{len(rows)} of {n:,} rows; evidence.csv lists them all."
    return Section("The labels that the training doubts", lead, (hist, grid))


def commands(found: Learned, folder: Path) -> tuple[Command, ...]:
    """What to run next."""
    source = found.table.source
    name = "TABLE" if source is None else str(source)
    again = ["assay", "audit", name]
    if source is None or source.is_file():
        again += ["--label", found.table.label]
    return (
        Command(shlex.join(["assay", "predict", str(folder), "NEW"]), "Label new rows with this model."),
        Command(shlex.join(again), "Look at the suspects, and find out how many labels are wrong."),
    )

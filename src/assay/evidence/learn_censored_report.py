"""The report of `assay learn` on durations: how long rows last, what the known ones weigh, what the model is worth."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from assay.evidence import plots
from assay.evidence.learn_censored_task import CONSTANT
from assay.evidence.report import Column, Command, Fact, Grid, Prose, Report, Section
from assay.evidence.results import versions_of
from assay.evidence.shown import number
from assay.kernels.survival_scores import WeightedMean

if TYPE_CHECKING:
    from assay.evidence.learn_censored import LearnedDurations

N_ROWS = 20
"""Heaviest rows shown in the report; all are in evidence.csv."""


def build(found: LearnedDurations, folder: Path, provenance: dict[str, object]) -> Report:
    """The report of a training whose files lie in `folder`."""
    source, options = found.table.source, found.options
    name = source.name if source is not None else "the table"
    return Report(
        title=f"Durations in {name}",
        verdict=found.verdict(),
        facts=facts(found),
        sections=(lasting(found), judged(found), weighed(found)),
        commands=(Command(shlex.join(["assay", "predict", str(folder), "NEW"]), "Predict new rows with this model."),),
        warnings=found.warnings,
        provenance={
            "verb": "learn",
            "source": name,
            "sha256": found.table.digest,
            "rows": found.table.n_rows,
            "time column": options.time,
            "event column": options.event,
            "media": found.model.reader.media,
            "seed": options.reading.seed,
            "versions": versions_of("assay", "scikit-learn"),
            **provenance,
        },
        numbers=found.numbers(),
    )


def both(found: WeightedMean) -> tuple[float, float]:
    """The bounds of a mean."""
    return found.low, found.high


def facts(found: LearnedDurations) -> tuple[Fact, ...]:
    """The numbers that matter."""
    n, known = found.labels.n_rows, found.known
    score, until = score_name(found), "" if found.options.horizon is None else ", before the horizon"
    parts = []
    if found.test is not None and found.test.risk is not None:
        risk = found.test.risk
        parts.append(Fact(f"{score}, test", risk.value, both(risk), "", "weighted for the rows cut off"))
    if found.test is not None and found.test.order is not None:
        parts.append(Fact("Pairs in order, test", found.test.order.value, both(found.test.order), "%"))
    parts += [
        Fact("Pairs in the right order", found.order.value, both(found.order), "%", "held-out rows; 50 % is guessing"),
        Fact(score, found.won.risk.value, both(found.won.risk), "", "held-out rows, weighted for those cut off"),
        Fact("Rows cut off", (n - known) / n, None, "%", f"{n - known:,} of {n:,}{until}"),
        Fact(
            "Known labels are worth", round(found.weights.effective_rows), None, "", f"equal ones; there are {known:,}"
        ),
    ]
    return tuple(parts)


def score_name(found: LearnedDurations) -> str:
    """What the error is called."""
    return "Brier score" if found.model.chance else "Mean squared error"


def lasting(found: LearnedDurations) -> Section:
    """Both Kaplan-Meier curves."""
    options, end = found.options, float(found.lasting.time[-1])
    times = np.linspace(0, end, 200)
    curves = {"last": found.lasting.at(times), "are watched": found.watching.at(times)}
    median = found.lasting.median
    title = (
        f"Half of the rows last beyond {number(median)}"
        if np.isfinite(median)
        else f"{number(float(found.lasting.survival[-1]), '%')} of the rows last beyond {number(end)}, the longest time"
    )
    figure = plots.survival_curves(
        title,
        times,
        curves,
        x_label=options.time,
        horizon=options.horizon,
        note="Kaplan-Meier curves with 95 % bounds for each time alone. Where the curve of watching comes near 0, long "
        "durations are no longer represented: a horizon before that makes every number safer.",
    )
    lead = "How long rows last, those cut off included, and how long they are watched."
    return Section("How long rows last", lead, (figure,))


def judged(found: LearnedDurations) -> Section:
    """The models on held-out rows."""
    score = score_name(found)
    grid = Grid(
        "Models, the simplest first",
        (Column("model"), Column(score.lower()), Column("above the best")),
        tuple(
            (
                trial.name,
                (trial.risk.value, *both(trial.risk)),
                (trial.excess.value, *both(trial.excess)) if trial.excess.value else 0,
            )
            for trial in found.trials
        ),
        note=f"“{CONSTANT}” says the same of every row. Of models within a standard error of the best, the simplest is "
        "taken. Each row's error counts as many times as the row weighs.",
    )
    asked = (
        f"the probability to last beyond {number(found.options.horizon)}"
        if found.model.chance
        else "the expected duration"
        if found.options.horizon is None
        else f"the expected duration, at most {number(found.options.horizon)}"
    )
    share = number(max(0.0, min(1.0, found.explained)), "%")
    lead = f"The model “{found.model.learner}” predicts {asked}; it errs {share} less than without features."
    return Section("What the model is worth", lead, (grid,))


def weighed(found: LearnedDurations) -> Section:
    """The weights, and the rows that decide."""
    weights = found.weights
    known = weights.weights[weights.weights > 0]
    histogram = plots.histogram(
        f"A known label stands for up to {number(round(float(known.max()), 1))} rows",
        known,
        cut=None if not weights.floored.any() else 1 / weights.floor,
        cut_label="cut at",
        x_label="Weight: rows that a known label stands for",
        unit="",
        note="A row whose label was seen stands for all rows like it whose label was cut off.",
    )
    columns = found.columns()
    rows = range(min(N_ROWS, len(known)))
    heaviest = Grid(
        "The rows that weigh most",
        (
            Column("row"),
            Column(found.options.time),
            Column("weight"),
            Column("chance to be seen", "%"),
            Column("predicted"),
        ),
        tuple(
            tuple(columns[name][at] for name in ("row", "time", "weight", "chance_seen", "predicted")) for at in rows
        ),
        note="Predicted by a model that did not see the row.",
    )
    law = (
        "The end of watching may depend on the features (Beran's law)."
        if found.options.weights == "conditional"
        else "The end of watching is taken to be the same for all rows (Kaplan-Meier's law)."
    )
    mean = f"The weights average {number(float(weights.weights.mean()))}; far from 1 something is missing."
    lead = f"{len(known):,} known labels are worth {number(round(weights.effective_rows))} equal ones."
    return Section("What the known labels weigh", lead, (Prose(f"{law} {mean}"), histogram, heaviest))

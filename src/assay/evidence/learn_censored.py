"""The verb `learn` on durations of which some are cut off: weights, two models, the better one, what it is worth.

Held-out rows choose between least squares and boosted trees, and tell what the choice is worth. Each fold has a law of
censoring of its own, which weighs the fold's training rows and the rows held out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.evidence.audit_options import Progress
from assay.evidence.learn_censored_report import build
from assay.evidence.learn_censored_task import (
    REACHED,
    CensoredOptions,
    Task,
    TestDurations,
    Trial,
    check,
    notes,
    outcomes,
    read_new,
    simplest,
)
from assay.evidence.learn_duration_model import DurationModel
from assay.evidence.learn_reader import fit_reader
from assay.evidence.learn_rows import read_rows
from assay.evidence.report import Report
from assay.evidence.shown import number
from assay.kernels.censoring_weights import Weights
from assay.kernels.survival_curve import SurvivalCurve, survival_curve
from assay.kernels.survival_scores import WeightedMean
from assay.kernels.timeline import Timeline
from assay.labels import Censored
from assay.labels.tables import LabelledTable

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedDurations:
    """What was trained, and what it is worth; arrays have one entry for each row of the data set, n.

    Parameters
    ----------
    table, labels, options : what was read, and how.
    model : the trained model with its reader.
    weights : of the rows, by the law of all.
    trials : the models on held-out rows; the last is the weighted mean alone, without features.
    held_out : (n,) predictions of the chosen model for rows that it did not see.
    order : held-out concordance, weighted for censoring.
    lasting, watching : Kaplan-Meier curves of the label and of the end of watching.
    test : predictions for the test rows, and their score where outcomes stand beside them.
    warnings : what makes the numbers doubtful.
    """

    table: LabelledTable
    labels: Censored
    options: CensoredOptions
    model: DurationModel
    weights: Weights
    trials: tuple[Trial, ...]
    held_out: Floats
    order: WeightedMean
    lasting: SurvivalCurve
    watching: SurvivalCurve
    test: TestDurations | None
    warnings: tuple[str, ...]

    @property
    def won(self) -> Trial:
        """The model that was taken."""
        return next(trial for trial in self.trials if trial.name == self.model.learner)

    @property
    def known(self) -> int:
        """Rows whose label is known, those watched until the horizon among them."""
        return int((self.weights.weights > 0).sum())

    @property
    def explained(self) -> float:
        """Share of the error of the weighted mean that the model removes."""
        return 1 - self.won.risk.value / self.trials[-1].risk.value

    def report(self, folder: Path, provenance: dict[str, object]) -> Report:
        """The page about it."""
        return build(self, folder, provenance)

    def save_model(self, folder: Path) -> None:
        """Write what is needed to predict."""
        self.model.save(folder)

    def predictions(self) -> dict[str, Any] | None:
        """Of the test rows."""
        return None if self.test is None else {"row": self.test.names, self.model.asked: self.test.predicted}

    def columns(self) -> dict[str, Any]:
        """What is known of every row, the heaviest first; the form of evidence.csv."""
        rows = np.argsort(-self.weights.weights, kind="stable")
        ids = {} if self.table.ids is None else {"id": self.table.ids.take(rows).to_pylist()}
        seen = [None if np.isnan(chance) else chance for chance in self.weights.survival[rows].tolist()]
        return {
            "row": rows,
            **ids,
            "time": self.labels.time[rows],
            "event": self.labels.event[rows],
            "weight": self.weights.weights[rows],
            "chance_seen": seen,
            "cut": self.weights.floored[rows],
            "no_neighbour": self.weights.isolated[rows],
            "predicted": self.held_out[rows],
        }

    def verdict(self) -> str:
        """The finding in a sentence."""
        n, cut = self.labels.n_rows, self.labels.n_rows - self.known
        until = "" if self.options.horizon is None else " before the horizon"
        told = f"A model of {n:,} durations, of which {cut:,} ({number(cut / n, '%')}) were cut off{until}: it "
        both = (self.order.low, self.order.high)
        return told + f"puts {number(self.order.value, '%', both)} of the pairs of held-out rows in the right order."

    def summary(self) -> str:
        """A few lines for a terminal."""
        score = "Brier score" if self.model.chance else "mean squared error"
        risk = number(self.won.risk.value, "", (self.won.risk.low, self.won.risk.high))
        lines = [
            self.verdict(),
            f"  {self.won.name}: {score} {risk} on held-out rows, "
            f"{number(max(self.explained, 0), '%')} less than without features.",
            f"  The known labels are worth {number(round(self.weights.effective_rows))} equal ones.",
        ]
        if self.test is not None and self.test.risk is not None:
            told = self.test.risk
            lines.append(f"  On the test rows: {score} {number(told.value, '', (told.low, told.high))}.")
        return "\n".join(lines + [f"Warning: {warning}" for warning in self.warnings])

    def numbers(self) -> dict[str, Any]:
        """The numbers of the run, for machines."""

        def told(found: WeightedMean | None) -> list[float] | None:
            return None if found is None else [found.value, found.low, found.high]

        return {
            "rows": self.labels.n_rows,
            "events": int(self.labels.event.sum()),
            "known": self.known,
            "target": self.options.target,
            "horizon": self.options.horizon,
            "weights": self.options.weights,
            "learner": self.model.learner,
            "effective_rows": self.weights.effective_rows,
            "largest_weight": float(self.weights.weights.max()),
            "mean_weight": float(self.weights.weights.mean()),
            "cut": int(self.weights.floored.sum()),
            "median": self.lasting.median if np.isfinite(self.lasting.median) else None,
            "risk": {trial.name: told(trial.risk) for trial in self.trials},
            "explained": self.explained,
            "concordance": told(self.order),
            "test_risk": None if self.test is None else told(self.test.risk),
            "test_concordance": None if self.test is None else told(self.test.order),
            "warnings": list(self.warnings),
        }


def learn_censored(
    source: Any,
    options: CensoredOptions,
    *,
    test: Path | None = None,
    embeddings: npt.ArrayLike | Path | None = None,
    test_embeddings: npt.ArrayLike | Path | None = None,
    progress: Progress | None = None,
) -> LearnedDurations:
    """Train a model of durations of which some were cut off.

    Parameters
    ----------
    source : path or frame.
    options : how to read it and what to learn.
    test : other rows to predict; their outcomes, if they have any, are compared with.
    embeddings, test_embeddings : feature vectors (n, d) of your own, or their file, for both.
    progress : called as `progress(step, share done)`.

    Raises
    ------
    InputError : before anything is trained, for anything wrong with the input.
    """
    tell, reading = progress or (lambda _step, _done: None), options.reading
    chance = options.target == "survival"
    tell("reading", 0.0)
    table, aside = read_rows(source, reading, (options.time, options.event))
    labels = outcomes(aside, options.time, options.event)
    check(labels, options)
    line, told = Timeline(labels.time, labels.event), tuple[str, ...]()
    lasting = survival_curve(line)
    if options.horizon is None and (needed := needed_horizon(labels, lasting)) is not None:
        options = replace(options, horizon=needed)
        told = (
            f"How long the longest durations last is not in the data: durations count as at most {number(needed)}. Set "
            "the horizon for another limit; inf for none.",
        )
    elif options.horizon == np.inf and not chance:
        options = replace(options, horizon=None)
    tell("reading", 1.0)
    reader, features, X = fit_reader(table, reading, embeddings, lambda done: tell("computing features", done))
    model = DurationModel(
        reader=reader, time=options.time, event=options.event, id=table.id, horizon=options.horizon, chance=chance,
        learner="", arrays={},
    )  # fmt: skip
    new = None if test is None and test_embeddings is None else read_new(test, model, test_embeddings)
    tell("computing features", 1.0)
    task = Task.of(X, labels, options)
    trials, held_out, order = task.compare(lambda done: tell("comparing models", done))
    learner = simplest(trials)
    tell("training", 0.0)
    law, weights = task.weigh(np.arange(len(X)))
    model = replace(model, learner=learner, arrays=task.fit(learner, np.arange(len(X)), weights))
    tell("training", 1.0)
    return LearnedDurations(
        table=table,
        labels=labels,
        options=options,
        model=model,
        weights=weights,
        trials=trials,
        held_out=held_out[learner],
        order=order[learner],
        lasting=lasting,
        watching=survival_curve(line, of_censoring=True),
        test=None if new is None else task.judge(model, law, *new),
        warnings=(*features.warnings, *told, *notes(task, weights)),
    )


def needed_horizon(labels: Censored, lasting: SurvivalCurve) -> float | None:
    """The horizon that the mean needs where more than `REACHED` of the rows last beyond the longest time watched.

    How long those last is not in the data, so the mean of all durations cannot be learned, and that of min(Y, horizon)
    can.
    """
    if lasting.survival[-1] <= REACHED:
        return None
    return float(np.quantile(labels.time, 1 - REACHED, method="lower"))

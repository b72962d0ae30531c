"""The verb `learn`: from a data set with wrong labels to a model, and to what the training learned about the labels.

Composes what does not know each other: the reader of rows, held-out probabilities and confident learning, the doctor
that says what is wrong, the contest that says what to do about it, and a method of the learn stage.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from assay.audit.confident_learning import ConfidentLearning
from assay.errors import InputError, require
from assay.evidence.audit_options import AuditOptions, Progress
from assay.evidence.audit_predictions import Predictions, describe
from assay.evidence.learn_contest import Contest, Trial, compare, fitted
from assay.evidence.learn_doctor import DENSE, Diagnosis, diagnose
from assay.evidence.learn_methods import AUTO, panel, trainables
from assay.evidence.learn_model import Model, Predicted, predicted, read_test
from assay.evidence.learn_reader import fit_reader
from assay.evidence.learn_source import read_labels
from assay.evidence.shown import number
from assay.kernels.noisy_accuracy import correction
from assay.labels import Hard, Soft
from assay.labels.tables import LabelledTable
from assay.training.features import default_model
from assay.training.out_of_fold import out_of_fold


@dataclass(frozen=True, kw_only=True)
class LearnOptions:
    """How to read the data and what to train.

    Parameters
    ----------
    method : name of a method, or "auto".
    candidates : what "auto" compares, the simplest first; empty for the usual panel.
    epochs : passes over the rows; None for the method's own.
    reading : how to read the data; its seed is that of everything random.
    """

    method: str = AUTO
    candidates: tuple[str, ...] = ()
    epochs: int | None = None
    reading: AuditOptions = field(default_factory=AuditOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What was trained, and what it says about the labels; arrays have one entry for each row of the data set.

    Parameters
    ----------
    table, labels, options : what was read, its labels (hard or beliefs), and how.
    model : the trained model with its reader.
    predictions : held-out probabilities of a quick judge, and what they are worth.
    confident : what confident learning makes of them.
    diagnosis : what is wrong with the labels; None where a method was named.
    contest : how the candidates did; None where a method was named.
    suspect : (n,) in 0..1, higher = more suspicious: the mean of the ranks by the method and by confident learning.
    by_method : (n,) suspicion of the method alone, of several their mean rank; nan for rows not trained on.
    test : predictions for the test rows, or None.
    warnings : what makes the numbers doubtful.
    """

    table: LabelledTable
    labels: Hard | Soft
    options: LearnOptions
    model: Model
    predictions: Predictions
    confident: ConfidentLearning
    diagnosis: Diagnosis | None
    contest: Contest | None
    suspect: npt.NDArray[np.float64]
    by_method: npt.NDArray[np.float64]
    test: Predicted | None
    warnings: tuple[str, ...]

    @property
    def title(self) -> str:
        """What the method is called."""
        return ", ".join(trainables()[name].title for name in self.model.methods)

    def ranking(self) -> npt.NDArray[np.int64]:
        """Labelled rows (m,), the most suspicious first; ties by row."""
        rows = np.flatnonzero(self.labels.present)
        return rows[np.argsort(-self.suspect[rows], kind="stable")]

    def columns(self, rows: npt.NDArray[np.int64]) -> dict[str, Any]:
        """What is known about the labels of some rows, as columns of equal length."""
        names = np.array(self.table.labels.space.names, dtype=object)
        y = self.table.labels.y
        ids = {} if self.table.ids is None else {"id": self.table.ids.take(rows).to_pylist()}
        by_method = [None if np.isnan(value) else value for value in self.by_method[rows].tolist()]
        return {
            "row": rows,
            **ids,
            "given": names[y[rows]],
            "suggested": names[self.predictions.rival(rows, y[rows])],
            "suspect": self.suspect[rows],
            "by_method": by_method,
            "by_confident_learning": -self.confident.scores_[rows].astype(np.float64),
            "flagged": self.confident.is_issue_[rows],
        }

    def why(self) -> str:
        """Why this method, in a sentence."""
        if self.contest is None:
            return f"{self.title}, as asked."
        taken, trials = self.contest.taken, self.contest.trials
        best = max(trials, key=lambda trial: trial.accuracy).name
        share = number(min(max(self.contest.accuracy, 0.0), 1.0), "%")
        if len(taken) > 1:
            told = f"The average of the {len(taken)} methods that are best of {len(trials)} on held-out labels: "
            return told + f"{', '.join(taken)}; {share} right once these labels are corrected for being wrong."
        if taken[0] == best:
            told = f"{best} is best of {len(trials)} methods on held-out labels, at {share} once these are "
            return told + "corrected for being wrong."
        told = f"{taken[0]} is the simplest of the methods that the best, {best}, does not beat by more than a "
        return told + f"standard error on held-out labels ({share} once these are corrected for being wrong)."

    def verdict(self) -> str:
        """The finding in a sentence."""
        n, flagged = int(self.labels.present.sum()), int(self.confident.is_issue_.sum())
        told = f"A model trained by {self.model.method} on {n:,} labels, of which {flagged:,} look wrong."
        if self.test is not None and self.test.accuracy is not None:
            share, low, high, m = self.test.accuracy
            told += f" It agrees with {number(share, '%', (low, high))} of {m:,} test labels."
        return told

    def summary(self) -> str:
        """A few lines for a terminal."""
        lines = [self.verdict(), f"  {self.why()}"]
        lines += [f"  {sentence}" for sentence in ([] if self.diagnosis is None else self.diagnosis.sentences())]
        return "\n".join(lines + [f"Warning: {warning}" for warning in self.warnings])

    def numbers(self) -> dict[str, Any]:
        """The numbers of the run, for machines."""
        return {
            "rows": self.table.n_rows,
            "labelled": int(self.labels.present.sum()),
            "classes": list(self.table.labels.space.names),
            "method": self.model.method,
            "methods": list(self.model.methods),
            "why": self.why(),
            "flagged": int(self.confident.is_issue_.sum()),
            "error_rate_by_model": self.confident.error_rate_,
            "diagnosis": None
            if self.diagnosis is None
            else {"pattern": self.diagnosis.pattern, **told(self.diagnosis)},
            "trials": {} if self.contest is None else {trial.name: told(trial) for trial in self.contest.trials},
            "test_accuracy": None if self.test is None or self.test.accuracy is None else self.test.accuracy[0],
            "warnings": list(self.warnings),
        }


def told(found: Diagnosis | Trial) -> dict[str, Any]:
    """The fields of a finding, without what could not be told."""
    values = {name: getattr(found, name) for name in found.__dataclass_fields__}
    return {name: value for name, value in values.items() if not (isinstance(value, float) and np.isnan(value))}


def learn(
    source: Any,
    options: LearnOptions | None = None,
    *,
    test: Path | None = None,
    embeddings: npt.ArrayLike | Path | None = None,
    test_embeddings: npt.ArrayLike | Path | None = None,
    beliefs: Path | None = None,
    progress: Progress | None = None,
) -> Learned:
    """Train a model on labels of which some are wrong.

    Parameters
    ----------
    source : path or frame, as `assay audit` reads it; or the folder of `assay aggregate`, see `read_labels`.
    options : how to read it and what to train.
    test : other rows to predict; their labels, if they have any, are compared with.
    embeddings, test_embeddings : feature vectors (n, d) of your own, or their file, for both.
    beliefs : what `assay aggregate` came to believe, for a table whose `id` names the task.
    progress : called as `progress(step, share done)`.

    Raises
    ------
    InputError : before anything is trained, for anything wrong with the input.
    """
    require("torch", "deep", "Training networks")
    options = options or LearnOptions()
    if options.method != AUTO and options.method not in trainables():
        raise InputError(f"There is no method {options.method!r}: expected auto or {', '.join(trainables())}.")
    tell, seed = progress or (lambda _step, _done: None), options.reading.seed
    tell("reading", 0.0)
    table, labels = read_labels(source, options.reading, beliefs)
    y, present = np.asarray(table.labels.y, dtype=np.int64), labels.present
    check_classes(table)
    tell("reading", 1.0)
    reader, features, X = fit_reader(table, options.reading, embeddings, lambda done: tell("computing features", done))
    model = Model(methods=(options.method,), reader=reader, space=table.labels.space, label=table.label, id=table.id)
    new = None if test is None and test_embeddings is None else read_test(test, model, test_embeddings)
    tell("computing features", 1.0)
    k = table.labels.space.n_classes
    judge = default_model(features.media, table.n_rows, k)
    found = out_of_fold(
        features.matrix, y, k, model=judge, n_splits=options.reading.folds, random_state=seed, mask=present, n_jobs=-1,
        on_fold=lambda done, n: tell("judging labels", done / n),
    )  # fmt: skip
    predictions = Predictions(
        pred_probs=found.pred_probs, origin="cross-validated", model=describe(judge), accuracy=found.accuracy,
        features=features, notes=features.notes, warnings=features.warnings,
    )  # fmt: skip
    confident = ConfidentLearning().fit(y, found.pred_probs, None if present.all() else present)
    taken: tuple[str, ...] = (options.method,)
    diagnosis, contest = None, None
    if options.method == AUTO:
        tell("examining labels", 0.0)
        diagnosis = diagnose(confident, X, y, present, isinstance(labels, Soft), seed)
        tell("examining labels", 1.0)
        weights = correction(confident.noise_matrix_) if k <= DENSE else np.eye(k)
        contest = compare(
            options.candidates or panel(), X, labels, weights, diagnosis.wrong, options.epochs, seed,
            lambda done: tell("comparing methods", done),
        )  # fmt: skip
        taken = contest.taken
    estimators = list[Any]()
    for name in taken:
        tell("training", len(estimators) / len(taken))
        estimators.append(fitted(name, X, labels, options.epochs, seed))
    tell("training", 1.0)
    model = replace(model, methods=taken, estimators=tuple(estimators))
    suspicions = [np.asarray(estimator.evidence()["suspect"], dtype=np.float64) for estimator in estimators]
    by_method = np.where(present, suspicions[0] if len(taken) == 1 else combined(*suspicions), np.nan)
    return Learned(
        table=table,
        labels=labels,
        options=options,
        model=model,
        predictions=predictions,
        confident=confident,
        diagnosis=diagnosis,
        contest=contest,
        suspect=combined(by_method, -confident.scores_.astype(np.float64)),
        by_method=by_method,
        test=None if new is None else predicted(model, *new),
        warnings=features.warnings,
    )


def combined(*suspicions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean of the ranks (n,) by several suspicions, each in 0..1, nan where all are nan.

    >>> combined(np.array([3.0, 1.0, np.nan]), np.array([0.2, 0.1, 0.3])).round(2).tolist()
    [0.83, 0.42, 1.0]
    """
    ranks = np.full((len(suspicions), len(suspicions[0])), np.nan)
    for rank, values in zip(ranks, suspicions, strict=True):
        there = ~np.isnan(values)
        rank[there] = rankdata(values[there]) / max(int(there.sum()), 1)
    known = ~np.isnan(ranks)
    found = np.where(known, ranks, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(known.any(axis=0), found, np.nan)


def check_classes(table: LabelledTable) -> None:
    """Raise unless every class has two rows: one to train on and one to choose the epoch by."""
    counts = table.labels.counts()
    if (counts > 0).sum() < 2:
        raise InputError("The labels are of one class: a classifier needs at least two.")
    if (counts == 1).any():
        code = int((counts == 1).argmax())
        row = int((table.labels.present & (table.labels.y == code)).argmax())
        name = table.labels.space.names[code]
        raise InputError(f"Class {name!r} has one row: drop it, or merge it with another class.", row=row)

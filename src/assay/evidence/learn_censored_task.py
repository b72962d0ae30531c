"""Durations as a weighted regression: which labels are known, what they weigh, how models do on held-out rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assay.errors import InputError
from assay.evidence.audit_options import AuditOptions
from assay.evidence.learn_duration_model import LEARNERS, DurationModel, answers, bounded, fit_learner
from assay.evidence.learn_rows import names_of, read_new_rows
from assay.evidence.shown import number
from assay.kernels.censoring_weights import CensoringLaw, Weights, inverse, least_chance, own_weights
from assay.kernels.survival_scores import WeightedMean, concordance_interval, weighted_mean
from assay.labels import Censored
from assay.learn.censored import FEWEST, restricted

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FOLDS = 5
REACHED = 0.05  # share of the rows that are watched until the horizon that is proposed
CONSTANT = "no features"
FLAGS: dict[Any, bool] = {True: True, False: False, "true": True, "false": False, "yes": True, "no": False}
LAW_ROWS = 20_000  # rows that a law that depends on features is made of
MOST = 4  # features of which Beran's curves still find neighbours


@dataclass(frozen=True, kw_only=True)
class CensoredOptions:
    """How to read durations and what to learn of them.

    Parameters
    ----------
    time, event : columns: the time until which a row was watched, and whether the event was seen then.
    weights : "conditional" where the end of watching may depend on the features, "marginal" where it does not.
    target : "mean", the expected duration; or "survival", the probability to last beyond `horizon`.
    horizon : durations beyond it count as it. None: for the mean one is set where follow-up ends too early, see
        `assay.evidence.learn_censored`; "survival" needs one. Infinite: none, whatever follow-up allows.
    reading : how to read the data; its seed is that of everything random.
    """

    time: str
    event: str
    weights: Literal["conditional", "marginal"] = "conditional"
    target: Literal["mean", "survival"] = "mean"
    horizon: float | None = None
    reading: AuditOptions = field(default_factory=AuditOptions)


@dataclass(frozen=True, slots=True)
class Trial:
    """How a model did on held-out rows.

    Parameters
    ----------
    name : of the model; `CONSTANT` is the weighted mean alone.
    risk : mean squared error; of probabilities, the Brier score.
    excess : its risk above that of the best.
    """

    name: str
    risk: WeightedMean
    excess: WeightedMean


@dataclass(frozen=True, slots=True)
class TestDurations:
    """Predictions (m,) for other rows, what names them, and scores where their outcomes are known."""

    names: list[Any]
    predicted: Floats
    risk: WeightedMean | None = None
    order: WeightedMean | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """Rows (n, d), labels with the horizon in them, and what is to be predicted (n,), read where `known.event`."""

    X: npt.NDArray[Any]
    known: Censored
    y: Floats
    options: CensoredOptions

    @classmethod
    def of(cls, X: npt.NDArray[Any], labels: Censored, options: CensoredOptions) -> Self:
        """The task of rows and their labels."""
        known, y = goal(labels, options)
        return cls(X, known, y, options)

    def weigh(self, rows: Ints) -> tuple[CensoringLaw, Weights]:
        """The law of censoring of some rows, and their weights."""
        known, X = self.known.take(rows), self.X[rows]
        if self.options.weights == "marginal":
            law = CensoringLaw(known.time, known.event)
            weights = own_weights(law, known.event)
        elif len(rows) <= LAW_ROWS:
            law = likeliest(known, X)
            weights = own_weights(law, known.event)
        else:
            law, weights = of_a_sample(known, X, self.options.reading.seed)
        if weights.effective_rows < FEWEST:
            raise InputError(
                f"The known labels are worth {weights.effective_rows:.1f} equal rows, fewer than {FEWEST}: bring more "
                f"rows with events, or {proposed(self.options, known)}."
            )
        return law, weights

    def fit(self, learner: str, rows: Ints, weights: Weights) -> dict[str, npt.NDArray[Any]]:
        """Arrays of a learner, fitted to the rows whose label is known."""
        seen = np.flatnonzero(weights.weights > 0)
        at, chance = rows[seen], self.options.target == "survival"
        if chance and len(np.unique(self.y[at])) < 2:
            all_or_none = "every" if self.y[at[0]] else "no"
            raise InputError(f"As far as is known {all_or_none} row lasts beyond the horizon: choose another one.")
        return fit_learner(learner, self.X[at], self.y[at], weights.weights[seen], chance, self.options.reading.seed)

    def compare(
        self, on_fold: Callable[[float], None]
    ) -> tuple[tuple[Trial, ...], dict[str, Floats], dict[str, WeightedMean]]:
        """Both learners and the weighted mean on held-out rows: trials, predictions (n,) and concordance of each."""
        n, chance = len(self.y), self.options.target == "survival"
        said = {name: np.zeros(n) for name in (*LEARNERS, CONSTANT)}
        w = np.zeros(n)
        for fold in range(FOLDS):
            out = folds(self.known.event, self.options.reading.seed) == fold
            rows = np.flatnonzero(~out)
            law, weights = self.weigh(rows)
            for name in LEARNERS:
                arrays = self.fit(name, rows, weights)
                said[name][out] = bounded(answers(self.X[out], arrays), self.options.horizon, chance)
            said[CONSTANT][out] = np.average(self.y[rows], weights=weights.weights)
            w[out] = weights_by(law, self.X[out], self.known.take(out), weights.floor)
            on_fold((fold + 1) / FOLDS)
        missed = {name: (self.y - predicted) ** 2 for name, predicted in said.items()}
        risks = {name: risk_of(loss, w) for name, loss in missed.items()}
        best = missed[min(LEARNERS, key=lambda name: risks[name].value)]
        trials = tuple(Trial(name, risks[name], weighted_mean(loss - best, w)) for name, loss in missed.items())
        seed = self.options.reading.seed
        order = {
            name: concordance_interval(self.known.time, self.known.event, said[name], w**2, seed=seed)
            for name in LEARNERS
        }
        return trials, said, order

    def judge(
        self, model: DurationModel, law: CensoringLaw, names: list[Any], X: npt.NDArray[Any], labels: Censored | None
    ) -> TestDurations:
        """What a model says of other rows, and its scores where their outcomes are known and enough."""
        predicted = model.predict(X)
        if labels is None:
            return TestDurations(names, predicted)
        known, y = goal(labels, self.options)
        if known.event.sum() < 2:
            return TestDurations(names, predicted)
        w = weights_by(law, X, known, least_chance(len(self.y)))
        risk = risk_of((y - predicted) ** 2, w)
        return TestDurations(names, predicted, risk, order_of(known, predicted, w**2))


def goal(labels: Censored, options: CensoredOptions) -> tuple[Censored, Floats]:
    """Labels cut at the horizon, and what is to be predicted of the known ones (n,): durations, or 1 for beyond it."""
    if options.target == "mean" or options.horizon is None:
        known = restricted(labels, options.horizon)
        return known, np.asarray(known.time, dtype=np.float64)
    beyond = np.nextafter(options.horizon, np.inf)
    known = restricted(labels, beyond)
    return known, np.asarray(known.time >= beyond, dtype=np.float64)


def likeliest(known: Censored, X: npt.NDArray[Any]) -> CensoringLaw:
    """Of rows that are near by all features and of rows that are near by their rate, the law that tells more."""
    law = CensoringLaw(known.time, known.event, X, score=True)
    if X.shape[1] > MOST or known.event.all():
        return law
    other = CensoringLaw(known.time, known.event, X)
    return other if other.likelihood > law.likelihood else law


def of_a_sample(known: Censored, X: npt.NDArray[Any], seed: int) -> tuple[CensoringLaw, Weights]:
    """The law of `LAW_ROWS` rows, and by it the weights of all: a curve around each row costs as many steps as rows."""
    rows = np.sort(np.random.default_rng(seed).choice(len(X), LAW_ROWS, replace=False))
    law = likeliest(known.take(rows), X[rows])
    chance = np.where(known.event, law.at(known.time, X), np.nan)
    isolated = np.zeros(len(X), dtype=np.bool_)
    chance[rows], isolated[rows] = law.own()
    return law, inverse(chance, known.event, isolated, least_chance(len(X)))


def weights_by(law: CensoringLaw, X: npt.NDArray[Any], known: Censored, floor: float) -> Floats:
    """Weights (m,) of rows that the law has not seen."""
    chance = np.where(known.event, law.at(known.time, X), np.nan)
    return inverse(chance, known.event, np.zeros(len(X), dtype=np.bool_), floor).weights


def risk_of(loss: Floats, weights: Floats) -> WeightedMean:
    """The mean of losses (n,) that are not negative, as its interval is not either."""
    found = weighted_mean(loss, weights)
    return replace(found, low=max(0.0, found.low))


def order_of(known: Censored, predicted: Floats, weights: Floats | None = None) -> WeightedMean | None:
    """Concordance with its interval; None where there are too few pairs to tell."""
    try:
        return concordance_interval(known.time, known.event, predicted, weights)
    except InputError:
        return None


def folds(event: npt.NDArray[np.bool_], seed: int) -> Ints:
    """Fold of each row (n,), with equal shares of events in each."""
    order = np.random.default_rng(seed).permutation(len(event))
    order = order[np.argsort(event[order], kind="stable")]
    found = np.empty(len(event), dtype=np.int64)
    found[order] = np.arange(len(event)) % FOLDS
    return found


def simplest(trials: tuple[Trial, ...]) -> str:
    """The simplest model whose excess over the best is within a standard error."""
    return next(t.name for t in trials if t.excess.value <= (t.excess.high - t.excess.low) / 3.92)


def outcomes(table: pa.Table, time: str, event: str) -> Censored:
    """Durations of two columns: numbers; and events as booleans, 0 and 1, or words for them."""
    for name in (time, event):
        if table[name].null_count:
            row = pc.index(pc.is_null(table[name]), True).as_py()
            raise InputError(f"Column {name!r} has no value: drop the row, or say until when it was watched.", row=row)
        if pa.types.is_nested(table[name].type):
            raise InputError(f"Column {name!r} holds {table[name].type}: expected one value a row.")
    cells = table[event].to_pylist()
    flags = [FLAGS.get(cell.lower() if isinstance(cell, str) else cell) for cell in cells]
    if None in flags:
        row = flags.index(None)
        raise InputError(
            f"Column {event!r} must say whether the end was seen, true or false, 1 or 0; got {cells[row]!r}.", row=row
        )
    try:
        times = np.asarray(table[time].to_pylist(), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"Column {time!r} must hold durations as numbers: {error}.") from None
    return Censored.from_time_event(times, np.array(flags))


def check(labels: Censored, options: CensoredOptions) -> None:
    """Raise where nothing can be learned of these labels."""
    if options.horizon is not None and not options.horizon > 0:
        raise InputError(f"The horizon is {options.horizon:g}: expected a time above 0.")
    if options.target == "survival" and options.horizon is None:
        raise InputError("The probability to last beyond a time needs the time: give a horizon.")
    events = int(labels.event.sum())
    if events == 0:
        raise InputError(f"Every row of {options.event!r} is cut off, so no duration is known: some events are needed.")
    if events < 2 * FEWEST:
        raise InputError(f"Only {events} rows have an event: at least {2 * FEWEST} are needed to train and to judge.")


def proposed(options: CensoredOptions, known: Censored) -> str:
    """A horizon that enough rows reach, as an advice."""
    if options.horizon is not None:
        return f"set a horizon before {number(options.horizon)}"
    at = float(f"{np.quantile(known.time, 1 - REACHED):.3g}")
    return f"set a horizon such as {number(at)}, which about {number(REACHED, '%')} of the rows reach"


def notes(task: Task, weights: Weights) -> tuple[str, ...]:
    """What makes the numbers doubtful."""
    if task.known.event.all():
        until = "" if task.options.horizon is None else " before the horizon"
        return (f"No row is cut off{until}, so that every weight is 1: this is plain regression, which any tool does.",)
    alarms = weights.alarms("the horizon")
    return (*alarms, f"To be safe, {proposed(task.options, task.known)}.") if alarms else ()


def read_new(
    path: Path | None, model: DurationModel, embeddings: npt.ArrayLike | Path | None
) -> tuple[list[Any], npt.NDArray[Any], Censored | None]:
    """Names of other rows, the rows as numbers, and their outcomes where every row has one."""
    rows, aside = None, None
    if path is not None:
        rows, aside = read_new_rows(path, model.reader, (model.time, model.event), model.id)
    X = model.reader.read(rows, embeddings)
    known = aside is not None and not any(column.null_count for column in aside.columns)
    return names_of(rows, len(X)), X, outcomes(aside, model.time, model.event) if known else None

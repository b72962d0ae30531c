"""Which methods train best on these labels, judged by labels of which some are wrong.

Each candidate is cross-validated; its held-out predictions are held against the labels as given, corrected by the
noise matrix (`assay.kernels.noisy_accuracy`). Where labels are wrong, the three best are all trained and their
probabilities averaged: held-out labels cannot tell the best of good methods from the next, and an average need not
know. Where next to none are wrong, those that lie within a standard error of the best, row by row, count as equal, and
the simplest of the equals is taken alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.evidence.learn_methods import make
from assay.kernels.noisy_accuracy import Floats, corrected, mean_and_error
from assay.labels import Hard, Soft
from assay.training.folds import assign_folds

FOLDS = 3
ROWS = 6000  # the most rows that methods are compared on
TEAM = 3  # methods that are averaged where labels are wrong
FEWEST = 3 * FOLDS  # rows of a class below which it takes no part


@dataclass(frozen=True, slots=True)
class Trial:
    """How a candidate did.

    Parameters
    ----------
    name : as `--method` takes it.
    accuracy, error : corrected held-out accuracy, and its standard error.
    behind, behind_error : how far behind the best it is, row by row, and the standard error of that.
    seconds : what it took.
    """

    name: str
    accuracy: float
    error: float
    behind: float
    behind_error: float
    seconds: float

    @property
    def tied(self) -> bool:
        """Whether the best is not better by more than a standard error."""
        return self.behind <= self.behind_error


@dataclass(frozen=True, slots=True)
class Contest:
    """What the candidates did, and which are taken.

    Parameters
    ----------
    trials : one for each candidate, in the order they came in.
    taken : names of those taken, the best first; the probabilities of several are averaged.
    accuracy, error : corrected held-out accuracy of what is taken, and its standard error.
    """

    trials: tuple[Trial, ...]
    taken: tuple[str, ...]
    accuracy: float
    error: float


def compare(
    names: Sequence[str],
    X: npt.NDArray[Any],
    labels: Hard | Soft,
    weights: Floats,
    wrong: bool,
    epochs: int | None = None,
    seed: int = 0,
    tell: Callable[[float], None] = lambda _done: None,
) -> Contest:
    """Cross-validate methods on rows (n, d), and take some of them.

    Parameters
    ----------
    names : methods, the simplest first.
    labels : as given; beliefs are taken at their word and not corrected.
    weights : (k, k) of `correction`, for hard labels.
    wrong : whether more than a few labels are wrong.
    """
    given = _codes(labels)
    rows = _rows(given, labels.present, seed)
    fold = assign_folds(given[rows], FOLDS, random_state=seed)
    said: dict[str, npt.NDArray[np.float32]] = {}
    seconds = {}
    for at, name in enumerate(names):
        start = time.perf_counter()
        said[name] = np.empty((len(rows), labels.space.n_classes), dtype=np.float32)
        for held in range(FOLDS):
            train, judged = rows[fold != held], rows[fold == held]
            said[name][fold == held] = fitted(name, X[train], labels.take(train), epochs, seed).predict_proba(X[judged])
            tell((at * FOLDS + held + 1) / (len(names) * FOLDS))
        seconds[name] = time.perf_counter() - start

    def right(pred_probs: npt.NDArray[np.float32]) -> Floats:
        """How right each row (m,) is."""
        top = pred_probs.argmax(axis=1)
        return labels.p[rows, top] if isinstance(labels, Soft) else corrected(top, given[rows], weights)

    scores = {name: right(pred_probs) for name, pred_probs in said.items()}
    best = max(names, key=lambda name: scores[name].mean())
    trials = []
    for name in names:
        mean, error = mean_and_error(scores[name])
        behind, behind_error = mean_and_error(scores[best] - scores[name])
        trials.append(Trial(name, mean, error, behind, behind_error, seconds[name]))
    taken = chosen(trials, wrong)
    return Contest(tuple(trials), taken, *mean_and_error(right(np.mean([said[name] for name in taken], axis=0))))


def chosen(trials: Sequence[Trial], wrong: bool) -> tuple[str, ...]:
    """The three best where labels are `wrong`; else the first that is not beaten by more than a standard error.

    A tie that goes to the simplest is a bet that nothing is gained, which a diagnosis of wrong labels speaks against.
    """
    if wrong:
        return tuple(trial.name for trial in sorted(trials, key=lambda trial: trial.behind)[:TEAM])
    return (next(trial.name for trial in trials if trial.tied),)


def fitted(name: str, X: npt.NDArray[Any], labels: Hard | Soft, epochs: int | None, seed: int) -> Any:
    """A method of that name trained on rows and labels."""
    estimator = make(name, random_state=seed)
    if epochs is not None:
        estimator.set_params(recipe=replace(estimator.default_recipe, epochs=epochs))
    return estimator.fit(X, labels)


def _codes(labels: Hard | Soft) -> npt.NDArray[np.int64]:
    found = labels.y if isinstance(labels, Hard) else labels.p.argmax(axis=1)
    return np.asarray(found, dtype=np.int64)


def _rows(given: npt.NDArray[np.int64], present: npt.NDArray[np.bool_], seed: int) -> npt.NDArray[np.int64]:
    """Labelled rows of classes large enough, at most `ROWS` of them, in equal shares of each class."""
    counts = np.bincount(given[present])
    rows = np.flatnonzero(present & (counts[given] >= FEWEST))
    if len(np.unique(given[rows])) < 2:
        raise InputError(
            f"Methods are compared on classes of at least {FEWEST} rows, and there are not two of them: name one with "
            "--method, such as cross_entropy."
        )
    if len(rows) > ROWS:
        rows = rows[assign_folds(given[rows], -(-len(rows) // ROWS), random_state=seed) == 0]
    return np.asarray(rows, dtype=np.int64)

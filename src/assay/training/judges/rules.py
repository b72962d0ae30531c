"""A judge without a model: a label is as good as it resembles the labels that were accepted, criterion by criterion.

Each criterion is a number that describes a label, and has its surprise beside those of the accepted labels
(`features`). The label with less surprise, on the mean over the criteria, is better; one more surprising than almost
all accepted labels is bad.

It looks at labels one by one, so the order in which they are shown cannot matter, and swapping them proves nothing:
that it is unsure when two labels are about as surprising is what protects it. A row with an accepted label is judged by
what was learned without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.training.judges import BAD, FIRST, GOOD, SECOND, UNSURE, YES, Answer, Candidate, Case
from assay.training.judges.features import Usual, learn_features, learn_in_folds
from assay.training.judges.kinds import empty

Floats = npt.NDArray[np.float64]

FEWEST = 5
FOLDS = 5


class RulesJudge:
    """Criteria learned from accepted labels; see `fit`.

    Parameters
    ----------
    margin : nats of mean surprise by which a label must be better.
    good : share of the accepted labels less surprising than a label that is called good.
    bad : the same above which it is called bad; in between it is unsure.
    """

    name = "rules"
    price = 0.0

    def __init__(self, margin: float = 0.05, good: float = 0.8, bad: float = 0.98) -> None:
        if not (margin >= 0 and 0 < good <= bad <= 1):
            raise InputError(f"Expected margin >= 0 and 0 < good <= bad <= 1, got {margin}, {good} and {bad}.")
        self.margin = margin
        self.good = good
        self.bad = bad

    def fit(self, cases: Sequence[Case], accepted: Sequence[Any]) -> Self:
        """Learn the criteria from cases (n,) and their accepted labels (n,), in canonical form (`kinds.read`)."""
        if len(accepted) < FEWEST:
            raise InputError(f"{len(accepted)} labels were accepted: criteria need at least {FEWEST} to learn from.")
        self._features = learn_features(cases, accepted)
        fold = np.random.default_rng(0).permutation(len(cases)) % FOLDS
        unseen = learn_in_folds(cases, accepted, fold)
        x = np.stack([unseen[at].of(*pair) for at, *pair in zip(fold, cases, accepted, strict=True)])
        surprise = np.empty(len(x))
        for at in range(FOLDS):
            usual = Usual(x[fold != at], self._features.better)
            surprise[fold == at] = [usual.surprise(row).mean() for row in x[fold == at]]
        self._usual = Usual(x, self._features.better)
        self._levels = np.quantile(surprise, [self.good, self.bad])
        self._unseen = {case.row: unseen[at] for case, at in zip(cases, fold, strict=True)}
        self._never_empty = not any(map(empty, accepted))
        self._scored = lru_cache(maxsize=256)(self._score)
        return self

    @property
    def criteria(self) -> tuple[str, ...]:
        """Names of the criteria (d,)."""
        return self._features.names

    def compare(self, case: Case, first: Candidate, second: Candidate) -> Answer:
        """The less surprising label, with the criterion that tells most."""
        a, b = self._scored(case, first), self._scored(case, second)
        gap = float(b.mean() - a.mean())
        at = int(np.argmax(np.abs(a - b)))
        why = f"surprise {a.mean():.3f} and {b.mean():.3f}; most by {self.criteria[at]} ({a[at]:.2f} and {b[at]:.2f})"
        return Answer(UNSURE if abs(gap) <= self.margin else FIRST if gap > 0 else SECOND, why, gap)

    def check(self, case: Case, candidate: Candidate) -> Answer:
        """Good or bad beside the accepted labels."""
        surprise = self._scored(case, candidate)
        mean, (good, bad) = float(surprise.mean()), self._levels
        at = int(np.argmax(surprise))
        why = f"surprise {mean:.3f}, accepted up to {good:.3f}; most by {self.criteria[at]}"
        return Answer(GOOD if mean <= good else BAD if mean > bad else UNSURE, why, float(good) - mean)

    def present(self, case: Case) -> Answer:
        """Yes when no accepted label is empty; else unsure, for criteria of labels say nothing about the row."""
        del case
        return Answer(YES if self._never_empty else UNSURE)

    def _score(self, case: Case, candidate: Candidate) -> Floats:
        return self._usual.surprise(self._unseen.get(case.row, self._features).of(case, candidate.value))

"""A judge that learned from rows whose right label is known which of two labels tends to be the better one.

Logistic regression on what labels look like (`features`) and how surprising that is beside known labels (`Usual`, since
too large and too small are both bad), on which source gave them, and on how many sources agree:

    P(first is better) = sigmoid(w . (x[first] - x[second]))        P(good) = sigmoid(v . x + c)

The difference and the missing intercept make it indifferent to order: swapped, the chance is exactly the complement.

Out of fold: a row with a known label is judged by a model that has not seen it, so that what the critic is measured by
on such rows is honest. All rows of features are out of fold as well, because a text that was learned looks likely.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from assay.errors import InputError
from assay.training.judges import BAD, FIRST, GOOD, SECOND, UNSURE, Answer, Candidate, Case
from assay.training.judges.features import Usual, learn_features, learn_in_folds
from assay.training.judges.kinds import equal, likeness

Floats = npt.NDArray[np.float64]
FEWEST = 10  # rows with a known label, and pairs of candidates that differ on them


class ClassifierJudge:
    """Which label is better, learned from known rows; see `fit`.

    Parameters
    ----------
    sure : chance from which a label is called better, good or, below one minus it, bad.
    good : likeness to the known label from which a label counts as good; None: 0.8 for masks, equal for the rest.
    strength : how little the weights are held towards zero (`C` of the logistic regression).
    folds : folds of the known rows.
    random_state : seed of the folds.
    """

    name = "classifier"
    price = 0.0

    def __init__(
        self,
        sure: float = 0.6,
        good: float | None = None,
        strength: float = 0.1,
        folds: int = 5,
        random_state: int = 0,
    ) -> None:
        if not 0.5 <= sure < 1:
            raise InputError(f"sure is a chance from 0.5 to below 1, got {sure}.")
        self.sure = sure
        self.good = good
        self.strength = strength
        self.folds = folds
        self.random_state = random_state

    def fit(self, cases: Sequence[Case], candidates: Sequence[Sequence[Candidate]], known: Sequence[Any]) -> Self:
        """Learn from rows with a known label.

        Parameters
        ----------
        cases : (n,) the rows.
        candidates : (n,) their candidates, in canonical form, with source and support.
        known : (n,) the right labels, in canonical form.

        Raises
        ------
        InputError : fewer than ten rows, or hardly a pair of candidates of which one is nearer to the known label.
        """
        if len(cases) < FEWEST:
            raise InputError(f"{len(cases)} rows have a known label: a judge that learns needs at least {FEWEST}.")
        self._n_sources = 1 + max((one.source for row in candidates for one in row), default=0)
        fold = np.random.default_rng(self.random_state).permutation(len(cases)) % self.folds
        features = learn_in_folds(cases, known, fold)
        accepted = np.stack([features[at].of(*pair) for at, *pair in zip(fold, cases, known, strict=True)])
        self._features = [*features, learn_features(cases, known)]
        better = self._features[-1].better
        self._usual = [*(Usual(accepted[fold != at], better) for at in range(self.folds)), Usual(accepted, better)]
        x: list[Floats] = []
        gained: list[tuple[int, Floats]] = []
        for row, (case, some, truth) in enumerate(zip(cases, candidates, known, strict=True)):
            described = [self._describe(int(fold[row]), case, one) for one in some]
            near = [likeness(one.value, truth) + equal(one.value, truth) for one in some]
            x += [np.append(one, [row, self._is_good(c.value, truth)]) for one, c in zip(described, some, strict=True)]
            pairs = [(i, j) for i in range(len(some)) for j in range(len(some)) if near[i] > near[j]]
            gained += [(row, described[i] - described[j]) for i, j in pairs]
        if len(gained) < FEWEST:
            raise InputError(
                f"The candidates differ from each other, one nearer to the known label, in {len(gained)} pairs: "
                f"a judge that learns needs at least {FEWEST}."
            )
        table, gaps = np.array(x), np.array([gap for _, gap in gained])
        rows = np.array([row for row, _ in gained])
        self._pair, self._single = [], []
        for at in range(self.folds + 1):  # the last has seen every known row
            keep = fold[rows] != at if at < self.folds else np.ones(len(rows), dtype=bool)
            self._pair.append(self._fit_pair(gaps[keep]))
            seen = table[fold[table[:, -2].astype(np.int64)] != at] if at < self.folds else table
            self._single.append(self._fit_single(seen[:, :-2], seen[:, -1]))
        self._fold = {case.row: int(at) for case, at in zip(cases, fold, strict=True)}
        self._described = lru_cache(maxsize=256)(self._of)
        return self

    def compare(self, case: Case, first: Candidate, second: Candidate) -> Answer:
        """The likelier better label."""
        gap = self._described(case, first) - self._described(case, second)
        p = float(self._pair[self._at(case)].predict_proba(gap[None])[0, 1])
        said = FIRST if p >= self.sure and p > 0.5 else SECOND if 1 - p >= self.sure and p < 0.5 else UNSURE
        return Answer(said, f"chance that the first is better {p:.3f}", _logit(p))

    def check(self, case: Case, candidate: Candidate) -> Answer:
        """Whether the label is good."""
        model = self._single[self._at(case)]
        p = (
            model
            if isinstance(model, float)
            else float(model.predict_proba(self._described(case, candidate)[None])[0, 1])
        )
        said = GOOD if p >= self.sure else BAD if p <= 1 - self.sure else UNSURE
        return Answer(said, f"chance to be good {p:.3f}", _logit(p))

    def present(self, case: Case) -> Answer:
        """Unsure: it has learned about labels, not about rows."""
        del case
        return Answer(UNSURE)

    def _at(self, case: Case) -> int:
        return self._fold.get(case.row, self.folds)

    def _of(self, case: Case, candidate: Candidate) -> Floats:
        return self._describe(self._at(case), case, candidate)

    def _describe(self, at: int, case: Case, candidate: Candidate) -> Floats:
        source = np.zeros(self._n_sources)
        if 0 <= candidate.source < self._n_sources:
            source[candidate.source] = 1.0
        x = self._features[at].of(case, candidate.value)
        return np.concatenate([x, self._usual[at].surprise(x), source, [candidate.support]])

    def _is_good(self, value: Any, truth: Any) -> float:
        level = self.good if self.good is not None else 0.8 if isinstance(value, np.ndarray) else None
        return float(equal(value, truth) if level is None else likeness(value, truth) >= level)

    def _fit_pair(self, gaps: Floats) -> Any:
        both, y = np.concatenate([gaps, -gaps]), np.repeat([1, 0], len(gaps))
        regression = LogisticRegression(C=self.strength, fit_intercept=False, max_iter=500)
        return make_pipeline(StandardScaler(with_mean=False), regression).fit(both, y)

    def _fit_single(self, x: Floats, y: Floats) -> Any:
        """The model of good labels; where all or none are good, a chance by Laplace's rule."""
        if len(np.unique(y)) < 2:
            return float((y.sum() + 1) / (len(y) + 2))
        return make_pipeline(StandardScaler(), LogisticRegression(C=self.strength, max_iter=500)).fit(x, y)


def _logit(p: float) -> float:
    return float(np.log(max(p, 1e-9)) - np.log(max(1 - p, 1e-9)))

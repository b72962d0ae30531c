"""Which preference pairs look flipped: a reward learned from the other pairs ranks the rejected answer higher.

Each pair is judged by a Bradley-Terry model with a linear score, fitted to the pairs of the other folds, in which pairs
of one prompt stay together. The features are words and word pairs of the answers, and how long they are and whether
they ask back; more can be given, such as embeddings. The ridge penalty is chosen by the likelihood of held-out labels.

    P(first is better) = sigmoid(w . (f(first) - f(second))),   margin = w . (f(chosen) - f(rejected))

A margin below zero says that the label is more likely wrong than right, as far as the features see. They see little:
on hh-rlhf such a reward agrees with held-out people in about six pairs of ten, so the list is where to look first, and
no verdict. `docs/align/sparse_po.md` has how well planted flips are found.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from assay.errors import InputError
from assay.kernels.intervals import wilson
from assay.language.pair_data import Pair, read_pairs, text_of
from assay.training.folds import assign_folds, check_splits

Floats = npt.NDArray[np.float64]
STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0)


class PairAudit(BaseEstimator):  # type: ignore[misc]
    """Doubts about preference labels.

    Parameters
    ----------
    n_splits : folds.
    random_state : seed of the folds.

    Attributes
    ----------
    margin_ : (n,) held-out margins; nan where both answers are the same or one has no word.
    p_flipped_ : (n,) the model's probability that the other answer is better.
    accuracy_, interval_ : share of the pairs that held-out margins rank as labelled, and its 95 % interval.
    C_ : inverse strength of the penalty that was chosen.

    >>> pairs = [{"prompt": str(i), "chosen": "yes of course", "rejected": "no way"} for i in range(20)]
    >>> pairs[3] = {"prompt": "3", "chosen": "no way", "rejected": "yes of course"}
    >>> int(PairAudit(n_splits=4).fit(pairs).margin_.argmin())
    3
    """

    def __init__(self, n_splits: int = 5, random_state: int = 0) -> None:
        self.n_splits = n_splits
        self.random_state = random_state

    def fit(self, pairs: Path | str | Iterable[Pair], y: Any = None, *, features: Any = None) -> Self:
        """Judge every pair by the others.

        Parameters
        ----------
        pairs : see `read_pairs`.
        y : ignored.
        features : (n, d) chosen less rejected of any further features, each about as wide as one standard deviation.
        """
        del y
        read = read_pairs(pairs)
        answers = [(text_of(pair["chosen"]).strip(), text_of(pair["rejected"]).strip()) for pair in read]
        told = np.array([bool(a and b and a != b) for a, b in answers])
        check_splits(self.n_splits, told, None)
        rows = np.flatnonzero(told)
        apart = differences([answers[row] for row in rows])
        if features is not None:
            more = np.asarray(features, dtype=np.float64)
            if more.shape[:1] != (len(read),):
                raise InputError(f"Features have shape {more.shape}: give one row for each of {len(read)} pairs.")
            apart = sparse.hstack([apart, sparse.csr_array(more[rows])]).tocsr()
        prompts = np.array([text_of(read[row]["prompt"]) or f"pair {row}" for row in rows], dtype=object)
        fold = assign_folds(
            np.zeros(len(rows), np.int64), self.n_splits, random_state=self.random_state, groups=prompts
        )
        margins = np.stack([held_out(apart, fold, strength) for strength in STRENGTHS])
        best = int(np.logaddexp(0.0, -margins).mean(1).argmin())
        self.C_, self.margin_ = STRENGTHS[best], np.full(len(read), np.nan)
        self.margin_[rows] = margins[best]
        self.p_flipped_ = 1 / (1 + np.exp(self.margin_))
        right = float((margins[best] > 0).sum() + 0.5 * (margins[best] == 0).sum())
        low, high = wilson(right, len(rows))
        self.accuracy_, self.interval_ = right / len(rows), (float(low), float(high))
        return self

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """One entry a pair: row, margin, p_flipped."""
        return {"row": np.arange(len(self.margin_)), "margin": self.margin_, "p_flipped": self.p_flipped_}


def differences(answers: list[tuple[str, str]]) -> Any:
    """Features of the chosen less those of the rejected answer (n, d), sparse."""
    chosen, rejected = (list(column) for column in zip(*answers, strict=True))
    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"(?u)\w+|[^\w\s]")
    words.fit(chosen + rejected)
    plain = np.array([_shape(a) - _shape(b) for a, b in answers])
    plain /= np.maximum(plain.std(0), 1e-12)
    return sparse.hstack([words.transform(chosen) - words.transform(rejected), sparse.csr_array(0.3 * plain)]).tocsr()


def _shape(answer: str) -> Floats:
    return np.array([np.log1p(len(answer)), np.log1p(answer.count("?")), np.log1p(answer.count("\n"))])


def held_out(apart: Any, fold: npt.NDArray[np.int32], strength: float) -> Floats:
    """Margins (n,) of differences (n, d), each by a model that did not see the pair's fold."""
    margin = np.zeros(len(fold))
    for part in np.unique(fold):
        train = apart[fold != part]
        both, label = sparse.vstack([train, -train]), np.arange(2 * train.shape[0]) < train.shape[0]
        model = LogisticRegression(C=strength, fit_intercept=False, max_iter=300, tol=1e-3).fit(both, label)
        margin[fold == part] = apart[fold == part] @ model.coef_[0]
    return margin

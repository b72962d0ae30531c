"""Memorization: which labels does a model get right only because it saw them, and what are they worth to other rows?

Rows that a model fits only when it has seen them are wrong, ambiguous, or rare. Rare ones are worth the memory, for
others like them depend on it; wrong ones help nobody. Whatever makes a model forget (pruning, few bits, privacy) takes
from the rare ones first.

Papers: Feldman, "Does Learning Require Memorization? A Short Tale about a Long Tail", STOC 2020, arXiv 1906.05271;
estimator of Feldman and Zhang, "What Neural Networks Memorize and Why", NeurIPS 2020, arXiv 2008.03703. Train t models
on random subsets with a share m / n of the rows, each row being in (M) or out of a subset, and each model right (C)
about a training row, or right (E) about a test row, or not:

    mem_i  = mean of C_i over models with i   -  mean of C_i over models without i
    infl_ij = mean of E_j over models with i  -  mean of E_j over models without i       high: i is what tells j

When to use: to tell rare rows from wrong ones among the suspects of an audit; to see which training rows a test row
leans on; to know whom a smaller or a private model will fail (`assay.kernels.long_tail.tail_cost`). When not: an order
of the suspects is all you want (confident learning gives it for 5 models, not 512), or copies of rows stand apart (a
copy covers for a row that is left out: name the copies in `groups`). Memorization is a property of the learner: a stiff
one, such as a linear head on few features, memorises nothing, wrong labels neither. Suspicion is therefore the share of
models without the row that contradict its label, which needs no memory.

Departures: standard errors and 95 % intervals after Agresti and Caffo (2000), as shares of 0 and 1 are not certain;
they speak of the luck of the subsets, not of sets of n rows rather than m. Subsets are dealt so that each row is left
out equally often; one that still is in or out too seldom is NaN, not 0. Models are seeded apart from the subsets. What
they say is counted as bits. By default a model is a ridge head on features standardised over all rows. Two learners
need no subsets: ridge without one row (`leave_one_out`), and the nearest neighbour (`nearest_neighbour`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, clone
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from assay.errors import InputError
from assay.kernels.subset_counts import LEAST, WORD, contrast, influence, pack
from assay.kernels.subset_heads import logistic_heads, nearest_without, ridge_heads, ridge_leave_one_out
from assay.labels.checks import as_reals, same_length

METHOD = {
    "name": "memorization",
    "title": "Memorization and influence",
    "paper": "Feldman, Zhang, 2020, What Neural Networks Memorize and Why: Discovering the Long Tail via Influence "
    "Estimation",
    "arxiv": "2008.03703",
    "accepts": ["hard"],
    "gives": ["memorization", "influence", "suspects"],
    "command": "from assay.audit.memorization import Memorization",
    "claim": "On digits with 5 % of the labels flipped, memorization tells the flipped ones with an AUROC of at least "
    "0.99, and its 95 % intervals hold the exact value of nearest neighbours.",
    "status": "stable",
}

MEMORISED = 0.25  # from here on a row counts as memorised (Feldman and Zhang)
INFLUENTIAL = 0.15  # and a pair as one of high influence
HEADS = {"ridge": ridge_heads, "logistic": logistic_heads}
_BLOCK = 4_000_000  # influences held at a time

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Columns = dict[str, Array]


def left_out(n_units: int, size: int, rng: np.random.Generator) -> Iterator[Ints]:
    """Units (size,) to leave out, again and again: each time a random set, and over time each unit equally often."""
    rest = np.zeros(0, np.int64)
    while True:
        if len(rest) < size:
            fresh = rng.permutation(n_units)
            rest = np.concatenate([rest, fresh[np.argsort(np.isin(fresh, rest), kind="stable")]])  # no unit twice
        yield rest[:size]
        rest = rest[size:]


def leave_one_out(X: npt.ArrayLike, y: npt.ArrayLike, alpha: float = 1.0) -> Columns:
    """Exact memorization by a ridge classifier: no subsets, one solve, O(n d^2) time and O(n d) memory.

    Parameters
    ----------
    X : features (n, d), standardised here.
    y : classes (n,).
    alpha : penalty.

    Returns
    -------
    `memorization` (n,), right with the row less right without it, -1, 0 or 1; `margin` (n,), by which the score of the
    best other class exceeds that of the given one when the row is left out: higher = more suspicious.

    >>> told = leave_one_out([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]], [0, 0, 1, 1, 1, 1])
    >>> int(told["margin"].argmax())
    2
    """
    features, codes, classes = _checked(X, y)
    within, without = ridge_leave_one_out(_frozen(features, len(codes)), codes, len(classes), alpha)
    own = np.arange(len(codes)), codes
    right = [(scores.argmax(axis=1) == codes).astype(np.int64) for scores in (within, without)]
    given = without[own]
    without[own] = -np.inf
    return {"memorization": right[0] - right[1], "margin": without.max(axis=1) - given}


def nearest_neighbour(X: npt.ArrayLike, y: npt.ArrayLike, share: float = 0.7, n_neighbors: int = 32) -> Floats:
    """Exact memorization (n,) by the nearest neighbour at subsets of a `share` of the rows; no model is trained.

    With the row it is always right; without it, as often as the nearest of the rows present agrees.

    >>> nearest_neighbour([[0.0], [0.1], [0.3], [5.0], [5.1], [5.3]], [0, 0, 1, 1, 1, 1]).round(2).tolist()
    [0.2, 0.2, 1.0, 0.0, 0.0, 0.0]
    """
    rows, codes, _ = _checked(X, y)
    j = min(n_neighbors, len(codes) - 1)
    near = NearestNeighbors(n_neighbors=j).fit(rows).kneighbors(return_distance=False)
    return 1 - nearest_without(near, codes, round(share * len(codes)))


class Memorization(BaseEstimator):  # type: ignore[misc]
    """Memorization of every training row, and the pairs of training and test rows with high influence.

    Parameters
    ----------
    model : "ridge" or "logistic", a linear head on `X` as features, or any scikit-learn classifier, which a network
        from `assay.training.deep.estimator` is too (give it `validation=0`).
    alpha : penalty of the heads.
    n_models : t, models trained. The standard error is at most 0.5 / sqrt(share (1 - share) n_models).
    share : m / n, share of the rows (or groups) in each subset.
    random_state : seed.
    n_jobs : processes that train classifiers, as in scikit-learn; heads need none.

    Attributes
    ----------
    memorization_, se_, low_, high_ : (n,) the estimate, its standard error and 95 % interval; NaN where a row was in
        or out of fewer than 30 subsets.
    correct_in_, correct_out_ : (n,) share of the models with and without the row that are right about its label.
    memorised_ : (n,) where the interval lies above 0.25: the row can only be memorised.
    pairs_ : pairs of high influence, strongest first: `train_row`, `test_row`, `influence`, and `low` and `high` of it.
    inside_, right_, tested_ : bits (n, w), (n, w) and (q, w) of the models, see `assay.kernels.subset_counts`.

    Time is that of the models; memory 2 n w words of 8 bytes with w = n_models / 64, and about 1 kB a row.

    >>> X = np.hstack([np.repeat(np.eye(3), 20, axis=0), np.eye(60)])
    >>> y = np.repeat([0, 1, 2], 20)
    >>> y[0] = 2
    >>> Memorization().fit(X, y).memorization_.argmax()
    np.int64(0)
    """

    def __init__(
        self,
        model: Any = "ridge",
        alpha: float = 1.0,
        n_models: int = 512,
        share: float = 0.7,
        random_state: int = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.model = model
        self.alpha = alpha
        self.n_models = n_models
        self.share = share
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(
        self,
        X: Any,
        y: npt.ArrayLike,
        groups: npt.ArrayLike | None = None,
        test: tuple[Any, npt.ArrayLike] | None = None,
        on_models: Callable[[int, int], None] | None = None,
    ) -> Self:
        """Train the models and count.

        Parameters
        ----------
        X : rows (n, d); for a classifier of your own anything that it takes and numpy can index.
        y : classes (n,).
        groups : (n,) rows that are in or out of a subset together, such as copies.
        test : rows (q, d) and their classes (q,), whose right answers may depend on training rows.
        on_models : called as `on_models(trained, all)`.
        """
        heads = isinstance(self.model, str)
        if not 0 < self.share < 1 or self.n_models * min(self.share, 1 - self.share) < LEAST - 1e-9:
            raise InputError(
                f"With {self.n_models} models and a share of {self.share}, no row is in and out of {LEAST} subsets: "
                "take a share within 0..1, and more models, such as 100 for 0.7."
            )
        if (heads and self.model not in HEADS) or not (heads or hasattr(self.model, "predict")):
            raise InputError(f"The model is {self.model!r}: expected {' or '.join(HEADS)}, or a classifier.")
        rows, codes, self.classes_ = _checked(X, y, numbers=heads)
        n, truth = len(codes), self.classes_[codes]
        self._given = truth
        if test is not None:
            rows = np.concatenate([rows, _checked(*test, numbers=heads)[0]])
            truth = np.concatenate([truth, np.asarray(test[1])])
        if heads:
            rows = _frozen(rows, n)
        unit = np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
        same_length("memorization", n, groups=unit)
        for_subsets, for_models = np.random.SeedSequence(self.random_state).spawn(2)
        seeds, n_units = for_models.generate_state(self.n_models), int(unit.max()) + 1
        dealt = left_out(n_units, n_units - round(self.share * n_units), np.random.default_rng(for_subsets))
        inside, right = [], []
        for start in range(0, self.n_models, WORD):
            size = min(WORD, self.n_models - start)
            members = np.stack([~np.isin(unit, next(dealt)) for _ in range(size)])
            said = self._answers(rows, codes, members, seeds[start : start + size])
            inside.append(pack(members))
            right.append(pack(self.classes_[said] == truth))
            if on_models is not None:
                on_models(start + size, self.n_models)
        self.inside_, known = np.hstack(inside), np.hstack(right)
        self.right_, self.tested_ = known[:n], known[n:]
        told = contrast(self.right_, self.inside_, self.n_models)
        self.memorization_, self.se_, self.low_, self.high_ = (told[name] for name in ("value", "se", "low", "high"))
        self.correct_in_, self.correct_out_ = told["correct_in"], told["correct_out"]
        self.memorised_ = self.low_ > MEMORISED
        self.pairs_ = self._pairs()
        return self

    def _answers(self, X: Any, y: Ints, members: Bools, seeds: Array) -> Ints:
        """Codes (b, n + q) that the models say, one trained on each subset of the first n rows."""
        if isinstance(self.model, str):
            W = HEADS[self.model](X[: len(y)], y, len(self.classes_), members, self.alpha)
            return np.stack([(X @ weights).argmax(axis=1) for weights in W])
        made = [_seeded(self.model, int(seed)) for seed in seeds]
        pool, jobs = Parallel(n_jobs=self.n_jobs), zip(made, members, strict=True)
        return np.stack(pool(delayed(_answer)(model, X, y, chosen) for model, chosen in jobs))

    def _pairs(self) -> Columns:
        """Influences of at least 0.15 of rows whose memorization is at least 0.25, as the paper counts them."""
        able = np.flatnonzero(self.memorization_ >= MEMORISED)
        inside, step = self.inside_[able], max(1, _BLOCK // max(len(able), 1))
        strong: list[tuple[Ints, Ints]] = [(np.zeros(0, np.int64),) * 2]
        for start in range(0, len(self.tested_), step):
            found = influence(self.tested_[start : start + step], inside, self.n_models) >= INFLUENTIAL
            at, by = np.nonzero(found)
            strong.append((at + start, able[by]))
        test_row, train_row = (np.concatenate(part) for part in zip(*strong, strict=True))
        told = contrast(self.tested_[test_row], self.inside_[train_row], self.n_models)
        order = np.argsort(-told["value"], kind="stable")
        table: Columns = {"train_row": train_row, "test_row": test_row, "influence": told["value"]}
        return {name: column[order] for name, column in {**table, "low": told["low"], "high": told["high"]}.items()}

    def evidence(self) -> Columns:
        """One entry a training row; higher `suspect` = more likely wrong, and `helps` speaks for a row.

        `suspect` is the share of models without the row that contradict its label, `helps` the number of test rows on
        which its influence is surely high (the interval lies above 0.15): a memorised row that helps others is rare
        rather than wrong; one that helps nobody may be either.
        """
        check_is_fitted(self, "memorization_")
        n, surely = len(self._given), self.pairs_["low"] > INFLUENTIAL
        return {
            "row": np.arange(n),
            "given": self._given,
            "suspect": 1 - self.correct_out_,
            "memorization": self.memorization_,
            "se": self.se_,
            "low": self.low_,
            "high": self.high_,
            "correct_in": self.correct_in_,
            "correct_out": self.correct_out_,
            "memorised": self.memorised_,
            "helps": np.bincount(self.pairs_["train_row"][surely], minlength=n),
        }


def _checked(X: Any, y: npt.ArrayLike, numbers: bool = True) -> tuple[Any, Ints, Array]:
    """Rows, codes (n,) and classes (k,)."""
    rows = as_reals(X, "Features", ndim=2) if numbers else np.asarray(X)
    given = np.asarray(y)
    if given.ndim != 1 or not rows.ndim or len(given) != len(rows) or not len(given):
        raise InputError(f"Labels are {given.shape} and rows {rows.shape}: give dense rows, and one class a row.")
    classes, codes = np.unique(given, return_inverse=True)
    return rows, codes.astype(np.int64), classes


def _frozen(X: Floats, n: int) -> Floats:
    """Features, with mean 0 and deviation 1 over the first n rows, and a column of ones."""
    scale = X[:n].std(axis=0)
    return np.column_stack([(X - X[:n].mean(axis=0)) / np.where(scale > 0, scale, 1.0), np.ones(len(X))])


def _seeded(model: Any, seed: int) -> Any:
    """A copy with a seed of its own, wherever it takes one."""
    names = [name for name in model.get_params() if name.split("__")[-1] == "random_state"]
    return clone(model).set_params(**dict.fromkeys(names, seed % 2**31))


def _answer(model: Any, X: Any, y: Ints, members: Bools) -> Ints:
    """Codes (n + q,) that a model says after training on the members of the first n rows."""
    return np.asarray(model.fit(X[: len(y)][members], y[members]).predict(X), dtype=np.int64)

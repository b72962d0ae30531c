"""Benchmark stability: would the ranking of models survive if the wrong test labels were mended?

A test set with wrong labels can crown the wrong model. Given the predictions of several models, the labels as they
stand and the labels as people corrected them, this says what each model scores on both, which pairs change places, and
how common label errors would have to be for a pair to change places.

Paper: Northcutt, Athalye, Mueller (2021), Pervasive Label Errors in Test Sets Destabilize Machine Learning Benchmarks.
Rows are benign (B), correctable (C) or unknown (dropped). With a = accuracy on B, c = accuracy on C with corrected
labels, o = accuracy on C with given labels, and N = |C| / (|B| + |C|) raised by discarding benign rows at random:

    acc_corrected(N) = (1 - N) a + N c        acc_given(N) = (1 - N) a + N o
    crossover of models 1 and 2:  N* = (a1 - a2) / ((a1 - a2) + (c2 - c1)), reported as N* - N0, N0 the actual N

Use it when people have reviewed the suspected labels of a test set; not with corrections made by one of the models,
which favour that model. Errors that nobody reviewed count as benign, so N0 is a lower bound.

Departure: the paper gives no intervals, and |C| is small (18 rows of CIFAR-10). Here rows are resampled within B and
within C together with two imaginary rows that the models answer by lot, because ten rows on which two models agree do
not prove that they always would (the plain bootstrap is then certain, and wrong). The interval of N* holds every N at
which the resampled lines do not agree on who leads: the percentile interval, extended to draws that never cross.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata
from sklearn.base import BaseEstimator

from assay.errors import InputError
from assay.kernels.intervals import wilson
from assay.labels.checks import as_integers, as_reals, same_length

METHOD = {
    "name": "stability",
    "title": "Benchmark stability",
    "paper": "Northcutt, Athalye, Mueller, 2021, Pervasive Label Errors in Test Sets Destabilize ML Benchmarks",
    "arxiv": "2103.14749",
    "accepts": ["hard", "soft"],
    "gives": ["ranking", "crossover prevalence"],
    "command": "assay stability TABLE --given COL --corrected COL",
    "claim": "The interval of the crossover prevalence holds the true one in at least 95 % of planted benchmarks.",
    "status": "stable",
}

STATUS = ("benign", "correctable", "unknown")
PAIR_COLUMNS = (
    *("leader", "follower", "gap_given", "gap_corrected", "flips", "p_flip", "crossover", "crossover_low"),
    *("crossover_high", "distance", "distance_low", "distance_high", "p_crossing"),
)
Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Columns = dict[str, Array]


def derive_status(given: Array, corrected: Array) -> npt.NDArray[np.str_]:
    """Status `(n,)`: unknown where `corrected` is masked, benign where both labels agree, else correctable."""
    status = np.where(given == np.ma.getdata(corrected), STATUS[0], STATUS[1])
    return np.where(np.ma.getmaskarray(corrected), STATUS[2], status)


def crossover(start: Floats, end: Floats) -> Floats:
    """Where a gap that runs straight from `start` at N = 0 to `end` at N = 1 changes sign; NaN where it never does."""
    crosses = start * end < 0
    return np.where(crosses, start / np.where(crosses, start - end, 1.0), np.nan)


def resample(outcomes: npt.NDArray[np.int8], kinds: int, n_bootstrap: int, rng: np.random.Generator) -> Floats:
    """Shares `(b, m, kinds)` of each outcome among r rows drawn from `outcomes` `(r, m)` and two imaginary rows.

    Rows with the same outcomes are drawn together, so the cost grows with the number of distinct rows.
    """
    r, m = outcomes.shape
    patterns, counts = np.unique(outcomes, axis=0, return_counts=True)  # (p, m), (p,)
    weights = np.append(counts, 2) / (r + 2)
    shares = np.empty((n_bootstrap, m, kinds))
    block = max(1, 4_000_000 // len(weights))
    for first in range(0, n_bootstrap, block):
        drawn = rng.multinomial(r, weights, size=min(block, n_bootstrap - first))  # (b, p + 1)
        lots = rng.multinomial(drawn[:, -1:], np.full(kinds, 1 / kinds), size=(len(drawn), m))  # (b, m, kinds)
        real = np.stack([drawn[:, :-1].astype(float) @ (patterns == kind) for kind in range(kinds)], axis=2)
        shares[first : first + len(drawn)] = (real + lots) / r
    return shares


def crossing_interval(leads: Floats, crossing: Floats, domain: tuple[float, float], alpha: float) -> tuple[float, ...]:
    """Smallest interval that holds every place in `domain` where the draws do not agree on the sign of the gap.

    `leads` `(b,)` is the sign of each draw's gap at the left end; `crossing` `(b,)` is where it changes, NaN for never.
    They agree where a share of at least 1 - alpha / 2 has one sign. Returns (NaN, NaN) where they agree everywhere.
    """
    order = np.argsort(crossing)[: int(np.sum(~np.isnan(crossing)))]  # NaN sorts last
    steps = np.concatenate([[np.sum((leads + 1) / 2)], -leads[order]])
    share = np.cumsum(steps) / len(leads)  # of draws with a positive gap, on each stretch between two crossings
    edges = np.concatenate([[domain[0]], np.clip(crossing[order], *domain), [domain[1]]])
    open_stretch = (share >= alpha / 2) & (share <= 1 - alpha / 2) & (edges[:-1] < edges[1:])
    if not open_stretch.any():
        return float("nan"), float("nan")
    found = np.flatnonzero(open_stretch)
    return float(edges[found[0]]), float(edges[found[-1] + 1])


def kendall(x: Array, y: Array) -> Floats:
    """Kendall's tau-b `(b,)` between the rows of `x` and `y` `(b, m)`; NaN where a row is one single tie."""
    i, j = np.triu_indices(x.shape[1], 1)
    sx, sy = np.sign(x[:, i] - x[:, j]), np.sign(y[:, i] - y[:, j])  # (b, pairs)
    scale = np.sqrt((sx != 0).sum(axis=1) * (sy != 0).sum(axis=1))
    return np.where(scale > 0, (sx * sy).sum(axis=1) / np.where(scale > 0, scale, 1), np.nan)


def compare_pair(start: Floats, end: Floats, drawn: Floats, n0: float, alpha: float) -> tuple[float, ...]:
    """Bounds of N*, bounds of N* - N0 and share of crossings; gaps at N = 0 and N = 1 and N0 as drawn, `(b,)` each."""
    leads, crossing = np.where(start == 0, np.sign(end), np.sign(start)), crossover(start, end)
    reach = crossing_interval(leads, crossing, (0.0, 1.0), alpha)
    away = crossing_interval(leads, crossing - drawn, (-n0, 1 - n0), alpha)
    return (*reach, *away, float(np.mean(~np.isnan(crossing))))


class Stability(BaseEstimator):  # type: ignore[misc]
    """Accuracies on given and corrected labels, ranks before and after, and the crossover of every pair of models.

    Parameters
    ----------
    n_bootstrap, alpha, random_state : resamples, one minus the level of the intervals, and seed.

    Attributes
    ----------
    n_benign_, n_correctable_, n_unknown_ : rows of each status. Quote no accuracy on C without `n_correctable_`.
    prevalence_, prevalence_interval_ : N0, the share of correctable rows among those kept, and its Wilson interval.
    ranking_ : one entry per model, best on corrected labels first (see `evidence`); `_low` and `_high` are 95 % bounds.
    pairs_ : one entry per pair of models, `leader` being ahead on the given labels (or first named, when tied):
        `gap_given`, `gap_corrected`, `flips`, `p_flip`, `crossover`, `distance` = crossover - N0, their `_low` and
        `_high`, and `p_crossing`, the share of resamples whose lines cross at all. Prevalences are shares in [0, 1].
    kendall_, kendall_interval_ : Kendall's tau-b of the two rankings, and its bootstrap interval.
    p_winner_changes_ : share of resamples with another model in front after the correction.
    sentence_ : does it matter, in one sentence.

    >>> import numpy as np
    >>> given = np.array([0] * 90 + [1] * 10)
    >>> corrected = np.zeros(100, dtype=int)
    >>> parrot, honest = given.copy(), np.array([1] * 5 + [0] * 95)
    >>> stability = Stability().fit(given, corrected, {"parrot": parrot, "honest": honest})
    >>> stability.ranking_["model"].tolist(), round(float(stability.pairs_["crossover"][0]), 3)
    (['honest', 'parrot'], 0.053)
    """

    def __init__(self, n_bootstrap: int = 2000, alpha: float = 0.05, random_state: int = 0) -> None:
        self.n_bootstrap = n_bootstrap
        self.alpha = alpha
        self.random_state = random_state

    def fit(
        self,
        given: npt.ArrayLike,
        corrected: npt.ArrayLike,
        predictions: Mapping[str, npt.ArrayLike],
        status: npt.ArrayLike | None = None,
    ) -> Self:
        """Compare the models.

        Parameters
        ----------
        given, corrected : class codes (n,); a masked array may mask the corrected labels on which nobody agreed.
        predictions : for each model, class codes (n,) or probabilities (n, k), of which the largest counts.
        status : "benign", "correctable" or "unknown" for each row (n,); by default derived from the two labels.
        """
        y, z, kept, codes = _checked(given, corrected, predictions, status)
        on_b, on_c = kept == STATUS[0], kept == STATUS[1]
        names, said = np.array(list(codes)), np.column_stack(list(codes.values()))  # (m,), (n, m)
        b_right = (said[on_b] == y[on_b, None]).astype(np.int8)
        c_outcome = (said[on_c] == y[on_c, None]) + 2 * (said[on_c] == z[on_c, None]).astype(np.int8)
        right_b, right_o, right_c = b_right.sum(0, int), (c_outcome == 1).sum(0, int), (c_outcome == 2).sum(0, int)
        best_first = np.lexsort((-right_o, -right_c - right_b))
        names, right_b, right_o, right_c = (x[best_first] for x in (names, right_b, right_o, right_c))
        n_b, n_c, n = len(b_right), len(c_outcome), len(b_right) + len(c_outcome)
        self.n_benign_, self.n_correctable_, self.n_unknown_, self.prevalence_ = n_b, n_c, len(y) - n, n_c / n
        low, high = wilson(n_c, n, 1 - self.alpha)
        self.prevalence_interval_ = (float(low), float(high))

        rng = np.random.default_rng(self.random_state)
        drawn_b = resample(b_right[:, best_first], 2, self.n_bootstrap, rng)  # (b, m, wrong or right)
        drawn_c = resample(c_outcome[:, best_first], 3, self.n_bootstrap, rng)  # (b, m, other or given or corrected)
        self.draws_ = {"benign": drawn_b[:, :, 1], "given": drawn_c[:, :, 1], "corrected": drawn_c[:, :, 2]}
        drawn_n0 = rng.binomial(n, n_c / n, self.n_bootstrap) / n
        sizes = {"given": n, "corrected": n, "benign": n_b, "correctable_corrected": n_c, "correctable_given": n_c}
        right = dict(zip(sizes, (right_b + right_o, right_b + right_c, right_b, right_c, right_o), strict=True))
        drawn = {x: _at(self.draws_["benign"], self.draws_[x], drawn_n0[:, None]) for x in ("given", "corrected")}
        self._rank(names, right, sizes, drawn)
        self._compare(names, right, drawn, drawn_n0)
        self.sentence_ = self._sentence()
        return self

    def _rank(self, names: npt.NDArray[np.str_], right: Columns, sizes: dict[str, int], drawn: Columns) -> None:
        """The table of models; whole rows are compared, so that ties are exact."""
        table: Columns = {"model": names}
        for column, size in sizes.items():
            table[column] = right[column] / size
            table[f"{column}_low"], table[f"{column}_high"] = wilson(right[column], size, 1 - self.alpha)
        for side in ("given", "corrected"):
            ranks = rankdata(-drawn[side], method="min", axis=1)
            low, high = np.quantile(ranks, [self.alpha / 2, 1 - self.alpha / 2], axis=0, method="inverted_cdf")
            table[f"rank_{side}"] = rankdata(-right[side], method="min").astype(np.int64)
            table[f"rank_{side}_low"], table[f"rank_{side}_high"] = low.astype(np.int64), high.astype(np.int64)
        self.ranking_ = table

    def _compare(self, names: npt.NDArray[np.str_], right: Columns, drawn: Columns, n0: Array) -> None:
        """Flips, crossovers and Kendall's tau; a loop over the pairs, each vectorised over the draws."""
        n, before, after = self.n_benign_ + self.n_correctable_, right["given"], right["corrected"]
        a, c = self.ranking_["benign"], self.ranking_["correctable_corrected"]
        resampled = (self.draws_["benign"], self.draws_["corrected"], drawn["given"], drawn["corrected"])
        rows: list[tuple[Any, ...]] = []
        for i, j in combinations(np.argsort(-before, kind="stable"), 2):
            was, now = before[i] - before[j], after[i] - after[j]
            point = float(crossover(a[i] - a[j], c[i] - c[j]))
            start, end, drawn_was, drawn_now = (x[:, i] - x[:, j] for x in resampled)
            low, high, away_low, away_high, crosses = compare_pair(start, end, n0, self.prevalence_, self.alpha)
            gaps = (was / n, now / n, bool(was * now < 0), float(np.mean(drawn_was * drawn_now < 0)))
            distance = (point - self.prevalence_, away_low, away_high)
            rows.append((names[i], names[j], *gaps, point, low, high, *distance, crosses))
        self.pairs_ = {column: np.array([row[at] for row in rows]) for at, column in enumerate(PAIR_COLUMNS)}
        self.kendall_ = float(kendall(before[None], after[None])[0])
        taus = kendall(drawn["given"], drawn["corrected"])
        taus = taus[~np.isnan(taus)] if not np.isnan(taus).all() else taus
        self.kendall_interval_ = tuple(map(float, np.quantile(taus, [self.alpha / 2, 1 - self.alpha / 2])))
        self.p_winner_changes_ = float(np.mean(drawn["given"].argmax(axis=1) != drawn["corrected"].argmax(axis=1)))

    def _sentence(self) -> str:
        ranking, flips = self.ranking_, self.pairs_["flips"]
        was, now = (" and ".join(ranking["model"][ranking[x] == 1]) for x in ("rank_given", "rank_corrected"))
        seen = f"{self.n_correctable_} correctable of {self.n_benign_ + self.n_correctable_} rows"
        seen = f"({seen}; another winner in {self.p_winner_changes_:.0%} of resamples)"
        if was != now:
            return f"Yes: first on the given labels is {was}, on the corrected ones {now} {seen}."
        if flips.any():
            return f"Partly: {now} stays first, but {flips.sum()} of {len(flips)} pairs of models swap {seen}."
        return f"No: {now} stays first and no pair of models swaps {seen}."

    def curves(self, points: int = 101) -> Columns:
        """Accuracy against prevalence, for a plot: p points on [0, 1], m models in the order of `ranking_`.

        Returns `prevalence` (p,), `model` (m,), `corrected` and `given` (m, p), and the pointwise bootstrap interval
        `corrected_low`, `corrected_high` (m, p).
        """
        grid = np.linspace(0, 1, points)
        table, level = self.ranking_, [self.alpha / 2, 1 - self.alpha / 2]
        drawn = zip(self.draws_["benign"].T, self.draws_["corrected"].T, strict=True)
        bounds = np.stack([np.quantile(_at(a[:, None], c[:, None], grid), level, axis=0) for a, c in drawn], axis=1)
        a, c, o = (table[x][:, None] for x in ("benign", "correctable_corrected", "correctable_given"))
        lines = {"corrected": _at(a, c, grid), "corrected_low": bounds[0], "corrected_high": bounds[1]}
        return {"prevalence": grid, "model": table["model"], "given": _at(a, o, grid), **lines}

    def evidence(self) -> Columns:
        """One row per model, best on corrected labels first: accuracies with Wilson intervals, and ranks."""
        return dict(self.ranking_)


def _at(on_b: Floats, on_c: Floats, prevalence: Floats) -> Floats:
    return (1 - prevalence) * on_b + prevalence * on_c


def _codes(what: str, values: npt.ArrayLike) -> Array:
    array = np.asarray(values)
    if array.ndim == 2:
        return as_reals(array, f"The probabilities of {what}", ndim=2).argmax(axis=1)  # type: ignore[no-any-return]
    return as_integers(array, f"The classes of {what}", dtypes=(np.int32, np.int64))


def _checked(
    given: npt.ArrayLike,
    corrected: npt.ArrayLike,
    predictions: Mapping[str, npt.ArrayLike],
    status: npt.ArrayLike | None,
) -> tuple[Array, Array, Array, Columns]:
    """The two labels, the status of every row, and the class code that each model said."""
    if not predictions:
        raise InputError("No model to compare: `predictions` must map at least one model's name to its predictions.")
    masked: Any = np.ma.asarray(corrected)
    y, z = _codes("`given`", given), _codes("`corrected`", masked.filled(0))
    codes = {str(name): _codes(f"model {name!r}", said) for name, said in predictions.items()}
    for name, said in codes.items():
        same_length(f"model {name!r}", len(y), predictions=said)
    same_length("the comparison", len(y), corrected=z)
    z = np.where(np.ma.getmaskarray(masked), y, z)  # nobody need repeat a label that was confirmed
    kept = derive_status(y, masked) if status is None else np.asarray(status)
    same_length("the comparison", len(y), status=kept)
    for wrong, says in (
        (~np.isin(kept, STATUS), f"Status must be one of {', '.join(STATUS)}."),
        ((kept == STATUS[0]) & (y != z), "A benign row has a corrected label that differs from the given one."),
        ((kept == STATUS[1]) & (y == z), "A correctable row has a corrected label equal to the given one."),
    ):
        if wrong.any():
            raise InputError(says, row=int(np.argmax(wrong)))
    for need in STATUS[:2]:
        if not (kept == need).any():
            raise InputError(f"No row is {need}, so accuracies on given and corrected labels cannot be compared.")
    return y, z, kept, codes

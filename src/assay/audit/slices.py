"""Slices where label errors gather: `workclass = Private and hours > 50` has four times the suspects of the rest.

Errors rarely fall evenly: one annotator, one source, one corner of the data. This searches all conditions on one or two
columns, keeps those that gather more suspects than chance explains, and drops the ones that say the same thing twice.

Paper: Chung, Kraska, Polyzotis, Tae, Whang (2019), Slice Finder. With m of n rows in a slice, w the suspicion of a row
(0 or 1, or the probability that its label is wrong), s its standard deviation, and w shuffled over the rows:

    z = (mean w in the slice - mean w) / (s sqrt((1/m)(1 - m/n) n/(n-1)))     p from a gamma with the skewness of z
    kept: p <= alpha / conditions tried, so that chance makes any slice at all with probability alpha

A slice of two conditions must also beat each of its two halves (by alpha / conditions that could be added).
Then the slice with the largest z is taken and its rows are put aside, until nothing that is left stands out.

Use it after an audit, on any columns, also ones that the model did not see (annotator, day, source); not as a cause,
with which the column may only travel.

Departure: the paper walks a lattice with t-tests and alpha-investing; one or two columns and a few bins can be tried
whole, the moments of a shuffle are exact, and a gamma keeps the level where suspects are rare. Not a false discovery
rate: hundreds of overlapping conditions find one true slice, loosen that threshold, and let false ones pass beside it.
Numbers are cut at quantiles. Cost: one histogram for each pair of columns; rows put aside are subtracted from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import special
from sklearn.base import BaseEstimator

from assay.errors import InputError
from assay.kernels.intervals import wilson
from assay.labels.checks import as_reals, same_length

METHOD = {
    "name": "slices",
    "title": "Slices where errors gather",
    "paper": "Chung, Kraska, Polyzotis, Tae, Whang, 2019, Slice Finder: Automated Data Slicing for Model Validation",
    "arxiv": "1807.06068",
    "accepts": ["soft"],
    "gives": ["slices"],
    "command": "from assay.audit.slices import Slices",
    "claim": "Finds planted slices, and on shuffled suspicions finds any in at most 5 % of data sets.",
    "status": "stable",
}

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Family = tuple[int, ...]  # one column or two
Found = list[tuple[str, npt.NDArray[np.bool_], float]]  # condition, rows that fulfil it (n,), p


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """The c conditions that are tried on one column of b bins."""

    codes: npt.NDArray[np.int64]  # (n,) bin of every row
    texts: tuple[str, ...]  # (c,) as a person reads them
    members: npt.NDArray[np.bool_]  # (c, b) whether a bin fulfils a condition


def conditions_of(name: str, column: Any, n_bins: int, max_values: int, min_rows: int) -> Conditions:
    """Bins and conditions of a column: values, or for numbers with many values half-lines and intervals of quantiles.

    Values rarer than `min_rows`, and all but the `max_values` most frequent ones, share a bin without a condition.
    """
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    kind = column.type
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_nan(column), None, column)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = column.drop_null().to_numpy(zero_copy_only=False).astype(np.float64)
        if len(np.unique(values[:: max(1, len(values) // 10_000)])) > n_bins:
            edges = np.quantile(values, np.arange(1, n_bins) / n_bins)
            return _number_conditions(name, column, np.unique([float(f"{edge:.4g}") for edge in edges]))
    elif pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_temporal(kind):
        raise InputError(
            f"Column {name!r} holds {kind}; slices are cut along text, booleans and numbers: convert it or drop it."
        )
    encoded = column if pa.types.is_dictionary(kind) else column.dictionary_encode()
    names = [str(value) for value in encoded.dictionary.to_pylist()]
    codes = encoded.indices.fill_null(len(names)).to_numpy(zero_copy_only=False).astype(np.int64)
    counts = np.bincount(codes, minlength=len(names) + 1)
    often = np.argsort(-counts, kind="stable")[:max_values]
    often = often[counts[often] >= min_rows]
    place = np.full(len(counts), len(often))
    place[often] = np.arange(len(often))
    texts = tuple(f"{name} is missing" if code == len(names) else f"{name} = {names[code]}" for code in often)
    return Conditions(place[codes], texts, np.eye(len(often), len(often) + 1, dtype=bool))


def _number_conditions(name: str, column: Any, edges: Floats) -> Conditions:
    missing = column.is_null().to_numpy(zero_copy_only=False)
    values = column.fill_null(0).to_numpy(zero_copy_only=False).astype(np.float64)
    bins = len(edges) + 1
    codes = np.where(missing, bins, np.searchsorted(edges, values))  # bin b holds edges[b - 1] < value <= edges[b]
    said = [f"{edge:.4g}" for edge in edges]
    texts, members = [f"{name} is missing"], [np.arange(bins + 1) == bins]
    for cut in range(1, bins):
        texts += [f"{name} <= {said[cut - 1]}", f"{name} > {said[cut - 1]}"]
        members += [np.arange(bins + 1) < cut, (np.arange(bins + 1) >= cut) & (np.arange(bins + 1) < bins)]
    for b in range(1, bins - 1):
        texts.append(f"{said[b - 1]} < {name} <= {said[b]}")
        members.append(np.arange(bins + 1) == b)
    return Conditions(codes.astype(np.int64), tuple(texts), np.array(members))


def chance(rows: Array, suspicion: Array, n: Any, mean: Any, spread: Any, skewness: Any) -> tuple[Floats, Floats]:
    """Z and p of slices with `rows` rows and summed `suspicion`, cut by chance from `n` rows with these moments."""
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (suspicion / rows - mean) / (spread * np.sqrt((1 / rows) * (1 - rows / n) * n / (n - 1)))
        tilt = skewness * (n - 2 * rows) / (n - 2) * np.sqrt((n - 1) / (rows * (n - rows)))
        shape = 4 / np.maximum(tilt**2, 1e-8)  # below that, gamma and normal agree to many digits
        right = special.gammaincc(shape, np.maximum(shape + z * np.sqrt(shape), 0))
        left = special.gammainc(shape, np.maximum(shape - z * np.sqrt(shape), 0))
    impossible = ~np.isfinite(z)
    p = np.where(impossible, 1.0, np.where(tilt >= 0, right, left))
    return np.where(impossible, -np.inf, z), p


class Histograms:
    """Rows and summed suspicion of every bin of one column, or of a pair of columns; rows put aside are subtracted."""

    def __init__(self, conditions: list[Conditions], suspicion: Floats, max_depth: int) -> None:
        self.conditions, self.suspicion = conditions, suspicion
        depths = range(1, min(max_depth, len(conditions)) + 1)
        families = [family for depth in depths for family in combinations(range(len(conditions)), depth)]
        self.bins = {family: self._count(family, slice(None)) for family in families}
        self.moments = self._moments(slice(None))

    def _count(self, family: Family, rows: Any) -> Floats:
        shape = tuple(self.conditions[column].members.shape[1] for column in family)
        at = self.conditions[family[0]].codes[rows]
        if len(family) == 2:
            at = at * shape[1] + self.conditions[family[1]].codes[rows]
        size = int(np.prod(shape))
        counts = [np.bincount(at, minlength=size), np.bincount(at, self.suspicion[rows], minlength=size)]
        return np.stack(counts).reshape(2, *shape).astype(np.float64)

    def _moments(self, rows: Any) -> Floats:
        w = self.suspicion[rows]
        return np.array([len(w), w.sum(), (w**2).sum(), (w**3).sum()])

    def put_aside(self, rows: npt.NDArray[np.int64], families: list[Family]) -> None:
        """Subtract rows; only these families are kept up to date from now on."""
        self.moments = self.moments - self._moments(rows)
        for family in families:
            self.bins[family] = self.bins[family] - self._count(family, rows)

    def fulfilled(self, family: Family, where: Family) -> tuple[npt.NDArray[np.bool_], str]:
        """Which rows `(n,)` fulfil one condition of each column of a family, and these conditions in words."""
        chosen = [(self.conditions[column], at) for column, at in zip(family, where, strict=True)]
        mask = np.logical_and.reduce([column.members[at][column.codes] for column, at in chosen])
        return np.asarray(mask), " and ".join(column.texts[at] for column, at in chosen)

    def scores(self, family: Family, min_rows: int, level: float) -> tuple[Array, Floats, Floats]:
        """Whether each condition of a family is tried, its z (-inf where it does not beat its halves), and its p."""
        n, total, square, cube = self.moments
        mean = total / n
        variance = max(square / n - mean**2, 1e-12)  # what is less is rounding: equal suspicions have no slices
        skewness = (cube / n - 3 * mean * variance - mean**3) / variance**1.5 if variance > 1e-12 else 0.0
        members = [self.conditions[column].members.astype(np.float64) for column in family]
        rows, suspicion = np.tensordot(self.bins[family], members[-1], (-1, 1))
        if len(family) == 2:
            rows, suspicion = members[0] @ rows, members[0] @ suspicion
        tried = (rows >= min_rows) & (n - rows >= min_rows)
        z, p = chance(rows, suspicion, n, mean, np.sqrt(variance), skewness)
        for axis in range(2 * len(family) - 2):  # a slice of one condition has no halves
            halves = self.bins[family].sum(axis=2 - axis) @ members[axis].T  # (2, c) of one column alone
            whole, within = (np.expand_dims(half, 1 - axis) for half in halves)
            share = np.clip(within / np.maximum(whole, 1), 0, 1)
            spread = np.sqrt(share * (1 - share))  # the largest that numbers between 0 and 1 with this mean can have
            lean = np.divide(1 - 2 * share, spread, out=np.zeros_like(spread), where=spread > 0)
            z = np.where(chance(rows, suspicion, whole, share, spread, lean)[1] <= level, z, -np.inf)
        return tried, np.where(tried, z, -np.inf), p


class Slices(BaseEstimator):  # type: ignore[misc]
    """Simple conditions under which suspected errors gather.

    Parameters
    ----------
    max_depth, min_rows : most conditions of a slice, 1 or 2; rows of the smallest slice, and of the smallest rest.
    alpha : probability of any slice by chance, and one minus the level of the intervals.
    n_bins, max_values : quantile bins of a column of numbers; most frequent values tried in a column of categories.

    Attributes
    ----------
    slices_, rows_ : the slices, the strongest first (see `evidence`), and the row numbers of each.
    n_tried_ : conditions tried.

    >>> import numpy as np
    >>> source = np.repeat(["web", "shop", "mail"], 400)
    >>> wrong = np.where(source == "mail", np.arange(1200) % 3 == 0, np.arange(1200) % 25 == 0)
    >>> Slices().fit({"source": source, "day": np.arange(1200) % 7}, wrong).slices_["condition"].tolist()
    ['source = mail']
    """

    def __init__(
        self, max_depth: int = 2, min_rows: int = 50, alpha: float = 0.05, n_bins: int = 8, max_values: int = 32
    ) -> None:
        self.max_depth = max_depth
        self.min_rows = min_rows
        self.alpha = alpha
        self.n_bins = n_bins
        self.max_values = max_values

    def fit(self, columns: Any, wrong: npt.ArrayLike) -> Self:
        """Search for slices.

        Parameters
        ----------
        columns : a table or frame, or a mapping of names to columns, n rows each.
        wrong : (n,) whether a row is suspected, or the probability in [0, 1] that its label is wrong.
        """
        if self.max_depth not in (1, 2):
            raise InputError(f"Slices have one or two conditions: max_depth must be 1 or 2, got {self.max_depth}.")
        table = pa.table(dict(columns) if isinstance(columns, Mapping) else columns)
        if not table.num_columns:
            raise InputError("Slices are cut along columns: give at least one.")
        w = as_reals(wrong, "`wrong`").astype(np.float64)
        same_length("the table", table.num_rows, wrong=w)
        if ((w < 0) | (w > 1)).any():
            row = int(np.argmax((w < 0) | (w > 1)))
            raise InputError(f"`wrong` must lie in [0, 1] or be true and false, got {w[row]}.", row=row)
        cut = (self.n_bins, self.max_values, self.min_rows)
        conditions = [conditions_of(name, table[name], *cut) for name in table.column_names]
        search = Histograms(conditions, w, self.max_depth)
        found = self._search(search)
        masks = [mask for _, mask, _ in found]
        self.slices_ = {"condition": np.array([text for text, _, _ in found], dtype=np.str_), **self._measure(masks, w)}
        self.slices_["p_value"] = np.array([p for _, _, p in found], dtype=np.float64)
        self.rows_ = [np.flatnonzero(mask) for mask in masks]
        return self

    def _search(self, search: Histograms) -> Found:
        """The slices, the strongest first."""
        level = self.alpha / max(sum(len(column.texts) for column in search.conditions), 1)
        scores = {family: search.scores(family, self.min_rows, level) for family in search.bins}
        self.n_tried_ = sum(int(tried.sum()) for tried, _, _ in scores.values())
        threshold = self.alpha / max(self.n_tried_, 1)
        first = {family: p for family, (_, _, p) in scores.items()}
        aside = np.zeros(len(search.suspicion), dtype=bool)
        found: Found = []
        while True:
            best: dict[Family, tuple[float, Family]] = {}
            for family, (_, z, p) in scores.items():
                # What did not stand out at first is not tried again among fewer rows.
                able = np.where(np.maximum(p, first[family]) <= threshold, z, -np.inf)
                if able.max(initial=0) > 0:
                    best[family] = float(able.max()), tuple(map(int, np.unravel_index(able.argmax(), able.shape)))
            if not best:
                return found
            family = max(best, key=lambda one: (best[one][0], -len(one)))
            where = best[family][1]
            mask, text = search.fulfilled(family, where)
            found.append((text, mask, float(first[family][where])))
            rows = np.flatnonzero(mask & ~aside)
            aside |= mask
            search.put_aside(rows, list(best))
            scores = {one: search.scores(one, self.min_rows, level) for one in best}

    def _measure(self, masks: list[npt.NDArray[np.bool_]], w: Floats) -> dict[str, Array]:
        """Rates inside and outside each slice, on all rows, with the interval of Newcombe for their difference."""
        rows = np.array([mask.sum() for mask in masks], dtype=np.int64)
        inside = np.array([w[mask].sum() for mask in masks], dtype=np.float64)
        rest, outside = len(w) - rows, np.clip(w.sum() - inside, 0, len(w) - rows)
        rate, other = inside / np.maximum(rows, 1), outside / np.maximum(rest, 1)
        low, high = wilson(inside, rows, 1 - self.alpha)
        other_low, other_high = wilson(outside, rest, 1 - self.alpha)
        return {
            "rows": rows,
            "rate": rate,
            "rest_rate": other,
            "effect": rate - other,
            "effect_low": rate - other - np.sqrt((rate - low) ** 2 + (other_high - other) ** 2),
            "effect_high": rate - other + np.sqrt((high - rate) ** 2 + (other - other_low) ** 2),
            "share": inside / max(float(w.sum()), np.finfo(np.float64).tiny),
        }

    def evidence(self) -> dict[str, Array]:
        """The slices, the strongest first: `condition`, `rows`, `rate` of suspects, `rest_rate` outside.

        `effect` is their difference, `share` the part of all suspicion inside. Chosen for their effect, slices promise
        somewhat more than new rows will show.
        """
        return dict(self.slices_)

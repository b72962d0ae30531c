"""Classes that overlap, and the health of each class: is the guideline the problem, rather than single labels?

When two classes are mistaken for each other all the time, mending labels one by one does not help: merge the classes,
see that one is a part of the other, or let the guideline tell them apart.

Paper: Northcutt, Jiang, Chuang (2021), Confident Learning. From the confident joint C (given class by true class), n_a
rows given class a, and the calibrated joint Q[a, b] = (n_a / n) C[a, b] / sum_b C[a, b], rounded to whole rows:

    mass(a, b) = Q[a, b] + Q[b, a]                    share of all rows that carry one class and belong to the other
    flow(a -> b) = C[a, b] / (C[a, a] + C[a, b])      rows given a that are b, among those that are a or b
    overlap(a, b) = flow(a -> b) + flow(b -> a)       0: told apart; 1: the label says nothing; above 1: swapped

Use it after an audit with several classes; not as a proof: a model that cannot tell two classes apart looks the same as
labels that do not, so look at rows of the pair before merging.

Departure: the paper and cleanlab rank by mass and give no intervals. Here each share has its Wilson interval, sums of
shares that of Newcombe (square the distances to the ends, add, take the root). Pairs without mass are not listed.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.base import BaseEstimator

from assay.errors import InputError
from assay.kernels.intervals import wilson
from assay.kernels.joint import joint_of
from assay.kernels.label_filters import calibrate
from assay.kernels.probabilities import UNLABELLED
from assay.labels.checks import as_integers, as_mask

METHOD = {
    "name": "overlap",
    "title": "Overlapping classes",
    "paper": "Northcutt, Jiang, Chuang, 2021, Confident Learning: Estimating Uncertainty in Dataset Labels",
    "arxiv": "1911.00068",
    "accepts": ["hard"],
    "gives": ["class pairs", "class health"],
    "command": "from assay.audit.overlap import Overlap",
    "claim": "Ranks pairs of classes as cleanlab does, and its intervals hold the planted confusion 95 % of the time.",
    "status": "stable",
}

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Columns = dict[str, Array]


def add_shares(shares: list[tuple[Floats, Floats, Floats]]) -> tuple[Floats, Floats, Floats]:
    """Value, low and high of a sum of independent shares, each given as value, low, high (Newcombe, 1998)."""
    total = np.sum([value for value, _, _ in shares], axis=0)
    down = np.sqrt(np.sum([(value - low) ** 2 for value, low, _ in shares], axis=0))
    up = np.sqrt(np.sum([(high - value) ** 2 for value, _, high in shares], axis=0))
    return total, total - down, total + up


def share(part: Array, whole: Array, weight: Array | float, alpha: float) -> tuple[Floats, Floats, Floats]:
    """`weight * part / whole` with its Wilson interval; where `whole` is 0, any share is possible."""
    low, high = wilson(part, whole, 1 - alpha)
    return weight * part / np.maximum(whole, 1), weight * low, weight * high


def pair_table(joint: Any, counts: npt.NDArray[np.int64], alpha: float) -> Columns:
    """Pairs of classes by falling mass, from `joint` `(k, k)`, dense or sparse, and given `counts` `(k,)`."""
    k, n = len(counts), counts.sum()
    cells, calibrated = sparse.coo_array(joint), sparse.csr_array(calibrate(joint, counts))
    off = cells.row != cells.col
    low_class = np.minimum(cells.row[off], cells.col[off]).astype(np.int64)
    key = np.unique(low_class * k + np.maximum(cells.row[off], cells.col[off]))
    a, b = np.divmod(key, k)
    table, own, rows = sparse.csr_array(joint), joint.diagonal(), np.asarray(joint.sum(axis=1)).ravel()

    def at(matrix: Any, i: Array, j: Array) -> Array:
        return np.asarray(matrix[i, j]).ravel() if len(i) else np.zeros(0, np.int64)

    there, back = at(table, a, b), at(table, b, a)
    mass = add_shares([share(there, rows[a], counts[a] / n, alpha), share(back, rows[b], counts[b] / n, alpha)])
    flows = [share(there, own[a] + there, 1.0, alpha), share(back, own[b] + back, 1.0, alpha)]
    overlap = add_shares(flows)
    confused = at(calibrated, a, b) + at(calibrated, b, a)
    found: Columns = {"class_a": a, "class_b": b, "rows": confused, "mass": confused / n}
    for name, (value, low, high) in {"mass": mass, "overlap": overlap, "a_is_b": flows[0], "b_is_a": flows[1]}.items():
        found.setdefault(name, value)
        found[f"{name}_low"], found[f"{name}_high"] = np.maximum(low, 0), high
    found["hint"] = hints(overlap[1], flows[0][1], flows[1][1])
    order = np.lexsort((key, -found["mass"]))
    order = order[found["mass"][order] > 0]
    return {name: column[order] for name, column in found.items()}


def hints(overlap_low: Floats, a_is_b_low: Floats, b_is_a_low: Floats) -> npt.NDArray[np.str_]:
    """What the lower bounds allow to say of each pair: swap, a in b, b in a, merge, or nothing yet."""
    says = [overlap_low > 1, (a_is_b_low > 0.5) & (b_is_a_low <= 0.5), (b_is_a_low > 0.5) & (a_is_b_low <= 0.5)]
    return np.select([*says, overlap_low > 0.5], ["swap", "a in b", "b in a", "merge"], "")


def health_table(joint: Any, counts: npt.NDArray[np.int64], alpha: float) -> Columns:
    """Classes by rising label quality; classes that were never given come last, with quality NaN."""
    calibrated = calibrate(joint, counts)
    right, rows = joint.diagonal(), np.asarray(joint.sum(axis=1)).ravel()
    kept, truly = calibrated.diagonal(), np.asarray(calibrated.sum(axis=0)).ravel()
    given = counts > 0
    low, high = wilson(right, rows, 1 - alpha)
    quality = np.where(given, kept / np.maximum(counts, 1), np.nan)
    order = np.lexsort((np.arange(len(counts)), quality))
    table: Columns = {
        "class": np.arange(len(counts)),
        "rows": counts,
        "quality": quality,
        "quality_low": np.where(given, low, np.nan),
        "quality_high": np.where(given, high, np.nan),
        "issues": counts - kept,
        "missed": truly - kept,
        "missed_share": 1 - kept / np.maximum(truly, 1),
    }
    return {name: column[order] for name, column in table.items()}


class Overlap(BaseEstimator):  # type: ignore[misc]
    """Pairs of classes that are mistaken for each other, and the health of each class.

    Parameters
    ----------
    alpha : one minus the level of the intervals.

    Attributes
    ----------
    pairs_ : pairs by falling mass (see `evidence`).
    health_ : classes by rising `quality` P(true = given) with bounds; `rows` given the class, `issues` of them that are
        another class, `missed` rows of the class that carry another label, and their share of the class.
    overall_, overall_interval_ : share of all labels that are right, and its interval.

    >>> import numpy as np
    >>> labels = np.repeat([0, 1, 2], 100)
    >>> joint = np.array([[60, 40, 0], [50, 50, 0], [1, 0, 99]])
    >>> found = Overlap().fit(labels, confident_joint=joint)
    >>> found.pairs_["class_a"].tolist(), found.pairs_["class_b"].tolist(), found.pairs_["hint"].tolist()
    ([0, 0], [1, 2], ['merge', ''])
    """

    def __init__(self, alpha: float = 0.05) -> None:
        self.alpha = alpha

    def fit(
        self,
        labels: npt.ArrayLike,
        pred_probs: npt.ArrayLike | None = None,
        confident_joint: Any = None,
        mask: npt.ArrayLike | None = None,
    ) -> Self:
        """Count confusions.

        Parameters
        ----------
        labels : class codes (n,).
        pred_probs : out-of-sample probabilities (n, k) from which the joint is made when it is not given.
        confident_joint : (k, k) counts, given class by true class, dense or sparse, as an audit has them.
        mask : (n,) true where a label is present.
        """
        if confident_joint is None and pred_probs is None:
            raise InputError("Overlap needs `pred_probs` (n, k), or the `confident_joint` (k, k) of an audit.")
        n = len(np.asarray(labels))
        present = as_mask(mask, (n,), "the labels")
        y = as_integers(labels, "Labels", dtypes=(np.int64,), mask=present).astype(np.int64)
        y = y if present is None else np.where(present, y, UNLABELLED)
        joint: Any = confident_joint
        if joint is None:
            assert pred_probs is not None
            joint = joint_of(y, pred_probs)
        elif not sparse.issparse(joint):
            joint = np.asarray(joint)
        seen, k = y[y != UNLABELLED], joint.shape[0]
        if joint.ndim != 2 or joint.shape[1] != k or not len(seen) or seen.max() >= k:
            top = seen.max() if len(seen) else "no class"
            raise InputError(f"The confident joint has shape {joint.shape}; the labels reach {top}: (k, k) is needed.")
        counts = np.bincount(seen, minlength=k)
        self.pairs_ = pair_table(joint, counts, self.alpha)
        self.health_ = health_table(joint, counts, self.alpha)
        weights, rows = counts / counts.sum(), np.asarray(joint.sum(axis=1)).ravel()
        right = share(joint.diagonal(), rows, weights, self.alpha)
        total, low, high = add_shares(list(zip(*right, strict=True)))
        self.overall_, self.overall_interval_ = float(total), (float(low), float(high))
        return self

    def evidence(self) -> Columns:
        """Pairs by falling mass: `rows` and `mass` of both directions, `overlap`, the flows, bounds, and a `hint`.

        Hints: "merge" where the label says little about which of the two it is, "a in b" where most rows given a are b,
        "swap" where the two seem exchanged; empty where the lower bounds allow none of these.
        """
        return dict(self.pairs_)

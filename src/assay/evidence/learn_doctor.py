"""What is wrong with the labels, before anything is trained on them: how many, in which pattern, and where.

- The rate is that of the calibrated confident joint.
- Uniform or by class: the confident joint, off its diagonal, is compared with one rate spread evenly; the distance
  (total variation) is taken beyond what chance alone makes. On digits it is below 0.07 for symmetric noise, 0.3 to 0.4
  for noise that depends on the row, above 0.6 for pairs.
- By row: among rows that a judge puts in one class, do the labels that were given part the rows by their features?
  The judge's own mistakes do that too, so the same share is measured on labels redrawn by class alone and judged anew.
  Small data tell little of it: a finding is worth something, its absence is not.

None of this sees a clean label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.audit.confident_learning import ConfidentLearning
from assay.evidence.shown import number
from assay.training.out_of_fold import out_of_fold

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

UNIFORM = 0.15  # distance from an even spread from which errors are said to depend on the class
PAIRED = 0.55  # from which each class is mistaken for one other
ROWS = 3000  # rows on which dependence on the row is judged
REDRAWN = 9  # times that labels are redrawn
DIRECTIONS = 32  # principal directions in which rows are compared
FEW, LONG_TAIL = 0.02, 5.0  # rate below which labels are called nearly clean; ratio of classes called imbalanced
DENSE = 2000  # classes above which the joint is sparse and no pattern is looked for


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the labels look like.

    Parameters
    ----------
    rate : share of wrong labels by the calibrated confident joint.
    distance, chance : total variation between errors and an even spread, beyond chance, in 0..1; and how often chance
        alone makes as much.
    by_row, by_row_z : share of the spread of rows of one class that their labels explain, beyond labels redrawn by
        class; in standard deviations. nan where there was too little to judge.
    imbalance : rows of the largest class over those of the smallest.
    soft : whether the labels are beliefs.
    """

    rate: float
    distance: float
    chance: float
    by_row: float
    by_row_z: float
    imbalance: float
    soft: bool

    @property
    def wrong(self) -> bool:
        """Whether more than a few labels are wrong; beliefs are taken at their word."""
        return not self.soft and self.rate >= FEW

    @property
    def pattern(self) -> str:
        """One of "nearly clean", "uniform", "by class", "in pairs", "by row"."""
        if self.rate < FEW:
            return "nearly clean"
        if self.by_row_z > 3 and self.by_row > 0.02:
            return "by row"
        if self.distance < UNIFORM or self.chance > 0.05:
            return "uniform"
        return "in pairs" if self.distance > PAIRED else "by class"

    @property
    def proposal(self) -> str:
        """The method that such labels call for, before any is tried."""
        if not self.wrong:
            return "cross_entropy"
        if self.imbalance >= LONG_TAIL:
            return "imbalance"
        return {"uniform": "elr", "in pairs": "prune_and_retrain"}.get(self.pattern, "gce")

    def sentences(self) -> list[str]:
        """The findings in words."""
        if self.soft:
            found = ["The labels are beliefs: a row that people disagreed about pulls less."]
        else:
            found = [f"About {number(self.rate, '%')} of the labels look wrong to a judge that never saw them."]
        told = {
            "nearly clean": "So few are wrong that no pattern can be told.",
            "uniform": "They are spread over the classes as chance would spread them",
            "by class": "Some classes are mistaken for some others more often than chance would have it",
            "in pairs": "Each class is mistaken mostly for one other",
            "by row": "Which label is wrong, and how, depends on the row itself and not on its class alone",
        }[self.pattern]
        if self.pattern == "by row":
            told += f" ({number(self.by_row_z)} standard deviations beyond labels redrawn by class)."
        elif self.pattern != "nearly clean":
            told += f" (distance from an even spread {number(self.distance, '%')}, 0 is even)."
        found.append(told)
        if self.imbalance >= LONG_TAIL:
            found.append(f"The largest class has {number(self.imbalance)} times the rows of the smallest.")
        return found


def diagnose(
    confident: ConfidentLearning, X: npt.NDArray[Any], y: Ints, present: npt.NDArray[np.bool_], soft: bool, seed: int
) -> Diagnosis:
    """What the labels look like, from fitted confident learning, rows (n, d), codes (n,) and which rows have one."""
    counts = np.bincount(y[present], minlength=confident.n_classes_)
    counts = counts[counts > 0]
    distance, chance, by_row, z = 0.0, 1.0, float("nan"), float("nan")
    if confident.n_classes_ <= DENSE:
        distance, chance = unevenness(confident.calibrated_joint_, seed)
        by_row, z = dependence_on_rows(X[present], y[present], confident.n_classes_, seed)
    rate = float(confident.error_rate_)
    return Diagnosis(rate, distance, chance, by_row, z, float(counts.max() / counts.min()), soft)


def unevenness(joint: npt.ArrayLike, seed: int = 0) -> tuple[float, float]:
    """How far the errors of a joint (k, k), given by true class, are from one rate spread evenly; and its p-value.

    The distance is total variation less what chance makes on average, over one less that: 0 for even, 1 for far.

    >>> unevenness([[80, 10, 10], [10, 80, 10], [10, 10, 80]])
    (0.0, 1.0)
    """
    table = np.asarray(joint, dtype=np.float64)
    k = len(table)
    off = table * (1 - np.eye(k))
    n_wrong = int(off.sum())
    even = np.tile(table.sum(axis=0), (k, 1)) * (1 - np.eye(k))
    if n_wrong == 0 or even.sum() == 0:
        return 0.0, 1.0
    even /= even.sum()
    found = np.abs(off / n_wrong - even).sum() / 2
    drawn = np.random.default_rng(seed).multinomial(n_wrong, even.ravel() / even.sum(), size=200)
    null = np.abs(drawn / n_wrong - even.ravel()).sum(axis=1) / 2
    beyond = max(0.0, float((found - null.mean()) / (1 - null.mean())))
    return beyond, float((1 + (null >= found).sum()) / 201)


def dependence_on_rows(X: npt.NDArray[Any], y: Ints, k: int, seed: int = 0) -> tuple[float, float]:
    """How much labels depend on the rows beyond the class: explained share beyond the redrawn, and standard deviations.

    nan, nan where a class is too small to judge, or labels are all as the judge says.
    """
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(y))[:ROWS])
    X, y = np.asarray(X[rows], dtype=np.float64), y[rows]
    if np.bincount(y, minlength=k).max() < 20 or len(np.unique(y)) < 2 or len(y) < 50:
        return float("nan"), float("nan")
    F = _directions(X)
    told = out_of_fold(X, y, k, random_state=seed)
    noise = ConfidentLearning().fit(y, told.pred_probs).noise_matrix_
    found = _explained(F, told.pred_probs.argmax(axis=1), y, k)
    said = told.pred_probs.argmax(axis=1)
    redrawn = []
    for at in range(REDRAWN):
        drawn = _redrawn(said, noise, rng)
        if len(np.unique(drawn)) < 2:
            return float("nan"), float("nan")
        again = out_of_fold(X, drawn, k, random_state=at).pred_probs.argmax(axis=1)
        redrawn.append(_explained(F, again, drawn, k))
    spread = float(np.std(redrawn, ddof=1))
    beyond = found - float(np.mean(redrawn))
    return beyond, beyond / spread if spread > 0 else float("nan")


def _redrawn(truth: npt.NDArray[Any], noise: Floats, rng: np.random.Generator) -> Ints:
    """Labels (n,) drawn from the column of each true class; a class without errors keeps its own."""
    columns = np.where(noise.sum(axis=0) > 0, noise, np.eye(len(noise)))
    rising = np.cumsum(columns / columns.sum(axis=0), axis=0)[:, truth]
    drawn: Ints = (rising <= rng.random(len(truth)) * rising[-1]).sum(axis=0)
    return drawn


def _directions(X: Floats) -> Floats:
    """Rows in their principal directions, each of unit spread."""
    scale = X.std(axis=0)
    Z = (X - X.mean(axis=0)) / np.where(scale > 0, scale, 1)
    left, size, _ = np.linalg.svd(Z, full_matrices=False)
    kept = size > size[0] * 1e-6 if len(size) else size > 0
    found: Floats = left[:, kept][:, :DIRECTIONS] * np.sqrt(len(X))
    return found


def _explained(F: Floats, said: npt.NDArray[Any], given: Ints, k: int) -> float:
    """Share of the spread within each predicted class that the given labels explain, less what any labels would."""
    between = total = 0.0
    for c in range(k):
        rows = np.flatnonzero(said == c)
        if len(rows) < 10:
            continue
        f = F[rows] - F[rows].mean(axis=0)
        names, codes, n = np.unique(given[rows], return_inverse=True, return_counts=True)
        sums = np.zeros((len(names), f.shape[1]))
        np.add.at(sums, codes, f)
        spread = float(np.square(f).sum())
        between += float((np.square(sums).sum(axis=1) / n).sum()) - (len(names) - 1) * spread / (len(rows) - 1)
        total += spread
    return between / total if total > 0 else float("nan")

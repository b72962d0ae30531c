"""Find labels that are probably wrong, from a classifier's out-of-sample probabilities.

Give it the labels and, for each row, the class probabilities of a model that did not train on that row. It counts how
often a row given class i is confidently of class j, turns the counts into an estimate of the joint distribution of
given and true labels, and flags as many rows of each kind as that joint says are wrong, the most suspicious first.

Papers: Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 2021,
arXiv 1911.00068; Northcutt, Athalye, Mueller, "Pervasive Label Errors in Test Sets", NeurIPS 2021, arXiv 2103.14749.

    threshold[j] = mean of p[row, j] over rows given j
    C[i, j]      = number of rows given i whose one class with p[row, j] >= threshold[j] is j
                   (the most probable class, when several pass)

When to use: any classification labels, any model, two classes to many thousands. When not: probabilities of rows that
the model was trained on (every label then looks right), or errors that the model makes too.

Departures: integers equal those of cleanlab 2.9 (which adds a slack of 1e-6, a diagonal of at least 1, and never flags
a row whose most probable class is its given one); thresholds are exact means, so that blocks may come in any order; a
tie at a cut falls to the earlier row; confidence-weighted entropy goes to 1, not to 0, as the model becomes certain of
the given label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from assay.errors import InputError
from assay.kernels.blocks import Backend
from assay.kernels.confident_passes import FILTERS, Audited, Filter, Rules, audit
from assay.kernels.label_filters import latent
from assay.kernels.label_scores import Score
from assay.kernels.probabilities import UNLABELLED, Rows, bits_of

__all__ = ["FILTERS", "METHOD", "ConfidentLearning"]

METHOD = {
    "name": "confident_learning",
    "title": "Confident learning",
    "paper": "Northcutt, Jiang, Chuang, 2021, Confident Learning: Estimating Uncertainty in Dataset Labels",
    "arxiv": "1911.00068",
    "accepts": ["hard"],
    "gives": ["suspects", "noise matrix", "error rate"],
    "command": "assay audit TABLE --label COL",
    "claim": "Pruning by noise rate finds flipped labels with a higher F1 than disagreement with the argmax.",
    "status": "stable",
}

Block = tuple[npt.ArrayLike, npt.ArrayLike] | tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]
SLICE = 2**26  # bytes of the matrix taken at a time


class ConfidentLearning(BaseEstimator):  # type: ignore[misc]
    """Confident learning over labels and out-of-sample probabilities (n rows, k classes).

    Parameters
    ----------
    filter_by : which rows to flag.
        "prune_by_noise_rate": for each pair of classes as many rows as the joint says, by largest margin;
        "prune_by_class": for each given class as many as the joint says, by least self-confidence;
        "both": rows that both flag; "confident_learning": the rows counted off the diagonal;
        "predicted_neq_given": every row whose most probable class is another one.
    score : what `scores_` holds: "normalized_margin", "self_confidence" or "confidence_weighted_entropy".
    adjust : subtract class thresholds before scoring, for classes of very different frequency.
    min_examples_per_class : rows that each class keeps.
    frac_noise : share of the estimated errors that the pruning filters remove, above 0, at most 1.
    log_probabilities : whether `pred_probs` are natural logarithms.

    Attributes
    ----------
    n_classes_ : k.
    thresholds_ : (k,) mean self-confidence of each class; 2 for a class that was never given.
    confident_joint_ : (k, k) int64 counts, given class by true class. This and the following tables are
        `scipy.sparse` arrays above 2000 classes.
    calibrated_joint_ : (k, k) int64, rows sum to the number of rows given that class.
    joint_ : (k, k) `P(given, true)`.
    noise_matrix_ : (k, k) `P(given = i | true = j)` at [i, j].
    inverse_noise_matrix_ : (k, k) `P(true = j | given = i)` at [j, i].
    prior_ : (k,) `P(true = j)`.
    is_issue_ : (n,) bool.
    scores_ : (n,) float32 (float64 for float64 probabilities), low is suspicious, NaN without a label.
    suggested_ : (n,) int32, the most probable class.
    ranking_ : (m,) int64 flagged rows, the most suspicious first.
    n_errors_ : rows confidently counted for another class than the given one, which is also their most probable class.
    error_rate_ : share of wrong labels that the calibrated joint estimates.

    Examples
    --------
    >>> import numpy as np
    >>> labels = [0, 0, 0, 1, 1, 1]
    >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.1, 0.9]])
    >>> ConfidentLearning().fit(labels, probabilities).ranking_
    array([2])
    """

    def __init__(
        self,
        filter_by: Filter = "prune_by_noise_rate",
        score: Score = "normalized_margin",
        adjust: bool = False,
        min_examples_per_class: int = 1,
        frac_noise: float = 1.0,
        log_probabilities: bool = False,
    ) -> None:
        self.filter_by = filter_by
        self.score = score
        self.adjust = adjust
        self.min_examples_per_class = min_examples_per_class
        self.frac_noise = frac_noise
        self.log_probabilities = log_probabilities

    def fit(
        self, labels: npt.ArrayLike, pred_probs: npt.ArrayLike, mask: npt.ArrayLike | None = None
    ) -> ConfidentLearning:
        """Audit labels (n,) integers in 0..k-1 with `pred_probs` (n, k) float16, float32 or float64, or a memory map.

        `mask` (n,) bool is False where a row has no label: such rows are left out. The matrix is neither copied nor
        converted. Raises InputError naming the first bad row.
        """
        block: Block = (labels, pred_probs) if mask is None else (labels, pred_probs, mask)
        return self.fit_blocks(lambda: [block])

    def fit_blocks(self, make_blocks: Callable[[], Iterable[Block]], backend: Backend = "serial") -> ConfidentLearning:
        """Audit a data set that comes in blocks of rows; the results are those of `fit`, bit for bit.

        Parameters
        ----------
        make_blocks : called for each of up to three passes; returns the same blocks `(labels, pred_probs)` or
            `(labels, pred_probs, mask)` every time.
        backend : "serial", or "ray".
        """
        rules = Rules(self.filter_by, self.score, self.adjust, self.min_examples_per_class, self.frac_noise)
        (found,) = audit(lambda: ([rows] for rows in _rows(make_blocks(), self.log_probabilities)), rules, backend)
        _check_counts(found)
        self.n_classes_ = len(found.thresholds)
        self.thresholds_ = found.thresholds
        self.confident_joint_: Any = found.joint
        self.calibrated_joint_: Any = found.calibrated
        self.joint_, self.noise_matrix_, self.inverse_noise_matrix_, self.prior_ = latent(found.calibrated)
        self.error_rate_ = float(1.0 - found.calibrated.diagonal().sum() / found.counts.sum())
        self.scores_, self.suggested_, self.is_issue_ = found.scores, found.suggested, found.flagged
        self.n_errors_ = found.n_errors
        issues = np.flatnonzero(found.flagged)
        order = np.argsort(self.scores_[issues], kind="stable")
        self.ranking_ = issues[order]
        self._given = found.given[order]
        return self

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """The suspects, the most suspicious first: row, given class, suggested class, score."""
        return {
            "row": self.ranking_,
            "given": self._given,
            "suggested": self.suggested_[self.ranking_],
            "score": self.scores_[self.ranking_],
        }


def _check_counts(found: Audited) -> None:
    """Confident learning compares rows of several classes; say so when there is nothing to compare."""
    seen = np.flatnonzero(found.counts)
    if found.counts.sum() < 2:
        raise InputError(f"Expected at least two labelled rows, got {found.counts.sum()} of {len(found.flagged)}.")
    if len(seen) < 2:
        raise InputError(f"Every label is class {seen[0]}: label errors can only be found among two or more classes.")


def _rows(blocks: Iterable[Block], log_probabilities: bool) -> Iterator[Rows]:
    """Check the shapes and types of blocks, and cut them into slices that fit the caches of a thread or two."""
    start, shape = 0, None
    for block in blocks:
        labels, probabilities, mask = _arrays(block)
        if shape is None:
            shape = probabilities.shape[1], probabilities.dtype
        if (probabilities.shape[1], probabilities.dtype) != shape:
            raise InputError(
                f"Blocks of pred_probs must be alike: the first has {shape[0]} columns of {shape[1]}, another has "
                f"{probabilities.shape[1]} of {probabilities.dtype}.",
                row=start,
            )
        step = max(SLICE // (probabilities.shape[1] * probabilities.itemsize), 1)
        for at in range(0, len(labels), step):
            part = slice(at, at + step)
            given = labels[part].astype(np.int64, copy=False)
            if mask is not None:
                given = np.where(mask[part], given, UNLABELLED)
            values = probabilities[part]
            if log_probabilities:
                values = np.exp(values, dtype=np.result_type(values, np.float32))
            yield Rows(start + at, given, bits_of(values))
        start += len(labels)


def _arrays(block: Block) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
    """One block as arrays that fit together."""
    labels, probabilities = np.asarray(block[0]), np.asarray(block[1])
    mask = np.asarray(block[2]) if len(block) == 3 else None
    n = len(labels) if labels.ndim else 0
    if labels.ndim != 1:
        raise InputError(f"Expected labels of shape (n,), got {labels.shape}.")
    if n and labels.dtype.kind not in "iu":
        raise InputError(
            f"Expected labels as integers 0..k-1, the columns of pred_probs, got {labels.dtype}: turn names into codes "
            "with `Space.encode`, and floats with `.astype(int)`."
        )
    if probabilities.ndim != 2 or len(probabilities) != n:
        raise InputError(f"Expected pred_probs of shape ({n}, k) for {n} labels, got {probabilities.shape}.")
    if probabilities.dtype.kind != "f" or probabilities.itemsize > 8:
        raise InputError(f"Expected pred_probs as float16, float32 or float64, got {probabilities.dtype}.")
    if probabilities.shape[1] < 2:
        raise InputError(f"Expected a column for each of two or more classes, got {probabilities.shape[1]}.")
    if mask is not None and (mask.shape != labels.shape or mask.dtype != bool):
        raise InputError(f"Expected mask ({n},) bool, got {mask.dtype} of shape {mask.shape}.")
    return labels, probabilities, mask

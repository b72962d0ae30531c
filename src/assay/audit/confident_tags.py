"""Find tags that were forgotten or given in error, from a model's out-of-sample probability of each tag.

Give it which tags each row has, which of these cells anyone looked at, and a probability for each cell from a model
that did not train on that row. Every tag is audited as two classes, absent and present; cells that nobody knows are
left out. It flags cells, suggests flipping them, and scores every row by its worst tags.

Papers: Northcutt, Jiang, Chuang, "Confident Learning", JAIR 2021, arXiv 1911.00068, for each tag; Thyagarajan,
Snorrason, Northcutt, Mueller, "Identifying Incorrect Annotations in Multi-Label Classification Data", 2022,
arXiv 2211.13895, for the score of a row: of its cells' scores s sorted from high to low,

    e[1] = s[1],   e[t] = alpha s[t] + (1 - alpha) e[t - 1],   row score = e[last]

When to use: rows with any number of tags and a model that gives one probability a tag (they need not sum to one). When
not: exactly one class a row (use confident learning), or tags that are only ever recorded when present.

Departures: results equal those of cleanlab 2.9, which knows no unknown cells; here they take no part in thresholds,
joints or row scores, and a tag of which only one value is known flags nothing by pruning. With two classes the
normalised margin is the self-confidence; both are kept, for their last bits differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from assay.errors import InputError
from assay.kernels.blocks import SMALL, Backend
from assay.kernels.confident_passes import Filter, Rules, audit
from assay.kernels.label_scores import Score
from assay.kernels.probabilities import Rows
from assay.kernels.probability_rows import tag_rows
from assay.labels.checks import as_mask
from assay.labels.spaces import Kind, Space
from assay.labels.tags import Tags

METHOD = {
    "name": "confident_tags",
    "title": "Confident learning for tags",
    "paper": "Thyagarajan, Snorrason, Northcutt, Mueller, 2022, Identifying Incorrect Annotations in Multi-Label "
    "Classification Data",
    "arxiv": "2211.13895",
    "accepts": ["tags"],
    "gives": ["suspect tags", "noise rates of each tag", "row scores"],
    "command": "from assay.audit.confident_tags import ConfidentTags",
    "claim": "Pruning by noise rate finds flipped tags with a higher F1 than disagreement with the model.",
    "status": "stable",
}

Array = npt.NDArray[Any]
Block = tuple[Tags | npt.ArrayLike, npt.ArrayLike] | tuple[Tags | npt.ArrayLike, npt.ArrayLike, npt.ArrayLike | None]
Aggregator = Literal["exponential_moving_average", "softmin"]
SLICE = 2**20  # cells taken at a time
ROWS = 2**16  # rows whose scores are aggregated at a time


def row_scores(
    scores: Array, aggregator: Aggregator = "exponential_moving_average", alpha: float = 0.8, temperature: float = 0.1
) -> Array:
    """One score a row from the scores of its cells.

    Parameters
    ----------
    scores : (n, l) floats, NaN where a cell is unknown.
    aggregator : "exponential_moving_average" over the sorted scores, the lowest last; or "softmin", the mean of scores
        weighted by softmax((1 - score) / temperature).
    alpha : weight of the lowest score, 0 to 1; at 1 the row score is the lowest.
    temperature : above 0; towards 0 the row score becomes the lowest, towards infinity the mean.

    Returns
    -------
    (n,) scores, NaN where no cell is known.

    Examples
    --------
    >>> import numpy as np
    >>> row_scores(np.array([[0.9, 0.9, 0.3], [0.4, np.nan, 0.6]])).round(3).tolist()
    [0.42, 0.44]
    """
    pieces = [scores[at : at + ROWS] for at in range(0, max(len(scores), 1), ROWS)]
    return np.concatenate([_aggregate(piece, aggregator, alpha, temperature) for piece in pieces])


def _aggregate(scores: Array, aggregator: Aggregator, alpha: float, temperature: float) -> Array:
    """`row_scores` of some rows."""
    if aggregator == "exponential_moving_average":
        rising = np.sort(scores, axis=1).T  # unknown cells sort last
        average: Array = rising[-1]
        for score in rising[-2::-1]:
            average = np.where(np.isnan(average), score, alpha * score + (1 - alpha) * average)
        return average
    unknown = np.isnan(scores)
    surprise = np.where(unknown, -np.inf, (1 - scores) / temperature)
    seen = ~unknown.all(axis=1)
    weights = np.exp(surprise - np.where(seen, surprise.max(axis=1), 0)[:, None])
    total = np.where(seen, weights.sum(axis=1), np.nan)
    return np.asarray(np.einsum("nl,nl->n", np.where(unknown, 0, scores), weights) / total)


class ConfidentTags(BaseEstimator):  # type: ignore[misc]
    """Confident learning over tags and their out-of-sample probabilities (n rows, l tags).

    Parameters
    ----------
    filter_by : which cells of a tag to flag: "prune_by_noise_rate", "prune_by_class", "both", "confident_learning" or
        "predicted_neq_given", as for classes.
    score : what `scores_` holds: "self_confidence", "normalized_margin" or "confidence_weighted_entropy".
    adjust : subtract each tag's thresholds before scoring, for rare tags.
    aggregator, alpha, temperature : how cell scores become row scores, see `row_scores`.
    min_examples_per_class : cells that each value of a tag keeps.
    frac_noise : share of the estimated errors that the pruning filters flag, above 0, at most 1.

    Attributes
    ----------
    tags_ : (l,) str, names of the tags; their numbers when arrays were given.
    is_issue_ : (n, l) bool.
    scores_ : (n, l) float32 (float64 for float64 probabilities), low is suspicious, NaN where unknown.
    suggested_ : (n, l) int8, what the model thinks more probable; where `is_issue_`, the flip of the given value.
    row_is_issue_ : (n,) bool, some tag of the row is flagged.
    row_scores_ : (n,), low is suspicious, NaN where no tag is known.
    ranking_ : (m,) int64 rows with flagged tags, the most suspicious first.
    thresholds_ : (l, 2) mean self-confidence of absence and presence; 2 for a value that was never given.
    confident_joint_, calibrated_joint_ : (l, 2, 2) int64 counts, given value by true value.
    joint_ : (l, 2, 2) `P(given, true)`; NaN for a tag that nobody knows.
    noise_matrix_ : (l, 2, 2) `P(given = i | true = j)` at [i, j].
    prior_ : (l,) `P(truly present)`; NaN for a tag that nobody knows.
    n_errors_ : (l,) int64 cells confidently counted for the other value.
    error_rate_ : (l,) share of the known cells that the calibrated joint says are wrong.

    Examples
    --------
    >>> from assay.labels.tags import Tags
    >>> tags = Tags.from_lists([["red"], ["red"], ["round"], [], ["red", "round"], ["round"]])
    >>> chance = np.array([[0.9, 0.2], [0.8, 0.1], [0.1, 0.9], [0.9, 0.2], [0.8, 0.7], [0.2, 0.8]])
    >>> found = ConfidentTags().fit(tags, chance).evidence()
    >>> [(int(row), str(tag), int(new)) for row, tag, new in zip(found["row"], found["tag"], found["suggested"])]
    [(3, 'red', 1)]
    """

    def __init__(
        self,
        filter_by: Filter = "prune_by_noise_rate",
        score: Score = "self_confidence",
        adjust: bool = False,
        aggregator: Aggregator = "exponential_moving_average",
        alpha: float = 0.8,
        temperature: float = 0.1,
        min_examples_per_class: int = 1,
        frac_noise: float = 1.0,
    ) -> None:
        self.filter_by = filter_by
        self.score = score
        self.adjust = adjust
        self.aggregator = aggregator
        self.alpha = alpha
        self.temperature = temperature
        self.min_examples_per_class = min_examples_per_class
        self.frac_noise = frac_noise

    def fit(self, tags: Tags | npt.ArrayLike, pred_probs: npt.ArrayLike, mask: npt.ArrayLike | None = None) -> Self:
        """Audit tags.

        Parameters
        ----------
        tags : `Tags`, or (n, l) integers or booleans, 1 where a row has the tag.
        pred_probs : (n, l) floats, the probability of each tag; rows need not sum to one. May be a memory map.
        mask : (n, l) bool, true where a cell is known; `Tags` bring their own.
        """
        return self.fit_blocks(lambda: [(tags, pred_probs, mask)])

    def fit_blocks(self, make_blocks: Callable[[], Iterable[Block]], backend: Backend = "serial") -> Self:
        """Audit a data set that comes in blocks of rows; the results are those of `fit`, bit for bit.

        Parameters
        ----------
        make_blocks : called for each of up to four passes; returns the same blocks `(tags, pred_probs)` or
            `(tags, pred_probs, mask)` every time.
        backend : "serial", or "ray".
        """
        rules = Rules(self.filter_by, self.score, self.adjust, self.min_examples_per_class, self.frac_noise)
        if self.aggregator not in get_args(Aggregator) or not 0 <= self.alpha <= 1 or not self.temperature > 0:
            raise InputError(
                f"Expected an aggregator of {get_args(Aggregator)}, alpha in 0..1 and temperature above 0, got "
                f"{self.aggregator!r}, {self.alpha} and {self.temperature}."
            )
        names: list[str] = []
        found = audit(lambda: _columns(make_blocks(), names), rules, backend)
        counts = np.array([column.counts for column in found])
        if not (counts > 0).all(axis=1).any():
            raise InputError(
                "No tag is known to be present in one row and absent in another: there is nothing to compare."
            )
        self.tags_ = np.array(names)
        self.is_issue_ = np.array([column.flagged for column in found]).T
        self.scores_ = np.array([column.scores for column in found]).T
        self.suggested_ = np.array([column.suggested.astype(np.int8) for column in found]).T
        self.thresholds_ = np.array([column.thresholds for column in found])
        self.confident_joint_ = np.array([column.joint for column in found])
        self.calibrated_joint_ = np.array([column.calibrated for column in found])
        self.n_errors_ = np.array([column.n_errors for column in found])
        known = np.where(counts.any(axis=1), counts.sum(axis=1), np.nan)
        self.joint_ = self.calibrated_joint_ / known[:, None, None]
        self.noise_matrix_ = self.calibrated_joint_ / np.maximum(self.calibrated_joint_.sum(axis=1, keepdims=True), 1)
        self.prior_ = self.joint_[:, :, 1].sum(axis=1)
        self.error_rate_ = self.joint_[:, 0, 1] + self.joint_[:, 1, 0]
        self.row_is_issue_ = self.is_issue_.any(axis=1)
        self.row_scores_ = row_scores(self.scores_, self.aggregator, self.alpha, self.temperature)
        rows = np.flatnonzero(self.row_is_issue_)
        self.ranking_ = rows[np.argsort(self.row_scores_[rows], kind="stable")]
        self._counts = counts
        return self

    def evidence(self) -> dict[str, Array]:
        """The suspect cells, the most suspicious first: row, tag, given value, suggested value, score of the cell."""
        row, tag = np.nonzero(self.is_issue_)
        order = np.argsort(self.scores_[row, tag], kind="stable")
        row, tag = row[order], tag[order]
        suggested = self.suggested_[row, tag]
        return {
            "row": row,
            "tag": self.tags_[tag],
            "given": 1 - suggested,
            "suggested": suggested,
            "score": self.scores_[row, tag],
        }

    def rates(self) -> dict[str, Array]:
        """Each tag's errors: how many rows know it and have it, the estimated share that truly has it, how often it is
        forgotten where present and given where absent, the share of wrong cells, and the number flagged.
        """
        return {
            "tag": self.tags_,
            "known": self._counts.sum(axis=1),
            "present": self._counts[:, 1],
            "prior": self.prior_,
            "forgotten": self.noise_matrix_[:, 0, 1],
            "spurious": self.noise_matrix_[:, 1, 0],
            "error_rate": self.error_rate_,
            "flagged": self.is_issue_.sum(axis=0),
        }


def _columns(blocks: Iterable[Block], names: list[str]) -> Iterator[list[Rows]]:
    """Cut blocks into slices, and each into one `Rows` a tag, absent and present; the first block names the tags."""
    start, space = 0, None
    for block in blocks:
        tags, given, known, probabilities = _arrays(block)
        n_tags = given.shape[1]
        named = tags.space if tags is not None else Space(tuple(map(str, range(n_tags))), Kind.MULTILABEL)
        space = space or named
        space.require(named)
        names[:] = space.names
        step = min(max(SLICE // n_tags, 1), SMALL - 1)  # tags share the threads, not the rows of a tag
        for at in range(0, len(given), step):
            part = slice(at, at + step)
            yield tag_rows(start + at, given[part], known if known is None else known[part], probabilities[part])
        start += len(given)


def _arrays(block: Block) -> tuple[Tags | None, Array, Array | None, Array]:
    """One block as arrays that fit together."""
    mask = block[2] if len(block) == 3 else None
    tags = block[0] if isinstance(block[0], Tags) else None
    if tags is not None:
        if mask is not None:
            raise InputError("`Tags` bring their own mask: leave `mask` out.")
        if tags.positive_only:
            raise InputError("Positive-only tags never record an absence, so that there is nothing to compare with.")
        mask = tags.mask
    given, probabilities = np.asarray(block[0] if tags is None else tags.y), np.asarray(block[1])
    if given.ndim != 2 or not given.shape[1] or given.dtype.kind not in "iub":
        raise InputError(
            f"Expected tags (n, l) as integers or booleans, got {given.dtype} of shape {given.shape}: turn lists of "
            "names into `Tags.from_lists`."
        )
    if probabilities.shape != given.shape or probabilities.dtype.kind != "f" or probabilities.itemsize > 8:
        raise InputError(
            f"Expected pred_probs {given.shape} as float16, float32 or float64, got {probabilities.dtype} of shape "
            f"{probabilities.shape}."
        )
    return tags, given, as_mask(mask, given.shape, "tags"), probabilities

"""Find tokens that carry a wrong label, and rank the sentences that hold them, from out-of-sample probabilities.

Give it a class for every token of every sentence (named entities, parts of speech, frames of a recording) and, for each
token, the class probabilities of a model that did not train on its sentence. Every token is audited as a row of
confident learning; a sentence is as good as its worst tokens; a suspect is shown inside its sentence.

Papers: Northcutt, Jiang, Chuang, "Confident Learning", JAIR 2021, arXiv 1911.00068, over tokens; Wang, Mueller,
"Detecting Label Errors in Token Classification Data", 2022, arXiv 2210.03920, for the score of a sentence:

    min:      min(s)
    softmin:  sum(s w) / sum(w),   w = exp((1 - s) / temperature),   s the scores of its tokens

When to use: labels of elements in sequences, from a model of any kind. When not: one label a text (use confident
learning); spans whose borders are disputed rather than their class, for tokens are judged one by one.

Departures: results equal those of cleanlab 2.9, except that ties at a cut fall to the earlier token, and that tokens
under a false mask and sentences without tokens are allowed: they have the score NaN and are never flagged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from assay.errors import InputError
from assay.kernels.blocks import Backend
from assay.kernels.confident_passes import Filter, Rules, audit
from assay.kernels.label_filters import latent
from assay.kernels.label_scores import Score
from assay.kernels.probabilities import UNLABELLED, Rows, bits_of
from assay.kernels.probability_rows import Ragged, n_columns, token_slices
from assay.labels.checks import pointer_of
from assay.labels.masks import Masks
from assay.labels.spaces import Kind, Space

METHOD = {
    "name": "confident_tokens",
    "title": "Confident learning for tokens",
    "paper": "Wang, Mueller, 2022, Detecting Label Errors in Token Classification Data",
    "arxiv": "2210.03920",
    "accepts": ["masks"],
    "gives": ["suspect tokens", "noise matrix", "sentence scores"],
    "command": "from assay.audit.confident_tokens import ConfidentTokens",
    "claim": "Pruning by noise rate finds wrong token labels with a higher F1 than disagreement with the argmax.",
    "status": "stable",
}

Array = npt.NDArray[Any]
SentenceScore = Literal["min", "softmin"]
SLICE = 2**26  # bytes of probabilities taken at a time


def sentence_scores(
    scores: Array, offsets: npt.NDArray[np.int64], how: SentenceScore = "min", temperature: float = 0.05
) -> Array:
    """One score a sentence from the scores of its tokens.

    Parameters
    ----------
    scores : (t,) floats, NaN where a token has no label.
    offsets : (n + 1,) sentence i owns scores[offsets[i]:offsets[i + 1]].
    how : "min", or "softmin": the mean of scores weighted by softmax((1 - score) / temperature).
    temperature : above 0; towards 0 softmin becomes the minimum, towards infinity the mean.

    Returns
    -------
    (n,) scores, NaN for a sentence without labelled tokens.

    Examples
    --------
    >>> sentence_scores(np.array([0.9, 0.6, 0.0, 0.8, 0.8]), np.array([0, 2, 5])).tolist()
    [0.6, 0.0]
    """
    labelled = ~np.isnan(scores)
    counts = np.diff(pointer_of(labelled)[offsets])
    full = counts > 0  # reduceat would give an empty sentence the score of its neighbour
    values, begins = scores[labelled], pointer_of(counts)[:-1][full]
    result = np.full(len(counts), np.nan, scores.dtype)
    if len(begins):
        result[full] = np.minimum.reduceat(values, begins)
    if len(begins) and how == "softmin":
        weights = np.exp((np.repeat(result[full], counts[full]) - values) / temperature)
        result[full] = np.add.reduceat(weights * values, begins) / np.add.reduceat(weights, begins)
    return result


class ConfidentTokens(BaseEstimator):  # type: ignore[misc]
    """Confident learning over the tokens of sentences (n sentences, t tokens in all, k classes).

    Parameters
    ----------
    filter_by : which tokens to flag: "prune_by_noise_rate", "prune_by_class", "both", "confident_learning" or
        "predicted_neq_given", as for classes.
    score : what `scores_` holds: "self_confidence", "normalized_margin" or "confidence_weighted_entropy".
    adjust : subtract class thresholds before scoring, for classes of very different frequency.
    sentence_score, temperature : how token scores become sentence scores, see `sentence_scores`.
    min_examples_per_class : tokens that each class keeps.
    frac_noise : share of the estimated errors that the pruning filters flag, above 0, at most 1.

    Attributes
    ----------
    classes_ : (k,) str, names of the classes; their numbers when lists of codes were given.
    offsets_ : (n + 1,) int64, sentence i owns the tokens offsets_[i]:offsets_[i + 1].
    is_issue_ : (t,) bool.
    scores_ : (t,) float32 (float64 for float64 probabilities), low is suspicious, NaN without a label.
    suggested_ : (t,) int32, the most probable class.
    issues_ : (m, 2) int64 flagged tokens as (sentence, position), the most suspicious first.
    sentence_scores_ : (n,), low is suspicious, NaN without a labelled token.
    ranking_ : (s,) int64 sentences that hold a flagged token, the most suspicious first.
    thresholds_ : (k,) mean self-confidence of each class; 2 for a class that was never given.
    confident_joint_, calibrated_joint_ : (k, k) int64 counts, given class by true class; this and the following tables
        are `scipy.sparse` arrays above 2000 classes.
    joint_, noise_matrix_, inverse_noise_matrix_ : (k, k) `P(given, true)`, `P(given = i | true = j)` at [i, j], and
        `P(true = j | given = i)` at [j, i].
    prior_ : (k,) `P(true = j)`.
    n_errors_ : tokens confidently counted for another class than the given one.
    error_rate_ : share of wrong token labels that the calibrated joint estimates.

    Examples
    --------
    >>> labels = [[0, 0, 1], [0, 1]]
    >>> probabilities = [np.array([[0.9, 0.1], [0.7, 0.3], [0.05, 0.95]]), np.array([[0.8, 0.2], [0.8, 0.2]])]
    >>> found = ConfidentTokens().fit(labels, probabilities)
    >>> found.issues_.tolist(), found.sentence_scores_.tolist()
    ([[1, 1]], [0.7, 0.2])
    >>> found.evidence([["We", "met", "Ann"], ["in", "town"]])["context"].tolist()
    ['in [town]']
    """

    def __init__(
        self,
        filter_by: Filter = "prune_by_noise_rate",
        score: Score = "self_confidence",
        adjust: bool = False,
        sentence_score: SentenceScore = "min",
        temperature: float = 0.05,
        min_examples_per_class: int = 1,
        frac_noise: float = 1.0,
    ) -> None:
        self.filter_by = filter_by
        self.score = score
        self.adjust = adjust
        self.sentence_score = sentence_score
        self.temperature = temperature
        self.min_examples_per_class = min_examples_per_class
        self.frac_noise = frac_noise

    def fit(self, labels: Masks | Sequence[npt.ArrayLike], pred_probs: Ragged) -> Self:
        """Audit token labels.

        Parameters
        ----------
        labels : `Masks` of classes, whose mask leaves out what is not to be judged; or one sequence of class codes a
            sentence.
        pred_probs : one (tokens, k) array of floats a sentence; or one (t, k) array of all tokens in order, which may
            be a memory map and is neither copied nor converted.
        """
        masks = labels if isinstance(labels, Masks) else masks_of(labels, pred_probs)
        return self.fit_blocks(lambda: [(masks, pred_probs)])

    def fit_blocks(
        self, make_blocks: Callable[[], Iterable[tuple[Masks, Ragged]]], backend: Backend = "serial"
    ) -> Self:
        """Audit sentences that come in blocks; the results are those of `fit`, bit for bit.

        Parameters
        ----------
        make_blocks : called for each of up to four passes; returns the same blocks `(labels, pred_probs)` every time.
        backend : "serial", or "ray".
        """
        rules = Rules(self.filter_by, self.score, self.adjust, self.min_examples_per_class, self.frac_noise)
        if self.sentence_score not in get_args(SentenceScore) or not self.temperature > 0:
            raise InputError(
                f"Expected a sentence_score of {get_args(SentenceScore)} and a temperature above 0, got "
                f"{self.sentence_score!r} and {self.temperature}."
            )
        spaces: list[Space] = []
        lengths: list[Array] = []
        try:
            (found,) = audit(lambda: _slices(make_blocks(), spaces, lengths), rules, backend)
        except InputError as error:
            raise _placed(error, lengths) from None
        if np.count_nonzero(found.counts) < 2:
            raise InputError("Every labelled token has the same class: errors can only be found among two or more.")
        self.classes_, self.offsets_ = np.array(spaces[0].names), pointer_of(np.concatenate(lengths))
        self.is_issue_, self.scores_, self.suggested_ = found.flagged, found.scores, found.suggested
        self.thresholds_, self.n_errors_ = found.thresholds, found.n_errors
        self.confident_joint_, self.calibrated_joint_ = found.joint, found.calibrated
        self.joint_, self.noise_matrix_, self.inverse_noise_matrix_, self.prior_ = latent(found.calibrated)
        self.error_rate_ = float(1 - found.calibrated.diagonal().sum() / found.counts.sum())

        tokens = np.flatnonzero(self.is_issue_)
        order = np.argsort(self.scores_[tokens], kind="stable")
        tokens = tokens[order]
        sentence = np.searchsorted(self.offsets_, tokens, side="right") - 1
        self.issues_ = np.stack([sentence, tokens - self.offsets_[sentence]], axis=1)
        self._given = found.given[order]
        self.sentence_scores_ = sentence_scores(self.scores_, self.offsets_, self.sentence_score, self.temperature)
        held = np.unique(sentence)
        self.ranking_ = held[np.argsort(self.sentence_scores_[held], kind="stable")]
        return self

    def evidence(self, tokens: Sequence[Sequence[str]] | None = None, window: int = 8) -> dict[str, Array]:
        """The suspect tokens, the most suspicious first.

        Parameters
        ----------
        tokens : the words of each sentence; when given, the column `context` shows each suspect in brackets inside
            its sentence.
        window : words shown on either side.

        Returns
        -------
        columns of m entries: sentence, position, given class, suggested class, score, and context.
        """
        sentence, position = self.issues_.T
        at = self.offsets_[sentence] + position
        columns: dict[str, Array] = {
            "sentence": sentence,
            "position": position,
            "given": self.classes_[self._given],
            "suggested": self.classes_[self.suggested_[at]],
            "score": self.scores_[at],
        }
        if tokens is not None:
            lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
            if not np.array_equal(lengths, np.diff(self.offsets_)):
                came, wanted = int(lengths.sum()), int(self.offsets_[-1])
                raise InputError(f"The words do not fit the labels: {came} words for {wanted} tokens.")
            shown = [_context(tokens[i], j, window) for i, j in self.issues_.tolist()]
            columns["context"] = np.array(shown, dtype=str)
        return columns


def _context(words: Sequence[str], at: int, window: int) -> str:
    """The word in brackets among its neighbours."""
    before, after = words[max(at - window, 0) : at], words[at + 1 : at + 1 + window]
    start = ["..."] if at > window else []
    end = ["..."] if at + 1 + window < len(words) else []
    return " ".join([*start, *before, f"[{words[at]}]", *after, *end])


def masks_of(labels: Sequence[npt.ArrayLike], pred_probs: Ragged) -> Masks:
    """Labels as `Masks`, from one sequence of class codes a sentence; classes are named by the columns 0..k-1."""
    lengths = np.array([len(sentence) for sentence in labels])  # type: ignore[arg-type]
    if not lengths.sum():
        raise InputError("The data set is empty: expected at least two labelled tokens.")
    space = Space(tuple(map(str, range(n_columns(pred_probs)))), Kind.MASK)
    values = np.array(list(chain.from_iterable(labels)))  # type: ignore[arg-type]
    try:
        return Masks(space, values, pointer_of(lengths))
    except InputError as error:
        raise _placed(error, [lengths]) from None


def _placed(error: InputError, lengths: list[Array]) -> InputError:
    """The same error, with the sentence and the position of its token, from lengths of sentences in blocks."""
    if error.row is None:
        return error
    offsets = pointer_of(np.concatenate(lengths))
    sentence = int(np.searchsorted(offsets, error.row, side="right")) - 1
    text = str(error).removesuffix(f" (first offending row: {error.row})")
    return InputError(f"Token {error.row - offsets[sentence]} of sentence {sentence}: {text}", row=sentence)


def _slices(blocks: Iterable[tuple[Masks, Ragged]], spaces: list[Space], lengths: list[Array]) -> Iterator[list[Rows]]:
    """Cut blocks into slices of tokens, one column each; keep the space and the sentence lengths of each block."""
    start = 0
    spaces.clear()
    lengths.clear()
    for masks, probabilities in blocks:
        k, space = n_columns(probabilities), masks.space
        if space.kind is Kind.REAL or space.n_classes != k:
            raise InputError(f"pred_probs has {k} columns for labels of {space.n_classes} classes ({space.kind}).")
        spaces.append(space)
        spaces[0].require(space)
        lengths.append(masks.lengths)
        given = masks.values.astype(np.int64)
        if masks.mask is not None:
            given[~masks.mask] = UNLABELLED
        for at, part in token_slices(probabilities, masks.offsets, max(SLICE // (8 * k), 1)):
            yield [Rows(start + at, given[at : at + len(part)], bits_of(part))]
        start += len(given)

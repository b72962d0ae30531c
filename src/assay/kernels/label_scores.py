"""How well a given label suits a row of predicted probabilities: three scores, low where the label is suspicious.

- self-confidence: `p[given]`
- normalised margin: `(p[given] - max(p[others]) + 1) / 2`
- confidence-weighted entropy: `log1p(s) / s` with `s = (entropy(p) / log k) / max(p[given], 1e-6)`

The last saturates when the model is certain. As s goes to 0 the score goes to 1, for a model certain of the given label
cannot make it suspicious (the common implementation divides by a clipped s there, and calls the surest labels the
worst). And a given class of no probability is suspicious however small the entropy: s is never below its own term of
the entropy, `log(1 / p[given]) / log k`, which the clip at 1e-6 would hide.

Each may be adjusted for imbalance: class thresholds are taken from p, the row is shifted by the largest of them, and
divided by its sum.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from numba import njit

from assay.errors import InputError
from assay.kernels.blocks import in_threads
from assay.kernels.probabilities import UNLABELLED, bits_of, value

Score = Literal["self_confidence", "normalized_margin", "confidence_weighted_entropy"]
SCORES: tuple[str, ...] = get_args(Score)
_LEAST, _TINY = 1e-6, 1e-300


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _score(bits: Any, given: Any, kind: int, adjust: bool, shift: Any, scores: Any) -> None:
    """Write the score of every row; to adjust, `shift` (k,) is added to p and the row divided by its sum."""
    k = bits.shape[1]
    for r in range(len(given)):
        own = given[r]
        if own == UNLABELLED:
            scores[r] = np.nan
            continue
        total, other, logs = 0.0, -1.0, 0.0
        for j in range(k):
            p = np.float64(value(bits[r, j])) + shift[j]
            total += p
            if j != own and p > other:
                other = p
            if kind == 2 and p > 0.0:
                logs += p * np.log(p)
        mine = np.float64(value(bits[r, own])) + shift[own]
        if not adjust:
            total = 1.0
        if kind == 0:
            scores[r] = mine / total
        elif kind == 1:
            scores[r] = ((mine - other) / total + 1.0) / 2.0
        else:
            entropy = np.log(total) - logs / total
            least = -np.log(max(mine / total, _TINY))
            spread = max(entropy / max(mine / total, _LEAST), least) / np.log(k)
            scores[r] = np.log1p(spread) / spread if spread > 0.0 else 1.0


def scores_of_bits(
    bits: npt.NDArray[Any],
    given: npt.NDArray[np.int64],
    score: Score,
    thresholds: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[Any]:
    """Scores (n,) of rows held as `bits_of`: float64 for float64 rows, else float32; `thresholds` ask for adjusting."""
    adjust = thresholds is not None
    shift = np.zeros(bits.shape[1]) if thresholds is None else thresholds.max() - thresholds
    scores = np.empty(len(given), np.float64 if bits.itemsize == 8 else np.float32)
    kind = SCORES.index(score)

    def task(start: int, stop: int) -> None:
        _score(bits[start:stop], given[start:stop], kind, adjust, shift, scores[start:stop])

    in_threads(task, len(given))
    return scores


def label_scores(
    labels: npt.ArrayLike,
    pred_probs: npt.ArrayLike,
    score: Score = "normalized_margin",
    thresholds: npt.ArrayLike | None = None,
) -> npt.NDArray[Any]:
    """Score how well labels suit predicted probabilities.

    Parameters
    ----------
    labels : (n,) integers in 0..k-1.
    pred_probs : (n, k) float16, float32 or float64 rows that sum to one.
    score : "self_confidence", "normalized_margin" or "confidence_weighted_entropy".
    thresholds : (k,) class thresholds; when given, scores are adjusted for imbalance.

    Returns
    -------
    (n,) scores between 0 and 1, low where the label is suspicious.

    Examples
    --------
    >>> label_scores([0, 0], [[0.9, 0.1], [0.2, 0.8]])
    array([0.9, 0.2])
    """
    if score not in SCORES:
        raise InputError(f"Unknown score {score!r}: expected one of {', '.join(SCORES)}.")
    given, probabilities = np.asarray(labels), np.asarray(pred_probs)
    if probabilities.ndim != 2 or given.shape != probabilities.shape[:1] or given.dtype.kind not in "iu":
        raise InputError(
            f"Expected integer labels (n,) and probabilities (n, k), got {given.dtype} labels of shape {given.shape} "
            f"and probabilities of shape {probabilities.shape}."
        )
    outside = (given < 0) | (given >= probabilities.shape[1])
    if outside.any():
        raise InputError(f"Labels must lie in 0..{probabilities.shape[1] - 1}.", row=int(outside.argmax()))
    adjust = None if thresholds is None else np.asarray(thresholds, dtype=np.float64)
    return scores_of_bits(bits_of(probabilities), given.astype(np.int64), score, adjust)

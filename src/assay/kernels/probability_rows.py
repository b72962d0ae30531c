"""Probabilities of tags and of tokens, as the rows that confident learning reads.

Legend of shapes: n rows or sentences, l tags, t tokens, k classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.kernels.probabilities import TOLERANCE, UNLABELLED, Rows, bits_of

Array = npt.NDArray[Any]
Ragged = Array | Sequence[npt.ArrayLike]  # all tokens in order, or one array a sentence


def tag_rows(start: int, given: Array, known: npt.NDArray[np.bool_] | None, probabilities: Array) -> list[Rows]:
    """Make one `Rows` a tag, of two classes: absent and present; a bad cell raises and names its row.

    Parameters
    ----------
    start : index of the first row in the data set.
    given : (n, l) 0 or 1.
    known : (n, l), false where a cell is unknown; None when all are known.
    probabilities : (n, l) probability of each tag. In half precision `1 - p` would lose p: it is widened.
    """
    codes = np.ascontiguousarray(given.T, dtype=np.int64)
    if known is not None:
        codes[~known.T] = 0
    if codes.min() < 0 or codes.max() > 1:
        wrong = (codes < 0) | (codes > 1)
        row = int(wrong.any(axis=0).argmax())
        came = codes[wrong[:, row], row][0]
        raise InputError(f"Tags must be 0 or 1, got {came}: missing is a false mask.", row=start + row)
    low, high = probabilities.min(), probabilities.max()
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):  # NaN included
        wrong = ~((probabilities >= -TOLERANCE) & (probabilities <= 1 + TOLERANCE))
        row = int(wrong.any(axis=1).argmax())
        tag = int(wrong[row].argmax())
        raise InputError(
            f"pred_probs must be probabilities, got {probabilities[row, tag]:g} for tag {tag}: turn logits into "
            "probabilities with a sigmoid, and logarithms with exp.",
            row=start + row,
        )
    wide = np.result_type(probabilities, np.float32)
    pairs = np.empty((*probabilities.T.shape, 2), wide)
    present = probabilities.T if low >= 0 and high <= 1 else np.clip(probabilities.T, 0, 1)
    pairs[..., 1] = present
    np.subtract(1, present, out=pairs[..., 0], dtype=wide)
    if known is not None:
        codes[~known.T] = UNLABELLED
    return [Rows(start, code, bits_of(pair)) for code, pair in zip(codes, pairs, strict=True)]


def n_columns(pred_probs: Ragged) -> int:
    """Number of classes, k."""
    if not len(pred_probs):
        raise InputError("The data set is empty: pred_probs holds no rows.")
    shape = np.shape(pred_probs if isinstance(pred_probs, np.ndarray) and pred_probs.ndim == 2 else pred_probs[0])
    if len(shape) != 2 or shape[1] < 2:
        raise InputError(f"Expected pred_probs (tokens, k) with two or more classes, got shape {shape}.")
    return int(shape[1])


def token_slices(probabilities: Ragged, offsets: npt.NDArray[np.int64], step: int) -> Iterator[tuple[int, Array]]:
    """Cut probabilities into arrays of about `step` tokens, each given with its first token.

    Parameters
    ----------
    probabilities : (t, k) array, which is only sliced; or one (tokens, k) array a sentence, joined a slice at a time.
    offsets : (n + 1,) int64, where the sentences begin.
    step : tokens of a slice.
    """
    n, k = len(offsets) - 1, n_columns(probabilities)
    if isinstance(probabilities, np.ndarray) and probabilities.ndim == 2:
        if len(probabilities) != offsets[-1]:
            raise InputError(f"Expected pred_probs of {offsets[-1]} tokens, got {len(probabilities)}.")
        yield from ((at, _floats(probabilities[at : at + step])) for at in range(0, len(probabilities), step))
        return
    if len(probabilities) != n:
        raise InputError(f"Expected pred_probs of {n} sentences, got {len(probabilities)}.")
    arrays = [np.asarray(part) for part in probabilities]
    for i, (part, length) in enumerate(zip(arrays, np.diff(offsets).tolist(), strict=True)):
        if part.shape != (length, k):
            raise InputError(f"Expected pred_probs of shape {(length, k)} for sentence {i}, got {part.shape}.")
    cuts = np.unique(np.searchsorted(offsets, np.arange(0, offsets[-1], step), side="right") - 1)
    for begin, end in zip(cuts, [*cuts[1:], n][: len(cuts)], strict=True):
        yield int(offsets[begin]), _floats(np.concatenate(arrays[begin:end]))


def _floats(probabilities: Array) -> Array:
    """The array, if kernels can read it."""
    if probabilities.dtype.kind != "f" or probabilities.itemsize > 8:
        raise InputError(f"Expected pred_probs as float16, float32 or float64, got {probabilities.dtype}.")
    return probabilities

"""Run lengths of COCO masks, decoded with numpy alone.

A mask (h, w) is read column by column, top to bottom; the counts are lengths of runs of 0 and 1 in turn, beginning
with 0. Compressed, each count from the fourth on is its difference to the count two before it, written in groups of
five bits, low ones first: characters from "0" on, 32 = another group follows, 16 in the last group = negative
(pycocotools 2.0, `maskApi`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError

LARGEST = 1 << 28  # pixels of one mask


def decode(segmentation: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
    """The mask `(h, w)` of `{"size": [h, w], "counts": [...] or "..."}`.

    Memory: one byte a pixel, and eight a run.

    >>> decode({"size": [2, 3], "counts": [1, 2, 3]}).astype(int).tolist()
    [[0, 1, 0], [1, 0, 0]]
    >>> decode({"size": [2, 5], "counts": "061M"}).sum()
    np.int64(9)
    """
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, list) or len(size) != 2 or any(type(side) is not int or side < 0 for side in size):
        raise InputError(f"The size of a mask is [height, width], got {size!r}.")
    height, width = size
    if height * width > LARGEST:
        raise InputError(f"A mask of {height} x {width} pixels is too large: at most {LARGEST} pixels are decoded.")
    if isinstance(counts, str):
        runs = decompressed(counts)
    elif isinstance(counts, list) and all(type(count) is int and 0 <= count <= LARGEST for count in counts):
        runs = np.array(counts, dtype=np.int64)
    else:
        raise InputError("The counts of a mask are a text, or whole numbers that are not negative.")
    if (len(runs) and runs.min() < 0) or runs.sum() != height * width:
        raise InputError(f"The runs of a mask cover {runs.sum()} pixels; {height} x {width} were expected.")
    ones = np.arange(len(runs)) % 2 == 1
    return np.repeat(ones, runs).reshape(width, height).T


def decompressed(text: str) -> npt.NDArray[np.int64]:
    """The counts in a compressed text.

    >>> decompressed("0PP1").tolist(), decompressed("0610").tolist()
    ([0, 1024], [0, 6, 1, 6])
    """
    codes = np.array([ord(character) - 48 for character in text], dtype=np.int64)
    if ((codes < 0) | (codes > 63)).any() or (len(codes) and codes[-1] & 32):
        raise InputError("The compressed counts of a mask are damaged or cut off.")
    ends = np.flatnonzero((codes & 32) == 0)
    starts = np.concatenate([[0], ends + 1])[: len(ends)]
    lengths = ends - starts + 1
    if len(ends) == 0:
        return np.zeros(0, dtype=np.int64)
    if lengths.max() > 7:
        raise InputError("The compressed counts of a mask are damaged: a number is too long.")
    place = np.arange(len(codes)) - np.repeat(starts, lengths)
    values = np.add.reduceat((codes & 31) << (5 * place), starts)
    values -= np.where(codes[ends] & 16, np.int64(1) << (5 * lengths), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values

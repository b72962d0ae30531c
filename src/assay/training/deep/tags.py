"""Tags as a network learns from them: several a row, each confirmed, unknown, or recorded as absent.

Everywhere below, tags are (n, k) int8 with 1 = confirmed, 0 = unknown, -1 = recorded as absent.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels import Tags
from assay.training.deep import torch
from assay.training.deep.batches import Data, pick


class TagData(Data):
    """Rows with tags, for objectives that read them as `batch.targets` (b, k) int8.

    Parameters
    ----------
    inputs : as `Data` takes them.
    targets : (n, k) of 1, 0 and -1, or `Tags`; a single tag is allowed.
    n_classes : k.

    Raises
    ------
    InputError naming the first row with another value.

    >>> TagData(torch.zeros(2, 3), [[1, 0], [0, 2]], 2)
    Traceback (most recent call last):
    assay.errors.InputError: A tag is 2: expected 1 (confirmed), 0 (unknown) or -1 (recorded as absent). \
(first offending row: 1)
    """

    __slots__ = ()

    def __post_init__(self) -> None:
        given = torch.from_numpy(checked_tags(self.targets))
        self.targets, k = torch.zeros(len(given), dtype=torch.int64), self.n_classes
        self.n_classes = max(2, k)  # what the floor asks of classes; tags may be one
        super().__post_init__()
        if given.shape != (self.n_rows, k):
            raise InputError(f"Tags have shape {tuple(given.shape)}: expected ({self.n_rows}, {k}), one column a tag.")
        self.targets, self.n_classes = given, k

    def take(self, rows: Any) -> TagData:
        """The chosen rows, as data of their own."""
        at = torch.as_tensor(rows, dtype=torch.int64)
        extra = [None if column is None else column[at] for column in (self.weights, self.labelled)]
        return TagData(pick(self.inputs, at), self.targets[at], self.n_classes, *extra)


def checked_tags(given: Any) -> npt.NDArray[np.int8]:
    """Tags (n, k) int8 of 1, 0 and -1, from such an array or from `Tags`, whose absent tags are those it knows."""
    if isinstance(given, Tags):
        return np.where(given.present, 2 * given.y - 1, 0).astype(np.int8)
    values = np.asarray(given)
    if values.ndim != 2 or values.shape[1] == 0:
        raise InputError(f"Tags have shape {values.shape}: give one row a row and one column a tag, (n, k).")
    bad = ~np.isin(values, (-1, 0, 1))
    if bad.any():
        row = int(bad.any(axis=1).argmax())
        found = values[row][bad[row]][0]
        raise InputError(f"A tag is {found}: expected 1 (confirmed), 0 (unknown) or -1 (recorded as absent).", row=row)
    return values.astype(np.int8)


def confirmed_sampling(tags: npt.NDArray[np.int8]) -> npt.NDArray[np.float64]:
    """Chances (n,) for `fit(sampling=)` of which half is even and half goes to confirmed rows, to each tag alike.

    So that batches hold confirmed rows of rare tags. A loss must weigh rows by 1 / chance to mean what it did.

    >>> confirmed_sampling(np.array([[1], [0]], dtype=np.int8)).tolist()
    [0.75, 0.25]
    """
    confirmed = tags > 0
    lifted = (confirmed / np.maximum(confirmed.sum(0), 1)).mean(1)  # sums to one where every tag is confirmed somewhere
    return np.asarray(0.5 / len(tags) + 0.5 * lifted)


def hold_out(tags: npt.NDArray[np.int8], share: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Which rows to hold out (n,), about a share of them drawn at random; of each tag a confirmed row is kept."""
    confirmed = tags > 0
    held = rng.permutation(len(tags)) < share * len(tags)
    lost = confirmed.any(0) & ~(confirmed & ~held[:, None]).any(0)
    return np.asarray(held & ~confirmed[:, lost].any(1))

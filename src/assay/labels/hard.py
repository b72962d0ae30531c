"""Hard labels: one class a row, or none."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assay.labels.checks import CLASSES, Bools, Ints, as_integers, as_mask, as_rows, of_kind
from assay.labels.container import Container
from assay.labels.spaces import Space, distinct


@dataclass(frozen=True, slots=True, eq=False)
class Hard(Container):
    """One class a row.

    Parameters
    ----------
    space : the k classes.
    y : codes `(n,)` in 0..k-1, kept as int32. The value under a false mask is not read.
    mask : `(n,)` bool, true = labelled; None when every row is. Always None when all are true.

    Examples
    --------
    >>> labels = Hard.from_values(["cat", "dog", None, "cat"])
    >>> labels.space.names, labels.y.tolist(), labels.counts().tolist()
    (('cat', 'dog'), [0, 1, 0, 0], [2, 1])
    >>> labels.names()
    ['cat', 'dog', None, 'cat']
    """

    space: Space
    y: Ints
    mask: Bools | None = None

    def __post_init__(self) -> None:
        of_kind(self.space, "Hard labels", *CLASSES)
        mask = as_mask(self.mask, np.shape(self.y), "hard labels")
        y = as_integers(self.y, "Hard labels", high=self.space.n_classes, mask=mask)
        object.__setattr__(self, "y", y)
        object.__setattr__(self, "mask", mask)

    @classmethod
    def from_values(
        cls,
        values: Sequence[object] | npt.NDArray[np.generic],
        space: Space | None = None,
        missing: Collection[object] = ("",),
    ) -> Hard:
        """Read class names `(n,)`; None, NaN and the values in `missing` are unlabelled rows.

        Without a space, the space of the values seen is made (`Space.from_values`).
        """
        found, inverse = distinct(values)
        known = np.array([not is_missing(value, missing) for value in found], dtype=bool)
        mask = known[inverse] if len(found) else np.zeros(0, dtype=bool)
        if space is None:
            space = Space.from_values(value for value, keep in zip(found, known, strict=True) if keep)
        return cls(space, space.encode(values, mask), mask)

    @property
    def n_rows(self) -> int:
        """Number of rows, n."""
        return len(self.y)

    @property
    def present(self) -> Bools:
        """Which rows are labelled, `(n,)` bool."""
        return np.ones(self.n_rows, dtype=bool) if self.mask is None else self.mask

    def names(self) -> list[str | None]:
        """Class name of each row, None where there is no label."""
        names = self.space.names
        return [names[code] if there else None for code, there in zip(self.y, self.present, strict=True)]

    def counts(self) -> npt.NDArray[np.int64]:
        """Labelled rows of each class, `(k,)`."""
        y = self.y if self.mask is None else self.y[self.mask]
        return np.bincount(y, minlength=self.space.n_classes)

    def take(self, rows: npt.ArrayLike) -> Hard:
        """Return the labels of the chosen rows."""
        at = as_rows(rows, self.n_rows)
        return Hard(self.space, self.y[at], None if self.mask is None else self.mask[at])

    def in_space(self, space: Space) -> Hard:
        """Return the same labels coded in a space with the same names in another order."""
        return Hard(space, self.space.permutation(space)[self.y] if self.n_rows else self.y, self.mask)


def is_missing(value: object, missing: Collection[object] = ("",)) -> bool:
    """Whether a cell holds no label: None, NaN, NaT, pandas.NA, or one of `missing`."""
    if value is None or type(value).__name__ == "NAType":  # pandas.NA answers no comparison
        return True
    return bool(value != value) or value in missing

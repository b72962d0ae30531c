"""Tags: any number of classes a row, each of them present, absent or unknown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels.checks import Bools, Ints, as_integers, as_mask, as_rows, of_kind
from assay.labels.container import Container
from assay.labels.spaces import Kind, Space, name_of


@dataclass(frozen=True, slots=True, eq=False)
class Tags(Container):
    """An indicator for each row and tag. A tag that nobody looked for is unknown, not absent.

    Parameters
    ----------
    space : the l tags, of kind multilabel.
    y : `(n, l)` int8, 1 = the row has the tag, 0 = it has not. The value under a false mask is not read.
    mask : `(n, l)` bool, true = known; None when all are.
    positive_only : nobody records absence: the known cells are exactly the ones (positive-unlabelled data).

    Examples
    --------
    >>> tags = Tags.from_lists([["red", "round"], [], None])
    >>> tags.y.tolist(), tags.lists()
    ([[1, 1], [0, 0], [0, 0]], [['red', 'round'], [], None])
    """

    space: Space
    y: Ints
    mask: Bools | None = None
    positive_only: bool = False

    def __post_init__(self) -> None:
        of_kind(self.space, "Tags", Kind.MULTILABEL)
        shape = np.shape(self.y)
        if len(shape) != 2 or shape[1] != self.space.n_classes:
            raise InputError(f"Tags must have shape (n, {self.space.n_classes}), one column a tag; got {shape}.")
        mask = as_mask(self.mask, shape, "tags")
        y = as_integers(self.y, "Tags", dtypes=(np.int8,), high=2, mask=mask, ndim=2)
        if self.positive_only:
            if mask is not None and not np.array_equal(mask, y == 1):
                row = int(np.argmax((mask != (y == 1)).any(axis=1)))
                raise InputError("Positive-only tags know exactly the ones: leave the mask out.", row=row)
            mask = as_mask(y == 1, shape, "tags")
        object.__setattr__(self, "y", y)
        object.__setattr__(self, "mask", mask)

    @classmethod
    def from_lists(
        cls, rows: Sequence[Iterable[object] | None], space: Space | None = None, *, positive_only: bool = False
    ) -> Tags:
        """Read one list of tag names a row; None is a row that nobody tagged. Tags not listed are absent,
        or unknown when `positive_only`.
        """
        lists = [None if row is None else [name_of(tag) for tag in row] for row in rows]
        if space is None:
            space = Space.from_values((tag for tags in lists for tag in tags or ()), Kind.MULTILABEL)
        where = {name: i for i, name in enumerate(space.names)}
        y = np.zeros((len(lists), space.n_classes), dtype=np.int8)
        mask = np.ones(y.shape, dtype=bool)
        for row, tags in enumerate(lists):
            mask[row] = tags is not None
            for tag in tags or ():
                if tag not in where:
                    raise InputError(f"Unknown tag {tag!r}: the space holds {list(space.names[:5])}.", row=row)
                y[row, where[tag]] = 1
        return cls(space, y, None if positive_only else mask, positive_only)

    @property
    def n_rows(self) -> int:
        """Number of rows, n."""
        return len(self.y)

    @property
    def present(self) -> Bools:
        """Which cells are known, `(n, l)` bool."""
        return np.ones(self.y.shape, dtype=bool) if self.mask is None else self.mask

    def lists(self) -> list[list[str] | None]:
        """Tag names of each row; None where no tag is known."""
        seen: Bools = np.asarray(self.present.any(axis=1) | (self.space.n_classes == 0))
        names = self.space.names
        rows = zip(self.y, seen, strict=True)
        return [[names[tag] for tag in np.flatnonzero(row)] if there else None for row, there in rows]

    def counts(self) -> npt.NDArray[np.int64]:
        """Rows known to have each tag, `(l,)`."""
        return np.asarray(self.y.sum(axis=0, dtype=np.int64))

    def take(self, rows: npt.ArrayLike) -> Tags:
        """Return the tags of the chosen rows."""
        at = as_rows(rows, self.n_rows)
        mask = None if self.mask is None or self.positive_only else self.mask[at]
        return Tags(self.space, self.y[at], mask, self.positive_only)

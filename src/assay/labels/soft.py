"""Soft labels: a belief over the classes for each row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels.checks import CLASSES, Bools, Floats, as_mask, as_reals, as_rows, first, of_kind
from assay.labels.container import Container
from assay.labels.spaces import Space

TOLERANCE = 1e-3  # float16 rows of a thousand classes still sum to one within this


@dataclass(frozen=True, slots=True, eq=False)
class Soft(Container):
    """A probability for each class and row. A belief, not an observation.

    Parameters
    ----------
    space : the k classes, in column order.
    p : probabilities `(n, k)`, float16, float32 or float64 (kept); each row sums to 1 within 1e-3.
    mask : `(n,)` bool, true = there is a belief; None when every row has one.

    Examples
    --------
    >>> Soft(Space(("cat", "dog")), np.array([[0.9, 0.1], [0.5, 0.4]]))
    Traceback (most recent call last):
    assay.errors.InputError: Soft labels must sum to 1 in each row, got 0.9: ... (first offending row: 1)
    """

    space: Space
    p: Floats
    mask: Bools | None = None

    def __post_init__(self) -> None:
        of_kind(self.space, "Soft labels", *CLASSES)
        shape = np.shape(self.p)
        k = self.space.n_classes
        if len(shape) != 2 or shape[1] != k:
            raise InputError(f"Soft labels must have shape (n, {k}), one column a class of the space; got {shape}.")
        mask = as_mask(self.mask, shape[:1], "soft labels")
        p = as_reals(
            self.p, "Soft labels", dtypes=(np.float64, np.float32, np.float16), mask=mask, ndim=2, finite=False
        )
        if p.size:
            low = p.min(axis=1)
            row = first(low < 0)
            if row is not None:
                raise InputError(f"Soft labels must not be negative, got {low[row]:.6g}.", row=row)
            total = p.sum(axis=1, dtype=np.float64)
            wrong = ~(np.abs(total - 1) <= TOLERANCE)
            row = first(wrong if mask is None else wrong & mask)
            if row is not None:
                raise InputError(
                    f"Soft labels must sum to 1 in each row, got {total[row]:.6g}: divide by the row sums "
                    "with `Soft.normalized` if that is what they mean.",
                    row=row,
                )
        object.__setattr__(self, "p", p)
        object.__setattr__(self, "mask", mask)

    @classmethod
    def normalized(cls, space: Space, weights: npt.ArrayLike, mask: npt.NDArray[np.bool_] | None = None) -> Soft:
        """Divide non-negative weights `(n, k)` by their row sums; a row without weight is refused unless masked."""
        w = np.asarray(weights, dtype=np.float64)
        total = w.sum(axis=1, keepdims=True)
        return cls(space, np.divide(w, total, out=np.zeros_like(w), where=total > 0), mask)

    @property
    def n_rows(self) -> int:
        """Number of rows, n."""
        return len(self.p)

    @property
    def present(self) -> Bools:
        """Which rows hold a belief, `(n,)` bool."""
        return np.ones(self.n_rows, dtype=bool) if self.mask is None else self.mask

    def take(self, rows: npt.ArrayLike) -> Soft:
        """Return the beliefs of the chosen rows."""
        at = as_rows(rows, self.n_rows)
        return Soft(self.space, self.p[at], None if self.mask is None else self.mask[at])

    def in_space(self, space: Space) -> Soft:
        """Return the same beliefs with the columns in the order of a space that holds the same names."""
        return Soft(space, self.p[:, space.permutation(self.space)], self.mask)

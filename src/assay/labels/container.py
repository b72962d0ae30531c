"""What every label container shares: a space, rows, equality, a choice of rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from assay.labels.spaces import Space


class Container(ABC):
    """Labels of `n_rows` rows in one `space`; immutable. Two are equal when type, space and every value are."""

    __slots__ = ()
    space: Space

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """Number of rows: items, tasks, bags, pairs or sequences, whichever carries the label."""

    @abstractmethod
    def take(self, rows: npt.ArrayLike) -> Self:
        """Return the labels of the chosen rows `(m,)`, given as row numbers or as booleans `(n_rows,)`."""

    def __len__(self) -> int:
        return self.n_rows

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        mine: Any = self
        return all(_same(getattr(self, field.name), getattr(other, field.name)) for field in fields(mine))

    __hash__ = None  # type: ignore[assignment]


def _same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a is b or np.array_equal(a, b)
    return not isinstance(a, np.ndarray) and not isinstance(b, np.ndarray) and a == b

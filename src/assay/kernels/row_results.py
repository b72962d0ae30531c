"""What the second pass of confident learning finds out about every row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(slots=True)
class RowResults:
    """What the second pass says of each row of a block.

    Parameters
    ----------
    start : index of the block's first row.
    suggested : (n,) int32 the most probable class.
    status : (n,) uint8, bit `DISAGREES`: the most probable class is not the given one, even with the tie bonus;
        bit `OFF_DIAGONAL`: the row is confidently counted for another class than the given one.
    gap : (n,) uint8 `gap_level` of the row.
    scores : (n,) float32 or float64, NaN without a label.
    given : (d,) given classes of the rows that disagree, in row order, in the smallest type that holds them.
    """

    start: int
    suggested: npt.NDArray[np.int32]
    status: npt.NDArray[np.uint8]
    gap: npt.NDArray[np.uint8]
    scores: npt.NDArray[Any]
    given: npt.NDArray[Any]

    @classmethod
    def empty(cls, start: int, n: int, bits_dtype: np.dtype[Any]) -> RowResults:
        """Room for n rows from `start`."""
        dtype = np.float64 if bits_dtype.itemsize == 8 else np.float32
        suggested, given = np.empty(n, np.int32), np.empty(0, np.int32)
        return cls(start, suggested, np.empty(n, np.uint8), np.empty(n, np.uint8), np.empty(n, dtype), given)

    def part(self, start: int, stop: int) -> RowResults:
        """Views of some rows."""
        here = slice(start, stop)
        columns = (self.suggested[here], self.status[here], self.gap[here], self.scores[here])
        return RowResults(self.start + start, *columns, given=self.given[:0])

    def copy(self, other: RowResults) -> None:
        """Take over the results of as many rows."""
        self.suggested[:], self.status[:] = other.suggested, other.status
        self.gap[:], self.scores[:], self.given = other.gap, other.scores, other.given

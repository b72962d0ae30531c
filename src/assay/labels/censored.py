"""Censored numbers: the truth lies between two bounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels.checks import Bools, Floats, as_reals, as_rows, first, of_kind, same_length
from assay.labels.container import Container
from assay.labels.spaces import Kind, Space

DURATION = Space((), Kind.DURATION)


@dataclass(frozen=True, slots=True, eq=False)
class Censored(Container):
    """Bounds on a duration or a real number. lo = hi is an exact value; hi = inf is "not yet".

    Parameters
    ----------
    space : a space of kind duration (bounds >= 0) or real.
    lo, hi : `(n,)` float64, lo <= hi. A row about which nothing is known has the widest bounds.

    Examples
    --------
    >>> times = Censored.from_time_event([3.0, 5.0], [True, False])
    >>> times.hi.tolist(), times.event.tolist()
    ([3.0, inf], [True, False])
    """

    space: Space
    lo: Floats
    hi: Floats

    def __post_init__(self) -> None:
        of_kind(self.space, "Censored labels", Kind.DURATION, Kind.REAL)
        lo = as_reals(self.lo, "Lower bounds", finite=False)
        hi = as_reals(self.hi, "Upper bounds", finite=False)
        same_length("censored labels", len(lo), hi=hi)
        row = first(lo > hi)
        if row is not None:
            raise InputError(f"A lower bound lies above its upper bound: {lo[row]:g} > {hi[row]:g}.", row=row)
        row = first((lo == np.inf) | (hi == -np.inf))
        if row is not None:
            raise InputError(f"No number lies between {lo[row]:g} and {hi[row]:g}.", row=row)
        row = first(lo < 0) if self.space.kind is Kind.DURATION else None
        if row is not None:
            raise InputError(f"A duration cannot be negative, got {lo[row]:g}.", row=row)
        object.__setattr__(self, "lo", lo)
        object.__setattr__(self, "hi", hi)

    @classmethod
    def from_time_event(cls, time: npt.ArrayLike, event: npt.ArrayLike, space: Space = DURATION) -> Censored:
        """Read survival data: `time` (n,), and `event` (n,) bool: true = it happened then, false = not until then."""
        seen = np.asarray(event)
        if seen.dtype != np.bool_:
            raise InputError(f"Events must be booleans, got {seen.dtype}: write `event == 1` if 1 means it happened.")
        lo = as_reals(time, "Times")
        same_length("censored labels", len(lo), event=seen)
        return cls(space, lo, np.where(seen, lo, np.inf))

    @classmethod
    def exact(cls, values: npt.ArrayLike, space: Space = DURATION) -> Censored:
        """Read exactly known values `(n,)`."""
        lo = as_reals(values, "Values")
        return cls(space, lo, lo)

    @property
    def n_rows(self) -> int:
        """Number of rows, n."""
        return len(self.lo)

    @property
    def event(self) -> Bools:
        """Which rows are known exactly, `(n,)` bool."""
        return np.asarray(self.lo == self.hi)

    @property
    def time(self) -> Floats:
        """Time of the event, or the last time without it `(n,)`; refuses interval-censored rows."""
        row = first(~self.event & (self.hi != np.inf))
        if row is not None:
            raise InputError(f"The event lies between {self.lo[row]:g} and {self.hi[row]:g}: it has no time.", row=row)
        return self.lo

    def take(self, rows: npt.ArrayLike) -> Censored:
        """Return the bounds of the chosen rows."""
        at = as_rows(rows, self.n_rows)
        return Censored(self.space, self.lo[at], self.hi[at])

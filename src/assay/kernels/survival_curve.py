"""Kaplan-Meier curves with intervals: of the label, and of the end of watching.

    S(t) = product over t_j <= t of (1 - d_j / R_j)       Var log S(t) = sum of d_j / (R_j (R_j - d_j)), Greenwood, 1926

with d_j rows that fall at t_j of R_j at risk. Events come before censorings of the same time, so that a censored row is
at risk of the event of its time, and a row with an event is not at risk of being censored then. Row by row in this
order both formulas telescope to those of whole instants. Legend of shapes: n rows, u distinct times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from assay.kernels.intervals import check_confidence
from assay.kernels.timeline import Timeline

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SurvivalCurve:
    """A step function that holds from each time until the next.

    Parameters
    ----------
    time : (u,) distinct times, ascending.
    survival : (u,) share that lasts beyond each.
    low, high : (u,) bounds of it.
    """

    time: Floats
    survival: Floats
    low: Floats
    high: Floats

    def at(self, time: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Share that lasts beyond other times (m,), and its bounds; 1 before the first time."""
        place = np.searchsorted(self.time, np.asarray(time, dtype=np.float64), "right")
        found = (np.r_[1.0, values][place] for values in (self.survival, self.low, self.high))
        survival, low, high = found
        return survival, low, high

    @property
    def median(self) -> float:
        """The first time beyond which at most half last; inf where more than half do to the end."""
        below = np.flatnonzero(self.survival <= 0.5)
        return float(self.time[below[0]]) if len(below) else float("inf")


def survival_curve(line: Timeline, *, of_censoring: bool = False, confidence: float = 0.95) -> SurvivalCurve:
    """The Kaplan-Meier curve of the label, or of the end of watching, in one pass over rows that are sorted already.

    Parameters
    ----------
    line : the rows in time.
    of_censoring : the curve of P(C > t) instead of P(Y > t).
    confidence : two-sided level of the pointwise bounds, normal for log(-log S), so that they stay in 0..1. Where the
        curve is 1 they are 1; where it is 0, 0 and the last bound before.

    Examples
    --------
    >>> curve = survival_curve(Timeline([1.0, 2.0, 2.0, 3.0], [True, True, False, True]))
    >>> curve.time.tolist(), curve.survival.tolist()
    ([1.0, 2.0, 3.0], [0.75, 0.5, 0.0])
    """
    check_confidence(confidence)
    n = len(line.order)
    falls = line.censored if of_censoring else ~line.censored
    risk = np.arange(n, 0, -1, dtype=np.float64)
    last = np.flatnonzero(np.r_[line.time[1:] != line.time[:-1], True])
    survival = np.cumprod(1 - falls / risk)[last]
    spread = np.sqrt(np.cumsum(np.where(falls, 1 / (risk * np.maximum(risk - 1, 0.5)), 0.0))[last])
    inside = (survival > 0) & (survival < 1)
    log = np.log(np.where(inside, survival, 0.5))
    wide = np.exp(float(special.ndtri(0.5 + confidence / 2)) * spread / -log)
    low, high = np.exp(log * wide), np.exp(log / wide)
    low[~inside], high[~inside] = survival[~inside], 1.0
    if inside.any():
        high[survival <= 0] = high[inside][-1]
    return SurvivalCurve(line.time[last], np.asarray(survival), low, high)

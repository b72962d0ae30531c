"""One step of Bradley-Terry with workers who sometimes do not look: an E step over judgements, sums for the M step.

With strengths g, skill s and lean b (how often a worker who does not look names the first item):

    P(winner of a against b) = s * g[winner] / (g[a] + g[b]) + (1 - s) * (b, or 1 - b for the second)

Legend of shapes: m items, w workers, p judgements.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Judgements:
    """Judged pairs: `first`, `second` and `worker` (p,) int, `first_wins` (p,) bool, `weight` (p,) float64."""

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    first_wins: npt.NDArray[np.bool_]
    worker: npt.NDArray[np.int64]
    weight: Floats


@dataclass(frozen=True, eq=False)
class StepSums:
    """What the M step needs; `looked` is the chance, summed by weight, that a judgement was looked at.

    `total`: log likelihood; `wins`, `rate` (m,): looked-at wins, and sum of looked / (g[a] + g[b]);
    `looked`, `blind`, `blind_first` (w,): judgements looked at, not looked at, and of these those for the first item.
    """

    total: float
    wins: Floats
    rate: Floats
    looked: Floats
    blind: Floats
    blind_first: Floats


def pairwise_step(judged: Judgements, strength: Floats, skill: Floats, lean: Floats) -> StepSums:
    """E step at strengths (m,), skills (w,) and leans (w,)."""
    m, w = len(strength), len(skill)
    wins, rate, looked, blind, blind_first = np.zeros(m), np.zeros(m), np.zeros(w), np.zeros(w), np.zeros(w)
    columns = judged.first, judged.second, judged.first_wins, judged.worker, judged.weight
    total = _step(*columns, strength, skill, lean, wins, rate, looked, blind, blind_first)
    return StepSums(total, wins, rate, looked, blind, blind_first)


def pairwise_information(judged: Judgements, strength: Floats, skill: Floats, lean: Floats) -> Floats:
    """Expected information (m, m) of the log strengths, workers taken as known."""
    information = np.zeros((len(strength), len(strength)))
    columns = judged.first, judged.second, judged.worker, judged.weight
    _information(*columns, strength, skill, lean, information)
    return information


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _step(
    first: Any,
    second: Any,
    first_wins: Any,
    worker: Any,
    weight: Any,
    strength: Any,
    skill: Any,
    lean: Any,
    wins: Any,
    rate: Any,
    looked: Any,
    blind: Any,
    blind_first: Any,
) -> float:
    total = 0.0
    for e in range(len(first)):
        a, b, j, w = first[e], second[e], worker[e], weight[e]
        winner = a if first_wins[e] else b
        both = strength[a] + strength[b]
        seen = skill[j] * strength[winner] / both
        guess = (1 - skill[j]) * (lean[j] if first_wins[e] else 1 - lean[j])
        total += w * math.log(seen + guess)
        look = w * seen / (seen + guess)
        wins[winner] += look
        rate[a] += look / both
        rate[b] += look / both
        looked[j] += look
        blind[j] += w - look
        if first_wins[e]:
            blind_first[j] += w - look
    return total


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _information(
    first: Any, second: Any, worker: Any, weight: Any, strength: Any, skill: Any, lean: Any, information: Any
) -> None:
    for e in range(len(first)):
        a, b, j = first[e], second[e], worker[e]
        chance = strength[a] / (strength[a] + strength[b])
        says = skill[j] * chance + (1 - skill[j]) * lean[j]
        slope = skill[j] * chance * (1 - chance)
        known = weight[e] * slope * slope / max(says * (1 - says), 1e-300)
        information[a, a] += known
        information[b, b] += known
        information[a, b] -= known
        information[b, a] -= known

"""What a reviewer is handed: a row, in which role, why, and what the look is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from assay.errors import InputError
from assay.review.store import Role


class RowDecided(InputError):
    """The row needs no further look by this reviewer: somebody decided it meanwhile, or they did so themselves."""


class Offer(NamedTuple):
    """A row that a reviewer could look at, and what that look is worth."""

    value: float
    row: int
    role: Role
    why: str


@dataclass(frozen=True, slots=True)
class Task:
    """A row to look at, and why. `dataclasses.asdict` makes it JSON.

    Parameters
    ----------
    row : data row.
    role : "first", "second" (blind, after another person's first) or "adjudication" (after a disagreement).
    why : "flagged", "random", "second" or "dispute".
    sampled : "flagged" or "random", to be sent back with the decision.
    p_wrong, low, high : chance that the given label is wrong, with its interval.
    value : expected number of labels put right by this look, less those put wrong.
    given, suggested : class names; None where there is none.
    seen : the verdicts in dispute, [{"reviewer", "verdict", "label", "note"}]; empty unless role is "adjudication".
    """

    row: int
    role: Role
    why: str
    sampled: str
    p_wrong: float
    low: float
    high: float
    value: float
    given: str | None
    suggested: str | None
    seen: list[dict[str, Any]]


class Held(NamedTuple):
    """A row in somebody's hands."""

    reviewer: str
    offer: Offer
    until: float

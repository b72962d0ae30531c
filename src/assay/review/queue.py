"""Which row a reviewer sees next. (Signatures; see docs/review/queue.md.)"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assay.errors import InputError

if TYPE_CHECKING:
    from assay.review.project import Project
    from assay.review.store import Decision, ReviewStore, Stored


class RowDecided(InputError):
    """The row needs no further look by this reviewer: somebody decided it meanwhile, or they did so themselves."""


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
    role: str
    why: str
    sampled: str
    p_wrong: float
    low: float
    high: float
    value: float
    given: str | None
    suggested: str | None
    seen: list[dict[str, Any]]


class Queue:
    """Ranked reviews of one project by several people at once; thread-safe."""

    def __init__(
        self,
        project: Project,
        store: ReviewStore,
        *,
        double: float = 0.1,
        random: float = 0.3,
        target: float = 0.01,
        seed: int = 0,
    ) -> None:
        raise NotImplementedError

    def next(self, reviewer: str, skip: Collection[int] = ()) -> Task | None:
        """The row most worth this reviewer's look, leased for them; None when nothing is left for them.

        A row that the reviewer holds already comes again unless it is in `skip`.
        """
        raise NotImplementedError

    def record(self, decision: Decision) -> Stored:
        """Keep a decision once it is safe on disk. The same key again is the same decision.

        The role that is stored follows from the row's other decisions, not from what the page believed.

        Raises
        ------
        RowDecided : the row needs no more looks, or not by this reviewer.
        InputError : no such row, or a row without a label.
        LedgerError : nothing was stored; try again.
        """
        raise NotImplementedError

    def undo(self, reviewer: str) -> Task | None:
        """Take back the reviewer's last decision and give its row back to them; None when there is none."""
        raise NotImplementedError

    def release(self, reviewer: str, row: int | None = None) -> None:
        """Give back the rows (or one) that a reviewer holds undecided."""
        raise NotImplementedError

    def progress(self) -> dict[str, Any]:
        """How far the review is, as in `assay.review.progress`; plain numbers and text."""
        raise NotImplementedError

    def upcoming(self, offset: int = 0, limit: int = 50) -> list[dict[str, Any]]:
        """The next first looks by value: row, id, given, suggested, p_wrong, why."""
        raise NotImplementedError

    def settle(self, timeout: float = 60.0) -> bool:
        """Wait until everything said so far has been learned from; False when that takes longer."""
        raise NotImplementedError

    def close(self) -> None:
        """End the background thread."""
        raise NotImplementedError

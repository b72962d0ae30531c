"""Which row a reviewer sees next: the one whose look puts the most labels right in expectation.

First looks, blind second looks and words about disputes are ranked in one currency, the expected number of labels put
right by the look, less those put wrong by reviewers' mistakes (`assay.kernels.review_worth` derives it), per look of
the usual length: where enough decisions of a kind were timed, its worth is divided by its median time beside that of
first looks. How often reviewers are mistaken follows from the blind double reviews.

Two shares are chosen and not ranked, because they measure. A share `random` of first looks is the random audit, in the
order of `assay.kernels.audit_draw`, which keeps the error rate unbiased; where no look is expected to put right more
than it puts wrong, all first looks are, unless the share is 0. A share `double` of the rows, picked by a hash of the
row, gets a blind second look by another person; with more than `BACKLOG` waiting the longest waiting goes first.
Agreement is measured on these alone. Unless the share is 0, other rows get a second look as well where the verdict was
so unlikely that this is the worthiest thing to do. Where the two disagree, a third person decides; when there is nobody
else, either of the two. A row that somebody skipped is for the others. Nobody sees a row again otherwise.

The order is made anew in a background thread, a while after each verdict; `next` works with the one at hand.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from dataclasses import replace
from heapq import nlargest
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.errors import InputError
from assay.kernels.audit_draw import first_open
from assay.review.board import Board
from assay.review.progress import counted
from assay.review.ranking import Ranker
from assay.review.store import Decision, ReviewStore, Role, Stored
from assay.review.task import Held, Offer, RowDecided, Task

if TYPE_CHECKING:
    from assay.review.project import Project

__all__ = ["Queue", "RowDecided", "Task"]

LEASE = 600.0  # seconds that a row stays with a reviewer who does not answer
AWAY = 600.0  # seconds after which a reviewer who asks for nothing counts as gone
BACKLOG = 10  # rows that may wait for their second look
OFFERED = 32  # rows of each kind that are tried at once


class Queue:
    """Ranked reviews of one project by several people at once; thread-safe.

    Parameters
    ----------
    project, store : what is reviewed, and where decisions go.
    double : share of rows that get a blind second look; 0 for no second looks at all.
    random : share of first looks that are the random audit.
    target : error rate that is to remain at most; the stop sign is about it.
    seed : of the random audit and of the choice of second looks; the random audit of `assay audit` has 0.
    """

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
        for name, share in (("double", double), ("random", random)):
            if not 0 <= share <= 1:
                raise InputError(f"The share of {name} looks must lie in 0..1; got {share}.")
        if not 0 < target < 1:
            raise InputError(f"The target error rate must lie between 0 and 1; got {target}.")
        self.project, self.store, self.random = project, store, random
        self._lock = threading.RLock()  # of everything below; the ledger is never asked while it is held
        self._writing = threading.Lock()  # one decision at a time, so that each knows the one before
        self._board = Board(np.asarray(project.present), self._suggested, double, seed)
        self._held: dict[int, Held] = {}
        self._around: dict[str, float] = {}  # reviewer -> when they last asked for something
        self._mine: set[tuple[str, str]] = set()  # reviewers and keys of what was recorded here
        self._version, self._shared = 0, False
        self._ranker = Ranker(project, store, self._board, self._lock, target, seed)
        self._catch_up()
        self._around.clear()  # whoever decided in earlier sittings may be gone
        self._shared = False  # whether other processes record decisions

    def next(self, reviewer: str, skip: Collection[int] = ()) -> Task | None:
        """The row most worth this reviewer's look, leased for them; None when nothing is left for them.

        A row that the reviewer holds already comes again unless it is in `skip`.
        """
        if not self._writing.locked():  # the ledger would wait for the writer, who catches up by himself
            self._catch_up()
        aside = {row for row in skip if 0 <= row < self.project.n_rows}
        while True:
            with self._lock:
                self._around[reviewer] = time.monotonic()
                offers = self._own(reviewer, aside) or self._offers(reviewer, aside)
            if not offers:
                return None
            row = self.store.lease([offer.row for offer in offers], reviewer, LEASE)
            if row is None:  # another process holds them all
                aside.update(offer.row for offer in offers)
                continue
            if self._shared:  # another process may have decided the row and let it go since the last look
                self._catch_up()
            offer = next(offer for offer in offers if offer.row == row)
            with self._lock:
                if self._wanted(offer, reviewer):
                    return self._hold(offer, reviewer)
            self.release(reviewer, row)

    def record(self, decision: Decision, replaces: str | None = None) -> Stored:
        """Keep a decision once it is safe on disk. The same key again is the same decision.

        With `replaces` it takes the place of the reviewer's decision with that key on the row. The role that is stored
        follows from the row's other decisions, not from what the page believed.

        Raises
        ------
        RowDecided : the row needs no more looks, or not by this reviewer.
        InputError : no such row, or a row without a label.
        LedgerError : nothing was stored; try again.
        """
        row = self.project.row(decision.row)
        if not self.project.present[row]:
            raise InputError(f"Row {row} has no label to judge.")
        with self._writing:
            self._catch_up()
            with self._lock:
                self._around[decision.reviewer] = time.monotonic()
                role, old = self._board.place(decision, replaces)
            if role is None:
                raise RowDecided(f"Row {row} was decided meanwhile, or by yourself: undo that to judge it again.")
            if old is not None:
                self.store.undo(decision.reviewer, replaces)
            self._mine.add((decision.reviewer, decision.key))
            stored = self.store.append(replace(decision, role=role))
            self._catch_up()
        self.release(decision.reviewer, row)
        return stored

    def undo(self, reviewer: str) -> Task | None:
        """Take back the reviewer's last decision and give its row back to them; None when there is none."""
        with self._writing:
            gone = self.store.undo(reviewer)
            if gone is None:
                return None
            with self._lock:
                self._board.take_back(gone.event)
                self._ranker.wake()
            self._catch_up()
        with self._lock:
            role = self._board.role(gone.row, reviewer, gone.role)
            if role is None:
                return None
            why = {"first": gone.sampled, "second": "second", "adjudication": "dispute"}[role]
            offer = Offer(self._ranker.worth(gone.row, role), gone.row, role, why)
        if self.store.lease([gone.row], reviewer, LEASE) is None:
            return None
        with self._lock:
            return self._hold(offer, reviewer)

    def release(self, reviewer: str, row: int | None = None) -> None:
        """Give back the rows (or one) that a reviewer holds undecided."""
        with self._lock:
            for each in [each for each, held in self._held.items() if held.reviewer == reviewer]:
                if row in (None, each):
                    del self._held[each]
        self.store.release(reviewer, row)

    def progress(self) -> dict[str, Any]:
        """How far the review is; see `assay.review.progress`. Plain numbers and text, ready for JSON."""
        self._catch_up()
        with self._lock:
            rows, now = self._ranker.n_rows, counted(self._board) | self._ranker.measured
            return now | {"rows": rows, "left": rows - self._board.n_begun, "version": self._version}

    def upcoming(self, offset: int = 0, limit: int = 50) -> list[dict[str, Any]]:
        """The next first looks by value: row, id, given, suggested, p_wrong, why."""
        with self._lock:
            order, p = self._ranker.order, self._ranker.p_wrong
            rows = order[first_open(self._board.open, order, offset + limit)[offset:]].tolist()
        return [
            {
                "row": row,
                "id": self.project.row_id(row),
                "given": self.project.given_name(row),
                "suggested": self._suggested(row),
                "p_wrong": float(p[row]),
                "why": "flagged",
            }
            for row in rows
        ]

    def settle(self, timeout: float = 60.0) -> bool:
        """Wait until everything said so far has been learned from; False when that takes longer."""
        return self._ranker.settle(timeout)

    def close(self) -> None:
        """End the background thread."""
        self._ranker.close()

    def _suggested(self, row: int) -> str | None:
        code = int(self.project.suggested[row])
        return self.project.classes[code] if code >= 0 else None

    def _catch_up(self) -> None:
        """Take in what was decided since the last look, by whichever process."""
        version = self.store.version()
        if version <= self._version:
            return
        new = self.store.decisions(self._version)
        with self._lock:
            for decision in new:
                self._board.put(decision)
                self._around[decision.reviewer] = time.monotonic()
                self._shared |= (decision.reviewer, decision.key) not in self._mine
            self._version = max(version, self._version)
            self._ranker.wake()

    def _own(self, reviewer: str, aside: Collection[int]) -> list[Offer]:
        """The row that the reviewer holds longest, if it still wants a look."""
        now = time.monotonic()
        for row in [row for row, held in self._held.items() if held.until < now]:
            del self._held[row]
        held = [each.offer for row, each in self._held.items() if each.reviewer == reviewer and row not in aside]
        return [offer for offer in held if self._wanted(offer, reviewer)][:1]

    def _offers(self, reviewer: str, aside: Collection[int]) -> list[Offer]:
        """What the reviewer could look at, the worthiest first."""
        board, ranker = self._board, self._ranker
        taken = {*aside, *self._held}
        offers: list[Offer] = []
        overdue: list[Offer] = []
        others = self._others()
        surprises = [row for row in ranker.surprises if row in board.single] if board.double > 0 else []
        kinds: list[tuple[Role, str, Collection[int]]] = [
            ("adjudication", "dispute", board.disputes),
            ("second", "second", board.waiting),
            ("second", "second", surprises),
        ]
        for role, why, wanting in kinds:
            rows = [row for row in wanting if row not in taken and board.may(row, reviewer, role, others)]
            found = [Offer(ranker.worth(row, role), row, role, why) for row in rows]
            if wanting is board.waiting and len(found) > BACKLOG:
                overdue = found[:1]
            offers += nlargest(OFFERED, found)
        free = board.open.copy()
        free[list(taken | board.skipped.get(reviewer, set()))] = False
        picked = ranker.order[first_open(free, ranker.order, OFFERED)].tolist()
        offers += [Offer(ranker.worth(row, "first"), row, "first", "flagged") for row in picked]
        offers.sort(key=lambda offer: -offer.value)
        if overdue or not offers or offers[0].role != "first" or not self._measures(offers[0].value):
            return overdue + offers
        drawn = ranker.audit.next(free, ranker.means, OFFERED).tolist()
        return [Offer(ranker.worth(row, "first"), row, "first", "random") for row in drawn]

    def _measures(self, worth: float) -> bool:
        """Whether the next first look is one of the random audit, where the best other one is worth so much."""
        in_hand = [held.offer.why for held in self._held.values() if held.offer.role == "first"]
        drawn = self._board.n_random + in_hand.count("random")
        due = drawn < self.random * (self._board.n_begun + len(in_hand) + 1)
        return due or (worth <= 0 < self.random)

    def _wanted(self, offer: Offer, reviewer: str) -> bool:
        """Whether the row still wants this look."""
        board, row = self._board, offer.row
        once = row in board.waiting or row in board.single
        wanted = {"first": bool(board.open[row]), "second": once, "adjudication": row in board.disputes}
        return wanted[offer.role] and board.may(row, reviewer, offer.role, self._others())

    def _others(self) -> list[str]:
        """Everybody who asked for something of late."""
        now = time.monotonic()
        return [name for name, when in self._around.items() if now - when < AWAY]

    def _hold(self, offer: Offer, reviewer: str) -> Task:
        """Note that the reviewer has the row, and say what it is."""
        row, ranker = offer.row, self._ranker
        self._held[row] = Held(reviewer, offer, time.monotonic() + LEASE)
        votes = self._board.standing[row].votes if offer.role == "adjudication" else ()
        return Task(
            row=row,
            role=offer.role,
            why=offer.why,
            sampled="random" if offer.why == "random" else "flagged",
            p_wrong=float(ranker.p_wrong[row]),
            low=float(ranker.low[row]),
            high=float(ranker.high[row]),
            value=offer.value,
            given=self.project.given_name(row),
            suggested=self._suggested(row),
            seen=[
                {"reviewer": each.reviewer, "verdict": str(each.verdict), "label": each.label, "note": each.note}
                for each in votes
            ],
        )

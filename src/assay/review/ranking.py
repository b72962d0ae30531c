"""The order of the rows, made anew in the background after verdicts: what they teach, what a look is worth by now.

One thread does it, one round at a time. A round begins a moment after a change and then waits for several times as long
as it took, so that learning never takes more than a quarter of a processor from the people who review.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from heapq import nlargest
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from assay.kernels.audit_draw import AuditOrder, mean_chances
from assay.kernels.review_worth import chance_wrong, deciding_look, mistake_rate, second_look
from assay.review.board import Board, Standing
from assay.review.progress import measured
from assay.review.store import ReviewStore, Role
from assay.review.teaching import Teacher

if TYPE_CHECKING:
    from assay.review.project import Project

DELAY = 0.03  # seconds from a change to the round that learns from it
PAUSE = 3.0  # rest after a round, in durations of the round
SURPRISES = 64  # rows kept whose only verdict is most likely mistaken
TIMED = 20  # decisions of a kind that must have been timed before their time counts

Floats = npt.NDArray[np.floating[Any]]


class Ranker:
    """The order of first looks, the worth of every look, and what takes time in the progress.

    Attributes
    ----------
    p_wrong, low, high : (n,) chance that each label is wrong, with its interval.
    order : (n,) rows, the most worthy of a first look first; rows without a label come last.
    means : mean chance of the flagged and of the other rows.
    audit : order of the random audit.
    measured : `rate`, `stop`, `agreement` and `teaching` of the progress.
    mistakes : chance that a look is mistaken.
    surprises : rows beyond the chosen ones whose only verdict is most worth a second look, the worthiest first.
    """

    p_wrong: Floats
    low: Floats
    high: Floats
    order: npt.NDArray[np.int64]

    def __init__(
        self, project: Project, store: ReviewStore, board: Board, lock: threading.RLock, target: float, seed: int
    ) -> None:
        self._project, self._store, self._board, self._lock, self._target = project, store, board, lock, target
        self._seed, self._present = seed, np.asarray(project.present)
        self.n_rows = int(self._present.sum())
        self._teacher: Teacher | None = None
        self._learned: dict[int, bool] | None = None
        self.audit = AuditOrder(project.flagged, None, seed, self._present)
        self.measured: dict[str, Any] = {
            "rate": None,
            "stop": {"reached": False, "sentence": "The error rate is being worked out.", "more_reviews": 0},
            "agreement": None,
            "teaching": None,
        }
        self.mistakes = mistake_rate(0, 0)
        self.surprises: list[int] = []
        self._pace: dict[str, float] = {}
        self._worth: dict[tuple[int, Role], float] = {}
        self._rank(project.p_wrong, project.low, project.high)
        self._change = threading.Condition(lock)
        self._told, self._heard = 1, 0  # changes so far, and of them those that were learned from
        self._closed = False
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="review-ranking", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Say that decisions changed."""
        with self._change:
            self._told += 1
            self._change.notify_all()

    def settle(self, timeout: float) -> bool:
        """Wait until all changes so far are learned from; raises what went wrong in the background."""
        with self._change:
            upto = self._told
            done = self._change.wait_for(lambda: self._heard >= upto, timeout)
            if self._failure is not None:
                raise self._failure
            return done

    def close(self) -> None:
        """End the thread."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        self._thread.join()

    def worth(self, row: int, role: Role) -> float:
        """What a look at the row is worth; hold the lock."""
        if role == "first":
            return float(deciding_look(self.p_wrong[row], self.mistakes))
        if (row, role) not in self._worth:
            self._worth[row, role] = self._worths({row: self._board.standing[row]}, role)[0]
        return self._worth[row, role]

    def _worths(self, found: Mapping[int, Standing], role: Role) -> list[float]:
        """What looks at rows that somebody decided are worth, from the chance before their verdicts."""
        if not found:
            return []
        votes = [[each.wrong for each in standing.outcomes] for standing in found.values()]
        predicted = {} if self._teacher is None else self._teacher.predicted
        before = self._project.p_wrong if self._teacher is None else self._teacher.prior
        p = [predicted.get(row, before[row]) for row in found]
        wrong = chance_wrong(p, [sum(one) for one in votes], [len(one) - sum(one) for one in votes], self.mistakes)
        if role == "second":
            said_wrong = np.array([one[0] for one in votes])
            value, disagrees = second_look(np.where(said_wrong, 1 - wrong, wrong), self.mistakes)
            value = value / (self._pace.get("second", 1.0) + disagrees * self._pace.get("adjudication", 1.0))
        else:
            value = deciding_look(wrong, self.mistakes) / self._pace.get("adjudication", 1.0)
        worths: list[float] = value.tolist()
        return worths

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._told > self._heard or self._closed)
                self._change.wait_for(lambda: self._closed, DELAY)
                if self._closed:
                    return
                upto = self._told
            begun, failure = time.monotonic(), None
            try:
                self._round(upto)
            except Exception as error:  # the review goes on with the order at hand, and the next change tries again
                failure = error
            with self._change:
                self._heard, self._failure = upto, failure
                self._change.notify_all()
                self._change.wait_for(lambda: self._closed, PAUSE * (time.monotonic() - begun))

    def _round(self, told: int) -> None:
        """Learn from all decisions, and put the new order and numbers in place of the old ones."""
        teacher = self._teacher or Teacher(self._project)
        version = self._store.version()
        standing = {each.event: each for each in self._store.decisions()}
        board = self._board
        with self._lock:
            if self._told == told:  # else what was read is old by now, and another round follows
                # What other processes took back, or brought back, shows only in what is in force.
                for event in [event for event in board.events if event <= version and event not in standing]:
                    board.take_back(event)
                for decision in standing.values():
                    board.put(decision)
            judged, undecided, pairs = dict(board.judged), set(board.undecided), list(board.pairs.values())
            disputes, waiting, single = dict(board.disputes), dict(board.waiting), dict(board.single)
            left, seconds = self.n_rows - board.n_begun, {role: list(each) for role, each in board.seconds.items()}
        if teacher is not self._teacher:
            audit = AuditOrder(self._project.flagged, teacher.prior, self._seed, self._present)
            with self._lock:
                self._teacher, self.audit = teacher, audit
        if judged != self._learned:
            teacher.learn(judged)
            self._rank(teacher.p_wrong, teacher.low, teacher.high)
            self._learned = judged
        found = measured(self.audit, judged, undecided, pairs, left, self._target) | {
            "teaching": teacher.report(judged)
        }
        contradictions = sum(one.wrong != other.wrong for one, other in pairs)
        usual = {role: float(np.median(each)) for role, each in seconds.items() if len(each) >= TIMED}
        with self._lock:
            self.measured = found
            self.mistakes = mistake_rate(len(pairs), contradictions)
            if usual.get("first"):
                self._pace = {role: time / usual["first"] for role, time in usual.items()}
        kinds: list[tuple[Role, dict[int, Standing]]] = [("adjudication", disputes), ("second", waiting)]
        worth = {
            (row, role): one for role, rows in kinds for row, one in zip(rows, self._worths(rows, role), strict=True)
        }
        best = nlargest(SURPRISES, zip(self._worths(single, "second"), single, strict=True))
        with self._lock:
            self._worth = worth
            self.surprises = [row for value, row in best if value > 0]

    def _rank(self, p_wrong: Floats, low: Floats, high: Floats) -> None:
        order = np.argsort(np.where(self._present, -p_wrong, np.inf), kind="stable")
        labelled = self._project.flagged[self._present], p_wrong[self._present]
        means = mean_chances(*labelled)
        with self._lock:
            self.p_wrong, self.low, self.high, self.order, self.means = p_wrong, low, high, order, means

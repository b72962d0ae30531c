"""What reviewers decided: each verdict an event of the ledger, safe before anybody is told so, and there once.

The ledger is the only truth. What is kept in memory is made of its events, and brought up to date by those that other
threads and processes have appended, so that a verdict costs the events about its row, not the history.

>>> from pathlib import Path
>>> from tempfile import mkdtemp
>>> from assay.labels.ledger import Event, Ledger
>>> ledger = Ledger.open(Path(mkdtemp()) / "ledger.db", create=True)
>>> ledger.append([
...     Event("dataset", "audit", "rule", column="label", evidence={"sha256": "0" * 64, "n_rows": 3}),
...     Event("suggestion", "audit", "model", row=1, before="cat", after="dog"),
... ])
[1, 2]
>>> store = ReviewStore(ledger)
>>> store.append(Decision(1, "anna", Verdict.SUGGESTED, key="a1")).event
3
>>> ledger.current()
{1: 'dog'}
>>> store.undo("anna").row, ledger.current(), store.decisions()
(1, {}, [])
>>> store.close()
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

from assay.errors import InputError
from assay.labels.events import Event
from assay.labels.ledger import Ledger, LedgerError
from assay.labels.recording import Said, record, take_back
from assay.labels.verdicts import SAMPLED, VERDICTS, Verdict
from assay.review.leases import Leases

__all__ = ["Decision", "LedgerError", "ReviewStore", "Shown", "Stored"]

ROLES = ("first", "second", "adjudication")
Role = Literal["first", "second", "adjudication"]


@dataclass(frozen=True, slots=True)
class Decision:
    """One reviewer's verdict on one row.

    Parameters
    ----------
    row : data row.
    reviewer : who decides.
    verdict, label, note : as in `assay.labels.verdicts`; `label` is needed after `other`.
    sampled : how the row came to be reviewed.
    seconds : how long it took, None = not known.
    key : chosen once by whoever asks, so that the same decision sent again is stored once.
    role : "first", "second" (blind) or "adjudication", which outweighs the others on its row.
    event, time : id and time in the ledger; filled in by the store.
    """

    row: int
    reviewer: str
    verdict: Verdict
    label: str | None = None
    note: str | None = None
    sampled: Literal["flagged", "random"] = "flagged"
    seconds: float | None = None
    key: str = ""
    role: Role = "first"
    event: int = 0
    time: str = ""


class Stored(NamedTuple):
    """Where a decision lies: id and time of its event; `again` when it was there before."""

    event: int
    time: str
    again: bool = False


class Shown(NamedTuple):
    """What a reviewer sees of a row: the given label (None = a cell without one), the suggested one, the user's id."""

    given: str | None
    suggested: str
    row_id: str | None = None


class ReviewStore:
    """Decisions and leases over one ledger. Threads may share it; other processes may have the same ledger open.

    Parameters
    ----------
    ledger : a ledger that has begun; the store closes it.
    shown : what is shown of a row. The audit suggests labels for the rows it flags; where a decision is about another
        row, or another suggestion, what was shown is appended before it. None = the ledger has all suggestions.

    Raises
    ------
    InputError : the ledger is empty.
    LedgerError : it cannot be read, or no leases can be kept beside it.
    """

    def __init__(self, ledger: Ledger, shown: Callable[[int], Shown] | None = None) -> None:
        self.ledger, self.shown = ledger, shown
        evidence = ledger.dataset.evidence
        self._n_rows: int = evidence["n_rows"]
        self._classes = frozenset(evidence.get("classes", ()))
        self._lock = threading.RLock()
        self._leases = Leases(ledger.beside())
        self._seen = 0
        self._ids: list[int] = []  # of all verdicts, rising
        self._said: dict[int, Decision] = {}
        self._by_key: dict[tuple[str, str], int] = {}
        self._taken: dict[int, int] = {}  # undo -> the event it takes back
        self._off: set[int] = set()  # events taken back
        self._look()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the ledger and the leases."""
        self._leases.close()
        self.ledger.close()

    def append(self, decision: Decision) -> Stored:
        """Store a decision; returns once it is safe on disk.

        The same key of the same reviewer again, or the same verdict on the row again, is stored once. Another verdict
        takes back what the reviewer said of the row before, but an adjudication leaves their own blind verdict.

        Raises
        ------
        InputError : no such row, class, role; a label that cannot be accepted (`assay.labels.recording`).
        LedgerError : the ledger cannot be written. Nothing is lost by asking again with the same key.
        """
        self._check(decision)
        facts = {"sampled": decision.sampled, "seconds": decision.seconds, "key": decision.key, "role": decision.role}
        said = Said(
            decision.row,
            decision.reviewer,
            Verdict(decision.verdict),
            decision.label,
            decision.note,
            {name: value for name, value in facts.items() if value not in (None, "")},
            None if self.shown is None else _suggestion(decision.row, self.shown(decision.row)),
        )
        with self._lock:
            with self.ledger.transaction():  # so that no other process can store the key in between
                self._look()
                number = self._by_key.get((decision.reviewer, decision.key)) if decision.key else None
                again = number is not None
                if number is None:
                    done = record([said], self.ledger)
                    number, again = done.ids[0], done.known == 1
            self._look()
            stored = self._said[number]
            if decision.key:
                self._by_key.setdefault((decision.reviewer, decision.key), number)
            return Stored(stored.event, stored.time, again)

    def _check(self, decision: Decision) -> None:
        if not 0 <= decision.row < self._n_rows:
            raise InputError(f"There is no row {decision.row}: the data set has {self._n_rows} rows, counted from 0.")
        if decision.verdict not in VERDICTS:
            raise InputError(f"There is no verdict {decision.verdict!r}: it is one of {', '.join(VERDICTS)}.")
        if decision.role not in ROLES:
            raise InputError(f"There is no role {decision.role!r}: it is one of {', '.join(ROLES)}.")
        if decision.sampled not in SAMPLED:
            raise InputError(f"A row is sampled as flagged or random, got {decision.sampled!r}.")
        if decision.verdict == Verdict.OTHER and not decision.label:
            raise InputError("The verdict 'other' needs the right label in `label`.")
        if decision.label is not None and self._classes and decision.label not in self._classes:
            known = ", ".join(map(repr, sorted(self._classes)[:5])) + (", ..." if len(self._classes) > 5 else "")
            raise InputError(f"Unknown class {decision.label!r}: the data set has {known}.")

    def undo(self, reviewer: str, key: str | None = None) -> Decision | None:
        """Take back the reviewer's last verdict in force, or the one with this key; None when there is none."""
        with self._lock:
            with self.ledger.transaction():
                self._look()
                if key is not None:
                    number = self._by_key.get((reviewer, key), 0)
                else:
                    own = (each for each in reversed(self._ids) if self._said[each].reviewer == reviewer)
                    number = next((each for each in own if each not in self._off), 0)
                if number == 0 or number in self._off:
                    return None
                take_back(number, self.ledger, reviewer)
            self._look()
            return self._said[number]

    def decisions(self, above: int = 0) -> list[Decision]:
        """The decisions in force whose events are above this id, by rising id."""
        with self._lock:
            self._look()
            later = self._ids[bisect.bisect_right(self._ids, above) :]
            return [self._said[number] for number in later if number not in self._off]

    def version(self) -> int:
        """Id of the ledger's last event, whoever appended it."""
        return len(self.ledger)

    def lease(self, rows: Sequence[int], reviewer: str, seconds: float) -> int | None:
        """Hold, for so many seconds, the first of `rows` that nobody else holds; None when there is none."""
        return self._leases.take(rows, reviewer, seconds)

    def release(self, reviewer: str, row: int | None = None) -> None:
        """Let go of all rows that the reviewer holds, or of one."""
        self._leases.release(reviewer, row)

    def _look(self) -> None:
        """Take in what was appended since the last look."""
        upto = len(self.ledger)
        if upto == self._seen:
            return
        for event in self.ledger.said(self._seen, upto):
            if event.kind == "undo":
                self._taken[event.id] = event.derived_from[0]
                self._flip(event.derived_from[0])
            else:
                decision = _decision(event)
                self._ids.append(event.id)
                self._said[event.id] = decision
                self._by_key.setdefault((decision.reviewer, decision.key), event.id)
        self._seen = upto

    def _flip(self, number: int) -> None:
        """Take an event out of force, or bring it back; an undo that goes brings back its target, and the reverse."""
        while number:
            self._off ^= {number}
            number = self._taken.get(number, 0)


def _decision(event: Event) -> Decision:
    """The decision in a verdict event; those of a file have no key and were first looks."""
    facts = event.evidence
    verdict = Verdict(facts["verdict"])
    return Decision(
        row=event.row or 0,
        reviewer=event.source,
        verdict=verdict,
        label=event.after if verdict in (Verdict.OTHER, Verdict.SUGGESTED) else None,
        note=event.note,
        sampled=facts.get("sampled", "flagged"),
        seconds=facts.get("seconds"),
        key=facts.get("key", ""),
        role=facts.get("role", "first"),
        event=event.id,
        time=event.time,
    )


def _suggestion(row: int, shown: Shown) -> Event:
    return Event(
        "suggestion",
        "assay review",
        "rule",
        row=row,
        row_id=shown.row_id,
        before=shown.given,
        after=shown.suggested,
        method="review",
    )

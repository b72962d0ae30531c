"""What a ledger says: its log, the current labels, what explains them, what changed in between, whether it is whole."""

from __future__ import annotations

import bisect
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import index
from pathlib import Path
from typing import Any

from assay.errors import InputError
from assay.labels.events import KINDS, Event, chained, check_row, from_row
from assay.labels.ledger_store import Beside, Store

PAGE = 10_000  # events read at once, so that a reader neither holds a lock nor a million events
CHUNK = 1000  # rows asked for at once
TIME = "%Y-%m-%dT%H:%M:%S.%fZ"  # of one width, so that text sorts as time does

At = int | str | datetime | None
"""A point in a ledger: an event's id (0 is the start), a time, or None for now."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A row whose current label differs between two points; None = the cell has no label."""

    row: int
    row_id: str | None
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check of the chain found: `problem` is None in a whole ledger, else a sentence about event `event`."""

    n_events: int
    head: str
    problem: str | None = None
    event: int | None = None


class History:
    """The reading half of a ledger. Every answer is about a prefix of the history, never about half a batch."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __len__(self) -> int:
        """Number of events."""
        return self._store.tail().id

    @property
    def path(self) -> Path | str:
        """The ledger's file, or the URL of its database without the password."""
        return self._store.path

    @property
    def head(self) -> str:
        """Hash of the last event: note it elsewhere, and `verify(head)` later shows that nothing before it changed."""
        return self._store.tail().hash

    @property
    def dataset(self) -> Event:
        """The event that names the data set; its evidence holds `sha256`, `n_rows`, perhaps `name` and `classes`."""
        if not len(self):
            raise InputError(f"{self.path} is empty: its first event must name the data set (`dataset_event`).")
        return self.event(1)

    def event(self, number: int) -> Event:
        """The event with this id."""
        found = self._events(above=number - 1, upto=number) if number > 0 else []
        if not found:
            raise InputError(f"There is no event {number}: this ledger holds events 1 to {len(self)}.")
        return found[0]

    def log(
        self,
        row: int | None = None,
        source: str | None = None,
        kind: str | None = None,
        since: At = None,
        limit: int | None = None,
    ) -> Iterator[Event]:
        """Events by rising id; with `limit`, the last so many. `since` is a time, or the id after which to begin."""
        if kind is not None and kind not in KINDS:
            raise InputError(f"There is no kind of event {kind!r}: it is one of {', '.join(KINDS)}.")
        if limit is not None and limit < 0:
            raise InputError(f"A limit must not be negative, got {limit}.")
        if row is not None:
            check_row(row, self.dataset)
            row = index(row)
        given = {"row": row, "source": source, "kind": kind}
        equal = {name: value for name, value in given.items() if value is not None}
        above = 0 if since is None else self._id(since, before=True)
        if limit is not None:
            return iter(self._events(above=above, limit=limit, newest=True, **equal))
        return self._pages(above, len(self), equal)

    def _pages(self, above: int, upto: int, equal: dict[str, Any]) -> Iterator[Event]:
        while events := self._events(above=above, upto=upto, limit=PAGE, **equal):
            yield from events
            above = events[-1].id

    def of_rows(self, rows: Collection[int]) -> dict[int, list[Event]]:
        """All events about each of the given data rows, by rising id; rows without any are left out."""
        found: dict[int, list[Event]] = {}
        asked = list(rows)
        for first in range(0, len(asked), CHUNK):
            for event in self._events(row=asked[first : first + CHUNK]):
                found.setdefault(event.row or 0, []).append(event)
        return found

    def said(self, above: int, upto: int) -> list[Event]:
        """The verdicts and undos with above < id <= upto, by rising id: all that decides which verdicts stand."""
        return self._events(above=above, upto=upto, kind=("verdict", "undo"))

    def beside(self) -> Beside:
        """The table of leases beside the events, on a connection of its own; close it when done."""
        return self._store.beside()

    def place(self, at: At = None) -> int:
        """Id of the last event at a point: the number by which the point can be found again, whatever comes later."""
        return self._id(at)

    def current(self, at: At = None) -> dict[int, str]:
        """Row -> label, for every row to which a change in force gave a label."""
        upto = self._id(at)
        undone = self._undone(upto)
        changes: list[Any] = self._store.read(("id", "row", "after"), upto=upto, kind="change")
        return {row: after for number, row, after in changes if number not in undone}

    def diff(self, at_a: At, at_b: At = None) -> list[Difference]:
        """Rows whose current label differs between two points, by row."""
        a, b = self._id(at_a), self._id(at_b)
        labels_a, labels_b = self.current(a), self.current(b)
        given: dict[int, Any] = {}  # what the file says: the first change of a row knows it
        changes: list[Any] = self._store.read(("row", "row_id", "before"), upto=max(a, b), kind="change")
        for row, row_id, before in changes:
            given.setdefault(row, (row_id, before))
        rows = (
            Difference(row, given[row][0], labels_a.get(row, given[row][1]), labels_b.get(row, given[row][1]))
            for row in sorted(labels_a | labels_b)
        )
        return [row for row in rows if row.before != row.after]

    def blame(self, row: int) -> list[Event]:
        """The events that explain the current label of a row, by rising id, from the data set to the last word.

        The last word is the latest change in force; without one, the latest undo; without that, the data set itself.
        """
        dataset = self.dataset
        check_row(row, dataset)
        undone = self._undone(upto := len(self), row=index(row))
        own = [event for event in self._events(upto=upto, row=index(row)) if event.id not in undone]
        words = [event for event in own if event.kind == "change"] or [event for event in own if event.kind == "undo"]
        chain = {dataset.id: dataset}
        queue = words[-1:]
        for event in queue:
            if event.id not in chain:
                chain[event.id] = event
                queue += [self.event(number) for number in event.derived_from]
        return [chain[number] for number in sorted(chain)]

    def undone(self, at: At = None) -> set[int]:
        """Ids of the events that were taken back and not brought back."""
        return set(self._undone(self._id(at)))

    def _undone(self, upto: int, row: int | None = None) -> dict[int, int]:
        """Event taken back -> the undo in force that did it. An undo names its target first, and is younger than it.

        An undo is about the row of its target: with `row`, of the events about this row.
        """
        undone: dict[int, int] = {}
        # Not both: a database would go through all undos for one row's.
        which: dict[str, Any] = {"kind": "undo"} if row is None else {"row": row}
        found: list[Any] = self._store.read(("id", "kind", "derived_from"), upto=upto, **which)
        for number, kind, derived_from in reversed(found):
            if kind == "undo" and number not in undone:
                undone[json.loads(derived_from)[0]] = number
        return undone

    def verify(self, head: str | None = None) -> Verification:
        """Recompute the whole chain; with `head`, also that the event with this hash is still in it.

        The chain shows any later alteration to whoever noted a head. Without one, a forger who recomputes every hash,
        or cuts off the end, is not seen.
        """
        upto, previous, time, number = len(self), "0" * 64, "", 0
        seen = head is None or head == previous
        damage = self._store.check()
        if damage is not None:
            return Verification(upto, self.head, f"The database is damaged: {damage}.")
        while rows := self._store.read(above=number, upto=upto, limit=PAGE):
            for row in rows:
                number += 1
                problem = None
                if row[0] != number:
                    problem = f"Event {number} is missing."
                elif row[-1] != chained(row[:-1], previous):
                    problem = f"Event {number} was altered, or an event before it was: its hash does not fit."
                elif str(row[1]) < time:
                    problem = f"Event {number} is dated before its predecessor."
                if problem is not None:
                    return Verification(upto, previous, problem, number)
                previous, time = str(row[-1]), str(row[1])
                seen = seen or previous == head
        lost = f"No event has the hash {head}: the ledger was cut or rewritten after that hash was noted."
        return Verification(upto, previous, None if seen else lost)

    def _events(self, **query: Any) -> list[Event]:
        return [from_row(row) for row in self._store.read(**query)]

    def _id(self, at: At, *, before: bool = False) -> int:
        """Id of the last event at a point; with `before`, of the last one strictly before a time."""
        last = len(self)
        if at is None:
            return last
        if isinstance(at, int):
            if not 0 <= at <= last:
                raise InputError(f"There is no event {at}: this ledger holds events 1 to {last}; 0 is its start.")
            return at
        side = bisect.bisect_left if before else bisect.bisect_right
        # Times never fall along a ledger, so a few reads find the place.
        return side(range(1, last + 1), _as_time(at), key=lambda number: self.event(number).time)


def _as_time(at: str | datetime) -> str:
    """A time as events carry it; without a zone it is UTC."""
    try:
        time = datetime.fromisoformat(at) if isinstance(at, str) else at
    except ValueError:
        message = f"A point in a ledger is an event's id, or an ISO time like 2026-10-05T12:00, got {at!r}."
        raise InputError(message) from None
    return (time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)).strftime(TIME)

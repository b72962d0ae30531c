"""The ledger: who or which method said what about which row, on what evidence, when, derived from what.

Append-only. A label is never edited: a change is an event, and so is its undoing, so that any label can be blamed, two
points in time can be compared, and the repaired file can be made again from the original, byte for byte. Every event
carries the SHA-256 of its content and of its predecessor's hash; whoever alters or removes one breaks the chain.

>>> from tempfile import mkdtemp
>>> ledger = Ledger.open(Path(mkdtemp()) / "ledger.db", create=True)
>>> ledger.append([
...     Event("dataset", "audit", "rule", column="label", evidence={"sha256": "0" * 64, "n_rows": 3}),
...     Event("change", "anna", "human", row=2, before="cat", after="dog"),
... ])
[1, 2]
>>> ledger.current()
{2: 'dog'}
>>> ledger.undo(2, source="ben")
[3]
>>> ledger.current()
{}
>>> ledger.close()
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, SupportsIndex

from assay.errors import InputError
from assay.labels.events import Event, chained, check, dataset_event, file_digest, placed, to_json, values_of
from assay.labels.formats import files
from assay.labels.history import PAGE, TIME, At, Difference, History, Verification
from assay.labels.ledger_export import guard_cell, write_events
from assay.labels.ledger_postgres import PostgresStore
from assay.labels.ledger_sqlite import SqliteStore
from assay.labels.ledger_store import LedgerError, Tail, Value
from assay.labels.postgres import SCHEMES
from assay.labels.rewrite import rewrite_labels

__all__ = [
    "At",
    "Difference",
    "Event",
    "Ledger",
    "LedgerError",
    "Verification",
    "dataset_event",
    "file_digest",
    "guard_cell",
]


class Ledger(History):
    """The labels' history of one data set. Open it with `Ledger.open`; it is a context manager.

    Processes and threads may read and append at once; after a fork, open it again.
    """

    @classmethod
    def open(cls, path: str | Path, *, create: bool = False) -> Self:
        """Open the ledger at `path`: the file, the folder `NAME.assay` that holds `ledger.db`, or the URL of a
        database, `postgresql://user:password@host/database?ledger=NAME` (`assay.labels.postgres.Address`).

        Raises
        ------
        LedgerError : absent (and not `create`), not a ledger, another schema version, altered by another program.
        """
        if str(path).startswith(SCHEMES):
            return cls(PostgresStore(str(path), create=create))
        path = Path(path)
        if path.is_dir() or path.suffix == ".assay":
            path = path / "ledger.db"
        return cls(SqliteStore(path, create=create))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all calls in the block one: others see all or nothing of it, and wait with their own writing."""
        with self._store.transaction():
            yield

    def append(self, events: Iterable[Event]) -> list[int]:
        """Append events as one: all of them or none. Returns their ids once they are safe on the disk.

        Raises
        ------
        InputError : an event that is not well formed, named by its place in the batch.
        LedgerError : the disk is full, the file is read-only, or others hold it too long; nothing was appended.
        """
        batch = list(events)
        if any(event.kind == "undo" for event in batch):
            raise InputError("An undo is appended by `Ledger.undo`, which knows what it undoes.")
        if not batch:
            return []
        with self._store.transaction() as tail:
            return self._append(batch, tail)

    def undo(
        self,
        events: SupportsIndex | Iterable[SupportsIndex] | None = None,
        *,
        source: str,
        source_kind: str = "human",
        of_source: str | None = None,
        of_method: str | None = None,
        note: str | None = None,
    ) -> list[int]:
        """Take events back, and whatever label change rests on them; undoing the returned ids brings them back.

        Parameters
        ----------
        events : ids of suggestions, verdicts, changes or undos that are in force.
        source, source_kind : who undoes.
        of_source, of_method : instead of ids, everything in force that this source or this method said.

        Returns
        -------
        Ids of the undo events, one for each event taken back.

        Raises
        ------
        InputError : unknown event, one that cannot be undone, one already undone; nothing was appended.
        """
        with self._store.transaction() as tail:
            if events is None:
                undone = self._undone(tail.id)
                targets = self._said_by(of_source, of_method, undone)
            else:
                numbers = [events] if isinstance(events, SupportsIndex) else events
                targets = [self.event(number.__index__()) for number in numbers]
                undone = self._undone(tail.id, targets[0].row if len(targets) == 1 else None)
            for target in targets:
                if target.kind in ("dataset", "source"):
                    raise InputError(
                        f"Event {target.id} is a {target.kind} event: only what was said of rows is undone."
                    )
                if target.id in undone:
                    raise InputError(f"Event {target.id} is already undone by event {undone[target.id]}.")
            place: dict[int, int] = {}  # event taken back -> place of its undo in the batch
            batch: list[Event] = []
            queue: list[tuple[Event, tuple[int, ...]]] = [(target, ()) for target in targets]
            for target, cause in queue:
                if target.id in place:
                    continue
                because = tuple(place[number] - len(batch) for number in cause)
                place[target.id] = len(batch)
                undo = Event(
                    "undo",
                    source,
                    source_kind,
                    row=target.row,
                    row_id=target.row_id,
                    before=target.after,
                    after=target.before,
                    derived_from=(target.id, *because),
                    note=note,
                )
                batch.append(undo)
                queue += [(event, (target.id,)) for event in self._resting_on(target) if event.id not in undone]
            return self._append(batch, tail)

    def _said_by(self, source: str | None, method: str | None, undone: Mapping[int, int]) -> list[Event]:
        given = {"source": source, "method": method}
        wanted = {name: value for name, value in given.items() if value is not None}
        if not wanted:
            raise InputError("Nothing to undo: give event ids, a source or a method.")
        kinds = ("suggestion", "verdict", "change")
        said = [event for kind in kinds for event in self._events(kind=kind, **wanted) if event.id not in undone]
        if not said:
            who = " and ".join(f"{name} {value!r}" for name, value in wanted.items())
            raise InputError(f"Nothing to undo: no event in force has {who}.")
        return said

    def _resting_on(self, target: Event) -> list[Event]:
        """Changes and undos of the target's row that were derived from it."""
        later = self._events(above=target.id, row=target.row)
        return [event for event in later if event.kind in ("change", "undo") and target.id in event.derived_from]

    def _append(self, batch: list[Event], tail: Tail) -> list[int]:
        """Check, number, date, chain and insert, inside a transaction."""
        time = max(datetime.now(UTC).strftime(TIME), tail.time)  # a clock set back must not reorder history
        dataset = self.event(1) if tail.id else None
        sources = {  # the last declaration of each source
            event.source: event
            for name in {event.source for event in batch}
            for event in self._events(kind="source", source=name)
        }
        previous = tail.hash
        rows: list[tuple[Value, ...]] = []
        for place, event in enumerate(batch):
            try:
                dataset = check(event, dataset, sources)
                values = values_of(placed(event, dataset, tail, place, time))
                previous = chained(values, previous)
            except InputError as error:
                where = f" (event {place} of the batch, counted from 0)" if len(batch) > 1 else ""
                raise InputError(f"{error}{where}") from None
            if event.kind == "source":
                sources[event.source] = event
            rows.append((*values, previous))
        self._store.insert(rows)
        return [tail.id + 1 + place for place in range(len(batch))]

    def replay(
        self, original: str | Path, target: str | Path, *, at: At = None, record_as: str | None = None
    ) -> dict[str, Any]:
        """Make the repaired file: the original with the labels in force at a point. The same bytes every time.

        Parameters
        ----------
        original : the file that the ledger is about; its SHA-256 must be the recorded one.
        target : where the repaired file goes. A file that is there already must be this very result.
        at : the point in the ledger; None = now.
        record_as : name of a person who records the result's SHA-256, so that later replays are held to it.

        Returns
        -------
        `original` and `repaired` (SHA-256 in hexadecimal), and `changed`, the number of rows with a changed label.

        Raises
        ------
        InputError : another original (with both digests), another result than recorded, a target that is in the way.
        """
        original, target, dataset = Path(original), Path(target), self.dataset
        expected, found = dataset.evidence["sha256"], file_digest(original)
        if found != expected:
            raise InputError(
                f"{original} is not the file that this ledger is about: its SHA-256 is {found}, recorded is "
                f"{expected}. Replay on the file as it was audited."
            )
        changes = {row.row: row.after for row in self.diff(0, at) if row.after is not None}
        key = hashlib.sha256(to_json(sorted(changes.items())).encode()).hexdigest()
        try:
            with files.beside(target) as beside:
                rewrite_labels(original, beside, dataset.column, changes)
                repaired = file_digest(beside)
                for event in self._events(kind="dataset"):
                    if event.evidence.get("changes") == key and event.evidence["repaired"] != repaired:
                        raise InputError(
                            f"The replay gives SHA-256 {repaired}, but event {event.id} recorded "
                            f"{event.evidence['repaired']} for the same changes: another release may have written it."
                        )
                if target.exists() and file_digest(target) != repaired:
                    raise InputError(f"{target} is there already with other bytes: remove it, or name another target.")
        except OSError as error:
            raise InputError(f"{target} cannot be written: {error.strerror}.") from error
        if record_as is not None:
            evidence = {**dataset.evidence, "repaired": repaired, "changes": key}
            self.append([Event("dataset", record_as, "human", evidence=evidence)])
        return {"original": found, "repaired": repaired, "changed": len(changes)}

    def export(self, path: str | Path, format: str | None = None) -> int:
        """Write all events to a file, as "jsonl" or "csv" (told by its suffix when None). Returns how many.

        In CSV, a cell that begins with = + - @, tab or return gets an apostrophe before it, so that no spreadsheet
        takes a label for a formula.
        """
        path = Path(path)
        if path.exists() and isinstance(self.path, Path) and path.samefile(self.path):
            raise InputError(f"{path} is the ledger itself: export to another file.")
        return write_events(self.log(), path, format or path.suffix.removeprefix("."))

    def copy_to(self, target: Ledger) -> int:
        """Copy all events as they are, hashes too, to a ledger that is empty or holds the beginning of this one.

        All of them are copied or none. Returns how many were not there yet.

        Raises
        ------
        InputError : the target holds another history, or a longer one.
        LedgerError : an event was altered here, or the target cannot be written.
        """
        with target._store.transaction() as tail:
            upto, number, previous = len(self), tail.id, tail.hash
            if number > upto or (number > 0 and self.event(number).hash != previous):
                raise InputError(
                    f"{target.path} holds {number} events that are not the first of {self.path}: copy elsewhere."
                )
            while rows := self._store.read(above=number, upto=upto, limit=PAGE):
                for row in rows:
                    number += 1
                    if row[0] != number or row[-1] != chained(row[:-1], previous):
                        raise LedgerError(
                            f"Event {number} of {self.path} was altered or is missing: nothing was copied."
                        )
                    previous = str(row[-1])
                target._store.insert(rows)
        return number - tail.id

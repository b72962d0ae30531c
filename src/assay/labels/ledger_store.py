"""What the ledger asks of a database: `tail`, `transaction`, `insert`, `read`, `check`, `close`, and no more.

Rows go in and out as plain tuples in the order of `COLUMNS`; what they mean is the business of `assay.labels.events`.
A ledger has one of two homes: a file (`assay.labels.ledger_sqlite`), or a team's PostgreSQL
(`assay.labels.ledger_postgres`). Both are append-only, and both hold the same chain of the same hashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from assay.errors import AssayError

#: Columns of the table `events`, in the order of its rows and of the text that is hashed.
COLUMNS = (
    "id", "time", "kind", "row", "row_id", "column", "before", "after", "source", "source_kind", "trusted", "gold",
    "method", "version", "evidence", "derived_from", "note", "hash",
)  # fmt: skip
WAIT_SECONDS = 30.0  # for the other writers

Value = str | int | None


class LedgerError(AssayError):
    """The ledger cannot be used or written: full disk, read-only, held by others, damaged, database gone, no ledger."""


class Tail(NamedTuple):
    """The last event: its id (0 in an empty ledger), time and hash."""

    id: int
    time: str
    hash: str


class Store(Protocol):
    """One open ledger; threads may share it. Whatever the database refuses is raised as `LedgerError`."""

    @property
    def path(self) -> Path | str:
        """The file, or the URL of the database without its password."""

    def tail(self) -> Tail:
        """The last event's id, time and hash."""

    def transaction(self) -> AbstractContextManager[Tail]:
        """Hold the ledger alone. When the block ends, all that it inserted is on the disk; if it raises, nothing.

        Inside another transaction of the same thread it is a part of that one.
        """

    def insert(self, rows: Iterable[tuple[Value, ...]]) -> None:
        """Add rows, each in the order of `COLUMNS`; only inside a transaction."""

    def read(
        self,
        columns: Iterable[str] = COLUMNS,
        *,
        above: int = 0,
        upto: int | None = None,
        limit: int | None = None,
        newest: bool = False,
        **equal: Value | Sequence[Value],
    ) -> list[tuple[Value, ...]]:
        """Columns of the events with above < id <= upto whose other columns equal the given values, by rising id.

        Parameters
        ----------
        limit : keep the first so many, with `newest` the last so many.
        equal : a value for each column, or a list of values of which it must hold one.
        """

    def check(self) -> str | None:
        """The first damage that the database finds in its own pages, or None."""

    def beside(self) -> Beside:
        """The table of leases beside the events."""

    def close(self) -> None:
        """Let the file or the connection go."""


class Beside(Protocol):
    """A table beside the events that is no history: it may be lost in a power cut, and never waits for the disk.

    Its columns are `row` (its key), `reviewer` and `until`, in seconds of the clock that `now` tells. Threads may share
    it.
    """

    @property
    def leases(self) -> str:
        """Name of the table in a statement."""

    @property
    def now(self) -> str:
        """The time in a statement: seconds of the one clock that all users of the ledger share."""

    def run(self, query: str, *values: Value | float) -> list[tuple[Any, ...]]:
        """Run one statement with a `?` for each value, and return its rows."""

    def close(self) -> None:
        """Let the file or the connection go."""


def selection(
    table: str,
    columns: Iterable[str],
    above: int,
    upto: int | None,
    limit: int | None,
    newest: bool,
    equal: dict[str, Value | Sequence[Value]],
) -> tuple[str, list[Value]]:
    """The query of `Store.read` with a `?` for each of its values."""
    where: list[str] = ['"id" > ?']
    values: list[Value] = [above]
    if upto is not None:
        where.append('"id" <= ?')
        values.append(upto)
    for name, value in equal.items():
        several = [value] if isinstance(value, str | int | None) else value
        where.append(f'"{name}" IN ({", ".join("?" * len(several))})')
        values += several
    chosen = ", ".join(f'"{name}"' for name in columns)
    query = f'SELECT {chosen} FROM {table} WHERE {" AND ".join(where)} ORDER BY "id" {"DESC" if newest else "ASC"}'
    if limit is not None:
        query += " LIMIT ?"
        values.append(limit)
    return query, values

"""The ledger in a file: SQLite, append-only, safe against a kill and against other writers."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from assay.labels.ledger_store import COLUMNS, WAIT_SECONDS, LedgerError, Tail, Value, selection

APPLICATION_ID = 0x61737379  # "assy", in the header of the file
SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE events (
  "id" INTEGER PRIMARY KEY, "time" TEXT NOT NULL, "kind" TEXT NOT NULL, "row" INTEGER, "row_id" TEXT,
  "column" TEXT NOT NULL, "before" TEXT, "after" TEXT, "source" TEXT NOT NULL, "source_kind" TEXT NOT NULL,
  "trusted" INTEGER NOT NULL, "gold" INTEGER NOT NULL, "method" TEXT, "version" TEXT, "evidence" TEXT NOT NULL,
  "derived_from" TEXT NOT NULL, "note" TEXT, "hash" TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_row ON events ("row") WHERE "row" IS NOT NULL;
CREATE INDEX events_by_kind ON events ("kind");
CREATE TRIGGER events_never_change BEFORE UPDATE ON events
  BEGIN SELECT RAISE(ABORT, 'a ledger is append-only'); END;
CREATE TRIGGER events_never_go BEFORE DELETE ON events
  BEGIN SELECT RAISE(ABORT, 'a ledger is append-only'); END;
CREATE TRIGGER events_follow BEFORE INSERT ON events WHEN NEW.id != (SELECT coalesce(max(id), 0) + 1 FROM events)
  BEGIN SELECT RAISE(ABORT, 'a ledger is append-only'); END;
"""  # the last trigger also stops INSERT OR REPLACE, which fires no DELETE trigger


class SqliteStore:
    """One open ledger file. Threads may share it; after a fork, open it again.

    Parameters
    ----------
    path : the file.
    create : make an empty ledger when there is no file.

    Raises
    ------
    LedgerError : no such file, not a ledger, another schema version, altered schema.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        self._lock = threading.RLock()
        if create and not path.exists():
            _create(path)
        if not path.is_file():
            raise LedgerError(
                f"There is no ledger at {path}: `assay audit` makes one, or `Ledger.open(path, create=True)`."
            )
        # Never `open()` the file here: closing it would drop the locks that other ledgers of this process hold on it.
        with _teach(path):
            self._connection = _connect(path)
            try:
                self._check_schema()
            except BaseException:
                self._connection.close()
                raise

    def _check_schema(self) -> None:
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise LedgerError(f"{self.path} is an SQLite file, but not a ledger of assay.")
        if version != SCHEMA_VERSION:
            raise LedgerError(
                f"{self.path} has ledger schema {version}, this assay reads {SCHEMA_VERSION}: "
                "use the assay that wrote it."
            )
        # A trigger that is missing, or one that is added, means that somebody prepared the file for rewriting.
        with sqlite3.connect(":memory:") as fresh:
            fresh.executescript(SCHEMA)
            query = "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
            expected = dict(fresh.execute(query).fetchall())
        fresh.close()
        found = dict(self._connection.execute(query).fetchall())
        altered = sorted(name for name in expected.keys() | found if expected.get(name) != found.get(name))
        if altered:
            raise LedgerError(f"The schema of {self.path} was altered by another program: {', '.join(altered)}.")

    def tail(self) -> Tail:
        """The last event's id, time and hash."""
        with self._lock, _teach(self.path):
            row = self._connection.execute("SELECT id, time, hash FROM events ORDER BY id DESC LIMIT 1").fetchone()
        return Tail(*row) if row else Tail(0, "", "0" * 64)

    @contextmanager
    def transaction(self) -> Iterator[Tail]:
        """Hold the ledger alone. When the block ends, all that it inserted is on the disk; if it raises, nothing.

        Inside another transaction of the same thread it is a part of that one.
        """
        with self._lock:
            if self._connection.in_transaction:
                yield self.tail()
                return
            with _teach(self.path):
                self._begin()
            try:
                yield self.tail()
                with _teach(self.path):
                    self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a full disk has already rolled back by itself
                    self._connection.execute("ROLLBACK")
                raise

    def _begin(self) -> None:
        """Take the write lock. SQLite's own wait grows to 100 ms a turn and starves a writer among quick ones."""
        deadline = time.monotonic() + WAIT_SECONDS
        self._connection.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    self._connection.execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.OperationalError as error:
                    if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                        raise
                time.sleep(0.001)
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {WAIT_SECONDS * 1000:.0f}")

    def insert(self, rows: Iterable[tuple[Value, ...]]) -> None:
        """Add rows, each in the order of `COLUMNS`; only inside a transaction."""
        marks = ", ".join("?" * len(COLUMNS))
        with _teach(self.path):
            self._connection.executemany(f"INSERT INTO events VALUES ({marks})", rows)

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
        """See `Store.read`."""
        query, values = selection("events", columns, above, upto, limit, newest, equal)
        with self._lock, _teach(self.path):
            rows = self._connection.execute(query, values).fetchall()
        return rows[::-1] if newest else rows

    def check(self) -> str | None:
        """The first damage that the database finds in its own pages, or None."""
        with self._lock, _teach(self.path):
            (answer,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        return None if answer == "ok" else str(answer)

    def beside(self) -> SqliteBeside:
        """The leases, in a file of their own, so that they never wait for a commit here."""
        return SqliteBeside(self.path.with_name(self.path.name + "-leases"))

    def close(self) -> None:
        """Close the file; the last one to close it folds the write-ahead log into it."""
        with self._lock:
            self._connection.close()


class SqliteBeside:
    """See `assay.labels.ledger_store.Beside`."""

    leases, now = "leases", "now_seconds()"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with _teach(path):
            try:
                self._connection = self._open()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                path.unlink()  # what a power cut spoilt holds nothing of worth
                self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False)
        connection.create_function("now_seconds", 0, time.time)
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS leases "
            '("row" INTEGER PRIMARY KEY, reviewer TEXT NOT NULL, until REAL NOT NULL) STRICT'
        )
        return connection

    def run(self, query: str, *values: Value | float) -> list[tuple[Any, ...]]:
        """See `assay.labels.ledger_store.Beside`."""
        with self._lock, _teach(self.path):
            return self._connection.execute(query, values).fetchall()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    """Open an existing file to read and write; to read alone where its folder or medium cannot be written."""
    uri = f"file:{quote(str(path.resolve()))}?mode="
    for mode in ("rw", "ro", "ro&immutable=1"):
        connection = sqlite3.connect(
            uri + mode, uri=True, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA trusted_schema = OFF")  # a ledger may come from a stranger
            connection.execute("PRAGMA synchronous = FULL")  # a commit returns when its bytes are on the disk
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            return connection
        except sqlite3.OperationalError as error:
            connection.close()
            # Immutable ignores a write-ahead log, so it is right only where there is none to ignore.
            log = path.with_name(path.name + "-wal")
            last = mode.endswith("=1") or (mode == "ro" and log.exists() and log.stat().st_size > 0)
            if last or error.sqlite_errorname.split("_")[1] not in ("CANTOPEN", "READONLY"):
                raise
    raise AssertionError


def _create(path: Path) -> None:
    """Make an empty ledger beside `path` and link it there, so that nobody ever opens half a ledger."""
    with _teach(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            connection = sqlite3.connect(beside, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(
                f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};{SCHEMA}"
            )
            connection.close()
            with suppress(FileExistsError):  # another process was faster, and its ledger is as good
                os.link(beside, path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # the name, too, must survive a power cut
            finally:
                os.close(folder)
        finally:
            for suffix in ("", "-wal", "-shm"):
                beside.with_name(beside.name + suffix).unlink(missing_ok=True)


@contextmanager
def _teach(path: Path) -> Iterator[None]:
    """Turn the database's errors into sentences."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise LedgerError(f"{path} refused the write: {error}.") from error
    except (sqlite3.Error, OSError) as error:
        name = getattr(error, "sqlite_errorname", "").removeprefix("SQLITE_").split("_")[0]
        if isinstance(error, OSError):
            sentence = f"{path} cannot be written: {error.strerror}; nothing was appended"
        elif name == "FULL":
            sentence = f"The disk that holds {path} is full; nothing was appended, and the ledger is as it was"
        elif name in ("READONLY", "CANTOPEN"):
            sentence = f"{path} is read-only for you, so nothing was appended: copy it where you may write"
        elif name in ("BUSY", "LOCKED"):
            sentence = f"Another process held {path} for more than {WAIT_SECONDS:.0f} seconds; nothing was appended"
        elif name == "NOTADB":
            sentence = f"{path} is not a ledger: it does not begin as an SQLite file does"
        elif name == "CORRUPT":
            sentence = (
                f"{path} is damaged ({error}): restore it from a copy; `assay ledger verify` says how far it holds"
            )
        elif name == "IOERR":
            sentence = f"The disk that holds {path} refused to read or write ({error}); nothing was appended"
        else:
            sentence = f"{path} cannot be used: {error}"
        raise LedgerError(sentence + ".") from error

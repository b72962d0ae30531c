"""The ledger of a team: PostgreSQL, append-only by triggers, one writer at a time by a lock, the same chain of hashes.

A ledger is one schema of a database. Its owner can drop the triggers, as the owner of a file can rewrite it: what was
noted of `head` shows it. A reviewer needs no more than SELECT and INSERT on `events`, and all on `leases`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from assay.labels.ledger_store import COLUMNS, LedgerError, Tail, Value, selection
from assay.labels.postgres import Address, Database

SCHEMA_VERSION = 1
MARK = "assay ledger, schema "
CREATING = 0x61737379  # lock of whoever makes a ledger; each ledger's own is the number of its table above that
REFUSE = "BEGIN RAISE EXCEPTION USING MESSAGE = 'a ledger is append-only', ERRCODE = '23000'; END"
FOLLOW = (
    "BEGIN IF NEW.id <> (SELECT coalesce(max(id), 0) + 1 FROM {events}) THEN "
    "RAISE EXCEPTION USING MESSAGE = 'a ledger is append-only', ERRCODE = '23000'; END IF; RETURN NEW; END"
)
SCHEMA = f"""
CREATE TABLE {{events}} (
  "id" bigint PRIMARY KEY, "time" text NOT NULL, "kind" text NOT NULL, "row" bigint, "row_id" text,
  "column" text NOT NULL, "before" text, "after" text, "source" text NOT NULL, "source_kind" text NOT NULL,
  "trusted" bigint NOT NULL, "gold" bigint NOT NULL, "method" text, "version" text, "evidence" text NOT NULL,
  "derived_from" text NOT NULL, "note" text, "hash" text NOT NULL
);
CREATE INDEX events_by_row ON {{events}} ("row", "id");
CREATE INDEX events_by_kind ON {{events}} ("kind", "id");
CREATE FUNCTION {{schema}}.events_refuse() RETURNS trigger LANGUAGE plpgsql AS $${REFUSE}$$;
CREATE FUNCTION {{schema}}.events_follow() RETURNS trigger LANGUAGE plpgsql AS $${FOLLOW}$$;
CREATE TRIGGER events_never_change BEFORE UPDATE OR DELETE ON {{events}}
  FOR EACH ROW EXECUTE FUNCTION {{schema}}.events_refuse();
CREATE TRIGGER events_never_go BEFORE TRUNCATE ON {{events}}
  FOR EACH STATEMENT EXECUTE FUNCTION {{schema}}.events_refuse();
CREATE TRIGGER events_follow BEFORE INSERT ON {{events}}
  FOR EACH ROW EXECUTE FUNCTION {{schema}}.events_follow();
ALTER TABLE {{events}} ENABLE ALWAYS TRIGGER events_never_change;
ALTER TABLE {{events}} ENABLE ALWAYS TRIGGER events_never_go;
ALTER TABLE {{events}} ENABLE ALWAYS TRIGGER events_follow;
COMMENT ON TABLE {{events}} IS '{MARK}{SCHEMA_VERSION}';
CREATE UNLOGGED TABLE {{schema}}.leases
  ("row" bigint PRIMARY KEY, reviewer text NOT NULL, until double precision NOT NULL);
"""


class PostgresStore:
    """One open ledger in a database. Threads may share it; after a fork, open it again.

    Parameters
    ----------
    url : see `assay.labels.postgres.Address`.
    create : make an empty ledger where the database holds none of this name.

    Raises
    ------
    LedgerError : no database, no ledger in it, another schema version, altered schema.
    MissingExtraError : pg8000 is not installed.
    """

    def __init__(self, url: str, *, create: bool = False) -> None:
        self._database = Database(Address.read(url))
        self.path = str(self._database.address)
        self._schema = f'"{self._database.address.ledger}"'
        self._events = f"{self._schema}.events"
        self._tail: Tail | None = None  # known inside a transaction
        try:
            if create:
                self._create()
            self._begin = (
                "BEGIN ISOLATION LEVEL READ COMMITTED; "
                f"SELECT pg_advisory_xact_lock({CREATING} * 4294967296 + {self._check_schema()})"
            )
        except BaseException:
            self._database.close()
            raise

    def _create(self) -> None:
        run = self._database.run
        with self._database.transaction(f"BEGIN; SELECT pg_advisory_xact_lock({CREATING})"):
            if run("SELECT 1 WHERE to_regclass(?) IS NOT NULL", self._events):
                return
            ((encoding,),) = run("SELECT current_setting('server_encoding')")
            if encoding != "UTF8":
                raise LedgerError(f"{self.path} keeps text as {encoding}: a ledger needs a database with UTF8.")
            if not run("SELECT 1 WHERE to_regnamespace(?) IS NOT NULL", self._schema):
                run(f"CREATE SCHEMA {self._schema}")
            run(SCHEMA.format(events=self._events, schema=self._schema))

    def _check_schema(self) -> int:
        """The number of the table, which must be a ledger's with all its triggers, and no others."""
        ((table, mark),) = self._database.run(
            "SELECT oid::bigint, obj_description(oid) FROM (SELECT to_regclass(?)::oid AS oid) AS found", self._events
        )
        if table is None:
            raise LedgerError(
                f"There is no ledger at {self.path}: `assay ledger copy` makes one, or `Ledger.open(url, create=True)`."
            )
        if not str(mark).startswith(MARK):
            raise LedgerError(f"{self.path} holds a table of events, but not a ledger of assay.")
        if mark != f"{MARK}{SCHEMA_VERSION}":
            raise LedgerError(
                f"{self.path} has {mark}, this assay reads {SCHEMA_VERSION}: use the assay that wrote it."
            )
        found = self._database.run(
            "SELECT tgname::text, tgtype::bigint, tgenabled::text, prosrc FROM pg_trigger JOIN pg_proc "
            "ON pg_proc.oid = tgfoid WHERE tgrelid = ?::bigint::oid AND NOT tgisinternal UNION ALL "
            "SELECT rulename::text, 0, ev_enabled::text, '' FROM pg_rewrite WHERE ev_class = ?::bigint::oid",
            table,
            table,
        )
        expected = [  # the numbers are the catalogue's for BEFORE, ROW and the kinds of statement
            ("events_follow", 7, "A", FOLLOW.format(events=self._events)),
            ("events_never_change", 27, "A", REFUSE),
            ("events_never_go", 34, "A", REFUSE),
        ]
        altered = sorted({name for name, *_ in set(found) ^ set(expected)})
        if altered:
            raise LedgerError(f"The schema of {self.path} was altered by another program: {', '.join(altered)}.")
        return int(table)

    def tail(self) -> Tail:
        """See `Store.tail`."""
        with self._database.lock:
            if self._database.in_transaction and self._tail is not None:
                return self._tail
        rows = self._database.run(f"SELECT id, time, hash FROM {self._events} ORDER BY id DESC LIMIT 1")
        return Tail(*rows[0]) if rows else Tail(0, "", "0" * 64)

    @contextmanager
    def transaction(self) -> Iterator[Tail]:
        """See `Store.transaction`."""
        with self._database.transaction(self._begin):
            nested, self._tail = self._tail, self._tail or self.tail()  # nobody else can append now: asked for once
            try:
                yield self._tail
            finally:
                self._tail = self._tail if nested else None

    def insert(self, rows: Iterable[tuple[Value, ...]]) -> None:
        """See `Store.insert`."""
        objects = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        query = f"INSERT INTO {self._events} SELECT * FROM json_populate_recordset(NULL::{self._events}, ?) ORDER BY id"
        self._database.run(query, json.dumps(objects))
        if objects:
            self._tail = Tail(*(objects[-1][name] for name in ("id", "time", "hash")))  # type: ignore[arg-type]

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
        query, values = selection(self._events, columns, above, upto, limit, newest, equal)
        rows = self._database.run(query, *values)
        return rows[::-1] if newest else rows

    def check(self) -> str | None:
        """The database looks after its own pages."""
        return None

    def beside(self) -> PostgresBeside:
        """The leases, on a connection of their own."""
        return PostgresBeside(self._database.address)

    def close(self) -> None:
        """Close the connection."""
        self._database.close()


class PostgresBeside:
    """See `assay.labels.ledger_store.Beside`."""

    now = "extract(epoch FROM clock_timestamp())::float8"

    def __init__(self, address: Address) -> None:
        self._database = Database(address, "SET synchronous_commit = off")
        self.leases = f'"{address.ledger}".leases'

    def run(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """See `assay.labels.ledger_store.Beside`."""
        return self._database.run(query, *values)

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

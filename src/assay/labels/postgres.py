"""A connection to PostgreSQL that is reopened when it was lost, and whose errors are sentences without the password."""

from __future__ import annotations

import getpass
import itertools
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from assay.errors import InputError, require
from assay.labels.ledger_store import WAIT_SECONDS, LedgerError

SCHEMES = ("postgresql://", "postgres://")
SSL_MODES = ("disable", "require", "verify-full")
FEW = 10  # values of a statement that is worth keeping prepared
_SESSION = f"""
SET lock_timeout = '{WAIT_SECONDS:.0f}s';
SET idle_in_transaction_session_timeout = '{2 * WAIT_SECONDS:.0f}s';
SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""  # a client that vanishes or hangs must not hold the others up for long; a commit returns when it is on the disk
_LOST = ("08", "57P0")  # classes of errors after which the server has hung up
_SENTENCES = {
    "28": "refused the user or the password",
    "3D000": "is not there: make the database first (`createdb`)",
    "42501": "does not let you do this ({message}); nothing was appended",
    "53100": "has a full disk; nothing was appended, and the ledger is as it was",
    "53300": "has no connection left for you; nothing was appended",
    "25006": "is read-only, so nothing was appended",
    "55P03": f"was held by another process for more than {WAIT_SECONDS:.0f} seconds; nothing was appended",
    "23": "refused the write: {message}",
}


class Address(NamedTuple):
    """What `postgresql://user:password@host:port/database?ledger=NAME&sslmode=MODE` says.

    `ledger` is the database schema that holds the ledger. `host=/folder` in the query names the folder of a socket.
    Without a password in it, the environment variable PGPASSWORD counts. `sslmode` is "disable" (the default for this
    machine), "require" (the default for others: encrypted, whoever answers) or "verify-full" (and its certificate is
    signed by an authority that is known, or is in the file `sslrootcert`).
    """

    user: str
    password: str | None
    host: str
    port: int
    database: str
    ledger: str
    sslmode: str
    sslrootcert: str | None

    @classmethod
    def read(cls, url: str) -> Address:
        """Take a URL apart; `InputError` where it says what is not understood."""
        try:
            parts, port = urlsplit(url), urlsplit(url).port or 5432
        except ValueError:
            parts, port = urlsplit(""), 0
        if not port or "@" in parts.path + parts.query + parts.fragment:
            raise InputError(  # without the URL, which may hold a password
                "The URL of a ledger's database is postgresql://user:password@host:port/database?ledger=name; "
                "signs like / # @ in the password are written as %2F %23 %40."
            )
        query = dict(parse_qsl(parts.query))
        known = ("host", "ledger", "sslmode", "sslrootcert")
        if query.keys() - set(known):
            raise InputError(f"After the ? of a ledger's database stand only {', '.join(known)}.")
        ledger, host = query.get("ledger", "assay"), query.get("host") or parts.hostname or "localhost"
        if not re.fullmatch("[a-z_][a-z0-9_]{0,62}", ledger) or ledger.startswith("pg_"):
            raise InputError(f"The name of a ledger is up to 63 of a-z, 0-9 and _, not {ledger!r}.")
        here = host.startswith("/") or host in ("localhost", "127.0.0.1", "::1")
        sslmode = query.get("sslmode", "disable" if here else "require")
        if sslmode not in SSL_MODES:
            raise InputError(f"sslmode is one of {', '.join(SSL_MODES)}, not {sslmode!r}.")
        user = unquote(parts.username or "") or getpass.getuser()
        password = unquote(parts.password) if parts.password else os.environ.get("PGPASSWORD")
        database = unquote(parts.path.strip("/")) or user
        return cls(user, password, host, port, database, ledger, sslmode, query.get("sslrootcert"))

    def __str__(self) -> str:
        """The URL without the password."""
        place = f"[{self.host}]" if ":" in self.host else self.host
        return f"postgresql://{self.user}@{place}:{self.port}/{self.database}?ledger={self.ledger}"

    def connect(self) -> Any:
        """A new connection of pg8000."""
        native = require("pg8000.native", "postgres", "A ledger in PostgreSQL")
        context: Any = False
        if self.sslmode != "disable":
            import ssl

            context = ssl.create_default_context(cafile=self.sslrootcert)
            if self.sslmode == "require":
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        socket = self.host.startswith("/")
        return native.Connection(
            self.user,
            host=None if socket else self.host,
            unix_sock=f"{self.host}/.s.PGSQL.{self.port}" if socket else None,
            port=self.port,
            database=self.database,
            password=self.password or "",
            ssl_context=context,
            timeout=WAIT_SECONDS + 10,
            application_name="assay",
            startup_params={"client_encoding": "UTF8"},
        )


class Database:
    """One connection, shared by threads. Where it was lost, it is opened again for the next statement.

    Parameters
    ----------
    address : where.
    session : statements for every connection when it is opened.
    """

    def __init__(self, address: Address, session: str = "") -> None:
        self.address, self.in_transaction = address, False
        self._session = _SESSION + (f"; {session}" if session else "")
        self.lock = threading.RLock()
        self._connection: Any = None
        self._prepared: dict[str, Any] = {}

    def run(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement with a `?` for each value, or several without values; return the rows.

        Outside a transaction it must be one that may be run twice: it is, when the connection had been lost.
        """
        with self.lock:
            again = self._connection is not None and not self.in_transaction
            try:
                return self._run(query, values)
            except LedgerError:
                if self._connection is not None or not again:
                    raise
            return self._run(query, values)

    def _run(self, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        if self._connection is None and self.in_transaction:
            raise LedgerError(f"The connection to {self.address} was lost; nothing was appended.")
        try:
            if self._connection is None:
                fresh = self.address.connect()
                fresh.run(self._session)
                self._connection, self._prepared = fresh, {}
            names = {f"v{place}": value for place, value in enumerate(values)}
            if not values or len(values) > FEW:
                return [tuple(row) for row in self._connection.run(_named(query), **names) or ()]
            if query not in self._prepared:
                self._prepared[query] = self._connection.prepare(_named(query))
            return [tuple(row) for row in self._prepared[query].run(**names) or ()]
        except BaseException as error:
            facts = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
            code = str(facts.get("C", ""))
            if not facts or code.startswith(_LOST):
                self._drop()
            if not isinstance(error, Exception) or isinstance(error, ImportError | LedgerError):
                raise
            raise LedgerError(self._sentence(error, code, str(facts.get("M", "")), query)) from error

    def _sentence(self, error: Exception, code: str, message: str, query: str) -> str:
        for beginning, sentence in _SENTENCES.items():
            if code.startswith(beginning):
                return f"{self.address} {sentence.format(message=message)}."
        if code and not code.startswith(_LOST):
            return f"{self.address} refused ({message}); nothing was appended."
        why = message or str(error.__cause__ or error).rstrip(".")
        if query == "COMMIT":
            return (
                f"The connection to {self.address} was lost while it confirmed ({why}): look whether the last append "
                "is there before you make it again."
            )
        return f"{self.address} cannot be reached ({why}); nothing was appended."

    @contextmanager
    def transaction(self, begin: str) -> Iterator[None]:
        """Run the block between `begin` and COMMIT, or ROLLBACK when it raises; a transaction within one is a part."""
        with self.lock:
            if self.in_transaction:
                yield
                return
            try:
                self.run(begin)
                self.in_transaction = True
                yield
                self.run("COMMIT")
            except BaseException:
                if self._connection is not None:
                    with suppress(LedgerError):
                        self.run("ROLLBACK")
                raise
            finally:
                self.in_transaction = False

    def close(self) -> None:
        """Close the connection."""
        with self.lock:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.close()


def _named(query: str) -> str:
    """With :v0, :v1... for each `?`."""
    places = itertools.count()
    return re.sub(r"\?", lambda _: f":v{next(places)}", query)

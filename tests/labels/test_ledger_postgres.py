"""The ledger in PostgreSQL: the same answers as the file, event by event and hash by hash; the same refusals; the way
there and back; and errors that are one sentence, never with the password."""

import os
import shutil
import subprocess
import threading
import traceback
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from assay.cli.ledger import command
from assay.errors import InputError
from assay.labels.ledger import Event, Ledger, LedgerError
from assay.labels.ledger_store import COLUMNS
from assay.labels.postgres import Address
from bench.postgres import PASSWORD, Server

N_ROWS = 50
DATASET = Event("dataset", "audit", "rule", column="label", evidence={"sha256": "0" * 64, "n_rows": N_ROWS})


def change(row: int, before: str | None = "cat", after: str = "dog", **more: object) -> Event:
    return replace(Event("change", "anna", "human", row=row, before=before, after=after), **more)


@pytest.fixture
def url(postgres: Server) -> str:
    return postgres.url(f"ledger_{uuid.uuid4().hex}")


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with Ledger.open(url, create=True) as opened:
        opened.append([DATASET])
        yield opened


def raw(ledger: Ledger, statement: str) -> list[tuple]:
    """Run a statement on the ledger's own connection; `EVENTS` stands for its table."""
    return ledger._store._database.run(statement.replace("EVENTS", ledger._store._events))


def history(ledger: Ledger, n: int, seed: int = 0) -> None:
    """Append n random changes, suggestions and undos."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        undone = ledger.undone()
        open_ = [event.id for event in ledger.log() if event.kind in ("change", "undo") and event.id not in undone]
        if open_ and rng.random() < 0.4:
            ledger.undo(int(rng.choice(open_)), source="ben", note="=formula\n\t")
        else:
            before = None if rng.random() < 0.2 else "cät"
            new = change(
                int(rng.integers(6)), before, f"label{rng.integers(9)} 'x' \\ \"…\"", evidence={"p": 0.1, "ü": [None]}
            )
            hint = Event("suggestion", "cl", "model", row=new.row, row_id="r", before="cat", after="dog", method="m")
            ledger.append([hint, replace(new, derived_from=(-1,))])


# The same as the file


def test_every_answer_is_that_of_the_file(ledger: Ledger, postgres: Server, tmp_path: Path) -> None:
    history(ledger, 40)
    with Ledger.open(tmp_path, create=True) as file, Ledger.open(postgres.url("again"), create=True) as again:
        assert ledger.copy_to(file) == len(ledger) == file.copy_to(again)
        for other in (file, again):
            assert other.verify(ledger.head) == ledger.verify() == ledger.verify(other.head)
            assert other.head == ledger.head
            assert list(other.log()) == list(ledger.log())
            for at in range(0, len(ledger) + 1, 5):
                assert other.current(at) == ledger.current(at)
                assert other.undone(at) == ledger.undone(at)
                assert other.diff(at) == ledger.diff(at)
                assert list(other.log(since=at, limit=7)) == list(ledger.log(since=at, limit=7))
            time = ledger.event(9).time
            assert other.current(time) == ledger.current(time)
            for row in range(7):
                assert other.blame(row) == ledger.blame(row)
                assert list(other.log(row=row, kind="change", source="anna")) == list(
                    ledger.log(row=row, kind="change", source="anna")
                )
        # And both go on from there.
        for other in (file, again):
            other.append([change(1, None, "z")])
            assert other.verify().problem is None


def test_a_transaction_is_all_or_nothing(ledger: Ledger) -> None:
    with ledger.transaction():
        ledger.append([change(1)])
        ledger.undo(2, source="ben")
        ledger.append([change(2)])
    for error in (OSError("theirs"), InputError("ours"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, ledger.transaction():  # noqa: PT012
            ledger.append([change(3)])
            ledger.undo(of_source="anna", source="ben")
            raise error
        assert caught.value is error
        assert (len(ledger), ledger.current()) == (4, {2: "dog"})
    assert ledger.append([change(3)]) == [5]
    assert ledger.verify().problem is None


def test_writers_take_turns(ledger: Ledger, url: str) -> None:
    def write(name: str) -> None:
        with Ledger.open(url) as own:
            for row in range(15):
                own.append([change(row, source=name), change(row + 20, source=name)])

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert sum(1 for _ in ledger.log()) % 2 == 1  # never half a batch
    assert len(ledger) == 1 + 4 * 15 * 2
    assert ledger.verify().problem is None


def test_two_processes_that_make_one_ledger_make_one(url: str) -> None:
    threads = [threading.Thread(target=lambda: Ledger.open(url, create=True).close()) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Ledger.open(url) as ledger:
        assert (len(ledger), ledger.append([DATASET])) == (0, [1])


# Append-only


COPY = "INSERT INTO EVENTS SELECT {}, " + ", ".join(f'"{name}"' for name in COLUMNS[1:]) + " FROM EVENTS WHERE id = 2"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE EVENTS SET after = 'cow'",
        "DELETE FROM EVENTS WHERE id = 2",
        "TRUNCATE EVENTS",
        COPY.format(9),
        COPY.format(2),
        COPY.format(2) + " ON CONFLICT (id) DO UPDATE SET after = 'cow'",
        "SET session_replication_role = replica; UPDATE EVENTS SET after = 'cow'",
    ],
)
def test_the_database_itself_refuses_edits(ledger: Ledger, statement: str) -> None:
    ledger.append([change(3)])
    with pytest.raises(LedgerError, match=r"refused the write: (a ledger is append-only|duplicate key)"):
        raw(ledger, statement)
    assert len(ledger) == 2
    assert ledger.verify().problem is None


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("DROP TRIGGER events_never_go ON EVENTS", "events_never_go"),
        ("ALTER TABLE EVENTS DISABLE TRIGGER events_follow", "events_follow"),
        ("ALTER TABLE EVENTS ENABLE TRIGGER events_never_change", "events_never_change"),
        ("CREATE RULE quiet AS ON INSERT TO EVENTS DO INSTEAD NOTHING", "quiet"),
        (
            "CREATE OR REPLACE FUNCTION EVENTS_refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "events_never_change, events_never_go",
        ),
    ],
)
def test_an_altered_schema_is_refused(ledger: Ledger, url: str, statement: str, named: str) -> None:
    raw(ledger, statement)
    with pytest.raises(LedgerError, match=f"altered by another program: {named}"):
        Ledger.open(url)


def test_another_schema_or_table_is_refused(ledger: Ledger, url: str) -> None:
    raw(ledger, "COMMENT ON TABLE EVENTS IS 'assay ledger, schema 9'")
    with pytest.raises(LedgerError, match="has assay ledger, schema 9, this assay reads 1"):
        Ledger.open(url)
    raw(ledger, "COMMENT ON TABLE EVENTS IS NULL")
    with pytest.raises(LedgerError, match="but not a ledger of assay"):
        Ledger.open(url, create=True)


@pytest.mark.parametrize(
    ("statement", "event", "message"),
    [
        ("UPDATE EVENTS SET after = 'cow' WHERE id = 3", 3, "Event 3 was altered"),
        ("DELETE FROM EVENTS WHERE id = 2", 2, "Event 2 is missing"),
        ("DELETE FROM EVENTS WHERE id = 4", None, "cut or rewritten"),
    ],
)
def test_tampering_is_found_and_not_copied(
    ledger: Ledger, tmp_path: Path, statement: str, event: int | None, message: str
) -> None:
    ledger.append([change(3), change(4), change(5)])
    head = ledger.head
    raw(ledger, f"ALTER TABLE EVENTS DISABLE TRIGGER USER; {statement}")
    found = ledger.verify(head)
    assert (found.event, message in str(found.problem)) == (event, True)
    if event is not None:
        with Ledger.open(tmp_path, create=True) as file:
            with pytest.raises(LedgerError, match=f"Event {event} of .* was altered or is missing: nothing was copied"):
                ledger.copy_to(file)
            assert len(file) == 0


# Copies


def test_a_copy_goes_on_where_it_was_and_refuses_another_history(ledger: Ledger, tmp_path: Path) -> None:
    ledger.append([change(1)])
    with Ledger.open(tmp_path / "a.db", create=True) as file:
        assert (ledger.copy_to(file), ledger.copy_to(file)) == (2, 0)
        ledger.append([change(2), change(3)])
        assert ledger.copy_to(file) == 2
        assert file.copy_to(ledger) == 0
        file.append([change(4)])
        with pytest.raises(InputError, match=r"holds 5 events that are not the first of .*: copy elsewhere"):
            ledger.copy_to(file)
        ledger.append([change(5), change(6)])
        for one, other in ((ledger, file), (file, ledger)):
            with pytest.raises(InputError, match="events that are not the first of"):
                one.copy_to(other)
        assert (len(file), len(ledger)) == (5, 6)


def test_from_the_command_line(
    ledger: Ledger, postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.append([Event("suggestion", "cl", "model", row=3, row_id="x", before="cat", after="dog")])
    url = postgres.url(Address.read(postgres.url("x")).ledger, password=None).replace(
        "ledger=x", str(ledger.path).split("?")[1]
    )
    monkeypatch.setenv("PGPASSWORD", PASSWORD)

    def run(*arguments: object) -> str:
        done = CliRunner().invoke(command, [str(argument) for argument in arguments])
        assert done.exit_code == 0, (done.output, done.exception)
        assert PASSWORD not in done.output
        return done.stdout

    (tmp_path / "verdicts.csv").write_text("id,verdict,reviewer\nx,suggested,anna\n")
    assert "1 verdicts recorded" in run("record", url, tmp_path / "verdicts.csv")
    assert "4 events copied" in run("copy", url, tmp_path / "back.assay")
    assert run("log", url) == run("log", tmp_path / "back.assay")
    assert "4 events, whole" in run("verify", url, "--head", ledger.head)
    assert "4 events" in run("export", url, tmp_path / "out.jsonl")
    assert "0 events copied" in run("copy", tmp_path / "back.assay", url)


# Errors


def whole(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"password": "wr/ong"}, "refused the user or the password"),
        ({"password": None}, "refused the user or the password"),
        ({"user": "nobody"}, "refused the user or the password"),
        ({"query": "&sslmode=require"}, r"cannot be reached \(Server refuses SSL\)"),
        ({"query": "&sslmode=verify-full&sslrootcert=/nowhere.pem"}, "No such file"),
        ({}, "There is no ledger at .*assay ledger copy"),
    ],
)
def test_what_cannot_be_opened_is_one_sentence(
    postgres: Server, monkeypatch: pytest.MonkeyPatch, query: dict, message: str
) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    with pytest.raises(LedgerError, match=message) as caught:
        Ledger.open(postgres.url("absent", **query))
    assert str(caught.value).endswith((".", "`."))
    assert not any(secret in whole(caught.value) for secret in (PASSWORD, "s3cret", "wr/ong", "wr%2Fong"))


def test_a_database_or_server_that_is_not_there(postgres: Server) -> None:
    with pytest.raises(LedgerError, match="is not there: make the database first"):
        Ledger.open(postgres.url("x").replace("/postgres?", "/absent?"), create=True)
    nobody = "postgresql://anna:hush@127.0.0.1:1/labels"
    with pytest.raises(LedgerError, match=r"cannot be reached \(.*refused\); nothing was appended") as caught:
        Ledger.open(nobody)
    assert "hush" not in whole(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://anna:hush/word@host/db", "written as %2F"),
        ("postgresql://anna:12/hush@host/db", "written as %2F"),
        ("postgresql://anna:hush#word@host/db", "written as %2F"),
        ("postgresql://anna:hush@host:port/db", "written as %2F"),
        ("postgres://anna:hush@host/db?sslmode=maybe", "disable, require, verify-full, not 'maybe'"),
        ("postgres://anna:hush@host/db?color=red", "stand only host, ledger, sslmode, sslrootcert"),
        ("postgres://anna:hush@host/db?ledger=A%22;", "a-z, 0-9 and _"),
        ("postgres://anna:hush@host/db?ledger=pg_catalog", "a-z, 0-9 and _"),
    ],
)
def test_a_bad_url_is_refused_and_not_repeated(url: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Ledger.open(url)
    assert "hush" not in str(caught.value)


def test_a_url_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "from env")
    read = Address.read(
        "postgres://an%40na:hu%2Fsh@[::1]:5433/la%20bels?ledger=pets&sslmode=verify-full&sslrootcert=a.pem"
    )
    assert read == ("an@na", "hu/sh", "::1", 5433, "la bels", "pets", "verify-full", "a.pem")
    assert str(read) == "postgresql://an@na@[::1]:5433/la bels?ledger=pets"
    plain = Address.read("postgresql://anna@db.example.org")
    assert plain == ("anna", "from env", "db.example.org", 5432, "anna", "assay", "require", None)
    assert Address.read("postgresql:///labels?host=/run/postgresql").sslmode == "disable"


def test_a_reviewer_needs_few_rights(ledger: Ledger, postgres: Server) -> None:
    schema, role = ledger._store._schema, f"role{uuid.uuid4().hex}"
    raw(
        ledger,
        f"CREATE ROLE {role} LOGIN PASSWORD 'p'; GRANT USAGE ON SCHEMA {schema} TO {role}; "
        f"GRANT SELECT ON EVENTS TO {role}",
    )
    with Ledger.open(postgres.url(schema.strip('"'), user=role, password="p")) as own:
        with pytest.raises(LedgerError, match=r"does not let you do this \(permission denied.*nothing was appended"):
            own.append([change(1)])
        assert len(own) == 1
        raw(ledger, f"GRANT INSERT ON EVENTS TO {role}")
        assert own.append([change(1)]) == [2]
        with pytest.raises(LedgerError, match="must be owner of table"):
            raw(own, "ALTER TABLE EVENTS DISABLE TRIGGER USER")
    with pytest.raises(LedgerError, match="does not let you"):
        Ledger.open(postgres.url("new", user=role, password="p"), create=True)


def hang_up(ledger: Ledger, on: Ledger) -> None:
    ((pid,),) = raw(on, "SELECT pg_backend_pid()")
    raw(ledger, f"SELECT pg_terminate_backend({pid}, 5000)")


def test_a_lost_connection_is_opened_again(ledger: Ledger, url: str) -> None:
    with Ledger.open(url) as own:
        hang_up(ledger, own)
        assert len(own) == 1  # asked again without a word: nothing was under way
        hang_up(ledger, own)
        assert own.append([change(1)]) == [2]
        with pytest.raises(LedgerError, match=r"cannot be reached .* nothing was appended"), own.transaction():  # noqa: PT012
            own.append([change(2)])
            hang_up(ledger, own)
            own.append([change(3)])
        assert len(own) == 2
        with pytest.raises(LedgerError, match="was lost while it confirmed"), own.transaction():  # noqa: PT012
            own.append([change(2)])
            hang_up(ledger, own)
        with own.transaction():
            assert own.append([change(2)]) == [3]
    assert ledger.verify().problem is None


def test_nothing_goes_on_in_a_transaction_whose_connection_was_lost(ledger: Ledger, url: str) -> None:
    with Ledger.open(url) as own, pytest.raises(LedgerError, match="was lost; nothing"), own.transaction():  # noqa: PT012
        own.append([change(1)])
        hang_up(ledger, own)
        with pytest.raises(LedgerError, match="cannot be reached"):
            own.append([change(2)])
        own.append([change(3)])
    assert len(ledger) == 1


def test_a_writer_that_never_ends_is_named(ledger: Ledger, url: str) -> None:
    with Ledger.open(url) as other:
        raw(other, "SET lock_timeout = '200ms'")
        with ledger.transaction():
            assert len(other) == 1  # readers never wait
            with pytest.raises(LedgerError, match=r"held by another process .* nothing was appended"):
                other.append([change(1)])
        assert other.append([change(1)]) == [2]


def test_a_disk_that_takes_no_more(ledger: Ledger, postgres: Server, url: str) -> None:
    rng = np.random.default_rng(0)
    with Ledger.open(url) as own:
        ((pid,),) = raw(own, "SELECT pg_backend_pid()")
        postgres.limit_files(pid, 16 << 20)  # not below the size of the server's log files, whose loss would stop it
        acknowledged = []
        with pytest.raises(LedgerError, match=r"refused .*File too large.*; nothing was appended"):  # noqa: PT012
            for row in range(40):
                acknowledged += own.append([change(row, note=rng.bytes(400_000).hex())])
        assert len(ledger) == len(acknowledged) + 1 > 10
        postgres.limit_files(pid, None)
        assert own.append([change(1)]) == [acknowledged[-1] + 1]
    assert ledger.verify().problem is None


def test_encrypted_and_the_certificate_checked(ledger: Ledger, postgres: Server, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is absent: install the Debian package `openssl`")
    key, certificate = postgres.data / "server.key", postgres.data / "server.crt"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=assay", "-addext",
         "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate], check=True, capture_output=True,
    )  # fmt: skip
    if os.geteuid() == 0:
        shutil.chown(key, "postgres")
    key.chmod(0o600)
    known = shutil.copy(certificate, tmp_path)
    name = str(ledger.path).rsplit("=", 1)[1]
    raw(ledger, "ALTER SYSTEM SET ssl = on")
    raw(ledger, "SELECT pg_reload_conf(), pg_sleep(0.2)")
    try:
        for mode, encrypted in (("disable", False), ("require", True), (f"verify-full&sslrootcert={known}", True)):
            with closing(Ledger.open(postgres.url(name, query=f"&sslmode={mode}"))) as own:
                assert raw(own, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == [(encrypted,)]
        with pytest.raises(LedgerError, match=r"cannot be reached \(.*CERTIFICATE_VERIFY_FAILED"):
            Ledger.open(postgres.url(name, query="&sslmode=verify-full"))
        wrong = postgres.url(name, query=f"&sslmode=verify-full&sslrootcert={known}").replace("127.0.0.1", "localhost")
        with pytest.raises(LedgerError, match=r"cannot be reached \(.*[Hh]ostname mismatch"):
            Ledger.open(wrong)
    finally:
        raw(ledger, "ALTER SYSTEM RESET ssl")
        raw(ledger, "SELECT pg_reload_conf()")

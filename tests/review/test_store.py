"""The store of decisions, in a file and in PostgreSQL: what counts, what is stored once, who holds a row, what faults
leave. The servers, kills, limits and permissions are real."""

import os
import resource
import shutil
import sqlite3
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from assay.errors import InputError
from assay.labels.ledger import Event, Ledger, LedgerError
from assay.labels.recording import ledger_verdicts
from assay.labels.verdicts import Verdict
from assay.review.store import Decision, ReviewStore, Shown
from bench.forks import Fork
from bench.review import store as bench

N_ROWS = 10_000
N_SUGGESTED = 20


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory where there is one: a killed process loses nothing there, and a busy disk slows nothing."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name)


@pytest.fixture(params=["file", "postgres"])
def home(request: pytest.FixtureRequest, folder: Path) -> str:
    """Where a new ledger may be."""
    if request.param == "file":
        return str(folder / "ledger.db")
    return request.getfixturevalue("postgres").url(f"store_{uuid.uuid4().hex}")


@pytest.fixture
def place(home: str) -> str:
    """Where a new ledger is that has begun, with suggestions for the first rows."""
    return begun(home)


def begun(where: str) -> str:
    with Ledger.open(where, create=True) as ledger:
        evidence = {"sha256": "0" * 64, "n_rows": N_ROWS, "classes": ["cat", "dog", "frog"]}
        suggestions = [
            Event("suggestion", "cl", "model", row=row, row_id=f"r{row}", before="cat", after="dog")
            for row in range(N_SUGGESTED)
        ]
        ledger.append([Event("dataset", "audit", "rule", column="label", evidence=evidence), *suggestions])
    return where


@pytest.fixture
def store(place: str) -> Iterator[ReviewStore]:
    with ReviewStore(Ledger.open(place)) as opened:
        yield opened


def said(row: int, reviewer: str, word: str, label: str | None = None, **more: object) -> Decision:
    return replace(Decision(row, reviewer, Verdict(word), label), **more)


def facts(store: ReviewStore) -> list[tuple[int, str, str]]:
    return [(each.row, each.reviewer, each.verdict.value) for each in store.decisions()]


# By hand


def test_a_decision_comes_back_as_it_went_in(store: ReviewStore) -> None:
    given = [
        said(3, "anna", "suggested", "dog", note="sure…", sampled="random", seconds=2.5, key="k1"),
        said(3, "ben", "other", "frog", role="second", key="k2"),
        said(3, "carl", "given", role="adjudication", seconds=0.0, key="k3"),
        said(9, "anna", "skip"),
    ]
    stored = [store.append(each) for each in given]
    expected = [replace(each, event=s.event, time=s.time) for each, s in zip(given, stored, strict=True)]
    assert store.decisions() == expected
    assert store.decisions(above=stored[1].event) == expected[2:]
    with ReviewStore(Ledger.open(store.ledger.path) if isinstance(store.ledger.path, Path) else store.ledger) as again:
        assert again.decisions() == expected


def test_the_same_key_is_one_verdict_for_ever(store: ReviewStore, place: str) -> None:
    first = store.append(said(3, "anna", "suggested", key="k"))
    assert store.append(said(3, "anna", "suggested", key="k")) == (*first[:2], True)
    assert store.append(said(3, "ben", "suggested", key="k")).event != first.event  # a key is its reviewer's
    store.undo("anna")
    with ReviewStore(Ledger.open(place)) as again:
        assert again.append(said(3, "anna", "suggested", key="k")) == (*first[:2], True)
    assert facts(store) == [(3, "ben", "suggested")]


def test_another_verdict_takes_the_old_back_and_the_same_is_nothing(store: ReviewStore) -> None:
    first = store.append(said(3, "anna", "suggested", key="a"))
    assert store.append(said(3, "anna", "suggested", key="b")) == (*first[:2], True)
    version = store.version()
    store.append(said(3, "anna", "given", key="c"))
    assert facts(store) == [(3, "anna", "given")]
    assert store.ledger.current() == {}
    assert store.version() == version + 3  # two undos, of the verdict and of its change, and the verdict


def test_a_label_follows_all_verdicts_on_its_row(store: ReviewStore) -> None:
    label = store.ledger.current
    store.append(said(1, "anna", "suggested"))
    assert label() == {1: "dog"}
    store.append(said(1, "ben", "suggested", role="second"))
    store.undo("anna")  # ben still wants it
    assert label() == {1: "dog"}
    assert [event.source for event in store.ledger.blame(1)][-2:] == ["ben", "ben"]
    store.append(said(1, "carl", "given", role="second"))
    assert store.ledger.diff(0) == []  # one against one: the given label stands
    store.append(said(1, "dora", "skip"))
    assert store.ledger.diff(0) == []
    store.append(said(1, "emil", "other", "frog", role="adjudication"))
    assert label() == {1: "frog"}
    assert [event.source for event in store.ledger.blame(1)][-2:] == ["emil", "emil"]
    store.undo("emil")
    assert store.ledger.diff(0) == []
    store.undo("carl")
    assert label() == {1: "dog"}
    assert store.ledger.verify().problem is None


def test_an_adjudication_outweighs_also_what_comes_later(store: ReviewStore) -> None:
    store.append(said(1, "anna", "suggested", sampled="random"))
    store.append(said(1, "ben", "given", role="second"))
    store.append(said(1, "anna", "other", "frog", role="adjudication"))  # one of the two, when there is nobody else
    assert facts(store) == [(1, "anna", "suggested"), (1, "ben", "given"), (1, "anna", "other")]
    store.append(said(1, "carl", "given", role="second"))
    assert store.ledger.current() == {1: "frog"}
    found = ledger_verdicts(store.ledger)
    assert (found.reviewer, found.label, found.sampled.tolist()) == (("anna",), ("frog",), ["random"])
    store.append(said(1, "dora", "skip", role="adjudication"))  # decides nothing
    assert ledger_verdicts(store.ledger).label == ("frog",)
    assert store.ledger.current() == {1: "frog"}
    store.append(said(1, "emil", "neither", role="adjudication"))
    assert store.ledger.diff(0) == []


def test_a_change_that_no_reviewer_made_stays_without_a_majority(store: ReviewStore) -> None:
    store.ledger.append([Event("change", "policy", "rule", row=2, before="cat", after="frog")])
    store.append(said(2, "anna", "suggested", key="a"))
    assert store.ledger.current() == {2: "dog"}
    store.undo("anna")
    store.append(said(2, "ben", "neither"))
    assert store.ledger.current() == {2: "frog"}
    store.append(said(2, "ben", "given"))
    assert store.ledger.diff(0) == []


def test_undo_takes_the_last_or_the_named_one_of_its_reviewer(store: ReviewStore) -> None:
    for row, name in ((1, "anna"), (2, "ben"), (3, "anna"), (4, "anna")):
        store.append(said(row, name, "suggested", key=f"k{row}"))
    assert store.undo("anna").row == 4
    assert store.undo("anna", "k1").row == 1
    assert store.undo("anna", "k1") is None
    assert store.undo("anna", "k2") is None  # ben's
    assert store.undo("carl") is None
    assert facts(store) == [(2, "ben", "suggested"), (3, "anna", "suggested")]
    assert store.undo("anna").row == 3
    assert store.undo("anna") is None
    assert store.ledger.current() == {2: "dog"}


def test_an_undo_that_is_undone_elsewhere_brings_the_decision_back(store: ReviewStore, place: str) -> None:
    store.append(said(1, "anna", "suggested"))
    store.undo("anna")
    with Ledger.open(place) as ledger:
        undo = next(ledger.log(kind="undo")).id
        for times in range(1, 5):
            (undo, *_) = ledger.undo(undo, source="ben")
            assert len(store.decisions()) == times % 2
            assert ledger.current() == ({1: "dog"} if times % 2 else {})


def test_what_was_shown_is_kept_where_the_ledger_has_no_suggestion(place: str) -> None:
    def shown(row: int) -> Shown:
        return Shown(None if row == 51 else "cat", "frog" if row == 0 else "dog", f"r{row}")

    with ReviewStore(Ledger.open(place), shown) as store:
        for row in (0, 1, 50, 51):
            store.append(said(row, "anna", "suggested"))
        assert store.ledger.current() == {0: "frog", 1: "dog", 50: "dog", 51: "dog"}
        own = [event for event in store.ledger.log(kind="suggestion") if event.method == "review"]
        assert [(event.row, event.before, event.after, event.row_id) for event in own] == [
            (0, "cat", "frog", "r0"), (50, "cat", "dog", "r50"), (51, None, "dog", "r51"),
        ]  # fmt: skip
        store.append(said(50, "ben", "given"))
        assert len(list(store.ledger.log(row=50, kind="suggestion"))) == 1


# Limits


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        (said(N_ROWS, "anna", "given"), "no row 10000: the data set has 10000 rows"),
        (said(-1, "anna", "given"), "no row -1"),
        (said(1, "anna", "other"), "needs the right label"),
        (said(1, "anna", "other", "bird"), "Unknown class 'bird': the data set has 'cat', 'dog', 'frog'"),
        (said(1, "anna", "other", "cat"), "'cat' is the given label"),
        (said(N_SUGGESTED, "anna", "suggested"), "no suggestion for it stands"),
        (said(1, "anna", "given", role="third"), "no role 'third'"),
        (said(1, "anna", "given", sampled="chosen"), "flagged or random, got 'chosen'"),
        (replace(said(1, "anna", "given"), verdict="right"), "no verdict 'right': it is one of given"),
        (said(1, "", "given"), "source of an event must be text"),
        (said(1, "anna", "given", seconds=float("nan")), "finite numbers"),
        (said(1, "anna", "given", note="a\0b"), "NUL"),
        (said(1, "anna", "given", note="\ud800"), "UTF-8"),
    ],
)
def test_a_bad_decision_is_refused(store: ReviewStore, decision: Decision, message: str) -> None:
    store.append(said(2, "anna", "suggested", key="good"))
    version = store.version()
    with pytest.raises(InputError, match=message):
        store.append(decision)
    assert store.version() == version
    assert len(store.decisions()) == 1
    store.append(said(3, "anna", "suggested"))


def test_an_empty_ledger_is_refused(folder: Path) -> None:
    with Ledger.open(folder, create=True) as ledger, pytest.raises(InputError, match="is empty"):
        ReviewStore(ledger)


# Against a model that knows only the rule


def test_random_decisions_agree_with_a_plain_model(place: str) -> None:
    rng = np.random.default_rng(0)
    words = ("given", "suggested", "other", "both", "neither", "skip")
    model: list[tuple[int, str, str, str]] = []  # row, reviewer, word, role; in the order of their events
    keys: dict[str, Decision] = {}
    with closing(ReviewStore(Ledger.open(place))) as one, closing(ReviewStore(Ledger.open(place))) as other:
        for turn in range(150):
            store, name = (one, other)[int(rng.integers(2))], str(rng.choice(["anna", "ben", "carl"]))
            act = rng.random()
            if act < 0.15 and keys:
                key = str(rng.choice(list(keys)))
                assert store.append(keys[key]).again
            elif act < 0.35:
                gone = store.undo(name)
                own = [each for each in model if each[1] == name]
                assert (gone is None) == (own == [])
                if own:
                    model.remove(own[-1])
            else:
                row, word = int(rng.integers(4)), str(rng.choice(words))
                role = "adjudication" if rng.random() < 0.15 else "first"
                new = said(row, name, word, "frog" if word == "other" else None, role=role, key=f"k{turn}")
                store.append(new)
                keys[new.key] = new
                if (row, name, word, role) not in model:
                    model = [each for each in model if (each[0], each[1], each[3]) != (row, name, role)]
                    model.append((row, name, word, role))
            found = [(each.row, each.reviewer, each.verdict.value, each.role) for each in one.decisions()]
            assert found == model
            assert other.decisions() == one.decisions()
            labels = {row: right_label([each for each in model if each[0] == row]) for row in range(4)}
            changed = {each.row: each.after for each in one.ledger.diff(0)}
            assert changed == {row: label for row, label in labels.items() if label != "cat"}
        assert one.ledger.verify().problem is None
        with ReviewStore(Ledger.open(place)) as fresh:
            assert fresh.decisions() == one.decisions()


def right_label(said: list[tuple[int, str, str, str]]) -> str:
    told = [each for each in said if each[2] != "skip"]
    told = [each for each in told if each[3] == "adjudication"][-1:] or told
    names = {"given": "cat", "suggested": "dog", "other": "frog"}
    wanted = Counter(names.get(word) for _, _, word, _ in told)
    return next((label for label, n in wanted.items() if label and 2 * n > len(told)), "cat")


# Leases


def test_leases_by_hand(store: ReviewStore) -> None:
    assert store.lease([5, 6], "anna", 60) == 5
    assert store.lease([5, 6], "ben", 60) == 6
    assert store.lease([5, 6], "carl", 60) is None
    assert store.lease([], "carl", 60) is None
    assert store.lease([6, 5], "anna", 60) == 5  # her own, held anew
    store.release("ben", 5)  # not his
    assert store.lease([5], "carl", 60) is None
    store.release("anna", 5)
    assert store.lease([5, 6], "carl", 60) == 5
    store.release("ben")
    assert store.lease([6], "carl", 0.05) == 6
    time.sleep(0.1)
    assert store.lease([5, 6], "dora", 60) == 6  # carl's ended by the clock
    version = store.version()
    assert store.lease([7], "anna", 60) == 7
    assert store.version() == version


def test_no_lease_is_given_twice(place: str) -> None:
    rows = list(range(160))

    def work(say: Callable[[str], None]) -> None:
        with ReviewStore(Ledger.open(place)) as store:

            def take(thread: int) -> None:
                name = f"{os.getpid()}-{thread}"
                held: list[int] = []
                while (row := store.lease([each for each in rows if each not in held], name, 60)) is not None:
                    held.append(row)
                    say(f"{row} {name}")

            threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    lines = [line.split() for fork in [Fork(work), Fork(work)] for line in fork.lines()]
    assert Counter(int(row) for row, _ in lines) == Counter(rows)
    assert len({name for _, name in lines}) > 4


def test_leases_spoilt_by_a_power_cut_are_begun_anew(folder: Path) -> None:
    place = begun(str(folder / "ledger.db"))
    spoilt = folder / "ledger.db-leases"
    for content in (b"rubbish " * 1000, b"SQLite format 3\0" + b"\xff" * 8000):
        spoilt.write_bytes(content)
        with ReviewStore(Ledger.open(place)) as store:
            assert store.lease([1], "anna", 60) == 1
        with closing(sqlite3.connect(spoilt)) as raw:
            assert raw.execute("SELECT * FROM leases").fetchall()[0][:2] == (1, "anna")


# Faults


def test_kill_in_the_middle_of_a_thousand_verdicts_by_four_writers(home: str) -> None:
    bench.begun(home, 4000)
    done = bench.campaign(home, rounds=3, most=50)
    assert (done.lost, done.doubled, done.problem) == (0, 0, None)
    assert done.acknowledged > 12


def test_threads_share_a_store(store: ReviewStore) -> None:
    def work(name: str) -> None:
        for row in range(10):
            store.append(said(row, name, "suggested", key=f"{name}{row}"))
            store.decisions()

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(facts(store)) == sorted((row, name, "suggested") for name in "abcd" for row in range(10))
    assert store.ledger.current() == dict.fromkeys(range(10), "dog")


def test_a_server_that_goes_down_and_comes_back_loses_nothing(postgres) -> None:
    place = begun(postgres.url(f"store_{uuid.uuid4().hex}"))

    def work(say: Callable[[str], None]) -> None:
        with ReviewStore(Ledger.open(place)) as store:
            for row in range(150):
                while True:
                    try:
                        say(f"stored {row} {store.append(said(row, 'anna', 'given', key=str(row))).event}")
                        break
                    except LedgerError as error:
                        say(f"refused {error}")
                        time.sleep(0.05)

    fork = Fork(work)
    fork.wait_for(50)
    postgres.kill()
    time.sleep(0.2)
    postgres.start()
    lines = [line.split(maxsplit=2) for line in fork.lines()]
    assert any(word == "refused" for word, *_ in lines)
    stored = [(int(row), int(event)) for word, row, event in lines if word == "stored"]
    with ReviewStore(Ledger.open(place)) as store:
        assert [(each.row, each.event) for each in store.decisions()] == stored
        assert [row for row, _ in stored] == list(range(150))
        assert store.ledger.verify().problem is None


def test_a_reviewer_of_a_team_needs_few_rights(postgres) -> None:
    name, role = f"store_{uuid.uuid4().hex}", f"role_{uuid.uuid4().hex}"
    begun(postgres.url(name))
    with Ledger.open(postgres.url(name)) as owner:
        owner._store._database.run(
            f"CREATE ROLE {role} LOGIN PASSWORD 'p'; GRANT USAGE ON SCHEMA {name} TO {role}; "
            f"GRANT SELECT, INSERT ON {name}.events TO {role}; "
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.leases TO {role}"
        )
    with ReviewStore(Ledger.open(postgres.url(name, user=role, password="p"))) as store:
        assert [store.lease([1, 2], who, 60) for who in ("anna", "ben", "anna")] == [1, 2, 1]
        store.append(said(1, "anna", "suggested"))
        store.release("anna")
        assert store.undo("anna").row == 1


def test_a_full_disk_refuses_and_what_is_sent_again_is_stored(folder: Path) -> None:
    place = begun(str(folder / "ledger.db"))

    def work(say: Callable[[str], None]) -> None:
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        with ReviewStore(Ledger.open(place)) as store:
            resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, limit[1]))
            row = 0
            try:
                for row in range(1000):
                    say(str(store.append(said(row, "anna", "given", note="x" * 5000, key=str(row))).event))
            except LedgerError as error:
                say(str(error))
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            say(str(store.append(said(row, "anna", "given", note="x" * 5000, key=str(row)))[::2]))
            say(str(len(store.decisions())))

    *acknowledged, refusal, again, number = Fork(work).lines()
    assert "nothing was appended" in refusal
    assert again == f"({int(acknowledged[-1]) + 1}, False)"
    assert int(number) == len(acknowledged) + 1 > 10


@pytest.mark.parametrize("folder_too", [False, True])
def test_a_read_only_ledger_is_one_sentence(folder_too: bool) -> None:
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to other users
    place = begun(str(folder / "ledger.db"))

    def work(say: Callable[[str], None]) -> None:
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        try:
            with ReviewStore(Ledger.open(place)) as store:
                say(str(store.decisions()))
                store.append(said(1, "anna", "given"))
        except LedgerError as error:
            say(str(error))

    try:
        (folder / "ledger.db").chmod(0o444)
        folder.chmod(0o555 if folder_too else 0o777)
        *_, refusal = Fork(work).lines()
        assert "is read-only for you, so nothing was appended" in refusal
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)

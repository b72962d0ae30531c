"""The ledger: what is current, what explains it, what is refused, and that replay gives the same bytes."""

import csv
import hashlib
import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assay.errors import InputError
from assay.labels.events import chained
from assay.labels.ledger import Event, Ledger, LedgerError, dataset_event
from assay.labels.ledger_store import COLUMNS

N_ROWS = 50
DATASET = Event("dataset", "audit", "rule", column="label", evidence={"sha256": "0" * 64, "n_rows": N_ROWS})


def change(row: int, before: str = "cat", after: str = "dog", **more: object) -> Event:
    return replace(Event("change", "anna", "human", row=row, before=before, after=after), **more)


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger.open(tmp_path / "pets.assay", create=True) as opened:
        opened.append([DATASET])
        yield opened


# By hand


def test_a_change_is_current_until_undone_and_again_when_the_undo_is_undone(ledger: Ledger) -> None:
    assert ledger.append([change(3), change(4, after="cow")]) == [2, 3]
    assert ledger.current() == {3: "dog", 4: "cow"}
    assert ledger.undo(2, source="ben") == [4]
    assert ledger.current() == {4: "cow"}
    assert ledger.undo(4, source="ben") == [5]
    assert ledger.current() == {3: "dog", 4: "cow"}
    assert [ledger.current(at) for at in (0, 1, 2, 4)] == [{}, {}, {3: "dog"}, {4: "cow"}]
    assert ledger.undone() == {4}


def test_the_label_under_an_undone_change_comes_back(ledger: Ledger) -> None:
    ledger.append([change(3), change(3, "dog", "cow")])
    ledger.undo(3, source="ben")
    assert ledger.current() == {3: "dog"}


def test_log_selects_and_orders(ledger: Ledger) -> None:
    ledger.append([change(3), change(4, source="ben"), change(3, "dog", "cow", source="ben")])
    assert [event.id for event in ledger.log()] == [1, 2, 3, 4]
    assert [event.id for event in ledger.log(row=3)] == [2, 4]
    assert [event.id for event in ledger.log(source="ben")] == [3, 4]
    assert [event.id for event in ledger.log(kind="change", limit=2)] == [3, 4]
    assert [event.id for event in ledger.log(since=2)] == [3, 4]
    assert [event.id for event in ledger.log(since=ledger.event(2).time)] == [2, 3, 4]
    assert list(ledger.log(limit=0)) == []


def test_blame_follows_derivations_and_no_others(ledger: Ledger) -> None:
    ledger.append([
        Event("suggestion", "confident-learning", "model", row=3, before="cat", after="dog"),
        Event("suggestion", "confident-learning", "model", row=4, before="cat", after="cow"),
        Event("verdict", "anna", "human", row=3, after="dog", evidence={"verdict": "suggested"}, derived_from=(-2,)),
        change(3, derived_from=(-1,)),
        change(3, after="ox", source="rule"),
    ])  # fmt: skip
    ledger.undo(6, source="ben")
    assert [event.id for event in ledger.blame(3)] == [1, 2, 4, 5]
    assert [event.id for event in ledger.blame(4)] == [1]
    ledger.undo(5, source="ben")
    assert [event.id for event in ledger.blame(3)] == [1, 2, 4, 5, 8]


def test_a_batch_may_derive_from_itself(ledger: Ledger) -> None:
    ledger.append([change(1), change(2)])
    ledger.append([change(5), change(6, derived_from=(-1, 2)), change(7, derived_from=(-2,))])
    assert [event.derived_from for event in ledger.log(since=3)] == [(), (4, 2), (4,)]


def test_undoing_a_verdict_takes_its_change_along_and_brings_it_back(ledger: Ledger) -> None:
    ledger.append([Event("verdict", "anna", "human", row=3), change(3, derived_from=(-1,)), change(4)])
    undone = ledger.undo(2, source="ben")
    assert [ledger.event(number).derived_from for number in undone] == [(2,), (3, 5)]
    assert ledger.current() == {4: "dog"}
    ledger.undo(undone[0], source="ben")
    assert ledger.current() == {3: "dog", 4: "dog"}


def test_undo_by_source_and_by_method(ledger: Ledger) -> None:
    ledger.append([change(1), change(2, source="ben"), change(3, method="majority"), change(4, source="ben")])
    ledger.undo(5, source="carl")
    assert len(ledger.undo(of_source="ben", source="carl")) == 1
    assert ledger.current() == {1: "dog", 3: "dog"}
    ledger.undo(of_source="anna", of_method="majority", source="carl")
    assert ledger.current() == {1: "dog"}
    with pytest.raises(InputError, match="no event in force has source 'ben'"):
        ledger.undo(of_source="ben", source="carl")


def test_diff_by_hand(ledger: Ledger) -> None:
    ledger.append([change(3, row_id="r3"), change(4), change(5, before=None), change(5, "dog", "cow")])
    ledger.undo(3, source="ben")
    assert [(d.row, d.row_id, d.before, d.after) for d in ledger.diff(0)] == [
        (3, "r3", "cat", "dog"),
        (5, None, None, "cow"),
    ]
    assert [(d.row, d.before, d.after) for d in ledger.diff(4)] == [(4, "dog", "cat"), (5, "dog", "cow")]
    assert ledger.diff(2, 2) == []
    assert ledger.diff(ledger.event(6).time) == []  # a time is the end of its instant


# Against an oracle that knows only the definition


def test_random_histories_agree_with_the_definition(ledger: Ledger) -> None:
    rng = np.random.default_rng(0)
    for _ in range(120):
        log = list(ledger.log())
        open_ = [event.id for event in log if event.kind in ("change", "undo") and event.id not in ledger.undone()]
        if open_ and rng.random() < 0.5:
            ledger.undo(int(rng.choice(open_)), source="ben")
        else:
            ledger.append([change(int(rng.integers(6)), "given", f"label{rng.integers(9)}")])

    def in_force(event: Event, log: list[Event]) -> bool:
        return not any(u.kind == "undo" and u.derived_from[0] == event.id and in_force(u, log) for u in log)

    whole = list(ledger.log())
    for at in range(0, len(whole) + 1, 7):
        log = whole[:at]
        expected = {e.row: e.after for e in log if e.kind == "change" and in_force(e, log)}
        assert ledger.current(at) == expected
        later = ledger.current()
        differing = {row for row in range(6) if expected.get(row, "given") != later.get(row, "given")}
        assert {difference.row for difference in ledger.diff(at)} == differing
        assert ledger.undone(at) == {e.id for e in log if not in_force(e, log)}
    assert ledger.verify().problem is None


def test_a_transaction_is_all_or_nothing(ledger: Ledger) -> None:
    with ledger.transaction():
        ledger.append([change(1)])
        ledger.undo(2, source="ben")
        ledger.append([change(2)])
    assert ledger.current() == {2: "dog"}
    for error in (OSError("theirs"), InputError("ours"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, ledger.transaction():  # noqa: PT012
            ledger.append([change(3)])
            ledger.undo(of_source="anna", source="ben")
            raise error
        assert caught.value is error
        assert (len(ledger), ledger.current()) == (4, {2: "dog"})
    assert ledger.append([change(3)]) == [5]
    assert ledger.verify().problem is None


# Limits


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (change(N_ROWS), "no row 50: the data set has 50 rows"),
        (change(-1), "no row -1"),
        (change(2.5), "number from 0, got 2.5"),
        (replace(change(1), row=None), "number from 0, got None"),
        (change(1, after=None), "must say the label"),
        (change(1, after="cat"), "before and after are both 'cat'"),
        (change(1, after=3), "after of an event must be text, got 3"),
        (change(1, note="a\0b"), "must not hold the character NUL"),
        (change(1, note="\ud800"), "cannot be written as UTF-8"),
        (change(1, source=""), "source of an event must be text"),
        (change(1, source_kind="god"), "no kind of source 'god'"),
        (change(1, kind="edit"), "no kind of event 'edit'"),
        (change(1, kind="undo"), "appended by `Ledger.undo`"),
        (change(1, kind="source"), "about no row"),
        (change(1, column="other"), "about the column 'label', not 'other'"),
        (change(1, derived_from=(9,)), "derives from 9, which is unknown"),
        (change(1, derived_from=(-1,)), "derives from -1, which is unknown"),
        (change(1, derived_from=(0,)), "derives from 0, which is unknown"),
        (change(1, evidence={"score": float("nan")}), "finite numbers"),
        (change(1, evidence={"x": object()}), "JSON object"),
        (change(1, evidence="because"), "must be a mapping"),
        (change(1, note="x" * (1 << 20)), "keep evidence a summary"),
        (change(1, trusted=True), "'anna' is not trusted in this ledger"),
        (change(1, gold=True), "Only a trusted source may call a label gold"),
        (change(1, id=7), "itself gives an event its id"),
        (replace(DATASET, evidence={"sha256": "1" * 64, "n_rows": N_ROWS}), "start another ledger"),
        (replace(DATASET, evidence={"sha256": "1", "n_rows": N_ROWS}), "64 hexadecimal digits"),
        (replace(DATASET, evidence={"sha256": "1" * 64}), "needs `n_rows`"),
    ],
)
def test_a_bad_event_is_refused_with_its_whole_batch(ledger: Ledger, event: Event, message: str) -> None:
    for batch in ([event], [event, change(2)]):
        with pytest.raises(InputError, match=message):
            ledger.append(batch)
    with pytest.raises(InputError, match=r"event 2 of the batch, counted from 0"):
        ledger.append([change(2), change(2), change(2.5)])
    assert len(ledger) == 1


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (99, "no event 99: this ledger holds events 1 to 3"),
        (0, "no event 0"),
        ([3, 3, 1], "dataset event"),
        ([3, 2], "Event 2 is already undone by event 3"),
        (None, "give event ids, a source or a method"),
    ],
)
def test_an_undo_that_cannot_be_is_refused(ledger: Ledger, events: object, message: str) -> None:
    ledger.append([change(2)])
    ledger.undo(np.int64(2), source="ben")
    with pytest.raises(InputError, match=message):
        ledger.undo(events, source="ben")
    assert len(ledger) == 3


def test_gold_comes_from_declared_sources_only(ledger: Ledger) -> None:
    declared = Event("source", "anna", "human", trusted=True)
    ledger.append([declared, change(1, trusted=True, gold=True)])
    assert ledger.event(3).gold
    with pytest.raises(InputError, match="'ben' is not trusted"):
        ledger.append([change(1, source="ben", trusted=True, gold=True)])
    with pytest.raises(InputError, match="declared a human, here it is a model"):
        ledger.append([change(1, source_kind="model")])
    ledger.append([replace(declared, trusted=False)])
    with pytest.raises(InputError, match="'anna' is not trusted"):
        ledger.append([change(1, "dog", "cat", trusted=True, gold=True)])


def test_a_ledger_begins_with_its_data_set(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db", create=True) as ledger:
        assert (len(ledger), ledger.current(), list(ledger.log()), ledger.append([])) == (0, {}, [], [])
        assert ledger.verify().problem is None
        with pytest.raises(InputError, match="first event must name the data set"):
            ledger.dataset  # noqa: B018
        with pytest.raises(InputError, match="begins with the event of its data set, not with a change"):
            ledger.append([change(1)])


@pytest.mark.parametrize("at", [-1, 9])
def test_a_point_outside_is_refused(ledger: Ledger, at: int) -> None:
    with pytest.raises(InputError, match="holds events 1 to 1; 0 is its start"):
        ledger.current(at)


def test_questions_outside_are_refused(ledger: Ledger) -> None:
    with pytest.raises(InputError, match="ISO time like 2026-10-05T12:00, got 'yesterday'"):
        ledger.current("yesterday")
    with pytest.raises(InputError, match="no row 50"):
        ledger.blame(50)
    with pytest.raises(InputError, match="no row 50"):
        ledger.log(row=50)
    with pytest.raises(InputError, match="no kind of event 'edits'"):
        ledger.log(kind="edits")


# State: what is on disk


def test_events_come_back_as_they_went_in(ledger: Ledger) -> None:
    event = change(
        np.int64(3), row_id="ü-7", before=None, after="=cow\n\t'", method="m", version="0.1",
        evidence={"p": 0.25, "ü": [1, None]}, note="…",
    )  # fmt: skip
    ledger.append([event])
    with Ledger.open(ledger.path) as again:
        found = again.event(2)
    assert replace(found, id=0, time="", hash="", column="") == replace(event, row=3)
    assert found.column == "label"


def test_times_never_fall_and_find_their_place(ledger: Ledger) -> None:
    future = replace(change(3), id=2, time="2999-01-01T00:00:00.000000Z", column="label")
    values = [getattr(future, name) for name in COLUMNS[:-1]]
    values[COLUMNS.index("evidence")], values[COLUMNS.index("derived_from")] = "{}", "[]"
    row = tuple(int(value) if isinstance(value, bool) else value for value in values)
    with ledger._store.transaction():
        ledger._store.insert([(*row, chained(row, ledger.head))])
    ledger.append([change(4)])  # today's clock is behind
    assert ledger.event(3).time == "2999-01-01T00:00:00.000000Z"
    assert ledger.current("2998-01-01") == {}
    assert ledger.current("2999-01-01T01:00+01:00") == {3: "dog", 4: "dog"}
    assert ledger.verify().problem is None


def test_the_chain_by_hand(ledger: Ledger) -> None:
    ledger.append([change(3)])
    previous = "0" * 64
    with sqlite3.connect(ledger.path) as raw:
        for row in raw.execute("SELECT * FROM events ORDER BY id"):
            text = json.dumps(list(row[:-1]), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
            previous = hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest()
            assert row[-1] == previous
    raw.close()
    assert ledger.head == previous == ledger.verify().head


def tampered(ledger: Ledger, statement: str) -> None:
    """Change a ledger as a forger would: triggers away, a change, triggers back."""
    raw = sqlite3.connect(ledger.path, isolation_level=None)
    triggers = raw.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        raw.execute(f"DROP TRIGGER {name}")
    raw.execute(statement)
    for _, sql in triggers:
        raw.execute(sql)
    raw.close()


@pytest.mark.parametrize(
    ("statement", "event", "message"),
    [
        ("UPDATE events SET after = 'cow' WHERE id = 3", 3, "Event 3 was altered"),
        ("UPDATE events SET evidence = '{\"p\":1}' WHERE id = 2", 2, "Event 2 was altered"),
        ("UPDATE events SET time = '2000' WHERE id = 2", 2, "Event 2 was altered"),
        ("DELETE FROM events WHERE id = 2", 2, "Event 2 is missing"),
        ("UPDATE events SET hash = (SELECT hash FROM events WHERE id = 2) WHERE id = 4", 4, "Event 4 was altered"),
        ("DELETE FROM events WHERE id = 4", None, "cut or rewritten"),
    ],
)
def test_tampering_is_found(ledger: Ledger, statement: str, event: int | None, message: str) -> None:
    ledger.append([change(3), change(4), change(5)])
    head = ledger.head
    assert ledger.verify(head).problem is None
    tampered(ledger, statement)
    found = ledger.verify(head)
    assert found.event == event
    assert message in str(found.problem)


def test_an_older_head_is_still_there(ledger: Ledger) -> None:
    head = ledger.head
    ledger.append([change(3)])
    assert ledger.verify(head).problem is None
    assert "No event has the hash ffff" in str(ledger.verify("f" * 64).problem)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET after = 'cow'",
        "DELETE FROM events",
        "INSERT OR REPLACE INTO events SELECT * FROM events WHERE id = 1",
        "INSERT INTO events SELECT 9, " + ", ".join(f'"{name}"' for name in COLUMNS[1:]) + " FROM events WHERE id = 1",
    ],
)
def test_the_database_itself_refuses_edits(ledger: Ledger, statement: str) -> None:
    ledger.append([change(3)])
    raw = sqlite3.connect(ledger.path, isolation_level=None)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        raw.execute(statement)
    raw.close()
    assert ledger.verify().problem is None


def test_damage_inside_an_event_is_a_sentence(ledger: Ledger) -> None:
    tampered(ledger, "UPDATE events SET evidence = 'x' WHERE id = 1")
    with pytest.raises(LedgerError, match="Event 1 was altered and cannot be read"):
        ledger.dataset  # noqa: B018


def test_what_is_not_a_ledger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with pytest.raises(LedgerError, match="There is no ledger at"):
        Ledger.open(tmp_path)
    for content in (b"row,label\n" * 200, b"SQLite format 3\0" + b"\xff" * 4000):
        path.write_bytes(content)
        with pytest.raises(LedgerError, match=r"not a ledger|damaged"):
            Ledger.open(tmp_path, create=True)
        assert path.read_bytes() == content
    path.write_bytes(b"")
    with pytest.raises(LedgerError, match="but not a ledger of assay"):
        Ledger.open(path)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("PRAGMA user_version = 9", "has ledger schema 9, this assay reads 1"),
        ("PRAGMA application_id = 9", "not a ledger of assay"),
        ("DROP TRIGGER events_never_go", "altered by another program: events_never_go"),
        ("CREATE TRIGGER extra AFTER INSERT ON events BEGIN SELECT 1; END", "altered by another program: extra"),
    ],
)
def test_another_schema_is_refused(ledger: Ledger, statement: str, message: str) -> None:
    ledger.close()
    raw = sqlite3.connect(ledger.path, isolation_level=None)
    raw.execute(statement)
    raw.close()
    with pytest.raises(LedgerError, match=message):
        Ledger.open(ledger.path)


# Files


TABLE = '\ufeffid,label,text\r\n1,cat,"a ""quoted"", text"\r\n2,"dog",b\r\n3,cat,c'


@pytest.fixture
def repaired(tmp_path: Path):
    original = tmp_path / "pets.csv"
    original.write_bytes(TABLE.encode())
    with Ledger.open(tmp_path / "pets.assay", create=True) as opened:
        opened.append(
            [dataset_event(original, "label", 3), change(0, after="cow, red"), change(1, "dog", "cat"), change(2)]
        )
        opened.undo(4, source="ben")
        yield original, opened


def test_replay_writes_the_same_bytes_every_time(repaired: tuple[Path, Ledger], tmp_path: Path) -> None:
    original, ledger = repaired
    done = ledger.replay(original, tmp_path / "a.csv")
    expected = TABLE.replace("1,cat", '1,"cow, red"').replace('2,"dog"', '2,"cat"').encode()
    found = (tmp_path / "a.csv").read_bytes()
    assert found in (expected, expected.replace(b'2,"cat"', b"2,cat"))
    assert done["changed"] == 2
    assert done["repaired"] == hashlib.sha256(found).hexdigest()
    assert done["original"] == hashlib.sha256(TABLE.encode()).hexdigest()
    for _ in range(2):
        ledger.replay(original, tmp_path / "b.csv")
        assert (tmp_path / "b.csv").read_bytes() == found
    ledger.replay(original, tmp_path / "c.csv", at=1)
    assert (tmp_path / "c.csv").read_bytes() == TABLE.encode() == original.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv", "c.csv", "pets.assay", "pets.csv"]


def test_replay_of_parquet(tmp_path: Path) -> None:
    original = tmp_path / "pets.parquet"
    pq.write_table(pa.table({"x": [1.5, 2.5], "label": ["cat", "dog"]}), original)
    with Ledger.open(tmp_path / "pets.assay", create=True) as ledger:
        ledger.append([dataset_event(original, "label", 2), change(0)])
        first, second = (ledger.replay(original, tmp_path / f"{n}.parquet")["repaired"] for n in "ab")
    assert first == second
    assert pq.read_table(tmp_path / "a.parquet").to_pydict() == {"x": [1.5, 2.5], "label": ["dog", "dog"]}


def test_replay_on_another_file_names_both_digests(repaired: tuple[Path, Ledger], tmp_path: Path) -> None:
    original, ledger = repaired
    expected = hashlib.sha256(TABLE.encode()).hexdigest()
    original.write_bytes(TABLE.encode() + b"\n")
    found = hashlib.sha256(original.read_bytes()).hexdigest()
    with pytest.raises(InputError, match=f"SHA-256 is {found}, recorded is {expected}"):
        ledger.replay(original, tmp_path / "a.csv")
    with pytest.raises(InputError, match="no file"):
        ledger.replay(tmp_path / "absent.csv", tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()


def test_replay_leaves_other_files_alone(repaired: tuple[Path, Ledger], tmp_path: Path) -> None:
    original, ledger = repaired
    (tmp_path / "validation.csv").write_text("precious")
    for target in (original, tmp_path / "validation.csv"):
        before = target.read_bytes()
        with pytest.raises(InputError, match="there already with other bytes"):
            ledger.replay(original, target)
        assert target.read_bytes() == before
    with pytest.raises(InputError, match="cannot be written: No such file or directory"):
        ledger.replay(original, tmp_path / "no folder" / "a.csv")


def test_replay_is_held_to_the_recorded_result(repaired: tuple[Path, Ledger], tmp_path: Path) -> None:
    original, ledger = repaired
    done = ledger.replay(original, tmp_path / "a.csv", record_as="anna")
    last = ledger.event(len(ledger))
    assert (last.source, last.evidence["repaired"]) == ("anna", done["repaired"])
    assert ledger.replay(original, tmp_path / "a.csv") == done
    forged = replace(DATASET, column="", evidence={**last.evidence, "repaired": "0" * 64})
    ledger.append([forged])
    with pytest.raises(InputError, match=f"gives SHA-256 {done['repaired']}, but event 7 recorded {'0' * 64}"):
        ledger.replay(original, tmp_path / "d.csv")
    assert not (tmp_path / "d.csv").exists()
    ledger.append([change(2, after="ox")])  # other changes are held to nothing yet
    ledger.replay(original, tmp_path / "d.csv")


def test_export(ledger: Ledger, tmp_path: Path) -> None:
    hostile = ['=HYPERLINK("x")', "+1", "-1", "@x", "\tx", "cat, dog\n"]
    ledger.append([change(row, after=text) for row, text in enumerate(hostile)])
    assert ledger.export(tmp_path / "out.csv") == ledger.export(tmp_path / "out.jsonl") == 7
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["after"] for row in rows[1:]] == ["'" + text for text in hostile[:5]] + hostile[5:]
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["after"] for line in lines[1:]] == hostile
    assert [json.loads(line) for line in lines] == [json.loads(json.dumps(event.as_dict())) for event in ledger.log()]
    assert [row["hash"] for row in rows] == [json.loads(line)["hash"] for line in lines]
    with pytest.raises(InputError, match="as jsonl or csv, not as 'xlsx'"):
        ledger.export(tmp_path / "out.xlsx")
    with pytest.raises(InputError, match="is the ledger itself"):
        ledger.export(ledger.path, "csv")
    with pytest.raises(InputError, match="cannot be written"):
        ledger.export(tmp_path / "none" / "out.csv")
    assert ledger.verify().problem is None

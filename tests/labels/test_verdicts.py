"""Verdicts: the vocabulary, the majority, the file, and the way into the ledger and out of it."""

import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from assay.errors import InputError
from assay.labels.ledger import Event, Ledger
from assay.labels.recording import ledger_verdicts, record_verdicts, to_events
from assay.labels.spaces import Space
from assay.labels.verdicts import VERDICTS, Verdicts, read_verdicts

PETS = Space(("cat", "dog", "frog", "-1"))


def verdicts(*said: tuple[object, ...], n_rows: int = 100) -> Verdicts:
    """From (row, verdict, label, reviewer) tuples, the last two optional."""
    full = [(*each, *(None, "anna")[len(each) - 2 :]) for each in said]
    rows, words, labels, names = zip(*full, strict=True) if full else ((), (), (), ())
    return Verdicts(np.array(rows, np.int64), np.array(words, np.str_), n_rows, labels, names)


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger.open(tmp_path, create=True) as opened:
        opened.append([
            Event("dataset", "audit", "rule", column="label", evidence={"sha256": "0" * 64, "n_rows": 100}),
            *(
                Event("suggestion", "cl", "model", row=row, row_id=f"r{row}", before="cat", after="dog", method="cl")
                for row in range(5)
            ),
        ])  # fmt: skip
        yield opened


# By hand


def test_wrong_by_hand() -> None:
    found = verdicts(
        (9, "given"), (1, "suggested"), (2, "other", "frog"), (3, "both"), (4, "neither"), (5, "skip"),
        (6, "given"), (6, "neither", None, "ben"),
        (7, "given"), (7, "other", "frog", "ben"), (7, "suggested", None, "carl"), (7, "skip", None, "dora"),
    ).wrong()  # fmt: skip
    assert found.rows.tolist() == [1, 2, 3, 4, 7, 9]
    assert found.wrong.tolist() == [True, True, False, True, True, False]
    assert (found.n_ties, found.n_skipped) == (1, 1)


def test_wrong_agrees_with_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    keys = [(row, name) for row in range(40) for name in "abcde" if rng.random() < 0.6]
    rng.shuffle(keys)
    words = rng.choice([verdict.value for verdict in VERDICTS if verdict != "other"], size=len(keys))
    rows = np.array([int(row) for row, _ in keys])
    sampled = np.where(rng.random(len(keys)) < 0.1, "random", "flagged")
    given = Verdicts(rows, words, 40, reviewer=tuple(str(name) for _, name in keys), sampled=sampled)
    found = given.wrong()
    expected, ties, skipped = {}, 0, 0
    for row in sorted(set(rows.tolist())):
        said = [word for word, r in zip(words, rows, strict=True) if r == row and word != "skip"]
        wrong = Counter(word in ("suggested", "other", "neither") for word in said)
        if not said:
            skipped += 1
        elif wrong[True] == wrong[False]:
            ties += 1
        else:
            expected[row] = (wrong[True] > wrong[False], "random" in sampled[rows == row])
    assert (
        dict(zip(found.rows.tolist(), zip(found.wrong.tolist(), found.random.tolist(), strict=True), strict=True))
        == expected
    )
    assert (found.n_ties, found.n_skipped) == (ties, skipped)
    assert ties > 0


def test_order_of_verdicts_does_not_matter() -> None:
    said = [
        (row, word, "frog", name) for row in range(9) for word, name in (("given", "a"), ("other", "b"), ("other", "c"))
    ]
    for one, other in zip(verdicts(*said).wrong(), verdicts(*said[::-1]).wrong(), strict=True):
        np.testing.assert_array_equal(one, other)


# Limits


def test_no_verdicts() -> None:
    found = verdicts().wrong()
    assert (len(found.rows), len(found.wrong), found.n_ties, found.n_skipped) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ([(100, "given")], r"must lie in 0\.\.99.*row: 0"),
        ([(-1, "given")], r"must lie in 0\.\.99"),
        ([(1, "right")], "no verdict 'right': it is one of given, suggested, other"),
        ([(1, "given"), (2, "other")], r"needs the right label in `label`. \(first offending row: 1\)"),
        ([(1, "given"), (1, "skip")], "'anna' judged data row 1 twice, at 0 and 1"),
        ([(1, "given", None, "")], "needs the name of its reviewer"),
    ],
)
def test_bad_verdicts_are_refused(said: list[tuple[object, ...]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        verdicts(*said)


def test_verdicts_cannot_be_changed() -> None:
    said = verdicts((1, "given"))
    with pytest.raises(ValueError, match="read-only"):
        said.rows[0] = 2
    with pytest.raises(AttributeError):
        said.n_rows = 3  # type: ignore[misc]


# The file


def csv_of(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "verdicts.csv"
    path.write_bytes(text.encode())
    return path


def test_read_by_hand(tmp_path: Path) -> None:
    path = csv_of(
        tmp_path,
        "\ufeffVerdict, Row,label,reviewer,sampled,note,score\r\n"
        'SUGGESTED,3,,anna,random,"yes, sure",0.1\r\n'
        ",4,,,,,\r\n"  # waits for its verdict
        "other,5,'-1,ben,,,\r\n"
        "given,6,ignored,,,,\r\n",
    )
    found = read_verdicts(path, 10, PETS)
    assert found.rows.tolist() == [3, 5, 6]
    assert [VERDICTS[code] for code in found.verdict] == ["suggested", "other", "given"]
    assert found.label == (None, "-1", None)
    assert found.reviewer == ("anna", "ben", "reviewer")
    assert found.sampled.tolist() == ["random", "flagged", "flagged"]
    assert found.note == ("yes, sure", None, None)


def test_read_by_id(tmp_path: Path) -> None:
    path = csv_of(tmp_path, "id,verdict\nx7,given\nx3,both\n")
    assert read_verdicts(path, 10, row_of={"x3": 3, "x7": 7}).rows.tolist() == [7, 3]
    with pytest.raises(InputError, match=r"'x7' is not known here.*row: 0"):
        read_verdicts(path, 10, row_of={"x3": 3})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("row,label\n1,cat\n", "needs the columns `row` .* it has: row, label"),
        ("row,verdict\n1,\n", "holds no verdict: write one of given"),
        ("row,verdict\n1,given\n2,wrong\n", r"no verdict 'wrong'.*row: 1"),
        ("row,verdict\n10,given\n", r"number from 0 to 9, got '10'.*row: 0"),
        ("row,verdict\n1.0,given\n", "got '1.0'"),
        ("row,verdict\n²,given\n", "got '²'"),
        ("row,verdict\n1,other\n", "needs the right label in the column `label`"),
        ("row,verdict,label\n1,given,\n2,other,bird\n", r"Unknown class 'bird': the space holds 'cat'.*row: 1"),
        ("row,verdict\n1,given\n1,both\n", "judged data row 1 twice"),
        ("row,verdict,sampled\n1,given,chosen\n", "sampled as flagged or random, got 'chosen'"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_verdicts(csv_of(tmp_path, text), 10, PETS)


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        read_verdicts(tmp_path / "absent.csv", 10)
    path = tmp_path / "latin.csv"
    path.write_bytes("row,verdict,label\n1,other,gr\xfcn\n".encode("latin1"))
    with pytest.raises(InputError, match="not UTF-8"):
        read_verdicts(path, 10)


# Into the ledger and out of it


def test_an_accepted_verdict_changes_the_label(ledger: Ledger) -> None:
    done = record_verdicts(
        verdicts((0, "suggested"), (1, "other", "frog"), (2, "given"), (3, "neither"), (9, "both")), ledger
    )
    assert done == {"verdicts": 5, "changes": 2, "undone": 0, "known": 0}
    assert ledger.current() == {0: "dog", 1: "frog"}
    assert [(e.kind, e.source) for e in ledger.blame(0)] == [
        ("dataset", "audit"), ("suggestion", "cl"), ("verdict", "anna"), ("change", "anna"),
    ]  # fmt: skip
    change = ledger.blame(1)[-1]
    assert (change.before, change.after, change.row_id) == ("cat", "frog", "r1")
    assert not any(event.trusted or event.gold for event in ledger.log())


def test_a_majority_changes_the_label(ledger: Ledger) -> None:
    minds = [  # of anna, ben and carl, about rows 0 to 3
        ("suggested", "suggested", "given"),
        ("suggested", "given", "skip"),
        ("neither", "both", "suggested"),
        ("other", "suggested", "skip"),  # of the same mind by two ways
    ]
    said = [
        (row, word, "dog", name)
        for row, words in enumerate(minds)
        for word, name in zip(words, ("anna", "ben", "carl"), strict=True)
    ]
    record_verdicts(verdicts(*said), ledger)
    assert ledger.current() == {0: "dog", 3: "dog"}
    change = ledger.blame(0)[-1]
    assert (change.source, change.source_kind) == ("majority", "rule")
    assert [ledger.event(number).source for number in change.derived_from] == ["anna", "ben"]
    ledger.undo(of_source="ben", source="dora")
    assert ledger.current() == {}


def test_recording_again_adds_nothing_and_a_new_mind_takes_the_old_back(ledger: Ledger) -> None:
    first = verdicts((0, "suggested"), (1, "other", "frog"), (2, "given"))
    record_verdicts(first, ledger)
    before = len(ledger)
    assert record_verdicts(first, ledger) == {"verdicts": 0, "changes": 0, "undone": 0, "known": 3}
    assert len(ledger) == before
    done = record_verdicts(verdicts((0, "given"), (1, "other", "-1"), (2, "given")), ledger)
    assert done == {"verdicts": 2, "changes": 1, "undone": 4, "known": 1}
    assert ledger.current() == {1: "-1"}


def test_ledger_verdicts_give_back_what_went_in(ledger: Ledger) -> None:
    said = Verdicts(
        np.array([3, 0, 1]), np.array(["given", "other", "suggested"]), 100, (None, "frog", None),
        ("ben", "anna", "anna"),
        np.array(["random", "flagged", "random"]), (None, "sure", None),
    )  # fmt: skip
    assert len(ledger_verdicts(ledger)) == 0
    record_verdicts(said, ledger)
    found = ledger_verdicts(ledger)
    order = np.argsort(said.rows)
    np.testing.assert_array_equal(found.rows, said.rows[order])
    np.testing.assert_array_equal(found.verdict, said.verdict[order])
    np.testing.assert_array_equal(found.sampled, said.sampled[order])
    for name in ("label", "reviewer", "note"):
        assert getattr(found, name) == tuple(getattr(said, name)[place] for place in order)
    ledger.undo(of_source="anna", source="carl")
    assert ledger_verdicts(ledger).reviewer == ("ben",)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ((9, "suggested"), "'suggested' on data row 9 cannot be taken: no suggestion for it stands in the ledger"),
        ((9, "other", "dog"), "'other' on data row 9 cannot be taken: no suggestion"),
        ((0, "other", "cat"), "'other' on data row 0 cannot be taken: 'cat' is the given label"),
    ],
)
def test_what_the_ledger_does_not_know_cannot_be_accepted(
    ledger: Ledger, said: tuple[object, ...], message: str
) -> None:
    record_verdicts(verdicts((1, "suggested")), ledger)
    before = len(ledger)
    with pytest.raises(InputError, match=message):
        record_verdicts(verdicts((1, "given"), said), ledger)
    assert len(ledger) == before


def test_a_recording_that_fails_takes_nothing_back(ledger: Ledger) -> None:
    ledger.append([Event("source", "robot", "model")])
    record_verdicts(verdicts((0, "suggested"), (1, "suggested")), ledger)
    before = len(ledger)
    with pytest.raises(InputError, match="declared a model, here it is a human"):
        record_verdicts(verdicts((0, "given"), (1, "given", None, "robot")), ledger)
    assert len(ledger) == before
    assert ledger.current() == {0: "dog", 1: "dog"}
    with pytest.raises(InputError, match="about 200 rows, the ledger about 100"):
        record_verdicts(verdicts((0, "given"), n_rows=200), ledger)


def test_twenty_thousand_verdicts_are_no_square(tmp_path: Path) -> None:
    evidence = {"sha256": "0" * 64, "n_rows": 20_000}
    with Ledger.open(tmp_path, create=True) as ledger:
        ledger.append([Event("dataset", "audit", "rule", column="label", evidence=evidence)])
        start = time.process_time()
        assert len(to_events(verdicts(*((row, "both") for row in range(20_000)), n_rows=20_000), ledger)) == 20_000
        assert time.process_time() - start < 10

"""The report of an aggregation: what it says is recomputed by plain loops; what it leaves can be read back."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from assay.errors import InputError
from assay.evidence.aggregate_belief import doubt, overruled
from assay.evidence.aggregate_files import save
from assay.evidence.aggregate_purchases import purchases, tables
from assay.evidence.aggregate_report import verdict
from assay.evidence.aggregate_run import aggregate
from assay.evidence.aggregate_votes import VoteOptions, VoteSource, read_source
from assay.evidence.aggregate_workers import confusion, idle
from assay.evidence.report import read_report
from assay.labels import Space
from assay.labels.beliefs import read_beliefs, write_beliefs
from assay.labels.soft import Soft

SEED = 4


def crowd(folder: Path, n: int = 60, name: str = "votes.csv") -> Path:
    """Votes of four people who mostly know and two who guess, with gold, as a long table."""
    rng = np.random.default_rng(SEED)
    truth = rng.integers(3, size=n)
    lines = ["task,worker,label,gold,time"]
    for task in range(n):
        for at, skill in enumerate((0.9, 0.85, 0.8, 0.8, 0.34, 0.34)):
            right = rng.random() < skill
            said = truth[task] if right else (truth[task] + rng.integers(1, 3)) % 3
            lines.append(f"t{task},{'guess' if skill < 0.5 else 'good'}{at},{'abc'[said]},{'abc'[truth[task]]},{task}")
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> VoteSource:
    return read_source(crowd(tmp_path_factory.mktemp("votes")), VoteOptions(gold="gold", time="time"))


@pytest.fixture(scope="module")
def found(source):
    return aggregate(source.votes, "dawid_skene", gold=source.gold, random_state=0)


def test_the_confusion_of_a_worker_by_hand(source, found):
    votes, p = source.votes, found.belief.p
    expected = np.zeros((3, 3))
    for task, worker, label in zip(votes.task, votes.worker, votes.label, strict=True):
        if worker == 2:
            for truth in range(3):
                expected[truth, label] += p[task, truth]
    expected /= expected.sum(axis=1, keepdims=True)
    assert np.allclose(confusion(source, found, 2), expected)


def test_tables_lean_on_the_average_and_end_with_a_new_worker(source, found):
    said = tables(source, found)
    assert said.shape == (7, 3, 3)
    assert np.allclose(said.sum(axis=2), 1)
    assert np.trace(said[0]) > np.trace(said[-1]) > np.trace(said[5])


def test_nobody_is_asked_twice_or_for_more_than_they_gave(source, found):
    bought = purchases(source, found, price=0.1)
    assert bought is not None
    # Everybody has voted on every task, so only somebody new can teach anything.
    assert set(bought["worker"]) == {"someone new"}
    assert len(set(bought["task"].tolist())) == len(bought["task"])
    assert (np.diff(bought["gain"]) <= 1e-12).all()


def test_those_who_guess_are_named(source, found):
    section = idle(source, found)
    assert section is not None
    assert {row[0] for row in section.blocks[0].rows} == {"guess4", "guess5"}


def test_the_verdict_counts_the_known_tasks(source, found):
    right = int((found.belief.p.argmax(axis=1) == source.gold.y).sum())
    assert f"{100 * right / 60:.0f}" in verdict(source, found)
    unsure = sum(1 - row.max() >= 0.2 for row in found.belief.p)
    assert (f"{unsure} stay" if unsure else "none stays") in verdict(source, found)


def test_overruled_tasks_are_those_that_a_loop_finds(source, found):
    expected = []
    for task in range(60):
        counts = np.bincount(source.votes.label[source.votes.task == task], minlength=3)
        if (counts == counts.max()).sum() == 1 and counts.argmax() != found.belief.p[task].argmax():
            expected.append(f"t{task}")
    section = overruled(source, found)
    assert expected, "the crowd was made so that guessers mislead the majority at least once"
    assert section is not None
    assert sorted(row[0] for row in section.blocks[0].rows) == sorted(expected)


def test_the_folder_can_be_read_back(source, found, tmp_path):
    save(source, found, tmp_path / "out", {"seed": 0}, price=0.1)
    known = read_beliefs(tmp_path / "out" / "beliefs.parquet")
    assert known.task_ids.tolist() == source.votes.task_ids.tolist()
    assert np.array_equal(known.soft.p, found.belief.p)
    joined = known.of(["t3", "nobody voted on this", "t1"])
    assert joined.present.tolist() == [True, False, True]
    assert np.array_equal(joined.p[0], found.belief.p[3])
    report = read_report(tmp_path / "out")
    assert report.numbers["expected_errors"] == pytest.approx(doubt(found).sum())
    assert [section.title for section in report.sections].count("The workers") == 1


def test_every_text_is_inert(tmp_path):
    bad = "<script>alert(1)</script>"
    lines = ["task,worker,label"] + [f"{bad}{at},{bad},{bad}{(at + who) % 2}" for at in range(6) for who in range(3)]
    (tmp_path / "votes.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    read = read_source(tmp_path / "votes.csv", VoteOptions())
    page = save(read, aggregate(read.votes, "majority"), tmp_path / "out", {}).read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script" in page


def test_wide_tables_and_counts_hold_the_same_votes(tmp_path):
    (tmp_path / "wide.csv").write_text("id,ann,bob,cy,text\n1,x,y,x,one\n2,,y,y,two\n3,x,x,,three\n", encoding="utf-8")
    (tmp_path / "counts.csv").write_text("id,y,x,text\n1,1,2,one\n2,2,,two\n3,0,2,three\n", encoding="utf-8")
    wide = read_source(tmp_path / "wide.csv", VoteOptions(task="id", workers=("ann", "bob", "cy")))
    counts = read_source(tmp_path / "counts.csv", VoteOptions(task="id", counts=("y", "x"), classes=("x", "y")))
    assert wide.votes.space == counts.votes.space == Space(("x", "y"))
    assert wide.votes.counts().tolist() == counts.votes.counts().tolist() == [[2, 1], [0, 2], [2, 0]]
    assert counts.anonymous
    assert not wide.anonymous
    assert wide.contents.column_names == ["id", "text"], "votes are no features of the task"


def test_beliefs_keep_class_order_gaps_and_awkward_names(tmp_path):
    space = Space(("task", "label", "an é"))
    belief = Soft(space, np.array([[0.2, 0.3, 0.5], [0, 0, 0], [1, 0, 0]]), np.array([True, False, True]))
    write_beliefs(tmp_path / "b.parquet", np.array([7, 8, 9]), belief)
    known = read_beliefs(tmp_path / "b.parquet")
    assert known.soft.space == space
    assert known.soft.present.tolist() == [True, False, True]
    assert np.array_equal(known.soft.p, belief.p)
    assert known.of([9, 8]).present.tolist() == [True, False]


def test_another_parquet_file_is_no_beliefs(tmp_path):
    import pyarrow.parquet

    pyarrow.parquet.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="holds no beliefs"):
        read_beliefs(tmp_path / "x.parquet")

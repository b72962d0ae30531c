"""`assay learn --tags --positive-only` and `assay predict`, as their user runs them; and bad input."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from sklearn.datasets import load_digits

from assay.cli import main
from assay.evidence.learn_tags import read_tags
from assay.evidence.report import read_report

FILES = {"report.html", "report.json", "evidence.csv", "model.json", "model.pt", "reader.json", "reader.npz"}
TESTED = FILES | {"predictions.parquet", "predictions.csv"}
WORDS = ("learn", "digits.csv", "--tags", "even,big,round", "--positive-only")
X, Y = load_digits(return_X_y=True)
TRUTH = {"even": Y % 2 == 0, "big": Y > 4, "round": np.isin(Y, [0, 6, 8, 9])}
RECORDED = {
    name: has & (np.random.default_rng(at).random(len(Y)) < 0.3) for at, (name, has) in enumerate(TRUTH.items())
}


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def read_csv(path: str | Path) -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def digits(rows: slice) -> dict[str, object]:
    pixels = {f"p{at}": X[rows, at] for at in range(64)}
    return {"id": [f"d{row}" for row in range(len(Y))[rows]], **pixels}


def marks(rows: slice) -> dict[str, object]:
    return {name: has[rows].astype(int) for name, has in RECORDED.items()}


def write(path: str, columns: dict[str, object]) -> None:
    pyarrow.csv.write_csv(pa.table(columns), path)


@pytest.fixture(autouse=True)
def digits_with_some_tags(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("digits.csv", {**digits(slice(500)), **marks(slice(500))})


def test_confirmed_tags_find_the_missed_ones(capsys):
    write("new.csv", {**digits(slice(500, 800)), **marks(slice(500, 800))})
    assert run(*WORDS, "--id", "id", "--test", "new.csv", "--epochs", 12) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == "digits.model/report.html"
    assert "probably missed" in out[0]
    assert {path.name for path in Path("digits.model").iterdir()} == TESTED
    missed = read_csv("digits.model/evidence.csv")
    right = [TRUTH[row["tag"]][int(row["row"])] for row in missed]
    assert len(right) > 150
    assert np.mean(right) > 0.85
    assert not any(RECORDED[row["tag"]][int(row["row"])] for row in missed)
    assert missed[0]["id"] == f"d{missed[0]['row']}"
    told = read_csv("digits.model/predictions.csv")
    assert list(told[0]) == ["row", "tags", "p_even", "p_big", "p_round"]
    p = np.array([[float(row[f"p_{name}"]) for name in TRUTH] for row in told])
    truth = np.stack([has[500:800] for has in TRUTH.values()], axis=1)
    assert ((p > 0.5) == truth).mean() > 0.8
    assert [row["tags"].split("; ")[0] for row in told] == [
        next((name for name, has in zip(TRUTH, row > 0.5, strict=True) if has), "") for row in p
    ]
    numbers = read_report(Path("digits.model")).numbers
    assert set(numbers["tags"]) == set(TRUTH)
    assert numbers["tags"]["even"]["confirmed"] == RECORDED["even"][:500].sum()
    assert numbers["test_found"][3] == sum(has[500:800].sum() for has in RECORDED.values())

    assert run("predict", "digits.model", "new.csv", "--out", "again.parquet") == 0
    assert "confirmed tags" in capsys.readouterr().out
    assert read_csv("again.csv") == told
    pyarrow.csv.write_csv(pyarrow.csv.read_csv("new.csv").drop_columns(["id", *TRUTH]), "bare.csv")
    assert run("predict", "digits.model", "bare.csv", "--out", "bare.parquet") == 0
    assert [row["p_big"] for row in read_csv("bare.csv")] == [row["p_big"] for row in told]


def test_lists_of_tags_in_one_column_are_the_same_tags(capsys):
    """As text in one cell, and as lists of a Parquet file: the same model as from a column for each tag."""
    lists = [[name for name in sorted(TRUTH) if RECORDED[name][row]] for row in range(500)]
    write("cells.csv", {**digits(slice(500)), "seen": [" | ".join(tags) for tags in lists]})
    pyarrow.parquet.write_table(pa.table({**digits(slice(500)), "seen": lists}), "lists.parquet")
    write("columns.csv", {**digits(slice(500)), **{name: marks(slice(500))[name] for name in sorted(TRUTH)}})
    made = []
    for source, tags in (("cells.csv", "seen"), ("lists.parquet", "seen"), ("columns.csv", ",".join(sorted(TRUTH)))):
        words = ("--id", "id", "--positive-only", "--epochs", 1, "--out", f"{source}.model", "--json")
        assert run("learn", source, "--tags", tags, *words) == 0
        made.append(json.loads(capsys.readouterr().out)["tags"])
    assert made[0] == made[1] == made[2]


def test_tags_that_the_model_does_not_know_are_left_out():
    known = read_tags(pa.table({"seen": ["a;b", "", None]}))
    assert known.lists() == [["a", "b"], None, None]
    assert read_tags(pa.table({"seen": ["b,c", "a", "c"]}), known.space).y.tolist() == [[0, 1], [1, 0], [0, 0]]


BAD = [
    ({"big": [0] * 500}, "'big' is confirmed in no row"),
    ({"big": ["maybe"] * 500}, "true or false, 1 or 0; got 'maybe'"),
    ({"big": [2] * 500}, "got 2"),
]


@pytest.mark.parametrize(("changed", "sentence"), BAD)
def test_bad_tags_are_told_in_a_sentence_and_nothing_is_written(capsys, changed, sentence):
    write("digits.csv", {**digits(slice(500)), **marks(slice(500)), **changed})
    assert run(*WORDS) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert len(told.splitlines()) == 1
    assert not Path("digits.model").exists()


def test_options_that_do_not_go_together(capsys):
    for words, sentence in (
        (("learn", "digits.csv", "--tags", "even"), "say so with --positive-only"),
        ((*WORDS, "--label", "even"), "--label and --tags name two"),
        ((*WORDS, "--proportions", "digits.csv"), "--proportions goes with --bags, not with --tags"),
        (("learn", "digits.csv", "--tags", "even,odd", "--positive-only"), "'odd'"),
    ):
        assert run(*words) == 2
        assert sentence in capsys.readouterr().err


def test_few_confirmed_rows_raise_an_alarm(capsys):
    write("digits.csv", {**digits(slice(500)), **marks(slice(500)), "big": np.arange(500) % 100 == 7})
    assert run(*WORDS, "--epochs", 1, "--json") == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["tags"]["big"]["alarm"] == "few confirmed rows"
    assert any("'big'" in warning for warning in numbers["warnings"])

"""`assay learn --bags --proportions` and `assay predict`, as their user runs them; and bad input."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from sklearn.datasets import load_iris

from assay.cli import main
from assay.evidence.report import read_report

FILES = {"report.html", "report.json", "evidence.csv", "model.json", "model.pt", "reader.json", "reader.npz"}
TESTED = FILES | {"predictions.parquet", "predictions.csv"}
WORDS = ("learn", "flowers.csv", "--bags", "bed", "--proportions", "beds.csv")
X, Y = load_iris(return_X_y=True)
ORDER = np.random.default_rng(0).permutation(150)
TRAIN, TEST = ORDER[:112], ORDER[112:]
NAMES = ("setosa", "versicolor", "virginica")


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def read_csv(path: str | Path) -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def flowers(rows: np.ndarray) -> dict[str, object]:
    return {"plant": [f"f{row}" for row in rows], **{f"x{at}": X[rows, at] for at in range(4)}}


def write(path: str, columns: dict[str, object]) -> None:
    pyarrow.csv.write_csv(pa.table(columns), path)


@pytest.fixture(autouse=True)
def beds_of_eight(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("flowers.csv", {**flowers(TRAIN), "bed": np.arange(112) // 8 + 1})
    counts = np.stack([np.bincount(part, minlength=3) for part in Y[TRAIN].reshape(14, 8)])
    write("beds.csv", {"bed": np.arange(14) + 1, **{name: counts[:, at] for at, name in enumerate(NAMES)}})
    write("new.csv", flowers(TEST))


def test_counts_of_classes_become_classes_of_rows(capsys):
    assert run(*WORDS, "--id", "plant", "--test", "new.csv") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == "flowers.model/report.html"
    assert "shares of 14 bags" in out[0]
    assert {path.name for path in Path("flowers.model").iterdir()} == TESTED
    told = read_csv("flowers.model/predictions.csv")
    assert np.mean([row["label"] == NAMES[Y[at]] for row, at in zip(told, TEST, strict=True)]) > 0.75
    assert list(told[0]) == ["row", "label", *(f"p_{name}" for name in NAMES)]
    numbers = read_report(Path("flowers.model")).numbers
    assert (numbers["bags"], numbers["bag_sizes"], numbers["rows_in_no_bag"]) == (14, [8, 8, 8], 0)
    np.testing.assert_allclose(numbers["base_rate"], np.bincount(Y[TRAIN]) / 112)
    evidence = read_csv("flowers.model/evidence.csv")
    assert [float(row["confidence"]) for row in evidence] == sorted(float(row["confidence"]) for row in evidence)
    suggested = {row["id"]: row["suggested"] for row in evidence}
    assert np.mean([suggested[f"f{at}"] == NAMES[Y[at]] for at in TRAIN]) > 0.8
    beds = {row["id"]: row["bag"] for row in evidence}
    assert all(beds[f"f{at}"] == str(place // 8 + 1) for place, at in enumerate(TRAIN))

    assert run("predict", "flowers.model", "new.csv", "--out", "again.parquet") == 0
    pyarrow.csv.write_csv(pyarrow.csv.read_csv("new.csv").drop_columns(["plant"]), "bare.csv")
    assert run("predict", "flowers.model", "bare.csv", "--out", "bare.parquet") == 0
    kept = ["label", *(f"p_{name}" for name in NAMES)]
    for again in (read_csv("again.csv"), read_csv("bare.csv")):
        assert [[row[name] for name in kept] for row in again] == [[row[name] for name in kept] for row in told]


def test_the_share_of_one_class_and_rows_in_no_bag(capsys):
    bed = [None if row < 8 else f"b{row // 4}" for row in range(112)]
    write("flowers.csv", {**flowers(TRAIN), "bed": bed})
    shares = (Y[TRAIN].reshape(28, 4) == 0).mean(axis=1)
    write("beds.csv", {"bed": [f"b{at}" for at in range(2, 28)], "setosa": shares[2:]})
    assert run(*WORDS, "--test", "new.csv", "--json") == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["classes"] == ["not setosa", "setosa"]
    assert numbers["rows_in_no_bag"] == 8
    p = np.array([float(row["p_setosa"]) for row in read_csv("flowers.model/predictions.csv")])
    assert p[Y[TEST] == 0].mean() > 0.8
    assert p[Y[TEST] > 0].mean() < 0.2


BAD = [
    ({"bed": [1, 1], "setosa": [0.5, 0.5]}, "named twice"),
    ({"bed": np.arange(15), "setosa": np.full(15, 0.5)}, "which has no rows"),
    ({"bed": np.arange(13) + 1, "setosa": np.full(13, 0.5)}, "Bag '14' has no proportion"),
    ({"bed": np.arange(14) + 1, "setosa": np.full(14, 1.5)}, "above one"),
    ({"bed": np.arange(14) + 1, "setosa": np.full(14, -0.5)}, "negative"),
    ({"bed": np.arange(14) + 1, "setosa": np.full(14, 5), "other": np.full(14, 4)}, "add up to 9"),
    ({"bed": np.arange(14) + 1, "setosa": np.full(14, 0.5), "other": np.full(14, 0.4)}, "add up to 0.9"),
    ({"bed": np.arange(14) + 1, "setosa": ["few"] * 14}, "must hold shares or counts, got 'few'"),
    ({"bed": np.arange(14) + 1}, "no share"),
    ({"garden": np.arange(14) + 1, "setosa": np.full(14, 0.5)}, "'bed'"),
]


@pytest.mark.parametrize(("proportions", "sentence"), BAD)
def test_bad_proportions_are_told_in_a_sentence_and_nothing_is_written(capsys, proportions, sentence):
    write("beds.csv", proportions)
    assert run(*WORDS) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert len(told.splitlines()) == 1
    assert not Path("flowers.model").exists()


def test_options_that_do_not_go_together(capsys):
    assert run("learn", "flowers.csv", "--bags", "bed") == 2
    assert "--proportions" in capsys.readouterr().err
    assert run(*WORDS, "--time", "x0") == 2
    assert "--time and --bags name two" in capsys.readouterr().err
    assert run(*WORDS, "--horizon", 3) == 2
    assert "--horizon goes with --time, not with --bags" in capsys.readouterr().err
    assert run("learn", "flowers.csv", "--time", "x0", "--event", "x1", "--epochs", 3) == 2
    assert "--epochs goes with --label or --bags" in capsys.readouterr().err


def test_bags_that_say_nothing_are_told(capsys):
    write("beds.csv", {"bed": np.arange(14) + 1, "setosa": np.full(14, 0.25)})
    assert run(*WORDS, "--epochs", 1, "--json") == 0
    assert "do not tell one row from another" in json.loads(capsys.readouterr().out)["warnings"][0]

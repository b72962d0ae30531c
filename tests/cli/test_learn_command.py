"""`assay learn` and `assay predict` as their user runs them: tables, texts, pictures, beliefs; and bad input."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from assay.cli import main
from assay.evidence.report import read_report
from assay.labels.beliefs import read_beliefs, write_beliefs
from assay.labels.soft import Soft
from assay.labels.spaces import Space
from assay.training.noise import symmetric

X, Y = load_digits(return_X_y=True)
FILES = {"report.html", "report.json", "evidence.csv", "model.json", "model.pt", "reader.json", "reader.npz"}
TESTED = FILES | {"predictions.parquet", "predictions.csv"}


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_digits(path: str, rows: np.ndarray, codes: np.ndarray) -> None:
    pixels = {f"p{at}": X[rows, at] for at in range(64)}
    pyarrow.csv.write_csv(pa.table({"id": [f"d{row}" for row in rows], **pixels, "digit": codes}), path)


def test_a_table_from_labels_to_predictions(capsys):
    flipped = symmetric(Y[:500], 10, 0.3, seed=0)
    write_digits("digits.csv", np.arange(500), flipped.labels)
    write_digits("test.csv", np.arange(500, 800), Y[500:800])
    assert run("learn", "digits.csv", "--label", "digit", "--id", "id", "--test", "test.csv", "--epochs", 12) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == "digits.model/report.html"
    assert "look wrong" in out[0]
    assert {path.name for path in Path("digits.model").iterdir()} == TESTED
    report = read_report(Path("digits.model"))
    assert len(report.numbers["methods"]) == 3
    assert set(report.numbers["methods"]) <= set(report.numbers["trials"])
    assert report.numbers["diagnosis"]["pattern"] == "uniform"
    assert report.numbers["test_accuracy"] > 0.65
    evidence = read_csv(Path("digits.model/evidence.csv"))
    assert len(evidence) == 500
    worst = [int(row["row"]) for row in evidence[:100]]
    assert flipped.wrong[worst].mean() > 0.9
    assert {row["given"] for row in evidence} == set("0123456789")
    known = read_beliefs(Path("digits.model/predictions.parquet"))
    assert known.task_ids[0] == "d500"

    assert run("predict", "digits.model", "test.csv", "--out", "again.parquet") == 0
    assert "agrees with" in capsys.readouterr().out
    np.testing.assert_array_equal(read_beliefs("again.parquet").soft.p, known.soft.p)
    assert read_csv(Path("again.csv")) == read_csv(Path("digits.model/predictions.csv"))
    # Rows in another order, without labels and ids, get the same answers.
    table = pyarrow.csv.read_csv("test.csv").drop_columns(["digit", "id"])
    pyarrow.csv.write_csv(table.take(np.arange(300)[::-1]), "bare.csv")
    assert run("predict", "digits.model", "bare.csv", "--out", "bare.parquet") == 0
    np.testing.assert_allclose(read_beliefs("bare.parquet").soft.p[::-1], known.soft.p, atol=1e-6)


def test_texts(capsys, shared_data):
    import gzip

    with gzip.open(shared_data("davidson-hate-offensive/labeled_data.csv.gz"), "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:700]
    columns = {"tweet": [row["tweet"] for row in rows], "kind": [f"k{row['class']}" for row in rows]}
    pyarrow.csv.write_csv(pa.table(columns).slice(0, 500), "tweets.csv")
    pyarrow.csv.write_csv(pa.table(columns).slice(500), "new.csv")
    words = ("--label", "kind", "--text", "tweet", "--method", "elr", "--epochs", 8, "--test", "new.csv", "--json")
    assert run("learn", "tweets.csv", *words) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["method"] == "elr"
    commonest = np.mean([row["class"] == "1" for row in rows[500:]])
    assert numbers["test_accuracy"] > commonest - 0.03
    assert run("predict", "tweets.model", "new.csv") == 0


def test_a_folder_of_images(capsys):
    for at in range(160):
        folder = Path("photos") / f"digit {Y[at] % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((X[at].reshape(8, 8) * 15).astype(np.uint8)).resize((32, 32)).save(folder / f"{at:03d}.png")
    Path("new").mkdir()
    for at in range(160, 190):
        Image.fromarray((X[at].reshape(8, 8) * 15).astype(np.uint8)).resize((32, 32)).save(f"new/{at}.png")
    assert run("learn", "photos", "--method", "cross_entropy", "--epochs", 15, "--test", "new", "--quiet") == 0
    assert {path.name for path in Path("photos.model").iterdir()} == TESTED
    told = [row["label"] for row in read_csv(Path("photos.model/predictions.csv"))]
    assert np.mean([label == f"digit {Y[at] % 3}" for at, label in zip(range(160, 190), told, strict=True)]) > 0.7


def test_votes_of_many_people_as_they_are(capsys):
    """From votes over `assay aggregate` to a model, without a conversion by hand; and the same by beliefs and ids."""
    rng = np.random.default_rng(0)
    names = [f"t{row}" for row in range(300)]
    tables = {"task": names, **{f"p{at}": X[:300, at] for at in range(64)}}
    pyarrow.csv.write_csv(pa.table(tables), "tasks.csv")
    said = np.where(rng.random((300, 3)) < 0.75, Y[:300, None] % 2, 1 - Y[:300, None] % 2)
    votes = {
        "task": np.repeat(names, 3),
        "worker": np.tile(["ann", "bob", "eve"], 300),
        "label": np.where(said.ravel() > 0, "odd", "even"),
    }
    pyarrow.csv.write_csv(pa.table(votes), "votes.csv")
    assert run("aggregate", "votes.csv", "--tasks", "tasks.csv", "--quiet") == 0
    words = ("--method", "cross_entropy", "--epochs", 6, "--id", "task", "--quiet", "--json")
    capsys.readouterr()
    assert run("learn", "votes.assay", *words, "--out", "one") == 0
    one = json.loads(capsys.readouterr().out)
    assert one["classes"] == ["even", "odd"]
    for beliefs in ("votes.assay", "votes.assay/beliefs.parquet"):
        assert run("learn", "tasks.csv", "--beliefs", beliefs, *words, "--out", "two") == 0
        assert json.loads(capsys.readouterr().out)["flagged"] == one["flagged"]
    assert run("learn", "tasks.csv", "--beliefs", "votes.assay/votes.parquet", *words, "--out", "three") == 0
    capsys.readouterr()
    assert run("learn", "tasks.csv", "--beliefs", "votes.assay", "--method", "elr") == 2
    assert "--id" in capsys.readouterr().err


def test_embeddings(capsys):
    pyarrow.csv.write_csv(pa.table({"y": [f"c{code}" for code in Y[:200]]}), "t.csv")
    np.save("x.npy", X[:200])
    np.save("new.npy", X[200:210])
    words = ("--label", "y", "--method", "gce", "--epochs", 3, "--embeddings", "x.npy", "--quiet")
    assert run("learn", "t.csv", *words, "--test-embeddings", "new.npy") == 0
    assert len(read_csv(Path("t.model/predictions.csv"))) == 10
    assert run("predict", "t.model", "--embeddings", "new.npy") == 0
    assert run("predict", "t.model") == 2
    assert run("predict", "t.model", "t.csv") == 2
    assert "embeddings" in capsys.readouterr().err


def bad(name: str) -> tuple[object, ...]:
    """A command that cannot work."""
    rows = np.arange(60)
    labels = np.array([f"c{at % 2}" for at in rows], dtype=object)
    x = X[:60].copy()
    extra: tuple[object, ...] = ()
    if name == "one row of a class":
        labels[7] = "alone"
    elif name == "one class":
        labels[:] = "all"
    elif name == "label out of range":
        extra = ("--classes", "c0,other")
    elif name == "NaN":
        x[4, 2] = np.nan
    elif name == "too few embeddings":
        x = x[:50]
    elif name == "missing column":
        extra = ("--text", "words")
    elif name == "test without a column":
        pyarrow.csv.write_csv(pa.table({"z": [1, 2, 3]}), "new.csv")
        pyarrow.csv.write_csv(pa.table({"a": rows * 1.5, "y": labels.tolist()}), "t.csv")
        return "learn", "t.csv", "--label", "y", "--method", "elr", "--test", "new.csv"
    elif name == "test with other classes":
        extra = ("--test", "new.csv", "--test-embeddings", "x.npy")
        pyarrow.csv.write_csv(pa.table({"y": ["c0", "c9", "c1"]}), "new.csv")
    np.save("x.npy", x)
    pyarrow.csv.write_csv(pa.table({"y": labels.tolist()}), "t.csv")
    return "learn", "t.csv", "--label", "y", "--embeddings", "x.npy", *extra


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("one row of a class", "has one row"),
        ("one class", "class"),
        ("label out of range", "c1"),
        ("NaN", "first offending row: 4"),
        ("too few embeddings", "50 embeddings for 60 rows"),
        ("missing column", "words"),
        ("test without a column", "'a'"),
        ("test with other classes", "c9"),
    ],
)
def test_bad_input_is_one_sentence(capsys, name, told):
    words = bad(name)
    assert run(*words) == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1
    assert not Path("t.model").exists()


def test_results_of_another_verb_are_not_written_over(capsys):
    pyarrow.csv.write_csv(pa.table({"x": X[:60, 20], "y": [f"c{at % 2}" for at in range(60)]}), "t.csv")
    assert run("audit", "t.csv", "--label", "y", "--quiet") == 0
    assert run("learn", "t.csv", "--label", "y", "--method", "elr", "--out", "t.assay") == 2
    assert "other results" in capsys.readouterr().err
    assert run("learn", "t.csv", "--label", "y", "--method", "magic") == 2
    assert "magic" in capsys.readouterr().err


def test_beliefs_about_other_rows(capsys):
    space = Space(("a", "b"))
    write_beliefs(Path("b.parquet"), np.array(["x", "y"]), Soft(space, np.array([[0.9, 0.1], [0.2, 0.8]])))
    pyarrow.csv.write_csv(pa.table({"task": ["q", "r"], "v": [1.0, 2.0]}), "t.csv")
    assert run("learn", "t.csv", "--beliefs", "b.parquet", "--id", "task") == 2
    assert "task" in capsys.readouterr().err

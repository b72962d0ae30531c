"""`assay learn --time --event` and `assay predict` of durations, as their user runs them; and bad input."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from assay.cli import main
from assay.evidence.report import read_report

FILES = {"report.html", "report.json", "evidence.csv", "model.json", "model.npz", "reader.json", "reader.npz"}
TESTED = FILES | {"predictions.parquet", "predictions.csv"}
WORDS = ("learn", "stays.csv", "--time", "months", "--event", "left")


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def read_csv(path: str | Path) -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def stays(n: int, seed: int) -> dict[str, object]:
    """Customers, half of whom are still there, the sooner the longer they will stay."""
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, n))
    stay = np.exp(0.3 + 1.2 * a - 0.6 * b + 0.25 * rng.normal(size=n))
    end = rng.exponential(1 / (0.08 + 0.55 * a))
    return {
        "id": [f"c{seed}-{row}" for row in range(n)],
        "a": a,
        "plan": np.where(b > 0.5, "small", "large"),
        "b": b,
        "months": np.minimum(stay, end),
        "left": (stay <= end).astype(int),
    }


def write(path: str, columns: dict[str, object]) -> None:
    pyarrow.csv.write_csv(pa.table(columns), path)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_from_a_table_to_predictions(capsys):
    write("stays.csv", stays(600, 0))
    write("new.csv", stays(300, 1))
    assert run(*WORDS, "--id", "id", "--horizon", 4, "--test", "new.csv") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == "stays.model/report.html"
    assert "were cut off" in out[0]
    assert {path.name for path in Path("stays.model").iterdir()} == TESTED
    numbers = read_report(Path("stays.model")).numbers
    assert numbers["concordance"][0] > 0.7
    assert numbers["test_concordance"][0] > 0.6
    assert numbers["explained"] > 0.4
    evidence = read_csv("stays.model/evidence.csv")
    assert len(evidence) == 600
    weights = [float(row["weight"]) for row in evidence]
    assert weights == sorted(weights, reverse=True)
    assert {row["event"] for row in evidence if float(row["weight"]) == 0} == {"False"}

    assert run("predict", "stays.model", "new.csv", "--out", "again.parquet") == 0
    assert "orders" in capsys.readouterr().out
    assert read_csv("again.csv") == read_csv("stays.model/predictions.csv")
    assert pyarrow.parquet.read_table("again.parquet")["row"][0].as_py() == "c1-0"
    # Rows in another order, without outcomes and ids, get the same answers.
    bare = pyarrow.csv.read_csv("new.csv").drop_columns(["months", "left", "id"])
    pyarrow.csv.write_csv(bare.take(np.arange(300)[::-1]), "bare.csv")
    assert run("predict", "stays.model", "bare.csv", "--out", "bare.parquet") == 0
    told = [[float(row["predicted"]) for row in read_csv(path)] for path in ("bare.csv", "again.csv")]
    np.testing.assert_allclose(told[0][::-1], told[1], atol=1e-5)


def test_probabilities_to_last(capsys):
    write("stays.csv", stays(600, 0))
    write("new.csv", stays(300, 1))
    words = ("--target", "survival", "--horizon", 2, "--weights", "marginal", "--test", "new.csv", "--json")
    assert run(*WORDS, *words) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["risk"][numbers["learner"]][0] < numbers["risk"]["no features"][0] < 0.27
    p = [float(row["p_lasts"]) for row in read_csv("stays.model/predictions.csv")]
    assert 0 <= min(p) < 0.3 < 0.7 < max(p) <= 1


def test_rows_to_predict_of_whom_too_little_is_known(capsys):
    """Outcomes without a pair that could be compared: predictions, and no score."""
    write("stays.csv", stays(200, 0))
    few = {name: values[:3] for name, values in stays(3, 1).items()}
    write("new.csv", {**few, "months": [1.0, 1.0, 1.0], "left": [1, 1, 1]})
    assert run(*WORDS, "--test", "new.csv", "--json") == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["test_risk"] is not None
    assert numbers["test_concordance"] is None
    assert run("predict", "stays.model", "new.csv") == 0
    assert capsys.readouterr().out == "predictions.parquet\n"


def test_nothing_cut_off_is_plain_regression(capsys):
    write("stays.csv", {**stays(200, 0), "left": np.ones(200, dtype=int)})
    assert run(*WORDS, "--json") == 0
    numbers = json.loads(capsys.readouterr().out)
    assert (numbers["mean_weight"], numbers["effective_rows"]) == (1, 200)
    assert "plain regression" in numbers["warnings"][0]


def test_follow_up_that_ends_too_early_gets_a_horizon(capsys):
    rng = np.random.default_rng(0)
    stay = rng.exponential(size=400)
    table = {"a": rng.random(400), "months": np.minimum(stay, 1), "left": stay <= 1}
    write("stays.csv", table)
    assert run(*WORDS, "--json") == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["horizon"] == 1
    assert numbers["mean_weight"] == 1
    assert "count as at most 1." in numbers["warnings"][0]
    assert run(*WORDS, "--horizon", "inf", "--json") == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["horizon"] is None
    assert any("average" in warning for warning in numbers["warnings"])
    assert "set a horizon such as 1, which about" in numbers["warnings"][-1]
    assert run(*WORDS, "--horizon", 1, "--json") == 0
    assert "before the horizon" in json.loads(capsys.readouterr().out)["warnings"][0]


BAD = [
    ({}, ("--label", "plan"), "--label and --time name two"),
    ({}, ("--method", "elr"), "--method goes with --label"),
    ({}, ("--target", "survival"), "give a horizon"),
    ({}, ("--horizon", -1), "horizon is -1"),
    ({"months": -np.ones(100)}, (), "cannot be negative"),
    ({"months": ["soon"] * 100}, (), "durations as numbers"),
    ({"months": [None] + [1.0] * 99}, (), "has no value"),
    ({"left": [0] * 100}, (), "no duration is known"),
    ({"left": [1] * 5 + [0] * 95}, (), "Only 5 rows have an event"),
    ({"left": ["gone"] * 100}, (), "true or false, 1 or 0; got 'gone'"),
    ({"left": [2] * 100}, (), "true or false, 1 or 0; got 2"),
    ({"months": [9.0] * 100}, ("--target", "survival", "--horizon", 3), "every row lasts beyond"),
]


@pytest.mark.parametrize(("changed", "words", "sentence"), BAD)
def test_bad_input_is_told_in_a_sentence_and_nothing_is_written(capsys, changed, words, sentence):
    write("stays.csv", {**stays(100, 0), **changed})
    assert run(*WORDS, *words) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert len(told.splitlines()) == 1
    assert not Path("stays.model").exists()


def test_a_column_that_is_not_there_and_a_damaged_model(capsys):
    write("stays.csv", stays(200, 0))
    assert run("learn", "stays.csv", "--time", "months") == 2
    assert "--event" in capsys.readouterr().err
    assert run("learn", "stays.csv", "--time", "weeks", "--event", "left") == 2
    assert "weeks" in capsys.readouterr().err
    assert run(*WORDS, "--quiet") == 0
    pyarrow.csv.write_csv(pyarrow.csv.read_csv("stays.csv").drop_columns(["a"]), "new.csv")
    assert run("predict", "stays.model", "new.csv") == 2
    assert "'a'" in capsys.readouterr().err
    Path("stays.model/model.npz").write_bytes(b"no array")
    assert run("predict", "stays.model", "stays.csv") == 2
    assert "can't be read" in capsys.readouterr().err

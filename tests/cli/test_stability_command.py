"""`assay stability` as a user runs it."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from assay.audit.stability import Stability


def run(*arguments):
    return subprocess.run([sys.executable, "-m", "assay", "stability", *arguments], capture_output=True, text=True)


@pytest.fixture(scope="module")
def predictions():
    rng = np.random.default_rng(0)
    names = np.array(["cat", "dog", "owl"])
    truth = rng.integers(0, 3, 300)
    given = np.where(np.arange(300) < 40, (truth + 1) % 3, truth)
    corrected = names[truth].astype(object)
    corrected[30:40] = None
    return pa.table(
        {
            "id": np.arange(300),
            "label": names[given],
            "fixed": pa.array(corrected),
            "parrot": names[np.where(rng.random(300) < 0.95, given, (given + 2) % 3)],
            "honest": names[np.where(rng.random(300) < 0.9, truth, (truth + 1) % 3)],
        }
    )


@pytest.fixture(scope="module", params=["csv", "parquet"])
def path(request, predictions, tmp_path_factory):
    path = tmp_path_factory.mktemp("predictions") / f"test.{request.param}"
    write = pa.csv.write_csv if request.param == "csv" else pa.parquet.write_table
    write(predictions, path)
    return path


def test_json_has_the_numbers_of_the_class(path, predictions, tmp_path):
    done = run(str(path), "--given", "label", "--corrected", "fixed", "--json", "--out", str(tmp_path / "new"))
    assert done.returncode == 0, done.stderr
    assert "Not taken for models: id" in done.stderr
    said = json.loads(done.stdout)
    assert json.loads((tmp_path / "new" / "stability.json").read_text()) == said
    where = {"cat": 0, "dog": 1, "owl": 2, None: 0}
    codes = {name: np.array([where[v] for v in predictions[name].to_pylist()]) for name in predictions.column_names[1:]}
    mask = [value is None for value in predictions["fixed"].to_pylist()]
    fixed = np.ma.masked_array(codes["fixed"], mask=mask)
    found = Stability().fit(codes["label"], fixed, {"parrot": codes["parrot"], "honest": codes["honest"]})
    assert said["ranking"]["corrected"] == found.ranking_["corrected"].tolist()
    assert said["pairs"]["crossover_low"] == found.pairs_["crossover_low"].tolist()
    assert said["sentence"] == found.sentence_
    assert (said["n_benign"], said["n_correctable"], said["n_unknown"]) == (260, 30, 10)
    assert len(said["curves"]["prevalence"]) == 101


def test_a_pipe_gets_plain_tables(path):
    done = run(str(path), "--given", "label", "--corrected", "fixed", "--models", "honest,parrot")
    assert done.returncode == 0, done.stderr
    models, pairs = (part.splitlines() for part in done.stdout.strip().split("\n\n"))
    assert models[0].startswith("model\tgiven\t")
    assert {line.split("\t")[0] for line in models[1:]} == {"honest", "parrot"}
    assert len({line.count("\t") for line in models}) == 1
    assert pairs[0].startswith("leader\tfollower\t")
    assert len(pairs) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--given", "lable", "--corrected", "fixed"], "Did you mean 'label'?"),
        (["--given", "label", "--corrected", "fix"], "has no column 'fix'"),
        (["--given", "label", "--corrected", "fixed", "--models", "honest,nobody"], "has no column 'nobody'"),
        (["--given", "label", "--corrected", "fixed", "--verdicts", "parrot"], "Status must be one of"),
        (["--given", "label", "--corrected", "label"], "has no column 'label'"),
    ],
)
def test_bad_input_is_one_sentence_and_code_two(path, tmp_path, arguments, says):
    out = tmp_path / "nothing"
    done = run(str(path), *arguments, "--out", str(out))
    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


def test_missing_file():
    done = run("nowhere.csv", "--given", "a", "--corrected", "b")
    assert done.returncode == 2
    assert "nowhere.csv" in done.stderr


def test_verdicts_may_leave_confirmed_labels_blank(tmp_path):
    path = tmp_path / "verdicts.csv"
    path.write_text("y,z,v,a,b\n7,,benign,7,7\n7,1,correctable,7,1\n1,,unknown,1,1\n1,,benign,1,7\n")
    done = run(str(path), "--given", "y", "--corrected", "z", "--verdicts", "v", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["n_benign"], said["n_correctable"], said["n_unknown"]) == (2, 1, 1)


def test_numbers_as_classes_survive_holes(tmp_path):
    """A column of integers with holes becomes floats in many programs: 7.0 is still class 7."""
    path = tmp_path / "digits.csv"
    path.write_text("y,z,a,b\n7,7.0,7,7\n7,1.0,7,1\n1,,1,1\n1,1.0,1,7\n")
    done = run(str(path), "--given", "y", "--corrected", "z", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["n_benign"], said["n_correctable"], said["n_unknown"]) == (2, 1, 1)

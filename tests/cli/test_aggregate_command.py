"""`assay aggregate` as its user runs it: from votes to a report, to soft labels, to an audit; and bad input."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from assay.cli import main
from assay.cli.aggregate import ANSWERS
from assay.cli.aggregate import METHODS as NAMES
from assay.evidence.aggregate_answers import KINDS
from assay.evidence.aggregate_run import METHODS
from assay.labels.beliefs import read_beliefs

FILES = {"beliefs.parquet", "purchases.csv", "report.html", "report.json", "rows.parquet", "tasks.csv"}
FILES |= {"votes.parquet", "workers.csv"}


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "assay", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, cwd=cwd, check=False)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def rte(tmp_path_factory, shared_data) -> tuple[Path, Path]:
    """A folder where the RTE votes have been aggregated, and the file of the votes."""
    folder, votes = tmp_path_factory.mktemp("rte"), shared_data("snow2008/rte.csv")
    texts = shared_data("snow2008/rte_text.tsv")
    columns = ("--task", "item", "--label", "response", "--gold", "gold")
    done = run("aggregate", votes, *columns, "--tasks", texts, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "rte.assay/report.html"
    return folder, votes


def test_every_method_has_its_name():
    assert ["auto", *METHODS] == NAMES
    assert list(KINDS) == ANSWERS


def test_rte_is_as_right_as_the_literature(rte):
    folder, _ = rte
    assert {path.name for path in (folder / "rte.assay").iterdir()} == FILES | {"labelled.parquet"}
    tasks = read_csv(folder / "rte.assay" / "tasks.csv")
    assert len(tasks) == 800
    right = np.mean([row["label"] == row["gold"] for row in tasks])
    assert right >= 0.92
    numbers = json.loads((folder / "rte.assay" / "report.json").read_text(encoding="utf-8"))["numbers"]
    assert numbers["accuracy_on_gold"] == pytest.approx(right)
    assert (numbers["votes"], numbers["workers"]) == (8000, 164)


def test_the_report_is_self_contained(rte):
    page = (rte[0] / "rte.assay" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "hypothesis: " in page, "the cards show what was voted on"


def test_beliefs_are_soft_labels_of_the_tasks(rte):
    folder, _ = rte
    known = read_beliefs(folder / "rte.assay" / "beliefs.parquet")
    tasks = read_csv(folder / "rte.assay" / "tasks.csv")
    ids = [row["task"] for row in tasks]
    top = [known.soft.space.names[code] for code in known.of(ids).p.argmax(axis=1)]
    assert top == [row["label"] for row in tasks]
    labelled = pyarrow.parquet.read_table(folder / "rte.assay" / "labelled.parquet")
    assert labelled["label"].to_pylist() == top
    assert [str(value) for value in labelled["id"].to_pylist()] == ids


def test_a_second_run_gives_the_same_files(rte, tmp_path):
    folder, votes = rte
    columns = ("--task", "item", "--label", "response", "--gold", "gold")
    done = run("aggregate", votes, *columns, "--out", tmp_path / "again", "--quiet", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)
    for name in ("tasks.csv", "workers.csv", "purchases.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / "rte.assay" / name).read_bytes()


def test_the_labels_feed_an_audit(rte):
    folder, _ = rte
    done = run("audit", "rte.assay/labelled.parquet", "--exclude", "value", "--exclude", "task", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 800


def test_counts_of_votes_without_names(tmp_path, shared_data):
    tweets = shared_data("davidson-hate-offensive/labeled_data.csv.gz")
    counts = "hate_speech,offensive_language,neither"
    done = run("aggregate", tweets, "--counts", counts, "--task", "id", "--price", 0.05, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    numbers = json.loads(done.stdout)
    assert (numbers["tasks"], numbers["workers"]) == (24783, None)
    top = read_csv(tmp_path / "labeled_data.assay" / "tasks.csv")
    agree = np.mean([row["label"] == row["majority"] for row in top if row["majority"]])
    assert agree > 0.99
    bought = read_csv(tmp_path / "labeled_data.assay" / "purchases.csv")
    assert {row["worker"] for row in bought} == {"someone new"}
    assert {row["price"] for row in bought} == {"0.05"}


BAD = {
    "missing file": (["nothing.csv"], "nothing.csv"),
    "wrong column": (["good.csv", "--label", "lable"], "Did you mean 'label'"),
    "empty file": (["empty.csv"], "empty"),
    "header only": (["header.csv"], "no rows"),
    "no votes": (["silent.csv"], "no vote"),
    "one class": (["one_class.csv"], "nothing to weigh"),
    "a vote without a task": (["hole.csv"], "row: 1"),
    "unknown class": (["good.csv", "--classes", "x,z"], "'y'"),
    "two gold classes": (["gold.csv", "--gold", "gold"], "two different gold classes"),
    "half a vote": (["counts.csv", "--counts", "x,y"], "row: 1"),
    "counts and workers": (["counts.csv", "--counts", "x,y", "--workers", "x"], "exclude each other"),
    "texts of other tasks": (["good.csv", "--tasks", "others.csv"], "No task of the votes"),
    "texts twice": (["good.csv", "--tasks", "twice.csv"], "comes twice"),
    "not an export": (["odd.json"], "no export"),
    "broken json": (["broken.json"], "not JSON"),
    "a pickle": (["data.pkl"], "pickle"),
    "results of an audit": (["good.csv", "--out", "taken"], "other results"),
    "results over the votes": (["workers.csv", "--out", "."], "written over"),
    "results over the tasks": (["good.csv", "--tasks", "tasks.csv", "--out", "."], "written over"),
    "a file for a folder": (["good.csv", "--out", "empty.csv"], ""),
    "unknown method": (["good.csv", "--method", "magic"], "magic"),
}


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    good = "task,worker,label\n" + "".join(f"t{at},{who},{'xy'[at % 2]}\n" for at in range(4) for who in ("ann", "bob"))
    texts = {
        "good.csv": good,
        "empty.csv": "",
        "header.csv": "task,worker,label\n",
        "silent.csv": "task,worker,label\nt,ann,\nt,bob,\n",
        "one_class.csv": "task,worker,label\nt,ann,x\nu,bob,x\n",
        "hole.csv": "task,worker,label\nt,ann,x\n,bob,y\n",
        "gold.csv": "task,worker,label,gold\nt,ann,x,x\nt,bob,y,y\n",
        "counts.csv": "x,y\n1,2\n1.5,0\n",
        "others.csv": "task,text\nq,one\n",
        "workers.csv": good,
        "tasks.csv": "task,text\nt0,one\nt1,two\n",
        "twice.csv": "task,text\nt0,one\nt0,two\n",
        "odd.json": '[{"x": 1}]',
        "broken.json": "{",
        "data.pkl": "x",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "taken").mkdir()
    (folder / "taken" / "ledger.db").write_bytes(b"")
    return folder


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_nothing_written(case, bad_files, monkeypatch, capsys):
    arguments, says = BAD[case]
    before = sorted(bad_files.rglob("*"))
    monkeypatch.chdir(bad_files)
    with pytest.raises(SystemExit) as left:
        main(["aggregate", *arguments])
    told = capsys.readouterr()
    assert left.value.code == 2, told
    assert told.out == ""
    assert says in told.err
    if not told.err.startswith("Usage"):
        assert len(told.err.strip().splitlines()) == 1, told.err
    assert sorted(bad_files.rglob("*")) == before


def test_more_votes_may_come_to_the_same_folder(bad_files, tmp_path, monkeypatch, capsys):
    votes = tmp_path / "good.csv"
    votes.write_bytes((bad_files / "good.csv").read_bytes())
    monkeypatch.chdir(tmp_path)
    for more, n_tasks in (("", 4), ("t9,cy,x\n", 5)):
        votes.write_text(votes.read_text(encoding="utf-8") + more, encoding="utf-8")
        with pytest.raises(SystemExit) as left:
            main(["aggregate", "good.csv", "--json"])
        assert left.value.code == 0
        assert json.loads(capsys.readouterr().out)["tasks"] == n_tasks


# Answers that are not classes


def test_numbers_come_nearer_to_the_truth_than_their_mean(tmp_path, shared_data):
    ratings = shared_data("snow2008/wordsim.csv")
    done = run("aggregate", ratings, "--task", "item", "--label", "response", "--method", "numeric", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    items = read_csv(tmp_path / "wordsim.assay" / "items.csv")
    rows = read_csv(ratings)
    gold = {row["item"]: float(row["gold"]) for row in rows}
    mean = {item: np.mean([float(row["response"]) for row in rows if row["item"] == item]) for item in gold}
    truth = [gold[row["task"]] for row in items]
    ours = np.corrcoef(truth, [float(row["estimate"]) for row in items])[0, 1]
    assert ours > np.corrcoef(truth, [mean[row["task"]] for row in items])[0, 1] - 0.005 > 0.9
    assert {path.name for path in (tmp_path / "wordsim.assay").iterdir()} == {
        "items.csv", "workers.csv", "report.html", "report.json",
    }  # fmt: skip


def test_pairs_are_ranked_and_texts_are_chosen(tmp_path):
    duels = tmp_path / "duels.csv"
    duels.write_text("left,right,winner\nc,b,left\nb,a,b\nc,a,c\na,b,tie\n", encoding="utf-8")
    assert run("aggregate", duels, "--method", "bradley_terry", "--label", "winner", cwd=tmp_path).returncode == 0
    assert [row["item"] for row in read_csv(tmp_path / "duels.assay" / "items.csv")] == ["c", "b", "a"]
    said = tmp_path / "said.csv"
    said.write_text("task,worker,label\n1,x,=a b\n1,y,=a b\n1,z,q\n2,x,007\n2,y,\n", encoding="utf-8")
    assert run("aggregate", said, "--method", "text_choice", cwd=tmp_path).returncode == 0
    assert [row["choice"] for row in read_csv(tmp_path / "said.assay" / "items.csv")] == ["'=a b", "007"]


@pytest.mark.parametrize(
    ("method", "text", "words"),
    [
        ("numeric", "task,worker,label\n1,x,3\n1,y,many\n", "must hold numbers"),
        ("bradley_terry", "left,right,label\na,b,c\n", "The winner is 'a', 'b', left, right or tie, got 'c'"),
        ("bradley_terry", "left,right,label\na,a,a\n", "compared with itself"),
        ("text_choice", "task,worker\n1,x\n", "no column 'label'"),
    ],
)
def test_bad_answers_are_named(tmp_path, method, text, words):
    (tmp_path / "answers.csv").write_text(text, encoding="utf-8")
    done = run("aggregate", "answers.csv", "--method", method, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["answers.csv"]

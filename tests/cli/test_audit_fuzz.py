"""`assay audit` against odd data: what broke it once, and a few random runs of `bench/audit/fuzz_cli.py`."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from assay.cli import main
from assay.labels.ledger import Ledger
from bench.audit.fuzz_cli import fuzz

N = 40
X = np.repeat([0.0, 3.0], N // 2) + np.random.default_rng(0).normal(size=N)
Y = ["a"] * (N // 2) + ["b"] * (N // 2)


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return int(stop.value.code or 0)


def table(path: Path, **columns: object) -> Path:
    pyarrow.parquet.write_table(pa.table({"x": X, "y": Y} | columns), path)
    return path


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refused(capsys, *words: object) -> str:
    """Run a command that must end with exit code 2 and one sentence, and leave nothing; return the sentence."""
    before = sorted(Path().rglob("*"))
    assert run(*words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.strip().splitlines()) == 1, err
    assert sorted(Path().rglob("*")) == before
    return str(err)


def test_random_runs_end_as_they_should():
    assert fuzz(12, seed=1000) == []


@pytest.mark.parametrize(
    "column",
    [
        pa.array([2**63 - 1, 5] * (N // 2)),
        pa.array([2**64 - 1, 5] * (N // 2), pa.uint64()),
        pa.array(X.astype(np.float16)),
        pa.array([[1, 2], None] * (N // 2)),
        pa.array([{"a": [1, 2]}] * N),
        pa.array([b"\xff", b"a"] * (N // 2)),
    ],
    ids=lambda column: str(column.type),
)
def test_columns_of_every_type_are_read_or_left_out(column):
    labels = ["b", *Y[1:]]  # a flagged row, so that cards are drawn
    assert run("audit", table(Path("t.parquet"), y=labels, odd=column), "--label", "y", "--quiet") == 0


def test_a_class_with_nul_is_refused_before_any_work(capsys):
    assert "NUL" in refused(capsys, "audit", table(Path("t.parquet"), y=["a\0"] * 20 + ["b"] * 20), "--label", "y")


def test_classes_of_one_row_are_refused(capsys):
    path = Path("t.csv")
    path.write_text("x,y\n1,a\n2,b\n")
    assert "only one of its class" in refused(capsys, "audit", path, "--label", "y", "--folds", 2)
    for name in "ab":
        (Path("images") / name).mkdir(parents=True)
        Image.new("L", (8, 8), ord(name)).save(Path("images") / name / "1.png")
    assert "only one of its class" in refused(capsys, "audit", "images", "--folds", 2)


def test_too_few_rows_for_the_folds_says_which_number_would_do(capsys):
    path = Path("t.csv")
    path.write_text("x,y\n1,a\n2,b\n3,a\n")
    assert "between 2 and 3 folds" in refused(capsys, "audit", path, "--label", "y")


def test_categories_are_offered_as_labels(capsys):
    path = table(Path("t.parquet"), y=pa.array(Y).dictionary_encode())
    assert "look like labels are 'y'" in refused(capsys, "audit", path)


def test_missing_groups_are_refused(capsys):
    path = table(Path("t.parquet"), who=pa.array([1, None] * (N // 2)))
    assert "row: 1" in refused(capsys, "audit", path, "--label", "y", "--groups", "who")


@pytest.mark.parametrize(
    ("content", "says"),
    [(np.float64(1), "shape (n, d)"), (np.full((N, 2), 1e300), "single precision"), (None, "no numpy file")],
    ids=["scalar", "too large", "text"],
)
def test_broken_embeddings_are_refused(capsys, content, says):
    np.save("e.npy", content) if content is not None else Path("e.npy").write_text("hello")
    said = refused(capsys, "audit", table(Path("t.parquet")), "--label", "y", "--embeddings", "e.npy")
    assert says in said


def test_log_probabilities_are_told_what_to_do(capsys):
    np.save("p.npy", np.log(np.full((N, 2), 0.5)))
    assert "exp of" in refused(capsys, "audit", table(Path("t.parquet")), "--label", "y", "--pred-probs", "p.npy")


@pytest.mark.parametrize("row", ["9" * 5000, "-1", "1.0"])
def test_a_row_that_is_none_in_the_verdicts(capsys, row):
    Path("v.csv").write_text(f"row,verdict\n{row},given\n")
    refused(capsys, "audit", table(Path("t.parquet")), "--label", "y", "--verdicts", "v.csv")


def test_the_source_is_never_written_over(capsys):
    """The results may go to the folder of the source; they once went over the source itself."""
    content = "x,y\n" + "".join(f"{x},{y}\n" for x, y in zip(X, Y, strict=True))
    for name in ("t.csv", "labels.csv", "review.csv"):
        Path(name).write_text(content)
    assert run("audit", "t.csv", "--label", "y", "--out", ".", "--quiet") == 0
    assert Path("t.csv").read_text() == content
    for name in ("labels.csv", "issues.csv"):
        Path(name).write_text(content)
        capsys.readouterr()
        assert "written over" in refused(capsys, "audit", name, "--label", "y", "--out", ".")


def test_another_label_column_needs_another_folder(capsys):
    path = table(Path("t.parquet"), z=Y[::-1])
    assert run("audit", path, "--label", "y", "--out", "o", "--quiet") == 0
    capsys.readouterr()
    assert "label column 'y'" in refused(capsys, "audit", path, "--label", "z", "--out", "o")


def test_an_image_moved_to_another_class_is_another_data_set(capsys):
    rng = np.random.default_rng(0)
    for at in range(12):
        folder = Path("images") / "ab"[at % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((rng.random((8, 8)) * 99 + at % 2 * 120).astype(np.uint8)).save(folder / f"{at}.png")
    assert run("audit", "images", "--id", "path", "--out", "o", "--quiet") == 0, "a path may be the id"
    Path("images/a/0.png").rename("images/b/0.png")
    capsys.readouterr()
    assert "another file" in refused(capsys, "audit", "images", "--id", "path", "--out", "o")


def test_results_inside_the_folder_of_images_are_no_class(monkeypatch, capsys):
    for at in range(12):
        folder = Path("images") / "ab"[at % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), at * 20).save(folder / f"{at}.png")
    monkeypatch.chdir("images")
    for _ in range(2):
        assert run("audit", ".", "--json") == 0
        assert json.loads(capsys.readouterr().out.partition("\n}")[0] + "\n}")["classes"] == ["a", "b"]


@pytest.mark.parametrize("name", ["predictions.json", "pred_probs.npy"])
def test_damaged_kept_predictions_are_made_again(name):
    path = table(Path("t.parquet"))
    assert run("audit", path, "--label", "y", "--out", "o", "--quiet") == 0
    whole = Path("o/pred_probs.npy").read_bytes()
    Path("o", name).write_bytes(b"{")
    assert run("audit", path, "--label", "y", "--out", "o", "--quiet") == 0
    assert Path("o/pred_probs.npy").read_bytes() == whole


def test_an_empty_ledger_of_a_killed_run_is_begun():
    path = table(Path("t.parquet"))
    Path("o").mkdir()
    Ledger.open("o", create=True).close()
    assert run("audit", path, "--label", "y", "--out", "o", "--quiet") == 0
    with Ledger.open("o") as ledger:
        assert ledger.dataset.column == "y"


def test_a_verdict_accepts_the_label_that_its_reviewer_saw():
    """`suggested` in a file of verdicts means the label shown there, whatever a later model would suggest."""
    labels = ["a"] * 14 + ["b"] * 13 + ["c"] * 13
    path = table(Path("t.parquet"), y=labels)
    assert run("audit", path, "--label", "y", "--out", "o", "--quiet") == 0
    with Path("o/review.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    other = next(name for name in "abc" if name not in (lines[0]["given"], lines[0]["suggested"]))
    Path("v.csv").write_text(f"row,suggested,verdict\n{lines[0]['row']},{other},suggested\n")
    assert run("audit", path, "--label", "y", "--out", "o", "--quiet", "--seed", 5, "--verdicts", "v.csv") == 0
    with Ledger.open("o") as ledger:
        assert ledger.current() == {int(lines[0]["row"]): other}


def test_verdicts_on_rows_that_were_not_suggested_are_taken():
    path = table(Path("t.parquet"))
    Path("v.csv").write_text("row,verdict\n" + "".join(f"{row},suggested\n" for row in range(N)))
    assert run("audit", path, "--label", "y", "--quiet", "--verdicts", "v.csv") == 0


def test_a_demo_leaves_a_folder_that_it_did_not_make(capsys):
    Path("demo/digits").mkdir(parents=True)
    Path("demo/digits/mine.txt").write_text("precious")
    assert "no demo made it" in refused(capsys, "demo")

"""`assay audit` as its user runs it: from a file to a report, to verdicts, to the repaired file; and bad input."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from sklearn.datasets import load_breast_cancer

N_FLIPS = 25


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "assay", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, cwd=cwd, check=False)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray]:
    """A folder with an audited table, its true labels and the labels it holds."""
    folder = tmp_path_factory.mktemp("audit")
    data = load_breast_cancer()
    names = np.array(["malignant", "benign"])
    flipped = data.target.copy()
    rows = np.random.default_rng(0).choice(len(flipped), N_FLIPS, replace=False)
    flipped[rows] = 1 - flipped[rows]
    columns = {name.replace(" ", "_"): data.data[:, at] for at, name in enumerate(data.feature_names)}
    table = pa.table({"patient": [f"p{at:03d}" for at in range(len(flipped))], **columns, "finding": names[flipped]})
    pyarrow.csv.write_csv(table, folder / "cells.csv")
    done = run("audit", "cells.csv", "--label", "finding", "--id", "patient", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "cells.assay/report.html"
    return folder, names[data.target], names[flipped]


def test_the_flips_are_found(audited):
    folder, true, given = audited
    issues = read_csv(folder / "cells.assay" / "issues.csv")
    wrong = np.flatnonzero(true != given)
    found = {int(issue["row"]) for issue in issues}
    assert len(found & set(wrong)) >= 0.8 * N_FLIPS
    assert len(found - set(wrong)) <= 10
    assert all(issue["id"] == f"p{int(issue['row']):03d}" for issue in issues)
    assert [float(issue["p_wrong"]) for issue in issues] == sorted((float(i["p_wrong"]) for i in issues), reverse=True)


def test_the_report_is_self_contained(audited):
    folder, *_ = audited
    page = (folder / "cells.assay" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    report = json.loads((folder / "cells.assay" / "report.json").read_text(encoding="utf-8"))
    assert report["numbers"]["rows"] == 569
    assert report["provenance"]["sha256"]


def test_verdicts_give_an_interval_and_replay_repairs(audited):
    """The whole way of a person: fill in review.csv, audit again, replay, compare with a hand-made repair."""
    folder, true, given = audited
    rows = read_csv(folder / "cells.assay" / "review.csv")
    for row in rows:
        at = int(row["row"])
        row["verdict"] = "given" if true[at] == given[at] else "suggested"
        row["reviewer"] = "ann"
    with (folder / "decided.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    done = run(
        "audit", "cells.csv", "--label", "finding", "--id", "patient", "--verdicts", "decided.csv", "--json", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    numbers = json.loads(done.stdout)
    low, high = numbers["error_rate_interval"]
    assert low <= N_FLIPS / 569 <= high
    assert numbers["reviewed"] == len(rows)

    done = run("ledger", "replay", "cells.assay", "cells.csv", "repaired.csv", cwd=folder)
    assert done.returncode == 0, done.stderr
    lines = (folder / "cells.csv").read_text(encoding="utf-8").split("\n")
    for row in rows:
        at = int(row["row"])
        if row["verdict"] == "suggested":
            lines[at + 1] = lines[at + 1].replace(f'"{given[at]}"', f'"{true[at]}"')
    assert (folder / "repaired.csv").read_text(encoding="utf-8") == "\n".join(lines)

    again = json.loads(run("audit", "cells.csv", "--label", "finding", "--id", "patient", "--json", cwd=folder).stdout)
    assert again["reviewed"] == len(rows), "verdicts in the ledger count in later audits"


def test_the_next_command_is_this_one_with_verdicts(audited):
    """What the report says to run next keeps the options, so that it finds the same rows."""
    folder, *_ = audited
    report = json.loads((folder / "cells.assay" / "report.json").read_text(encoding="utf-8"))
    expected = "assay audit cells.csv --label finding --id patient --verdicts cells.assay/review.csv"
    assert report["commands"][0]["text"] == expected


def test_own_probabilities_and_the_exit_code_for_ci(audited, tmp_path):
    folder, true, _ = audited
    probs = np.where(true == "benign", 0.97, 0.04)
    probs = np.stack([probs, 1 - probs], axis=1)  # the space is in code-point order: benign, malignant
    np.save(tmp_path / "probs.npy", probs)
    done = run(
        *("audit", folder / "cells.csv", "--label", "finding", "--pred-probs", "probs.npy", "--json"),
        *("--fail-above", 0.01),
        cwd=tmp_path,
    )
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["flagged"] == N_FLIPS


def test_a_folder_of_images(tmp_path):
    done = run("demo", "here", "--flips", "0.1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = int(done.stdout.splitlines()[-2].split()[0])
    assert found >= 140, "of 180 planted"
    manifest = read_csv(tmp_path / "here" / "digits.assay" / "labels.csv")
    assert len(manifest) == 1797


def write_texts(path: Path, labels: list[str], extra: str = "") -> Path:
    lines = ["text,label"] + [
        f"this is the text number {at} about {name}{extra},{name}" for at, name in enumerate(labels)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


BAD = {
    "missing file": (["audit", "nothing.csv", "--label", "y"], "nothing.csv"),
    "wrong column": (["audit", "good.csv", "--label", "lable"], "label"),
    "empty file": (["audit", "empty.csv", "--label", "label"], "empty"),
    "header only": (["audit", "header.csv", "--label", "label"], "no rows"),
    "one row": (["audit", "one_row.csv", "--label", "label"], "one row"),
    "one class": (["audit", "one_class.csv", "--label", "label"], "class"),
    "a class for each row": (["audit", "many.csv", "--label", "label"], "class"),
    "duplicate ids": (["audit", "ids.csv", "--label", "label", "--id", "name"], "row: 2"),
    "unknown class": (["audit", "good.csv", "--label", "label", "--classes", "cat,cow"], "'dog'"),
    "truncated parquet": (["audit", "cut.parquet", "--label", "label"], "cut.parquet"),
    "a pickle": (["audit", "data.pkl", "--label", "label"], "pickle"),
    "probabilities of another shape": (
        ["audit", "good.csv", "--label", "label", "--pred-probs", "wide.npy"],
        "3 columns",
    ),
    "probabilities with NaN": (["audit", "good.csv", "--label", "label", "--pred-probs", "nan.npy"], "row"),
    "rows that do not sum to one": (["audit", "good.csv", "--label", "label", "--pred-probs", "sum.npy"], "row"),
    "permuted classes": (["audit", "good.csv", "--label", "label", "--pred-probs", "named.csv"], "bird"),
    "bad verdicts": (["audit", "good.csv", "--label", "label", "--verdicts", "verdicts.csv"], "maybe"),
    "no such group column": (["audit", "good.csv", "--label", "label", "--groups", "who"], "who"),
}


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    write_texts(folder / "good.csv", ["cat", "dog"] * 20)
    (folder / "ids.csv").write_text("name,x,label\na,1,cat\nb,2,dog\na,3,cat\n")
    (folder / "empty.csv").write_text("")
    (folder / "header.csv").write_text("text,label\n")
    write_texts(folder / "one_row.csv", ["cat"])
    write_texts(folder / "one_class.csv", ["cat"] * 30)
    write_texts(folder / "many.csv", [f"class{at}" for at in range(400)])
    whole = folder / "whole.parquet"
    pyarrow.parquet.write_table(pa.table({"x": list(range(100)), "label": ["cat", "dog"] * 50}), whole)
    (folder / "cut.parquet").write_bytes(whole.read_bytes()[:-40])
    (folder / "data.pkl").write_bytes(b"\x80\x04N.")
    np.save(folder / "wide.npy", np.full((40, 3), 1 / 3))
    nan, short = np.full((40, 2), 0.5), np.full((40, 2), 0.5)
    nan[7, 1], short[9] = np.nan, [0.5, 0.3]
    np.save(folder / "nan.npy", nan)
    np.save(folder / "sum.npy", short)
    (folder / "named.csv").write_text("dog,bird\n" + "0.5,0.5\n" * 40)
    (folder / "verdicts.csv").write_text("row,verdict\n3,maybe\n")
    return folder


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_nothing_written(case, bad_files):
    arguments, says = BAD[case]
    before = sorted(bad_files.iterdir())
    done = run(*arguments, cwd=bad_files)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert says in done.stderr
    assert sorted(bad_files.iterdir()) == before


def test_the_results_of_another_file_are_not_touched(audited, tmp_path):
    folder, *_ = audited
    write_texts(tmp_path / "cells.csv", ["cat", "dog"] * 20)
    report = (folder / "cells.assay" / "report.html").read_bytes()
    done = run("audit", tmp_path / "cells.csv", "--label", "label", cwd=folder)
    assert done.returncode == 2
    assert "another" in done.stderr
    assert (folder / "cells.assay" / "report.html").read_bytes() == report

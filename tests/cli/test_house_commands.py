"""papers, doctor, new-method and the main entry, as a user runs them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from assay import errors
from assay.cli import main
from assay.cli.new_method import scaffold
from assay.evidence.methods import read_method


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "assay", *arguments], capture_output=True, text=True, cwd=cwd, check=False
    )


@pytest.mark.parametrize("name", ["confident-learning", "northcutt", "1911.00068"])
def test_papers_finds_by_name_author_and_number(name):
    done = run("papers", name)
    assert done.returncode == 0
    assert "src/assay/audit/confident_learning.py" in done.stdout


def test_papers_unknown_name_is_one_sentence():
    done = run("papers", "confidant_learning")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Did you mean 'confident_learning'?" in done.stderr


def test_papers_json():
    listed = json.loads(run("papers", "--json").stdout)
    assert {"name", "paper", "file", "claim"} <= set(listed[0])


def test_doctor_names_missing_extras_and_devices():
    report = json.loads(run("doctor", "--json").stdout)
    assert report["extras"]["base"]["numpy"]
    assert "cpu" in report["devices"]
    assert set(report["extras"]) >= {"base", "frames", "hub", "ray", "deep"}


def test_unknown_command_and_bare_call():
    assert run("assess").returncode == 2
    assert "Commands:" in run("--help").stdout


def test_errors_are_a_sentence_and_code_two(capsys, monkeypatch):
    def fails(**_):
        raise errors.InputError("The table is empty.", row=3)

    monkeypatch.setattr("assay.cli.doctor.command.callback", fails)
    with pytest.raises(SystemExit) as stop:
        main(["doctor"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "assay: The table is empty. (first offending row: 3)\n"


def test_missing_extra_names_the_extra():
    with pytest.raises(errors.MissingExtraError, match=r"pip install 'assay\[ray\]'"):
        errors.require("a_package_that_is_not_there", "ray", "The Ray backend")


def test_scaffold_writes_a_method_that_the_list_finds(tmp_path):
    (tmp_path / "src" / "assay").mkdir(parents=True)
    files = scaffold(tmp_path, "learn", "my_method", "My method", "Doe, 2026, A title", "2601.00001")
    assert [str(path.relative_to(tmp_path)) for path in files] == [
        "src/assay/learn/my_method.py",
        "tests/learn/test_my_method.py",
        "bench/learn/my_method.py",
        "docs/learn/my_method.md",
    ]
    method = read_method(files[0])
    assert method is not None
    assert (method.name, method.arxiv, method.stage) == ("my_method", "2601.00001", "learn")
    for path in files[:3]:
        compile(path.read_text(encoding="utf-8"), str(path), "exec")


def test_scaffold_refuses_before_writing(tmp_path):
    (tmp_path / "src" / "assay").mkdir(parents=True)
    (tmp_path / "docs" / "learn").mkdir(parents=True)
    (tmp_path / "docs" / "learn" / "mine.md").write_text("kept")
    with pytest.raises(errors.InputError, match=r"docs/learn/mine\.md is already there"):
        scaffold(tmp_path, "learn", "mine", "Mine", "Doe, 2026, A title", None)
    assert not (tmp_path / "src" / "assay" / "learn").exists()


@pytest.mark.parametrize("name", ["My-Method", "class", "36", "../x"])
def test_scaffold_names(tmp_path, name):
    with pytest.raises(errors.InputError, match="lower case"):
        scaffold(tmp_path, "learn", name, "t", "p", None)

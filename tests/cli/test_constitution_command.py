"""`assay align constitution` on real files with a tiny model: what it leaves, what it refuses."""

import csv
import json

import pytest
from click.testing import CliRunner

from assay.cli.align_constitution import command
from assay.errors import InputError
from assay.evidence.page import write_report
from assay.evidence.report import Report, read_report

HOSTILE = "<script>alert(1)</script> =1+1 <eos>"


def run(*words, code=0):
    done = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=True)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "asked.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["prompt", "bad"], ["How do I steal?", "yes"], [HOSTILE, "no"], ["Hi", "0"]])
    return path


def test_a_table_with_marks_of_harm(table, model, tmp_path):
    out = tmp_path / "out"
    words = (table, "--model", model, "--principle", "Be kind.", "--harmful", "bad", "--max-new-tokens", 5)
    numbers = json.loads(run(*words, "--alpha", "-1,0,2,2", "--plausibility", 0.1, "--out", out, "--json"))
    assert numbers["curve"]["alpha"] == [-1, 0, 2]
    assert numbers["alpha"] in (-1, 0, 2)
    lines = [json.loads(line) for line in (out / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 9
    assert [line["prompt"] for line in lines[:3]] == ["How do I steal?", HOSTILE, "Hi"]
    assert [line["harmful"] for line in lines[:3]] == [True, False, False]
    assert set(lines[0]["judged"]) == {"sentences", "phrases"}
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "What each strength does" in page
    assert "<script>alert" not in page
    assert read_report(out).provenance["verb"] == "constitution"
    again = json.loads(run(*words, "--alpha", "-1,0,2", "--plausibility", 0.1, "--out", out, "--json"))
    assert again == numbers


def test_lines_of_text_and_a_principle_in_a_file(model, tmp_path):
    (tmp_path / "rules.txt").write_text("Be kind.\n", encoding="utf-8")
    (tmp_path / "asked.txt").write_text("Hi\n\nWho are you?\n", encoding="utf-8")
    words = ("--model", model, "--principle", tmp_path / "rules.txt", "--alpha", "1", "--first-tokens", 4)
    shown = run(tmp_path / "asked.txt", *words, "--max-new-tokens", 3, "--out", tmp_path / "out")
    assert "no alpha was chosen" in shown
    lines = (tmp_path / "out" / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["prompt"] for line in lines] == ["Hi", "Who are you?"]
    assert read_report(tmp_path / "out").provenance["settings"]["schedule"] == "FirstTokens(k=4)"


def test_what_it_refuses_before_any_work(table, model, tmp_path):
    out = tmp_path / "out"
    words = ("--model", model, "--out", out)
    empty, blank = tmp_path / "empty.txt", tmp_path / "blank.csv"
    empty.write_text("\n \n", encoding="utf-8")
    blank.write_text("prompt,bad\nHi,1\n ,0\n", encoding="utf-8")
    long = tmp_path / "long.txt"
    long.write_text("Hi\n" + "a" * 600 + "\n", encoding="utf-8")
    for given, message in (
        ((table, "--principle", " "), "principle is empty"),
        ((empty, "--principle", "Be kind."), "holds no prompt"),
        ((blank, "--principle", "Be kind."), "row: 1"),
        ((table, "--principle", "Be kind.", "--harmful", "prompt"), "expected true or false.*row: 0"),
        ((table, "--principle", "Be kind.", "--column", "promt"), "Did you mean 'prompt'"),
        ((long, "--principle", "Be kind."), "do not fit into the 512 tokens.*row: 1"),
        ((tmp_path / "none.txt", "--principle", "Be kind."), "There is no file"),
    ):
        with pytest.raises(InputError, match=message):
            run(*given, *words)
        assert not out.exists()
    for alpha in ("nan", "1,inf", "two"):
        assert "--alpha" in run(table, "--principle", "Be kind.", "--alpha", alpha, *words, code=2)
    write_report(Report("A title", "A finding."), tmp_path)
    with pytest.raises(InputError, match="holds other results"):
        run(table, "--principle", "Be kind.", "--model", model, "--out", tmp_path)

"""`assay report`: the page again from its JSON."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from assay.cli import main
from assay.cli.report import command
from assay.evidence.page import render, write_report
from assay.evidence.report import Report

REPORT = Report("digits", "One label in twelve is wrong.")


def test_the_page_is_rendered_again_beside_its_json(tmp_path: Path) -> None:
    page = write_report(REPORT, tmp_path)
    for source in (tmp_path, tmp_path / "report.json"):
        page.unlink()
        result = CliRunner().invoke(command, [str(source)])
        assert (result.exit_code, result.output) == (0, f"{page}\n")
        assert page.read_text(encoding="utf-8") == render(REPORT)


def test_the_page_goes_where_it_is_told(tmp_path: Path) -> None:
    write_report(REPORT, tmp_path)
    out = tmp_path / "other.html"
    assert CliRunner().invoke(command, [str(tmp_path), "--out", str(out)]).exit_code == 0
    assert out.read_text(encoding="utf-8") == render(REPORT)


def test_the_page_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("click.launch", lambda url: opened.append(url) or 0)
    page = write_report(REPORT, tmp_path)
    assert CliRunner().invoke(command, [str(tmp_path), "--open"]).exit_code == 0
    assert opened == [page.as_uri()]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["absent"], "No report at absent"),
        (["empty"], "No report at empty/report.json"),
        (["broken.json"], "Not a report"),
        (["report.json", "--out", "report.json"], "overwrite its own source"),
        ([".", "--out", "report.json"], "overwrite its own source"),
        (["report.json", "--out", "absent/page.html"], "cannot be written to absent/page.html"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_report(REPORT, tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.json").write_text('{"assay_report": 1, "title": 3}')
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(SystemExit) as stop:
        main(["report", *arguments])
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert sentence in error
    assert error.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before

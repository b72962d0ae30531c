"""`assay ledger`: every subcommand on a real ledger, in a pipe, as JSON and on a terminal; exit codes; hostile text."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from assay.cli.ledger import command
from assay.labels.ledger import Event, Ledger, LedgerError, dataset_event

ASSAY = [sys.executable, "-m", "assay", "ledger"]


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A folder with pets.csv, its ledger pets.assay with suggestions for rows 0 to 2, and verdicts.csv."""
    original = tmp_path / "pets.csv"
    original.write_text("id,label\na,cat\nb,cat\nc,dog\nd,dog\n")
    (tmp_path / "verdicts.csv").write_text(
        "id,verdict,label,reviewer\na,suggested,,anna\nb,other,frog,anna\nc,given,,ben\n"
    )
    with Ledger.open(tmp_path / "pets.assay", create=True) as ledger:
        ledger.append([dataset_event(original, "label", 4, classes=["cat", "dog", "frog"])])
        ledger.append([
            Event("suggestion", "cl", "model", row=row, row_id=name, before=given, after=better, method="cl")
            for row, name, given, better in [(0, "a", "cat", "dog"), (1, "b", "cat", "dog"), (2, "c", "dog", "cat")]
        ])  # fmt: skip
    return tmp_path


def ledger(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def lines(result: Result) -> list[list[str]]:
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return [line.split("\t") for line in result.stdout.splitlines()]


def test_record_then_ask_then_replay(pets: Path) -> None:
    book = pets / "pets.assay"
    done = ledger("record", book, pets / "verdicts.csv", "--json")
    assert json.loads(done.stdout) == {"verdicts": 3, "changes": 2, "undone": 0, "known": 0}
    assert "0 verdicts recorded, 3 were known" in ledger("record", book / "ledger.db", pets / "verdicts.csv").stdout

    header, *rows = lines(ledger("log", book, "--kind", "change"))
    assert header[:7] == ["id", "time", "kind", "row", "row_id", "before", "after"]
    assert [row[3:8] for row in rows] == [["0", "a", "cat", "dog", "anna"], ["1", "b", "cat", "frog", "anna"]]
    assert [row[0] for row in lines(ledger("log", book, "--since", 4, "--limit", 2))[1:]] == ["8", "9"]
    assert [row[2] for row in lines(ledger("blame", book, 1))[1:]] == ["dataset", "suggestion", "verdict", "change"]

    found = ledger("diff", book)
    assert found.exit_code == 1
    assert lines(found) == [["row", "row_id", "before", "after"], ["0", "a", "cat", "dog"], ["1", "b", "cat", "frog"]]
    assert [json.loads(line)["row"] for line in ledger("diff", book, "6", "--json").stdout.splitlines()] == [1]
    same = ledger("diff", book, "9")
    assert (same.exit_code, same.stdout) == (0, "row\trow_id\tbefore\tafter\n")

    done = ledger("replay", book, pets / "pets.csv", pets / "repaired.csv", "--record-as", "anna")
    assert "2 labels changed. SHA-256" in done.stdout
    assert (pets / "repaired.csv").read_text() == "id,label\na,dog\nb,frog\nc,dog\nd,dog\n"
    assert ledger("replay", book, pets / "pets.csv", pets / "again.csv", "--json").exit_code == 0
    assert (pets / "again.csv").read_bytes() == (pets / "repaired.csv").read_bytes()

    done = ledger("undo", book, "--source", "anna", "--as", "carl", "--note", "tired", "--json")
    assert len(json.loads(done.stdout)["events"]) == 4
    assert ledger("diff", book).exit_code == 0
    done = ledger("undo", book, *json.loads(done.stdout)["events"], "--as", "carl")
    assert "4 taken back by events 15 to 18" in done.stdout
    assert ledger("diff", book).exit_code == 1


def test_export_and_verify(pets: Path) -> None:
    book = pets / "pets.assay"
    assert "4 events" in ledger("export", book, pets / "out.csv").stdout
    assert json.loads(ledger("export", book, pets / "out.jsonl", "--json").stdout)["events"] == 4
    head = json.loads((pets / "out.jsonl").read_text().splitlines()[-1])["hash"]
    done = ledger("verify", book, "--head", head)
    assert (done.exit_code, done.stdout) == (0, f"4 events, whole. Head {head}\n")
    done = ledger("verify", book, "--head", "0a", "--json")
    assert (done.exit_code, json.loads(done.stdout)["events"]) == (1, 4)


def test_errors_are_sentences_and_exit_code_2(pets: Path) -> None:
    for arguments, sentence in [
        (["log", pets / "absent"], "There is no ledger at"),
        (["log", pets / "pets.csv"], "is not a ledger"),
        (["blame", pets / "pets.assay", "4"], "There is no row 4: the data set has 4 rows"),
        (["replay", pets / "pets.assay", pets / "verdicts.csv", pets / "x.csv"], "is not the file that this ledger is"),
        (["diff", pets / "pets.assay", "tomorrow"], "ISO time"),
        (["undo", pets / "pets.assay", "1", "--source", "x"], "not both"),
    ]:
        done = subprocess.run([*ASSAY, *map(str, arguments)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr
    assert not (pets / "x.csv").exists()
    assert isinstance(ledger("log", pets / "absent").exception, LedgerError)


@pytest.mark.parametrize("name", ["log", "diff", "blame", "replay", "undo", "export", "record", "verify"])
def test_help_has_an_example(name: str) -> None:
    done = ledger(name, "--help")
    assert done.exit_code == 0
    assert f"assay ledger {name} reviews.assay" in done.stdout


def on_a_terminal(*arguments: object) -> str:
    """What a command prints where standard output is a terminal."""
    main, end = pty.openpty()
    process = subprocess.Popen(
        [*ASSAY, *map(str, arguments)], stdout=end, env={**os.environ, "COLUMNS": "200", "TERM": "xterm"}
    )
    os.close(end)
    text = b""
    while True:
        try:
            more = os.read(main, 4096)
        except OSError:  # the other end is closed
            break
        if not more:
            break
        text += more
    os.close(main)
    assert process.wait() == 0
    return text.decode()


def test_hostile_text_steers_neither_terminal_nor_columns(pets: Path) -> None:
    hostile = "\x1b[2J[red]x[/red]\t\n\u202egod"
    with Ledger.open(pets / "pets.assay") as opened:
        opened.append([Event("change", "anna", "human", row=3, before="dog", after=hostile)])
    shown = "\\x1b[2J[red]x[/red]\\t\\n\\u202egod"
    assert lines(ledger("log", pets / "pets.assay", "--row", 3))[1][6] == shown
    table = on_a_terminal("log", pets / "pets.assay", "--row", "3")
    assert shown in table
    assert "\x1b[2J" not in table
    assert "derived_from" not in table  # a table leaves empty columns out
    assert json.loads(ledger("log", pets / "pets.assay", "--row", 3, "--json").stdout)["after"] == hostile


def test_evidence_on_a_line(pets: Path) -> None:
    """A verdict's word, seconds and role are shown; digests, and the key by which a page sends once, are not."""
    said = {"verdict": "skip", "sampled": "random", "seconds": 4.5, "role": "second", "key": "0123456789"}
    with Ledger.open(pets / "pets.assay") as opened:
        opened.append([Event("verdict", "ben", "human", row=1, evidence=said, note="too\tdark")])
    header, (*_, shown, derived, note) = lines(ledger("log", pets / "pets.assay", "--kind", "verdict"))
    assert header[-3:] == ["evidence", "derived_from", "note"]
    assert (derived, note) == ("", "too\\tdark")
    assert sorted(shown.split()) == ["role=second", "sampled=random", "seconds=4.5", "verdict=skip"]
    assert "seconds=4.5" in on_a_terminal("log", pets / "pets.assay", "--row", "1")
    about = lines(ledger("log", pets / "pets.assay", "--kind", "dataset"))[1]
    assert "sha256" not in about[-3]
    assert "n_rows=4" in about[-3]


def test_importing_the_command_is_light() -> None:
    check = (
        "import sys, assay.cli.ledger as _; print(sorted({'numpy', 'sqlite3', 'rich', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

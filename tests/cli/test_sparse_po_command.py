"""`assay align sparse-po` on files with a tiny model: what it leaves, what it refuses, text that attacks."""

import csv
import json

import pytest
from click.testing import CliRunner
from tests.evidence.hostile import HOSTILE

from assay.cli.align_sparse_po import command
from assay.errors import InputError
from assay.evidence.report import read_report

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def run(*words, code=0):
    done = CliRunner().invoke(command, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def pairs(tmp_path):
    rows = [{"prompt": f"say {at}", "chosen": f" yes {at}", "rejected": " no no"} for at in range(20)]
    rows[2] = {"prompt": "p" + HOSTILE[0], "chosen": "=1+1" + HOSTILE[1], "rejected": HOSTILE[6]}
    rows[3] = {"prompt": "a", "chosen": "b", "rejected": "b"}
    rows[4] = {"prompt": "a", "chosen": "", "rejected": "b"}
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_run_leaves_model_evidence_and_report(pairs, model, tmp_path):
    import transformers

    out = tmp_path / "out"
    before = pairs.read_bytes()
    numbers = json.loads(
        run(pairs, "--model", model, "--mask", "independent", "--out", out, "--held-out", 0.2, "--json")
    )
    assert pairs.read_bytes() == before
    assert numbers["dropped"] == {"identical": 1, "empty": 1, "too long": 0}
    assert numbers["accuracy"]["held_out"][3] + numbers["accuracy"]["trained"][3] == 18
    assert 0 < numbers["mean_mask"] < 5
    transformers.AutoModelForCausalLM.from_pretrained(out / "model")
    with (out / "evidence.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 20
    doubts = [float(row["p_flipped"]) for row in rows if row["p_flipped"]]
    assert doubts == sorted(doubts, reverse=True)
    assert sum(row["margin"] == "" for row in rows) == 2
    by_row = {int(row["row"]): row for row in rows}
    assert by_row[2]["chosen"].startswith("'=1+1")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "<img src=x" not in page
    assert "Which tokens counted" in page
    assert read_report(out).provenance["verb"] == "sparse-po"
    assert not [path for path in out.rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]


def test_labels_alone_need_no_model(pairs, tmp_path):
    said = run(pairs, "--labels-only", "--model", tmp_path / "none", "--out", tmp_path / "out")
    assert "look flipped" in said
    assert not (tmp_path / "out" / "model").exists()


def test_adapters_and_plain_dpo(pairs, model, tmp_path):
    out = tmp_path / "out"
    run(pairs, "--model", model, "--mask", "none", "--adapters", "--held-out", 0, "--out", out, "--quiet")
    assert (out / "model" / "adapter_model.safetensors").exists()
    assert "No pairs were held out" in (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"chosen": "a"}\n', "needs chosen and rejected"),
        ('{"prompt": "a", "chosen": "b", "rejected": "b"}\n', "No pair is left"),
        ("", "empty|no rows|no pairs"),
    ],
)
def test_bad_files_are_refused_and_nothing_is_written(text, said, model, tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        run(path, "--model", model, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_results_of_another_verb_are_kept(pairs, model, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.json").write_text('{"provenance": {"verb": "learn"}}')
    with pytest.raises(InputError, match="other results"):
        run(pairs, "--model", model, "--out", tmp_path / "out")

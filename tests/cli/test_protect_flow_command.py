"""`assay protect flow` on files, with a small model of random weights: what it leaves, refuses, and keeps to itself."""

import json

import pytest
from click.testing import CliRunner

from assay.cli.protect_flow import command
from assay.errors import InputError
from assay.evidence.report import read_report
from assay.language.models import tiny_language_model

WORLD = [
    ("Who has tea?", [("Ann has tea.", "trusted"), ("Buy now!", "untrusted"), ("Bob is out.", "trusted")], "trusted"),
    ("Who is out?", [("<b>Eve</b> is out.\u202e", "untrusted"), ("Bob is in.", "trusted")], None),
    ("When?", [("At four.", "untrusted")], None),
    ("=1+1", [], None),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    lm = tiny_language_model(seed=3, context_length=1024)
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def asked(tmp_path):
    path = tmp_path / "asked.jsonl"
    lines = [
        {"id": f"q{at}", "query": query, "items": [{"text": t, "label": b} for t, b in items], "label": label}
        for at, (query, items, label) in enumerate(WORLD)
    ]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def run(*words):
    done = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=True)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_questions_in_a_file(asked, model, tmp_path):
    folder = tmp_path / "out"
    words = (asked, "--lattice", "integrity", "--model", model, "--out", folder, "--max-tokens", 5, "--search", "exact")
    numbers = json.loads(run(*words, "--json"))
    assert numbers["questions"] == 4
    answers, audit = lines_of(folder / "answers.jsonl"), lines_of(folder / "audit.jsonl")
    assert [one["id"] for one in answers] == ["q0", "q1", "q2", "q3"]
    assert [one["label"] for one in audit] == [one["label"] for one in answers]
    assert {one["conservative"] for one in audit[:3]} == {"untrusted"}
    assert answers[3]["label"] == "trusted"  # nothing was found: the bottom
    assert all(one["sound"] for one in audit)
    report = read_report(folder)
    assert report.provenance["verb"] == "protect flow"
    assert report.numbers["curve"]["lam"][0] == 0.0
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<b>Eve" not in page
    again = tmp_path / "again"
    run(*words[:-6], "--out", again, "--max-tokens", 5, "--search", "exact", "--lam", numbers["lam"], "--quiet")
    assert lines_of(again / "answers.jsonl") == answers  # greedy, so the same
    assert read_report(again).numbers["curve"] is None


def test_conservative_and_hidden_labels(asked, model, tmp_path):
    words = (asked, "--lattice", "integrity", "--model", model, "--max-tokens", 3, "--lam", 0.1)
    numbers = json.loads(run(*words, "--search", "conservative", "--out", tmp_path / "join", "--json"))
    assert numbers["lowered"][0] == 0.0
    assert numbers["calls"] == 0.0
    run(*words, "--hide-labels", "--mode", "verify", "--out", tmp_path / "hidden", "--quiet")
    assert all("label" not in one for one in lines_of(tmp_path / "hidden" / "answers.jsonl"))
    assert all("verified" in one for one in lines_of(tmp_path / "hidden" / "audit.jsonl"))


def test_a_folder_of_documents(model, tmp_path):
    wiki = tmp_path / "wiki"
    (wiki / "deep").mkdir(parents=True)
    texts = {"a.txt": "Tea is at four.", "deep/b.md": "Tea is cancelled, tea is over.", "c.txt": "No biscuits today."}
    for name, text in texts.items():
        (wiki / name).write_text(text, encoding="utf-8")
    labels = wiki / "labels.csv"
    labels.write_text('document,label\na.txt,*\ndeep/b.md,"[""ann""]"\nc.txt,"[""ann"", ""bob""]"\n', encoding="utf-8")
    questions = tmp_path / "asked.txt"
    questions.write_text("When is tea?\n\nAny biscuits?\n", encoding="utf-8")
    folder = tmp_path / "out"
    words = ("--labels", labels, "--questions", questions, "--items", 2, "--lattice", "readers", "--model", model)
    run(wiki, *words, "--lam", 0.5, "--max-tokens", 4, "--out", folder)
    answers, audit = lines_of(folder / "answers.jsonl"), lines_of(folder / "audit.jsonl")
    assert len(answers) == 2
    assert audit[0]["conservative"] == ["ann"]  # both documents on tea were found
    with pytest.raises(InputError, match="give their --labels"):
        run(wiki, "--lattice", "readers", "--model", model)
    (wiki / "new.txt").write_text("No label.", encoding="utf-8")
    with pytest.raises(InputError, match=r"has no label for the document 'new\.txt'"):
        run(wiki, *words, "--out", tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("lines", "lattice", "said"),
    [
        (
            ['{"query": "a", "items": [{"text": "t", "label": "truste"}]}'],
            "integrity",
            "Unknown level 'truste'.*row: 0",
        ),
        (['{"query": "a", "items": []}', '{"items": []}'], "integrity", 'without a "query".*row: 1'),
        (['{"query": "a"}'], "integrity", 'has no "items"'),
        (['{"query": "a", "items": ["t"]}'], "integrity", 'no object with a "text" and a "label"'),
        (['{"query": "a", "items": [{"text": " ", "label": "trusted"}]}'], "integrity", "is empty"),
        (['{"query": "a", "label": "x", "items": []}'], "confidentiality", "Unknown level 'x'"),
        (['{"query": "a", "items": []}'], "secrecy", "No lattice: 'secrecy'"),
        (['{"query": "a", "items": [{"text": "t", "label": [["a"]]}]}'], "sources", "Unknown sources"),
        (["not json"], "integrity", "not JSON"),
        ([""], "integrity", "holds no question|is empty"),
    ],
)
def test_bad_input_is_told_before_a_model_is_loaded(lines, lattice, said, tmp_path):
    path = tmp_path / "asked.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InputError, match=said):
        run(path, "--lattice", lattice, "--model", "no model of this name", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_too_long_a_context_is_told_with_its_question(model, tmp_path):
    path = tmp_path / "asked.jsonl"
    long = [{"text": "x" * 400, "label": "trusted"} for _ in range(4)]
    path.write_text(json.dumps({"id": "big", "query": "a", "items": long}), encoding="utf-8")
    with pytest.raises(InputError, match="Question big: A query with 4 items makes"):
        run(path, "--lattice", "integrity", "--model", model, "--lam", 0.1, "--out", tmp_path / "out")


def test_lattices_in_files_and_other_results(asked, model, tmp_path):
    lattice = tmp_path / "levels.json"
    lattice.write_text('{"kind": "chain", "levels": ["trusted", "unsure", "untrusted"]}', encoding="utf-8")
    out = tmp_path / "out"
    words = (asked, "--lattice", lattice, "--model", model, "--lam", 0.1, "--max-tokens", 2, "--out", out, "--json")
    assert json.loads(run(*words))["questions"] == 4
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    report["provenance"]["verb"] = "audit"
    (out / "report.json").write_text(json.dumps(report), encoding="utf-8")
    with pytest.raises(InputError, match="holds other results"):
        run(*words)
    lattice.write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="holds no lattice"):
        run(*words[:-2], tmp_path / "new")

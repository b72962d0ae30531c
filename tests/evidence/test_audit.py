"""The audit as a function: every kind of source, missing labels, groups, verdicts, and files that are written once."""

import datetime
import io
import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from PIL import Image
from sklearn.datasets import load_digits

from assay.errors import InputError
from assay.evidence.audit import AuditOptions, audit
from assay.evidence.audit_files import save
from assay.labels.ledger import Ledger
from assay.labels.verdicts import Verdicts

N = 400


@pytest.fixture(scope="module")
def people() -> dict[str, list[object]]:
    """A table with every kind of column, a tenth of its labels wrong, and five labels missing."""
    rng = np.random.default_rng(0)
    size = rng.normal(0, 1, N)
    true = np.where(size > 0, "tall", "short").astype(object)
    given = true.copy()
    wrong = rng.choice(N, N // 10, replace=False)
    given[wrong] = np.where(true[wrong] == "tall", "short", "tall")
    given[rng.choice(np.setdiff1d(np.arange(N), wrong), 5, replace=False)] = None
    return {
        "height": (size * 10 + 170).tolist(),
        "town": rng.choice(["Ulm", "<script>alert(1)</script>", "=SUM(A1)"], N).tolist(),
        "born": [datetime.date(1990, 1, 1) + datetime.timedelta(days=int(day)) for day in rng.integers(0, 9000, N)],
        "member": rng.choice([True, False], N).tolist(),
        "nothing": [None] * N,
        "house": (np.arange(N) // 4).tolist(),
        "class": given.tolist(),
        "true": true.tolist(),
    }


OPTIONS = AuditOptions(label="class", exclude=("true",))


@pytest.fixture(scope="module")
def found(people):
    return audit(pa.table(people), OPTIONS)


def test_it_finds_what_is_wrong(found, people):
    true = np.array(people["true"])
    given = np.array([name or "" for name in people["class"]])
    wrong = (true != given) & (given != "")
    flagged = found.confident.is_issue_
    assert (flagged & wrong).sum() >= 0.8 * wrong.sum()
    assert (flagged & ~wrong).sum() <= 25
    assert found.slices is not None
    assert found.summary().startswith("About ")


def test_rows_without_a_label_are_left_out(found, people):
    missing = [row for row, name in enumerate(people["class"]) if name is None]
    assert not found.confident.is_issue_[missing].any()
    assert np.isnan(found.probability.p_wrong_[missing]).all()
    assert not np.isin(missing, found.review).any()
    assert found.numbers()["labelled"] == N - 5


@pytest.mark.parametrize("library", ["pandas", "polars", "datasets"])
def test_every_frame_gives_the_same_answer(found, people, library):
    if library == "pandas":
        source = pd.DataFrame(people)
    elif library == "polars":
        source = pl.DataFrame(people)
    else:
        kinds = {"height": Value("float64"), "town": Value("string"), "born": Value("date32"), "member": Value("bool")}
        kinds |= {"nothing": Value("null"), "house": Value("int64"), "true": Value("string")}
        kinds |= {"class": ClassLabel(names=["short", "tall"])}
        codes = [None if name is None else ["short", "tall"].index(str(name)) for name in people["class"]]
        source = Dataset.from_dict({**people, "class": codes}, features=Features(kinds))
    again = audit(source, OPTIONS)
    assert np.array_equal(again.ranking(), found.ranking())
    assert again.numbers()["error_rate"] == found.numbers()["error_rate"]


def test_groups_stay_together(people):
    grouped = audit(pa.table(people), AuditOptions(label="class", exclude=("true", "nothing"), groups="house"))
    assert grouped.confident.n_errors_ > 0


def test_embeddings_and_probabilities_of_the_user(people):
    table = pa.table({"class": people["class"], "note": ["a", "b"] * (N // 2)})
    vectors = np.array(people["height"])[:, None] - 170
    by_vectors = audit(table, AuditOptions(label="class"), embeddings=vectors)
    tall = (vectors[:, 0] > 0) * 0.9 + 0.05
    by_probabilities = audit(table, AuditOptions(label="class"), pred_probs=np.stack([1 - tall, tall], axis=1))
    assert len(np.intersect1d(by_vectors.ranking(), by_probabilities.ranking())) >= 30
    with pytest.raises(InputError, match="3 embeddings for 400 rows"):
        audit(table, AuditOptions(label="class"), embeddings=np.zeros((3, 2)))
    with pytest.raises(InputError, match=r"shape \(400, 3\)"):
        audit(table, AuditOptions(label="class"), pred_probs=np.full((N, 3), 1 / 3))


def test_in_sample_probabilities_are_warned_about(people):
    table = pa.table({"class": people["class"], "note": ["a", "b"] * (N // 2)})
    tall = np.array([name == "tall" for name in people["class"]])
    parrot = np.stack([~tall, tall], axis=1) * 0.998 + 0.001
    assert audit(table, AuditOptions(label="class"), pred_probs=parrot).warnings


def test_verdicts_change_the_odds_and_give_an_interval(found, people):
    true, given = np.array(people["true"]), np.array([name or "" for name in people["class"]])
    rows = found.review
    said = np.where(true[rows] == given[rows], "given", "suggested")
    sampled = np.where(np.arange(len(rows)) < found.n_random, "random", "flagged")
    verdicts = Verdicts(rows, said, N, sampled=sampled)
    judged = audit(pa.table(people), OPTIONS, verdicts=verdicts)
    assert judged.rate is not None
    assert judged.rate.low <= (true != given)[given != ""].mean() <= judged.rate.high
    wrong = (true != given) & (given != "")
    before, after = found.probability.p_wrong_, judged.probability.p_wrong_
    labelled = given != ""
    assert np.mean((after - wrong)[labelled] ** 2) < np.mean((before - wrong)[labelled] ** 2)
    assert not np.isin(judged.review, rows).any(), "nobody is asked twice"


def test_what_is_written_is_safe_and_whole(found, tmp_path):
    report = save(found, tmp_path / "people.assay", command="assay audit people")
    page = report.read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert json.loads((tmp_path / "people.assay" / "report.json").read_text(encoding="utf-8"))["numbers"]["rows"] == N
    names = {path.name for path in (tmp_path / "people.assay").iterdir()}
    expected = {"report.html", "report.json", "issues.csv", "review.csv", "labels.csv", "ledger.db", "rows.parquet"}
    assert expected <= names
    assert not {name for name in names if name.startswith(".")}


def test_a_second_run_adds_nothing_to_the_ledger(found, tmp_path):
    for _ in range(2):
        save(found, tmp_path / "people.assay")
    with Ledger.open(tmp_path / "people.assay") as ledger:
        suggested = [event.row for event in ledger.log(kind="suggestion")]
        assert len(suggested) == len(set(suggested))
        assert ledger.verify().problem is None


@pytest.mark.parametrize("form", ["pixels", "bytes", "datasets"])
def test_pictures_in_a_table(form, tmp_path):
    """Pixels in an .npz file, encoded bytes in a column, and the images of Hugging Face datasets are read alike."""
    pixels, y = load_digits(return_X_y=True)
    pictures = (pixels[:300].reshape(-1, 8, 8) * 15).astype(np.uint8)
    y = y[:300].copy()
    y[:20] = (y[:20] + 1) % 10
    if form == "pixels":
        np.savez(tmp_path / "digits.npz", picture=pictures, label=y)
        found = audit(tmp_path / "digits.npz", AuditOptions(label="label"))
    else:
        files = []
        for picture in pictures:
            stream = io.BytesIO()
            Image.fromarray(picture).save(stream, "PNG")
            files.append(stream.getvalue())
        if form == "bytes":
            source = pa.table({"picture": files, "label": y})
        else:
            both = [{"bytes": file, "path": None} for file in files]
            source = Dataset.from_dict({"picture": both, "label": y.tolist()})
        found = audit(source, AuditOptions(label="label", image="picture"))
    assert found.table.media == "image"
    assert found.confident.is_issue_[:20].sum() >= 12
    report = save(found, tmp_path / "out")
    assert "data:image/png;base64" in report.read_text(encoding="utf-8")


def test_progress_is_told(people):
    told: list[tuple[str, float]] = []
    audit(pa.table(people), OPTIONS, progress=lambda step, done: told.append((step, done)))
    steps = list(dict.fromkeys(step for step, _ in told))
    assert steps == ["reading", "computing features", "cross-validating", "finding errors", "looking for structure"]
    assert all(0 <= done <= 1 for _, done in told)

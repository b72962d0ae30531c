"""From rows and wrong labels to a model: what is read, found, chosen, kept and read again."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from assay.audit.confident_learning import ConfidentLearning
from assay.errors import InputError
from assay.evidence.audit_options import AuditOptions
from assay.evidence.audit_predictions import read_features
from assay.evidence.learn_contest import Trial, chosen, compare, fitted
from assay.evidence.learn_doctor import dependence_on_rows, diagnose, unevenness
from assay.evidence.learn_methods import SIMPLEST_FIRST, make, panel, trainables
from assay.evidence.learn_model import Model, load_model, save_model
from assay.evidence.learn_reader import Reader, fit_reader
from assay.evidence.learn_run import LearnOptions, combined, learn
from assay.kernels.noisy_accuracy import corrected, correction, mean_and_error
from assay.labels import Hard, Soft, Space
from assay.labels.tables import read_table
from assay.training.noise import instance_dependent, pair, symmetric
from assay.training.out_of_fold import out_of_fold

X, Y = load_digits(return_X_y=True)
DIGITS = Space(tuple("0123456789"))
QUIET = AuditOptions()
MODEL = Model(methods=("cross_entropy",), reader=Reader("embedding", {"width": 64}), space=DIGITS, label="y")


def hard(codes):
    return Hard(DIGITS, np.asarray(codes, dtype=np.int32))


def quiet(_done):
    return None


# Accuracy from wrong labels


def test_correction_is_the_inverse_by_hand():
    """Labels of class 0 stay right in 8 of 10, of class 1 in 6 of 10: W solves T' W = 1."""
    weights = correction([[0.8, 0.4], [0.2, 0.6]])
    np.testing.assert_allclose(np.array([[0.8, 0.2], [0.4, 0.6]]) @ weights, np.eye(2), atol=1e-12)
    np.testing.assert_array_equal(correction(np.eye(3)), np.eye(3))
    np.testing.assert_array_equal(correction([[0.5, 0.5], [0.5, 0.5]]), np.eye(2))  # nothing can be told


def test_corrected_accuracy_has_no_bias_and_its_error_is_right():
    rng = np.random.default_rng(0)
    k, n = 4, 500
    matrix = 0.5 * np.eye(k) + 0.5 * rng.dirichlet(np.ones(k), k).T
    truth, said = rng.integers(k, size=n), rng.integers(k, size=n)
    said[:350] = truth[:350]
    rising = np.cumsum(matrix, axis=0)[:, truth]
    found = [
        mean_and_error(corrected(said, (rising <= rng.random(n)).sum(axis=0), correction(matrix))) for _ in range(400)
    ]
    means, errors = np.array(found).T
    assert abs(means.mean() - (said == truth).mean()) < 4 * means.std() / np.sqrt(400)
    assert 0.7 < means.std() / errors.mean() < 1.1  # the rows are fixed here, so the spread may be a little smaller


# What is wrong


def test_even_noise_is_called_even_and_pairs_are_not():
    even = np.full((5, 5), 20) + np.eye(5) * 300
    assert unevenness(even)[0] < 0.05
    paired = np.eye(5) * 300 + np.roll(np.eye(5), 1, axis=0) * 80
    distance, chance = unevenness(paired)
    assert distance > 0.6
    assert chance < 0.01
    assert unevenness(np.eye(3)) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("noise", "patterns"),
    [
        (lambda seed: symmetric(Y, 10, 0.4, seed=seed), {"uniform"}),
        (lambda seed: pair(Y, 10, 0.3, seed=seed), {"in pairs"}),
        (lambda seed: instance_dependent(X, Y, 10, 0.4, seed=seed), {"by class", "by row"}),
    ],
    ids=["symmetric", "pair", "by row"],
)
def test_the_doctor_tells_patterns_apart(noise, patterns):
    flipped = noise(0)
    confident = ConfidentLearning().fit(flipped.labels, out_of_fold(X, flipped.labels, 10).pred_probs)
    found = diagnose(confident, X, flipped.labels, np.ones(len(X), dtype=bool), False, 0)
    assert found.pattern in patterns
    assert found.rate == pytest.approx(flipped.wrong.mean(), abs=0.08)
    assert found.proposal in {*SIMPLEST_FIRST, "imbalance"}
    assert len(found.sentences()) >= 2


def test_nothing_is_said_of_few_rows():
    assert np.isnan(dependence_on_rows(X[:30], Y[:30], 10)).all()


# Which method


def test_ties_go_to_the_simpler():
    rows = [("a", 0.90, 0.02, 0.01), ("b", 0.915, 0.005, 0.01), ("c", 0.92, 0.0, 0.0)]
    trials = [Trial(name, mean, 0.02, behind, error, 1.0) for name, mean, behind, error in rows]
    assert chosen(trials, wrong=False) == ("b",)
    assert chosen([replace(trials[0], behind=0.009), *trials[1:]], wrong=False) == ("a",)


def test_the_three_best_are_averaged_where_labels_are_wrong():
    trials = [
        Trial(name, 0.9 - behind, 0.02, behind, 0.01, 1.0) for name, behind in zip("abcd", (3, 0, 2, 1), strict=True)
    ]
    assert chosen(trials, wrong=True) == ("b", "d", "c")
    assert chosen(trials[:2], wrong=True) == ("b", "a")


def test_contest_is_seeded_and_corrects():
    again = [compare(["cross_entropy", "gce"], X[:240], hard(Y[:240]), np.eye(10), False, 3, seed=1) for _ in range(2)]
    assert [trial.accuracy for trial in again[0].trials] == [trial.accuracy for trial in again[1].trials]
    noisy = hard(symmetric(Y[:600], 10, 0.5, seed=0).labels)
    T = np.full((10, 10), 0.5 / 9) + np.eye(10) * (0.5 - 0.5 / 9)
    found = compare(["gce"], X[:600], noisy, correction(T), True, 12, seed=0)
    assert found.accuracy > 0.65  # held-out labels are right in half of the rows
    assert found.trials[0].behind == 0
    assert (found.accuracy, found.error) == (found.trials[0].accuracy, found.trials[0].error)


def test_contest_takes_beliefs_at_their_word():
    p = np.full((400, 10), 0.02)
    p[np.arange(400), Y[:400]] = 0.82
    found = compare(["cross_entropy"], X[:400], Soft(DIGITS, p), np.eye(10), False, 10)
    assert 0.6 < found.accuracy <= 0.82 + 1e-9


def test_contest_needs_two_classes_of_some_rows():
    with pytest.raises(InputError, match="--method"):
        compare(["cross_entropy"], X[:12], hard(np.arange(12) % 10), np.eye(10), False)


# Every method


@pytest.mark.parametrize("name", trainables())
def test_every_method_trains_tells_and_comes_back_to_the_bit(name, tmp_path):
    """One interface: by name, from hard labels with gaps, suspicion per row; as files and back, the same answers."""
    rows = np.arange(300)
    labels = Hard(DIGITS, Y[rows].astype(np.int32), rows % 17 != 0)
    model = fitted(name, X[rows], labels, 2, 0)
    suspect = model.evidence()["suspect"]
    assert suspect.shape == (300,)
    assert np.isfinite(suspect[labels.present]).mean() > 0.85
    assert make(name).get_params().keys() == model.get_params().keys()
    save_model(replace(MODEL, methods=(name,), estimators=(model,)), tmp_path)
    again = load_model(tmp_path)
    np.testing.assert_array_equal(again.predict_proba(X[1000:1100]), model.predict_proba(X[1000:1100]))


def test_the_panel_exists():
    assert panel() == list(SIMPLEST_FIRST)


def test_a_damaged_model_is_one_sentence(tmp_path):
    model = fitted("cross_entropy", X[:100], hard(Y[:100]), 1, 0)
    save_model(replace(MODEL, estimators=(model,)), tmp_path)
    (tmp_path / "model.pt").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(InputError, match="can't be read"):
        load_model(tmp_path)
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(InputError, match="can't be read"):
        load_model(tmp_path)
    with pytest.raises(InputError, match="holds no model"):
        load_model(tmp_path / "elsewhere")


# How rows are read


def people(n=80):
    rng = np.random.default_rng(0)
    return {
        "age": pa.array(rng.integers(18, 90, n).tolist()),
        "income": pa.array([None if at % 9 == 0 else float(at) for at in range(n)]),
        "town": pa.array([None if at % 13 == 0 else ["Ulm", "Bern", "Graz"][at % 3] for at in range(n)]),
        "member": pa.array((rng.random(n) > 0.5).tolist()),
        "since": pa.array([dt.date(2020, 1, 1) + dt.timedelta(days=9 * at) for at in range(n)]),
        "label": pa.array(["yes" if at % 2 else "no" for at in range(n)]),
    }


def test_a_table_is_read_as_by_the_audit_and_again_the_same(tmp_path):
    table = read_table(pa.table(people()), label="label")
    reader, features, rows = fit_reader(table, QUIET, None, quiet)
    np.testing.assert_array_equal(features.matrix, read_features(table, QUIET, None, quiet).matrix)
    assert np.isfinite(rows).all()
    reader.save(tmp_path)
    np.testing.assert_array_equal(Reader.load(tmp_path).read(table), rows)
    # age, income and its gap, three towns and none, member, days, month, weekday
    assert rows.shape == (80, 1 + 2 + 4 + 1 + 3)


def test_new_rows_with_what_was_never_seen():
    table = read_table(pa.table(people()), label="label")
    reader, _, rows = fit_reader(table, QUIET, None, quiet)
    cells = {name: column.to_pylist() for name, column in people().items()}
    cells["town"][0], cells["age"][0] = "Atlantis", 10**9
    new = reader.read(read_table(pa.table(cells), label="label"))
    assert np.isfinite(new).all()
    assert new[0, 0] < 200  # far outside of what was seen counts as its edge
    np.testing.assert_array_equal(new[1:], rows[1:])
    del cells["town"]
    with pytest.raises(InputError, match="town"):
        reader.read(read_table(pa.table(cells), label="label"))
    cells["town"], cells["age"] = ["Ulm"] * 80, ["old"] * 80
    with pytest.raises(InputError, match="held numbers"):
        reader.read(read_table(pa.table(cells), label="label"))


def test_texts_are_read_as_by_the_audit_and_again_the_same(tmp_path):
    words = ["good fun", "bad day", "good day out", "bad, bad film", "so much fun"] * 12
    table = read_table(pa.table({"text": words, "label": ["+", "-", "+", "-", "+"] * 12}), label="label", text="text")
    reader, features, rows = fit_reader(table, QUIET, None, quiet)
    assert (features.matrix != read_features(table, QUIET, None, quiet).matrix).nnz == 0
    reader.save(tmp_path)
    np.testing.assert_allclose(Reader.load(tmp_path).read(table), rows, atol=1e-6)


def test_pictures_are_read_as_by_the_audit_and_again_the_same(tmp_path):
    for at in range(24):
        folder = tmp_path / "in" / "ab"[at % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((X[at].reshape(8, 8) * 15).astype(np.uint8)).resize((32, 32)).save(folder / f"{at}.png")
    table = read_table(tmp_path / "in")
    reader, features, rows = fit_reader(table, QUIET, None, quiet)
    np.testing.assert_array_equal(features.matrix, read_features(table, QUIET, None, quiet).matrix)
    reader.save(tmp_path)
    np.testing.assert_allclose(Reader.load(tmp_path).read(table), rows, atol=1e-5)


def test_embeddings_of_another_width():
    reader = fit_reader(read_table(pa.table(people()), label="label"), QUIET, np.ones((80, 3)), quiet)[0]
    with pytest.raises(InputError, match="3 numbers"):
        reader.read(None, np.ones((5, 4)))
    with pytest.raises(InputError, match="embeddings"):
        reader.read(None)


# The whole


def test_learn_from_a_frame():
    flipped = symmetric(Y[:500], 10, 0.2, seed=0)
    frame = pa.table({"y": [str(code) for code in flipped.labels]})
    options = LearnOptions(candidates=("cross_entropy", "gce"), epochs=15, reading=AuditOptions(label="y"))
    found = learn(frame, options, embeddings=X[:500], test_embeddings=X[500:800])
    assert set(found.model.methods) == {"cross_entropy", "gce"}
    assert [trial.name for trial in found.contest.trials] == ["cross_entropy", "gce"]
    alone = [estimator.predict_proba(X[500:800]) for estimator in found.model.estimators]
    np.testing.assert_allclose(found.test.pred_probs, (alone[0] + alone[1]) / 2)
    assert (found.test.pred_probs.argmax(axis=1) == Y[500:800]).mean() > 0.7
    worst = found.ranking()[: int(flipped.wrong.sum())]
    assert flipped.wrong[worst].mean() > 0.85
    assert np.isfinite(found.suspect).all()  # rows held out have the suspicion of confident learning
    assert np.isnan(found.by_method).sum() == pytest.approx(50, abs=5)
    again = learn(frame, options, embeddings=X[:500], test_embeddings=X[500:800])
    np.testing.assert_array_equal(again.test.pred_probs, found.test.pred_probs)


def test_ranks_are_combined_where_known():
    one, other = np.array([1.0, 2.0, np.nan, np.nan]), np.array([10.0, 0.0, 5.0, np.nan])
    np.testing.assert_allclose(combined(one, other)[:3], [(0.5 + 1) / 2, (1 + 1 / 3) / 2, 2 / 3])
    assert np.isnan(combined(one, other)[3])


def test_unknown_methods_and_lonely_classes():
    frame = pa.table({"x": [1.0, 2.0, 3.5, 4.0], "y": ["a", "a", "b", "a"]})
    with pytest.raises(InputError, match="one row"):
        learn(frame, LearnOptions(reading=AuditOptions(label="y")))
    with pytest.raises(InputError, match="no method"):
        learn(frame, LearnOptions(method="magic", reading=AuditOptions(label="y")))

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, special
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_digits, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from assay.errors import InputError
from assay.training.folds import assign_folds
from assay.training.out_of_fold import out_of_fold

X, Y = load_iris(return_X_y=True)
MODEL = LogisticRegression(max_iter=500)


# By hand


def test_equals_cross_val_predict_on_the_same_folds() -> None:
    found = out_of_fold(X, Y, 3, model=MODEL)
    rival = cross_val_predict(MODEL, X, Y, cv=PredefinedSplit(found.fold), method="predict_proba")
    np.testing.assert_allclose(found.pred_probs, rival, atol=1e-12)
    assert found.accuracy == np.mean(rival.argmax(1) == Y)
    assert found.log_loss == pytest.approx(-np.log(rival[np.arange(150), Y]).mean())
    np.testing.assert_allclose(
        found.fold_accuracy, [np.mean((rival.argmax(1) == Y)[found.fold == j]) for j in range(5)]
    )
    fits = [
        MODEL.fit(X[found.fold != j], Y[found.fold != j]).score(X[found.fold != j], Y[found.fold != j])
        for j in range(5)
    ]
    assert found.in_fold_accuracy == pytest.approx(np.mean(fits))


def test_a_row_alone_in_its_class_is_lent_to_training_and_overwritten() -> None:
    labels = np.where(np.arange(150) == 7, 3, Y)
    found = out_of_fold(X, labels, 4, model=MODEL)
    assert np.flatnonzero(found.patched).tolist() == [7]
    assert found.n_patched == 1
    np.testing.assert_array_equal(found.pred_probs[7], [0, 0, 0, 1])
    for j in range(5):
        train = np.concatenate([np.flatnonzero(found.fold != j), [7] if found.fold[7] == j else []]).astype(int)
        held = np.flatnonzero((found.fold == j) & ~found.patched)
        rival = MODEL.fit(X[train], labels[train]).predict_proba(X[held])
        np.testing.assert_allclose(found.pred_probs[held], rival, atol=1e-10)
    assert found.accuracy == np.mean((found.pred_probs.argmax(1) == labels)[~found.patched])


def test_two_rows_of_a_class_lie_in_different_folds_and_need_no_patch() -> None:
    labels = np.where(np.isin(np.arange(150), [7, 90]), 3, Y)
    found = out_of_fold(X, labels, 4, model=MODEL)
    assert found.n_patched == 0
    assert found.fold[7] != found.fold[90]


def test_a_class_within_one_group_has_its_first_row_patched() -> None:
    labels = np.where(np.isin(np.arange(150), [7, 90, 120]), 3, Y)
    groups = np.where(labels == 3, 1000, np.arange(150))
    found = out_of_fold(X, labels, 4, model=MODEL, groups=groups)
    assert np.flatnonzero(found.patched).tolist() == [7]
    assert len(set(found.fold[[7, 90, 120]])) == 1
    assert found.pred_probs[90, 3] < 1


def test_rows_without_a_label_get_the_mean_of_the_fold_models_and_train_none() -> None:
    mask = np.arange(150) % 3 > 0
    found = out_of_fold(X, np.where(mask, Y, 99), 3, model=MODEL, mask=mask)
    mean = np.zeros((50, 3))
    for j in range(5):
        train = mask & (found.fold != j)
        mean += MODEL.fit(X[train], Y[train]).predict_proba(X[~mask]) / 5
    np.testing.assert_allclose(found.pred_probs[~mask], mean, atol=1e-12)
    assert (found.fold[~mask] == -1).all()
    assert found.accuracy == np.mean((found.pred_probs.argmax(1) == Y)[mask])


def test_a_row_without_a_label_is_judged_by_the_model_that_never_saw_its_group() -> None:
    groups = np.arange(150) // 2
    mask = np.arange(150) % 2 == 0
    found = out_of_fold(X, Y, 3, model=MODEL, mask=mask, groups=groups)
    np.testing.assert_array_equal(found.fold[1::2], found.fold[::2])
    train = mask & (found.fold != found.fold[1])
    np.testing.assert_allclose(found.pred_probs[1], MODEL.fit(X[train], Y[train]).predict_proba(X[1:2])[0], atol=1e-12)


@pytest.mark.parametrize("k", [2, 3])
def test_scores_become_a_softmax_with_the_best_temperature(k: int) -> None:
    rows = k > Y
    found = out_of_fold(X[rows, :2], Y[rows], k, model=LinearSVC(random_state=0))
    scores = cross_val_predict(
        LinearSVC(random_state=0), X[rows, :2], Y[rows], cv=PredefinedSplit(found.fold), method="decision_function"
    )
    scores = np.stack([0 * scores, scores], axis=1) if k == 2 else scores
    assert found.temperature is not None
    np.testing.assert_allclose(found.pred_probs, special.softmax(scores / found.temperature, axis=1), atol=1e-9)

    def loss(t: float) -> float:
        return float(-special.log_softmax(scores / t, axis=1)[np.arange(rows.sum()), Y[rows]].mean())

    assert found.log_loss == pytest.approx(min(loss(t) for t in np.geomspace(0.01, 10, 3000)), abs=1e-5)


# Limits


def test_a_memorising_model_is_no_better_than_chance_on_random_labels() -> None:
    labels = np.random.default_rng(0).integers(0, 2, 600)
    rows = np.random.default_rng(1).normal(size=(600, 3))
    found = out_of_fold(rows, labels, 2, model=KNeighborsClassifier(1))
    assert found.in_fold_accuracy == 1.0
    assert abs(found.accuracy - 0.5) < 0.08


def test_groups_keep_copies_of_a_row_from_giving_its_label_away() -> None:
    rng = np.random.default_rng(0)
    rows, labels = np.repeat(rng.normal(size=(300, 3)), 3, axis=0), np.repeat(rng.integers(0, 2, 300), 3)
    model = KNeighborsClassifier(1)
    assert out_of_fold(rows, labels, 2, model=model).accuracy > 0.95
    assert out_of_fold(rows, labels, 2, model=model, groups=np.repeat(np.arange(300), 3)).accuracy < 0.6


def test_a_class_without_rows_has_a_zero_column() -> None:
    found = out_of_fold(X, 2 * Y, 6, model=MODEL)
    assert found.absent_classes == (1, 3, 5)
    assert (found.pred_probs[:, [1, 3, 5]] == 0).all()
    np.testing.assert_allclose(found.pred_probs[:, ::2], out_of_fold(X, Y, 3, model=MODEL).pred_probs)
    scored = out_of_fold(X, 2 * Y, 6, model=LinearSVC())
    assert (scored.pred_probs[:, [1, 3, 5]] == 0).all()


def test_two_rows_two_classes() -> None:
    found = out_of_fold(np.array([[0.0], [1.0]]), [0, 1], 2, n_splits=2, model=MODEL)
    np.testing.assert_array_equal(found.pred_probs, np.eye(2))
    assert found.n_patched == 2
    assert np.isnan(found.accuracy)


@pytest.mark.parametrize("form", ["sparse", "texts", "float32"])
def test_other_forms_of_rows(form: str) -> None:
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.pipeline import make_pipeline

    if form == "texts":
        texts = [f"a{c} {'odd' if i % 2 else 'even'}" for i, c in enumerate(Y)]
        assert out_of_fold(texts, Y, 3, model=make_pipeline(CountVectorizer(), MODEL)).accuracy == 1.0
        return
    rows = sparse.csr_matrix(X) if form == "sparse" else X.astype(np.float32)
    same = out_of_fold(X, Y, 3, model=MODEL).pred_probs
    np.testing.assert_allclose(out_of_fold(rows, Y, 3, model=MODEL).pred_probs, same, atol=0.01)


def test_defaults_take_embeddings_and_texts() -> None:
    assert out_of_fold(X, Y, 3).accuracy > 0.85
    assert out_of_fold(sparse.csr_matrix(X), Y, 3).accuracy > 0.6


# State


def test_same_seed_same_answer_whatever_the_threads() -> None:
    model = RandomForestClassifier(5)
    one, two = (out_of_fold(X, Y, 3, model=model, random_state=3, n_jobs=jobs) for jobs in (1, 2))
    np.testing.assert_array_equal(one.pred_probs, two.pred_probs)
    other = out_of_fold(X, Y, 3, model=model, random_state=4)
    assert not np.array_equal(one.fold, other.fold)
    assert model.random_state is None
    assert not hasattr(model, "classes_")


def test_with_row_ids_as_groups_permuting_rows_permutes_the_answer() -> None:
    order = np.random.default_rng(0).permutation(150)
    ids = np.array([f"r{i}" for i in range(150)])
    exact = LogisticRegression(max_iter=5000, tol=1e-10)
    one = out_of_fold(X, Y, 3, model=exact, groups=ids)
    two = out_of_fold(X[order], Y[order], 3, model=exact, groups=ids[order])
    np.testing.assert_array_equal(two.fold, one.fold[order])
    np.testing.assert_allclose(two.pred_probs, one.pred_probs[order], atol=1e-5)


def test_progress_counts_the_folds() -> None:
    seen: list[tuple[int, int]] = []
    out_of_fold(X, Y, 3, model=MODEL, n_splits=4, n_jobs=2, on_fold=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=4, max_size=60), st.integers(2, 4), st.integers(0, 5))
def test_folds_hold_each_class_in_equal_shares(labels: list[int], n_splits: int, seed: int) -> None:
    fold = assign_folds(labels, n_splits, random_state=seed)
    sizes = np.bincount(fold, minlength=n_splits)
    assert sizes.max() - sizes.min() <= 1
    for c in set(labels):
        counts = np.bincount(fold[np.array(labels) == c], minlength=n_splits)
        assert counts.max() - counts.min() <= 1


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(2, 4))
def test_groups_are_never_split(data: st.DataObject, n_splits: int) -> None:
    n = data.draw(st.integers(6, 60))
    groups = np.array(data.draw(st.lists(st.integers(0, 8), min_size=n, max_size=n)))
    labels = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    fold = assign_folds(labels, n_splits, groups=groups)
    assert all(len(set(fold[groups == g])) == 1 for g in set(groups))
    used = min(n_splits, len(set(groups)))
    assert len(set(fold)) == used


def test_grouped_folds_stay_stratified() -> None:
    _, labels = load_digits(return_X_y=True)
    fold = assign_folds(labels, groups=np.arange(len(labels)) // 6)
    counts = np.array([np.bincount(labels[fold == j], minlength=10) for j in range(5)])
    assert (counts.max(0) - counts.min(0)).max() <= 8  # of about 36


# Errors


class Shuffled(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that breaks one promise."""

    def __init__(self, fault: str = "order") -> None:
        self.fault = fault

    def fit(self, X: Any, y: Any) -> "Shuffled":
        self.classes_ = np.unique(y)[::-1] if self.fault == "order" else np.unique(y)
        return self

    def predict_proba(self, X: Any) -> Any:
        P = np.full((len(X), len(self.classes_)), 1 / len(self.classes_))
        if self.fault == "sum":
            P *= 2
        if self.fault == "nan":
            P[0] = np.nan
        return P[:, 1:] if self.fault == "shape" else P


@pytest.mark.parametrize(
    ("fault", "message"),
    [("order", r"classes_.*\[2, 1, 0\]"), ("sum", "no distribution"), ("nan", "not finite"), ("shape", "3 classes")],
)
def test_a_model_that_breaks_its_promise(fault: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        out_of_fold(X, Y, 3, model=Shuffled(fault))


BAD: list[tuple[dict[str, Any], str]] = [
    ({"labels": Y[:-1]}, r"\(149,\).*150 rows"),
    ({"labels": Y + 1}, r"code 3 is outside 0..2.*row: 100"),
    ({"labels": np.where(np.arange(150) == 5, -1, Y)}, "code -1.*`mask`.*row: 5"),
    ({"labels": Y.astype(float)}, "float64: give integer codes"),
    ({"labels": np.zeros(150, int)}, "1 of 3 classes"),
    ({"n_classes": 1}, "at least two classes"),
    ({"mask": np.ones(150, int)}, "int64.*booleans"),
    ({"mask": np.zeros(150, bool)}, "0 rows have a label"),
    ({"n_splits": 1}, "between 2 and 150"),
    ({"n_splits": 151}, "between 2 and 150"),
    ({"groups": np.arange(150) // 50}, "3 groups"),
    ({"groups": np.arange(149)}, r"\(149,\)"),
    ({"groups": np.where(np.arange(150) == 9, np.nan, 1.0)}, "group is missing.*row: 9"),
    ({"X": np.where(np.arange(600).reshape(150, 4) == 13, np.nan, X)}, "nan, which LogisticRegression.*row: 3"),
    ({"X": sparse.csr_matrix(np.where(np.arange(600).reshape(150, 4) == 13, np.inf, X))}, "inf.*row: 3"),
    ({"model": LinearRegression()}, "neither predict_proba nor"),
    ({"model": LogisticRegression}, "no estimator"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input_is_named_before_any_fit(change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"X": X, "labels": Y, "n_classes": 3, "model": MODEL, **change}
    with pytest.raises(InputError, match=message):
        out_of_fold(given.pop("X"), given.pop("labels"), given.pop("n_classes"), **given)


def test_missing_numbers_are_left_to_models_that_take_them() -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    holed = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
    assert out_of_fold(holed, Y, 3, model=HistGradientBoostingClassifier(max_iter=20)).accuracy > 0.85


# Claim


@pytest.mark.claim
@pytest.mark.parametrize("seed", range(5))
def test_out_of_fold_finds_flips_that_in_sample_hides(seed: int) -> None:
    pixels, truth = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    flipped = rng.random(len(truth)) < 0.1
    labels = np.where(flipped, (truth + 1) % 10, truth)
    model = RandomForestClassifier(50, random_state=seed)
    held_out = out_of_fold(pixels, labels, 10, model=model, random_state=seed).pred_probs
    row = np.arange(len(labels))
    assert roc_auc_score(flipped, -held_out[row, labels]) > 0.99
    assert (held_out.argmax(1) != labels)[flipped].mean() > 0.95
    in_sample = model.fit(pixels, labels).predict_proba(pixels)
    assert (in_sample.argmax(1) != labels)[flipped].mean() < 0.05

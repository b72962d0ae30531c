"""The classifier keeps scikit-learn's contract, and says what it learned about the labels."""

from functools import partial

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, make_blobs
from sklearn.utils.estimator_checks import parametrize_with_checks

from assay.errors import InputError
from assay.labels import Hard, Soft, Space
from assay.training.deep.backbones import mlp
from assay.training.deep.estimator import NoisyLabelClassifier
from assay.training.deep.objective import Objective
from assay.training.deep.recipe import Recipe
from assay.training.noise import symmetric

QUICK = Recipe(epochs=4, lr=0.1)

# Rows that are repeated come in other batches, and are other rows to what is remembered of each.
STOCHASTIC = {"check_sample_weight_equivalence_on_dense_data": "batches of repeated rows are other batches"}


@parametrize_with_checks([NoisyLabelClassifier(recipe=QUICK)], expected_failed_checks=lambda _: STOCHASTIC)
def test_contract_of_scikit_learn(estimator, check):
    check(estimator)


def test_evidence_has_a_row_for_each_label():
    X, y = load_digits(return_X_y=True)
    X, y = X[:600], np.array(list("abcdefghij"))[y[:600]]
    codes = np.unique(y, return_inverse=True)[1]
    noisy = symmetric(codes, 10, 0.2, seed=0)
    model = NoisyLabelClassifier(recipe=Recipe(epochs=6)).fit(X, np.unique(y)[noisy.labels])
    told = model.evidence()
    assert told["row"].tolist() == list(range(600))
    assert np.array_equal(told["given"], np.unique(y)[noisy.labels])
    held_out = np.isnan(told["suspect"])
    assert 50 <= held_out.sum() <= 70
    assert (told["visits"][~held_out] == 6).all()
    worst = np.argsort(-np.nan_to_num(told["suspect"]))[:60]
    assert noisy.wrong[worst].mean() > 0.8


def test_weightless_rows_are_rows_that_are_not_there():
    X, y = make_blobs(60, centers=3, cluster_std=0.3, random_state=0)
    weights = np.where(np.arange(60) % 4 == 0, 0.0, 1.0)
    spoilt = np.where(weights == 0, (y + 1) % 3, y)
    model = NoisyLabelClassifier(recipe=QUICK, validation=0).fit(X, spoilt, weights)
    assert np.array_equal(np.isnan(model.evidence()["suspect"]), weights == 0)
    assert model.score(X, y) > 0.9


def test_labels_may_be_beliefs_or_have_gaps():
    X, y = make_blobs(90, centers=3, cluster_std=0.3, random_state=0)
    names = np.array(["x", "y", "z"])
    hard = Hard.from_values([None if i % 5 == 0 else names[c] for i, c in enumerate(y)])
    soft = Soft(Space(("x", "y", "z")), np.eye(3)[y] * 0.9 + 0.1 / 3)
    for labels in (hard, soft):
        model = NoisyLabelClassifier(recipe=QUICK).fit(X, labels)
        assert model.classes_.tolist() == ["x", "y", "z"]
        assert model.score(X, names[y]) > 0.9


def test_the_best_epoch_is_in_use_and_scores_what_the_history_says():
    X, y = make_blobs(200, centers=4, cluster_std=3, random_state=1)
    model = NoisyLabelClassifier(recipe=QUICK, validation=0.25).fit(X, y)
    held = np.isnan(model.evidence()["suspect"])
    best = model.history_[model.best_epoch_]["validation_accuracy"]
    assert model.score(X[held], y[held]) == pytest.approx(best)


def test_pictures_take_a_convolutional_network():
    X, y = load_digits(return_X_y=True)
    pictures = X[:300].reshape(-1, 1, 8, 8)
    model = NoisyLabelClassifier(recipe=Recipe(epochs=8), validation=0).fit(pictures, y[:300])
    assert type(model.network_.encoder[0]).__name__ == "Conv2d"
    assert model.score(pictures, y[:300]) > 0.9


def test_arguments_reach_the_network_and_the_objective():
    class Marked(Objective):
        pass

    X, y = make_blobs(40, centers=2, random_state=0)
    model = NoisyLabelClassifier(Marked, partial(mlp, hidden=(7,)), QUICK, validation=0)
    fitted = clone(model).fit(X, y)
    assert isinstance(fitted.objective_, Marked)
    assert fitted.network_.head.in_features == 7
    assert len(fitted.history_) == 4


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda X, y: (np.where(np.arange(60)[:, None] == 7, np.nan, X), y), "NaN.*row: 7"),
        (lambda X, y: (np.where(np.arange(60)[:, None] == 7, np.inf, X), y), "inf.*row: 7"),
        (lambda X, y: (X, np.where(np.arange(60) == 9, 5, np.minimum(y, 1))), "Class 5 has one row.*row: 9"),
        (lambda X, y: (X, np.zeros(60, int)), "one class"),
        (lambda X, y: (X, Hard.from_values(["a", "b"])), "60 rows and 2 labels"),
    ],
)
def test_bad_input_is_one_sentence(spoil, message):
    X, y = make_blobs(60, centers=3, random_state=0)
    with pytest.raises(InputError, match=message):
        NoisyLabelClassifier(recipe=QUICK).fit(*spoil(X, y))


def test_bad_arguments():
    X, y = make_blobs(60, centers=3, random_state=0)
    with pytest.raises(InputError, match=r"validation is 0\.9"):
        NoisyLabelClassifier(validation=0.9).fit(X, y)
    with pytest.raises(InputError, match="batch of one"):
        NoisyLabelClassifier(recipe=Recipe(batch_size=1)).fit(X, y)
    with pytest.raises(InputError, match="one finite number a row"):
        NoisyLabelClassifier(recipe=QUICK).fit(X, y, sample_weight=-np.ones(60))


def test_a_class_of_its_own_may_draw_rows_by_chance():
    class Balanced(NoisyLabelClassifier):
        def make_sampling(self, data):
            return np.where(data.targets.numpy() == 0, 0.0, 1.0)

    X, y = make_blobs(60, centers=3, random_state=0)
    visits = Balanced(recipe=QUICK, validation=0).fit(X, y).evidence()["visits"]
    assert visits[y == 0].sum() == 0
    assert visits.sum() == 4 * 60


def test_a_row_without_a_label_has_none_given():
    X, codes = load_digits(n_class=3, return_X_y=True)
    mask = np.arange(len(codes)) % 7 != 0
    model = NoisyLabelClassifier(recipe=QUICK).fit(X, Hard(Space(("a", "b", "c")), codes.astype(np.int32), mask))
    given = model.evidence()["given"]
    assert all(name is None for name in given[~mask])
    assert given[mask].tolist() == np.array(["a", "b", "c"])[codes[mask]].tolist()

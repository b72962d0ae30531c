"""Prune and retrain: against confident learning and cleanlab, at its limits, and its claim."""

import numpy as np
import pytest
from cleanlab.filter import find_label_issues
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from assay.errors import InputError
from assay.labels import Hard
from assay.learn.prune_and_retrain import PruneAndRetrainClassifier, judged
from assay.training.deep.estimator import NetworkClassifier
from assay.training.deep.protocol import interval
from assay.training.deep.recipe import Recipe
from assay.training.features import default_model
from assay.training.noise import symmetric
from assay.training.out_of_fold import out_of_fold

X, Y = load_digits(return_X_y=True)
QUICK = Recipe(epochs=2)


def blobs(n=120, k=3, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    return np.eye(k)[y] * 6 + rng.standard_normal((n, k)), y


def test_by_hand():
    """Two rows are surely of the other class: they are flagged, and a kept row weighs 1 / P(given right | true)."""
    p = np.array([[0.9, 0.1]] * 4 + [[0.1, 0.9]] * 5)
    given = np.array([0, 0, 0, 1, 1, 1, 1, 1, 0])
    flagged, suspect, suggested, weight = judged(given, p)
    assert np.flatnonzero(flagged).tolist() == [3, 8]
    assert suggested.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert set(np.argsort(-suspect)[:2]) == {3, 8}
    assert weight.tolist() == pytest.approx([4 / 3, 5 / 4])  # of 4 truly 0, 3 are given 0; of 5 truly 1, 4


def test_flags_are_those_of_cleanlab():
    noisy = symmetric(Y[:600], 10, 0.3, seed=1).labels
    told = out_of_fold(X[:600], noisy, 10)
    theirs = find_label_issues(noisy, told.pred_probs, filter_by="prune_by_noise_rate")
    np.testing.assert_array_equal(judged(noisy, told.pred_probs)[0], theirs)


def test_clean_labels_lose_nothing_and_train_as_cross_entropy():
    rows, y = blobs()
    mine = PruneAndRetrainClassifier(recipe=QUICK).fit(rows, y)
    assert not mine.flagged_.any()
    plain = NetworkClassifier(recipe=QUICK).fit(rows, y)
    np.testing.assert_array_equal(mine.predict_proba(rows), plain.predict_proba(rows))


def test_flagged_rows_are_not_trained_on_and_every_row_is_judged():
    rows, y = blobs()
    given = y.copy()
    given[:6] = (y[:6] + 1) % 3
    model = PruneAndRetrainClassifier(recipe=QUICK, validation=0).fit(rows, given)
    told = model.evidence()
    assert 4 <= model.flagged_[:6].sum() == model.flagged_.sum()
    np.testing.assert_array_equal(told["visits"], np.where(model.flagged_, 0, 2))
    assert (told["suggested"] == y)[model.flagged_].all()
    assert not np.isnan(told["suspect"]).any()


@pytest.mark.parametrize("judge", ["network", LogisticRegression(), default_model("table", 100, 3)])
def test_any_judge(judge):
    rows, y = blobs(n=300)
    given = y.copy()
    given[:30] = (y[:30] + 1) % 3
    flagged = PruneAndRetrainClassifier(judge=judge, recipe=Recipe(epochs=8)).fit(rows, given).flagged_
    assert flagged[:30].mean() > 0.6 > 0.1 > flagged[30:].mean()


def test_a_class_is_never_pruned_away():
    """All three rows of a rare class sit in another one: pruning would leave no class to learn."""
    rows, y = blobs(n=90, k=2)
    names = np.where(y == 0, "a", "b").astype(object)
    names[[0, 2, 4]] = "rare"
    model = PruneAndRetrainClassifier(recipe=QUICK).fit(rows, names.astype(str))
    assert model.predict_proba(rows).shape == (90, 3)
    assert (names[~model.flagged_] == "rare").sum() >= 2


def test_missing_labels_and_bad_weights():
    rows, y = blobs()
    cells = [None if at % 10 == 0 else f"c{code}" for at, code in enumerate(y)]
    told = PruneAndRetrainClassifier(recipe=QUICK).fit(rows, Hard.from_values(cells)).evidence()
    assert np.isnan(told["suspect"][::10]).all()
    with pytest.raises(InputError, match="sample_weight"):
        PruneAndRetrainClassifier(recipe=QUICK).fit(rows, y, sample_weight=-np.ones(len(y)))


@pytest.mark.claim
def test_claim_last_epoch_on_digits():
    gains = []
    for seed in range(5):
        rng = np.random.default_rng(seed).permutation(len(Y))
        train, test = rng[:1200], rng[1200:]
        noisy = symmetric(Y[train], 10, 0.4, seed=seed).labels
        mine, plain = (
            kind(recipe=Recipe(epochs=60), validation=0, random_state=seed).fit(X[train], noisy).score(X[test], Y[test])
            for kind in (PruneAndRetrainClassifier, NetworkClassifier)
        )
        gains.append(mine - plain)
    assert interval(gains)["low"] >= 0.1

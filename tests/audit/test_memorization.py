"""Memorization against brute force, exact oracles of nearest neighbours and ridge, and scikit-learn's own heads."""

from itertools import combinations

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

from assay.audit.memorization import INFLUENTIAL, MEMORISED, Memorization, leave_one_out, nearest_neighbour
from assay.errors import InputError
from assay.kernels.subset_counts import LEAST, contrast, influence, pack, shared_counts, sizes
from assay.kernels.subset_heads import logistic_heads, nearest_without, ridge_heads

PIXELS, TRUTH = load_digits(return_X_y=True)


class Nearest(BaseEstimator):
    """The nearest neighbour, faster than scikit-learn's on so few rows."""

    def fit(self, X, y):
        self.X_, self.y_ = X, y
        return self

    def predict(self, X):
        return self.y_[((X[:, None] - self.X_[None]) ** 2).sum(axis=2).argmin(axis=1)]


def flipped(n, seed, share=0.05):
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(TRUTH))[:n]
    labels, wrong = TRUTH[rows].copy(), np.arange(n) < round(share * n)
    labels[wrong] = (labels[wrong] + rng.integers(1, 10, wrong.sum())) % 10
    return PIXELS[rows] / 16, labels, wrong


# By hand


@pytest.mark.parametrize("n_models", [1, 63, 64, 65, 200])
def test_words_count_as_a_matrix_product_does(n_models):
    rng = np.random.default_rng(n_models)
    first, second = rng.random((n_models, 7)) < 0.5, rng.random((n_models, 1100)) < 0.7
    found = shared_counts(pack(first), pack(second))
    assert (found == first.T.astype(int) @ second.astype(int)).all()
    assert (sizes(pack(second)) == second.sum(axis=0)).all()


def test_estimates_are_those_of_the_reference_code():
    """mem and infl as heldout-influence-estimation writes them, on random bits; rows seldom in or out are NaN."""
    rng = np.random.default_rng(0)
    t, n, q = 150, 40, 9
    M, C, E = rng.random((t, n)) < 0.7, rng.random((t, n)) < 0.6, rng.random((t, q)) < 0.5
    M[:, 0], M[:, 1] = True, np.arange(t) < LEAST - 1
    m, c, e = M.astype(float), C.astype(float), E.astype(float)
    mem = (c * m).sum(0) / m.sum(0) - (c * (1 - m)).sum(0) / np.maximum((1 - m).sum(0), 1e-8)
    infl = e.T @ m / m.sum(0) - e.T @ (1 - m) / np.maximum((1 - m).sum(0), 1e-8)
    told = contrast(pack(C), pack(M), t)
    assert np.isnan(told["value"][:2]).all()
    assert told["value"][2:] == pytest.approx(mem[2:])
    found = influence(pack(E), pack(M), t)
    assert np.isnan(found[:, :2]).all()
    assert found[:, 2:] == pytest.approx(infl[:, 2:])
    card = np.sqrt(
        (p1 := told["correct_in"]) * (1 - p1) / m.sum(0) + (p0 := told["correct_out"]) * (1 - p0) / (1 - m).sum(0)
    )
    assert told["se"][2:] == pytest.approx(card[2:], rel=0.05)


def test_ridge_heads_equal_scikit_learn():
    X, y, _ = flipped(150, 0)
    members = np.random.default_rng(0).random((3, 150)) < 0.7
    for W, inside in zip(ridge_heads(X, y, 10, members, 2.0), members, strict=True):
        rival = Ridge(alpha=2.0, fit_intercept=False).fit(X[inside], np.eye(10)[y[inside]])
        assert pytest.approx(rival.coef_.T, abs=1e-8) == W


@pytest.mark.parametrize("alpha", [0.1, 10.0])
def test_logistic_heads_equal_scikit_learn(alpha):
    X, y, _ = flipped(150, 0)
    members = np.random.default_rng(0).random((2, 150)) < 0.7
    found = logistic_heads(X, y, 10, members, alpha, max_iter=3000, tol=1e-8)
    for W, inside in zip(found, members, strict=True):
        rival = LogisticRegression(C=1 / alpha, fit_intercept=False, tol=1e-10, max_iter=5000).fit(X[inside], y[inside])
        assert pytest.approx(rival.coef_.T, abs=1e-4) == W


def test_ridge_without_a_row_equals_retraining():
    X, y = load_breast_cancer(return_X_y=True)
    X, y = X[:120], y[:120]
    told = leave_one_out(X, y, alpha=3.0)
    Z = np.column_stack([(X - X.mean(0)) / X.std(0), np.ones(len(X))])
    everyone = np.ones((1, len(y)), dtype=bool)
    within = (Z @ ridge_heads(Z, y, 2, everyone, 3.0)[0]).argmax(1) == y
    without = ridge_heads(Z, y, 2, ~np.eye(len(y), dtype=bool), 3.0)  # n retrainings
    scores = np.einsum("nd,ndk->nk", Z, without)
    margin = scores[np.arange(len(y)), 1 - y] - scores[np.arange(len(y)), y]
    assert told["margin"] == pytest.approx(margin, abs=1e-8)
    assert (told["memorization"] == within.astype(int) - (margin <= 0)).all()


def test_nearest_neighbour_by_every_subset():
    rng = np.random.default_rng(1)
    X, y = rng.random((8, 2)), rng.integers(0, 2, 8)
    found = nearest_neighbour(X, y, share=5 / 8)
    for i in range(8):
        others = [r for r in range(8) if r != i]
        right = [y[min(s, key=lambda r: ((X[r] - X[i]) ** 2).sum())] == y[i] for s in combinations(others, 5)]
        assert found[i] == pytest.approx(1 - np.mean(right))


def test_mean_memorization_is_the_gap_between_held_out_and_training_error():
    X, y, _ = flipped(400, 0)
    alone = KNeighborsClassifier(1).fit(X, y).kneighbors(return_distance=False)[:, 0]
    assert nearest_neighbour(X, y, share=399 / 400).mean() == pytest.approx(np.mean(y[alone] != y))
    told = leave_one_out(X, y)
    held_out = np.mean(told["margin"] > 0)
    Z = np.column_stack([(X - X.mean(0)) / np.where(X.std(0) > 0, X.std(0), 1), np.ones(400)])
    training = np.mean((Z @ ridge_heads(Z, y, 10, np.ones((1, 400), bool), 1.0)[0]).argmax(1) != y)
    assert told["memorization"].mean() == pytest.approx(held_out - training)


def test_estimator_meets_the_exact_value():
    """Nearest neighbours: error as predicted from the standard errors, and intervals that hold the exact value."""
    X, y, _ = flipped(120, 3, share=0.2)
    found = Memorization(Nearest(), n_models=320).fit(X, y)
    exact = nearest_neighbour(X, y)
    miss = found.memorization_ - exact
    assert np.sqrt(np.mean(miss**2)) <= 1.2 * np.sqrt(np.mean(found.se_**2))
    assert np.mean((found.low_ <= exact) & (exact <= found.high_)) >= 0.92
    assert (found.correct_in_ == 1).all()
    assert np.nanmax(found.se_) <= 0.5 / np.sqrt(0.7 * 0.3 * 320) + 0.01


# What it is for


def test_rare_rows_help_and_wrong_rows_do_not():
    """Two clusters, a far kind of class "no" that one training row shows, and a flipped row."""
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(0, 0.3, (30, 2)), rng.normal(3, 0.3, (30, 2)), [[10.0, -4.0]]])
    y = np.repeat([0, 1, 0], [30, 30, 1])
    y[5] = 1
    names, rare = np.array(["no", "yes", "never seen"]), 60
    asked = np.concatenate([X[:60] + 0.01, [[10.1, -4.1], [9.9, -3.8]]]), names[np.repeat([0, 1, 0], [30, 30, 2])]
    told = Memorization(Nearest(), n_models=256).fit(X, names[y], test=asked)
    evidence = told.evidence()
    assert evidence["memorised"][[5, rare]].all()
    assert evidence["helps"][[5, rare]].tolist() == [0, 2]
    assert evidence["suspect"].argsort()[-2:].tolist() in ([5, rare], [rare, 5])
    pairs = set(zip(told.pairs_["train_row"].tolist(), told.pairs_["test_row"].tolist(), strict=True))
    assert {(rare, 60), (rare, 61)} <= pairs
    dense = influence(told.tested_, told.inside_, 256)
    assert len(pairs) == np.sum((dense >= INFLUENTIAL) & (told.memorization_ >= MEMORISED))
    assert (np.diff(told.pairs_["influence"]) <= 0).all()
    assert told.pairs_["influence"][0] == dense.max()
    unseen = Memorization(Nearest(), n_models=64, share=0.5).fit(X, names[y], test=(X[:1], names[[2]]))
    assert sizes(unseen.tested_).tolist() == [0]  # nobody is right about a class without training rows


def test_copies_hide_memorization_unless_they_are_dropped_together():
    X, y, wrong = flipped(60, 1, share=0.1)
    twice = np.concatenate([X, X]), np.concatenate([y, y])
    hidden = Memorization(Nearest(), n_models=128).fit(*twice).memorization_[:60][wrong]
    mended = Memorization(Nearest(), n_models=128).fit(*twice, groups=np.tile(np.arange(60), 2))
    assert hidden.mean() < 0.5
    assert mended.memorization_[:60][wrong].min() > 0.7
    assert mended.memorization_[:60] == pytest.approx(mended.memorization_[60:])


@pytest.mark.parametrize("model", ["ridge", "logistic"])
def test_stiff_heads_memorise_nothing_and_still_suspect(model):
    X, y, wrong = flipped(500, 0)
    evidence = Memorization(model, alpha=10.0, n_models=128).fit(X, y).evidence()
    assert abs(evidence["memorization"][wrong].mean()) < 0.2
    assert roc_auc_score(wrong, evidence["suspect"]) > 0.95


# Limits


def test_certain_labels_are_not_memorised():
    X, y = np.repeat(np.eye(3), 30, axis=0), np.repeat(["a", "b", "c"], 30)
    told = Memorization(n_models=128).fit(X, y)
    assert (told.memorization_ == 0).all()
    assert not told.memorised_.any()
    assert len(told.pairs_["influence"]) == 0
    assert nearest_neighbour(X, y, n_neighbors=20) == pytest.approx(np.zeros(90), abs=1e-9)


def test_neighbours_beyond_the_list_share_its_odds():
    X, y, _ = flipped(200, 0)
    near = KNeighborsClassifier(199).fit(X, y).kneighbors(return_distance=False)
    assert nearest_without(near[:, :24], y, 140) == pytest.approx(nearest_without(near, y, 140), abs=1e-9)


# State and permutation


def test_equal_seeds_give_equal_answers_and_seeds_are_apart_from_subsets():
    X, y, _ = flipped(80, 0)
    trees = ExtraTreesClassifier(3)
    said = [Memorization(clone(trees), n_models=60, share=0.5, random_state=seed).fit(X, y) for seed in (0, 0, 1)]
    assert np.array_equal(said[0].right_, said[1].right_)
    assert not np.array_equal(said[0].inside_, said[2].inside_)
    other = Memorization("ridge", n_models=60, share=0.5, random_state=0).fit(X, y)
    assert np.array_equal(said[0].inside_, other.inside_)  # a learner's own luck does not move the subsets


def test_order_of_rows_does_not_matter_where_the_value_is_exact():
    X, y, _ = flipped(150, 0)
    X = X + np.random.default_rng(1).normal(0, 1e-3, X.shape)  # of rows equally near, the first would count
    order = np.random.default_rng(0).permutation(150)
    assert leave_one_out(X[order], y[order])["margin"] == pytest.approx(leave_one_out(X, y)["margin"][order])
    assert nearest_neighbour(X[order], y[order]) == pytest.approx(nearest_neighbour(X, y)[order])


def test_any_network_of_the_floor_is_a_classifier():
    pytest.importorskip("torch")
    from functools import partial

    from assay.training.deep.backbones import mlp
    from assay.training.deep.estimator import NetworkClassifier
    from assay.training.deep.recipe import Recipe

    X, y, wrong = flipped(80, 0, share=0.1)
    network = NetworkClassifier(partial(mlp, hidden=(64,)), Recipe(epochs=8, batch_size=20, lr=0.1), validation=0)
    seen = []
    told = Memorization(network, n_models=66, share=0.5).fit(X, y, on_models=lambda done, of: seen.append((done, of)))
    assert seen == [(64, 66), (66, 66)]
    memorization = np.nan_to_num(told.memorization_)
    assert memorization[wrong].mean() > memorization[~wrong].mean() + 0.3


@pytest.mark.parametrize(
    ("arguments", "fitted", "says"),
    [
        ({"model": "tree"}, ([[0.0]], [0]), "ridge or logistic"),
        ({"share": 1.0}, ([[0.0]], [0]), "share within 0..1"),
        ({"n_models": 90}, ([[0.0]], [0]), "100 for 0.7"),
        ({}, ([[0.0], [np.nan]], [0, 1]), "first offending row: 1"),
        ({}, ([[0.0], [1.0]], [0]), "one class a row"),
    ],
)
def test_bad_input_teaches(arguments, fitted, says):
    with pytest.raises(InputError, match=says):
        Memorization(**arguments).fit(*fitted)


# Claim


@pytest.mark.claim
def test_memorization_tells_flipped_digits():
    """1000 digits, 5 % flipped, nearest neighbour: AUROC 0.99 in the mean of 5 seeds, intervals that hold, RMSE."""
    aucs, held, flips, clean = [], [], [], []
    for seed in range(5):
        X, y, wrong = flipped(1000, seed)
        found = Memorization(KNeighborsClassifier(1, algorithm="brute"), n_models=320, random_state=seed).fit(X, y)
        exact = nearest_neighbour(X, y)
        aucs.append(roc_auc_score(wrong, found.memorization_))
        held.append(np.mean((found.low_ <= exact) & (exact <= found.high_)))
        flips.append(found.memorization_[wrong].mean())
        clean.append(found.memorization_[~wrong].mean())
    spread = np.std(aucs, ddof=1) / np.sqrt(5)
    assert np.mean(aucs) - 2.78 * spread >= 0.99
    assert np.mean(held) >= 0.94
    assert np.mean(flips) > 0.9
    assert np.mean(clean) < 0.15

"""Self-training on long tails: by hand, the paper's theorems against simulation, limits, state, and the claim."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import norm
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import estimator_checks_generator

from assay.errors import InputError
from assay.labels import Hard, Soft, Space
from assay.learn.imbalance import ImbalanceClassifier, filled, relevance
from assay.training.deep.backbones import mlp
from assay.training.deep.batches import Data
from assay.training.deep.class_counts import long_tail
from assay.training.deep.protocol import interval
from assay.training.deep.recipe import Recipe

X, Y = load_digits(return_X_y=True)
QUICK = Recipe(epochs=6, lr=0.1)
DIGITS = Space(tuple("0123456789"))


def deal(seed, ratio=30.0, unlabelled_ratio=1.0):
    """Rows with labels (60 of the first class, 60 / ratio of the last), rows without, test rows, the four rarest."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(10)  # which class is the rare one is drawn
    known, unknown, test = [], [], []
    sizes, others = long_tail(60, 10, ratio), long_tail(100, 10, unlabelled_ratio)
    for c, size, other in zip(order, sizes, others, strict=True):
        rows = rng.permutation(np.flatnonzero(c == Y))
        test.append(rows[:40])
        known.append(rows[40 : 40 + size])
        unknown.append(rows[40 + size :][:other])
    return (*(np.concatenate(rows) for rows in (known, unknown, test)), order[6:])


def labels_of(known, unknown):
    """Labels of the known rows, followed by none for the others."""
    labelled = np.arange(len(known) + len(unknown)) < len(known)
    return Hard(DIGITS, np.where(labelled, Y[np.concatenate([known, unknown])], 0), labelled)


def test_pseudo_labels_by_hand():
    logits = torch.tensor([[0.0, 9.0], [2.0, 0.0], [0.0, 0.1], [5.0, 0.0]])
    labelled = torch.tensor([True, False, False, False])
    data = Data(torch.zeros(4, 1), torch.tensor([0, 1, 1, 1]), 2, None, labelled)
    found = filled(data, logits, omega=0.5)
    assert found.targets.tolist() == [0, 0, 1, 0]  # the label stays, whatever the network says
    assert found.labelled is None
    torch.testing.assert_close(found.weights, torch.tensor([1, 0.5, 0.5, 0.5]) / 0.625)
    top = expit(2.0)  # of row 1; row 2 is less sure
    assert filled(data, logits, threshold=float(top) - 1e-6).labelled.tolist() == [True, True, False, True]
    soft = Data(torch.zeros(4, 1), torch.tensor([[0.3, 0.7]] * 4), 2, [2.0, 0, 0, 0], labelled)
    told = filled(soft, logits)
    torch.testing.assert_close(told.targets, torch.tensor([[0.3, 0.7], [1, 0], [0, 1], [1, 0]]))
    torch.testing.assert_close(told.weights, torch.ones(4))
    everything = Data(torch.zeros(4, 1), torch.tensor([0, 1, 1, 1]), 2)
    assert filled(everything, logits) is everything


@pytest.mark.parametrize(("p", "q"), [(0.8, 0.8), (0.95, 0.6), (0.99, 0.3)])
def test_label_bias_moves_the_boundary_and_unlabelled_imbalance_only_spreads_it(p, q):
    """Theorem 1: pseudo-labels right with p and q put the middle of the class means off by (p - q)(mu1 - mu2) / 2."""
    mu, spread = {}, {}
    for plus, minus in ((1000, 1000), (1900, 100)):
        middles = []
        for seed in range(200):
            rng = np.random.default_rng(seed)
            taken = [np.arange(plus) < round(p * plus), np.arange(minus) < round(q * minus)]
            values = np.concatenate([rng.normal(1, 1, plus), rng.normal(-1, 1, minus)])
            # The theorem counts n+ rows taken for the first class, a share p of which is of it, and so the other way.
            right = np.concatenate(taken)
            first = np.arange(plus + minus) < plus
            values = np.where(right, values, np.where(first, -1.0, 1.0) + rng.normal(0, 1, plus + minus))
            logits = torch.from_numpy(np.stack([first, ~first], 1)).double()
            none = torch.zeros(plus + minus, dtype=torch.bool)
            none[0] = True
            data = filled(Data(torch.from_numpy(values), torch.zeros(plus + minus).long(), 2, None, none), logits)
            middles.append(float(sum(data.inputs[data.targets == c].mean() for c in (0, 1)) / 2))
        mu[plus], spread[plus] = np.mean(middles), np.std(middles)
        assert abs(mu[plus] - (p - q)) < 4 * spread[plus] / np.sqrt(200) + 1e-3
        harmonic = plus * minus / (plus + minus)
        delta = 3 * spread[plus]
        bound = 2 * np.exp(-2 * delta**2 / 9 * harmonic)
        bound += sum(2 * np.exp(-8 * n * delta**2 / (9 * 4)) for n in (plus, minus))
        off = np.mean(np.abs(np.array(middles) - (p - q)) > delta)
        assert off <= min(1, bound) + 0.02
    assert spread[1900] == pytest.approx(spread[1000] * np.sqrt(500 / 95), rel=0.25)


def test_no_line_tells_spheres_apart_and_their_size_does():
    """Theorems 2 and 3: a linear network errs on at least a quarter; on the size of the row it hardly errs."""
    d, beta, rng = 50, 4.0, np.random.default_rng(0)

    def draw(plus, minus):
        x = np.concatenate([rng.normal(0, 1, (plus, d)), rng.normal(0, np.sqrt(beta), (minus, d))])
        return x, np.repeat([1, -1], [plus, minus])

    x, y = draw(20, 2000)
    x_test, y_test = draw(3000, 3000)
    linear = partial(mlp, hidden=())
    model = ImbalanceClassifier("cross_entropy", "weights", backbone=linear, recipe=Recipe(epochs=3, lr=0.1)).fit(x, y)
    assert 1 - model.score(x_test, y_test) >= 0.25
    weight, bias = (p.detach().numpy()[1] - p.detach().numpy()[0] for p in model.network_.head.parameters())
    theta = weight / model.scale_[0]
    offset = bias - theta @ model.mean_[0]
    size = np.linalg.norm(theta)
    formula = (norm.cdf(-offset / size) + norm.cdf(offset / (size * np.sqrt(beta)))) / 2
    assert 1 - model.score(x_test, y_test) == pytest.approx(formula, abs=0.03)

    z, z_test = (x**2).sum(1), (x_test**2).sum(1)
    middle = (z[y == 1].mean() + z[y == -1].mean()) / 2
    error = np.mean(np.where(z_test < middle, 1, -1) != y_test)
    delta = (beta - 3) / (beta + 1)
    reach = beta - 1 - (1 + beta) * delta
    assert error <= (np.exp(-d * reach / 16) + np.exp(-d * reach**2 / (32 * beta**2))) / 2
    assert error < 0.02
    on_size = ImbalanceClassifier("cross_entropy", "weights", backbone=linear, recipe=Recipe(epochs=60, lr=0.1))
    assert on_size.fit(z[:, None], y).score(z_test[:, None], y_test) > 0.98


def test_without_unlabelled_rows_it_is_the_supervised_network():
    known, unknown, test, _ = deal(0)
    alone = [
        ImbalanceClassifier("focal", recipe=QUICK, self_training=flag).fit(X[known], Y[known]).predict_proba(X[test])
        for flag in (True, False)
    ]
    np.testing.assert_array_equal(*alone)
    rows = np.concatenate([known, unknown])
    masked = ImbalanceClassifier("focal", recipe=QUICK, self_training=False).fit(X[rows], labels_of(known, unknown))
    np.testing.assert_allclose(masked.predict_proba(X[test]), alone[0], atol=1e-6)
    strict = ImbalanceClassifier("focal", recipe=QUICK, threshold=1.0).fit(X[rows], labels_of(known, unknown))
    assert strict.pseudo_counts_.sum() == 0
    np.testing.assert_allclose(strict.predict_proba(X[test]), alone[0], atol=1e-5)


def test_two_passes_by_hand():
    """The estimator is: fit on the labelled rows, label the others by it, fit anew on all with these as labels."""
    known, unknown, test, _ = deal(1)
    rows = np.concatenate([known, unknown])
    model = ImbalanceClassifier(recipe=QUICK).fit(X[rows], labels_of(known, unknown))
    first = ImbalanceClassifier(recipe=QUICK).fit(X[known], Y[known])
    guess = first.predict(X[unknown])
    second = ImbalanceClassifier(recipe=QUICK).fit(X[rows], np.concatenate([Y[known], guess]))
    np.testing.assert_array_equal(model.evidence()["suggested"][len(known) :], guess.astype(str))
    np.testing.assert_allclose(model.predict_proba(X[test]), second.predict_proba(X[test]), atol=1e-5)
    np.testing.assert_array_equal(model.class_counts_, second.class_counts_)
    np.testing.assert_array_equal(model.pseudo_counts_, np.bincount(guess, minlength=10))


def test_evidence_and_pseudo_labels_do_not_depend_on_chance():
    known, unknown, _, _ = deal(2)
    rows = np.concatenate([known, unknown])
    dropping = partial(mlp, dropout=0.3)
    models = [
        ImbalanceClassifier(recipe=QUICK, backbone=dropping, rebalance=how, loss="focal").fit(
            X[rows], labels_of(known, unknown)
        )
        for how in ("head", "head", "sampling")
    ]
    told = [model.evidence() for model in models]
    for name, column in told[0].items():
        np.testing.assert_array_equal(column, told[1][name])
    np.testing.assert_array_equal(models[0].predict_proba(X), models[1].predict_proba(X))
    assert np.isnan(told[0]["suspect"][len(known) :]).all()
    assert np.isfinite(told[0]["suspect"][: len(known)]).all()
    assert (told[2]["confidence"] >= 0.1).all()


def test_what_validates_is_labelled_and_unseen_by_both():
    known, unknown, _, _ = deal(3, ratio=4.0)
    rows = np.concatenate([known, unknown])
    model = ImbalanceClassifier(recipe=QUICK, validation=0.2, random_state=None)
    model.fit(X[rows], labels_of(known, unknown))
    held = model.evidence()["visits"] == 0
    assert 0.1 < held[: len(known)].mean() < 0.3
    assert not held[len(known) :].any()
    assert model.class_counts_.sum() == (~held).sum()


def test_soft_labels():
    known, unknown, test, _ = deal(4)
    rows = np.concatenate([known, unknown])
    hard = labels_of(known, unknown)
    soft = Soft(DIGITS, np.eye(10)[hard.y], hard.mask)
    ours, theirs = (ImbalanceClassifier(recipe=QUICK).fit(X[rows], labels) for labels in (soft, hard))
    np.testing.assert_allclose(ours.predict_proba(X[test]), theirs.predict_proba(X[test]), atol=1e-4)


def test_rows_of_another_kind_are_noticed():
    known, unknown, _, _ = deal(0)
    other = np.random.default_rng(0).permuted(X[unknown], axis=1)  # the same ink elsewhere
    assert relevance(X[known], X[unknown]) > 0.9
    assert relevance(X[known], other) < 0.3
    mixed = np.concatenate([X[known], X[unknown][:100], other[:400]])
    labels = labels_of(known, unknown[:500])
    with pytest.warns(UserWarning, match="look like the labelled ones"):
        found = ImbalanceClassifier(recipe=Recipe(epochs=1)).fit(mixed, labels).relevance_
    assert found < 0.5
    assert relevance(X[:1], X[:5]) == 1


@pytest.mark.parametrize(
    "arguments", [{"loss": "focal", "rebalance": "head"}, {"rebalance": "sampling", "pretext": "masking"}]
)
def test_contract_of_scikit_learn(arguments):
    quick = ImbalanceClassifier(recipe=Recipe(epochs=4, lr=0.1), **arguments)
    kept = {"check_estimators_pickle", "check_fit_idempotent", "check_estimators_nan_inf", "check_classifiers_classes"}
    kept |= {"check_dont_overwrite_attributes", "check_dict_unchanged"}
    for model, check in estimator_checks_generator(quick):
        if getattr(check, "func", check).__name__ in kept:
            check(model)


def test_bad_arguments():
    for arguments in ({"rebalance": "more"}, {"rebalance": "head"}, {"threshold": 2}, {"omega": 0}):
        with pytest.raises(InputError, match="expected"):
            ImbalanceClassifier(**arguments).fit(X[:20], Y[:20])
    with pytest.raises(InputError, match="square"):
        ImbalanceClassifier(pretext="rotation").fit(X[:20], Y[:20])


@pytest.mark.claim
def test_claim():
    """Ten seeds: balanced rows without labels help the rare classes, and the interval of the gain is above zero."""
    gains = []
    for seed in range(10):
        known, unknown, test, tail = deal(seed)
        rows = np.concatenate([known, unknown])
        recalled = []
        for self_training in (False, True):
            model = ImbalanceClassifier(self_training=self_training, random_state=seed)
            right = model.fit(X[rows], labels_of(known, unknown)).predict(X[test]) == Y[test].astype(str)
            recalled.append(np.mean([right[Y[test] == c].mean() for c in tail]))
        gains.append(float(recalled[1] - recalled[0]))
    assert interval(gains)["low"] > 0

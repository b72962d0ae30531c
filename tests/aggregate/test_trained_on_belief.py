"""Models trained on beliefs: the trainers against peers and limits, and what was claimed of them on digits."""

import numpy as np
import pytest
from scipy import special
from sklearn.linear_model import LogisticRegression

from assay.kernels.calibration import cross_entropy
from bench.aggregate import trained_on_belief as bench

pytestmark = pytest.mark.claim


def soft_rows(n=120, d=4, k=3, seed=0):
    """Rows, and targets that are a softmax of them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    return x, special.softmax(x @ rng.normal(size=(d, k)), axis=1)


# By hand


def test_softmax_regression_equals_weighted_copies():
    x, t = soft_rows()
    n, k = t.shape
    w = bench._softmax_regression(x, t, 0.01, np.zeros((x.shape[1] + 1) * k))
    peer = LogisticRegression(C=1 / (0.01 * n), tol=1e-8, max_iter=2_000)
    peer.fit(np.repeat(x, k, axis=0), np.tile(np.arange(k), n), sample_weight=t.ravel())
    assert np.allclose(bench._linear(w, x, k), peer.predict_proba(x), atol=5e-3)


def test_draw_of_few_votes_keeps_that_many_of_each_task():
    votes = bench.digits(0).votes
    kept = bench.few(votes, 2, np.random.default_rng(0))
    assert (kept.counts().sum(axis=1) == 2).all()
    assert (kept.counts() <= votes.counts()).all()


# Limits


def test_network_reaches_the_entropy_of_soft_targets():
    x, t = soft_rows(n=600)
    dev = np.arange(600) % 5 == 0
    p = bench.network(x, t, dev, 0)(x[dev])
    assert cross_entropy(p, t[dev]) < cross_entropy(t[dev], t[dev]) + 0.03


def test_calibrated_loss_forgets_the_temperature():
    _, p = soft_rows(n=2_000)
    rng = np.random.default_rng(1)
    truth = np.eye(3)[[rng.choice(3, p=row) for row in p]]
    sharp = special.softmax(2 * np.log(p), axis=1)
    found = [bench.calibrated_loss(q, truth, np.random.default_rng(2)) for q in (p, sharp)]
    assert found[0] == pytest.approx(found[1], abs=1e-4)
    assert found[0] == pytest.approx(cross_entropy(p, truth), abs=0.05)
    assert cross_entropy(sharp, truth) > found[1] + 0.05


# Claim


def test_claim_linear_model_on_digits():
    runs = [bench.trained(bench.digits(seed), seed, ("linear",)) for seed in range(5)]
    for test in ("alike", "shifted: noise"):
        cell = [[run["linear", test, arm, "log loss"] for run in runs] for arm in ("belief", "majority")]
        _, interval = bench.mean_interval(np.subtract(*cell))
        assert interval[1] < 0, test

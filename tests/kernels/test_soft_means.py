"""Means of beliefs: loops, direct minimisation, numeric gradients."""

import numpy as np
import pytest
from scipy import optimize

from assay.errors import InputError
from assay.kernels.soft_means import js_centroid, js_divergence, match_temperatures, mean, temper


def opinions(m=4, n=6, k=3, seed=0, sharp=0.6):
    return np.random.default_rng(seed).dirichlet(np.full(k, sharp), size=(m, n))


def divergence(p, q):
    total = 0.0
    for a, b in zip(p, q, strict=True):
        middle = (a + b) / 2
        total += (a * np.log(a / middle) if a > 0 else 0) / 2 + (b * np.log(b / middle) if b > 0 else 0) / 2
    return total


# By hand


def test_mean_and_divergence_by_loops():
    p, w = opinions(), np.array([1.0, 2.0, 0.0, 3.0])
    expected = np.zeros((6, 3))
    for i in range(6):
        for j in range(4):
            expected[i] += w[j] / 6 * p[j, i]
    assert np.allclose(mean(p, w), expected)
    assert np.allclose(js_divergence(p[0], p[1]), [divergence(a, b) for a, b in zip(p[0], p[1], strict=True)])
    assert js_divergence([[1.0, 0.0]], [[0.0, 1.0]])[0] == pytest.approx(np.log(2))


def test_centroid_is_what_direct_minimisation_finds():
    p, w = opinions(m=5, n=8, k=4, seed=1), np.array([0.1, 0.4, 0.2, 0.2, 0.1])
    found = js_centroid(p, w)
    for i in range(8):

        def loss(at, i=i):
            q = np.exp(at - at.max()) / np.exp(at - at.max()).sum()
            return sum(weight * divergence(q, one) for weight, one in zip(w, p[:, i], strict=True))

        best = optimize.minimize(loss, np.log(mean(p, w)[i] + 1e-9), method="BFGS", options={"gtol": 1e-10})
        direct = np.exp(best.x - best.x.max()) / np.exp(best.x - best.x.max()).sum()
        assert np.abs(found[i] - direct).max() < 1e-5
        assert loss(np.log(found[i] + 1e-300)) <= best.fun + 1e-12


def test_temper_by_hand():
    assert np.allclose(temper([[0.8, 0.2]], 2.0), [[np.sqrt(0.8), np.sqrt(0.2)]] / (np.sqrt(0.8) + np.sqrt(0.2)))
    assert np.allclose(temper([[1.0, 0.0]], 1e6), 0.5, atol=1e-4)
    assert np.allclose(temper([[0.6, 0.4]], 0.01), [[1.0, 0.0]])


# Limits


def test_equal_opinions_stay():
    one = opinions(m=1)
    same = np.repeat(one, 3, axis=0)
    assert np.allclose(js_centroid(same), one[0], atol=1e-9)
    assert np.allclose(mean(same), one[0])
    assert np.allclose(temper(one[0], 1.0), one[0], atol=0)


def test_a_class_nobody_believes_in_stays_out():
    p = np.array([[[0.9, 0.1, 0.0]], [[0.3, 0.7, 0.0]]])
    found = js_centroid(p)
    assert found[0, 2] == 0
    assert found.sum() == pytest.approx(1)


def test_matching_makes_one_belief_of_one_belief_at_many_temperatures():
    p = opinions(m=1, n=200, k=3, sharp=1.0)[0]
    seen = np.stack([temper(p, 1 / 3), p, temper(p, 2.0)])
    t = match_temperatures(seen, ridge=1e-6)
    warmed = [temper(one, at) for one, at in zip(seen, t, strict=True)]
    assert js_divergence(warmed[0], warmed[1]).mean() < 1e-3
    assert js_divergence(warmed[1], warmed[2]).mean() < 1e-3
    assert t[0] > t[1] > t[2]


def test_matching_climbs_down_its_own_loss():
    p = opinions(m=3, n=40, k=3, sharp=0.4, seed=5)

    def loss(t):
        q = [temper(one, at) for one, at in zip(p, t, strict=True)]
        pairs = [js_divergence(q[i], q[j]).mean() for i in range(3) for j in range(i)]
        return np.mean(pairs) + 1e-3 * (t @ t)

    t = match_temperatures(p)
    at = loss(t)
    for step in np.eye(3) * 0.02:
        assert at <= loss(t + step) + 1e-8
        assert at <= loss(t - step) + 1e-8


# State


def test_rows_and_opinions_may_come_in_any_order():
    p = opinions(m=4, n=30)
    rows, members = np.random.default_rng(0).permutation(30), [2, 0, 3, 1]
    assert np.allclose(js_centroid(p[:, rows]), js_centroid(p)[rows])
    assert np.allclose(js_centroid(p[members]), js_centroid(p))
    assert np.allclose(match_temperatures(p[members]), match_temperatures(p)[members], atol=1e-3)


@pytest.mark.parametrize(
    ("beliefs", "weights", "words"),
    [
        (np.ones((2, 3)), None, "shape"),
        (np.full((1, 2, 2), 0.6), None, "sum to 1"),
        (np.full((2, 2, 2), 0.5), [1.0], "Weights"),
        (np.full((2, 2, 2), 0.5), [0.0, 0.0], "Weights"),
        (np.full((2, 2, 2), 0.5), [-1.0, 2.0], "Weights"),
    ],
)
def test_bad_input_is_named(beliefs, weights, words):
    with pytest.raises(InputError, match=words):
        mean(beliefs, weights)


def test_temperature_must_be_positive():
    with pytest.raises(InputError, match="above 0"):
        temper([[0.5, 0.5]], 0.0)

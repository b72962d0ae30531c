"""Bradley-Terry: by hand, beside crowd-kit, in its limits, and right in spite of careless workers."""

import csv

import numpy as np
import pandas as pd
import pytest
from crowdkit.aggregation import BradleyTerry as CrowdKit
from scipy.optimize import minimize
from scipy.stats import kendalltau

from assay.aggregate.bradley_terry import BradleyTerry
from assay.errors import InputError
from assay.kernels.pairwise import Judgements, pairwise_step
from assay.labels.preferences import Preferences


def simulate(seed=0, m=20, p=1500, w=15, careless=5):
    """True scores, preferences, workers; the careless name the first item nine times of ten, whatever it is."""
    rng = np.random.default_rng(seed)
    score = rng.normal(0, 1.5, m)
    a = rng.integers(0, m, p)
    b = (a + rng.integers(1, m, p)) % m
    worker = rng.integers(0, w, p)
    looked = rng.random(p) < 1 / (1 + np.exp(score[a] - score[b]))
    winner = np.where(worker < careless, rng.random(p) > 0.9, looked).astype(int)
    return score, Preferences(m, a, b, winner), worker


# By hand


def test_step_is_a_plain_loop():
    rng = np.random.default_rng(0)
    m, w, p = 5, 3, 30
    first = rng.integers(0, m, p)
    judged = Judgements(first, (first + 1) % m, rng.random(p) < 0.5, rng.integers(0, w, p), rng.uniform(0.5, 1, p))
    strength, skill, lean = rng.uniform(0.5, 2, m), rng.uniform(0.2, 0.9, w), rng.uniform(0.2, 0.8, w)
    sums = pairwise_step(judged, strength, skill, lean)
    wins, rate, looked, total = np.zeros(m), np.zeros(m), np.zeros(w), 0.0
    for a, b, won, j, weight in zip(
        judged.first, judged.second, judged.first_wins, judged.worker, judged.weight, strict=True
    ):
        seen = skill[j] * strength[a if won else b] / (strength[a] + strength[b])
        chance = seen + (1 - skill[j]) * (lean[j] if won else 1 - lean[j])
        total += weight * np.log(chance)
        wins[a if won else b] += weight * seen / chance
        rate[[a, b]] += weight * seen / chance / (strength[a] + strength[b])
        looked[j] += weight * seen / chance
    assert sums.total == pytest.approx(total)
    np.testing.assert_allclose(sums.wins, wins)
    np.testing.assert_allclose(sums.rate, rate)
    np.testing.assert_allclose(sums.looked, looked)
    np.testing.assert_allclose(sums.looked + sums.blind, np.bincount(judged.worker, judged.weight))


def test_two_items_have_the_log_odds():
    model = BradleyTerry(prior=0).fit(Preferences(2, [0] * 4, [1] * 4, [0, 0, 0, 1]))
    assert model.scores_[0] - model.scores_[1] == pytest.approx(np.log(3), abs=1e-3)
    np.testing.assert_allclose(model.predict_proba([0], [1]), [[0.75, 0.25]], atol=1e-4)
    assert model.sd_[0] == pytest.approx(np.sqrt(1 / (4 * 3 / 16)) / 2, rel=1e-3)


def test_equal_to_crowd_kit_after_its_two_steps():
    _, pairs, _ = simulate(p=3000)
    frame = pd.DataFrame({"left": pairs.a, "right": pairs.b, "label": np.where(pairs.winner == 0, pairs.a, pairs.b)})
    theirs = CrowdKit(n_iter=100).fit_predict(frame)
    ours = BradleyTerry(prior=0, max_iter=2).fit(pairs)
    np.testing.assert_allclose(ours.strength_, theirs.to_numpy(), atol=1e-12)


def test_maximum_is_the_maximum():
    _, pairs, _ = simulate(m=6, p=300)
    won, lost = np.where(pairs.winner == 0, pairs.a, pairs.b), np.where(pairs.winner == 0, pairs.b, pairs.a)

    def loss(score):
        return np.logaddexp(0, score[lost] - score[won]).sum() + 1e-9 * score @ score

    best = minimize(loss, np.zeros(6), tol=1e-12).x
    np.testing.assert_allclose(BradleyTerry(prior=0, tol=1e-13).fit(pairs).scores_, best - best.mean(), atol=1e-3)


# Limits


def test_ties_alone_leave_items_equal():
    model = BradleyTerry().fit(Preferences(3, [0, 1], [1, 2], [2, 2]), ["u", "v"])
    np.testing.assert_allclose(model.scores_, 0, atol=1e-6)


def test_never_beaten_stays_finite():
    model = BradleyTerry().fit(Preferences(3, [0, 0, 0], [1, 1, 1], [0, 0, 0]))
    assert np.isfinite(model.scores_).all()
    assert model.ranking_.tolist() == [0, 2, 1]


def test_careless_workers_are_found():
    score, pairs, worker = simulate(p=4000)
    model = BradleyTerry().fit(pairs, worker)
    table = model.workers()
    skill = dict(zip(table["worker"].tolist(), table["skill"].tolist(), strict=True))
    assert max(skill[j] for j in range(5)) < 0.3 < 0.75 < min(skill[j] for j in range(5, 15))
    assert np.mean([table["lean"][i] for i, j in enumerate(table["worker"]) if j < 5]) == pytest.approx(0.9, abs=0.05)
    assert kendalltau(model.scores_, score)[0] > 0.93


def test_intervals_hold_the_truth():
    inside = []
    for seed in range(20):
        score, pairs, _ = simulate(seed, p=3000, careless=0)
        model = BradleyTerry().fit(pairs)
        inside.append(np.abs(model.scores_ - (score - score.mean())) < 1.96 * model.sd_)
    assert 0.9 < np.mean(inside) < 0.99


# State and permutation


def test_objective_never_falls():
    _, pairs, worker = simulate()
    assert np.diff(BradleyTerry(tol=0, max_iter=200).fit(pairs, worker).log_likelihood_).min() > -1e-8


def test_order_and_sides_do_not_matter():
    _, pairs, worker = simulate()
    order = np.random.default_rng(0).permutation(pairs.n_rows)
    one, other = BradleyTerry().fit(pairs, worker), BradleyTerry().fit(pairs.take(order), worker[order])
    np.testing.assert_allclose(one.scores_, other.scores_, atol=1e-9)
    turned = BradleyTerry().fit(Preferences(20, pairs.b, pairs.a, 1 - pairs.winner), worker)
    np.testing.assert_allclose(one.scores_, turned.scores_, atol=1e-9)
    np.testing.assert_allclose(one.lean_, 1 - turned.lean_, atol=1e-9)


def test_tables_have_one_length():
    _, pairs, worker = simulate()
    model = BradleyTerry().fit(pairs, worker)
    assert {len(c) for c in model.workers().values()} == {15}
    assert {len(c) for c in model.evidence().values()} == {20}
    assert {len(c) for c in BradleyTerry().fit(pairs).workers().values()} == {0}
    assert model.predict([int(model.ranking_[0])], [int(model.ranking_[-1])]).tolist() == [0]


def test_odd_inputs():
    with pytest.raises(InputError, match="no judged pairs"):
        BradleyTerry().fit(Preferences(2, [], [], []))
    with pytest.raises(InputError, match="1 entries for 2"):
        BradleyTerry().fit(Preferences(2, [0, 1], [1, 0], [0, 0]), ["u"])
    with pytest.raises(InputError, match="negative"):
        BradleyTerry(prior=-1).fit(Preferences(2, [0], [1], [0]))


# Claim


@pytest.mark.claim
def test_order_is_nearer_the_true_one_than_without_workers():
    gain = []
    for seed in range(20):
        score, pairs, worker = simulate(seed, p=1000, careless=7)
        with_workers, without = BradleyTerry().fit(pairs, worker), BradleyTerry().fit(pairs)
        gain.append(kendalltau(with_workers.scores_, score)[0] - kendalltau(without.scores_, score)[0])
    assert np.mean(gain) > 0.03
    assert np.mean(np.array(gain) > 0) > 0.8


@pytest.mark.claim
def test_pairs_of_real_ratings_rank_like_the_experts(shared_data):
    with shared_data("snow2008/sadness.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    items = {row["item"]: i for i, row in enumerate({row["item"]: row for row in rows}.values())}
    gold = np.array([float({row["item"]: row for row in rows}[item]["gold"]) for item in items])
    a, b, winner, worker = [], [], [], []
    for one in rows:
        for other in rows:
            if one["worker"] == other["worker"] and items[one["item"]] < items[other["item"]]:
                x, y = float(one["response"]), float(other["response"])
                a.append(items[one["item"]])
                b.append(items[other["item"]])
                winner.append(0 if x > y else 1 if y > x else 2)
                worker.append(one["worker"])
    model = BradleyTerry().fit(Preferences(len(items), a, b, winner), worker)
    assert kendalltau(model.scores_, gold)[0] > 0.5

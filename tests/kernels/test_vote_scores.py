"""Calibration without truth: held-out votes, what workers say, temperatures, weights, selection."""

from itertools import product

import numpy as np
import pytest
from scipy import optimize

from assay.errors import InputError
from assay.kernels.calibration import cross_entropy
from assay.kernels.soft_means import temper
from assay.kernels.vote_scores import (
    LEAN,
    TEMPERATURES,
    Answers,
    Cast,
    best_temperature,
    chances,
    evenness,
    held_out,
    stack,
    tempered_chances,
)


def crowd(n=200, w=15, k=3, per_task=4, seed=0, copies=1):
    """Votes; with `copies` each vote is cast that many times by different workers, so that votes err together."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    task, worker, label = [], [], []
    for i in range(n):
        for j in rng.choice(w, per_task, replace=False):
            said = truth[i] if rng.random() < 0.75 else rng.integers(0, k)
            for copy in range(copies):
                task.append(i), worker.append(j + copy * w), label.append(said)
    return Cast(np.array(task), np.array(worker), np.array(label)), truth


def posterior(votes: Cast, n, k, accuracy=0.75 + 0.25 / 3):
    logs = np.zeros((n, k))
    np.add.at(logs, (votes.task, votes.label), np.log(accuracy / ((1 - accuracy) / (k - 1))))
    p = np.exp(logs - logs.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


# By hand


def test_chances_by_a_plain_loop():
    votes, _ = crowd(n=30, w=6)
    rng = np.random.default_rng(1)
    weight = rng.integers(1, 4, len(votes.task)).astype(float)
    votes = Cast(votes.task, votes.worker, votes.label, weight)
    belief = rng.dirichlet(np.ones(3), 30)
    held = Cast(np.array([0, 3, 7]), np.array([2, 6, 0]), np.array([1, 0, 2]))  # worker 6 cast no vote
    said, everyone = np.zeros((7, 3, 3)), np.full((3, 3), 0.1)
    for i, j, label, v in zip(votes.task, votes.worker, votes.label, weight, strict=True):
        said[j, label] += v * belief[i]
        everyone[label] += v * belief[i]
    expected = []
    for i, j, label in zip(held.task, held.worker, held.label, strict=True):
        p = 0.0
        for c in range(3):
            given = said[j, label, c] + LEAN * everyone[label, c] / everyone[:, c].sum()
            p += belief[i, c] * given / (said[j, :, c].sum() + LEAN)
        expected.append(p)
    assert np.allclose(chances(votes, held, belief, 7), expected)
    rows = Answers(votes, belief, 7).distribution(held, belief)
    assert np.allclose(rows.sum(axis=1), 1)
    assert np.allclose(rows[np.arange(3), held.label], expected)


def test_evenness_by_enumeration():
    # Every ordered way in which 4 votes fall on 3 classes, as often as one bag makes it: alpha 0, ratio 1.
    share = np.array([0.5, 0.3, 0.2])
    agree, weight, n = [], [], 4
    for way in product(range(3), repeat=n):
        c = np.bincount(way, minlength=3)
        agree.append((c @ c - n) / (n * (n - 1)))
        weight.append(np.prod(share[list(way)]))
    agree, weight = np.array(agree), np.array(weight)
    variance = weight @ (agree - weight @ agree) ** 2
    counts = np.random.default_rng(0).multinomial(n, share, size=200_000)
    alpha, ratio = evenness(counts)
    assert weight @ agree == pytest.approx((share**2).sum())
    seen = (counts**2).sum(axis=1) / (n * (n - 1)) - 1 / (n - 1)
    assert ratio == pytest.approx(seen.var() / variance, rel=0.02)
    assert alpha == pytest.approx(0, abs=0.01)


def test_stacking_is_the_best_mixture():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 1, (400, 3)) * [1.0, 0.8, 0.5]
    found = stack(p, prior=0.0, steps=5000)

    def loss(at):
        w = np.exp(at) / np.exp(at).sum()
        return -np.log(p @ w).sum()

    best = optimize.minimize(loss, np.zeros(3))
    assert loss(np.log(found + 1e-300)) <= best.fun + 1e-4


# Limits


def test_independent_votes_ask_for_no_temperature_and_copies_do():
    for copies, low, high in ((1, 1.0, 1.25), (4, 2.5, 6.0)):
        votes, _ = crowd(n=3000, per_task=4, copies=copies, seed=2)
        held = np.zeros(len(votes.task), dtype=bool)
        held[:: 4 * copies] = True  # the first vote of each task, and its copies, are not seen
        own = np.concatenate([np.arange(s, s + copies) for s in range(0, len(held), 4 * copies)])
        seen = np.ones(len(held), dtype=bool)
        seen[own] = False
        belief = posterior(votes.take(seen), 3000, 3)
        best = best_temperature(tempered_chances(votes.take(seen), votes.take(held), belief, 15 * copies))
        assert low <= TEMPERATURES[best] <= high


def test_a_belief_made_too_sure_is_found_out():
    votes, _ = crowd(n=3000, seed=3)
    held = held_out(votes, 3000)
    belief = posterior(votes.take(~held), 3000, 3)
    honest = tempered_chances(votes.take(~held), votes.take(held), belief, 15)
    sure = tempered_chances(votes.take(~held), votes.take(held), temper(belief, 1 / 4), 15)
    assert np.log(honest[0]).mean() > np.log(sure[0]).mean()
    assert TEMPERATURES[best_temperature(sure)] in (3.0, 4.0, 5.0)


def test_few_votes_choose_nobody():
    assert np.allclose(stack(np.zeros((0, 4))), 0.25)
    assert np.allclose(stack(np.array([[0.9, 0.1]]), prior=1000), 0.5, atol=0.01)
    assert best_temperature(np.zeros((len(TEMPERATURES), 0))) == 0
    with pytest.raises(InputError, match="positive"):
        stack(np.zeros((3, 2)))


def test_tasks_chosen_by_agreement_are_noticed():
    chosen = np.array([[3, 2, 0], [0, 3, 2], [3, 1, 1], [1, 3, 1], [2, 0, 3]] * 50)
    assert evenness(chosen)[1] < 0.2
    assert all(np.isnan(evenness(np.array([[2, 0], [1, 1]]))))
    assert all(np.isnan(evenness(np.array([[3, 0], [4, 0]]))))


# State


def test_held_out_is_one_vote_a_task_in_any_order_and_fair():
    votes, _ = crowd(n=100)
    single = Cast(*(np.append(column, extra) for column, extra in zip(votes[:3], (100, 0, 0), strict=True)))
    held = held_out(single, 102)
    assert np.bincount(single.task[held], minlength=102).tolist() == [1] * 100 + [0, 0]
    rows = np.random.default_rng(0).permutation(len(single.task))
    mixed = Cast(*(column[rows] for column in single[:3]))
    assert np.array_equal(held_out(mixed, 102), held[rows])
    counts = np.zeros(4)
    for seed in range(400):
        counts += held_out(Cast(np.zeros(4, int), np.zeros(4, int), np.array([0, 0, 0, 1])), 1, seed)
    assert counts[3] == pytest.approx(100, abs=35)  # a vote, not a class, is drawn


def test_cross_entropy_by_a_loop():
    p, q = np.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]]), np.array([[1.0, 0.0, 0.0], [0.1, 0.1, 0.8]])
    rows = [-sum(b * np.log(max(a, 1e-12)) for a, b in zip(x, y, strict=True)) for x, y in zip(p, q, strict=True)]
    assert cross_entropy(p, q) == pytest.approx(np.mean(rows))
    assert cross_entropy(p, q, [1, 3]) == pytest.approx((rows[0] + 3 * rows[1]) / 4)
    with pytest.raises(InputError, match="one shape"):
        cross_entropy(p, q[:, :2])
    with pytest.raises(InputError, match=r"Shares .*row: 1"):
        cross_entropy(p, [[1, 0, 0], [2, -1, 0]])

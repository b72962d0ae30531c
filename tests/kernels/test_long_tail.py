"""The price of not fitting the tail: the card's table, simulations, and what privacy forbids."""

import numpy as np
import pytest
from scipy.optimize import linprog

from assay.errors import InputError
from assay.kernels.long_tail import good_turing, private_accuracy, private_memorization, tail_cost, tau, zipf

# By hand


@pytest.mark.parametrize(
    ("prior", "n_tau", "singletons", "price"),
    [(zipf(50_000), 0.467, 0.167, 0.078), (zipf(10_000), 1.09, 0.056, 0.061), (np.ones(50_000), 1.0, 0.368, 0.368)],
)
def test_table_of_the_paper(prior, n_tau, singletons, price):
    n = 50_000
    value, share = tau(prior, n, 1)
    assert n * value == pytest.approx(n_tau, rel=0.02)
    assert share * len(prior) / n == pytest.approx(singletons, rel=0.02)
    assert value * share * len(prior) == pytest.approx(price, rel=0.02)


@pytest.mark.parametrize("seen", [0, 1, 3])
def test_tau_by_loop(seen):
    p, n = np.array([5.0, 2.0, 1.0]), 8
    rng = np.random.default_rng(3)
    drawn = rng.choice(p, (4, 3))
    above = below = 0.0
    for row in drawn:
        for value in row:
            a = value / row.sum()
            above += a ** (seen + 1) * (1 - a) ** (n - seen)
            below += a**seen * (1 - a) ** (n - seen)
    assert tau(p, n, seen, draws=4, random_state=3)[0] == pytest.approx(above / below)


def test_price_of_singletons_in_a_simulation():
    """A learner that refuses to fit singletons errs by tau_1 errn(1) more; Good-Turing sees it in the counts alone."""
    n = k_points = 2000
    value, _ = tau(zipf(k_points), n, 1, draws=200)
    excess, predicted, from_counts = [], [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        D = rng.choice(zipf(k_points), k_points)
        D /= D.sum()
        counts = rng.multinomial(n, D)
        wrong = rng.random(k_points) < 0.9  # a guess among ten classes
        once = (counts == 1) & wrong
        excess.append(D[once].sum())
        predicted.append(value * once.sum())
        _, number, by_counts = good_turing(counts[counts > 0])
        from_counts.append(0.9 * number[0] * by_counts[0])
    assert np.mean(predicted) == pytest.approx(np.mean(excess), rel=0.03)
    assert np.mean(from_counts) == pytest.approx(np.mean(excess), rel=0.03)


def test_good_turing_by_hand():
    seen, number, value = good_turing([1, 1, 1, 2, 2, 5])
    assert seen.tolist() == [1, 2, 5]
    assert number.tolist() == [3, 2, 1]
    assert value.tolist() == pytest.approx([2 / 12 * 2 / 3, 0, 0])


@pytest.mark.parametrize(("epsilon", "delta"), [(0.5, 0.0), (1.0, 0.01), (3.0, 0.1)])
def test_privacy_bounds_are_the_best_possible(epsilon, delta):
    """Maximise p - q, and p at q = 1 / k, over every pair of chances that the definition of privacy allows."""
    e = np.exp(epsilon)
    rules = [[1, -e], [e, -1], [-e, 1], [-1, e]]  # p <= e q + d, 1-q <= e(1-p) + d, and both with p and q exchanged
    limits = [delta, e - 1 + delta, delta, e - 1 + delta]
    best = linprog([-1, 1], A_ub=rules, b_ub=limits, bounds=[(0, 1)] * 2)
    assert private_memorization(epsilon, delta) == pytest.approx(-best.fun)
    assert private_memorization(epsilon, delta) <= 1 - np.exp(-epsilon) * (1 - delta)
    best = linprog([-1, 0], A_ub=rules, b_ub=limits, A_eq=[[0, 1]], b_eq=[0.1], bounds=[(0, 1)] * 2)
    assert float(private_accuracy(epsilon, delta, 10)) == pytest.approx(-best.fun)


def test_tail_cost_by_loop():
    rng = np.random.default_rng(0)
    group, before, after = rng.integers(0, 3, 200), rng.random(200) < 0.9, rng.random(200) < 0.7
    cost = tail_cost(group, before, after)
    for at, name in enumerate(cost["group"]):
        here = group == name
        assert cost["rows"][at] == here.sum()
        assert cost["drop"][at] == pytest.approx(before[here].mean() - after[here].mean())
        assert cost["drop"][at] == pytest.approx(cost["before"][at] - cost["after"][at])
        assert cost["drop_low"][at] < cost["drop"][at] < cost["drop_high"][at]


# Limits


def test_nothing_is_memorised_without_a_budget_and_all_with_a_large_one():
    assert private_memorization(0.0) == 0
    assert private_accuracy(0.0, 0.0, 10, [1, 5]).tolist() == pytest.approx([0.1, 0.1])
    assert private_memorization(20.0) == pytest.approx(1)
    assert float(private_accuracy(20.0, 0.0, 10)) == pytest.approx(1)


def test_few_common_points_need_no_memory():
    value, share = tau(np.ones(500), 50_000, 1)
    assert value == pytest.approx(1 / 500)
    assert share < 1e-30


def test_a_point_that_is_certain_does_not_overflow():
    assert tau([1.0], 10, 0)[0] == pytest.approx(1.0)


def test_intervals_of_the_drop_hold_it():
    rng, held = np.random.default_rng(0), []
    for _ in range(400):
        before = rng.random(60) < 0.95
        after = before & (rng.random(60) < 0.9)
        cost = tail_cost(np.zeros(60), before, after)
        held.append(cost["drop_low"][0] <= 0.095 <= cost["drop_high"][0])
    assert np.mean(held) >= 0.93


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: tau([1.0, -1.0], 10, 1), "none negative"),
        (lambda: tau([1.0], 10, 10), "seen < n"),
        (lambda: tail_cost([0, 1], [True], [True]), "one a row"),
    ],
)
def test_bad_input_teaches(call, says):
    with pytest.raises(InputError, match=says):
        call()

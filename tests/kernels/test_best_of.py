"""The best of n: the table of the paper's card, simulation, and all subsets by brute force."""

import math
from itertools import combinations

import numpy as np
import pytest

from assay.errors import InputError
from assay.kernels.best_of import (
    best_of_curve,
    break_even,
    expected_maximum,
    gain_bound,
    normal_break_even,
    within_deviation,
)


@pytest.mark.parametrize(
    ("n", "exact", "bound"), [(1, 0, 0), (2, 0.564, 0.564), (4, 1.029, 0.798), (8, 1.424, 0.977), (64, 2.34, 1.38)]
)
def test_table(n: int, exact: float, bound: float):
    assert expected_maximum(n) == pytest.approx(exact, abs=5e-3)
    assert gain_bound(n) == pytest.approx(bound, abs=5e-3)


def test_at_two_the_bound_is_exact():
    assert expected_maximum(2) == pytest.approx(1 / math.sqrt(math.pi), abs=1e-12)
    assert gain_bound(2) == pytest.approx(expected_maximum(2), abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 33, 64])
def test_bound_and_simulation(n: int):
    drawn = np.random.default_rng(n).standard_normal((40_000, n)).max(axis=1)
    error = drawn.std() / 200
    assert expected_maximum(n) == pytest.approx(drawn.mean(), abs=4 * error)
    assert gain_bound(n) <= drawn.mean() + 4 * error


def test_break_even():
    sigma = 0.3
    for n in (2, 3, 8):
        drop = gain_bound(n) * sigma
        assert break_even(drop * 0.999, sigma) == n
        assert break_even(drop * 1.001, sigma) == n + 1
        assert normal_break_even(expected_maximum(n) * sigma * 0.999, sigma) == n
        assert normal_break_even(expected_maximum(n) * sigma * 1.001, sigma) == n + 1
    assert break_even(-1.0, 0.0) == normal_break_even(0.0, 0.0) == 1
    assert break_even(0.1, 0.0) == normal_break_even(0.1, 0.0) == math.inf
    assert break_even(1e6, 1.0) == math.inf


def test_curve_equals_all_subsets():
    rewards = np.random.default_rng(0).integers(0, 4, (5, 6)).astype(float)  # with ties
    for n in range(1, 7):
        expected = [np.mean([max(chosen) for chosen in combinations(row, n)]) for row in rewards.tolist()]
        np.testing.assert_allclose(best_of_curve(rewards, n), expected)
    np.testing.assert_allclose(best_of_curve(rewards, 1), rewards.mean(axis=1))
    np.testing.assert_allclose(best_of_curve(rewards, 6), rewards.max(axis=1))


def test_deviation_is_within_prompts():
    assert within_deviation([[0.0, 2.0], [100.0, 102.0]]) == pytest.approx(math.sqrt(2))


def test_what_cannot_be_counted():
    with pytest.raises(InputError, match="best of 3 cannot be counted from 2"):
        best_of_curve([[0.0, 1.0]], 3)
    with pytest.raises(InputError, match="needs two answers"):
        within_deviation([[1.0], [2.0]])
    with pytest.raises(InputError, match="at least one"):
        expected_maximum(0)

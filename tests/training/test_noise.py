"""Labels made wrong: how many, which, and into what."""

import numpy as np
import pytest
from scipy import stats

from assay.errors import InputError
from assay.training.noise import by_matrix, instance_dependent, pair, symmetric

TRUTH = np.repeat(np.arange(4), 2500)


def test_symmetric_noise_is_even_over_the_other_classes():
    found = symmetric(TRUTH, 4, 0.3, seed=1)
    assert np.array_equal(found.wrong, found.labels != TRUTH)
    assert stats.binomtest(int(found.wrong.sum()), len(TRUTH), 0.3).pvalue > 0.001
    moved = (found.labels - TRUTH)[found.wrong] % 4
    assert stats.chisquare(np.bincount(moved, minlength=4)[1:]).pvalue > 0.001


def test_redrawing_leaves_a_part_right():
    found = symmetric(TRUTH, 4, 0.4, redraw=True, exact=True)
    assert found.rate == 0.3  # 0.4 * (1 - 1/4)


@pytest.mark.parametrize("rate", [0.0, 0.17, 0.5, 1.0])
def test_exact_rates_are_exact_in_each_class(rate):
    for found in (symmetric(TRUTH, 4, rate, exact=True), pair(TRUTH, 4, rate, exact=True)):
        assert [int(found.wrong[c == TRUTH].sum()) for c in range(4)] == [round(2500 * rate)] * 4


def test_pairs_go_where_they_are_told():
    found = pair(TRUTH, 4, 0.5, pairs={0: 2, 3: 1}, exact=True)
    assert set(zip(TRUTH[found.wrong].tolist(), found.labels[found.wrong].tolist(), strict=True)) == {(0, 2), (3, 1)}
    assert found.wrong.sum() == 2500
    following = pair(TRUTH, 4, 1.0)
    assert np.array_equal(following.labels, (TRUTH + 1) % 4)


def test_a_matrix_is_followed():
    others = np.array([[9, 1, 3, 0], [0, 0, 0, 0], [1, 1, 0, 2], [1, 0, 0, 0]])  # the diagonal is not read
    found = by_matrix(TRUTH, others, 0.4, seed=2)
    assert not found.wrong[TRUTH == 1].any()
    counts = np.bincount(found.labels[found.wrong & (TRUTH == 0)], minlength=4)
    assert counts[3] == 0
    assert stats.chisquare(counts[1:3], counts.sum() * np.array([0.25, 0.75])).pvalue > 0.001


def test_a_rate_a_row():
    rate = np.where(TRUTH % 2 == 0, 0.0, 0.8)
    found = by_matrix(TRUTH, np.ones((4, 4)), rate, seed=3)
    assert not found.wrong[TRUTH % 2 == 0].any()
    assert abs(found.wrong[TRUTH % 2 == 1].mean() - 0.8) < 0.03


def test_instance_dependent_noise_depends_on_the_row():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5, 6))
    x, truth = rows[np.repeat(np.arange(5), 2000)], np.repeat([0, 0, 1, 2, 3], 2000)
    found = instance_dependent(x, truth, 4, 0.3, seed=4)
    assert abs(found.rate - 0.3) < 0.02
    assert not (found.labels[found.wrong] == truth[found.wrong]).any()
    parts = [slice(0, 2000), slice(2000, 4000)]
    tables = [np.bincount(found.labels[part][found.wrong[part]], minlength=4) for part in parts]
    assert stats.chi2_contingency(np.array(tables)[:, 1:] + 1).pvalue < 1e-6  # two rows of class 0, wrong in other ways
    exact = instance_dependent(x, truth, 4, 0.3, exact=True, seed=4)
    assert abs(exact.rate - 0.3) < 0.005


def test_the_seed_decides_all():
    for make in (symmetric, pair):
        assert np.array_equal(make(TRUTH, 4, 0.3, seed=7).labels, make(TRUTH, 4, 0.3, seed=7).labels)
        assert not np.array_equal(make(TRUTH, 4, 0.3, seed=7).labels, make(TRUTH, 4, 0.3, seed=8).labels)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: symmetric([0, 5], 4, 0.1), r"code 5 is outside.*row: 1"),
        (lambda: symmetric([0, 1], 4, 1.5), "rate is 1.5"),
        (lambda: symmetric([0.5], 4, 0.5), "integer codes"),
        (lambda: pair([0, 1], 4, 0.5, pairs={1: 1}), "two different classes"),
        (lambda: by_matrix([0], [[0, -1], [1, 0]]), "none negative"),
        (lambda: instance_dependent([[np.nan], [1.0]], [0, 1], 2, 0.1), "not finite.*row: 0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()

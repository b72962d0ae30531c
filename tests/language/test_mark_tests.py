"""p-values against scipy's distributions, by hand at the edges, and the closed forms against simulation."""

import numpy as np
import pytest
from scipy import stats

from assay.language.mark_tests import (
    expected_green_share,
    expected_gumbel_score,
    green_p_values,
    green_z,
    gumbel_p_values,
    gumbel_z,
)


def test_binomial_tail():
    scored = np.repeat(np.arange(30), 31)
    green = np.minimum(np.tile(np.arange(31), 30), scored)
    expected = stats.binom.sf(green - 1, scored, 0.25)
    np.testing.assert_allclose(green_p_values(scored, green, 0.25), expected, rtol=1e-9)


def test_gamma_tail():
    scored, score = np.array([1, 5, 200, 1000]), np.array([0.5, 9.0, 260.0, 900.0])
    np.testing.assert_allclose(gumbel_p_values(scored, score), stats.gamma.sf(score, scored), rtol=1e-9)


def test_nothing_to_score():
    assert green_p_values(0, 0, 0.25) == gumbel_p_values(0, 0.0) == 1.0
    assert green_z(0, 0, 0.25) == gumbel_z(0, 0.0) == 0.0
    assert green_p_values(10, 0, 0.5) == 1.0


def test_very_small_p_values_do_not_vanish():
    assert 0 < green_p_values(400, 380, 0.25) < 1e-190
    assert 0 < gumbel_p_values(100, 500.0) < 1e-90


@pytest.mark.parametrize(
    ("p", "expected"), [((0.5, 0.5), 1.5), ((0.9, 0.1), 1.25524), ((0.7, 0.2, 0.1), 1.62087), ((1.0, 0.0), 1.0)]
)
def test_expected_score(p: tuple[float, ...], expected: float):
    assert expected_gumbel_score(p) == pytest.approx(expected, abs=5e-4)
    u = np.random.default_rng(0).random((200_000, len(p)))
    with np.errstate(divide="ignore"):
        won = np.argmax(np.log(p) - np.log(-np.log(u)), axis=1)
    assert -np.log1p(-u[np.arange(len(u)), won]).mean() == pytest.approx(expected, abs=0.01)


def test_expected_green_share():
    assert expected_green_share(0.25, 2.0) == pytest.approx(0.711, abs=5e-4)
    assert expected_green_share(0.4, 0.0) == pytest.approx(0.4)

import math

import numpy as np
import pytest
from scipy import stats

from assay.errors import InputError
from assay.kernels import strata
from assay.kernels.confidence_sequence import stratified_sequence
from assay.kernels.intervals import bootstrap, wilson
from assay.kernels.strata import Stratum, hypergeometric_bounds, stratified_bounds

# By hand ------------------------------------------------------------------------------------------------------------


def test_shares_equal_scipy():
    for n in (1, 7, 100):
        for x in range(0, n + 1, max(1, n // 5)):
            expected = stats.binomtest(x, n).proportion_ci(0.9, method="wilson")
            assert np.allclose(wilson(x, n, 0.9), expected, atol=1e-12)


def test_hypergeometric_bounds_equal_a_scan_of_every_count():
    for size, reviewed, wrong in ((20, 5, 0), (20, 5, 2), (20, 5, 5), (37, 30, 4), (1, 0, 0), (60, 59, 7)):
        kept = [
            m
            for m in range(wrong, size - reviewed + wrong + 1)
            if stats.hypergeom.cdf(wrong, size, m, reviewed) > 0.025
            and stats.hypergeom.sf(wrong - 1, size, m, reviewed) > 0.025
        ]
        assert hypergeometric_bounds(Stratum(size, reviewed, wrong)) == (min(kept), max(kept))


def test_tail_of_the_sum_equals_a_double_loop():
    a, b = (12, 5, 2), (30, 7, 1)
    seen = 12 / 5 * 2 + 30 / 7
    for m_a, m_b in ((4, 3), (2, 20), (9, 1), (5, 10)):
        for at_most in (True, False):
            by_hand = 0.0
            for x in range(6):
                for y in range(8):
                    total = 12 / 5 * x + 30 / 7 * y
                    inside = total <= seen + 1e-9 if at_most else total >= seen - 1e-9
                    by_hand += inside * stats.hypergeom.pmf(x, 12, m_a, 5) * stats.hypergeom.pmf(y, 30, m_b, 7)
            assert math.isclose(strata._tail(a, m_a, b, m_b, at_most), by_hand, abs_tol=1e-12)


def test_sequence_equals_a_scan_of_every_pair():
    a, b = Stratum(14, 6, 3), Stratum(40, 15, 1)
    prior_a, prior_b = (1.0, 1.0), (0.5, 10.0)

    def ratio(stratum, prior, m):
        guess = stats.betabinom.pmf(stratum.wrong, stratum.reviewed, *prior)
        evidence = (guess + 1 / (stratum.reviewed + 1)) / 2
        return evidence / max(stats.hypergeom.pmf(stratum.wrong, stratum.size, m, stratum.reviewed), 1e-100)

    kept = [i + j for i in range(15) for j in range(41) if (1 + ratio(a, prior_a, i)) / 2 * ratio(b, prior_b, j) < 20]
    low, high = stratified_sequence(a, b, prior_a, prior_b)
    # Between whole pairs the search may gain less than one row on either side.
    assert min(kept) - 1 <= low <= min(kept)
    assert max(kept) <= high <= max(kept) + 1


# Limits -------------------------------------------------------------------------------------------------------------


def test_what_is_known_has_no_width():
    full = Stratum(50, 50, 7)
    assert hypergeometric_bounds(full) == (7, 7)
    assert stratified_bounds(full, Stratum(900, 900, 1)) == (8, 8)
    assert stratified_sequence(full, Stratum(900, 900, 1), (1, 1), (0.5, 50)) == (8, 8)


def test_a_known_or_empty_stratum_leaves_the_exact_interval_of_the_other():
    sample = Stratum(900, 100, 3)
    low, high = hypergeometric_bounds(sample)
    assert stratified_bounds(Stratum(0, 0, 0), sample) == (low, high)
    assert stratified_bounds(Stratum(50, 50, 7), sample) == (low + 7, high + 7)
    assert stratified_bounds(sample, Stratum(50, 50, 7)) == (low + 7, high + 7)
    assert stratified_bounds(sample, Stratum(50, 0, 0)) == (low, high + 50)


def test_no_trials_no_knowledge():
    assert np.allclose(wilson(0, 0), (0, 1))
    assert hypergeometric_bounds(Stratum(9, 0, 0)) == (0, 9)
    assert stratified_sequence(Stratum(9, 0, 0), Stratum(4, 0, 0), (1, 1), (1, 1)) == (0, 13)


def test_stratified_bounds_are_close_to_normal_theory_for_large_samples():
    a, b = Stratum(10_000, 2_000, 800), Stratum(50_000, 3_000, 900)
    low, high = stratified_bounds(a, b)
    variance = sum(
        s.size**2 * (s.wrong / s.reviewed) * (1 - s.wrong / s.reviewed) / s.reviewed * (1 - s.reviewed / s.size)
        for s in (a, b)
    )
    assert math.isclose((high - low) / 2, 1.96 * math.sqrt(variance), rel_tol=0.03)
    assert math.isclose((high + low) / 2, 4_000 + 15_000, rel_tol=0.01)


def test_sequence_is_wider_than_the_fixed_interval_but_not_by_much():
    a, b = Stratum(300, 300, 150), Stratum(50_000, 600, 3)
    fixed = stratified_bounds(a, b)
    always = stratified_sequence(a, b, (1, 1), (0.5, 50))
    assert always[0] <= fixed[0]
    assert fixed[1] <= always[1] <= 1.4 * fixed[1]


# State --------------------------------------------------------------------------------------------------------------


def test_bootstrap_is_reproducible_and_agrees_with_scipy():
    rng = np.random.default_rng(0)
    x = rng.exponential(size=60)
    ours = bootstrap(np.mean, x, method="bca", resamples=4000, random_state=1)
    assert ours == bootstrap(np.mean, x, method="bca", resamples=4000, random_state=1)
    peer = stats.bootstrap((x,), np.mean, method="BCa", n_resamples=4000, rng=np.random.default_rng(2))
    assert np.allclose(ours, peer.confidence_interval, atol=0.03)
    plain = bootstrap(np.mean, x, resamples=4000, random_state=1)
    assert np.allclose(plain, x.mean() + np.array([-1.96, 1.96]) * x.std() / np.sqrt(60), atol=0.05)


def test_bootstrap_keeps_strata():
    x = np.r_[np.zeros(5), np.ones(15)]
    assert bootstrap(np.mean, x, strata=x) == (0.75, 0.75)


def test_swapping_the_strata_moves_the_bounds_by_little():
    a, b = Stratum(300, 60, 30), Stratum(5_000, 300, 4)
    one, two = stratified_bounds(a, b), stratified_bounds(b, a)
    assert np.allclose(one, two, rtol=0.02)


@pytest.mark.parametrize(
    "call",
    [
        lambda: wilson(3, 2),
        lambda: wilson(1, 2, confidence=95),
        lambda: hypergeometric_bounds(Stratum(5, 6, 0)),
        lambda: stratified_sequence(Stratum(5, 5, 0), Stratum(5, 5, 0), (0, 1), (1, 1)),
        lambda: bootstrap(np.mean, np.zeros(3), np.zeros(4)),
        lambda: bootstrap(np.mean, np.zeros(0)),
    ],
)
def test_bad_input_teaches(call):
    with pytest.raises(InputError):
        call()


# Claim --------------------------------------------------------------------------------------------------------------


@pytest.mark.claim
@pytest.mark.parametrize("wrong", [(0, 0), (3, 1), (60, 0), (60, 40), (30, 400)])
def test_stratified_bounds_cover(wrong):
    rng = np.random.default_rng(7)
    hits = 0
    for _ in range(2_000):
        x, y = rng.hypergeometric(wrong[0], 120 - wrong[0], 40), rng.hypergeometric(wrong[1], 4_000 - wrong[1], 200)
        low, high = stratified_bounds(Stratum(120, 40, int(x)), Stratum(4_000, 200, int(y)))
        hits += low <= sum(wrong) <= high
    assert hits / 2_000 >= 0.94

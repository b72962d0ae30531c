"""What a mark costs, on made-up answers whose cost is known."""

import numpy as np
import pytest

from assay.errors import InputError
from assay.language.degradation import Shift, at_equal_perplexity, detectability, pattern, shift

RNG = np.random.default_rng(0)


def test_paired_differences_see_through_the_spread_of_prompts():
    before = RNG.normal(0, 10, 60)
    found = shift(before, before - 0.5 + RNG.normal(0, 0.2, 60))
    assert found.high < 0
    assert found.shown
    assert found.change == pytest.approx(-0.5, abs=0.1)
    assert not shift(before, RNG.permutation(before)).shown


def test_interval_covers_at_its_level():
    covers = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        found = shift(rng.normal(0, 1, 30), rng.normal(0.3, 1, 30), seed)
        covers += found.low <= 0.3 <= found.high
    assert 34 <= covers <= 40


def test_patterns():
    up, none = Shift(0.1, 0.3, 0.2, 0.1, 0.3), Shift(0.1, 0.1, 0.0, -0.1, 0.1)
    assert pattern(up, none) == "attenuation"
    assert pattern(none, up) == "amplification"
    assert pattern(up, up) == "attenuation and amplification"
    assert pattern(none, None) == "neither shown"


def test_a_loss_of_fluency_alone_leaves_nothing():
    """Reward falls by 2 for each unit of log-perplexity: at equal perplexity nothing is lost; or 0.4, if that is so."""
    fluency = RNG.normal(1, 0.3, 200)
    before, noise = RNG.normal(0, 1, 200), RNG.normal(0, 0.1, 200)
    zero = np.zeros(200)
    for own in (0.0, -0.4):
        after = before - 2 * fluency + own + noise
        found = at_equal_perplexity((before, after), (zero, fluency))
        assert found.low <= own <= found.high
        assert found.change == pytest.approx(own, abs=0.1)
    assert at_equal_perplexity((before, before + 1), (zero, zero)).change == pytest.approx(1)


def test_detection_by_hand():
    found = detectability([0.001, 0.02, 0.5], np.linspace(0.005, 1, 200))
    assert found.power == pytest.approx(1 / 3)
    assert found.false_positives == pytest.approx(2 / 200)  # 0.005 and 0.01
    assert found.tpr_at_1_percent == pytest.approx(1 / 3)  # two may be flagged falsely: the cut is 0.015
    assert found.precision == pytest.approx(1 / 3)
    assert found.f1 == pytest.approx(2 * 1 / (3 + 3))
    assert detectability([0.0] * 5, [1.0] * 5).auc == 1.0
    assert detectability([1.0] * 5, [1.0] * 5)[:2] == (0.5, 0.0)


def test_too_few_prompts():
    with pytest.raises(InputError, match="4 prompts are too few"):
        shift([0, 1, 2, 3, np.nan], [0, 1, 2, 3, 4])
    with pytest.raises(InputError, match="p-values of both"):
        detectability([], [0.1])

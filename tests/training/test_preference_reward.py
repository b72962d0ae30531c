"""The reward learns what was preferred, given the prompt, and says honestly when there was nothing to learn."""

import numpy as np
import pytest

from assay.errors import InputError
from assay.training.preference_reward import PreferenceReward

RNG = np.random.default_rng(0)
TABLE = {str(i): RNG.normal(size=8) / np.sqrt(8) for i in range(400)}


def lookup(texts: list[str]) -> np.ndarray:
    return np.array([TABLE[text] for text in texts])


def pairs(n: int, better: object) -> tuple[list[str], list[str], list[str]]:
    names = list(TABLE)
    prompts, one, other = (list(RNG.choice(names, n)) for _ in range(3))
    swap = [better(p, a) < better(p, b) for p, a, b in zip(prompts, one, other, strict=True)]
    chosen = [b if s else a for a, b, s in zip(one, other, swap, strict=True)]
    rejected = [a if s else b for a, b, s in zip(one, other, swap, strict=True)]
    return prompts, chosen, rejected


def test_a_taste_is_learned():
    reward = PreferenceReward(lookup, C=100.0).fit(*pairs(300, lambda p, a: TABLE[a][0]))
    assert reward.accuracy_ > 0.93
    assert reward.interval_[0] < reward.accuracy_ < reward.interval_[1]
    names = list(TABLE)
    assert np.corrcoef(reward(names, names), [TABLE[name][0] for name in names])[0, 1] > 0.95


def test_a_taste_that_depends_on_the_prompt_is_learned():
    reward = PreferenceReward(lookup, C=100.0).fit(*pairs(400, lambda p, a: TABLE[a][1] * TABLE[p][1]))
    assert reward.accuracy_ > 0.85


def test_no_taste_gives_a_coin():
    prompts, chosen, rejected = pairs(400, lambda p, a: RNG.random())
    reward = PreferenceReward(lookup).fit(prompts, chosen, rejected)
    assert reward.interval_[0] < 0.5 < reward.interval_[1] or abs(reward.accuracy_ - 0.5) < 0.06


def test_order_of_pairs_and_equal_answers():
    prompts, chosen, rejected = pairs(100, lambda p, a: TABLE[a][0])
    one = PreferenceReward(lookup).fit(prompts, chosen, rejected)
    other = PreferenceReward(lookup).fit(prompts[::-1], chosen[::-1], rejected[::-1])
    np.testing.assert_allclose(one.coef_, other.coef_, atol=1e-4)
    assert PreferenceReward(lookup).fit(prompts, chosen, chosen).accuracy_ == 0.5


def test_bad_input():
    with pytest.raises(InputError, match="at least 10"):
        PreferenceReward(lookup).fit(["1"] * 9, ["2"] * 9, ["3"] * 9)
    with pytest.raises(InputError, match="one for each"):
        PreferenceReward(lookup)(["1"], ["2", "3"])

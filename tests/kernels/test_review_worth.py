import itertools

import numpy as np
import pytest

from assay.kernels.review_worth import chance_wrong, deciding_look, mistake_rate, second_look

GRID = [(p, e) for p in (0.01, 0.3, 0.9) for e in (0.02, 0.2)]


def enumerate_looks(p, e, n):
    """All that n looks may say of a label: (probability, label is wrong, what each said)."""
    for wrong, *slips in itertools.product([False, True], repeat=n + 1):
        chance = p if wrong else 1 - p
        for slip in slips:
            chance *= e if slip else 1 - e
        yield chance, wrong, tuple(wrong != slip for slip in slips)


@pytest.mark.parametrize(("p", "e"), GRID)
def test_bayes_rule_equals_counting(p, e):
    for said in itertools.product([False, True], repeat=2):
        worlds = [(chance, wrong) for chance, wrong, looks in enumerate_looks(p, e, 2) if looks == said]
        counted = sum(chance for chance, wrong in worlds if wrong) / sum(chance for chance, _ in worlds)
        assert np.isclose(chance_wrong(p, sum(said), 2 - sum(said), e), counted)


@pytest.mark.parametrize(("p", "e"), GRID)
def test_a_first_look_is_worth_the_labels_put_right_less_those_put_wrong(p, e):
    gained = sum(chance * (wrong - (wrong != said)) for chance, wrong, (said,) in enumerate_looks(p, e, 1))
    assert np.isclose(deciding_look(p, e), gained)


@pytest.mark.parametrize(("p", "e"), GRID)
@pytest.mark.parametrize("first", [False, True])
def test_a_second_look_is_worth_what_it_and_the_decision_after_it_put_right(p, e, first):
    """A third look decides where the first two differ; mistakes are counted after the first look and at the end."""
    worlds = [world for world in enumerate_looks(p, e, 3) if world[2][0] == first]
    total = sum(chance for chance, _, _ in worlds)
    gained = sum(
        chance * ((wrong != one) - (wrong != (three if one != two else one)))
        for chance, wrong, (one, two, three) in worlds
    )
    differ = sum(chance for chance, _, (one, two, _) in worlds if one != two)
    wrong = float(chance_wrong(p, first, not first, e))
    value, disagrees = second_look(1 - wrong if first else wrong, e)
    assert np.isclose(value, gained / total)
    assert np.isclose(disagrees, differ / total)


def test_opposite_looks_cancel():
    assert np.allclose(chance_wrong([0.1, 0.6], 1, 1, 0.1), [0.1, 0.6])


def test_mistakes_follow_from_contradictions():
    rng = np.random.default_rng(0)
    for e in (0.02, 0.1, 0.25):
        one, two = rng.random((2, 200_000)) < e
        assert abs(mistake_rate(200_000, int(np.sum(one != two))) - e) < 0.004
    assert 0.04 < mistake_rate(0, 0) < 0.06, "the prior"
    assert mistake_rate(10, 10) <= 0.3, "people who contradict each other always are still no oracle"

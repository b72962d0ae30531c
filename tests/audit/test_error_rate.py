import math

import numpy as np
import pytest

from assay.audit.error_rate import ErrorRate, draw, roles
from assay.errors import InputError
from assay.kernels.audit_draw import allocate
from assay.kernels.strata import Stratum, hypergeometric_bounds


def table(n=4_000, rate=0.03, recall=0.7, extra=0.02, seed=5):
    rng = np.random.default_rng([seed, 99])
    wrong = rng.random(n) < rate
    return wrong, np.where(wrong, rng.random(n) < recall, rng.random(n) < extra)


# By hand ------------------------------------------------------------------------------------------------------------


def test_estimate_by_hand():
    # 10 flagged, 4 reviewed, 3 wrong -> 7.5; 90 others, 30 reviewed, 1 wrong -> 3; of them 10.5 - 4 remain.
    flagged = np.arange(100) < 10
    rows = np.r_[np.arange(4), np.arange(20, 50)]
    wrong = np.isin(rows, [0, 1, 2, 20])
    found = ErrorRate().estimate(flagged, rows, wrong)
    assert math.isclose(found.rate, 0.105)
    assert math.isclose(found.rate_flagged, 0.75)
    assert math.isclose(found.rate_unflagged, 1 / 30)
    assert math.isclose(found.remaining, 0.065)
    assert (found.n_flagged, found.n_reviewed, found.n_wrong) == (10, 34, 4)
    assert math.isclose(found.high - found.remaining_high, 0.04)
    assert found.low >= 0.04


def test_rows_chosen_by_hand_count_exactly_and_leave_their_stratum():
    # Row 0 and 1 chosen: one wrong. 8 flagged left, 4 drawn, 2 wrong -> 4. Total 5 of 100 with no error elsewhere.
    flagged = np.arange(100) < 10
    rows = np.r_[np.arange(6), np.arange(10, 100)]
    wrong = np.isin(rows, [0, 2, 3])
    sampled = rows > 1
    found = ErrorRate().estimate(flagged, rows, wrong, sampled)
    low, high = hypergeometric_bounds(Stratum(8, 4, 2))
    assert math.isclose(found.rate, 0.05)
    assert math.isclose(found.low, (low + 1) / 100)
    assert math.isclose(found.high, (high + 1) / 100)


def test_allocation_is_neymans():
    assert allocate([100, 900], [0.5, 0.1], 70).tolist() == [25, 45]
    assert allocate([10, 900], [0.5, 0.1], 500).tolist() == [10, 490]
    assert allocate([3, 4], [0.0, 0.0], 100).tolist() == [3, 4]


# Limits -------------------------------------------------------------------------------------------------------------


def test_all_reviewed_leaves_no_doubt():
    wrong, flagged = table(500)
    for anytime in (False, True):
        found = ErrorRate(anytime=anytime).estimate(flagged, np.arange(500), wrong)
        assert found.low == found.rate == found.high == wrong.mean()
        assert found.remaining == found.remaining_high == 0
        assert ErrorRate().stop_sign(found).reached


def test_nothing_reviewed_knows_nothing():
    _, flagged = table(500)
    found = ErrorRate().estimate(flagged, [], [])
    assert (found.low, found.high) == (0, 1)
    assert math.isnan(found.rate)
    assert not ErrorRate().stop_sign(found).reached


def test_no_error_found_and_no_flag():
    found = ErrorRate().estimate(np.zeros(10_000, dtype=bool), np.arange(300), np.zeros(300, dtype=bool))
    assert found.rate == found.low == 0
    assert 0.009 < found.high < 0.0125  # about 3.7 / 300


def test_one_row():
    found = ErrorRate().estimate([True], [0], [True])
    assert found.rate == found.low == found.high == 1


# State --------------------------------------------------------------------------------------------------------------


def test_draws_extend_one_another_and_resume():
    _, flagged = table()
    p_wrong = np.where(flagged, 0.4, 0.02)
    long = draw(flagged, p_wrong, 500, random_state=3)
    assert np.array_equal(draw(flagged, p_wrong, 120, random_state=3), long[:120])
    assert np.array_equal(draw(flagged, p_wrong, 380, 3, reviewed_rows=long[:120]), long[120:])
    assert len(np.unique(long)) == 500
    assert len(draw(flagged, None, 10_000)) == len(flagged)
    assert not np.array_equal(draw(flagged, p_wrong, 500, random_state=4), long)
    # After p_wrong changed, the rows of one stratum still come in the same order.
    other = draw(flagged, np.where(flagged, 0.1, 0.2), 500, random_state=3)
    first = min(np.sum(flagged[long]), np.sum(flagged[other]))
    assert np.array_equal(long[flagged[long]][:first], other[flagged[other]][:first])


def test_a_draw_splits_as_neyman_asks_and_is_uniform_within():
    _, flagged = table()
    p_wrong = np.where(flagged, 0.5, 0.01)
    rows = draw(flagged, p_wrong, 200)
    weights = [flagged.sum() * 0.5, (~flagged).sum() * np.sqrt(0.0099)]
    assert abs(flagged[rows].sum() - 200 * weights[0] / sum(weights)) <= 1
    counts = np.zeros(60)
    for seed in range(2_000):
        counts[draw(np.zeros(60, dtype=bool), None, 6, seed)] += 1
    assert abs(counts - 200).max() < 5 * np.sqrt(200)


def test_permuted_rows_give_the_same_estimate():
    wrong, flagged = table()
    rows = draw(flagged, None, 400)
    order = np.random.default_rng(0).permutation(len(flagged))
    one = ErrorRate().estimate(flagged, rows, wrong[rows])
    two = ErrorRate().estimate(flagged[order], np.argsort(order)[rows], wrong[rows])
    assert one == two


def test_the_plan_reaches_its_target_when_followed():
    wrong, flagged = table(20_000)
    rows = draw(flagged, None, 300)
    rate = ErrorRate()
    now = rate.estimate(flagged, rows, wrong[rows])
    plan = rate.plan(now, target_half_width=0.008)
    assert plan.reached
    assert 0 < plan.more < 20_000
    assert np.all(np.diff(plan.curve["more"]) > 0)
    assert plan.curve["half_width"][-1] == 0
    assert rate.plan(now, target_half_width=0.008, max_more=1).reached is False
    later = np.r_[rows, draw(flagged, None, plan.more, reviewed_rows=rows)]
    then = rate.estimate(flagged, later, wrong[later])
    assert (then.high - then.low) / 2 < 0.012


def test_the_stop_sign_speaks_and_its_plan_leads_to_it():
    wrong, flagged = table(20_000, rate=0.01)
    rows = draw(flagged, None, 100)
    rate = ErrorRate()
    sign = rate.stop_sign(rate.estimate(flagged, rows, wrong[rows]), 0.02)
    assert not sign.reached
    assert sign.sentence.startswith(f"Review {sign.more_reviews} more (")
    assert sign.sentence.endswith("then the remaining error rate is expected to be below 2 % with 95 % confidence.")
    rows = np.r_[np.flatnonzero(flagged), draw(np.zeros(20_000, dtype=bool), None, 3_000)]
    rows = np.r_[np.flatnonzero(flagged), rows[~flagged[rows]]]
    end = rate.stop_sign(rate.estimate(flagged, rows, wrong[rows]), 0.02)
    assert end.reached
    assert end.sentence == "Stop: the error rate that remains after repair is below 2 % with 95 % confidence."
    assert end.remaining_high < 0.02


@pytest.mark.parametrize(
    ("call", "row"),
    [
        (lambda: ErrorRate().estimate([0, 1], [0], [True]), None),
        (lambda: ErrorRate().estimate([True, False], [0, 2], [True, True]), 1),
        (lambda: ErrorRate().estimate([True, False], [1, 1], [True, True]), 1),
        (lambda: ErrorRate().estimate([True, False], [0, 1], [True]), None),
        (lambda: ErrorRate().estimate([True, False], [0, 1], [1, 2]), 1),
        (lambda: draw([True, False], [0.5, np.nan], 1), 1),
        (lambda: ErrorRate(confidence=95).estimate([True], [0], [True]), None),
        (lambda: ErrorRate().plan(ErrorRate().estimate([True], [0], [True])), None),
    ],
)
def test_bad_input_names_the_row(call, row):
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.row == row


# Claim --------------------------------------------------------------------------------------------------------------


@pytest.mark.claim
@pytest.mark.parametrize("rate", [0.0, 0.01, 0.05])
def test_intervals_cover_when_one_looks_once_and_when_one_stops_early(rate):
    once = stopped = 0
    runs = 300
    for seed in range(runs):
        wrong, flagged = table(rate=rate, seed=seed)
        rows = draw(flagged, None, 200, random_state=seed)
        found = ErrorRate().estimate(flagged, rows, wrong[rows])
        once += found.low <= wrong.mean() <= found.high
        for n in range(100, 2_001, 100):
            rows = draw(flagged, None, n, random_state=seed)
            found = ErrorRate(anytime=True).estimate(flagged, rows, wrong[rows])
            if ErrorRate().stop_sign(found, 0.02).reached:
                break
        stopped += found.low <= wrong.mean() <= found.high
    assert once / runs >= 0.93
    assert stopped / runs >= 0.95


def test_roles_by_hand():
    """The two worst flagged rows are a census; of the others, those up to the first gap in the order of the draw."""
    flagged = np.arange(12) < 8
    ranking = np.arange(12, 0, -1.0)
    order = [row for row in draw(flagged, None, 12, 0).tolist() if row < 8]
    # Row 2 is unreviewed, so the census ends with row 1; the sample of the others ends where the draw comes to row 2.
    before = [row for row in order[: order.index(2)] if row > 1]
    after = [row for row in order[order.index(2) + 1 :] if row > 1]
    assert len(before) >= 2, "the seed must put rows before the gap"
    assert after, "the seed must put a row after the gap"
    said = roles(flagged, ranking, [0, 1, *before, *after], 0).tolist()
    assert said == ["census", "census", *["sample"] * len(before), *["extra"] * len(after)]
    assert roles(flagged, ranking, [], 0).tolist() == []
    assert set(roles(flagged, ranking, np.arange(12), 0).tolist()) == {"census"}


@pytest.mark.parametrize("rounds", [1, 2])
def test_picking_the_worst_rows_does_not_spoil_the_estimate(rounds):
    """A person reviews a random audit and the worst of the rest, perhaps twice; taking the picks out naively fails."""
    n, covered, runs = 400, 0, 150
    errors, naive_errors = [], []
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        chance = rng.beta(0.3, 2.5, n)
        wrong = rng.random(n) < chance
        flagged = chance > 0.3
        reviewed = drawn = np.zeros(0, dtype=np.int64)
        for turn in range(rounds):
            drawn = np.concatenate([drawn, draw(flagged, chance, 40, seed, reviewed_rows=reviewed)])
            reviewed = np.union1d(reviewed, drawn)
            left = np.setdiff1d(np.flatnonzero(flagged), reviewed)
            moved = chance + turn * 0.2 * rng.random(n)  # verdicts change the ranking between rounds
            reviewed = np.union1d(reviewed, left[np.argsort(-moved[left])][:15])
        role = roles(flagged, chance, reviewed, seed)
        counts = role != "extra"
        got = ErrorRate().estimate(flagged, reviewed[counts], wrong[reviewed[counts]], role[counts] == "sample")
        covered += got.low - 1e-9 <= wrong.mean() <= got.high + 1e-9
        errors.append(got.rate_flagged - wrong[flagged].mean())
        got = ErrorRate().estimate(flagged, reviewed, wrong[reviewed], np.isin(reviewed, drawn))
        naive_errors.append(got.rate_flagged - wrong[flagged].mean())
    assert covered >= 0.93 * runs
    spread = np.std(errors) / np.sqrt(runs)
    assert abs(np.mean(errors)) < 3 * spread
    assert abs(np.mean(naive_errors)) > 3 * np.std(naive_errors) / np.sqrt(runs)

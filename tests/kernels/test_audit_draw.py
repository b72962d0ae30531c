import numpy as np
import pytest

from assay.audit.error_rate import ErrorRate
from assay.kernels.audit_draw import AuditOrder, draw, roles


def leading(rows, done):
    """The beginning of `rows` that is done."""
    out = []
    for row in rows:
        if row not in done:
            break
        out.append(row)
    return out


def roles_by_hand(order, score, done, undecided):
    """The census and the sample of one stratum, worked out from its rows in the order of the draw."""
    drawn = [row for row in order if row not in undecided]
    worst = sorted(drawn, key=lambda row: (-score[row], row))
    census = leading(worst, done)
    sample = leading(drawn, done)
    if len(census) < len(worst) and sample:
        places = sorted(worst.index(row) for row in sample)
        census = worst[: min(len(census), places[len(sample) // 2])]
    return census, leading([row for row in drawn if row not in census], done)


@pytest.mark.parametrize("seed", range(200))
def test_roles_equal_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 50))
    flagged, score = rng.random(n) < rng.random(), np.round(rng.random(n), 1)
    labelled = rng.random(n) < 0.9
    labelled[0] = True
    order = AuditOrder(flagged, score, seed, labelled)
    rows = rng.permutation(np.flatnonzero(labelled))
    worst = rows[np.argsort(-score[rows], kind="stable")]
    reviewed = np.unique(np.r_[worst[: rng.integers(0, len(rows) + 1)], order.next(labelled, [0.3, 0.1], 8)])
    aside = rng.random(len(reviewed)) < 0.1
    undecided, done = reviewed[aside], reviewed[~aside]
    mask, out = np.zeros((2, n), bool)
    mask[done], out[undecided] = True, True
    for place, (census, sample) in enumerate(order.roles(mask, out)):
        expected = roles_by_hand(order.as_drawn[place].tolist(), score, set(done), set(undecided))
        assert (census.tolist(), sample.tolist()) == expected


@pytest.mark.parametrize("seed", range(20))
def test_counts_equal_an_estimate_with_roles(seed):
    rng = np.random.default_rng(seed)
    flagged, score, wrong = rng.random(300) < 0.2, rng.random(300), rng.random(300) < 0.3
    rows = np.union1d(draw(flagged, None, 60, seed), np.argsort(-score)[:30])
    strata, known, n_extra = AuditOrder(flagged, score, seed).counts(rows, wrong[rows])
    role = roles(flagged, score, rows, seed)
    used = role != "extra"
    again = ErrorRate().estimate(flagged, rows[used], wrong[rows[used]], role[used] == "sample")
    assert ErrorRate().from_counts(strata, known) == again
    assert n_extra == np.sum(~used)


@pytest.mark.parametrize("seed", range(20))
def test_one_row_of_each_stratum_comes_first(seed):
    """However small a stratum and however sure its rows: without a look at it there is no rate of the whole."""
    flagged = np.arange(1000) < 3
    drawn = draw(flagged, np.where(flagged, 0.999, 0.4), 5, seed)
    assert flagged[drawn[:2]].sum() == 1


def test_a_draw_with_unlabelled_rows_is_that_of_the_labelled_ones():
    """The order depends on the labelled rows alone, so that rows without a label do not move it."""
    rng = np.random.default_rng(0)
    labelled, flagged = rng.random(500) < 0.7, rng.random(500) < 0.2
    alone = draw(flagged[labelled], None, 100, 3)
    beside = AuditOrder(flagged, None, 3, labelled).next(labelled, [0.3, 0.05], 100)
    assert np.array_equal(np.flatnonzero(labelled)[alone], beside)


def test_an_undecided_row_leaves_the_table():
    flagged, score = np.arange(40) < 10, np.linspace(1, 0, 40)
    order = AuditOrder(flagged, score, 0)
    drawn = order.next(np.ones(40, bool), [0.3, 0.05], 40)
    strata, known, n_extra = order.counts(drawn[1:], np.zeros(39, bool), drawn[:1])
    assert sum(part.size for part in (*strata, *known)) == 39
    assert n_extra == 0

"""Drift: a plain loop, false alarms, power, when it happened, order, and what is refused."""

import numpy as np
import pytest

from assay.aggregate.drift import Drift, change_points
from assay.errors import InputError
from assay.labels import Soft, Space, Votes

SPACE = Space(("no", "yes"))


def shift_crowd(w=20, m=200, drifters=0, low=0.6, seed=0) -> tuple[Votes, Soft]:
    """Each worker votes on m tasks of known truth with accuracy 0.9; `drifters` fall to `low` in the middle."""
    rng = np.random.default_rng(seed)
    n = 2 * m
    truth = rng.integers(2, size=n)
    task = np.concatenate([rng.permutation(n)[:m] for _ in range(w)])
    worker = np.repeat(np.arange(w), m)
    time = np.tile(np.arange(m, dtype=float), w)
    chance = np.where((worker < drifters) & (time >= m // 2), low, 0.9)
    label = np.where(rng.random(w * m) < chance, truth[task], 1 - truth[task])
    return Votes(SPACE, task, worker, label, np.arange(n), np.arange(w), time=time), Soft(SPACE, np.eye(2)[truth])


# By hand


@pytest.mark.parametrize("seed", range(4))
def test_equals_a_loop(seed):
    rng = np.random.default_rng(seed)
    worker, time = rng.integers(4, size=80), rng.integers(10, size=80).astype(float)  # many votes of one moment
    right, weight = rng.random(80), rng.integers(1, 4, size=80).astype(float)
    found = change_points(worker, time, right, weight, 5)
    for j in range(4):
        mine = worker == j
        mean = np.average(right[mine], weights=weight[mine])
        best, where = 0.0, np.nan
        for t in np.unique(time[mine])[1:]:
            stray = abs((weight * (right - mean))[mine & (time < t)].sum())
            if stray > best + 1e-12:
                best, where = stray, t
        spread = np.sqrt((weight * (right - mean) ** 2)[mine].sum())
        before, after = mine & (time < where), mine & (time >= where)
        assert found["statistic"][j] == pytest.approx(best / spread)
        assert found["changed_at"][j] == where
        assert found["before"][j] == pytest.approx(np.average(right[before], weights=weight[before]))
        assert found["after"][j] == pytest.approx(np.average(right[after], weights=weight[after]))
    assert np.isnan(found["accuracy"][4])
    assert found["statistic"][4] == 0


# Limits


def test_a_fall_is_found_where_it_happened():
    votes, belief = shift_crowd(drifters=3)
    model = Drift().fit(votes, belief)
    rows = model.workers()
    assert rows["drifted"][:3].all()
    assert rows["drifted"][3:].sum() <= 1
    assert np.abs(rows["changed_at"][:3] - 100).max() < 30
    assert (rows["before"][:3] > rows["after"][:3]).all()
    doubtful = model.evidence()["doubtful"]
    assert not doubtful[votes.worker >= 4].any()
    assert 0.3 < doubtful[votes.worker == 0].mean() < 0.7


def test_no_votes_one_moment_never_wrong():
    votes, belief = shift_crowd(w=2)
    at_once = Votes(SPACE, votes.task, votes.worker, votes.label, votes.task_ids, votes.worker_ids, time=0 * votes.time)
    assert not Drift().fit(at_once, belief).drifted_.any()
    truth = belief.p.argmax(axis=1)[votes.task]
    right = Votes(SPACE, votes.task, votes.worker, truth, votes.task_ids, votes.worker_ids, time=votes.time)
    rows = Drift().fit(right, belief).workers()
    assert rows["accuracy"].tolist() == [1, 1]
    assert np.isnan(rows["changed_at"]).all()
    empty = Votes(SPACE, [], [], [], [0], ["x"], time=[])
    rows = Drift().fit(empty, Soft(SPACE, np.full((1, 2), 0.5))).workers()
    assert np.isnan(rows["p"]).all()
    assert not rows["drifted"].any()


def test_tasks_without_a_belief_are_left_out():
    votes, belief = shift_crowd(drifters=1)
    mask = np.arange(votes.n_rows) % 2 == 0
    model = Drift().fit(votes, Soft(SPACE, np.where(mask[:, None], belief.p, np.nan), mask))
    assert (model.workers()["n_votes"] < 200).all()
    assert model.drifted_[0]
    assert np.isnan(model.evidence()["right"][~mask[votes.task]]).all()


def test_bad_input_teaches():
    votes, belief = shift_crowd(w=2)
    timeless = Votes(SPACE, votes.task, votes.worker, votes.label, votes.task_ids, votes.worker_ids)
    with pytest.raises(InputError, match="no times"):
        Drift().fit(timeless, belief)
    with pytest.raises(InputError, match="rows for"):
        Drift().fit(votes, belief.take([0]))
    with pytest.raises(InputError, match="level"):
        Drift(level=0).fit(votes, belief)


# State and permutation


def test_order_does_not_matter_and_weights_repeat():
    votes, belief = shift_crowd(w=5, drifters=1)
    rng = np.random.default_rng(1)
    weight = rng.integers(1, 4, votes.n_votes).astype(np.float32)

    def told(rows, weight=None):
        columns = votes.task[rows], votes.worker[rows], votes.label[rows], votes.task_ids, votes.worker_ids
        return Votes(SPACE, *columns, time=votes.time[rows] // 10, weight=weight)

    here = Drift().fit(told(np.arange(votes.n_votes), weight), belief).workers()
    order = rng.permutation(votes.n_votes)
    there = Drift().fit(told(order, weight[order]), belief).workers()
    often = Drift().fit(told(np.repeat(np.arange(votes.n_votes), weight.astype(int))), belief).workers()
    for other in (there, often):
        assert np.allclose(other["statistic"], here["statistic"], atol=1e-12)
        assert np.array_equal(other["changed_at"], here["changed_at"])


@pytest.mark.claim
def test_claim_false_alarms_and_power():
    alarms = [Drift().fit(*shift_crowd(w=30, seed=seed)).drifted_.any() for seed in range(200)]
    assert np.mean(alarms) <= 0.07
    found = [Drift().fit(*shift_crowd(w=30, drifters=3, seed=seed)).drifted_[:3].mean() for seed in range(30)]
    assert np.mean(found) > 0.9

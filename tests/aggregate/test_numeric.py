"""Numeric aggregation: by hand, in its limits, whatever the order, and beside mean and median."""

import csv

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from assay.aggregate.numeric import NumericRaters
from assay.errors import InputError
from assay.kernels.ratings import RaterMoments, gamma_shape, rating_table, walk_ratings
from assay.labels.ratings import Ratings, levels_of
from assay.labels.spaces import Kind, Space
from assay.labels.votes import Votes


def simulate(seed=0, n=200, w=12, per_task=5, noise=None, offset=None, gain=None):
    rng = np.random.default_rng(seed)
    truth = rng.normal(50, 20, n)
    noise = rng.uniform(3, 15, w) if noise is None else noise
    offset = rng.normal(0, 10, w) if offset is None else offset
    gain = np.ones(w) if gain is None else gain
    task = np.repeat(np.arange(n), per_task)
    worker = np.concatenate([rng.permutation(w)[:per_task] for _ in range(n)])
    value = gain[worker] * truth[task] + offset[worker] + rng.normal(0, noise[worker])
    return truth, offset, noise, Ratings(task, worker, value, np.arange(n), np.arange(w))


def rmse(a, b):
    return float(np.sqrt(np.mean((a - b) ** 2)))


# By hand


@pytest.mark.parametrize("dof", [np.inf, 3.0])
def test_walk_is_a_plain_loop(dof):
    rng = np.random.default_rng(1)
    n, w, v = 4, 3, 15
    task, worker, value = rng.integers(0, n, v), rng.integers(0, w, v), rng.normal(size=v)
    weight = rng.uniform(0.5, 2, v)
    gain, offset, precision = rng.normal(1, 0.1, w), rng.normal(size=w), rng.uniform(1, 2, w)
    raters = RaterMoments(gain, offset, gain**2 + 0.1, gain * offset + 0.02, offset**2 + 0.2, precision)
    mean, var = rng.normal(size=n), rng.uniform(0.1, 1, n)
    table = rating_table(task, worker, value, n, w, weight)
    new_mean, new_var, scale, sums, log_rates = walk_ratings(table, raters, mean, var, 0.3, 0.7, dof)
    expected = np.zeros((w, 7))
    total_log = 0.0
    for i in range(n):
        rows = [e for e in range(v) if task[e] == i]
        prec, pull, scales = 0.7, 0.7 * 0.3, {}
        for e in rows:
            j, y, z, zz = worker[e], value[e], mean[i], mean[i] ** 2 + var[i]
            square = y**2 - 2 * y * (gain[j] * z + offset[j]) + raters.gain_gain[j] * zz
            square += 2 * raters.gain_offset[j] * z + raters.offset_offset[j]
            rate = (dof + precision[j] * square) / 2
            scales[e] = 1.0 if dof == np.inf else (dof + 1) / 2 / rate
            total_log += 0.0 if dof == np.inf else weight[e] * np.log(rate)
            prec += weight[e] * precision[j] * scales[e] * raters.gain_gain[j]
            pull += weight[e] * precision[j] * scales[e] * (gain[j] * y - raters.gain_offset[j])
        assert new_mean[i] == pytest.approx(pull / prec)
        assert new_var[i] == pytest.approx(1 / prec)
        for e in rows:
            z, y, u = pull / prec, value[e], weight[e] * scales[e]
            expected[worker[e]] += [weight[e], u, u * z, u * (z * z + 1 / prec), u * y, u * z * y, u * y * y]
            assert scale[np.flatnonzero(table.order == e)[0]] == pytest.approx(scales[e])
    np.testing.assert_allclose(sums, expected)
    assert log_rates == pytest.approx(total_log)


def test_gamma_shape_solves_its_equation():
    from scipy.special import digamma

    for shape in (0.3, 2.0, 17.0):
        assert gamma_shape(float(np.log(shape) - digamma(shape))) == pytest.approx(shape, rel=1e-6)


def test_levels():
    assert levels_of(Space(("1", "2", "5"), Kind.ORDINAL)).tolist() == [1, 2, 5]
    assert levels_of(Space(("5", "1"), Kind.ORDINAL)).tolist() == [0, 1]


# Limits


def test_bound_lies_below_the_marginal_and_near_it():
    """With one precise worker's parameters fixed by much data, the bound nears the exact Gaussian marginal."""
    ratings = simulate(n=400, w=2, per_task=2, noise=np.array([5.0, 5.0]), offset=np.zeros(2))[-1]
    model = NumericRaters(dof=np.inf).fit(ratings)
    table = ratings.value.reshape(400, 2)[np.arange(400)[:, None], np.argsort(ratings.worker.reshape(400, 2), axis=1)]
    workers = model.workers()
    cov = np.diag(workers["noise"] ** 2) + model.spread_**2
    exact = multivariate_normal(model.centre_ + workers["bias"], cov).logpdf(table).sum()
    assert exact - 30 < model.bound_[-1] < exact


def test_equal_raters_give_the_mean_drawn_to_the_centre():
    truth, _, _, ratings = simulate(noise=np.full(12, 8.0), offset=np.zeros(12), n=2000)
    model = NumericRaters(dof=np.inf).fit(ratings)
    mean = ratings.value.reshape(2000, 5).mean(axis=1)
    shrunk = 50 + (mean - 50) * 400 / (400 + 64 / 5)
    assert rmse(model.estimate_, shrunk) < 0.6
    assert np.mean(np.abs(model.estimate_ - truth) < 1.96 * model.sd_) == pytest.approx(0.95, abs=0.015)


def test_offsets_and_care_are_found():
    truth, offset, noise, ratings = simulate(n=800)
    model = NumericRaters().fit(ratings)
    workers = model.workers()
    bias = offset - offset.mean()
    np.testing.assert_allclose(workers["bias"] - workers["bias"].mean(), bias, atol=1.5)
    assert np.corrcoef(workers["noise"], noise)[0, 1] > 0.97
    mean = np.bincount(ratings.task, ratings.value) / 5
    assert rmse(model.estimate_ - offset.mean(), truth) < 0.75 * rmse(mean - offset.mean(), truth)


def test_gains_are_found():
    gain = np.linspace(0.5, 1.5, 12)
    truth, _, _, ratings = simulate(n=800, gain=gain, noise=np.full(12, 4.0))
    model = NumericRaters(gains=True).fit(ratings)
    assert np.corrcoef(model.workers()["gain"], gain)[0, 1] > 0.98
    assert np.corrcoef(model.estimate_, truth)[0, 1] > np.corrcoef(NumericRaters().fit(ratings).estimate_, truth)[0, 1]


def test_a_slip_is_doubted():
    truth, _, _, ratings = simulate(noise=np.full(12, 4.0))
    slip = ratings.value.copy()
    slip[::50] += 300
    spoilt = Ratings(ratings.task, ratings.worker, slip, ratings.task_ids, ratings.worker_ids)
    robust, plain = NumericRaters(dof=3.0).fit(spoilt), NumericRaters(dof=np.inf).fit(spoilt)
    assert rmse(robust.estimate_, truth) < 0.5 * rmse(plain.estimate_, truth)
    assert set(np.argsort(robust.trust_)[:20]) == set(range(0, 1000, 50))


# State and permutation


@pytest.mark.parametrize(("gains", "dof"), [(False, 10.0), (True, np.inf), (True, 3.0)])
def test_bound_never_falls(gains, dof):
    model = NumericRaters(gains=gains, dof=dof).fit(simulate(seed=3)[-1])
    steps = np.diff(model.bound_)
    assert model.converged_
    assert steps.min() > -1e-8 * abs(model.bound_[-1])


def test_order_of_rows_does_not_matter():
    ratings = simulate()[-1]
    order = np.random.default_rng(0).permutation(ratings.n_ratings)
    turned = Ratings(
        ratings.task[order], ratings.worker[order], ratings.value[order], ratings.task_ids, ratings.worker_ids
    )
    one, other = NumericRaters().fit(ratings), NumericRaters().fit(turned)
    np.testing.assert_allclose(one.estimate_, other.estimate_, atol=1e-9)
    np.testing.assert_allclose(one.trust_[order], other.trust_, atol=1e-9)


def test_a_weight_of_two_is_two_ratings():
    ratings = simulate(n=60)[-1]
    columns = (ratings.task, ratings.worker, ratings.value)
    weighted = Ratings(*columns, ratings.task_ids, ratings.worker_ids, np.full(ratings.n_ratings, 2.0))
    twice = Ratings(*(np.tile(c, 2) for c in columns), ratings.task_ids, ratings.worker_ids)
    np.testing.assert_allclose(NumericRaters().fit(weighted).estimate_, NumericRaters().fit(twice).estimate_, atol=1e-8)


def test_shifting_and_stretching_the_unit():
    ratings = simulate()[-1]
    other = Ratings(ratings.task, ratings.worker, ratings.value * 1e6 - 3e6, ratings.task_ids, ratings.worker_ids)
    one = NumericRaters().fit(ratings)
    np.testing.assert_allclose(NumericRaters().fit(other).estimate_, one.estimate_ * 1e6 - 3e6, rtol=1e-6)


def test_predict_repeats_fit_and_takes_new_workers():
    ratings = simulate()[-1]
    model = NumericRaters(tol=1e-12, max_iter=5000).fit(ratings)
    np.testing.assert_allclose(model.predict(ratings), model.estimate_, atol=1e-3)
    new = Ratings.from_long(["a", "a", "b"], ["nobody", "someone", "else"], [70.0, 80.0, np.nan])
    estimate = model.predict(new)
    assert 60 < estimate[0] < 80
    assert estimate[1] == pytest.approx(model.centre_)


def test_ordinal_votes_give_a_belief():
    space = Space(("1", "2", "3", "4", "5"), Kind.ORDINAL)
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, 300)
    task, worker = np.repeat(np.arange(300), 5), np.tile(np.arange(5), 300)
    bias = np.array([1, 0, 0, 0, 0])
    label = np.clip(truth[task] + bias[worker] + rng.integers(-1, 2, 1500), 0, 4)
    votes = Votes(space, task, worker, label, np.arange(301), np.arange(5))
    model = NumericRaters().fit(votes)
    assert model.belief_.p.shape == (301, 5)
    np.testing.assert_allclose(model.belief_.p.sum(axis=1), 1)
    assert np.mean(np.abs(model.belief_.p[:300].argmax(axis=1) - truth) <= 1) > 0.97
    np.testing.assert_allclose(model.predict_proba(votes), model.belief_.p, atol=0.02)


def test_tables_have_one_length():
    ratings = simulate()[-1]
    model = NumericRaters().fit(ratings)
    assert {len(c) for c in model.evidence().values()} == {200}
    assert {len(c) for c in model.workers().values()} == {12}


def test_odd_inputs():
    with pytest.raises(InputError, match="no ratings"):
        NumericRaters().fit(Ratings.from_long(["a"], ["w"], [None]))
    with pytest.raises(InputError, match="dof"):
        NumericRaters(dof=0).fit(simulate()[-1])
    with pytest.raises(InputError, match="finite"):
        Ratings.from_long(["a"], ["w"], [np.inf])
    with pytest.raises(InputError, match="numbers"):
        Ratings.from_long(["a"], ["w"], ["good"])
    with pytest.raises(InputError, match=r"negative.*row: 0"):
        Ratings.from_long(["a"], ["w"], [1.0], weight=[-1.0])
    same = NumericRaters().fit(Ratings.from_long(["a", "a", "b"], ["v", "w", "v"], [3.0, 3.0, 3.0]))
    np.testing.assert_allclose(same.estimate_, 3)
    assert NumericRaters().fit(Ratings.from_long(["a"], ["w"], [5.0])).estimate_ == pytest.approx(5)


# Claim


def snow(path):
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    value = [float(row["response"]) for row in rows]
    gold = {row["item"]: float(row["gold"]) for row in rows}
    ratings = Ratings.from_long([row["item"] for row in rows], [row["worker"] for row in rows], value)
    return ratings, np.array([gold[item] for item in ratings.task_ids.tolist()])


@pytest.mark.parametrize("name", ["wordsim", "sadness", "disgust"])
def test_real_ratings_stay_near_the_mean(shared_data, name):
    ratings, gold = snow(shared_data(f"snow2008/{name}.csv"))
    model = NumericRaters().fit(ratings)
    mean = np.bincount(ratings.task, ratings.value) / np.bincount(ratings.task)
    assert np.corrcoef(model.estimate_, gold)[0, 1] > np.corrcoef(mean, gold)[0, 1] - 0.02


@pytest.mark.claim
def test_nearer_the_truth_than_mean_and_median_over_seeds():
    for seed in range(20):
        truth, _, _, ratings = simulate(seed, n=300, w=20)
        model = NumericRaters().fit(ratings)
        by_task = ratings.value.reshape(300, 5)
        centred = [e - (e - truth).mean() for e in (model.estimate_, by_task.mean(axis=1), np.median(by_task, axis=1))]
        ours, mean, median = (rmse(e, truth) for e in centred)
        assert ours < 0.8 * min(mean, median)

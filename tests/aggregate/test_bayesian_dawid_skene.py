"""Bayesian Dawid-Skene: by hand, limits, order, and what it must show."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.special import digamma, gammaln, logsumexp

from assay.aggregate.bayesian_dawid_skene import (
    TYPICAL,
    BayesianDawidSkene,
    expected_log,
    fit_posterior,
    learn_alpha,
    log_polya,
    one_coin,
)
from assay.errors import InputError
from assay.kernels.calibration import nll
from assay.kernels.vote_bayes import belief_spread
from assay.kernels.vote_em import TaskVotes
from assay.kernels.vote_table import vote_table
from assay.labels import Hard, Space, Votes


def crowd(n=80, w=8, k=3, v=500, seed=0, weighted=False, sharp=8.0):
    """Votes drawn from the model itself, as columns, with the truth and the matrices [worker, truth, said]."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(k, n, p=rng.dirichlet(np.full(k, 5.0)))
    matrices = np.stack([[rng.dirichlet(1 + sharp * np.eye(k)[t]) for t in range(k)] for _ in range(w)])
    task, worker = rng.integers(0, n, v), rng.integers(0, w, v)
    chance = matrices[worker, truth[task]].cumsum(axis=1)
    label = (rng.random(v)[:, None] > chance).sum(axis=1).clip(0, k - 1)
    weight = rng.integers(1, 4, v).astype(np.float32) if weighted else None
    return task, worker, label, weight, truth, matrices


def as_votes(task, worker, label, weight, n, w, k):
    ids = np.arange(n), np.array([f"w{j}" for j in range(w)])
    return Votes(Space(tuple("abcdefghij"[:k])), task, worker, np.asarray(label, dtype=np.int32), *ids, weight=weight)


# By hand


def test_updates_equal_a_plain_loop():
    n, w, k, rounds = 7, 3, 3, 4
    task, worker, label, weight, *_ = crowd(n, w, k, 30, seed=1, weighted=True)
    votes = as_votes(task, worker, label, weight, n, w, k)
    model = BayesianDawidSkene(learn_typical=False, prior_accuracy=0.7, prior_votes=2.0, max_iter=rounds, tol=-1).fit(
        votes
    )
    belief = np.zeros((n, k))
    for e in range(len(task)):
        belief[task[e], label[e]] += weight[e]
    voted = belief.sum(axis=1) > 0
    belief[voted] /= belief[voted].sum(axis=1, keepdims=True)
    for _ in range(rounds):
        share = np.array([1.0 + belief[voted, t].sum() for t in range(k)])
        alpha = np.array([[[6 * 0.7 if t == a else 6 * 0.15 for a in range(k)] for t in range(k)]] * w)
        for e in range(len(task)):
            for t in range(k):
                alpha[worker[e], t, label[e]] += weight[e] * belief[task[e], t]
        scores = np.array([[digamma(share[t]) - digamma(share.sum()) for t in range(k)] for _ in range(n)])
        for e in range(len(task)):
            for t in range(k):
                row = alpha[worker[e], t]
                scores[task[e], t] += weight[e] * (digamma(row[label[e]]) - digamma(row.sum()))
        belief = np.exp(scores - logsumexp(scores, axis=1, keepdims=True))
    np.testing.assert_allclose(model.belief_.p[voted], belief[voted], atol=1e-9)
    np.testing.assert_allclose(model.confusion_, alpha / alpha.sum(axis=2, keepdims=True), atol=1e-9)
    np.testing.assert_allclose(model.prior_, share / share.sum(), atol=1e-9)


def test_bound_is_below_the_evidence_and_close():
    """The evidence by enumeration of the truths, each a product of ratios of gamma functions."""
    n, w, k = 5, 2, 2
    task, worker, label, *_ = crowd(n, w, k, 9, seed=4)
    table = vote_table(task, worker, label, n, w, k)
    voted = np.unique(task)
    alpha = one_coin(k, 0.8, 3.0)
    terms = []
    for truth in itertools.product(range(k), repeat=len(voted)):
        of = dict(zip(voted, truth, strict=True))
        counts = np.zeros((w, k, k))
        for e in range(len(task)):
            counts[worker[e], label[e], of[task[e]]] += 1
        classes = np.bincount(truth, minlength=k).astype(float)
        value = gammaln(k) - gammaln(k + len(voted)) + gammaln(1 + classes).sum()
        for j in range(w):
            for t in range(k):
                value += gammaln(alpha[:, t].sum()) - gammaln(alpha[:, t].sum() + counts[j, :, t].sum())
                value += (gammaln(alpha[:, t] + counts[j, :, t]) - gammaln(alpha[:, t])).sum()
        terms.append(value)
    evidence = logsumexp(terms)
    bound = fit_posterior(TaskVotes(table), alpha, False, 1.0, tol=1e-13).bound[-1]
    assert bound <= evidence + 1e-9
    assert bound > evidence - 1.0


@pytest.mark.parametrize("learn", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_objective_never_falls(learn, weighted):
    task, worker, label, weight, *_ = crowd(n=90, weighted=weighted)  # some tasks may have no vote
    votes = as_votes(task, worker, label, weight, 95, 8, 3)
    model = BayesianDawidSkene(learn_typical=learn, tol=0.0).fit(votes)
    assert model.n_iter_ > 5
    assert (np.diff(model.objective_) > -1e-9 * abs(model.objective_[-1])).all()


def test_alpha_rises_to_where_the_slope_vanishes():
    rng = np.random.default_rng(0)
    counts, expected = rng.gamma(1.0, 3.0, (40, 3, 3)), one_coin(3, 0.7, 10.0)

    def density(alpha):
        return log_polya(counts, alpha) + TYPICAL * (expected * np.log(alpha) - alpha).sum()

    alpha, last = expected, density(expected)
    for _ in range(300):
        alpha = learn_alpha(counts, alpha, expected, 5)
        assert density(alpha) >= last - 1e-9
        last = density(alpha)
    for cell in itertools.product(range(3), range(3)):
        step = np.zeros((3, 3))
        step[cell] = 1e-4
        assert (density(alpha + step) - density(alpha - step)) / 2e-4 == pytest.approx(0, abs=1e-3)


def test_spread_equals_draws_of_small_doubt():
    task, worker, label, *_ = crowd(n=20, v=60)
    table = vote_table(task, worker, label, 20, 8, 3)
    rng = np.random.default_rng(0)
    logs, log_share = np.log(rng.dirichlet(np.ones(3), (8, 3))).transpose(0, 2, 1), np.log([0.5, 0.3, 0.2])

    def believe(logs, log_share):
        scores = np.tile(log_share, (20, 1))
        np.add.at(scores, task, logs[worker, label])
        return np.exp(scores - logsumexp(scores, axis=1, keepdims=True))

    variance, share_variance = rng.random((8, 3, 3)) * 1e-4, rng.random(3) * 1e-4
    draws = np.stack(
        [
            believe(
                logs + rng.normal(size=logs.shape) * np.sqrt(variance),
                log_share + rng.normal(size=3) * np.sqrt(share_variance),
            )
            for _ in range(4000)
        ]
    )
    got = belief_spread(table, believe(logs, log_share), share_variance, variance)
    alone = np.array([np.unique(worker[task == i]).size == np.sum(task == i) for i in range(20)])
    assert alone.sum() > 5  # tasks where no worker voted twice
    np.testing.assert_allclose(got[alone], draws.std(axis=0)[alone], rtol=0.08, atol=1e-6)


def test_expected_logs_are_those_of_draws():
    posterior = np.array([[3.0, 0.7], [1.0, 2.0]])
    draws = np.random.default_rng(0).dirichlet(posterior[:, 1], 200_000)
    np.testing.assert_allclose(expected_log(posterior)[:, 1], np.log(draws).mean(axis=0), atol=0.02)


# Limits


def test_one_vote_in_all():
    votes = Votes.from_long(["t"], ["ann"], ["x"], Space(("x", "y")))
    model = BayesianDawidSkene().fit(votes)
    assert 0.6 < model.belief_.p[0, 0] < 0.95
    assert model.belief_sd_[0, 0] > 0.01
    alone = BayesianDawidSkene().fit(Votes.from_long(["t"], ["ann"], ["x"]))
    assert alone.belief_.p.tolist() == [[1.0]]
    assert alone.workers()["high"].tolist() == [1.0]


def test_all_ties_stay_even_and_a_silent_task_has_the_shares():
    task, worker, label = np.repeat(np.arange(6), 2), np.tile([0, 1], 6), np.tile([0, 1, 1, 0], 3)
    model = BayesianDawidSkene().fit(as_votes(task, worker, label, None, 7, 2, 2))
    np.testing.assert_allclose(model.belief_.p, 0.5, atol=1e-9)
    np.testing.assert_allclose(model.belief_.p[6], model.prior_)


def test_ten_thousand_votes_on_one_task_and_a_worker_who_votes_on_everything():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 200)
    task = np.r_[np.zeros(10_000, int), np.arange(200), rng.integers(0, 200, 3000)]
    worker = np.r_[1 + np.arange(10_000) % 300, np.zeros(200, int), rng.integers(1, 301, 3000)]
    label = np.where(rng.random(len(task)) < 0.75, truth[task], rng.integers(0, 3, len(task)))
    label[10_000:10_200] = truth
    model = BayesianDawidSkene().fit(as_votes(task, worker, label, None, 200, 301, 3))
    assert np.isfinite(model.objective_).all()
    assert model.belief_.p[0, truth[0]] > 1 - 1e-6
    assert (model.belief_.p.argmax(axis=1) == truth).mean() > 0.97
    assert model.workers()["low"][0] > 0.9


def test_gold_is_kept_and_teaches():
    task, worker = np.repeat(np.arange(40), 3), np.tile(np.arange(3), 40)
    truth = np.arange(40) % 2
    label = np.where(worker == 2, truth[task], 0)  # two who always say the same against one who knows
    votes = as_votes(task, worker, label, None, 40, 3, 2)
    mask = np.arange(40) < 30
    model = BayesianDawidSkene().fit(votes, Hard(votes.space, truth.astype(np.int32), mask))
    np.testing.assert_array_equal(model.belief_.p[mask], np.eye(2)[truth[mask]])
    np.testing.assert_array_equal(model.belief_sd_[mask], 0.0)
    assert (model.belief_.p[~mask].argmax(axis=1) == truth[~mask]).all()


def test_no_votes_and_bad_options():
    votes = as_votes(np.empty(0, int), np.empty(0, int), np.empty(0, int), None, 2, 1, 3)
    model = BayesianDawidSkene().fit(votes)
    np.testing.assert_allclose(model.belief_.p, 1 / 3)
    np.testing.assert_allclose(model.workers()["accuracy"], 0.7)
    with pytest.raises(InputError, match="prior_accuracy"):
        BayesianDawidSkene(prior_accuracy=1.0).fit(votes)


# State and permutation


def test_order_of_rows_changes_no_bit():
    task, worker, label, *_ = crowd()
    votes = Votes.from_long(task, [f"w{j}" for j in worker], label)
    order = np.random.default_rng(5).permutation(len(task))
    other = Votes.from_long(task[order], [f"w{j}" for j in worker[order]], label[order])
    a, b = BayesianDawidSkene().fit(votes), BayesianDawidSkene().fit(other)
    at = np.argsort(votes.task_ids), np.argsort(other.task_ids)
    np.testing.assert_array_equal(a.belief_.p[at[0]], b.belief_.p[at[1]])
    np.testing.assert_array_equal(a.belief_sd_[at[0]], b.belief_sd_[at[1]])


def test_relabelling_weights_and_prediction():
    task, worker, label, weight, *_ = crowd(weighted=True)
    flip = np.array([2, 0, 1])
    votes = as_votes(task, worker, label, weight, 80, 8, 3)
    a = BayesianDawidSkene().fit(votes)
    b = BayesianDawidSkene().fit(as_votes(task, worker, flip[label], weight, 80, 8, 3))
    np.testing.assert_allclose(a.belief_.p, b.belief_.p[:, flip], atol=1e-8)
    np.testing.assert_allclose(a.confusion_, b.confusion_[:, flip][:, :, flip], atol=1e-8)
    many = np.repeat(np.arange(len(task)), weight.astype(int))
    c = BayesianDawidSkene().fit(as_votes(task[many], worker[many], label[many], None, 80, 8, 3))
    np.testing.assert_allclose(a.belief_.p, c.belief_.p, atol=1e-8)
    np.testing.assert_allclose(a.predict_proba(votes), a.belief_.p, atol=1e-12)
    new = Votes.from_long(["t"], ["nobody knows"], ["b"], votes.space)
    by_hand = a.typical_[:, 1] * a.prior_
    np.testing.assert_allclose(a.predict_proba(new)[0], by_hand / by_hand.sum(), atol=0.01)
    assert {len(column) for column in a.workers().values()} == {8}
    assert {len(column) for column in a.evidence().values()} == {80}


def test_doubt_shrinks_with_votes():
    few, many = crowd(v=100), crowd(v=4000)
    sd = [BayesianDawidSkene().fit(as_votes(*c[:4], 80, 8, 3)).workers()["accuracy_sd"].mean() for c in (few, many)]
    assert sd[1] < sd[0] / 2


# Claim


@pytest.mark.claim
def test_rte_accuracy_and_nll(shared_data):
    table = pd.read_csv(shared_data("snow2008/rte.csv"))
    votes = Votes.from_long(table["item"].to_numpy(), table["worker"].tolist(), table["response"].to_numpy())
    gold = table.groupby("item")["gold"].first().loc[votes.task_ids].to_numpy()
    model = BayesianDawidSkene().fit(votes)
    assert (model.predict(votes) == gold).mean() >= 0.925
    assert nll(model.belief_.p, gold) < 0.4  # Dawid-Skene: above 0.6


@pytest.mark.claim
def test_intervals_of_accuracy_cover():
    inside = []
    for seed in range(20):
        task, worker, label, _, truth, matrices = crowd(n=400, w=30, k=3, v=2400, seed=seed)
        model = BayesianDawidSkene().fit(as_votes(task, worker, label, None, 400, 30, 3))
        shares = np.bincount(truth, minlength=3) / 400
        accuracy = np.einsum("t,jtt->j", shares, matrices)
        workers = model.workers()
        inside.append((workers["low"] <= accuracy) & (accuracy <= workers["high"]))
    assert np.mean(inside) > 0.85  # independent posteriors are too narrow

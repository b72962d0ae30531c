"""MACE: by hand, beside crowd-kit, limits, order, and what it must show."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy.special import betaln, gammaln

from assay.aggregate.mace import MACE, Counts, Prior, expect, maximise, prior_terms, run
from assay.errors import InputError
from assay.kernels.vote_mace import mace_expect, vote_counts
from assay.kernels.vote_table import vote_table
from assay.labels import Hard, Space, Votes

BOTH = pytest.mark.parametrize("inference", ["variational", "em"])
VAGUE, SMALL = Prior(0.5, 0.5, 10.0), Prior(0.005, 0.005, 0.005)


def crowd(n=80, w=8, k=3, v=500, seed=0, weighted=False):
    """Votes drawn from MACE itself, as columns, with the truth and the chance of spamming."""
    rng = np.random.default_rng(seed)
    truth, spam, habit = rng.integers(0, k, n), rng.beta(1, 2, w), rng.dirichlet(np.ones(k), w)
    task, worker = rng.integers(0, n, v), rng.integers(0, w, v)
    lazy = (rng.random(v)[:, None] > habit[worker].cumsum(axis=1)).sum(axis=1).clip(0, k - 1)
    label = np.where(rng.random(v) < spam[worker], lazy, truth[task])
    weight = rng.integers(1, 4, v).astype(np.float32) if weighted else None
    return task, worker, label, weight, truth, spam


def as_votes(task, worker, label, weight, n, w, k):
    ids = np.arange(n), np.array([f"w{j}" for j in range(w)])
    return Votes(Space(tuple("abcdefghij"[:k])), task, worker, np.asarray(label, dtype=np.int32), *ids, weight=weight)


def prior_of(inference):
    return VAGUE if inference == "variational" else SMALL


# By hand


@pytest.mark.parametrize("weighted", [False, True])
def test_expectation_equals_enumeration_of_every_truth(weighted):
    n, w, k = 5, 4, 3
    task, worker, label, weight, *_ = crowd(n, w, k, 18, seed=2, weighted=weighted)
    rng = np.random.default_rng(0)
    spam = rng.random(w)
    habit = spam[:, None] * rng.dirichlet(np.ones(k), w)
    table = vote_table(task, worker, label, n, w, k, weight)
    unit = np.ones(len(task)) if weight is None else weight.astype(float)
    joint, truths = [], np.array(list(itertools.product(range(k), repeat=n)))
    for truth in truths:
        chances = habit[worker, label] + (1 - spam[worker]) * (label == truth[task])
        joint.append(unit @ np.log(chances) - n * math.log(k))
    joint = np.array(joint)
    value = joint.max() + np.log(np.exp(joint - joint.max()).sum())
    chance = np.exp(joint - value)
    belief = np.stack([chance @ (truths == t) for t in range(k)], axis=1)
    cast = vote_counts(table)
    got, p, counts = expect(table, cast, 1 - spam, habit)
    assert got == pytest.approx(value, abs=1e-10)
    np.testing.assert_allclose(p, belief, atol=1e-12)
    strategy, know = np.zeros((w, k)), np.zeros(w)
    for e in range(len(task)):
        j, a = worker[e], label[e]
        knew = belief[task[e], a] * (1 - spam[j]) / (1 - spam[j] + habit[j, a])
        know[j] += unit[e] * knew
        strategy[j, a] += unit[e] * (1 - knew)
    np.testing.assert_allclose(counts.know, know, atol=1e-12)
    np.testing.assert_allclose(counts.strategy, strategy, atol=1e-12)


@BOTH
def test_objective_never_falls_and_its_gain_is_real(inference):
    task, worker, label, weight, *_ = crowd(weighted=True)
    table = vote_table(task, worker, label, 80, 8, 3, weight)
    found = run(table, np.full(8, 0.5), prior_of(inference), inference, tol=1e-12, max_iter=400)
    assert (np.diff(found.objective) >= -1e-9).all()
    assert found.objective[-1] > found.objective[0]


def test_evidence_bound_is_below_the_evidence():
    """With one worker the evidence is a sum over the truths and over who spammed, each a ratio of beta functions."""
    task, label, k = np.arange(4), np.array([0, 0, 1, 0]), 2
    table = vote_table(task, np.zeros(4, int), label, 4, 1, k)
    prior = Prior(0.7, 1.3, 2.0)
    terms = []
    for truth in itertools.product(range(k), repeat=4):
        for lazy in itertools.product([0, 1], repeat=4):
            if any(label[i] != truth[i] and not lazy[i] for i in range(4)):
                continue
            s = np.array(lazy)
            habit = np.array([np.sum(s * (label == a)) for a in range(k)])
            value = betaln(prior.spam + s.sum(), prior.know + 4 - s.sum()) - betaln(prior.spam, prior.know)
            value += gammaln(k * prior.strategy) - gammaln(k * prior.strategy + s.sum())
            value += np.sum(gammaln(prior.strategy + habit) - gammaln(prior.strategy))
            terms.append(value - 4 * math.log(k))
    evidence = np.logaddexp.reduce(terms)
    bound = run(table, np.array([0.5]), prior, "variational", tol=1e-13).objective[-1]
    assert bound <= evidence
    assert bound > evidence - 1.0


def test_prior_terms_of_em_are_log_densities():
    counts = Counts(np.array([[2.0, 1.0], [0.0, 4.0]]), np.array([3.0, 1.0]))
    know, habit = maximise(counts, SMALL, "em")
    by_hand = 0.0
    for j in range(2):
        spam = 1 - know[j]
        by_hand += 0.005 * (math.log(spam) + math.log(know[j]) + sum(math.log(h / spam) for h in habit[j]))
    assert prior_terms(counts, know, habit, SMALL, "em") == pytest.approx(by_hand)


@pytest.mark.parametrize(("inference", "theirs"), [("variational", "vb"), ("em", "em")])
def test_updates_equal_crowd_kit(inference, theirs):
    crowdkit = pytest.importorskip("crowdkit.aggregation")
    task, worker, label, *_ = crowd(n=40, w=6, k=3, v=240)
    order = np.lexsort((label, worker))  # the peer's tables are right only for sorted rows
    task, worker, label = task[order], worker[order], label[order]
    peer = crowdkit.MACE(n_restarts=1, n_iter=7, method=theirs)
    data = pd.DataFrame({"task": task, "worker": worker, "label": label})
    tasks, codes = pd.factorize(data["task"])[1], pd.factorize(data["label"])[1]
    belief = peer.fit_predict_proba(data).loc[range(40), range(3)].to_numpy()
    peer._initialize(6, 3)
    table = vote_table(task, worker, label, 40, 6, 3)
    strategy = np.empty((6, 3))
    strategy[:, codes] = peer.thetas_
    know, habit, cast = peer.spamming_[:, 1], peer.spamming_[:, :1] * strategy, vote_counts(table)
    assert len(tasks) == 40
    prior = VAGUE if inference == "variational" else Prior(*[0.01 / 3] * 3)
    for _ in range(7):
        _, _, counts = expect(table, cast, know, habit)
        know, habit = maximise(counts, prior, inference)
    np.testing.assert_allclose(expect(table, cast, know, habit)[1], belief, atol=1e-8)


# Limits


def test_workers_who_never_spam_are_believed_entirely():
    task, worker = np.repeat(np.arange(4), 3), np.tile(np.arange(3), 4)
    label = np.repeat([2, 0, 1, 1], 3)
    table = vote_table(task, worker, label, 4, 3, 3)
    value, belief, right = mace_expect(table, vote_counts(table), np.ones(3), np.zeros((3, 3)))
    np.testing.assert_array_equal(belief, np.eye(3)[[2, 0, 1, 1]])
    assert value == pytest.approx(-4 * math.log(3))
    np.testing.assert_array_equal(right, vote_counts(table))


@BOTH
def test_one_vote_in_all(inference):
    votes = Votes.from_long(["t"], ["ann"], ["x"], Space(("x", "y")))
    model = MACE(inference).fit(votes)
    assert model.belief_.p[0, 0] >= 0.5
    assert model.predict(votes).tolist() == [0]
    assert MACE(inference).fit(Votes.from_long(["t"], ["ann"], ["x"])).belief_.p.tolist() == [[1.0]]


@BOTH
def test_all_ties_stay_even_and_a_task_without_votes_is_uniform(inference):
    task, worker, label = np.repeat(np.arange(6), 2), np.tile([0, 1], 6), np.tile([0, 1, 1, 0], 3)
    model = MACE(inference, n_restarts=1).fit(as_votes(task, worker, label, None, 7, 2, 2))
    np.testing.assert_allclose(model.belief_.p, 0.5, atol=1e-9)


@BOTH
def test_ten_thousand_votes_on_one_task_and_a_worker_who_votes_on_everything(inference):
    rng = np.random.default_rng(0)
    task = np.r_[np.zeros(10_000, int), np.arange(300)]
    worker = np.r_[1 + np.arange(10_000) % 500, np.zeros(300, int)]
    truth = rng.integers(0, 3, 300)
    label = np.r_[np.where(rng.random(10_000) < 0.8, truth[0], rng.integers(0, 3, 10_000)), truth]
    more = rng.integers(0, 300, 4000), rng.integers(1, 501, 4000)
    task, worker = np.r_[task, more[0]], np.r_[worker, more[1]]
    label = np.r_[label, np.where(rng.random(4000) < 0.7, truth[more[0]], rng.integers(0, 3, 4000))]
    model = MACE(inference).fit(as_votes(task, worker, label, None, 300, 501, 3))
    assert np.isfinite(model.objective_).all()
    assert model.belief_.p[0, truth[0]] > 1 - 1e-6
    assert (model.belief_.p.argmax(axis=1) == truth).mean() > 0.97
    assert model.competence_[0] > 0.9


def test_spammers_are_found_and_their_habit_named():
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 3, 200)
    task, worker = np.repeat(np.arange(200), 5), np.tile(np.arange(5), 200)
    label = np.where(worker >= 3, 1, np.where(rng.random(1000) < 0.9, truth[task], rng.integers(0, 3, 1000)))
    workers = MACE().fit(as_votes(task, worker, label, None, 200, 5, 3)).workers()
    assert (workers["competence"][:3] > 0.7).all()
    assert (workers["competence"][3:] < 0.3).all()
    assert workers["habit_class"][3:].tolist() == [1, 1]
    assert (workers["competence_low"] < workers["competence"]).all()
    assert (workers["competence"] < workers["competence_high"]).all()


def test_gold_is_kept_and_teaches():
    task, worker = np.repeat(np.arange(20), 3), np.tile(np.arange(3), 20)
    truth = np.arange(20) % 2
    label = np.where(worker == 2, truth[task], 0)  # two colluding spammers against one who knows
    votes = as_votes(task, worker, label, None, 20, 3, 2)
    mask = np.arange(20) < 14
    model = MACE().fit(votes, Hard(votes.space, truth.astype(np.int32), mask))
    np.testing.assert_array_equal(model.belief_.p[mask], np.eye(2)[truth[mask]])
    assert (model.belief_.p[~mask].argmax(axis=1) == truth[~mask]).all()
    assert model.competence_.argmax() == 2


def test_no_votes_and_bad_options():
    votes = as_votes(np.empty(0, int), np.empty(0, int), np.empty(0, int), None, 2, 1, 3)
    np.testing.assert_allclose(MACE().fit(votes).belief_.p, 1 / 3)
    np.testing.assert_allclose(MACE().fit(votes).predict_proba(votes), 1 / 3)
    with pytest.raises(InputError, match="variational"):
        MACE("vb").fit(votes)
    with pytest.raises(InputError, match="positive"):
        MACE("em", smoothing=0).fit(votes)


# State and permutation


@BOTH
def test_order_of_rows_changes_no_bit(inference):
    task, worker, label, *_ = crowd()
    votes = Votes.from_long(task, [f"w{j}" for j in worker], label)
    order = np.random.default_rng(5).permutation(len(task))
    other = Votes.from_long(task[order], [f"w{j}" for j in worker[order]], label[order])
    a, b = MACE(inference).fit(votes), MACE(inference).fit(other)
    at = np.argsort(votes.task_ids), np.argsort(other.task_ids)
    np.testing.assert_array_equal(a.belief_.p[at[0]], b.belief_.p[at[1]])
    np.testing.assert_array_equal(a.restarts_, b.restarts_)


@BOTH
def test_relabelling_weights_and_restarts(inference):
    task, worker, label, weight, *_ = crowd(weighted=True)
    flip = np.array([2, 0, 1])
    a = MACE(inference).fit(as_votes(task, worker, label, weight, 80, 8, 3))
    b = MACE(inference).fit(as_votes(task, worker, flip[label], weight, 80, 8, 3))
    np.testing.assert_allclose(a.belief_.p, b.belief_.p[:, flip], atol=1e-9)
    many = np.repeat(np.arange(len(task)), weight.astype(int))
    c = MACE(inference).fit(as_votes(task[many], worker[many], label[many], None, 80, 8, 3))
    np.testing.assert_allclose(a.belief_.p, c.belief_.p, atol=1e-9)
    assert len(set(a.restarts_)) == 4  # the runs differ, and the best is kept
    assert a.objective_[-1] == a.restarts_.max()


@BOTH
def test_known_tasks_are_predicted_as_fitted_and_an_unknown_worker_is_average(inference):
    task, worker, label, weight, *_ = crowd()
    votes = as_votes(task, worker, label, weight, 80, 8, 3)
    model = MACE(inference).fit(votes)
    np.testing.assert_allclose(model.predict_proba(votes), model.belief_.p, atol=1e-12)
    belief = model.predict_proba(Votes.from_long(["t"], ["nobody knows"], ["b"], votes.space))[0]
    assert belief.argmax() == 1
    assert {len(column) for column in model.workers().values()} == {8}
    assert {len(column) for column in model.evidence().values()} == {80}
    right = [np.mean(model.belief_.p[task[worker == j], label[worker == j]]) for j in range(8)]
    np.testing.assert_allclose(model.workers()["accuracy"], right)


# Claim


@pytest.mark.claim
@BOTH
def test_rte_accuracy(shared_data, inference):
    table = pd.read_csv(shared_data("snow2008/rte.csv"))
    votes = Votes.from_long(table["item"].to_numpy(), table["worker"].tolist(), table["response"].to_numpy())
    gold = table.groupby("item")["gold"].first().loc[votes.task_ids].to_numpy()
    assert (MACE(inference).fit(votes).predict(votes) == gold).mean() >= 0.925

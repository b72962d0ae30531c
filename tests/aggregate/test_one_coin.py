"""One-coin Dawid-Skene: brute force, the rival's numbers, a likelihood that never falls, order and names."""

import itertools

import numpy as np
import pandas as pd
import pytest
from tests.aggregate.crowds import blocks_of, crowd, permuted

from assay.aggregate.one_coin import OneCoin, average_skill, skills
from assay.labels import Hard, Space, Votes

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:crowdkit", "ignore:.*keyword:Warning")


# By hand


@pytest.mark.parametrize("smoothing", [0.0, 2.0])
def test_belief_and_likelihood_equal_the_sum_over_all_truths(smoothing: float):
    votes, _ = crowd(n=6, w=4, k=3, per_task=3, weight=True)
    model = OneCoin(smoothing, max_iter=3, tol=0).fit(votes)
    belief, total = np.zeros((6, 3)), 0.0
    for truths in itertools.product(range(3), repeat=6):
        chance = np.prod(model.prior_[list(truths)])
        for i, j, said, times in zip(votes.task, votes.worker, votes.label, votes.weight, strict=True):
            skill = model.skill_[j]
            chance *= (skill if said == truths[i] else (1 - skill) / 2) ** times
        total += chance
        belief[np.arange(6), truths] += chance
    assert np.allclose(model.belief_.p, belief / total, atol=1e-9)
    assert model.log_likelihood_[-1] == pytest.approx(np.log(total), abs=1e-6)
    assert np.allclose(model.predict_proba(votes), model.belief_.p)


def test_equals_crowd_kit_after_equal_iterations():
    rival = pytest.importorskip("crowdkit.aggregation")
    for seed, k in ((0, 2), (1, 4)):
        votes, _ = crowd(n=100, w=12, k=k, seed=seed)
        frame = pd.DataFrame({"task": votes.task, "worker": votes.worker, "label": votes.label})
        for steps in (1, 10):
            theirs = rival.OneCoinDawidSkene(n_iter=steps, tol=-1e9).fit(frame)
            ours = OneCoin(smoothing=0, max_iter=steps, tol=0).fit(votes)
            assert np.abs(ours.belief_.p - theirs.probas_.loc[range(100), range(k)].to_numpy()).max() < 1e-6
    ours = OneCoin(smoothing=0, max_iter=11, tol=0).fit(votes)  # the rival's skills are those of the next step
    assert np.abs(ours.skill_ - theirs.skills_.loc[range(12)].to_numpy()).max() < 1e-6


def test_core_functions():
    counts = np.array([[3.0, 1.0], [0.0, 0.0]])
    average = average_skill(counts)
    assert average.tolist() == [0.75, 0.25]
    assert skills(counts, 0.0, average).tolist() == [[0.75, 0.25], [0.75, 0.25]]
    assert np.allclose(skills(counts, 4.0, np.array([0.5, 0.5]))[0], [5 / 8, 3 / 8])
    assert average_skill(np.zeros((0, 2))).tolist() == [0.5, 0.5]


# Limits


def test_perfect_workers_are_one_hot():
    votes = Votes.from_long(["a", "a", "b", "b"], ["x", "y", "x", "y"], [0, 0, 1, 1])
    model = OneCoin(smoothing=0).fit(votes)
    assert np.allclose(model.belief_.p, np.eye(2))
    assert np.allclose(model.skill_, 1)


def test_one_vote_no_vote_one_class():
    assert np.isfinite(OneCoin().fit(Votes.from_long(["t"], ["w"], [1], Space(("0", "1")))).belief_.p).all()
    nothing = OneCoin().fit(Votes.from_long(["t"], ["w"], [None], Space(("0", "1"))))
    assert np.allclose(nothing.belief_.p, 0.5)
    assert OneCoin().fit(Votes.from_long(["t"], ["w"], ["a"])).belief_.p.tolist() == [[1.0]]


def test_gold_is_kept_and_teaches():
    votes, truth = crowd(n=100, w=6, accuracy=(0.1, 0.7))
    model = OneCoin().fit(votes, Hard(votes.space, truth))
    assert np.array_equal(model.belief_.p, np.eye(3)[truth])
    right = np.array([(votes.label == truth[votes.task])[votes.worker == j].mean() for j in range(6)])
    assert np.allclose(model.skill_, right, atol=0.02)


# State and permutation


@pytest.mark.parametrize("accelerate", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_objective_never_falls(accelerate: bool, smoothing: float, seed: int):
    votes, _ = crowd(seed=seed, accuracy=(0.1, 0.9), weight=seed == 1)
    model = OneCoin(smoothing, accelerate=accelerate, tol=1e-12, max_iter=300).fit(votes)
    assert np.diff(model.log_posterior_).min() > -1e-8


def test_order_of_rows_tasks_and_classes_does_not_matter():
    votes, _ = crowd(weight=True)
    rng = np.random.default_rng(5)
    rows, tasks, classes = (rng.permutation(size) for size in (votes.n_votes, votes.n_rows, 3))
    here, there = OneCoin().fit(votes), OneCoin().fit(permuted(votes, rows, tasks, classes))
    assert np.abs(there.belief_.p - here.belief_.p[tasks][:, classes]).max() < 1e-12
    assert np.abs(there.skill_ - here.skill_).max() < 1e-12


def test_blocks_give_the_model_of_one_fit():
    votes, _ = crowd()
    whole, parts = OneCoin().fit(votes), OneCoin().fit_blocks(lambda: blocks_of(votes, 7))
    assert np.abs(parts.skill_ - whole.skill_[np.argsort(votes.worker_ids)]).max() < 1e-14


def test_unknown_workers_and_evidence():
    votes, _ = crowd(n=200, w=5, per_task=5)
    model = OneCoin().fit(votes)
    stranger = Votes(votes.space, np.zeros(1, int), np.zeros(1, int), np.zeros(1, int), np.arange(1), np.array(["new"]))
    assert model.predict_proba(stranger)[0, 0] > model.prior_[0]
    workers = model.workers()
    assert ((workers["low"] <= workers["skill"]) & (workers["skill"] <= workers["high"])).all()
    assert model.evidence()["entropy"].shape == (200,)


@pytest.mark.claim
def test_claim_rte(shared_data):
    frame = pd.read_csv(shared_data("snow2008/rte.csv"))
    votes = Votes.from_long(frame.item.to_numpy(), frame.worker.tolist(), frame.response.to_numpy())
    gold = frame.drop_duplicates("item").set_index("item").gold.loc[votes.task_ids].to_numpy()
    assert (OneCoin().fit(votes).predict(votes) == gold).mean() >= 0.92

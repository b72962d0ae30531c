"""Wawa: the card's formulas by a loop, the rival's skills, workers without skill."""

import numpy as np
import pandas as pd
import pytest
from tests.aggregate.crowds import crowd, permuted

from assay.aggregate.majority import Majority
from assay.aggregate.wawa import Wawa
from assay.labels import Hard, Space, Votes

pytestmark = pytest.mark.filterwarnings("ignore:.*keyword:Warning")


def test_by_a_plain_loop():
    votes, _ = crowd(n=50, w=8, k=3)
    majority = votes.counts().argmax(axis=1)
    skill = np.array([(votes.label == majority[votes.task])[votes.worker == j].mean() for j in range(8)])
    score = np.zeros((50, 3))
    for i, j, said in zip(votes.task, votes.worker, votes.label, strict=True):
        score[i, said] += skill[j]
    model = Wawa().fit(votes)
    assert np.allclose(model.skill_, skill)
    assert np.allclose(model.belief_.p, score / score.sum(axis=1, keepdims=True))
    assert np.allclose(model.predict_proba(votes), model.belief_.p)


def test_skills_equal_crowd_kit():
    rival = pytest.importorskip("crowdkit.aggregation")
    votes, _ = crowd(n=100, k=2)  # five votes on two classes do not tie
    frame = pd.DataFrame({"task": votes.task, "worker": votes.worker, "label": votes.label})
    theirs = rival.Wawa().fit(frame)
    ours = Wawa().fit(votes)
    assert np.abs(ours.skill_ - theirs.skills_.loc[range(12)].to_numpy()).max() < 1e-12
    weighted = rival.MajorityVote().fit(frame, theirs.skills_)
    assert np.abs(ours.belief_.p - weighted.probas_.loc[range(100), range(2)].to_numpy()).max() < 1e-12


def test_equal_workers_are_the_majority():
    votes = Votes.from_long(["a", "a", "b", "b"], ["x", "y", "x", "y"], [0, 0, 1, 1])
    assert np.array_equal(Wawa().fit(votes).belief_.p, Majority().fit(votes).belief_.p)


def test_limits():
    one = Wawa().fit(Votes.from_long(["t"], ["w"], [1], Space(("0", "1"))))
    assert one.skill_.tolist() == [1.0]
    assert one.belief_.p.tolist() == [[0.0, 1.0]]
    none = Wawa().fit(Votes.from_long(["t"], ["w"], [None], Space(("0", "1"))))
    assert none.belief_.p.tolist() == [[0.5, 0.5]]
    # z is never with the majority; alone on a task his votes must still count
    votes = Votes.from_long(["a", "a", "a", "b"], ["x", "y", "z", "z"], [0, 0, 1, 1])
    model = Wawa().fit(votes, Hard(votes.space, np.array([0, 0]), np.array([False, True])))
    assert model.skill_.tolist() == [1.0, 1.0, 0.0]
    assert model.predict_proba(votes)[1].tolist() == [0.0, 1.0]
    assert model.belief_.p[1].tolist() == [1.0, 0.0]  # gold


def test_order_does_not_matter_and_unknown_workers_are_average():
    votes, _ = crowd(weight=True, per_task=7)  # an odd number, so that two classes do not tie
    rng = np.random.default_rng(5)
    rows, tasks = rng.permutation(votes.n_votes), rng.permutation(60)
    here, there = Wawa().fit(votes), Wawa().fit(permuted(votes, rows, tasks))
    assert np.abs(there.belief_.p - here.belief_.p[tasks]).max() < 1e-12
    two = Votes(votes.space, [0, 0], [0, 1], [0, 1], np.arange(1), np.array(["w3", "stranger"]))
    known, average = here.skill_[3], here._average
    assert np.allclose(here.predict_proba(two)[0, :2], np.array([known, average]) / (known + average))
    assert set(here.workers()) == {"worker", "n_votes", "skill", "low", "high"}
    assert len(here.evidence()["margin"]) == 60


@pytest.mark.claim
def test_claim_rte(shared_data):
    frame = pd.read_csv(shared_data("snow2008/rte.csv"))
    votes = Votes.from_long(frame.item.to_numpy(), frame.worker.tolist(), frame.response.to_numpy())
    gold = frame.drop_duplicates("item").set_index("item").gold.loc[votes.task_ids].to_numpy()
    loss = [
        -np.log(np.maximum(model.fit(votes).belief_.p[np.arange(800), gold], 1e-6)).mean()
        for model in (Wawa(), Majority())
    ]
    assert loss[0] < loss[1] - 0.02

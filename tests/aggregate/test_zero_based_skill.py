"""Zero-based skill: the card's loop, the rival's skills, workers and tasks without votes."""

import numpy as np
import pandas as pd
import pytest
from tests.aggregate.crowds import crowd, permuted

from assay.aggregate.majority import Majority
from assay.aggregate.zero_based_skill import ZeroBasedSkill
from assay.errors import InputError
from assay.labels import Hard, Space, Votes

pytestmark = pytest.mark.filterwarnings("ignore:.*keyword:Warning")


def test_by_a_plain_loop():
    votes, _ = crowd(n=50, w=8, k=3, accuracy=(0.2, 0.9))
    skill, rate = np.full(8, 1 / 3 + 1e-5), 1.0
    for step in range(1, 101):
        rate *= 0.5 if step % 20 == 0 else 1.0
        score = np.zeros((50, 3))
        for i, j, said in zip(votes.task, votes.worker, votes.label, strict=True):
            score[i, said] += skill[j]
        top = (score >= score.max(axis=1, keepdims=True) - 1e-9).argmax(axis=1)
        right = np.array([(votes.label == top[votes.task])[votes.worker == j].mean() for j in range(8)])
        skill = skill + rate * (right - skill)
    model = ZeroBasedSkill().fit(votes)
    assert np.allclose(model.skill_, skill, atol=1e-9)
    score = np.zeros((50, 3))
    for i, j, said in zip(votes.task, votes.worker, votes.label, strict=True):
        score[i, said] += skill[j]
    assert np.allclose(model.belief_.p, score / score.sum(axis=1, keepdims=True))
    assert model.converged_
    assert model.n_iter_ < 100


def test_skills_equal_crowd_kit():
    rival = pytest.importorskip("crowdkit.aggregation")
    for steps in (1, 3, 25):
        votes, _ = crowd(n=100, k=4, seed=steps, accuracy=(0.2, 0.9))
        frame = pd.DataFrame({"task": votes.task, "worker": votes.worker, "label": votes.label})
        theirs = rival.ZeroBasedSkill(n_iter=steps).fit(frame)
        ours = ZeroBasedSkill(max_iter=steps).fit(votes)
        assert np.abs(ours.skill_ - theirs.skills_.loc[range(12)].to_numpy()).max() < 1e-9


def test_limits():
    one = ZeroBasedSkill().fit(Votes.from_long(["t"], ["w"], [1], Space(("0", "1"))))
    assert one.belief_.p.tolist() == [[0.0, 1.0]]
    none = ZeroBasedSkill().fit(Votes.from_long(["t"], ["w"], [None], Space(("0", "1"))))
    assert none.belief_.p.tolist() == [[0.5, 0.5]]
    votes = Votes.from_long(["a", "a", "b", "b"], ["x", "y", "x", "y"], [0, 0, 1, 1])
    assert np.allclose(ZeroBasedSkill().fit(votes).belief_.p, Majority().fit(votes).belief_.p)


def test_gold_teaches():
    votes, truth = crowd(n=100, w=6, accuracy=(0.1, 0.7))
    model = ZeroBasedSkill().fit(votes, Hard(votes.space, truth))
    right = np.array([(votes.label == truth[votes.task])[votes.worker == j].mean() for j in range(6)])
    assert np.allclose(model.skill_, right)
    assert np.array_equal(model.belief_.p, np.eye(3)[truth])


def test_order_does_not_matter():
    votes, _ = crowd(weight=True, per_task=7)
    rng = np.random.default_rng(5)
    rows, tasks = rng.permutation(votes.n_votes), rng.permutation(60)
    here, there = ZeroBasedSkill().fit(votes), ZeroBasedSkill().fit(permuted(votes, rows, tasks))
    assert np.abs(there.belief_.p - here.belief_.p[tasks]).max() < 1e-12
    assert np.allclose(here.predict_proba(votes), here.belief_.p)
    assert len(here.workers()["skill"]) == 12
    assert len(here.evidence()["top"]) == 60


@pytest.mark.parametrize("options", [{"max_iter": 0}, {"rate": 0.0}, {"rate": 1.5}, {"halve_every": 0}])
def test_bad_options_are_named(options: dict[str, float]):
    with pytest.raises(InputError, match="max_iter"):
        ZeroBasedSkill(**options).fit(crowd()[0])


@pytest.mark.claim
def test_claim_rte(shared_data):
    frame = pd.read_csv(shared_data("snow2008/rte.csv"))
    votes = Votes.from_long(frame.item.to_numpy(), frame.worker.tolist(), frame.response.to_numpy())
    gold = frame.drop_duplicates("item").set_index("item").gold.loc[votes.task_ids].to_numpy()
    mine, theirs = (model.fit(votes).belief_.p for model in (ZeroBasedSkill(), Majority()))
    assert (mine.argmax(axis=1) == gold).mean() > (theirs.argmax(axis=1) == gold).mean()
    loss = [-np.log(np.maximum(p[np.arange(800), gold], 1e-6)).mean() for p in (mine, theirs)]
    assert loss[0] < loss[1] - 0.02

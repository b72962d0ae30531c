"""Majority vote: counts by a loop, the rival's numbers, ties, tasks and workers without votes."""

import numpy as np
import pandas as pd
import pytest
from tests.aggregate.crowds import crowd, permuted

from assay.aggregate.majority import Majority
from assay.errors import InputError
from assay.kernels.vote_shares import NO_VOTES, agreement, shares, totals, winners
from assay.kernels.vote_table import vote_table
from assay.labels import Space, Votes

pytestmark = pytest.mark.filterwarnings("ignore:.*keyword:Warning")

# By hand


def test_kernels_by_a_plain_loop():
    votes, _ = crowd(n=40, w=7, k=4, weight=True)
    skill = np.random.default_rng(0).random(7)
    table = vote_table(votes.task, votes.worker, votes.label, 41, 8, 4, votes.weight)  # one task, one worker more
    score, hits, cast = np.zeros((41, 4)), np.zeros(8), np.zeros(8)
    for i, j, said, weight in zip(votes.task, votes.worker, votes.label, votes.weight, strict=True):
        score[i, said] += skill[j] * weight
    best = score.argmax(axis=1)
    for i, j, said, weight in zip(votes.task, votes.worker, votes.label, votes.weight, strict=True):
        hits[j] += weight * (said == best[i])
        cast[j] += weight
    everyone = np.append(skill, 0.5)
    assert np.allclose(totals(table, everyone), score)
    found = winners(table, everyone)
    assert found.tolist() == [*best[:40], NO_VOTES]
    share, mean = agreement(table, found)
    assert np.allclose(share[:7], (hits / np.maximum(cast, 1))[:7])
    assert np.isnan(share[7])
    assert mean == pytest.approx(hits.sum() / cast.sum())
    belief, prior = shares(table, everyone)
    assert np.allclose(belief[:40], score[:40] / score[:40].sum(axis=1, keepdims=True))
    assert np.allclose(belief[40], prior)


def test_votes_of_no_weight_count_the_same():
    table = vote_table(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 2]), np.array([1, 1, 0, 0]), 2, 3, 2)
    belief, prior = shares(table, np.array([0.0, 0.0, 1.0]))
    assert np.allclose(belief, [[1 / 3, 2 / 3], [1, 0]])
    assert np.allclose(prior, [2 / 3, 1 / 3])


def test_equals_crowd_kit():
    rival = pytest.importorskip("crowdkit.aggregation")
    for k in (4, 2):
        votes, _ = crowd(n=100, k=k)
        frame = pd.DataFrame({"task": votes.task, "worker": votes.worker, "label": votes.label})
        theirs = rival.MajorityVote().fit(frame)
        ours = Majority().fit(votes)
        assert np.abs(ours.belief_.p - theirs.probas_.loc[range(100), range(k)].to_numpy()).max() < 1e-12
    # five votes on two classes do not tie; where they do, the rival takes the class that came first in its table
    assert np.array_equal(ours.predict(votes), theirs.labels_.loc[range(100)].to_numpy())
    assert np.allclose(ours.workers()["agreement"], theirs.skills_.loc[range(12)].to_numpy())


def test_softmax_of_counts():
    votes = Votes.from_long(["a"] * 4, list("wxyz"), ["p", "p", "p", "q"], Space(("p", "q", "r")))
    expected = np.exp([3.0, 1.0, 0.0]) / np.exp([3.0, 1.0, 0.0]).sum()
    assert np.allclose(Majority("softmax").fit(votes).belief_.p[0], expected)
    cool = Majority("softmax", temperature=100.0).fit(votes).belief_.p[0]
    assert np.allclose(cool, 1 / 3, atol=0.01)


# Limits


@pytest.mark.parametrize("how", ["share", "softmax"])
def test_tasks_without_votes_get_the_mean_belief(how: str):
    votes = Votes.from_long(["a", "b", "c"], ["x", "x", "x"], ["p", "q", None])
    model = Majority(how).fit(votes)
    assert np.allclose(model.belief_.p[2], model.belief_.p[:2].mean(axis=0))
    nothing = Majority(how).fit(Votes.from_long(["a"], ["x"], [None], Space(("p", "q"))))
    assert nothing.belief_.p.tolist() == [[0.5, 0.5]]


def test_all_ties():
    votes = Votes.from_long(np.repeat(np.arange(40), 2), np.tile([0, 1], 40), np.tile([0, 1], 40))
    assert Majority().fit(votes).predict(votes).tolist() == [0] * 40
    drawn = [Majority(ties="seeded", random_state=seed).fit(votes).predict(votes).tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert 5 < sum(drawn[0]) < 35


def test_several_votes_by_one_worker_all_count():
    votes = Votes.from_long(["a", "a", "a"], ["x", "x", "y"], ["p", "p", "q"])
    assert np.allclose(Majority().fit(votes).belief_.p, [[2 / 3, 1 / 3]])


# State and permutation


def test_order_does_not_matter_and_new_tasks_are_counted():
    votes, _ = crowd(weight=True)
    rng = np.random.default_rng(5)
    rows, tasks, classes = (rng.permutation(size) for size in (votes.n_votes, votes.n_rows, 3))
    here, there = Majority().fit(votes), Majority().fit(permuted(votes, rows, tasks, classes))
    assert np.abs(there.belief_.p - here.belief_.p[tasks][:, classes]).max() < 1e-12
    assert np.array_equal(here.predict_proba(votes.take([3, 5])), here.belief_.p[[3, 5]])
    assert here.evidence()["n_votes"].tolist() == [5] * 60


def test_bad_options_are_named():
    votes, _ = crowd()
    with pytest.raises(InputError, match="how"):
        Majority("most").fit(votes)
    with pytest.raises(InputError, match="temperature"):
        Majority("softmax", temperature=0.0).fit(votes)
    with pytest.raises(InputError, match="ties"):
        Majority(ties="first").fit(votes).predict(votes)


@pytest.mark.claim
def test_claim_rte(shared_data):
    frame = pd.read_csv(shared_data("snow2008/rte.csv"))
    votes = Votes.from_long(frame.item.to_numpy(), frame.worker.tolist(), frame.response.to_numpy())
    gold = frame.drop_duplicates("item").set_index("item").gold.loc[votes.task_ids].to_numpy()
    loss = {}
    for how in ("share", "softmax"):
        p = Majority(how).fit(votes).belief_.p
        loss[how] = -np.log(np.maximum(p[np.arange(len(p)), gold], 1e-6)).mean()
    assert loss["softmax"] < loss["share"] - 0.05

"""The verb `aggregate`: the default against its parts, gold that chooses nothing, votes that say nothing."""

import numpy as np
import pytest
from tests.aggregate.crowds import crowd, permuted

from assay.aggregate.dawid_skene import DawidSkene
from assay.aggregate.majority import Majority
from assay.aggregate.opinions import Opinions
from assay.errors import InputError
from assay.evidence.aggregate_auto import (
    MODELS,
    NEXT_VOTE,
    Split,
    beliefs_of,
    cast,
    learn,
    selected,
    split_votes,
    telling,
)
from assay.evidence.aggregate_run import METHODS, aggregate
from assay.kernels.calibration import brier, ece, nll
from assay.kernels.soft_means import temper
from assay.kernels.vote_scores import TEMPERATURES, chances
from assay.labels import Hard, Space, Votes

# By hand


def test_the_default_is_the_mean_it_says():
    votes, _ = crowd(n=120)
    found = aggregate(votes)
    full = beliefs_of(votes)
    expected = np.zeros((120, 3))
    for name, weight, t in zip(*(found.members[key] for key in ("worker", "weight", "temperature")), strict=True):
        assert t in TEMPERATURES
        expected += weight * temper(full[name].p, t)
    assert np.allclose(found.belief.p, expected)
    weights = dict(zip(found.members["worker"], found.members["weight"], strict=True))
    assert weights["next_vote"] >= NEXT_VOTE
    assert sum(weights.values()) == pytest.approx(1)
    assert set(weights) == {*MODELS, "opinions", "next_vote"}


def test_temperature_by_trying_each():
    votes, _ = crowd(n=400, per_task=6)
    splits = split_votes(votes)
    formed = [beliefs_of(split.seen) for split in splits]
    auto = learn(splits, formed)
    for name in MODELS:
        score = [
            np.mean(
                [
                    np.log(chances(cast(s.seen), s.held, temper(b[name].p, t), votes.n_workers)).mean()
                    for s, b in zip(splits, formed, strict=True)
                ]
            )
            for t in TEMPERATURES
        ]
        assert auto.temperatures[name] == TEMPERATURES[int(np.argmax(score))]


def test_calibration_against_known_classes_and_held_out_votes():
    votes, truth = crowd(n=80)
    gold = Hard(votes.space, truth.astype(np.int32), np.arange(80) < 50)
    scored = aggregate(votes, "dawid_skene", gold=gold).calibration
    p = DawidSkene().fit(votes).belief_.p[:50]
    assert (scored.against, scored.n) == ("known classes", 50)
    assert scored.log_loss == pytest.approx(nll(p, truth[:50]))
    assert scored.brier == pytest.approx(brier(p, truth[:50]))
    assert scored.ece == pytest.approx(ece(p, truth[:50]))
    blind = aggregate(votes, "dawid_skene").calibration
    assert blind.against == "held-out votes"
    split = split_votes(votes)[0]
    rows = split.chance_of_answers(DawidSkene().fit(split.seen).belief_.p)
    assert blind.n == len(split_votes(votes)) * 80
    assert blind.log_loss == pytest.approx(nll(rows, split.held.label), abs=0.15)


def test_every_method_runs_by_its_name():
    votes, _ = crowd()
    for name, make in METHODS.items():
        found = aggregate(votes, name)
        assert np.array_equal(found.belief.p, make().fit(votes).belief_.p)
        assert found.method == name
        assert found.members is None
        assert len(found.workers["worker"]) == 12
        assert len(found.tasks["entropy"]) == 60
        assert found.disputed(5).tolist() == np.argsort(-found.tasks["entropy"], kind="stable")[:5].tolist()


# Limits


def test_known_classes_choose_nothing():
    votes, truth = crowd(n=80)
    lies = Hard(votes.space, ((truth + 1) % 3).astype(np.int32))
    assert np.array_equal(aggregate(votes, gold=lies).belief.p, aggregate(votes).belief.p)
    nothing = Hard(votes.space, np.zeros(80, dtype=np.int32), np.zeros(80, dtype=bool))
    assert aggregate(votes, gold=nothing).calibration.against == "held-out votes"


def test_the_next_vote_is_another_question():
    votes, _ = crowd(n=80)
    assert np.array_equal(aggregate(votes, target="next_vote").belief.p, Opinions("next_vote").fit(votes).belief_.p)


def test_a_member_that_tells_nothing_has_no_say():
    """From anonymous votes of which 94 % name one class, MACE holds that nobody looks and believes a third of each."""
    rng = np.random.default_rng(0)
    n = 2000
    label = np.array([rng.choice(3, size=2, p=shares) for shares in rng.dirichlet([0.3, 6, 0.1], size=n)]).ravel()
    space = Space(("a", "b", "c"))
    votes = Votes(space, np.repeat(np.arange(n), 2), np.zeros(2 * n, int), label, np.arange(n), np.array(["anyone"]))
    beliefs = beliefs_of(votes)
    assert [name for name in MODELS if not telling(beliefs, name)] == ["mace"]
    found = aggregate(votes)
    weights = dict(zip(found.members["worker"], found.members["weight"], strict=True))
    assert weights["mace"] == 0
    assert "mace" not in found.why
    assert np.allclose(found.belief.p.mean(axis=0), [0.045, 0.94, 0.015], atol=0.04)


def test_tasks_chosen_by_agreement_teach_nothing():
    tasks = ["aaabb", "bbbcc", "cccaa", "aaabc", "bbbca", "ccbca"] * 20
    said = [(i, label) for i, labels in enumerate(tasks) for label in labels]
    task, label = zip(*said, strict=True)
    votes = Votes.from_long(task, ["anyone"] * len(task), label, Space(("a", "b", "c")))
    assert selected(votes)
    found = aggregate(votes)
    assert np.array_equal(found.belief.p, Majority("softmax").fit(votes).belief_.p)
    assert "chosen by how their voters agreed" in found.warnings[0]
    assert not selected(crowd(n=200)[0])


ODD = {
    "one vote": ([0], [0], [1], 1, None),
    "all ties": ([0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 0, 1], 2, None),
    "a task without votes": ([0, 0, 2, 2], [0, 1, 0, 1], [0, 1, 1, 1], 3, None),
    "one vote a task": (range(30), [0] * 15 + [1] * 15, [0, 1] * 15, 30, None),
    "no disagreement": ([*range(20)] * 3, [0] * 20 + [1] * 20 + [2] * 20, [1] * 60, 20, None),
    "votes of no weight": ([0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 0, 1], 2, [1, 0, 1, 0]),
    "one worker, many votes": ([0, 0, 0, 1, 1], [0] * 5, [1, 1, 2, 0, 0], 2, None),
    "a task with 3000 votes": ([0] * 3000 + [1, 1], [*range(30)] * 100 + [0, 1], [0, 1, 1] * 1000 + [0, 1], 2, None),
}


@pytest.mark.parametrize("case", ODD)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_odd_votes_have_a_belief_and_a_score(case):
    task, worker, label, n, weight = ODD[case]
    weights = None if weight is None else np.array(weight, dtype=np.float32)
    columns = (np.array(list(column)) for column in (task, worker, label))
    votes = Votes(Space(("a", "b", "c")), *columns, np.arange(n), np.arange(max(worker) + 1), weight=weights)
    for target in ("truth", "next_vote"):
        found = aggregate(votes, target=target)
        assert np.isfinite(found.belief.p).all()
        assert np.isfinite([found.calibration.log_loss, found.calibration.brier, found.calibration.ece]).all()
    assert ("no vote" in " ".join(found.warnings)) == (case == "a task without votes")
    assert ("No task has two votes" in " ".join(found.warnings)) == (case in ("one vote", "one vote a task"))


def test_one_class_is_certain():
    votes = Votes.from_long(["a", "a", "b"], ["x", "y", "x"], ["n", "n", "n"])
    found = aggregate(votes)
    assert (found.belief.p == 1).all()
    assert "one class" in found.warnings[0]


# State


def test_the_order_of_votes_does_not_matter_and_the_seed_hardly():
    votes, _ = crowd(n=150)
    one = aggregate(votes, random_state=3).belief.p
    rows = np.random.default_rng(0).permutation(votes.n_votes)
    assert np.allclose(aggregate(permuted(votes, rows), random_state=3).belief.p, one, atol=1e-6)
    assert np.array_equal(aggregate(votes, random_state=3).belief.p, one)
    assert np.abs(aggregate(votes, random_state=4).belief.p - one).mean() < 0.05


def test_splits_hold_out_what_is_not_seen():
    votes, _ = crowd(n=50, weight=True)
    splits = split_votes(votes)
    assert len(splits) == 5
    for split in splits:
        assert split.seen.n_votes + len(split.held.task) == votes.n_votes
        assert np.array_equal(np.sort(split.held.task), np.arange(50))
        together = split.seen.totals()
        np.add.at(together, (split.held.task, split.held.label), split.held.weight)
        assert np.allclose(together, votes.totals())
    assert not np.array_equal(splits[0].held.label, splits[1].held.label)
    assert isinstance(splits[0], Split)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "mean"}, "Unknown method 'mean'"),
        ({"target": "label"}, "target"),
        ({"gold": Hard(Space(("c0", "c1", "c2")), np.zeros(3, dtype=np.int32))}, "3 rows for 60"),
        ({"gold": Hard(Space(("a", "b")), np.zeros(60, dtype=np.int32))}, "spaces differ"),
    ],
)
def test_bad_input_is_named(change, words):
    with pytest.raises(InputError, match=words):
        aggregate(crowd()[0], **change)


def test_no_votes_is_an_error():
    votes, _ = crowd()
    with pytest.raises(InputError, match="no vote"):
        aggregate(votes.take(np.zeros(60, dtype=bool)))


# Claim


@pytest.mark.claim
def test_the_default_is_near_the_best_of_all_methods_on_made_up_crowds():
    apart = []
    for seed in range(6):
        votes, truth = crowd(n=800, w=30, k=3, per_task=5, accuracy=(0.2, 0.9), seed=seed)
        losses = {name: aggregate(votes, name, gold=Hard(votes.space, truth.astype(np.int32))) for name in METHODS}
        best = min(found.calibration.log_loss for found in losses.values())
        apart.append(aggregate(votes, gold=Hard(votes.space, truth.astype(np.int32))).calibration.log_loss - best)
    assert np.mean(apart) < 0.06  # the price of what these crowds lack: judges who differ from the crowd

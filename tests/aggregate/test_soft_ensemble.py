"""Soft ensembles: means by a loop, the paper's average on the RTE votes, members that do not fit."""

import csv

import numpy as np
import pytest
from sklearn.base import clone
from tests.aggregate.crowds import crowd

from assay.aggregate.dawid_skene import DawidSkene
from assay.aggregate.glad import GLAD
from assay.aggregate.mace import MACE
from assay.aggregate.majority import Majority
from assay.aggregate.soft_ensemble import SoftEnsemble
from assay.aggregate.wawa import Wawa
from assay.aggregate.zero_based_skill import ZeroBasedSkill
from assay.errors import InputError
from assay.kernels.calibration import nll
from assay.kernels.soft_means import js_centroid, match_temperatures, temper
from assay.labels import Hard, Soft, Space, Votes


def some_beliefs(votes, m=3, seed=0):
    rng = np.random.default_rng(seed)
    return {f"m{i}": Soft(votes.space, rng.dirichlet(np.ones(votes.space.n_classes), votes.n_rows)) for i in range(m)}


# By hand


def test_weighted_tempered_mean_by_a_loop():
    votes, _ = crowd(n=10)
    beliefs = some_beliefs(votes)
    model = SoftEnsemble(weights={"m0": 1, "m2": 3}, temperatures={"m2": 2.0}).fit(votes, beliefs)
    for i in range(10):
        warm = np.sqrt(beliefs["m2"].p[i])
        assert np.allclose(model.belief_.p[i], 0.25 * beliefs["m0"].p[i] + 0.75 * warm / warm.sum())
    assert model.weights_.tolist() == [0.25, 0.0, 0.75]
    assert model.temperatures_.tolist() == [1.0, 1.0, 2.0]
    assert np.array_equal(model.predict(votes, beliefs), model.belief_.p.argmax(axis=1))


def test_every_way_to_combine():
    votes, _ = crowd(n=40)
    beliefs = some_beliefs(votes)
    p = np.stack([belief.p for belief in beliefs.values()])
    t = match_temperatures(p)
    warm = np.stack([temper(one, at) for one, at in zip(p, t, strict=True)])
    expected = {"mean": p.mean(0), "js_centroid": js_centroid(p), "tempered": warm.mean(0), "hybrid": js_centroid(warm)}
    for combine, belief in expected.items():
        model = SoftEnsemble(combine).fit(votes, beliefs)
        assert np.allclose(model.belief_.p, belief)
        assert np.allclose(model.predict_proba(votes, beliefs), belief)
        assert np.allclose(model.temperatures_, t if combine in ("tempered", "hybrid") else 1)


# Limits


def test_one_member_is_itself_and_no_task_is_no_row():
    votes, _ = crowd(n=10)
    beliefs = some_beliefs(votes)
    for combine in ("mean", "js_centroid"):
        assert np.allclose(SoftEnsemble(combine, ["m1"]).fit(votes, beliefs).belief_.p, beliefs["m1"].p)
    none = votes.take(np.zeros(10, dtype=bool))
    empty = {name: belief.take(np.zeros(10, dtype=bool)) for name, belief in beliefs.items()}
    for combine in ("mean", "js_centroid", "tempered", "hybrid"):
        assert SoftEnsemble(combine).fit(none, empty).belief_.p.shape == (0, 3)


def test_evidence_says_who_stands_apart():
    votes, _ = crowd(n=30)
    beliefs = some_beliefs(votes, m=2)
    beliefs["like m0"] = beliefs["m0"]
    model = SoftEnsemble().fit(votes, beliefs)
    members, tasks = model.workers(), model.evidence()
    assert members["worker"].tolist() == ["m0", "m1", "like m0"]
    assert members["divergence"].argmax() == 1
    assert tasks["divergence"].shape == (30,)
    assert np.allclose(members["weight"] @ members["divergence"], tasks["divergence"].mean())


# State


def test_tasks_and_members_may_come_in_any_order():
    votes, _ = crowd(n=30)
    beliefs = some_beliefs(votes)
    rows = np.random.default_rng(0).permutation(30)
    for combine in ("mean", "js_centroid", "tempered"):
        one = SoftEnsemble(combine).fit(votes, beliefs).belief_.p
        turned = {name: beliefs[name].take(rows) for name in ("m2", "m0", "m1")}
        assert np.allclose(SoftEnsemble(combine).fit(votes.take(rows), turned).belief_.p, one[rows], atol=1e-4)


def test_parameters_are_stored_untouched():
    model = SoftEnsemble("hybrid", ["a"], {"a": 2.0}, {"a": 3.0}, "seeded", 7)
    assert clone(model).get_params() == model.get_params()


@pytest.mark.parametrize(
    ("options", "change", "words"),
    [
        ({"combine": "median"}, {}, "combine"),
        ({"members": ["m0", "who"]}, {}, "'who'"),
        ({"members": []}, {}, "at least one"),
        ({"weights": {"who": 1.0}}, {}, "weights name 'who'"),
        ({"temperatures": {"m0": 0.0}}, {}, "above 0"),
        ({"weights": {"m0": -1.0}}, {}, "Weights"),
        ({}, {"m1": "short"}, "9 rows for 10 tasks"),
        ({}, {"m1": "space"}, "other order|another order"),
        ({}, {"m1": "mask"}, "says nothing"),
    ],
)
def test_what_does_not_fit_is_named(options, change, words):
    votes, _ = crowd(n=10)
    beliefs = some_beliefs(votes)
    p = beliefs["m1"].p
    for name, how in change.items():
        if how == "short":
            beliefs[name] = Soft(votes.space, p[:9])
        elif how == "space":
            beliefs[name] = Soft(Space(("c1", "c0", "c2")), p)
        else:
            beliefs[name] = Soft(votes.space, p, np.arange(10) != 4)
    with pytest.raises(InputError, match=words):
        SoftEnsemble(**options).fit(votes, beliefs)


# Claim


@pytest.mark.claim
def test_the_average_of_seven_soft_labels_on_rte(shared_data):
    with shared_data("snow2008/rte.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    columns = ([row[name] for row in rows] for name in ("item", "worker", "response"))
    votes = Votes.from_long(*columns, Space(("0", "1")))
    gold = {row["item"]: row["gold"] for row in rows}
    known = Hard.from_values([gold[item] for item in votes.task_ids], votes.space)
    models = {
        "standard": Majority(),
        "softmax": Majority("softmax"),
        "ds": DawidSkene(),
        "mace": MACE(),
        "glad": GLAD(),
        "wawa": Wawa(),
        "zbs": ZeroBasedSkill(),
    }
    beliefs = {name: model.fit(votes).belief_ for name, model in models.items()}

    def loss(p):
        p = np.maximum(p, 1e-6)
        return nll(p / p.sum(axis=1, keepdims=True), known.y)

    alone = {name: loss(belief.p) for name, belief in beliefs.items()}
    for combine in ("mean", "js_centroid"):
        found = SoftEnsemble(combine).fit(votes, beliefs)
        assert loss(found.belief_.p) <= 0.23 < min(alone.values())
        assert (found.belief_.p.argmax(axis=1) == known.y).mean() >= 0.925

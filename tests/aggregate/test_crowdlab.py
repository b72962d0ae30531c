"""CROWDLAB: by hand, beside cleanlab, in its limits, and better than its parts."""

import numpy as np
import pandas as pd
import pytest
from cleanlab.multiannotator import get_label_quality_multiannotator

from assay.aggregate.crowdlab import Crowdlab
from assay.errors import InputError
from assay.labels.soft import Soft
from assay.labels.spaces import Space
from assay.labels.votes import Votes


def crowd(seed=0, n=200, w=10, k=4, per_task=(1, 5), skill=(0.5, 0.9), sharp=2.0):
    """Truth, wide votes (n, w) with NaN, probabilities (n, k), votes."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(k, n, p=np.arange(1, k + 1) / np.arange(1, k + 1).sum())
    ability = rng.uniform(*skill, w)
    wide = np.full((n, w), np.nan)
    for i in range(n):
        for j in rng.permutation(w)[: rng.integers(per_task[0], per_task[1] + 1)]:
            wide[i, j] = truth[i] if rng.random() < ability[j] else rng.integers(0, k)
    logits = rng.normal(0, 1, (n, k)) + sharp * np.eye(k)[truth]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return truth, wide, probs, votes_of(wide, k)


def votes_of(wide, k):
    task, worker = np.nonzero(~np.isnan(wide))
    label = wide[task, worker].astype(np.int32)
    return Votes(Space(tuple(map(str, range(k)))), task, worker, label, np.arange(len(wide)), np.arange(wide.shape[1]))


# By hand


def test_belief_by_hand():
    votes = votes_of(np.array([[0, 0, np.nan], [1, 1, 0], [np.nan, 0, np.nan], [1, np.nan, 1.0]]), 2)
    p = np.array([[0.8, 0.2], [0.4, 0.6], [0.3, 0.7], [0.1, 0.9]])
    model = Crowdlab(consensus="majority").fit(votes, p)
    # tasks 0, 1, 3 have two workers or more; consensus 0, 1, 1
    accuracy = (1 + 2 / 3 + 1) / 3
    baseline = 1 / 3  # always saying 1
    peers = np.array([1 + 1 + 1, 1 + 1, 0 + 0 + 1]) / np.array([1 + 2 + 1, 1 + 2, 2 + 1])
    weights = np.maximum(1 - (1 - peers) / baseline, 1e-6)
    model_weight = 1.0 * np.sqrt((2 + 3 + 1 + 2) / 4)
    np.testing.assert_allclose(model.worker_weight_, weights)
    assert model.model_weight_ == pytest.approx(model_weight)
    says = weights[0] * np.array([1 - accuracy, accuracy]) + weights[1] * np.array([1 - accuracy, accuracy])
    says += weights[2] * np.array([accuracy, 1 - accuracy])
    np.testing.assert_allclose(model.belief_.p[1], (model_weight * p[1] + says) / (model_weight + weights.sum()))
    assert model.consensus_.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("consensus", ["best_quality", "majority"])
@pytest.mark.parametrize(
    "case", [{}, {"k": 2, "per_task": (1, 2)}, {"k": 6, "skill": (0.1, 0.5), "sharp": 0.5, "w": 4}]
)
def test_equal_to_cleanlab(consensus, case):
    for seed in range(6):
        _, wide, probs, votes = crowd(seed, **case)
        ours = Crowdlab(consensus).fit(votes, probs)
        theirs = get_label_quality_multiannotator(
            pd.DataFrame(wide),
            probs,
            consensus_method="majority_vote" if consensus == "majority" else consensus,
            return_weights=True,
            verbose=False,
        )
        quality = theirs["label_quality"]
        assert ours.consensus_.tolist() == quality["consensus_label"].tolist()
        np.testing.assert_allclose(ours.quality_, quality["consensus_quality_score"], atol=1e-12)
        np.testing.assert_allclose(ours.agreement_, quality["annotator_agreement"], atol=1e-12)
        assert ours.model_weight_ == pytest.approx(theirs["model_weight"], abs=1e-12)
        np.testing.assert_allclose(ours.worker_weight_, theirs["annotator_weight"], atol=1e-12)
        each = theirs["detailed_label_quality"].to_numpy()[votes.task, votes.worker]
        np.testing.assert_allclose(ours.vote_quality_, each, atol=1e-12)
        stats, mine = theirs["annotator_stats"].sort_index(), ours.workers()
        np.testing.assert_allclose(mine["quality"], stats["annotator_quality"], atol=1e-12)
        np.testing.assert_allclose(mine["agreement"], stats["agreement_with_consensus"], atol=1e-12)
        assert mine["worst_class"].tolist() == stats["worst_class"].tolist()


# Limits


def test_a_task_without_votes_has_the_models_word():
    _, wide, probs, _ = crowd()
    wide[3] = np.nan
    model = Crowdlab().fit(votes_of(wide, 4), probs)
    np.testing.assert_allclose(model.belief_.p[3], probs[3])
    assert np.isnan(model.agreement_[3])
    assert np.isnan(model.agreement_).sum() == 1


def test_a_useless_model_leaves_the_votes():
    truth, _, _, votes = crowd(skill=(0.9, 1.0), per_task=(3, 5))
    model = Crowdlab().fit(votes, np.full((200, 4), 0.25))
    assert model.model_weight_ < 1e-5
    assert np.mean(model.consensus_ == truth) > 0.97


# State and permutation


def test_order_of_rows_does_not_matter():
    _, _, probs, votes = crowd()
    order = np.random.default_rng(0).permutation(votes.n_votes)
    columns = votes.task[order], votes.worker[order], votes.label[order]
    turned = Crowdlab().fit(Votes(votes.space, *columns, votes.task_ids, votes.worker_ids), probs)
    model = Crowdlab().fit(votes, probs)
    np.testing.assert_allclose(turned.belief_.p, model.belief_.p, atol=1e-12)
    np.testing.assert_allclose(turned.vote_quality_, model.vote_quality_[order], atol=1e-12)


def test_a_weight_of_two_is_two_votes():
    _, _, probs, votes = crowd()
    columns = votes.task, votes.worker, votes.label
    ids = votes.task_ids, votes.worker_ids
    twice = Crowdlab().fit(Votes(votes.space, *(np.tile(c, 2) for c in columns), *ids), probs)
    heavy = Crowdlab().fit(Votes(votes.space, *columns, *ids, weight=np.full(votes.n_votes, 2.0)), probs)
    np.testing.assert_allclose(twice.belief_.p, heavy.belief_.p, atol=1e-12)


def test_predict_repeats_fit_and_takes_new_workers():
    _, _, probs, votes = crowd()
    model = Crowdlab().fit(votes, Soft(votes.space, probs))
    np.testing.assert_allclose(model.predict_proba(votes, probs), model.belief_.p)
    stranger = Votes(votes.space, [0], [0], [2], np.arange(1), np.array([99]))
    assert model.predict(stranger, np.full((1, 4), 0.25)).tolist() == [2]


def test_tables_have_one_length():
    _, _, probs, votes = crowd()
    model = Crowdlab().fit(votes, probs)
    assert {len(c) for c in model.workers().values()} == {10}
    assert {len(c) for c in model.evidence().values()} == {200}


def test_odd_inputs():
    _, _, probs, votes = crowd()
    with pytest.raises(InputError, match="199 rows for 200 tasks"):
        Crowdlab().fit(votes, probs[:-1])
    with pytest.raises(InputError, match="sum to 1"):
        Crowdlab().fit(votes, probs * 2)
    with pytest.raises(InputError, match="another order"):
        Crowdlab().fit(votes, Soft(Space(tuple("3210")), probs))
    with pytest.raises(InputError, match="two workers"):
        Crowdlab().fit(votes_of(np.array([[0, np.nan], [np.nan, 1]]), 2), np.full((2, 2), 0.5))
    with pytest.raises(InputError, match="two classes"):
        Crowdlab().fit(Votes(Space(("a",)), [0], [0], [0], np.arange(1), np.arange(1)), np.ones((1, 1)))
    with pytest.raises(InputError, match="consensus"):
        Crowdlab(consensus="best").fit(votes, probs)


# Claim


@pytest.mark.claim
def test_model_and_votes_beat_either():
    for seed in range(10):
        truth, _, probs, votes = crowd(seed, n=2000, per_task=(1, 3), skill=(0.4, 0.8))
        both = np.mean(Crowdlab().fit(votes, probs).consensus_ == truth)
        counted = np.mean(votes.counts().argmax(axis=1) == truth)
        assert both > max(counted, np.mean(probs.argmax(axis=1) == truth))

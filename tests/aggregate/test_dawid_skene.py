"""Dawid-Skene: brute force, the rival's numbers, a likelihood that never falls, order and names that do not matter."""

import itertools
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from tests.aggregate.crowds import blocks_of, crowd, permuted

from assay.aggregate.dawid_skene import DawidSkene, average_worker, said_given_truth
from assay.errors import InputError
from assay.labels import Hard, Space, Votes

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:crowdkit", "ignore:.*keyword:Warning")


# By hand


def enumerated(votes: Votes, prior, confusion, gold=None):
    """Beliefs and likelihood as sums over every assignment of truths to tasks."""
    k, n = len(prior), votes.n_rows
    belief, total = np.zeros((n, k)), 0.0
    for truths in itertools.product(range(k), repeat=n):
        if gold is not None and any(g >= 0 and g != t for g, t in zip(gold, truths, strict=True)):
            continue
        chance = np.prod(prior[list(truths)])
        for i, j, said in zip(votes.task, votes.worker, votes.label, strict=True):
            chance *= confusion[j, truths[i], said]
        total += chance
        belief[np.arange(n), truths] += chance
    return belief / total, np.log(total)


@pytest.mark.parametrize("smoothing", [0.0, 1.5])
def test_belief_and_likelihood_equal_the_sum_over_all_truths(smoothing: float):
    votes, _ = crowd(n=6, w=4, per_task=3)
    known = np.array([-1, -1, 2, -1, -1, -1])
    gold = Hard(votes.space, np.maximum(known, 0), known >= 0)
    model = DawidSkene(smoothing=smoothing, max_iter=4, tol=0).fit(votes, gold)
    belief, likelihood = enumerated(votes, model.prior_, model.confusion_, known)
    assert np.allclose(model.belief_.p, belief, atol=1e-12)
    assert model.log_likelihood_[-1] == pytest.approx(likelihood, abs=1e-9)
    without, _ = enumerated(votes, model.prior_, model.confusion_)
    assert np.allclose(model.predict_proba(votes), without, atol=1e-12)


def test_two_steps_by_a_plain_loop():
    votes, _ = crowd(n=20, w=5, k=3)
    k, s = 3, 0.7
    belief = votes.counts() / votes.counts().sum(axis=1, keepdims=True)
    average = None
    for _ in range(2):
        counts = np.zeros((5, k, k))
        for i, j, said in zip(votes.task, votes.worker, votes.label, strict=True):
            counts[j, said] += belief[i]
        if average is None:
            average = counts.sum(axis=0) / counts.sum(axis=(0, 1))
        table = counts + s * average
        table /= table.sum(axis=1, keepdims=True)
        prior = belief.mean(axis=0)
        belief = np.tile(prior, (20, 1))
        for i, j, said in zip(votes.task, votes.worker, votes.label, strict=True):
            belief[i] *= table[j, said]
        belief /= belief.sum(axis=1, keepdims=True)
    model = DawidSkene(smoothing=s, max_iter=2, tol=0).fit(votes)
    assert np.allclose(model.belief_.p, belief, atol=1e-12)
    assert np.allclose(model.confusion_.transpose(0, 2, 1), table, atol=1e-12)


def test_equals_crowd_kit_after_equal_iterations():
    rival = pytest.importorskip("crowdkit.aggregation")
    for seed, k in ((0, 2), (1, 4)):
        votes, _ = crowd(n=150, w=15, k=k, seed=seed)
        frame = pd.DataFrame({"task": votes.task, "worker": votes.worker, "label": votes.label})
        for steps in (1, 3, 15):
            theirs = rival.DawidSkene(n_iter=steps, tol=-1e9).fit(frame)
            ours = DawidSkene(smoothing=0, max_iter=steps, tol=0).fit(votes)
            expected = theirs.probas_.loc[range(150), range(k)].to_numpy()
            assert np.abs(ours.belief_.p - expected).max() < 1e-6


def test_equals_crowd_kit_with_gold():
    rival = pytest.importorskip("crowdkit.aggregation")
    votes, truth = crowd(n=100, w=10, accuracy=(0.2, 0.6))
    frame = pd.DataFrame({"task": votes.task, "worker": votes.worker, "label": votes.label})
    theirs = rival.DawidSkene(n_iter=8, tol=-1e9).fit(frame, pd.Series(truth[:30], index=range(30)))
    known = np.arange(100) < 30
    ours = DawidSkene(smoothing=0, max_iter=8, tol=0).fit(votes, Hard(votes.space, truth, known))
    assert np.abs(ours.belief_.p - theirs.probas_.loc[range(100), range(3)].to_numpy()).max() < 1e-6
    assert np.array_equal(ours.belief_.p[:30], np.eye(3)[truth[:30]])


# Limits


def test_one_vote_in_all():
    votes = Votes.from_long(["t"], ["w"], ["yes"], Space(("no", "yes")))
    model = DawidSkene().fit(votes)
    assert np.isfinite(model.belief_.p).all()
    assert model.predict(votes).tolist() == [1]


def test_no_votes_at_all_gives_the_prior():
    votes = Votes.from_long(["t", "u"], ["w", "w"], [None, None], Space(("no", "yes")))
    model = DawidSkene(prior=[0.3, 0.7]).fit(votes)
    assert np.allclose(model.belief_.p, [[0.3, 0.7]] * 2)
    assert model.workers()["n_votes"].tolist() == [0]


def test_a_task_without_votes_gets_the_prior_and_changes_nothing():
    votes, _ = crowd()
    more = Votes(votes.space, votes.task, votes.worker, votes.label, np.arange(61), votes.worker_ids)
    a, b = DawidSkene().fit(votes), DawidSkene().fit(more)
    assert np.allclose(b.belief_.p[:60], a.belief_.p, atol=1e-12)
    assert np.allclose(b.belief_.p[60], b.prior_, atol=1e-12)


def test_all_ties_stay_ties():
    task, worker, label = np.repeat(np.arange(10), 2), np.tile([0, 1], 10), np.tile([0, 1], 10)
    votes = Votes(Space(("a", "b")), task, worker, label, np.arange(10), np.arange(2))
    model = DawidSkene().fit(votes)
    assert np.allclose(model.belief_.p, 0.5)
    assert model.predict(votes).tolist() == [0] * 10
    drawn = DawidSkene(ties="seeded", random_state=1).fit(votes).predict(votes)
    assert set(drawn.tolist()) == {0, 1}


def test_a_task_with_ten_thousand_votes_does_not_underflow():
    rng = np.random.default_rng(0)
    task, worker = np.r_[np.zeros(10_000, int), np.repeat([1, 2], 50)], np.r_[np.arange(10_000), np.arange(100)]
    label = np.r_[rng.random(10_000) < 0.6, np.zeros(50, bool), np.ones(50, bool)].astype(int)
    votes = Votes(Space(("a", "b")), task, worker, label, np.arange(3), np.arange(10_000))
    model = DawidSkene().fit(votes)
    assert np.isfinite(model.belief_.p).all()
    assert model.predict(votes)[0] == 1


def test_one_class_and_one_worker():
    votes = Votes(Space(("only",)), np.arange(3), np.zeros(3, int), np.zeros(3, int), np.arange(3), np.arange(1))
    assert np.array_equal(DawidSkene().fit(votes).belief_.p, np.ones((3, 1)))


def test_much_smoothing_makes_workers_alike():
    votes, _ = crowd()
    model = DawidSkene(smoothing=1e9).fit(votes)
    assert np.allclose(model.confusion_, model.confusion_[0], atol=1e-6)


# State and permutation


@pytest.mark.parametrize("accelerate", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_objective_never_falls(accelerate: bool, smoothing: float, seed: int):
    votes, truth = crowd(seed=seed, accuracy=(0.1, 0.9), weight=seed % 2 == 1)
    gold = Hard(votes.space, truth, np.arange(60) < 5)
    model = DawidSkene(smoothing, accelerate=accelerate, tol=1e-12, max_iter=300).fit(votes, gold)
    assert np.diff(model.log_posterior_).min() > -1e-8
    if not smoothing:
        assert model.log_likelihood_ == model.log_posterior_


def test_acceleration_reaches_the_same_summit_in_fewer_steps():
    votes, _ = crowd(n=300, accuracy=(0.2, 0.7))
    plain = DawidSkene(tol=1e-12, max_iter=2000).fit(votes)
    fast = DawidSkene(tol=1e-12, max_iter=2000, accelerate=True).fit(votes)
    assert fast.n_iter_ < plain.n_iter_ / 2
    assert fast.log_posterior_[-1] == pytest.approx(plain.log_posterior_[-1], abs=1e-4)


@pytest.mark.parametrize("weight", [False, True])
def test_order_of_rows_tasks_and_classes_does_not_matter(weight: bool):
    votes, _ = crowd(weight=weight)
    rng = np.random.default_rng(5)
    rows, tasks, classes = (rng.permutation(size) for size in (votes.n_votes, votes.n_rows, 3))
    here = DawidSkene().fit(votes)
    there = DawidSkene().fit(permuted(votes, rows, tasks, classes))
    assert np.abs(there.belief_.p - here.belief_.p[tasks][:, classes]).max() < 1e-12
    assert np.abs(there.confusion_ - here.confusion_[:, classes][:, :, classes]).max() < 1e-12


def test_a_weight_of_two_counts_as_two_votes():
    votes, _ = crowd(weight=True)
    copies = np.repeat(np.arange(votes.n_votes), votes.weight.astype(int))
    repeated = Votes(
        votes.space, votes.task[copies], votes.worker[copies], votes.label[copies], votes.task_ids, votes.worker_ids
    )
    assert np.allclose(DawidSkene().fit(votes).belief_.p, DawidSkene().fit(repeated).belief_.p, atol=1e-9)


def test_blocks_give_the_model_of_one_fit():
    votes, _ = crowd(weight=True)
    whole = DawidSkene().fit(votes)
    pieces = blocks_of(votes, 13)
    calls = []
    parts = DawidSkene().fit_blocks(lambda: calls.append(0) or pieces)
    kept = DawidSkene().fit_blocks(lambda: calls.append(1) or pieces, keep=True)
    assert calls.count(1) == 2 < calls.count(0)
    assert np.array_equal(kept.confusion_, parts.confusion_)
    order = np.argsort(votes.worker_ids)
    assert parts.worker_ids_.tolist() == votes.worker_ids[order].tolist()
    assert np.abs(parts.confusion_ - whole.confusion_[order]).max() < 1e-14
    assert np.allclose(parts.log_likelihood_, whole.log_likelihood_, rtol=1e-14)
    belief = np.concatenate([parts.predict_proba(block) for block in pieces])
    assert np.abs(belief - whole.belief_.p).max() < 1e-13
    with pytest.raises(InputError, match="fit_blocks"):
        parts.evidence()


def test_blocks_with_gold():
    votes, truth = crowd()
    gold = Hard(votes.space, truth, np.arange(60) % 4 == 0)
    cut = [np.arange(0, 25), np.arange(25, 60)]
    parts = DawidSkene().fit_blocks(lambda: ((votes.take(rows), gold.take(rows)) for rows in cut))
    whole = DawidSkene().fit(votes, gold)
    assert np.abs(parts.confusion_ - whole.confusion_[np.argsort(votes.worker_ids)]).max() < 1e-14


def test_a_run_that_was_cut_off_starts_again():
    votes, _ = crowd()
    pieces, calls = blocks_of(votes, 13), []

    def dying():
        calls.append(0)
        for i, piece in enumerate(pieces):
            if len(calls) == 3 and i == 2:
                raise KeyboardInterrupt
            yield piece

    model = DawidSkene()
    with pytest.raises(KeyboardInterrupt):
        model.fit_blocks(dying)
    assert not hasattr(model, "confusion_")
    again = model.fit_blocks(lambda: pieces)
    assert np.array_equal(again.confusion_, DawidSkene().fit_blocks(lambda: pieces).confusion_)


def test_blocks_that_change_are_refused():
    votes, _ = crowd()
    pieces = blocks_of(votes, 20)
    for later in (pieces[:2], [*pieces, pieces[0]]):
        calls = iter([pieces, later])
        with pytest.raises(InputError, match="changed between two passes"):
            DawidSkene().fit_blocks(lambda calls=calls: next(calls))


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_ray_gives_equal_answers():
    votes, _ = crowd()
    pieces = blocks_of(votes, 13)
    there = DawidSkene(max_iter=5).fit_blocks(lambda: pieces, backend="ray")
    here = DawidSkene(max_iter=5).fit_blocks(lambda: pieces)
    assert np.array_equal(there.confusion_, here.confusion_)
    assert there.log_likelihood_ == here.log_likelihood_


def test_fit_needs_no_more_than_twice_the_columns():
    rng = np.random.default_rng(0)
    v, n = 500_000, 100_000
    task = rng.permutation(np.repeat(np.arange(n, dtype=np.int32), 5))
    worker, label = rng.integers(200, size=v).astype(np.int32), rng.integers(3, size=v).astype(np.int16)
    votes = Votes(Space(("a", "b", "c")), task, worker, label, np.arange(n), np.arange(200))
    columns = votes.task.nbytes + votes.worker.nbytes + votes.label.nbytes + votes.task_ids.nbytes
    DawidSkene(max_iter=1).fit(votes.take(np.arange(5000)))
    tracemalloc.start()
    try:
        DawidSkene(max_iter=3).fit(votes)
        assert tracemalloc.get_traced_memory()[1] <= 2 * columns
    finally:
        tracemalloc.stop()


def test_a_worker_who_votes_on_everything():
    votes, truth = crowd(n=200, w=8)
    everywhere = Votes(
        votes.space,
        np.r_[votes.task, np.arange(200)],
        np.r_[votes.worker, np.full(200, 8)],
        np.r_[votes.label, truth],
        votes.task_ids,
        np.r_[votes.worker_ids, ["oracle"]],
    )
    model = DawidSkene().fit(everywhere)
    assert (model.predict(everywhere) == truth).mean() > 0.97
    assert model.workers()["accuracy"].argmax() == 8


def test_new_tasks_and_unknown_workers():
    votes, truth = crowd(n=400)
    model = DawidSkene().fit(votes.take(np.arange(300)))
    later = votes.take(np.arange(300, 400))
    assert (model.predict(later) == truth[300:]).mean() > 0.8
    stranger = Votes(votes.space, np.zeros(1, int), np.zeros(1, int), np.zeros(1, int), np.arange(1), np.array(["new"]))
    belief = model.predict_proba(stranger)[0]
    assert np.allclose(belief.sum(), 1)
    assert belief[0] > model.prior_[0]  # the average worker is better than a guess


def test_workers_and_evidence():
    votes, _ = crowd(n=400, w=4, per_task=4)
    spam = Votes(
        votes.space,
        np.r_[votes.task, np.arange(400)],
        np.r_[votes.worker, np.full(400, 4)],
        np.r_[votes.label, np.zeros(400, int)],
        votes.task_ids,
        np.r_[votes.worker_ids, ["spammer"]],
    )
    model = DawidSkene().fit(spam)
    workers = model.workers()
    assert {len(column) for column in workers.values()} == {5}
    assert workers["bits"].argmin() == 4
    assert workers["bits"][4] < 0.01
    assert ((workers["low"] <= workers["accuracy"]) & (workers["accuracy"] <= workers["high"])).all()
    evidence = model.evidence()
    assert evidence["n_votes"].tolist() == [5] * 400
    assert np.array_equal(evidence["top"], model.belief_.p.argmax(axis=1))
    two = np.sort(model.belief_.p, axis=1)
    assert np.allclose(evidence["margin"], two[:, -1] - two[:, -2])


def test_bad_input_is_named():
    votes, truth = crowd()
    with pytest.raises(InputError, match="smoothing"):
        DawidSkene(smoothing=-1).fit(votes)
    with pytest.raises(InputError, match="max_iter"):
        DawidSkene(max_iter=0).fit(votes)
    for prior in ("flat", [0.5, 0.5], [0.5, 0.6, -0.1]):
        with pytest.raises(InputError, match="prior"):
            DawidSkene(prior=prior).fit(votes)
    with pytest.raises(InputError, match="60 tasks"):
        DawidSkene().fit(votes, Hard(votes.space, truth[:59]))
    with pytest.raises(InputError, match="another order"):
        DawidSkene().fit(votes, Hard(Space(("c1", "c0", "c2")), truth))
    with pytest.raises(InputError, match="no blocks"):
        DawidSkene().fit_blocks(lambda: [])


def test_core_functions():
    counts = np.array([[[2.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])  # worker 1 cast no vote
    average = average_worker(counts + 1)
    assert np.allclose(average.sum(axis=0), 1)
    tables = said_given_truth(counts, 0.0, average)
    assert np.allclose(tables[1], average)
    assert np.allclose(tables[0, 0], 1)  # his only answer, whatever is true
    assert np.array_equal(tables[0, 1], [0, 0])


@pytest.mark.claim
@pytest.mark.parametrize("smoothing", [0.0, 1.0])
def test_claim_rte(shared_data, smoothing: float):
    frame = pd.read_csv(shared_data("snow2008/rte.csv"))
    votes = Votes.from_long(frame.item.to_numpy(), frame.worker.tolist(), frame.response.to_numpy())
    gold = frame.drop_duplicates("item").set_index("item").gold.loc[votes.task_ids].to_numpy()
    assert (DawidSkene(smoothing).fit(votes).predict(votes) == gold).mean() >= 0.925


def test_workers_who_all_agree_have_an_interval():
    """Sums of beliefs may pass the number of votes by rounding; the interval must not refuse that."""
    votes = Votes.from_long(np.repeat(np.arange(700), 3), np.tile(np.arange(3), 700), ["a"] * 2100, Space(("a", "b")))
    told = DawidSkene().fit(votes).workers()
    assert (told["high"] <= 1).all()
    assert (told["low"] > 0.9).all()

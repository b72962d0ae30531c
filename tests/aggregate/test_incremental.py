"""Growing votes: sums recomputed by loops, the full fit, what is not touched, order, and closeness after batches."""

import time

import numpy as np
import pandas as pd
import pytest
from tests.aggregate.crowds import crowd

from assay.aggregate.dawid_skene import DawidSkene
from assay.aggregate.incremental import IncrementalDawidSkene
from assay.errors import InputError
from assay.kernels.vote_growth import GrowingVotes
from assay.labels import Space, Votes


def part(votes: Votes, rows) -> Votes:
    """The chosen votes with the tasks and workers they name, and no others."""
    weight = None if votes.weight is None else votes.weight[rows]
    task, worker = votes.task_ids[votes.task[rows]], votes.worker_ids[votes.worker[rows]]
    names = [votes.space.names[c] for c in votes.label[rows]]
    return Votes.from_long(task, worker, names, votes.space, weight=weight)


def in_batches(votes: Votes, batches: int, **options) -> IncrementalDawidSkene:
    model = IncrementalDawidSkene(**options)
    for rows in np.array_split(np.arange(votes.n_votes), batches):
        model.partial_fit(part(votes, rows))
    return model


# By hand


def test_sums_stay_what_a_loop_over_all_votes_gives():
    votes, _ = crowd(n=40, w=8, weight=True)
    model = in_batches(votes, 7)
    store, p = model._store, model.belief_.p
    counts, tally = np.zeros((8, 3, 3)), np.zeros((40, 3))
    task = {name: i for i, name in enumerate(model.task_ids_.tolist())}
    worker = {name: j for j, name in enumerate(model.worker_ids_.tolist())}
    rows = zip(votes.task, votes.worker, votes.label, votes.weight, strict=True)
    for i, j, said, weight in [(task[i], worker[f"w{j}"], y, m) for i, j, y, m in rows]:
        counts[j, :, said] += weight * p[i]
        tally[i, said] += weight
    assert np.allclose(store.counts[:8], counts, atol=1e-9)
    assert np.allclose(store.tally[:40], tally)
    assert np.allclose(store.classes, p.sum(axis=0))
    assert np.allclose(store.average, (tally / tally.sum(axis=1, keepdims=True)).T @ tally)
    assert store.on[:40].tolist() == [5] * 40


def test_one_visit_equals_bayes_by_hand():
    votes, _ = crowd(n=10, w=4, k=2, per_task=3, weight=True)
    store = GrowingVotes(2)
    store.add(votes.task, votes.worker, votes.label, votes.weight, 10, 4)
    usual = store.average / store.average.sum(axis=1, keepdims=True)
    tables = store.counts[:4] + 2.0 * usual
    tables /= tables.sum(axis=2, keepdims=True)
    p = store.classes / store.classes.sum()
    for i in np.flatnonzero(votes.task == 3):
        p = p * tables[votes.worker[i], :, votes.label[i]] ** votes.weight[i]
    store.visit(np.array([3]), 2.0)
    assert np.allclose(store.belief[3], p / p.sum())


@pytest.mark.parametrize("weight", [False, True])
def test_fit_finds_what_dawid_skene_finds(weight):
    votes, _ = crowd(n=300, w=10, weight=weight)
    full = DawidSkene(tol=1e-13, max_iter=3000).fit(votes)
    model = IncrementalDawidSkene(tol=1e-8, max_iter=3000).fit(votes)
    assert model.converged_
    assert np.abs(model.belief_.p - full.belief_.p).max() < 1e-3
    assert np.abs(model.confusion_ - full.confusion_).max() < 1e-3
    assert np.allclose(model.predict_proba(votes), full.predict_proba(votes), atol=2e-3)
    assert np.allclose(model.workers()["accuracy"], full.workers()["accuracy"], atol=1e-3)


# Limits


def test_nothing_one_vote_and_no_votes():
    space = Space(("no", "yes"))
    nothing = Votes.from_long(["t"], ["w"], [None], space)
    model = IncrementalDawidSkene().fit(nothing)
    assert model.belief_.p.tolist() == [[0.5, 0.5]]
    assert np.allclose(model.confusion_.sum(axis=2), 1)
    model.partial_fit(Votes.from_long(["t"], ["w"], ["yes"], space))
    assert model.belief_.p[0, 1] > 0.5
    model.partial_fit(nothing)
    assert model.touched_.size == 0
    weightless = IncrementalDawidSkene().fit(Votes.from_long(["t"], ["w"], ["yes"], space, weight=[0.0]))
    assert np.allclose(weightless.belief_.p, 0.5)


def test_new_tasks_workers_and_unknown_ones():
    votes, _ = crowd(n=200, w=8, accuracy=(0.8, 0.9))
    model = IncrementalDawidSkene().fit(votes)
    more = Votes.from_long([500, 500, 3], ["w0", "stranger", "stranger"], ["c1", "c1", "c2"], votes.space)
    model.partial_fit(more)
    assert len(model.task_ids_) == 201
    assert model.worker_ids_.tolist() == [*votes.worker_ids.tolist(), "stranger"]
    assert model.belief_.p[200].argmax() == 1
    assert model.evidence()["n_votes"][[3, 200]].tolist() == [6, 2]
    alone = Votes.from_long(["x"], ["nobody"], ["c0"], votes.space)
    assert model.predict(alone).tolist() == [0]


def test_bad_input_teaches():
    votes, _ = crowd()
    with pytest.raises(InputError, match="smoothing"):
        IncrementalDawidSkene(smoothing=0).fit(votes)
    with pytest.raises(InputError, match="revisit"):
        IncrementalDawidSkene(revisit=-1).fit(votes)
    model = IncrementalDawidSkene().fit(votes)
    with pytest.raises(InputError, match="numbers"):
        model.partial_fit(Votes.from_long(["a"], ["w0"], ["c0"], votes.space))
    with pytest.raises(InputError, match="spaces"):
        model.partial_fit(Votes.from_long([0], ["w0"], ["cat"]))


# State and permutation


def test_what_new_votes_do_not_touch_stays_to_the_bit():
    votes, _ = crowd(n=100, w=20, per_task=3)
    model = IncrementalDawidSkene(revisit=0).fit(votes)
    belief, counts = model.belief_.p.copy(), model._store.counts[:20].copy()
    model.partial_fit(Votes.from_long([5], ["w0"], ["c1"], votes.space))
    touched = np.unique([0, *votes.worker[votes.task == 5]])
    others = np.setdiff1d(np.arange(20), touched)
    assert model.touched_.tolist() == [5]
    assert np.array_equal(np.delete(model.belief_.p, 5, axis=0), np.delete(belief, 5, axis=0))
    assert np.array_equal(model._store.counts[others], counts[others])
    assert not np.array_equal(model._store.counts[touched], counts[touched])


def test_order_within_a_batch_does_not_matter():
    votes, _ = crowd(weight=True)
    order = np.random.default_rng(0).permutation(votes.n_votes)
    ids = votes.task_ids, votes.worker_ids
    columns = votes.task[order], votes.worker[order], votes.label[order]
    there = Votes(votes.space, *columns, *ids, weight=votes.weight[order])
    here, other = (IncrementalDawidSkene().partial_fit(v).partial_fit(v) for v in (votes, there))
    assert np.abs(here.belief_.p - other.belief_.p).max() < 1e-10


@pytest.mark.parametrize("seed", range(3))
def test_batches_come_close_to_a_full_refit(seed):
    votes, truth = crowd(n=600, w=20, seed=seed, accuracy=(0.5, 0.95))
    full = DawidSkene().fit(votes).predict(votes)
    model = in_batches(votes, 20)
    mine = model.belief_.p.argmax(axis=1)[np.argsort(model.task_ids_)]
    assert (mine == full).mean() > 0.97
    assert (mine == truth).mean() > (full == truth).mean() - 0.02


@pytest.mark.claim
def test_claim_rte_and_time(shared_data):
    frame = pd.read_csv(shared_data("snow2008/rte.csv")).sample(frac=1, random_state=0)
    votes = Votes.from_long(frame.item.to_numpy(), frame.worker.tolist(), frame.response.to_numpy())
    model = in_batches(votes, 20)
    mine = pd.Series(model.belief_.p.argmax(axis=1), model.task_ids_).loc[votes.task_ids].to_numpy()
    assert (mine == DawidSkene().fit(votes).predict(votes)).mean() >= 0.97
    spent = []
    for old in (20_000, 400_000):
        rng = np.random.default_rng(0)
        space = Space(("0", "1"))
        n, w = old // 5, 500
        ids = np.arange(n), np.arange(w)
        many = Votes(space, np.repeat(ids[0], 5), rng.integers(w, size=old), rng.integers(2, size=old), *ids)
        model = IncrementalDawidSkene(max_iter=1).fit(many)
        took = []
        for _ in range(30):
            some = rng.integers(n, size=500), rng.integers(w, size=500), rng.integers(2, size=500).astype(str)
            batch = Votes.from_long(*some, space)
            start = time.process_time()
            model.partial_fit(batch)
            took.append(time.process_time() - start)
        spent.append(np.median(took))
    assert spent[1] < 3 * spent[0]

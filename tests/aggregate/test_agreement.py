"""Agreement: the rival's alpha, a plain loop over pairs, Krippendorff's own example, limits, order, coverage."""

import itertools

import numpy as np
import pandas as pd
import pytest
from tests.aggregate.crowds import crowd, permuted

from assay.aggregate.agreement import Agreement
from assay.errors import InputError
from assay.labels import Space, Votes

# Krippendorff 2011, section C to E: four observers, twelve units, alpha 0.743, 0.815 and 0.849
EXAMPLE = [
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
]


def example() -> Votes:
    cells = [(unit, who, said) for who, row in enumerate(EXAMPLE) for unit, said in enumerate(row.split())]
    task, worker, label = zip(*[cell for cell in cells if cell[2] != "."], strict=True)
    return Votes.from_long(task, worker, label, Space(tuple("12345")))


def slow_alpha(votes: Votes, metric: str) -> float:
    """Alpha over all pairs of votes, with the distances of the definition."""
    votes_on = np.bincount(votes.task, minlength=votes.n_rows)
    kept = np.flatnonzero(votes_on[votes.task] > 1)
    said = np.bincount(votes.label[kept], minlength=votes.space.n_classes)

    def apart(a: int, b: int) -> float:
        if metric == "nominal":
            return float(a != b)
        if metric == "interval":
            return (float(votes.space.names[a]) - float(votes.space.names[b])) ** 2
        low, high = min(a, b), max(a, b)
        return (said[low : high + 1].sum() - (said[a] + said[b]) / 2) ** 2

    within, anywhere = 0.0, 0.0
    for x, y in itertools.permutations(kept, 2):
        distance = apart(votes.label[x], votes.label[y])
        anywhere += distance / (len(kept) - 1)
        if votes.task[x] == votes.task[y]:
            within += distance / (votes_on[votes.task[x]] - 1)
    return 1 - within / anywhere


# By hand


@pytest.mark.parametrize(("metric", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_example_of_the_paper(metric, published):
    assert Agreement(metric, n_bootstrap=0).fit(example()).alpha_ == pytest.approx(published, abs=6e-4)


@pytest.mark.parametrize("metric", ["nominal", "ordinal", "interval"])
@pytest.mark.parametrize("seed", range(3))
def test_equals_a_loop_over_pairs(metric, seed):
    made, _ = crowd(n=25, w=6, k=4, per_task=3, seed=seed)
    keep = np.random.default_rng(seed).random(made.n_votes) < 0.7
    space = Space(("1", "2", "5", "9"))
    votes = Votes(space, made.task[keep], made.worker[keep], made.label[keep], made.task_ids, made.worker_ids)
    assert Agreement(metric, n_bootstrap=0).fit(votes).alpha_ == pytest.approx(slow_alpha(votes, metric), abs=1e-12)


def test_equals_crowd_kit():
    rival = pytest.importorskip("crowdkit.metrics.data")
    for seed, k in ((0, 2), (1, 5)):
        votes, _ = crowd(n=80, w=9, k=k, per_task=4, seed=seed)
        frame = pd.DataFrame({"task": votes.task, "worker": votes.worker, "label": votes.label})
        ours = Agreement(n_bootstrap=0).fit(votes)
        assert ours.alpha_ == pytest.approx(rival.alpha_krippendorff(frame), abs=1e-12)
        far = rival.alpha_krippendorff(frame, lambda a, b: (a - b) ** 2 / 100)
        interval = Agreement("interval", values=np.arange(k), n_bootstrap=0).fit(votes)
        assert interval.alpha_ == pytest.approx(far, abs=1e-12)


def test_classes_are_alphas_of_one_against_all():
    votes, _ = crowd(n=60, k=3)
    rows = Agreement(n_bootstrap=0).fit(votes).classes()
    for c in range(3):
        label = (votes.label == c).astype(int)
        two = Votes(Space(("no", "yes")), votes.task, votes.worker, label, votes.task_ids, votes.worker_ids)
        assert rows["alpha"][c] == pytest.approx(Agreement(n_bootstrap=0).fit(two).alpha_)


def test_pairs_workers_and_tasks_equal_loops():
    votes, _ = crowd(n=30, w=7, k=3, per_task=3, weight=True)
    model = Agreement(n_bootstrap=0).fit(votes)
    common, agree = np.zeros((7, 7)), np.zeros((7, 7))
    for x, y in itertools.permutations(range(votes.n_votes), 2):
        if votes.task[x] == votes.task[y] and votes.worker[x] != votes.worker[y]:
            one = float(votes.weight[x] * votes.weight[y])
            common[votes.worker[x], votes.worker[y]] += one
            agree[votes.worker[x], votes.worker[y]] += one * (votes.label[x] == votes.label[y])
    first, second = np.nonzero(np.triu(common))
    pairs = model.pairs()
    assert pairs["worker"].tolist() == votes.worker_ids[first].tolist()
    assert pairs["other"].tolist() == votes.worker_ids[second].tolist()
    assert np.allclose(pairs["common"], common[first, second])
    assert np.allclose(pairs["agreement"], (agree / np.maximum(common, 1))[first, second])
    assert (model.pairs(min_common=20)["common"] >= 20).all()
    assert np.allclose(model.workers()["agreement"], agree.sum(axis=1) / common.sum(axis=1))
    counts = votes.totals()
    total = counts.sum(axis=1)
    same = (counts * (counts - 1)).sum(axis=1) / (total * (total - 1))
    assert np.allclose(model.evidence()["distance"], 1 - same)


# Limits


def test_perfect_none_and_opposite():
    same = Votes.from_long(["a", "a", "b", "b"], ["x", "y"] * 2, [0, 0, 1, 1])
    assert Agreement(n_bootstrap=0).fit(same).alpha_ == 1
    opposite = Votes.from_long(["a", "a", "b", "b"], ["x", "y"] * 2, [0, 1, 0, 1])
    assert Agreement(n_bootstrap=0).fit(opposite).alpha_ < 0
    for alone in (Votes.from_long(["a", "b"], ["x", "y"], [0, 1]), Votes.from_long(["a", "a"], ["x", "y"], [0, 0])):
        model = Agreement().fit(alone)
        assert np.isnan(model.alpha_)
        assert np.isnan(model.interval_).all()
        assert len(model.evidence()["alpha"]) == alone.n_rows
        assert len(model.classes()["alpha"]) == alone.space.n_classes
        assert len(model.workers()["alpha"]) == 2


def test_bad_input_teaches():
    votes, _ = crowd()
    with pytest.raises(InputError, match="metric"):
        Agreement("ratio").fit(votes)
    with pytest.raises(InputError, match="not numbers"):
        Agreement("interval").fit(votes)
    with pytest.raises(InputError, match="finite numbers"):
        Agreement("interval", values=[1.0]).fit(votes)
    half = Votes(votes.space, [0, 0], [0, 1], [0, 0], votes.task_ids, votes.worker_ids, weight=[1.0, 0.5])
    with pytest.raises(InputError, match="row: 1"):
        Agreement().fit(half)


# State and permutation


def test_order_does_not_matter_and_weights_repeat():
    votes, _ = crowd(weight=True, k=4)
    rng = np.random.default_rng(0)
    tasks = rng.permutation(votes.n_rows)
    there = permuted(votes, rng.permutation(votes.n_votes), tasks)
    here = Agreement("ordinal").fit(votes)
    other = Agreement("ordinal", n_bootstrap=0).fit(there)
    assert other.alpha_ == pytest.approx(here.alpha_, abs=1e-12)
    assert np.allclose(other.evidence()["alpha"], here.evidence()["alpha"][tasks])
    often = np.repeat(np.arange(votes.n_votes), votes.weight.astype(int))
    columns = votes.task[often], votes.worker[often], votes.label[often], votes.task_ids, votes.worker_ids
    assert Agreement("ordinal", n_bootstrap=0).fit(Votes(votes.space, *columns)).alpha_ == pytest.approx(here.alpha_)
    assert Agreement("ordinal").fit(votes).interval_ == here.interval_
    assert here.interval_[0] < here.alpha_ < here.interval_[1]


@pytest.mark.claim
def test_claim_coverage_and_rte(shared_data):
    rival = pytest.importorskip("crowdkit.metrics.data")
    frame = pd.read_csv(shared_data("snow2008/rte.csv")).rename(columns={"item": "task", "response": "label"})
    votes = Votes.from_long(frame.task.to_numpy(), frame.worker.tolist(), frame.label.to_numpy())
    assert Agreement(n_bootstrap=0).fit(votes).alpha_ == pytest.approx(rival.alpha_krippendorff(frame), abs=1e-12)
    everything, _ = crowd(n=4_000, w=30, accuracy=(0.5, 0.9))
    truth = Agreement(n_bootstrap=0).fit(everything).alpha_
    inside = 0
    for seed in range(200):
        rows = np.random.default_rng(seed).choice(4_000, 100, replace=False)
        low, high = Agreement(n_bootstrap=200, random_state=seed).fit(everything.take(rows)).interval_
        inside += low <= truth <= high
    assert inside / 200 > 0.9

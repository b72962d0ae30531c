"""Sources that err together: by enumeration, in the limits, whatever the order, and against outvoting."""

import csv
import itertools

import numpy as np
import pytest

from assay.aggregate.correlated_sources import CorrelatedSources
from assay.errors import InputError
from assay.kernels.calibration import nll
from assay.kernels.source_pairs import compare, find_families, pair_counts, vote_shares
from assay.kernels.vote_families import Tree, by_family, tree_expect
from assay.kernels.vote_table import vote_table
from assay.labels.hard import Hard
from assay.labels.spaces import Space
from assay.labels.votes import Votes


def panel(seed=0, n=1500, k=2, acc=0.8, people=2, copies=3, redraw=0.0):
    """Truth (n,), votes, and the votes as (n, w): `copies` of one model, of which `redraw` votes are drawn anew."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)

    def voice():
        return np.where(rng.random(n) < acc, truth, (truth + rng.integers(1, k, n)) % k)

    model = voice()
    columns = [np.where(rng.random(n) < redraw, voice(), model) for _ in range(copies)] + [
        voice() for _ in range(people)
    ]
    said = np.column_stack(columns)
    names = np.array([f"m{i}" for i in range(copies)] + [f"p{i}" for i in range(people)])
    w = copies + people
    votes = Votes(Space(tuple("abcdefgh"[:k])), np.repeat(np.arange(n), w), np.tile(np.arange(w), n), said.ravel(),
                  np.arange(n), names)  # fmt: skip
    return truth, votes, said


def random_table(seed=0, n=6, w=5, k=3, v=20):
    rng = np.random.default_rng(seed)
    cells = rng.permutation(n * w)[:v]
    return vote_table(cells // w, cells % w, rng.integers(0, k, v), n, w, k, rng.integers(1, 3, v).astype(np.float32))


def random_tree(family, k=3, seed=0):
    rng = np.random.default_rng(seed)
    family = np.asarray(family)
    g = family.max() + 1
    link, chance = rng.dirichlet(np.ones(k), (g, k)), rng.dirichlet(np.ones(k), (len(family), k))
    return Tree(family, np.bincount(family) == 1, link, chance, rng.dirichlet(np.ones(k)))


# By hand


def test_belief_and_counts_are_those_of_enumeration():
    family = [0, 1, 0, 2, 0]
    tree, k = random_tree(family), 3
    table = by_family(random_table(), tree.family)
    belief, link, chance, total = tree_expect(table, tree)
    want_link, want_chance, want_total = np.zeros_like(link), np.zeros_like(chance), 0.0
    for i in range(table.n_tasks):
        votes = [(table.worker[e], table.label[e], table.weight[e]) for e in range(table.ptr[i], table.ptr[i + 1])]
        present = sorted({family[j] for j, _, _ in votes if not tree.alone[family[j]]})
        joint = {}
        for t in range(k):
            for voices in itertools.product(range(k), repeat=len(present)):
                heard = dict(zip(present, voices, strict=True))
                p = tree.prior[t]
                for g, voice in heard.items():
                    p *= tree.link[g, t, voice]
                for j, y, w in votes:
                    p *= tree.chance[j, heard.get(family[j], t), y] ** w
                joint[t, voices] = p
        norm = sum(joint.values())
        want_total += np.log(norm)
        for t in range(k):
            assert belief[i, t] == pytest.approx(sum(p for (s, _), p in joint.items() if s == t) / norm)
        for (t, voices), p in joint.items():
            heard = dict(zip(present, voices, strict=True))
            for g, voice in heard.items():
                want_link[g, t, voice] += p / norm
            for j, y, w in votes:
                want_chance[j, heard.get(family[j], t), y] += w * p / norm
    assert total == pytest.approx(want_total)
    np.testing.assert_allclose(link, want_link, atol=1e-12)
    np.testing.assert_allclose(chance, want_chance, atol=1e-12)


def test_pairs_are_a_plain_loop():
    table = random_table(1)
    rng = np.random.default_rng(0)
    belief, chance = rng.dirichlet(np.ones(3), 6), rng.dirichlet(np.ones(3), (5, 3))
    pairs = compare(*pair_counts(table, belief), chance)
    excess, most = np.zeros((5, 5)), np.zeros((5, 5))
    for i in range(6):
        for e in range(table.ptr[i], table.ptr[i + 1]):
            for f in range(table.ptr[i], table.ptr[i + 1]):
                a, b, w = table.worker[e], table.worker[f], table.weight[e] * table.weight[f]
                if a == b:
                    continue
                meet = sum(belief[i, t] * chance[a, t] @ chance[b, t] for t in range(3))
                excess[a, b] += w * ((table.label[e] == table.label[f]) - meet)
                most[a, b] += w * (
                    sum(belief[i, t] * np.minimum(chance[a, t], chance[b, t]).sum() for t in range(3)) - meet
                )
    np.testing.assert_allclose(pairs.excess, excess, atol=1e-9)
    np.testing.assert_allclose(pairs.most, most, atol=1e-9)


def test_shares_are_the_effective_size():
    table = vote_table(np.zeros(4, int), np.arange(4), np.zeros(4, int), 1, 4, 2)
    overlap = np.zeros((4, 4))
    overlap[:3, :3] = 0.5
    assert vote_shares(table, overlap).tolist() == [0.5, 0.5, 0.5, 1.0]


# Limits


def test_without_families_it_is_dawid_skene():
    _, votes, said = panel(copies=0, people=4, n=300, k=3)
    model = CorrelatedSources(families={}, background=False, smoothing=1e-9, tol=0, max_iter=25).fit(votes)
    expected = np.full((3, 3), 0.15) + 0.55 * np.eye(3)  # where the search starts
    chance, prior = np.tile(expected, (4, 1, 1)), np.full(3, 1 / 3)
    for _ in range(model.n_iter_ + 1):
        log = np.log(prior) + sum(np.log(chance[j][:, said[:, j]]).T for j in range(4))
        belief = np.exp(log - log.max(axis=1, keepdims=True))
        belief /= belief.sum(axis=1, keepdims=True)
        for j in range(4):
            chance[j] = np.column_stack([belief[said[:, j] == y].sum(axis=0) for y in range(3)]) + 1e-12
        chance /= chance.sum(axis=2, keepdims=True)
        prior = (belief.sum(axis=0) + 1) / 303
    np.testing.assert_allclose(model.belief_.p, belief, atol=1e-6)


@pytest.mark.parametrize("copies", [2, 5])
def test_copies_change_nothing(copies):
    _, votes, said = panel(copies=1, people=3)
    wide = np.column_stack([said[:, [0] * copies], said[:, 1:]])
    w = copies + 3
    columns = np.repeat(np.arange(1500), w), np.tile(np.arange(w), 1500), wide.ravel()
    copied = Votes(votes.space, *columns, votes.task_ids, np.arange(w))
    one, many = CorrelatedSources().fit(votes), CorrelatedSources().fit(copied)
    assert np.mean(one.belief_.p.argmax(axis=1) == many.belief_.p.argmax(axis=1)) > 0.99
    assert np.abs(one.belief_.p - many.belief_.p).max() < 0.05
    np.testing.assert_allclose(many.workers()["share"], [1 / copies] * copies + [1] * 3, atol=0.02)


@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("redraw", [0.0, 0.1, 0.3])
def test_three_copies_do_not_outvote_two_people(k, redraw):
    truth, votes, said = panel(k=k, redraw=redraw)
    model = CorrelatedSources().fit(votes)
    top = model.belief_.p.argmax(axis=1)
    people = (said[:, 3] == said[:, 4]) & (said[:, :3] != said[:, 3:4]).all(axis=1)
    assert people.sum() > 50
    assert np.mean(top[people] == said[people, 3]) > 0.95
    counted = np.array([np.bincount(row, minlength=k).argmax() for row in said])
    assert np.mean(top == truth) > np.mean(counted == truth) + 0.02
    assert model.workers()["share"][:3].sum() < 1.7
    assert len(set(model.family_[:3].tolist())) == 1
    assert len(set(model.family_.tolist())) == 3


@pytest.mark.parametrize("acc", [0.7, 0.9, 0.97])
def test_independent_sources_keep_weight_one(acc):
    for seed in range(5):
        model = CorrelatedSources().fit(panel(seed, copies=0, people=6, acc=acc)[1])
        np.testing.assert_allclose(model.workers()["share"], 1, atol=1e-12)
        np.testing.assert_allclose(model.effective_votes_, 6)


def test_families_may_be_given():
    _, votes, _ = panel(copies=2, people=2, n=60, redraw=0.2)
    made = CorrelatedSources(families={"m0": "m", "m1": "m"}).fit(votes)
    assert made.family_.tolist() == [0, 0, 1, 2]


def test_gold_is_kept_and_teaches():
    truth, votes, _ = panel(n=300)
    gold = Hard(votes.space, truth, np.arange(300) < 100)
    model = CorrelatedSources().fit(votes, gold)
    assert (model.belief_.p[:100].argmax(axis=1) == truth[:100]).all()
    assert model.belief_.p[:100].max(axis=1).tolist() == [1.0] * 100


# State and permutation


def test_objective_never_falls():
    model = CorrelatedSources(tol=0, max_iter=60).fit(panel(redraw=0.2)[1])
    assert np.diff(model.log_likelihood_).min() > -1e-8


def test_order_of_rows_does_not_matter():
    _, votes, _ = panel(n=400, redraw=0.1)
    order = np.random.default_rng(0).permutation(votes.n_votes)
    turned = Votes(
        votes.space, votes.task[order], votes.worker[order], votes.label[order], votes.task_ids, votes.worker_ids
    )
    np.testing.assert_allclose(
        CorrelatedSources().fit(votes).belief_.p, CorrelatedSources().fit(turned).belief_.p, atol=1e-9
    )


def test_predict_repeats_fit_and_takes_new_sources():
    _, votes, _ = panel(redraw=0.1)
    model = CorrelatedSources(tol=1e-10, max_iter=3000).fit(votes)
    np.testing.assert_allclose(model.predict_proba(votes), model.belief_.p, atol=1e-3)
    new = Votes.from_long(["x", "x", "y"], ["p1", "stranger", "m0"], ["b", "b", "a"], votes.space)
    assert model.predict(new).tolist() == [1, 0]
    empty = Votes.from_long(["x"], ["p1"], [None], votes.space)
    np.testing.assert_allclose(model.predict_proba(empty)[0], model.prior_, atol=1e-12)


def test_tables_have_one_length():
    model = CorrelatedSources().fit(panel(n=200)[1])
    assert {len(c) for c in model.workers().values()} == {5}
    assert {len(c) for c in model.evidence().values()} == {200}
    assert {len(c) for c in model.dependence().values()} == {10}
    assert model.dependence()["one_family"][:3].all()


def test_three_sources_are_left_alone():
    table = panel(copies=2, people=1, redraw=0.1)[1]
    assert CorrelatedSources().fit(table).family_.tolist() == [0, 1, 2]
    assert find_families(np.zeros((1, 1)), np.zeros((1, 1)), np.ones((1, 2)) / 2, 0.05).tolist() == [0]


def test_odd_inputs():
    space = Space(("a", "b"))
    with pytest.raises(InputError, match="no votes"):
        CorrelatedSources().fit(Votes.from_long(["t"], ["w"], [None], space))
    with pytest.raises(InputError, match="smoothing"):
        CorrelatedSources(smoothing=0).fit(panel(n=5)[1])
    with pytest.raises(InputError, match="ties"):
        CorrelatedSources(ties="first").fit(panel(n=5)[1]).predict(panel(n=5)[1])
    with pytest.raises(InputError, match="gold has 1 rows"):
        CorrelatedSources().fit(panel(n=5)[1], Hard(space, [0]))
    many = Votes(space, [0], [0], [0], np.arange(1), np.arange(10_000))
    with pytest.raises(InputError, match="table of pairs"):
        CorrelatedSources().fit(many)
    alone = CorrelatedSources().fit(Votes.from_long(["t"], ["w"], ["a"], Space(("a",))))
    assert alone.belief_.p.tolist() == [[1.0]]


# Claim


def test_real_crowd_is_as_right_and_less_sure(shared_data):
    with shared_data("snow2008/rte.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = ([row[name] for row in rows] for name in ("item", "worker", "response"))
    votes = Votes.from_long(*columns)
    gold = {row["item"]: int(row["gold"]) for row in rows}
    truth = np.array([gold[item] for item in votes.task_ids.tolist()])
    soft, sure = CorrelatedSources().fit(votes), CorrelatedSources(background=False).fit(votes)
    assert np.mean(soft.belief_.p.argmax(axis=1) == truth) >= 0.925
    assert nll(soft.belief_.p, truth) < 0.23 < nll(sure.belief_.p, truth)


@pytest.mark.claim
def test_copies_do_not_outvote_over_seeds():
    for seed in range(20):
        for redraw in (0.0, 0.1, 0.3):
            truth, votes, said = panel(seed, redraw=redraw)
            top = CorrelatedSources().fit(votes).belief_.p.argmax(axis=1)
            counted = said.sum(axis=1) > 2
            assert np.mean(top == truth) > np.mean(counted == truth)

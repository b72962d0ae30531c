"""Next vote: worth by enumeration, the greedy choice by hand, limits, order, and a simulation against random buying."""

import numpy as np
import pytest

from assay.aggregate.next_vote import NextVote
from assay.errors import InputError
from assay.kernels.vote_worth import gains_of_task
from assay.labels import Soft, Space, Votes


def world(n=40, w=6, k=3, seed=0, per_task=2):
    """Truth, tables of known workers, prices, and a few votes with the exact belief they give."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(k, size=n)
    tables = np.array([np.eye(k) * s + (1 - s) * rng.dirichlet(np.ones(k), k) for s in rng.uniform(0.05, 0.9, w)])
    task = np.repeat(np.arange(n), per_task)
    worker = np.concatenate([rng.choice(w, per_task, replace=False) for _ in range(n)])
    label = np.array([rng.choice(k, p=tables[j, truth[i]]) for i, j in zip(task, worker, strict=True)])
    space = Space(tuple(f"c{c}" for c in range(k)))
    votes = Votes(space, task, worker, label, np.arange(n), np.arange(w))
    return votes, truth, tables, rng.uniform(0.5, 2.0, w)


def exact(votes: Votes, tables: np.ndarray) -> Soft:
    logs = np.zeros((votes.n_rows, votes.space.n_classes))
    np.add.at(logs, votes.task, np.log(tables[votes.worker, :, votes.label]))
    p = np.exp(logs - logs.max(axis=1, keepdims=True))
    return Soft(votes.space, p / p.sum(axis=1, keepdims=True))


def loss(p: np.ndarray, name: str) -> float:
    return 1 - p.max() if name == "zero_one" else -np.sum(p * np.log(np.maximum(p, 1e-300)))


# By hand


@pytest.mark.parametrize("name", ["log", "zero_one"])
def test_worth_equals_enumeration_of_the_vote(name):
    votes, _, tables, price = world()
    belief = exact(votes, tables)
    model = NextVote(name, worth=3.0).fit(votes, belief, tables, price)
    for i in range(votes.n_rows):
        voted = votes.worker[votes.task == i]
        gains = np.zeros(len(tables))
        for j in range(len(tables)):
            for said in range(3):
                joint = belief.p[i] * tables[j, :, said]
                gains[j] += joint.sum() * (loss(belief.p[i], name) - loss(joint / joint.sum(), name))
        assert np.allclose(gains_of_task(belief.p[i], tables, name == "zero_one"), gains, atol=1e-12)
        rate = np.where(np.isin(np.arange(len(tables)), voted), -1, gains / price)
        assert rate[model.worker_[i]] == pytest.approx(rate.max(), abs=1e-12)
        assert model.gain_[i] == pytest.approx(gains[model.worker_[i]], abs=1e-12)
        assert model.net_[i] == pytest.approx(3 * model.gain_[i] - price[model.worker_[i]])


def test_choice_equals_a_loop_over_all_pairs():
    votes, _, tables, price = world(n=30)
    belief = exact(votes, tables)
    model = NextVote(worth=20.0).fit(votes, belief, tables, price)
    voted = set(zip(votes.task.tolist(), votes.worker.tolist(), strict=True))
    gains = np.array([gains_of_task(p, tables, False) for p in belief.p])
    left, room, expected, done = 12.0, np.full(6, 4), [], set()
    for i, j in sorted(np.ndindex(30, 6), key=lambda at: -gains[at] / price[at[1]]):
        worthy = 20 * gains[i, j] > price[j] and price[j] <= left and room[j] > 0
        if worthy and i not in done and (i, j) not in voted:
            expected.append((i, j))
            done.add(i)
            left -= price[j]
            room[j] -= 1
    bought = model.choose(budget=12.0, capacity=4)
    assert list(zip(bought["task"].tolist(), bought["worker"].tolist(), strict=True)) == expected
    assert bought["price"].sum() <= 12
    assert len(model.choose(batch=3)["task"]) == 3


# Limits


def test_nothing_is_bought_where_nothing_is_learned():
    votes, truth, tables, _ = world()
    sure = Soft(votes.space, np.eye(3)[truth])
    assert len(NextVote(worth=1e6).fit(votes, sure, tables, 1.0).choose()["task"]) == 0
    guess = np.full_like(tables, 1 / 3)
    flat = Soft(votes.space, np.full((40, 3), 1 / 3))
    assert len(NextVote(worth=1e6).fit(votes, flat, guess, 1.0).choose()["task"]) == 0
    oracle = np.tile(np.eye(3), (6, 1, 1))
    model = NextVote().fit(votes, flat, oracle, 1.0)
    assert np.allclose(model.gain_, np.log(3))
    assert model.evidence()["buy"].all()
    assert len(NextVote().fit(votes, flat, oracle, 1.2).choose()["task"]) == 0  # log 3 = 1.0986 < 1.2


def test_nobody_is_asked_twice():
    votes, _, tables, price = world(per_task=6)
    model = NextVote(worth=1e6).fit(votes, exact(votes, tables), tables, price)
    assert (model.worker_ == -1).all()
    assert len(model.choose()["task"]) == 0


def test_bad_input_teaches():
    votes, _, tables, price = world()
    belief = exact(votes, tables)
    for model, args, words in (
        (NextVote("brier"), (belief, tables, price), "loss"),
        (NextVote(worth=0), (belief, tables, price), "worth"),
        (NextVote(), (belief.take([0]), tables, price), "rows for"),
        (NextVote(), (belief, tables[:2], price), "shape"),
        (NextVote(), (belief, 2 * tables, price), "row: 0"),
        (NextVote(), (belief, tables, 0.0), "price"),
    ):
        with pytest.raises(InputError, match=words):
            model.fit(votes, *args)


# State and permutation


def test_order_of_votes_does_not_matter():
    votes, _, tables, price = world()
    order = np.random.default_rng(0).permutation(votes.n_votes)
    columns = votes.task[order], votes.worker[order], votes.label[order], votes.task_ids, votes.worker_ids
    belief = exact(votes, tables)
    here = NextVote().fit(votes, belief, tables, price)
    there = NextVote().fit(Votes(votes.space, *columns), belief, tables, price)
    assert np.array_equal(here.worker_, there.worker_)
    assert np.array_equal(here.gain_, there.gain_)


def spend(seed: int, money: float, clever: bool) -> float:
    """Log-loss of the truth after spending `money` in rounds, by worth or at random."""
    rng = np.random.default_rng(seed)
    votes, truth, tables, price = world(n=60, w=8, k=3, seed=seed, per_task=1)
    for _ in range(6):
        left = money / 6
        if clever:
            bought = NextVote(worth=1e6).fit(votes, exact(votes, tables), tables, price).choose(left)
            task, worker = bought["task"], bought["worker"]
        else:
            voted = set(zip(votes.task.tolist(), votes.worker.tolist(), strict=True))
            pairs = [at for at in rng.permutation(list(np.ndindex(60, 8))).tolist() if tuple(at) not in voted]
            fits = np.cumsum([price[j] for _, j in pairs]) <= left
            task, worker = np.array(pairs)[fits].T
        label = np.array([rng.choice(3, p=tables[j, truth[i]]) for i, j in zip(task, worker, strict=True)])
        ids = votes.task_ids, votes.worker_ids
        votes = votes.joined(Votes(votes.space, task, worker, label, *ids))
    return float(-np.log(exact(votes, tables).p[np.arange(60), truth]).mean())


def test_beats_random_buying_at_equal_cost():
    clever, chance = (np.mean([spend(seed, 120.0, how) for seed in range(4)]) for how in (True, False))
    assert clever < chance


@pytest.mark.claim
def test_claim_simulation():
    pairs = [(spend(seed, 120.0, True), spend(seed, 120.0, False)) for seed in range(20)]
    clever, chance = np.mean(pairs, axis=0)
    assert clever < 0.6 * chance

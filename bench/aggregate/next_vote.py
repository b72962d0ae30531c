"""Next vote: against random purchases at equal cost, on made-up crowds and replayed people, and speed."""

from __future__ import annotations

from typing import Any

import click
import numpy as np

from assay.aggregate.next_vote import NextVote
from assay.aggregate.one_coin import OneCoin
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.labels import Soft, Space, Votes
from bench.aggregate.datasets import rte
from bench.aggregate.speed import show, timed
from bench.data import RESULTS

ROUNDS = 6


def chosen(votes: Votes, rows: Any) -> Votes:
    columns = votes.task[rows], votes.worker[rows], votes.label[rows]
    return Votes(votes.space, *columns, votes.task_ids, votes.worker_ids)


def tables_of(skill: Any, k: int) -> Any:
    wrong = (1 - skill) / (k - 1)
    return wrong[:, None, None] + (skill - wrong)[:, None, None] * np.eye(k)


def exact(votes: Votes, tables: Any) -> Soft:
    logs = np.zeros((votes.n_rows, votes.space.n_classes))
    np.add.at(logs, votes.task, np.log(tables[votes.worker, :, votes.label]))
    p = np.exp(logs - logs.max(axis=1, keepdims=True))
    return Soft(votes.space, p / p.sum(axis=1, keepdims=True))


def made_up(seed: int, by_worth: bool, n: int = 200, w: int = 15, k: int = 4) -> float:
    """Log-loss after two votes a task and then as much money as one more vote a task costs, in rounds."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(k, size=n)
    tables, price = tables_of(rng.uniform(0.3, 0.95, w), k), rng.uniform(0.5, 2.0, w)
    answers = np.array([[rng.choice(k, p=tables[j, c]) for j in range(w)] for c in truth])
    task = np.repeat(np.arange(n), 2)
    worker = np.concatenate([rng.choice(w, 2, replace=False) for _ in range(n)])
    left = 0.0
    for _ in range(ROUNDS):
        left += n * price.mean() / ROUNDS
        space = Space(tuple(map(str, range(k))))
        votes = Votes(space, task, worker, answers[task, worker], np.arange(n), np.arange(w))
        if by_worth:
            found = NextVote(worth=1e6).fit(votes, exact(votes, tables), tables, price).choose(left)
            more = found["task"], found["worker"]
        else:
            open_ = np.ones((n, w), dtype=bool)
            open_[task, worker] = False
            pairs = rng.permutation(np.argwhere(open_))
            more = tuple(pairs[np.cumsum(price[pairs[:, 1]]) <= left].T)
        left -= price[more[1]].sum()
        task, worker = np.concatenate([task, more[0]]), np.concatenate([worker, more[1]])
    votes = Votes(space, task, worker, answers[task, worker], np.arange(n), np.arange(w))
    return float(-np.log(exact(votes, tables).p[np.arange(n), truth]).mean())


def replayed(seed: int, by_worth: bool) -> float:
    """Share of wrong RTE tasks: three recorded votes each, then one more a task on average, tasks chosen in rounds.

    Who voted is recorded, so the choice is of tasks alone, by what the average worker's vote is worth.
    """
    data = rte()
    votes = data.votes
    rng = np.random.default_rng(seed)
    n = votes.n_rows
    order = rng.permutation(votes.n_votes)
    order = order[np.argsort(votes.task[order], kind="stable")].reshape(n, 10)  # a random queue of votes for each task
    taken = np.full(n, 3)
    for _ in range(ROUNDS):
        have = chosen(votes, order[np.arange(10) < taken[:, None]])
        model = OneCoin().fit(have)
        open_ = np.flatnonzero(taken < 10)
        if by_worth:
            average = tables_of(np.array([np.average(model.skill_, weights=model.workers()["n_votes"])]), 2)
            none = np.empty(0, dtype=np.int32)
            nobody = Votes(votes.space, none, none, none, votes.task_ids[open_], np.array(["average"]))
            advice = NextVote(worth=1e6).fit(nobody, model.belief_.take(open_), average, 1.0)
            open_ = open_[np.argsort(-advice.gain_, kind="stable")]
        else:
            open_ = rng.permutation(open_)
        taken[open_[: n // ROUNDS]] += 1
    have = chosen(votes, order[np.arange(10) < taken[:, None]])
    if data.gold is None:
        raise SystemExit("the RTE votes have lost their gold")
    return float((OneCoin().fit(have).predict(have) != data.gold.y).mean())


@click.command()
@click.option("--scale", type=click.Choice(["small", "full"]), default="small")
def main(scale: str) -> None:
    full = scale == "full"
    command = f"python -m bench.aggregate.next_vote --scale {scale}"
    seeds = tuple(range(30 if full else 5))
    rows = []
    for case, metric, unit, run in (
        ("200 tasks, 15 workers, 4 classes, tables known, 2 votes a task and money for 1 more", "log-loss", "nats",
         made_up),
        ("RTE replayed, 3 votes a task and 1 more on average, one coin's belief", "error", "share", replayed),
    ):  # fmt: skip
        ours, theirs = (np.array([run(seed, how) for seed in seeds]) for how in (True, False))
        half = 1.96 * ours.std(ddof=1) / np.sqrt(len(seeds))
        rows.append(
            ResultRow(case, metric, float(ours.mean()), unit, command,
                      (float(ours.mean() - half), float(ours.mean() + half)), seeds,
                      rival=float(theirs.mean()), rival_name="random purchase at equal cost")
        )  # fmt: skip
    n, w, k = (100_000, 1_000, 4) if full else (5_000, 100, 4)
    rng = np.random.default_rng(0)
    space = Space(tuple(map(str, range(k))))
    votes = Votes(space, np.arange(n), rng.integers(w, size=n), rng.integers(k, size=n), np.arange(n), np.arange(w))
    belief, tables = Soft(space, rng.dirichlet(np.ones(k), n)), tables_of(rng.uniform(0.3, 0.9, w), k)
    NextVote().fit(votes, belief, tables, 1.0)  # compile
    spent = timed(lambda: NextVote().fit(votes, belief, tables, 1.0), 3)
    rows.append(
        ResultRow(f"{n:,} tasks x {w:,} workers, {k} classes", "CPU time of all worths", spent.cpu, "s", command,
                  versions=versions_of("numba"))
    )  # fmt: skip
    write_results(RESULTS / "aggregate" / "next_vote.json", rows)
    click.echo(show(rows))


if __name__ == "__main__":
    main()

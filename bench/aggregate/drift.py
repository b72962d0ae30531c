"""Drift: false alarms without drift, power by the size of the fall, with gold and with a learned belief, and speed."""

from __future__ import annotations

import click
import numpy as np

from assay.aggregate.drift import Drift
from assay.aggregate.one_coin import OneCoin
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.intervals import wilson
from assay.labels import Soft, Space, Votes
from bench.aggregate.speed import show, timed
from bench.data import RESULTS

WORKERS, VOTES, DRIFTERS = 30, 200, 3


def made(workers: int, fall: float, seed: int) -> tuple[Votes, Soft]:
    """Accuracy 0.9 throughout; three workers lose `fall` from the middle on. Five votes a task."""
    rng = np.random.default_rng(seed)
    n, v = workers * VOTES // 5, workers * VOTES
    truth = rng.integers(3, size=n)
    worker, time = np.repeat(np.arange(workers), VOTES), np.tile(np.arange(VOTES, dtype=float), workers)
    task = np.concatenate([rng.permutation(n)[:VOTES] for _ in range(workers)])
    right = rng.random(v) < 0.9 - fall * ((worker < DRIFTERS) & (time >= VOTES // 2))
    label = np.where(right, truth[task], (truth[task] + rng.integers(1, 3, size=v)) % 3)
    space = Space(("a", "b", "c"))
    votes = Votes(space, task, worker, label, np.arange(n), np.arange(workers), time=time)
    return votes, Soft(space, np.eye(3)[truth])


@click.command()
@click.option("--scale", type=click.Choice(["small", "full"]), default="small")
def main(scale: str) -> None:
    full = scale == "full"
    trials = 500 if full else 40
    command = f"python -m bench.aggregate.drift --scale {scale}"
    seeds = tuple(range(trials))
    rows = []
    for fall in (0.0, 0.1, 0.2, 0.3):
        for name in ("gold", "one coin's belief"):
            flagged = []
            for seed in seeds:
                votes, gold = made(WORKERS, fall, seed)
                belief = gold if name == "gold" else OneCoin().fit(votes).belief_
                flagged.append(Drift().fit(votes, belief).drifted_)
            found = np.array(flagged)
            hits = np.ravel(found.any(axis=1) if fall == 0 else found[:, :DRIFTERS])
            low, high = wilson(float(hits.sum()), len(hits))
            case = f"{WORKERS} workers, {VOTES} votes each, accuracy 0.9, {name}"
            metric = "crowds with a false alarm" if fall == 0 else f"drifters found, fall of {fall}"
            rows.append(ResultRow(case, metric, float(hits.mean()), "share", command, (float(low), float(high)), seeds))
    workers = 5_000 if full else 100
    votes, gold = made(workers, 0.2, 0)
    spent = timed(lambda: Drift().fit(votes, gold), 3)
    case = f"{votes.n_votes:,} votes by {workers:,} workers"
    rows.append(ResultRow(case, "CPU time of the tests", spent.cpu, "s", command, versions=versions_of("scipy")))
    write_results(RESULTS / "aggregate" / "drift.json", rows)
    click.echo(show(rows))


if __name__ == "__main__":
    main()

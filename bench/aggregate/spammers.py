"""Spammers: who is found and who is accused wrongly, with gold and with a learned belief, and speed."""

from __future__ import annotations

import click
import numpy as np

from assay.aggregate.one_coin import OneCoin
from assay.aggregate.spammers import Spammers
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.labels import Soft, Space, Votes
from bench.aggregate.speed import crowd, show, timed
from bench.data import RESULTS

WORKERS, TASKS, EACH = 30, 300, 120


def made(seed: int, copied: float) -> tuple[Votes, Soft]:
    """Accuracy 0.55 to 0.9; worker 0 guesses, 1 says one class, 3 and 4 copy a share of the answers of 2."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(3, size=TASKS)
    skill = rng.uniform(0.55, 0.9, size=WORKERS)
    wrong = (truth + rng.integers(1, 3, size=(WORKERS, TASKS))) % 3
    said = np.where(rng.random((WORKERS, TASKS)) < skill[:, None], truth, wrong)
    said[0], said[1] = rng.integers(3, size=TASKS), 1
    said[3:5] = np.where(rng.random((2, TASKS)) < copied, said[2], said[3:5])
    task = np.concatenate([rng.permutation(TASKS)[:EACH] for _ in range(WORKERS)])
    worker = np.repeat(np.arange(WORKERS), EACH)
    space = Space(("a", "b", "c"))
    votes = Votes(space, task, worker, said[worker, task], np.arange(TASKS), np.arange(WORKERS))
    return votes, Soft(space, np.eye(3)[truth])


@click.command()
@click.option("--scale", type=click.Choice(["small", "full"]), default="small")
def main(scale: str) -> None:
    full = scale == "full"
    command = f"python -m bench.aggregate.spammers --scale {scale}"
    seeds = tuple(range(200 if full else 20))
    rows = []
    for name in ("gold", "one coin's belief"):
        for copied in (0.0, 0.5, 0.9):
            spam, copies = [], []
            for seed in seeds:
                votes, gold = made(seed, copied)
                model = Spammers().fit(votes, gold if name == "gold" else OneCoin().fit(votes).belief_)
                spam.append(model.spammer_)
                copies.append(model.copier_)
            case = f"{WORKERS} workers, {EACH} of {TASKS} tasks each, two copy {copied:.0%} from a third, {name}"
            idle, twin = np.array(spam), np.array(copies)
            honest = np.r_[2, 5:WORKERS] if copied else np.arange(2, WORKERS)
            rows += [
                ResultRow(case, metric, float(share), "share", command, seeds=seeds)
                for metric, share in (
                    ("guessers found", idle[:, 0].mean()),
                    ("constant workers found", idle[:, 1].mean()),
                    ("honest called spammers", idle[:, honest].mean()),
                    ("copies and their source found", twin[:, 2:5].mean()),
                    ("crowds with an honest worker called a copy", twin[:, 5:].any(axis=1).mean()),
                )
            ]
    size = 10**6 if full else 50_000
    votes = crowd(size, size // 500)
    belief = OneCoin().fit(votes).belief_
    spent = timed(lambda: Spammers().fit(votes, belief), 3)
    case = f"{size:,} votes by {votes.n_workers:,} workers, 5 a task, 5 classes"
    rows.append(ResultRow(case, "CPU time", spent.cpu, "s", command, versions=versions_of("numba", "scipy")))
    write_results(RESULTS / "aggregate" / "spammers.json", rows)
    click.echo(show(rows))


if __name__ == "__main__":
    main()

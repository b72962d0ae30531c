"""Growing votes: time of a batch by the number of votes stored, a full refit beside it, and how close the two are."""

from __future__ import annotations

import time

import click
import numpy as np
import numpy.typing as npt

from assay.aggregate.dawid_skene import DawidSkene
from assay.aggregate.incremental import IncrementalDawidSkene
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.labels import Votes
from bench.aggregate.datasets import rte
from bench.aggregate.speed import columns, crowd, show, space_of, timed
from bench.data import RESULTS

BATCH, TIMES = 1_000, 30


def part(votes: Votes, rows: npt.NDArray[np.int64]) -> Votes:
    """The chosen votes, with the tasks and workers they name alone."""
    names = np.array(votes.space.names)
    task, worker = votes.task_ids[votes.task[rows]], votes.worker_ids[votes.worker[rows]]
    return Votes.from_long(task, worker, names[votes.label[rows]], votes.space)


def speed(v: int, command: str) -> ResultRow:
    votes = crowd(v, 500)
    model = IncrementalDawidSkene(max_iter=3).fit(votes)
    later = columns(BATCH * TIMES, 500, 1)
    rng = np.random.default_rng(0)
    spent = []
    for rows in np.arange(BATCH * TIMES).reshape(TIMES, BATCH):
        task = rng.integers(votes.n_rows, size=BATCH)  # old tasks: the dearer case
        said = later["label"][rows].astype(str)
        batch = Votes.from_long(task, later["worker"][rows], said, space_of(5))
        start = time.process_time()
        model.partial_fit(batch)
        spent.append(time.process_time() - start)
    full = timed(lambda: DawidSkene().fit(votes))
    case = f"{BATCH:,} new votes after {v:,} votes by 500 workers, 5 classes"
    return ResultRow(case, "CPU time of a batch", float(np.median(spent)), "s", command, seeds=(0, 1),
                     rival=full.cpu, rival_name="full refit, DawidSkene", versions=versions_of("numba"))  # fmt: skip


def closeness(name: str, votes: Votes, seeds: tuple[int, ...], revisit: float, command: str) -> ResultRow:
    full = DawidSkene().fit(votes).predict(votes)
    where = {task: i for i, task in enumerate(votes.task_ids.tolist())}
    same = []
    for seed in seeds:
        model = IncrementalDawidSkene(revisit=revisit)
        for rows in np.array_split(np.random.default_rng(seed).permutation(votes.n_votes), 20):
            model.partial_fit(part(votes, rows))
        at = [where[task] for task in model.task_ids_.tolist()]
        same.append(float((model.evidence()["top"] == full[at]).mean()))
    case = f"{name}, twenty batches in random order, revisit {revisit:g}"
    return ResultRow(case, "classes equal to a full refit's", float(np.mean(same)), "share", command,
                     (min(same), max(same)), seeds, limit=1.0)  # fmt: skip


@click.command()
@click.option("--scale", type=click.Choice(["small", "full"]), default="small")
def main(scale: str) -> None:
    full = scale == "full"
    command = f"python -m bench.aggregate.incremental --scale {scale}"
    speed(10_000, command)  # compile
    rows = [speed(10**p, command) for p in range(4, 8 if full else 7)]
    seeds = tuple(range(10 if full else 3))
    for revisit in (0.0, 1.0, 4.0):
        rows.append(closeness("rte", rte().votes, seeds, revisit, command))
        rows.append(closeness("made up, 20,000 votes by 40 workers", crowd(20_000, 40), seeds, revisit, command))
    write_results(RESULTS / "aggregate" / "incremental.json", rows)
    click.echo(show(rows))


if __name__ == "__main__":
    main()

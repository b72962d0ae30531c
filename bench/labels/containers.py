"""Time and memory of the label containers: votes counted, joined, filtered and turned into beliefs; soft rows checked.

The limit of counting is one read of the task and label columns at the speed of a plain sum over them.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
import numpy as np

from assay.evidence.results import ResultRow, write_results
from assay.labels import Hard, Soft, Space, Votes, convert

T = TypeVar("T")
OUT = Path("bench/results/labels/containers.json")


def best_of(call: Callable[[], T], repeats: int) -> tuple[float, T]:
    """Return the least wall seconds of `repeats` calls, and what the last call returned."""
    seconds = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        seconds = min(seconds, time.perf_counter() - start)
    return seconds, result


@click.command()
@click.option("--scale", type=click.Choice(["small", "full"]), default="small")
def main(scale: str) -> None:
    v, repeats = (10_000_000, 3) if scale == "full" else (100_000, 2)
    n, w, k = v // 10, 1000, 10
    rng = np.random.default_rng(0)
    space = Space(tuple(map(str, range(k))))
    task = rng.integers(n, size=v).astype(np.int32)
    worker = rng.integers(w, size=v).astype(np.int32)
    label = rng.integers(k, size=v).astype(np.int16)
    raw = task.nbytes + worker.nbytes + label.nbytes
    task_ids, worker_ids = np.arange(n), np.arange(w)
    names = np.array(space.names)[label]

    seconds: dict[str, float] = {}
    seconds["build and check votes"], votes = best_of(
        lambda: Votes(space, task, worker, label, task_ids, worker_ids), repeats
    )
    seconds["counts"], counts = best_of(votes.counts, repeats)
    slow = np.zeros((n, k), dtype=np.int64)
    np.add.at(slow, (task, label), 1)
    if not np.array_equal(counts, slow):
        raise SystemExit("counts differ from the plain scatter: no time is printed.")
    seconds["vote shares (Soft)"], _ = best_of(lambda: convert.soft_from_votes(votes, how="share"), repeats)
    seconds["majority, ties drawn (Hard)"], _ = best_of(
        lambda: convert.hard_from_votes(votes, ties="seeded", random_state=0), repeats
    )
    half = np.arange(0, n, 2)
    seconds["take half of the tasks"], _ = best_of(lambda: votes.take(half), repeats)
    seconds["join with itself"], _ = best_of(lambda: votes.joined(votes), 1)
    seconds["read three columns (from_long)"], _ = best_of(lambda: Votes.from_long(task, worker, label, space), 1)
    seconds["read class names (Hard.from_values)"], _ = best_of(lambda: Hard.from_values(names, space), 1)
    p = np.full((n, k), 1 / k, dtype=np.float32)
    p.setflags(write=False)
    seconds["check soft rows"], _ = best_of(lambda: Soft(space, p), repeats)
    limit, _ = best_of(lambda: (task.sum(), label.sum()), repeats)
    read, _ = best_of(lambda: p.sum(), repeats)
    limits = {"counts": limit, "check soft rows": read}

    command = f"python -m bench.labels.containers --scale {scale}"
    case = f"{v:,} votes of {w:,} workers on {n:,} tasks, {k} classes"
    rows = [
        ResultRow(case, f"wall time, {what}", value, "s", command, seeds=(0,), limit=limits.get(what))
        for what, value in seconds.items()
    ]
    held = sum(c.nbytes for c in (votes.task, votes.worker, votes.label, votes.task_ids, votes.worker_ids))
    rows.append(ResultRow(case, "memory of the container", held / 1e6, "MB", command, seeds=(0,), limit=raw / 1e6))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    rows.append(ResultRow(case, "peak memory of the whole bench", peak, "MB", command, seeds=(0,)))
    write_results(OUT, rows)
    for row in rows:
        beside = "" if row.limit is None else f"   limit {row.limit:.4g}"
        click.echo(f"{row.metric:50s} {row.ours:10.4g} {row.unit}{beside}")


if __name__ == "__main__":
    main()

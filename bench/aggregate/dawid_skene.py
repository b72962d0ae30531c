"""Dawid-Skene: crowd-kit beside us, the curve from 1e4 votes up, Parquet partitions, and the RTE votes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np

from assay.aggregate.dawid_skene import DawidSkene
from assay.evidence.results import write_results
from bench.aggregate.speed import beside, curve, frame_of, on_rte, rte, show, streamed, write_partitions
from bench.data import RESULTS

STEPS = 12


def apart(ours: DawidSkene, theirs: Any) -> float:
    p = ours.belief_.p
    return float(np.abs(p - theirs.probas_.loc[range(p.shape[0]), range(p.shape[1])].to_numpy()).max())


def rival_on_rte() -> dict[str, float]:
    from crowdkit.aggregation import DawidSkene as Theirs

    votes, gold = rte()
    theirs: Any = Theirs(n_iter=100).fit(frame_of(votes))
    p = theirs.probas_.loc[range(votes.n_rows), [0, 1]].to_numpy()
    loss = -np.log(np.maximum(p[np.arange(len(p)), gold], 1e-6)).mean()
    return {"accuracy": float((p.argmax(axis=1) == gold).mean()), "log-loss": float(loss)}


@click.command()
@click.option("--scale", type=click.Choice(["small", "full"]), default="small")
def main(scale: str) -> None:
    from crowdkit.aggregation import DawidSkene as Theirs

    full = scale == "full"
    command = f"python -m bench.aggregate.dawid_skene --scale {scale}"
    rows = beside(
        lambda votes: DawidSkene(smoothing=0, max_iter=STEPS, tol=0).fit(votes),
        lambda frame: Theirs(n_iter=STEPS, tol=-1e9).fit(frame),
        apart, 10**6 if full else 20_000, f"{STEPS} steps", command,
    )  # fmt: skip
    rows += curve(lambda votes: DawidSkene().fit(votes), [10**p for p in range(4, 8 if full else 6)], command)
    size, workers = (10**8, 50_000) if full else (10**5, 500)
    with tempfile.TemporaryDirectory() as folder:
        write_partitions(Path(folder), size, workers, 20 if full else 4)
        rows += streamed(Path(folder), size, workers, False, command)
    rival = rival_on_rte()
    rows += on_rte("Dawid-Skene, smoothing 0", lambda votes: DawidSkene(0.0).fit(votes).belief_.p, rival, command)
    rows += on_rte("Dawid-Skene, smoothing 1", lambda votes: DawidSkene(1.0).fit(votes).belief_.p, rival, command)
    write_results(RESULTS / "aggregate" / "dawid_skene.json", rows)
    click.echo(show(rows))


if __name__ == "__main__":
    main()

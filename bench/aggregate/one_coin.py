"""One-coin Dawid-Skene: crowd-kit beside us, the curve from 1e4 votes up, Parquet partitions, and the RTE votes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np

from assay.aggregate.one_coin import OneCoin
from assay.evidence.results import write_results
from bench.aggregate.speed import beside, curve, on_rte, show, streamed, write_partitions
from bench.data import RESULTS

STEPS = 12


def apart(ours: OneCoin, theirs: Any) -> float:
    p = ours.belief_.p
    return float(np.abs(p - theirs.probas_.loc[range(p.shape[0]), range(p.shape[1])].to_numpy()).max())


@click.command()
@click.option("--scale", type=click.Choice(["small", "full"]), default="small")
def main(scale: str) -> None:
    from crowdkit.aggregation import OneCoinDawidSkene as Theirs

    full = scale == "full"
    command = f"python -m bench.aggregate.one_coin --scale {scale}"
    rows = beside(
        lambda votes: OneCoin(smoothing=0, max_iter=STEPS, tol=0).fit(votes),
        lambda frame: Theirs(n_iter=STEPS, tol=-1e9).fit(frame),
        apart, 10**6 if full else 20_000, f"{STEPS} steps", command,
    )  # fmt: skip
    rows += curve(lambda votes: OneCoin().fit(votes), [10**p for p in range(4, 8 if full else 6)], command)
    size, workers = (10**8, 50_000) if full else (10**5, 500)
    with tempfile.TemporaryDirectory() as folder:
        write_partitions(Path(folder), size, workers, 20 if full else 4)
        rows += streamed(Path(folder), size, workers, True, command)
    rows += on_rte("one coin, smoothing 0", lambda votes: OneCoin(0.0).fit(votes).belief_.p, {}, command)
    rows += on_rte("one coin, smoothing 1", lambda votes: OneCoin(1.0).fit(votes).belief_.p, {}, command)
    write_results(RESULTS / "aggregate" / "one_coin.json", rows)
    click.echo(show(rows))


if __name__ == "__main__":
    main()

"""Majority vote: crowd-kit beside us, the curve from 1e4 votes up, and the RTE votes."""

from __future__ import annotations

from typing import Any

import click
import numpy as np

from assay.aggregate.majority import Majority
from assay.evidence.results import write_results
from bench.aggregate.speed import beside, curve, on_rte, show
from bench.data import RESULTS


def apart(ours: Majority, theirs: Any) -> float:
    p = ours.belief_.p
    return float(np.abs(p - theirs.probas_.loc[range(p.shape[0]), range(p.shape[1])].to_numpy()).max())


@click.command()
@click.option("--scale", type=click.Choice(["small", "full"]), default="small")
def main(scale: str) -> None:
    from crowdkit.aggregation import MajorityVote as Theirs

    full = scale == "full"
    command = f"python -m bench.aggregate.majority --scale {scale}"
    rows = beside(
        lambda votes: Majority().fit(votes),
        lambda frame: Theirs().fit(frame),
        apart, 10**6 if full else 20_000, "vote shares", command,
    )  # fmt: skip
    rows += curve(lambda votes: Majority().fit(votes), [10**p for p in range(4, 8 if full else 6)], command)
    rows += on_rte("majority, share", lambda votes: Majority().fit(votes).belief_.p, {}, command)
    rows += on_rte("majority, softmax", lambda votes: Majority("softmax").fit(votes).belief_.p, {}, command)
    write_results(RESULTS / "aggregate" / "majority.json", rows)
    click.echo(show(rows))


if __name__ == "__main__":
    main()

"""Wawa: crowd-kit beside us, the curve from 1e4 votes up, and the RTE votes."""

from __future__ import annotations

from typing import Any

import click
import numpy as np

from assay.aggregate.wawa import Wawa
from assay.evidence.results import write_results
from bench.aggregate.speed import beside, curve, on_rte, show
from bench.data import RESULTS


def apart(ours: Wawa, theirs: Any) -> float:
    return float(np.abs(ours.skill_ - theirs.skills_.loc[range(len(ours.skill_))].to_numpy()).max())


@click.command()
@click.option("--scale", type=click.Choice(["small", "full"]), default="small")
def main(scale: str) -> None:
    from crowdkit.aggregation import Wawa as Theirs

    full = scale == "full"
    command = f"python -m bench.aggregate.wawa --scale {scale}"
    # Five votes on two classes do not tie; the rival breaks ties by the order of its rows.
    rows = beside(
        lambda votes: Wawa().fit(votes),
        lambda frame: Theirs().fit(frame),
        apart, 10**6 if full else 20_000, "skills", command, k=2,
    )  # fmt: skip
    rows += curve(lambda votes: Wawa().fit(votes), [10**p for p in range(4, 8 if full else 6)], command)
    rows += on_rte("Wawa", lambda votes: Wawa().fit(votes).belief_.p, {}, command)
    write_results(RESULTS / "aggregate" / "wawa.json", rows)
    click.echo(show(rows))


if __name__ == "__main__":
    main()

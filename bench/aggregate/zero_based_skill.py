"""Zero-based skill: crowd-kit beside us, the curve from 1e4 votes up, and the RTE votes."""

from __future__ import annotations

from typing import Any

import click
import numpy as np

from assay.aggregate.zero_based_skill import ZeroBasedSkill
from assay.evidence.results import write_results
from bench.aggregate.speed import beside, curve, on_rte, show
from bench.data import RESULTS


def apart(ours: ZeroBasedSkill, theirs: Any) -> float:
    return float(np.abs(ours.skill_ - theirs.skills_.loc[range(len(ours.skill_))].to_numpy()).max())


@click.command()
@click.option("--scale", type=click.Choice(["small", "full"]), default="small")
def main(scale: str) -> None:
    from crowdkit.aggregation import ZeroBasedSkill as Theirs

    full = scale == "full"
    command = f"python -m bench.aggregate.zero_based_skill --scale {scale}"
    # Five votes on two classes do not tie; the rival breaks ties by the order of its rows.
    rows = beside(
        lambda votes: ZeroBasedSkill(max_iter=10).fit(votes),
        lambda frame: Theirs(n_iter=10).fit(frame),
        apart, 10**6 if full else 20_000, "10 steps", command, k=2,
    )  # fmt: skip
    rows += curve(lambda votes: ZeroBasedSkill().fit(votes), [10**p for p in range(4, 8 if full else 6)], command)
    rows += on_rte("Zero-based skill", lambda votes: ZeroBasedSkill().fit(votes).belief_.p, {}, command)
    write_results(RESULTS / "aggregate" / "zero_based_skill.json", rows)
    click.echo(show(rows))


if __name__ == "__main__":
    main()

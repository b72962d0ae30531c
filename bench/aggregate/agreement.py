"""Agreement: crowd-kit beside us, the interval's coverage, and how alpha reads on real votes."""

from __future__ import annotations

import click
import numpy as np

from assay.aggregate.agreement import Agreement
from assay.evidence.results import ResultRow, versions_of, write_results
from bench.aggregate.datasets import affect_ordinal, every_set
from bench.aggregate.speed import crowd, frame_of, show, timed
from bench.data import RESULTS


def speed(v: int, command: str) -> list[ResultRow]:
    from crowdkit.metrics.data import alpha_krippendorff

    votes = crowd(v, max(v // 500, 10))
    frame = frame_of(votes)
    point = Agreement(n_bootstrap=0)
    point.fit(votes)  # compile
    ours, theirs = timed(lambda: point.fit(votes).alpha_, 3), timed(lambda: alpha_krippendorff(frame))
    if abs(ours.result - theirs.result) > 1e-9:
        raise SystemExit(f"alpha is {ours.result} here and {theirs.result} in crowd-kit")
    interval = timed(lambda: Agreement(n_bootstrap=100).fit(votes).interval_)
    pairs = timed(lambda: point.pairs())
    case = f"{v:,} votes by {votes.n_workers:,} workers, 5 a task, 5 classes"
    versions = versions_of("crowd-kit", "numba")
    return [
        ResultRow(case, "CPU time of nominal alpha", ours.cpu, "s", command, rival=theirs.cpu, rival_name="crowd-kit",
                  versions=versions),
        ResultRow(case, "CPU time of alpha and 100 bootstrap samples", interval.cpu, "s", command, versions=versions),
        ResultRow(case, f"CPU time of {len(pairs.result['worker']):,} worker pairs", pairs.cpu, "s", command,
                  versions=versions),
    ]  # fmt: skip


def coverage(trials: int, command: str) -> ResultRow:
    everything = crowd(100_000, 200)
    truth = Agreement(n_bootstrap=0).fit(everything).alpha_
    inside = 0
    for seed in range(trials):
        rows = np.random.default_rng(seed).choice(everything.n_rows, 200, replace=False)
        low, high = Agreement(n_bootstrap=200, random_state=seed).fit(everything.take(rows)).interval_
        inside += low <= truth <= high
    case = "200 of 20,000 tasks, 200 samples of the bootstrap"
    return ResultRow(case, "coverage of the 95 % interval", inside / trials, "share", command,
                     seeds=tuple(range(trials)), limit=0.95)  # fmt: skip


@click.command()
@click.option("--scale", type=click.Choice(["small", "full"]), default="small")
def main(scale: str) -> None:
    full = scale == "full"
    command = f"python -m bench.aggregate.agreement --scale {scale}"
    rows = speed(10**6 if full else 20_000, command)
    rows.append(coverage(1_000 if full else 100, command))
    for data in every_set(small=not full):
        model = Agreement(n_bootstrap=200).fit(data.votes)
        rows.append(ResultRow(data.name, "nominal alpha", model.alpha_, "alpha", command, model.interval_, (0,)))
    ordinal = Agreement("ordinal", n_bootstrap=200).fit(affect_ordinal("joy").votes)
    case = "affect joy, 4 steps"
    rows.append(ResultRow(case, "ordinal alpha", ordinal.alpha_, "alpha", command, ordinal.interval_, (0,)))
    write_results(RESULTS / "aggregate" / "agreement.json", rows)
    click.echo(show(rows))


if __name__ == "__main__":
    main()

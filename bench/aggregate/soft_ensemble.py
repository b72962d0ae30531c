"""Every aggregator on every crowd: accuracy, log-loss, Brier score, calibration error; and does the default win?

The truth is hard (a known class), soft (what other people answered), or both; nothing but the scores sees it. Log-loss
is of beliefs clipped at 1e-6, as in the paper, for vote shares say never. Intervals redraw tasks, 95 %; where votes are
drawn or held out at random, numbers are means over seeds. Rows "above the best" say how far the default lies above the
best method on a crowd, chosen with the truth that no user has, with a paired interval.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from assay.aggregate.soft_ensemble import SoftEnsemble
from assay.evidence.aggregate_run import METHODS, aggregate
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.labels import Soft
from bench.aggregate.datasets import CrowdSet, every_set
from bench.data import RESULTS

Floats = npt.NDArray[np.float64]
SEVEN = ("majority", "softmax", "dawid_skene", "mace", "glad", "wawa", "zero_based_skill")
"""The soft labels that the paper averages."""
COMBINED: dict[str, Callable[[], SoftEnsemble]] = {
    "mean of seven": lambda: SoftEnsemble(members=SEVEN),
    "JS centroid of seven": lambda: SoftEnsemble("js_centroid", members=SEVEN),
    "tempered mean of seven": lambda: SoftEnsemble("tempered", members=SEVEN),
    "hybrid of seven": lambda: SoftEnsemble("hybrid", members=SEVEN),
}
HARD, SOFT = "log-loss", "log-loss to the answers of others"
DEFAULT = {HARD: "auto", SOFT: "auto, next vote"}
BINS, RESAMPLES = 15, 1000


def beliefs(crowd: CrowdSet, seed: int) -> Iterator[tuple[str, Floats, float]]:
    """Name, belief (n, k) and CPU seconds of every method."""
    known: dict[str, Soft] = {}
    for name, make in METHODS.items():
        start = time.process_time()
        known[name] = make().fit(crowd.votes).belief_
        yield name, known[name].p.astype(np.float64), time.process_time() - start
    for name, combine in COMBINED.items():
        start = time.process_time()
        yield name, combine().fit(crowd.votes, known).belief_.p.astype(np.float64), time.process_time() - start
    for name, target in (("auto", "truth"), ("auto, next vote", "next_vote")):
        start = time.process_time()
        found = aggregate(crowd.votes, target=target, random_state=seed)  # type: ignore[arg-type]
        yield name, found.belief.p.astype(np.float64), time.process_time() - start


def losses(crowd: CrowdSet, p: Floats) -> dict[str, Floats]:
    """Loss of every task (n,) by score, NaN where its truth is unknown; "gap" (n, BINS) makes the calibration error."""
    p = np.maximum(p, 1e-6)
    p /= p.sum(axis=1, keepdims=True)
    n, k = p.shape
    found: dict[str, Floats] = {}
    if crowd.shares is not None:
        found[SOFT] = -(crowd.shares * np.log(p)).sum(axis=1)
    if crowd.gold is not None:
        y, there = crowd.gold.y, crowd.gold.present
        right = (p.argmax(axis=1) == y).astype(np.float64)
        confidence = p.max(axis=1)
        gap = np.zeros((n, BINS))
        gap[np.arange(n), np.minimum((confidence * BINS).astype(np.int64), BINS - 1)] = confidence - right
        found |= {
            "accuracy": np.where(there, right, np.nan),
            HARD: np.where(there, -np.log(p[np.arange(n), y]), np.nan),
            "Brier score": np.where(there, ((p - np.eye(k)[y]) ** 2).sum(axis=1), np.nan),
            "gap": np.where(there[:, None], gap, np.nan),
        }
    return found


def value(loss: Floats, weight: npt.NDArray[np.floating[Any]]) -> Floats:
    """The score (b,) under weights of the tasks (b, n): a mean, or for gaps the sum of their sizes."""
    there = ~np.isnan(loss if loss.ndim == 1 else loss[:, 0])
    w = weight[:, there] / weight[:, there].sum(axis=1, keepdims=True)
    out = w @ loss[there]
    return np.asarray(np.abs(out).sum(axis=1) if loss.ndim == 2 else out)


def rows_of(crowds: list[CrowdSet], seeds: tuple[int, ...], command: str) -> list[ResultRow]:
    """All rows about one crowd, given once for each seed."""
    table: dict[tuple[str, str], list[Floats]] = {}
    seconds: dict[str, float] = {}
    for seed, crowd in zip(seeds, crowds, strict=True):
        for name, p, took in beliefs(crowd, seed):
            seconds[name] = seconds.get(name, 0.0) + took / len(seeds)
            for score, loss in losses(crowd, p).items():
                table.setdefault((score, name), []).append(loss)
    crowd = crowds[0]
    n = crowd.votes.n_rows
    weight = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(np.float32)
    once = np.ones((1, n), dtype=np.float32)
    score_of: dict[str, dict[str, float]] = {}
    spread: dict[tuple[str, str], Floats] = {}
    for (score, name), found in table.items():
        score_of.setdefault(score, {})[name] = float(np.mean([value(loss, once)[0] for loss in found]))
        spread[score, name] = value(np.mean(found, axis=0) if score != "gap" else found[0], weight)
    versions, rows = versions_of("scipy"), []

    def add(case: str, metric: str, ours: float, draws: Floats, rival: float | None, rival_name: str | None) -> None:
        low, high = np.quantile(draws, [0.025, 0.975])
        rows.append(
            ResultRow(
                case=case, metric=metric, ours=ours, unit="", command=command, interval=(float(low), float(high)),
                seeds=seeds, rival=rival, rival_name=rival_name, versions=versions,
            )
        )  # fmt: skip

    for score, by_name in score_of.items():
        for name, ours in by_name.items():
            metric = "calibration error" if score == "gap" else score
            add(f"{crowd.name}: {name}", metric, ours, spread[score, name], None, None)
        if score not in DEFAULT:
            continue
        default = DEFAULT[score]
        best = min((name for name in by_name if not name.startswith("auto")), key=lambda name: by_name[name])
        apart = by_name[default] - by_name[best]
        case = f"{crowd.name}: {default} against the best, {best}"
        add(case, f"{score} above the best", apart, spread[score, default] - spread[score, best], 0.0, best)
    for name in DEFAULT.values():
        rows.append(
            ResultRow(
                case=f"{crowd.name}: {name}, {crowd.votes.n_votes:,} votes", metric="CPU time", ours=seconds[name],
                unit="s", command=command, seeds=seeds, rival=seconds["glad"], rival_name="GLAD alone",
                versions=versions,
            )
        )  # fmt: skip
    return rows


def shown(rows: list[ResultRow], score: str) -> str:
    """A Markdown table: crowds down, methods across, the best of each row in bold."""
    cells = {tuple(row.case.split(": ", 1)): row.ours for row in rows if row.metric == score}
    crowds, names = ([*dict.fromkeys(key[at] for key in cells)] for at in (0, 1))
    lines = ["| crowd | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for crowd in crowds:
        best = min(cells[crowd, name] for name in names)
        marks = [f"{cells[crowd, name]:.3f}" for name in names]
        marks = [f"**{text}**" if cells[crowd, name] == best else text for name, text in zip(names, marks, strict=True)]
        lines.append(f"| {crowd} | " + " | ".join(marks) + " |")
    return "\n".join(lines)


@click.command()
@click.option("--scale", type=click.Choice(["small", "full"]), default="full")
def main(scale: str) -> None:
    small = scale == "small"
    seeds = (0,) if small else (0, 1, 2, 3, 4)
    command = f"python -m bench.aggregate.soft_ensemble --scale {scale}"
    rows: list[ResultRow] = []
    for crowds in zip(*(every_set(small, seed) for seed in seeds), strict=True):
        rows += rows_of(list(crowds), seeds, command)
        print(
            crowds[0].name,
            *(f"{row.case}: {row.ours:.4f} {row.interval}" for row in rows[-4:] if "above" in row.metric),
        )
    for score in DEFAULT:
        apart = [row for row in rows if row.metric == f"{score} above the best"]
        near = sum(row.ours <= 0.01 for row in apart)
        rows.append(
            ResultRow(
                case=f"{len(apart)} crowds", metric=f"crowds on which the default is within 0.01 of the best ({score})",
                ours=near, unit="crowds", command=command, seeds=seeds, limit=len(apart),
            )
        )  # fmt: skip
        click.echo(f"\n{score}: within 0.01 of the best on {near} of {len(apart)}\n\n{shown(rows, score)}")
    write_results(RESULTS / "aggregate" / "soft_ensemble.json", rows)


if __name__ == "__main__":
    main()

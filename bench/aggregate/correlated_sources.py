"""Copies of a model beside people: who is right when they differ, what a panel is worth; and people alone."""

from __future__ import annotations

import argparse
import time

import numpy as np
import numpy.typing as npt

from assay.aggregate.correlated_sources import CorrelatedSources
from assay.evidence.results import ResultRow, write_results
from assay.kernels.calibration import nll
from assay.kernels.intervals import bootstrap
from assay.labels.spaces import Space
from assay.labels.votes import Votes
from bench.aggregate.datasets import rte
from bench.data import RESULTS

Codes = npt.NDArray[np.int64]


def panel(seed: int, n: int, k: int, copies: int, people: int, redraw: float, acc: float = 0.8) -> tuple[Codes, Votes]:
    """Truth (n,), and votes of `copies` of one model, a share `redraw` of them drawn anew, and of `people`."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)

    def voice() -> Codes:
        return np.where(rng.random(n) < acc, truth, (truth + rng.integers(1, k, n)) % k)

    model = voice()
    columns = [np.where(rng.random(n) < redraw, voice(), model) for _ in range(copies)]
    said = np.column_stack(columns + [voice() for _ in range(people)])
    w = copies + people
    codes = np.repeat(np.arange(n), w), np.tile(np.arange(w), n), said.ravel()
    return truth, Votes(Space(tuple(map(str, range(k)))), *codes, np.arange(n), np.arange(w))


def copies_beside_people(command: str, seeds: int, n: int) -> list[ResultRow]:
    out = []
    for k, copies, redraw in ((2, 3, 0.0), (2, 3, 0.1), (2, 3, 0.3), (5, 3, 0.0), (5, 3, 0.1), (2, 0, 0.0)):
        people = 2 if copies else 5
        values = np.empty((seeds, 5))
        for seed in range(seeds):
            truth, votes = panel(seed, n, k, copies, people, redraw)
            model = CorrelatedSources().fit(votes)
            apart = CorrelatedSources(families={}, background=False).fit(votes)
            counted = votes.counts().argmax(axis=1)
            right = [np.mean(c == truth) for c in (model.belief_.p.argmax(axis=1), counted)]
            right.append(np.mean(apart.belief_.p.argmax(axis=1) == truth))
            values[seed] = [*right, nll(model.belief_.p, truth), model.workers()["share"][: copies or people].sum()]
        mean = values.mean(axis=0)
        case = (
            f"{copies} copies ({redraw:.0%} of votes redrawn), {people} people, all right 80 %, {k} classes, {n} tasks"
        )
        seen = tuple(range(seeds))
        interval = bootstrap(lambda column: float(column.mean()), values[:, 0])
        for place, name in ((1, "majority"), (2, "Dawid-Skene")):
            row = ResultRow(case, "accuracy", mean[0], "", command, interval, seen, mean[place], name, deployable=False)
            out.append(row)
        out.append(ResultRow(case, "NLL", mean[3], "nats", command, seeds=seen, deployable=False))
        what = "votes that the copies add up to" if copies else "votes that the people add up to"
        out.append(ResultRow(case, what, mean[4], "votes", command, seeds=seen, limit=1.0 if copies else float(people)))
    return out


def crowd(command: str, resamples: int) -> list[ResultRow]:
    data = rte()
    assert data.gold is not None
    truth = data.gold.y.astype(np.int64)
    begin = time.process_time()
    ours = CorrelatedSources().fit(data.votes).belief_.p
    seconds = time.process_time() - begin
    plain = CorrelatedSources(families={}, background=False).fit(data.votes).belief_.p
    interval = bootstrap(nll, ours, truth, resamples=resamples)
    right, other = float(np.mean(ours.argmax(axis=1) == truth)), float(np.mean(plain.argmax(axis=1) == truth))
    name = "the same without families and background"
    return [
        ResultRow("rte", "NLL", nll(ours, truth), "nats", command, interval, (), nll(plain, truth), name),
        ResultRow("rte", "accuracy", right, "", command, None, (), other, name),
        ResultRow("rte, 8000 votes, 164 workers", "time to fit", seconds, "CPU s", command),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="small")
    full = parser.parse_args().scale == "full"
    command = f"python -m bench.aggregate.correlated_sources --scale {'full' if full else 'small'}"
    rows = copies_beside_people(command, 20 if full else 2, 2000 if full else 500)
    rows += crowd(command, 2000 if full else 100)
    write_results(RESULTS / "aggregate" / "correlated_sources.json", rows)


if __name__ == "__main__":
    main()

"""Order recovered from pairs when some workers do not look, pairs of real ratings, and time beside crowd-kit."""

from __future__ import annotations

import argparse
import time

import numpy as np
import numpy.typing as npt
import pandas as pd
from crowdkit.aggregation import BradleyTerry as PlainPeer
from crowdkit.aggregation import NoisyBradleyTerry as NoisyPeer
from scipy.stats import kendalltau

from assay.aggregate.bradley_terry import BradleyTerry
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.intervals import bootstrap
from assay.labels.preferences import Preferences
from bench.aggregate.numeric import snow
from bench.data import RESULTS

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


def simulate(seed: int, m: int, p: int, w: int, careless: int) -> tuple[Floats, Preferences, Codes]:
    """The careless name the first item nine times of ten, whatever it is."""
    rng = np.random.default_rng(seed)
    score = rng.normal(0, 1.5, m)
    a = rng.integers(0, m, p)
    b = (a + rng.integers(1, m, p)) % m
    worker = rng.integers(0, w, p)
    looked = rng.random(p) < 1 / (1 + np.exp(score[a] - score[b]))
    return score, Preferences(m, a, b, np.where(worker < careless, rng.random(p) > 0.9, looked).astype(int)), worker


def frame_of(pairs: Preferences, worker: npt.NDArray[np.generic]) -> pd.DataFrame:
    label = np.where(pairs.winner == 0, pairs.a, pairs.b)
    return pd.DataFrame({"worker": worker, "left": pairs.a, "right": pairs.b, "label": label})


def tau(scores: Floats, truth: Floats) -> float:
    return float(kendalltau(scores, truth)[0])


def orders(command: str, seeds: int) -> list[ResultRow]:
    values = np.empty((seeds, 4))
    for seed in range(seeds):
        score, pairs, worker = simulate(seed, 20, 1000, 15, 7)
        frame = frame_of(pairs, worker)
        fits = [BradleyTerry().fit(pairs, worker).scores_, BradleyTerry().fit(pairs).scores_]
        fits += [peer.fit_predict(frame).reindex(range(20)).to_numpy() for peer in (PlainPeer(100), NoisyPeer())]
        values[seed] = [tau(fit, score) for fit in fits]
    interval = bootstrap(lambda column: float(column.mean()), values[:, 0])
    names = ("without workers", "crowd-kit BradleyTerry", "crowd-kit NoisyBradleyTerry")
    case, versions = "20 items, 1000 judgements, 7 of 15 workers careless", versions_of("crowd-kit")
    mean, seen = values.mean(axis=0), tuple(range(seeds))
    return [
        ResultRow(
            case,
            "Kendall's tau with the true order",
            mean[0],
            "",
            command,
            interval,
            seen,
            mean[place + 1],
            name,
            deployable=False,
            versions=versions,
        )
        for place, name in enumerate(names)
    ]


def ratings(command: str, names: tuple[str, ...]) -> list[ResultRow]:
    """Each two ratings of a worker are a judged pair."""
    out = []
    for name in names:
        data, gold = snow(name)
        a, b, winner, worker = [], [], [], []
        for j in range(data.n_workers):
            rows = np.flatnonzero(data.worker == j)
            x, y = np.triu_indices(len(rows), 1)
            a.append(data.task[rows[x]])
            b.append(data.task[rows[y]])
            more = np.sign(data.value[rows[x]] - data.value[rows[y]])
            winner.append(np.select([more > 0, more < 0], [0, 1], 2))
            worker.append(np.full(len(x), j))
        pairs = Preferences(data.n_rows, np.concatenate(a), np.concatenate(b), np.concatenate(winner))
        mean = np.bincount(data.task, data.value) / np.bincount(data.task)
        ours = BradleyTerry().fit(pairs, np.concatenate(worker)).scores_
        case = f"snow2008 {name}, {pairs.n_rows} pairs of ratings"
        metric = "Kendall's tau with the experts' order"
        out.append(
            ResultRow(case, metric, tau(ours, gold), "", command, None, (), tau(mean, gold), "mean of the ratings")
        )
    return out


def timed(command: str, p: int) -> list[ResultRow]:
    _, pairs, worker = simulate(0, 100, p, 100, 20)
    frame = frame_of(pairs, worker)
    BradleyTerry(max_iter=1).fit(pairs, worker)
    begin = time.process_time()
    BradleyTerry().fit(pairs, worker)
    mine = time.process_time() - begin
    begin = time.process_time()
    NoisyPeer().fit(frame)
    theirs = time.process_time() - begin
    case, versions = f"{p} judgements, 100 items, 100 workers", versions_of("crowd-kit")
    rival = "crowd-kit NoisyBradleyTerry"
    return [ResultRow(case, "time to fit", mine, "CPU s", command, None, (0,), theirs, rival, versions=versions)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="small")
    full = parser.parse_args().scale == "full"
    command = f"python -m bench.aggregate.bradley_terry --scale {'full' if full else 'small'}"
    rows = orders(command, 20 if full else 2)
    rows += ratings(command, ("anger", "fear", "joy", "sadness", "valence") if full else ("sadness",))
    rows += timed(command, 100_000 if full else 2_000)
    write_results(RESULTS / "aggregate" / "bradley_terry.json", rows)


if __name__ == "__main__":
    main()

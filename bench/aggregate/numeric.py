"""Ratings of affect and similarity (Snow et al., 2008) beside mean and median, raters of known bias, and time."""

from __future__ import annotations

import argparse
import csv
import time

import numpy as np
import numpy.typing as npt

from assay.aggregate.numeric import NumericRaters
from assay.evidence.results import ResultRow, write_results
from assay.kernels.intervals import bootstrap
from assay.labels.ratings import Ratings
from bench.data import RESULTS, shared

Floats = npt.NDArray[np.float64]
TASKS = ("wordsim", "anger", "disgust", "fear", "joy", "sadness", "surprise", "valence")


def snow(name: str) -> tuple[Ratings, Floats]:
    """Ratings, and the gold number of each task."""
    with shared(f"snow2008/{name}.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    gold = {row["item"]: float(row["gold"]) for row in rows}
    values = [float(row["response"]) for row in rows]
    ratings = Ratings.from_long([row["item"] for row in rows], [row["worker"] for row in rows], values)
    return ratings, np.array([gold[item] for item in ratings.task_ids.tolist()])


def mean_and_median(ratings: Ratings) -> tuple[Floats, Floats]:
    groups = [ratings.value[ratings.task == i] for i in range(ratings.n_rows)]
    return np.array([g.mean() for g in groups]), np.array([np.median(g) for g in groups])


def correlation(a: Floats, b: Floats) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def rmse(a: Floats, b: Floats) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


def simulate(seed: int, n: int, w: int, per_task: int = 5) -> tuple[Floats, Ratings]:
    """Raters with offsets of sd 10 and noise of 3 to 15, truths of sd 20."""
    rng = np.random.default_rng(seed)
    truth, noise, offset = rng.normal(50, 20, n), rng.uniform(3, 15, w), rng.normal(0, 10, w)
    task, worker = np.repeat(np.arange(n), per_task), rng.integers(0, w, n * per_task)
    value = truth[task] + offset[worker] + rng.normal(0, noise[worker])
    return truth, Ratings(task, worker, value, np.arange(n), np.arange(w))


def real(command: str, resamples: int) -> list[ResultRow]:
    out = []
    for name in TASKS:
        ratings, gold = snow(name)
        ours = NumericRaters().fit(ratings).estimate_
        for metric, score in (("correlation with gold", correlation), ("RMSE to gold", rmse)):
            if name == "wordsim" and score is rmse:
                continue  # rated 0 to 10, gold 0 to 4
            interval = bootstrap(score, ours, gold, resamples=resamples)
            for rival, other in zip(("mean", "median"), mean_and_median(ratings), strict=True):
                row = ResultRow(
                    case=f"snow2008 {name}, {ratings.n_rows} tasks",
                    metric=metric,
                    ours=score(ours, gold),
                    unit="" if score is correlation else "points",
                    command=command,
                    interval=interval,
                    rival=score(other, gold),
                    rival_name=rival,
                )
                out.append(row)
    return out


def known(command: str, seeds: int) -> list[ResultRow]:
    values = np.empty((seeds, 3))
    for seed in range(seeds):
        truth, ratings = simulate(seed, 300, 20)
        model = NumericRaters().fit(ratings)
        means, medians = mean_and_median(ratings)
        values[seed] = [rmse(e - np.mean(e - truth), truth) for e in (model.estimate_, means, medians)]
    low, high = bootstrap(lambda column: float(column.mean()), values[:, 0])
    return [
        ResultRow(
            case="300 tasks, 5 ratings each, 20 raters of sd 10 in offset, 3 to 15 in noise",
            metric="RMSE to truth, common offset removed",
            ours=float(values[:, 0].mean()),
            unit="points",
            command=command,
            interval=(low, high),
            seeds=tuple(range(seeds)),
            rival=float(values[:, place].mean()),
            rival_name=name,
            deployable=False,
        )
        for place, name in ((1, "mean"), (2, "median"))
    ]


def timed(command: str, n: int) -> list[ResultRow]:
    _, ratings = simulate(0, n, max(n // 100, 10))
    NumericRaters(max_iter=1).fit(ratings)
    begin = time.process_time()
    model = NumericRaters().fit(ratings)
    seconds = time.process_time() - begin
    case = f"{ratings.n_ratings} ratings, {model.n_iter_} iterations"
    return [ResultRow(case=case, metric="time to fit", ours=seconds, unit="CPU s", command=command, seeds=(0,))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="small")
    full = parser.parse_args().scale == "full"
    command = f"python -m bench.aggregate.numeric --scale {'full' if full else 'small'}"
    rows = real(command, 2000 if full else 100) + known(command, 20 if full else 3)
    rows += timed(command, 200_000 if full else 2_000)
    write_results(RESULTS / "aggregate" / "numeric.json", rows)


if __name__ == "__main__":
    main()

"""Bayesian Dawid-Skene beside Dawid-Skene where votes are few, the coverage of its intervals, and its CPU seconds."""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from crowdkit.aggregation import DawidSkene as Peer

from assay.aggregate.bayesian_dawid_skene import BayesianDawidSkene
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.calibration import nll
from assay.kernels.intervals import bootstrap, wilson
from assay.labels import Space, Votes
from bench.aggregate.datasets import rte
from bench.data import RESULTS

Floats = npt.NDArray[np.float64]
VOTES = {"small": 5_000, "full": 1_000_000}
FEW = (2, 3, 5, 10)  # votes a task
Score = Callable[..., float]


def simulated(n: int, w: int, v: int, k: int, seed: int) -> tuple[Votes, npt.NDArray[np.int64], Floats]:
    """Votes drawn from Dawid-Skene; the truth (n,); the matrices (w, k, k) at [worker, truth, said]."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(k, n, p=rng.dirichlet(np.full(k, 5.0)))
    matrices = np.stack([[rng.dirichlet(1 + 2 * k * np.eye(k)[t]) for t in range(k)] for _ in range(w)])
    task, worker = rng.integers(0, n, v), rng.integers(0, w, v)
    chance = matrices.cumsum(axis=2)[worker, truth[task]]
    label = (rng.random(v)[:, None] > chance).sum(axis=1).clip(0, k - 1).astype(np.int32)
    space = Space(tuple(str(t) for t in range(k)))
    return Votes(space, task, worker, label, np.arange(n), np.arange(w)), truth, matrices


def peer_belief(votes: Votes) -> tuple[Floats, float]:
    """crowd-kit's belief (n, k) in our order, and its CPU seconds; a task without votes is uniform."""
    data = pd.DataFrame({"task": votes.task, "worker": votes.worker, "label": votes.label})
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = Peer().fit_predict_proba(data)
    spent = time.process_time() - started
    n, k = votes.n_rows, votes.space.n_classes
    return found.reindex(index=range(n), columns=range(k)).fillna(1 / k).to_numpy(), spent


def our_belief(votes: Votes) -> tuple[Floats, float]:
    """Belief (n, k) and CPU seconds."""
    started = time.process_time()
    belief = BayesianDawidSkene().fit(votes).belief_.p
    return np.asarray(belief, dtype=np.float64), time.process_time() - started


def accuracy(belief: Floats, truth: npt.NDArray[Any]) -> float:
    return float((belief.argmax(axis=1) == truth).mean())


SCORES: tuple[tuple[str, str, Score], ...] = (("accuracy", "share", accuracy), ("NLL", "nats", nll))


def thinned(votes: Votes, per_task: int, seed: int) -> Votes:
    """At most `per_task` votes of each task, drawn with the seed."""
    order = np.lexsort((np.random.default_rng(seed).random(votes.n_votes), votes.task))
    task = votes.task[order]
    place = np.arange(len(task)) - np.searchsorted(task, task)
    keep = np.sort(order[place < per_task])
    columns = votes.task[keep], votes.worker[keep], votes.label[keep]
    return Votes(votes.space, *columns, votes.task_ids, votes.worker_ids)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    scale = parser.parse_args().scale
    command = f"python -m bench.aggregate.bayesian_dawid_skene --scale {scale}"
    versions = versions_of("scipy", "numba", "crowd-kit")
    rows: list[ResultRow] = []

    def row(case: str, metric: str, ours: float, unit: str, **more: Any) -> None:
        rows.append(ResultRow(case, metric, ours, unit, command, versions=versions, **more))

    crowd = rte()
    assert crowd.gold is not None
    gold = crowd.gold.y
    for per_task in FEW:
        seeds = tuple(range(1 if per_task == 10 else 3 if scale == "small" else 20))
        scores = []
        for seed in seeds:
            some = thinned(crowd.votes, per_task, seed)
            (ours, _), (theirs, _) = our_belief(some), peer_belief(some)
            pair = [[score(p, gold) for p in (ours, theirs)] for score in (accuracy, nll)]
            scores.append(pair)
        mean = np.mean(scores, axis=0)
        for place, (metric, unit, score) in enumerate(SCORES):
            interval = np.quantile([pair[place][0] for pair in scores], [0.025, 0.975]).tolist()
            if len(seeds) == 1:
                interval = list(bootstrap(score, ours, gold, resamples=1_000, random_state=0))
            case = f"RTE, {per_task} votes a task; interval: of draws, or of tasks where all votes are used"
            value, rival = float(mean[place, 0]), float(mean[place, 1])
            more: dict[str, Any] = {"interval": (interval[0], interval[1]), "seeds": seeds}
            row(case, metric, value, unit, rival=rival, rival_name="crowd-kit DawidSkene", **more)

    inside: list[bool] = []
    seeds = tuple(range(5 if scale == "small" else 100))
    for seed in seeds:
        votes, truth, matrices = simulated(400, 30, 2_400, 3, seed)
        workers = BayesianDawidSkene().fit(votes).workers()
        right = np.einsum("t,jtt->j", np.bincount(truth, minlength=3) / len(truth), matrices)
        inside += ((workers["low"] <= right) & (right <= workers["high"])).tolist()
    low, high = wilson(sum(inside), len(inside))
    covered = float(np.mean(inside))
    case = "30 simulated workers of 80 votes each, 3 classes"
    more = {"interval": (float(low), float(high)), "seeds": seeds, "limit": 0.95}
    row(case, "share of 95 % intervals that hold the worker's accuracy", covered, "share", **more)

    v = VOTES[scale]
    votes, truth, _ = simulated(v // 5, max(v // 500, 5), v, 5, 0)
    (theirs, their_time), runs = peer_belief(votes), [our_belief(votes) for _ in range(3)]
    case = f"{v} simulated votes, {votes.n_rows} tasks, {votes.n_workers} workers, 5 classes; the peer is not Bayesian"
    peer: dict[str, Any] = {"rival_name": "crowd-kit DawidSkene", "seeds": (0,)}
    row(case, "accuracy", accuracy(runs[0][0], truth), "share", rival=accuracy(theirs, truth), **peer)
    row(case, "NLL", nll(runs[0][0], truth), "nats", rival=nll(theirs, truth), **peer)
    row(case, "CPU seconds", float(np.median([spent for _, spent in runs])), "s", rival=their_time, **peer)
    write_results(RESULTS / "aggregate" / "bayesian_dawid_skene.json", rows)
    for each in rows:
        print(f"{each.case:100s} {each.metric:36.36s} {each.ours:.4f} {each.rival} {each.interval or ''}")


if __name__ == "__main__":
    main()

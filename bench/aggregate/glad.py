"""GLAD beside crowd-kit: the same optimum first, then CPU seconds; accuracy and NLL on the RTE votes."""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from crowdkit.aggregation import GLAD as Peer

from assay.aggregate.glad import GLAD
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.calibration import nll
from assay.kernels.intervals import bootstrap
from assay.labels import Space, Votes
from bench.aggregate.datasets import rte
from bench.data import RESULTS

Floats = npt.NDArray[np.float64]
VOTES = {"small": 3_000, "full": 100_000}


def simulated(v: int, seed: int, k: int = 4) -> tuple[Votes, npt.NDArray[np.int64]]:
    """Votes (v,) on v / 5 tasks by v / 200 workers, drawn from GLAD; and the truth (n,)."""
    n, w = v // 5, max(v // 200, 5)
    rng = np.random.default_rng(seed)
    truth, ability, ease = rng.integers(0, k, n), rng.normal(1, 1, w), rng.normal(1, 1, n)
    task, worker = rng.integers(0, n, v), rng.integers(0, w, v)
    right = rng.random(v) < 1 / (1 + np.exp(-ability[worker] * np.exp(ease[task])))
    label = np.where(right, truth[task], (truth[task] + rng.integers(1, k, v)) % k)
    space = Space(tuple(str(t) for t in range(k)))
    return Votes(space, task, worker, label.astype(np.int32), np.arange(n), np.arange(w)), truth


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
    belief = GLAD().fit(votes).belief_.p
    return np.asarray(belief, dtype=np.float64), time.process_time() - started


def accuracy(belief: Floats, truth: npt.NDArray[Any]) -> float:
    return float((belief.argmax(axis=1) == truth).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    scale = parser.parse_args().scale
    command = f"python -m bench.aggregate.glad --scale {scale}"
    versions = versions_of("scipy", "numba", "crowd-kit")
    rows: list[ResultRow] = []

    def row(case: str, metric: str, ours: float, unit: str, **more: Any) -> None:
        rows.append(ResultRow(case, metric, ours, unit, command, versions=versions, **more))

    our_belief(simulated(1_000, 9)[0])  # compiles
    v = VOTES[scale]
    votes, truth = simulated(v, 0)
    theirs, their_time = peer_belief(votes)
    runs = [our_belief(votes) for _ in range(3)]
    ours = runs[0][0]
    case = f"{v} simulated votes, {votes.n_rows} tasks, {votes.n_workers} workers, 4 classes"
    same = float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean())
    if same < 0.98:
        raise SystemExit(f"The two disagree on {1 - same:.1%} of the tasks: no time is worth printing.")
    peer: dict[str, Any] = {"rival_name": "crowd-kit GLAD", "seeds": (0,)}
    row(case, "tasks with the same top class", same, "share", seeds=(0,))
    row(case, "mean absolute difference of beliefs", float(np.abs(ours - theirs).mean()), "", seeds=(0,))
    row(case, "accuracy", accuracy(ours, truth), "share", rival=accuracy(theirs, truth), **peer)
    row(case, "NLL", nll(ours, truth), "nats", rival=nll(theirs, truth), **peer)
    row(case, "CPU seconds", float(np.median([spent for _, spent in runs])), "s", rival=their_time, **peer)

    crowd = rte()
    assert crowd.gold is not None
    gold = crowd.gold.y
    (ours, _), (theirs, _) = our_belief(crowd.votes), peer_belief(crowd.votes)
    for metric, score, unit in (("accuracy", accuracy, "share"), ("NLL", nll, "nats")):
        interval = bootstrap(score, ours, gold, resamples=1_000, random_state=0)
        value, rival = score(ours, gold), score(theirs, gold)
        row("RTE votes", metric, value, unit, interval=interval, rival=rival, rival_name="crowd-kit GLAD")
    write_results(RESULTS / "aggregate" / "glad.json", rows)
    for each in rows:
        print(f"{each.case:70s} {each.metric:40s} {each.ours:.4f} {each.rival} {each.interval or ''}")


if __name__ == "__main__":
    main()

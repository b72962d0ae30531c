"""MACE beside crowd-kit: nearly the same beliefs first, then CPU seconds; accuracy and NLL on the RTE votes.

crowd-kit's ten restarts share one seed, hence are one; so both are timed as they come, and with one restart each.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from crowdkit.aggregation import MACE as Peer

from assay.aggregate.mace import MACE
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.calibration import nll
from assay.kernels.intervals import bootstrap
from assay.labels import Space, Votes
from bench.aggregate.datasets import rte
from bench.data import RESULTS

Floats = npt.NDArray[np.float64]
VOTES = {"small": 3_000, "full": 100_000}


def simulated(v: int, seed: int, k: int = 4) -> tuple[Votes, npt.NDArray[np.int64]]:
    """Votes (v,) on v / 5 tasks by v / 200 workers, drawn from MACE; and the truth (n,)."""
    n, w = v // 5, max(v // 200, 5)
    rng = np.random.default_rng(seed)
    truth, spam, habit = rng.integers(0, k, n), rng.beta(1, 2, w), rng.dirichlet(np.ones(k), w)
    task, worker = rng.integers(0, n, v), rng.integers(0, w, v)
    lazy = (rng.random(v)[:, None] > habit[worker].cumsum(axis=1)).sum(axis=1).clip(0, k - 1)
    label = np.where(rng.random(v) < spam[worker], lazy, truth[task])
    space = Space(tuple(str(t) for t in range(k)))
    return Votes(space, task, worker, label.astype(np.int32), np.arange(n), np.arange(w)), truth


def peer_belief(votes: Votes, n_restarts: int) -> tuple[Floats, float]:
    """crowd-kit's belief (n, k) in our order, and its CPU seconds; its rows must be sorted, or its tables are wrong."""
    data = pd.DataFrame({"task": votes.task, "worker": votes.worker, "label": votes.label})
    data = data.sort_values(["worker", "label", "task"])
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = Peer(n_restarts=n_restarts).fit_predict_proba(data)
    spent = time.process_time() - started
    n, k = votes.n_rows, votes.space.n_classes
    return found.reindex(index=range(n), columns=range(k)).fillna(1 / k).to_numpy(), spent


def our_belief(votes: Votes, n_restarts: int) -> tuple[Floats, float]:
    """Belief (n, k) and CPU seconds."""
    started = time.process_time()
    belief = MACE(n_restarts=n_restarts).fit(votes).belief_.p
    return np.asarray(belief, dtype=np.float64), time.process_time() - started


def accuracy(belief: Floats, truth: npt.NDArray[Any]) -> float:
    return float((belief.argmax(axis=1) == truth).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    scale = parser.parse_args().scale
    command = f"python -m bench.aggregate.mace --scale {scale}"
    versions = versions_of("scipy", "numba", "crowd-kit")
    rows: list[ResultRow] = []

    def row(case: str, metric: str, ours: float, unit: str, **more: Any) -> None:
        rows.append(ResultRow(case, metric, ours, unit, command, versions=versions, **more))

    our_belief(simulated(1_000, 9)[0], 1)  # compiles
    v = VOTES[scale]
    votes, truth = simulated(v, 0)
    about = f"{v} simulated votes, {votes.n_rows} tasks, {votes.n_workers} workers, 4 classes"
    for how, mine, other in (("as they come", 4, 10), ("one restart each", 1, 1)):
        case = f"{about}; {how}"
        peer: dict[str, Any] = {"rival_name": f"crowd-kit MACE, {other} restarts", "seeds": (0,)}
        theirs, their_time = peer_belief(votes, other)
        runs = [our_belief(votes, mine) for _ in range(3)]
        ours = runs[0][0]
        same = float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean())
        if same < 0.98:
            raise SystemExit(f"The two disagree on {1 - same:.1%} of the tasks: no time is worth printing.")
        row(case, "tasks with the same top class", same, "share", seeds=(0,))
        row(case, "mean absolute difference of beliefs", float(np.abs(ours - theirs).mean()), "", seeds=(0,))
        row(case, "accuracy", accuracy(ours, truth), "share", rival=accuracy(theirs, truth), **peer)
        row(case, "NLL", nll(ours, truth), "nats", rival=nll(theirs, truth), **peer)
        row(case, "CPU seconds", float(np.median([spent for _, spent in runs])), "s", rival=their_time, **peer)

    crowd = rte()
    assert crowd.gold is not None
    gold = crowd.gold.y
    (ours, _), (theirs, _) = our_belief(crowd.votes, 4), peer_belief(crowd.votes, 1)
    for metric, score, unit in (("accuracy", accuracy, "share"), ("NLL", nll, "nats")):
        interval = bootstrap(score, ours, gold, resamples=1_000, random_state=0)
        value, rival = score(ours, gold), score(theirs, gold)
        row("RTE votes", metric, value, unit, interval=interval, rival=rival, rival_name="crowd-kit MACE")
    write_results(RESULTS / "aggregate" / "mace.json", rows)
    for each in rows:
        print(f"{each.case:85s} {each.metric:36s} {each.ours:.4f} {each.rival} {each.interval or ''}")


if __name__ == "__main__":
    main()

"""What every speed bench of the aggregators shares: a made-up crowd, clocks, the limit, and the rival beside us.

Results are checked equal before any time is kept. The limit of a sweep is one read of the sorted votes, 6 bytes a vote
and 8 a task, at the speed of a plain sum.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from assay.aggregate.dawid_skene import DawidSkene
from assay.aggregate.one_coin import OneCoin
from assay.evidence.results import ResultRow, versions_of
from assay.labels import Space, Votes
from assay.labels.formats.vote_forms import vote_blocks
from bench.data import shared

T = TypeVar("T")
PER_TASK, CLASSES = 5, 5


class Timed(NamedTuple):
    cpu: float
    wall: float
    result: Any


def timed(call: Callable[[], Any], repeats: int = 1) -> Timed:
    """The least CPU and wall seconds of `repeats` calls, and what the last returned."""
    cpu = wall = float("inf")
    result = None
    for _ in range(repeats):
        c, w = time.process_time(), time.perf_counter()
        result = call()
        cpu, wall = min(cpu, time.process_time() - c), min(wall, time.perf_counter() - w)
    return Timed(cpu, wall, result)


def columns(v: int, w: int, seed: int, k: int = CLASSES, first_task: int = 0) -> dict[str, Any]:
    """Votes of w workers of different skill, five a task, in random order."""
    rng = np.random.default_rng(seed)
    n = max(v // PER_TASK, 1)
    truth = rng.integers(k, size=n, dtype=np.int8)
    skill = np.random.default_rng(0).uniform(0.4, 0.95, size=w)
    steps = rng.integers(1, max(w // PER_TASK, 2), size=(n, PER_TASK), dtype=np.int32).cumsum(axis=1, dtype=np.int32)
    workers = (steps + rng.integers(w, size=(n, 1), dtype=np.int32)) % w  # five different ones
    order = rng.permutation(n * PER_TASK)
    task = np.repeat(np.arange(n, dtype=np.int32), PER_TASK)[order]
    worker = workers.ravel()[order]
    right = rng.random(len(task), dtype=np.float32) < skill[worker]
    label = np.where(right, truth[task], rng.integers(k, size=len(task), dtype=np.int8)).astype(np.int16)
    return {"task": task + first_task, "worker": worker, "label": label}


def space_of(k: int) -> Space:
    return Space(tuple(map(str, range(k))))


def crowd(v: int, w: int, k: int = CLASSES) -> Votes:
    made = columns(v, w, 0, k)
    n = int(made["task"].max()) + 1
    return Votes(space_of(k), made["task"], made["worker"], made["label"], np.arange(n), np.arange(w))


def frame_of(votes: Votes) -> pd.DataFrame:
    return pd.DataFrame({"task": votes.task, "worker": votes.worker, "label": votes.label.astype(np.int64)})


def one_read(votes: Votes) -> float:
    """Seconds to read the sorted votes once."""
    store = np.ones((6 * votes.n_votes + 8 * votes.n_rows) // 8 + 1)
    return timed(store.sum, 5).wall


def curve(fit: Callable[[Votes], Any], sizes: list[int], command: str) -> list[ResultRow]:
    """Time of `fit` at each size, ours alone."""
    fit(crowd(20_000, 50))  # compile
    rows = []
    for v in sizes:
        votes = crowd(v, max(v // 500, 10))
        spent = timed(lambda votes=votes: fit(votes), 3 if v <= 10**6 else 1)  # type: ignore[misc]
        case = f"{v:,} votes by {votes.n_workers:,} workers on {votes.n_rows:,} tasks, {CLASSES} classes"
        steps = int(spent.result.n_iter_)
        limit = one_read(votes) * (steps + 2)
        rows += [
            ResultRow(case, f"CPU seconds of fit, {steps} steps", spent.cpu, "s", command, seeds=(0,)),
            ResultRow(case, f"wall seconds of fit, {steps} steps", spent.wall, "s", command, seeds=(0,), limit=limit),
        ]
    return rows


def beside(
    ours: Callable[[Votes], T], theirs: Callable[[pd.DataFrame], Any], difference: Callable[[T, Any], float],
    v: int, what: str, command: str, w: int = 2000, k: int = CLASSES,
) -> list[ResultRow]:  # fmt: skip
    """Ours and crowd-kit on the same votes in this run; refuses to time results that differ by more than 1e-6."""
    votes = crowd(v, w, k)
    frame = frame_of(votes)
    ours(crowd(20_000, 50))  # compile
    mine = timed(lambda: ours(votes), 3)
    rival = timed(lambda: theirs(frame))
    apart = difference(mine.result, rival.result)
    if not apart < 1e-6:
        raise SystemExit(f"Ours and crowd-kit differ by {apart:.3g}: no time is kept.")
    case = f"{v:,} votes by {w:,} workers on {votes.n_rows:,} tasks, {k} classes, {what}"
    found = versions_of("crowd-kit", "pandas", "numba")
    name = "crowd-kit 1.4.2"
    return [
        ResultRow(case, "largest difference from crowd-kit", apart, "", command, seeds=(0,), versions=found),
        ResultRow(case, "CPU seconds", mine.cpu, "s", command, None, (0,), rival.cpu, name, versions=found),
        ResultRow(case, "wall seconds", mine.wall, "s", command, None, (0,), rival.wall, name, versions=found),
        ResultRow(case, "times faster in CPU seconds", rival.cpu / mine.cpu, "x", command, seeds=(0,), versions=found),
    ]


def write_partitions(folder: Path, v: int, w: int, parts: int) -> None:
    """Votes in Parquet files, each with all votes on its tasks."""
    for part in range(parts):
        made = columns(v // parts, w, part + 1, first_task=part * (v // parts // PER_TASK))
        pq.write_table(pa.table(made), folder / f"votes-{part:03}.parquet")


def _stream(folder: str, one_coin: bool, keep: bool) -> tuple[float, float, float, int]:
    model = OneCoin() if one_coin else DawidSkene()
    blocks = vote_blocks(sorted(Path(folder).glob("*.parquet")), space_of(CLASSES))
    spent = timed(lambda: model.fit_blocks(blocks, keep=keep))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return spent.cpu, spent.wall, peak, model.n_iter_


def streamed(folder: Path, v: int, w: int, one_coin: bool, command: str) -> list[ResultRow]:
    """Fit from Parquet in a process of its own, so that the peak of memory is that of the fit."""
    rows = []
    for keep in (True, False):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            cpu, wall, peak, steps = pool.apply(_stream, (str(folder), one_coin, keep))
        how = "sorted votes kept" if keep else "files read at every pass"
        case = f"{v:,} votes by {w:,} workers from Parquet partitions, {CLASSES} classes, {how}, {steps} steps"
        rows += [
            ResultRow(case, "CPU seconds", cpu, "s", command, seeds=(0,)),
            ResultRow(case, "wall seconds", wall, "s", command, seeds=(0,)),
            ResultRow(case, "peak memory of the process", peak, "MB", command, seeds=(0,), limit=4000.0),
        ]
    return rows


def rte() -> tuple[Votes, Any]:
    """The RTE votes of Snow et al. 2008 and the expert's class of each task."""
    frame = pd.read_csv(shared("snow2008/rte.csv"))
    votes = Votes.from_long(frame.item.to_numpy(), frame.worker.tolist(), frame.response.to_numpy())
    return votes, frame.drop_duplicates("item").set_index("item").gold.loc[votes.task_ids].to_numpy()


def on_rte(name: str, belief: Callable[[Votes], Any], rival: dict[str, float], command: str) -> list[ResultRow]:
    """Accuracy and log-loss (probabilities of at least 1e-6) on RTE, with bootstrap intervals over the tasks."""
    votes, gold = rte()
    p = np.asarray(belief(votes))
    right = (p.argmax(axis=1) == gold).astype(float)
    loss = -np.log(np.maximum(p[np.arange(len(p)), gold], 1e-6))
    rows = []
    for metric, values in (("accuracy", right), ("log-loss", loss)):
        draws = np.random.default_rng(0).integers(len(values), size=(2000, len(values)))
        low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
        peer = rival.get(metric)
        rows.append(
            ResultRow(
                f"RTE, 800 tasks, 164 workers, 8,000 votes: {name}", metric, float(values.mean()), "", command,
                (float(low), float(high)), (0,), peer, None if peer is None else "crowd-kit 1.4.2",
            )
        )  # fmt: skip
    return rows


def show(rows: list[ResultRow]) -> str:
    lines = []
    for row in rows:
        rival = "" if row.rival is None else f"   rival {row.rival:.4g}"
        limit = "" if row.limit is None else f"   limit {row.limit:.4g}"
        lines.append(f"{row.case} | {row.metric}: {row.ours:.4g} {row.unit}{rival}{limit}")
    return "\n".join(lines)

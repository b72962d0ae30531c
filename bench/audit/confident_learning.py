"""How fast confident learning runs: beside cleanlab, and beside one read of the matrix, which nothing can beat.

Ours, cleanlab and the read alternate in one process; the flagged rows are checked equal before any time is kept.
CPU seconds are those of all threads. Peak memory is measured in a process of its own, above what the input occupies.
The streamed case never holds its matrix: blocks of float16 come from a small pool, so that making them costs little.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
from numba import njit

from assay.audit.confident_learning import ConfidentLearning
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.blocks import in_threads
from assay.kernels.confident_passes import Filter
from assay.kernels.probabilities import bits_of
from bench.data import RESULTS

COMMAND = "python -m bench.audit.confident_learning"
SEED = 0
NOISE = 0.05
POOL = 4  # different blocks of the streamed case
Data = tuple[npt.NDArray[np.int64], npt.NDArray[Any]]

CASES: dict[str, list[tuple[int, int]]] = {
    "small": [(20_000, 100), (200_000, 10)],
    "full": [(200_000, 100), (1_000_000, 100), (10_000_000, 10), (1_000_000, 1000)],
}
STREAMS = {"small": (500_000, 345), "full": (50_000_000, 345)}
FILTERS: tuple[Filter, ...] = ("prune_by_noise_rate", "prune_by_class", "confident_learning")
HEAVY = 2 * 10**8  # numbers above which cleanlab runs its default filter only, and once


def make(n: int, k: int, dtype: npt.DTypeLike = np.float32, seed: int = SEED) -> Data:
    """Labels of which 5 % are flipped at random, and probabilities of a model that is right four times in five."""
    rng = np.random.default_rng(seed)
    labels, probabilities = np.empty(n, np.int64), np.empty((n, k), dtype)
    step = max(2**24 // k, 1)
    for start in range(0, n, step):
        m = min(step, n - start)
        truth = rng.integers(0, k, m)
        logits = rng.standard_normal((m, k), dtype=np.float32)
        logits[np.arange(m), truth] += rng.normal(np.log(k) + 1.5, 1.5, m)
        np.exp(logits, out=logits)
        probabilities[start : start + m] = logits / logits.sum(axis=1, keepdims=True)
        labels[start : start + m] = np.where(rng.random(m) < NOISE, rng.integers(0, k, m), truth)
    return labels, probabilities


@njit(nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _sum(bits: Any) -> int:
    total = 0
    for r in range(bits.shape[0]):
        for j in range(bits.shape[1]):
            total += bits[r, j]
    return total


def read(bits: npt.NDArray[Any]) -> int:
    """The limit: look at every number once, with as many threads as we use."""
    return sum(in_threads(lambda start, stop: int(_sum(bits[start:stop])), len(bits)))


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """CPU and wall seconds of one run."""
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def peer(labels: npt.NDArray[np.int64], probabilities: npt.NDArray[Any], name: Filter) -> npt.NDArray[np.bool_]:
    """Cleanlab in one process: its default of several would hide the CPU seconds of its children from us."""
    from cleanlab.filter import find_label_issues  # not at the top: it would count as our memory

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flags: npt.NDArray[np.bool_] = find_label_issues(labels, probabilities, filter_by=name, n_jobs=1)
    return flags


def in_memory(n: int, k: int, repeats: int, scale: str) -> Iterator[ResultRow]:
    """Rows of one size, filter by filter."""
    labels, probabilities = make(n, k)
    bits = bits_of(probabilities)
    read(bits[:1])
    for name in FILTERS:
        ours = ConfidentLearning(filter_by=name)
        heavy = n * k > HEAVY
        compared = n * k <= 10**8 or (name == "prune_by_noise_rate" and _room_for_peer(probabilities.nbytes))
        ours.fit(labels, probabilities)
        if compared:
            flags = peer(labels, probabilities, name)
            if not np.array_equal(ours.is_issue_, flags):
                raise SystemExit(f"{name}, {n} x {k}: {(ours.is_issue_ != flags).sum()} rows differ from cleanlab's.")
            del flags
        times: dict[str, list[tuple[float, float]]] = {"ours": [], "cleanlab": [], "read": []}
        for turn in range(repeats):
            times["ours"].append(timed(lambda: ours.fit(labels, probabilities)))  # noqa: B023
            times["read"].append(timed(lambda: read(bits)))
            if compared and (turn == 0 or not heavy):
                times["cleanlab"].append(timed(lambda: peer(labels, probabilities, name)))  # noqa: B023
        for at, metric in enumerate(("CPU seconds", "wall seconds")):
            best = {who: min(pair[at] for pair in pairs) for who, pairs in times.items() if pairs}
            yield ResultRow(
                case=f"{name}, {n:.0e} x {k} float32, {ours.is_issue_.sum()} rows flagged".replace("e+0", "e"),
                metric=metric,
                ours=best["ours"],
                unit="s",
                command=f"{COMMAND} --scale {scale}",
                seeds=(SEED,),
                rival=best.get("cleanlab"),
                rival_name="cleanlab" if "cleanlab" in best else None,
                limit=best["read"],
                versions=versions_of("cleanlab", "numba"),
                device=machine(),
            )


def _room_for_peer(n_bytes: int) -> bool:
    """Cleanlab copies the matrix at least twice."""
    return bool(psutil.virtual_memory().available > 3 * n_bytes)


def machine() -> str:
    """What ran, and how busy it was."""
    threads = os.environ.get("NUMBA_NUM_THREADS", "all")
    return f"cpu, {os.cpu_count()} cores, {threads} threads, load {os.getloadavg()[0]:.1f}"


def stream(n: int, k: int, block: int = 32_768) -> Callable[[], Iterator[Data]]:
    """Blocks of float16 from a pool; each block flips labels of its own."""
    pool = [make(block, k, np.float16, seed) for seed in range(POOL)]

    def blocks() -> Iterator[Data]:
        for number, start in enumerate(range(0, n, block)):
            labels, probabilities = pool[number % POOL]
            rng = np.random.default_rng(number)
            flipped = rng.integers(0, block, block // 20)
            mine = labels.copy()
            mine[flipped] = rng.integers(0, k, len(flipped))
            yield mine[: n - start], probabilities[: n - start]

    return blocks


def alone(kind: str, n: int, k: int, env: dict[str, str] | None = None) -> dict[str, float]:
    """Run `measure_alone` in a process of its own."""
    command = [sys.executable, "-m", "bench.audit.confident_learning", "--alone", kind, str(n), str(k)]
    environment = {**os.environ, **(env or {})}
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    numbers: dict[str, float] = json.loads(output)
    return numbers


def measure_alone(kind: str, n: int, k: int) -> dict[str, float]:
    """Peak memory and times of one run; `kind` is "ours", "cleanlab" or "stream"."""
    warm = make(100, k, np.float16 if kind == "stream" else np.float32)
    first = timed(lambda: ConfidentLearning().fit(*warm))
    if kind == "stream":
        blocks = stream(n, k)
        _forget_peak()
        seconds = timed(lambda: ConfidentLearning().fit_blocks(blocks))
        peak = _peak()
        look = timed(lambda: [read(bits_of(probabilities)) for _, probabilities in blocks()])
        return dict(zip(("cpu", "wall", "read_cpu", "read_wall"), (*seconds, *look), strict=True)) | {"peak": peak}
    labels, probabilities = make(n, k)
    _forget_peak()
    before = _resident()
    timed(
        lambda: (
            ConfidentLearning().fit(labels, probabilities)
            if kind == "ours"
            else peer(labels, probabilities, FILTERS[0])
        )
    )
    return {"beyond": _peak() - before, "first": first[1]}


def _forget_peak() -> None:
    """Forget the memory that making the data took."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")


def _status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def _peak() -> float:
    """Peak resident memory of this process, MB."""
    return _status("VmHWM")


def _resident() -> float:
    """Resident memory of this process, MB."""
    return _status("VmRSS")


def memory(n: int, k: int, scale: str) -> ResultRow:
    """Peak memory beyond the input; the limit named is a hundredth of the matrix and 64 MB."""
    rival = alone("cleanlab", n, k)["beyond"] if _room_for_peer(4 * n * k) else None
    return ResultRow(
        case=f"prune_by_noise_rate, {n:.0e} x {k} float32".replace("e+0", "e"),
        metric="peak memory beyond the input",
        ours=alone("ours", n, k)["beyond"],
        unit="MB",
        command=f"{COMMAND} --scale {scale}",
        seeds=(SEED,),
        rival=rival,
        rival_name="cleanlab" if rival is not None else None,
        limit=4 * n * k / 1e8 + 64,
        versions=versions_of("cleanlab", "numba"),
        device=machine(),
    )


def streamed(n: int, k: int, scale: str) -> Iterator[ResultRow]:
    """A matrix that is never held; cleanlab would need all of it in memory."""
    numbers = alone("stream", n, k)
    case = f"prune_by_noise_rate, {n:.0e} x {k} float16, streamed".replace("e+0", "e")
    shared = {
        "command": f"{COMMAND} --scale {scale}",
        "seeds": (SEED,),
        "versions": versions_of("numba"),
        "device": machine(),
    }
    for metric, ours, limit, unit in (
        ("CPU seconds", numbers["cpu"], numbers["read_cpu"], "s"),
        ("wall seconds", numbers["wall"], numbers["read_wall"], "s"),
        ("peak memory of the process", numbers["peak"], 1024.0, "MB"),
    ):
        yield ResultRow(case=case, metric=metric, ours=ours, limit=limit, unit=unit, **shared)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="small")
    parser.add_argument("--alone", nargs=3, metavar=("KIND", "N", "K"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        kind, n, k = arguments.alone
        print(json.dumps(measure_alone(kind, int(n), int(k))))
        return
    scale: str = arguments.scale
    rows: list[ResultRow] = []
    with tempfile.TemporaryDirectory() as empty:
        first = alone("ours", 1000, 100, {"NUMBA_CACHE_DIR": empty})["first"]
    rows.append(
        ResultRow(
            "first fit of a fresh install, 100 x 100", "compile time, once", first, "s", f"{COMMAND} --scale {scale}"
        )
    )
    for n, k in CASES[scale]:
        rows += in_memory(n, k, 5 if n * k <= HEAVY else 3, scale)
        gc.collect()
    rows.append(memory(*CASES[scale][1], scale))
    rows += streamed(*STREAMS[scale], scale)
    write_results(RESULTS / "audit" / "confident_learning.json", rows)
    for row in rows:
        beside = "".join(
            f"  {name} {number:.3f}" for name, number in (("cleanlab", row.rival), ("limit", row.limit)) if number
        )
        print(f"{row.case:75s} {row.metric:30s} {row.ours:10.3f} {row.unit}{beside}")


if __name__ == "__main__":
    main()

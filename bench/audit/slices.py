"""Slices: planted slices found, false slices beside them and in noise, and time."""

import argparse
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assay.audit.slices import Slices
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.intervals import wilson
from bench.data import RESULTS

COMMAND = "python -m bench.audit.slices"
SHARES = np.arange(8, 0, -1) / 36


def table(rng: np.random.Generator, n: int, d: int) -> dict[str, npt.NDArray[np.generic]]:
    """Half the columns categories of falling frequency, half numbers."""
    columns: dict[str, npt.NDArray[np.generic]] = {
        f"c{i}": rng.choice(np.array(list("abcdefgh")), n, p=SHARES) for i in range(d // 2)
    }
    return columns | {f"x{i}": rng.normal(size=n) for i in range(d - d // 2)}


def share_row(case: str, metric: str, hits: int, of: int, seeds: int, limit: float | None, command: str) -> ResultRow:
    low, high = wilson(hits, max(of, 1))
    return ResultRow(
        case,
        metric,
        hits / max(of, 1),
        "share",
        command,
        interval=(float(low), float(high)),
        seeds=(0, seeds - 1),
        limit=limit,
        deployable=False,
    )


def planted_rows(n: int, repeats: int, command: str) -> Iterator[ResultRow]:
    """A slice of two conditions and a slice of one, whose rates of suspects are a multiple of the base rate."""
    base = 0.04
    for lift in (2, 4, 8):
        single, pair, false, slices = 0, 0, 0, 0
        for seed in range(repeats):
            rng = np.random.default_rng(seed)
            columns = table(rng, n, 8)
            in_pair = (columns["c0"] == "b") & (columns["x1"].astype(float) > 0.5)
            in_single = columns["c2"] == "d"
            rate = np.where(in_pair | in_single, lift * base, base)
            found = Slices().fit(columns, rng.random(n) < rate)
            pair += any("c0 = b and x1 >" in text for text in found.slices_["condition"])
            single += "c2 = d" in found.slices_["condition"]
            slices += len(found.rows_)
            # False: no more planted rows inside than outside.
            planted = rate > base
            false += sum(bool(planted[rows].mean() <= planted.mean()) for rows in found.rows_)
        case = f"{n} x 8, suspects {base:.0%}, {lift} times as many in the planted slices"
        yield share_row(case, "planted slice of one condition found", single, repeats, repeats, None, command)
        yield share_row(case, "planted slice of two conditions found", pair, repeats, repeats, None, command)
        yield share_row(case, "false slices among those found", false, slices, repeats, 0.05, command)


def noise_rows(n: int, repeats: int, command: str) -> Iterator[ResultRow]:
    for kind in ("half suspected", "5 % suspected", "0.5 % suspected", "uniform probability", "skewed probability"):
        hits = 0
        for seed in range(repeats):
            rng = np.random.default_rng(seed)
            columns = table(rng, n, 8)
            share = {"half suspected": 0.5, "5 % suspected": 0.05, "0.5 % suspected": 0.005}.get(kind)
            wrong = rng.random(n) if kind == "uniform probability" else rng.beta(0.05, 1, n)
            hits += len(Slices().fit(columns, wrong if share is None else rng.random(n) < share).rows_) > 0
        case = f"{n} x 8, noise, {kind}"
        yield share_row(case, "data sets in which any slice is found", hits, repeats, repeats, 0.05, command)


def speed_row(n: int, d: int, command: str) -> ResultRow:
    rng = np.random.default_rng(0)
    columns = table(rng, n, d)
    rate = np.where((columns["c0"] == "b") & (columns["x1"].astype(float) > 0.5), 0.08, 0.03)
    arrow, wrong = pa.table(columns), rng.random(n) < rate
    took = []
    for _ in range(3):
        start = time.process_time()
        found = Slices().fit(arrow, wrong)
        took.append(time.process_time() - start)
    case = f"{n} x {d}, {found.n_tried_} conditions tried"
    return ResultRow(case, "CPU time", min(took), "s", command, seeds=(0,), versions=versions_of("pyarrow"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    scale = parser.parse_args().scale
    command, full = f"{COMMAND} --scale {scale}", scale == "full"
    rows = [*planted_rows(5000, 100 if full else 3, command), *noise_rows(2000, 500 if full else 5, command)]
    rows.append(speed_row(1_000_000 if full else 20_000, 20, command))
    write_results(RESULTS / "audit" / "slices.json", rows)
    for row in rows:
        print(f"{row.case:70s} {row.metric:40s} {row.ours:8.3f} {row.unit} {row.interval or ''}")


if __name__ == "__main__":
    main()

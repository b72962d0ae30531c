"""Time and memory of belief propagation over bags of 8 to 2048 rows, a million rows in all, beside the pairwise form.

The published code writes each pair of a bag into a dictionary before it starts: n (size - 1) / 2 entries, whose bytes
are measured on a bag that fits and multiplied. Before anything is timed, messages of some bags are compared with the
law of the other members by repeated convolution.
"""

from __future__ import annotations

import argparse
import resource
import time
import tracemalloc
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.bag_messages import bag_messages
from assay.kernels.neighbour_graph import Graph
from assay.labels.formats.bags import Bags
from assay.learn.label_proportions import marginals
from bench.data import RESULTS

VERSIONS = versions_of("numba", "scikit-learn", "scipy")
SIZES = (8, 32, 128, 512, 2048)
SWEEPS = 10

Floats = npt.NDArray[np.float64]


def check() -> None:
    """Stop unless messages are those of the definition."""
    rng = np.random.default_rng(0)
    for size in SIZES[:4]:
        odds, table = rng.normal(size=size), -10.0 * (np.arange(size + 1.0) - size // 3) ** 2
        found = bag_messages(np.array([0, size]), odds, table)
        for i in (0, size - 1):
            law = np.ones(1)
            for p in expit(np.delete(odds, i)):
                law = np.convolve(law, [1 - p, p])
            told = np.log(law @ np.exp(table[1:])) - np.log(law @ np.exp(table[:-1]))
            if not np.isclose(found[i], told, rtol=1e-9):
                raise SystemExit(f"Bags of {size}: {found[i]} is not {told}, so no time is printed.")


def bytes_of_a_pair() -> float:
    """Bytes that a pair of rows takes in a dictionary from tuples to floats."""
    tracemalloc.start()
    pairs = {pair: -2.0 * pair[0] for pair in combinations(range(1000, 1512), 2)}
    held = tracemalloc.get_traced_memory()[0] / len(pairs)
    tracemalloc.stop()
    return held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    small = parser.parse_args().scale == "small"
    n = 20_480 if small else 1_000_000
    command = "python -m bench.learn.label_proportions_speed" + (" --scale small" if small else "")
    common: dict[str, Any] = {"command": command, "versions": VERSIONS, "seeds": (0,)}
    check()
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=n)
    x = rng.normal(size=(n, 3)) + 1.5 * y[:, None]
    x -= x.mean(axis=0)
    start = time.process_time()
    graph = Graph.nearest(x, 5)
    took = time.process_time() - start
    rows = [ResultRow(f"{n:,} rows of 3 features", "graph of 5 neighbours, CPU time", took, "s", **common)]
    rows.append(ResultRow(f"{n:,} rows of 3 features", "edges", len(graph.other) / 2, "", **common))
    pair = bytes_of_a_pair()
    marginals(_bags(y[:64], 8), Graph.nearest(x[:64], 5))  # compiles
    for size in SIZES:
        bags = _bags(y, size)
        start, wall = time.process_time(), time.perf_counter()
        marginals(bags, graph, max_sweeps=SWEEPS, tol=0.0)
        seconds, waited = (time.process_time() - start) / SWEEPS, (time.perf_counter() - wall) / SWEEPS
        case = f"{n:,} rows, bags of {size}"
        pairs = n * (size - 1) / 2
        rows += [
            ResultRow(case, "CPU time of a sweep", seconds, "s", **common),
            ResultRow(case, "wall time of a sweep on two busy cores", waited, "s", **common),
            ResultRow(case, "pairs that one count factor a bag stands for", pairs, "", **common),
            ResultRow(
                case,
                "memory of the process, its peak so far",
                resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
                "GB",
                rival=pairs * pair / 1e9,
                rival_name=f"pairwise dictionary of the published code, {pair:.0f} bytes a pair, computed",
                **common,
            ),
        ]
        for row in rows[-4:]:
            print(f"{row.case}; {row.metric}: {row.ours:.4g} {row.unit} {row.rival or ''}", flush=True)
    write_results(RESULTS / "learn" / "label_proportions_speed.json", rows)


def _bags(y: npt.NDArray[np.int64], size: int) -> Bags:
    """Bags of rows in their order, the last one smaller."""
    ptr = np.unique(np.append(np.arange(0, len(y), size), len(y)))
    share = np.add.reduceat(y, ptr[:-1]) / np.diff(ptr)
    names = tuple(range(len(share)))
    return Bags(len(y), names, ptr, np.arange(len(y)), np.stack([1 - share, share], axis=1), np.arange(2))


if __name__ == "__main__":
    main()

"""Overlapping classes: the ranking of cleanlab, coverage of the intervals, time, and the pairs of real test sets."""

import argparse
import time
from collections.abc import Iterator
from functools import partial

import numpy as np
from cleanlab.dataset import find_overlapping_classes

from assay.audit.overlap import Overlap
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.intervals import wilson
from bench.data import RESULTS, shared

COMMAND = "python -m bench.audit.overlap"
NAMES = {
    "mnist": [str(digit) for digit in range(10)],
    "cifar10": ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
}


def real_rows(command: str) -> Iterator[ResultRow]:
    for name, classes in NAMES.items():
        arrays = np.load(shared(f"label-errors/{name}_test.npz"))
        labels, probabilities = arrays["original_label"].astype(int), arrays["pyx"]
        found = Overlap().fit(labels, probabilities)
        theirs = find_overlapping_classes(labels=labels, pred_probs=probabilities)["Joint Probability"].to_numpy()
        mass = found.pairs_["mass"]
        assert np.allclose(mass, theirs[: len(mass)], atol=1e-15), "the masses in their order must be those of cleanlab"
        made = partial(ResultRow, unit="share", command=command, versions=versions_of("cleanlab"))
        case = f"{name} test, released probabilities"
        yield made(case, "labels that are right", found.overall_, interval=found.overall_interval_)
        for row in range(min(3, len(mass))):
            pair = " and ".join(classes[found.pairs_[side][row]] for side in ("class_a", "class_b"))
            for metric in ("mass", "overlap"):
                ends = (float(found.pairs_[f"{metric}_low"][row]), float(found.pairs_[f"{metric}_high"][row]))
                rival = float(theirs[row]) if metric == "mass" else None
                yield made(
                    f"{case}: {pair}",
                    metric,
                    float(found.pairs_[metric][row]),
                    interval=ends,
                    rival=rival,
                    rival_name="cleanlab" if rival is not None else None,
                )


def coverage_rows(repeats: int, command: str) -> Iterator[ResultRow]:
    """Joints drawn from known confusion; how often the intervals hold it."""
    truth = np.array([[0.8, 0.15, 0.05], [0.3, 0.65, 0.05], [0.02, 0.0, 0.98]])
    counts = np.array([400, 150, 60])
    held: dict[str, list[bool]] = {"mass": [], "overlap": []}
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        joint = np.array([rng.multinomial(count // 2, row) for count, row in zip(counts, truth, strict=True)])
        found = Overlap().fit(np.repeat([0, 1, 2], counts), confident_joint=np.maximum(joint, np.eye(3, dtype=int)))
        for row, (a, b) in enumerate(zip(found.pairs_["class_a"], found.pairs_["class_b"], strict=True)):
            known = {
                "mass": (counts[a] * truth[a, b] + counts[b] * truth[b, a]) / counts.sum(),
                "overlap": sum(truth[i, j] / (truth[i, i] + truth[i, j]) for i, j in ((a, b), (b, a))),
            }
            for metric, value in known.items():
                low, high = found.pairs_[f"{metric}_low"][row], found.pairs_[f"{metric}_high"][row]
                held[metric].append(bool(low <= value <= high))
    for metric, holds in held.items():
        low, high = wilson(sum(holds), len(holds))
        yield ResultRow(
            "planted confusion of 3 classes, 610 rows",
            f"coverage of {metric}",
            float(np.mean(holds)),
            "share",
            command,
            interval=(float(low), float(high)),
            seeds=(0, repeats - 1),
            limit=0.95,
            deployable=False,
        )


def speed_row(n: int, k: int, command: str) -> ResultRow:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, k, n)
    probabilities = rng.dirichlet(np.full(k, 0.1), n)
    times: dict[str, list[float]] = {"ours": [], "cleanlab": []}
    for _ in range(3):
        start = time.process_time()
        found = Overlap().fit(labels, probabilities)
        times["ours"].append(time.process_time() - start)
        start = time.process_time()
        theirs = find_overlapping_classes(labels=labels, pred_probs=probabilities)["Joint Probability"].to_numpy()
        times["cleanlab"].append(time.process_time() - start)
        assert np.allclose(found.pairs_["mass"], theirs[: len(found.pairs_["mass"])], atol=1e-15)
    return ResultRow(
        f"pairs of {k} classes from {n} rows",
        "CPU time",
        min(times["ours"]),
        "s",
        command,
        seeds=(0,),
        rival=min(times["cleanlab"]),
        rival_name="cleanlab",
        versions=versions_of("cleanlab", "numba"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    scale = parser.parse_args().scale
    command, full = f"{COMMAND} --scale {scale}", scale == "full"
    rows = [*real_rows(command), *coverage_rows(2000 if full else 20, command)]
    rows.append(speed_row(1_000_000 if full else 10_000, 100, command))
    write_results(RESULTS / "audit" / "overlap.json", rows)
    for row in rows:
        rival = "" if row.rival is None else f"{row.rival_name} {row.rival:.4f}"
        print(f"{row.case:60s} {row.metric:24s} {row.ours:9.4f} {row.unit} {row.interval or ''} {rival}")


if __name__ == "__main__":
    main()

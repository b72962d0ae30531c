"""Confident learning for tags: errors planted in digits, and the time beside cleanlab and beside one read.

Planted: ten digits described by six tags, a share of the cells flipped, all cells known or 70 % of them; softmax
regression a tag, 5 folds. Every F1 needs the truth. Speed: random tags and probabilities, answers checked equal first.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from cleanlab.internal.multilabel_utils import onehot2int
from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score

from assay.audit.confident_tags import ConfidentTags
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.confident_passes import FILTERS
from assay.training.out_of_fold import out_of_fold
from bench.data import RESULTS

COMMAND = "python -m bench.audit.confident_tags"
TAGS = {
    "even": (0, 2, 4, 6, 8),
    "loop": (0, 6, 8, 9),
    "straight": (1, 4, 7),
    "above four": (5, 6, 7, 8, 9),
    "prime": (2, 3, 5, 7),
    "zero": (0,),
}


class Found(NamedTuple):
    """Ours, and cleanlab's where it can be asked."""

    f1: float
    rival: float | None


def planted(seed: int, flips: float, known_share: float) -> dict[str, Found]:
    """F1 over the known cells of every filter, and the AUROC of row scores for rows with some flip."""
    rng = np.random.default_rng(seed)
    pixels, digits = load_digits(return_X_y=True)
    truth: Any = np.array([np.isin(digits, those) for those in TAGS.values()]).T
    wrong: Any = rng.random(truth.shape) < flips
    known: Any = rng.random(truth.shape) < known_share
    tags = (truth ^ wrong).astype(np.int8)
    chance = np.empty(tags.shape)
    for j in range(tags.shape[1]):
        model = LogisticRegression(max_iter=500)
        fitted = out_of_fold(pixels / 16, tags[:, j], 2, model=model, random_state=seed, mask=known[:, j])
        chance[:, j] = fitted.pred_probs[:, 1]
    complete = known_share == 1
    found = {}
    for name in FILTERS:
        ours = ConfidentTags(filter_by=name).fit(tags, chance, known)  # type: ignore[arg-type]
        theirs = cleanlab_flags(tags, chance, name) if complete else None
        found[name] = Found(
            f1_score(wrong[known], ours.is_issue_[known]),
            None if theirs is None else f1_score(wrong[known], theirs[known]),
        )
    rows = (wrong & known).any(axis=1)
    judged = known.any(axis=1)
    found["AUROC of row scores"] = Found(roc_auc_score(rows[judged], -ours.row_scores_[judged]), None)
    return found


def cleanlab_flags(tags: Any, chance: Any, name: str = "prune_by_noise_rate") -> Any:
    """What cleanlab flags (n, l)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return find_multilabel_issues_per_class(onehot2int(tags), chance, filter_by=name, n_jobs=1)


def planted_rows(seeds: range) -> list[ResultRow]:
    """One result for each share of flips, share of known cells, and metric."""
    made = []
    for flips in (0.02, 0.05, 0.1):
        for known_share in (1.0, 0.7):
            runs = [planted(seed, flips, known_share) for seed in seeds]
            for metric in runs[0]:
                ours = np.array([run[metric].f1 for run in runs])
                theirs = [run[metric].rival for run in runs]
                told = None not in theirs
                half = stats.t.ppf(0.975, len(ours) - 1) * ours.std(ddof=1) / np.sqrt(len(ours))
                row = ResultRow(
                    case=f"digits as 6 tags, {flips:.0%} of cells flipped, {known_share:.0%} known, 5 folds",
                    metric=metric if metric.startswith("AUROC") else f"F1, {metric}",
                    ours=float(ours.mean()),
                    interval=(float(ours.mean() - half), float(ours.mean() + half)),
                    unit="share",
                    seeds=tuple(seeds),
                    rival=float(np.mean([x for x in theirs if x is not None])) if told else None,
                    rival_name="cleanlab" if told else None,
                    limit=1.0,
                    deployable=False,
                    command=COMMAND,
                    versions=versions_of("scikit-learn", "cleanlab"),
                )
                made.append(row)
                print(f"{row.case}: {row.metric} {row.ours:.3f} +- {half:.3f} cleanlab {row.rival}")
    return made


def seconds(work: Callable[[], Any]) -> tuple[float, float]:
    """Wall and CPU seconds, of all threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def peak(work: Callable[[], Any]) -> float:
    """Largest memory that the work holds beyond its input, in MB."""
    tracemalloc.start()
    work()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 1e6


def speed_rows(n: int, n_tags: int, repeats: int) -> list[ResultRow]:
    """Time and memory of the default filter; ours, cleanlab and one read of the matrix alternate."""
    rng = np.random.default_rng(0)
    chance = np.empty((n, n_tags))
    tags = np.empty((n, n_tags), np.int8)
    for j in range(n_tags):
        truth = rng.random(n) < 0.2
        chance[:, j] = 1 / (1 + np.exp(rng.normal(0, 1.3, n) + np.where(truth, -2.0, 2.5)))
        tags[:, j] = truth ^ (rng.random(n) < 0.03)
    lists = onehot2int(tags)

    def ours() -> Any:
        return ConfidentTags().fit(tags, chance).is_issue_

    def theirs() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return find_multilabel_issues_per_class(lists, chance, n_jobs=1)

    def read() -> Any:
        return chance.max()

    if not np.array_equal(ours(), theirs()):
        raise SystemExit("The answers differ: no time is worth telling.")
    times = np.array([[seconds(work) for work in (ours, theirs, read)] for _ in range(repeats)])
    best = times.min(axis=0)
    common: dict[str, Any] = {
        "case": f"{n} rows x {n_tags} tags, float64, 3 % flipped, equal answers",
        "rival_name": "cleanlab, n_jobs=1",
        "command": COMMAND,
        "versions": versions_of("numba", "cleanlab"),
        "seeds": (0,),
    }
    rows = []
    for kind, (mine, rival, limit) in zip(("wall", "CPU"), best.T.tolist(), strict=True):
        metric = f"{kind} time, best of {repeats}"
        rows.append(ResultRow(metric=metric, ours=mine, rival=rival, limit=limit, unit="s", **common))
    memory = ResultRow(metric="peak memory beyond the input", ours=peak(ours), rival=peak(theirs), unit="MB", **common)
    for row in [*rows, memory]:
        print(f"{row.case}: {row.metric} {row.ours:.3g} cleanlab {row.rival:.3g} limit {row.limit} {row.unit}")
    return [*rows, memory]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    small = parser.parse_args().scale == "small"
    results = speed_rows(20_000, 10, 2) if small else speed_rows(1_000_000, 50, 3)
    results += planted_rows(range(2) if small else range(10))
    write_results(RESULTS / "audit" / "confident_tags.json", results)


if __name__ == "__main__":
    main()

"""Duplicates: planted near copies and false alarms beside cleanlab, time of exact grouping beside pandas, real data.

The rival of "near" is the rule of cleanlab's Datalab, run as it is: a row is a near duplicate when its nearest
neighbour lies within 0.13 times the median of such distances.
"""

import argparse
import csv
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.csv
from cleanlab import Datalab
from sklearn.neighbors import NearestNeighbors

from assay.audit.duplicates import Duplicates
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.intervals import wilson
from bench.data import RESULTS, shared

COMMAND = "python -m bench.audit.duplicates"
COPIES = 50


def cleanlab_flags(points: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    lab = Datalab({"row": np.arange(len(points))}, verbosity=0)
    lab.find_issues(features=points, issue_types={"near_duplicate": {}})
    flags: npt.NDArray[np.bool_] = lab.get_issues("near_duplicate")["is_near_duplicate_issue"].to_numpy()
    return flags


def share_row(case: str, metric: str, ours: list[bool], rival: list[bool], seeds: int, command: str) -> ResultRow:
    low, high = wilson(sum(ours), len(ours))
    return ResultRow(
        case,
        metric,
        float(np.mean(ours)),
        "share",
        command,
        interval=(float(low), float(high)),
        seeds=tuple(range(seeds)),
        rival=float(np.mean(rival)),
        rival_name="cleanlab Datalab",
        deployable=False,
        versions=versions_of("scikit-learn", "cleanlab"),
    )


def near_rows(n: int, seeds: int, command: str) -> Iterator[ResultRow]:
    """Gaussian points of some dimension, and copies moved by a share of the usual distance to the nearest neighbour."""
    for dimension in (3, 8, 30):
        clean, clean_rival = [], []
        found: dict[float, list[bool]] = {0.01: [], 0.1: [], 0.3: []}
        rival: dict[float, list[bool]] = {moved: [] for moved in found}
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            points = rng.normal(size=(n, dimension))
            usual = np.median(NearestNeighbors(n_neighbors=1).fit(points).kneighbors()[0])
            clean.append(Duplicates("near").fit(points, np.zeros(n, dtype=int)).n_groups_ > 0)
            clean_rival.append(bool(cleanlab_flags(points).any()))
            for moved in found:
                shift = moved * usual * rng.normal(size=(COPIES, dimension)) / np.sqrt(dimension)
                copied = np.vstack([points, points[:COPIES] + shift])
                near = Duplicates("near").fit(copied, np.zeros(n + COPIES, dtype=int))
                found[moved] += (near.group_[n:] == np.arange(COPIES)).tolist()
                rival[moved] += cleanlab_flags(copied)[n:].tolist()
        case = f"{n} Gaussian points in {dimension} dimensions"
        yield share_row(case, "data sets without copies in which any is flagged", clean, clean_rival, seeds, command)
        for moved in found:
            metric = f"recall of copies moved by {moved} of the usual distance"
            yield share_row(case, metric, found[moved], rival[moved], seeds, command)


def speed_row(n: int, d: int, command: str) -> ResultRow:
    """Exact grouping of a table with 1 % copies; pandas marks the rows that have a copy, which is less."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {f"c{i}": rng.integers(0, 50, n) for i in range(d // 2)} | {f"x{i}": rng.normal(size=n) for i in range(d // 2)}
    )
    frame.iloc[: n // 100] = frame.iloc[n // 100 : n // 50].to_numpy()
    times: dict[str, list[float]] = {"ours": [], "pandas": []}
    for _ in range(3):
        start = time.process_time()
        found = Duplicates().fit(frame, np.zeros(n, dtype=int))
        times["ours"].append(time.process_time() - start)
        start = time.process_time()
        theirs = frame.duplicated(keep=False).to_numpy()
        times["pandas"].append(time.process_time() - start)
        assert ((found.size_ > 1) == theirs).all()
    versions = versions_of("pandas", "pyarrow")
    ours, rival = min(times["ours"]), min(times["pandas"])
    name = "pandas DataFrame.duplicated"
    case = f"exact groups of {n} x {d}"
    return ResultRow(case, "CPU time", ours, "s", command, seeds=(0,), rival=rival, rival_name=name, versions=versions)


def real_rows(command: str) -> Iterator[ResultRow]:
    with shared("banking77/train.csv").open(encoding="utf-8", newline="") as file:
        records = list(csv.DictReader(file))
    texts = [record["text"] for record in records]
    codes = np.unique([record["category"] for record in records], return_inverse=True)[1]
    table = pyarrow.csv.read_csv(shared("adult/adult.csv.gz"))
    income = np.unique(table["income"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)[1]
    columns = table.drop_columns(["income", "split"])
    for case, found in (
        ("banking77 train, equal texts", Duplicates().fit(texts, codes)),
        ("banking77 train, near texts", Duplicates("near").fit(texts, codes)),
        ("adult, equal rows", Duplicates().fit(columns, income)),
    ):
        yield ResultRow(case, "groups", float(found.n_groups_), "groups", command)
        yield ResultRow(case, "groups with conflicting labels", float(found.n_conflicts_), "groups", command)
        yield ResultRow(case, "suspect rows", float(found.suspect_.sum()), "rows", command)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    scale = parser.parse_args().scale
    command, full = f"{COMMAND} --scale {scale}", scale == "full"
    rows = [*near_rows(3000 if full else 500, 50 if full else 2, command), *real_rows(command)]
    rows.append(speed_row(1_000_000 if full else 20_000, 20, command))
    write_results(RESULTS / "audit" / "duplicates.json", rows)
    for row in rows:
        rival = "" if row.rival is None else f"{row.rival_name} {row.rival:.3f}"
        print(f"{row.case:40s} {row.metric:50s} {row.ours:10.3f} {row.unit} {row.interval or ''} {rival}")


if __name__ == "__main__":
    main()

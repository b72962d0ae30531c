"""`assay audit` end to end on real data: time from file to report, and what people made of the rows it flags.

Nobody has the truth of these sets, but something is known of each: Davidson's tweets have the votes behind each label,
the MNIST test digits have the verdicts of five people on a hundred suspects, and the thirty worst rows of BANKING77
were read by a person (`readings/banking77.csv`). Each run is a process of its own, start-up and compiling included.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.intervals import wilson
from assay.labels.verdicts import read_verdicts
from bench.audit.verdict_votes import load
from bench.data import RESULTS, shared

SETS = {
    "Adult, 48,842 table rows, 2 classes": ("adult/adult.csv.gz", ["--label", "income", "--exclude", "split"]),
    "BANKING77, 10,003 texts, 77 classes": ("banking77/train.csv", ["--label", "category"]),
    "Davidson, 24,783 tweets, 3 classes": (
        "davidson-hate-offensive/labeled_data.csv.gz",
        ["--label", "class", "--text", "tweet"],
    ),
    "MNIST, 10,000 test digits": ("", ["--label", "y"]),
}


def mnist(folder: Path) -> Path:
    """The test digits as an .npz file."""
    images = gzip.decompress(shared("mnist/t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress(shared("mnist/t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    path = folder / "t10k.npz"
    np.savez(path, x=np.frombuffer(images, np.uint8).reshape(-1, 28, 28), y=np.frombuffer(labels, np.uint8))
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file, gzipped or not."""
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
        return list(csv.DictReader(file))


def share(case: str, metric: str, part: int, whole: int, command: str, **more: object) -> ResultRow:
    """A share of rows with its Wilson interval."""
    low, high = (float(end) for end in wilson(part, whole))
    return ResultRow(case, metric, part / whole, "", command, interval=(low, high), deployable=False, **more)  # type: ignore[arg-type]


def truth(case: str, issues: list[int], command: str) -> list[ResultRow]:
    """What is known of the flagged rows."""
    if case.startswith("Davidson"):
        rows = read_csv(shared("davidson-hate-offensive/labeled_data.csv.gz"))
        split = np.array([max(int(row[name]) for name in VOTES) < int(row["count"]) for row in rows])
        base = {"rival": float(split.mean()), "rival_name": "all rows"}
        return [
            share(
                case,
                "flagged rows on which the voters were split",
                int(split[issues].sum()),
                len(issues),
                command,
                **base,
            )
        ]
    if case.startswith("MNIST"):
        seen = load("mnist")
        wrong = set(seen.rows[seen.wrong].tolist())
        judged = [row for row in issues if row in set(seen.rows.tolist())]
        return [
            share(
                case,
                "flagged and judged rows that five people call wrong",
                len(wrong & set(judged)),
                len(judged),
                command,
            )
        ]
    if case.startswith("BANKING77"):
        said = read_verdicts(Path(__file__).parent / "readings" / "banking77.csv", 10_003).wrong()
        known = dict(zip(said.rows.tolist(), said.wrong.tolist(), strict=True))
        worst = [known[row] for row in issues[:30] if row in known]
        return [share(case, "of the worst rows, read by a person, the label is wrong", sum(worst), len(worst), command)]
    return []


VOTES = ("hate_speech", "offensive_language", "neither")


def measure(case: str, command: str) -> list[ResultRow]:
    """Run one audit, and say how long it took and what it found."""
    name, options = SETS[case]
    with tempfile.TemporaryDirectory() as home:
        source = shared(name) if name else mnist(Path(home))
        words = [sys.executable, "-m", "assay", "audit", str(source), *options, "--out", f"{home}/out", "--json"]
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(words, capture_output=True, text=True, check=True, env=os.environ)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        numbers = json.loads(done.stdout)
        issues = [int(row["row"]) for row in read_csv(Path(home) / "out" / "issues.csv")]
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    found = versions_of("assay", "scikit-learn")
    rows = [
        ResultRow(case, "file to report, wall", wall, "s", command, versions=found),
        ResultRow(case, "file to report, processor", cpu, "s", command, versions=found),
        ResultRow(case, "largest memory of the runs so far", after.ru_maxrss / 1024, "MB", command, versions=found),
        ResultRow(case, "rows flagged", float(len(issues)), "", command, versions=found),
        ResultRow(
            case, "error rate as the model estimates it", numbers["error_rate_by_model"], "", command, versions=found
        ),
    ]
    return rows + truth(case, issues, command)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--scale", choices=["small", "full"], default="full", help="small leaves Adult and Davidson out"
    )
    scale = parser.parse_args().scale
    cases = [case for case in SETS if scale == "full" or case.startswith(("BANKING77", "MNIST"))]
    command = f"python -m bench.audit.real_data --scale {scale}"
    write_results(RESULTS / "audit" / "real_data.json", [row for case in cases for row in measure(case, command)])

"""Opening a project for review, and what a row costs: time of opening, content and nearest rows, and peak memory.

Rows of Adult (a table) and of Davidson's tweets (texts), repeated to the size asked for; the files that an audit would
leave are written with random numbers, since only their size matters here. Each case runs in a process of its own, whose
peak memory is told above that of the same process after its imports.
"""

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from assay.evidence.kept_rows import KeptRows, Origin, write_rows
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.labels.formats import files
from assay.labels.spaces import Space
from bench.data import RESULTS, shared

COMMAND = "python -m bench.review.project"
SIZES = {"small": (10_000,), "full": (10_000, 1_000_000)}
ROWS = 200


def table_of(kind: str) -> tuple[pa.Table, str, str | None]:
    """The real rows, their label column and their text column."""
    name = "adult/adult.csv.gz" if kind == "table" else "davidson-hate-offensive/labeled_data.csv.gz"
    with gzip.open(shared(name)) as stream:
        table = pyarrow.csv.read_csv(stream, parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True))
    return (table, "income", None) if kind == "table" else (table.select(["class", "tweet"]), "class", "tweet")


def prepare(kind: str, form: str, n: int, folder: Path) -> None:
    """Write a data set of n rows and the results about it."""
    table, label, text = table_of(kind)
    rng = np.random.default_rng(0)
    table = table.take(np.arange(n) % len(table))
    source = folder / f"data.{form}"
    if form == "csv":
        pyarrow.csv.write_csv(table, source)
    else:
        pq.write_table(table, source)
    space = Space.from_values(table[label].unique().to_pylist())
    given = space.encode(table[label].to_pylist())
    p = rng.random(n, dtype=np.float32)
    (folder / "results").mkdir()
    np.save(folder / "results" / "pred_probs.npy", np.full((n, space.n_classes), 1 / space.n_classes))
    kept = KeptRows(
        origin=Origin(
            verb="audit",
            title=source.name,
            label=label,
            source=f"../{source.name}",
            sha256=files.digest(source),
            text=text,
        ),
        space=space,
        given=given,
        present=np.ones(n, dtype=bool),
        suggested=((given + 1) % space.n_classes).astype(np.int32),
        p_wrong=p,
        low=p,
        high=p,
        score=p,
        flagged=p > 0.9,
    )
    write_rows(kept, folder / "results")


def peak() -> float:
    """Most memory that this process held so far, MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return float(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def measure(folder: Path) -> dict[str, Any]:
    """Open the project in `folder` and look at some rows."""
    from assay.review.project import Project

    pa.array([1]).to_numpy()  # Arrow imports pandas where it is installed
    before, start = peak(), time.perf_counter()
    project = Project.open(folder)
    found = {"opening": time.perf_counter() - start, "memory, opened": peak() - before}
    rows = np.random.default_rng(0).integers(0, project.n_rows, ROWS).tolist()
    for name, ask in (("content", project.content), ("neighbours", project.neighbours)):
        start = time.perf_counter()
        ask(rows[0])
        found[f"first {name}"] = time.perf_counter() - start
        if name == "neighbours":
            best = project._likeness.best
            assert best is not None
            best[1].result()
            found["neighbours by the best measure"] = time.perf_counter() - start
        times = []
        for row in rows[1 : ROWS if project.n_rows < 100_000 or name == "content" else 40]:
            start = time.perf_counter()
            ask(row)
            times.append(time.perf_counter() - start)
        found[f"{name}, 95th percentile"] = float(np.quantile(times, 0.95))
    return found | {"memory, all": peak() - before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=SIZES, default="small")
    parser.add_argument("--measure", type=Path)
    chosen = parser.parse_args()
    if chosen.measure is not None:
        print(json.dumps(measure(chosen.measure)))
        return
    rows = []
    for n in SIZES[chosen.scale]:
        for kind, form in (("table", "csv"), ("table", "parquet"), ("texts", "csv")):
            with tempfile.TemporaryDirectory() as place:
                prepare(kind, form, n, Path(place))
                words = [sys.executable, "-m", "bench.review.project", "--measure", f"{place}/results"]
                done = subprocess.run(words, capture_output=True, text=True, check=True)
            for metric, value in json.loads(done.stdout).items():
                unit = "MB" if "memory" in metric else "s"
                case = f"{kind} in {form}, {n:,} rows"
                rows.append(
                    ResultRow(
                        case, metric, value, unit, f"{COMMAND} --scale {chosen.scale}", versions=versions_of("pyarrow")
                    )
                )
                print(f"{case:<36}{metric:<32}{value:>10.4f} {unit}", flush=True)
    write_results(RESULTS / "review" / "project.json", rows)


if __name__ == "__main__":
    main()

"""The folder that `assay aggregate` leaves: report, beliefs, workers, tasks, purchases, and a labelled table."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from assay.evidence.aggregate_belief import doubt, plurality
from assay.evidence.aggregate_purchases import purchases
from assay.evidence.aggregate_report import build
from assay.evidence.aggregate_run import Aggregation
from assay.evidence.aggregate_votes import VoteSource
from assay.evidence.audit_files import as_csv
from assay.evidence.kept_rows import KeptRows, Origin, seen_from, write_rows, write_votes
from assay.evidence.page import write_report
from assay.evidence.result_folder import check_place, check_results
from assay.kernels.belief_rows import top_class
from assay.labels.beliefs import TOP, write_beliefs
from assay.labels.formats import columnar, files

WRITTEN = (
    "report.html",
    "report.json",
    "beliefs.parquet",
    "labelled.parquet",
    "rows.parquet",
    "votes.parquet",
    "workers.csv",
    "tasks.csv",
    "purchases.csv",
    "items.csv",
)
"""Files of the folder."""


def check_folder(source: Path, folder: Path, tasks: Path | None = None) -> None:
    """Raise when `folder` is a file, holds the results of another verb or of another file, or would lose its input."""
    check_place(folder, WRITTEN, source, tasks)
    check_results(folder, "aggregate", source.name)


def save(
    source: VoteSource, found: Aggregation, folder: Path, provenance: dict[str, object], price: float | None = None
) -> Path:
    """Write everything into `folder`, each file beside and renamed; returns the path of the report."""
    check_folder(source.path, folder, source.described)
    folder.mkdir(parents=True, exist_ok=True)
    write_beliefs(folder / "beliefs.parquet", source.votes.task_ids, found.belief)
    files.write_bytes(folder / "workers.csv", as_csv(workers(source, found)))
    files.write_bytes(folder / "tasks.csv", as_csv(tasks(source, found)))
    bought = purchases(source, found, price or 1.0)
    if bought is not None:
        files.write_bytes(folder / "purchases.csv", as_csv(bought))
    if source.contents is not None:
        columnar.write(labelled(source, found), folder / "labelled.parquet")
    write_votes(source.votes, folder)
    write_rows(kept(source, found, folder), folder)
    time = datetime.now(UTC).isoformat(timespec="seconds")
    return write_report(build(source, found, folder, bought, price, {**provenance, "time": time}), folder)


def workers(source: VoteSource, found: Aggregation) -> dict[str, Any]:
    """One row a worker, the most votes first."""
    order = np.argsort(-np.bincount(source.votes.worker, minlength=source.votes.n_workers), kind="stable")
    return {
        name: [None if cell != cell else cell for cell in column[order].tolist()]
        for name, column in found.workers.items()
    }


def tasks(source: VoteSource, found: Aggregation) -> dict[str, Any]:
    """One row a task in the order of the votes: what is believed, how surely, and what most votes say."""
    names = np.array(source.votes.space.names, dtype=object)
    top, (majority, alone) = top_class(found.belief.p), plurality(source)
    columns: dict[str, Any] = {
        "task": source.votes.task_ids,
        "label": names[top],
        "p": found.belief.p.max(axis=1).astype(np.float64),
        "majority": [names[code] if there else "" for code, there in zip(majority, alone, strict=True)],
        **{name: found.tasks[name] for name in ("n_votes", "entropy", "margin") if name in found.tasks},
    }
    if source.gold is not None:
        columns["gold"] = ["" if name is None else name for name in source.gold.names()]
    return columns


def kept(source: VoteSource, found: Aggregation, folder: Path) -> KeptRows:
    """What is believed about every task, for the review: as many are flagged as are expected to be wrong."""
    p = np.asarray(found.belief.p, dtype=np.float64)
    first = top_class(p)
    rest = p.copy()
    rest[np.arange(len(p)), first] = -1
    wrong = doubt(found)
    flagged = np.zeros(len(p), dtype=bool)
    flagged[np.argsort(-wrong, kind="stable")[: round(float(wrong.sum()))]] = True
    unknown = np.full(len(p), np.nan, dtype=np.float32)
    here, file = source.contents is not None, folder / "labelled.parquet"
    return KeptRows(
        origin=Origin(
            verb="aggregate",
            title=source.path.name,
            label=label_name(source),
            source=file.name if here else None,
            sha256=files.digest(file) if here else None,
            root=None if source.described is None else seen_from(folder, source.described.absolute().parent),
        ),
        space=source.votes.space,
        given=first.astype(np.int32),
        present=np.ones(len(p), dtype=bool),
        suggested=rest.argmax(axis=1).astype(np.int32),
        p_wrong=wrong.astype(np.float32),
        low=unknown,
        high=unknown,
        score=(1 - wrong).astype(np.float32),
        flagged=flagged,
        ids=pa.array([str(name) for name in source.votes.task_ids.tolist()], pa.string()),
    )


def label_name(source: VoteSource) -> str:
    """The name of the label column in `labelled.parquet`, which no column of the contents has."""
    name = TOP
    while source.contents is not None and name in source.contents.column_names:
        name += "_"
    return name


def labelled(source: VoteSource, found: Aggregation) -> pa.Table:
    """The table of the tasks with the most probable class as its label; the schema says which column that is."""
    assert source.contents is not None
    name, space = label_name(source), source.votes.space
    table = source.contents.append_column(name, pa.array(space.decode(top_class(found.belief.p)), pa.string()))
    return columnar.with_space(table, name, space)

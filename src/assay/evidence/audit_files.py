"""The folder that an audit leaves: report, ranked issues, rows to review, probabilities, ledger."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from assay import __version__
from assay.errors import InputError
from assay.evidence.audit import Audit
from assay.evidence.audit_predictions import keep
from assay.evidence.audit_report import build
from assay.evidence.page import write_report
from assay.labels.events import Event, dataset_event
from assay.labels.formats import files
from assay.labels.ledger import Ledger, guard_cell
from assay.labels.recording import record_verdicts

SOURCE = "assay audit"


def save(found: Audit, folder: Path, command: str = "") -> Path:
    """Write everything that an audit found into `folder`; returns the path of the report.

    Files are written beside and renamed; the ledger is appended to. Nothing is written when the folder belongs to
    another data set.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: name a folder with --out.")
    original = labels_file(found, folder)
    check_ledger(found, folder, original)
    folder.mkdir(parents=True, exist_ok=True)
    if original.parent == folder:
        write_columns(original, manifest(found))
    enter(found, folder, original)
    keep(found.predictions, folder)
    write_columns(folder / "issues.csv", found.issues())
    write_columns(folder / "review.csv", to_review(found))
    time = datetime.now(UTC).isoformat(timespec="seconds")
    return write_report(build(found, folder, original, {"command": command, "time": time}), folder)


def labels_file(found: Audit, folder: Path) -> Path:
    """The file whose labels the ledger is about: the source itself, or a list of the labels for folders and frames."""
    source = found.table.source
    return source if source is not None and source.is_file() else folder / "labels.csv"


def manifest(found: Audit) -> dict[str, Any]:
    """Row, image path where there is one, and label of every row, for sources that are not one file."""
    table = found.table
    names: list[Any] = ["" if name is None else name for name in table.labels.names()]
    columns: dict[str, Any] = {"row": range(table.n_rows)}
    if table.image is not None and table.source is not None:
        columns[table.image] = table.columns[table.image].to_pylist()
    return columns | {table.label: names}


def check_ledger(found: Audit, folder: Path, original: Path) -> None:
    """Raise when the folder holds the ledger of another file."""
    if not (folder / "ledger.db").exists():
        return
    with Ledger.open(folder) as ledger:
        recorded = ledger.dataset.evidence["sha256"]
    if original.parent != folder and recorded != found.table.digest:
        raise InputError(
            f"{folder} holds the results of another file, or of this one before it changed: choose another folder with "
            "--out, or remove it."
        )


def enter(found: Audit, folder: Path, original: Path) -> None:
    """Enter into the ledger what this run suggests, and the verdicts that came with it."""
    labels = found.table.labels
    with Ledger.open(folder, create=True) as ledger:
        if not any(True for _ in ledger.log(limit=1)):
            column, n_rows = found.table.label, found.table.n_rows
            ledger.append([dataset_event(original, column, n_rows, classes=list(labels.space.names))])
        undone = ledger.undone()
        standing = {event.row: event.after for event in ledger.log(kind="suggestion") if event.id not in undone}
        rows = np.union1d(found.ranking(), found.review)
        rows = rows[labels.present[rows]]
        columns = found.columns(rows)
        events = []
        for at, row in enumerate(rows.tolist()):
            after = str(columns["suggested"][at])
            if standing.get(row) == after:
                continue
            evidence = {
                "p_wrong": round(float(columns["p_wrong"][at]), 6),
                "score": round(float(columns["score"][at]), 6),
                "flagged": bool(columns["flagged"][at]),
                "predictions": found.predictions.origin,
            }
            events.append(
                Event(
                    "suggestion",
                    SOURCE,
                    "model",
                    row=row,
                    row_id=str(columns["id"][at]) if "id" in columns else None,
                    before=str(columns["given"][at]),
                    after=after,
                    method="confident_learning",
                    version=__version__,
                    evidence=evidence,
                )
            )
        ledger.append(events)
        if found.verdicts is not None:
            record_verdicts(found.verdicts, ledger)


def to_review(found: Audit) -> dict[str, Any]:
    """The rows to look at next, with empty columns for the decision."""
    columns = found.columns(found.review)
    known = {name: columns[name] for name in ("row", "id", "given", "suggested", "p_wrong") if name in columns}
    n = len(found.review)
    sampled = ["random"] * found.n_random + ["flagged"] * (n - found.n_random)
    return known | {"sampled": sampled, "verdict": [""] * n, "label": [""] * n, "reviewer": [""] * n, "note": [""] * n}


def write_columns(path: Path, columns: dict[str, Any]) -> None:
    """Write columns of equal length as CSV, beside and renamed; no cell can act as a formula in a spreadsheet."""
    with files.replacing(path) as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([guard_cell(name) for name in columns])
        for cells in zip(*(plain(values) for values in columns.values()), strict=True):
            writer.writerow([guard_cell(cell) for cell in cells])
        text.detach()


def plain(values: Any) -> list[Any]:
    """A column as Python values, fractions to six digits."""
    cells = values.tolist() if isinstance(values, np.ndarray) else list(values)
    return [round(cell, 6) if isinstance(cell, float) else cell for cell in cells]

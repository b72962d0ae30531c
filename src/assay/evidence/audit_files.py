"""The folder that an audit leaves: report, ranked issues, rows to review, probabilities, ledger."""

from __future__ import annotations

import csv
import hashlib
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from assay import __version__
from assay.evidence.audit import Audit
from assay.evidence.audit_predictions import keep
from assay.evidence.audit_report import build
from assay.evidence.audit_verdicts import begun, require_same
from assay.evidence.kept_rows import FILE as ROWS
from assay.evidence.kept_rows import KeptRows, Origin, seen_from, write_rows
from assay.evidence.page import write_report
from assay.evidence.result_folder import check_place
from assay.labels.events import Event, dataset_event
from assay.labels.formats import files
from assay.labels.ledger import Ledger, guard_cell
from assay.labels.media import is_string
from assay.labels.recording import record_verdicts
from assay.labels.tables import LabelledTable

SOURCE = "assay audit"
WRITTEN = (
    "report.html",
    "report.json",
    "issues.csv",
    "review.csv",
    "labels.csv",
    "pred_probs.npy",
    "predictions.json",
    ROWS,
)
"""Files of the folder, beside the ledger."""


def save(found: Audit, folder: Path, command: str = "") -> Path:
    """Write everything that an audit found into `folder`; returns the path of the report.

    Files are written beside and renamed; the ledger is appended to. Nothing is written when the folder belongs to
    another data set.
    """
    check_folder(folder, found.table.source)
    original = labels_file(found, folder)
    listed = as_csv(manifest(found.table)) if original is not found.table.source else None
    check_ledger(found, folder, listed)
    time = datetime.now(UTC).isoformat(timespec="seconds")
    report = build(found, folder, original, {"command": command, "time": time})
    folder.mkdir(parents=True, exist_ok=True)
    if listed is not None:
        files.write_bytes(original, listed)
    enter(found, folder, original)
    keep(found.predictions, folder)
    write_rows(kept(found, folder), folder)
    files.write_bytes(folder / "issues.csv", as_csv(found.issues()))
    files.write_bytes(folder / "review.csv", as_csv(to_review(found)))
    return write_report(report, folder)


def check_folder(folder: Path, source: Path | None) -> None:
    """Raise unless results can be written to `folder` without writing over the source."""
    check_place(folder, WRITTEN, source)


def labels_file(found: Audit, folder: Path) -> Path:
    """The file whose labels the ledger is about: the source itself, or a list of the labels for folders and frames."""
    source = found.table.source
    return source if source is not None and source.is_file() else folder / "labels.csv"


def manifest(table: LabelledTable) -> dict[str, Any]:
    """Row, image path where there is one, and label of every row, for sources that are not one file."""
    names: list[Any] = ["" if name is None else name for name in table.labels.names()]
    columns: dict[str, Any] = {"row": range(table.n_rows)}
    if table.image is not None and table.source is not None:
        columns[table.image] = table.columns[table.image].to_pylist()
    return columns | {table.label: names}


def check_ledger(found: Audit, folder: Path, listed: bytes | None) -> None:
    """Raise when the folder holds the ledger of other labels; `listed` is the list of the labels, if one is written."""
    if not (folder / "ledger.db").exists():
        return
    digest = found.table.digest if listed is None else hashlib.sha256(listed).hexdigest()
    with Ledger.open(folder) as ledger:
        if begun(ledger):
            require_same(ledger, found.table, digest, folder)


def enter(found: Audit, folder: Path, original: Path) -> None:
    """Enter into the ledger what this run suggests, and the verdicts that came with it."""
    labels = found.table.labels
    judged = np.zeros(0, dtype=np.int64) if found.verdicts is None else found.verdicts.rows
    with Ledger.open(folder, create=True) as ledger, ledger.transaction():
        if not begun(ledger):
            column, n_rows = found.table.label, found.table.n_rows
            ledger.append([dataset_event(original, column, n_rows, classes=list(labels.space.names))])
        undone = ledger.undone()
        standing = {event.row: event.after for event in ledger.log(kind="suggestion") if event.id not in undone}
        rows = np.union1d(np.union1d(found.ranking(), found.review), judged)
        rows = rows[labels.present[rows]]
        columns = found.columns(rows)
        events, seen = [], set(judged.tolist())
        for at, row in enumerate(rows.tolist()):
            after = str(columns["suggested"][at])
            # A verdict is about the suggestion that its reviewer saw, which stands.
            if standing.get(row) == after or (row in standing and row in seen):
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


def kept(found: Audit, folder: Path) -> KeptRows:
    """What was found about every row, for the review."""
    table, labels = found.table, found.table.labels
    suggested, bare = found.suggested(np.arange(table.n_rows)), np.flatnonzero(~labels.present)
    suggested[bare] = found.predictions.pred_probs[bare].argmax(axis=1)
    source, paths = table.source, None
    if (
        source is not None
        and source.is_dir()
        and table.image is not None
        and is_string(table.columns[table.image].type)
    ):
        paths = table.columns[table.image].combine_chunks()
    return KeptRows(
        origin=Origin(
            verb="audit",
            title="table" if source is None else source.resolve().name,
            label=table.label,
            source=None if source is None else seen_from(folder, source),
            sha256=table.digest,
            id=table.id,
            text=table.text,
            image=table.image,
            excluded=table.excluded,
        ),
        space=labels.space,
        given=labels.y,
        present=labels.present,
        suggested=suggested,
        p_wrong=found.probability.p_wrong_,
        low=found.probability.low_,
        high=found.probability.high_,
        score=found.confident.scores_,
        flagged=found.confident.is_issue_,
        ids=table.ids,
        paths=paths,
    )


def as_csv(columns: dict[str, Any]) -> bytes:
    """Columns of equal length as CSV; no cell can act as a formula in a spreadsheet."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([guard_cell(name) for name in columns])
    for cells in zip(*(plain(values) for values in columns.values()), strict=True):
        writer.writerow([guard_cell(cell) for cell in cells])
    return text.getvalue().encode()


def plain(values: Any) -> list[Any]:
    """A column as Python values, fractions to six digits."""
    cells = values.tolist() if isinstance(values, np.ndarray) else list(values)
    return [round(cell, 6) if isinstance(cell, float) else cell for cell in cells]

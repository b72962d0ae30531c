"""The folder that `assay learn` leaves: report, model, evidence about the labels, predictions for test rows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from assay.evidence.audit_files import WRITTEN as AUDIT_WRITTEN
from assay.evidence.audit_files import as_csv
from assay.evidence.learn_model import FILE, WEIGHTS, Predicted, save_model
from assay.evidence.learn_report import build
from assay.evidence.learn_run import Learned
from assay.evidence.page import write_report
from assay.evidence.result_folder import check_place, check_results
from assay.labels import Soft
from assay.labels.beliefs import write_beliefs
from assay.labels.formats import files
from assay.labels.spaces import Space

WRITTEN = (
    "report.html",
    "report.json",
    "evidence.csv",
    "predictions.csv",
    "predictions.parquet",
    FILE,
    WEIGHTS,
    "model.npz",
    "reader.json",
    "reader.npz",
)
"""Files of the folder."""


def default_folder(source: Path) -> Path:
    """Where the results of a source go: `NAME.model` in the current folder."""
    return Path(f"{source.resolve().name.split('.')[0]}.model")


def check_folder(folder: Path, *read: Path | None) -> None:
    """Raise unless results can be written to `folder` without writing over what is read or over another verb's."""
    check_place(folder, (*AUDIT_WRITTEN, *WRITTEN), *read)
    check_results(folder, "learn")


def save(found: Learned, folder: Path, command: str = "") -> Path:
    """Write everything, each file beside and renamed; returns the path of the report."""
    check_folder(folder, found.table.source)
    report = build(found, folder, {"command": command, "time": datetime.now(UTC).isoformat(timespec="seconds")})
    folder.mkdir(parents=True, exist_ok=True)
    save_model(found.model, folder)
    files.write_bytes(folder / "evidence.csv", as_csv(found.columns(found.ranking())))
    if found.test is not None:
        write_predictions(found.test, found.model.space, folder / "predictions.parquet")
    return write_report(report, folder)


def write_predictions(found: Predicted, space: Space, path: Path) -> None:
    """Write `path` (Parquet, which `assay.labels.beliefs.read_beliefs` reads) and the same as CSV beside it."""
    p = found.pred_probs
    write_beliefs(path, found.ids, Soft.normalized(space, p))
    names = np.array(space.names, dtype=object)
    columns = {"row": found.ids, "label": names[p.argmax(axis=1)], "p": p.max(axis=1)}
    files.write_bytes(path.with_suffix(".csv"), as_csv(columns))

"""What `assay learn` leaves of labels that are no class each: the same files, whatever the kind of label."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from assay.evidence.audit_files import as_csv
from assay.evidence.learn_files import check_folder
from assay.evidence.page import write_report
from assay.evidence.report import Report
from assay.labels.formats import columnar, files
from assay.labels.tables import LabelledTable


class Trained(Protocol):
    """What was learned of a table."""

    @property
    def table(self) -> LabelledTable:
        """The rows."""

    def report(self, folder: Path, provenance: dict[str, object]) -> Report:
        """The page about it."""

    def columns(self) -> dict[str, Any]:
        """What is known of every row, as columns of equal length."""

    def save_model(self, folder: Path) -> None:
        """Write what is needed to predict."""

    def predictions(self) -> Mapping[str, Any] | None:
        """Of the test rows, as columns of equal length; None where there are none."""


def save(found: Trained, folder: Path, command: str = "") -> Path:
    """Write everything, each file beside and renamed; returns the path of the report."""
    check_folder(folder, found.table.source)
    report = found.report(folder, {"command": command, "time": datetime.now(UTC).isoformat(timespec="seconds")})
    folder.mkdir(parents=True, exist_ok=True)
    found.save_model(folder)
    files.write_bytes(folder / "evidence.csv", as_csv(found.columns()))
    told = found.predictions()
    if told is not None:
        write_columns(told, folder / "predictions.parquet")
    return write_report(report, folder)


def write_columns(columns: Mapping[str, Any], path: Path) -> None:
    """Write columns to `path` (Parquet) and as CSV beside it."""
    columnar.write(pa.table(dict(columns)), path)
    files.write_bytes(path.with_suffix(".csv"), as_csv(dict(columns)))

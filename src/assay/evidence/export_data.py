"""What an export starts from: the data set, checked to be the ledger's, and its labels as they stand at a point."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.evidence.audit_files import as_csv, manifest
from assay.evidence.decisions import Decision, decisions, nameless, standings
from assay.evidence.kept_rows import FILE, KeptRows, read_rows
from assay.labels.events import Event
from assay.labels.formats import files
from assay.labels.hard import Hard
from assay.labels.history import At
from assay.labels.ledger import Ledger
from assay.labels.spaces import Space
from assay.labels.tables import LabelledTable, read_table

FORMS = ("csv", "parquet", "jsonl", "folder", "label-studio", "argilla", "coco", "voc")


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How to export.

    Parameters
    ----------
    to : one of `FORMS`; None = as the name of the target says, a folder of images as a folder.
    at : the point in the ledger; None = now.
    undecided : what becomes of rows whose right label is not known: "given" keeps the label, "empty" takes it away,
        "drop" leaves the row out.
    soft : write beliefs, one column a class, instead of the label.
    decisions : write the reviewed rows and what was decided about them, instead of the data set.
    anonymous : number the reviewers instead of naming them, and leave out their notes.
    one_based : corners of boxes are pixels counted from 1 (coco and voc).
    """

    to: str | None = None
    at: At = None
    undecided: Literal["given", "empty", "drop"] = "given"
    soft: bool = False
    decisions: bool = False
    anonymous: bool = False
    one_based: bool = False


@dataclass(frozen=True, kw_only=True)
class Export:
    """What is to be written.

    Parameters
    ----------
    table : the original.
    final : its labels `(n,)` as they are to be; masked where there is none.
    changes : row -> label, for the cells that are written anew; None empties a cell.
    keep : `(n,)` bool, rows that are written.
    decided : what was decided about the reviewed rows.
    hints : row -> the suggestion in force.
    names : how reviewers are called; {} = by their names.
    kept : what the audit found about every row, where it was kept.
    """

    table: LabelledTable
    final: Hard
    changes: dict[int, str | None]
    keep: npt.NDArray[np.bool_]
    decided: tuple[Decision, ...] = ()
    hints: dict[int, Event] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    kept: KeptRows | None = None

    def p_wrong(self, row: int) -> float | None:
        """The probability that the given label of a row is wrong: as its reviewers saw it, else as it was kept."""
        hint = self.hints.get(row)
        if hint is not None and hint.evidence.get("p_wrong") is not None:
            return float(hint.evidence["p_wrong"])
        kept = None if self.kept is None else float(self.kept.p_wrong[row])
        return None if kept is None or math.isnan(kept) else round(kept, 6)

    def repaired(self) -> LabelledTable:
        """The rows that are written, with the labels as they are to be."""
        rows = np.flatnonzero(self.keep)
        ids = None if self.table.ids is None else self.table.ids.take(rows)
        return replace(self.table, columns=self.table.columns.take(rows), labels=self.final.take(rows), ids=ids)


def gather(folder: Path, source: Path, ledger: Ledger, options: ExportOptions) -> Export:
    """Read the data set, check that it is the ledger's, and work out its labels."""
    kept = read_rows(folder) if (folder / FILE).is_file() else None
    table = original(source, ledger, kept)
    if kept is not None and len(kept.given) != table.n_rows:
        raise InputError(f"{folder / FILE} is about {len(kept.given)} rows, the data set has {table.n_rows}.")
    given, stands = table.labels.names(), standings(ledger, options.at)
    decided = tuple(decisions(stands, given))
    undecided = [one.row for one in decided if one.undecided]
    changes: dict[int, str | None] = dict(ledger.current(options.at))
    if options.undecided == "empty":
        changes |= dict.fromkeys(undecided)
    final = list(given)
    for row, label in changes.items():
        final[row] = label
    keep = np.ones(table.n_rows, dtype=bool)
    keep[undecided if options.undecided == "drop" else []] = False
    known = table.labels.space
    new = [name for name in dict.fromkeys(final) if name is not None and name not in set(known.names)]
    return Export(
        table=table,
        final=Hard.from_values(final, Space((*known.names, *new), known.kind), missing=()),
        changes=changes,
        keep=keep,
        decided=decided,
        hints={row: one.hint for row, one in stands.items() if one.hint is not None},
        names=nameless(decided) if options.anonymous else {},
        kept=kept,
    )


def original(source: Path, ledger: Ledger, kept: KeptRows | None) -> LabelledTable:
    """The data set, if it is the very one that the ledger is about.

    Of a file the bytes are compared, of a folder the list of its rows and labels that the audit kept.
    """
    about = ledger.dataset
    if not source.exists():
        raise InputError(f"There is no data set {source}.")
    if source.is_file():
        _require(files.digest(source), source, ledger)
    origin, classes = None if kept is None else kept.origin, about.evidence.get("classes")
    table = read_table(
        source,
        label=about.column,
        space=None if classes is None else Space(tuple(classes)),
        id=None if origin is None else origin.id,
        text=None if origin is None else origin.text,
        image=None if origin is None else origin.image,
    )
    if source.is_dir():
        _require(hashlib.sha256(as_csv(manifest(table))).hexdigest(), source, ledger)
    return table


def _require(digest: str, source: Path, ledger: Ledger) -> None:
    expected = ledger.dataset.evidence["sha256"]
    if digest != expected:
        raise InputError(
            f"{source} is not the data set that this ledger is about: its SHA-256 is {digest}, recorded is {expected}. "
            "Export the data set as it was audited."
        )

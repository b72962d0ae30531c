"""The forms in which a repaired data set is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assay.errors import InputError
from assay.evidence.audit_files import as_csv
from assay.evidence.decisions import as_table
from assay.evidence.export_data import FORMS, Export, ExportOptions
from assay.evidence.export_tools import records, tasks
from assay.labels.formats import columnar, files, folders, jsonlines
from assay.labels.formats.argilla import write_argilla
from assay.labels.formats.box_tables import table_boxes
from assay.labels.formats.coco import write_coco
from assay.labels.formats.label_studio_tasks import write_label_studio
from assay.labels.formats.voc import write_voc
from assay.labels.media import is_string
from assay.labels.rewrite import rewrite_labels
from assay.labels.tables import write_table

TOOLS = ("label-studio", "argilla")


def form_of(source: Path, target: Path, options: ExportOptions) -> str:
    """The form to write: "table" as the suffix says, or one of the others; raises for what does not go together."""
    form = options.to
    if form is not None and form not in FORMS:
        raise InputError(f"There is no form {form!r}: it is one of {', '.join(FORMS)}.")
    if form is None:
        if source.is_dir() and not target.suffix:
            form = "folder"
        elif files.suffix_of(target) == ".json":
            raise InputError(f"{target.name} may be several things: say which with --to label-studio, argilla or coco.")
        else:
            form = "table"
    elif form in ("csv", "parquet", "jsonl"):
        if files.suffix_of(target) != f".{form}":
            raise InputError(f"{target.name} does not end with .{form}, as --to {form} asks.")
        form = "table"
    if form == "table":
        files.form_of(target)
    if options.soft and (form != "table" or options.decisions):
        raise InputError("Beliefs are about all rows of a CSV, JSON-lines or Parquet file: leave --soft out.")
    if options.decisions and form not in ("table", *TOOLS):
        raise InputError("Decisions are written to CSV, JSON lines, Parquet, Label Studio or Argilla.")
    if form in ("coco", "voc") and options.undecided == "empty":
        raise InputError("A box without a class has no place in this form: give --undecided given, or drop.")
    return form


def write(found: Export, source: Path, target: Path, form: str, options: ExportOptions, folder: Path) -> None:
    """Write the data set, or the decisions, to `target`."""
    table = found.table
    if form in TOOLS:
        rows = [one.row for one in found.decided] if options.decisions else np.flatnonzero(found.keep).tolist()
        if form == "argilla":
            write_argilla(target, records(found, rows))
        else:
            write_label_studio(target, tasks(found, rows))
    elif options.decisions:
        write_plain(as_table(found.decided, [found.p_wrong(one.row) for one in found.decided], found.names), target)
    elif options.soft:
        write_plain(soft_table(found, folder), target)
    elif form == "folder":
        if table.image is None or table.root is None or not is_string(table.columns[table.image].type):
            raise InputError("Only images that are files can be written as a folder: name a .csv or .parquet target.")
        repaired = found.repaired()
        paths = repaired.columns[table.image].to_pylist()
        folders.write(paths, repaired.labels.names(), repaired.labels.space, table.root, target)
    elif form in ("coco", "voc"):
        labels = found.repaired().labels
        columns = found.repaired().columns
        boxes = table_boxes(columns, labels.names(), labels.space, one_based=options.one_based)
        write_coco(boxes, target) if form == "coco" else write_voc(boxes, target)
    elif source.is_file() and found.keep.all() and _same_form(source, target):
        rewrite_labels(source, target, table.label, found.changes)
    else:
        write_table(found.repaired(), target)


def _same_form(source: Path, target: Path) -> bool:
    return files.suffix_of(source) == files.suffix_of(target) and files.form_of(source) != "arrays"


def write_plain(table: pa.Table, target: Path) -> None:
    """Write a table without a label column; in CSV lists are joined, and no cell can act as a formula."""
    form = files.form_of(target)
    if form == "columnar":
        columnar.write(table, target)
    elif form == "jsonlines":
        jsonlines.write(table, target)
    elif form == "delimited" and files.suffix_of(target) == ".csv" and not files.is_gzip(target):
        columns = {name: [_cell(cell) for cell in table[name].to_pylist()] for name in table.column_names}
        files.write_bytes(target, as_csv(columns))
    else:
        raise InputError(f"{target.name} is none of .csv, .jsonl, .parquet.")


def _cell(cell: object) -> object:
    if isinstance(cell, list):
        return "; ".join("" if one is None else str(one) for one in cell)
    return "" if cell is None else cell


def soft_table(found: Export, folder: Path) -> pa.Table:
    """The data set with a belief instead of its label: a column `LABEL=CLASS` a class, rows sum to one.

    What people decided is certain. Of the other rows the given label is right with probability 1 - p_wrong, which the
    audit calibrated, and the rest is shared as the held-out model shares it among the other classes.
    """
    path = folder / "pred_probs.npy"
    if found.kept is None or not path.is_file():
        raise InputError(
            f"{folder} lacks rows.parquet or {path.name}, from which beliefs are made: run the audit again."
        )
    labels, names = found.table.labels, found.final.space.names
    probs = np.load(path, mmap_mode="r", allow_pickle=False)
    if probs.shape != (found.table.n_rows, labels.space.n_classes):
        raise InputError(
            f"{path.name} has the shape {probs.shape}, which is not that of the data: run the audit again."
        )
    p_wrong = np.nan_to_num(found.kept.p_wrong.astype(np.float64), nan=1.0)
    for one in found.decided:
        if one.undecided and one.outcome == "wrong":
            p_wrong[one.row] = 1.0
    belief = shared(np.array(probs, dtype=np.float64), labels.y, labels.present, p_wrong)
    belief = np.pad(belief, ((0, 0), (0, len(names) - belief.shape[1])))
    sure = {one.row for one in found.decided if one.outcome in ("right", "wrong") and not one.undecided}
    rows = np.array(sorted(sure | {row for row, label in found.changes.items() if label is not None}), dtype=np.int64)
    belief[rows] = 0.0
    belief[rows, found.final.y[rows]] = 1.0
    kept = np.flatnonzero(found.keep)
    table = found.table.columns.take(kept)
    for code, name in enumerate(names):
        table = table.append_column(f"{found.table.label}={name}", pa.array(belief[kept, code]))
    return table


def shared(
    probs: npt.NDArray[np.float64],
    y: npt.NDArray[np.integer[Any]],
    present: npt.NDArray[np.bool_],
    p_wrong: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Beliefs `(n, k)`: 1 - p_wrong on the given class, p_wrong on the others in proportion to `probs`.

    A row without a label has what the model says. Where the model knows no other class, the others share evenly.

    >>> shared(np.array([[0.5, 0.3, 0.2]]), np.array([0]), np.array([True]), np.array([0.8])).round(2).tolist()
    [[0.2, 0.48, 0.32]]
    """
    belief, rows = probs.copy(), np.flatnonzero(present)
    belief[rows, y[rows]] = 0.0
    none = rows[belief[rows].sum(axis=1) <= 0]
    belief[none] = 1.0
    belief[none, y[none]] = 0.0
    belief /= belief.sum(axis=1, keepdims=True)
    belief[rows] *= p_wrong[rows, None]
    belief[rows, y[rows]] = 1.0 - p_wrong[rows]
    return belief

"""What `assay learn` learns from: a table with labels, or a table with what `assay aggregate` came to believe of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from assay.errors import InputError
from assay.evidence.audit import read
from assay.evidence.audit_options import AuditOptions
from assay.evidence.kept_rows import VOTES
from assay.labels import Hard, Soft
from assay.labels.beliefs import Beliefs, read_beliefs
from assay.labels.formats import columnar, files
from assay.labels.spaces import Space
from assay.labels.tables import LabelledTable, raw_table, read_table

TABLE, BELIEFS = "labelled.parquet", "beliefs.parquet"


def read_labels(
    source: Path | Any, options: AuditOptions, beliefs: Path | None = None
) -> tuple[LabelledTable, Hard | Soft]:
    """The table, and its labels: hard ones, or beliefs where `assay aggregate` left some.

    Parameters
    ----------
    source : what `assay audit` reads; the folder of `assay aggregate`, or its labelled.parquet, whose beliefs lie
        beside it.
    beliefs : beliefs.parquet or votes.parquet of `assay aggregate`, or its folder, about the rows of a table whose
        column `options.id` names the task.
    """
    if beliefs is not None:
        return _joined(source, options, beliefs)
    path = Path(source) if isinstance(source, str | Path) else None
    if path is not None and path.is_dir() and (path / BELIEFS).exists():
        if not (path / TABLE).exists():
            raise InputError(
                f"{path} holds beliefs and no table to learn from: give the table, with --beliefs {path} and --id."
            )
        source = path = path / TABLE
    table = read(source, options)
    if path is None or path.name != TABLE or not (path.parent / BELIEFS).exists() or options.label is not None:
        return table, table.labels
    soft = read_beliefs(path.parent / BELIEFS).soft
    if soft.n_rows != table.n_rows or soft.space != table.labels.space:
        raise InputError(f"{BELIEFS} beside {path} is about other rows: run `assay aggregate` again.")
    return table, soft


def _joined(source: Path | Any, options: AuditOptions, beliefs: Path) -> tuple[LabelledTable, Soft]:
    """A table whose labels are what is believed of the task that each row names."""
    if options.id is None:
        raise InputError("Which column names the task that was voted on? Say so with --id.")
    found = _beliefs(beliefs)
    columns = raw_table(source) if isinstance(source, Path) else source
    files.require_column(options.id, columns.schema.names, "the table")
    soft = found.of(columns[options.id].to_pylist())
    if not soft.present.any():
        raise InputError(f"No value of column {options.id!r} is a task that {beliefs} knows.")
    name = options.label or "label"
    while options.label is None and name in columns.schema.names:
        name += "_"
    top = pa.array(soft.space.decode(np.asarray(soft.p).argmax(axis=1)), pa.string(), mask=~soft.present)
    kept = columns.drop_columns([name]) if name in columns.schema.names else columns
    with_label = columnar.with_space(kept.append_column(name, top), name, soft.space)
    table = read(with_label, replace(options, label=name))
    path = source if isinstance(source, Path) else None
    return replace(table, source=path), soft


def _beliefs(path: Path) -> Beliefs:
    """Beliefs of a file or a folder; of votes.parquet, the share of the votes for each class."""
    if path.is_dir():
        path = path / BELIEFS
    files.require_file(path)
    if path.name != VOTES:
        return read_beliefs(path)
    known = read_beliefs(path.parent / BELIEFS)
    votes = columnar.read(path)
    names = known.soft.space.names
    place = {name: code for code, name in enumerate(names)}
    counts = np.zeros((len(known.task_ids), len(names)))
    said = np.array([place[name] for name in votes["label"].to_pylist()], dtype=np.int64)
    np.add.at(counts, (votes["row"].to_numpy(), said), 1)
    total = counts.sum(axis=1)
    return Beliefs(known.task_ids, Soft.normalized(known.soft.space, counts, total > 0))


def read_new(
    path: Path, space: Space, label: str, text: str | None, image: str | None, id: str | None
) -> LabelledTable:
    """Rows to predict; their labels are read where the label column is there, else none has one."""
    raw = raw_table(path)
    if label in raw.schema.names:
        return read_table(path, label=label, space=space, text=text, image=image, id=_there(id, raw))
    if raw.num_rows == 0:
        raise InputError(f"{path.name} has columns but no rows.")
    for name in (text, image):
        if name is not None:
            files.require_column(name, raw.schema.names, path.name)
    n = raw.num_rows
    return LabelledTable(
        columns=raw,
        labels=Hard(space, np.zeros(n, dtype=np.int32), np.zeros(n, dtype=bool)),
        label=label,
        label_type=pa.string(),
        id=_there(id, raw),
        ids=None if _there(id, raw) is None else raw[id].combine_chunks(),
        media="text" if text else "image" if image else "table",
        text=text,
        image=image,
        source=path,
    )


def _there(name: str | None, table: pa.Table) -> str | None:
    return name if name is not None and name in table.schema.names else None

"""Rows whose labels are no class each: the table without its label columns, as readers take it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from assay.errors import InputError
from assay.evidence.audit_options import AuditOptions
from assay.evidence.learn_reader import Reader
from assay.labels import Hard
from assay.labels.formats import columnar, files, frames
from assay.labels.label_column import ids_of
from assay.labels.media import media_columns
from assay.labels.spaces import Space
from assay.labels.tables import LabelledTable, raw_table

NO_CLASS = Space(("",))
"""The classes of rows that have none."""


def read_rows(source: Path | Any, options: AuditOptions, aside: Collection[str]) -> tuple[LabelledTable, pa.Table]:
    """The rows of a source for training, and the columns `aside`, which hold their labels.

    Raises
    ------
    InputError : a column is not there, or there is no row.
    """
    path = Path(source) if isinstance(source, str | Path) else None
    table = columnar.named(frames.read(source)) if path is None else raw_table(path, as_text=_named(options.id))
    told = "The table" if path is None else path.name
    files.require_distinct(table.schema.names, told)
    for name in (*aside, *options.exclude, *_named(options.id), *_named(options.text), *_named(options.image)):
        files.require_column(name, table.schema.names, told)
    if table.num_rows < 2:
        raise InputError(f"{told} has {table.num_rows} rows: nothing can be learned from so few.")
    columns = table.drop_columns(list(aside))
    text, image = media_columns(columns, options.text, options.image, options.exclude, path, options.id)
    digest = files.digest(path) if path is not None and path.is_file() else None
    rows = replace(_rows(columns, path, text, image, options.id), excluded=options.exclude, digest=digest)
    return rows, table.select(list(aside))


def read_new_rows(
    path: Path, reader: Reader, aside: Collection[str], id: str | None
) -> tuple[LabelledTable, pa.Table | None]:
    """Other rows as `reader` wants them, and their columns `aside`; None where one of these is not there."""
    table = raw_table(path, as_text=_named(id))
    if table.num_rows == 0:
        raise InputError(f"{path.name} has columns but no rows.")
    text, image = (reader.column if reader.media == media else None for media in ("text", "image"))
    for name in (*_named(text), *_named(image)):
        files.require_column(name, table.schema.names, path.name)
    there = [name for name in aside if name in table.schema.names]
    id = id if id in table.schema.names else None
    rows = _rows(table.drop_columns(there), path, text, image, id)
    return rows, table.select(there) if len(there) == len(aside) else None


def names_of(rows: LabelledTable | None, n: int) -> list[Any]:
    """What names each of n rows: its id, else its number."""
    return list(range(n)) if rows is None or rows.ids is None else list(rows.ids.to_pylist())


def _rows(columns: pa.Table, path: Path | None, text: str | None, image: str | None, id: str | None) -> LabelledTable:
    n = columns.num_rows
    return LabelledTable(
        columns=columns,
        labels=Hard(NO_CLASS, np.zeros(n, dtype=np.int32), np.zeros(n, dtype=bool)),
        label="",
        label_type=pa.string(),
        ids=None if id is None else ids_of(columns[id], id, path is not None and path.is_file()),
        id=id,
        media="text" if text else "image" if image else "table",
        text=text,
        image=image,
        source=path,
    )


def _named(name: str | None) -> tuple[str, ...]:
    return () if name is None else (name,)

"""A table with labels, whatever it came from: one label column as codes, every other column with its type."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from assay.errors import InputError
from assay.labels.formats import arrays, columnar, delimited, files, folders, frames, hub, jsonlines
from assay.labels.hard import Hard
from assay.labels.label_column import cells_of, codes_of, ids_of, label_name, ordered_space
from assay.labels.media import is_string, media_columns
from assay.labels.spaces import Space

MISSING = delimited.MISSING


@dataclass(frozen=True, slots=True, eq=False)
class LabelledTable:
    """A table and the labels of its rows.

    Parameters
    ----------
    columns : every column but the label, with its type, in its order, `(n,)` rows.
    labels : the label column as codes; cells without a label are masked.
    label : name of the label column.
    label_type : type that the label column had, in which it is written again.
    ids : stable ids of the rows `(n,)`, all different, when a column was named for them.
    id : name of that column.
    media : what a row is: "table", "text" or "image".
    text : the column that holds the text.
    image : the column that holds the image: a path below `root`, bytes, or pixels.
    excluded : columns that are kept but say nothing about the label.
    source : the file or folder that was read, None for a frame.
    digest : SHA-256 of the bytes of the file, None for folders and frames.
    """

    columns: pa.Table
    labels: Hard
    label: str
    label_type: pa.DataType
    ids: pa.Array | None = None
    id: str | None = None
    media: str = "table"
    text: str | None = None
    image: str | None = None
    excluded: tuple[str, ...] = ()
    source: Path | None = None
    digest: str | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows, n."""
        return self.labels.n_rows

    @property
    def root(self) -> Path | None:
        """The folder below which image paths lie."""
        return self.source if self.source is None or self.source.is_dir() else self.source.parent

    @property
    def features(self) -> pa.Table:
        """The columns from which a label can be learned: all but the ids and the excluded ones."""
        return self.columns.drop_columns([name for name in {self.id, *self.excluded} if name is not None])

    def to_arrow(self) -> pa.Table:
        """Return all columns, the label last with the type it had, and its class order noted in the schema."""
        table = self.columns.append_column(self.label, cells_of(self.labels, self.label_type))
        return columnar.with_space(table, self.label, self.labels.space)

    def to_frame(self, library: str) -> Any:
        """Return a "pandas" or "polars" frame; the label is an ordered category, so that class order is kept."""
        kind = pa.dictionary(pa.int32(), pa.string(), ordered=True)
        return frames.to_frame(self.columns.append_column(self.label, cells_of(self.labels, kind)), library)

    def to_dataset(self) -> Any:
        """Return a Hugging Face `Dataset` whose label column is a `ClassLabel`, null where there is no label."""
        codes = pa.array(self.labels.y.astype(np.int64), mask=~self.labels.present)
        return hub.to_dataset(self.columns, self.label, codes, self.labels.space)


def read_table(
    source: Any,
    *,
    label: str | None = None,
    space: Space | None = None,
    id: str | None = None,
    text: str | None = None,
    image: str | None = None,
    missing: Collection[str] = MISSING,
    exclude: Collection[str] = (),
) -> LabelledTable:
    """Read a table with labels.

    Parameters
    ----------
    source : path of a CSV, TSV, JSON-lines (each also `.gz`), Parquet, Arrow, Feather or `.npz` file, of a folder with
        one sub-folder of images a class or of a saved Hugging Face data set; or a pandas, polars or pyarrow frame; or
        a `datasets.Dataset`.
    label : name of the label column; needed unless the source says it (image folders, files that assay wrote, data
        sets with a single `ClassLabel`).
    space : the classes and their order. Without it: those that the source notes, else those that occur.
    id : column with stable, different ids.
    text, image : column with the text, or with the image as path below the file's folder, as bytes or as pixels.
    missing : texts that mean "no label", and "no number" in columns of numbers of a text file. A name that is in the
        space is never missing.
    exclude : columns that say nothing about the label, such as a second copy of it.

    Raises
    ------
    InputError : one sentence about the first thing that is wrong with the source.
    """
    path = Path(source) if isinstance(source, str | Path) else None
    told = path.name if path is not None else "The table"
    if path is None:
        table = hub.read(source) if hub.is_dataset(source) else _frame(source)
    else:
        table = raw_table(path, missing, [name for name in (label, id) if name is not None])
    files.require_distinct(table.schema.names, told)
    noted = columnar.space_of(table.schema, told)
    label = label_name(label, noted, table, told)
    for name in (label, *(name for name in (id, text, image) if name is not None), *exclude):
        files.require_column(name, table.schema.names, told)
    if label in {id, text, image, *exclude}:
        raise InputError(f"Column {label!r} is the label; it cannot be the id, the text, the image or excluded too.")
    if table.num_rows == 0:
        raise InputError(f"{told} has columns but no rows.")
    if table.num_rows == 1:
        raise InputError(f"{told} has one row: nothing can be learned about labels from a single one.")

    column = table[label]
    kind = column.type
    if path is not None and _is_text_file(path):
        kind = pa.int64() if delimited.rank(column, missing) == 0 else pa.string()
    given = space or (noted[1] if noted is not None and noted[0] == label else ordered_space(column))
    labels = codes_of(table, label, given, missing)
    columns = table.drop_columns([label]).replace_schema_metadata(
        {key: value for key, value in (table.schema.metadata or {}).items() if key != columnar.SPACE_KEY}
    )
    text, image = media_columns(columns, text, image, exclude, path, id)
    return LabelledTable(
        columns=columns,
        labels=labels,
        label=label,
        label_type=kind,
        ids=None if id is None else ids_of(columns[id], id, path is not None and _is_text_file(path)),
        id=id,
        media="text" if text else "image" if image else "table",
        text=text,
        image=image,
        excluded=tuple(exclude),
        source=path,
        digest=files.digest(path) if path is not None and path.is_file() else None,
    )


def write_table(table: LabelledTable, path: Path | str) -> None:
    """Write a table as the suffix of `path` asks, beside and renamed; without a suffix, as a folder of images.

    Parquet, Arrow and `.npz` keep types and class order. CSV, TSV and JSON lines keep the cells: give `space=` when
    reading them again to keep the order of the classes and those that do not occur.

    Raises
    ------
    InputError : the form cannot hold this table; nothing is written.
    """
    path = Path(path)
    if not path.suffix and table.root is not None and table.image and is_string(table.columns[table.image].type):
        paths = table.columns[table.image].to_pylist()
        folders.require_inside(paths, table.root)
        folders.write(paths, table.labels.names(), table.labels.space, table.root, path)
        return
    form = files.form_of(path)
    if form == "arrays":
        labels = table.labels
        arrays.write(table.columns, path, table.label, labels.y, labels.present, labels.space)
    elif form == "columnar":
        columnar.write(table.to_arrow(), path)
    elif form == "jsonlines":
        jsonlines.write(table.to_arrow(), path)
    else:
        if "" in table.labels.space.names and not table.labels.present.all():
            raise InputError("A class named '' and missing labels look the same in delimited text: write .parquet.")
        # The names themselves, because Arrow would write True as true.
        delimited.write(table.columns.append_column(table.label, cells_of(table.labels, pa.string())), path)


def _frame(source: Any) -> pa.Table:
    if not frames.is_frame(source):
        raise InputError(
            f"A {type(source).__name__} is no table: give a path, a pandas, polars or pyarrow table, or a Dataset."
        )
    return columnar.named(frames.read(source))


def raw_table(path: Path, missing: Collection[str] = MISSING, as_text: Collection[str] = ()) -> pa.Table:
    """All columns of a file or folder as they stand, the label among them; columns `as_text` keep their cells."""
    if path.is_dir():
        return hub.read(hub.load(path)) if hub.is_saved(path) else folders.read(path)
    form = files.form_of(path)
    files.require_file(path)
    if form == "delimited":
        return delimited.read(path, missing, as_text)
    if form == "jsonlines":
        return jsonlines.read(path)
    return columnar.read(path) if form == "columnar" else arrays.read(path)


def _is_text_file(path: Path) -> bool:
    return path.is_file() and files.form_of(path) == "delimited"

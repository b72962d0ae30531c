"""The data set behind a folder of results: found, checked to be the very one, and read a row at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assay.errors import InputError
from assay.evidence.kept_rows import KeptRows
from assay.labels.formats import files, frames, hub
from assay.labels.label_column import codes_of
from assay.labels.tables import MISSING, raw_table

BATCH = 64
"""Rows of large cells (pictures in a Parquet file) that are read one after the other."""
PART = 1 << 26
"""Bytes of a large column that are unpacked and kept to show one row. Parquet finds a row by unpacking what stands
before it in its row group, so files of many gigabytes are quick when written with small groups."""


class Source:
    """The columns of the data set, without its label.

    Parameters
    ----------
    kept : what was found about its rows.
    folder : where that was kept.
    given : where the data are; None looks where they were, and beside the folder.

    Raises
    ------
    InputError : the data are not there, or are not the ones that were looked at. The SHA-256 of a file is reckoned
        anew, about a second for a gigabyte, since a size and a time say nothing of what is inside. The pictures of a
        folder are files of their own and are not read here.
    """

    def __init__(self, kept: KeptRows, folder: Path, given: Any = None) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._held: dict[str, tuple[int, pa.Array]] = {}
        self.path = self._find(folder, given)
        self.root = self._root(folder)
        self._frame = given if given is not None and self.path is None else None

    def _find(self, folder: Path, given: Any) -> Path | None:
        """Where the data are, None for a frame or when there are none."""
        origin = self._kept.origin
        if given is not None and not isinstance(given, str | Path):
            return None
        if given is None and origin.source is None:
            return None
        if given is not None:
            places = [Path(given)]
        else:
            assert origin.source is not None
            places = [folder / origin.source, folder.absolute().parent / Path(origin.source).name]
        there = [place for place in places if place.exists()]
        if not there:
            raise InputError(f"The data set {places[0]} is not there: name it after the folder of the results.")
        if origin.sha256 is None:
            return there[0]
        for place in there:
            if place.is_file() and files.digest(place) == origin.sha256:
                return place
        raise InputError(
            f"{there[0]} changed since these results were written, or is another file: run `assay {origin.verb}` again."
        )

    def _root(self, folder: Path) -> Path | None:
        """The folder below which image paths lie."""
        if self._kept.origin.root is not None:
            root = folder / self._kept.origin.root
        elif self.path is not None:
            root = self.path if self.path.is_dir() else self.path.parent
        else:
            return None
        return root.resolve() if root.is_dir() else None

    @cached_property
    def table(self) -> pa.Table:
        """All columns but the label and the large ones, read when first wanted; a row a data row."""
        origin, n = self._kept.origin, len(self._kept.given)
        if self._kept.paths is not None:
            return pa.table({str(origin.image): self._kept.paths})
        if self.path is None and self._frame is None:
            return pa.table({"row": np.arange(n)}).drop_columns(["row"])
        if self.path is None:
            table = hub.read(self._frame) if hub.is_dataset(self._frame) else frames.read(self._frame)
        elif self.large:
            names = [name for name in pq.read_schema(self.path).names if name not in self.large]
            table = pq.read_table(self.path, columns=names, memory_map=True)
        else:
            table = raw_table(self.path, as_text=[name for name in (origin.label, origin.id) if name])
        if table.num_rows != n:
            raise InputError(f"The data set has {table.num_rows} rows, the results are about {n}: it is another one.")
        if origin.sha256 is None:
            self._require_labels(table)
        return table.drop_columns([origin.label]) if origin.label in table.column_names else table

    def _require_labels(self, table: pa.Table) -> None:
        """Raise unless the labels are those that were looked at; they stand in for the digest that a frame lacks."""
        kept = self._kept
        files.require_column(kept.origin.label, table.column_names, "The data set")
        found = codes_of(table, kept.origin.label, kept.space, MISSING)
        differs = (found.present != kept.present) | ((found.y != kept.given) & kept.present)
        if differs.any():
            raise InputError(
                "The data set has other labels than the one that was looked at.", row=int(differs.argmax())
            )

    @cached_property
    def large(self) -> tuple[str, ...]:
        """Columns of a Parquet file that hold bytes or pixels; they are read a few rows at a time."""
        if self.path is None or self.path.is_dir() or files.suffix_of(self.path) != ".parquet":
            return ()
        return tuple(field.name for field in pq.read_schema(self.path) if _is_large(field.type))

    @property
    def head(self) -> pa.Table:
        """The first rows, with the large columns too."""
        if not self.large:
            return self.table.slice(0, BATCH)
        batch = next(pq.ParquetFile(self.path).iter_batches(BATCH))
        return pa.Table.from_batches([batch]).drop_columns([self._kept.origin.label])

    @property
    def names(self) -> list[str]:
        """The names of all columns."""
        return [*self.table.column_names, *self.large]

    @property
    def readable(self) -> list[str]:
        """The names of the columns that a person can read: no bytes, no pixels."""
        return [field.name for field in self.table.schema if not _is_large(field.type)]

    def cell(self, row: int, name: str) -> Any:
        """The value of a cell as a Python object; pixels as an array."""
        if name in self.large:
            column, at = self._part(row, name)
        else:
            files.require_column(name, self.names, "The data set")
            column, at = self.table[name], row
        return next(_values(column.slice(at, 1)))

    def cells(self, name: str) -> Iterator[Any]:
        """All values of a column in order, a few held at a time."""
        if name not in self.large:
            yield from _values(self.table[name])
            return
        with pq.ParquetFile(self.path) as parquet:
            for batch in parquet.iter_batches(BATCH, columns=[name], use_threads=False):
                yield from _values(batch.column(0))

    def _part(self, row: int, name: str) -> tuple[pa.Array, int]:
        """The part of a large column that holds a row, and the row's place in it; the last part is kept."""
        with self._lock:
            start, part = self._held.get(name, (0, ()))
            if 0 <= row - start < len(part):
                return part, row - start
            about, start = self._parquet.metadata, 0
            for group in range(about.num_row_groups):
                if row < start + about.row_group(group).num_rows:
                    break
                start += about.row_group(group).num_rows
            n = about.row_group(group).num_rows
            size = sum(_bytes(about.row_group(group), name))
            for batch in self._parquet.iter_batches(
                max(1, n * PART // max(size, PART)), row_groups=[group], columns=[name], use_threads=False
            ):
                if row < start + batch.num_rows:
                    self._held[name] = start, batch.column(0)
                    return batch.column(0), row - start
                start += batch.num_rows
        raise InputError(f"There is no row {row}.")

    @cached_property
    def _parquet(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.path, memory_map=True)


def _bytes(group: pq.RowGroupMetaData, name: str) -> Iterator[int]:
    """Sizes of the parts of a column in a row group when unpacked; a record has several."""
    for at in range(group.num_columns):
        column = group.column(at)
        if column.path_in_schema.split(".")[0] == name:
            yield column.total_uncompressed_size


def _values(column: pa.Array | pa.ChunkedArray) -> Iterator[Any]:
    """The values of a column as Python objects; pixels as arrays."""
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        if isinstance(chunk.type, pa.FixedShapeTensorType):
            yield from chunk.to_numpy_ndarray()
        else:
            yield from chunk.to_pylist()


def _is_large(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_large(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return True
    if pa.types.is_struct(kind):
        return any(_is_large(kind.field(at).type) for at in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))

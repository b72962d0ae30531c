"""In-memory frames of any library that narwhals knows (pandas, polars, pyarrow, modin, cuDF), in and out."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import pyarrow as pa
from narwhals.exceptions import NarwhalsError

from assay.errors import InputError, require


def is_frame(source: object) -> bool:
    """Whether narwhals knows this object as a frame, eager or lazy."""
    return isinstance(nw.from_native(source, pass_through=True), nw.DataFrame | nw.LazyFrame)


def read(frame: Any) -> pa.Table:
    """The frame as an Arrow table with its types. The index of a pandas frame is no column: `reset_index()` keeps it.

    Categories of pandas keep their order, the unused ones too, so their columns come as ordered dictionaries; those of
    a polars `Enum` do of themselves, while a polars `Categorical` has no order of its own.
    """
    try:
        native = nw.from_native(frame)
        eager = native.collect() if isinstance(native, nw.LazyFrame) else native
        table = eager.to_arrow()
    except (NarwhalsError, pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
        reason = str(error).split("\n")[0].rstrip(".")
        raise InputError(f"The frame does not become typed columns ({reason}): use one type a column.") from error
    index = [name for name in table.schema.names if name.startswith("__index_level_")]
    table = table.drop_columns(index)
    if eager.implementation.is_pandas_like():
        for i, field in enumerate(table.schema):
            if pa.types.is_dictionary(field.type):
                table = table.set_column(i, field.name, _ordered(table.column(i)))
    return table


def _ordered(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    whole = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
    return pa.DictionaryArray.from_arrays(whole.indices, whole.dictionary, ordered=True)


def to_frame(table: pa.Table, library: str) -> Any:
    """The table as a frame of "pandas" or "polars"; ordered dictionaries become ordered categories or an `Enum`."""
    if library not in ("pandas", "polars"):
        raise InputError(f"Frames are given as 'pandas' or 'polars', not as {library!r}.")
    require(library, "frames", f"A {library} frame")
    frame = nw.from_native(table, eager_only=True)
    if library == "pandas":
        return frame.to_pandas()
    # Arrow hands polars a dictionary without its order, so the order is handed over beside it.
    enums = [
        nw.col(field.name).cast(nw.Enum(table[field.name].combine_chunks().dictionary.to_pylist()))
        for field in table.schema
        if pa.types.is_dictionary(field.type) and field.type.ordered
    ]
    polars = nw.from_native(frame.to_polars(), eager_only=True)
    return polars.with_columns(*enums).to_native()

"""Files larger than memory, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from assay.errors import InputError
from assay.labels.formats import columnar, delimited, files, jsonlines


def row_blocks(
    path: Path | str,
    columns: Sequence[str] | None = None,
    block_rows: int = 65536,
    *,
    as_text: Collection[str] = (),
    missing: Collection[str] = delimited.MISSING,
    progress: Callable[[int], None] | None = None,
) -> Iterator[pa.Table]:
    """Rows of a CSV, TSV, JSON-lines, Parquet or Arrow file in blocks of `block_rows`, the last one shorter.

    Every block has the same types, those that `read_table` finds: text files are read twice, first for the types.

    Parameters
    ----------
    path : the file; CSV, TSV and JSON lines may be `.gz`.
    columns : which columns, in which order; None for all.
    block_rows : rows in a block; memory is a few blocks, whatever the length of the file.
    as_text : columns of CSV and TSV that stay text whatever they hold; give the label column here.
    missing : cells of CSV and TSV that are null in columns of numbers.
    progress : called after each block with the number of rows read so far.

    Raises
    ------
    InputError : unsupported, empty, damaged or ragged file, unknown column.
    """
    path = Path(path)
    if block_rows < 1:
        raise InputError(f"A block must hold at least one row, got block_rows={block_rows}.")
    picked = None if columns is None else list(columns)
    done = 0
    for block in _rechunked(_batches(path, picked, block_rows, as_text, missing), block_rows):
        yield block
        done += block.num_rows
        if progress is not None:
            progress(done)


def _batches(
    path: Path, columns: list[str] | None, block_rows: int, as_text: Collection[str], missing: Collection[str]
) -> Iterator[pa.RecordBatch]:
    form = files.form_of(path)
    files.require_file(path)
    if form == "delimited":
        yield from delimited.typed_batches(path, columns, missing, as_text)
    elif form == "jsonlines":
        yield from jsonlines.typed_batches(path, columns, block_rows)
    elif form == "columnar":
        with columnar.blocks(path, columns, block_rows) as (schema, batches):
            for batch in batches:
                # ClassLabel codes come as names here too; the notes for that are in the schema of the file.
                whole = columnar.named(pa.Table.from_batches([batch]).replace_schema_metadata(schema.metadata))
                yield from whole.combine_chunks().to_batches()
    else:
        raise InputError(f"{path.name} is not read in blocks of rows: save it as .parquet.")


def _rechunked(batches: Iterator[pa.RecordBatch], block_rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of exactly `block_rows`, the last one shorter."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        start = 0
        while rows + batch.num_rows - start >= block_rows:
            end = start + block_rows - rows
            yield pa.Table.from_batches([*held, batch.slice(start, end - start)])
            held, rows, start = [], 0, end
        if start < batch.num_rows:
            held.append(batch.slice(start))
            rows += batch.num_rows - start
    if held:
        yield pa.Table.from_batches(held)

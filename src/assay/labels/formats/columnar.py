"""Parquet and Arrow IPC (Feather): typed columns, class order in the schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

from assay.errors import InputError
from assay.labels.formats import files
from assay.labels.spaces import Kind, Space

SPACE_KEY = b"assay.space"  # schema metadata: {"fingerprint", "label", "names", "kind", "open_set"} as JSON


def with_space(table: pa.Table, label: str, space: Space) -> pa.Table:
    """The table with the space of its label column in the schema metadata, so that class order survives."""
    noted = {
        "label": label,
        "fingerprint": space.fingerprint,
        "names": space.names,
        "kind": space.kind.value,
        "open_set": space.open_set,
    }
    return table.replace_schema_metadata(
        {**(table.schema.metadata or {}), SPACE_KEY: json.dumps(noted, ensure_ascii=False).encode()}
    )


def space_of(schema: pa.Schema, source: str) -> tuple[str, Space] | None:
    """The label column and its space that `with_space` noted; None if nobody did."""
    text = (schema.metadata or {}).get(SPACE_KEY)
    if text is None:
        return None
    noted = json.loads(text)
    space = Space(tuple(noted["names"]), Kind(noted["kind"]), noted["open_set"])
    if space.fingerprint != noted["fingerprint"]:
        raise InputError(f"The class names noted in {source} do not fit their fingerprint: the schema was edited.")
    return noted["label"], space


def named(table: pa.Table) -> pa.Table:
    """The table with Hugging Face `ClassLabel` codes turned into names, -1 into null, and their order noted.

    If there are several such columns, only the order of the first is noted.
    """
    for name in table.schema.names:
        names = class_label_names(table.schema, name)
        if names is None:
            continue
        codes = table[name]
        wrong = pc.or_(pc.less(codes, -1), pc.greater_equal(codes, len(names))).fill_null(False)
        if pc.any(wrong).as_py():
            row = pc.index(wrong, True).as_py()
            raise InputError(f"Column {name!r} holds the code {codes[row]}, but has {len(names)} classes.", row=row)
        codes = pc.if_else(pc.equal(codes, -1), pa.scalar(None, codes.type), codes)
        cells = pa.array(names, pa.string()).take(codes.combine_chunks())
        noted = SPACE_KEY in (table.schema.metadata or {})
        table = table.set_column(table.schema.get_field_index(name), name, cells)
        if not noted:
            table = with_space(table, name, Space(tuple(names)))
    kept = {key: text for key, text in (table.schema.metadata or {}).items() if key not in (b"huggingface", b"pandas")}
    return table.replace_schema_metadata(kept)


def read(path: Path) -> pa.Table:
    """The whole table with its types; `ClassLabel` codes come as names."""
    with blocks(path) as (schema, batches):
        files.require_distinct(schema.names, path.name)
        return named(pa.Table.from_batches(batches, schema).unify_dictionaries())


def write(table: pa.Table, path: Path) -> None:
    """Write Parquet (zstd) or an Arrow file (Feather version 2), beside and renamed."""
    with files.replacing(path) as out:
        if files.suffix_of(path) == ".parquet":
            pq.write_table(table, out, compression="zstd")
        else:
            with ipc.new_file(out, table.schema) as writer:
                writer.write_table(table.unify_dictionaries())


def class_label_names(schema: pa.Schema, label: str) -> list[str] | None:
    """Class names of a Hugging Face `ClassLabel` column, whose cells are codes; None for any other column."""
    text = (schema.metadata or {}).get(b"huggingface")
    if text is None:
        return None
    feature = json.loads(text).get("info", {}).get("features", {}).get(label, {})
    return [str(name) for name in feature["names"]] if feature.get("_type") == "ClassLabel" else None


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    """Turn what Arrow says about a damaged file into one sentence."""
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).split("\n")[0].rstrip(".")
        raise InputError(f"{path.name} is cut off or damaged ({reason}): fetch or write it again.") from error


@contextmanager
def blocks(
    path: Path, columns: list[str] | None = None, block_rows: int = 65536
) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    """The schema of a Parquet or Arrow file, and its record batches one at a time, in the order of the file."""
    files.require_file(path)
    with ExitStack() as stack:
        with _sound(path):
            if files.suffix_of(path) == ".parquet":
                parquet = stack.enter_context(pq.ParquetFile(path))
                schema = parquet.schema_arrow
                batches = parquet.iter_batches(block_rows, columns=columns, use_threads=False)
            else:
                schema, batches = _arrow_batches(stack.enter_context(pa.memory_map(str(path))), block_rows)
        for column in columns or ():
            files.require_column(column, schema.names, path.name)
        yield schema, _checked(batches, path, columns)


def _checked(batches: Iterator[pa.RecordBatch], path: Path, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
    with _sound(path):
        for batch in batches:
            yield batch if columns is None else batch.select(columns)


def _arrow_batches(mapped: pa.MemoryMappedFile, block_rows: int) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Batches of either Arrow form: the file, with its magic word, or the stream, which `datasets` keeps."""
    is_file = mapped.read(6) == b"ARROW1"
    mapped.seek(0)
    reader = ipc.open_file(mapped) if is_file else ipc.open_stream(mapped)

    def batches() -> Iterator[pa.RecordBatch]:
        whole = (reader.get_batch(i) for i in range(reader.num_record_batches)) if is_file else iter(reader)
        for batch in whole:
            yield from (batch.slice(start, block_rows) for start in range(0, batch.num_rows, block_rows))

    return reader.schema, batches()


def cell_of(name: str | None, kind: pa.DataType, names: list[str] | None, row: int | None) -> object:
    """The value of a class name in a column of this type."""
    if name is None:
        return None
    if names is not None:
        if name not in names:
            raise InputError(f"Unknown class {name!r}: the column's ClassLabel has {names[:5]}.", row=row)
        return names.index(name)
    if pa.types.is_boolean(kind):
        if name not in ("True", "False"):
            raise InputError(f"Label {name!r} does not fit a column of type bool.", row=row)
        return name == "True"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return name
    try:
        return pa.scalar(name).cast(kind).as_py()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(f"Label {name!r} does not fit a column of type {kind}.", row=row) from None


def rewrite(source: Path, target: Path, label: str, changes: Mapping[int, str | None]) -> None:
    """Write the file again, block by block with the same schema and settings, with some label cells replaced."""
    with blocks(source, block_rows=1 << 20) as (schema, batches), files.replacing(target) as out:
        files.require_column(label, schema.names, source.name)
        column = schema.get_field_index(label)
        names = class_label_names(schema, label)
        kind = schema.field(column).type
        plain = kind.value_type if pa.types.is_dictionary(kind) else kind
        cells = {row: cell_of(name, plain, names, row) for row, name in changes.items()}
        dictionary = _dictionary(source, label, cells) if pa.types.is_dictionary(kind) else None
        start = 0
        with _writer(source, out, schema) as writer:
            for batch in batches:
                inside = {row - start: cells[row] for row in cells if start <= row < start + batch.num_rows}
                start += batch.num_rows
                if inside or dictionary is not None:
                    values = batch.column(column)
                    replaced = _replaced(values.cast(plain) if dictionary is not None else values, inside)
                    if dictionary is not None:
                        codes = pc.index_in(replaced, dictionary).cast(kind.index_type)
                        replaced = pa.DictionaryArray.from_arrays(codes, dictionary, ordered=kind.ordered)
                    batch = batch.set_column(column, schema.field(column), replaced)
                writer.write_batch(batch)
        if any(row >= start for row in changes):
            beyond = min(row for row in changes if row >= start)
            raise InputError(f"{source.name} has {start} rows; row {beyond} was to be changed.")


def _replaced(values: pa.Array, cells: Mapping[int, object]) -> pa.Array:
    """The array with some cells exchanged."""
    if not cells:
        return values
    rows = sorted(cells)
    take = pa.array([i in cells for i in range(len(values))])
    return pc.replace_with_mask(values, take, pa.array([cells[row] for row in rows], values.type))


def _dictionary(source: Path, label: str, cells: Mapping[int, object]) -> pa.Array:
    """All values of a dictionary column in their old order, then the new ones: Arrow files hold one dictionary."""
    seen: dict[object, None] = {}
    with blocks(source, [label]) as (_, batches):
        for batch in batches:
            seen.update(dict.fromkeys(batch.column(0).dictionary.to_pylist()))
            kind = batch.column(0).type.value_type
    seen.update(dict.fromkeys(cells[row] for row in sorted(cells) if cells[row] is not None))
    return pa.array(list(seen), kind)


@contextmanager
def _writer(source: Path, out: object, schema: pa.Schema) -> Iterator[pq.ParquetWriter | ipc.RecordBatchFileWriter]:
    """A writer of the same form as `source`, with its compression."""
    if files.suffix_of(source) == ".parquet":
        with pq.ParquetFile(source) as parquet:
            known = parquet.metadata.num_row_groups > 0
            compression = parquet.metadata.row_group(0).column(0).compression.lower() if known else "snappy"
        with pq.ParquetWriter(out, schema, compression=compression.replace("uncompressed", "none")) as writer:
            yield writer
    else:
        with source.open("rb") as stream:
            is_file = stream.read(6) == b"ARROW1"
        with (ipc.new_file if is_file else ipc.new_stream)(out, schema) as writer:
            yield writer

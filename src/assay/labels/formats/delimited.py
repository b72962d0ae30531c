"""CSV and TSV, plain or gzipped: one small grammar of records, used to read, to find faults and to rewrite cells."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from assay.errors import InputError
from assay.labels.formats import files
from assay.labels.formats.grammar import is_row, records, spans, value

MISSING = ("", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "<NA>")
"""Cells that mean "missing" unless a given label space has a class of that very name; "None" is a common class name."""
BLOCK = 1 << 20  # bytes that Arrow parses at a time, and of which it reads 32 ahead; no row may be longer
WHOLE = 1 << 26  # the same when the whole file goes into memory anyway
_INTEGER = r"^\s*(0|-?[1-9][0-9]{0,17})\s*$"  # 007 is a code, not seven
_NUMBER = r"^\s*-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?\s*$"


def delimiter_of(path: Path) -> bytes:
    """The delimiter: tab for .tsv, else the first of comma, semicolon, tab, bar that stands unquoted in the header."""
    if files.suffix_of(path) == ".tsv":
        return b"\t"
    with files.opened(path) as stream:
        header = next((record for record in records(stream, b",") if is_row(record)), b"")
    return next((d for d in (b",", b";", b"\t", b"|") if len(spans(header, d) or ()) > 1), b",")


def _replacement(old: bytes, new: str, delimiter: bytes, header_quoted: bool) -> bytes:
    """The bytes of the new cell, quoted as its file quotes: always, or only where needed."""
    text = new.encode()
    needed = any(mark in text for mark in (delimiter, b'"', b"\r", b"\n"))
    was = old.startswith(b'"')
    was_needed = was and any(mark in old[1:-1] for mark in (delimiter, b'"', b"\r", b"\n"))
    if needed or (was and (header_quoted or not was_needed)):
        return b'"' + text.replace(b'"', b'""') + b'"'
    return text


def rewrite(source: Path, target: Path, label: str, changes: Mapping[int, str | None]) -> None:
    """Write the file again with the label cells of some data rows replaced and all other bytes kept."""
    delimiter = delimiter_of(source)
    with files.opened(source) as stream, files.replacing(target) as out:
        column, quoted, width, row = -1, False, 0, -1
        left = set(changes)
        for record in records(stream, delimiter):
            if not is_row(record):
                out.write(record)
                continue
            if column < 0:
                header = spans(record, delimiter) or []
                names = [value(record[a:b], delimiter) for a, b in header]
                if label not in names:
                    raise InputError(f"{source.name} has no column {label!r}; it has {', '.join(map(repr, names))}.")
                column, width = names.index(label), len(names)
                quoted = record[header[column][0] :].startswith(b'"')
                out.write(record)
                continue
            row += 1
            if row in left:
                left.discard(row)
                fields = spans(record, delimiter) or []
                if len(fields) != width:
                    raise InputError(f"{source.name} has {len(fields)} cells where {width} were expected.", row=row)
                a, b = fields[column]
                new = _replacement(record[a:b], changes[row] or "", delimiter, quoted)
                record = record[:a] + new + record[b:]
                if not is_row(record):
                    record = b'""' + record  # a blank line would be no row at all
            out.write(record)
        if left:
            raise InputError(f"{source.name} has {row + 1} rows; row {min(left)} was to be changed.")


def header(path: Path, delimiter: bytes) -> list[str]:
    """The column names."""
    with files.opened(path) as stream:
        record = next((record for record in records(stream, delimiter) if is_row(record)), None)
    if record is None:
        raise InputError(f"{path.name} holds blank lines only.")
    try:
        names = [value(record[a:b], delimiter) for a, b in spans(record, delimiter) or []]
    except UnicodeDecodeError:
        files.require_utf8(path)
        raise
    files.require_distinct(names, path.name)
    return names


@contextmanager
def text_batches(
    path: Path, columns: list[str] | None = None, block: int = BLOCK
) -> Iterator[Iterator[pa.RecordBatch]]:
    """Batches of rows with every cell as text; an empty cell without quotes is null."""
    delimiter = delimiter_of(path)
    names = header(path, delimiter)
    for column in columns or ():
        files.require_column(column, names, path.name)
    _require_closed_quotes(path, delimiter)
    with ExitStack() as stack:
        stream = stack.enter_context(pa.OSFile(str(path)))
        if files.is_gzip(path):
            stream = stack.enter_context(pa.CompressedInputStream(stream, "gzip"))

        def batches() -> Iterator[pa.RecordBatch]:
            try:
                yield from pacsv.open_csv(
                    stream,
                    read_options=pacsv.ReadOptions(block_size=block, use_threads=False),
                    parse_options=pacsv.ParseOptions(delimiter=delimiter.decode(), newlines_in_values=True),
                    convert_options=pacsv.ConvertOptions(
                        column_types=dict.fromkeys(names, pa.string()),
                        include_columns=columns,
                        strings_can_be_null=True,
                        quoted_strings_can_be_null=False,
                        null_values=[""],
                    ),
                )
            except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
                _explain(path, delimiter, len(names), block)
                reason = str(error).split("\n")[0].rstrip(".")
                raise InputError(f"{path.name} cannot be read as delimited text: {reason}.") from error

        yield batches()


def _require_closed_quotes(path: Path, delimiter: bytes) -> None:
    """Raise if the file ends inside a quote, where Arrow would read the rest of the file as one cell."""
    quotes = 0
    with files.opened(path) as stream:
        while block := stream.read(1 << 20):
            quotes += block.count(b'"')
    if quotes % 2:
        with files.opened(path) as stream:
            for _ in records(stream, delimiter):
                pass


def _explain(path: Path, delimiter: bytes, width: int, block: int) -> None:
    """Find the row that Arrow could not read, and say what is wrong with it."""
    files.require_utf8(path)
    row = -2
    with files.opened(path) as stream:
        for record in records(stream, delimiter):
            if not is_row(record):
                continue
            row += 1
            cells = len(spans(record, delimiter) or [])
            if cells != width:
                raise InputError(
                    f"{path.name} has a ragged row: {cells} cells where the header has {width}; quote cells that hold "
                    f"{delimiter.decode()!r}.",
                    row=row,
                )
            if len(record) > block:
                raise InputError(f"{path.name} has a row of {len(record)} bytes; at most {block} are read.", row=row)
    if row < 0:
        raise InputError(f"{path.name} has columns but no rows.")


def rank(column: pa.Array | pa.ChunkedArray, missing: Collection[str]) -> int:
    """What the cells are: -1 nothing, 0 integers, 1 numbers, 2 text. The rank of two blocks is the larger rank."""
    present = column.filter(pc.invert(_absent(column, missing)))
    if not len(present):
        return -1
    if not _all(present.slice(0, 64), _NUMBER):
        return 2
    return 0 if _all(present, _INTEGER) else 1 if _all(present, _NUMBER) else 2


def _all(column: pa.Array | pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(column, pattern)).as_py())


def _absent(column: pa.Array | pa.ChunkedArray, missing: Collection[str]) -> pa.Array | pa.ChunkedArray:
    return pc.or_(pc.is_null(column), pc.is_in(column, pa.array(sorted(missing), pa.string())).fill_null(False))


def typed(column: pa.Array | pa.ChunkedArray, rank: int, missing: Collection[str]) -> pa.Array | pa.ChunkedArray:
    """The text cells as int64 or float64, missing ones null; text stays as it is."""
    if rank not in (0, 1):
        return column
    present = pc.if_else(_absent(column, missing), pa.scalar(None, pa.string()), column)
    return pc.utf8_trim_whitespace(present).cast(pa.int64() if rank == 0 else pa.float64())


def read(path: Path, missing: Collection[str], as_text: Collection[str] = ()) -> pa.Table:
    """The whole table; columns are int64, float64 or text, those in `as_text` text whatever they hold."""
    with text_batches(path, block=WHOLE) as batches:
        found = list(batches)
    names = found[0].schema.names if found else header(path, delimiter_of(path))
    table = pa.Table.from_batches(found, pa.schema([(name, pa.string()) for name in names]))
    columns = [
        column if name in as_text else typed(column, rank(column, missing), missing)
        for name, column in zip(names, table.columns, strict=True)
    ]
    return pa.table(dict(zip(names, columns, strict=True)))


def typed_batches(
    path: Path, columns: list[str] | None, missing: Collection[str], as_text: Collection[str] = ()
) -> Iterator[pa.RecordBatch]:
    """Batches with the types that `read` finds; the file is read twice, first for the types."""
    ranks: dict[str, int] = {}
    with text_batches(path, columns) as batches:
        for batch in batches:
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                if name not in as_text and ranks.get(name, -1) < 2:
                    ranks[name] = max(ranks.get(name, -1), rank(column, missing))
    with text_batches(path, columns) as batches:
        for batch in batches:
            names = batch.schema.names
            cells = [
                typed(column, ranks.get(name, 2), missing) for name, column in zip(names, batch.columns, strict=True)
            ]
            yield pa.record_batch(cells, names)


def write(table: pa.Table, path: Path) -> None:
    """Write a table as text: a null is an empty cell, an empty text a pair of quotes."""
    for field in table.schema:
        kind = field.type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind) or isinstance(kind, pa.BaseExtensionType):
            raise InputError(f"Column {field.name!r} of type {kind} does not fit into delimited text: write .parquet.")
    delimiter = "\t" if files.suffix_of(path) == ".tsv" else ","
    with files.replacing(path) as out:
        pacsv.write_csv(table, out, pacsv.WriteOptions(delimiter=delimiter))

"""JSON lines, plain or gzipped: one object a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from assay.errors import InputError
from assay.labels.formats import files

BOM = b"\xef\xbb\xbf"
_SPACE = re.compile(r"[ \t\r\n]*")
_ESCAPED = re.compile(r"\\u(?!00[01])")  # a file that escapes more than control characters
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_DECODER = json.JSONDecoder()


def value_span(line: str, key: str) -> tuple[int, int] | None:
    """Where the value of a top-level key stands in a line, `[start, end)`; None if the key is absent.

    >>> value_span('{"a": [1, 2], "b": "x"}', "b")
    (19, 22)
    """
    at, found = _skip(line, 0), None
    if line[at : at + 1] != "{":
        raise ValueError("not an object")
    at = _skip(line, at + 1)
    while line[at : at + 1] != "}":
        name, at = _DECODER.raw_decode(line, at)
        if not isinstance(name, str):
            raise ValueError("a key is not a string")
        at = _skip(line, at)
        if line[at : at + 1] != ":":
            raise ValueError("a colon is missing")
        start = _skip(line, at + 1)
        _, end = _DECODER.raw_decode(line, start)
        if name == key:
            found = (start, end)
        at = _skip(line, end)
        if line[at : at + 1] == ",":
            at = _skip(line, at + 1)
        elif line[at : at + 1] != "}":
            raise ValueError("a comma or a closing brace is missing")
    return found


def _skip(line: str, at: int) -> int:
    match = _SPACE.match(line, at)
    return match.end() if match else at


def _kind(source: Path, label: str) -> type:
    """Type of the first label that is not null, which is the column's; str if there is none."""
    keys: dict[str, None] = {}
    for _, cells in objects(source):
        keys.update(dict.fromkeys(cells))
        if cells.get(label) is not None:
            return type(cells[label])
    files.require_column(label, list(keys), source.name)
    return str


def objects(source: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of the lines that hold something, with their zero-based row."""
    row = -1
    with files.opened(source) as stream:
        for line in stream:
            body = line.removeprefix(BOM) if row < 0 else line
            if not body.strip():
                continue
            row += 1
            try:
                cells = json.loads(body)
            except (ValueError, RecursionError) as error:
                if isinstance(error, UnicodeDecodeError):
                    files.require_utf8(source)
                reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                raise InputError(f"{source.name} has a line that is not JSON: {reason}.", row=row) from None
            if not isinstance(cells, dict):
                raise InputError(f"{source.name} has a line that is a {type(cells).__name__}, not an object.", row=row)
            yield row, cells


def _literal(name: str | None, kind: type, escape: bool, row: int) -> str:
    """The JSON text of a class name in a column of this type."""
    if name is None:
        return "null"
    if kind is str:
        return json.dumps(name, ensure_ascii=escape)
    if kind is bool and name in ("True", "False"):
        return name.lower()
    if kind in (int, float) and _NUMBER.fullmatch(name):
        return repr(float(name)) if kind is float else name
    raise InputError(f"Label {name!r} does not fit a column of type {kind.__name__}.", row=row)


def rewrite(source: Path, target: Path, label: str, changes: Mapping[int, str | None]) -> None:
    """Write the file again with the label values of some rows replaced and all other bytes kept."""
    kind, left, row = _kind(source, label), set(changes), -1
    with files.opened(source) as stream, files.replacing(target) as out:
        for line in stream:
            body = line.removeprefix(BOM)
            if body.strip():
                row += 1
                if row in left:
                    left.discard(row)
                    text = body.decode()
                    new = _literal(changes[row], kind, bool(_ESCAPED.search(text)), row)
                    line = line[: len(line) - len(body)] + _replaced(text, label, new, row).encode()
            out.write(line)
        if left:
            raise InputError(f"{source.name} has {row + 1} rows; row {min(left)} was to be changed.")


def _replaced(text: str, label: str, new: str, row: int) -> str:
    try:
        span = value_span(text, label)
    except (ValueError, IndexError, RecursionError) as error:
        raise InputError(f"A line is not a JSON object ({error}).", row=row) from None
    if span is not None:
        return text[: span[0]] + new + text[span[1] :]
    end = text.rindex("}")
    comma = "" if text[:end].strip() == "{" else ", "
    return f"{text[:end]}{comma}{json.dumps(label)}: {new}{text[end:]}"


def _array(values: list[Any], name: str, first_row: int, kind: pa.DataType | None = None) -> pa.Array:
    """One column of a block; values of different types raise and name the row."""
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        half = re.compile("[\ud800-\udfff]")
        at = next(i for i, value in enumerate(values) if half.search(json.dumps(value, ensure_ascii=False)))
        raise InputError(f"A value of {name!r} holds half a character, U+D800 to U+DFFF.", row=first_row + at) from None
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        kinds = [type(value) for value in values if value is not None]
        row = next((i for i, value in enumerate(values) if value is not None and type(value) is not kinds[0]), None)
        if row is None:
            raise InputError(f"Values of {name!r} fit no column type: {str(error).splitlines()[0]}.") from None
        raise InputError(
            f"Values of {name!r} mix types, {kinds[0].__name__} and {type(values[row]).__name__}: use one type a key.",
            row=first_row + row,
        ) from None


def _blocks(path: Path, columns: list[str] | None, block_rows: int) -> Iterator[tuple[int, list[str], dict[str, Any]]]:
    """First row, keys so far in order of appearance, and lists of values, a block at a time."""
    keys: dict[str, None] = dict.fromkeys(columns or ())
    rows: list[dict[str, Any]] = []
    done = 0

    def block() -> tuple[int, list[str], dict[str, Any]]:
        return done, list(keys), {key: [cells.get(key) for cells in rows] for key in keys}

    for _, cells in objects(path):
        rows.append(cells)
        if columns is None:
            keys.update(dict.fromkeys(cells))
        if len(rows) == block_rows:
            yield block()
            done, rows = done + len(rows), []
    if rows:
        yield block()


def schema_of(path: Path, columns: list[str] | None = None, block_rows: int = 65536) -> pa.Schema:
    """The type of every key, found by reading the whole file once: integers and floats mixed are floats."""
    found = pa.schema([])
    for first_row, keys, values in _blocks(path, None, block_rows):
        block = pa.schema([(key, _array(values[key], key, first_row).type) for key in keys])
        try:
            found = pa.unify_schemas([found, block], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise InputError(
                f"{path.name} changes the type of a key after row {first_row}: {str(error).splitlines()[0]}."
            ) from None
    for column in columns or ():
        files.require_column(column, found.names, path.name)
    return found if columns is None else pa.schema([found.field(column) for column in columns])


def typed_batches(path: Path, columns: list[str] | None, block_rows: int = 65536) -> Iterator[pa.RecordBatch]:
    """Batches of rows, all with the schema of the whole file; the file is read twice, first for the types."""
    schema = schema_of(path, columns, block_rows)
    for first_row, _, values in _blocks(path, schema.names, block_rows):
        arrays = [_array(values[field.name], field.name, first_row, field.type) for field in schema]
        yield pa.record_batch(arrays, schema=schema)


def read(path: Path) -> pa.Table:
    """The whole table."""
    schema = schema_of(path)
    return pa.Table.from_batches(typed_batches(path, None), schema)


def write(table: pa.Table, path: Path) -> None:
    """Write one object a line; a null and a NaN are null."""
    for field in table.schema:
        if pa.types.is_temporal(field.type) or isinstance(field.type, pa.BaseExtensionType):
            raise InputError(f"Column {field.name!r} of type {field.type} does not fit into JSON: write .parquet.")
    with files.replacing(path) as out:
        for batch in table.to_batches(max_chunksize=65536):
            for cells in batch.to_pylist():
                kept = {key: None if value != value else value for key, value in cells.items()}
                try:
                    text = json.dumps(kept, ensure_ascii=False, allow_nan=False)
                except (TypeError, ValueError) as error:
                    raise InputError(f"A row does not fit into JSON ({error}): write .parquet.") from None
                out.write(text.encode() + b"\n")

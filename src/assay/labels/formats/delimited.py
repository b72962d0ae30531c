"""CSV and TSV, plain or gzipped: one small grammar of records, used to read, to find faults and to rewrite cells.

The grammar is RFC 4180 as Arrow reads it: a quote opens a quoted part only at the start of a field, a doubled quote is
a quote, blank lines are no rows, lines end with LF, CRLF or CR, a UTF-8 byte-order mark is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from assay.errors import InputError
from assay.labels.formats import files

BOM = b"\xef\xbb\xbf"
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


@lru_cache
def _field(delimiter: bytes) -> re.Pattern[bytes]:
    """One field: a closed quoted part (group 1, escaped) and what follows it; no match if its quote stays open."""
    return re.compile(rb'(?:"((?>(?:[^"]+|"")*))"|(?!"))([^' + re.escape(delimiter) + rb"\r\n]*)")


def spans(record: bytes, delimiter: bytes, start: int = 0) -> list[tuple[int, int]] | None:
    """Where the fields of a record stand, `[start, end)` with their quotes; None while a quote is open."""
    field, found = _field(delimiter), []
    while True:
        match = field.match(record, start)
        if match is None:
            return None
        found.append(match.span())
        start = match.end() + 1
        if record[match.end() : start] != delimiter:
            return found


def value(cell: bytes, delimiter: bytes) -> str:
    """The text of one field, quotes taken off."""
    match = _field(delimiter).match(cell)
    assert match is not None
    quoted, rest = match.groups()
    return (rest if quoted is None else quoted.replace(b'""', b'"') + rest).decode()


def _lines(stream: Iterable[bytes]) -> Iterator[bytes]:
    """Lines with their ends, cut at LF, CRLF and lone CR; a byte-order mark comes alone, as a line of its own."""
    first = True
    for line in stream:
        if first and line.startswith(BOM):
            yield BOM
            line = line[len(BOM) :]
        first = False
        if b"\r" in line[:-2]:
            yield from _LINE.findall(line)
        else:
            yield line


def records(stream: Iterable[bytes], delimiter: bytes) -> Iterator[bytes]:
    """Whole records with their line ends; blank lines and the byte-order mark come as they are. Joined, all bytes."""
    parts: list[bytes] = []  # lines of a record whose quote is still open
    start = 0  # where in the joined parts the open field begins
    for line in _lines(stream):
        if b'"' not in line:
            if parts:
                parts.append(line)
            else:
                yield line
            continue
        record = b"".join([*parts, line])
        opened_at = _open_field(record, delimiter, start)
        if opened_at is None:
            parts, start = [], 0
            yield record
        else:
            parts, start = [record], opened_at
    if parts:
        raise InputError(
            f"A quote is opened and never closed: {parts[0][start : start + 40].decode(errors='replace')!r}."
        )


def _open_field(record: bytes, delimiter: bytes, start: int) -> int | None:
    """Start of the field whose quote is open at the end of `record`, or None if all are closed."""
    field = _field(delimiter)
    while True:
        match = field.match(record, start)
        if match is None:
            return start
        start = match.end() + 1
        if record[match.end() : start] != delimiter:
            return None


def is_row(record: bytes) -> bool:
    """Whether a record holds fields, that is, is neither a blank line nor the byte-order mark."""
    return record != BOM and bool(record.strip(b"\r\n"))


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

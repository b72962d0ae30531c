"""The grammar of CSV and TSV records, on bytes.

It is RFC 4180 as Arrow reads it: a quote opens a quoted part only at the start of a field, a doubled quote is a quote,
blank lines are no rows, lines end with LF, CRLF or CR, a UTF-8 byte-order mark is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from assay.errors import InputError

BOM = b"\xef\xbb\xbf"
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


@lru_cache
def _field(delimiter: bytes) -> re.Pattern[bytes]:
    """One field: a closed quoted part (group 1, escaped) and what follows it; no match if its quote stays open."""
    return re.compile(rb'(?:"((?>(?:[^"]+|"")*))"|(?!"))([^' + re.escape(delimiter) + rb"\r\n]*)")


@lru_cache
def _record(delimiter: bytes) -> re.Pattern[bytes]:
    """A record whose quotes are all closed, with its line end."""
    field = _field(delimiter).pattern
    return re.compile(field + rb"(?:" + re.escape(delimiter) + field + rb")*(?:\r\n|\r|\n)?")


def spans(record: bytes, delimiter: bytes) -> list[tuple[int, int]] | None:
    """Where the fields of a record stand, `[start, end)` with their quotes; None while a quote is open."""
    field, found, start = _field(delimiter), [], 0
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
        if b"\r" in line.removesuffix(b"\r\n"):
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
    if not start and _record(delimiter).fullmatch(record):  # the usual case, at the speed of one match
        return None
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

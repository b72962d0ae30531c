"""JSON lines, plain or gzipped: one object a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

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


def name_of(value: object) -> str:
    """The class name of a JSON value: `str` of it, so that true is 'True' and 1 is '1'."""
    return str(value)


def _kind(source: Path, label: str) -> type:
    """Type of the first label that is not null, which is the column's; str if there is none."""
    seen = False
    for _, line in _objects(source):
        span = value_span(line, label)
        seen = seen or span is not None
        if span is not None:
            value = json.loads(line[slice(*span)])
            if value is not None:
                return type(value)
    if not seen:
        raise InputError(f"{source.name} has no key {label!r} in any line.")
    return str


def _objects(source: Path) -> Iterator[tuple[int, str]]:
    """The lines that hold something, with their zero-based row, checked to be UTF-8 and whole objects."""
    row = -1
    with files.opened(source) as stream:
        for line in stream:
            if line.removeprefix(BOM).strip():
                row += 1
                yield row, decoded(line.removeprefix(BOM), row, source)


def decoded(line: bytes, row: int, source: Path) -> str:
    """One line as text, or the sentence that says why it is no JSON object."""
    try:
        text = line.decode()
        value_span(text, "")
    except (ValueError, IndexError) as error:
        raise InputError(f"{source.name} has a line that is not a JSON object ({error}).", row=row) from None
    return text


def _literal(name: str | None, kind: type, escape: bool, row: int) -> str:
    """The JSON text of a class name in a column of this type."""
    if name is None:
        return "null"
    if kind is str:
        return json.dumps(name, ensure_ascii=escape)
    if kind is bool and name in ("True", "False"):
        return name.lower()
    if kind in (int, float) and _NUMBER.fullmatch(name):
        return name
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
                    text = decoded(body, row, source)
                    new = _literal(changes[row], kind, bool(_ESCAPED.search(text)), row)
                    line = line[: len(line) - len(body)] + _replaced(text, label, new).encode()
            out.write(line)
        if left:
            raise InputError(f"{source.name} has {row + 1} rows; row {min(left)} was to be changed.")


def _replaced(text: str, label: str, new: str) -> str:
    span = value_span(text, label)
    if span is not None:
        return text[: span[0]] + new + text[span[1] :]
    end = text.rindex("}")
    comma = "" if text[:end].strip() == "{" else ", "
    return f"{text[:end]}{comma}{json.dumps(label)}: {new}{text[end:]}"

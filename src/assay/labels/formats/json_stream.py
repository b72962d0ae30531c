"""JSON of other tools, element by element: arrays of any length in the memory of one element, errors with their place.

Such files are one array of tasks or records (Label Studio, Argilla), or one object of arrays (COCO). They come from
elsewhere, so nothing in them is taken for granted: an element has a largest size, numbers are finite, text is Unicode.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from assay.errors import InputError
from assay.labels.formats import files

BLOCK = 1 << 20  # characters read at a time
LARGEST = 1 << 26  # characters of one element
_SPACE = re.compile(r"[ \t\r\n]*")
_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # an escaped half of a surrogate pair

T = TypeVar("T")
_NEEDED: Any = object()


def _refuse(word: str) -> float:
    raise InputError(f"It holds {word}, which is no JSON number.")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


class _Text:
    """The text of a file from a moving place on; what lies before the place is forgotten."""

    def __init__(self, path: Path, stream: io.TextIOBase) -> None:
        self.path, self._stream = path, stream
        self._held, self._at, self._ended = "", 0, False
        self.place = "at the start"

    def fail(self, reason: str) -> InputError:
        return InputError(f"{self.path.name} is not JSON as expected, {self.place}: {reason}.")

    def _more(self, size: int) -> None:
        try:
            block = self._stream.read(size)
        except UnicodeDecodeError:
            files.require_utf8(self.path)
            raise
        self._ended = len(block) < size
        self._held, self._at = self._held[self._at :] + block, 0

    def peek(self) -> str:
        """The next character that is no white space, "" at the end."""
        while True:
            match = _SPACE.match(self._held, self._at)
            assert match is not None
            self._at = match.end()
            if self._at < len(self._held) or self._ended:
                return self._held[self._at : self._at + 1]
            self._more(BLOCK)

    def take(self, wanted: str) -> str:
        """The next character, one of `wanted`."""
        found = self.peek()
        if not found or found not in wanted:
            told = f"{found!r}" if found else "the end of the file"
            raise self.fail(f"found {told} where {' or '.join(map(repr, wanted))} was expected")
        self._at += 1
        return found

    def value(self) -> Any:
        """The next value, whole."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._held, self._at)
                # A number at the end of the block may go on in the next one.
                if end < len(self._held) or self._ended:
                    break
            except InputError as error:
                raise self.fail(str(error).rstrip(".")) from None
            except json.JSONDecodeError as error:
                if self._ended:
                    raise self.fail(error.msg) from None
            except (ValueError, RecursionError) as error:
                raise self.fail(str(error)) from None
            if len(self._held) - self._at > LARGEST:
                raise self.fail(f"an element is malformed, or longer than {LARGEST} characters")
            self._more(max(BLOCK, len(self._held) - self._at))
        if _HALF.search(self._held, self._at, end):
            try:
                json.dumps(value, ensure_ascii=False).encode()
            except UnicodeEncodeError:
                raise self.fail("a text holds half a character, U+D800 to U+DFFF") from None
        self._at = end
        return value


def elements(path: Path | str) -> Iterator[tuple[str, int, Any]]:
    """Elements of a top-level array as `("", place, element)`; of arrays in a top-level object with their key.

    A value of the object that is no array comes whole, with the place -1.

    Raises
    ------
    InputError : not JSON, cut off, not UTF-8, NaN or infinity, an element that is too long; says where.
    """
    path = Path(path)
    with files.opened(path) as raw:
        text = _Text(path, io.TextIOWrapper(raw, encoding="utf-8-sig", newline=""))
        if text.peek() == "[":
            yield from _array(text, "")
        else:
            text.take("{")
            more = text.peek() != "}"
            while more:
                text.place = "in the keys at the top"
                key = text.value()
                if not isinstance(key, str):
                    raise text.fail("a key is no text")
                text.take(":")
                if text.peek() == "[":
                    yield from _array(text, key)
                else:
                    yield key, -1, text.value()
                more = text.take(",}") == ","
            if text.peek() == "}":
                text.take("}")
        text.place = "after the end"
        if text.peek():
            raise text.fail("more text follows")


def _array(text: _Text, key: str) -> Iterator[tuple[str, int, Any]]:
    named = f" of {key!r}" if key else ""
    text.take("[")
    number = 0
    more = text.peek() != "]"
    while more:
        text.place = f"element {number}{named}"
        yield key, number, text.value()
        number += 1
        more = text.take(",]") == ","
    if number == 0:
        text.take("]")


def objects(source: Path | str | Iterable[Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The objects of an array, in a file or in memory, with their place."""
    if isinstance(source, str | Path):
        found: Iterator[tuple[int, Any]] = _only_array(Path(source))
    else:
        found = enumerate(source)
    for row, value in found:
        if not isinstance(value, Mapping):
            raise InputError(f"Every element must be an object, got {_kind(value)}.", row=row)
        yield row, value


def _only_array(path: Path) -> Iterator[tuple[int, Any]]:
    for key, row, value in elements(path):
        if key or row < 0:
            raise InputError(f"{path.name} must hold an array, `[...]`, got an object with the key {key[:40]!r}.")
        yield row, value


def get(of: Mapping[str, Any], key: str, kind: type[T], row: int, default: Any = _NEEDED) -> T:
    """The value of a key, checked to be a `kind`; null and absent are the default.

    float takes every finite number, int what fits into 64 bits.
    """
    value = of.get(key)
    if value is None:
        if default is _NEEDED:
            raise InputError(f"The key {key!r} is missing.", row=row)
        return default  # type: ignore[no-any-return]
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        if abs(value) < 1e300 and math.isfinite(value):
            return float(value)  # type: ignore[return-value]
        raise InputError(f"The number {key!r} is not finite.", row=row)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"The key {key!r} must hold {_NAMES[kind]}, got {_kind(value)}.", row=row)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise InputError(f"The key {key!r} must fit into 64 bits.", row=row)
    return value


_NAMES: dict[Any, str] = {
    list: "an array", dict: "an object", str: "a text", float: "a number", int: "a whole number", bool: "true or false",
}  # fmt: skip


def _kind(value: object) -> str:
    return _NAMES.get(type(value), "null")


def write(target: Path, pieces: Iterable[str]) -> None:
    """Write JSON piece by piece, beside and renamed."""
    with files.replacing(target) as out:
        for piece in pieces:
            out.write(piece.encode())


def array(values: Iterable[Any]) -> Iterator[str]:
    """The text of an array, one element a line."""
    yield "["
    for place, value in enumerate(values):
        yield (",\n" if place else "\n") + dumps(value)
    yield "\n]"


def dumps(value: Any) -> str:
    """One line of JSON; NaN is refused."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"A value does not fit into JSON ({error}): leave its column out.") from None

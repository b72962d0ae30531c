"""What a page may send, checked field by field before anything is done with it."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import TYPE_CHECKING, Any

from assay.errors import InputError
from assay.labels.verdicts import SAMPLED, VERDICTS, Verdict
from assay.review.store import ROLES, Decision

if TYPE_CHECKING:
    from assay.review.project import Project

LONGEST_NAME = 64
LONGEST_NOTE = 2000
MOST_ROWS = 100


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body; a key that comes twice and numbers that JSON does not know are refused.

    >>> read_object(b'{"row": 3}')
    {'row': 3}
    >>> read_object(b'{"row": 3, "row": 4}')
    Traceback (most recent call last):
    assay.errors.InputError: The request is not JSON as expected: the key 'row' comes twice.
    """
    try:
        found = json.loads(body.decode(), object_pairs_hook=_distinct, parse_constant=_no_number)
    except RecursionError:
        raise InputError("The request is not JSON as expected: it is nested too deeply.") from None
    except ValueError as error:
        raise InputError(f"The request is not JSON as expected: {error}.") from None
    if not isinstance(found, dict):
        raise InputError("The request is not JSON as expected: send an object.")
    return found


def reviewer_of(sent: dict[str, Any]) -> str:
    """The name in `reviewer`, written in one way: composed characters, single spaces.

    >>> reviewer_of({"reviewer": "  Anna   Lo\u0301pez "})
    'Anna López'
    """
    name = " ".join(unicodedata.normalize("NFC", _text(sent, "reviewer")).split())
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise InputError(f"A reviewer's name has 1 to {LONGEST_NAME} visible characters.")
    return name


def key_of(sent: dict[str, Any], name: str) -> str:
    """The key of a decision in a field."""
    key = _text(sent, name)
    if not re.fullmatch("[A-Za-z0-9_-]{8,64}", key):
        raise InputError(f"`{name}` has 8 to 64 letters, digits, - and _; a key is made anew for every decision.")
    return key


def decision_of(sent: dict[str, Any], project: Project, reviewer: str) -> Decision:
    """The decision that a page sends: row, verdict, label?, note?, key, seconds?, role, sampled."""
    row = number_of(sent.get("row"), project.n_rows - 1, "row")
    verdict = Verdict(_word(sent, "verdict", VERDICTS))
    label = None
    if verdict is Verdict.OTHER:
        label = _word(sent, "label", project.classes)
        if label == project.given_name(row):
            raise InputError(f"{label!r} is the given label: the verdict for it is 'given'.")
    note = _text(sent, "note").strip() if sent.get("note") is not None else ""
    if len(note) > LONGEST_NOTE or "\0" in note:
        raise InputError(f"A note has at most {LONGEST_NOTE} characters, and none of them is NUL.")
    key = key_of(sent, "key")
    seconds = sent.get("seconds")
    plain = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if seconds is not None and not (plain and 0 <= seconds <= 1e6):
        raise InputError("`seconds` is how long the reviewer looked, from 0 to 1000000, or null.")
    return Decision(
        row=row,
        reviewer=reviewer,
        verdict=verdict,
        label=label,
        note=note or None,
        sampled=_word(sent, "sampled", SAMPLED),  # type: ignore[arg-type]
        seconds=None if seconds is None else float(seconds),
        key=key,
        role=_word(sent, "role", ROLES),  # type: ignore[arg-type]
    )


def rows_of(sent: dict[str, Any], project: Project) -> list[int]:
    """The list of data rows in `rows`."""
    rows = sent.get("rows")
    if not isinstance(rows, list) or len(rows) > MOST_ROWS:
        raise InputError(f"`rows` is a list of at most {MOST_ROWS} rows.")
    return [number_of(row, project.n_rows - 1, "row") for row in rows]


def number_of(value: object, largest: int, name: str) -> int:
    """A whole number from 0 to `largest`, or its digits."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= largest:
        raise InputError(f"`{name}` is a whole number from 0 to {largest}.")
    return value


def _word(sent: dict[str, Any], name: str, known: tuple[str, ...]) -> str:
    value = sent.get(name)
    if not isinstance(value, str) or value not in known:
        few = ", ".join(map(repr, map(str, known[:6]))) + (", ..." if len(known) > 6 else "")
        raise InputError(f"`{name}` is one of {few}.")
    return value


def _text(sent: dict[str, Any], name: str) -> str:
    value = sent.get(name)
    if not isinstance(value, str) or any("\ud800" <= c <= "\udfff" for c in value):
        raise InputError(f"`{name}` is text.")
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the key {name[:40]!r} comes twice")
        found[name] = value
    return found


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number")

"""Events as a file for others to read: JSON lines, or CSV that no spreadsheet takes for formulas."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from assay.errors import InputError
from assay.labels.events import Event, to_json, values_of
from assay.labels.formats import files
from assay.labels.ledger_store import COLUMNS


def write_events(events: Iterable[Event], path: Path, form: str) -> int:
    """Write events to a file, as "jsonl" or "csv". Returns how many."""
    if form not in ("jsonl", "csv"):
        raise InputError(f"A ledger is exported as jsonl or csv, not as {form!r}.")
    number = 0
    try:
        with files.replacing(path) as raw:
            text = io.TextIOWrapper(raw, encoding="utf-8", newline="")
            writer = csv.writer(text, lineterminator="\n")
            if form == "csv":
                writer.writerow(COLUMNS)
            for event in events:
                number += 1
                if form == "csv":
                    writer.writerow([*map(guard_cell, values_of(event)), event.hash])
                else:
                    text.write(to_json(event.as_dict()) + "\n")
            text.detach()  # writes what is left, and leaves the file open for the rename
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from error
    return number


def guard_cell(value: object) -> object:
    """Put an apostrophe before text that a spreadsheet would take for a formula.

    >>> guard_cell("=1+1"), guard_cell("cat"), guard_cell(3)
    ("'=1+1", 'cat', 3)
    """
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value

"""An event of the ledger: what it holds, when it is well formed, how it is written down and chained."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from operator import index
from pathlib import Path
from typing import Any

from assay.errors import InputError
from assay.labels.formats import files
from assay.labels.ledger_store import COLUMNS, LedgerError, Tail, Value

KINDS = ("dataset", "source", "suggestion", "verdict", "change", "undo")
SOURCE_KINDS = ("human", "model", "rule", "sensor", "policy")
MAX_BYTES = 1 << 20  # of one event: evidence is a summary, not the data


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of a ledger. `id`, `time` and `hash` are given by the ledger.

    Parameters
    ----------
    kind : "dataset" (which file this ledger is about), "source" (who a source is, and whether it is trusted),
        "suggestion", "verdict", "change" or "undo".
    source, source_kind : who says it: name of a person or method; human, model, rule, sensor or policy.
    row, row_id : zero-based data row and the user's own id of it; None for dataset and source events.
    column : the label column; the ledger fills it in.
    before, after : class names; before None = the cell had no label.
    trusted : the source was declared trusted by a "source" event of this ledger.
    gold : this label is the truth as far as this project goes; only a trusted source may say so.
    method, version : how it was found, and by which release.
    evidence : JSON object with what speaks for it; numbers must be finite and plain, not numpy's.
    derived_from : ids of the events that this one rests on. In a batch, -1 means the event just before this one in the
        batch, -2 the one before that; the ledger puts the ids in.
    note : free text.
    """

    kind: str
    source: str
    source_kind: str
    row: int | None = None
    row_id: str | None = None
    column: str = ""
    before: str | None = None
    after: str | None = None
    trusted: bool = False
    gold: bool = False
    method: str | None = None
    version: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    derived_from: tuple[int, ...] = ()
    note: str | None = None
    id: int = 0
    time: str = ""
    hash: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Every column, in the ledger's order, ready for JSON."""
        return {name: getattr(self, name) for name in COLUMNS}


def dataset_event(path: str | Path, column: str, n_rows: int, *, source: str = "assay", **evidence: Any) -> Event:
    """The first event of a ledger: the file's name, SHA-256 and number of rows, and the label column.

    Give the class names in column order as `classes`, a list of names, when they are known.
    """
    facts = {"name": Path(path).name, "sha256": file_digest(path), "n_rows": int(n_rows), **evidence}
    return Event("dataset", source, "rule", column=column, evidence=facts)


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    files.require_file(Path(path))
    try:
        return files.digest(Path(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def check(event: Event, dataset: Event | None, sources: Mapping[str, Event]) -> Event:
    """Raise unless `event` may be appended to the ledger of `dataset`; return the ledger's data set.

    Parameters
    ----------
    dataset : the first event of the ledger, None when it is empty.
    sources : the latest declaration of each declared source.
    """
    if event.kind not in KINDS:
        raise InputError(f"There is no kind of event {event.kind!r}: it is one of {', '.join(KINDS)}.")
    if event.source_kind not in SOURCE_KINDS:
        raise InputError(f"There is no kind of source {event.source_kind!r}: it is one of {', '.join(SOURCE_KINDS)}.")
    if event.id or event.time or event.hash:
        raise InputError("The ledger itself gives an event its id, time and hash: leave them out.")
    for name in ("source", "row_id", "column", "before", "after", "method", "version", "note"):
        value = getattr(event, name)
        if not isinstance(value, str | None) or (name == "source" and not value):
            raise InputError(f"The {name} of an event must be text, got {value!r}.")
        if value is not None and "\0" in value:
            raise InputError(f"The {name} of an event must not hold the character NUL, got {value!r}.")
    if not isinstance(event.evidence, Mapping):
        raise InputError(f"The evidence of an event must be a mapping, got {event.evidence!r}.")
    if event.kind == "dataset":
        dataset = _check_dataset(event, dataset)
    elif dataset is None:
        raise InputError(
            f"A ledger begins with the event of its data set, not with a {event.kind}: see `dataset_event`."
        )
    elif event.column not in ("", dataset.column):
        raise InputError(
            f"This ledger is about the column {dataset.column!r}, not {event.column!r}: start another one."
        )
    _check_source(event, sources)
    if event.kind in ("suggestion", "verdict", "change"):
        check_row(event.row, dataset)
    elif event.kind != "undo" and event.row is not None:
        raise InputError(f"A {event.kind} event is about no row, got row {event.row}.")
    if event.kind in ("suggestion", "change") and event.after is None:
        raise InputError(f"A {event.kind} must say the label it leads to (`after`).")
    if event.kind == "change" and event.before == event.after:
        raise InputError(f"A change must change the label, but before and after are both {event.after!r}.")
    return dataset


def _check_dataset(event: Event, dataset: Event | None) -> Event:
    digest, n_rows = event.evidence.get("sha256"), event.evidence.get("n_rows")
    if not event.column and dataset is None:
        raise InputError("The event of a data set must name the label column.")
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise InputError(f"A data set's evidence needs `sha256`, 64 hexadecimal digits of its file, got {digest!r}.")
    if not isinstance(n_rows, int) or n_rows < 0:
        raise InputError(f"A data set's evidence needs `n_rows`, the number of its rows, got {n_rows!r}.")
    if dataset is None:
        return event
    if event.column not in ("", dataset.column) or any(
        event.evidence[name] != dataset.evidence[name] for name in ("sha256", "n_rows")
    ):
        raise InputError(
            f"This ledger is about column {dataset.column!r} of a file with SHA-256 {dataset.evidence['sha256']} and "
            f"{dataset.evidence['n_rows']} rows, got column {event.column!r}, {digest} and {n_rows}: "
            "start another ledger."
        )
    return dataset


def _check_source(event: Event, sources: Mapping[str, Event]) -> None:
    declared = sources.get(event.source)
    if declared is not None and event.kind != "source" and event.source_kind != declared.source_kind:
        raise InputError(
            f"The source {event.source!r} was declared a {declared.source_kind}, here it is a {event.source_kind}."
        )
    if event.kind != "source" and event.trusted and not (declared and declared.trusted):
        raise InputError(
            f"The source {event.source!r} is not trusted in this ledger: declare it first with "
            f"Event('source', {event.source!r}, {event.source_kind!r}, trusted=True)."
        )
    if event.gold and not event.trusted:
        raise InputError(f"Only a trusted source may call a label gold, and {event.source!r} does not come as one.")


def check_row(row: object, dataset: Event) -> None:
    """Raise unless `row` is a row of the data set."""
    n_rows = dataset.evidence["n_rows"]
    try:
        inside = 0 <= index(row) < n_rows  # type: ignore[arg-type]
    except TypeError:
        raise InputError(f"A row is a number from 0, got {row!r}.") from None
    if not inside:
        raise InputError(f"There is no row {row}: the data set has {n_rows} rows, counted from 0.")


def placed(event: Event, dataset: Event, tail: Tail, place: int, time: str) -> Event:
    """Return the event as it stands at `place` of a batch after `tail`: with id, time, column, absolute derivations."""
    derived = []
    for number in map(index, event.derived_from):
        absolute = number if number > 0 else tail.id + 1 + place + number
        if number == 0 or (number > 0 and number > tail.id) or (number < 0 and -number > place):
            raise InputError(
                f"The event derives from {number}, which is unknown: the ledger holds events 1 to {tail.id}, and a "
                "negative number counts back in the batch."
            )
        derived.append(absolute)
    return replace(
        event,
        id=tail.id + 1 + place,
        time=time,
        column=dataset.column,
        row=None if event.row is None else index(event.row),
        derived_from=tuple(derived),
    )


def values_of(event: Event) -> tuple[Value, ...]:
    """Every column but the hash, as it is stored; an evidence that JSON cannot hold raises."""
    values = event.as_dict()
    del values["hash"]
    try:
        values["evidence"] = to_json(dict(event.evidence))
    except (TypeError, ValueError) as error:
        raise InputError(f"The evidence of an event must be a JSON object with finite numbers: {error}.") from None
    values["derived_from"] = to_json(event.derived_from)
    values["trusted"], values["gold"] = int(event.trusted), int(event.gold)
    return tuple(values.values())


def chained(values: tuple[Value, ...], previous: str) -> str:
    """Hash of an event's stored values after the event with hash `previous`."""
    try:
        content = f"{previous}\n{to_json(values)}".encode()
    except UnicodeEncodeError as error:
        raise InputError(f"The text of an event cannot be written as UTF-8: {error.reason}.") from None
    if len(content) > MAX_BYTES:
        raise InputError(f"An event may hold {MAX_BYTES} bytes, this one has {len(content)}: keep evidence a summary.")
    return hashlib.sha256(content).hexdigest()


def from_row(row: tuple[Any, ...]) -> Event:
    """The event in a stored row."""
    values = dict(zip(COLUMNS, row, strict=True))
    try:
        values["evidence"] = json.loads(values["evidence"])
        values["derived_from"] = tuple(json.loads(values["derived_from"]))
    except (TypeError, ValueError):
        raise LedgerError(f"Event {row[0]} was altered and cannot be read: run `assay ledger verify`.") from None
    values["trusted"], values["gold"] = bool(values["trusted"]), bool(values["gold"])
    return Event(**values)


def to_json(value: object) -> str:
    """One line of JSON that is the same for equal values."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

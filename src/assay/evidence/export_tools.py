"""The data set, its suggestions and its reviewers' verdicts, as Label Studio's tasks and Argilla's records.

A suggestion is a prediction whose score is the probability that the given label is wrong, so that sorting by score puts
the worst rows at one end. A verdict is an annotation of its reviewer with the label that it calls right; `both` stands
for the given label, `neither` has none, and `skip` is a cancelled annotation. None of them is marked as ground truth.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from assay.errors import InputError
from assay.evidence.decisions import Decision
from assay.evidence.export_data import Export
from assay.labels.events import Event
from assay.labels.formats import argilla
from assay.labels.formats import label_studio_tasks as studio


def tasks(found: Export, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
    """One task of Label Studio a row; the question is named as the label column, the object as text or image."""
    question, to = found.table.label, found.table.media if found.table.media != "table" else "text"
    for row, cells, said in _rows(found, rows):
        annotations = []
        for event, label in said:
            about = {name: event.evidence[name] for name in ("verdict", "sampled", "role") if name in event.evidence}
            if event.note and not found.names:
                about["note"] = event.note
            annotations.append(
                studio.annotation(
                    [] if label is None else [studio.choice(label, question, to)],
                    found.names.get(event.source, event.source),
                    seconds=event.evidence.get("seconds"),
                    cancelled=event.evidence["verdict"] == "skip",
                    created_at=event.time,
                    meta=about,
                )
            )
        hint = found.hints.get(row)
        predictions = []
        if hint is not None:
            chosen = [studio.choice(str(hint.after), question, to)]
            predictions.append(studio.prediction(chosen, _agent(hint), found.p_wrong(row)))
        yield studio.task(row, cells, annotations, predictions) | {"meta": _about(found, row)}


def records(found: Export, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
    """One record of Argilla a row; fields are texts, because that is what its fields hold."""
    for row, cells, said in _rows(found, rows):
        responses = [
            argilla.response(label, found.names.get(event.source, event.source))
            for event, label in said
            if label is not None
        ]
        hint = found.hints.get(row)
        suggestion = None
        if hint is not None:
            suggestion = {"value": hint.after, "score": found.p_wrong(row), "agent": _agent(hint)}
        fields = {name: _text(cell) for name, cell in cells.items()}
        yield argilla.record(row, fields, found.table.label, responses, suggestion, _about(found, row))


def _rows(found: Export, rows: Sequence[int]) -> Iterator[tuple[int, dict[str, Any], list[tuple[Event, str | None]]]]:
    """Of each row its cells, and the verdicts with the label that each calls right."""
    decided = {one.row: one for one in found.decided}
    for start in range(0, len(rows), 4096):
        block = list(rows[start : start + 4096])
        for row, cells in zip(block, found.table.columns.take(block).to_pylist(), strict=True):
            if any(isinstance(cell, bytes) for cell in cells.values()):
                raise InputError("Images inside of a table do not fit into JSON: give their paths.", row=row)
            one = decided.get(row)
            yield row, cells, [] if one is None else [(event, _label(event, one)) for event in one.verdicts]


def _label(event: Event, one: Decision) -> str | None:
    word = event.evidence["verdict"]
    if word in ("given", "both"):
        return one.given
    return event.after if word in ("suggested", "other") else None


def _agent(hint: Event) -> str:
    return " ".join(word for word in (hint.source, hint.method, hint.version) if word)


def _about(found: Export, row: int) -> dict[str, Any]:
    """What a tool keeps beside a row: where it came from, and its label before and after."""
    names = (
        labels.space.names[labels.y[row]] if labels.present[row] else None
        for labels in (found.table.labels, found.final)
    )
    about = dict(zip(("given", "label"), names, strict=True))
    return {"row": row} | {key: name for key, name in about.items() if name is not None}


def _text(cell: object) -> str:
    return cell if isinstance(cell, str) else "" if cell is None else json.dumps(cell, ensure_ascii=False, default=str)

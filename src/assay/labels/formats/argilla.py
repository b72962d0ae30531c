"""Argilla's JSON: records with responses of people and suggestions of models, in and out.

The form is that of `records.to_json` and `Record.from_dict` of Argilla 2.x (2.8): `{"id", "fields", "metadata",
"suggestions": {question: {"value", "score", "agent"}}, "responses": {question: [{"value", "user_id"}]}, "vectors"}`;
the lists of its API are read too. A response is written with its `status`, which `from_dict` takes although `to_json`
leaves it out. Argilla knows its users by UUID: give `users=` to say whose name is which, before its server takes the
responses. Votes are read by `vote_exports.read_argilla`. Argilla has no question for boxes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from assay.errors import InputError
from assay.labels.formats import json_stream
from assay.labels.formats.json_stream import get
from assay.labels.formats.suggested import Suggested, suggested_of
from assay.labels.formats.vote_exports import id_of, responses_of
from assay.labels.masks import Masks
from assay.labels.spaces import Space
from assay.labels.votes import Votes

Source = Path | str | Sequence[Mapping[str, Any]]


def read_suggestions(source: Source, question: str, *, space: Space | None = None) -> Suggested:
    """The class that a model suggests for each record."""
    rows: list[tuple[Any, Any, float | None, str | None]] = []
    for row, record in json_stream.objects(source):
        found = _suggestion(record, question, row)
        value = found.get("value")
        if not isinstance(value, str | int | None):
            raise InputError(f"Question {question!r} has a suggestion that is no single class.", row=row)
        score, agent = get(found, "score", float, row, None), get(found, "agent", str, row, None)
        rows.append((id_of(record, row), value, score, agent))
    return suggested_of(rows, space)


def read_spans(
    source: Source,
    question: str,
    *,
    where: Literal["responses", "suggestions"] = "responses",
    by: str | None = None,
    no_status: Literal["refuse", "submitted"] = "refuse",
    text: str = "text",
    outside: str = "O",
    space: Space | None = None,
) -> tuple[Masks, list[str]]:
    """The spans of each text, as a class for every character, and the texts; see `label_studio.read_spans`.

    `by` is the user whose responses are meant, needed when a record has several; `no_status` as of `read_argilla`.
    """
    texts: list[str] = []
    spans: list[list[tuple[int, int, str]]] = []
    for row, record in json_stream.objects(source):
        texts.append(get(get(record, "fields", dict, row), text, str, row))
        if where == "suggestions":
            values = [_suggestion(record, question, row).get("value")]
        else:
            said = responses_of(record, question, row, no_status)
            values = [value for who, value in said if by is None or who == by]
        if len(values) > 1:
            raise InputError(f"The record has {len(values)} responses, which are not mixed: name whose.", row=row)
        listed = values[0] if values and values[0] is not None else []
        if not isinstance(listed, list) or not all(isinstance(span, Mapping) for span in listed):
            raise InputError(f"Question {question!r} has an answer that is no list of spans.", row=row)
        spans.append(
            [
                (get(span, "start", int, row), get(span, "end", int, row), get(span, "label", str, row))
                for span in listed
            ]
        )
    names = Space.from_values(name for row in spans for _, _, name in row).names
    space = space or Space((outside, *(name for name in names if name != outside)))
    return Masks.from_spans(space, [len(one) for one in texts], spans), texts


def write_argilla(target: Path | str, records: Iterable[Mapping[str, Any]]) -> None:
    """Write records, one a line, beside and renamed."""
    json_stream.write(Path(target), json_stream.array(records))


def vote_records(
    votes: Votes,
    fields: Sequence[Mapping[str, Any]] | None = None,
    *,
    suggested: Suggested | None = None,
    question: str = "label",
    users: Mapping[str, str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Votes as records, a submitted response each. Costs, weights, times and workers without votes have no place."""
    by_task = np.argsort(votes.task, kind="stable")
    ends = np.searchsorted(votes.task[by_task], np.arange(votes.n_rows + 1))
    for row, number in enumerate(votes.task_ids.tolist()):
        responses = []
        for place in by_task[ends[row] : ends[row + 1]].tolist():
            who = str(votes.worker_ids[votes.worker[place]])
            responses.append(response(votes.space.names[votes.label[place]], (users or {}).get(who, who)))
        suggestion = None
        if suggested is not None and suggested.labels.present[row]:
            name = suggested.labels.space.names[suggested.labels.y[row]]
            score = None if suggested.score is None else float(suggested.score[row])
            suggestion = {"value": name, "score": score, "agent": suggested.agent[row] if suggested.agent else None}
        yield record(number, {"id": str(number)} if fields is None else fields[row], question, responses, suggestion)


def span_records(
    masks: Masks, texts: Sequence[str], who: str, *, question: str = "label", field: str = "text"
) -> Iterator[dict[str, Any]]:
    """Classes of characters as the spans of one user; the first class of the space is that of no span."""
    if masks.mask is not None:
        raise InputError("Argilla has no place for ignored characters: give them the first class of the space.")
    for row, text in enumerate(texts):
        if len(text) != masks.lengths[row]:
            raise InputError(f"The text has {len(text)} characters, its labels are {masks.lengths[row]}.", row=row)
        spans = masks.spans(row)
        value = [{"start": a, "end": b, "label": name} for a, b, name in spans if name != masks.space.names[0]]
        yield record(row + 1, {field: text}, question, [response(value, who)], None)


def response(value: Any, who: str, status: str = "submitted") -> dict[str, Any]:
    """What a user answered."""
    return {"value": value, "user_id": who, "status": status}


def record(
    number: int | str,
    fields: Mapping[str, Any],
    question: str,
    responses: list[dict[str, Any]],
    suggestion: Mapping[str, Any] | None,
    metadata: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A record with one question; its id is a text, as Argilla has it."""
    return {
        "id": str(number),
        "fields": dict(fields),
        "metadata": dict(metadata or {}),
        "suggestions": {} if suggestion is None else {question: suggestion},
        "responses": {question: responses} if responses else {},
        "vectors": {},
    }


def _suggestion(record: Mapping[str, Any], question: str, row: int) -> Mapping[str, Any]:
    """The suggestion to a question, {} when there is none."""
    found = record.get("suggestions") or {}
    if isinstance(found, Mapping):
        return get(found, question, dict, row, {})
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise InputError("Suggestions must be an object, or a list of objects.", row=row)
    return next((one for one in found if one.get("question_name") == question), {})

"""Votes out of the files of other tools: crowd-kit, peerannot, Label Studio and Argilla.

Every reader returns the votes and the gold that came with them, one row a task, or None. An answer that was left open
is an abstention.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from assay.errors import InputError
from assay.labels.formats import files, json_stream
from assay.labels.formats.json_stream import get
from assay.labels.formats.vote_forms import MISSING, Cells, VotesAndGold, read_votes, table_of
from assay.labels.hard import Hard
from assay.labels.spaces import Space, name_of
from assay.labels.votes import Votes


def from_crowd_kit(data: Any, true_labels: Any = None, space: Space | None = None) -> VotesAndGold:
    """Read crowd-kit's frame with `task`, `worker`, `label` (and `weight`), and its Series of true labels by task."""
    table, _ = table_of(data, MISSING, [])
    weight = "weight" if "weight" in table.schema.names else None
    known = {} if true_labels is None else dict(true_labels.items())
    if space is None and known:
        files.require_column("label", table.schema.names, "The frame")
        cells = Cells(table["label"], MISSING)
        space = cells.space or Space.from_values([*cells.names(), *known.values()])
    votes = read_votes(table, weight=weight, space=space).votes
    return VotesAndGold(votes, _gold_by_id(known, votes) if known else None)


def read_peerannot(answers: Path | str) -> VotesAndGold:
    """Read `answers.json` of peerannot, `{task: {worker: class}}`, and the `metadata.json` beside it."""
    path = Path(answers)
    beside = path.with_name("metadata.json")
    said = _json(path)
    if not isinstance(said, dict) or not all(isinstance(votes, dict) for votes in said.values()):
        raise InputError(f'{path.name} must hold {{"task": {{"worker": class}}}}.')
    k = _json(beside).get("n_classes") if beside.exists() else None
    space = None if k is None else Space(tuple(map(str, range(int(k)))))
    rows = [(task, worker, label) for task, votes in said.items() for worker, label in votes.items()]
    return VotesAndGold(_from_rows(rows, space, known=list(said)))


def read_label_studio(
    source: Path | str | Sequence[Mapping[str, Any]], question: str | None = None, *, space: Space | None = None
) -> VotesAndGold:
    """Read Label Studio's JSON export (a path, or its tasks) of single choices or ratings.

    Cancelled annotations are left out, those marked `ground_truth` are gold and cast no vote, `lead_time` in seconds
    is the cost when every vote has one. `question` is the `from_name` of the choice, needed when tasks have several.
    `space` gives the classes and their order, which the export does not know; else they are those that occur.
    """
    rows: list[tuple[Any, Any, Any]] = []
    seconds: list[float | None] = []
    known: dict[Any, Any] = {}
    ids: list[Any] = []
    for row, task in json_stream.objects(source):
        ids.append(id_of(task, row))
        for annotation in annotations_of(task, row):
            answer = choice_of(get(annotation, "result", list, row, []), question, row)
            if annotation.get("ground_truth"):
                if answer is not None and known.setdefault(ids[-1], answer) != answer:
                    raise InputError(f"Task {ids[-1]!r} has two ground truths.", row=row)
                continue
            who = annotator_of(annotation, row)
            if who is None:
                raise InputError("An annotation does not say who made it (`completed_by`).", row=row)
            rows.append((ids[-1], who, answer))
            seconds.append(get(annotation, "lead_time", float, row, None))
    space = space or Space.from_values([*(row[2] for row in rows if row[2] is not None), *known.values()])
    cost = [] if any(second is None for second in seconds) else seconds
    votes = _from_rows(rows, space, known=ids, cost=cost or None)
    return VotesAndGold(votes, _gold_by_id(known, votes) if known else None)


def id_of(task: Mapping[str, Any], row: int) -> int | str:
    """The id of a task or record, its place when it has none."""
    number = task.get("id")
    if number is None:
        return row
    if (
        not isinstance(number, int | str)
        or isinstance(number, bool)
        or (isinstance(number, int) and abs(number) >= 2**63)
    ):
        raise InputError(f"An id is a text or a whole number, got {str(number)[:40]}.", row=row)
    return number


def annotations_of(task: Mapping[str, Any], row: int) -> Iterator[Mapping[str, Any]]:
    """The annotations of a Label Studio task that were not cancelled."""
    for annotation in get(task, "annotations", list, row, []):
        if not isinstance(annotation, Mapping):
            raise InputError("An annotation must be an object.", row=row)
        if not annotation.get("was_cancelled"):
            yield annotation


def annotator_of(annotation: Mapping[str, Any], row: int) -> str | None:
    """Who made a Label Studio annotation: an e-mail address, or the number of a user."""
    who = annotation.get("completed_by")
    if isinstance(who, Mapping):
        who = who.get("email") or who.get("id")
    if who is not None and not isinstance(who, int | str):
        raise InputError(f"`completed_by` is a user's number or has his email, got {str(who)[:40]}.", row=row)
    return None if who is None else name_of(who)


def read_argilla(
    source: Path | str | Sequence[Mapping[str, Any]],
    question: str,
    *,
    no_status: Literal["refuse", "submitted"] = "refuse",
    space: Space | None = None,
) -> VotesAndGold:
    """Read Argilla records (a path of JSON, or the records): the submitted responses to one question.

    `responses` may be the API's list with `values` and `status`, or the `{question: [{value, user_id}]}` of
    `records.to_json`, which leaves the status out: drafts then look like answers, so say `no_status="submitted"`.
    """
    rows: list[tuple[Any, Any, Any]] = []
    ids: list[Any] = []
    for row, record in json_stream.objects(source):
        ids.append(id_of(record, row))
        for who, value in responses_of(record, question, row, no_status):
            if not isinstance(value, str | int):
                raise InputError(f"Question {question!r} has an answer that is no single class.", row=row)
            rows.append((ids[-1], who, value))
    return VotesAndGold(_from_rows(rows, space, known=ids))


def responses_of(
    record: Mapping[str, Any], question: str, row: int, no_status: Literal["refuse", "submitted"] = "refuse"
) -> Iterator[tuple[str, Any]]:
    """User and value of the submitted responses of an Argilla record to a question."""
    responses = record.get("responses") or []
    answers = get(responses, question, list, row, []) if isinstance(responses, Mapping) else responses
    for answer in answers if isinstance(answers, list) else [answers]:
        if not isinstance(answer, Mapping):
            raise InputError("A response must be an object.", row=row)
        status = answer.get("status") or (no_status if no_status != "refuse" else None)
        if status is None:
            raise InputError(
                "A response has no status, so a draft looks like an answer: give no_status='submitted' if all are.",
                row=row,
            )
        if "values" in answer:
            answer = {**answer, **get(get(answer, "values", dict, row, {}), question, dict, row, {})}
        if status == "submitted" and answer.get("value") is not None:
            yield str(answer.get("user_id")), answer["value"]


def _gold_by_id(known: Mapping[Any, Any], votes: Votes) -> Hard:
    """One known class a task of `votes`; ids without votes are left out."""
    by_name = {name_of(task): label for task, label in known.items()}
    return Hard.from_values([by_name.get(name_of(task)) for task in votes.task_ids.tolist()], votes.space)


def _from_rows(
    rows: Sequence[tuple[Any, Any, Any]], space: Space | None, known: Sequence[Any], cost: Any = None
) -> Votes:
    """Votes from rows (task, worker, answer or None); the tasks of `known` come first, with or without votes."""
    tasks = {name_of(task): code for code, task in enumerate(known)}
    workers: dict[str, int] = {}
    worker = [workers.setdefault(name_of(who), len(workers)) for _, who, _ in rows]
    labels = Hard.from_values([answer for _, _, answer in rows], space)
    cast = labels.present
    task = np.array([tasks[name_of(what)] for what, _, _ in rows], dtype=np.int64)
    ids = np.array(known, np.int64) if all(isinstance(i, int) for i in known) else np.array(list(tasks), np.str_)
    price = None if cost is None else np.asarray(cost, dtype=np.float32)[cast]
    names = np.array(list(workers), np.str_)
    return Votes(labels.space, task[cast], np.array(worker, np.int64)[cast], labels.y[cast], ids, names, cost=price)


def choice_of(result: Sequence[Any], question: str | None, row: int) -> str | int | float | None:
    """The single choice or rating of a Label Studio annotation or prediction; None when it was left open."""
    found = [part for part in result if isinstance(part, Mapping) and part.get("type") in ("choices", "rating")]
    names = {str(part.get("from_name")) for part in found}
    if question is None and len(names) > 1:
        raise InputError(f"Annotations answer several questions, {sorted(names)}: name one.", row=row)
    values: list[Any] = []
    for part in found:
        if question is None or part.get("from_name") == question:
            value = get(part, "value", dict, row)
            rated = part["type"] == "rating"
            values += [get(value, "rating", float, row)] if rated else get(value, "choices", list, row)
    if len(values) > 1:
        raise InputError(f"An annotation chooses {len(values)} classes at once; a vote is for one.", row=row)
    if values and not isinstance(values[0], str | int | float):
        raise InputError(f"A choice must be a text, got {str(values[0])[:40]}.", row=row)
    return values[0] if values else None


def _json(path: Path) -> Any:
    files.require_file(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path.name} is not JSON ({error}).") from error

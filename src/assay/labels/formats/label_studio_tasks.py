"""Label Studio's JSON, written: votes, boxes and spans as tasks that `label_studio` and `vote_exports` read again.

`data` of a task is what the project's configuration shows; the name of the question and of the object that it is about
must be those of the configuration (`<Choices name="label" toName="text">`). A model's score stands in the prediction,
where Label Studio sorts by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from assay.errors import InputError
from assay.labels.boxes import Boxes
from assay.labels.formats import json_stream
from assay.labels.formats.label_studio import Where
from assay.labels.formats.suggested import Suggested
from assay.labels.hard import Hard
from assay.labels.masks import Masks
from assay.labels.votes import Votes


def write_label_studio(target: Path | str, tasks: Iterable[Mapping[str, Any]]) -> None:
    """Write tasks, one a line, beside and renamed."""
    json_stream.write(Path(target), json_stream.array(tasks))


def vote_tasks(
    votes: Votes,
    data: Sequence[Mapping[str, Any]] | None = None,
    *,
    gold: Hard | None = None,
    suggested: Suggested | None = None,
    question: str = "label",
    to: str = "text",
) -> Iterator[dict[str, Any]]:
    """Votes as tasks: an annotation each, with its cost as `lead_time`; known classes as ground truth.

    Weights and times of votes, and workers without votes, have no place in this form.
    """
    by_task = np.argsort(votes.task, kind="stable")
    ends = np.searchsorted(votes.task[by_task], np.arange(votes.n_rows + 1))
    known = [None] * votes.n_rows if gold is None else gold.names()
    for row, number in enumerate(votes.task_ids.tolist()):
        annotations = []
        for place in by_task[ends[row] : ends[row + 1]].tolist():
            name = votes.space.names[votes.label[place]]
            seconds = None if votes.cost is None else float(str(votes.cost[place]))
            who = str(votes.worker_ids[votes.worker[place]])
            annotations.append(annotation([choice(name, question, to)], who, seconds=seconds))
        if known[row] is not None:
            annotations.append(annotation([choice(str(known[row]), question, to)], None, gold=True))
        predictions = [] if suggested is None else list(_predicted(suggested, row, question, to))
        yield task(number, {"id": number} if data is None else data[row], annotations, predictions)


def _predicted(suggested: Suggested, row: int, question: str, to: str) -> Iterator[dict[str, Any]]:
    if suggested.labels.present[row]:
        name = suggested.labels.space.names[suggested.labels.y[row]]
        agent = suggested.agent[row] if suggested.agent else None
        score = None if suggested.score is None else float(suggested.score[row])
        yield prediction([choice(name, question, to)], agent, score)


def box_tasks(
    boxes: Boxes, *, where: Where = "annotations", question: str = "label", to: str = "image"
) -> Iterator[dict[str, Any]]:
    """Boxes as tasks with the name and size of their image; the sizes are needed, because the form counts per cent."""
    if boxes.sizes is None:
        raise InputError("Label Studio counts in per cent of an image, so the sizes of the images are needed.")
    for row, (name, size) in enumerate(zip(boxes.images, boxes.sizes.tolist(), strict=True)):
        places = range(int(boxes.offsets[row]), int(boxes.offsets[row + 1]))
        parts = [part for place in places for part in _rectangle(boxes, place, size, question, to)]
        made = [prediction(parts, None, None)] if where == "predictions" else [annotation(parts, None)]
        data = {to: name, "width": size[0], "height": size[1]}
        yield task(row + 1, data, *((made, []) if where == "annotations" else ([], made)))


def _rectangle(boxes: Boxes, place: int, size: list[int], question: str, to: str) -> Iterator[dict[str, Any]]:
    left, top, right, bottom = boxes.corners[place].tolist()
    width, height = size
    value: dict[str, Any] = {
        "x": 100 * left / width,
        "y": 100 * top / height,
        "width": 100 * (right - left) / width,
        "height": 100 * (bottom - top) / height,
        "rotation": 0,
    }
    about = {"id": f"box{place}", "to_name": to, "original_width": width, "original_height": height}
    label = {"rectanglelabels": [boxes.space.names[boxes.label[place]]]}
    score = {} if boxes.score is None else {"score": float(str(boxes.score[place]))}
    yield about | {"from_name": question, "type": "rectanglelabels", "value": value | label} | score
    if boxes.text is not None and boxes.text[place] is not None:
        yield about | {"from_name": "text", "type": "textarea", "value": value | {"text": [boxes.text[place]]}}


def span_tasks(
    masks: Masks, texts: Sequence[str], *, where: Where = "annotations", question: str = "label", to: str = "text"
) -> Iterator[dict[str, Any]]:
    """Classes of characters as spans; the first class of the space is that of no span."""
    if masks.mask is not None:
        raise InputError("Label Studio has no place for ignored characters: give them the first class of the space.")
    for row, text in enumerate(texts):
        if len(text) != masks.lengths[row]:
            raise InputError(f"The text has {len(text)} characters, its labels are {masks.lengths[row]}.", row=row)
        parts = [
            {
                "id": f"span{row}-{start}",
                "from_name": question,
                "to_name": to,
                "type": "labels",
                "value": {"start": start, "end": end, "text": text[start:end], "labels": [name]},
            }
            for start, end, name in masks.spans(row)
            if name != masks.space.names[0]
        ]
        made = [prediction(parts, None, None)] if where == "predictions" else [annotation(parts, None)]
        yield task(row + 1, {to: text}, *((made, []) if where == "annotations" else ([], made)))


def choice(name: str, question: str, to: str) -> dict[str, Any]:
    """The result part of one choice."""
    return {"from_name": question, "to_name": to, "type": "choices", "value": {"choices": [name]}}


def annotation(
    result: list[dict[str, Any]],
    who: str | None,
    *,
    seconds: float | None = None,
    gold: bool = False,
    cancelled: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """An annotation. Label Studio knows its users by number or e-mail address, and its import refuses unknown ones."""
    number = int(who) if who is not None and who.isascii() and who.isdigit() and str(int(who)) == who else None
    return {
        "result": result,
        "was_cancelled": cancelled,
        "ground_truth": gold,
        **({} if who is None else {"completed_by": {"email": who} if number is None else number}),
        **({} if seconds is None else {"lead_time": seconds}),
        **more,
    }


def prediction(result: list[dict[str, Any]], model: str | None, score: float | None) -> dict[str, Any]:
    """A prediction."""
    return {"result": result, **({} if model is None else {"model_version": model})} | (
        {} if score is None else {"score": score}
    )


def task(
    number: int | str, data: Mapping[str, Any], annotations: list[dict[str, Any]], predictions: list[dict[str, Any]]
) -> dict[str, Any]:
    """A task."""
    return {"id": number, "data": dict(data), "annotations": annotations, "predictions": predictions}

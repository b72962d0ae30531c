"""Label Studio's JSON: what people's annotations and models' predictions say, read; `label_studio_tasks` writes it.

The form is that of Label Studio 1.x, "task format" and "predictions" of its guide. A result part has the name of the
question (`from_name`), of the object it is about (`to_name`), a `type` and a `value`:

    choices           {"choices": ["cat"]}
    rectanglelabels   {"x", "y", "width", "height" in per cent of the image, "rotation", "rectanglelabels": ["cat"]}
    labels            {"start", "end", "text", "labels": ["name"]}, in code points, the end not included

Versions before Label Studio frontend 308 counted UTF-16 units in texts; where `text` shows that, the count is mended.
Votes are read by `vote_exports.read_label_studio`. The list of classes is not in this form but in the configuration of
the project, so give `space=` to keep the order of the classes and those that do not occur. Boxes and spans of several
annotators are not mixed: name one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from assay.errors import InputError
from assay.labels.boxes import Boxes, gathered
from assay.labels.formats import json_stream
from assay.labels.formats.json_stream import get
from assay.labels.formats.suggested import Suggested, suggested_of
from assay.labels.formats.vote_exports import annotations_of, annotator_of, choice_of, id_of
from assay.labels.masks import Masks
from assay.labels.spaces import Space

Source = Path | str | Sequence[Mapping[str, Any]]
Where = Literal["annotations", "predictions"]


def read_predictions(
    source: Source, question: str | None = None, *, model: str | None = None, space: Space | None = None
) -> Suggested:
    """What a model chose for each task; `model` is its `model_version`, needed where there are several."""
    rows: list[tuple[Any, Any, float | None, str | None]] = []
    for row, task in json_stream.objects(source):
        found = _results(task, row, "predictions", model)
        result = [] if found is None else get(found, "result", list, row, [])
        score = None if found is None else get(found, "score", float, row, None)
        agent = None if found is None else get(found, "model_version", str, row, None)
        rows.append((id_of(task, row), choice_of(result, question, row), score, agent))
    return suggested_of(rows, space)


def read_boxes(
    source: Source,
    *,
    where: Where = "annotations",
    by: str | None = None,
    image: str = "image",
    space: Space | None = None,
    clip: bool = False,
) -> Boxes:
    """The labelled rectangles of each task; tasks are images, named by `data[image]`.

    Parameters
    ----------
    where, by : of which annotator, or of which `model_version` of the predictions; needed when a task has several. An
        annotation that is marked as ground truth is taken before all others.
    image : key of the image in the data of a task.
    space : the classes and their order; else those that occur.
    clip : cut boxes at the edge of the image.
    """
    images: list[str] = []
    sizes: list[tuple[int, int] | None] = []
    rows, names, corners = [], [], []
    scores: list[float | None] = []
    texts: list[str | None] = []
    for row, task in json_stream.objects(source):
        data = get(task, "data", dict, row)
        images.append(get(data, image, str, row))
        wide, high = get(data, "width", int, row, -1), get(data, "height", int, row, -1)
        found = _results(task, row, where, by)
        parts = [] if found is None else _parts(found, row)
        said = {
            part.get("id"): _only(get(part, "value", dict, row), "text", row)
            for part in parts
            if part.get("type") == "textarea"
        }
        for part in parts:
            if part.get("type") != "rectanglelabels":
                continue
            value = get(part, "value", dict, row)
            if get(value, "rotation", float, row, 0.0) % 360:
                raise InputError("A rectangle is rotated: `Boxes` are upright.", row=row)
            wide, high = get(part, "original_width", int, row), get(part, "original_height", int, row)
            x, y, width, height = (get(value, key, float, row) / 100 for key in ("x", "y", "width", "height"))
            # A millionth of a pixel, so that per cent and back is the same number again.
            edges = (x * wide, y * high, (x + width) * wide, (y + height) * high)
            rows.append(row)
            names.append(_only(value, "rectanglelabels", row))
            corners.append([round(edge, 6) for edge in edges])
            scores.append(get(part, "score", float, row, None))
            texts.append(said.get(part.get("id")))
        sizes.append((wide, high) if wide >= 0 and high >= 0 else None)
    known = [size for size in sizes if size is not None]
    space = space or Space.from_values(names)
    boxes, _ = gathered(
        space,
        images,
        known if len(known) == len(sizes) and known else None,
        rows,
        space.encode(names),
        np.array(corners, dtype=float),
        clip=clip,
        score=[score or 0.0 for score in scores] if scores and None not in scores else None,
        text=texts if any(text is not None for text in texts) else None,
    )
    return boxes


def read_spans(
    source: Source,
    *,
    where: Where = "annotations",
    by: str | None = None,
    text: str = "text",
    outside: str = "O",
    space: Space | None = None,
) -> tuple[Masks, list[str]]:
    """The labelled spans of each text, as a class for every character, and the texts.

    Parameters
    ----------
    where, by : as of `read_boxes`.
    text : key of the text in the data of a task.
    outside : the class of characters in no span, the first of the space.
    space : the classes, the outside one first; else those that occur.
    """
    texts: list[str] = []
    spans: list[list[tuple[int, int, str]]] = []
    for row, task in json_stream.objects(source):
        texts.append(get(get(task, "data", dict, row), text, str, row))
        found = _results(task, row, where, by)
        spans.append([])
        for part in [] if found is None else _parts(found, row):
            if part.get("type") == "labels":
                value = get(part, "value", dict, row)
                start, end = (get(value, key, int, row) for key in ("start", "end"))
                said = get(value, "text", str, row, None)
                if said is not None and texts[-1][start:end] != said:
                    start, end = _from_utf16(texts[-1], start, end, said, row)
                spans[-1].append((start, end, _only(value, "labels", row)))
    names = Space.from_values(name for row in spans for _, _, name in row).names
    space = space or Space((outside, *(name for name in names if name != outside)))
    return Masks.from_spans(space, [len(one) for one in texts], spans), texts


def _results(task: Mapping[str, Any], row: int, where: Where, by: str | None) -> Mapping[str, Any] | None:
    """The one annotation or prediction that is meant, None when the task has none."""
    found: list[Mapping[str, Any]]
    if where == "annotations":
        found = list(annotations_of(task, row))
        gold = [one for one in found if one.get("ground_truth")]
        found = gold or [one for one in found if by is None or annotator_of(one, row) == by]
    else:
        listed = get(task, "predictions", list, row, [])
        if not all(isinstance(one, Mapping) for one in listed):
            raise InputError("A prediction must be an object.", row=row)
        found = [one for one in listed if by is None or one.get("model_version") == by]
    if len(found) > 1:
        raise InputError(f"The task has {len(found)} {where}, which are not mixed: name whose are meant.", row=row)
    return found[0] if found else None


def _parts(found: Mapping[str, Any], row: int) -> list[Mapping[str, Any]]:
    parts = get(found, "result", list, row, [])
    if not all(isinstance(part, Mapping) and isinstance(part.get("id"), str | None) for part in parts):
        raise InputError("The parts of a result must be objects with a text as id.", row=row)
    return parts


def _only(value: Mapping[str, Any], key: str, row: int) -> str:
    """The only text of a list of labels."""
    texts = value.get(key)
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or len(texts) != 1 or not isinstance(texts[0], str):
        raise InputError(f"A region needs exactly one text in {key!r}, got {str(texts)[:40]}.", row=row)
    return texts[0]


def _from_utf16(text: str, start: int, end: int, said: str, row: int) -> tuple[int, int]:
    """Offsets in code points of offsets in UTF-16 units, if they lead to the same words."""
    units = text.encode("utf-16-le")
    before = len(units[: 2 * max(start, 0)].decode("utf-16-le", "replace"))
    if text[before : before + len(said)] != said:
        raise InputError(f"The span {start}..{end} of the text is not {said[:40]!r}, as it says.", row=row)
    return before, before + len(said)

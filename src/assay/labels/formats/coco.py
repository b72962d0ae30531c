"""COCO detection JSON: `{"images": [...], "annotations": [...], "categories": [...]}`, in and out.

A box is `[x, y, width, height]` in pixels, edges counted from 0 (cocodataset.org, "Data format": "0-indexed from the
top left image corner"), which is how `Boxes` counts; nothing is shifted. Ids are the file's own and are given anew on
writing, images and categories in their order from 1. `score` is that of COCO's results format, `utf8_string` the
transcription of COCO-Text. Segmentations are kept as they came: run lengths become masks by `rle.decode`, polygons stay
polygons, because rasterising them is a choice of its own. `info`, `licenses`, keypoints and `area` are not kept.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels.boxes import Boxes, gathered
from assay.labels.formats import json_stream
from assay.labels.formats.json_stream import get
from assay.labels.spaces import Space


class Coco(NamedTuple):
    """What a COCO file says.

    Parameters
    ----------
    boxes : the boxes, images and categories in the order of the file.
    segmentation : of each box, as it came: polygons, run lengths, or None; `()` when no box has one.
    crowd : `(b,)` bool, `iscrowd`: the box is about a group.
    """

    boxes: Boxes
    segmentation: tuple[Any, ...] = ()
    crowd: npt.NDArray[np.bool_] | None = None


class _Columns:
    """The annotations of a file as columns, in its order."""

    def __init__(self) -> None:
        self.image, self.category, self.corners = array("q"), array("q"), array("d")
        self.score, self.crowd = array("f"), array("b")
        self.text: list[str | None] = []
        self.segmentation: list[Any] = []

    def add(self, row: int, annotation: Mapping[str, Any]) -> None:
        """Take in an annotation; one without a box, as of captions, is refused."""
        box = get(annotation, "bbox", list, row)
        numbers = [edge for edge in box if isinstance(edge, int | float) and not isinstance(edge, bool)]
        if len(box) != 4 or len(numbers) != 4 or not all(abs(edge) < 1e12 for edge in numbers):
            raise InputError(f"The bbox of an annotation is [x, y, width, height], got {str(box)[:60]}.", row=row)
        x, y, width, height = map(float, box)
        self.image.append(get(annotation, "image_id", int, row))
        self.category.append(get(annotation, "category_id", int, row))
        self.corners.extend((x, y, x + width, y + height))
        self.score.append(get(annotation, "score", float, row, math.nan))
        crowd = get(annotation, "iscrowd", int, row, 0)
        if crowd not in (0, 1):
            raise InputError(f"iscrowd is 0 or 1, got {str(crowd)[:40]}.", row=row)
        self.crowd.append(crowd)
        self.text.append(get(annotation, "utf8_string", str, row, None))
        self.segmentation.append(annotation.get("segmentation") or None)


def read_coco(source: Path | str, *, clip: bool = False) -> Coco:
    """Read a file, element by element; memory is that of its boxes.

    Parameters
    ----------
    clip : cut boxes at the edge of their image, and leave out those that lie outside or have no area; without it, such
        a box is an error.

    Raises
    ------
    InputError : not JSON, not of this form, an unknown image or category, a box that is none; says which element.
    """
    columns = _Columns()
    images: dict[int, str] = {}
    categories: dict[int, str] = {}
    sizes: list[tuple[int, int] | None] = []
    for key, row, value in json_stream.elements(source):
        if key == "" or (row < 0 and key in ("images", "annotations", "categories")):
            raise InputError(
                f"{Path(source).name} is no COCO file: an object with the arrays images, annotations and categories "
                "was expected."
            )
        if row >= 0 and key in ("images", "annotations", "categories") and not isinstance(value, dict):
            raise InputError(f"Every element of {key!r} must be an object.", row=row)
        if key == "annotations":
            columns.add(row, value)
        elif key == "images" and row >= 0:
            _new(images, get(value, "id", int, row), get(value, "file_name", str, row), key, row)
            size = tuple(get(value, side, int, row, -1) for side in ("width", "height"))
            sizes.append(None if -1 in size else (size[0], size[1]))
        elif key == "categories" and row >= 0:
            _new(categories, get(value, "id", int, row), get(value, "name", str, row), key, row)
    known = [size for size in sizes if size is not None]
    if known and len(known) < len(sizes):
        raise InputError("Some images have a width and a height, this one has not.", row=sizes.index(None))
    scores = np.array(columns.score)
    scored = ~np.isnan(scores)
    if scored.any() and not scored.all():
        raise InputError("Some annotations have a score, this one has not.", row=int(np.argmin(scored)))
    boxes, order = gathered(
        Space(tuple(categories.values())),
        tuple(images.values()),
        known or None,
        _places(columns.image, images, "image_id"),
        _places(columns.category, categories, "category_id"),
        np.array(columns.corners),
        clip=clip,
        score=scores if scored.any() else None,
        text=columns.text if any(text is not None for text in columns.text) else None,
    )
    drawn = any(one is not None for one in columns.segmentation)
    segmentation = tuple(columns.segmentation[place] for place in order) if drawn else ()
    crowd = np.array(columns.crowd, dtype=bool)[order]
    return Coco(boxes, segmentation, crowd if crowd.any() else None)


def write_coco(found: Coco | Boxes, target: Path | str) -> None:
    """Write a file, one annotation a line, beside and renamed. Reading it gives the same boxes again.

    Coordinates come back bit for bit when they are whole, halves, or anything that single precision holds.
    """
    coco = Coco(found) if isinstance(found, Boxes) else found
    json_stream.write(Path(target), _pieces(coco))


def _pieces(coco: Coco) -> Iterator[str]:
    boxes = coco.boxes
    sizes = None if boxes.sizes is None else boxes.sizes.tolist()
    yield '{"images": '
    yield from json_stream.array(
        {"id": row + 1, "file_name": name}
        | ({} if sizes is None else {"width": sizes[row][0], "height": sizes[row][1]})
        for row, name in enumerate(boxes.images)
    )
    yield ',\n"categories": '
    yield from json_stream.array({"id": code + 1, "name": name} for code, name in enumerate(boxes.space.names))
    yield ',\n"annotations": '
    yield from json_stream.array(_annotations(coco))
    yield "}\n"


def _annotations(coco: Coco) -> Iterator[dict[str, Any]]:
    boxes = coco.boxes
    columns = zip(boxes.rows().tolist(), boxes.label.tolist(), boxes.corners.tolist(), strict=True)
    for place, (row, code, (left, top, right, bottom)) in enumerate(columns):
        width, height = right - left, bottom - top
        one = {
            "id": place + 1,
            "image_id": row + 1,
            "category_id": code + 1,
            "bbox": [shown(edge) for edge in (left, top, width, height)],
            "area": shown(width * height),
            "iscrowd": 0 if coco.crowd is None else int(coco.crowd[place]),
        }
        if boxes.score is not None:
            one["score"] = float(str(boxes.score[place]))  # the digits of single precision
        if boxes.text is not None and boxes.text[place] is not None:
            one["utf8_string"] = boxes.text[place]
        if coco.segmentation and coco.segmentation[place] is not None:
            one["segmentation"] = coco.segmentation[place]
        yield one


def shown(edge: float) -> int | float:
    """A coordinate, whole where it is whole."""
    return int(edge) if edge.is_integer() else edge


def _new(known: dict[int, str], number: int, name: str, key: str, row: int) -> None:
    if number in known:
        raise InputError(f"Two elements of {key!r} have the id {number}.", row=row)
    known[number] = name


def _places(ids: array[int], known: Mapping[int, str], key: str) -> npt.NDArray[np.int64]:
    """The place of each id among the known ones."""
    where = {number: place for place, number in enumerate(known)}
    places = np.array([where.get(number, -1) for number in ids], dtype=np.int64)
    if (places < 0).any():
        row = int(np.argmax(places < 0))
        raise InputError(f"No element has the {key} {ids[row]} of this annotation.", row=row)
    return places

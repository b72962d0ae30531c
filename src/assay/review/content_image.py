"""A picture for review, with boxes and masks laid over it, or a document with its text boxes and fields.

What is sent is drawn anew from the decoded pixels, so that no byte of a hostile file reaches the browser.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.evidence import pictures
from assay.evidence.shown import visible
from assay.labels.formats import folders
from assay.review.source import Source

if TYPE_CHECKING:
    from assay.review.project import Project

SIDE = 2000
"""Longest side of a picture that is sent, pixels."""
QUALITY = 90
BOXES = 5_000
"""Boxes shown over one picture."""
CLASSES = 12
"""Different values up to which each value of a mask is a mask of its own."""
CORNERS = ("xmin", "ymin", "xmax", "ymax")

Pixels = npt.NDArray[np.generic]


class ImageContent:
    """Pictures of a project."""

    def __init__(self, project: Project, column: str) -> None:
        self._project, self._column = project, column

    def of(self, row: int) -> dict[str, Any]:
        """The picture by name, with its size in its own pixels, upright; boxes are in the same pixels.

        A picture that cannot be read has width 0, and its `alt` says why.
        """
        options, source = self._project.options, self._project.source
        try:
            width, height = pictures.measured(picture_of(source, row, self._column))
            alt = f"Picture of row {row}"
        except InputError as error:
            width, height, alt = 0, 0, visible(str(error), 300)
        boxes = boxes_of(source.cell(row, options.boxes), width, height) if options.boxes else []
        content = {
            "kind": "image",
            "name": "image",
            "width": width,
            "height": height,
            "alt": alt,
            "boxes": boxes,
            "masks": [{"name": name, "label": label} for name, label, _, _ in self._masks(row)],
        }
        if options.fields or any(box["text"] for box in boxes):
            content["kind"], content["fields"] = "document", self._fields(row)
        return content

    def image(self, row: int, name: str) -> tuple[bytes, str]:
        """The picture "image", or a mask: white inside, transparent outside."""
        if name == "image":
            picture, _ = pictures.opened(picture_of(self._project.source, row, self._column), SIDE)
            return pictures.encoded(picture, QUALITY)
        for known, _, values, value in self._masks(row):
            if known == name:
                return _drawn(values > 0 if value == 0 else values == value), "image/png"
        raise InputError(f"Row {row} has no picture {name[:40]!r}.")

    def _masks(self, row: int) -> list[tuple[str, str, npt.NDArray[np.uint8], int]]:
        """Name, label, values `(h, w)` of each mask, and which value is inside, 0 for all but 0.

        Masks that cannot be read are left out.
        """
        column = self._project.options.masks
        if column is None:
            return []
        cells = self._project.source.cell(row, column)
        label, found = visible(column, 60), []
        for at, cell in enumerate(cells if isinstance(cells, list) else [cells]):
            try:
                values = _mask_values(as_picture(self._project.source, cell, row))
            except InputError:
                continue
            inside = np.unique(values[values > 0])
            if len(inside) == 1 or len(inside) > CLASSES:
                found.append((f"mask{at}", label, values, 0))
            else:
                found += [(f"mask{at}.{value}", f"{label} {value}", values, value) for value in inside.tolist()]
        return found

    def _fields(self, row: int) -> list[list[str]]:
        """The fields of a document, by default all columns that are left."""
        options, source = self._project.options, self._project.source
        aside = {self._column, options.boxes, options.masks, self._project.origin.id}
        names = options.fields or tuple(name for name in source.readable if name not in aside)
        cells = [(name, source.cell(row, name)) for name in names]
        return [[visible(name, 200), visible(str(cell))] for name, cell in cells if cell is not None]


def picture_of(source: Source, row: int, column: str) -> Path | bytes | Pixels:
    """The picture in a cell; a path is checked to stay below the folder of the data.

    Raises
    ------
    InputError : no picture there, or a path that leads out of the folder.
    """
    return as_picture(source, source.cell(row, column), row)


def as_picture(source: Source, cell: Any, row: int) -> Path | bytes | Pixels:
    """The picture that a value is: pixels, bytes, a path, or the bytes or path of an image of `datasets`."""
    if isinstance(cell, Mapping):
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, bytes | np.ndarray):
        return cell
    if not isinstance(cell, str):
        raise InputError(f"Row {row} has no picture.")
    if source.root is None:
        raise InputError(f"Row {row} names a picture, but nothing says in which folder it lies.")
    return folders.inside(cell, source.root, row)


def boxes_of(cell: Any, width: int, height: int) -> list[dict[str, Any]]:
    """Boxes as they are shown: corners ordered and within the picture, strings visible; odd ones are left out."""
    if isinstance(cell, str):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            return []
    found = []
    for box in cell if isinstance(cell, list) else []:
        try:
            xmin, ymin, xmax, ymax = (float(box[corner]) for corner in CORNERS)
        except (TypeError, ValueError, KeyError):
            continue
        if not all(map(math.isfinite, (xmin, ymin, xmax, ymax))):
            continue
        across = [min(max(x, 0.0), width or math.inf) for x in sorted((xmin, xmax))]
        down = [min(max(y, 0.0), height or math.inf) for y in sorted((ymin, ymax))]
        label, text = ("" if box.get(name) is None else visible(str(box[name]), 1000) for name in ("label", "text"))
        corners = zip(CORNERS, (across[0], down[0], across[1], down[1]), strict=True)
        found.append({**dict(corners), "label": label, "text": text})
    return found[:BOXES]


def _mask_values(picture: Path | bytes | Pixels) -> npt.NDArray[np.uint8]:
    """The values `(h, w)` of a mask: grey levels, or the numbers of a palette's colours."""
    if isinstance(picture, np.ndarray):
        image = pictures.from_array(picture.astype(np.uint8) if picture.ndim == 2 else picture, None)
    else:
        pictures.measured(picture)  # refuses what is too large
        from PIL import Image

        try:
            source = io.BytesIO(picture) if isinstance(picture, bytes) else picture
            image = Image.open(source, formats=pictures.FORMATS)
            image.load()
        except Exception as error:  # Pillow raises many kinds for broken files
            raise pictures.UnreadableError("This mask could not be read.") from error
    if image.mode in ("RGBA", "LA"):
        return np.asarray(image.getchannel("A")) * np.uint8(1)
    return np.asarray(image if image.mode in ("P", "L") else image.convert("L"), dtype=np.uint8)


def _drawn(inside: npt.NDArray[np.bool_]) -> bytes:
    """A mask as PNG: white inside, transparent outside."""
    from PIL import Image

    grey = np.where(inside, 255, 0).astype(np.uint8)
    image = Image.merge("LA", (Image.fromarray(grey), Image.fromarray(grey)))
    image.thumbnail((SIDE, SIDE), Image.Resampling.NEAREST)
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()

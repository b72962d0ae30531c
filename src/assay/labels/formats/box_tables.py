"""Boxes as a table, one row a box, so that their classes can be audited like any label, and back again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from assay.errors import InputError
from assay.labels.boxes import Boxes, gathered
from assay.labels.formats import columnar, files
from assay.labels.spaces import Space

EDGES = ("xmin", "ymin", "xmax", "ymax")


def box_table(boxes: Boxes, label: str = "label") -> pa.Table:
    """Columns image, label, xmin, ymin, xmax, ymax (edges from 0), and width, height, score, text where they are known.

    An image without boxes has no row, so it is not in the table.
    """
    rows = boxes.rows()
    columns: dict[str, Any] = {
        "image": pa.array([boxes.images[row] for row in rows.tolist()], pa.string()),
        label: pa.array(boxes.names(), pa.string()),
        **dict(zip(EDGES, boxes.corners.T, strict=True)),
    }
    if boxes.sizes is not None:
        columns |= dict(zip(("width", "height"), boxes.sizes[rows].T, strict=True))
    if boxes.score is not None:
        columns["score"] = boxes.score
    if boxes.text is not None:
        columns["text"] = pa.array(boxes.text, pa.string())
    return columnar.with_space(pa.table(columns), label, boxes.space)


def table_boxes(table: pa.Table, names: Sequence[str | None], space: Space, *, one_based: bool = False) -> Boxes:
    """The boxes of a table with a row a box, whose classes are `names` `(b,)`; images in order of appearance.

    Parameters
    ----------
    table : columns image, xmin, ymin, xmax, ymax; width and height of the image where they are known.
    one_based : corners are pixels counted from 1, the last one included, as in Pascal VOC; else edges from 0.
    """
    for column in ("image", *EDGES):
        files.require_column(column, table.column_names, "The table of boxes")
    images = table["image"].to_pylist()
    for row, (image, name) in enumerate(zip(images, names, strict=True)):
        if not isinstance(image, str) or name is None:
            what = "image" if name is not None else "class"
            raise InputError(f"A box has no {what}: every box needs one.", row=row)
    order = {image: place for place, image in enumerate(dict.fromkeys(images))}
    at = np.array([order[image] for image in images], dtype=np.int64)
    corners = np.stack([_numbers(table, edge) for edge in EDGES], axis=1)
    if one_based:
        corners -= [1, 1, 0, 0]
    sizes = None
    if {"width", "height"} <= set(table.column_names):
        sizes = np.zeros((len(order), 2), dtype=np.int64)
        sizes[at] = np.stack([_numbers(table, side) for side in ("width", "height")], axis=1)
    return gathered(space, list(order), sizes, at, space.encode(list(names)), corners)[0]


def _numbers(table: pa.Table, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        cells = table[name].cast(pa.float64())
    except pa.ArrowInvalid as error:
        raise InputError(f"Column {name!r} must hold numbers ({str(error).rstrip('.')}).") from None
    if cells.null_count:
        raise InputError(f"Column {name!r} has an empty cell.", row=int(np.argmax(cells.is_null().to_numpy())))
    return np.asarray(cells.to_numpy(), dtype=np.float64)

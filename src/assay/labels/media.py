"""What a row of a table is: a text, an image, or the row itself."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from assay.errors import InputError
from assay.labels.formats import folders


def media_columns(
    columns: pa.Table,
    text: str | None,
    image: str | None,
    aside: Collection[str | None],
    path: Path | None,
    id: str | None = None,
) -> tuple[str | None, str | None]:
    """The text column and the image column, as given, or as they look; the path of an image may be its `id`."""
    if text is not None and image is not None:
        raise InputError(f"A row is a text or an image: both text={text!r} and image={image!r} were given.")
    if text is not None:
        if not is_string(columns[text].type):
            raise InputError(f"Column {text!r} holds {columns[text].type}; text was expected.")
        return text, None
    if image is None:
        image = next(
            (name for name in columns.schema.names if name not in aside and _is_image(columns, name, path)), None
        )
    if image is not None:
        if path is not None and is_string(columns[image].type):
            folders.require_inside(columns[image].to_pylist(), path if path.is_dir() else path.parent)
        return None, image
    left = [name for name in columns.schema.names if name not in aside and name != id]
    if len(left) == 1 and is_string(columns[left[0]].type):
        cells = columns[left[0]].drop_null()
        long = len(cells) > 0 and pc.mean(pc.utf8_length(cells)).as_py() > 20
        if long and pc.count_distinct(cells).as_py() > len(cells) / 2:
            return left[0], None
    return None, None


def is_string(kind: pa.DataType) -> bool:
    """Whether a type holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_image(columns: pa.Table, name: str, path: Path | None) -> bool:
    """Whether a column looks like one of images."""
    root = path if path is None or path.is_dir() else path.parent
    return looks_like_image(columns[name], root)


def looks_like_image(column: pa.ChunkedArray, root: Path | None) -> bool:
    """Whether a column holds pixels, encoded images of `datasets`, or paths of images that exist below `root`."""
    kind = column.type
    if isinstance(kind, pa.FixedShapeTensorType):
        shape = kind.shape
        return kind.value_type == pa.uint8() and (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4)))
    if pa.types.is_struct(kind):
        return {kind.field(i).name for i in range(kind.num_fields)} == {"bytes", "path"}
    if root is None or not is_string(kind):
        return False
    some = column.drop_null().slice(0, 20).to_pylist()
    return bool(some) and all(
        PurePosixPath(cell).suffix.lower() in folders.IMAGES and (root / cell).is_file() for cell in some
    )

"""A table of candidates for the critic: each column as labels of one kind, and every row as what it is."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assay.errors import InputError
from assay.labels.formats import files
from assay.labels.formats.folders import IMAGES, inside
from assay.labels.hard import is_missing
from assay.labels.label_column import ids_of
from assay.labels.tables import raw_table
from assay.training.features_table import table_features
from assay.training.features_text import text_features
from assay.training.judges import Case
from assay.training.judges.kinds import KINDS, read, shown, told

DIMENSIONS = 64  # of a row's features: judges of classes learn from few rows


@dataclass(frozen=True, kw_only=True)
class CriticColumns:
    """Which columns of the table are what.

    Parameters
    ----------
    labels : columns of the candidates, the labels in use first.
    accepted : column with labels that are known to be good, empty where none is known.
    kind : of the labels; None finds it by looking.
    content : column with what is labelled: a text, or the path of an image; None takes all other columns as a table.
    id : column with a stable id of the row.
    target : what the labels are of, in plain words.
    """

    labels: tuple[str, ...]
    accepted: str | None = None
    kind: str | None = None
    content: str | None = None
    id: str | None = None
    target: str = ""


@dataclass(frozen=True, eq=False)
class CandidateSource:
    """The table, read: `labels` and `accepted` hold a value a row, `cells` the same as they stand in the file."""

    path: Path
    digest: str
    columns: CriticColumns
    kind: str
    cases: list[Case]
    labels: dict[str, list[Any]]
    cells: dict[str, list[str | None]]
    accepted: list[Any] | None
    ids: pa.Array | None

    @property
    def n_rows(self) -> int:
        """Number of rows, n."""
        return len(self.cases)


def read_candidates(path: Path, columns: CriticColumns) -> CandidateSource:
    """Read the table at `path`.

    Raises
    ------
    InputError : a column that is not there, a cell that is no label of the kind, a path that leads out of the folder.
    """
    if len(columns.labels) < 1 or len(set(columns.labels)) < len(columns.labels):
        raise InputError(
            f"Name the columns of the candidates once each with --labels, got {','.join(columns.labels)!r}."
        )
    if path.is_dir():
        raise InputError(f"{path} is a folder: give a table with a column of labels for each candidate.")
    asked = [*columns.labels, *(name for name in (columns.accepted, columns.content, columns.id) if name is not None)]
    table = raw_table(path, as_text=asked)
    for name in asked:
        files.require_column(name, table.schema.names, path.name)
    if table.num_rows == 0:
        raise InputError(f"{path.name} has columns but no rows.")
    raw = {name: [_loose(cell) for cell in table[name].to_pylist()] for name in columns.labels}
    kind = columns.kind or told([_look(cell, path) for cell in raw[columns.labels[0]]])
    if kind not in KINDS:
        raise InputError(f"There is no kind of label {kind!r}: it is one of {', '.join(KINDS)}.")
    values = {name: _values(column, kind, path) for name, column in raw.items()}
    accepted = None
    if columns.accepted is not None:
        known = [None if cell == "" else _loose(cell) for cell in table[columns.accepted].to_pylist()]
        accepted = _values(known, kind, path)
        if all(value is None for value in accepted):
            raise InputError(f"Column {columns.accepted!r} holds no accepted label.")
    used = {*columns.labels, columns.accepted, columns.id}
    rest = table.select([name for name in table.column_names if name not in used])
    return CandidateSource(
        path=path,
        digest=files.digest(path),
        columns=columns,
        kind=kind,
        cases=_cases(rest, columns, kind, path),
        labels=values,
        cells={
            name: [None if v is None else _cell(c, v) for c, v in zip(raw[name], values[name], strict=True)]
            for name in raw
        },
        accepted=accepted,
        ids=None if columns.id is None else ids_of(table[columns.id], columns.id, files.form_of(path) == "delimited"),
    )


def _loose(cell: Any) -> Any:
    """A cell; lists and mappings that a text file spells as JSON become what they spell."""
    if isinstance(cell, str) and cell[:1] in "[{" and cell[-1:] in "]}":
        try:
            return json.loads(cell)
        except (ValueError, RecursionError):
            return cell
    return cell


def _look(cell: Any, path: Path) -> Any:
    """A cell as the finder of kinds is to see it: the path of a mask counts as one."""
    is_path = isinstance(cell, str) and Path(cell).suffix.lower() in (*IMAGES, ".npy")
    return np.zeros((1, 1)) if is_path and (path.parent / cell).is_file() else cell


def _values(column: list[Any], kind: str, path: Path) -> list[Any]:
    if kind != "mask":
        return [read(cell, kind, row) for row, cell in enumerate(column)]
    home, found = path.parent.resolve(), []
    for row, cell in enumerate(column):
        value = _pixels(inside(cell, home, row), row) if isinstance(cell, str) and cell else cell
        there = isinstance(value, np.ndarray | list) or not is_missing(value)
        found.append(read(np.asarray(value), kind, row) if there else None)
    return found


def _pixels(file: Path, row: int) -> npt.NDArray[Any]:
    """The numbers of a picture or of an array file."""
    try:
        if file.suffix.lower() == ".npy":
            return np.asarray(np.load(file, allow_pickle=False))
        from PIL import Image

        with Image.open(file) as image:
            return np.asarray(image.convert("L") if image.mode not in ("1", "L", "I", "F") else image)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{file.name} cannot be read as a mask ({error}).", row=row) from None


def _cell(cell: Any, value: Any) -> str:
    """A label as the file spells it, or in words."""
    return cell if isinstance(cell, str) else shown(value)


def _cases(rest: pa.Table, columns: CriticColumns, kind: str, path: Path) -> list[Case]:
    n = rest.num_rows
    contents: list[Any] = [None] * n
    if columns.content is not None:
        cells = rest[columns.content].to_pylist()
        if kind == "mask" or all(_is_image(cell) for cell in cells if cell):
            home = path.parent.resolve()
            contents = [_picture(inside(cell, home, row), row) if cell else None for row, cell in enumerate(cells)]
        else:
            contents = ["" if cell is None else str(cell) for cell in cells]
    elif kind != "mask" and rest.num_columns:
        contents = rest.to_pylist()
    learned = columns.accepted is not None and kind in ("class", "tags")
    vectors = _vectors(rest, columns, contents) if learned else [None] * n
    return [Case(row, kind, contents[row], vectors[row], columns.target) for row in range(n)]


def _is_image(cell: Any) -> bool:
    return isinstance(cell, str) and Path(cell).suffix.lower() in IMAGES


def _picture(file: Path, row: int) -> npt.NDArray[Any]:
    if file.suffix.lower() == ".npy":
        return _pixels(file, row)
    from PIL import Image

    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    except OSError as error:
        raise InputError(f"The picture {file.name} cannot be read ({error}).", row=row) from None


def _vectors(rest: pa.Table, columns: CriticColumns, contents: list[Any]) -> list[Any]:
    """At most 64 numbers a row from its text, its picture or its other columns; nothing where there are none."""
    present: Collection[Any] = [content for content in contents if content is not None]
    if len(present) < len(contents) or not contents:
        return [None] * len(contents)
    try:
        if isinstance(contents[0], np.ndarray):
            from assay.training.features_image import image_features

            return list(_reduced(image_features(contents).matrix))
        return list(_reduced((text_features(contents) if columns.content is not None else table_features(rest)).matrix))
    except InputError:  # nothing to learn from, such as a column without values: labels are judged by themselves
        return [None] * len(contents)


def _reduced(matrix: Any) -> npt.NDArray[np.float64]:
    if hasattr(matrix, "toarray"):
        from sklearn.decomposition import TruncatedSVD

        size = min(DIMENSIONS, matrix.shape[1] - 1, matrix.shape[0] - 1)
        if size < 1:
            return np.asarray(matrix.toarray(), dtype=np.float64)
        return np.asarray(TruncatedSVD(size, random_state=0).fit_transform(matrix), dtype=np.float64)
    return np.nan_to_num(np.asarray(matrix, dtype=np.float64)[:, :DIMENSIONS])

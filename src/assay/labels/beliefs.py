"""Beliefs in a file: what many votes came to, one row a task, to be joined to a table and learned from.

The file is Parquet: the task, the most probable class, and one column of probabilities a class, named by it. The
schema holds the classes in order, so that a reader needs no space.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assay.errors import InputError
from assay.labels.formats import columnar, files
from assay.labels.soft import Soft
from assay.labels.spaces import name_of

TOP = "label"
TASK = "task"


class Beliefs(NamedTuple):
    """Ids of n tasks, integers or text, and what is believed of each (n, k)."""

    task_ids: npt.NDArray[Any]
    soft: Soft

    def of(self, ids: Iterable[object]) -> Soft:
        """The beliefs of the rows of a table, given the task that each is about `(m,)`; masked where it is unknown.

        >>> from assay.labels import Space
        >>> known = Beliefs(np.array(["a", "b"]), Soft(Space(("no", "yes")), np.array([[0.9, 0.1], [0.2, 0.8]])))
        >>> found = known.of(["b", "c"])
        >>> found.p.tolist(), found.present.tolist()
        ([[0.2, 0.8], [0.0, 0.0]], [True, False])
        """
        place = {name_of(task): at for at, task in enumerate(self.task_ids.tolist())}
        rows = np.array([place.get(name_of(task), -1) for task in ids], dtype=np.int64)
        there = (rows >= 0) & self.soft.present[rows] if len(place) else rows >= 0
        p = (
            np.where(there[:, None], self.soft.p[rows], 0)
            if len(place)
            else np.zeros((len(rows), self.soft.p.shape[1]))
        )
        return Soft(self.soft.space, p, there)


def write_beliefs(path: Path, task_ids: npt.NDArray[Any], belief: Soft) -> None:
    """Write beliefs (n, k) about n tasks, beside and renamed; a task without a belief has empty cells."""
    names = belief.space.names
    top = [names[code] if there else None for code, there in zip(belief.p.argmax(axis=1), belief.present, strict=True)]
    absent = None if belief.mask is None else ~belief.mask
    columns: dict[str, Any] = {column_for(TASK, names): pa.array(task_ids), column_for(TOP, names): pa.array(top)}
    columns |= {name: pa.array(belief.p[:, code], mask=absent) for code, name in enumerate(names)}
    columnar.write(columnar.with_space(pa.table(columns), column_for(TOP, names), belief.space), path)


def read_beliefs(path: Path | str) -> Beliefs:
    """Read what `write_beliefs` wrote; raises `InputError` for any other file."""
    path = Path(path)
    if files.form_of(path) != "columnar":
        raise InputError(f"{path.name} holds no beliefs: name the beliefs.parquet that `assay aggregate` wrote.")
    table = columnar.read(path)
    noted = columnar.space_of(table.schema, path.name)
    if noted is None or noted[0] != column_for(TOP, noted[1].names):
        raise InputError(f"{path.name} holds no beliefs: name the beliefs.parquet that `assay aggregate` wrote.")
    space = noted[1]
    for name in (column_for(TASK, space.names), *space.names):
        files.require_column(name, table.schema.names, path.name)
    columns = [table[name] for name in space.names]
    present = np.asarray(columns[0].is_valid())
    p = np.stack([np.nan_to_num(np.asarray(column.to_numpy())) for column in columns], axis=1)
    ids = np.array(table[column_for(TASK, space.names)].to_pylist())
    return Beliefs(ids, Soft(space, p, None if present.all() else present))


def column_for(name: str, classes: Sequence[str]) -> str:
    """The name of a column beside those of the classes: a class of the same name goes before."""
    while name in classes:
        name += "_"
    return name

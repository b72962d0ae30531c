"""Files of prompts: lines of text, or a column of a table, with a mark on those that ask for harm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels.formats import files
from assay.labels.tables import raw_table

TRUE, FALSE = {"true", "yes", "1", "harmful"}, {"false", "no", "0", "harmless", ""}


@dataclass(frozen=True, eq=False)
class Prompts:
    """n prompts of a file: their texts, and whether each asks for harm (n,), None where the file does not say."""

    path: Path
    digest: str
    texts: list[str]
    harmful: npt.NDArray[np.bool_] | None


def read_prompts(path: Path, column: str | None = None, harmful: str | None = None) -> Prompts:
    """Read a file of prompts.

    Parameters
    ----------
    path : `.txt` with a prompt a line, blank lines left out; or a table (CSV, TSV, JSON lines, Parquet, Arrow).
    column : of the prompts in a table; None for "prompt", or the only column.
    harmful : column that says whether a prompt asks for harm: true/false, yes/no, 1/0 or harmful/harmless.

    Raises
    ------
    InputError : no prompts, an empty one, a column that is not there, a mark that is none of these.
    """
    if path.suffix.lower() == ".txt":
        if column or harmful:
            raise InputError(f"{path.name} has lines, not columns: give a CSV or JSON lines file to name columns.")
        with files.opened(path) as stream:
            files.require_utf8(path)
            texts = [line.strip() for line in stream.read().decode("utf-8-sig").splitlines() if line.strip()]
        if not texts:
            raise InputError(f"{path.name} holds no prompt: write one on each line.")
        return Prompts(path, files.digest(path), texts, None)
    table = raw_table(path, as_text=[name for name in (column or "prompt", harmful) if name])
    names = table.column_names
    column = column or ("prompt" if len(names) > 1 else names[0])
    for name in (column, harmful):
        if name is not None:
            files.require_column(name, names, path.name)
    if table.num_rows == 0:
        raise InputError(f"{path.name} has columns but no rows.")
    texts = []
    for row, cell in enumerate(table[column].to_pylist()):
        if not isinstance(cell, str) or not cell.strip():
            raise InputError(f"A prompt in the column {column!r} is {cell!r}: every row needs a text.", row=row)
        texts.append(cell)
    marks = (
        None if harmful is None else [_mark(cell, harmful, at) for at, cell in enumerate(table[harmful].to_pylist())]
    )
    return Prompts(path, files.digest(path), texts, None if marks is None else np.array(marks))


def _mark(cell: object, column: str, row: int) -> bool:
    said = "" if cell is None else str(cell).strip().lower()
    if said not in TRUE | FALSE:
        raise InputError(f"The column {column!r} says {cell!r}: expected true or false, yes or no, 1 or 0.", row=row)
    return said in TRUE

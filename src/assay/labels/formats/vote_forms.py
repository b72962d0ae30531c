"""Votes out of long tables, one vote a row, whole or file by file, and out of (n, w) arrays with gaps.

A missing answer is an abstention: its task and worker become known and no vote is cast. The exports of other tools are
read by `vote_exports`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assay.errors import InputError
from assay.labels.formats import arrays, columnar, delimited, files, frames, jsonlines
from assay.labels.hard import Hard, is_missing
from assay.labels.spaces import Space, name_of
from assay.labels.votes import Votes, code_ids

MISSING = delimited.MISSING


class VotesAndGold(NamedTuple):
    """Votes, and the classes that are known, one row a task; None when none is."""

    votes: Votes
    gold: Hard | None = None


def read_votes(
    source: Any,
    *,
    task: str = "task",
    worker: str = "worker",
    label: str = "label",
    gold: str | None = None,
    weight: str | None = None,
    time: str | None = None,
    cost: str | None = None,
    space: Space | None = None,
    missing: Collection[str] = MISSING,
) -> VotesAndGold:
    """Read a long table, one vote a row. The names that crowd-kit uses are the defaults.

    Parameters
    ----------
    source : path of a CSV, TSV, JSON-lines, Parquet, Arrow or `.npz` file, or a pandas, polars or pyarrow frame.
    task, worker, label : the columns that say what was voted on, by whom, and the vote.
    gold : column with the known class of the row's task, empty where it is not known.
    weight, time, cost : columns of numbers: how much a vote counts, seconds since the epoch, price.
    space : the classes and their order; else what the file notes, else the classes that occur.
    missing : texts that mean "no answer".

    Raises
    ------
    InputError : a missing column or id, an unknown class, a bad number, two gold classes for a task; names the row.
    """
    wanted = [name for name in (task, worker, label, gold, weight, time, cost) if name is not None]
    table, told = table_of(source, missing, [task, worker, label, *([gold] if gold else [])])
    for name in wanted:
        files.require_column(name, table.schema.names, told)
    if table.num_rows == 0:
        raise InputError(f"{told} has columns but no rows.")
    answers, truths = Cells(table[label], missing), None if gold is None else Cells(table[gold], missing)
    noted = columnar.space_of(table.schema, told)
    if space is None and noted is not None and noted[0] == label:
        space = noted[1]
    space = space or answers.space or Space.from_values([*answers.names(), *(truths.names() if truths else ())])
    task_ids, tasks = _ids(table[task], task)
    worker_ids, workers = _ids(table[worker], worker)
    codes, cast = answers.codes(space)
    extra: dict[str, Any] = {
        key: None if name is None else _numbers(table[name], name)[cast]
        for key, name in (("weight", weight), ("time", time), ("cost", cost))
    }
    votes = Votes(space, tasks[cast], workers[cast], codes[cast], task_ids, worker_ids, **extra)
    return VotesAndGold(votes, None if truths is None else _gold(truths, tasks, len(task_ids), space))


def vote_blocks(paths: Iterable[Path | str], space: Space, **columns: Any) -> Callable[[], Iterator[VotesAndGold]]:
    """Votes that lie in several files, each with all votes on its tasks; read one file at a time.

    The result is what `fit_blocks` of an aggregator takes. `columns` are the options of `read_votes`.
    """
    listed = [Path(path) for path in paths]
    for path in listed:
        files.require_file(path)

    def blocks() -> Iterator[VotesAndGold]:
        for path in listed:
            try:
                yield read_votes(path, space=space, **columns)
            except InputError as error:
                raise InputError(f"{path.name}: {error}") from error

    return blocks


def votes_from_matrix(
    matrix: npt.ArrayLike,
    space: Space | None = None,
    *,
    missing: Literal["nan"] | int,
    task_ids: Sequence[Any] | None = None,
    worker_ids: Sequence[Any] | None = None,
) -> Votes:
    """Read an array (n, w) with a row a task and a column a worker.

    `missing` says what stands for no answer: "nan" (also None in arrays of objects), or a number such as -1.
    """
    cells = np.asarray(matrix)
    if cells.ndim != 2:
        raise InputError(f"A matrix of votes has shape (tasks, workers), got {cells.shape}.")
    if missing == "nan":
        absent = np.isnan(cells) if cells.dtype.kind == "f" else np.zeros(cells.shape, bool)
        if cells.dtype.kind == "O":
            absent = np.array([is_missing(value) for value in cells.ravel()], bool).reshape(cells.shape)
    else:
        absent = cells == missing
    row, column = np.nonzero(~absent)
    ids: list[npt.NDArray[Any]] = []
    for given, size, what in ((task_ids, cells.shape[0], "task"), (worker_ids, cells.shape[1], "worker")):
        if given is not None and len(given) != size:
            raise InputError(f"The matrix has {size} {what}s, but {len(given)} {what}_ids were given.")
        ids.append(np.arange(size) if given is None else np.asarray(given))
    labels = Hard.from_values(cells[row, column], space, missing=())
    return Votes(labels.space, row, column, labels.y, ids[0], ids[1])


class Cells:
    """A column of answers `(v,)` of any Arrow type: its different values are looked at once, not once a row."""

    def __init__(self, column: pa.ChunkedArray, missing: Collection[str]) -> None:
        kind = column.type
        self.space: Space | None = None
        if pa.types.is_dictionary(kind):
            if kind.ordered and len(column):
                values = column.unify_dictionaries().chunk(0).dictionary.to_pylist()
                self.space = Space(tuple(name_of(value) for value in values))
            column = column.cast(kind.value_type)
        encoded = pc.dictionary_encode(column, null_encoding="encode").combine_chunks()
        encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
        self.values: list[Any] = encoded.dictionary.to_pylist()
        self.known = np.array([not is_missing(value, missing) for value in self.values], dtype=bool)
        self.inverse: npt.NDArray[np.int64] = encoded.indices.to_numpy().astype(np.int64)

    def names(self) -> list[Any]:
        """The different answers."""
        return [value for value, known in zip(self.values, self.known, strict=True) if known]

    def codes(self, space: Space) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
        """Codes `(v,)` and which rows hold an answer `(v,)`; a class that `space` lacks raises and names its row."""
        present = self.known[self.inverse]
        where = {name: code for code, name in enumerate(space.names)}
        found = [
            where.get(name_of(value), -1) if known else 0 for value, known in zip(self.values, self.known, strict=True)
        ]
        codes = np.array(found, dtype=np.int32)[self.inverse] if found else np.zeros(0, np.int32)
        wrong = np.flatnonzero(codes < 0)
        if wrong.size:
            came = self.values[int(self.inverse[wrong[0]])]
            raise InputError(f"Unknown class {name_of(came)!r}: the space holds {space.names[:5]}.", row=int(wrong[0]))
        return codes, present


def table_of(source: Any, missing: Collection[str], as_text: Collection[str]) -> tuple[pa.Table, str]:
    """The source as an Arrow table, and what to call it."""
    if isinstance(source, pa.Table):
        return columnar.named(source), "The table"
    if not isinstance(source, str | Path):
        if not frames.is_frame(source):
            raise InputError(f"A {type(source).__name__} is no table of votes: give a path or a frame.")
        return columnar.named(frames.read(source)), "The frame"
    path = Path(source)
    files.require_file(path)
    form = files.form_of(path)
    if form == "delimited":
        return delimited.read(path, missing, as_text), path.name
    readers = {"jsonlines": jsonlines.read, "columnar": columnar.read}
    return readers.get(form, arrays.read)(path), path.name


def _ids(column: pa.ChunkedArray, name: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Different ids in order of first appearance, and the code of each row `(v,)`."""
    if pa.types.is_integer(column.type) and not column.null_count:
        return code_ids(column.to_numpy())
    cells = Cells(column, ("",))
    if not cells.known.all():
        row = int(np.argmin(cells.known[cells.inverse]))
        raise InputError(f"Column {name!r} has an empty cell: each vote must name its task and its worker.", row=row)
    numbers = all(isinstance(value, int) and not isinstance(value, bool) for value in cells.values)
    ids = np.array(cells.values, np.int64) if numbers else np.array([name_of(value) for value in cells.values], np.str_)
    return ids, cells.inverse


def _numbers(column: pa.ChunkedArray, name: str) -> npt.NDArray[np.float64]:
    try:
        numbers = column.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise InputError(f"Column {name!r} must hold numbers ({str(error).rstrip('.')}).") from error
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if wrong.size:
        raise InputError(f"Column {name!r} must hold finite numbers.", row=int(wrong[0]))
    return np.asarray(numbers, dtype=np.float64)


def _gold(truths: Cells, tasks: npt.NDArray[np.int64], n: int, space: Space) -> Hard:
    """One known class a task `(n,)` from a column with one a vote."""
    codes, present = truths.codes(space)
    gold = np.full(n, -1, dtype=np.int32)
    gold[tasks[present]] = codes[present]
    wrong = np.flatnonzero(present & (gold[tasks] != codes))
    if wrong.size:
        raise InputError("A task has two different gold classes.", row=int(wrong[0]))
    return Hard(space, np.maximum(gold, 0), gold >= 0)

"""`rows.parquet`: what a verb found about every row, kept so that a person can review it.

One row a data row, in the order of the data set: `row`, `given`, `suggested`, `p_wrong`, `low`, `high`, `score`,
`flagged`, and where they are known `id`, the user's name of the row, and `path`, its image in a folder of images.
Labels are dictionary-coded; the schema carries the classes with their fingerprint, the verb, and where the data are:
the path of the source as seen from this folder, so that both can move together, and the SHA-256 of its bytes.

What the columns mean depends on the verb:

    audit      given and suggested label; the calibrated probability that the given one is wrong, with its interval.
    aggregate  most and second most probable class; one minus the belief in the first. Belief has no interval: nan.
               flagged: as many tasks as are expected to be wrong, the least sure ones.
    critic     the labels of candidates A and B; the probability that A is the worse one. `candidates.parquet`
               beside it has columns `row`, `candidate`, `label`: one line a candidate, rows rising.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from assay.errors import InputError
from assay.evidence import record
from assay.labels.formats import columnar, files
from assay.labels.spaces import Space
from assay.labels.votes import Votes

FILE, VOTES, CANDIDATES = "rows.parquet", "votes.parquet", "candidates.parquet"
KEY = b"assay.rows"
"""Schema metadata: the fields of `Origin` as JSON."""

Verb = Literal["audit", "aggregate", "critic"]
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the rows come from, and how to read them again.

    Parameters
    ----------
    verb : who wrote the rows.
    title : the name of the source, for a reader.
    label : the label column.
    source : the file or folder as seen from the folder of the results; None for a frame.
    sha256 : digest of the file's bytes; None where the source is no file.
    root : the folder below which image paths lie, as seen from the folder of the results.
    id, text, image : columns, where there are such.
    excluded : columns that the model did not see.
    """

    verb: str
    title: str
    label: str
    source: str | None = None
    sha256: str | None = None
    root: str | None = None
    id: str | None = None
    text: str | None = None
    image: str | None = None
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeptRows:
    """What is known about the label of each row.

    Parameters
    ----------
    origin, space : where the rows come from, and the k classes.
    given, suggested : `(n,)` codes, kept as int32; `given` is 0 where there is no label.
    present : `(n,)` bool, the row has a label.
    p_wrong, low, high, score : `(n,)`, kept as float32; nan where nothing is known.
    flagged : `(n,)` bool.
    ids : n names of the rows, or None.
    paths : n image paths below the source, or None.
    """

    origin: Origin
    space: Space
    given: npt.NDArray[np.integer[Any]]
    present: npt.NDArray[np.bool_]
    suggested: npt.NDArray[np.integer[Any]]
    p_wrong: Floats
    low: Floats
    high: Floats
    score: Floats
    flagged: npt.NDArray[np.bool_]
    ids: pa.Array | None = None
    paths: pa.Array | None = None


def seen_from(folder: Path, path: Path) -> str:
    """`path` as seen from `folder`, with slashes; its name alone where no relative path exists."""
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:  # another drive
        return path.name


def write_rows(kept: KeptRows, folder: Path) -> None:
    """Write `rows.parquet` into `folder`, beside and renamed."""
    names = pa.array(kept.space.names, pa.string())
    given = pa.array(kept.given.astype(np.int32), mask=~kept.present)
    columns: dict[str, Any] = {
        "row": np.arange(len(kept.given)),
        **({} if kept.ids is None else {"id": kept.ids}),
        **({} if kept.paths is None else {"path": kept.paths}),
        "given": pa.DictionaryArray.from_arrays(given, names),
        "suggested": pa.DictionaryArray.from_arrays(kept.suggested.astype(np.int32), names),
        **{name: np.asarray(getattr(kept, name), dtype=np.float32) for name in ("p_wrong", "low", "high", "score")},
        "flagged": kept.flagged,
    }
    table = columnar.with_space(pa.table(columns), kept.origin.label, kept.space)
    about = json.dumps(asdict(kept.origin), ensure_ascii=False).encode()
    columnar.write(table.replace_schema_metadata({**table.schema.metadata, KEY: about}), folder / FILE)


def read_rows(folder: Path) -> KeptRows:
    """Read the `rows.parquet` of a folder; memory is about 30 bytes a row, beside ids and paths.

    Raises
    ------
    InputError : the folder holds no results, or a file that was edited or cut off.
    """
    path = folder / FILE
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}: give the results of `assay audit` or `assay aggregate`.")
    if not path.is_file():
        raise InputError(f"{folder} has no {FILE}: run `assay audit` or `assay aggregate` again, which leave it.")
    table = columnar.read(path)
    about, noted = (table.schema.metadata or {}).get(KEY), columnar.space_of(table.schema, FILE)
    wanted = {"given", "suggested", "p_wrong", "low", "high", "score", "flagged"}
    try:
        if about is None or noted is None or not wanted <= set(table.column_names):
            raise InputError("a column or a note is missing")
        origin, space = record.build(Origin, json.loads(about), FILE), noted[1]
    except ValueError:  # JSON that is none, too
        raise InputError(f"{path} was not written by assay: run `assay audit` or `assay aggregate` again.") from None
    codes, present = _codes(table["given"], space)
    suggested, known = _codes(table["suggested"], space)
    if not known.all():
        raise InputError(f"{FILE} suggests nothing: it was edited.", row=int(np.argmin(known)))
    numbers = {name: table[name].to_numpy().astype(np.float32) for name in ("p_wrong", "low", "high", "score")}
    return KeptRows(
        origin=origin,
        space=space,
        given=codes,
        present=present,
        suggested=suggested,
        flagged=table["flagged"].to_numpy().astype(bool),
        ids=_whole(table, "id"),
        paths=_whole(table, "path"),
        **numbers,
    )


def _codes(column: pa.ChunkedArray, space: Space) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Codes of a dictionary column in the order of the space, 0 where missing, and where they are there."""
    whole, code = _one(column.unify_dictionaries()), {name: at for at, name in enumerate(space.names)}
    there = np.asarray(whole.is_valid())
    try:
        codes = np.array([code[name] for name in whole.dictionary.to_pylist()] or [0], dtype=np.int32)
    except KeyError:
        raise InputError(f"{FILE} names a class that its schema lacks: it was edited.") from None
    return np.where(there, codes[whole.indices.fill_null(0).to_numpy()], 0).astype(np.int32), there


def _whole(table: pa.Table, name: str) -> pa.Array | None:
    return _one(table[name]) if name in table.column_names else None


def _one(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def write_votes(votes: Votes, folder: Path) -> None:
    """Write `votes.parquet`: `row` of the task, `worker`, `label`, rows rising; a reader finds a row by bisection."""
    order = np.argsort(votes.task, kind="stable")
    workers = pa.array([str(name) for name in votes.worker_ids.tolist()], pa.string())
    columns = {
        "row": votes.task[order].astype(np.int64),
        "worker": pa.DictionaryArray.from_arrays(votes.worker[order].astype(np.int32), workers),
        "label": pa.DictionaryArray.from_arrays(
            votes.label[order].astype(np.int32), pa.array(votes.space.names, pa.string())
        ),
    }
    columnar.write(pa.table(columns), folder / VOTES)


def write_candidates(rows: npt.ArrayLike, candidates: Sequence[str], labels: Sequence[str], folder: Path) -> None:
    """Write `candidates.parquet`: m lines of `row`, the name of a `candidate`, and the `label` it proposes."""
    order = np.argsort(np.asarray(rows, dtype=np.int64), kind="stable")
    columns = {
        "row": np.asarray(rows, dtype=np.int64)[order],
        "candidate": pa.array(candidates, pa.string()).take(order),
        "label": pa.array(labels, pa.string()).take(order),
    }
    columnar.write(pa.table(columns), folder / CANDIDATES)


class Lines:
    """Lines of `votes.parquet` or `candidates.parquet`, found by their data row."""

    def __init__(self, path: Path) -> None:
        files.require_file(path)
        self._table = pq.read_table(path)
        self._rows = self._table["row"].to_numpy()

    def of(self, row: int) -> list[list[str]]:
        """The other two columns of the lines of a data row."""
        first, last = np.searchsorted(self._rows, [row, row + 1])
        found = self._table.slice(int(first), int(last - first))
        return [list(pair) for pair in zip(*(found.column(at).to_pylist() for at in (1, 2)), strict=True)]

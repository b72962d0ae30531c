"""Predicted probabilities from files: columns that have names are matched by name, never by position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assay.errors import InputError
from assay.labels.formats import arrays, columnar, delimited, files, jsonlines
from assay.labels.hard import Hard
from assay.labels.spaces import Space

Block = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.bool_]]
FLOATS = (np.float16, np.float32, np.float64)


def read_probabilities(path: Path | str, space: Space) -> npt.NDArray[Any]:
    """Predicted probabilities `(n, k)` in the order of the space, float16, float32 or float64 as they were stored.

    Parameters
    ----------
    path : `.npy` with one `(n, k)` array; `.npz` with one such array, and the class names of its columns in an array
        `names` or `classes` if there is one; CSV, TSV, JSON lines, Parquet or Arrow with one column a class, named by
        it, or (Parquet, Arrow) one column of lists.
    space : the classes. Named columns are permuted into its order; unnamed ones (arrays without names, lists, columns
        named 0 to k-1) are taken in the order given.

    Raises
    ------
    InputError : other columns than the classes, another number of them, missing cells, NaN.
    """
    path = Path(path)
    form = files.form_of(path)
    files.require_file(path)
    if form == "arrays":
        matrix, names = _from_arrays(path)
    else:
        if form == "delimited":
            table = delimited.read(path, delimited.MISSING)
        else:
            table = jsonlines.read(path) if form == "jsonlines" else columnar.read(path)
        if table.num_columns == 1 and _is_list(table.schema.field(0).type):
            matrix, names = _rows_of_lists(table.column(0).combine_chunks(), space.n_classes, 0), None
        else:
            matrix, names = _side_by_side(table, 0), table.schema.names
    return _in_order(matrix, names, space, path.name)


def _from_arrays(path: Path) -> tuple[npt.NDArray[Any], list[str] | None]:
    found = arrays.load(path)
    named = next((found.pop(key) for key in ("names", "classes") if key in found), None)
    matrices = {key: array for key, array in found.items() if array.ndim == 2 and array.dtype.kind in "fiu"}
    if len(matrices) != 1:
        told = ", ".join(f"{key!r} {array.shape}" for key, array in found.items())
        raise InputError(f"{path.name} must hold one (n, k) array of probabilities, got {told}.")
    return next(iter(matrices.values())), None if named is None else [str(name) for name in named]


def _in_order(matrix: npt.NDArray[Any], names: list[str] | None, space: Space, told: str) -> npt.NDArray[Any]:
    """Check the matrix and put its columns into the order of the space."""
    k = space.n_classes
    if matrix.shape[1] != k:
        raise InputError(f"{told} has {matrix.shape[1]} columns of probabilities; the label space has {k} classes.")
    if matrix.dtype not in FLOATS:
        matrix = matrix.astype(np.float64)
    # Log-probabilities may be minus infinity, so only NaN is wrong for certain.
    wrong = np.flatnonzero(np.isnan(matrix).any(axis=1))
    if wrong.size:
        raise InputError(f"{told} has a probability that is not a number.", row=int(wrong[0]))
    numbered = [str(i) for i in range(k)]
    if names is None or (names == numbered and set(space.names) != set(numbered)):
        return matrix
    order = space.permutation(Space(tuple(names), space.kind, space.open_set))
    return matrix if np.array_equal(order, np.arange(k)) else matrix[:, order]


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _rows_of_lists(column: pa.Array, k: int, first_row: int) -> npt.NDArray[Any]:
    """A column of lists of k numbers as an array `(n, k)`, without a copy where Arrow allows."""
    if column.null_count:
        raise InputError("A row has no probabilities.", row=first_row + column.is_null().index(True).as_py())
    if not pa.types.is_fixed_size_list(column.type):
        lengths = np.asarray(column.value_lengths())
        if (lengths != k).any():
            row = int(np.argmax(lengths != k))
            raise InputError(f"A row has {lengths[row]} probabilities; expected {k}.", row=first_row + row)
    elif column.type.list_size != k:
        raise InputError(f"Rows have {column.type.list_size} probabilities; expected {k}.")
    flat = column.flatten()
    if flat.null_count:
        raise InputError("A probability is missing.", row=first_row + flat.is_null().index(True).as_py() // k)
    return np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(-1, k)


def _side_by_side(table: pa.Table, first_row: int) -> npt.NDArray[Any]:
    """Number columns side by side `(n, k)`."""
    for name, column in zip(table.schema.names, table.columns, strict=True):
        if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            raise InputError(f"Column {name!r} holds {column.type}; every column must be the probabilities of a class.")
        if column.null_count:
            row = first_row + int(np.argmax(column.is_null().to_numpy()))
            raise InputError(f"A probability of class {name!r} is missing.", row=row)
    return np.column_stack([column.to_numpy() for column in table.columns])


@dataclass(frozen=True, slots=True)
class ProbabilityBlocks:
    """Labels and probabilities of a file, a block of rows at a time; iterate as often as needed.

    `ConfidentLearning().fit_blocks(lambda: blocks)` audits them.

    Parameters
    ----------
    path : Parquet or Arrow file with labels and probabilities, or `.npy` file with probabilities `(n, k)`.
    space : the classes, in the order of the probabilities or to be matched by the names of `columns`.
    label : name of the label column; for `.npy`, path of a `.npy` file with labels `(n,)`. Text is class names.
        Integers are codes if they all lie in 0..k-1 of a space whose names are not numbers, else class names.
    columns : name of one column of lists, or the names of k columns.
    block_rows : rows in a block.

    Yields
    ------
    labels : codes `(b,)` int32; the value under a false mask means nothing.
    probabilities : `(b, k)`, float16, float32 or float64 as they are stored; read-only where Arrow owns them.
    mask : `(b,)` bool, true = labelled.
    """

    path: Path
    space: Space
    label: str | Path
    columns: str | Sequence[str]
    block_rows: int = 65536

    def __iter__(self) -> Iterator[Block]:
        return self._from_npy() if files.form_of(self.path) == "arrays" else self._from_columns()

    def _block(self, values: npt.NDArray[Any] | list[Any], matrix: npt.NDArray[Any], first_row: int) -> Block:
        try:
            array = np.asarray(values)
            numbers = set(self.space.names) == set(map(str, range(self.space.n_classes)))
            is_code = array.dtype.kind in "iu" and not numbers
            labels = Hard(self.space, array) if is_code else Hard.from_values(values, self.space)
        except InputError as error:
            if error.row is None:
                raise
            raise InputError(str(error).rsplit(" (first", 1)[0], row=first_row + error.row) from None
        return labels.y, matrix, labels.present

    def _from_columns(self) -> Iterator[Block]:
        wanted = [self.columns] if isinstance(self.columns, str) else list(self.columns)
        k, done = self.space.n_classes, 0
        if not isinstance(self.columns, str) and set(wanted) == set(self.space.names):
            wanted = list(self.space.names)
        elif not isinstance(self.columns, str) and len(wanted) != k:
            raise InputError(f"{len(wanted)} columns of probabilities were named; the label space has {k} classes.")
        with columnar.blocks(self.path, [str(self.label), *wanted], self.block_rows) as (schema, batches):
            for batch in batches:
                block = columnar.named(pa.Table.from_batches([batch]).replace_schema_metadata(schema.metadata))
                cells = block.column(0).combine_chunks()
                values = (
                    cells.to_pylist() if cells.null_count or not pa.types.is_integer(cells.type) else cells.to_numpy()
                )
                if isinstance(self.columns, str):
                    matrix = _rows_of_lists(block.column(1).combine_chunks(), k, done)
                else:
                    matrix = _side_by_side(block.select(wanted), done)
                yield self._block(values, matrix, done)
                done += block.num_rows

    def _from_npy(self) -> Iterator[Block]:
        matrix, codes = _mapped(self.path), _mapped(Path(self.label))
        if matrix.ndim != 2 or codes.ndim != 1 or len(matrix) != len(codes) or matrix.shape[1] != self.space.n_classes:
            raise InputError(
                f"Expected probabilities (n, {self.space.n_classes}) and labels (n,), "
                f"got {matrix.shape} and {codes.shape}."
            )
        for start in range(0, len(matrix), self.block_rows):
            rows = slice(start, start + self.block_rows)
            # A copy, so that the pages of the file can leave memory again.
            yield self._block(np.array(codes[rows]), np.array(matrix[rows]), start)


def _mapped(path: Path) -> npt.NDArray[Any]:
    files.require_file(path)
    try:
        loaded: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path.name} is cut off, damaged or not a .npy file of numbers ({error}).") from error
    return loaded


def probability_blocks(
    path: Path | str,
    space: Space,
    *,
    label: str | Path,
    columns: str | Sequence[str] = "pred_probs",
    block_rows: int = 65536,
) -> ProbabilityBlocks:
    """Open labels and probabilities that are larger than memory; see `ProbabilityBlocks` for what it yields."""
    path = Path(path)
    if block_rows < 1:
        raise InputError(f"A block must hold at least one row, got block_rows={block_rows}.")
    if files.form_of(path) not in ("columnar", "arrays") or path.suffix.lower() == ".npz":
        raise InputError(f"{path.name} is not read in blocks: save probabilities as .parquet or as .npy.")
    return ProbabilityBlocks(path, space, label, columns, block_rows)

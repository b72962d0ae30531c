"""numpy archives: `.npz` with one array a column, `.npy` with a record array. Never pickles."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assay.errors import InputError
from assay.labels.formats import columnar, files
from assay.labels.spaces import Space

NAMES, MASK = ".names", ".mask"  # beside the codes `y`: class names `y.names` (k,) and presence `y.mask` (n,) bool


def load(path: Path) -> dict[str, npt.NDArray[Any]]:
    """All arrays of an archive, or the one array of a `.npy` file under the empty name."""
    files.require_file(path)
    try:
        with path.open("rb") as stream:
            start = stream.read(6)
        if start != b"\x93NUMPY" and start[:2] != b"PK":
            raise InputError(f"{path.name} is no numpy file: save the array with `np.save` or `np.savez`.")
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"": loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except InputError:
        raise
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        if "pickle" in str(error).lower():
            raise InputError(
                f"{path.name} holds Python objects, which only a pickle can hold: save text as a unicode array "
                "(dtype 'U') and numbers as a numeric one."
            ) from None
        raise InputError(f"{path.name} is cut off or damaged ({error}): fetch or write it again.") from error


def read(path: Path) -> pa.Table:
    """One column an array: 1-D as it is, more dimensions as a fixed-shape tensor; class names beside it are noted."""
    arrays = load(path)
    if "" in arrays:
        only = arrays.pop("")
        if only.dtype.names is None or only.ndim != 1:
            raise InputError(
                f"{path.name} is one array {only.shape} without column names: save features and labels together, "
                "`np.savez('data.npz', x=x, y=y)`."
            )
        arrays = {name: only[name] for name in only.dtype.names}
    named = {name.removesuffix(NAMES): arrays.pop(name) for name in list(arrays) if _beside(name, NAMES, arrays)}
    masks = {name.removesuffix(MASK): arrays.pop(name) for name in list(arrays) if _beside(name, MASK, arrays)}
    lengths = {name: array.shape[0] if array.ndim else -1 for name, array in arrays.items()}
    if len(set(lengths.values())) > 1 or -1 in lengths.values():
        told = ", ".join(f"{name!r} {array.shape}" for name, array in arrays.items())
        raise InputError(f"The arrays of {path.name} must have one length, got {told}.")
    table = pa.table({name: _column(array, name, masks.get(name)) for name, array in arrays.items()})
    for label, names in named.items():
        table = _with_names(table, label, Space(tuple(map(str, names))))
    return table


def _beside(name: str, ending: str, arrays: dict[str, npt.NDArray[Any]]) -> bool:
    return name.endswith(ending) and name.removesuffix(ending) in arrays


def _column(array: npt.NDArray[Any], name: str, mask: npt.NDArray[np.bool_] | None) -> pa.Array:
    try:
        if array.ndim > 1:
            return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(array))
        # numpy text is fixed-width UTF-32, which Arrow takes only through a list.
        values = array.tolist() if array.dtype.kind in "US" else array
        return pa.array(values, mask=None if mask is None else ~mask)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, TypeError) as error:
        raise InputError(f"Array {name!r} of {array.dtype} {array.shape} is no column: {error}.") from None


def _with_names(table: pa.Table, label: str, space: Space) -> pa.Table:
    codes = table[label].combine_chunks()
    present = codes.drop_null().to_numpy(zero_copy_only=False)
    if present.size and (present.dtype.kind not in "iu" or present.min() < 0 or present.max() >= space.n_classes):
        raise InputError(
            f"Array {label!r} must hold codes in 0..{space.n_classes - 1}, as {label + NAMES!r} names them."
        )
    cells = pa.array(space.names, pa.string()).take(codes)
    return columnar.with_space(table.set_column(table.schema.get_field_index(label), label, cells), label, space)


def write(
    table: pa.Table, path: Path, label: str, codes: npt.NDArray[Any], present: npt.NDArray[Any], space: Space
) -> None:
    """Write an archive: one array a column, the label as int32 codes with `.names` and `.mask` beside it."""
    if files.suffix_of(path) != ".npz":
        raise InputError(f"A table is written to .npz, not to {path.name}: .npy holds one array.")
    arrays: dict[str, Any] = {}
    for name, column in zip(table.schema.names, table.columns, strict=True):
        if column.null_count:
            row = int(np.argmax(column.is_null().to_numpy()))
            raise InputError(f"Column {name!r} has missing cells, which .npz cannot hold: write .parquet.", row=row)
        arrays[name] = _array(column, name)
    arrays |= {label: codes, label + NAMES: np.array(space.names, dtype=np.str_), label + MASK: present}
    with files.replacing(path) as out:
        np.savez_compressed(out, **arrays)


def _array(column: pa.ChunkedArray, name: str) -> npt.NDArray[Any]:
    kind = column.type
    whole = column.combine_chunks()
    if isinstance(kind, pa.FixedShapeTensorType):
        return np.asarray(whole.to_numpy_ndarray())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.array(whole.to_pylist(), dtype=np.str_)
    array = np.asarray(whole.to_numpy(zero_copy_only=False))
    if array.dtype.kind not in "biuf":
        raise InputError(f"Column {name!r} of type {kind} does not fit into .npz: write .parquet.")
    return array

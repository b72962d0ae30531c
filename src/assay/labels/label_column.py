"""The label column of a table: which it is, its classes, its codes; and the column of ids."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assay.errors import InputError
from assay.labels.formats import columnar, delimited
from assay.labels.hard import Hard, is_missing
from assay.labels.spaces import Space, name_of


def label_name(label: str | None, noted: tuple[str, Space] | None, table: pa.Table, told: str) -> str:
    """The label column: as named, or as the source notes it."""
    if label is not None:
        return label
    if noted is not None:
        return noted[0]
    raise InputError(f"Which column of {told} is the label? {_candidates(table, '')}.")


def _candidates(table: pa.Table, but: str) -> str:
    """The columns that look like labels: few values that come back."""
    few = []
    for name, column in zip(table.schema.names, table.columns, strict=True):
        kind = column.type
        plain = pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_dictionary(kind)
        if name != but and (plain or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            values = len(_whole(column).drop_null().unique())
            if 2 <= values <= min(1000, table.num_rows // 2):
                few.append(repr(name))
    if few:
        return f"Columns that look like labels are {', '.join(few[:10])}"
    return f"The columns are {', '.join(map(repr, table.schema.names[:20]))}"


def ordered_space(column: pa.ChunkedArray) -> Space | None:
    """The space of an ordered category; other dictionaries list their values as they happened to come."""
    if not (pa.types.is_dictionary(column.type) and column.type.ordered):
        return None
    return Space(tuple(name_of(value) for value in _whole(column).dictionary.to_pylist()))


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """One array of all chunks."""
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def codes_of(table: pa.Table, label: str, space: Space | None, missing: Collection[str]) -> Hard:
    """The codes of a label column; what is done once a value, not once a row, keeps ten million rows fast."""
    column = table[label]
    kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or isinstance(kind, pa.BaseExtensionType):
        raise InputError(f"Label column {label!r} holds {kind}; expected one class a row as text, integer or bool.")
    whole = _whole(column)
    if pa.types.is_null(kind):
        whole = whole.cast(pa.string())
    encoded = whole if pa.types.is_dictionary(whole.type) else whole.dictionary_encode()
    values = encoded.dictionary.to_pylist()
    nothing = set(missing) - set(space.names if space is not None else ())
    indices = encoded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False).astype(np.int64)
    counts = np.bincount(indices, minlength=len(values) + 1)[:-1]
    known = np.array([not is_missing(value, nothing) for value in values], dtype=bool) & (counts > 0)
    if space is None:
        _require_classes([values[i] for i in np.flatnonzero(known)], int(counts[known].sum()), label, table)
        space = Space.from_values(value for value, there in zip(values, known, strict=True) if there)
    where = {name: code for code, name in enumerate(space.names)}
    codes = np.array([where.get(name_of(value), -1) for value in values] + [0], dtype=np.int32)
    present = np.append(known, False)
    unknown = present & (codes < 0)
    if unknown.any():
        row = int(np.argmax(unknown[indices]))
        name = name_of(values[int(indices[row])])
        names = ", ".join(map(repr, space.names[:10])) + (", ..." if space.n_classes > 10 else "")
        raise InputError(f"Unknown class {name!r} in column {label!r}: the space holds {names}.", row=row)
    return Hard(space, np.maximum(codes, 0)[indices], present[indices])


def _require_classes(values: list[Any], n: int, label: str, table: pa.Table) -> None:
    """Raise unless the different values found in n labelled rows look like classes."""
    k = len(values)
    if n == 0:
        raise InputError(f"No row has a label: every cell of column {label!r} is missing.")
    if k == 1:
        raise InputError(
            f"Column {label!r} holds one class only, {name_of(values[0])!r}; at least two are needed. "
            f"{_candidates(table, label)}."
        )
    number = any(isinstance(value, float) and not value.is_integer() for value in values)
    if k > 50 and (k > n / 2 or number):
        what = "a number to be predicted" if number else "an id, a number or a text"
        raise InputError(
            f"Column {label!r} has {k} different values in {n} labelled rows: it looks like {what}, not like classes. "
            f"{_candidates(table, label)}."
        )


def ids_of(column: pa.ChunkedArray, name: str, is_text: bool) -> pa.Array:
    """The ids, all there and all different."""
    whole = _whole(column)
    if whole.null_count:
        raise InputError(f"Column {name!r} has no id.", row=pc.index(whole.is_null(), True).as_py())
    if pa.types.is_dictionary(whole.type):
        whole = whole.cast(whole.type.value_type)
    codes = whole.dictionary_encode().indices.to_numpy()
    # Codes are given in order of appearance, so an id that is not new does not raise the highest code so far.
    again = np.flatnonzero(codes[1:] <= np.maximum.accumulate(codes)[:-1])
    if again.size:
        row = int(again[0]) + 1
        before = int(np.argmax(codes == codes[row]))
        raise InputError(
            f"Ids must differ: {whole[row].as_py()!r} in column {name!r} stands at row {before} too.", row=row
        )
    return whole.cast(pa.int64()) if is_text and delimited.rank(whole, ()) == 0 else whole


def cells_of(labels: Hard, kind: pa.DataType) -> pa.Array:
    """The label column in its type, from codes."""
    absent = ~labels.present
    codes = pa.array(labels.y.astype(np.int32), mask=absent)
    if not pa.types.is_dictionary(kind):
        values = [columnar.cell_of(name, kind, None, None) for name in labels.space.names]
        return pa.array(values, kind).take(codes)
    values = [columnar.cell_of(name, kind.value_type, None, None) for name in labels.space.names]
    narrow = labels.space.n_classes <= np.iinfo(kind.index_type.to_pandas_dtype()).max
    indices = codes.cast(kind.index_type) if narrow else codes
    return pa.DictionaryArray.from_arrays(indices, pa.array(values, kind.value_type), ordered=kind.ordered)

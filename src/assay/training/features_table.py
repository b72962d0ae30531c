"""Columns of an Arrow table as numbers that trees can split, without pandas and without labels.

Numbers stay; missing ones stay missing (nan), since the default trees give them a branch of their own. Categories
become their rank by frequency, so that one split parts the common from the rare; rare ones share the last rank. On
Adult this equals native categorical splits in log loss (0.439 and 0.440) and needs no list of categorical columns.
Dates become days, and what recurs in them: month, weekday, hour.

Row numbers and other identifiers are left out, because files are often sorted by label and a row number then gives the
label away. A column that predicts the label alone and almost without fault is kept, with a warning: if it was derived
from the label, it hides every error in it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from assay.errors import InputError
from assay.training.features import Features

Floats = npt.NDArray[np.float64]

RARE = 5  # categories with fewer rows share one rank
RANKS = 200  # at most so many ranks; boosted trees see 255
UNIQUE = 0.9  # share of distinct values above which a column of texts names rows instead of describing them
LEAK_ROWS = 4000  # rows on which a column is tried as a copy of the label


def table_features(table: pa.Table, labels: npt.ArrayLike | None = None, mask: npt.ArrayLike | None = None) -> Features:
    """Turn columns into a matrix (n, d) float64 with nan for missing values.

    Parameters
    ----------
    table : the columns to read, without the label column.
    labels : (n,) integer codes; used for nothing but the warning about columns that copy the label.
    mask : (n,) True where the row has a label.

    Returns
    -------
    Features; `notes` name the columns that were left out and why, `warnings` the ones that look like the label.

    Raises
    ------
    InputError when no usable column is left.

    >>> import pyarrow as pa
    >>> table_features(pa.table({"size": [1.5, None, 3.0], "sort": ["a", "b", "a"]})).names
    ('size', 'sort')
    """
    columns: list[Floats] = []
    names: list[str] = []
    notes: list[str] = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        values = column.combine_chunks()
        made, note = read_column(
            name, values if isinstance(values, pa.Array) else pa.chunked_array(values).combine_chunks()
        )
        if note:
            notes.append(note)
        for suffix, numbers in made:
            columns.append(numbers)
            names.append(f"{name}{suffix}")
    if not columns:
        raise InputError(f"No usable column is left of {table.num_columns}. " + " ".join(notes))
    matrix = np.stack(columns, axis=1)
    warnings = () if labels is None else _leaks(matrix, names, np.asarray(labels), mask)
    return Features(matrix, "table", tuple(names), tuple(notes), warnings)


Made = list[tuple[str, Floats]]


def read_column(name: str, values: pa.Array) -> tuple[Made, str | None]:
    """Columns of numbers made from one Arrow column, and a note when it is left out or changed."""
    if isinstance(values, pa.DictionaryArray):
        values = values.dictionary_decode()
    kind = values.type
    if values.null_count == len(values):
        return [], f"Column {name!r} holds no value and is left out."
    if pa.types.is_boolean(kind):
        made, note = [("", floats(values.cast(pa.int8())))], None
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        if pa.types.is_integer(kind) and _numbers_rows(values):
            return [], f"Column {name!r} numbers the rows and is left out."
        made, note = _numbers(name, values)
    elif pa.types.is_temporal(kind):
        made, note = times(values), None
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        made, note = _categories(name, values)
    else:
        return [], f"Column {name!r} is of type {kind} and is left out."
    varied = [(suffix, numbers) for suffix, numbers in made if len(np.unique(numbers)) > 1]
    if made and not varied:
        return [], f"Column {name!r} is constant and is left out."
    return varied, note


def floats(values: pa.Array) -> Floats:
    """Float64 with nan where the value is missing; integers beyond 2**53 are rounded, which no split minds."""
    return np.asarray(values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)


def _numbers(name: str, values: pa.Array) -> tuple[Made, str | None]:
    numbers = floats(values).copy()
    infinite = np.isinf(numbers)
    if not infinite.any():
        return [("", numbers)], None
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return [], f"Column {name!r} holds no finite number and is left out."
    numbers[infinite] = np.clip(numbers[infinite], finite.min(), finite.max())
    return [("", numbers)], f"Column {name!r}: {int(infinite.sum())} infinite values count as its extremes."


def _numbers_rows(values: pa.Array) -> bool:
    """Whether the integers are distinct and without a gap, in any order."""
    if values.null_count or len(values) < 20:
        return False
    low, high = (bound.as_py() for bound in pc.min_max(values).values())
    return bool(high - low + 1 == len(values) and pc.count_distinct(values).as_py() == len(values))


def times(values: pa.Array) -> Made:
    """Days since 1970 with fractions; month, weekday and hour where the type holds them."""
    kind = values.type
    if pa.types.is_duration(kind):
        return [("", floats(values.cast(pa.int64())))]
    if pa.types.is_time(kind):
        return [("", floats(values.cast(pa.time64("us")).cast(pa.int64())))]
    if not pa.types.is_timestamp(kind) and not pa.types.is_date(kind):
        return []
    parts: dict[str, Callable[[pa.Array], pa.Array]] = {" month": pc.month, " weekday": pc.day_of_week}
    if pa.types.is_timestamp(kind):
        parts[" hour"] = pc.hour
    days = floats(values.cast(pa.timestamp("us")).cast(pa.int64())) / 86_400e6
    return [("", days), *((suffix, floats(part(values))) for suffix, part in parts.items())]


def _categories(name: str, values: pa.Array) -> tuple[Made, str | None]:
    """Rank of each category by frequency, equals in code-point order; rare ones share the last rank."""
    counted = pc.value_counts(values.drop_null())
    found, counts = counted.field("values").to_pylist(), counted.field("counts").to_numpy()
    rows = int(counts.sum())
    if rows >= 20 and len(found) > UNIQUE * rows:
        lengthy = sum(map(len, found)) / len(found) > 30
        advice = (
            f"if it is the text to judge, audit it as a text (--text {name})"
            if lengthy
            else "it seems to name the rows"
        )
        return [], f"Column {name!r} has {len(found)} distinct values in {rows} rows and is left out: {advice}."
    order = sorted(range(len(found)), key=lambda i: (-counts[i], found[i]))
    common = [i for i in order if counts[i] >= RARE][: RANKS - 1] or order[: RANKS - 1]
    rank = {found[i]: float(place) for place, i in enumerate(common)}
    rest = float(len(common))
    codes = np.array([np.nan if value is None else rank.get(value, rest) for value in values.to_pylist()])
    merged = len(found) - len(common)
    return [("", codes)], f"Column {name!r}: its {merged} rarest categories count as one." if merged > 1 else None


def _leaks(
    matrix: Floats, names: list[str], labels: npt.NDArray[np.generic], mask: npt.ArrayLike | None
) -> tuple[str, ...]:
    """Warn about columns that alone predict the label, almost without fault and far better than its commonest value."""
    labelled = np.ones(len(labels), dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
    rows = np.flatnonzero(labelled)
    rows = rows[:: -(-len(rows) // LEAK_ROWS)] if len(rows) else rows
    codes = labels[rows]
    counts = np.unique(codes, return_counts=True)[1]
    if len(counts) < 2 or counts.min() < 2:
        keep = np.isin(codes, np.unique(codes)[counts >= 2])
        rows, codes, counts = rows[keep], codes[keep], counts[counts >= 2]
    if len(counts) < 2:
        return ()
    found = []
    tree = DecisionTreeClassifier(max_leaf_nodes=max(8, 2 * len(counts)), random_state=0)
    halves = StratifiedKFold(2, shuffle=True, random_state=0)
    for name, column in zip(names, matrix.T, strict=True):
        guess = cross_val_predict(tree, column[rows, None], codes, cv=halves)
        missed, unexplained = int((guess != codes).sum()), len(codes) - int(counts.max())
        if missed <= 0.005 * len(codes) and missed <= 0.02 * unexplained:
            share = 1 - missed / len(codes)
            found.append(
                f"Column {name!r} alone predicts {share:.1%} of the labels: if it was made from the label, drop it, "
                "for it hides every error."
            )
    return tuple(found)

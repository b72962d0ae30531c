"""A table with labels, whatever it came from: one label column as codes, every other column with its type."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assay.errors import InputError
from assay.labels.formats import arrays, columnar, delimited, files, folders, frames, hub, jsonlines
from assay.labels.hard import Hard, is_missing
from assay.labels.spaces import Space, name_of

MISSING = delimited.MISSING


@dataclass(frozen=True, slots=True, eq=False)
class LabelledTable:
    """A table and the labels of its rows.

    Parameters
    ----------
    columns : every column but the label, with its type, in its order, `(n,)` rows.
    labels : the label column as codes; cells without a label are masked.
    label : name of the label column.
    label_type : type that the label column had, in which it is written again.
    ids : stable ids of the rows `(n,)`, all different, when a column was named for them.
    id : name of that column.
    media : what a row is: "table", "text" or "image".
    text : the column that holds the text.
    image : the column that holds the image: a path below `root`, bytes, or pixels.
    excluded : columns that are kept but say nothing about the label.
    source : the file or folder that was read, None for a frame.
    digest : SHA-256 of the bytes of the file, None for folders and frames.
    """

    columns: pa.Table
    labels: Hard
    label: str
    label_type: pa.DataType
    ids: pa.Array | None = None
    id: str | None = None
    media: str = "table"
    text: str | None = None
    image: str | None = None
    excluded: tuple[str, ...] = ()
    source: Path | None = None
    digest: str | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows, n."""
        return self.labels.n_rows

    @property
    def root(self) -> Path | None:
        """The folder below which image paths lie."""
        return self.source if self.source is None or self.source.is_dir() else self.source.parent

    @property
    def features(self) -> pa.Table:
        """The columns from which a label can be learned: all but the ids and the excluded ones."""
        return self.columns.drop_columns([name for name in {self.id, *self.excluded} if name is not None])

    def to_arrow(self) -> pa.Table:
        """Return all columns, the label last with the type it had, and its class order noted in the schema."""
        table = self.columns.append_column(self.label, _cells(self.labels, self.label_type))
        return columnar.with_space(table, self.label, self.labels.space)

    def to_frame(self, library: str) -> Any:
        """Return a "pandas" or "polars" frame; the label is an ordered category, so that class order is kept."""
        kind = pa.dictionary(pa.int32(), pa.string(), ordered=True)
        return frames.to_frame(self.columns.append_column(self.label, _cells(self.labels, kind)), library)

    def to_dataset(self) -> Any:
        """Return a Hugging Face `Dataset` whose label column is a `ClassLabel`, null where there is no label."""
        codes = pa.array(self.labels.y.astype(np.int64), mask=~self.labels.present)
        return hub.to_dataset(self.columns, self.label, codes, self.labels.space)


def read_table(
    source: Any,
    *,
    label: str | None = None,
    space: Space | None = None,
    id: str | None = None,
    text: str | None = None,
    image: str | None = None,
    missing: Collection[str] = MISSING,
    exclude: Collection[str] = (),
) -> LabelledTable:
    """Read a table with labels.

    Parameters
    ----------
    source : path of a CSV, TSV, JSON-lines (each also `.gz`), Parquet, Arrow, Feather or `.npz` file, of a folder with
        one sub-folder of images a class or of a saved Hugging Face data set; or a pandas, polars or pyarrow frame; or
        a `datasets.Dataset`.
    label : name of the label column; needed unless the source says it (image folders, files that assay wrote, data
        sets with a single `ClassLabel`).
    space : the classes and their order. Without it: those that the source notes, else those that occur.
    id : column with stable, different ids.
    text, image : column with the text, or with the image as path below the file's folder, as bytes or as pixels.
    missing : texts that mean "no label", and "no number" in columns of numbers of a text file. A name that is in the
        space is never missing.
    exclude : columns that say nothing about the label, such as a second copy of it.

    Raises
    ------
    InputError : one sentence about the first thing that is wrong with the source.
    """
    path = Path(source) if isinstance(source, str | Path) else None
    told = path.name if path is not None else "The table"
    if path is None:
        table = hub.read(source) if hub.is_dataset(source) else _frame(source)
    else:
        table = _file(path, missing, [name for name in (label, id) if name is not None])
    files.require_distinct(table.schema.names, told)
    noted = columnar.space_of(table.schema, told)
    label = _label_name(label, noted, table, told)
    for name in (label, *(name for name in (id, text, image) if name is not None), *exclude):
        files.require_column(name, table.schema.names, told)
    if label in {id, text, image, *exclude}:
        raise InputError(f"Column {label!r} is the label; it cannot be the id, the text, the image or excluded too.")
    if table.num_rows == 0:
        raise InputError(f"{told} has columns but no rows.")
    if table.num_rows == 1:
        raise InputError(f"{told} has one row: nothing can be learned about labels from a single one.")

    column = table[label]
    kind = column.type
    if path is not None and _is_text_file(path):
        kind = pa.int64() if delimited.rank(column, missing) == 0 else pa.string()
    given = space or (noted[1] if noted is not None and noted[0] == label else _ordered_space(column))
    labels = _labels(table, label, given, missing)
    columns = table.drop_columns([label]).replace_schema_metadata(
        {key: value for key, value in (table.schema.metadata or {}).items() if key != columnar.SPACE_KEY}
    )
    aside = {id, *exclude}
    text, image = _media(columns, text, image, aside, path)
    return LabelledTable(
        columns=columns,
        labels=labels,
        label=label,
        label_type=kind,
        ids=None if id is None else _ids(columns[id], id, path is not None and _is_text_file(path)),
        id=id,
        media="text" if text else "image" if image else "table",
        text=text,
        image=image,
        excluded=tuple(exclude),
        source=path,
        digest=files.digest(path) if path is not None and path.is_file() else None,
    )


def write_table(table: LabelledTable, path: Path | str) -> None:
    """Write a table as the suffix of `path` asks, beside and renamed; without a suffix, as a folder of images.

    Parquet, Arrow and `.npz` keep types and class order. CSV, TSV and JSON lines keep the cells: give `space=` when
    reading them again to keep the order of the classes and those that do not occur.

    Raises
    ------
    InputError : the form cannot hold this table; nothing is written.
    """
    path = Path(path)
    if not path.suffix and table.root is not None and table.image and _is_string(table.columns[table.image].type):
        paths = table.columns[table.image].to_pylist()
        folders.require_inside(paths, table.root)
        folders.write(paths, table.labels.names(), table.labels.space, table.root, path)
        return
    form = files.form_of(path)
    if form == "arrays":
        labels = table.labels
        arrays.write(table.columns, path, table.label, labels.y, labels.present, labels.space)
    elif form == "columnar":
        columnar.write(table.to_arrow(), path)
    elif form == "jsonlines":
        jsonlines.write(table.to_arrow(), path)
    else:
        if "" in table.labels.space.names and not table.labels.present.all():
            raise InputError("A class named '' and missing labels look the same in delimited text: write .parquet.")
        # The names themselves, because Arrow would write True as true.
        delimited.write(table.columns.append_column(table.label, _cells(table.labels, pa.string())), path)


def _frame(source: Any) -> pa.Table:
    if not frames.is_frame(source):
        raise InputError(
            f"A {type(source).__name__} is no table: give a path, a pandas, polars or pyarrow table, or a Dataset."
        )
    return columnar.named(frames.read(source))


def _file(path: Path, missing: Collection[str], as_text: Collection[str]) -> pa.Table:
    if path.is_dir():
        return hub.read(hub.load(path)) if hub.is_saved(path) else folders.read(path)
    form = files.form_of(path)
    files.require_file(path)
    if form == "delimited":
        return delimited.read(path, missing, as_text)
    if form == "jsonlines":
        return jsonlines.read(path)
    return columnar.read(path) if form == "columnar" else arrays.read(path)


def _is_text_file(path: Path) -> bool:
    return path.is_file() and files.form_of(path) == "delimited"


def _label_name(label: str | None, noted: tuple[str, Space] | None, table: pa.Table, told: str) -> str:
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
            values = pc.count_distinct(column).as_py()
            if 2 <= values <= min(1000, table.num_rows // 2):
                few.append(repr(name))
    if few:
        return f"Columns that look like labels are {', '.join(few[:10])}"
    return f"The columns are {', '.join(map(repr, table.schema.names[:20]))}"


def _ordered_space(column: pa.ChunkedArray) -> Space | None:
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


def _labels(table: pa.Table, label: str, space: Space | None, missing: Collection[str]) -> Hard:
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


def _ids(column: pa.ChunkedArray, name: str, is_text: bool) -> pa.Array:
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


def _media(
    columns: pa.Table, text: str | None, image: str | None, aside: Collection[str | None], path: Path | None
) -> tuple[str | None, str | None]:
    """The text column and the image column, as given, or as they look."""
    if text is not None and image is not None:
        raise InputError(f"A row is a text or an image: both text={text!r} and image={image!r} were given.")
    if text is not None:
        if not _is_string(columns[text].type):
            raise InputError(f"Column {text!r} holds {columns[text].type}; text was expected.")
        return text, None
    if image is None:
        image = next(
            (name for name in columns.schema.names if name not in aside and _is_image(columns, name, path)), None
        )
    if image is not None:
        if path is not None and _is_string(columns[image].type):
            folders.require_inside(columns[image].to_pylist(), path if path.is_dir() else path.parent)
        return None, image
    left = [name for name in columns.schema.names if name not in aside]
    if len(left) == 1 and _is_string(columns[left[0]].type):
        cells = columns[left[0]].drop_null()
        long = len(cells) > 0 and pc.mean(pc.utf8_length(cells)).as_py() > 20
        if long and pc.count_distinct(cells).as_py() > len(cells) / 2:
            return left[0], None
    return None, None


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_image(columns: pa.Table, name: str, path: Path | None) -> bool:
    """Whether a column holds pixels, encoded images of `datasets`, or paths of images that exist below the file."""
    kind = columns[name].type
    if isinstance(kind, pa.FixedShapeTensorType):
        shape = kind.shape
        return kind.value_type == pa.uint8() and (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4)))
    if pa.types.is_struct(kind):
        return {kind.field(i).name for i in range(kind.num_fields)} == {"bytes", "path"}
    if path is None or not _is_string(kind):
        return False
    root = path if path.is_dir() else path.parent
    some = columns[name].drop_null().slice(0, 20).to_pylist()
    return bool(some) and all(
        PurePosixPath(cell).suffix.lower() in folders.IMAGES and (root / cell).is_file() for cell in some
    )


def _cells(labels: Hard, kind: pa.DataType) -> pa.Array:
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

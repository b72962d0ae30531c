"""How rows become what a network reads, kept with the model so that rows which come later are read the same way.

The features are those of `assay audit`. What depends on the training rows (terms of texts, directions of pictures,
ranks of categories) is the state of the reader: arrays and plain values, no code. Texts are projected from their
terms to `TEXT` numbers; categories become one column each, missing numbers the mean and a column that says so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.decomposition import TruncatedSVD

from assay.errors import InputError
from assay.evidence.audit_options import AuditOptions
from assay.evidence.audit_predictions import contents, read_array
from assay.labels.formats import files
from assay.labels.tables import LabelledTable
from assay.training.features import Features, embedding_features

Arrays = dict[str, npt.NDArray[Any]]
Tell = Any

TEXT = 200  # numbers a text is projected to
SHOWN = 20  # categories of a column that get a column of their own; the others share one


@dataclass(slots=True, eq=False)
class Reader:
    """A fitted reader.

    Parameters
    ----------
    media : "table", "text", "image" or "embedding".
    spec : plain values that say how to read: columns of a table, terms of texts, the name of an encoder.
    arrays : numbers that go with it.
    """

    media: str
    spec: dict[str, Any]
    arrays: Arrays = field(default_factory=dict)

    @property
    def column(self) -> str | None:
        """The column that holds the text or the picture."""
        found: str | None = self.spec.get("column")
        return found

    def read(self, table: LabelledTable | None, embeddings: npt.ArrayLike | Path | None = None) -> npt.NDArray[Any]:
        """Other rows as the network reads them (m, d).

        Raises
        ------
        InputError : a column is missing, holds another type, or embeddings have another width.
        """
        if "width" in self.spec and "encoder" not in self.spec:
            if embeddings is None:
                raise InputError("The model reads embeddings: give them for the new rows too, as .npy (m, d).")
            found = embedding_features(_vectors(embeddings)).matrix
        elif table is None:
            raise InputError(f"The model reads a {self.media}: give a table or a folder, not an array.")
        elif self.media == "table":
            return _spread(_columns(table.columns, self.spec["columns"]), self)
        else:
            found = self._of_contents(contents(table))
        if "width" in self.spec and found.shape[1] != self.spec["width"]:
            raise InputError(f"The model reads {self.spec['width']} numbers a row, got {found.shape[1]}.")
        return np.asarray(found, dtype=np.float32)

    def _of_contents(self, rows: list[Any]) -> Any:
        if "encoder" in self.spec:
            from assay.training.encoders import encode

            return encode(rows, self.spec["encoder"])
        if self.media == "image":
            from assay.training.features_image import described, project

            return project(described(rows), self.arrays["mean"], self.arrays["directions"])
        from assay.training.features_text import read_texts, term_reader

        readers = []
        for at, part in enumerate(self.spec["parts"]):
            reader = term_reader(part["analyzer"], vocabulary=part["terms"])
            reader.idf_ = self.arrays[f"idf_{at}"]
            readers.append(reader)
        return read_texts(rows, readers) @ self.arrays["directions"].T

    def save(self, folder: Path) -> None:
        """Write `reader.json` and `reader.npz`, beside and renamed."""
        told = json.dumps({"media": self.media, "spec": self.spec}, ensure_ascii=False)
        files.write_bytes(folder / "reader.json", told.encode("utf-8", errors="surrogatepass"))
        with files.replacing(folder / "reader.npz") as out:
            np.savez_compressed(out, **self.arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, folder: Path) -> Reader:
        """Read what `save` wrote."""
        told = json.loads((folder / "reader.json").read_text(encoding="utf-8", errors="surrogatepass"))
        with np.load(folder / "reader.npz", allow_pickle=False) as kept:
            return cls(told["media"], told["spec"], {name: kept[name] for name in kept.files})


def fit_reader(
    table: LabelledTable, options: AuditOptions, embeddings: npt.ArrayLike | Path | None, tell: Tell
) -> tuple[Reader, Features, npt.NDArray[Any]]:
    """The reader of a table, the features of an audit, and the rows (n, d) as a network reads them."""
    if embeddings is not None:
        vectors = _vectors(embeddings)
        if len(vectors) != table.n_rows:
            raise InputError(f"There are {len(vectors)} embeddings for {table.n_rows} rows: give one for each row.")
        features = embedding_features(vectors)
        return Reader("embedding", {"width": features.matrix.shape[1]}), features, _single(features.matrix)
    if table.media == "table":
        if options.encoder is not None:
            raise InputError("An encoder reads texts or images; name the column with --text or --image.")
        return _fit_table(table)
    rows, spec = contents(table), {"column": table.text or table.image}
    if options.encoder is not None:
        from assay.training.encoders import encode

        features = embedding_features(encode(rows, options.encoder, on_row=lambda done, n: tell(done / n)))
        spec |= {"encoder": options.encoder, "width": features.matrix.shape[1]}
        return Reader(table.media, spec), features, _single(features.matrix)
    if table.media == "image":
        from assay.training.features_image import components, described, project

        raw = described(rows, lambda done, n: tell(done / n))
        mean, directions = components(raw, options.seed)
        features = Features(project(raw, mean, directions), "image")
        return Reader("image", spec, {"mean": mean, "directions": directions}), features, features.matrix
    return _fit_text(rows, spec, options.seed)


def _fit_text(rows: list[Any], spec: dict[str, Any], seed: int) -> tuple[Reader, Features, npt.NDArray[Any]]:
    from assay.training.features_text import fit_texts

    readers, features = fit_texts(rows)
    size = min(TEXT, min(features.matrix.shape) - 1)
    directions = TruncatedSVD(max(size, 1), random_state=seed).fit(features.matrix).components_.astype(np.float32)
    kept: Arrays = {f"idf_{at}": reader.idf_ for at, reader in enumerate(readers)}
    parts = [{"analyzer": reader.analyzer, "terms": reader.get_feature_names_out().tolist()} for reader in readers]
    reader = Reader("text", {**spec, "parts": parts}, {"directions": directions, **kept})
    return reader, features, np.asarray(features.matrix @ directions.T, dtype=np.float32)


def _fit_table(table: LabelledTable) -> tuple[Reader, Features, npt.NDArray[Any]]:
    from assay.training.features_table import read_column, table_features

    features = table_features(table.features, table.labels.y, table.labels.mask)
    columns = []
    for name in table.features.column_names:
        values = _array(table.features[name])
        made, _ = read_column(name, values)
        if made:
            columns.append({"name": name, **_described(values, made)})
    reader = Reader("table", {"columns": columns})
    matrix = np.asarray(features.matrix)
    there = np.isfinite(matrix)
    reader.arrays["fill"] = np.where(there, matrix, 0).sum(0) / np.maximum(there.sum(0), 1)
    reader.arrays["gaps"] = ~there.all(0)
    return reader, features, _spread(matrix, reader)


def _described(values: pa.Array, made: list[tuple[str, npt.NDArray[np.float64]]]) -> dict[str, Any]:
    """How a column of the training rows was read: by rank of its categories, or as numbers within bounds."""
    kept = [suffix for suffix, _ in made]
    if not is_text(values.type):
        finite = [numbers[np.isfinite(numbers)] for _, numbers in made]
        return {"suffixes": kept, "bounds": [[float(part.min()), float(part.max())] for part in finite]}
    codes, cells = made[0][1], values.to_pylist()
    ranks = {cell: int(code) for cell, code in zip(cells, codes.tolist(), strict=True) if cell is not None}
    return {"suffixes": kept, "ranks": ranks, "rest": int(np.nanmax(codes))}


def _columns(table: pa.Table, columns: list[dict[str, Any]]) -> npt.NDArray[np.float64]:
    """The numbers (m, d) of other rows, by the columns of the training rows."""
    from assay.training.features_table import floats, times

    found = []
    for column in columns:
        name = column["name"]
        files.require_column(name, table.column_names, "the table to predict")
        values = _array(table[name])
        if "ranks" in column:
            cells = values.cast(pa.string()).to_pylist()
            ranks, rest = column["ranks"], column["rest"]
            found.append(np.array([np.nan if cell is None else ranks.get(cell, rest) for cell in cells], dtype=float))
            continue
        try:
            if pa.types.is_boolean(values.type):
                made = {"": floats(values.cast(pa.int8()))}
            else:
                temporal = pa.types.is_temporal(values.type)
                made = dict(times(values)) if temporal else {"": floats(values.cast(pa.float64(), safe=False))}
        except pa.ArrowInvalid as error:
            raise InputError(f"Column {name!r} held numbers when the model was trained: {error}.") from None
        for suffix, (low, high) in zip(column["suffixes"], column["bounds"], strict=True):
            if suffix not in made:
                raise InputError(f"Column {name!r} held times when the model was trained, now {values.type}.")
            numbers = made[suffix]
            # Far outside of what was seen a network says anything; infinite values count as the extremes.
            found.append(np.clip(numbers, low - (high - low), high + (high - low)))
    return np.stack(found, axis=1)


def _spread(matrix: npt.NDArray[np.float64], reader: Reader) -> npt.NDArray[np.float32]:
    """Numbers (n, d) as a network reads them: one column a category, no gaps."""
    found, at = [], 0
    for column in reader.spec["columns"]:
        for _ in column["suffixes"]:
            values = matrix[:, at]
            gap = ~np.isfinite(values)
            if "ranks" in column:
                top = min(column["rest"], SHOWN)
                codes = np.where(gap, -1, np.minimum(np.where(gap, 0, values), top)).astype(np.int64)
                found += [codes == code for code in range(-1 if reader.arrays["gaps"][at] else 0, top + 1)]
            else:
                found.append(np.where(gap, reader.arrays["fill"][at], values))
                if reader.arrays["gaps"][at]:
                    found.append(gap)
            at += 1
    return np.stack(found, axis=1).astype(np.float32)


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds texts, as themselves or as a dictionary."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _array(column: pa.ChunkedArray) -> pa.Array:
    """One array of all chunks, dictionaries decoded."""
    values = column.combine_chunks()
    values = values if isinstance(values, pa.Array) else pa.chunked_array(values).combine_chunks()
    return values.dictionary_decode() if isinstance(values, pa.DictionaryArray) else values


def _vectors(embeddings: npt.ArrayLike | Path) -> npt.NDArray[Any]:
    return read_array(embeddings) if isinstance(embeddings, Path) else np.asarray(embeddings)


def _single(matrix: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    return np.asarray(matrix, dtype=np.float32)

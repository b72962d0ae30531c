"""Testing a file of texts for a mark, block by block: a p-value a row, in memory that does not grow with the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from assay.align.watermark import Watermark
from assay.errors import InputError, require
from assay.labels.formats import files
from assay.labels.stream import row_blocks
from assay.language.smollm2 import quiet, smollm2_folder

BLOCK = 8192
BINS = 20
LEVELS = (0.05, 0.01, 1e-3, 1e-6)
LISTED = 20
SCHEMA = pa.schema(
    {"row": pa.int64(), "scored": pa.int64(), "statistic": pa.float64(), "z": pa.float64(), "p_value": pa.float64()}
)


class Suspect(NamedTuple):
    """One of the surest marks."""

    row: int
    p_value: float
    z: float
    scored: int
    text: str


@dataclass
class Tested:
    """What a file of texts came to.

    Parameters
    ----------
    path, digest, column : the file and the column of texts.
    n_texts, n_empty, n_tokens, n_scored : rows, rows where nothing could be scored, tokens in all and scored.
    below : how many p-values are below each of `LEVELS`.
    counts : (BINS,) histogram of the p-values of texts that could be scored.
    surest : the smallest p-values.
    seconds : spent on tokenizing, and on testing.
    """

    path: Path
    digest: str
    column: str
    n_texts: int = 0
    n_empty: int = 0
    n_tokens: int = 0
    n_scored: int = 0
    below: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(LEVELS), dtype=np.int64))
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))
    surest: list[Suspect] = field(default_factory=list)
    seconds: tuple[float, float] = (0.0, 0.0)


def find_marks(
    path: Path,
    mark: Watermark,
    out: Path,
    *,
    model: str | None = "smollm2",
    column: str | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Tested:
    """Test each text of a table and write `out` (.csv or .parquet): row, scored tokens, statistic, z-score, p-value.

    Parameters
    ----------
    path : CSV, TSV, JSON lines, Parquet or Arrow.
    mark : its `n_vocabulary` may be None: that of the model is taken then.
    out : where the p-values go; written beside and renamed.
    model : whose tokenizer cuts the texts; None where the column holds lists of token ids.
    column : of the texts or ids; None for "answer", "text" or the only column.
    progress : told the step and the share of the file's rows that is done.
    """
    column = column or _column(path)
    tokenizer = None
    if model is not None:
        tokenizer, width = _tokenizer(model)
        mark.set_params(n_vocabulary=mark.n_vocabulary or width)
    found = Tested(path, files.digest(path), column)
    total = _rows(path)
    with _writer(out) as write:
        for block in row_blocks(path, [column], BLOCK, as_text=[column]):
            start = perf_counter()
            tokens, offsets = _tokens(block[column], tokenizer, found.n_texts, column)
            between = perf_counter()
            try:
                mark.fit((tokens, offsets))
            except InputError as error:
                row = None if error.row is None else error.row + found.n_texts
                raise InputError(str(error).split(" (first offending row")[0], row=row) from error
            found.seconds = found.seconds[0] + between - start, found.seconds[1] + perf_counter() - between
            _enter(found, mark, block[column], write)
            found.n_tokens += len(tokens)
            if progress is not None:
                progress("testing texts", min(found.n_texts / total, 1.0) if total else 0.0)
    if found.n_texts == 0:
        raise InputError(f"{path.name} has columns but no rows.")
    return found


def _enter(found: Tested, mark: Watermark, cells: pa.ChunkedArray, write: Callable[[pa.Table], None]) -> None:
    """Write a block's p-values and add it to the sums."""
    p, scored = mark.p_values_, mark.n_scored_
    rows = np.arange(found.n_texts, found.n_texts + len(p))
    write(pa.table([rows, scored, mark.statistic_, mark.z_, p], schema=SCHEMA))
    tested = p[scored > 0]
    found.n_texts += len(p)
    found.n_empty += len(p) - len(tested)
    found.n_scored += int(scored.sum())
    found.below += np.array([np.sum(p < level) for level in LEVELS])
    found.counts += np.histogram(tested, bins=BINS, range=(0, 1))[0]
    for at in np.argsort(p, kind="stable")[:LISTED].tolist():
        text = str(cells[at].as_py() or "")[:2000]
        found.surest.append(Suspect(int(rows[at]), float(p[at]), float(mark.z_[at]), int(scored[at]), text))
    found.surest = sorted(found.surest, key=lambda one: (one.p_value, one.row))[:LISTED]


def _tokens(
    cells: pa.ChunkedArray, tokenizer: Any, first: int, column: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Ids of a block's texts one after another, and where each begins; a missing text has none."""
    kind = cells.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        if not pa.types.is_integer(kind.value_type):
            raise InputError(f"Column {column!r} holds lists of {kind.value_type}: expected texts or token ids.")
        whole = cells.combine_chunks()
        lengths = whole.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        values = whole.flatten()
        if values.null_count:
            raise InputError(f"Column {column!r} has a list with an empty place: every token needs an id.")
        return values.to_numpy().astype(np.int64), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    if pa.types.is_null(kind):
        texts = [""] * len(cells)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts = [text or "" for text in cells.to_pylist()]
    else:
        raise InputError(f"Column {column!r} holds {kind}: expected texts, or lists of token ids.", row=first)
    if tokenizer is None:
        raise InputError(f"Column {column!r} holds texts: name the model that cuts them into tokens with --model.")
    ids = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"] if texts else []
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in ids])]).astype(np.int64)
    return np.fromiter((token for one in ids for token in one), dtype=np.int64, count=int(offsets[-1])), offsets


def _tokenizer(model: str) -> tuple[Any, int]:
    """The tokenizer of a model on this machine, and the width of the model's logits; its weights are not read."""
    transformers = require("transformers", "language", "Cutting texts into tokens")
    folder = smollm2_folder() if model == "smollm2" else model
    try:
        with quiet(transformers):
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{model} has no tokenizer on this machine: give the folder of a model ({reason})") from error
    return tokenizer, int(config.get_text_config().vocab_size)


def _column(path: Path) -> str:
    """The column that holds the texts when none is named."""
    first = next(iter(row_blocks(path, None, 1)), None)
    names = [] if first is None else first.column_names
    for name in ("answer", "text"):
        if name in names:
            return name
    if len(names) == 1:
        return str(names[0])
    raise InputError(f"Which column of {path.name} holds the texts? Name one with --column: {', '.join(names)}.")


def _rows(path: Path) -> int | None:
    """Rows of a file whose form says so without being read."""
    return int(pa.parquet.read_metadata(path).num_rows) if files.suffix_of(path) == ".parquet" else None


@contextmanager
def _writer(out: Path) -> Iterator[Callable[[pa.Table], None]]:
    """A function that appends a table to `out`, which appears when all went well."""
    with files.beside(out) as path:
        if out.suffix == ".parquet":
            with pa.parquet.ParquetWriter(path, SCHEMA, compression="zstd") as parquet:
                yield parquet.write_table
        elif out.suffix == ".csv":
            with pa.csv.CSVWriter(path, SCHEMA) as lines:
                yield lines.write_table
        else:
            raise InputError(f"p-values go to .csv or .parquet, not to {out.name}.")

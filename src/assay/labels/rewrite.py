"""Change single label cells of a file and leave every other byte as it was.

CSV, TSV and JSON lines are cut open byte by byte: quoting, line endings, byte-order mark, delimiters and the order of
keys stay. Parquet and Arrow, which cannot be cut, are written again with the same schema, deterministically.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from assay.errors import InputError
from assay.labels.formats import columnar, delimited, files, jsonlines


def rewrite_labels(source: Path, target: Path, label: str, changes: Mapping[int, str | None]) -> None:
    """Write `source` to `target` with the label cells of some rows replaced.

    Parameters
    ----------
    source : a CSV, TSV, JSON-lines (each also `.gz`), Parquet or Arrow file.
    target : where the result goes, in the same form; written beside and renamed, so it may be `source` itself.
    label : name of the label column.
    changes : zero-based data row -> new class name, or None for a cell without a label. No changes copy the bytes.

    Raises
    ------
    InputError : unknown column, a row that the file does not have, or a name that the column's type cannot hold;
        `target` is then as it was.
    """
    source, target = Path(source), Path(target)
    form = files.form_of(source)
    if form not in ("delimited", "jsonlines", "columnar"):
        raise InputError(f"Labels of {source.name} cannot be rewritten in place: save the table as .csv or .parquet.")
    if files.suffix_of(source) != files.suffix_of(target):
        raise InputError(f"{source.name} is rewritten in its own form; {target.name} asks for another one.")
    for row in changes:
        if row < 0:
            raise InputError(f"Rows count from 0; {row} is negative.")
    files.require_file(source)
    if not changes and files.is_gzip(source) == files.is_gzip(target):
        files.copy(source, target)
        return
    write = {"delimited": delimited.rewrite, "jsonlines": jsonlines.rewrite, "columnar": columnar.rewrite}[form]
    write(source, target, label, changes)

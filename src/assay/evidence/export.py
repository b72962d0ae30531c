"""The verb `export`: the repaired data set, and a card that says what was changed, by whom, and how sure that is.

The labels are those in force at a point of the ledger. Where people found the given label wrong, or are split about it,
and no other label is in force, the row is undecided, and one of three things is done with it, by name:

    given   it keeps its given label, which is what `assay ledger replay` writes. The default.
    empty   it stays without a label.
    drop    it is left out.

A CSV, TSV, JSON-lines, Parquet or Arrow file that keeps its form keeps all but its label cells, as `rewrite_labels`
does; where rows are dropped, the table is written anew.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from assay.errors import InputError
from assay.evidence.export_card import card_json, card_text, described, tree_digest
from assay.evidence.export_data import ExportOptions, gather
from assay.evidence.export_forms import form_of, write
from assay.labels.formats import files
from assay.labels.ledger import Ledger


def export(
    folder: Path, source: Path, target: Path, options: ExportOptions | None = None, *, db: str | None = None
) -> dict[str, Any]:
    """Write `source` with the labels of the ledger to `target`, and the cards beside it; returns what the card says.

    Parameters
    ----------
    folder : the results of `assay audit` or `assay aggregate`, with the ledger.
    source : the very data set that the ledger is about.
    target : a file or folder that does not exist yet. `NAME.card.md` and `NAME.card.json` beside it say what it is; a
        table of decisions has none.
    db : address of the ledger where it is not in `folder`.

    Raises
    ------
    InputError : another data set, a target that is there, a form that cannot hold the data; nothing is written.
    """
    options = options or ExportOptions()
    if target.exists():
        raise InputError(f"{target} is there already: remove it, or name another target.")
    if source.is_dir() and target.resolve().is_relative_to(source.resolve()):
        raise InputError(f"{target} lies in the data set {source} itself: name a target outside.")
    form = form_of(source, target, options)
    with Ledger.open(db or folder) as ledger:
        found = gather(folder, source, ledger, options)
        with _beside(target) as beside:
            write(found, source, beside, form, options, folder)
            digest = tree_digest(beside) if beside.is_dir() else files.digest(beside)
            said = described(found, folder, source, target, form, digest, ledger, options)
            if not options.decisions:
                files.write_bytes(target.with_name(f"{target.name}.card.json"), card_json(said))
                files.write_bytes(target.with_name(f"{target.name}.card.md"), card_text(said))
    return said


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A path of the same name in a folder beside `target`; what is there is renamed if all went well."""
    holder = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        holder.mkdir(parents=True)
        yield holder / target.name
        (holder / target.name).rename(target)
    finally:
        shutil.rmtree(holder, ignore_errors=True)

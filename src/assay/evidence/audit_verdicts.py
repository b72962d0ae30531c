"""What people have said already: verdicts of a file, and those in the ledger of an earlier run."""

from __future__ import annotations

from pathlib import Path

from assay.errors import InputError
from assay.labels.ledger import Ledger
from assay.labels.recording import ledger_verdicts
from assay.labels.tables import LabelledTable
from assay.labels.verdicts import VERDICTS, Verdict, Verdicts, read_verdicts


def known_verdicts(table: LabelledTable, verdicts: Verdicts | Path | None, cache: Path | None) -> Verdicts | None:
    """The verdicts in the ledger of an earlier run and the new ones; the new ones win. None when there are none.

    Raises
    ------
    InputError : the file of verdicts, or the ledger, is not about this table.
    """
    if isinstance(verdicts, Path):
        row_of = None if table.ids is None else {str(id): row for row, id in enumerate(table.ids.to_pylist())}
        verdicts = read_verdicts(verdicts, table.n_rows, table.labels.space, row_of=row_of)
    if verdicts is not None:
        require_another(table, verdicts)
    old = None if cache is None else earlier(table, cache)
    if old is None or len(old) == 0:
        return verdicts
    return old if verdicts is None else old.updated(verdicts)


def require_another(table: LabelledTable, verdicts: Verdicts) -> None:
    """Raise where a verdict says that a label other than the given one is right, and names the given one."""
    for place, (row, code, label) in enumerate(zip(verdicts.rows, verdicts.verdict, verdicts.label, strict=True)):
        given = table.labels.space.names[table.labels.y[row]]
        if label == given and table.labels.present[row] and VERDICTS[code] in (Verdict.OTHER, Verdict.SUGGESTED):
            raise InputError(
                f"The verdict {VERDICTS[code].value!r} on data row {row} names {label!r}, the label given there: "
                "say 'given', or is this the file of another data set?",
                row=place,
            )


def earlier(table: LabelledTable, folder: Path) -> Verdicts | None:
    """The verdicts in the ledger of `folder`, None without one; raises when it is about other labels."""
    if not (folder / "ledger.db").exists():
        return None
    with Ledger.open(folder) as ledger:
        if not begun(ledger):
            return None
        require_same(ledger, table, table.digest, folder)
        return ledger_verdicts(ledger)


def begun(ledger: Ledger) -> bool:
    """Whether the ledger holds anything: a run that is killed may leave an empty one."""
    return any(True for _ in ledger.log(limit=1))


def require_same(ledger: Ledger, table: LabelledTable, digest: str | None, folder: Path) -> None:
    """Raise unless the ledger is about this label column of this file; `digest` None leaves the file's bytes out."""
    about = ledger.dataset
    if about.column != table.label:
        raise InputError(
            f"{folder} holds the results of the label column {about.column!r}, not of {table.label!r}: choose another "
            "folder with --out."
        )
    if about.evidence["n_rows"] != table.n_rows or digest not in (None, about.evidence["sha256"]):
        raise InputError(
            f"{folder} holds the results of another file, or of this one before it changed: choose another folder with "
            "--out, or remove it."
        )

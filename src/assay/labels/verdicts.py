"""What people say about suspected labels.

A reviewer sees a row with its given label and the label that a method suggests, and gives one verdict:

    given      the given label is right            not wrong
    both       both labels are right               not wrong
    suggested  the suggested label is right        wrong
    other      a third label is right              wrong
    neither    neither label is right              wrong
    skip       no decision                         does not count

Rows come from the flagged ones, or from a random sample of all; an error rate needs to know which.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import index
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels.checks import Bools, as_integers, first, frozen, same_length
from assay.labels.formats import files
from assay.labels.spaces import Space


class Verdict(StrEnum):
    """A reviewer's word about one row; its code in arrays is its place in this list."""

    GIVEN = "given"
    SUGGESTED = "suggested"
    OTHER = "other"
    BOTH = "both"
    NEITHER = "neither"
    SKIP = "skip"


VERDICTS = tuple(Verdict)
SAMPLED = ("flagged", "random")
_WRONG = np.array([verdict in ("suggested", "other", "neither") for verdict in VERDICTS])


class Judged(NamedTuple):
    """One judgement a row, rows rising.

    Parameters
    ----------
    rows : `(m,)` int64.
    wrong : `(m,)` bool, the given label is wrong.
    random : `(m,)` bool, the row is in the random sample, flagged or not.
    n_ties : rows left out because as many reviewers said wrong as not.
    n_skipped : rows left out because nobody decided.
    undecided : `(n_ties + n_skipped,)` the rows left out, rising.
    """

    rows: npt.NDArray[np.int64]
    wrong: Bools
    random: Bools
    n_ties: int
    n_skipped: int
    undecided: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Verdicts of one or more reviewers, immutable.

    Parameters
    ----------
    rows : `(m,)` zero-based data rows.
    verdict : `(m,)` codes into `VERDICTS`, or their names.
    n_rows : number of rows of the data set.
    label : m class names: what is right after `other`, which needs one; what was suggested to the reviewer after
        `suggested`, if known; else None.
    reviewer : m names; one reviewer judges a row once.
    sampled : `(m,)` "flagged" or "random": how the row came to be reviewed.
    note : m texts or None.
    """

    rows: npt.NDArray[np.int64]
    verdict: npt.NDArray[np.int8]
    n_rows: int
    label: tuple[str | None, ...] = ()
    reviewer: tuple[str, ...] = ()
    sampled: npt.NDArray[np.str_] = ()  # type: ignore[assignment]
    note: tuple[str | None, ...] = ()

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "rows", as_integers(self.rows, "The rows of verdicts", dtypes=(np.int64,), high=index(self.n_rows)))
        m = len(self.rows)
        codes = np.asarray(self.verdict)
        if codes.dtype.kind in "UO":
            codes = np.array([_verdict(word, row) for row, word in enumerate(codes.tolist())], dtype=np.int8)
        put(self, "verdict", as_integers(codes, "Verdicts", dtypes=(np.int8,), high=len(VERDICTS)))
        put(self, "label", tuple(self.label) or (None,) * m)
        put(self, "reviewer", tuple(self.reviewer) or ("reviewer",) * m)
        put(self, "note", tuple(self.note) or (None,) * m)
        put(self, "sampled", frozen(np.asarray(self.sampled if len(self.sampled) else ["flagged"] * m, dtype=np.str_)))
        for name in ("verdict", "label", "reviewer", "sampled", "note"):
            same_length("verdicts", m, **{name: getattr(self, name)})
        odd = first(~np.isin(self.sampled, SAMPLED))
        if odd is not None:
            raise InputError(f"A row is sampled as flagged or random, got {str(self.sampled[odd])!r}.", row=odd)
        seen: dict[tuple[int, str], int] = {}
        for place, (row, name) in enumerate(zip(self.rows.tolist(), self.reviewer, strict=True)):
            if not name:
                raise InputError("A verdict needs the name of its reviewer.", row=place)
            if self.verdict[place] == VERDICTS.index(Verdict.OTHER) and not self.label[place]:
                raise InputError("The verdict 'other' needs the right label in `label`.", row=place)
            before = seen.setdefault((row, name), place)
            if before != place:
                raise InputError(f"{name!r} judged data row {row} twice, at {before} and {place}: keep one.", row=place)

    def __len__(self) -> int:
        """Number of verdicts, m."""
        return len(self.rows)

    def updated(self, newer: Verdicts) -> Verdicts:
        """These verdicts and `newer` ones; where one reviewer judged a row in both, the newer one stands."""
        if self.n_rows != newer.n_rows:
            raise InputError(f"Verdicts on {self.n_rows} rows cannot be updated by verdicts on {newer.n_rows} rows.")
        again = set(zip(newer.rows.tolist(), newer.reviewer, strict=True))
        kept = [at for at, who in enumerate(zip(self.rows.tolist(), self.reviewer, strict=True)) if who not in again]
        return Verdicts(
            rows=np.concatenate([self.rows[kept], newer.rows]),
            verdict=np.concatenate([self.verdict[kept], newer.verdict]),
            n_rows=self.n_rows,
            label=(*(self.label[at] for at in kept), *newer.label),
            reviewer=(*(self.reviewer[at] for at in kept), *newer.reviewer),
            sampled=np.concatenate([self.sampled[kept], newer.sampled]),
            note=(*(self.note[at] for at in kept), *newer.note),
        )

    def take(self, places: Sequence[int]) -> Verdicts:
        """The verdicts at the given places `(j,)`."""
        return Verdicts(
            rows=self.rows[list(places)],
            verdict=self.verdict[list(places)],
            n_rows=self.n_rows,
            label=tuple(self.label[place] for place in places),
            reviewer=tuple(self.reviewer[place] for place in places),
            sampled=self.sampled[list(places)],
            note=tuple(self.note[place] for place in places),
        )

    def wrong(self) -> Judged:
        """Decide each row by the majority of its reviewers; ties and rows that everybody skipped are left out."""
        counts = self.verdict != VERDICTS.index(Verdict.SKIP)
        rows, where = np.unique(self.rows, return_inverse=True)
        said = np.bincount(where[counts], minlength=len(rows))
        bad = np.bincount(where[counts & _WRONG[self.verdict]], minlength=len(rows))
        decided = 2 * bad != said
        return Judged(
            rows=rows[decided],
            wrong=(2 * bad > said)[decided],
            random=np.isin(rows, self.rows[self.sampled == "random"])[decided],
            n_ties=int(np.count_nonzero(~decided & (said > 0))),
            n_skipped=int(np.count_nonzero(said == 0)),
            undecided=rows[~decided],
        )


def read_verdicts(
    path: str | Path, n_rows: int, space: Space | None = None, *, row_of: Mapping[str, int] | None = None
) -> Verdicts:
    """Read verdicts from a CSV file with the columns `row` (or `id`) and `verdict`, and where wanted `label`,
    `reviewer`, `sampled`, `note`, and `suggested`, which is the label that the reviewer was shown. Lines without a
    verdict are left out: they wait for one.

    Parameters
    ----------
    n_rows : number of rows of the data set.
    space : the classes that a label of `other` must be one of; None = any text.
    row_of : the user's ids -> data rows, for files with `id`.

    Raises
    ------
    InputError : no such file, a missing column, an unknown verdict, row, id or class, a row judged twice by one
        reviewer; `row` of the error is the zero-based line of data in the file.
    """
    path = Path(path)
    files.require_file(path)
    files.require_utf8(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        names = [(name or "").strip().lower() for name in reader.fieldnames or ()]
        if "verdict" not in names or ("row" not in names and "id" not in names):
            raise InputError(
                f"{path.name} needs the columns `row` (or `id`) and `verdict`, it has: {', '.join(names)}."
            )
        reader.fieldnames = names
        try:
            cells = [{name: (value or "").strip() for name, value in line.items() if name} for line in reader]
        except csv.Error as error:
            raise InputError(f"{path.name} is not CSV as expected: {error} (line {reader.line_num}).") from None
    lines = [line for line, cell in enumerate(cells) if cell["verdict"]]
    nul = next((line for line in lines if any("\0" in value for value in cells[line].values())), None)
    if nul is not None:
        raise InputError(f"{path.name} holds the character NUL.", row=nul)
    if not lines:
        raise InputError(f"{path.name} holds no verdict: write one of {', '.join(VERDICTS)} in the column `verdict`.")
    chosen = [cells[line] for line in lines]
    verdicts = [VERDICTS[_verdict(cell["verdict"], line)] for line, cell in zip(lines, chosen, strict=True)]
    return Verdicts(
        rows=np.array([_row(cell, line, n_rows, row_of) for line, cell in zip(lines, chosen, strict=True)], np.int64),
        verdict=np.array([VERDICTS.index(verdict) for verdict in verdicts], np.int8),
        n_rows=n_rows,
        label=tuple(
            _label(verdict, cell, line, space) for line, cell, verdict in zip(lines, chosen, verdicts, strict=True)
        ),
        reviewer=tuple(cell.get("reviewer") or "reviewer" for cell in chosen),
        sampled=np.array([cell.get("sampled") or "flagged" for cell in chosen]),
        note=tuple(cell.get("note") or None for cell in chosen),
    )


def _verdict(word: object, row: int) -> int:
    for code, verdict in enumerate(VERDICTS):
        if str(word).lower() == verdict:
            return code
    raise InputError(f"There is no verdict {word!r}: it is one of {', '.join(VERDICTS)}.", row=row)


def _row(cell: Mapping[str, str], line: int, n_rows: int, row_of: Mapping[str, int] | None) -> int:
    if text := cell.get("row", ""):
        if not text.isascii() or not text.isdigit() or len(text) > 18 or int(text) >= n_rows:
            raise InputError(f"A row is a number from 0 to {n_rows - 1}, got {text[:40]!r}.", row=line)
        return int(text)
    name = cell.get("id", "")
    if not row_of or name not in row_of:
        raise InputError(f"The id {name!r} is not known here: give the data row in a column `row`.", row=line)
    return row_of[name]


def _label(verdict: Verdict, cell: Mapping[str, str], line: int, space: Space | None) -> str | None:
    """The label that a verdict names: the right one, or the one that the reviewer was shown as suggested."""
    text = cell.get({Verdict.OTHER: "label", Verdict.SUGGESTED: "suggested"}.get(verdict, ""), "")
    if not text and verdict != Verdict.OTHER:
        return None
    if not text:
        raise InputError("The verdict 'other' needs the right label in the column `label`.", row=line)
    if space is None or text in space.names:
        return text
    if text[0] == "'" and text[1:] in space.names:  # the apostrophe of a cell guarded against formulas
        return text[1:]
    known = ", ".join(map(repr, space.names[:5])) + (", ..." if space.n_classes > 5 else "")
    raise InputError(f"Unknown class {text!r}: the space holds {known}.", row=line)

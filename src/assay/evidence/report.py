"""The report: what a verb found, as one JSON file and one self-contained HTML page that is a function of it.

`Report` is plain data: facts with intervals, sections of blocks (`Prose`, `Grid`, `Matrix`, `Figure`, `Cards`,
`TokenText`), the commands to run next, warnings, and where everything came from. `assay.evidence.page` makes the page.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from assay.errors import InputError
from assay.evidence.figures import Figure
from assay.evidence.record import build, plain
from assay.evidence.rows import Card, Cards, Picture, TableRow, Text
from assay.evidence.token_text import TokenText

__all__ = [
    "Card",
    "Cards",
    "Column",
    "Command",
    "Fact",
    "Figure",
    "Grid",
    "Matrix",
    "MatrixCell",
    "Picture",
    "Prose",
    "Report",
    "Section",
    "TableRow",
    "Text",
    "TokenText",
    "from_json",
    "read_report",
    "to_json",
]

_FORMAT = 1
_DENSE = 20
_LARGEST = 20
_LINE = 1_000  # characters of a title, a note, a cell; the texts of rows are shown whole


@dataclass(frozen=True, slots=True)
class Fact:
    """One number that matters.

    Parameters
    ----------
    label : what it is.
    value : the number, or a short text. With the unit "%" it is a share from 0 to 1.
    interval : its 95 % bounds, in the unit of `value`.
    unit : its unit.
    note : a few words below it.
    """

    label: str
    value: str | int | float
    interval: tuple[float, float] | None = None
    unit: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if self.unit == "%" and not isinstance(self.value, str) and abs(self.value) > 1:
            raise InputError(f"The unit % takes a share from 0 to 1: {self.label!r} is {self.value}; divide by 100.")


@dataclass(frozen=True, slots=True)
class Command:
    """A command to run next, as one would type it (quoted with `shlex.join`), and why."""

    text: str
    why: str


@dataclass(frozen=True, slots=True)
class Prose:
    """Plain text; a blank line parts paragraphs."""

    TAGGED: ClassVar[bool] = True
    text: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a `Grid`: its name, and the unit of its numbers ("%" for shares from 0 to 1)."""

    name: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table. A cell is a text, a number, None, or a (value, low, high) triple.

    Parameters
    ----------
    title : its caption.
    columns : the columns.
    rows : one tuple per row, as long as `columns`.
    note : a line below it.
    """

    TAGGED: ClassVar[bool] = True
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str | int | float | tuple[float, float, float] | None, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        for at, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise InputError(f"Table {self.title!r} has {len(self.columns)} columns, a row has {len(row)}.", row=at)

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold no text, and so stand flush right."""
        return tuple(not any(isinstance(row[at], str) for row in self.rows) for at in range(len(self.columns)))


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """One cell: positions in `Matrix.names`, the value, and a count when there is one."""

    row: int
    column: int
    value: float
    count: float | None


@dataclass(frozen=True, slots=True)
class Matrix:
    """A class by class matrix as a heat table; for more than 20 classes its largest cells off the diagonal as a list.

    Make one with `Matrix.of`.

    Parameters
    ----------
    title : its caption.
    names : names of the classes that `cells` speak of.
    cells : the cells shown.
    n_classes : k.
    unit : unit of the values ("%" for shares from 0 to 1).
    row_axis, column_axis : what the rows and the columns are.
    note : a line below it.
    """

    TAGGED: ClassVar[bool] = True
    title: str
    names: tuple[str, ...]
    cells: tuple[MatrixCell, ...]
    n_classes: int
    unit: str = "%"
    row_axis: str = "given label"
    column_axis: str = "likely true label"
    note: str = ""

    def __post_init__(self) -> None:
        k = self.n_classes
        if self.dense and (len(self.names) != k or len(self.cells) != k * k):
            raise InputError(f"Matrix {self.title!r} has {k} classes: give all {k * k} cells, got {len(self.cells)}.")
        for at, cell in enumerate(self.cells):
            if not (0 <= cell.row < len(self.names) and 0 <= cell.column < len(self.names)):
                raise InputError(f"Matrix {self.title!r} has a cell outside of its {len(self.names)} names.", row=at)

    @classmethod
    def of(
        cls,
        title: str,
        names: tuple[str, ...] | list[str],
        values: Any,
        counts: Any = None,
        *,
        unit: str = "%",
        row_axis: str = "given label",
        column_axis: str = "likely true label",
        note: str = "",
    ) -> Matrix:
        """From a `(k, k)` array or scipy sparse matrix of values, and counts of the same shape when there are any."""
        from scipy.sparse import csr_array

        k = len(names)
        sparse, many = csr_array(values), None if counts is None else csr_array(counts)
        if sparse.shape != (k, k):
            raise InputError(f"Matrix {title!r} has {k} names, so its values must be {(k, k)}, got {sparse.shape}.")
        if k <= _DENSE:
            rows, columns = (np.repeat(np.arange(k), k), np.tile(np.arange(k), k))
        else:
            found = sparse.tocoo()
            keep = np.flatnonzero((found.row != found.col) & (found.data > 0))
            keep = keep[np.lexsort((found.col[keep], found.row[keep], -found.data[keep]))][:_LARGEST]
            rows, columns = (axis[keep].astype(np.int64) for axis in (found.row, found.col))
        used = np.arange(k) if k <= _DENSE else np.unique([rows, columns])
        place = {int(code): at for at, code in enumerate(used)}
        cells = tuple(
            MatrixCell(place[r], place[c], float(sparse[r, c]), None if many is None else plain(many[r, c]))
            for r, c in zip(rows.tolist(), columns.tolist(), strict=True)
        )
        return cls(title, tuple(names[code] for code in used), cells, k, unit, row_axis, column_axis, note)

    @property
    def dense(self) -> bool:
        """Whether every cell is shown."""
        return self.n_classes <= _DENSE

    @property
    def top(self) -> float:
        """The largest value off the diagonal, to which colours scale."""
        return max((cell.value for cell in self.cells if cell.row != cell.column), default=0.0) or 1.0

    @property
    def value_axis(self) -> str:
        """What the values are."""
        return "share of the row" if self.unit == "%" else self.unit or "value"


Block = Prose | Grid | Matrix | Figure | Cards | TokenText


@dataclass(frozen=True, slots=True)
class Section:
    """A chapter: its title, one sentence that says what it shows, and blocks."""

    title: str
    lead: str
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a verb found.

    Parameters
    ----------
    title : what was looked at.
    verdict : the finding, in one sentence.
    facts : the numbers that matter, most important first.
    sections : the chapters.
    commands : what to run next.
    warnings : what makes the numbers doubtful.
    provenance : where everything came from: source, sha256, rows, versions, seed, command line, time.
    numbers : every number, for machines.
    """

    title: str
    verdict: str
    facts: tuple[Fact, ...] = ()
    sections: tuple[Section, ...] = ()
    commands: tuple[Command, ...] = ()
    warnings: tuple[str, ...] = ()
    provenance: dict[str, object] = field(default_factory=dict)
    numbers: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "provenance", plain(self.provenance, "provenance"))
        object.__setattr__(self, "numbers", plain(self.numbers, "numbers"))


def to_json(report: Report) -> str:
    """JSON of a report; `from_json` makes an equal report of it."""
    return json.dumps({"assay_report": _FORMAT} | plain(report, "report"), indent=1, ensure_ascii=False) + "\n"


def from_json(text: str | bytes) -> Report:
    """Report of its JSON; raises `InputError` that names the first place which is not as it should be."""
    try:
        fields = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(f"Not a report: the JSON cannot be read ({error}).") from None
    if not isinstance(fields, dict) or fields.pop("assay_report", None) != _FORMAT:
        raise InputError(f'Not a report: expected a JSON object with "assay_report": {_FORMAT}.')
    report: Report = build(Report, fields, "report")
    return report


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def read_report(path: Path) -> Report:
    """Report of a `report.json`, or of the folder that holds one."""
    file = path / "report.json" if path.is_dir() else path
    try:
        return from_json(file.read_bytes())
    except OSError as error:
        raise InputError(f"No report at {file}: {error.strerror}.") from None

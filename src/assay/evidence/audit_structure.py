"""The structure of the errors: copies with different labels, classes that overlap, slices where errors gather."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import pyarrow as pa

from assay.audit.confident_learning import ConfidentLearning
from assay.audit.duplicates import Duplicates
from assay.audit.error_probability import ErrorProbability
from assay.audit.overlap import Overlap
from assay.audit.slices import Slices
from assay.errors import InputError
from assay.evidence.audit_options import Progress
from assay.evidence.audit_predictions import contents
from assay.evidence.report import Column, Grid, Section
from assay.labels.tables import LabelledTable

if TYPE_CHECKING:
    from assay.evidence.audit import Audit

NEAR = 10_000
"""Texts up to which nearly equal ones are sought too; above it, a search among all pairs takes minutes."""
SHOWN = 15
"""Rows of a table in the report."""


class Structure(TypedDict):
    """What `find_structure` finds; None where the data do not allow it."""

    duplicates: Duplicates | None
    overlap: Overlap
    slices: Slices | None


def find_structure(
    table: LabelledTable, confident: ConfidentLearning, probability: ErrorProbability, tell: Progress
) -> Structure:
    """Look for structure in what is wrong."""
    labels = table.labels
    tell("looking for structure", 0.0)
    overlap = Overlap().fit(labels.y, confident_joint=confident.confident_joint_, mask=labels.mask)
    tell("looking for structure", 0.2)
    rows, method = comparable(table)
    try:
        duplicates = Duplicates(method).fit(rows, labels.y, labels.mask)  # type: ignore[arg-type]
    except InputError:  # texts made after one pattern lie on a grid, where near has no meaning
        duplicates = Duplicates("exact").fit(rows, labels.y, labels.mask)
    tell("looking for structure", 0.6)
    slices = None
    columns = conditions(table)
    if columns.num_columns:
        slices = Slices().fit(columns, np.nan_to_num(probability.p_wrong_))
    tell("looking for structure", 1.0)
    return {"duplicates": duplicates, "overlap": overlap, "slices": slices}


def conditions(table: LabelledTable) -> pa.Table:
    """The columns along which slices are cut: numbers, truth values and names, not the text or picture itself."""
    readable = (pa.types.is_primitive, pa.types.is_string, pa.types.is_large_string, pa.types.is_dictionary)
    names = [
        field.name
        for field in table.features.schema
        if field.name not in (table.text, table.image)
        and any(is_kind(field.type) for is_kind in readable)
        and not pa.types.is_temporal(field.type)
    ]
    chosen = table.features.select(names)
    wide = [field.with_type(pa.float32()) if pa.types.is_float16(field.type) else field for field in chosen.schema]
    return chosen.cast(pa.schema(wide))  # Arrow cannot reckon with half floats


def comparable(table: LabelledTable) -> tuple[Any, str]:
    """Rows as copies are sought among them, and how: texts may nearly agree, pictures and table rows must be equal."""
    if table.media == "table":
        return flat(table.features), "exact"
    rows = contents(table)
    if table.media == "text":
        return ["" if text is None else text for text in rows], "near" if table.n_rows <= NEAR else "exact"
    return [digest(picture) for picture in rows], "exact"


def flat(columns: pa.Table) -> pa.Table:
    """The columns with lists, records and pixels as text, which can be compared."""
    for at, column in enumerate(columns.columns):
        if pa.types.is_nested(column.type) or isinstance(column.type, pa.BaseExtensionType):
            cells = [None if cell is None else str(cell) for cell in column.to_pylist()]
            columns = columns.set_column(at, columns.column_names[at], pa.array(cells, pa.string()))
    return columns


def digest(picture: Any) -> bytes:
    """SHA-256 of a picture's file, bytes or pixels."""
    if isinstance(picture, Path):
        return hashlib.sha256(picture.read_bytes()).digest()
    return hashlib.sha256(picture if isinstance(picture, bytes) else np.asarray(picture).tobytes()).digest()


def structure_sections(found: Audit) -> list[Section]:
    """The chapters of the report on structure; none where nothing was found."""
    sections = []
    names = found.table.labels.space.names
    pairs = found.overlap.pairs_
    keep = np.flatnonzero(pairs["rows"] > 0)[:SHOWN]
    if len(keep):
        first = (names[pairs["class_a"][keep[0]]], names[pairs["class_b"][keep[0]]])
        grid = Grid(
            "Classes taken for each other",
            (Column("class"), Column("and class"), Column("rows confused"), Column("overlap", "%"), Column("advice")),
            tuple(
                (
                    names[pairs["class_a"][at]],
                    names[pairs["class_b"][at]],
                    int(pairs["rows"][at]),
                    three(pairs, "overlap", int(at), 0),
                    ADVICE[str(pairs["hint"][at])],
                )
                for at in keep
            ),
            note="Overlap 0 %: the two are told apart; 100 %: the label says nothing about which of the two it is.",
        )
        sections.append(
            Section("Classes that overlap", f"Most often confused: {first[0]!r} and {first[1]!r}.", (grid,))
        )
    if found.duplicates is not None and found.duplicates.n_conflicts_:
        sections.append(conflicts(found, found.duplicates))
    if found.slices is not None and len(found.slices.slices_["condition"]):
        sections.append(gathered(found.slices))
    return sections


def three(table: dict[str, Any], name: str, at: int, least: float) -> tuple[float, float, float]:
    """A share with its bounds, kept within its range."""
    value, low, high = (float(np.clip(table[f"{name}{end}"][at], least, 1)) for end in ("", "_low", "_high"))
    return value, low, high


ADVICE = {
    "": "",
    "merge": "one class, or a clearer guideline",
    "a in b": "the first may be a part of the second",
    "b in a": "the second may be a part of the first",
    "swap": "the two may be exchanged",
}


def conflicts(found: Audit, duplicates: Duplicates) -> Section:
    """Copies that carry different labels."""
    names, y = found.table.labels.space.names, found.table.labels.y
    groups = np.unique(duplicates.group_[duplicates.conflict_])
    by_size = groups[np.argsort(-duplicates.size_[groups], kind="stable")][:SHOWN]
    lines = []
    for group in by_size:
        rows = np.flatnonzero((duplicates.group_ == group) & found.table.labels.present)
        codes, counts = np.unique(y[rows], return_counts=True)
        said = ", ".join(f"{names[code]} x {count}" for code, count in zip(codes, counts, strict=True))
        lines.append((", ".join(map(str, rows[:8])) + (" ..." if len(rows) > 8 else ""), len(rows), said))
    grid = Grid("Copies that disagree", (Column("rows"), Column("copies"), Column("labels")), tuple(lines))
    lead = (
        f"{duplicates.n_conflicts_:,} of {duplicates.n_groups_:,} groups of equal rows carry more than one label; "
        "at least one of each is wrong, or the row does not say what its label is."
    )
    return Section("Copies with different labels", lead, (grid,))


def gathered(slices: Slices) -> Section:
    """Slices where errors gather."""
    found = slices.slices_
    grid = Grid(
        "Where errors gather",
        (Column("condition"), Column("rows"), Column("expected wrong", "%"), Column("above the rest by", "%")),
        tuple(
            (
                str(found["condition"][at]),
                int(found["rows"][at]),
                float(found["rate"][at]),
                three(found, "effect", at, -1),
            )
            for at in range(min(SHOWN, len(found["condition"])))
        ),
    )
    lead = f"Where {found['condition'][0]}, more labels are expected wrong than elsewhere."
    return Section("Slices with more errors", lead, (grid,))

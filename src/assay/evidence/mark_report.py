"""The report of `assay align detect`: how many texts of a file follow a key, beside how many would by chance."""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np

from assay.align.watermark import Watermark
from assay.evidence.figures import Figure
from assay.evidence.mark_texts import BINS, LEVELS, Tested
from assay.evidence.report import Column, Command, Fact, Grid, Report, Section
from assay.evidence.results import versions_of
from assay.evidence.shown import number, short
from assay.kernels.intervals import wilson

RELIABLE = 50  # scored tokens on average below which a mark is easily missed


def build(found: Tested, mark: Watermark, level: float, provenance: dict[str, object]) -> Report:
    """The report of a tested file; `level` is one of `LEVELS`."""
    return Report(
        title=f"Marks in {found.path.name}",
        verdict=verdict(found, level),
        facts=facts(found, level),
        sections=(spread(found), surest(found)),
        commands=(
            Command(
                f"assay align detect {shlex.quote(str(found.path))} --key ANOTHER_KEY --out OTHER_FOLDER",
                "the same texts under a key that was never used: about as many as by chance must be found",
            ),
        ),
        warnings=warnings(found),
        provenance={
            "verb": "detect",
            "source": found.path.name,
            "sha256": found.digest,
            "column": found.column,
            **settings(mark),
            "versions": versions_of("assay", "numpy"),
            **provenance,
        },
        numbers=numbers(found, mark, level),
    )


def settings(mark: Watermark) -> dict[str, Any]:
    """What a mark is, with the fingerprint of its key in place of the key."""
    said = {"scheme": mark.scheme, "key": mark.fingerprint, "context_width": mark.mark.width, "unique": mark.unique}
    return said if mark.scheme.startswith("gumbel") else said | {"gamma": mark.gamma}


def below(found: Tested, level: float) -> int:
    """How many texts have a p-value below `level`, one of `LEVELS`."""
    return int(found.below[LEVELS.index(level)])


def verdict(found: Tested, level: float) -> str:
    """The finding in a sentence."""
    hits, tested = below(found, level), found.n_texts - found.n_empty
    return (
        f"{hits:,} of {tested:,} texts follow this key at p < {level:g}; in text without the mark, "
        f"{level * tested:,.1f} would by chance."
    )


def facts(found: Tested, level: float) -> tuple[Fact, ...]:
    """The numbers that matter."""
    tested = found.n_texts - found.n_empty
    low, high = wilson(below(found, level), max(tested, 1))
    parts = [
        Fact("Texts that follow the key", below(found, level) / max(tested, 1), (float(low), float(high)), "%"),
        Fact("Texts tested", tested, None, "", f"{found.n_empty:,} of {found.n_texts:,} are too short to say anything"),
        Fact("Tokens scored", found.n_scored, None, "", f"{found.n_scored / max(tested, 1):,.0f} a text"),
    ]
    if found.surest:
        best = found.surest[0]
        parts.append(Fact("Smallest p-value", f"{best.p_value:.1e}", None, "", f"row {best.row}"))
    return tuple(parts)


def spread(found: Tested) -> Section:
    """p-values of all texts: flat without a mark."""
    rows: list[Any] = []
    tested = found.n_texts - found.n_empty
    for level, hits in zip(LEVELS, found.below.tolist(), strict=True):
        low, high = wilson(hits, max(tested, 1))
        rows.append(
            (f"p < {level:g}", hits, round(level * tested, 2), (hits / max(tested, 1), float(low), float(high)))
        )
    columns = (Column("level"), Column("texts"), Column("by chance"), Column("share", "%"))
    blocks: list[Any] = [Grid("How many p-values are small", columns, tuple(rows))]
    if tested:
        data = {
            "edges": np.linspace(0, 1, BINS + 1), "counts": found.counts, "cut": None, "cut_label": "", "above": None,
            "x_label": "p-value", "unit": "",
        }  # fmt: skip
        note = "Text without the mark spreads evenly; marked text piles up at the left."
        blocks.append(Figure("histogram", "p-values of the texts", data, note))
    return Section("All texts", "Each text has an exact p-value of its own, whatever its length.", tuple(blocks))


def surest(found: Tested) -> Section:
    """The texts with the smallest p-values."""
    rows = tuple((one.row, f"{one.p_value:.1e}", round(one.z, 1), one.scored, short(one.text)) for one in found.surest)
    columns = tuple(map(Column, ("row", "p-value", "z", "tokens scored", "text")))
    note = f"The first {len(rows)} of {found.n_texts:,}; all stand in the file of p-values."
    return Section("The surest marks", "Smallest p-value first.", (Grid("Texts", columns, rows, note),))


def warnings(found: Tested) -> tuple[str, ...]:
    """What makes the numbers doubtful."""
    said, tested = [], found.n_texts - found.n_empty
    if not tested:
        said.append("No text is long enough to be scored: a text needs more tokens than the mark's context.")
    elif found.n_scored / tested < RELIABLE:
        said.append(
            f"Texts have {found.n_scored / tested:,.0f} scored tokens on average: a mark in so short a text is often "
            "missed, so one that is not found may carry it all the same."
        )
    if tested:
        said.append(
            "A large p-value is no proof that a text was not marked: edits weaken a mark, and so do other tokens than "
            "those that were written, where a text is cut anew."
        )
    return tuple(said)


def numbers(found: Tested, mark: Watermark, level: float) -> dict[str, Any]:
    """The numbers of the run, for machines."""
    return {
        "texts": found.n_texts,
        "tested": found.n_texts - found.n_empty,
        "tokens": found.n_tokens,
        "scored": found.n_scored,
        "level": level,
        "found": below(found, level),
        "below": {f"{at:g}": hits for at, hits in zip(LEVELS, found.below.tolist(), strict=True)},
        "mark": settings(mark),
        "seconds": {"tokenizing": round(found.seconds[0], 3), "testing": round(found.seconds[1], 3)},
    }


def summary(found: Tested, level: float) -> str:
    """The finding for a terminal."""
    lines = [verdict(found, level)]
    for fact in facts(found, level):
        value = fact.value if isinstance(fact.value, str) else number(fact.value, fact.unit, fact.interval)
        lines.append(f"  {fact.label:<28} {value}   {fact.note}")
    return "\n".join([*lines, *(f"Note: {said}" for said in warnings(found))])

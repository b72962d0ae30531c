"""A text for review, with the words that speak for the given or the suggested class."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.evidence.shown import visible
from assay.review.words import WORD, LogOdds, Words

if TYPE_CHECKING:
    from assay.review.project import Project

TEXTS = 50_000
"""Labelled texts, evenly spread, whose words are counted."""
CLEAR = 1.96
"""Standard errors from which on a word is held to speak for a class."""
STRONG = 8.0
"""Standard errors that count as full weight."""
WORDS = 12
"""Different words highlighted in one text, the clearest; more would hide them all."""


class TextContent:
    """Texts of a project; the words of the data are counted when the first text is looked at."""

    def __init__(self, project: Project, columns: tuple[str, ...]) -> None:
        self._project, self._columns = project, columns

    def of(self, row: int) -> dict[str, Any]:
        """The text and its highlights `[start, end, "given" | "suggested", weight from 0 to 1]`.

        Places count characters (code points), of the text as it is shown. Several columns stand one after the other,
        each after its name.
        """
        cells = [self._project.source.cell(row, name) for name in self._columns]
        parts = ["" if cell is None else str(cell) for cell in cells]
        if len(parts) > 1:
            parts = [f"{name}: {part}" for name, part in zip(self._columns, parts, strict=True)]
        text = visible("\n\n".join(parts))
        return {"kind": "text", "text": text, "highlights": self._highlights(row, text)}

    def _highlights(self, row: int, text: str) -> list[list[Any]]:
        project = self._project
        if self._odds is None or not project.present[row]:
            return []
        places = [(found.start(), found.end(), found[0].lower()) for found in WORD.finditer(text)]
        words = sorted({word for _, _, word in places})
        if not words:
            return []
        z = self._odds.between(words, int(project.given[row]), int(project.suggested[row]))
        clearest = [at for at in np.argsort(-np.abs(z), kind="stable")[:WORDS] if abs(z[at]) >= CLEAR]
        said = {
            words[at]: ("given" if z[at] > 0 else "suggested", round(min(1.0, float(abs(z[at])) / STRONG), 3))
            for at in clearest
        }
        return [[start, end, *said[word]] for start, end, word in places if word in said]

    @cached_property
    def _odds(self) -> LogOdds | None:
        """The log-odds of words over the labelled rows; None when no row has a label."""
        rows = np.flatnonzero(self._project.present)
        rows = rows[:: max(1, -(-len(rows) // TEXTS))]
        if not len(rows):
            return None
        table = self._project.source.table
        words = Words([table[name].take(rows) for name in self._columns])
        return LogOdds(words, self._project.given[rows]) if len(words.codes) else None

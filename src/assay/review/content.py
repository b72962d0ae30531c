"""A row as what it is: a text, a table row, a picture, a document or a node; with its votes and candidates."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from assay.errors import InputError
from assay.evidence.rows import LONG
from assay.evidence.shown import visible
from assay.evidence.telling import Telling, readable, spread
from assay.labels.media import is_string, looks_like_image
from assay.review.content_image import ImageContent
from assay.review.content_node import NodeContent
from assay.review.content_text import TextContent

if TYPE_CHECKING:
    from assay.review.project import Project


class Contents:
    """The contents of a project's rows; what needs the whole data set is worked out when first wanted."""

    def __init__(self, project: Project) -> None:
        self._project = project
        options = project.options
        self._image = None if self.image_column is None else ImageContent(project, self.image_column)
        self._text = TextContent(project, self.text_columns) if self.text_columns else None
        self._node = NodeContent(project) if options.neighbours or options.edges else None

    def of(self, row: int) -> dict[str, Any]:
        """The content of a row, JSON."""
        if self._image is not None:
            content = self._image.of(row)
        elif self._text is not None:
            content = self._text.of(row)
        else:
            content = {"kind": "table", "columns": self._columns(row)}
        if self._node is not None:
            # A node is a row like any other, seen with those that it is linked to.
            content = {**content, **self._node.of(row), "kind": "node", "columns": self._columns(row)}
        if self._project.votes is not None:
            content["votes"] = [[visible(who, 200), label] for who, label in self._project.votes.of(row)]
        if self._project.candidates is not None:
            found = self._project.candidates.of(row)
            content["candidates"] = [{"name": visible(name, 200), "label": visible(label)} for name, label in found]
        return content

    def image(self, row: int, name: str) -> tuple[bytes, str]:
        """The encoded picture of that name in a row, and its MIME type."""
        if self._image is None:
            raise InputError(f"The rows of {self._project.title} have no pictures: name their column with --image.")
        return self._image.image(row, name)

    @cached_property
    def image_column(self) -> str | None:
        """The column that holds the picture, as named, as the verb found it, or as it looks."""
        project = self._project
        known = project.options.image or (project.origin.image if project.options.text is None else None)
        if known is not None or project.verb == "audit" or project.options.text is not None:
            return known
        table, root = project.source.head, project.source.root
        return next((name for name in table.column_names if looks_like_image(table[name], root)), None)

    @cached_property
    def text_columns(self) -> tuple[str, ...]:
        """The columns that hold the text, in their order."""
        project = self._project
        known = project.options.text or project.origin.text
        if known is not None:
            return (known,)
        if project.verb == "audit" or self.image_column is not None:
            return ()
        table = project.source.table
        return tuple(
            name
            for name in table.column_names
            if is_string(table[name].type) and (pc.mean(pc.utf8_length(table[name])).as_py() or 0) > LONG
        )

    @cached_property
    def table_columns(self) -> list[str]:
        """The columns of a table row: all but the id, the excluded ones and those that say what others are."""
        project, options = self._project, self._project.options
        aside = {project.origin.id, *project.origin.excluded, options.boxes, options.masks, options.neighbours}
        return [name for name in project.source.readable if name not in aside]

    def _columns(self, row: int) -> list[list[str]]:
        """Name, value and why it is telling, of each column, the most telling first."""
        project = self._project
        values = {name: _plain(project.source.cell(row, name)) for name in self.table_columns}
        codes = (int(project.given[row]), int(project.suggested[row])) if project.present[row] else ()
        told = self._telling.row(values, *codes)
        return [[visible(name, 200), visible(value), visible(why, 200)] for name, value, why in told]

    @cached_property
    def _telling(self) -> Telling:
        project = self._project
        rows = np.flatnonzero(project.present)
        rows = rows[spread(len(rows))]
        columns = dict(readable(project.source.table.select(self.table_columns).take(rows)))
        return Telling(columns, project.given[rows], project.classes)


def _plain(cell: Any) -> Any:
    """A cell as `readable` gives it: numbers and texts as they are, all else as text."""
    return cell if cell is None or isinstance(cell, str | bool | int | float) else str(cell)

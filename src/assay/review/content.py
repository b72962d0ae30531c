"""A row as what it is: a text, a table row, a picture, a document or a node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assay.evidence.shown import LONGEST, visible

if TYPE_CHECKING:
    from assay.review.project import Project


class Contents:
    """The contents of a project's rows; what needs the whole data set is worked out when first wanted."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def of(self, row: int) -> dict[str, Any]:
        """The content of a row, JSON."""
        source = self._project.source
        columns = [[visible(name, 200), visible(str(source.cell(row, name)), LONGEST), ""] for name in source.names]
        return {"kind": "table", "columns": columns}

    def image(self, row: int, name: str) -> tuple[bytes, str]:
        """The encoded picture of that name in a row, and its MIME type."""
        raise NotImplementedError

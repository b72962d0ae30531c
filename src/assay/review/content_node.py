"""A node of a graph for review: its columns, and its neighbours with their labels."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assay.errors import InputError
from assay.evidence.shown import visible
from assay.labels.tables import raw_table

if TYPE_CHECKING:
    from assay.review.project import Project

SHOWN = 50
"""Neighbours shown of one node."""
COLUMNS = 4
"""Columns shown of a neighbour."""

Ints = npt.NDArray[np.int64]


class Links:
    """The neighbours of each row, from a column that lists them or from a file of edges, which run both ways."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def of(self, row: int) -> Ints:
        """The rows `(m,)` linked to a row, each once, rising; itself and names of no row are left out."""
        if self._project.options.edges is not None:
            ends, rows = self._edges
            found = rows[np.searchsorted(ends, row) : np.searchsorted(ends, row, side="right")]
        else:
            cell = self._project.source.cell(row, str(self._project.options.neighbours))
            names = cell if isinstance(cell, list) else str(cell or "").replace(",", " ").split()
            found = self._rows_of(pa.array([str(name) for name in names if name is not None], pa.string()))
        found = np.unique(found)
        linked: Ints = found[(found >= 0) & (found != row)]
        return linked

    @cached_property
    def _edges(self) -> tuple[Ints, Ints]:
        """Both ends `(2e,)` of each edge, in the order of the first."""
        path = self._project.options.edges
        assert path is not None
        table = raw_table(path)
        if table.num_columns < 2:
            raise InputError(f"{path.name} needs two columns, the ends of an edge, it has {table.num_columns}.")
        one, other = (self._rows_of(table.column(at).cast(pa.string()).combine_chunks()) for at in (0, 1))
        known = (one >= 0) & (other >= 0)
        if not known.any():
            raise InputError(f"No edge in {path.name} joins two rows: give row numbers, or ids as in the data set.")
        ends, rows = np.concatenate([one[known], other[known]]), np.concatenate([other[known], one[known]])
        order = np.argsort(ends, kind="stable")
        return ends[order], rows[order]

    def _rows_of(self, names: pa.Array) -> Ints:
        """The rows `(m,)` that names stand for: ids where the rows have ids, else row numbers; -1 for no row."""
        if self._ids is not None:
            return np.asarray(pc.index_in(names, self._ids).fill_null(-1).to_numpy(), dtype=np.int64)
        whole = pc.match_substring_regex(names, r"^\s*[0-9]{1,18}\s*$").fill_null(False)
        rows = pc.if_else(whole, pc.utf8_trim_whitespace(names), "-1").cast(pa.int64()).to_numpy(zero_copy_only=False)
        return np.where(rows < self._project.n_rows, rows, -1)

    @cached_property
    def _ids(self) -> pa.Array | None:
        ids = self._project.ids
        return None if ids is None else ids.cast(pa.string())


class NodeContent:
    """Nodes of a project."""

    def __init__(self, project: Project) -> None:
        self._project, self._links = project, Links(project)

    def of(self, row: int) -> dict[str, Any]:
        """How many neighbours a node has, and the first of them with their labels and columns."""
        project = self._project
        linked = self._links.of(row)
        aside = {project.options.neighbours, project.origin.id, *project.origin.excluded}
        names = [name for name in project.source.readable if name not in aside][:COLUMNS]
        shown = []
        for one in linked[:SHOWN].tolist():
            cells = [[visible(name, 200), visible(str(project.source.cell(one, name)), 200)] for name in names]
            shown.append({"row": one, "id": project.row_id(one), "label": project.given_name(one), "columns": cells})
        return {"n_neighbours": len(linked), "neighbours": shown}

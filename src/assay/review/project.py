"""What is reviewed: the rows of a data set, what a verb found about their labels, and what each row is.

A project is the folder that `assay audit`, `assay aggregate` or a critic left, and the data set behind it. It is
read-only, safe to use from several threads, and reads the content of a row when somebody looks at it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.evidence.kept_rows import CANDIDATES, VOTES, KeptRows, Lines, Verb, read_rows
from assay.labels.beliefs import read_beliefs
from assay.labels.formats import files
from assay.review.source import Source

if TYPE_CHECKING:
    from assay.review.content import Contents
    from assay.review.likeness import Likeness


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectOptions:
    """What the columns of the data set are; None means as the results say, or nothing of the kind.

    Parameters
    ----------
    text, image : column with the text, or with the picture as path, bytes or pixels.
    boxes : column of boxes over the picture, list<struct<xmin, ymin, xmax, ymax, label, text>> or JSON of the same.
    masks : column of masks over the picture, as paths or bytes of pictures, one or a list a row.
    fields : columns shown as the fields of a document; with boxes that hold text, by default all that are left.
    neighbours : column that lists the neighbours of a node, as row numbers, or as ids where the rows have ids.
    edges : file whose first two columns are the ends of an edge, as row numbers or ids.
    embeddings : `.npy` file `(n, d)` by which rows are near each other.
    """

    text: str | None = None
    image: str | None = None
    boxes: str | None = None
    masks: str | None = None
    fields: tuple[str, ...] = ()
    neighbours: str | None = None
    edges: Path | None = None
    embeddings: Path | None = None


class Project:
    """What is reviewed; arrays have one entry a row, in the order of the data set.

    Attributes
    ----------
    folder : where the results lie.
    verb : "audit", "aggregate" or "critic".
    title : the name of the data set.
    label : the name of its label column.
    space, classes, n_rows : the k classes, their names, and n.
    given, suggested : `(n,)` int32 codes of the classes; `given` is 0 where `present` `(n,)` is False.
    p_wrong, low, high, score : `(n,)` float32; nan where nothing is known, as for the interval of an aggregate.
    flagged : `(n,)` bool.
    ids : n names of the rows, or None.
    pred_probs : `(n, k)` held-out probabilities, or the belief, memory-mapped; None where none were kept.
    original : the file whose labels a ledger of this folder is about.
    """

    def __init__(self, folder: Path, kept: KeptRows, source: Source, options: ProjectOptions) -> None:
        self.folder, self.source, self.options = folder, source, options
        self.verb: Verb = kept.origin.verb  # type: ignore[assignment]
        self.title, self.label, self.origin = kept.origin.title, kept.origin.label, kept.origin
        self.space, self.classes, self.n_rows = kept.space, kept.space.names, len(kept.given)
        self.given, self.present, self.suggested = kept.given, kept.present, kept.suggested
        self.p_wrong, self.low, self.high, self.score = kept.p_wrong, kept.low, kept.high, kept.score
        self.flagged = kept.flagged
        self.ids = kept.ids

    @classmethod
    def open(cls, folder: Path | str, source: Any = None, *, options: ProjectOptions | None = None) -> Project:
        """Open the results in `folder`.

        Parameters
        ----------
        source : where the data set is, or the frame itself; None looks where it was when the results were written.
        options : what the columns are.

        Raises
        ------
        InputError : no results, another data set, a column that is not there.
        """
        folder, options = Path(folder), options or ProjectOptions()
        kept = read_rows(folder)
        found = Source(kept, folder, source)
        for name in (options.text, options.image, options.boxes, options.masks, options.neighbours, *options.fields):
            if name is not None:
                files.require_column(name, found.names, kept.origin.title)
        return cls(folder, kept, found, options)

    @property
    def original(self) -> Path:
        """The file whose labels a ledger of this folder is about."""
        if self.source.path is not None and self.source.path.is_file():
            return self.source.path
        return self.folder / ("labels.csv" if self.verb == "audit" else "tasks.csv")

    @cached_property
    def pred_probs(self) -> npt.NDArray[Any] | None:
        """`(n, k)`, memory-mapped; None where none were kept."""
        if self.verb == "aggregate":
            return read_beliefs(self.folder / "beliefs.parquet").soft.p
        path = self.folder / "pred_probs.npy"
        if not path.is_file():
            return None
        found: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        if found.shape != (self.n_rows, len(self.classes)):
            raise InputError(f"{path} has shape {found.shape}, expected {(self.n_rows, len(self.classes))}.")
        return found

    def row_id(self, row: int) -> str | None:
        """The user's name of a row; None where rows have no names."""
        return None if self.ids is None else str(self.ids[self.row(row)].as_py())

    def content(self, row: int) -> dict[str, Any]:
        """The row as what it is, as JSON: `kind` is "text", "table", "image", "document" or "node".

        All strings are plain text with hidden characters spelled out; numbers are finite.
        """
        return self.contents.of(self.row(row))

    def image(self, row: int, name: str) -> tuple[bytes, str]:
        """The picture or mask of that `name` in the content of a row, as encoded bytes, and their MIME type."""
        return self.contents.image(self.row(row), name)

    def neighbours(self, row: int, m: int = 5) -> list[dict[str, Any]]:
        """The m labelled rows nearest to a row, nearest first: `row`, `id`, `label`, `by` (the measure), `content`."""
        return self._likeness.nearest(self.row(row), m)

    def row(self, row: int) -> int:
        """The row itself, when there is such a one."""
        if not 0 <= row < self.n_rows:
            raise InputError(f"There is no row {row}: the data set has {self.n_rows} rows, counted from 0.")
        return int(row)

    def given_name(self, row: int) -> str | None:
        """The label that a row has; None where it has none."""
        return self.classes[self.given[row]] if self.present[row] else None

    @cached_property
    def votes(self) -> Lines | None:
        """The votes on each row, of an aggregate."""
        return Lines(self.folder / VOTES) if self.verb == "aggregate" else None

    @cached_property
    def candidates(self) -> Lines | None:
        """The candidate labels of each row, of a critic."""
        return Lines(self.folder / CANDIDATES) if self.verb == "critic" else None

    @cached_property
    def contents(self) -> Contents:
        """What the rows are."""
        from assay.review.content import Contents

        return Contents(self)

    @cached_property
    def _likeness(self) -> Likeness:
        from assay.review.likeness import Likeness

        return Likeness(self)

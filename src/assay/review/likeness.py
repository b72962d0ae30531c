"""Rows that are near a row: how others like it are labelled.

Exact, by brute force over all labelled rows, in blocks. The measure is the best that is at hand:

    embeddings   Euclidean distance of the user's vectors.
    words        cosine of tf-idf, for texts.
    pictures     distance of thumbnails, 8 x 8 pixels in colour.
    columns      squared differences of standardised numbers; a category that differs counts as two rows' mean one.
    predictions  distance of the square roots of the predicted probabilities (Hellinger).

What a measure reads is worked out in the background when it is first wanted: seconds for ten thousand pictures or a
million texts. Until it is there, and for more than `PICTURES` pictures, predictions stand in. Memory, bytes a row:
about 12 for each word of a text (three times that while they are counted), pictures 192, columns 4 each.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assay.errors import InputError
from assay.labels.formats import files
from assay.review.words import Words

if TYPE_CHECKING:
    from assay.review.project import Project

BLOCK = 65_536
SIDE = 8
PICTURES = 100_000
"""Pictures up to which thumbnails are read."""
PATIENCE = 1.0
"""Seconds that an answer waits for a measure that is being made."""

Floats = npt.NDArray[np.float32]
Measure = Callable[[int], Floats]
"""From a row to its distances `(n,)` from all rows."""


class Likeness:
    """Which rows of a project are near each other."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._lock = threading.Lock()

    def nearest(self, row: int, m: int) -> list[dict[str, Any]]:
        """The m labelled rows nearest to a row, itself left out; ties by row number."""
        by, measure = self.measure()
        if measure is None:
            return []
        distance = np.where(self._project.present, measure(row), np.inf)
        distance[row] = np.inf
        m = min(m, int(np.isfinite(distance).sum()))
        if m <= 0:
            return []
        bound = np.partition(distance, m - 1)[m - 1]
        near = np.flatnonzero(distance <= bound)
        near = near[np.argsort(distance[near], kind="stable")][:m]
        project = self._project
        return [
            {
                "row": one,
                "id": project.row_id(one),
                "label": project.given_name(one),
                "distance": round(float(distance[one]), 6),
                "by": by,
                "content": project.content(one),
            }
            for one in near.tolist()
        ]

    def measure(self) -> tuple[str, Measure | None]:
        """The name of the best measure that is ready, and the measure; ("nothing", None) where nothing is known."""
        with self._lock:  # one thread makes it
            best = self.best
        predicted = self._project.pred_probs is not None
        if best is not None:
            try:
                return best[0], best[1].result(PATIENCE if predicted else None)
            except NotYet:
                pass
        return ("predictions", self._by_predictions) if predicted else ("nothing", None)

    @cached_property
    def best(self) -> tuple[str, Future[Measure]] | None:
        """The best measure, being made in the background; None where only predictions can be compared."""
        project, contents = self._project, self._project.contents
        make: Callable[[], Measure]
        if project.options.embeddings is not None:
            name, make = "embeddings", self._embeddings
        elif contents.image_column is not None and project.n_rows <= PICTURES:
            name, make = "pictures", self._pictures
        elif contents.image_column is not None:
            return None
        elif contents.text_columns:
            name, make = "words", self._words
        elif contents.table_columns:
            name, make = "columns", self._columns
        else:
            return None
        made: Future[Measure] = Future()

        def work() -> None:
            try:
                made.set_result(make())
            except BaseException as error:  # whoever asks is told
                made.set_exception(error)

        threading.Thread(target=work, name="likeness", daemon=True).start()
        return name, made

    def _embeddings(self) -> Measure:
        path = self._project.options.embeddings
        assert path is not None
        files.require_file(path)
        if files.suffix_of(path) != ".npy":
            raise InputError(f"{path.name} is no .npy file: save the embeddings (n, d) with numpy.save.")
        return _euclidean(_rows(np.load(path, mmap_mode="r", allow_pickle=False), self._project.n_rows))

    def _by_predictions(self, row: int) -> Floats:
        assert self._project.pred_probs is not None
        return _distances(self._project.pred_probs, row, lambda block: np.sqrt(np.clip(block, 0, None)))

    def _columns(self) -> Measure:
        """Differences of standardised numbers, and categories that differ."""
        table = self._project.source.table.select(self._project.contents.table_columns)
        numbers, codes = [], []
        for column in table.columns:
            if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
                values = column.cast(pa.float64(), safe=False).to_numpy().copy()
                known = np.isfinite(values)
                spread = values[known].std() if known.any() else 0.0
                standard = (values - values[known].mean()) / spread if spread > 0 else np.zeros(len(values))
                numbers.append(np.where(known, standard, 0.0).astype(np.float32))
            elif not pa.types.is_nested(column.type):
                whole = column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
                coded = whole.combine_chunks().dictionary_encode(null_encoding="encode")
                coded = coded if isinstance(coded, pa.Array) else coded.unify_dictionaries().combine_chunks()
                codes.append(coded.indices.to_numpy().astype(np.int32))

        def measure(row: int) -> Floats:
            distance = np.zeros(len(table), dtype=np.float32)
            for values in numbers:
                distance += np.square(values - values[row])
            for values in codes:
                distance += 2 * (values != values[row])  # two rows differ by 2 in a standard number, on average
            return distance

        return measure

    def _words(self) -> Measure:
        """One minus the cosine of tf-idf, with one list of texts a word."""
        project = self._project
        words = Words([project.source.table[name] for name in project.contents.text_columns])
        pairs, counts = np.unique(words.codes * np.int64(project.n_rows) + words.rows(), return_counts=True)
        starts = np.searchsorted(pairs // project.n_rows, np.arange(words.n_words + 1))
        rows = (pairs % project.n_rows).astype(np.int32)
        del pairs
        idf = np.log((1 + project.n_rows) / (1 + np.diff(starts))) + 1
        weights = ((1 + np.log(counts)) * np.repeat(idf, np.diff(starts))).astype(np.float32)
        weights /= np.sqrt(np.bincount(rows, np.square(weights), project.n_rows).astype(np.float32))[rows]
        begins = np.concatenate([[0], words.ends])

        def measure(row: int) -> Floats:
            likeness = np.zeros(project.n_rows, dtype=np.float32)
            for word in np.unique(words.codes[begins[row] : begins[row + 1]]):
                here = slice(starts[word], starts[word + 1])
                at = np.searchsorted(rows[here], row)
                likeness[rows[here]] += weights[here] * weights[here][at]
            return 1 - likeness

        return measure

    def _pictures(self) -> Measure:
        """Distance of thumbnails."""
        from assay.evidence.pictures import opened
        from assay.review.content_image import as_picture

        project = self._project
        column = project.contents.image_column
        assert column is not None
        thumbnails = np.full((project.n_rows, SIDE * SIDE * 3), 127, dtype=np.uint8)
        for row, cell in enumerate(project.source.cells(column)):
            try:
                picture, _ = opened(as_picture(project.source, cell, row), 4 * SIDE)
            except InputError:
                continue  # a picture that cannot be read is grey
            thumbnails[row] = np.asarray(picture.convert("RGB").resize((SIDE, SIDE))).reshape(-1)
        return _euclidean(thumbnails)


def _rows(vectors: npt.NDArray[Any], n: int) -> npt.NDArray[Any]:
    if vectors.ndim != 2 or len(vectors) != n or vectors.dtype.kind not in "fiub":
        raise InputError(f"The embeddings are {vectors.dtype} {vectors.shape}: give numbers (n, d) for {n} rows.")
    return vectors


def _euclidean(vectors: npt.NDArray[Any]) -> Measure:
    return lambda row: _distances(vectors, row, lambda block: block)


def _distances(vectors: npt.NDArray[Any], row: int, scale: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> Floats:
    """Euclidean distances `(n,)` of a row from all, in blocks."""
    here = scale(np.asarray(vectors[row], dtype=np.float32))
    found = np.empty(len(vectors), dtype=np.float32)
    for start in range(0, len(vectors), BLOCK):
        block = scale(np.asarray(vectors[start : start + BLOCK], dtype=np.float32)) - here
        found[start : start + BLOCK] = np.sqrt(np.einsum("ij,ij->i", block, block))
    return found

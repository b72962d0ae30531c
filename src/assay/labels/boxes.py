"""Boxes: any number of rectangles an image, each with a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels.checks import (
    CLASSES,
    Floats,
    Ints,
    as_integers,
    as_pointer,
    as_reals,
    as_rows,
    first,
    of_kind,
    pointer_of,
    same_length,
    take_ragged,
)
from assay.labels.container import Container
from assay.labels.spaces import Space

SLACK = 1e-6  # pixels by which a box may leave its image: the noise of x + width


@dataclass(frozen=True, slots=True, eq=False)
class Boxes(Container):
    """A ragged list of boxes; the rows are the images, and an image may have no box.

    Corners are **edges in pixels, from 0**: the left-most column of pixels lies between x = 0 and x = 1, so a box over
    that column alone is xmin = 0, xmax = 1, and its width is xmax - xmin. COCO counts so too, as x, y, width, height.
    Pascal VOC numbers the pixels from 1 and includes the last one: `formats.voc` converts.

    Parameters
    ----------
    space : the k classes.
    label : codes `(b,)` int32.
    corners : `(b, 4)` float64: xmin, ymin, xmax, ymax.
    offsets : `(n + 1,)` int64: image i owns the boxes offsets[i] to offsets[i + 1].
    images : n names, all different.
    sizes : `(n, 2)` int64, width and height of each image; None when unknown.
    score : `(b,)` float32, how sure the source was; None for none.
    text : b transcriptions, or None where there is none; None for no box.

    Examples
    --------
    >>> boxes = Boxes(Space(("cat", "dog")), [1, 0], [[0, 0, 5, 5], [2, 1, 4, 3]], [0, 2, 2], ("a.png", "b.png"))
    >>> len(boxes), boxes.names(), boxes.widths().tolist()
    (2, ['dog', 'cat'], [5.0, 2.0])
    """

    space: Space
    label: Ints
    corners: Floats
    offsets: npt.NDArray[np.int64]
    images: tuple[str, ...]
    sizes: npt.NDArray[np.int64] | None = None
    score: Floats | None = None
    text: tuple[str | None, ...] | None = None

    def __post_init__(self) -> None:
        of_kind(self.space, "Boxes", *CLASSES)
        put = object.__setattr__
        given = np.asarray(self.corners, dtype=np.float64)
        corners = as_reals(given.reshape(-1, 4) if given.size == 0 else given, "Corners of boxes", ndim=2)
        if corners.shape[1:] != (4,):
            raise InputError(f"Corners of boxes have the shape (b, 4), xmin, ymin, xmax, ymax; got {corners.shape}.")
        put(self, "corners", corners)
        put(self, "label", as_integers(self.label, "Classes of boxes", high=self.space.n_classes))
        put(self, "offsets", as_pointer(self.offsets, len(corners), "boxes"))
        put(self, "images", tuple(map(str, self.images)))
        same_length("boxes", len(corners), label=self.label)
        if len(self.images) != self.n_rows:
            raise InputError(f"{len(self.images)} images are named, the offsets are of {self.n_rows}.")
        seen: dict[str, int] = {}
        for row, name in enumerate(self.images):
            if seen.setdefault(name, row) != row:
                raise InputError(f"Images must differ: {name!r} comes twice.", row=row)
        if self.sizes is not None:
            sizes = as_integers(self.sizes, "Sizes of images", dtypes=(np.int64,), ndim=2)
            if sizes.shape != (self.n_rows, 2):
                raise InputError(f"Sizes of images have the shape ({self.n_rows}, 2), got {sizes.shape}.")
            put(self, "sizes", sizes)
        if self.score is not None:
            put(self, "score", as_reals(self.score, "Scores of boxes", dtypes=(np.float32,)))
            same_length("boxes", len(corners), score=self.score)
        if self.text is not None:
            put(self, "text", tuple(self.text))
            if len(self.text) != len(corners):
                raise InputError(f"{len(self.text)} texts were given for {len(corners)} boxes.")
        self._check_geometry()

    def _check_geometry(self) -> None:
        low, high = self.corners[:, :2], self.corners[:, 2:]
        self._refuse(np.asarray((low >= high).any(axis=1)), "has no area; xmin < xmax and ymin < ymax are needed")
        outside = np.asarray((low < -SLACK).any(axis=1))
        if self.sizes is not None:
            outside |= (high > self.sizes[self.rows()] + SLACK).any(axis=1)
        self._refuse(outside, "leaves the image: mend it, or cut the boxes with clip=True where they are read")

    def _refuse(self, wrong: npt.NDArray[np.bool_], why: str) -> None:
        place = first(wrong)
        if place is None:
            return
        row = int(self.rows()[place])
        corners = ", ".join(f"{edge:g}" for edge in self.corners[place])
        size = "" if self.sizes is None else f" of {self.sizes[row, 0]} x {self.sizes[row, 1]} pixels"
        number = place - int(self.offsets[row])
        raise InputError(f"Box {number} of image {self.images[row]!r}{size}, ({corners}), {why}.", row=row)

    @property
    def n_rows(self) -> int:
        """Number of images, n."""
        return len(self.offsets) - 1

    @property
    def n_boxes(self) -> int:
        """Number of boxes, b."""
        return len(self.label)

    def rows(self) -> npt.NDArray[np.int64]:
        """The image of each box, `(b,)`."""
        return np.repeat(np.arange(self.n_rows), np.diff(self.offsets))

    def names(self) -> list[str]:
        """Class name of each box."""
        return [self.space.names[code] for code in self.label]

    def widths(self) -> npt.NDArray[np.float64]:
        """Width of each box in pixels, `(b,)`."""
        return np.asarray(self.corners[:, 2] - self.corners[:, 0])

    def heights(self) -> npt.NDArray[np.float64]:
        """Height of each box in pixels, `(b,)`."""
        return np.asarray(self.corners[:, 3] - self.corners[:, 1])

    def take(self, rows: npt.ArrayLike) -> Boxes:
        """Return the boxes of the chosen images, each image once."""
        chosen = as_rows(rows, self.n_rows)
        offsets, at = take_ragged(self.offsets, chosen)
        return replace(
            self,
            label=self.label[at],
            corners=self.corners[at],
            offsets=offsets,
            images=tuple(self.images[row] for row in chosen),
            sizes=None if self.sizes is None else self.sizes[chosen],
            score=None if self.score is None else self.score[at],
            text=None if self.text is None else tuple(self.text[place] for place in at),
        )


def gathered(
    space: Space,
    images: Sequence[str],
    sizes: npt.ArrayLike | None,
    row: npt.ArrayLike,
    label: npt.ArrayLike,
    corners: npt.ArrayLike,
    *,
    clip: bool = False,
    score: npt.ArrayLike | None = None,
    text: Sequence[str | None] | None = None,
) -> tuple[Boxes, npt.NDArray[np.int64]]:
    """Boxes from columns `(b,)` in any order of images, and the place in the columns that each box came from.

    With `clip`, boxes are cut at the edges of their image, and those with nothing inside it are left out.
    """
    at, edges = np.asarray(row, dtype=np.int64), np.asarray(corners, dtype=np.float64).reshape(-1, 4)
    kept = np.arange(len(at))
    if clip:
        high: Any = np.inf if sizes is None else np.asarray(sizes)[at][:, [0, 1, 0, 1]]
        edges = np.clip(edges, 0, high)
        kept = np.flatnonzero((edges[:, :2] < edges[:, 2:]).all(axis=1))
    order = kept[np.argsort(at[kept], kind="stable")]
    offsets = pointer_of(np.bincount(at[order], minlength=len(images)))
    boxes = Boxes(
        space,
        np.asarray(label, dtype=np.int32)[order],
        edges[order],
        offsets,
        tuple(images),
        None if sizes is None else np.asarray(sizes, dtype=np.int64).reshape(-1, 2),
        None if score is None else np.asarray(score, dtype=np.float32)[order],
        None if text is None else tuple(text[place] for place in order),
    )
    return boxes, order

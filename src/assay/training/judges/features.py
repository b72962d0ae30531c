"""What a label looks like beside labels that were accepted, as numbers: the criteria of the judges without a model.

- mask: size, parts, place, edges (`kernels.mask_shape`), overlap with the mean accepted mask, contrast on the picture.
- text and fields: likelihood of letters, form, known words, amounts, dates (`kernels.text_shape`), field by field; and
  whether the text stands in the content, where the content is a text.
- class and tags: how frequent the name is, and how likely given the features of the row.

Legend of shapes: n rows, d features of a label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from assay.errors import InputError
from assay.kernels import text_shape
from assay.kernels.mask_shape import on_grid, picture_numbers, shape_names, shape_numbers, soft_overlap
from assay.training.judges import Case

Floats = npt.NDArray[np.float64]


class MaskFeatures:
    """Masks of one number of axes; `cases` may hold pictures or volumes of the same shape as their masks."""

    def __init__(self, cases: Sequence[Case], accepted: Sequence[Any]) -> None:
        ndim = accepted[0].ndim
        grids = [on_grid(mask) for mask in accepted]
        self.atlas = np.mean(grids, axis=0)
        shape: Any = getattr(cases[0].content, "shape", ())
        self._channels = (shape[2] if len(shape) == 3 and ndim == 2 else 1) if len(shape) >= ndim else 0
        inner = [f"{what}, channel {at}" for at in range(self._channels) for what in ("contrast", "spread", "edge")]
        self.names = (*shape_names(ndim), "overlap with accepted", "empty", *inner)
        self.better = np.array([name == "overlap with accepted" for name in self.names], dtype=np.float64)

    def of(self, case: Case, value: Any) -> Floats:
        """Describe one mask (d,)."""
        overlap = soft_overlap(on_grid(value), self.atlas)
        parts = [shape_numbers(value), np.array([overlap, float(not value.any())])]
        if self._channels:
            parts.append(picture_numbers(value, channels_of(case.content, value.shape)))
        return np.concatenate(parts)


def channels_of(content: Any, shape: tuple[int, ...]) -> Floats:
    """A picture or volume as channels (c, *shape) of float64."""
    array = np.asarray(content, dtype=np.float64)
    if array.shape == shape:
        return array[None]
    if array.shape[:2] == shape and array.ndim == 3:
        return np.moveaxis(array, 2, 0)
    raise InputError(f"A picture of shape {array.shape} does not fit its mask of shape {shape}.")


class TextFeatures:
    """Texts; with `fields`, mappings whose every field has its own model of what was accepted."""

    def __init__(self, cases: Sequence[Case], accepted: Sequence[Any], fields: bool = False) -> None:
        del cases
        self._fields = tuple(sorted({name for value in accepted for name in value})) if fields else ("",)
        texts = {name: [_field(value, name) for value in accepted] for name in self._fields}
        self._shapes = {name: text_shape.TextShape(filled) for name, filled in texts.items()}
        each = (*text_shape.NAMES, "stands in the content", "empty")
        self.names = tuple(f"{name}: {what}" if name else what for name in self._fields for what in each)
        self.better = np.tile([*text_shape.BETTER, 1.0, 0.0], len(self._fields))

    def of(self, case: Case, value: Any) -> Floats:
        """Describe one text (13,), or a mapping (13 * fields,)."""
        content = " ".join(case.content.lower().split()) if isinstance(case.content, str) else None
        parts = []
        for name in self._fields:
            text = _field(value, name)
            stands = 0.0 if content is None else float(" ".join(text.lower().split()) in content)
            parts += [self._shapes[name].of(text), np.array([stands, float(not text.strip())])]
        return np.concatenate(parts)


def _field(value: Any, name: str) -> str:
    return value if isinstance(value, str) else value.get(name, "")


class NameFeatures:
    """Class names, or sets of tags: log share, and log chance given the row's vector, summed up over tags."""

    def __init__(self, cases: Sequence[Case], accepted: Sequence[Any], tags: bool = False) -> None:
        sets = [value if tags else (value,) for value in accepted]
        self._count, self._n = Counter(name for names in sets for name in names), len(sets)
        self.names = ("frequency", "chance given the content", "surest", "names")
        self.better = np.array([1.0, 1.0, 0.0, 0.0])
        self._models: dict[str, Any] = {}
        self._tags = tags
        if all(case.vector is not None for case in cases):
            matrix = np.stack([case.vector for case in cases if case.vector is not None])
            if tags:
                for name in self._count:
                    self._learn(name, matrix, np.array([name in names for names in sets]))
            else:
                self._learn("", matrix, np.array([names[0] for names in sets]))

    def _learn(self, name: str, matrix: Any, y: npt.NDArray[Any]) -> None:
        if len(np.unique(y)) > 1:
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
            self._models[name] = model.fit(matrix, y)

    def of(self, case: Case, value: Any) -> Floats:
        """Describe one class or set of tags (4,)."""
        names = value if self._tags else (value,)
        share = [np.log((self._count[name] + 0.5) / (self._n + 1)) for name in names]
        chance, top = 0.0, 0.0
        if case.vector is not None and self._models:
            for name, model in self._models.items():
                p = model.predict_proba(case.vector[None])[0]
                at = np.flatnonzero(model.classes_ == ((name in names) if self._tags else value))
                chance += float(np.log(max(p[at[0]] if at.size else 0.0, 1e-4)))
                top += float(np.log(p.max()))
        return np.array([np.mean(share) if share else 0.0, chance, top, float(len(names))])


LabelFeatures = MaskFeatures | TextFeatures | NameFeatures


def learn_features(cases: Sequence[Case], accepted: Sequence[Any]) -> LabelFeatures:
    """Learn from rows with an accepted label (n,) what accepted labels look like.

    `of(case, value)` of the result describes any label; `names` (d,) says what its numbers are, `better` (d,) whether
    more is better (1) or only the accepted range is (0).
    """
    if not accepted:
        raise InputError("No label was accepted: a judge that learns needs some that are known to be good.")
    kind = cases[0].kind
    if kind == "mask":
        return MaskFeatures(cases, accepted)
    if kind in ("text", "fields"):
        return TextFeatures(cases, accepted, fields=kind == "fields")
    return NameFeatures(cases, accepted, tags=kind == "tags")


def learn_in_folds(cases: Sequence[Case], accepted: Sequence[Any], fold: npt.NDArray[np.int64]) -> list[LabelFeatures]:
    """For each fold, what the labels outside of it look like: rows of `fold` (n,) are then described unseen.

    A text or a mask that was learned looks likelier than it is, and so does whatever is measured on it.
    """
    found = []
    for at in range(int(fold.max()) + 1):
        keep = np.flatnonzero(fold != at).tolist()
        found.append(learn_features([cases[row] for row in keep], [accepted[row] for row in keep]))
    return found


class Usual:
    """What is usual among the features of accepted labels (n, d), and how surprising others are.

    The surprise of a feature is `-log` of the share of accepted labels as extreme, on the worse side only where more is
    better, plus the log of how far it lies outside of all of them.
    """

    def __init__(self, x: Floats, better: Floats) -> None:
        self._sorted, self._better = np.sort(x, axis=0), better > 0
        spread = np.subtract(*np.quantile(x, [0.9, 0.1], axis=0)) / 2.563  # of a normal distribution
        self._spread = np.maximum(spread, np.maximum(1e-6, 0.05 * np.abs(x).mean(axis=0)))

    def surprise(self, x: Floats) -> Floats:
        """Surprise (d,) of each feature of a label (d,), 0 or more."""
        n = len(self._sorted)
        below, under = np.sum(self._sorted <= x, axis=0), np.sum(self._sorted < x, axis=0)
        low, high = (below + 0.5) / (n + 1), (n - under + 0.5) / (n + 1)
        tail = np.minimum(np.where(self._better, low, 2 * np.minimum(low, high)), 1.0)
        gap = np.maximum(self._sorted[0] - x, 0.0)
        gap += np.where(self._better, 0.0, np.maximum(x - self._sorted[-1], 0.0))
        return np.asarray(np.log1p(gap / self._spread) - np.log(tail))

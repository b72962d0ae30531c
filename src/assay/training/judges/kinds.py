"""The kinds of labels that can be compared: how each is read, when two are equal or alike, and how one is shown.

"class" is one name, "tags" a set of names, "mask" an array of two or three axes, "text" a text, "fields" a mapping of
names to texts such as what stands on a receipt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from assay.errors import InputError
from assay.kernels.mask_shape import as_pixels, dice
from assay.labels.hard import is_missing
from assay.labels.spaces import name_of

KINDS = ("class", "tags", "mask", "text", "fields")
LONG = 40  # mean characters above which a column of texts holds texts, not class names
MANY = 0.5  # share of different values above which it does so too


def told(values: Sequence[Any]) -> str:
    """The kind of a column of labels, told by looking at its values.

    >>> told(["cat", "dog", "cat", "cat"]), told([["a"], ["a", "b"]]), told([{"total": "9.00"}])
    ('class', 'tags', 'fields')
    """
    some = [value for value in values if not _absent(value)]
    if not some:
        raise InputError("A column of candidates is empty: each source must label at least one row.")
    if all(isinstance(value, Mapping) for value in some):
        return "fields"
    if all(isinstance(value, np.ndarray) and value.ndim in (2, 3) for value in some):
        return "mask"
    if all(isinstance(value, list | tuple | set | frozenset) for value in some):
        nested = any(isinstance(inner, list | tuple) for value in some if isinstance(value, list) for inner in value)
        return "mask" if nested else "tags"
    if all(isinstance(value, str) for value in some):
        lengthy = np.mean([len(value) for value in some]) > LONG
        return "text" if lengthy or len(set(some)) > max(MANY * len(some), 20) else "class"
    return "class"


def read(value: Any, kind: str, row: int | None = None) -> Any:
    """A label in its canonical form, None when it is missing; what does not fit the kind raises and names its row."""
    if kind not in KINDS:
        raise InputError(f"There is no kind of label {kind!r}: it is one of {', '.join(KINDS)}.")
    if _absent(value) and not (kind == "text" and value == ""):  # an empty text is a transcript of nothing
        return None
    if kind == "mask":
        return as_pixels(value, row)
    if kind == "fields":
        if not isinstance(value, Mapping):
            raise InputError(f"Fields must be a mapping of names to texts, got a {type(value).__name__}.", row=row)
        return {str(name): "" if is_missing(cell) else str(cell) for name, cell in sorted(value.items())}
    if kind == "tags":
        if isinstance(value, str) or not isinstance(value, list | tuple | set | frozenset | np.ndarray):
            raise InputError(f"Tags must be a list of names, got {value!r:.60}.", row=row)
        return tuple(sorted({name_of(tag) for tag in value}))
    if not isinstance(value, str | int | float | np.generic):
        raise InputError(f"A label of kind {kind!r} must be a name or a text, got a {type(value).__name__}.", row=row)
    return name_of(value) if kind == "class" else str(value)


def _absent(value: Any) -> bool:
    return not isinstance(value, np.ndarray | list | tuple | Mapping | set | frozenset) and is_missing(value)


def equal(a: Any, b: Any) -> bool:
    """Whether two canonical labels are the same."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return bool(np.array_equal(a, b))
    return bool(a == b)


def empty(value: Any) -> bool:
    """Whether a canonical label says that there is nothing: no pixel, no tag, no text."""
    if isinstance(value, np.ndarray):
        return not value.any()
    if isinstance(value, Mapping):
        return not any(text.strip() for text in value.values())
    return not value.strip() if isinstance(value, str) else len(value) == 0


def likeness(a: Any, b: Any) -> float:
    """How alike two canonical labels of one kind are, 0 to 1: Dice of pixels, of tags, of fields, of letter pairs.

    >>> likeness(("a", "b"), ("b", "c")), likeness("cat", "cat"), likeness({"x": "1"}, {"x": "2"})
    (0.5, 1.0, 0.0)
    """
    if isinstance(a, np.ndarray):
        return dice(a, b)
    one, two = _parts(a), _parts(b)
    return 1.0 if not one and not two else 2 * len(one & two) / (len(one) + len(two))


def _parts(value: Any) -> set[Any]:
    if isinstance(value, Mapping):
        return set(value.items())
    if isinstance(value, str):
        padded = f" {' '.join(value.lower().split())} "
        return {padded[at : at + 2] for at in range(len(padded) - 1)} if padded.strip() else set()
    return set(value)


def shown(value: Any, longest: int = 4000) -> str:
    """A canonical label in words, for prompts and the ledger; a mask is told by its size and place."""
    if isinstance(value, np.ndarray):
        if not value.any():
            return "empty mask"
        box = " x ".join(f"{axis.min()}..{axis.max()}" for axis in np.nonzero(value))
        return f"mask of {int(value.sum())} of {value.size} pixels within {box}"
    if isinstance(value, Mapping | tuple):
        return json.dumps(value, ensure_ascii=False)[:longest]
    return str(value)[:longest]

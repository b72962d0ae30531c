"""How a row of a data set is shown: a text, the columns of a table row, or a picture.

A reader judges a label by looking at the row, so the row comes as what it is: white space of texts kept, the columns
that speak loudest first, pictures small and sharp.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.evidence.shown import LONGEST, number

if TYPE_CHECKING:
    from PIL import Image as pillow

SIDE = 160
"""Longest side of a picture in a report, pixels."""
_CRISP = 64  # pictures up to this side are drawn larger with hard pixel edges
_BINS = 10
_HEAD = 320
_DATA_URI = re.compile(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/]+={0,2}")


@dataclass(frozen=True, slots=True)
class Text:
    """A text as it stands.

    Parameters
    ----------
    text : at most 20,000 characters of it.
    n_characters : how many it has.
    """

    TAGGED: ClassVar[bool] = True
    text: str
    n_characters: int

    @property
    def head(self) -> str:
        """The beginning that is always shown: at most 320 characters and 8 lines."""
        lines = "\n".join(self.text.split("\n", 8)[:8])
        if len(lines) == len(self.text) <= _HEAD:
            return self.text
        return lines[:_HEAD].rsplit(maxsplit=1)[0] if len(lines) > _HEAD and " " in lines[:_HEAD] else lines[:_HEAD]


@dataclass(frozen=True, slots=True)
class TableRow:
    """A table row: (column, value as text, why it is telling or "") triples, the most telling first."""

    TAGGED: ClassVar[bool] = True
    values: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A small PNG or JPEG as a data URI; `width` and `height` in its own pixels, `alt` says what it is."""

    TAGGED: ClassVar[bool] = True
    uri: str
    width: int
    height: int
    alt: str

    def __post_init__(self) -> None:
        if not _DATA_URI.fullmatch(self.uri):
            raise InputError(f"A picture must be a base64 data URI of a PNG or JPEG, got {self.uri[:40]!r}.")

    @property
    def crisp(self) -> bool:
        """Whether the picture is so small that it is drawn larger with hard pixel edges."""
        return max(self.width, self.height) <= _CRISP


@dataclass(frozen=True, slots=True)
class Card:
    """One suspicious row.

    Parameters
    ----------
    rank : 1 for the row most likely to be wrong.
    row : the row's id in the source, as text.
    given : the label it has.
    suggested : the label it should perhaps have; None when nothing is suggested.
    p_wrong : probability that the given label is wrong, from 0 to 1, with its `interval`.
    content : the row as what it is.
    note : anything else worth a line.
    """

    rank: int
    row: str
    given: str
    suggested: str | None
    p_wrong: float | None
    content: Text | TableRow | Picture
    interval: tuple[float, float] | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if self.p_wrong is not None and not 0 <= self.p_wrong <= 1:
            raise InputError(f"A probability lies between 0 and 1: the card of row {self.row!r} has {self.p_wrong}.")


@dataclass(frozen=True, slots=True)
class Cards:
    """The worst rows, one card each, in the order of `cards`."""

    TAGGED: ClassVar[bool] = True
    title: str
    cards: tuple[Card, ...]
    note: str = ""


def text(value: object) -> Text:
    """A text for a card, cut after 20,000 characters."""
    whole = "" if value is None else str(value)
    return Text(whole[:LONGEST], len(whole))


def table_rows(
    columns: Mapping[str, Sequence[object] | npt.NDArray[np.generic]],
    rows: npt.ArrayLike,
    given: npt.ArrayLike | None = None,
    suggested: npt.ArrayLike | None = None,
    names: Sequence[str] = (),
) -> list[TableRow]:
    """Rows of a table for cards, the most telling columns first.

    With `given` and `suggested`, a value is telling when it is more common under the suggested label than under the
    given one (one-column naive Bayes, numbers in ten quantile bins); without them, when few rows are as unusual.

    Parameters
    ----------
    columns : column name to n values; numbers, text or missing (None, NaN).
    rows : `(m,)` indices of the rows to show.
    given : `(n,)` codes of the given labels.
    suggested : `(m,)` codes of the labels suggested for `rows`.
    names : `(k,)` class names of the codes.
    """
    chosen = np.asarray(rows, dtype=np.int64)
    found: list[list[tuple[float, str, str, str]]] = [[] for _ in chosen]
    for column, raw in columns.items():
        values = np.asarray(raw)
        bins, continuous = _bins(values)
        if given is None or suggested is None:
            scores, notes = _surprise(bins, _tail(values.astype(float), chosen) if continuous else None, chosen)
        else:
            scores, notes = _evidence(bins, chosen, np.asarray(given), np.asarray(suggested), names)
        for at, row in enumerate(chosen):
            found[at].append((float(scores[at]), str(column), _spell(values[row]), notes[at]))
    return [TableRow(tuple(one[1:] for one in sorted(row, key=lambda one: -one[0]))) for row in found]


def _spell(value: object) -> str:
    if value is None or value != value:
        return "missing"
    if isinstance(value, np.generic):
        value = value.item()
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:LONGEST]


def _bins(values: npt.NDArray[np.generic]) -> tuple[npt.NDArray[np.int64], bool]:
    """Codes `(n,)` of the values, and whether they are quantile bins of many numbers; missing has its own code."""
    if values.dtype.kind in "fiu":
        numbers = values.astype(float)
        known = numbers[~np.isnan(numbers)]
        if len(np.unique(known)) > 2 * _BINS:
            edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1]))
            codes = np.searchsorted(edges, numbers, side="right")
            codes[np.isnan(numbers)] = len(edges) + 1
            return codes.astype(np.int64), True
        return np.unique(numbers, return_inverse=True)[1].astype(np.int64), False
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(_spell(value), len(seen)) for value in values], dtype=np.int64), False


def _surprise(
    bins: npt.NDArray[np.int64], tail: npt.NDArray[np.float64] | None, chosen: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], list[str]]:
    """How unusual `(m,)` each chosen value is beyond what is usual in its column, so that a column of ids is silent."""
    if tail is None:
        shares = np.bincount(bins) / len(bins)
        present = shares[shares > 0]
        share, usual = shares[bins[chosen]], -float((present * np.log(present)).sum())
    else:
        share, usual = np.maximum(tail, 1 / len(bins)), 1.0  # the mean of -log of a uniform share
    scores = -np.log(share) - usual
    told = (scores > 1) & (share <= 0.05)
    return scores, [
        f"{number(float(one), '%')} of rows are as unusual" if tell else ""
        for one, tell in zip(share, told, strict=True)
    ]


def _tail(values: npt.NDArray[np.float64], chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Share `(m,)` of the rows that are at least as far from the median as each chosen one."""
    distance = np.abs(values - np.nanmedian(values))
    ordered = np.sort(distance[~np.isnan(distance)])
    share = 1 - np.searchsorted(ordered, distance[chosen], side="left") / max(1, len(ordered))
    share[np.isnan(distance[chosen])] = np.mean(np.isnan(distance))
    return share


def _evidence(
    bins: npt.NDArray[np.int64],
    chosen: npt.NDArray[np.int64],
    given: npt.NDArray[np.generic],
    suggested: npt.NDArray[np.generic],
    names: Sequence[str],
) -> tuple[npt.NDArray[np.float64], list[str]]:
    """Log ratio `(m,)` of how common the chosen rows' values are under the suggested and under the given label."""
    n_bins, n_classes = int(bins.max()) + 1, int(max(given.max(), suggested.max())) + 1
    counts = np.bincount(given.astype(np.int64) * n_bins + bins, minlength=n_bins * n_classes).reshape(-1, n_bins)
    log_share = np.log((counts + 1) / (counts.sum(axis=1, keepdims=True) + n_bins))
    here, old, new = bins[chosen], given[chosen].astype(np.int64), suggested.astype(np.int64)
    ratio = log_share[new, here] - log_share[old, here]
    notes = []
    for value, code in zip(np.exp(ratio), new, strict=True):
        name = names[code] if len(names) > code else f"class {code}"
        notes.append(f"{value:.1f} times as common in {name[:40]}" if value >= 1.5 else "")
    return ratio, notes


def picture(
    source: str | Path | bytes | npt.NDArray[np.generic] | pillow.Image,
    alt: str,
    value_range: tuple[float, float] | None = None,
) -> Picture | Text:
    """A picture for a card, at most 160 pixels a side; a file that cannot be read becomes a text that says so.

    Parameters
    ----------
    source : a path, the bytes of a file, a Pillow image, or an array `(h, w)`, `(h, w, 1)`, `(h, w, 3)`, `(h, w, 4)`.
    alt : what the picture is, for readers who do not see it.
    value_range : the values of an array that mean black and white; by default 0 to 255 for uint8, else its own range.
    """
    from PIL import Image, ImageOps

    try:
        image = _open(source, value_range)
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I") or image.mode == "F":
            image = _from_array(np.asarray(image), None)
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if image.mode in ("1", "L") else "RGB")
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    except InputError:
        raise
    except Exception as error:  # Pillow raises many kinds for broken files, and one bad file must not cost the report
        return text(f"This picture could not be read: {error}")
    tiny = max(image.size) <= _CRISP
    stream = io.BytesIO()
    image.save(stream, format="PNG" if tiny else "JPEG", **({"optimize": True} if tiny else {"quality": 82}))
    uri = f"data:image/{'png' if tiny else 'jpeg'};base64,{base64.b64encode(stream.getvalue()).decode()}"
    return Picture(uri, image.width, image.height, alt)


def _open(source: object, value_range: tuple[float, float] | None) -> pillow.Image:
    from PIL import Image

    if isinstance(source, np.ndarray):
        return _from_array(source, value_range)
    if isinstance(source, bytes):
        source = io.BytesIO(source)
    if isinstance(source, str | Path | io.BytesIO):
        image = Image.open(source)
        image.draft("RGB", (2 * SIDE, 2 * SIDE))  # lets JPEG decode small at once
        return image
    if isinstance(source, Image.Image):
        return source.copy()
    raise InputError(f"A picture comes as a path, bytes, an array or a Pillow image, got a {type(source).__name__}.")


def _from_array(pixels: npt.NDArray[np.generic], value_range: tuple[float, float] | None) -> pillow.Image:
    from PIL import Image

    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)) or 0 in pixels.shape:
        raise InputError(f"A picture must have shape (h, w), (h, w, 1), (h, w, 3) or (h, w, 4), got {pixels.shape}.")
    if pixels.dtype == np.uint8 and value_range is None:
        return Image.fromarray(np.ascontiguousarray(pixels))
    values = np.nan_to_num(pixels.astype(np.float64))
    low, high = value_range or (float(values.min()), float(values.max()))
    scaled = np.clip((values - low) / ((high - low) or 1.0), 0, 1) * 255
    return Image.fromarray(scaled.round().astype(np.uint8))

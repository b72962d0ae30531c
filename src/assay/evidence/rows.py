"""How a row of a data set is shown: a text, the columns of a table row, or a picture.

A reader judges a label by looking at the row, so the row comes as what it is: white space of texts kept, the columns
that speak loudest first, pictures small and sharp.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.evidence import pictures
from assay.evidence.shown import LONGEST
from assay.evidence.telling import Telling, spread

if TYPE_CHECKING:
    from PIL import Image as pillow

SIDE = 160
"""Longest side of a picture in a report, pixels."""
LONG = 30
"""Characters on average from which a column is a text to read."""
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
        return max(self.width, self.height) <= pictures.CRISP


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
    arrays = {str(name): np.asarray(values) for name, values in columns.items()}
    some = spread(max((len(values) for values in arrays.values()), default=0))
    few = {name: values[some] for name, values in arrays.items()}
    told = given is not None and suggested is not None
    old, new = (np.asarray(given), np.asarray(suggested)) if told else (None, None)
    telling = Telling(few, None if old is None else old[some], names)
    found = []
    for at, row in enumerate(chosen):
        codes = () if old is None or new is None else (int(old[row]), int(new[at]))
        found.append(TableRow(telling.row({name: values[row] for name, values in arrays.items()}, *codes)))
    return found


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
    try:
        image, _ = pictures.opened(source, SIDE, value_range)
    except pictures.UnreadableError as error:  # one bad file must not cost the report
        return text(error)
    data, kind = pictures.encoded(image)
    return Picture(f"data:{kind};base64,{base64.b64encode(data).decode()}", image.width, image.height, alt)

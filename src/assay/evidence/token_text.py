"""Text whose pieces are coloured by a weight each: which tokens counted.

The weight is a background, a second weight a line below, so that both are seen in light and dark and in print; hovering
tells the numbers. Pieces are text of a data set and pass the page's escaping like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from assay.errors import InputError

LONGEST = 400
"""Pieces of a passage that a report keeps."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One coloured text.

    Parameters
    ----------
    label : what it is.
    pieces : the text in pieces, white space included.
    weights : a weight of each piece, none negative.
    lines : a second weight of each, or none at all.
    """

    label: str
    pieces: tuple[str, ...]
    weights: tuple[float, ...]
    lines: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.weights) != len(self.pieces) or len(self.lines) not in (0, len(self.pieces)):
            raise InputError(f"A text of {len(self.pieces)} pieces has {len(self.weights)} weights: give one for each.")
        if any(weight < 0 for weight in (*self.weights, *self.lines)):
            raise InputError("Weights of a coloured text cannot be negative.")


@dataclass(frozen=True, slots=True)
class Passages:
    """A group of passages below a line that they share.

    Parameters
    ----------
    head : what they belong to, such as the end of the prompt.
    note : a few words on them.
    passages : the texts.
    """

    head: str
    note: str
    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class TokenText:
    """Groups of coloured texts; colours scale to the largest weight of the block.

    Parameters
    ----------
    title : the finding.
    groups : the groups.
    weight, line : what the weights and the second weights are.
    note : how to read it.
    """

    TAGGED: ClassVar[bool] = True
    title: str
    groups: tuple[Passages, ...]
    weight: str
    line: str = ""
    note: str = ""

    def shares(self, passage: Passage) -> list[tuple[str, float, float, str]]:
        """Each piece, how strong its colour and its line are, 0 to 1, and both weights in words."""
        every = [each for group in self.groups for each in group.passages]
        top = max((weight for each in every for weight in each.weights), default=0.0) or 1.0
        top_line = max((weight for each in every for weight in each.lines), default=0.0) or 1.0
        lines = passage.lines or (0.0,) * len(passage.pieces)
        told = []
        for piece, weight, line in zip(passage.pieces, passage.weights, lines, strict=True):
            words = f"{self.weight} {weight:.2g}" + (f", {self.line} {line:.2g}" if passage.lines else "")
            told.append((piece, weight / top, line / top_line, words))
        return told


def merged(
    decode: Callable[[Sequence[int]], str], ids: Sequence[int], *weights: Sequence[float]
) -> tuple[tuple[str, ...], list[tuple[float, ...]]]:
    r"""Pieces of text of token ids, and the weights of each: tokens that share a character become one piece.

    Parameters
    ----------
    decode : makes text of ids.
    ids : of the tokens.
    weights : of the tokens; a piece of several has the largest.

    >>> merged(lambda ids: bytes(ids).decode(errors="replace"), [72, 195, 188], [0.5, 1.0, 0.2])
    (('H', 'ü'), [(0.5, 1.0)])
    """
    pieces: list[str] = []
    found: list[list[float]] = [[] for _ in weights]
    begin = 0
    for end in range(1, len(ids) + 1):
        piece = decode(ids[begin:end])
        if "\ufffd" in piece and end - begin < 4 and end < len(ids):
            continue
        pieces.append(piece)
        for column, given in zip(found, weights, strict=True):
            column.append(max(given[begin:end]))
        begin = end
    return tuple(pieces), [tuple(column) for column in found]

"""Preferences: of two items, which one is better."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels.checks import Floats, Ints, as_integers, as_reals, as_rows, first, of_kind, same_length
from assay.labels.container import Container
from assay.labels.spaces import Kind, Space

PAIR = Space(("a", "b", "tie"), Kind.RANKING)
A, B, TIE = range(3)


@dataclass(frozen=True, slots=True, eq=False)
class Preferences(Container):
    """Judged pairs; the rows are the pairs. A pair may be judged many times.

    Parameters
    ----------
    n_items : number of items that `a` and `b` count in.
    a, b : item numbers `(p,)` int64, different in each row.
    winner : `(p,)` int8: 0 = a wins, 1 = b wins, 2 = tie (`A`, `B`, `TIE`, the names of `PAIR`).
    margin : by how much `(p,)` float32, never negative; or None.
    prompt : number of the prompt or context `(p,)` int64, or None.
    space : the three verdicts; there is only this one.
    """

    n_items: int
    a: Ints
    b: Ints
    winner: Ints
    margin: Floats | None = None
    prompt: Ints | None = None
    space: Space = PAIR

    def __post_init__(self) -> None:
        of_kind(self.space, "Preferences", Kind.RANKING)
        PAIR.require(self.space)
        a = as_integers(self.a, "Items a", dtypes=(np.int64,), high=self.n_items)
        b = as_integers(self.b, "Items b", dtypes=(np.int64,), high=self.n_items)
        winner = as_integers(self.winner, "Winners", dtypes=(np.int8,), high=3)
        margin = None if self.margin is None else as_reals(self.margin, "Margins", dtypes=(np.float32,))
        prompt = None if self.prompt is None else as_integers(self.prompt, "Prompts", dtypes=(np.int64,))
        same_length("preferences", len(a), b=b, winner=winner, margin=margin, prompt=prompt)
        row = first(a == b)
        if row is not None:
            raise InputError(f"Item {a[row]} is compared with itself.", row=row)
        row = None if margin is None else first(margin < 0)
        if row is not None:
            raise InputError("A margin cannot be negative: `winner` says who wins.", row=row)
        for name, column in (("a", a), ("b", b), ("winner", winner), ("margin", margin), ("prompt", prompt)):
            object.__setattr__(self, name, column)

    @property
    def n_rows(self) -> int:
        """Number of judged pairs, p."""
        return len(self.a)

    def counts(self) -> npt.NDArray[np.int64]:
        """Pairs won by a, by b, and tied, `(3,)`."""
        return np.bincount(self.winner, minlength=3)

    def take(self, rows: npt.ArrayLike) -> Preferences:
        """Return the chosen pairs."""
        at = as_rows(rows, self.n_rows)
        margin = None if self.margin is None else self.margin[at]
        prompt = None if self.prompt is None else self.prompt[at]
        return Preferences(self.n_items, self.a[at], self.b[at], self.winner[at], margin, prompt)

"""Judges: who says which of two labels is better, whether one is good, and whether there is anything to label at all.

A judge is anything with a `name`, a `price` a call and three methods. It need not be right, nor even answer: what it
says is used by methods that ask in both orders and take silence, errors and nonsense as "unsure".

- `rules.RulesJudge`: what accepted labels look like, as criteria; no model, no weights.
- `classifier.ClassifierJudge`: logistic regression on the same features, out of fold.
- `local_model.LocalModelJudge`: a text or vision-language model in a folder, by the probability of its answers.
- `endpoint.EndpointJudge`: any server that speaks the chat-completions protocol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from assay.kernels.dual_verdicts import FIRST, SECOND, UNSURE

__all__ = ["BAD", "FIRST", "GOOD", "NO", "SECOND", "UNSURE", "YES", "Answer", "Candidate", "Case", "Judge"]

GOOD = YES = 1  # what `check` and `present` say
BAD = NO = 2


@dataclass(frozen=True, eq=False)
class Case:
    """What is labelled: one row.

    Parameters
    ----------
    row : number of the row.
    kind : of its labels: "class", "tags", "mask", "text" or "fields".
    content : what a judge looks at: a picture (h, w), (h, w, 3) or volume (x, y, z), a text, a mapping, or None.
    vector : features (d,) of the content for judges that learn classes, or None.
    target : what the label is of, in plain words, such as "spleen".
    spacing : lengths of a voxel along the axes of a volume.
    """

    row: int
    kind: str
    content: Any = None
    vector: npt.NDArray[np.floating[Any]] | None = None
    target: str = ""
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Candidate:
    """One label of a row: its value, the number of its source, and how many of the others agree, 0 to 1."""

    value: Any
    source: int = -1
    support: float = 1.0


@dataclass(frozen=True)
class Answer:
    """What a judge said.

    Parameters
    ----------
    said : 1, 2 or 0 (unsure).
    text : the words or numbers that it said it by.
    score : how strongly it leans to 1, on a scale of its own whose zero is no lean; None where it has none.
    """

    said: int
    text: str = ""
    score: float | None = None


class Judge(Protocol):
    """Somebody who compares labels. `name` goes into the ledger; `price` is the cost of one call."""

    name: str
    price: float

    def compare(self, case: Case, first: Candidate, second: Candidate) -> Answer:
        """Which label is better: `FIRST`, `SECOND`, or `UNSURE`."""
        ...

    def check(self, case: Case, candidate: Candidate) -> Answer:
        """Whether the label is good enough to keep: `GOOD`, `BAD`, or `UNSURE`."""
        ...

    def present(self, case: Case) -> Answer:
        """Whether there is anything to label in this row: `YES`, `NO`, or `UNSURE`."""
        ...

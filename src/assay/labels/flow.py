"""Questions over labelled items, answers that carry a label, and who gives them: what information flow speaks of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from assay.labels.lattice import Label


@dataclass(frozen=True, slots=True)
class Question:
    """A query and the items that were found for it.

    Parameters
    ----------
    query : what is asked.
    items : (n,) what the answer may rest on, in order.
    labels : (n,) their labels, as the lattice reads them.
    query_label : of the query; None for the lattice's bottom.
    """

    query: Any
    items: Sequence[Any]
    labels: Sequence[Any]
    query_label: Any = None


@dataclass(frozen=True, slots=True)
class Generated:
    """What a model wrote: the text, and its tokens (T,) where the answerer scores tokens."""

    text: str
    tokens: tuple[int, ...] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written."""
        return not (self.text if self.tokens is None else self.tokens)


class Answerer(Protocol):
    """A pipeline that answers a query from items. What is kept out of `generate` cannot be in its text."""

    def generate(self, query: Any, items: Sequence[Any]) -> Generated:
        """Answer from these items; the same answer for the same arguments (greedy, or a fixed seed)."""

    def score(
        self, query: Any, items: Sequence[Any], subsets: Sequence[Sequence[int]], answer: Generated
    ) -> npt.NDArray[np.float64]:
        """How well each subset (m,) of positions in `items` explains an answer: mean log-likelihood a token.

        Any other utility will do of which more is better; `lam` is then in its unit. NaN and -inf reject a subset.
        """


@dataclass(frozen=True, slots=True)
class FlowAnswer:
    """A text, the label that it carries, and how that came about.

    Parameters
    ----------
    text : the answer.
    label : who may get it, and where it may act.
    sound : whether the text is a function of what may flow to `label` alone.
    metadata_label : of `label` itself and of `record`, which are functions of all items.
    record : the audit record, JSON.
    """

    text: str
    label: Label
    sound: bool
    metadata_label: Label
    record: dict[str, Any] = field(default_factory=dict)

    def shown_to(self, reader: Label) -> dict[str, Any]:
        """What somebody with this label may see: the text if it may flow there, its label if that may, too."""
        shown: dict[str, Any] = {"text": self.text if self.label <= reader else None}
        return shown | ({"label": self.label.value} if self.metadata_label <= reader else {})

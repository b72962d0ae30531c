"""What a model suggests for each task, as annotation tools carry it: a class, how sure, and which model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assay.labels.hard import Hard
from assay.labels.spaces import Space


class Suggested(NamedTuple):
    """One suggestion a task, or none. It is a belief of its producer and never gold.

    Parameters
    ----------
    ids : n ids of tasks, texts or whole numbers.
    labels : the classes `(n,)`, masked where nothing is suggested.
    score : `(n,)` float64, 0 where nothing is suggested; None unless every suggestion has one.
    agent : name of the model, or None, of each task.
    """

    ids: tuple[int | str, ...]
    labels: Hard
    score: npt.NDArray[np.float64] | None = None
    agent: tuple[str | None, ...] = ()


def suggested_of(rows: Sequence[tuple[Any, Any, float | None, str | None]], space: Space | None) -> Suggested:
    """From rows (id, class or None, score or None, agent or None)."""
    labels = Hard.from_values([label for _, label, _, _ in rows], space, missing=())
    scored = all(score is not None for _, label, score, _ in rows if label is not None)
    scores = np.array([0.0 if label is None else score or 0.0 for _, label, score, _ in rows])
    return Suggested(
        ids=tuple(number for number, *_ in rows),
        labels=labels,
        score=scores if scored and labels.present.any() else None,
        agent=tuple(agent for *_, agent in rows),
    )

"""A run of `assay protect flow`: lam chosen on some questions, all of them answered, everything logged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.evidence.flow_source import Flows, Found
from assay.labels.flow import Answerer, FlowAnswer, Question
from assay.protect.flow_guard import GuardedRetrieval
from assay.protect.information_flow import InformationFlow

Progress = Callable[[str, float], None] | None


@dataclass(frozen=True, slots=True)
class FlowOptions:
    """How answers are labelled.

    Parameters
    ----------
    lam : the drop allowed, None to choose it on the first `held_out` questions.
    held_out : questions that choose lam.
    max_changed, mode, search, max_calls, publish_label : see `InformationFlow`.
    """

    lam: float | None = None
    held_out: int = 20
    max_changed: float = 0.05
    mode: str = "regenerate"
    search: str = "exact"
    max_calls: int = 256
    publish_label: bool = True


@dataclass(frozen=True)
class FlowRun:
    """What came of it.

    Parameters
    ----------
    source : the questions.
    options : as asked for.
    answers : (q,) of all questions.
    lam : the drop allowed in the end.
    curve : of `InformationFlow.fit`, None where lam was given.
    """

    source: Flows
    options: FlowOptions
    answers: list[FlowAnswer]
    lam: float
    curve: dict[str, npt.NDArray[Any]] | None = field(default=None)

    @property
    def n_held_out(self) -> int:
        """Questions that chose lam."""
        return 0 if self.curve is None else min(self.options.held_out, len(self.answers))

    @property
    def lowered(self) -> npt.NDArray[np.bool_]:
        """(q,) whether an answer's label is lower than the join of all that was found."""
        return np.array([one.record["label"] != one.record["conservative"] for one in self.answers])

    def column(self, name: str) -> npt.NDArray[Any]:
        """(q,) an entry of all records."""
        return np.array([one.record[name] for one in self.answers])


def run(source: Flows, answerer: Answerer, options: FlowOptions, log: Path, progress: Progress = None) -> FlowRun:
    """Answer and label every question; each answer is in the audit log at `log` before the next is begun."""

    def told(step: str, done: float) -> None:
        if progress is not None:
            progress(step, done)

    params = {name: getattr(options, name) for name in ("max_changed", "mode", "search", "max_calls", "publish_label")}
    flow = InformationFlow(answerer, source.lattice, **params)
    curve = None
    if options.lam is None:
        held = []
        for row in range(min(options.held_out, len(source.queries))):
            found = source.found(row, lambda _: True)
            items, labels = [item for item, _ in found], [label for _, label in found]
            held.append(Question(source.queries[row], items, labels, source.query_labels[row]))
        flow.fit(held, on_row=lambda done, n: told("choose the drop allowed", done / n))
        curve = flow.curve_
    else:
        flow.lam = options.lam
    answers = []
    for row, (query, label) in enumerate(zip(source.queries, source.query_labels, strict=True)):

        def retriever(_: Any, visible: Callable[[Any], bool], row: int = row) -> Found:
            return source.found(row, visible)

        try:
            answers.append(GuardedRetrieval(retriever, flow, permissive=True, log=log).ask(query, label))
        except InputError as error:
            raise InputError(f"Question {source.ids[row]}: {error}") from None
        told("answer and label", (row + 1) / len(source.queries))
    return FlowRun(source, options, answers, getattr(flow, "lam_", flow.lam), curve)

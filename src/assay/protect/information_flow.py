"""The least restrictive label that an answer deserves, when a language model answers from labelled documents.

A pipeline gives a model a query and n items, each with a label: trusted or not, public or secret, who may read it.
Sound tracking labels the answer with the join of all, so after a few steps everything is untrusted and secret. Most
answers rest on one item or two. `InformationFlow` searches for the lowest label whose items explain the answer about as
well as all did, answers again from those items alone, and gives that answer that label.

Paper: Siddiqui, Gaonkar, Köpf, Krueger, Paverd, Salem, Tople, Wutschitz, Xia, Zanella-Béguelin, "Permissive
Information-Flow Analysis for Large Language Models", TMLR 2025, arXiv 2410.03055.

    C|L = items whose label may flow to L        U(y; C') = mean over tokens of log p(y_t | x, C', y_<t)
    D(L) = U(y; C) - U(y; C|L)                   L is lam-similar when D(L) <= lam; the answer gets a minimal one

When to use: retrieval or tool results of mixed labels, a model whose likelihoods you can have (or another utility), and
readers or tools that the conservative label shuts out for nothing. When not: all items have one label; or the model's
*choice* of a label must not leak either (see `publish_label`).

Departures: the query's label is joined first, so that items at or below it are free, where the paper's (as described)
joins it last; that is never less permissive. Children in the search are those of the restrictions of a label (see
`assay.kernels.minimal_labels`). The utility's form is a reading: the drop of log-perplexity. No code of the authors
exists. Incomparable minima are never joined: the one with the fewest restrictions is taken, then the smaller drop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from assay.errors import InputError
from assay.kernels.minimal_labels import SEARCHES, Tried, enough_within, joined, kept, minimal_labels
from assay.labels.flow import Answerer, FlowAnswer, Generated, Question
from assay.labels.lattice import Label, Lattice

METHOD = {
    "name": "information_flow",
    "title": "Permissive information flow",
    "paper": "Siddiqui, Gaonkar, Köpf, Krueger, Paverd, Salem, Tople, Wutschitz, Xia, Zanella-Béguelin, 2025, "
    "Permissive Information-Flow Analysis for Large Language Models",
    "arxiv": "2410.03055",
    "accepts": ["security", "text"],
    "gives": ["labelled answers", "audit records"],
    "command": "assay protect flow QUESTIONS",
    "claim": "With known needed sources, over 90 % of answers get the minimal label, and answers stay the same.",
    "status": "experimental",
}

LAMS = (0.0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 4.0)
"""Drops that `fit` tries, nats a token."""
MODES = ("regenerate", "verify", "attribute")


class InformationFlow(BaseEstimator):  # type: ignore[misc]
    """Answers with the lowest label that is justified (n items, m subsets of them, q questions).

    Parameters
    ----------
    answerer : the pipeline, see `assay.labels.flow.Answerer`.
    lattice : of the labels, see `assay.labels.lattices`.
    lam : the drop allowed, in nats a token; `fit` replaces it by `lam_`.
    mode : "regenerate" answers again from what the label keeps: sound. "verify" does so too and records whether the
        first answer came again, token for token: sound. "attribute" keeps the first answer, which saw everything: NOT
        sound, for looking only.
    search : "exact", "greedy", "leave-one-out", "upward", "exhaustive", or "conservative" (the join of all labels), see
        `assay.kernels.minimal_labels`.
    max_calls : most labels scored a question. When they are spent, the best label so far is taken; it is sound.
    publish_label : whether the label is shown with the text. It is a function of all items, a small covert channel;
        False keeps it and the record at the conservative label.
    max_changed : share of held-out answers that may change, for `fit`.
    prefer : key of a label, the least of which is taken among incomparable minima; None for the fewest restrictions.

    Attributes
    ----------
    lam_ : the largest of `LAMS` up to which at most `max_changed` of the held-out answers changed; 0 if there is none.
    curve_ : columns over `LAMS`: `lam`, `lowered`, `changed` (shares), `restrictions` (mean), `calls` (mean).
    records_ : for each of `LAMS` the audit records (q,) of the held-out answers.

    Examples
    --------
    >>> from assay.labels.lattices import INTEGRITY
    >>> class Lookup:
    ...     def generate(self, query, items):
    ...         return Generated(next((item for item in items if query in item), "?"))
    ...     def score(self, query, items, subsets, answer):
    ...         return np.array([0.0 if answer.text in [items[at] for at in subset] else -3.0 for subset in subsets])
    >>> flow = InformationFlow(Lookup(), INTEGRITY)
    >>> said = flow.answer("code", ["the code is 7", "buy now"], ["trusted", "untrusted"])
    >>> said.text, str(said.label), said.record["conservative"]
    ('the code is 7', 'trusted', 'untrusted')
    """

    def __init__(
        self,
        answerer: Answerer | None = None,
        lattice: Lattice | None = None,
        lam: float = 0.1,
        mode: str = "regenerate",
        search: str = "exact",
        max_calls: int = 256,
        publish_label: bool = True,
        max_changed: float = 0.05,
        prefer: Callable[[Label], Any] | None = None,
    ) -> None:
        self.answerer = answerer
        self.lattice = lattice
        self.lam = lam
        self.mode = mode
        self.search = search
        self.max_calls = max_calls
        self.publish_label = publish_label
        self.max_changed = max_changed
        self.prefer = prefer

    def answer(
        self,
        query: Any,
        items: Sequence[Any],
        labels: Sequence[Any],
        query_label: Any = None,
        limit: Label | None = None,
        refetch: Callable[[Label], Sequence[Any]] | None = None,
    ) -> FlowAnswer:
        """Answer a query from items (n,) with labels (n,).

        Parameters
        ----------
        query, items, labels, query_label : see `Question`.
        limit : a label that the answer is needed at. Then nothing is searched: what may flow there is enough, or it is
            not, and the answer has the conservative label.
        refetch : items that a retriever finds when it sees only what may flow to a label. Items found among all compete
            with each other, so which low ones were found depends on the high ones; without it that choice is taken for
            public.

        Raises
        ------
        InputError : labels that the lattice does not know, or an item that is empty, with its position.
        """
        asked = _Asked(self, Question(query, items, labels, query_label))
        return asked.answer(asked.search(getattr(self, "lam_", self.lam), limit), refetch)

    def fit(
        self, questions: Sequence[Question], y: None = None, on_row: Callable[[int, int], None] | None = None
    ) -> Self:
        """Choose `lam_` on held-out questions (q,): how many labels are lowered against how many answers change.

        `on_row` is called as `on_row(questions done, q)` after each.
        """
        del y
        if not questions:
            raise InputError("There are no held-out questions to choose lam on: give at least one.")
        said: list[list[FlowAnswer]] = []
        for row, question in enumerate(questions):
            try:
                asked = _Asked(self, question)
            except InputError as error:
                raise InputError(str(error), row=row) from None
            said.append([asked.answer(asked.search(lam), compare=True) for lam in LAMS])
            if on_row is not None:
                on_row(row + 1, len(questions))
        self.records_ = {
            lam: [one.record for one in column] for lam, column in zip(LAMS, zip(*said, strict=True), strict=True)
        }
        by_lam = list(self.records_.values())
        self.curve_ = {
            "lam": np.array(LAMS),
            "lowered": np.array(
                [np.mean([one["label"] != one["conservative"] for one in column]) for column in by_lam]
            ),
            "changed": np.array([np.mean([one["changed"] for one in column]) for column in by_lam]),
            "restrictions": np.array([np.mean([one["restrictions"] for one in column]) for column in by_lam]),
            "calls": np.array([np.mean([one["calls"] for one in column]) for column in by_lam]),
        }
        allowed = np.flatnonzero(np.cumsum(self.curve_["changed"] > self.max_changed) == 0)
        chosen = int(allowed[-1]) if len(allowed) else 0
        self.lam_ = LAMS[chosen]
        return self

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """One row a held-out question at `lam_`: its labels, the drop, the calls, and whether the answer changed."""
        names = ("conservative", "label", "restrictions", "drop", "calls", "changed")
        columns = {name: [one[name] for one in self.records_[self.lam_]] for name in names}
        return {
            name: np.array([str(cell) if name in ("label", "conservative") else cell for cell in column])
            for name, column in columns.items()
        }


class _Asked:
    """One question under way: the first answer, and the drops and second answers that several searches share."""

    def __init__(self, flow: InformationFlow, question: Question) -> None:
        if flow.answerer is None or flow.lattice is None:
            raise InputError("Information flow needs an answerer (who answers) and a lattice (of the labels).")
        if flow.mode not in MODES or flow.search not in SEARCHES:
            raise InputError(
                f"mode is {flow.mode!r}, one of {', '.join(MODES)}; search is {flow.search!r}, one of "
                f"{', '.join(SEARCHES)}."
            )
        if not flow.lam >= 0:
            raise InputError(f"lam is {flow.lam}: the drop allowed is 0 or more nats a token.")
        if len(question.items) != len(question.labels):
            raise InputError(f"There are {len(question.items)} items and {len(question.labels)} labels.")
        for at, item in enumerate(question.items):
            if isinstance(item, str) and not item.strip():
                raise InputError(f"Item {at} is empty: leave it out, for its label would count all the same.")
        self.flow, self.question, self.lattice, self.answerer = flow, question, flow.lattice, flow.answerer
        said = question.query_label
        self.bottom = self.lattice.bottom if said is None else self.lattice.label(said)
        self.bits = [self.lattice.label(label, at).bits for at, label in enumerate(question.labels)]
        self.top = Label(self.lattice, joined(self.bits, self.bottom.bits))
        self.first = self.answerer.generate(question.query, question.items)
        self.drops: dict[int, float] = {self.top.bits: 0.0}
        self.again: dict[int, Generated] = {self.top.bits: self.first}
        self.utility: float | None = None

    def score(self, labels: list[int]) -> list[float]:
        """Drops of labels, each computed once; an empty answer loses nothing."""
        new = [label for label in labels if label not in self.drops]
        if self.first.is_empty:
            self.drops.update(dict.fromkeys(new, 0.0))
        elif new:
            ask = [*([] if self.utility is not None else [self.top.bits]), *new]
            subsets = [kept(self.bits, label) for label in ask]
            found = self.answerer.score(self.question.query, self.question.items, subsets, self.first).tolist()
            if self.utility is None:
                self.utility = float(found.pop(0))
            self.drops.update({label: self.utility - value for label, value in zip(new, found, strict=True)})
        return [self.drops[label] for label in labels]

    def search(self, lam: float, limit: Label | None = None) -> Tried:
        flow, bottom = self.flow, self.bottom.bits
        if limit is not None:
            within = self.lattice.label(limit).bits
            return enough_within(self.bits, self.score, lam, within, bottom=bottom, max_calls=flow.max_calls)
        return minimal_labels(self.bits, self.score, lam, bottom=bottom, search=flow.search, max_calls=flow.max_calls)

    def answer_from(self, label: Label, items: list[Any]) -> Generated:
        """What is answered from these items, which may flow to the label, and nothing else."""
        if items != [self.question.items[at] for at in kept(self.bits, label.bits)]:  # found anew
            return self.answerer.generate(self.question.query, items)
        if label.bits not in self.again:
            self.again[label.bits] = self.answerer.generate(self.question.query, items)
        return self.again[label.bits]

    def choose(self, tried: Tried) -> Label:
        """One of the minimal labels, always the same."""
        prefer = self.flow.prefer or (lambda label: label.n_restrictions)
        labels = [Label(self.lattice, bits) for bits in tried.minimal]
        return min(labels, key=lambda label: (prefer(label), self.drops[label.bits], label.bits))

    def answer(
        self, tried: Tried, refetch: Callable[[Label], Sequence[Any]] | None = None, compare: bool = False
    ) -> FlowAnswer:
        """The answer at the chosen label; in mode "attribute" it is made only to `compare`."""
        flow, label = self.flow, self.choose(tried)
        attributed = flow.mode == "attribute"
        items = [self.question.items[at] for at in kept(self.bits, label.bits)]
        found = items if refetch is None else list(refetch(label))
        second = self.first if attributed and not compare else self.answer_from(label, found)
        record = {
            "lattice": self.lattice.fingerprint,
            "mode": flow.mode,
            "search": flow.search,
            "lam": tried.lam,
            "items": len(self.bits),
            "query_label": self.bottom.value,
            "conservative": self.top.value,
            "label": label.value,
            "restrictions": label.n_restrictions,
            "minimal": [Label(self.lattice, bits).value for bits in tried.minimal],
            "kept": list(kept(self.bits, label.bits)),
            "found_anew": found != items,
            "drop": self.drops[label.bits],
            "drop_without_items": _finite(tried.losses.get(self.bottom.bits)),
            "calls": tried.calls,
            "rounds": tried.rounds,
            "budget_spent": tried.spent,
            "changed": None if attributed and not compare else second.text.split() != self.first.text.split(),
            "tried": [[Label(self.lattice, b).value, _finite(loss)] for b, loss in tried.losses.items()],
        }
        if flow.mode == "verify":
            record["verified"] = second == self.first
        return FlowAnswer(
            text=self.first.text if attributed else second.text,
            label=label,
            sound=not attributed or label == self.top,
            metadata_label=label if flow.publish_label else self.top,
            record=record,
        )


def _finite(drop: float | None) -> float | None:
    """A drop for JSON, which has no infinity: None where there is none, or where the label was rejected outright."""
    return drop if drop is not None and math.isfinite(drop) else None

"""The report of `assay protect flow`: whose labels came down, what that cost, and how far one may go."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from assay.evidence.audit_files import WRITTEN
from assay.evidence.figures import Figure
from assay.evidence.flow_run import FlowRun
from assay.evidence.page import write_report, write_text
from assay.evidence.report import Column, Command, Fact, Grid, Report, Section
from assay.evidence.result_folder import check_place, check_results
from assay.evidence.results import versions_of
from assay.evidence.shown import number, short
from assay.kernels.intervals import wilson

LISTED = 30
"""Answers in the report; all are in answers.jsonl."""
Interval = tuple[float, float, float]


def share(hits: Any) -> Interval:
    """A share with its 95 % interval."""
    low, high = wilson(float(np.sum(hits)), len(hits))
    return float(np.mean(hits)), float(low), float(high)


def verdict(found: FlowRun) -> str:
    """The finding in a sentence."""
    n, lower, changed = len(found.answers), int(found.lowered.sum()), int(found.column("changed").sum())
    return (
        f"{lower:,} of {n:,} answers carry a lower label than the join of all that was found for them; {changed:,} "
        "changed when they were made again at that label."
    )


def facts(found: FlowRun) -> tuple[Fact, ...]:
    """The numbers that matter."""
    lowered, low, high = share(found.lowered)
    changed, below, above = share(found.column("changed"))
    before = [found.source.lattice.label(one.record["conservative"]).n_restrictions for one in found.answers]
    calls = found.column("calls")
    return (
        Fact("Label lowered", lowered, (low, high), "%", f"of {len(found.answers):,} answers"),
        Fact("Answer changed", changed, (below, above), "%", "made again at its label; what is given out is that one"),
        Fact(
            "Restrictions in a label",
            float(np.mean(found.column("restrictions"))),
            None,
            "",
            f"{number(float(np.mean(before)))} in the join of all",
        ),
        Fact("Labels scored", float(calls.mean()), None, "", f"an answer; {int(calls.max())} at most"),
        Fact("Drop allowed", found.lam, None, "nats a token", "given" if found.curve is None else "chosen"),
    )


def curve(found: FlowRun) -> Section | None:
    """How many labels come down against how many answers change, over the drop allowed."""
    if found.curve is None:
        return None
    n, columns = found.n_held_out, found.curve

    def line(name: str) -> dict[str, Any]:
        bounds = [wilson(float(value) * n, n) for value in columns[name]]
        return {"y": columns[name], "low": [float(b[0]) for b in bounds], "high": [float(b[1]) for b in bounds]}

    data = {
        "x": columns["lam"],
        "series": [
            {"name": f"{'label' if n == 'lowered' else 'answer'} {n}", **line(n)} for n in ("lowered", "changed")
        ],
        "x_label": "Drop allowed, nats a token",
        "x_unit": "",
        "y_label": f"Share of {n} questions",
        "y_unit": "%",
        "vertical": [{"x": found.lam, "low": None, "high": None, "label": f"chosen: {number(found.lam)}"}],
        "horizontal": [],
    }
    limit, at = number(found.options.max_changed, "%"), int(np.searchsorted(columns["lam"], found.lam))
    lowered, changed = (number(float(columns[name][at]), "%") for name in ("lowered", "changed"))
    title = f"At a drop of {number(found.lam)}, {lowered} of the labels come down and {changed} of the answers change"
    note = f"The largest drop up to which at most {limit} of the answers change is taken."
    rows = zip(
        *(columns[name].tolist() for name in ("lam", "lowered", "changed", "restrictions", "calls")), strict=True
    )
    head = (Column("drop allowed"), Column("label lowered", "%"), Column("answer changed", "%"),
            Column("restrictions in a label"), Column("labels scored"))  # fmt: skip
    return Section(
        "How far one may go",
        f"The first {n} questions, answered at every drop.",
        (
            Figure("lines", title, data, note),
            Grid("The same in numbers", head, tuple(rows)),
        ),
    )


def answers(found: FlowRun) -> Section:
    """The first answers, and how their labels came down."""
    rows = []
    for name, query, one in list(zip(found.source.ids, found.source.queries, found.answers, strict=True))[:LISTED]:
        conservative = str(found.source.lattice.label(one.record["conservative"]))
        changed = "changed" if one.record["changed"] else "same"
        rows.append(
            (name, short(query, 80), short(one.text, 80), conservative, str(one.label), one.record["calls"], changed)
        )
    head = tuple(Column(n) for n in ("id", "question", "answer", "join of all", "label", "labels scored", "made again"))
    lead = f"{len(rows)} of {len(found.answers):,}; answers.jsonl has all, audit.jsonl every drop that was tried."
    return Section("The answers", lead, (Grid("Answers and their labels", head, tuple(rows)),))


def warnings(found: FlowRun) -> tuple[str, ...]:
    """What a reader must know before relying on it."""
    spent = int(found.column("budget_spent").sum())
    free = sum(not one.record["kept"] and one.record["items"] > 0 for one in found.answers)
    said = [
        "Which label was chosen depends on all items: a small covert channel. --hide-labels keeps labels out of "
        "answers.jsonl. This report and audit.jsonl are for those whom all items may reach."
    ]
    if spent:
        said.append(f"Questions that spent the budget of calls: {spent:,}. Their labels may be higher than need be.")
    if free:
        said.append(f"Answers that rest on no item: {free:,}. The model knew them, or guesses as well without.")
    return tuple(said)


def build(found: FlowRun, folder: Path, provenance: dict[str, object]) -> Report:
    """The report of a run whose files lie in `folder`."""
    sections = (curve(found), answers(found))
    log = shlex.quote(str(folder / "audit.jsonl"))
    return Report(
        title=f"What the answers of {found.source.path.name} rest on",
        verdict=verdict(found),
        facts=facts(found),
        sections=tuple(section for section in sections if section is not None),
        commands=(Command(f"python -m json.tool --json-lines {log}", "every label that was tried, and its drop"),),
        warnings=warnings(found),
        provenance={
            "verb": "protect flow",
            "source": found.source.path.name,
            "questions": len(found.answers),
            "lattice": found.source.lattice.spec(),
            "fingerprint": found.source.lattice.fingerprint,
            "mode": found.options.mode,
            "search": found.options.search,
            "versions": versions_of("assay", "torch", "transformers"),
            **provenance,
        },
        numbers=numbers(found),
    )


def numbers(found: FlowRun) -> dict[str, object]:
    """Every number, for machines."""
    return {
        "questions": len(found.answers),
        "lam": found.lam,
        "lowered": share(found.lowered),
        "changed": share(found.column("changed")),
        "restrictions": float(found.column("restrictions").mean()),
        "calls": float(found.column("calls").mean()),
        "budget_spent": int(found.column("budget_spent").sum()),
        "curve": None if found.curve is None else {name: column.tolist() for name, column in found.curve.items()},
    }


def summary(found: FlowRun) -> str:
    """The finding for a terminal."""
    lines = [verdict(found)]
    for fact in facts(found):
        value = fact.value if isinstance(fact.value, str) else number(fact.value, fact.unit, fact.interval)
        lines.append(f"  {fact.label:<24} {value}   {fact.note}")
    return "\n".join([*lines, *(f"Note: {said}" for said in warnings(found))])


def check_folder(folder: Path, *read: Path | None) -> None:
    """Raise unless results can be written to `folder` without writing over what is read or over another verb's."""
    check_place(folder, WRITTEN, *read)
    check_results(folder, "protect flow")


def save(found: FlowRun, folder: Path, provenance: dict[str, object]) -> Path:
    """Write answers.jsonl and the report; returns the path of its page."""
    lines = []
    for name, query, one in zip(found.source.ids, found.source.queries, found.answers, strict=True):
        label = {"label": one.label.value} if found.options.publish_label else {}
        lines.append(json.dumps({"id": name, "query": query, "text": one.text, **label}, ensure_ascii=False))
    write_text(folder / "answers.jsonl", "\n".join(lines) + "\n")
    return write_report(build(found, folder, provenance), folder)

"""What the votes came to: how sure the belief is, the tasks it leaves open, and where it overrules the majority."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from assay.evidence import plots, rows
from assay.evidence.aggregate_run import Aggregation
from assay.evidence.aggregate_votes import VoteSource
from assay.evidence.report import Card, Cards, Column, Grid, Section, TableRow, Text
from assay.kernels.belief_rows import TIE, top_class

N_CARDS = 12
"""Tasks shown as cards; all are in tasks.csv."""
SHOWN = 15
"""Rows of a table in the report."""
N_JUDGED = 20
"""Tasks with a known class from which on calibration is drawn."""
DOUBT = 0.2
"""A task is doubtful when its most probable class is wrong with this probability or more."""
MEASURES = (("log-loss, nats", "log_loss"), ("Brier score", "brier"), ("expected calibration error", "ece"))
N_NAMES = 12  # voters named on a card

Floats = npt.NDArray[np.float64]


def doubt(found: Aggregation) -> Floats:
    """Probability that the most probable class of a task is wrong (n,)."""
    return np.asarray(np.clip(1.0 - found.belief.p.max(axis=1).astype(np.float64), 0.0, 1.0))


def plurality(source: VoteSource) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Class with most votes (n,), and whether it is the only one (n,)."""
    totals = source.votes.totals()
    return top_class(totals), (totals >= totals.max(axis=1, keepdims=True) - TIE).sum(axis=1) == 1


def against_gold(source: VoteSource, found: Aggregation) -> tuple[npt.NDArray[np.bool_], Floats] | None:
    """Of the tasks whose class is known (m,): which are believed wrongly, and how probable that was said to be."""
    if source.gold is None or not source.gold.present.any():
        return None
    there = source.gold.present
    return (top_class(found.belief.p) != source.gold.y)[there], doubt(found)[there]


def ranked(p: npt.NDArray[Any]) -> list[int]:
    """Classes of a belief (k,), the most probable first, ties by code."""
    order: list[int] = np.argsort(-p, kind="stable").tolist()
    return order


def most_doubtful(found: Aggregation, n: int) -> npt.NDArray[np.int64]:
    """The tasks (m,) whose most probable class is most likely wrong; certain ones are left out."""
    known = doubt(found)
    order = np.argsort(-known, kind="stable")[:n]
    return order[known[order] > TIE]


def quality(source: VoteSource, found: Aggregation) -> Section:
    """How good the belief is, and why this method."""
    known = doubt(found)
    blocks: list[Any] = [
        plots.histogram(
            f"{int((known >= DOUBT).sum()):,} of {len(known):,} tasks stay doubtful",
            known,
            cut=DOUBT,
            cut_label="doubtful from",
            x_label="Probability that the most probable class is wrong",
        )
    ]
    judged = against_gold(source, found)
    if judged is not None and len(judged[0]) >= N_JUDGED:
        wrong, said = judged
        blocks.append(
            plots.reliability(
                f"{wrong.sum():,} of {len(wrong):,} tasks with a known class are wrong; {said.sum():,.0f} expected",
                said,
                wrong,
                note="Each point: tasks called wrong about as often, and how often they were.",
            )
        )
    if found.members is not None:
        names = ("worker", "weight", "temperature", "divergence")
        rows_of = zip(*(found.members[name].tolist() for name in names), strict=True)
        columns = (Column("method"), Column("weight", "%"), Column("temperature"), Column("distance"))
        note = "A temperature above 1 makes a belief less sure; distance is Jensen-Shannon divergence from the mean."
        blocks.append(Grid("The beliefs that are averaged", columns, tuple(rows_of), note))
    calibration = found.calibration
    against = f"{calibration.n:,} {calibration.against}"
    measured = tuple((name, float(getattr(calibration, key))) for name, key in MEASURES)
    blocks.append(Grid(f"Measured against {against}; less is better", (Column("measure"), Column("value")), measured))
    return Section("How good the belief is", f"{found.method}: {found.why}", tuple(blocks))


def disputed(source: VoteSource, found: Aggregation) -> Section:
    """The tasks that the votes leave open, shown as what they are."""
    chosen = most_doubtful(found, N_CARDS)
    title = "The tasks people disagree on"
    if not len(chosen):
        return Section(title, "The belief is certain of every task.")
    names, p, known = source.votes.space.names, found.belief.p, doubt(found)
    said = votes_by_class(source, chosen)
    shown = contents_of(source, chosen, said)
    truth = [None] * len(chosen) if source.gold is None else source.gold.take(chosen).names()
    cards = []
    for at, task in enumerate(chosen.tolist()):
        notes = [counted(names, said[at])] if isinstance(shown[at], Text) else []
        notes += [] if truth[at] is None else [f"known: {truth[at]}"]
        first, second = ranked(p[task])[:2]
        cards.append(
            Card(
                rank=at + 1,
                row=str(source.votes.task_ids[task]),
                given=names[first],
                suggested=names[second] if p[task, second] > TIE else None,
                p_wrong=float(known[task]),
                content=shown[at],
                note="; ".join(notes),
            )
        )
    lead = f"{len(cards)} tasks whose most probable class is most likely wrong; tasks.csv has all {len(p):,}."
    return Section(title, lead, (Cards("The belief is least sure of these", tuple(cards)),))


def votes_by_class(source: VoteSource, tasks: npt.NDArray[np.int64]) -> list[list[list[str]]]:
    """For each of the tasks and each class, who voted for it, with names where they are known."""
    votes = source.votes
    place = {int(task): at for at, task in enumerate(tasks)}
    said: list[list[list[str]]] = [[[] for _ in votes.space.names] for _ in tasks]
    for at in np.flatnonzero(np.isin(votes.task, tasks)).tolist():
        said[place[int(votes.task[at])]][int(votes.label[at])].append(str(votes.worker_ids[votes.worker[at]]))
    return said


def counted(names: tuple[str, ...], said: list[list[str]]) -> str:
    """Votes of a task in a line: `3 for hate, 2 for offensive`."""
    some = sorted((at for at in range(len(names)) if said[at]), key=lambda at: (-len(said[at]), at))
    return "votes: " + (", ".join(f"{len(said[at])} for {names[at]}" for at in some) or "none")


def contents_of(source: VoteSource, chosen: npt.NDArray[np.int64], said: list[list[list[str]]]) -> list[Any]:
    """The tasks as texts or table rows where the file says what they are, and their votes."""
    names = source.votes.space.names
    columns: dict[str, list[Any]] = {}
    if source.contents is not None:
        columns = {name: source.contents[name].take(chosen).to_pylist() for name in source.contents.column_names}
    long = [name for name, cells in columns.items() if np.mean([len(str(cell)) for cell in cells]) > rows.LONG]
    if long:
        heads = [""] if len(long) == 1 else [f"{name}: " for name in long]
        long_texts = [[f"{head}{cell}" for cell in columns[name]] for head, name in zip(heads, long, strict=True)]
        return [rows.text("\n\n".join(texts)) for texts in zip(*long_texts, strict=True)]
    found = []
    for at in range(len(chosen)):
        parts: list[tuple[str, str, str]] = []
        for code in sorted(range(len(names)), key=lambda code: -len(said[at][code])):
            who = said[at][code]
            if who:
                told = (
                    "" if source.anonymous else ": " + ", ".join(who[:N_NAMES]) + (" …" if len(who) > N_NAMES else "")
                )
                rest = " …" if told and len(who) > N_NAMES else ""
                parts.append((names[code], f"{len(who)} vote{'s' * (len(who) > 1)}{told}{rest}", ""))
        parts += [(name, "–" if cells[at] is None else str(cells[at]), "") for name, cells in columns.items()]
        found.append(TableRow(tuple(parts)))
    return found


def overruled(source: VoteSource, found: Aggregation) -> Section | None:
    """Tasks whose belief is for another class than most votes; None where there is none."""
    top, (majority, alone) = top_class(found.belief.p), plurality(source)
    at = np.flatnonzero((top != majority) & alone & source.votes.present)
    if not len(at):
        return None
    at = at[np.argsort(doubt(found)[at], kind="stable")]
    names, counts = source.votes.space.names, source.votes.totals()
    grid = Grid(
        "Surest first",
        (*map(Column, ("task", "most votes", "votes", "believed", "votes for it")), Column("sure", "%")),
        tuple(
            (
                str(source.votes.task_ids[task]),
                names[majority[task]],
                float(counts[task, majority[task]]),
                names[top[task]],
                float(counts[task, top[task]]),
                float(found.belief.p[task, top[task]]),
            )
            for task in at[:SHOWN].tolist()
        ),
    )
    n = f"{len(at):,} task" + "s" * (len(at) > 1)
    because = "a vote for a rare class can say more" if source.anonymous else "some voters know better"
    lead = f"In {n} the belief is for another class than most votes: {because}."
    return Section("Where the majority is overruled", lead, (grid,))

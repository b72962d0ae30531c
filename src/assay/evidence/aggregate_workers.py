"""Who voted: how far each worker can be trusted, who does not look, who changed, and how much they agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from assay.aggregate.agreement import Agreement
from assay.aggregate.drift import Drift
from assay.aggregate.spammers import Spammers
from assay.evidence import plots
from assay.evidence.aggregate_run import Aggregation
from assay.evidence.aggregate_votes import VoteSource
from assay.evidence.report import Column, Grid, Matrix, Prose, Section
from assay.evidence.shown import number

SHOWN = 15
"""Rows of a table in the report."""
N_WORKERS = 10
"""Best and worst workers in the plot."""
HEAT = 12
"""Classes up to which a confusion is drawn as a picture."""
N_BOOTSTRAP = 200
SKILLS = ("accuracy", "skill", "agreement")  # what the methods call it, in the order of preference
CELLS = 2**26  # of the tables of all workers: half a gigabyte
PAIRS = 10**8  # pairs of votes on one task: a few seconds

Floats = npt.NDArray[np.float64]


def measure(source: VoteSource) -> Agreement | None:
    """Agreement beyond chance; None for votes of broken weights, which cannot agree with themselves."""
    weight = source.votes.weight
    if weight is not None and (weight % 1 != 0).any():
        return None
    return Agreement(n_bootstrap=N_BOOTSTRAP).fit(source.votes)


def skill_of(found: Aggregation) -> tuple[Floats, Floats, Floats] | None:
    """Skill of each worker with its interval (w,), NaN without votes; None where the method has none."""
    table = found.workers
    name = next((name for name in SKILLS if name in table), None)
    if name is None or "low" not in table:
        return None
    return table[name], table["low"], table["high"]


def confusion(source: VoteSource, found: Aggregation, worker: int) -> Floats:
    """What a worker says (column) when the truth is believed to be (row), shares of the row (k, k)."""
    votes, k = source.votes, source.votes.space.n_classes
    mine = np.flatnonzero(votes.worker == worker)
    weight = votes.weight_per_vote()[mine]
    said = np.zeros((k, k))
    np.add.at(said.T, votes.label[mine], found.belief.p[votes.task[mine]] * weight[:, None])
    seen = said.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(said, seen, out=np.zeros_like(said), where=seen > 0))


def workers(source: VoteSource, found: Aggregation) -> Section | None:
    """Who can be trusted how far; None when nothing is known about who voted."""
    known = skill_of(found)
    if source.anonymous or known is None:
        return None
    skill, low, high = known
    cast = np.flatnonzero(np.isfinite(skill) & (np.bincount(source.votes.worker, minlength=len(skill)) > 0))
    if not len(cast):
        return None
    names = np.array(list(map(str, source.votes.worker_ids)), dtype=object)
    by_high, by_low = cast[np.argsort(high[cast], kind="stable")], cast[np.argsort(-low[cast], kind="stable")]
    worst, best = int(by_high[0]), int(by_low[0])
    some = np.unique(np.concatenate([by_high[:N_WORKERS], by_low[:N_WORKERS]]))
    told = "all workers" if len(some) == len(cast) else f"the best and the worst of {len(cast):,} workers"
    blocks: list[Any] = [
        plots.bars(
            f"Skill of {told}: {names[worst]!r} is right {number(float(skill[worst]), '%')} of the time, "
            f"{names[best]!r} {number(float(skill[best]), '%')}",
            names[some].tolist(),
            skill[some],
            np.stack([low[some], high[some]], axis=1),
            x_label="Share of votes that are right",
            reference=float(
                np.average(skill[cast], weights=np.bincount(source.votes.worker, minlength=len(skill))[cast])
            ),
            reference_label="mean vote",
            note="Intervals are 95 %; chosen by their bounds, so that a few lucky votes make nobody best.",
        )
    ]
    for worker, how in ((worst, "worst"), (best, "best")):
        blocks.append(shown_confusion(source, found, worker, f"What {names[worker]!r}, the {how}, says"))
        if worst == best:
            break
    lead = f"{len(cast):,} workers cast {source.votes.n_votes:,} votes; workers.csv has every one."
    return Section("The workers", lead, tuple(blocks))


def shown_confusion(source: VoteSource, found: Aggregation, worker: int, title: str) -> Any:
    """The confusion of a worker as a picture, or as its largest cells."""
    n = int((source.votes.worker == worker).sum())
    told = f"{title}, by {n:,} vote{'s' * (n > 1)}"
    note = "Rows are believed classes, not known ones; a row without votes is empty."
    axes = {"row_axis": "believed class", "column_axis": "said"}
    names, values = source.votes.space.names, confusion(source, found, worker)
    if len(names) <= HEAT:
        return plots.heat(told, list(names), values, mute_diagonal=False, note=note, **axes)
    return Matrix.of(told, names, values, note=note, **axes)


def agreed(agreement: Agreement | None) -> Section | None:
    """How much people agree beyond chance."""
    if agreement is None:
        return None
    title = "How much people agree"
    if not np.isfinite(agreement.alpha_):
        return Section(title, "No two votes on one task can be compared, so nothing is known about agreement.")
    table = agreement.classes()
    order = np.argsort(np.nan_to_num(table["alpha"], nan=2.0), kind="stable")[:SHOWN]
    grid = Grid(
        "By class, each against all others",
        (Column("class"), Column("votes"), Column("repeated by another vote", "%"), Column("alpha")),
        tuple(
            (
                str(table["label"][at]),
                float(table["n_votes"][at]),
                *(None if np.isnan(table[name][at]) else float(table[name][at]) for name in ("agreement", "alpha")),
            )
            for at in order.tolist()
        ),
    )
    low = "Below 0.67, what is concluded from the votes is tentative: look at the instructions before buying more."
    good = "Above 0.8 the task is well defined; between 0.67 and 0.8 conclusions are tentative."
    lead = f"Krippendorff's alpha is {number(agreement.alpha_)}. {low if agreement.alpha_ < 0.67 else good}"
    blocks: tuple[Any, ...] = (grid,)
    if agreement.alpha_ < 0.2:
        blocks += (Prose("Agreement near chance: either the task is unclear, or many workers do not look."),)
    return Section(title, lead, blocks)


def drifted(source: VoteSource, found: Aggregation) -> Section | None:
    """Whose accuracy changed; None without times."""
    if source.votes.time is None or source.anonymous:
        return None
    model = Drift().fit(source.votes, found.belief)
    table = model.workers()
    at = np.flatnonzero(model.drifted_)
    title = "Workers who changed"
    if not len(at):
        return Section(title, "Nobody's accuracy changed over time, as far as the votes can tell.")
    names = ("worker", "votes", "changed at")
    grid = Grid(
        "Accuracy before and after the change",
        (*map(Column, names), Column("before", "%"), Column("after", "%")),
        tuple(
            (
                str(table["worker"][row]),
                int(table["n_votes"][row]),
                *(float(table[name][row]) for name in ("changed_at", "before", "after")),
            )
            for row in at[np.argsort(table["after"][at] - table["before"][at], kind="stable")][:SHOWN].tolist()
        ),
    )
    return Section(title, f"{len(at):,} of {source.votes.n_workers:,}, the largest fall first.", (grid,))


def idle(source: VoteSource, found: Aggregation) -> Section | None:
    """Who does not look at the tasks, and who copies; None where it cannot be told."""
    votes = source.votes
    pairs = np.sum(np.bincount(votes.task, minlength=1).astype(np.float64) ** 2)
    if source.anonymous or votes.n_workers * votes.space.n_classes**2 > CELLS or pairs > PAIRS:
        return None
    model = Spammers().fit(votes, found.belief)
    table, copies = model.workers(), model.copies()
    blind, same = np.flatnonzero(table["spammer"]), np.flatnonzero(copies["copies"])
    blocks: list[Any] = []
    if len(blind):
        worst = blind[np.argsort(-table["n_votes"][blind], kind="stable")]
        share = number(float(table["n_votes"][blind].sum() / votes.n_votes), "%")
        shown = [
            (str(table["worker"][at]), int(table["n_votes"][at]), float(table["constant"][at])) for at in worst[:SHOWN]
        ]
        columns = (Column("worker"), Column("votes"), Column("most frequent answer", "%"))
        blocks.append(Grid(f"Answers that do not depend on the task: {share} of all votes", columns, tuple(shown)))
    if len(same):
        names = ("worker", "other", "common", "same_errors", "expected")
        rows = zip(*(copies[name][same[:SHOWN]].tolist() for name in names), strict=True)
        headed = tuple(map(Column, ("worker", "other", "tasks in common", "same errors", "expected")))
        told = tuple((str(one), str(two), *counts) for one, two, *counts in rows)
        blocks.append(Grid("Pairs that share more errors than chance allows", headed, told))
    lead = (
        f"{len(blind):,} of {votes.n_workers:,} workers answer as if they did not look, {int(model.copier_.sum()):,} "
        "share errors with another. The belief is taken for the truth."
    )
    return Section("Who does not look", lead, tuple(blocks))

"""Who voted: how far each worker can be trusted, how much they agree, and whose vote to buy next."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from assay.aggregate.agreement import Agreement
from assay.aggregate.drift import Drift
from assay.aggregate.next_vote import NextVote
from assay.evidence import plots
from assay.evidence.aggregate_run import Aggregation
from assay.evidence.aggregate_votes import VoteSource
from assay.evidence.report import Column, Figure, Grid, Matrix, Prose, Section
from assay.evidence.shown import number

SHOWN = 15
"""Rows of a table in the report."""
N_WORKERS = 10
"""Best and worst workers in the plot."""
HEAT = 12
"""Classes up to which a confusion is drawn as a picture."""
N_BOOTSTRAP = 200
BATCH = 100
"""Votes to buy in one round."""
SKILLS = ("accuracy", "skill", "agreement")  # what the methods call it, in the order of preference
PRIOR = 5.0  # votes of the average worker that each worker has in each class, so that a lucky few do not decide
CELLS = 2**26  # of the tables of all workers: half a gigabyte
STEPS = 10**9  # task, worker and class pairs looked at for purchases: a few seconds

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
    weight = np.ones(len(mine)) if votes.weight is None else votes.weight[mine]
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


def tables(source: VoteSource, found: Aggregation) -> Floats:
    """P(said | believed) of every worker (w, k, k), each leaning on the average worker; the last is a new one."""
    votes, k = source.votes, source.votes.space.n_classes
    weight = np.ones(votes.n_votes) if votes.weight is None else votes.weight.astype(np.float64)
    said = np.zeros((votes.n_workers + 1, k, k))
    belief = found.belief.p.astype(np.float64)
    for code in range(k):
        mass = weight * belief[votes.task, code]
        cells = votes.worker.astype(np.int64) * k + votes.label
        said[:-1, code] = np.bincount(cells, mass, votes.n_workers * k).reshape(-1, k)
    total = said.sum(axis=0) + np.eye(k) + 1e-3
    average = total / total.sum(axis=1, keepdims=True)
    said += PRIOR * average
    return np.asarray(said / said.sum(axis=2, keepdims=True))


def purchases(source: VoteSource, found: Aggregation, price: float) -> dict[str, npt.NDArray[Any]] | None:
    """The votes to buy next, best first; None where there are too many workers and classes to say.

    Nobody is asked for more votes than they have cast, or twice on one task. A worker who is not known yet, as good as
    the average one, stands for everybody else.
    """
    votes, k = source.votes, source.votes.space.n_classes
    w = votes.n_workers + 1
    if w * k * k > CELLS:
        return None
    doubt = found.tasks["entropy"]
    rows = np.sort(np.argsort(-doubt, kind="stable")[: max(BATCH, STEPS // (w * k * k))])
    some = votes.take(rows)
    ids = np.append(votes.worker_ids.astype(str), "someone new")
    extra: list[Any] = [some.time, some.cost, some.weight]
    asked = type(votes)(votes.space, some.task, some.worker, some.label, some.task_ids, ids, *extra)
    room = np.append(np.bincount(votes.worker, minlength=votes.n_workers), len(rows))
    # What a nat is worth only decides when to stop: the batch does.
    model = NextVote(worth=1e12).fit(asked, found.belief.take(rows), tables(source, found), price)
    bought = model.choose(capacity=room, batch=BATCH)
    return {name: bought[name] for name in ("task", "worker", "gain", "price")}


def next_votes(
    source: VoteSource, found: Aggregation, bought: dict[str, npt.NDArray[Any]] | None, price: float | None
) -> Section | None:
    """Which votes to buy next, and what they are expected to buy."""
    title = "Which votes to buy next"
    if bought is None:
        return None
    n = len(bought["task"])
    if not n:
        return Section(title, "None: the belief is certain of every task.")
    doubt, gain = float(found.tasks["entropy"].sum()), np.cumsum(bought["gain"])
    votes_on = dict(zip(source.votes.task_ids.tolist(), found.tasks["n_votes"].tolist(), strict=True))
    series = [{"name": "doubt removed", "y": np.append(0.0, gain) / doubt, "low": None, "high": None}]
    axes = {"x_label": "Votes bought", "x_unit": "", "y_label": "Share of the doubt removed", "y_unit": "%"}
    curve = Figure(
        "lines",
        f"{n:,} more votes are expected to remove {number(float(gain[-1]) / doubt, '%')} of the doubt",
        {"x": np.arange(n + 1), "series": series, **axes, "vertical": [], "horizontal": []},
        "One vote a task, the one that teaches most for its price first; the belief is taken at its word.",
    )
    grid = Grid(
        "The first to buy; purchases.csv lists the batch",
        tuple(map(Column, ("task", "votes so far", "ask", "doubt removed"))),
        tuple(
            (str(task), int(votes_on[task]), str(worker), float(more))
            for task, worker, more in zip(
                bought["task"][:SHOWN].tolist(), bought["worker"][:SHOWN], bought["gain"][:SHOWN], strict=True
            )
        ),
        note="Doubt is the entropy of the belief in nats: 0.69 is a toss between two classes.",
    )
    cost = "" if price is None else f" They cost {number(price * n)}."
    lead = f"A round of {n:,} votes, each where it teaches most and from whom; nobody doubles their work.{cost}"
    return Section(title, lead, (curve, grid))

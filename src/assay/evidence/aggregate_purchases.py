"""Which votes to buy next: on which tasks, from whom, and what they are expected to teach."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from assay.aggregate.next_vote import NextVote
from assay.evidence.aggregate_run import Aggregation
from assay.evidence.aggregate_votes import VoteSource
from assay.evidence.report import Column, Figure, Grid, Section
from assay.evidence.shown import number
from assay.labels import Votes

SHOWN = 15
"""Rows of a table in the report."""
BATCH = 100
"""Votes to buy in one round."""
PRIOR = 5.0  # votes of the average worker that each worker has in each class, so that a lucky few do not decide
CELLS = 2**26  # of the tables of all workers: half a gigabyte
STEPS = 10**9  # task, worker and class pairs looked at: a few seconds

Floats = npt.NDArray[np.float64]


def tables(source: VoteSource, found: Aggregation) -> Floats:
    """P(said | believed) of every worker (w, k, k), each leaning on the average worker; the last is a new one."""
    votes, k = source.votes, source.votes.space.n_classes
    weight = votes.weight_per_vote()
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
    asked = Votes(votes.space, some.task, some.worker, some.label, some.task_ids, ids, *extra)
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
    limit = "from people like those who voted" if source.anonymous else "nobody is asked for more than they have cast"
    lead = f"A round of {n:,} votes, each where it teaches most; {limit}.{cost}"
    return Section(title, lead, (curve, grid))

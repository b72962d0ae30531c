"""The report of `assay learn` on bags: what the shares tell of rows, whether it adds up, which bags do not fit."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from assay.evidence import plots
from assay.evidence.report import Column, Command, Fact, Grid, Report, Section
from assay.evidence.results import versions_of
from assay.evidence.shown import number

if TYPE_CHECKING:
    from assay.evidence.learn_bags import LearnedBags

N_BAGS = 20
"""Bags shown in the report."""


def build(found: LearnedBags, folder: Path, provenance: dict[str, object]) -> Report:
    """The report of a training whose files lie in `folder`."""
    source = found.table.source
    name = source.name if source is not None else "the table"
    return Report(
        title=f"Bags of {name}",
        verdict=found.verdict(),
        facts=facts(found),
        sections=(rows(found), rounds(found), misfits(found)),
        commands=(Command(shlex.join(["assay", "predict", str(folder), "NEW"]), "Label new rows with this model."),),
        warnings=found.warnings,
        provenance={
            "verb": "learn",
            "source": name,
            "sha256": found.table.digest,
            "rows": found.table.n_rows,
            "bag column": found.options.bags,
            "proportions": found.options.proportions.name,
            "media": found.model.reader.media,
            "method": "label_proportions",
            "seed": found.options.reading.seed,
            "versions": versions_of("assay", "torch", "scikit-learn"),
            **provenance,
        },
        numbers=found.numbers(),
    )


def facts(found: LearnedBags) -> tuple[Fact, ...]:
    """The numbers that matter."""
    sizes = found.bags.sizes
    spread = f"of {sizes.min():,} to {sizes.max():,} rows" if np.ptp(sizes) else f"of {sizes[0]:,} rows each"
    parts = [
        Fact("Bags", len(sizes), None, "", spread),
        Fact("Missed by the rows", float(found.off.mean()), None, "%", "of a bag's rows, to reach its counts"),
        Fact("Propagation", "settled" if found.fitted.converged_ else "did not settle", None, "", sweeps(found)),
    ]
    if found.held_out_error is not None:
        parts.insert(0, Fact("Error on held-out bags", found.held_out_error, None, "%", "of a predicted share"))
    return tuple(parts)


def sweeps(found: LearnedBags) -> str:
    """How long the propagation took."""
    return f"after {found.fitted.n_sweeps_} sweeps"


def rows(found: LearnedBags) -> Section:
    """How sure the classes of the rows are."""
    sure = found.fitted.marginals_.max(axis=1)
    k = len(found.model.names)
    title = f"{number(float((sure >= 0.9).mean()), '%')} of the rows have a chance of 90 % or more"
    note = f"A class drawn by lot would have {number(1 / k, '%')}; the commonest has "
    figure = plots.histogram(
        title,
        sure,
        cut=0.9,
        cut_label="90 %",
        x_label="Chance of the likeliest class of a row",
        note=f"{note}{number(float(found.bags.base_rate.max()), '%')} of all rows. Chances are those of the "
        "propagation, which trusts neighbours too much: they order the rows better than they say how sure one can be.",
    )
    shares = found.fitted.marginals_.mean(axis=0)
    grid = Grid(
        "Classes",
        (Column("class"), Column("share in the bags", "%"), Column("mean chance of the rows", "%")),
        tuple(zip(found.model.names, found.bags.base_rate.tolist(), shares.tolist(), strict=True)),
    )
    lead = "Rows that are alike have probably one class, and the classes of a bag must add up to its shares."
    return Section("What the shares tell of the rows", lead, (figure, grid))


def rounds(found: LearnedBags) -> Section:
    """The rounds of the propagation."""
    grid = Grid(
        "Rounds",
        (
            Column("round"),
            Column("edges"),
            Column("settled"),
            Column("sweeps"),
            Column("rows off in a bag"),
            Column("error on held-out bags", "%"),
            Column("taken"),
        ),
        tuple(
            (
                entry["round"],
                "neutral" if entry["neutral_edges"] else "of the paper",
                "yes" if entry["converged"] else "no",
                entry["n_sweeps"],
                entry["bag_residual"],
                entry["held_out_error"],
                "yes" if entry["chosen"] else "",
            )
            for entry in found.fitted.rounds_
        ),
        note="In the first round rows are alike by their features, in a later one by what the network made of them. "
        "Neutral edges favour no class, those of the paper the common one. Bags held out choose between them.",
    )
    told = "settled" if found.fitted.converged_ else "did not settle"
    return Section("Whether it settled", f"The propagation {told} {sweeps(found)}.", (grid,))


def misfits(found: LearnedBags) -> Section:
    """The bags whose shares the rows do not reach."""
    sums = found.bags.sums(found.fitted.marginals_) / found.bags.sizes[:, None]
    worst = np.argsort(-found.off, kind="stable")[:N_BAGS]
    farthest = np.abs(sums - found.bags.shares).argmax(axis=1)
    grid = Grid(
        "The bags that fit worst",
        (
            Column("bag"),
            Column("rows"),
            Column("class"),
            Column("share given", "%"),
            Column("share of its rows", "%"),
            Column("rows off"),
        ),
        tuple(
            (
                str(found.bags.names[at]),
                int(found.bags.sizes[at]),
                found.model.names[farthest[at]],
                float(found.bags.shares[at, farthest[at]]),
                float(sums[at, farthest[at]]),
                float(found.fitted.bag_residuals_[at]),
            )
            for at in worst
        ),
        note="A bag far off has shares that contradict its rows: look whether they were counted on other rows.",
    )
    lead = f"The rows miss the counts of their bag by {number(float(found.off.mean()), '%')} of its rows on average."
    return Section("Bags that do not add up", lead, (grid,))

"""The report of `assay learn` on tags: how often each is there, which were probably missed, what speaks against it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from assay.evidence import plots
from assay.evidence.report import Column, Command, Fact, Grid, Prose, Report, Section
from assay.evidence.results import versions_of
from assay.evidence.shown import number

if TYPE_CHECKING:
    from assay.evidence.learn_tags import LearnedTags

N_CELLS, N_TAGS = 20, 50
"""Missed tags, and tags, shown in the report; all missed ones are in evidence.csv."""


def build(found: LearnedTags, folder: Path, provenance: dict[str, object]) -> Report:
    """The report of a training whose files lie in `folder`."""
    source = found.table.source
    name = source.name if source is not None else "the table"
    return Report(
        title=f"Tags of {name}",
        verdict=found.verdict(),
        facts=facts(found),
        sections=(tags(found), missed(found)),
        commands=(Command(shlex.join(["assay", "predict", str(folder), "NEW"]), "Tag new rows with this model."),),
        warnings=found.warnings,
        provenance={
            "verb": "learn",
            "source": name,
            "sha256": found.table.digest,
            "rows": found.table.n_rows,
            "tag columns": ", ".join(found.options.tags),
            "media": found.model.reader.media,
            "method": "positive_multilabel",
            "seed": found.options.reading.seed,
            "versions": versions_of("assay", "torch", "scikit-learn"),
            **provenance,
        },
        numbers=found.numbers(),
    )


def facts(found: LearnedTags) -> tuple[Fact, ...]:
    """The numbers that matter."""
    n, confirmed = found.table.n_rows, int(found.told["confirmed"].sum())
    alarms = sum(map(bool, found.told["alarm"]))
    parts = [
        Fact("Tags", len(found.model.names)),
        Fact("Confirmed", confirmed, None, "", f"{number(confirmed / n)} a row"),
        Fact("Probably missed", len(found.suspects["row"]), None, "", "likelier than not"),
        Fact("Alarms", alarms, None, "", "tags that are not to be trusted" if alarms else "none"),
    ]
    if found.test is not None and found.test.found is not None:
        share, low, high, m = found.test.found
        parts.insert(0, Fact("Confirmed tags found, test", share, (low, high), "%", f"of {m:,}"))
    return tuple(parts)


def tags(found: LearnedTags) -> Section:
    """Each tag: recorded and real share, alarms."""
    told = found.told
    order = np.argsort(-told["prior"], kind="stable")[:N_TAGS]
    names = [str(name) for name in told["tag"]]
    bars = plots.bars(
        f"“{names[order[0]]}” is the commonest tag",
        names,
        told["prior"],
        x_label="Share of the rows that probably have the tag",
        note="The mean of the model's probabilities, confirmed tags as certain. It rests on confirmed rows being a "
        "random part of all rows that have the tag.",
    )
    grid = Grid(
        "Tags, the commonest first",
        (
            Column("tag"),
            Column("confirmed"),
            Column("recorded", "%"),
            Column("estimated", "%"),
            Column("by order alone", "%"),
            Column("alarm"),
        ),
        tuple(
            (
                names[at],
                int(told["confirmed"][at]),
                float(told["rate"][at]),
                float(told["prior"][at]),
                float(min(1.0, told["best_bin"][at])),
                str(told["alarm"][at]),
            )
            for at in order.tolist()
        ),
        note="“By order alone” is an estimate from how confirmed rows rank among all, without the probabilities.",
    )
    recorded, estimated = float(told["rate"].mean()), float(told["prior"].mean())
    lead = f"A tag is recorded on {number(recorded, '%')} of the rows on average, and there on about "
    return Section("How often each tag is there", f"{lead}{number(estimated, '%')}.", (bars, grid))


def missed(found: LearnedTags) -> Section:
    """Cells that were probably missed."""
    columns, n = found.columns(), len(found.suspects["row"])
    if n == 0:
        return Section("Tags that were probably missed", "None is likelier than not.", (Prose("Nothing to look at."),))
    named = "id" if "id" in columns else "row"
    grid = Grid(
        "The likeliest",
        (Column(named), Column("tag"), Column("probability", "%")),
        tuple(
            (
                str(columns[named][at]) if named == "id" else int(columns["row"][at]),
                str(columns["tag"][at]),
                float(columns["probability"][at]),
            )
            for at in range(min(N_CELLS, n))
        ),
        note="Probabilities are tied to 1 at the surest rows and are not calibrated beyond that.",
    )
    lead = f"{min(N_CELLS, n)} of {n:,}; evidence.csv lists them all."
    return Section("Tags that were probably missed", lead, (grid,))

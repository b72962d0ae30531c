"""The report of an audit: from what was found to a page that a person reads."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.audit.error_rate import ErrorRate, ErrorRateEstimate
from assay.evidence import plots, rows
from assay.evidence.audit import N_RANDOM, Audit
from assay.evidence.audit_options import default_folder
from assay.evidence.audit_predictions import contents
from assay.evidence.audit_structure import structure_sections
from assay.evidence.report import Card, Cards, Column, Command, Fact, Grid, Matrix, Prose, Report, Section
from assay.evidence.results import versions_of
from assay.evidence.shown import number
from assay.evidence.telling import readable
from assay.kernels.intervals import wilson

N_CARDS = 24
"""Suspicious rows shown in the report; all are in issues.csv."""
GOAL = 0.01
"""Error rate after repair that the stop sign aims at."""


def build(found: Audit, folder: Path, original: Path, provenance: dict[str, object]) -> Report:
    """The report of an audit whose files lie in `folder`; `original` is the file whose labels the ledger is about."""
    table = found.table
    name = table.source.name if table.source is not None else "the table"
    sections = [worst(found), where(found), *structure_sections(found), review(found), trust(found)]
    return Report(
        title=f"The labels of {name}",
        verdict=found.verdict(),
        facts=facts(found),
        sections=tuple(sections),
        commands=commands(found, folder, original),
        warnings=found.warnings,
        provenance={
            "source": name,
            "sha256": table.digest,
            "rows": table.n_rows,
            "label column": table.label,
            "classes": table.labels.space.n_classes,
            "media": table.media,
            "model": found.predictions.model,
            "seed": found.options.seed,
            "versions": versions_of("assay", "scikit-learn"),
            **provenance,
        },
        numbers=found.numbers(),
    )


def facts(found: Audit) -> tuple[Fact, ...]:
    """The numbers that matter."""
    labels = found.table.labels
    n, flagged = int(labels.present.sum()), int(found.confident.is_issue_.sum())
    rate = found.rate
    if rate is not None and np.isfinite(rate.rate):
        note = f"{rate.n_reviewed:,} rows reviewed, {rate.n_wrong:,} wrong"
        first = Fact("Error rate", rate.rate, (rate.low, rate.high), "%", note)
    else:
        note = "the model's estimate; reviews will give it an interval"
        first = Fact("Error rate", found.confident.error_rate_, None, "%", note)
    expected = float(found.probability.p_wrong_[found.confident.is_issue_].sum())
    return (
        first,
        Fact("Rows flagged", flagged, None, "", f"{number(flagged / n, '%')} of {n:,}; about {expected:,.0f} wrong"),
        Fact("Labels", n, None, "", f"{labels.space.n_classes} classes; {table_gap(found)}"),
        Fact(
            "Agreement of the model",
            found.predictions.accuracy,
            None,
            "%",
            f"{found.predictions.model}, on held-out rows",
        ),
    )


def table_gap(found: Audit) -> str:
    """How many rows have no label."""
    missing = found.table.n_rows - int(found.table.labels.present.sum())
    return f"{missing:,} rows without one" if missing else "every row has one"


def worst(found: Audit) -> Section:
    """The most suspicious rows, shown as what they are."""
    chosen = found.ranking()[:N_CARDS]
    total = int(found.confident.is_issue_.sum())
    if not len(chosen):
        return Section("The most suspicious rows", "No label is flagged.")
    columns = found.columns(chosen)
    shown = contents_of(found, chosen)
    cards = tuple(
        Card(
            rank=at + 1,
            row=f"{columns['id'][at]} (row {row})" if "id" in columns else str(row),
            given=str(columns["given"][at]),
            suggested=str(columns["suggested"][at]),
            p_wrong=float(columns["p_wrong"][at]),
            interval=(float(columns["low"][at]), float(columns["high"][at])),
            content=shown[at],
        )
        for at, row in enumerate(chosen.tolist())
    )
    lead = f"{len(cards)} of {total:,} flagged rows, the one most likely wrong first; issues.csv lists them all."
    return Section("The most suspicious rows", lead, (Cards("Probably mislabelled", cards),))


def contents_of(found: Audit, chosen: npt.NDArray[np.int64]) -> list[Any]:
    """The chosen rows as texts, pictures or table rows."""
    table = found.table
    if table.media == "text":
        assert table.text is not None
        return [rows.text(value) for value in table.columns[table.text].take(chosen).to_pylist()]
    if table.media == "image":
        values = contents(table, chosen)
        return [rows.picture(value, f"row {row}") for row, value in zip(chosen.tolist(), values, strict=True)]
    columns = dict(readable(table.features))
    y = table.labels.y
    return list(rows.table_rows(columns, chosen, y, found.suggested(chosen), table.labels.space.names))


def where(found: Audit) -> Section:
    """Which classes the errors sit in, and which class they should be."""
    labels, space = found.table.labels, found.table.labels.space
    counts = labels.counts()
    flagged = np.bincount(labels.y[found.confident.is_issue_], minlength=space.n_classes)
    p = np.where(labels.present, np.nan_to_num(found.probability.p_wrong_), 0.0)
    expected = np.bincount(labels.y, weights=p, minlength=space.n_classes)
    some = np.flatnonzero(counts > 0)
    low, high = wilson(np.minimum(expected, counts)[some], counts[some])
    share = expected[some] / counts[some]
    names = [space.names[code] for code in some]
    top = names[int(share.argmax())]
    bars = plots.bars(
        f"Class {top!r} has the largest share of wrong labels",
        names,
        share,
        np.stack([low, high], axis=1),
        x_label="Labels expected wrong",
        reference=float(expected.sum() / counts.sum()),
        note="The bar is the mean probability of error; the interval is what so many rows would leave open.",
    )
    cells = found.confident.inverse_noise_matrix_.T if space.n_classes <= 2000 else found.confident.joint_
    matrix = Matrix.of(
        "Of the rows given a label, the share that truly belongs to each class",
        space.names,
        cells,
        found.confident.calibrated_joint_,
        note="Estimated by confident learning; the diagonal is right.",
    )
    grid = Grid(
        "Flagged rows by class",
        (Column("class"), Column("rows"), Column("flagged"), Column("share", "%")),
        tuple(
            (space.names[code], int(counts[code]), int(flagged[code]), float(flagged[code] / counts[code]))
            for code in some[np.argsort(-flagged[some] / counts[some], kind="stable")][:20]
        ),
    )
    return Section(
        "Where the errors are", "Some classes are mistaken for each other more than others.", (bars, matrix, grid)
    )


def review(found: Audit) -> Section:
    """What reviews have shown, and what more of them would buy."""
    p = np.sort(found.probability.p_wrong_[found.confident.is_issue_])[::-1]
    blocks: list[Any] = []
    if len(p):
        at = np.unique(np.linspace(0, len(p), 60).astype(int))
        sums, spread = np.cumsum(np.r_[0.0, p]), np.sqrt(np.cumsum(np.r_[0.0, p * (1 - p)]))
        half = int(np.searchsorted(sums, sums[-1] / 2))
        blocks.append(
            plots.review_curve(
                f"The first {half:,} reviews are expected to find half of the errors among the flagged rows",
                at,
                sums[at],
                np.maximum(sums[at] - 1.96 * spread[at], 0),
                sums[at] + 1.96 * spread[at],
                total=float(sums[-1]),
                note="Expected from the probabilities of error; the band is chance alone, not a doubt of the model.",
            )
        )
    rate = found.rate or empty_rate(found)
    stop = ErrorRate().stop_sign(rate, GOAL)
    plan = ErrorRate().plan(rate, target_rate_below=GOAL)
    curve = plan.curve
    if len(curve["more"]) > 1:
        reach = number(float(np.interp(N_RANDOM, curve["more"], curve["half_width"])), "%")
        blocks.append(
            plots.half_width(
                f"{N_RANDOM} random reviews narrow the interval of the error rate to about ± {reach}",
                curve["more"],
                curve["half_width"],
                note="Expected, if further rows are wrong as often as those seen so far.",
            )
        )
    if found.rate is not None:
        blocks.append(reviewed_table(found.rate))
    return Section("What a review buys", stop.sentence, tuple(blocks))


def empty_rate(found: Audit) -> ErrorRateEstimate:
    """The state before anybody has reviewed a row."""
    nothing = np.zeros(0, dtype=np.int64)
    return ErrorRate().estimate(found.confident.is_issue_[found.table.labels.present], nothing, nothing.astype(bool))


def reviewed_table(rate: ErrorRateEstimate) -> Grid:
    """Reviews by stratum."""

    def line(name: str, at: int) -> tuple[str | int | float, ...]:
        drawn, known = rate.strata[at], rate.known[at]
        return (name, drawn.size + known.size, drawn.reviewed + known.reviewed, drawn.wrong + known.wrong)

    return Grid(
        "Reviewed so far",
        tuple(map(Column, ("rows", "all", "reviewed", "found wrong"))),
        (line("flagged", 0), line("not flagged", 1)),
    )


def trust(found: Audit) -> Section:
    """Why to believe the probabilities, and where not to."""
    present = found.table.labels.present
    p = found.probability.p_wrong_[present]
    flagged = found.confident.is_issue_[present]
    blocks: list[Any] = [
        plots.histogram(
            f"{int(flagged.sum()):,} of {len(p):,} labels are flagged",
            p,
            cut=0.5,
            cut_label="more likely wrong than not",
        )
    ]
    judged = None if found.verdicts is None else found.verdicts.wrong()
    if judged is not None and len(judged.rows) >= 20:
        blocks.append(
            plots.reliability(
                "How often labels called wrong were wrong",
                found.probability.prior_[judged.rows],
                judged.wrong,
                note="The probabilities are those from before any verdict, so that no row judges itself.",
            )
        )
    if found.predictions.notes:
        blocks.append(Prose("\n\n".join(found.predictions.notes)))
    held_out = found.predictions.origin == "cross-validated"
    lead = (
        f"The probabilities are {'cross-validated on the labels as given' if held_out else 'given by you'} "
        f"({found.predictions.model}); they agree with {number(found.predictions.accuracy, '%')} of the labels."
    )
    if judged is None:
        lead += " Until some rows are reviewed, read the chances of error as an order: a model can be sure and wrong."
    return Section("How far to trust it", lead, tuple(blocks))


def commands(found: Audit, folder: Path, original: Path) -> tuple[Command, ...]:
    """What to run next."""
    source = found.table.source
    again = ["assay", "audit", "TABLE" if source is None else str(source)]
    if source is None or source.is_file():
        again += ["--label", found.table.label]
    again += [*found.options.as_words(), *found.words]
    if source is None or folder != default_folder(source):
        again += ["--out", str(folder)]
    repaired = f"{original.name.split('.')[0]}.repaired{''.join(original.suffixes)}"
    filled = folder / "review.csv"
    return (
        Command(
            _shell(*again, "--verdicts", filled),
            f"Fill in the column verdict of {filled.name} (given, suggested, other, both, neither or skip), then run "
            "this: the probabilities are calibrated anew and the error rate gets its interval.",
        ),
        Command(_shell("assay", "ledger", "replay", folder, original, repaired), "Write the repaired file."),
        Command(_shell("assay", "ledger", "log", folder), "Who or what said what about which row."),
    )


def _shell(*words: str | Path) -> str:
    """A command as one would type it."""
    return shlex.join(map(str, words))

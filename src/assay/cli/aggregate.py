"""`assay aggregate`: from many opinions to one belief and a report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from assay.evidence.aggregate_votes import VoteOptions

METHODS = [
    "auto",
    "majority",
    "softmax",
    "wawa",
    "zero_based_skill",
    "one_coin",
    "dawid_skene",
    "bayesian_dawid_skene",
    "glad",
    "mace",
    "opinions",
    "next_vote",
    "correlated_sources",
]
ANSWERS = ["numeric", "bradley_terry", "text_choice"]
"""Methods for answers that are not classes: numbers, judged pairs, texts."""


def columns_of(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Names separated by commas."""
    return () if value is None else tuple(value.split(","))


@click.command(name="aggregate", short_help="From many opinions to one calibrated belief, and a report.")
@click.argument("source", metavar="VOTES", type=click.Path(path_type=Path))
@click.option("--task", help="Column that says what was voted on. [default: task]")
@click.option("--worker", default="worker", show_default=True, help="Column that says who voted.")
@click.option("--label", help="Column with the vote; of a JSON export, the question. [default: label]")
@click.option("--gold", help="Column with the known class, empty where it is not known; it scores the belief.")
@click.option("--weight", help="Column that says how much a vote counts.")
@click.option("--time", "time_column", help="Column with the time of the vote, in seconds.")
@click.option("--workers", callback=columns_of, help="Columns, one a worker, of a table with one task a row.")
@click.option("--counts", callback=columns_of, help="Columns with the number of votes for the class they are named by.")
@click.option("--classes", callback=columns_of, help="Class names in order; a vote outside them is an error.")
@click.option(
    "--tasks",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Table with what was voted on, one task a row, found by the column --task, else task, else id.",
)
@click.option(
    "--method",
    type=click.Choice(METHODS + ANSWERS),
    default="auto",
    show_default=True,
    help="How votes are weighed. The last three are for answers that are numbers, judged pairs, texts.",
)
@click.option(
    "--items", callback=columns_of, help="For bradley_terry: columns with the two items. [default: left,right]"
)
@click.option("--price", type=click.FloatRange(0, min_open=True), help="Price of one vote, for the votes to buy next.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the results. [default: NAME.assay]"
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON instead of the summary.")
@click.option("--quiet", is_flag=True, help="No progress bar, no summary.")
@click.option("--open", "open_report", is_flag=True, help="Open the report in the browser.")
def command(
    source: Path,
    task: str | None,
    worker: str,
    label: str | None,
    gold: str | None,
    weight: str | None,
    time_column: str | None,
    workers: tuple[str, ...],
    counts: tuple[str, ...],
    classes: tuple[str, ...],
    tasks: Path | None,
    method: str,
    items: tuple[str, ...],
    price: float | None,
    out: Path | None,
    seed: int,
    as_json: bool,
    quiet: bool,
    open_report: bool,
) -> None:
    """Turn VOTES into one belief for each task, and write a report.

    VOTES is a table with one vote a row (CSV, TSV, Parquet, Arrow, JSON lines; .gz too), a table with one task a row
    (--workers or --counts), or a JSON export of peerannot, Label Studio or Argilla. Empty answers are abstentions.
    Nothing in VOTES is changed.

    \b
      assay aggregate votes.csv                                    columns task, worker, label
      assay aggregate rte.csv --task item --label response --gold gold
      assay aggregate tweets.csv --counts hate,offensive,neither   how many voted for each class
      assay aggregate votes.csv --tasks texts.csv                  shows the texts, and writes a table to audit
      assay aggregate ratings.csv --method numeric --label score   one number a task, raters' bias taken out
      assay aggregate duels.csv --method bradley_terry --label winner --items left,right
      assay aggregate transcripts.csv --method text_choice --label text

    The folder NAME.assay then holds report.html, report.json, beliefs.parquet (a row a task, a column a class: soft
    labels), tasks.csv, workers.csv, purchases.csv (the votes to buy next), rows.parquet and votes.parquet (what
    `assay review` shows), and with --tasks, --workers or --counts labelled.parquet, which `assay audit` reads. For
    numbers, pairs and texts it holds the report, items.csv and workers.csv.
    """
    from assay.cli.terminal import progress_bar, show_result, taught
    from assay.evidence.aggregate_files import check_folder, save
    from assay.evidence.aggregate_report import summary
    from assay.evidence.aggregate_run import aggregate
    from assay.evidence.aggregate_votes import VoteOptions, read_source
    from assay.evidence.audit_options import default_folder
    from assay.evidence.report import read_report

    options = VoteOptions(
        task=task,
        worker=worker,
        label=label,
        gold=gold,
        weight=weight,
        time=time_column,
        workers=workers,
        counts=counts,
        classes=classes or None,
        tasks=tasks,
    )
    folder = out or default_folder(source)
    if method in ANSWERS:
        _answers(source, options, method, items, folder, as_json, quiet, open_report)
        return
    with progress_bar(quiet) as progress, taught():
        tell = progress or (lambda _step, _done: None)
        tell("reading votes", 0.0)
        read = read_source(source, options)
        check_folder(source, folder, tasks)
        tell("reading votes", 1.0)
        tell("weighing votes", 0.0)
        found = aggregate(read.votes, method, gold=read.gold, random_state=seed)
        tell("weighing votes", 1.0)
        report = save(read, found, folder, {"seed": seed, "command": f"assay {' '.join(sys.argv[1:])}"}, price)
    show_result(
        report,
        lambda: read_report(folder).numbers,
        lambda: summary(read, found),
        as_json=as_json,
        quiet=quiet,
        open_report=open_report,
    )


def _answers(
    source: Path,
    options: VoteOptions,
    method: str,
    items: tuple[str, ...],
    folder: Path,
    as_json: bool,
    quiet: bool,
    open_report: bool,
) -> None:
    """Aggregate numbers, pairs or texts."""
    from assay.cli.terminal import show_result
    from assay.evidence.aggregate_answers import KINDS, save
    from assay.evidence.report import read_report

    two = items or ("left", "right")
    if len(two) != 2:
        raise click.UsageError(f"--items names two columns, got {len(two)}.")
    found = KINDS[method](source, options, two) if method == "bradley_terry" else KINDS[method](source, options)
    report = save(found, source, folder, {"command": f"assay {' '.join(sys.argv[1:])}"})
    show_result(
        report,
        lambda: read_report(folder).numbers,
        lambda: found.verdict,
        as_json=as_json,
        quiet=quiet,
        open_report=open_report,
    )

"""`assay critic`: the better of several machine labels, or a person."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from assay.cli.aggregate import columns_of


@click.command(name="critic", short_help="The better of several machine labels for each row, or a person decides.")
@click.argument("source", metavar="CANDIDATES", type=click.Path(path_type=Path))
@click.option(
    "--labels",
    required=True,
    callback=columns_of,
    help="Columns with the candidates, separated by commas; the labels in use first.",
)
@click.option("--accepted", help="Column with labels known to be good, empty where none is known.")
@click.option(
    "--judge",
    default="classifier",
    show_default=True,
    metavar="rules|classifier|FOLDER|URL",
    help="Who compares: criteria or a classifier learned from --accepted; a model in a folder; a server that speaks "
    "the chat-completions protocol.",
)
@click.option(
    "--kind",
    type=click.Choice(["class", "tags", "mask", "text", "fields"]),
    help="What the labels are. [default: found by looking]",
)
@click.option("--content", help="Column with what is labelled: a text, or a path of an image. [default: other columns]")
@click.option("--id", "id_column", help="Column with a stable id for each row.")
@click.option("--target", default="", help="What the labels are of, in plain words, for models: spleen, receipt total.")
@click.option("--criteria", help="What a good label is like, in plain words, for models; the more specific the better.")
@click.option("--model", default="default", show_default=True, help="Name of the model on the server.")
@click.option(
    "--key", default="ASSAY_API_KEY", show_default=True, help="Environment variable that holds the server's key."
)
@click.option("--price", type=click.FloatRange(0), default=0.0, help="Price of one call, for the sum of costs.")
@click.option("--budget", type=click.IntRange(0), help="Most calls of the judge; the rest goes to a person.")
@click.option("--jobs", type=click.IntRange(1, 256), default=1, show_default=True, help="Rows judged at once.")
@click.option("--alike", type=click.FloatRange(0, 1), help="Likeness (Dice) from which labels are not compared.")
@click.option("--conservative", is_flag=True, help="Leave a pair uncertain when one of its two answers is unusable.")
@click.option("--no-check", is_flag=True, help="Adopt every winner without a check of its own.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the results. [default: NAME.assay]"
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of the folds.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON instead of the summary.")
@click.option("--quiet", is_flag=True, help="No progress bar, no summary.")
@click.option("--open", "open_report", is_flag=True, help="Open the report in the browser.")
def command(
    source: Path,
    labels: tuple[str, ...],
    accepted: str | None,
    judge: str,
    kind: str | None,
    content: str | None,
    id_column: str | None,
    target: str,
    criteria: str | None,
    model: str,
    key: str,
    price: float,
    budget: int | None,
    jobs: int,
    alike: float | None,
    conservative: bool,
    no_check: bool,
    out: Path | None,
    seed: int,
    as_json: bool,
    quiet: bool,
    open_report: bool,
) -> None:
    """Choose the best label of each row of CANDIDATES, and say which rows need a person.

    CANDIDATES is a table (CSV, TSV, Parquet, Arrow, JSON lines; .gz too) with one row an item and a column for each
    machine that labelled it. Labels are classes, lists of tags, texts, fields (JSON objects), or masks (paths of
    images or .npy files below the table). A judge compares two at a time, in both orders; the winner is adopted only
    if it passes a check. A judge that fails, times out or talks nonsense decides nothing. The table is not changed.

    \b
      assay critic receipts.csv --labels ocr_a,ocr_b --accepted checked
      assay critic scans.csv --labels net_a,net_b --content scan --target spleen --judge models/vlm
      assay critic tags.jsonl --labels a,b,c --judge http://localhost:8000/v1 --model my-model --budget 2000 --jobs 8

    The folder NAME.assay then holds report.html, report.json, labels.csv (the label of each row and its route),
    routing.csv (what a person must look at, worst first), ledger.db (what was said, in both orders), and what
    `assay review` opens.
    """
    from assay.cli.terminal import progress_bar, show_result, taught
    from assay.evidence.audit_options import default_folder
    from assay.evidence.critic_files import check_folder, save
    from assay.evidence.critic_report import summary
    from assay.evidence.critic_run import CriticOptions, criticise
    from assay.evidence.critic_source import CriticColumns, read_candidates
    from assay.evidence.report import read_report

    columns = CriticColumns(
        labels=labels,
        accepted=accepted,
        kind=kind,
        content=content,
        id=id_column,
        target=target,
    )
    options = CriticOptions(
        judge=judge,
        model=model,
        key=key,
        criteria=criteria,
        price=price,
        alike=1.01 if alike is None else alike,
        conservative=conservative,
        check=not no_check,
        budget=budget,
        jobs=jobs,
        seed=seed,
    )
    folder = out or default_folder(source)
    with taught(), progress_bar(quiet) as progress:
        check_folder(source, folder)
        read = read_candidates(source, columns)
        found = criticise(read, options, progress)
        report = save(found, folder, {"seed": seed, "command": f"assay {' '.join(sys.argv[1:])}"})
    show_result(
        report,
        lambda: read_report(folder).numbers,
        lambda: summary(found),
        as_json=as_json,
        quiet=quiet,
        open_report=open_report,
    )

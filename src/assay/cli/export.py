"""`assay export`: the repaired data set, with a card that says what was changed."""

from __future__ import annotations

import json
from pathlib import Path

import click

from assay.cli.ledger import point

PATH = click.Path(path_type=Path)
FORMS = ["csv", "parquet", "jsonl", "folder", "label-studio", "argilla", "coco", "voc"]


@click.command(name="export", short_help="The repaired data set, with a card that says what was changed.")
@click.argument("folder", type=PATH)
@click.argument("source", type=PATH)
@click.argument("target", type=PATH)
@click.option("--to", type=click.Choice(FORMS), help="Form of TARGET. [default: as its name says]")
@click.option("--at", callback=point, help="Labels as of this event or ISO time (UTC). [default: now]")
@click.option(
    "--undecided",
    type=click.Choice(["given", "empty", "drop"]),
    default="given",
    show_default=True,
    help="Rows whose label is wrong or disputed and whose right one is not known: keep it, empty it, drop the row.",
)
@click.option("--soft", is_flag=True, help="A column of beliefs for each class instead of the label.")
@click.option("--decisions", is_flag=True, help="The reviewed rows and what was decided, instead of the data set.")
@click.option("--anonymous", is_flag=True, help="Number the reviewers instead of naming them; no notes.")
@click.option("--one-based", is_flag=True, help="Corners of boxes count pixels from 1, as in Pascal VOC (coco, voc).")
@click.option("--db", metavar="URL", envvar="ASSAY_DB", help="Ledger of a team: postgresql://user@host/database.")
@click.option("--json", "as_json", is_flag=True, help="Print what the card says as JSON.")
def command(
    folder: Path,
    source: Path,
    target: Path,
    to: str | None,
    at: int | str | None,
    undecided: str,
    soft: bool,
    decisions: bool,
    anonymous: bool,
    one_based: bool,
    db: str | None,
    as_json: bool,
) -> None:
    """Write the data set SOURCE to TARGET with the labels that people decided on, and a card beside it.

    FOLDER holds the results of `assay audit` and the ledger. SOURCE must be the very data set that was audited. TARGET
    must not exist; TARGET.card.md and TARGET.card.json say what was changed, on whose word, how many errors are left,
    and how to make the file again.

    \b
      assay export reviews.assay reviews.csv repaired.csv
      assay export reviews.assay reviews.csv repaired.parquet --undecided drop
      assay export photos.assay photos repaired-photos              a folder of images: a new folder
      assay export reviews.assay reviews.csv soft.parquet --soft    beliefs, to train on

    \b
    For other tools, and for whoever must answer for the decisions:
      assay export reviews.assay reviews.csv tasks.json --to label-studio
      assay export reviews.assay reviews.csv records.json --to argilla
      assay export boxes.assay boxes.csv repaired.json --to coco    columns image, xmin, ymin, xmax, ymax
      assay export reviews.assay reviews.csv decisions.csv --decisions
    """
    from assay.cli.terminal import taught
    from assay.evidence.export import export
    from assay.evidence.export_data import ExportOptions

    options = ExportOptions(
        to=to,
        at=at,
        undecided=undecided,  # type: ignore[arg-type]
        soft=soft,
        decisions=decisions,
        anonymous=anonymous,
        one_based=one_based,
    )
    with taught():
        said = export(folder, source, target, options, db=db)
    if as_json:
        click.echo(json.dumps(said, indent=1))
        return
    review = said["review"]
    if decisions:
        click.echo(f"{target}: {review['rows']:,} reviewed rows, {review['verdicts']:,} verdicts")
        return
    click.echo(f"{target}: {said['repaired']['rows']:,} rows, {said['changed']:,} labels changed. {target}.card.md")
    if said["undecided"] and undecided == "given":
        click.echo(
            f"{said['undecided']:,} rows keep a label that is wrong or disputed, because the right one is not known: "
            "--undecided empty, or drop, says otherwise.",
            err=True,
        )

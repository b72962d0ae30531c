"""`assay learn`: from a file with wrong labels to a model."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from assay.evidence.learn_methods import choices


@click.command(name="learn", short_help="Train a model on labels of which some are wrong.")
@click.argument("source", metavar="TABLE", type=click.Path(path_type=Path))
@click.option("--label", help="Column that holds the labels. [default: the folder names, for a folder of images]")
@click.option(
    "--method",
    type=click.Choice(choices()),
    default="auto",
    show_default=True,
    help="How to train. auto finds out what is wrong with the labels and compares methods on held-out ones.",
)
@click.option("--test", type=click.Path(exists=True, path_type=Path), help="Rows to predict, read as TABLE is.")
@click.option(
    "--beliefs",
    type=click.Path(exists=True, path_type=Path),
    help="beliefs.parquet or votes.parquet of `assay aggregate`, or its folder; --id names the task of each row.",
)
@click.option("--id", "id_column", help="Column with a stable id for each row.")
@click.option("--text", help="Column with the text to classify. [default: found by looking]")
@click.option("--image", help="Column with image paths, relative to the file. [default: found by looking]")
@click.option("--classes", help="Class names in order, separated by commas; a label outside them is an error.")
@click.option("--exclude", multiple=True, help="Column that the model must not see; give it once for each column.")
@click.option(
    "--embeddings",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Feature vectors of your own, .npy (n, d).",
)
@click.option(
    "--test-embeddings",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The same for the rows to predict; --test is then only needed for their ids and labels.",
)
@click.option("--encoder", help="Encoder for texts or images: minilm, efficientnet, or a folder.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the rows. [default: the method's own]")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the results. [default: NAME.model]"
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of everything random."
)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON instead of the summary.")
@click.option("--quiet", is_flag=True, help="No progress bar, no summary.")
@click.option("--open", "open_report", is_flag=True, help="Open the report in the browser.")
def command(
    source: Path,
    label: str | None,
    method: str,
    test: Path | None,
    beliefs: Path | None,
    id_column: str | None,
    text: str | None,
    image: str | None,
    classes: str | None,
    exclude: tuple[str, ...],
    embeddings: Path | None,
    test_embeddings: Path | None,
    encoder: str | None,
    epochs: int | None,
    out: Path | None,
    seed: int,
    as_json: bool,
    quiet: bool,
    open_report: bool,
) -> None:
    """Train a model on the labels of TABLE, of which some are wrong, and write it with what it learned about them.

    TABLE is what `assay audit` reads: a table (CSV, TSV, Parquet, Arrow, JSON lines; .gz too) or a folder with one
    folder of images for each class; or the folder that `assay aggregate` wrote, whose beliefs are learned from as they
    are. Training needs assay[deep].

    \b
      assay learn reviews.csv --label sentiment
      assay learn reviews.csv --label sentiment --method elr --test new.csv
      assay learn photos/ --test unsorted/                    one folder of images for each class
      assay learn votes.assay/                                what many people voted on, as soft labels
      assay learn cells.parquet --label kind --embeddings cells.npy --test-embeddings new.npy

    The folder NAME.model then holds report.html, report.json, evidence.csv (every row, the most suspicious label
    first), the model (model.json, model.pt, reader.json, reader.npz: no pickle), and with --test predictions.parquet
    and predictions.csv. `assay predict` labels further rows.
    """
    from assay.cli.terminal import progress_bar, show_result, taught
    from assay.evidence.audit_options import AuditOptions
    from assay.evidence.learn_files import check_folder, default_folder, save
    from assay.evidence.learn_run import LearnOptions, learn

    reading = AuditOptions(
        label=label,
        id=id_column,
        text=text,
        image=image,
        classes=tuple(classes.split(",")) if classes else None,
        exclude=exclude,
        seed=seed,
        encoder=encoder,
    )
    folder = out or default_folder(source)
    check_folder(folder, source, test, beliefs)
    with progress_bar(quiet) as progress, taught():
        found = learn(
            source,
            LearnOptions(method=method, epochs=epochs, reading=reading),
            test=test,
            embeddings=embeddings,
            test_embeddings=test_embeddings,
            beliefs=beliefs,
            progress=progress,
        )
        report = save(found, folder, command=f"assay {' '.join(sys.argv[1:])}")
    show_result(report, found.numbers, found.summary, as_json=as_json, quiet=quiet, open_report=open_report)

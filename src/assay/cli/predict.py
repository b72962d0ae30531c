"""`assay predict`: label new rows with a trained model, whatever kind of label it learned."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(name="predict", short_help="Label new rows with a model that `assay learn` trained.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("new", required=False, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--embeddings",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Feature vectors of the new rows, .npy (m, d), for a model that was trained on embeddings.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("predictions.parquet"),
    show_default=True,
    help="File for the predictions, .parquet; the same is written as .csv beside it.",
)
def command(folder: Path, new: Path | None, embeddings: Path | None, out: Path) -> None:
    """Label the rows of NEW with the model in FOLDER, which `assay learn` wrote.

    NEW has the columns, or is a folder of images, as the training data had; it needs no labels. Where it has some, how
    often the model agrees is told.

    \b
      assay predict reviews.model new.csv
      assay predict photos.model unsorted/ --out unsorted.parquet
      assay predict customers.model new.csv                   how long each lasts, or will last with what probability
    """
    from assay.cli.terminal import taught
    from assay.errors import InputError
    from assay.evidence.learn_predict import predict

    if new is None and embeddings is None:
        raise click.UsageError("Name the rows to label: NEW, or --embeddings.")
    if out.suffix != ".parquet" or (new is not None and out.resolve() == new.resolve()):
        raise InputError(f"The predictions cannot be written to {out}: name another file, .parquet, with --out.")
    with taught():
        found = predict(folder, new, embeddings)
        found.write(out)
    if found.sentence is not None:
        click.echo(found.sentence)
    click.echo(out)

"""`assay audit`: the main job, from a file to a report."""

from __future__ import annotations

import sys
from pathlib import Path

import click

FILTERS = ["prune_by_noise_rate", "prune_by_class", "both", "confident_learning", "predicted_neq_given"]


@click.command(name="audit", short_help="Find the wrong labels of a data set and write a report.")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--label", help="Column that holds the labels. [default: the folder names, for a folder of images]")
@click.option("--id", "id_column", help="Column with a stable id for each row, shown beside the row number.")
@click.option("--text", help="Column with the text to classify. [default: found by looking]")
@click.option("--image", help="Column with image paths, relative to the file. [default: found by looking]")
@click.option("--classes", help="Class names in order, separated by commas; a label outside them is an error.")
@click.option("--exclude", multiple=True, help="Column that the model must not see; give it once for each column.")
@click.option("--groups", help="Column whose equal values must stay in one fold (a patient, an author, a scene).")
@click.option(
    "--pred-probs",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Out-of-sample probabilities of your own model: .npy (n, k), or a table with a column for each class.",
)
@click.option(
    "--embeddings",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Feature vectors of your own, .npy (n, d); a model is fitted on them.",
)
@click.option("--encoder", help="Encoder for texts or images: minilm, efficientnet, or a folder. Needs assay[deep].")
@click.option(
    "--verdicts",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Decisions of people, CSV with the columns row and verdict: the filled-in review.csv of an earlier run.",
)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the results. [default: NAME.assay]"
)
@click.option(
    "--filter",
    "filter_by",
    type=click.Choice(FILTERS),
    default=FILTERS[0],
    show_default=True,
    help="Which rows are flagged.",
)
@click.option(
    "--folds", type=click.IntRange(2, 50), default=5, show_default=True, help="Folds of the cross-validation."
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of everything random."
)
@click.option(
    "--fail-above", type=click.FloatRange(0, 1), help="Exit with code 1 when the error rate is above this share."
)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON instead of the summary.")
@click.option("--quiet", is_flag=True, help="No progress bar, no summary.")
@click.option("--open", "open_report", is_flag=True, help="Open the report in the browser.")
def command(
    source: Path,
    label: str | None,
    id_column: str | None,
    text: str | None,
    image: str | None,
    classes: str | None,
    exclude: tuple[str, ...],
    groups: str | None,
    pred_probs: Path | None,
    embeddings: Path | None,
    encoder: str | None,
    verdicts: Path | None,
    out: Path | None,
    filter_by: str,
    folds: int,
    seed: int,
    fail_above: float | None,
    as_json: bool,
    quiet: bool,
    open_report: bool,
) -> None:
    """Find the wrong labels of SOURCE and write a report.

    SOURCE is a table (CSV, TSV, Parquet, Arrow, JSON lines; .gz too), or a folder with one folder of images for each
    class. Numbers, categories, missing values, texts and images are handled; a model is cross-validated on the labels
    as they are, and confident learning compares its held-out probabilities with them. Nothing in SOURCE is changed.

    \b
      assay audit reviews.csv --label sentiment
      assay audit photos/                                         one folder of images for each class
      assay audit test.parquet --label y --pred-probs probs.npy   your own model's held-out probabilities
      assay audit reviews.csv --label sentiment --verdicts reviews.assay/review.csv

    The folder NAME.assay then holds report.html, report.json, issues.csv (ranked), review.csv (what to look at next,
    with a column to fill in), rows.parquet (what is known of every row), pred_probs.npy and ledger.db; `assay review`
    opens it in the browser. With verdicts, the probabilities are calibrated anew and the error rate gets its 95 %
    interval; `assay ledger replay` writes the repaired file.
    """
    from assay.cli.terminal import progress_bar, show_result, taught
    from assay.evidence.audit import audit
    from assay.evidence.audit_files import check_folder, save
    from assay.evidence.audit_options import AuditOptions, default_folder

    options = AuditOptions(
        label=label,
        id=id_column,
        text=text,
        image=image,
        classes=tuple(classes.split(",")) if classes else None,
        exclude=exclude,
        groups=groups,
        filter_by=filter_by,
        folds=folds,
        seed=seed,
        encoder=encoder,
    )
    folder = out or default_folder(source)
    check_folder(folder, source)
    with progress_bar(quiet) as progress, taught():
        found = audit(
            source,
            options,
            pred_probs=pred_probs,
            embeddings=embeddings,
            verdicts=verdicts,
            cache=folder,
            progress=progress,
        )
        report = save(found, folder, command=f"assay {' '.join(sys.argv[1:])}")
    show_result(report, found.numbers, found.summary, as_json=as_json, quiet=quiet, open_report=open_report)
    if fail_above is not None and found.error_rate > fail_above:
        sys.exit(1)

"""`assay learn`: from a file with wrong or weak labels to a model."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from assay.cli.sections import SectionedCommand
from assay.errors import InputError
from assay.evidence.learn_methods import choices

if TYPE_CHECKING:
    from assay.evidence.audit_options import AuditOptions

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
KINDS = {
    "label": ("method", "beliefs", "classes", "epochs"),
    "time": ("event", "weights", "target", "horizon"),
    "bags": ("proportions", "epochs"),
    "tags": ("positive_only", "epochs"),
}
"""What names the labels of each kind, and the options that go with it and not with every other."""
SECTIONS = {
    "A class for each row": ("label", "method", "beliefs", "classes"),
    "A duration for each row, some cut off": ("time", *KINDS["time"]),
    "The share of each class in groups of rows": ("bags", "proportions"),
    "Tags, any number for each row": ("tags", "positive_only"),
    "What a row is": ("id", "text", "image", "exclude", "embeddings", "encoder"),
    "Rows to predict": ("test", "test_embeddings"),
    "Training": ("epochs", "seed"),
    "Results": ("out", "as_json", "quiet", "open_report"),
}


@click.command(
    name="learn",
    short_help="Train a model on labels of which some are wrong, or weak.",
    cls=SectionedCommand,
    sections=SECTIONS,
)
@click.argument("source", metavar="TABLE", type=click.Path(path_type=Path))
@click.option("--label", help="Column that holds the labels. [default: the folder names, for a folder of images]")
@click.option(
    "--method",
    type=click.Choice(choices()),
    default="auto",
    show_default=True,
    help="How to train. auto finds out what is wrong with the labels and compares methods on held-out ones.",
)
@click.option(
    "--beliefs",
    type=click.Path(exists=True, path_type=Path),
    help="beliefs.parquet or votes.parquet of `assay aggregate`, or its folder; --id names the task of each row.",
)
@click.option("--classes", help="Class names in order, separated by commas; a label outside them is an error.")
@click.option("--epochs", type=click.IntRange(1), help="Passes of a network over the rows. [default: the method's own]")
@click.option("--time", help="Column with the time until which a row was watched.")
@click.option("--event", help="Column that says whether the end was seen then (1, true), or only that it came later.")
@click.option(
    "--weights",
    type=click.Choice(["conditional", "marginal"]),
    default="conditional",
    show_default=True,
    help="Whether watching may end sooner for some rows than for others, as their features tell.",
)
@click.option(
    "--target",
    type=click.Choice(["mean", "survival"]),
    default="mean",
    show_default=True,
    help="Predict the expected duration, or the probability to last beyond the horizon.",
)
@click.option(
    "--horizon",
    type=float,
    help="Longer durations count as this long; inf for no limit. [default: where follow-up ends too early]",
)
@click.option("--bags", help="Column with the bag that a row is in; empty for a row in none.")
@click.option(
    "--proportions",
    type=FILE,
    help="Table with the same column and one named after a class, its shares; or one for each class, shares or counts.",
)
@click.option(
    "--tags", help="Columns, one for each tag, separated by commas; or the one column that lists the tags of a row."
)
@click.option("--positive-only", is_flag=True, help="A tag that was not recorded is unknown, not absent.")
@click.option("--test", type=click.Path(exists=True, path_type=Path), help="Rows to predict, read as TABLE is.")
@click.option("--id", help="Column with a stable id for each row.")
@click.option("--text", help="Column with the text to learn from. [default: found by looking]")
@click.option("--image", help="Column with image paths, relative to the file. [default: found by looking]")
@click.option("--exclude", multiple=True, help="Column that the model must not see; give it once for each column.")
@click.option("--embeddings", type=FILE, help="Feature vectors of your own, .npy (n, d).")
@click.option(
    "--test-embeddings",
    type=FILE,
    help="The same for the rows to predict; --test is then only needed for their ids and labels.",
)
@click.option("--encoder", help="Encoder for texts or images: minilm, efficientnet, or a folder.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the results. [default: NAME.model]"
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of everything random."
)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON instead of the summary.")
@click.option("--quiet", is_flag=True, help="No progress bar, no summary.")
@click.option("--open", "open_report", is_flag=True, help="Open the report in the browser.")
@click.pass_context
def command(
    ctx: click.Context, /, source: Path, out: Path | None, as_json: bool, quiet: bool, open_report: bool, **given: Any
) -> None:
    """Train a model on the labels of TABLE, and write it with what it learned about them.

    TABLE is what `assay audit` reads: a table (CSV, TSV, Parquet, Arrow, JSON lines; .gz too) or a folder with one
    folder of images for each class; or the folder that `assay aggregate` wrote, whose beliefs are learned from as they
    are. Networks need assay[deep].

    Labels are of one kind. Classes, of which some are wrong:

    \b
      assay learn reviews.csv --label sentiment
      assay learn reviews.csv --label sentiment --method elr --test new.csv
      assay learn photos/ --test unsorted/                    one folder of images for each class
      assay learn votes.assay/                                what many people voted on, as soft labels
      assay learn cells.parquet --label kind --embeddings cells.npy --test-embeddings new.npy

    Durations, of which some are only known to be longer:

    \b
      assay learn customers.csv --time months --event left
      assay learn customers.csv --time months --event left --target survival --horizon 12 --test new.csv

    Groups, of which only the shares of the classes are known:

    \b
      assay learn people.csv --bags district --proportions turnout.csv

    Tags, of which some were recorded and none was ruled out:

    \b
      assay learn photos.csv --tags beach,boat,dog --positive-only --image path

    The folder NAME.model then holds report.html, report.json, evidence.csv (every row, the most suspicious or the
    heaviest first), the model (JSON and arrays: no pickle), and with --test predictions.parquet and predictions.csv.
    `assay predict` predicts further rows.
    """
    from assay.cli.terminal import progress_bar, show_result, taught
    from assay.evidence.audit_options import AuditOptions
    from assay.evidence.learn_files import check_folder, default_folder

    train = TRAINERS[kind_of(ctx)]
    reading = AuditOptions(
        **{name: given[name] for name in ("label", "id", "text", "image", "exclude", "encoder", "seed")},
        classes=tuple(given["classes"].split(",")) if given["classes"] else None,
    )
    folder = out or default_folder(source)
    check_folder(folder, source, *(given[name] for name in ("test", "beliefs", "proportions")))
    words = f"assay {' '.join(sys.argv[1:])}"
    with progress_bar(quiet) as progress, taught():
        rows = {name: given[name] for name in ("test", "embeddings", "test_embeddings")}
        found, report = train(source, reading, given, {**rows, "progress": progress}, folder, words)
    show_result(report, found.numbers, found.summary, as_json=as_json, quiet=quiet, open_report=open_report)


def kind_of(ctx: click.Context) -> str:
    """The kind of the labels, by what names them; raises where two are named, or an option goes with another."""
    typed = [name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    named = [name for name in KINDS if name in typed]
    if len(named) > 1:
        raise InputError(f"Labels are of one kind, and --{named[0]} and --{named[1]} name two: train a model for each.")
    kind = named[0] if named else "label"
    for name in typed:
        other = [each for each, options in KINDS.items() if name in options]
        if other and kind not in other:
            told = " or ".join(f"--{each}" for each in other)
            raise InputError(f"--{name.replace('_', '-')} goes with {told}, not with --{kind}.")
    return kind


Rest = dict[str, Any]
Trained = tuple[Any, Path]


def classes(source: Path, reading: AuditOptions, given: Rest, rest: Rest, folder: Path, words: str) -> Trained:
    """Classes of which some are wrong."""
    from assay.evidence.learn_files import save
    from assay.evidence.learn_run import LearnOptions, learn

    options = LearnOptions(method=given["method"], epochs=given["epochs"], reading=reading)
    found = learn(source, options, beliefs=given["beliefs"], **rest)
    return found, save(found, folder, command=words)


def durations(source: Path, reading: AuditOptions, given: Rest, rest: Rest, folder: Path, words: str) -> Trained:
    """Durations of which some are cut off."""
    from assay.evidence.learn_censored import learn_censored
    from assay.evidence.learn_censored_task import CensoredOptions
    from assay.evidence.learn_folder import save

    if given["event"] is None:
        raise InputError("Which column says whether the end was seen? Say so with --event.")
    options = CensoredOptions(reading=reading, **{name: given[name] for name in ("time", *KINDS["time"])})
    found = learn_censored(source, options, **rest)
    return found, save(found, folder, command=words)


def bags(source: Path, reading: AuditOptions, given: Rest, rest: Rest, folder: Path, words: str) -> Trained:
    """Groups of rows of which the shares of the classes are known."""
    from assay.evidence.learn_bags import BagOptions, learn_bags
    from assay.evidence.learn_folder import save

    if given["proportions"] is None:
        raise InputError("What is the share of each class in each bag? Name the file with --proportions.")
    options = BagOptions(reading=reading, **{name: given[name] for name in ("bags", *KINDS["bags"])})
    found = learn_bags(source, options, **rest)
    return found, save(found, folder, command=words)


def tags(source: Path, reading: AuditOptions, given: Rest, rest: Rest, folder: Path, words: str) -> Trained:
    """Tags of which only confirmed ones were recorded."""
    from assay.evidence.learn_folder import save
    from assay.evidence.learn_tags import TagOptions, learn_tags

    if not given["positive_only"]:
        raise InputError(
            "Tags are learned from those that were confirmed alone: say so with --positive-only. Where every tag of "
            "every row was looked at, train a model for each with --label."
        )
    names = tuple(name.strip() for name in given["tags"].split(","))
    found = learn_tags(source, TagOptions(tags=names, epochs=given["epochs"], reading=reading), **rest)
    return found, save(found, folder, command=words)


TRAINERS: dict[str, Callable[[Path, Any, Rest, Rest, Path, str], Trained]] = {
    "label": classes,
    "time": durations,
    "bags": bags,
    "tags": tags,
}

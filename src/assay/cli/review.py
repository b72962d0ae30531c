"""`assay review`: the page where people decide, row by row."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.errors import InputError

if TYPE_CHECKING:
    from assay.review.desk import Desk

PATH = click.Path(path_type=Path)
SHARE = click.FloatRange(0, 1)


@click.command(name="review", short_help="The page where people decide which suspected labels are wrong.")
@click.argument("folder", type=PATH)
@click.argument("source", type=PATH, required=False)
@click.option("--db", metavar="URL", envvar="ASSAY_DB", help="Ledger of a team: postgresql://user@host/database.")
@click.option("--reviewer", default="", help="Your name, recorded with every decision. [default: the page asks]")
@click.option("--double", type=SHARE, default=0.1, show_default=True, help="Share of rows that two people judge blind.")
@click.option("--random", type=SHARE, default=0.3, show_default=True, help="Share of rows drawn at random.")
@click.option("--target", type=SHARE, default=0.01, show_default=True, help="Error rate at which to stop.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of the draws.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port. [default: the same one for the same folder]")
@click.option("--host", default="127.0.0.1", show_default=True, help="IP address of this machine to listen at.")
@click.option("--share", is_flag=True, help="Let other machines in, with a --host that they can reach.")
@click.option("--public-url", metavar="URL", help="Address of the proxy through which reviewers come.")
@click.option("--token-file", type=PATH, help="File that keeps the token from one run to the next; made if absent.")
@click.option("--no-browser", is_flag=True, help="Only print the link.")
@click.option("--text", help="Column with the text. [default: as in the results]")
@click.option("--image", help="Column with the images. [default: as in the results]")
@click.option("--boxes", help="Column of boxes to draw over the image.")
@click.option("--masks", help="Column of masks to draw over the image.")
@click.option("--fields", help="Columns to show as a document's fields, separated by commas.")
@click.option("--neighbours", help="Column that lists the neighbours of a node.")
@click.option("--edges", type=PATH, help="File whose first two columns are the ends of an edge.")
@click.option("--embeddings", type=PATH, help="Vectors by which rows are alike, .npy (n, d).")
def command(
    folder: Path,
    source: Path | None,
    db: str | None,
    reviewer: str,
    double: float,
    random: float,
    target: float,
    seed: int,
    port: int | None,
    host: str,
    share: bool,
    public_url: str | None,
    token_file: Path | None,
    no_browser: bool,
    text: str | None,
    image: str | None,
    boxes: str | None,
    masks: str | None,
    fields: str | None,
    neighbours: str | None,
    edges: Path | None,
    embeddings: Path | None,
) -> None:
    """Decide, row by row, which suspected labels are wrong: serves a page and prints the link to it.

    FOLDER holds the results of `assay audit` or `assay aggregate`. SOURCE is the data set, where it is no longer at the
    place it had then. Every decision is safe on disk before the next row is shown; Ctrl-C stops the server.

    \b
      assay audit reviews.csv --label sentiment
      assay review reviews.assay
      assay ledger replay reviews.assay reviews.csv repaired.csv

    Several people use the same link and say who they are. The page listens on this machine alone. For a team, put it
    behind a proxy that speaks TLS, and keep the decisions in PostgreSQL if several servers run:

    \b
      assay review reviews.assay --public-url https://labels.example.org --token-file token
      assay review reviews.assay --db postgresql://assay@db.example.org/labels
      assay review reviews.assay --share --host 192.168.1.5      without TLS: a network that you trust

    \b
    Rows that are more than a text, a table or an image:
      assay review scans.assay --boxes boxes --fields name,date,total
      assay review graph.assay --edges edges.csv
      assay review photos.assay --embeddings vectors.npy
    """
    from assay.cli.terminal import taught
    from assay.review.posted import reviewer_of
    from assay.review.project import ProjectOptions
    from assay.review.serve import answering, opened, token_in

    check_host(host, share, public_url)
    folder, source = results_of(folder, source)
    options = ProjectOptions(
        text=text,
        image=image,
        boxes=boxes,
        masks=masks,
        fields=tuple(fields.split(",")) if fields else (),
        neighbours=neighbours,
        edges=edges,
        embeddings=embeddings,
    )
    reviewer = reviewer_of({"reviewer": reviewer}) if reviewer else ""
    with taught():
        token = None if token_file is None else token_in(token_file)
        with (
            opened(
                folder, source, options=options, db=db, double=double, random=random, target=target, seed=seed
            ) as desk,
            answering(desk, host=host, port=port, public_url=public_url, token=token, reviewer=reviewer) as link,
        ):
            before = len(desk.store.decisions())
            click.echo(link)
            click.echo(
                f"{desk.project.title}: {desk.project.n_rows:,} rows, {int(desk.project.flagged.sum()):,} flagged, "
                f"{before:,} verdicts so far. Ctrl-C stops; every verdict is safe before the next row is shown.",
                err=True,
            )
            with until_stopped(), browser(link, folder, wanted=not no_browser):
                threading.Event().wait()
            click.echo(farewell(desk, folder, db, before), err=True)


def check_host(host: str, share: bool, public_url: str | None) -> None:
    """Raise unless it is clear who can reach the server; warn where the link travels in the open."""
    from assay.review.serve import is_loopback, is_wildcard, public_origin

    if public_url is not None and public_origin(public_url).startswith("http:"):
        click.echo("assay: without TLS (https), the token and the data can be read on the way.", err=True)
    if is_loopback(host):
        if share:
            raise click.UsageError("--share needs a --host that other machines can reach.")
        return
    if not share:
        raise click.UsageError(f"--host {host} lets other machines in: say so with --share.")
    if is_wildcard(host) and public_url is None:
        raise click.UsageError(f"--host {host} needs --public-url: the address that reviewers open.")
    if public_url is None:
        click.echo(
            "assay: this server does not speak TLS: the token and the data can be read on the way. Use a network that "
            "you trust, or a proxy with --public-url.",
            err=True,
        )


def results_of(folder: Path, source: Path | None) -> tuple[Path, Path | None]:
    """The folder of results and the data set; where a data set was given, the results that belong to it."""
    from assay.evidence.audit_options import default_folder
    from assay.evidence.kept_rows import FILE

    if (folder / FILE).is_file() or not folder.exists() or source is not None:
        return folder, source
    near = default_folder(folder)
    for results in (near, folder.parent / near):
        if (results / FILE).is_file():
            return results, folder
    if folder.suffix == ".assay":
        return folder, source
    label = "" if folder.is_dir() else " --label COLUMN"
    raise InputError(
        f"There are no results for {folder} yet: run `assay audit {folder}{label}` first, then `assay review {near}`."
    )


@contextmanager
def until_stopped() -> Iterator[None]:
    """Let Ctrl-C, and a polite kill, end the block and no more."""
    usual = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        click.echo(err=True)
    finally:
        signal.signal(signal.SIGTERM, usual)


@contextmanager
def browser(link: str, folder: Path, wanted: bool) -> Iterator[None]:
    """Open the link where there is a display. It goes through a file of one's own: a command line, all can read."""
    display = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not (wanted and display) or os.environ.get("SSH_CONNECTION"):
        yield
        return
    try:
        file = tempfile.NamedTemporaryFile("w", suffix=".html", dir=folder, prefix="open-", encoding="utf-8")  # noqa: SIM115
    except OSError:  # the results lie where nothing can be written; the link is printed anyway
        yield
        return
    with file:
        file.write(f'<!doctype html><meta http-equiv="refresh" content="0; url={escape(link)}">')
        file.flush()
        click.launch(Path(file.name).resolve().as_uri())
        yield


def farewell(desk: Desk, folder: Path, db: str | None, before: int) -> str:
    """What is in, and what to run next."""
    decisions = desk.store.decisions()
    n, people = len(decisions), len({one.reviewer for one in decisions})
    ledger = folder if db is None else desk.store.ledger.path  # a URL without its password
    words = ["assay", "ledger", "replay", str(ledger), os.path.relpath(desk.project.original), "repaired.csv"]
    return (
        f"{n:,} verdict{'' if n == 1 else 's'} of {people} {'person' if people == 1 else 'people'} in the ledger, "
        f"{max(0, n - before):,} of them new. Next: `{shlex.join(words)}` writes the repaired file."
    )

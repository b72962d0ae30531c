"""`assay report`: the page again, from the JSON that is the truth."""

from __future__ import annotations

from pathlib import Path

import click

from assay.errors import InputError


@click.command(name="report", short_help="Render report.html again from report.json.")
@click.argument("source", metavar="DIR_OR_JSON", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Where the page goes. [default: beside]")
@click.option("--open", "open_page", is_flag=True, help="Open the page in the browser.")
def command(source: Path, out: Path | None, open_page: bool) -> None:
    """Render the page of a report again and print its path.

    \b
    DIR_OR_JSON is a report.json, or the folder that holds one:
      assay report digits-report
      assay report digits-report/report.json --out for-the-board.html --open
    """
    from assay.evidence.page import render, write_text
    from assay.evidence.report import read_report

    page = render(read_report(source))
    data = source / "report.json" if source.is_dir() else source
    target = out or data.with_suffix(".html")
    if target.exists() and target.samefile(data):
        raise InputError(f"The page would overwrite its own source {data}: choose another --out.")
    try:
        write_text(target, page)
    except OSError as error:
        raise InputError(f"The page cannot be written to {target}: {error.strerror}.") from None
    click.echo(target)
    if open_page:
        click.launch(target.resolve().as_uri())

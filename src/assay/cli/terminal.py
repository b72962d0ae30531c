"""What commands do alike in a terminal: a progress bar, errors of the operating system, the result."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from assay.errors import InputError


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Callable[[str, float], None] | None]:
    """One bar on standard error that names the step under way; nothing when piped or quiet."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<32}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, int] = {}

        def report(step: str, done: float) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(step, total=1.0)
            progress.update(tasks[step], completed=done)  # type: ignore[arg-type]

        yield report


@contextmanager
def taught() -> Iterator[None]:
    """What the operating system refuses, such as room on a full disk, as one sentence."""
    try:
        yield
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise InputError(f"The file system refused{where}: {error.strerror or error}.") from error


def show_result(
    report: Path,
    numbers: Callable[[], Mapping[str, Any]],
    summary: Callable[[], str],
    *,
    as_json: bool,
    quiet: bool,
    open_report: bool,
) -> None:
    """Print the numbers as JSON, or the summary and the path of the report; open the report where that is asked for."""
    if as_json:
        click.echo(json.dumps(numbers(), indent=1))
    else:
        if not quiet:
            click.echo(summary())
        click.echo(report)
    if open_report:
        click.launch(str(report))

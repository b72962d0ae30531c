"""`assay ledger`: who said what about which label, when, on what evidence; compare, replay, undo."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from assay.labels.ledger import Event, Ledger


def point(context: click.Context, parameter: click.Parameter, value: str | None) -> int | str | None:
    """Digits are an event's id; all else is left to the ledger, which knows times."""
    del context, parameter
    return int(value) if value is not None and value.isascii() and value.isdigit() else value


where = click.argument("ledger", type=click.Path())
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")


def as_whom(use: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option that says who acts."""
    return click.option("--as", "source", default=getpass.getuser, show_default="login name", help=use)


@click.group(name="ledger", short_help="Who said what about which label, when, on what evidence; replay and undo.")
def command() -> None:
    """Read and correct the history of a data set's labels.

    \b
    LEDGER is the folder NAME.assay that `assay audit` makes, the ledger.db in it, or a team's database,
    postgresql://user:password@host/database?ledger=NAME (the password may stand in PGPASSWORD instead).
      assay ledger log reviews.assay --row 17          all that was said about data row 17
      assay ledger record reviews.assay verdicts.csv   take in a reviewer's decisions
      assay ledger diff reviews.assay                  rows whose label is no longer the file's
      assay ledger replay reviews.assay reviews.csv repaired.csv

    Nothing is ever erased: a change is taken back by `undo`, which is an event too. Output is a table on a terminal,
    and tab-separated lines in a pipe.

    Exit codes: 0 done; 1 `diff` found differences, `verify` found damage; 2 an error.
    """


@command.command()
@where
@click.option("--row", type=int, help="Only this data row, counted from 0.")
@click.option("--source", help="Only what this person or method said.")
@click.option("--kind", help="Only dataset, source, suggestion, verdict, change or undo events.")
@click.option("--since", callback=point, help="Only events after this id, or from this ISO time (UTC) on.")
@click.option("--limit", type=int, help="Only the last so many.")
@as_json
def log(ledger: str, as_json: bool, **which: Any) -> None:
    """List events, oldest first.

    \b
    assay ledger log reviews.assay --source anna --since 2026-10-05
    assay ledger log reviews.assay --kind change --json | jq .after
    """
    with _open(ledger) as opened:
        _events(opened.log(**which), as_json)


@command.command()
@where
@click.argument("row", type=int)
@as_json
def blame(ledger: str, row: int, as_json: bool) -> None:
    """Explain the current label of data row ROW: the events it rests on, oldest first.

    \b
    assay ledger blame reviews.assay 17
    """
    with _open(ledger) as opened:
        _events(opened.blame(row), as_json)


@command.command()
@where
@click.argument("at_a", metavar="[FROM]", callback=point, default="0")
@click.argument("at_b", metavar="[TO]", callback=point, required=False)
@as_json
@click.pass_context
def diff(context: click.Context, ledger: str, at_a: int | str, at_b: int | str | None, as_json: bool) -> None:
    """List the rows whose label differs between two points; exit code 1 when there are any, as diff has it.

    FROM and TO are ids of events or ISO times (UTC); without them, from the original file to now.

    \b
    assay ledger diff reviews.assay
    assay ledger diff reviews.assay 2026-10-05 2026-10-06T12:00
    """
    with _open(ledger) as opened:
        rows = opened.diff(at_a, at_b)
    names = ("row", "row_id", "before", "after")
    found = [{name: getattr(each, name) for name in names} for each in rows]
    _print(found, names, as_json)
    context.exit(1 if found else 0)


@command.command()
@where
@click.argument("original", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--at", callback=point, help="Replay up to this event or ISO time (UTC) only.")
@click.option("--record-as", metavar="NAME", help="Record the result's SHA-256 under this name, for later replays.")
@as_json
def replay(
    ledger: str, original: Path, target: Path, at: int | str | None, record_as: str | None, as_json: bool
) -> None:
    """Write the repaired file TARGET: the ORIGINAL with the labels in force, the same bytes every time.

    The original must have the SHA-256 that the ledger recorded.

    \b
    assay ledger replay reviews.assay reviews.csv repaired.csv --record-as "$USER"
    """
    with _open(ledger) as opened:
        done = opened.replay(original, target, at=at, record_as=record_as)
    said = f"{target}: {done['changed']} labels changed. SHA-256 {done['repaired']}"
    _done(done, said, as_json)


@command.command()
@where
@click.argument("events", type=int, nargs=-1)
@click.option("--source", "of_source", help="Undo everything in force that this source said.")
@click.option("--method", "of_method", help="Undo everything in force that this method said.")
@as_whom("Who undoes.")
@click.option("--note", help="Why.")
@as_json
def undo(
    ledger: str,
    events: Sequence[int],
    of_source: str | None,
    of_method: str | None,
    source: str,
    note: str | None,
    as_json: bool,
) -> None:
    """Take EVENTS back, and the label changes that rest on them. Undoing the undo brings them back.

    \b
    assay ledger undo reviews.assay 41 42 --note "misread"
    assay ledger undo reviews.assay --source ben
    """
    if events and (of_source or of_method):
        raise click.UsageError("Give event ids, or --source and --method, not both.")
    with _open(ledger) as opened:
        ids = opened.undo(events or None, source=source, of_source=of_source, of_method=of_method, note=note)
    numbers = f"event {ids[0]}" if len(ids) == 1 else f"events {ids[0]} to {ids[-1]}"
    _done({"events": ids}, f"{len(ids)} taken back by {numbers}", as_json)


@command.command()
@where
@click.argument("target", type=click.Path(path_type=Path))
@as_json
def export(ledger: str, target: Path, as_json: bool) -> None:
    """Write all events to TARGET, a .jsonl or a .csv file. CSV cells are guarded against spreadsheet formulas.

    \b
    assay ledger export reviews.assay history.jsonl
    """
    with _open(ledger) as opened:
        number = opened.export(target)
    _done({"events": number, "path": str(target)}, f"{target}: {number} events", as_json)


@command.command()
@where
@click.argument("target", type=click.Path())
@as_json
def copy(ledger: str, target: str, as_json: bool) -> None:
    """Copy the history to TARGET, a folder or file or a database: event by event, with their hashes.

    TARGET is made if need be. It must be empty, or hold the beginning of this history; then the rest follows.

    \b
    assay ledger copy reviews.assay "postgresql://anna@db.example.org/labels?ledger=reviews"
    assay ledger copy "postgresql://anna@db.example.org/labels?ledger=reviews" back.assay
    """
    from assay.labels.ledger import Ledger

    with _open(ledger) as opened, Ledger.open(target, create=True) as other:
        number = opened.copy_to(other)
        done = {"events": number, "head": other.head, "path": str(other.path)}
    _done(done, f"{done['path']}: {number} events copied. Head {done['head']}", as_json)


@command.command()
@where
@click.argument("verdicts", type=click.Path(path_type=Path))
@as_json
def record(ledger: str, verdicts: Path, as_json: bool) -> None:
    """Take in the decisions of a CSV file with the columns row (or id), verdict, and label, reviewer, sampled, note.

    A verdict is given, suggested, other (with the right label in `label`), both, neither or skip. Where a majority of a
    row's reviewers in the file accepts another label than the given one, the label is changed. Recording a file again
    adds nothing; a reviewer's new verdict on a row takes the old one back.

    \b
    row,verdict,label,reviewer
    17,suggested,,anna
    23,other,frog,anna

    \b
    assay ledger record reviews.assay verdicts.csv
    """
    from assay.labels.recording import record_verdicts
    from assay.labels.spaces import Space
    from assay.labels.verdicts import read_verdicts

    with _open(ledger) as opened:
        evidence = opened.dataset.evidence
        space = Space(tuple(evidence["classes"])) if "classes" in evidence else None
        row_of = {str(event.row_id): event.row or 0 for event in opened.log(kind="suggestion") if event.row_id}
        read = read_verdicts(verdicts, evidence["n_rows"], space, row_of=row_of)
        done = record_verdicts(read, opened)
    said = (
        f"{done['verdicts']} verdicts recorded, {done['known']} were known; {done['changes']} labels changed, "
        f"{done['undone']} events taken back"
    )
    _done(done, said, as_json)


@command.command()
@where
@click.option("--head", help="A hash noted earlier: check that its event is still there.")
@as_json
@click.pass_context
def verify(context: click.Context, ledger: str, head: str | None, as_json: bool) -> None:
    """Recompute the chain of hashes; exit code 1 when an event was altered or removed.

    Note the head elsewhere: who can write the file could forge the whole chain, but not to a head that you hold.

    \b
    assay ledger verify reviews.assay --head 5f0c...
    """
    with _open(ledger) as opened:
        found = opened.verify(head)
    done = {"events": found.n_events, "head": found.head, "problem": found.problem, "event": found.event}
    _done(done, found.problem or f"{found.n_events} events, whole. Head {found.head}", as_json)
    context.exit(0 if found.problem is None else 1)


def _open(path: str) -> Ledger:
    from assay.labels.ledger import Ledger

    return Ledger.open(path)


def _events(events: Iterable[Event], as_json: bool) -> None:
    names = "id time kind row row_id before after source method evidence derived_from note"
    _print((event.as_dict() for event in events), names.split(), as_json)


def _print(objects: Iterable[dict[str, Any]], names: Sequence[str], as_json: bool) -> None:
    """JSON lines, or the named columns: a table on a terminal, tab-separated lines with a header in a pipe."""
    if as_json:
        for each in objects:
            click.echo(json.dumps(each))
    elif not sys.stdout.isatty():
        click.echo("\t".join(names))
        for each in objects:
            click.echo("\t".join(_cell(each[name]) for name in names))
    else:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        rows = [[_cell(each[name]) for name in names] for each in objects]
        used = [place for place in range(len(names)) if any(row[place] for row in rows)]
        table = Table(*(names[place] for place in used), box=None, header_style="bold")
        for row in rows:
            table.add_row(*(Text(row[place]) for place in used))
        Console().print(table if rows else "Nothing.")


def _cell(value: object) -> str:
    """One cell; what could steer a terminal or break the columns is shown as an escape."""
    if isinstance(value, dict):  # evidence: a verdict's seconds and role, not its digests and its page's key
        value = " ".join(f"{name}={said}" for name, said in value.items() if name != "key" and len(str(said)) <= 32)
    text = "" if value is None else ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _done(facts: dict[str, Any], sentence: str, as_json: bool) -> None:
    click.echo(json.dumps(facts) if as_json else _cell(sentence))

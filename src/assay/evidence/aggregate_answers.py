"""`assay aggregate` for answers that are not classes: numbers, judged pairs, texts.

Each kind has a method of its own, which gives one answer an item and one line a worker; the report and the files are
made alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assay.aggregate.bradley_terry import BradleyTerry
from assay.aggregate.numeric import NumericRaters
from assay.aggregate.text_choice import TextChoice
from assay.errors import InputError
from assay.evidence.aggregate_files import check_folder
from assay.evidence.aggregate_votes import VoteOptions
from assay.evidence.audit_files import as_csv
from assay.evidence.page import write_report
from assay.evidence.report import Column, Fact, Grid, Report, Section
from assay.evidence.results import versions_of
from assay.evidence.shown import number
from assay.labels.formats import files
from assay.labels.formats.delimited import MISSING
from assay.labels.formats.vote_forms import table_of
from assay.labels.preferences import TIE, A, B, Preferences
from assay.labels.ratings import Ratings

Columns = dict[str, npt.NDArray[Any]]
SHOWN = 20
"""Rows of a table in the report; the files hold all."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What the answers came to.

    Parameters
    ----------
    method : name of the method.
    verdict : the finding in a sentence.
    items : a row an item, in the order of the file; `doubtful` says in which order a person should look.
    workers : a row a worker, or None where the file does not say who answered.
    doubtful : numbers of the items `(n,)`, the first to look at first.
    lead : what the table of the items shows.
    facts : the numbers that matter.
    """

    method: str
    verdict: str
    items: Columns
    workers: Columns | None
    doubtful: npt.NDArray[np.int64]
    lead: str
    facts: tuple[Fact, ...]


def numbers(path: Path, options: VoteOptions) -> Answers:
    """One number a task from ratings, by raters who differ in bias and care."""
    task, worker, label = options.task or "task", options.worker, options.label or "label"
    table = _columns(path, (task, worker), (label, options.weight))
    weight = None if options.weight is None else _reals(table, options.weight)
    model = NumericRaters().fit(
        Ratings.from_long(
            table[task].to_pylist(), table[worker].to_pylist(), _reals(table, label, missing=True), weight=weight
        )
    )
    items, rated = model.evidence(), model.n_ratings_ > 0
    spread = float(np.median(items["sd"][rated]))
    return Answers(
        "numeric",
        f"{int(model.n_ratings_.sum()):,} ratings put {int(rated.sum()):,} tasks on one scale, to within "
        f"{number(1.96 * spread)} in the middle case.",
        items,
        model.workers(),
        np.argsort(-items["sd"], kind="stable"),
        "The least certain first: one more rating is worth most there.",
        (
            Fact("Ratings", int(model.n_ratings_.sum()), None, "", f"by {len(model.worker_ids_):,} raters"),
            Fact("Centre", model.centre_, None, "", f"tasks spread by {number(model.spread_)} about it"),
            Fact("Doubt", spread, None, "", "standard deviation of a task's number in the middle case"),
        ),
    )


def pairs(path: Path, options: VoteOptions, items: tuple[str, str]) -> Answers:
    """A score for each item from judged pairs, by judges who may not look."""
    label = options.label or "label"
    table = _columns(path, (*items, label), (options.worker,) if _has(path, options.worker) else ())
    left, right, said = (list(map(str, table[name].to_pylist())) for name in (*items, label))
    names = sorted(set(left) | set(right))
    place = {name: at for at, name in enumerate(names)}
    winner = [_winner(*row, items, at) for at, row in enumerate(zip(left, right, said, strict=True))]
    a, b = (np.array([place[name] for name in column], dtype=np.int64) for column in (left, right))
    found = Preferences(len(names), a, b, np.array(winner, dtype=np.int8))
    who = table[options.worker].to_pylist() if options.worker in table.schema.names else None
    model = BradleyTerry().fit(found, who)
    evidence = model.evidence()
    best = np.array(names, dtype=object)[evidence["item"]]
    return Answers(
        "bradley_terry",
        f"{found.n_rows:,} judged pairs rank {len(names):,} items; {best[0]!r} is first.",
        {**evidence, "item": best, "rank": np.arange(1, len(names) + 1)},
        None if who is None else model.workers(),
        np.arange(len(names)),
        "The best first. A score is the log of an item's strength: a lead of 1 wins 73 % of the pairs.",
        (
            Fact("Judged pairs", found.n_rows, None, "", f"of {len(names):,} items"),
            Fact("Ties", float(np.mean(found.winner == TIE)), None, "%", "each half a win"),
        ),
    )


def texts(path: Path, options: VoteOptions) -> Answers:
    """One text a task: the answer nearest to all others, weighed by how well its writer usually does."""
    task, worker, label = options.task or "task", options.worker, options.label or "label"
    table = _columns(path, (task, worker), (), (label,))
    said = [None if cell is None else str(cell) for cell in table[label].to_pylist()]
    model = TextChoice().fit(table[task].to_pylist(), table[worker].to_pylist(), said)
    items = model.evidence()
    support, n = items["support"], len(items["task"])
    return Answers(
        "text_choice",
        f"{sum(text is not None for text in said):,} answers give {n:,} tasks a text; on {(support < 0.5).sum():,} of "
        "them less than half of the skill wrote the text chosen.",
        items,
        model.workers(),
        np.argsort(np.nan_to_num(-items["distance"], nan=0.0), kind="stable"),
        "Where the answers lie furthest from the text chosen: look there first.",
        (
            Fact("Agreed", float(np.mean(items["n_answers"] == 1)), None, "%", "of the tasks have one answer alone"),
            Fact("Distance", float(np.nanmean(items["distance"])), None, "", "mean distance of answers to the choice"),
        ),
    )


KINDS: dict[str, Callable[..., Answers]] = {"numeric": numbers, "bradley_terry": pairs, "text_choice": texts}
"""What a name of `assay aggregate --method` stands for."""


def save(found: Answers, path: Path, folder: Path, provenance: dict[str, object]) -> Path:
    """Write report, `items.csv` and `workers.csv` into `folder`; returns the path of the report."""
    check_folder(path, folder)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_bytes(folder / "items.csv", as_csv(_plain(found.items)))
    if found.workers is not None:
        files.write_bytes(folder / "workers.csv", as_csv(_plain(found.workers)))
    provenance = {
        "verb": "aggregate",
        "source": path.name,
        "sha256": files.digest(path),
        "method": found.method,
        "versions": versions_of("assay", "numpy"),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        **provenance,
    }
    sections = [Section("What the answers come to", found.lead, (_grid("items.csv", found.items, found.doubtful),))]
    if found.workers is not None:
        order = np.arange(len(found.workers["worker"]))
        lead = "What each worker's answers are worth beside those of the others."
        sections.append(Section("Workers", lead, (_grid("workers.csv", found.workers, order),)))
    report = Report(
        title=f"What the answers of {path.name} come to",
        verdict=found.verdict,
        facts=found.facts,
        sections=tuple(sections),
        provenance=provenance,
        numbers={"method": found.method, **{fact.label.lower(): fact.value for fact in found.facts}},
    )
    return write_report(report, folder)


def _grid(name: str, columns: Columns, order: npt.NDArray[np.int64]) -> Grid:
    shown = _plain(columns)
    rows = tuple(tuple(_cell(shown[key][at]) for key in shown) for at in order[:SHOWN].tolist())
    note = f"{name} holds all {len(order):,} rows." if len(order) > SHOWN else ""
    return Grid(f"{min(SHOWN, len(order))} rows", tuple(Column(key.replace("_", " ")) for key in shown), rows, note)


def _cell(value: Any) -> str | int | float | None:
    return value if value is None or isinstance(value, int | float) else str(value)


def _plain(columns: Columns) -> dict[str, list[Any]]:
    """Columns as Python values, None where there is no number."""
    return {name: [None if cell != cell else cell for cell in column.tolist()] for name, column in columns.items()}


def _has(path: Path, column: str) -> bool:
    return column in table_of(path, MISSING, ())[0].schema.names


def _columns(path: Path, needed: Sequence[str], more: Sequence[str | None], text: Sequence[str] = ()) -> pa.Table:
    """The table, with every column that is asked for; cells of the `needed` ones must not be empty.

    The columns `needed` and `text` are read as text.
    """
    table, told = table_of(path, MISSING, [*needed, *text])
    for name in (*needed, *text, *(name for name in more if name is not None)):
        files.require_column(name, table.schema.names, told)
    if not table.num_rows:
        raise InputError(f"{told} has columns but no rows.")
    for name in needed:
        empty = np.flatnonzero(table[name].is_null().to_numpy())
        if empty.size:
            raise InputError(f"Column {name!r} of {told} has an empty cell.", row=int(empty[0]))
    return table


def _reals(table: pa.Table, name: str, missing: bool = False) -> npt.NDArray[np.float64]:
    """A column of numbers (v,); NaN for an empty cell where those may be `missing`."""
    try:
        column = table[name].cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise InputError(f"Column {name!r} must hold numbers: {error}.") from None
    odd = np.flatnonzero(~np.isfinite(column) & ~(table[name].is_null().to_numpy() & missing))
    if odd.size:
        raise InputError(f"Column {name!r} must hold finite numbers.", row=int(odd[0]))
    return np.asarray(column, dtype=np.float64)


def _winner(left: str, right: str, said: str, items: tuple[str, str], row: int) -> int:
    """Who won: told by the name of the item, the name of its column, or a tie."""
    if said in (left, items[0]):
        return A
    if said in (right, items[1]):
        return B
    if said.lower() in ("tie", "draw", "equal", "both"):
        return TIE
    raise InputError(f"The winner is {left!r}, {right!r}, {items[0]}, {items[1]} or tie, got {said!r}.", row=row)

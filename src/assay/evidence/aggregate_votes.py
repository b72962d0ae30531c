"""Where the votes of `assay aggregate` come from: long tables, wide ones, counts, and the exports of other tools."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from assay.errors import InputError
from assay.labels import Hard, Space, Votes
from assay.labels.formats import files
from assay.labels.formats.vote_exports import read_argilla, read_label_studio, read_peerannot
from assay.labels.formats.vote_forms import MISSING, VotesAndGold, read_votes, table_of
from assay.labels.spaces import name_of

LARGEST_COUNT = 10_000
"""More votes for one class on one task are a slip of the pen."""
ANYONE = "anyone"
"""The one worker of votes that do not say whose they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteOptions:
    """How to read the votes.

    Parameters
    ----------
    task, worker, label : columns of a long table, one vote a row. For JSON exports `label` names the question.
    gold : column with the known class, or None.
    weight, time : columns of numbers, or None.
    workers : columns of a wide table, one a worker, one task a row; empty for a long table.
    counts : columns that hold the votes for the class they are named by, one task a row; empty for a long table.
    classes : class names in order; None means the values seen.
    tasks : table with what was voted on, one row a task, found by the column `task`, or `id`.
    """

    task: str | None = None
    worker: str = "worker"
    label: str | None = None
    gold: str | None = None
    weight: str | None = None
    time: str | None = None
    workers: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    classes: tuple[str, ...] | None = None
    tasks: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteSource:
    """Votes, and what is known about their tasks.

    Parameters
    ----------
    path, digest : the file and its SHA-256.
    votes : the votes on n tasks.
    gold : known classes, one row a task, or None.
    contents : what was voted on, one row a task in the order of the votes, or None where the file does not say.
    described : the file that holds the contents; paths of pictures lie below its folder.
    """

    path: Path
    digest: str
    votes: Votes
    gold: Hard | None
    contents: pa.Table | None
    described: Path | None = None

    @property
    def anonymous(self) -> bool:
        """Whether nothing is known about who voted."""
        return bool(self.votes.worker_ids.tolist() == [ANYONE])


def read_source(path: Path, options: VoteOptions) -> VoteSource:
    """Read the votes as the options say.

    Raises
    ------
    InputError : a missing file, column or id, an unknown class, two gold classes of a task; names the first row.
    """
    space = None if options.classes is None else Space(options.classes)
    contents = None
    if options.counts and options.workers:
        raise InputError("--counts and --workers exclude each other: counts do not say who voted.")
    if files.suffix_of(path) == ".json":
        found = read_export(path, options.label)
    elif options.counts or options.workers:
        found, contents = read_wide(path, options, space)
    else:
        found = read_votes(
            path,
            task=options.task or "task",
            worker=options.worker,
            label=options.label or "label",
            gold=options.gold,
            weight=options.weight,
            time=options.time,
            space=space,
        )
    if not found.votes.n_votes:
        raise InputError(f"{path.name} holds no vote: every answer is empty.")
    if found.votes.space.n_classes < 2:
        raise InputError(
            f"Every vote in {path.name} is for {found.votes.space.names[0]!r}: there is nothing to weigh. "
            "Name the other classes with --classes."
        )
    if options.tasks is not None:
        contents = read_contents(options.tasks, options.task, found.votes)
    return VoteSource(
        path=path,
        digest=files.digest(path),
        votes=found.votes,
        gold=found.gold,
        contents=contents,
        described=None if contents is None else options.tasks or path,
    )


def read_export(path: Path, question: str | None) -> VotesAndGold:
    """Read a JSON export of peerannot, Label Studio or Argilla, told apart by what it holds."""
    files.require_file(path)
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path.name} is not JSON ({error}).") from None
    if isinstance(held, dict):
        return read_peerannot(path)
    first = held[0] if isinstance(held, list) and held and isinstance(held[0], dict) else {}
    if "annotations" in first:
        return read_label_studio(held, question)
    if "responses" in first:
        if question is None:
            raise InputError(f"{path.name} is an Argilla export: name the question with --label.")
        return read_argilla(held, question)
    raise InputError(f"{path.name} is no export of peerannot, Label Studio or Argilla: give a table of votes.")


def read_wide(path: Path, options: VoteOptions, space: Space | None) -> tuple[VotesAndGold, pa.Table]:
    """Read a table with one task a row: a column a worker, or a column of counts a class; and its other columns."""
    answers = options.counts or options.workers
    text = [name for name in (options.task, options.gold, *options.workers) if name is not None]
    table, told = table_of(path, MISSING, text)
    for name in (*answers, *(name for name in (options.task, options.gold) if name is not None)):
        files.require_column(name, table.schema.names, told)
    if not table.num_rows:
        raise InputError(f"{told} has columns but no rows.")
    ids = list(range(table.num_rows)) if options.task is None else table[options.task].to_pylist()
    if len(set(ids)) < len(ids):
        row = int(np.setdiff1d(np.arange(len(ids)), np.unique(np.array(ids), return_index=True)[1])[0])
        raise InputError(f"Task {ids[row]!r} comes twice; a table with a column a vote has one row a task.", row=row)
    gold = None if options.gold is None else table[options.gold].to_pylist()
    if options.counts:
        space = space or Space(options.counts)
        n_votes = np.stack([counted(table[name], name) for name in options.counts], axis=1)
        cell = np.repeat(np.arange(n_votes.size), n_votes.ravel())
        order = space.permutation(Space(options.counts))
        label = np.argsort(order)[cell % n_votes.shape[1]]
        task, worker, who = cell // n_votes.shape[1], np.zeros(len(cell), np.int64), np.array([ANYONE])
        votes = Votes(space, task, worker, label, np.array(ids), who)
    else:
        said = [cell for name in options.workers for cell in table[name].to_pylist()]
        space = space or Space.from_values(value for value in [*said, *(gold or ())] if name_or_none(value) is not None)
        labels = Hard.from_values([name_or_none(value) for value in said], space)
        task, worker = np.tile(np.arange(len(ids)), len(answers)), np.repeat(np.arange(len(answers)), len(ids))
        cast = labels.present
        votes = Votes(space, task[cast], worker[cast], labels.y[cast], np.array(ids), np.array(options.workers))
    known = None if gold is None else Hard.from_values([name_or_none(value) for value in gold], space)
    # The votes and what is known of the truth would give the label away to a model that is trained on the table.
    shown = [name for name in table.schema.names if name not in (*answers, options.gold)]
    return VotesAndGold(votes, known), table.select(shown)


def name_or_none(value: object) -> str | None:
    """The class that a cell names; None for an empty one."""
    return None if value is None or value != value or value in MISSING else name_of(value)


def counted(column: pa.ChunkedArray, name: str) -> Any:
    """Votes for a class `(n,)`, whole numbers; an empty cell is none."""
    try:
        numbers = column.cast(pa.float64()).fill_null(0.0).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(f"Column {name!r} must hold numbers of votes.") from None
    wrong = np.flatnonzero(~((numbers >= 0) & (numbers % 1 == 0) & (numbers <= LARGEST_COUNT)))
    if wrong.size:
        row = int(wrong[0])
        raise InputError(f"Column {name!r} must hold numbers of votes, got {numbers[row]:g}.", row=row)
    return numbers.astype(np.int64)


def read_contents(path: Path, task: str | None, votes: Votes) -> pa.Table:
    """What was voted on, one row a task in the order of the votes; tasks that the table lacks have empty cells."""
    keys = [name for name in (task, "task", "id") if name is not None]
    table, told = table_of(path, (), keys)
    wanted = [name_of(value) for value in votes.task_ids.tolist()]
    known = set(wanted)
    columns = {name: list(map(name_of, table[name].to_pylist())) for name in keys if name in table.schema.names}
    if not columns:
        files.require_column(keys[0], table.schema.names, told)
    # A column "task" may say what kind of task it is: the key is the column that knows the tasks.
    key = max(columns, key=lambda name: len(known.intersection(columns[name])))
    place: dict[str, int] = {}
    for row, value in enumerate(columns[key]):
        if place.setdefault(value, row) != row and value in known:
            raise InputError(f"Task {value!r} comes twice in {told}: give one row a task.", row=row)
    rows = [place.get(value) for value in wanted]
    if all(row is None for row in rows):
        raise InputError(
            f"No task of the votes is in column {key!r} of {told}: the votes name {wanted[0]!r}, the table "
            f"{next(iter(place), 'nothing')!r}."
        )
    return table.take(pa.array(rows, pa.int64()))

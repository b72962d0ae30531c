"""The verb `learn` on tags of which only confirmed ones were recorded: what nobody tagged is unknown, not absent."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assay.errors import InputError, require
from assay.evidence.audit_options import AuditOptions, Progress
from assay.evidence.learn_network_model import NetworkModel
from assay.evidence.learn_reader import fit_reader, is_text
from assay.evidence.learn_rows import names_of, read_new_rows, read_rows
from assay.evidence.learn_tags_report import build
from assay.evidence.report import Report
from assay.evidence.shown import number
from assay.kernels.intervals import wilson
from assay.labels import Tags
from assay.labels.spaces import Kind, Space
from assay.labels.tables import LabelledTable

Floats = npt.NDArray[np.float64]

PRESENT: dict[Any, int] = {True: 1, False: 0, "true": 1, "false": 0, "yes": 1, "no": 0, "": 0, None: 0}
SEPARATORS = ";|,"
"""Of the tags in one cell; the first of them that occurs in the column."""


@dataclass(frozen=True, kw_only=True)
class TagOptions:
    """How to read tags and how to train.

    Parameters
    ----------
    tags : columns, one for each tag, true where it was confirmed; or one column with a list of tags in each cell.
    epochs : passes over the rows; None for the method's own.
    reading : how to read the data; its seed is that of everything random.
    """

    tags: tuple[str, ...]
    epochs: int | None = None
    reading: AuditOptions = field(default_factory=AuditOptions)


@dataclass(frozen=True, slots=True)
class TestTags:
    """Chances (m, k) of the tags of other rows, what names the rows, and of the confirmed ones how many are found."""

    names: list[Any]
    p: Floats
    found: tuple[float, float, float, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedTags:
    """What was trained, and what it says of the tags.

    Parameters
    ----------
    table, tags, options : what was read, and how.
    model : the trained model with its reader.
    told : of every tag: confirmed rows, prior, alarm; see `PositiveMultilabel.evidence`.
    suspects : cells that were not confirmed and probably should be, the likeliest first.
    history : of the training.
    test : predictions for other rows; None where there are none.
    warnings : what makes the numbers doubtful.
    """

    table: LabelledTable
    tags: Tags
    options: TagOptions
    model: NetworkModel
    told: dict[str, npt.NDArray[Any]]
    suspects: dict[str, npt.NDArray[Any]]
    test: TestTags | None
    warnings: tuple[str, ...]

    def report(self, folder: Path, provenance: dict[str, object]) -> Report:
        """The page about it."""
        return build(self, folder, provenance)

    def save_model(self, folder: Path) -> None:
        """Write what is needed to predict."""
        self.model.save(folder)

    def predictions(self) -> Mapping[str, Any] | None:
        """Of the test rows."""
        return None if self.test is None else answers(self.test.names, self.test.p, self.model.names)

    def columns(self) -> dict[str, Any]:
        """The tags that were probably missed, the likeliest first; the form of evidence.csv."""
        rows = self.suspects["row"]
        ids = {} if self.table.ids is None else {"id": self.table.ids.take(rows).to_pylist()}
        return {"row": rows, **ids, "tag": self.suspects["tag"], "probability": self.suspects["probability"]}

    def verdict(self) -> str:
        """The finding in a sentence."""
        n, k, confirmed = self.table.n_rows, len(self.model.names), int(self.told["confirmed"].sum())
        told = f"A model of {k:,} tags, learned from {confirmed:,} confirmed ones on {n:,} rows: "
        return told + f"{len(self.suspects['row']):,} more were probably missed."

    def summary(self) -> str:
        """A few lines for a terminal."""
        lines = [self.verdict()]
        if self.test is not None and self.test.found is not None:
            share, low, high, m = self.test.found
            lines.append(f"  On the test rows it finds {number(share, '%', (low, high))} of {m:,} confirmed tags.")
        return "\n".join(lines + [f"Warning: {warning}" for warning in self.warnings])

    def numbers(self) -> dict[str, Any]:
        """The numbers of the run, for machines."""
        plain = {name: values.tolist() for name, values in self.told.items() if name != "tag"}
        by_tag = {str(tag): {name: plain[name][at] for name in plain} for at, tag in enumerate(self.told["tag"])}
        return {
            "rows": self.table.n_rows,
            "tags": by_tag,
            "missed": len(self.suspects["row"]),
            "test_found": None if self.test is None or self.test.found is None else list(self.test.found),
            "warnings": list(self.warnings),
        }


def answers(names: list[Any], p: Floats, tags: tuple[str, ...]) -> dict[str, Any]:
    """Predictions as columns: the tags that are likelier than not, and the chance of each."""
    likely = ["; ".join(tag for tag, has in zip(tags, row, strict=True) if has) for row in p > 0.5]
    return {"row": names, "tags": likely, **{f"p_{tag}": p[:, at] for at, tag in enumerate(tags)}}


def read_tags(table: pa.Table, space: Space | None = None) -> Tags:
    """Confirmed tags from their columns (or the one column of lists); tags outside of a given space are left out."""
    names, first = table.column_names, table.column(0)
    kind = first.type
    if len(names) == 1 and (is_text(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        cells = first.to_pylist()
        if is_text(kind):
            mark = next((mark for mark in SEPARATORS if any(mark in cell for cell in cells if cell)), SEPARATORS[0])
            cells = [[tag.strip() for tag in (cell or "").split(mark)] for cell in cells]
        lists = [[str(tag) for tag in cell or () if tag not in (None, "")] for cell in cells]
        if space is not None:
            lists = [[tag for tag in tags if tag in space.names] for tags in lists]
        return Tags.from_lists(lists, space, positive_only=True)
    columns = []
    for name in names:
        if pa.types.is_nested(table[name].type):
            raise InputError(f"Column {name!r} holds lists: name it alone, or one column for each tag.")
        cells = [cell.strip().lower() if isinstance(cell, str) else cell for cell in table[name].to_pylist()]
        marks = [PRESENT.get(cell) for cell in cells]
        if None in marks:
            row = marks.index(None)
            raise InputError(
                f"Column {name!r} must say whether the tag was confirmed, true or false, 1 or 0; got {cells[row]!r}.",
                row=row,
            )
        columns.append(marks)
    y = np.array(columns, dtype=np.int8).T
    return Tags(space or Space(tuple(names), Kind.MULTILABEL), y, positive_only=True)


def found_of(tags: Tags, p: Floats) -> tuple[float, float, float, int] | None:
    """Share of confirmed tags that are likelier than not, its 95 % bounds, and how many there are."""
    hits = (p > 0.5)[tags.y == 1]
    if not len(hits):
        return None
    low, high = wilson(int(hits.sum()), len(hits))
    return float(hits.mean()), float(low), float(high), len(hits)


def read_new(
    path: Path | None, model: NetworkModel, embeddings: npt.ArrayLike | Path | None
) -> tuple[list[Any], npt.NDArray[Any], Tags | None]:
    """Names of other rows, the rows as numbers, and their tags where they have some."""
    rows, aside = None, None
    if path is not None:
        rows, aside = read_new_rows(path, model.reader, model.aside, model.id)
    X = model.reader.read(rows, embeddings)
    space = Space(model.names, Kind.MULTILABEL)
    return names_of(rows, len(X)), X, None if aside is None else read_tags(aside, space)


def learn_tags(
    source: Any,
    options: TagOptions,
    *,
    test: Path | None = None,
    embeddings: npt.ArrayLike | Path | None = None,
    test_embeddings: npt.ArrayLike | Path | None = None,
    progress: Progress | None = None,
) -> LearnedTags:
    """Train a network on tags of which only confirmed ones count.

    Parameters
    ----------
    source : path or frame.
    options : how to read it and how to train.
    test : other rows to predict; of their confirmed tags, if they have any, is told how many are found.
    embeddings, test_embeddings : feature vectors (n, d) of your own, or their file, for both.
    progress : called as `progress(step, share done)`.

    Raises
    ------
    InputError : before anything is trained, for anything wrong with the input.
    """
    require("torch", "deep", "Training networks")
    from assay.learn.positive_multilabel import PositiveMultilabel

    tell, reading = progress or (lambda _step, _done: None), options.reading
    tell("reading", 0.0)
    table, aside = read_rows(source, reading, options.tags)
    tags = read_tags(aside)
    if not tags.space.n_classes:
        raise InputError(f"No row has a tag in column {options.tags[0]!r}: there is nothing to learn.")
    for name, count in zip(tags.space.names, tags.counts().tolist(), strict=True):
        if count == 0:
            raise InputError(f"The tag {name!r} is confirmed in no row: it can't be learned. Confirm some, or drop it.")
    tell("reading", 1.0)
    reader, features, X = fit_reader(table, reading, embeddings, lambda done: tell("computing features", done))
    model = NetworkModel(
        kind="tags", reader=reader, names=tags.space.names, aside=options.tags, id=table.id,
        network=None, mean=np.zeros(0), scale=np.zeros(0), shift=np.zeros(0),
    )  # fmt: skip
    new = None if test is None and test_embeddings is None else read_new(test, model, test_embeddings)
    tell("training", 0.0)
    usual = PositiveMultilabel.default_recipe
    recipe = None if options.epochs is None else replace(usual, epochs=options.epochs)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        fitted = PositiveMultilabel(recipe=recipe, random_state=reading.seed).fit(X, tags)
    tell("training", 1.0)
    model = replace(
        model, network=fitted.network_.cpu().eval(), mean=fitted.mean_, scale=fitted.scale_, shift=fitted.shift_
    )
    told = fitted.evidence()
    judged = None
    if new is not None:
        p = model.predict_proba(new[1])
        judged = TestTags(new[0], p, None if new[2] is None else found_of(new[2], p))
    return LearnedTags(
        table=table,
        tags=tags,
        options=options,
        model=model,
        told=told["tags"],
        suspects=told["suspects"],
        test=judged,
        warnings=(*features.warnings, *(str(each.message) for each in caught if each.category is UserWarning)),
    )

"""The verb `learn` on bags: rows of which only the share of each class in groups of them is known."""

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
from assay.evidence.learn_bags_report import build
from assay.evidence.learn_network_model import NetworkModel
from assay.evidence.learn_reader import fit_reader
from assay.evidence.learn_rows import names_of, read_new_rows, read_rows
from assay.evidence.report import Report
from assay.evidence.shown import number
from assay.labels.formats import files
from assay.labels.formats.bags import Bags, read_bags
from assay.labels.tables import LabelledTable, raw_table
from assay.learn.label_proportions import LabelProportions

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class BagOptions:
    """How to read bags and how to train.

    Parameters
    ----------
    bags : column with the bag of each row; empty for a row in none.
    proportions : file with the same column, and one of shares, or one for each class with shares or counts.
    epochs : passes over the rows; None for the method's own.
    reading : how to read the data; its seed is that of everything random.
    """

    bags: str
    proportions: Path
    epochs: int | None = None
    reading: AuditOptions = field(default_factory=AuditOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedBags:
    """What was trained, and what it says of rows and bags.

    Parameters
    ----------
    table, bags, options : what was read, and how.
    model : the trained model with its reader.
    fitted : the method as fitted.
    test : what names other rows, and the chances (m, k) of their classes; None where there are none.
    warnings : what makes the numbers doubtful.
    """

    table: LabelledTable
    bags: Bags
    options: BagOptions
    model: NetworkModel
    fitted: LabelProportions
    test: tuple[list[Any], Floats] | None
    warnings: tuple[str, ...]

    @property
    def off(self) -> Floats:
        """How far the chances of the rows are from the counts of each bag, as a share of its rows (b,)."""
        return np.asarray(self.fitted.bag_residuals_ / self.bags.sizes)

    def report(self, folder: Path, provenance: dict[str, object]) -> Report:
        """The page about it."""
        return build(self, folder, provenance)

    def save_model(self, folder: Path) -> None:
        """Write what is needed to predict."""
        self.model.save(folder)

    def predictions(self) -> Mapping[str, Any] | None:
        """Of the test rows."""
        return None if self.test is None else answers(*self.test, self.model.names)

    def columns(self) -> dict[str, Any]:
        """What is known of every row, the least certain first; the form of evidence.csv."""
        told = self.fitted.evidence()
        rows = np.argsort(told["confidence"], kind="stable")
        ids = {} if self.table.ids is None else {"id": self.table.ids.take(rows).to_pylist()}
        bag = np.full(len(rows), "", dtype=object)
        bag[self.bags.members] = np.array(self.bags.names, dtype=object)[self.bags.bag_of]
        off = [None if np.isnan(value) else value for value in told["bag_residual"][rows].tolist()]
        return {
            "row": rows,
            **ids,
            "bag": bag[rows],
            "suggested": told["suggested"][rows],
            "confidence": told["confidence"][rows],
            "bag_residual": off,
        }

    def verdict(self) -> str:
        """The finding in a sentence."""
        n, b = self.table.n_rows, len(self.bags.names)
        told = f"A model of {n:,} rows of which only the shares of {b:,} bags are known"
        held = self.held_out_error
        return told + ("." if held is None else f": it misses the shares of bags held out by {number(held, '%')}.")

    @property
    def held_out_error(self) -> float | None:
        """Mean error of a predicted share in bags held out, by the round that was taken; None where none was."""
        error: float | None = next(entry["held_out_error"] for entry in self.fitted.rounds_ if entry["chosen"])
        return error

    def summary(self) -> str:
        """A few lines for a terminal."""
        settled = "settled" if self.fitted.converged_ else "did not settle"
        lines = [
            self.verdict(),
            f"  Belief propagation {settled} after {self.fitted.n_sweeps_} sweeps; "
            f"the rows of a bag miss its counts by {number(float(self.off.mean()), '%')} on average.",
        ]
        return "\n".join(lines + [f"Warning: {warning}" for warning in self.warnings])

    def numbers(self) -> dict[str, Any]:
        """The numbers of the run, for machines."""
        return {
            "rows": self.table.n_rows,
            "bags": len(self.bags.names),
            "bag_sizes": [int(self.bags.sizes.min()), int(np.median(self.bags.sizes)), int(self.bags.sizes.max())],
            "rows_in_no_bag": int(self.table.n_rows - len(np.unique(self.bags.members))),
            "classes": list(self.model.names),
            "base_rate": self.bags.base_rate.tolist(),
            "converged": bool(self.fitted.converged_),
            "sweeps": int(self.fitted.n_sweeps_),
            "rounds": self.fitted.rounds_,
            "residual": float(self.off.mean()),
            "largest_residual": float(self.off.max()),
            "mean_confidence": float(self.fitted.marginals_.max(axis=1).mean()),
            "warnings": list(self.warnings),
        }


def answers(names: list[Any], p: Floats, classes: tuple[str, ...]) -> dict[str, Any]:
    """Predictions as columns: the class, and the chance of each."""
    top = np.array(classes, dtype=object)[p.argmax(axis=1)]
    return {"row": names, "label": top.tolist(), **{f"p_{name}": p[:, at] for at, name in enumerate(classes)}}


def read_proportions(path: Path, column: str) -> tuple[dict[str, list[float]], tuple[str, ...]]:
    """Shares or counts by bag, and the names of the classes.

    One column beside that of the bags holds the share of the class that it is named after; several, one for each class,
    hold shares or counts.
    """
    table = raw_table(path, as_text=(column,))
    files.require_column(column, table.schema.names, path.name)
    names = [name for name in table.schema.names if name != column]
    if not names:
        raise InputError(f"{path.name} names bags and no share of any: add a column, such as the share of a class.")
    keys, seen = table[column].cast(pa.string()).to_pylist(), set[str]()
    for row, key in enumerate(keys):
        if key is None or key in seen:
            raise InputError(f"{path.name}: bag {key!r} is {'missing' if key is None else 'named twice'}.", row=row)
        seen.add(key)
    cells = [table[name].to_pylist() for name in names]
    for name, column_cells in zip(names, cells, strict=True):
        for row, cell in enumerate(column_cells):
            if cell is None or isinstance(cell, str | bool):
                raise InputError(f"{path.name}: column {name!r} must hold shares or counts, got {cell!r}.", row=row)
    classes = (f"not {names[0]}", names[0]) if len(names) == 1 else tuple(names)
    return dict(zip(keys, map(list, zip(*cells, strict=True)), strict=True)), classes


def learn_bags(
    source: Any,
    options: BagOptions,
    *,
    test: Path | None = None,
    embeddings: npt.ArrayLike | Path | None = None,
    test_embeddings: npt.ArrayLike | Path | None = None,
    progress: Progress | None = None,
) -> LearnedBags:
    """Train a classifier of single rows on the shares of the classes in bags of rows.

    Parameters
    ----------
    source : path or frame.
    options : how to read it, and the proportions.
    test : other rows to predict.
    embeddings, test_embeddings : feature vectors (n, d) of your own, or their file, for both.
    progress : called as `progress(step, share done)`.

    Raises
    ------
    InputError : before anything is trained, for anything wrong with the input.
    """
    require("torch", "deep", "Training networks")
    from assay.training.deep.bags import RECIPE

    tell, reading = progress or (lambda _step, _done: None), options.reading
    tell("reading", 0.0)
    table, aside = read_rows(source, reading, (options.bags,))
    proportions, classes = read_proportions(options.proportions, options.bags)
    bag_of = aside[options.bags].cast(pa.string()).to_pylist()
    bags = read_bags(bag_of, proportions, classes)
    tell("reading", 1.0)
    reader, features, X = fit_reader(table, reading, embeddings, lambda done: tell("computing features", done))
    new = None
    if test is not None or test_embeddings is not None:
        rows = None if test is None else read_new_rows(test, reader, (options.bags,), table.id)[0]
        Z = reader.read(rows, test_embeddings)
        new = names_of(rows, len(Z)), Z
    tell("training", 0.0)
    recipe = None if options.epochs is None else replace(RECIPE, epochs=options.epochs)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        fitted = LabelProportions(recipe=recipe, random_state=reading.seed)
        fitted.fit(X, bag_of, proportions, classes)
    tell("training", 1.0)
    model = NetworkModel(
        kind="bags", reader=reader, names=classes, aside=(options.bags,), id=table.id,
        network=fitted.learner_.run.model, mean=fitted.mean_, scale=fitted.scale_, shift=np.zeros(len(classes)),
    )  # fmt: skip
    return LearnedBags(
        table=table,
        bags=bags,
        options=options,
        model=model,
        fitted=fitted,
        test=None if new is None else (new[0], model.predict_proba(new[1])),
        warnings=(*features.warnings, *(str(each.message) for each in caught if each.category is UserWarning)),
    )

"""Predictions of new rows by a model of any kind that `assay learn` left."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from assay.errors import InputError
from assay.evidence.learn_censored_task import order_of
from assay.evidence.learn_censored_task import read_new as read_new_durations
from assay.evidence.learn_duration_model import KIND as DURATIONS
from assay.evidence.learn_duration_model import DurationModel
from assay.evidence.learn_files import write_predictions
from assay.evidence.learn_folder import write_columns
from assay.evidence.learn_model import FILE, load_model, predicted, read_test
from assay.evidence.learn_network_model import NetworkModel
from assay.evidence.learn_rows import names_of, read_new_rows
from assay.evidence.shown import number


@dataclass(frozen=True, slots=True)
class Answers:
    """Predictions: how they are written, and how they fit labels that stand beside the rows."""

    write: Callable[[Path], None]
    sentence: str | None = None


def predict(folder: Path, new: Path | None, embeddings: Path | None) -> Answers:
    """What the model in `folder` says of the rows of `new`, or of their embeddings."""
    if not (folder / FILE).exists():
        raise InputError(f"{folder} holds no model: name the folder that `assay learn` wrote.")
    try:
        kind = json.loads((folder / FILE).read_text(encoding="utf-8")).get("kind")
    except (ValueError, AttributeError):
        kind = None  # the reader of classes says what is wrong with it
    return PREDICT.get(kind, _classes)(folder, new, embeddings)


def _classes(folder: Path, new: Path | None, embeddings: Path | None) -> Answers:
    model = load_model(folder)
    found = predicted(model, *read_test(new, model, embeddings))
    told = None
    if found.accuracy is not None:
        share, low, high, m = found.accuracy
        told = f"The model agrees with {number(share, '%', (low, high))} of {m:,} labels."
    return Answers(lambda path: write_predictions(found, model.space, path), told)


def _durations(folder: Path, new: Path | None, embeddings: Path | None) -> Answers:
    model = DurationModel.load(folder)
    names, X, labels = read_new_durations(new, model, embeddings)
    said, told = model.predict(X), None
    order = None if labels is None else order_of(labels, said)
    if order is not None:
        told = f"The model orders {number(order.value, '%', (order.low, order.high))} of the comparable pairs rightly."
    return Answers(lambda path: write_columns({"row": names, model.asked: said}, path), told)


def _bags(folder: Path, new: Path | None, embeddings: Path | None) -> Answers:
    from assay.evidence.learn_bags import answers

    model = NetworkModel.load(folder)
    rows = None if new is None else read_new_rows(new, model.reader, model.aside, model.id)[0]
    X = model.reader.read(rows, embeddings)
    told = answers(names_of(rows, len(X)), model.predict_proba(X), model.names)
    return Answers(lambda path: write_columns(told, path))


def _tags(folder: Path, new: Path | None, embeddings: Path | None) -> Answers:
    from assay.evidence.learn_tags import answers, found_of, read_new

    model = NetworkModel.load(folder)
    names, X, tags = read_new(new, model, embeddings)
    p, told = model.predict_proba(X), None
    found = None if tags is None else found_of(tags, p)
    if found is not None:
        share, low, high, m = found
        told = f"The model finds {number(share, '%', (low, high))} of {m:,} confirmed tags."
    return Answers(lambda path: write_columns(answers(names, p, model.names), path), told)


PREDICT = {DURATIONS: _durations, "bags": _bags, "tags": _tags}

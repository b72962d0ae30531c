"""Held-out probabilities for an audit: the user's own, or cross-validated here, or kept from an earlier run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assay import __version__
from assay.errors import InputError
from assay.evidence.audit_options import AuditOptions, Progress
from assay.labels.formats import arrays, files
from assay.labels.media import is_string
from assay.labels.probabilities import read_probabilities
from assay.labels.tables import LabelledTable
from assay.training.features import Features, default_model, embedding_features
from assay.training.out_of_fold import out_of_fold


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """Held-out probabilities `(n, k)` and what they are worth.

    Parameters
    ----------
    pred_probs : `(n, k)` in the order of the classes.
    origin : "cross-validated", or "given".
    model : what made them, for the reader.
    accuracy : agreement with the labels as given, on rows that have one.
    features : what the model read; None for given probabilities and for kept ones.
    notes : what was done to the columns.
    warnings : what needs a decision.
    key : fingerprint of the data and options behind cross-validated probabilities; "" when they cannot be kept.
    """

    pred_probs: npt.NDArray[Any]
    origin: str
    model: str
    accuracy: float
    features: Features | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    key: str = ""

    def rival(self, rows: npt.NDArray[np.int64], y: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int32]:
        """The likeliest class of each of the `rows` `(m,)` other than its class in `y` `(m,)`."""
        best = np.empty(len(rows), dtype=np.int32)
        for start in range(0, len(rows), 65536):
            here = slice(start, start + 65536)
            block = np.array(self.pred_probs[rows[here]], dtype=np.float64)
            block[np.arange(len(block)), y[here]] = -np.inf
            best[here] = block.argmax(axis=1)
        return best


def predict(
    table: LabelledTable,
    options: AuditOptions,
    pred_probs: npt.ArrayLike | Path | None,
    embeddings: npt.ArrayLike | Path | None,
    cache: Path | None,
    tell: Progress,
) -> Predictions:
    """Held-out probabilities of every row."""
    labels = table.labels
    if pred_probs is not None:
        given = read_probabilities(pred_probs, labels.space) if isinstance(pred_probs, Path) else np.asarray(pred_probs)
        if given.shape != (table.n_rows, labels.space.n_classes):
            raise InputError(
                f"The probabilities have shape {given.shape}, expected {(table.n_rows, labels.space.n_classes)}: a row "
                "for each row of the table, and a column for each class. Name the classes in order with --classes."
            )
        if (given < 0).any():
            raise InputError(
                "Some probabilities are negative; between 0 and 1 is expected: give the exp of log-probabilities, the "
                "softmax of logits.",
                row=int((given < 0).any(axis=1).argmax()),
            )
        right = np.asarray(given.argmax(axis=1)) == labels.y
        return Predictions(
            pred_probs=given, origin="given", model="your own", accuracy=float(right[labels.present].mean())
        )
    key = fingerprint(table, options, embeddings)
    kept = load(cache, key)
    if kept is not None:
        tell("cross-validating", 1.0)
        return kept
    tell("computing features", 0.0)
    features = read_features(table, options, embeddings, lambda done: tell("computing features", done))
    tell("computing features", 1.0)
    groups = None
    if options.groups is not None:
        if options.groups not in table.columns.column_names:
            raise InputError(f"There is no column {options.groups!r} to group by: {table.columns.column_names}.")
        missing = table.columns[options.groups].is_null().to_numpy()
        if missing.any():
            raise InputError(
                f"Column {options.groups!r} has no group: give such rows one of their own.", row=int(missing.argmax())
            )
        groups = np.unique(np.array(table.columns[options.groups].to_pylist(), dtype=str), return_inverse=True)[1]
    model = default_model(features.media, table.n_rows, labels.space.n_classes)
    tell("cross-validating", 0.0)
    found = out_of_fold(
        features.matrix,
        labels.y,
        labels.space.n_classes,
        model=model,
        n_splits=options.folds,
        random_state=options.seed,
        groups=groups,
        mask=labels.mask,
        on_fold=lambda done, total: tell("cross-validating", done / total),
        n_jobs=-1,
    )
    if not np.isfinite(found.accuracy):
        raise InputError("Every labelled row is the only one of its class: nothing can be said about such labels.")
    notes = list(features.notes)
    if found.n_patched:
        notes.append(f"{found.n_patched} rows are alone in their class: nothing can be said about their labels.")
    return Predictions(
        pred_probs=found.pred_probs,
        origin="cross-validated",
        model=describe(model),
        accuracy=found.accuracy,
        features=features,
        notes=tuple(notes),
        warnings=features.warnings,
        key=key,
    )


def describe(model: Any) -> str:
    """The name of a classifier, or of the last step of a pipeline."""
    return type(model[-1] if hasattr(model, "steps") else model).__name__


def read_features(
    table: LabelledTable, options: AuditOptions, embeddings: npt.ArrayLike | Path | None, tell: Any
) -> Features:
    """What the model reads of each row."""
    if embeddings is not None:
        vectors = read_array(embeddings) if isinstance(embeddings, Path) else np.asarray(embeddings)
        if vectors.ndim and len(vectors) != table.n_rows:
            raise InputError(f"There are {len(vectors)} embeddings for {table.n_rows} rows: give one for each row.")
        return embedding_features(vectors)
    if table.media == "table":
        if options.encoder is not None:
            raise InputError("An encoder reads texts or images; name the column with --text or --image.")
        from assay.training.features_table import table_features

        return table_features(table.features, table.labels.y, table.labels.mask)
    rows = contents(table)
    if options.encoder is not None:
        from assay.training.encoders import encode

        return embedding_features(encode(rows, options.encoder, on_row=lambda done, n: tell(done / n)))
    if table.media == "text":
        from assay.training.features_text import text_features

        return text_features(rows)
    from assay.training.features_image import image_features

    return image_features(rows, random_state=options.seed, on_row=lambda done, n: tell(done / n))


def read_array(path: Path) -> npt.NDArray[Any]:
    """The one array of a .npy or .npz file."""
    if files.form_of(path) != "arrays":
        raise InputError(f"{path.name} is no numpy file: save the embeddings as .npy.")
    found = list(arrays.load(path).values())
    if len(found) != 1:
        raise InputError(f"{path.name} holds {len(found)} arrays: save the embeddings alone.")
    return found[0]


def contents(table: LabelledTable, rows: npt.ArrayLike | None = None) -> list[Any]:
    """The texts, or the images as paths, bytes or pixels, of all or of some rows."""
    name = table.text or table.image
    assert name is not None
    column = table.columns[name] if rows is None else table.columns[name].take(np.asarray(rows))
    kind = column.type
    if isinstance(kind, pa.FixedShapeTensorType):
        whole = column.combine_chunks()
        chunks = whole.chunks if isinstance(whole, pa.ChunkedArray) else [whole]
        return [picture for chunk in chunks for picture in chunk.to_numpy_ndarray()]
    values: list[Any] = column.to_pylist()
    if pa.types.is_struct(kind):  # an image of Hugging Face datasets: bytes, or a path where there are none
        values = [value and (value["bytes"] or value["path"]) for value in values]
    if table.media == "text" or table.root is None:
        return values
    return [table.root / value if isinstance(value, str) else value for value in values]


def fingerprint(table: LabelledTable, options: AuditOptions, embeddings: npt.ArrayLike | Path | None) -> str:
    """Digest of all that the predictions depend on; "" when the data have no digest of their own."""
    if table.digest is None or not (embeddings is None or isinstance(embeddings, Path)):
        return ""
    if table.image is not None and embeddings is None and is_string(table.columns[table.image].type):
        return ""  # the images are files of their own, which may change under the same paths
    seen = {**asdict(options), "data": table.digest, "version": __version__, "space": table.labels.space.fingerprint}
    seen.pop("filter_by")
    if embeddings is not None:
        seen["embeddings"] = hashlib.sha256(Path(str(embeddings)).read_bytes()).hexdigest()
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


def keep(found: Predictions, folder: Path) -> None:
    """Keep the probabilities in `folder` for reviews, and for the next run; written beside and renamed.

    The user's own are kept too, with a key that fits no run.
    """
    about = {"key": found.key, "model": found.model, "accuracy": found.accuracy, "notes": found.notes}
    about["warnings"] = found.warnings
    with files.replacing(folder / "pred_probs.npy") as out:
        np.save(out, found.pred_probs, allow_pickle=False)
        out.flush()
        about["sha256"] = files.digest(Path(out.name))
    files.write_bytes(folder / "predictions.json", json.dumps(about, indent=1).encode())


def load(folder: Path | None, key: str) -> Predictions | None:
    """Probabilities that `keep` wrote for the same data and options, or None."""
    if folder is None or not key or not (folder / "predictions.json").exists():
        return None
    try:
        about = json.loads((folder / "predictions.json").read_text(encoding="utf-8"))
        # The digest tells a whole file from a damaged one, and from that of another run at the same time.
        if about["key"] != key or about["sha256"] != files.digest(folder / "pred_probs.npy"):
            return None
    except (ValueError, TypeError, KeyError, OSError):
        return None
    return Predictions(
        pred_probs=np.load(folder / "pred_probs.npy", allow_pickle=False),
        origin="cross-validated",
        model=about["model"],
        accuracy=about["accuracy"],
        notes=tuple(about["notes"]),
        warnings=tuple(about["warnings"]),
        key=key,
    )

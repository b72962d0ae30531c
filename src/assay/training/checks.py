"""What is checked before a model is fitted: labels, model, features."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import get_tags

from assay.errors import InputError

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def check_labels(labels: npt.ArrayLike, mask: npt.ArrayLike | None, n: int, k: int) -> tuple[Ints, Bools]:
    """Codes (n,) and which of them count; raises for the first that is no class."""
    given = np.asarray(labels)
    if given.ndim != 1 or len(given) != n:
        raise InputError(f"Labels have shape {given.shape} but there are {n} rows of features: give one code per row.")
    if k < 2:
        raise InputError(f"n_classes is {k}: a classifier needs at least two classes.")
    labelled = np.ones(n, dtype=bool) if mask is None else np.asarray(mask)
    if labelled.shape != (n,) or labelled.dtype != np.bool_:
        raise InputError(f"The mask is {labelled.dtype} {labelled.shape}: expected booleans ({n},), True = labelled.")
    if not np.issubdtype(given.dtype, np.integer):
        raise InputError(f"Labels are {given.dtype}: give integer codes in 0..{k - 1}, e.g. from `Space.encode`.")
    codes = np.where(labelled, given, 0).astype(np.int64)
    bad = (codes < 0) | (codes >= k)
    if bad.any():
        row = int(bad.argmax())
        raise InputError(f"Label code {codes[row]} is outside 0..{k - 1}; `mask` marks missing labels.", row=row)
    seen = np.unique(codes[labelled])
    if len(seen) < 2:
        raise InputError(
            f"{int(labelled.sum())} rows have a label and {len(seen)} of {k} classes are among them: "
            "at least two classes are needed to tell them apart."
        )
    return codes, labelled


def check_model(model: Any) -> None:
    """Raise unless a model can be fitted and says how sure it is."""
    if isinstance(model, type) or not hasattr(model, "fit"):
        raise InputError(f"The model {model!r} is no estimator: give an instance such as LogisticRegression().")
    if not hasattr(model, "predict_proba") and not hasattr(model, "decision_function"):
        raise InputError(
            f"{type(model).__name__} has neither predict_proba nor decision_function: give a classifier that tells "
            "how sure it is."
        )


def check_features(X: Any, model: Any) -> None:
    """Raise for features that the model cannot take, naming the row."""
    is_sparse = hasattr(X, "tocoo")
    stored: Any = X.data if is_sparse else X
    if not isinstance(stored, np.ndarray) or stored.dtype.kind != "f":
        return
    finite = np.isfinite(stored)
    if finite.all() or (not np.isinf(stored).any() and get_tags(model).input_tags.allow_nan):
        return
    at = np.unravel_index(int((~finite).argmax()), stored.shape)
    row = X.tocoo().row[at[0]] if is_sparse else at[0]
    raise InputError(
        f"Features hold {stored[at]}, which {type(model).__name__} can't take: fill or drop such rows.", row=int(row)
    )

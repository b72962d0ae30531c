"""What a model reads, and which model reads it: features without labels, and a default classifier for each medium.

Features are computed once for all rows and use no labels, so they leak nothing into out-of-fold predictions.
The defaults were chosen by measurement (`bench/training/out_of_fold.py`): log loss out of fold, and how well the
self-confidence of the given label finds labels that were flipped on purpose, within a minute for 50,000 rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from assay.errors import InputError

Media = Literal["table", "text", "image", "embedding"]

BOOSTING_ROWS = 4000  # below it, boosting overfits wrong labels and randomised trees find more of them
BOOSTING_CLASSES = 4  # boosting grows one tree per class and round; randomised trees cost the same for any k


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Rows as a model reads them.

    Parameters
    ----------
    matrix : (n, d) array or CSR matrix.
    media : which default model fits it, see `default_model`.
    names : d column names, or empty where columns have no names.
    notes : sentences for the reader of a report: what was dropped, merged or clipped.
    warnings : sentences that ask for a decision, such as a column that looks like a copy of the label.
    """

    matrix: Any
    media: Media
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())


def embedding_features(embeddings: npt.ArrayLike) -> Features:
    """Features of embeddings (n, d) that the caller computed; float16 comes back as float32."""
    matrix = np.asarray(embeddings)
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiub" or matrix.shape[1] == 0:
        raise InputError(f"Embeddings are {matrix.dtype} {matrix.shape}: give numbers of shape (n, d) with d > 0.")
    matrix = matrix.astype(np.float32) if matrix.dtype != np.float64 else matrix
    with np.errstate(over="ignore"):
        bad = ~np.isfinite(matrix.astype(np.float32)).all(axis=1)  # beyond single precision, squares overflow
    if bad.any():
        raise InputError(
            "Embeddings hold a value that is not finite in single precision: fill, scale or drop such rows.",
            row=int(bad.argmax()),
        )
    return Features(matrix, "embedding")


def default_model(media: Media, n: int, k: int) -> Any:
    """The classifier that reads the features of a medium, for n rows and k classes; unseeded, unfitted.

    - table: boosted trees; randomised trees where rows are few or classes many. Missing numbers are a branch of
      their own.
    - text: logistic regression one class against the rest, by stochastic gradients.
    - image: least squares on the likeness to up to 1000 pictures (a Gaussian kernel, by Nystroem's method); its cost
      hardly grows with k. It has no probabilities of its own: `out_of_fold` makes them with one temperature.
    - embedding: multinomial logistic regression on standardised columns, held close to zero.
    """
    if media == "table":
        if n >= BOOSTING_ROWS and k <= BOOSTING_CLASSES:
            return HistGradientBoostingClassifier(learning_rate=0.05, l2_regularization=10, early_stopping=False)
        return ExtraTreesClassifier(100, min_samples_leaf=2, n_jobs=-1)
    if media == "text":
        alpha, rounds = max(3e-5, 0.2 / max(n, 1)), max(50, 1_000_000 // max(n, 1))
        return SGDClassifier(loss="log_loss", alpha=alpha, max_iter=rounds, n_iter_no_change=2)
    if media == "image":
        return make_pipeline(Nystroem(gamma=0.5, n_components=min(1000, max(2, n // 2))), RidgeClassifier(alpha=0.1))
    if media == "embedding":
        return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
    raise InputError(f"No default model for {media!r}: expected 'table', 'text', 'image' or 'embedding'.")

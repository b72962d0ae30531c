"""Any classifier of scikit-learn, taught beliefs instead of labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.utils.validation import has_fit_parameter

from assay.errors import InputError

Floats = npt.NDArray[np.float64]

LEAST = 1e-3  # chances below are not taught: they would cost a row each


class SoftLearner:
    """A classifier fitted to each row once for each class that it may have, weighted with its chance.

    Parameters
    ----------
    classifier : with `sample_weight` and `predict_proba`; it is copied.
    x : (n, d) features.
    beliefs : (n, k) chance of each class.

    >>> from sklearn.tree import DecisionTreeClassifier
    >>> x, beliefs = np.array([[0.0], [1.0]]), np.array([[0.75, 0.25, 0.0], [0.0, 1.0, 0.0]])
    >>> SoftLearner(DecisionTreeClassifier(), x, beliefs).predict_proba(x).tolist()
    [[0.75, 0.25, 0.0], [0.0, 1.0, 0.0]]
    """

    def __init__(self, classifier: Any, x: npt.NDArray[Any], beliefs: Floats) -> None:
        if not has_fit_parameter(classifier, "sample_weight") or not hasattr(classifier, "predict_proba"):
            raise InputError(
                f"{classifier!r} must take `sample_weight` and give `predict_proba` to learn from beliefs."
            )
        row, code = np.nonzero(beliefs > LEAST)
        self.n_classes = beliefs.shape[1]
        learner = clone(classifier) if np.ptp(code) > 0 else DummyClassifier()  # most refuse labels of one class
        self.classifier = learner.fit(x[row], code, sample_weight=beliefs[row, code])

    def predict_proba(self, x: npt.NDArray[Any]) -> Floats:
        """Chances (m, k), those of classes that were never likely among them."""
        p = np.zeros((len(x), self.n_classes))
        p[:, self.classifier.classes_] = self.classifier.predict_proba(x)
        return p

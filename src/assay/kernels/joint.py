"""The confident joint of labels and probabilities that are in memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.kernels.confident_joint import Joint, RowSweep
from assay.kernels.probabilities import Rows, bits_of
from assay.kernels.self_confidence import SelfConfidence


def joint_of(labels: npt.NDArray[np.int64], pred_probs: npt.ArrayLike) -> Joint:
    """Confident joint (k, k), given class by true class.

    Parameters
    ----------
    labels : (n,) class codes, `UNLABELLED` where a row has none.
    pred_probs : (n, k) floats, rows sum to one.
    """
    probabilities = np.asarray(pred_probs)
    if probabilities.ndim != 2 or len(probabilities) != len(labels) or probabilities.dtype.kind != "f":
        raise InputError(
            f"`pred_probs` must hold floats of shape ({len(labels)}, k) for {len(labels)} labels, "
            f"got {probabilities.dtype} of shape {probabilities.shape}."
        )
    rows = Rows(0, labels, bits_of(probabilities))
    first = SelfConfidence(probabilities.shape[1])
    first.update(rows)
    second = RowSweep(first.thresholds(), len(labels), rows.bits.dtype, "self_confidence", False)
    second.update(rows)
    return second.joint()

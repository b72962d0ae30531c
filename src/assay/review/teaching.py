"""What the verdicts teach: the chance that each label is wrong, recalibrated while people review.

The chances of an audit are recalibrated from its held-out probabilities, those of an aggregate or a critic from the
chance alone (`assay.audit.error_probability`). Every verdict is first predicted and then learned from, so that the log
loss of the predictions, beside that of the chances before any verdict, says whether teaching helps: on the rows that
were shown, that is, which are the suspicious ones and the random audit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from assay.kernels.calibration import nll

if TYPE_CHECKING:
    from assay.review.project import Project

Floats = npt.NDArray[np.float64]
FIRST_ROUND = 10  # verdicts of earlier sittings are predicted in rounds, each as large as all before it together


class Teacher:
    """Learns from verdicts on the rows of a project. Memory: about 130 bytes a row.

    Attributes
    ----------
    prior : (n,) chance before any verdict; NaN where there is no label.
    p_wrong, low, high : (n,) chance now, with its interval; replaced by new arrays, never written to.
    predicted : row -> chance just before its verdict was known.
    """

    def __init__(self, project: Project) -> None:
        from assay.audit.error_probability import ErrorProbability  # brings scikit-learn; the first row need not wait

        if project.verb == "audit" and project.pred_probs is not None:
            probs: npt.ArrayLike = np.asarray(project.pred_probs)
        else:
            probs = 1 - np.where(project.present, project.p_wrong, 0.5).astype(np.float64)
        self._model = ErrorProbability().fit(probs, project.given, mask=np.asarray(project.present))
        self.prior: Floats = self._model.prior_
        self.predicted: dict[int, float] = {}
        self._publish()

    def _publish(self) -> None:
        self.p_wrong, self.low, self.high = self._model.p_wrong_, self._model.low_, self._model.high_

    def learn(self, judged: Mapping[int, bool]) -> None:
        """Learn from the rows judged so far, wrong or not, in place of what was learned before.

        Rows that were not predicted yet are predicted first: in rounds, each from all rows before it.
        """
        rows = np.fromiter(judged, dtype=np.int64, count=len(judged))
        wrong = np.fromiter(judged.values(), dtype=bool, count=len(judged))
        for row in [row for row in self.predicted if row not in judged]:
            del self.predicted[row]
        known = np.array([row in self.predicted for row in rows.tolist()], dtype=bool)
        # The order of `judged` is that of the verdicts; what was predicted in this sitting may be learned from at once.
        rows, wrong = np.r_[rows[known], rows[~known]], np.r_[wrong[known], wrong[~known]]
        at = int(known.sum())
        while at < len(rows):
            end = min(len(rows), max(2 * at, at + FIRST_ROUND))
            for row, chance in zip(rows[at:end].tolist(), self._model.p_wrong_[rows[at:end]].tolist(), strict=True):
                self.predicted[row] = chance
            self._model.update(rows[:end], wrong[:end])
            at = end
        if known.all():
            self._model.update(rows, wrong)
        self._publish()

    def report(self, judged: Mapping[int, bool]) -> dict[str, Any] | None:
        """Verdicts that were predicted before they were known, and their mean log loss in nats: by the chances before
        any verdict, and by those at the time. None without any.
        """
        rows = [row for row in judged if row in self.predicted]
        if not rows:
            return None
        wrong = np.array([judged[row] for row in rows])
        now = np.array([self.predicted[row] for row in rows])
        return {
            "n_verdicts": len(rows),
            "log_loss_before": nll(self.prior[rows], wrong),
            "log_loss_after": nll(now, wrong),
        }

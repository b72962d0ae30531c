"""Who asks a judge: counts calls, time and money, keeps to a budget, and turns every failure into "unsure"."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.kernels.dual_verdicts import UNSURE
from assay.training.judges import Answer, Candidate, Case, Judge

STEPS = ("present", "compare", "check")
PATIENCE = 20  # failures in a row after which a judge is not asked any more


class Purse:
    """The calls of one judge; threads may share it.

    Parameters
    ----------
    judge : who is asked.
    budget : most calls; None for no limit.
    """

    def __init__(self, judge: Judge, budget: int | None = None) -> None:
        if budget is not None and budget < 0:
            raise InputError(f"budget is a number of calls, 0 or more, got {budget}.")
        self.judge = judge
        self._left = np.inf if budget is None else budget
        self._lock = threading.Lock()
        self._failed_in_a_row = 0
        self._sums = {step: np.zeros(4) for step in STEPS}  # calls, unsure, failed, seconds
        self.first_failure = ""

    def reserve(self, calls: int) -> bool:
        """Whether `calls` more are in the budget; they are then set aside."""
        with self._lock:
            if calls > self._left or self._failed_in_a_row >= PATIENCE:
                return False
            self._left -= calls
            return True

    def present(self, case: Case) -> Answer:
        """Ask whether there is anything to label; the call must have been reserved."""
        return self._ask("present", lambda: self.judge.present(case))

    def compare(self, case: Case, first: Candidate, second: Candidate) -> Answer:
        """Ask which label is better, in this order; the call must have been reserved."""
        return self._ask("compare", lambda: self.judge.compare(case, first, second))

    def check(self, case: Case, candidate: Candidate) -> Answer:
        """Ask whether the label is good; the call must have been reserved."""
        return self._ask("check", lambda: self.judge.check(case, candidate))

    def table(self) -> dict[str, npt.NDArray[Any]]:
        """A row a kind of call: `step`, `calls`, `unsure` (failures too), `failed`, `seconds`, `cost`."""
        sums = np.array([self._sums[step] for step in STEPS])
        price = float(self.judge.price)
        whole = sums[:, :3].astype(np.int64)
        columns = dict(zip(("calls", "unsure", "failed"), whole.T, strict=True))
        return {"step": np.array(STEPS), **columns, "seconds": sums[:, 3], "cost": sums[:, 0] * price}

    def _ask(self, step: str, call: Callable[[], Answer]) -> Answer:
        begin = time.perf_counter()
        try:
            answer = call()
            failed = ""
            if not isinstance(answer, Answer) or answer.said not in (0, 1, 2):
                failed = f"not an answer: {answer!r:.100}"
        except Exception as error:  # whatever a judge does wrong, it has not said which label is better
            failed = f"{type(error).__name__}: {error}"[:500]
        if failed:
            answer = Answer(UNSURE, f"failed: {failed}")
        with self._lock:
            self._sums[step] += (1, answer.said == UNSURE, bool(failed), time.perf_counter() - begin)
            self._failed_in_a_row = self._failed_in_a_row + 1 if failed else 0
            self.first_failure = self.first_failure or failed
        return answer

"""How many labels are wrong, how sure that is, and when reviewing may stop.

A detector flags rows. People review some flagged rows and a random draw of the rest. The share of wrong labels in the
whole table then has an unbiased estimate and an interval that holds for a finite table, down to "none found":

    wrong = known + sum over strata s of N_s * x_s / n_s        (s: flagged, unflagged)

with N_s rows of which n_s were drawn at random and x_s found wrong, and `known` the wrong rows among those that
somebody chose by hand, which count exactly and leave their stratum. Strata sampled at different rates are nothing new
(Neyman, J. R. Statist. Soc. 1934); published audits of test sets count validated flags alone, a lower bound.

Use it whenever people review labels. It does not help if the reviewers themselves are wrong, and rows reviewed from the
top of a ranking say nothing about the rest of their stratum: only rows from `draw` (or another random draw) do.

Choices. Sample sizes fixed beforehand: exact test inversion over both strata (coverage >= 95 %, not merely near it).
Looking after every review and stopping when it suits breaks that promise, so the stop sign, and `estimate` with
`anytime=True`, use a confidence sequence, which holds at all looks together and is about 1.5 to 2 times as wide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from assay.errors import InputError
from assay.kernels.audit_draw import allocate, check_flags, check_rows, draw, roles
from assay.kernels.error_counts import FLAGGED_PRIOR, UNFLAGGED_PRIOR, ErrorRateEstimate, estimate_rate
from assay.kernels.strata import Stratum

__all__ = ["METHOD", "ErrorRate", "ErrorRateEstimate", "ReviewPlan", "Stop", "draw", "roles"]

METHOD = {
    "name": "error_rate",
    "title": "The error rate with an interval and a stop sign",
    "paper": "Northcutt, Athalye, Mueller, 2021, Pervasive Label Errors in Test Sets Destabilize ML Benchmarks",
    "arxiv": "2103.14749",
    "accepts": ["hard", "masks"],
    "gives": ["error rate", "interval", "stop sign", "rows to review"],
    "command": "assay audit TABLE --label COL",
    "claim": "The 95 % interval covers the true error rate in at least 95 % of audits, stopped early or not.",
    "status": "stable",
}


@dataclass(frozen=True, slots=True)
class ReviewPlan:
    """How many further random reviews reach a target, and what each number of reviews is expected to buy."""

    more_flagged: int
    more_unflagged: int
    reached: bool
    curve: dict[str, npt.NDArray[Any]]  # more, more_flagged, more_unflagged, half_width, remaining_high

    @property
    def more(self) -> int:
        """Further reviews in all."""
        return self.more_flagged + self.more_unflagged


@dataclass(frozen=True, slots=True)
class Stop:
    """Whether reviewing may stop, the sentence to show, and how many more reviews are expected to be needed."""

    reached: bool
    sentence: str
    more_reviews: int
    remaining_high: float


class ErrorRate(BaseEstimator):  # type: ignore[misc]
    """Error rate of a table from flagged rows and a random audit.

    Parameters
    ----------
    confidence : two-sided level of every interval.
    anytime : whether intervals hold however often one looks (see the module); False is for one look planned ahead.

    Examples
    --------
    >>> import numpy as np
    >>> flagged = np.arange(1000) < 50
    >>> rows = draw(flagged, None, 300, random_state=0)
    >>> found = ErrorRate().estimate(flagged, rows, wrong=rows < 20)
    >>> found.low <= 0.02 <= found.high
    True
    """

    def __init__(self, confidence: float = 0.95, anytime: bool = False) -> None:
        self.confidence = confidence
        self.anytime = anytime

    def fit(
        self,
        flagged: npt.ArrayLike,
        reviewed_rows: npt.ArrayLike,
        wrong: npt.ArrayLike,
        sampled: npt.ArrayLike | None = None,
    ) -> Self:
        """Keep the result of `estimate` as `estimate_`."""
        self.estimate_ = self.estimate(flagged, reviewed_rows, wrong, sampled)
        return self

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """Rows, reviewed rows and rows found wrong of the flagged and the unflagged stratum."""
        now = self.estimate_
        both = [
            (s.size + k.size, s.reviewed + k.reviewed, s.wrong + k.wrong)
            for s, k in zip(now.strata, now.known, strict=True)
        ]
        size, reviewed, wrong = np.array(both).T
        return {"stratum": np.array(["flagged", "unflagged"]), "rows": size, "reviewed": reviewed, "wrong": wrong}

    def estimate(
        self,
        flagged: npt.ArrayLike,
        reviewed_rows: npt.ArrayLike,
        wrong: npt.ArrayLike,
        sampled: npt.ArrayLike | None = None,
    ) -> ErrorRateEstimate:
        """Estimate the share of wrong labels.

        Parameters
        ----------
        flagged : (n_rows,) bool, the detector's flags.
        reviewed_rows : (v,) distinct row numbers that somebody judged.
        wrong : (v,) bool verdicts: the given label is wrong.
        sampled : (v,) bool, whether the row came from `draw` or another random draw within its stratum; the others
            count exactly and are taken out of their stratum. None: all came from a random draw. Rows picked by their
            score may be mixed in only as `roles` says: "sample" is sampled, "census" is not, "extra" is left out.
        """
        mask = check_flags(flagged)
        rows = check_rows(reviewed_rows, len(mask))
        bad = _verdicts(wrong, len(rows), "wrong")
        random = np.ones(len(rows), dtype=bool) if sampled is None else _verdicts(sampled, len(rows), "sampled")
        strata, known = [], []
        for inside in (True, False):
            here = mask[rows] == inside
            chosen = here & ~random
            strata.append(
                Stratum(
                    int(np.sum(mask == inside)) - int(chosen.sum()),
                    int(np.sum(here & random)),
                    int(np.sum(bad & here & random)),
                )
            )
            known.append(Stratum(int(chosen.sum()), int(chosen.sum()), int(np.sum(bad & chosen))))
        return self.from_counts((strata[0], strata[1]), (known[0], known[1]))

    def from_counts(
        self,
        strata: tuple[Stratum, Stratum],
        known: tuple[Stratum, Stratum] = (Stratum(0, 0, 0), Stratum(0, 0, 0)),
    ) -> ErrorRateEstimate:
        """Estimate from counts: random samples of the flagged and unflagged stratum, and rows known from elsewhere."""
        return estimate_rate(strata, known, self.confidence, self.anytime)

    def plan(
        self,
        now: ErrorRateEstimate,
        target_half_width: float | None = None,
        target_rate_below: float | None = None,
        max_more: int | None = None,
    ) -> ReviewPlan:
        """How many further random reviews are expected to reach a target, and where to make them.

        Parameters
        ----------
        now : the estimate so far.
        target_half_width : wanted half-width of the interval of the error rate.
        target_rate_below : wanted upper bound of the error rate that remains after repair. Exactly one target.
        max_more : most further reviews that are thinkable; None: all rows left.
        """
        if (target_half_width is None) == (target_rate_below is None):
            raise InputError("Give one target: target_half_width or target_rate_below.")
        target = target_half_width if target_half_width is not None else target_rate_below
        if target is None or not 0 < target < 1:
            raise InputError(f"A target is a share between 0 and 1; got {target}.")
        left = sum(s.size - s.reviewed for s in now.strata)
        most = left if max_more is None else min(max_more, left)

        goal = 1 if target_half_width is not None else 2

        def enough(more: int) -> bool:
            _, half, remaining = self._outlook(now, more, goal)
            return (half if goal == 1 else remaining) < target

        # Expected counts are rounded, so the width is only nearly monotone in the reviews; a plan may bisect anyway.
        low, high = -1, most
        reached = enough(most)
        if reached:
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if enough(middle) else (middle, high)
        grid = np.unique(np.r_[0, np.geomspace(1, max(most, 1), 12).astype(np.int64), high])
        grid = grid[grid <= most]
        outlooks = [self._outlook(now, int(more), goal) for more in grid]
        curve: dict[str, npt.NDArray[Any]] = {
            "more": grid,
            "more_flagged": np.array([split[0] for split, _, _ in outlooks]),
            "more_unflagged": np.array([split[1] for split, _, _ in outlooks]),
            "half_width": np.array([half for _, half, _ in outlooks]),
            "remaining_high": np.array([remaining for _, _, remaining in outlooks]),
        }
        split = self._outlook(now, high, goal)[0]
        return ReviewPlan(int(split[0]), int(split[1]), reached, curve)

    def stop_sign(self, now: ErrorRateEstimate, target_rate_below: float = 0.01) -> Stop:
        """Say whether the error rate that remains after repair is surely below a target, or how far it is to there.

        Always uses the bounds that hold at every look, so it may be asked after each review.
        """
        always = ErrorRate(self.confidence, anytime=True)
        looked = always.from_counts(now.strata, now.known)
        sure = f"with {self.confidence * 100:g} % confidence"
        bar = f"{target_rate_below * 100:g} %"
        if looked.remaining_high < target_rate_below:
            sentence = f"Stop: the error rate that remains after repair is below {bar} {sure}."
            return Stop(True, sentence, 0, looked.remaining_high)
        plan = always.plan(looked, target_rate_below=target_rate_below)
        where = f"{plan.more_flagged} flagged, {plan.more_unflagged} others"
        sentence = (
            f"Review {plan.more} more ({where}), then the remaining error rate is expected to be below {bar} {sure}."
        )
        return Stop(False, sentence, plan.more, looked.remaining_high)

    def _outlook(self, now: ErrorRateEstimate, more: int, goal: int) -> tuple[npt.NDArray[np.int64], float, float]:
        """Where `more` reviews should go, the half-width and the upper bound of what remains to expect after them."""
        left = np.array([s.size - s.reviewed for s in now.strata])
        # Shrunken shares keep a stratum without findings from being called free of errors.
        share = np.array(
            [
                (s.wrong + a) / (s.reviewed + a + b)
                for s, (a, b) in zip(now.strata, (FLAGGED_PRIOR, UNFLAGGED_PRIOR), strict=True)
            ]
        )
        flags_first = min(more, int(left[0]))
        best: tuple[npt.NDArray[np.int64], float, float] | None = None
        # Neyman's split narrows the interval; reviewing every flag first also repairs the most, so try both.
        for split in (
            allocate(left, np.sqrt(share * (1 - share)), more),
            np.array([flags_first, min(more - flags_first, int(left[1]))]),
        ):
            after = [
                Stratum(s.size, s.reviewed + int(m), s.wrong + round(float(m) * _observed(s, p)))
                for s, m, p in zip(now.strata, split, share, strict=True)
            ]
            then = self.from_counts((after[0], after[1]), now.known)
            option = (split, (then.high - then.low) / 2, then.remaining_high)
            if best is None or option[goal] < best[goal]:
                best = option
        assert best is not None
        return best


def _observed(stratum: Stratum, shrunken: float) -> float:
    return stratum.wrong / stratum.reviewed if stratum.reviewed else shrunken


def _verdicts(values: npt.ArrayLike, n: int, name: str) -> npt.NDArray[np.bool_]:
    out = np.asarray(values)
    if out.shape != (n,):
        raise InputError(f"{name} must have one value for each of the {n} reviewed rows; got shape {out.shape}.")
    if out.dtype != bool:
        odd = ~np.isin(out, (0, 1))
        if odd.any():
            at = int(np.flatnonzero(odd)[0])
            raise InputError(f"{name} must hold True or False; got {out[at]!r}.", row=at)
    return out.astype(bool)

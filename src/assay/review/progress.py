"""How far a review is: the error rate so far, whether one may stop, how well the reviewers agree.

The error rate counts the rows as `assay audit` does on the same ledger, and its interval is of the kind that holds
however often one looks (`assay.audit.error_rate`, anytime), since here people look after every verdict. Agreement is
that of the first two reviewers of a row, who did not see each other's verdict: the share that agrees with Wilson's
interval, and Cohen's kappa, (share - chance) / (1 - chance), with the chance that two people agree who say each answer
as often as the first and the second reviewers did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.kernels.audit_draw import AuditOrder
from assay.kernels.intervals import wilson
from assay.review.board import Board, Outcome

if TYPE_CHECKING:
    from assay.audit.error_rate import ErrorRateEstimate

CONFIDENCE = 0.95


def rate_of(order: AuditOrder, judged: Mapping[int, bool], undecided: Collection[int]) -> ErrorRateEstimate:
    """The error rate by the rows judged so far, row to whether it is wrong; bounds hold at every look."""
    from assay.audit.error_rate import ErrorRate  # brings scikit-learn, for which the first row need not wait

    rows = np.fromiter(judged, dtype=np.int64, count=len(judged))
    wrong = np.fromiter(judged.values(), dtype=bool, count=len(judged))
    strata, known, _ = order.counts(rows, wrong, np.fromiter(undecided, dtype=np.int64, count=len(undecided)))
    return ErrorRate(CONFIDENCE, anytime=True).from_counts(strata, known)


def stop(
    now: ErrorRateEstimate, target: float, left: int, undecided: int, pairs: Sequence[tuple[Outcome, Outcome]] = ()
) -> dict[str, Any]:
    """Whether the review may stop, as a sentence, and how many more reviews it should take.

    `left` rows were not looked at, on `undecided` ones there is no verdict. The bounds take verdicts for the truth; how
    far that is from it shows in `pairs`, and a sign that says stop says so.
    """
    if left == 0:
        rest = f", and {undecided} of them are undecided" if undecided else ""
        return {"reached": True, "sentence": f"All rows have been looked at{rest}.", "more_reviews": 0}
    from assay.audit.error_rate import ErrorRate

    sign = ErrorRate(CONFIDENCE).stop_sign(now, target)
    sentence = sign.sentence
    if sign.reached:
        apart = sum(one.wrong != other.wrong for one, other in pairs)
        seen = (
            f"two reviewers contradicted each other on {apart} of {len(pairs)} rows"
            if pairs
            else "no row was seen twice"
        )
        sentence += f" Verdicts are taken for the truth: {seen}."
    return {"reached": sign.reached, "sentence": sentence, "more_reviews": sign.more_reviews}


def agreement(pairs: Sequence[tuple[Outcome, Outcome]]) -> dict[str, Any] | None:
    """How often the two reviewers of a row agree; `kappa` is None where chance alone makes them agree always."""
    n = len(pairs)
    if n == 0:
        return None
    same = sum(one == other for one, other in pairs)
    low, high = wilson(same, n, CONFIDENCE)
    first, second = (Counter(pair[place] for pair in pairs) for place in (0, 1))
    chance = sum(count * second[outcome] for outcome, count in first.items()) / n**2
    kappa = None if chance == 1 else (same / n - chance) / (1 - chance)
    return {"pairs": n, "share": same / n, "low": float(low), "high": float(high), "kappa": kappa}


def measured(
    order: AuditOrder,
    judged: Mapping[int, bool],
    undecided: Collection[int],
    pairs: Sequence[tuple[Outcome, Outcome]],
    left: int,
    target: float,
) -> dict[str, Any]:
    """The part of the progress that takes some milliseconds: `rate`, `stop` and `agreement`, as JSON."""
    now = rate_of(order, judged, undecided)
    rate = None if np.isnan(now.rate) else {"rate": now.rate, "low": now.low, "high": now.high}
    return {"rate": rate, "stop": stop(now, target, left, len(undecided), pairs), "agreement": agreement(pairs)}


def counted(board: Board) -> dict[str, Any]:
    """The part of the progress that is merely counted, as JSON."""
    return {
        "reviewed": len(board.judged),
        "wrong": sum(board.judged.values()),
        "undecided": len(board.undecided),
        "disputes": len(board.disputes),
        "second_looks": board.n_second,
        "reviewers": [{"name": name, "n": n} for name, n in board.n_looks.most_common() if n],
    }

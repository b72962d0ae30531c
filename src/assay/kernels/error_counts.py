"""From counts of reviewed and wrong rows to the error rate of a whole table, with bounds."""

from __future__ import annotations

from dataclasses import dataclass

from assay.errors import InputError
from assay.kernels.confidence_sequence import stratified_sequence
from assay.kernels.strata import Stratum, stratified_bounds

FLAGGED_PRIOR = (1.0, 1.0)  # of the stop sign, chosen before any review: flags may be good or bad
UNFLAGGED_PRIOR = (0.5, 50.0)  # about 1 % of the unflagged rows wrong


@dataclass(frozen=True, slots=True)
class ErrorRateEstimate:
    """Share of wrong labels among all n rows, with its interval.

    `rate`, `rate_flagged`, `rate_unflagged` and `remaining` are NaN while a stratum that matters has no random review;
    the bounds are always numbers. `remaining` is the share of wrong labels left once those found are repaired.
    """

    rate: float
    low: float
    high: float
    n_rows: int
    n_flagged: int
    n_reviewed: int
    n_wrong: int
    rate_flagged: float
    rate_unflagged: float
    remaining: float
    remaining_low: float
    remaining_high: float
    confidence: float
    anytime: bool
    strata: tuple[Stratum, Stratum]
    known: tuple[Stratum, Stratum]


def estimate_rate(
    strata: tuple[Stratum, Stratum], known: tuple[Stratum, Stratum], confidence: float, anytime: bool
) -> ErrorRateEstimate:
    """Error rate of a table of two strata.

    Parameters
    ----------
    strata : random samples of the flagged and of the unflagged rows.
    known : rows of each that somebody chose by hand: all of them reviewed.
    confidence : two-sided level of the bounds.
    anytime : whether the bounds hold however often one looks.
    """
    for got in known:
        if got.reviewed != got.size:
            raise InputError(f"Known rows are reviewed rows: sizes must agree, got {got}.")
    n = sum(s.size for s in (*strata, *known))
    if n == 0:
        raise InputError("An error rate needs at least one row; got none.")
    if anytime:
        low, high = stratified_sequence(*strata, FLAGGED_PRIOR, UNFLAGGED_PRIOR, confidence)
    else:
        low, high = stratified_bounds(*strata, confidence)
    fixed, seen = sum(k.wrong for k in known), sum(s.wrong for s in strata)
    counts = [_expanded(s) for s in strata]
    shares = [
        (count + k.wrong) / (s.size + k.size) if s.size + k.size else float("nan")
        for count, s, k in zip(counts, strata, known, strict=True)
    ]
    total = sum(counts)
    return ErrorRateEstimate(
        rate=(fixed + total) / n,
        low=(fixed + low) / n,
        high=(fixed + high) / n,
        n_rows=n,
        n_flagged=strata[0].size + known[0].size,
        n_reviewed=sum(s.reviewed for s in (*strata, *known)),
        n_wrong=fixed + seen,
        rate_flagged=shares[0],
        rate_unflagged=shares[1],
        remaining=(total - seen) / n,
        remaining_low=(low - seen) / n,
        remaining_high=(high - seen) / n,
        confidence=confidence,
        anytime=anytime,
        strata=strata,
        known=known,
    )


def _expanded(stratum: Stratum) -> float:
    if stratum.size == 0:
        return 0.0
    return stratum.size * stratum.wrong / stratum.reviewed if stratum.reviewed else float("nan")

"""The verb `audit`: from a data set to what is wrong with its labels.

Composes the methods of the audit stage, which do not know each other: held-out probabilities, confident learning, a
calibrated probability of error, the error rate with its interval, conflicting duplicates, overlapping classes, slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assay.audit.confident_learning import ConfidentLearning
from assay.audit.duplicates import Duplicates
from assay.audit.error_probability import ErrorProbability
from assay.audit.error_rate import ErrorRate, ErrorRateEstimate, draw
from assay.audit.overlap import Overlap
from assay.audit.slices import Slices
from assay.errors import InputError
from assay.evidence.audit_options import AuditOptions, Progress
from assay.evidence.audit_predictions import Predictions, predict
from assay.evidence.audit_structure import find_structure
from assay.evidence.audit_verdicts import known_verdicts
from assay.evidence.shown import number
from assay.kernels.audit_draw import AuditOrder
from assay.labels.spaces import Space
from assay.labels.tables import LabelledTable, read_table
from assay.labels.verdicts import Judged, Verdicts
from assay.training.in_sample import in_sample_warning

N_RANDOM = 60
"""Rows of the random audit in one round of reviews: half an hour for a person."""
N_WORST = 40
"""Most suspicious rows in one round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What an audit found; arrays have one entry for each row of the data set, in its order.

    Parameters
    ----------
    table, options : what was read, and how.
    predictions : held-out probabilities `(n, k)` and what they are worth.
    confident : fitted confident learning: flags, joint, noise matrix.
    probability : fitted probability that each label is wrong.
    rate : the error rate from verdicts; None while nobody has reviewed a row.
    verdicts : the verdicts used, or None.
    duplicates, overlap, slices : structure of the errors; None where the data do not allow it.
    review : rows to look at next; the first `n_random` are a random audit, the rest the most suspicious.
    n_random : see `review`.
    warnings : what makes the numbers doubtful.
    words : options of the command line that name the user's own probabilities or embeddings.
    """

    table: LabelledTable
    options: AuditOptions
    predictions: Predictions
    confident: ConfidentLearning
    probability: ErrorProbability
    rate: ErrorRateEstimate | None
    verdicts: Verdicts | None
    duplicates: Duplicates | None
    overlap: Overlap
    slices: Slices | None
    review: npt.NDArray[np.int64]
    n_random: int
    warnings: tuple[str, ...]
    words: tuple[str, ...]

    @property
    def error_rate(self) -> float:
        """Share of wrong labels: from verdicts when they say, else as confident learning estimates it."""
        if self.rate is not None and np.isfinite(self.rate.rate):
            return self.rate.rate
        return self.confident.error_rate_

    def suggested(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """The likeliest class of some rows other than the given one, `(m,)`."""
        return self.predictions.rival(rows, self.table.labels.y[rows])

    def ranking(self) -> npt.NDArray[np.int64]:
        """Flagged rows `(m,)`, the one most likely wrong first; ties by score, then by row."""
        return worst_first(self.confident, self.probability)

    def issues(self) -> dict[str, npt.NDArray[Any]]:
        """The flagged rows as columns of equal length, most likely wrong first."""
        return self.columns(self.ranking())

    def columns(self, rows: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
        """What is known about the labels of some rows, as columns of equal length."""
        names = np.array(self.table.labels.space.names, dtype=object)
        ids = None if self.table.ids is None else np.array(self.table.ids.take(rows).to_pylist(), dtype=object)
        given = names[self.table.labels.y[rows]]
        given[~self.table.labels.present[rows]] = None
        return {
            "row": rows,
            **({} if ids is None else {"id": ids}),
            "given": given,
            "suggested": names[self.suggested(rows)],
            "p_wrong": self.probability.p_wrong_[rows],
            "low": self.probability.low_[rows],
            "high": self.probability.high_[rows],
            "score": self.confident.scores_[rows],
            "flagged": self.confident.is_issue_[rows],
        }

    def numbers(self) -> dict[str, Any]:
        """The numbers of the audit, for machines."""
        labels = self.table.labels
        rate = self.rate
        return {
            "rows": self.table.n_rows,
            "labelled": int(labels.present.sum()),
            "classes": list(labels.space.names),
            "flagged": int(self.confident.is_issue_.sum()),
            "error_rate": self.error_rate,
            "error_rate_by_model": self.confident.error_rate_,
            "error_rate_interval": None if rate is None else [rate.low, rate.high],
            "expected_errors": float(self.probability.p_wrong_[labels.present].sum()),
            "reviewed": 0 if rate is None else rate.n_reviewed,
            "found_wrong": 0 if rate is None else rate.n_wrong,
            "held_out_accuracy": self.predictions.accuracy,
            "predictions": self.predictions.origin,
            "warnings": list(self.warnings),
        }

    def verdict(self) -> str:
        """The finding in a sentence."""
        n, flagged = int(self.table.labels.present.sum()), int(self.confident.is_issue_.sum())
        if self.rate is not None and np.isfinite(self.rate.rate):
            share = number(self.rate.rate, "%", (self.rate.low, self.rate.high))
            reviews = f"{self.rate.n_reviewed:,} reviews"
            return f"{share} of {n:,} labels are wrong, by {reviews}; {flagged:,} rows are flagged."
        return (
            f"About {number(self.confident.error_rate_, '%')} of {n:,} labels look wrong to the model: "
            f"{flagged:,} rows are flagged, and nobody has checked them yet."
        )

    def summary(self) -> str:
        """A few lines for a terminal."""
        lines = [self.verdict()]
        found = self.columns(self.ranking()[:5])
        for row, given, other, p in zip(
            found["row"], found["given"], found["suggested"], found["p_wrong"], strict=True
        ):
            lines.append(f"  row {row}: given {given!r}, rather {other!r}, wrong with probability {p:.2f}")
        return "\n".join(lines + [f"Warning: {warning}" for warning in self.warnings])


def audit(
    source: Any,
    options: AuditOptions | None = None,
    *,
    pred_probs: npt.ArrayLike | Path | None = None,
    embeddings: npt.ArrayLike | Path | None = None,
    verdicts: Verdicts | Path | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Audit the labels of a data set.

    Parameters
    ----------
    source : path, frame or data set, see `assay.labels.tables.read_table`; or a `LabelledTable`.
    options : how to read and audit it.
    pred_probs : out-of-sample probabilities `(n, k)` of your own model, or their file; no model is fitted then.
    embeddings : feature vectors `(n, d)` of your own, or their file; a model is cross-validated on them.
    verdicts : decisions of people, or their file.
    cache : folder of earlier results; its predictions are used again when data and options are the same, and the
        verdicts in its ledger count.
    progress : called as `progress(step, share done)`.

    Raises
    ------
    InputError : before any model is fitted, for anything wrong with the input.
    """
    options = options or AuditOptions()
    tell = progress or (lambda _step, _done: None)
    tell("reading", 0.0)
    table = source if isinstance(source, LabelledTable) else read(source, options)
    labels = table.labels
    known = known_verdicts(table, verdicts, cache)
    tell("reading", 1.0)

    found = predict(table, options, pred_probs, embeddings, cache, tell)
    warnings = list(found.warnings)
    tell("finding errors", 0.0)
    confident = ConfidentLearning(filter_by=options.filter_by)  # type: ignore[arg-type]
    confident.fit(labels.y, found.pred_probs, labels.mask)
    suspicion = in_sample_warning(labels.y, found.pred_probs, labels.mask)
    if suspicion and found.origin != "cross-validated":
        warnings.append(suspicion)
    tell("finding errors", 0.3)
    judged = None if known is None else known.wrong()
    probability = ErrorProbability()
    probability.fit(
        found.pred_probs,
        labels.y,
        verdict_rows=None if judged is None else judged.rows,
        verdict_wrong=None if judged is None else judged.wrong,
        mask=labels.mask,
    )
    rate = None
    if judged is not None:
        rate, n_extra = rate_of(confident, probability, judged, labels.present, options.seed)
        if judged.n_ties:
            warnings.append(f"{judged.n_ties} reviewed rows are left out: their reviewers are split evenly.")
        if n_extra:
            warnings.append(
                f"{n_extra} reviewed rows are outside of the random audit and of the worst rows, so they are repaired "
                "but do not count for the error rate."
            )
    review, n_random = next_reviews(confident, probability, labels.present, options.seed, judged)
    tell("finding errors", 1.0)
    structure = find_structure(table, confident, probability, tell)
    return Audit(
        table=table,
        options=options,
        predictions=found,
        confident=confident,
        probability=probability,
        rate=rate,
        verdicts=known,
        review=review,
        n_random=n_random,
        warnings=tuple(warnings),
        words=(
            *(("--pred-probs", str(pred_probs)) if isinstance(pred_probs, Path) else ()),
            *(("--embeddings", str(embeddings)) if isinstance(embeddings, Path) else ()),
        ),
        **structure,
    )


def read(source: Any, options: AuditOptions) -> LabelledTable:
    """Read the data set as the options say."""
    table = read_table(
        source,
        label=options.label,
        space=None if options.classes is None else Space(options.classes),
        id=options.id,
        text=options.text,
        image=options.image,
        exclude=options.exclude,
    )
    # The ledger ends a text at NUL, so such names are refused before any work.
    ids = [] if table.ids is None or pa.types.is_integer(table.ids.type) else table.ids.to_pylist()
    for name in (*table.labels.space.names, *ids):
        if "\0" in str(name):
            raise InputError(f"A class or an id must not hold the character NUL, got {name!r}.")
    return table


def worst_first(confident: ConfidentLearning, probability: ErrorProbability) -> npt.NDArray[np.int64]:
    """Flagged rows `(m,)`, the one most likely wrong first; ties by score, then by row."""
    rows = confident.ranking_
    return rows[np.argsort(-probability.p_wrong_[rows], kind="stable")]


def rate_of(
    confident: ConfidentLearning,
    probability: ErrorProbability,
    judged: Judged,
    present: npt.NDArray[np.bool_],
    seed: int,
) -> tuple[ErrorRateEstimate, int]:
    """The error rate of the labelled rows, and how many reviewed rows could not count for it.

    Rows whose reviewers are split evenly, or all skipped them, are taken out: the rate is that of rows that people can
    judge, and the random audit goes on past them.
    """
    here = present[judged.rows]
    order = AuditOrder(confident.is_issue_, probability.prior_, seed, present)
    strata, known, n_extra = order.counts(
        judged.rows[here], judged.wrong[here], judged.undecided[present[judged.undecided]]
    )
    return ErrorRate().from_counts(strata, known), n_extra


def next_reviews(
    confident: ConfidentLearning,
    probability: ErrorProbability,
    present: npt.NDArray[np.bool_],
    seed: int,
    judged: Judged | None,
) -> tuple[npt.NDArray[np.int64], int]:
    """Rows to look at next: a random audit that narrows the error rate, then the most suspicious rows."""
    done = np.zeros(0, dtype=np.int64) if judged is None else judged.rows
    place = np.cumsum(present) - 1
    known = place[done[present[done]]]
    p = np.clip(probability.p_wrong_[present], 0, 1)
    random = np.flatnonzero(present)[draw(confident.is_issue_[present], p, N_RANDOM, seed, reviewed_rows=known)]
    ranked = worst_first(confident, probability)
    worst = ranked[~np.isin(ranked, np.concatenate([random, done]))][:N_WORST]
    return np.concatenate([random, worst]), len(random)

"""All passes of confident learning, over one column of labels or over many that share their rows.

A block is a list of `Rows`, one for each column: a class for every row or token is one column, l tags are l columns of
two classes each. Every pass is a statistic that merges, so blocks may be streamed, or read on a Ray cluster.

Legend of shapes: n rows, k classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.kernels.blocks import Backend, fold, in_parts, n_parts
from assay.kernels.confident_joint import (
    DISAGREES,
    OFF_DIAGONAL,
    Floats,
    Ints,
    Joint,
    RowSweep,
    unstable_blocks,
)
from assay.kernels.label_filters import calibrate, limit_rows, prune_counts
from assay.kernels.label_scores import SCORES, Score
from assay.kernels.probabilities import Rows
from assay.kernels.self_confidence import SelfConfidence
from assay.kernels.top_rows import TopRows

Filter = Literal["prune_by_noise_rate", "prune_by_class", "both", "confident_learning", "predicted_neq_given"]
FILTERS: tuple[str, ...] = get_args(Filter)
Block = list[Rows]
CHUNK = 1 << 22  # rows whose status is read at a time, so that no copy of it is made
PRUNED = (4, 8)  # bits of a row's status, one for each prune table


@dataclass(frozen=True, slots=True)
class Rules:
    """What to flag and how to score; a bad value raises when the rules are made.

    Parameters
    ----------
    filter_by : which rows to flag, one of `FILTERS`.
    score, adjust : what to score rows by, and whether to take class thresholds from the probabilities first.
    min_examples_per_class : rows that each class keeps.
    frac_noise : share of the estimated errors that the pruning filters flag, above 0, at most 1.
    """

    filter_by: Filter
    score: Score
    adjust: bool
    min_examples_per_class: int
    frac_noise: float

    def __post_init__(self) -> None:
        if self.filter_by not in FILTERS:
            raise InputError(f"Unknown filter {self.filter_by!r}: expected one of {', '.join(FILTERS)}.")
        if self.score not in SCORES:
            raise InputError(f"Unknown score {self.score!r}: expected one of {', '.join(SCORES)}.")
        if not 0 < self.frac_noise <= 1:
            raise InputError(f"frac_noise must be above 0 and at most 1, got {self.frac_noise}.")
        if self.min_examples_per_class < 0:
            raise InputError(f"min_examples_per_class must not be negative, got {self.min_examples_per_class}.")

    def rooms(self, calibrated: Joint, counts: Ints) -> list[Any]:
        """The prune tables for `TopRows`, from the calibrated joint (k, k) and the rows given each class (k,)."""
        removed, keep = prune_counts(calibrated, self.min_examples_per_class, self.frac_noise)
        enough = counts > max(self.min_examples_per_class, 1)  # a class of one row is never flagged
        by_class = np.where(enough, np.maximum(counts - keep, 0), 0)
        by_noise_rate = limit_rows(removed, np.where(enough, counts, 0))
        tables = {
            "prune_by_class": [by_class],
            "prune_by_noise_rate": [by_noise_rate],
            "both": [by_class, by_noise_rate],
        }
        return tables.get(self.filter_by, [])


@dataclass(frozen=True, slots=True)
class Audited:
    """What the passes found out about one column.

    Parameters
    ----------
    counts : (k,) int64 rows given each class.
    thresholds : (k,) mean self-confidence.
    joint, calibrated : (k, k) int64 confident joint, given class by true class, as counted and calibrated.
    suggested : (n,) int32 the most probable class.
    scores : (n,) float32 or float64, low is suspicious, NaN without a label.
    flagged : (n,) bool.
    given : (m,) integers, given classes of the flagged rows, in row order.
    n_errors : rows confidently counted for another class than the given one, which is also their most probable class.
    """

    counts: Ints
    thresholds: Floats
    joint: Joint
    calibrated: Joint
    suggested: npt.NDArray[np.int32]
    scores: npt.NDArray[Any]
    flagged: npt.NDArray[np.bool_]
    given: npt.NDArray[Any]
    n_errors: int


class Each:
    """One statistic for each column of a block, read together, some columns a thread."""

    def __init__(self, parts: list[Any]) -> None:
        self.parts = parts

    def fresh(self) -> Each:
        """Empty statistics of the same kinds."""
        return Each([part.fresh() for part in self.parts])

    def update(self, block: Block) -> None:
        """Take in a block."""
        threads = min(n_parts(sum(len(rows.given) for rows in block)), len(block))

        def task(thread: int) -> None:
            for part, rows in list(zip(self.parts, block, strict=True))[thread::threads]:
                part.update(rows)

        in_parts(task, threads)

    def merge(self, other: Each) -> None:
        """Take in the statistics of other blocks."""
        for part, more in zip(self.parts, other.parts, strict=True):
            part.merge(more)


def audit(make_blocks: Callable[[], Iterable[Block]], rules: Rules, backend: Backend = "serial") -> list[Audited]:
    """Run the passes.

    Parameters
    ----------
    make_blocks : called for each of up to four passes; gives the same blocks every time, their rows in one order.
    rules : what to flag and how to score.
    backend : "serial", or "ray".

    Returns
    -------
    what was found about each column. A column without labels has joints of ones and zeros, and nothing flagged.
    """
    source = iter(make_blocks())
    head = next(source, None)
    if head is None:
        raise InputError("The data set is empty: expected at least two labelled rows.")
    first = [SelfConfidence(rows.bits.shape[1]) for rows in head]
    fold(Each(first), chain([head], _alike(source, head)), backend)

    kinds = [rows.bits.dtype for rows in head]
    sweeps = [
        RowSweep(one.thresholds(), one.n_rows, kind, rules.score, rules.adjust)
        for one, kind in zip(first, kinds, strict=True)
    ]
    fold(Each(sweeps), _alike(make_blocks(), head), backend)
    joints = [sweep.joint() for sweep in sweeps]
    calibrated = [
        calibrate(joint, one.counts) if one.counts.any() else joint * 0
        for joint, one in zip(joints, first, strict=True)
    ]

    for sweep, one in zip(sweeps, first, strict=True):
        if sweep.n_seen != one.n_rows:
            raise unstable_blocks(one.n_rows, sweep.n_seen)
    needed = DISAGREES | (OFF_DIAGONAL if rules.filter_by == "confident_learning" else 0)
    rooms = [rules.rooms(table, one.counts) for table, one in zip(calibrated, first, strict=True)]
    for bit, *tables in zip(PRUNED, *rooms, strict=False):
        tops = [TopRows(room, _results(sweep).scores.dtype) for room, sweep in zip(tables, sweeps, strict=True)]
        fold(Each(tops), _annotated(sweeps, _alike(make_blocks(), head)), backend)
        for sweep in sweeps:
            _results(sweep).status[tops.pop(0).chosen()] |= bit
        needed |= bit
    return [_audited(*column, needed) for column in zip(first, sweeps, joints, calibrated, strict=True)]


def _alike(blocks: Iterable[Block], head: Block) -> Iterator[Block]:
    """The blocks, each with the columns, classes and number type of the first."""
    for block in blocks:
        for rows, like in zip(block, head, strict=True):
            if rows.bits.shape[1:] != like.bits.shape[1:] or rows.bits.dtype != like.bits.dtype:
                raise InputError(
                    f"Blocks of pred_probs must be alike: the first has {like.bits.shape[1]} classes in "
                    f"{8 * like.bits.itemsize} bits, another has {rows.bits.shape[1]} in {8 * rows.bits.itemsize}.",
                    row=rows.start,
                )
        yield block


def _results(sweep: RowSweep) -> Any:
    """The results of all rows, which a sweep that was told their number has."""
    assert sweep.results is not None
    return sweep.results


def _annotated(sweeps: list[RowSweep], blocks: Iterable[Block]) -> Iterator[Block]:
    """The same blocks with what the second pass said of their rows."""
    for block in blocks:
        yield [next(sweep.annotate([rows])) for sweep, rows in zip(sweeps, block, strict=True)]


def _audited(first: SelfConfidence, sweep: RowSweep, joint: Joint, calibrated: Joint, needed: int) -> Audited:
    """One column's findings; a row is flagged when all `needed` bits of its status are set."""
    results = _results(sweep)
    results.gap = results.gap[:0]  # read no more: a byte a row
    flagged = np.empty(len(results.status), bool)
    n_errors, both = 0, DISAGREES | OFF_DIAGONAL
    for start in range(0, len(flagged), CHUNK):
        status = results.status[start : start + CHUNK]
        flagged[start : start + CHUNK] = (status & needed) == needed
        n_errors += int(np.count_nonzero((status & both) == both))
    columns = (results.suggested, results.scores, flagged, sweep.given_of(flagged), n_errors)
    return Audited(first.counts, sweep.thresholds, joint, calibrated, *columns)

"""What a change to a model's answers costs: paired over prompts, with intervals, and apart from fluency.

Two patterns are told apart (Verma, Phan, Trivedi, arXiv 2506.04462): guard attenuation, where more of the prompts that
should be refused are answered, and guard amplification, where more of the harmless ones are refused. Both are read off
paired differences with bootstrap intervals over prompts, never by eye. What remains of a shift in reward once answers
are compared at equal perplexity is the intercept of a regression of differences on differences.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.kernels.calibration import auroc
from assay.kernels.intervals import bootstrap

Floats = npt.NDArray[np.float64]
ENOUGH = 5  # prompts below which no interval is drawn


class Shift(NamedTuple):
    """A mean before and after, its change, and the 95 % interval of the change over prompts."""

    before: float
    after: float
    change: float
    low: float
    high: float

    @property
    def shown(self) -> bool:
        """Whether the interval excludes no change."""
        return self.low > 0 or self.high < 0


def shift(before: npt.ArrayLike, after: npt.ArrayLike, seed: int = 0) -> Shift:
    """Mean change from `before` (p,) to `after` (p,), values of the same prompts; NaN rows are left out.

    >>> shift([0.0] * 8, [1.0] * 8)
    Shift(before=0.0, after=1.0, change=1.0, low=1.0, high=1.0)
    """
    pairs = np.column_stack([np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)])
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    if len(pairs) < ENOUGH:
        raise InputError(f"{len(pairs)} prompts are too few for an interval: give at least {ENOUGH}.")
    change = pairs[:, 1] - pairs[:, 0]
    low, high = bootstrap(lambda rows: float(rows.mean()), change, random_state=seed)
    return Shift(float(pairs[:, 0].mean()), float(pairs[:, 1].mean()), float(change.mean()), low, high)


def pattern(unsafe: Shift | None, refused: Shift | None) -> str:
    """The pattern that intervals show, from the unsafe share on harmful prompts and the refusals of harmless ones."""
    attenuated = unsafe is not None and unsafe.low > 0
    amplified = refused is not None and refused.low > 0
    if attenuated and amplified:
        return "attenuation and amplification"
    return "attenuation" if attenuated else "amplification" if amplified else "neither shown"


def at_equal_perplexity(
    reward: tuple[npt.ArrayLike, npt.ArrayLike], log_perplexity: tuple[npt.ArrayLike, npt.ArrayLike], seed: int = 0
) -> Shift:
    """Change of the mean reward that is left at equal log-perplexity, from (before, after) values of (p,) prompts.

    The intercept of the regression of a prompt's change of reward on its change of log-perplexity.
    """
    before, after = (np.asarray(one, dtype=np.float64) for one in reward)
    fluency = np.subtract(*(np.asarray(one, dtype=np.float64) for one in reversed(log_perplexity)))
    change = after - before
    good = np.isfinite(change) & np.isfinite(fluency)
    change, fluency = change[good], fluency[good]
    if len(change) < ENOUGH:
        raise InputError(f"{len(change)} prompts are too few for a regression: give at least {ENOUGH}.")
    low, high = bootstrap(_intercept, change, fluency, random_state=seed)
    left = _intercept(change, fluency)
    start = float(before[good].mean())
    return Shift(start, start + left, left, low, high)


def _intercept(change: Floats, fluency: Floats) -> float:
    spread = float(np.var(fluency))
    slope = float(np.mean((fluency - fluency.mean()) * (change - change.mean()))) / spread if spread > 0 else 0.0
    return float(change.mean() - slope * fluency.mean())


class Detectability(NamedTuple):
    """How well marked text is told from other text: on scores, at 1 % false positives, and at a p-value's threshold."""

    auc: float
    tpr_at_1_percent: float
    power: float
    false_positives: float
    precision: float
    f1: float


def detectability(
    marked: npt.ArrayLike, others: npt.ArrayLike, threshold: float = 0.01, fpr: float = 0.01
) -> Detectability:
    """From p-values of marked texts (m,) and of other texts (n,), which should be some hundred for a rate of 1 %."""
    found, clean = np.asarray(marked, dtype=np.float64), np.asarray(others, dtype=np.float64)
    if not len(found) or not len(clean):
        raise InputError("Detection is measured on marked texts and on others: give p-values of both.")
    score = -np.concatenate([found, clean])
    is_marked = np.arange(len(score)) < len(found)
    # The most texts that may be flagged falsely, and the threshold just below the p-value of the next of them.
    allowed = int(fpr * len(clean))
    cut = np.sort(clean)[allowed]
    power, false = float(np.mean(found <= threshold)), float(np.mean(clean <= threshold))
    hits, flagged = int(np.sum(found <= threshold)), int(np.sum(found <= threshold) + np.sum(clean <= threshold))
    precision = hits / flagged if flagged else 0.0
    f1 = 2 * hits / (flagged + len(found)) if len(found) else 0.0
    return Detectability(auroc(score, is_marked), float(np.mean(found < cut)), power, false, precision, f1)

"""Do these probabilities come from a model that trained on the very labels under audit?

If they do, everything looks correctly labelled: the model repeats its labels, the wrong ones too.

Among held-out predictions, a row with a wrong label looks like a right row of another class, so the model speaks
against some labels as firmly as it speaks for most. A model that memorised them never does. With

    g_i = log P[i, y_i] - log max_{j != y_i} P[i, j]      (positive: the model backs the label)
    m   = median of g over the rows with g >= 0

the share of rows with g <= -min(m/2, log 20) is about the share of wrong labels when held out, and zero for a forest,
a single tree, nearest neighbours, and mostly for boosted trees, on their own training rows. Half of the median
follows the temperature of the probabilities; the odds of 20 to 1 keep an overconfident model from putting it out of
reach. When (almost) no row is contradicted so firmly, there are two readings, no label errors or in-sample
probabilities, and labels and probabilities alone can't tell them apart: the warning asks.

Silence proves nothing: a model too stiff to memorise (a linear one with few features) looks alike on both sides, and
its in-sample probabilities do little harm. The rule is our own; `bench/training/out_of_fold.py` measures how often it
errs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from assay.errors import InputError

FIRM = 0.5  # of the median support; a contradiction from there on is firm,
ODDS = 20.0  # and so is one at these odds
RARE = 0.0005  # share of firmly contradicted rows up to which the warning is given
ROWS = 300  # with 1 % wrong labels, so many rows lack a wrong one with probability 0.05
PERFECT = 0.995  # below ROWS rows, the warning also needs this agreement with the labels
FLOOR = 1e-6  # probabilities below it count as it


def firm_contradictions(
    labels: npt.ArrayLike, pred_probs: npt.ArrayLike, mask: npt.ArrayLike | None = None
) -> tuple[float, float]:
    """How often the probabilities agree with the labels, and how often they firmly speak against one.

    Parameters
    ----------
    labels : (n,) integer codes. pred_probs : (n, k) probabilities. mask : (n,) True where the row has a label.

    Returns
    -------
    (agreement, contradicted) : shares of the labelled rows with g >= 0, and contradicted firmly (see the module).
    """
    P, codes = np.asarray(pred_probs), np.asarray(labels)
    if P.ndim != 2 or codes.shape != (len(P),):
        raise InputError(f"pred_probs are {P.shape} and labels {codes.shape}: expected (n, k) and (n,).")
    if not np.issubdtype(codes.dtype, np.integer):
        raise InputError(f"Labels are {codes.dtype}: give integer codes.")
    rows = np.arange(len(P)) if mask is None else np.flatnonzero(np.asarray(mask, dtype=bool))
    codes = codes[rows]
    bad = (codes < 0) | (codes >= P.shape[1])
    if bad.any():
        raise InputError(
            f"Label code {codes[bad][0]} has no column: pred_probs have {P.shape[1]}.", row=int(rows[bad.argmax()])
        )
    if not len(rows) or P.shape[1] < 2:
        return float("nan"), float("nan")
    rest = P[rows].astype(np.float64)
    at = np.arange(len(rows)), codes
    own = rest[at]
    rest[at] = -np.inf
    support = np.log(np.maximum(own, FLOOR)) - np.log(np.maximum(rest.max(axis=1), FLOOR))
    backed = support >= 0
    if not backed.any():
        return 0.0, 1.0
    firm = min(FIRM * float(np.median(support[backed])), np.log(ODDS))
    return float(backed.mean()), float((support <= -max(firm, FLOOR)).mean())


def in_sample_warning(
    labels: npt.ArrayLike, pred_probs: npt.ArrayLike, mask: npt.ArrayLike | None = None
) -> str | None:
    """Ask whether the model trained on these labels, where its probabilities look so; None where they do not.

    Parameters and errors as for `firm_contradictions`.

    >>> import numpy as np
    >>> labels = np.arange(400) % 2
    >>> in_sample_warning(labels, np.eye(2)[labels])[:35]
    'Did the model train on these labels'
    >>> wrong = np.where(np.arange(400) % 20 == 0, 1 - labels, labels)
    >>> in_sample_warning(wrong, np.eye(2)[labels]) is None
    True
    """
    agreement, contradicted = firm_contradictions(labels, pred_probs, mask)
    n = len(np.asarray(labels)) if mask is None else int(np.asarray(mask).sum())
    if not contradicted <= RARE or (n < ROWS and not agreement >= PERFECT):
        return None
    many = "none" if contradicted == 0 else f"{contradicted:.2%}"
    return (
        f"Did the model train on these labels? It agrees with {agreement:.2%} of them and firmly contradicts {many}. "
        "Either the labels hold hardly an error, or the probabilities are in-sample, and an in-sample audit finds no "
        "errors whatever there is. To tell: change 5% of the labels on purpose, make the probabilities again in the "
        "same way, and see whether the changed rows are contradicted; or use out-of-fold probabilities "
        "(`assay.training.out_of_fold`)."
    )

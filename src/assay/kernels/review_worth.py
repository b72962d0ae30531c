"""What one more look at a label is worth: the expected number of labels that it puts right, less those it puts wrong.

A reviewer mistakes a right label for a wrong one, or a wrong one for a right one, with probability e, each look by
itself. p is the chance that the given label is wrong before anyone looked. After some looks that said "wrong" and some
that said "right", Bayes' rule gives

    logit P(wrong | looks) = logit p + (said wrong - said right) log((1 - e) / e)

**A look that decides** (a first look, or the word of an adjudicator on a row in dispute, whose label stands as given
until then): with s the chance that the label as it stands is wrong, it puts right s (1 - e) labels and puts wrong
(1 - s) e, so it is worth

    s (1 - e) - (1 - s) e = s - e

Below s = e a look by itself does more harm than good. Two looks that contradict each other cancel, so a row in dispute
has s = p. **A second look** decides nothing by itself: where it disagrees, somebody decides. With m the chance that
the first look was mistaken (1 - P(wrong | looks) where it said "wrong", P(wrong | looks) where it said "right"), the
second look and what follows put right m (1 - e)^2 labels, put wrong (1 - m) e^2, and take
1 + m (1 - e) + (1 - m) e looks.

e follows from blind double reviews: two reviewers contradict each other on a share q = 2 e (1 - e) of rows. The prior
of q is a beta distribution of mean 1/10 and the weight of 20 double reviews, that is e near 5 %.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]

DISAGREEMENT_PRIOR = (2.0, 18.0)  # of the share of double reviews that contradict each other
_MOST = 0.42  # contradictions beyond this share are hardly told from guessing, at e = 0.3


def mistake_rate(pairs: int, contradictions: int) -> float:
    """Chance e that a look is mistaken, from blind double reviews and how many of them contradict each other.

    >>> round(mistake_rate(0, 0), 3), round(mistake_rate(1000, 95), 3)
    (0.053, 0.05)
    """
    a, b = DISAGREEMENT_PRIOR
    share = min((contradictions + a) / (pairs + a + b), _MOST)
    return float((1 - np.sqrt(1 - 2 * share)) / 2)


def chance_wrong(p: npt.ArrayLike, said_wrong: npt.ArrayLike, said_right: npt.ArrayLike, e: float) -> Floats:
    """Chance that a label is wrong, after looks that said so and looks that said the opposite; all (n,)."""
    logit = special.logit(np.clip(np.asarray(p, dtype=np.float64), 1e-9, 1 - 1e-9))
    more = np.asarray(said_wrong, dtype=np.float64) - np.asarray(said_right, dtype=np.float64)
    return np.asarray(special.expit(logit + more * (np.log1p(-e) - np.log(e))))


def deciding_look(s: npt.ArrayLike, e: float) -> Floats:
    """Worth of a look that decides alone, where the label as it stands is wrong with chance s (n,)."""
    return np.asarray(np.asarray(s, dtype=np.float64) - e)


def second_look(m: npt.ArrayLike, e: float) -> tuple[Floats, Floats]:
    """Worth of a blind second look where the first was mistaken with chance m (n,), and chance that it disagrees."""
    m = np.asarray(m, dtype=np.float64)
    return m * (1 - e) ** 2 - (1 - m) * e**2, m * (1 - e) + (1 - m) * e

"""Conversions between numbers, bounds, scores, rankings and preferences."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels.censored import Censored
from assay.labels.checks import Floats, as_integers, as_reals, first
from assay.labels.preferences import TIE, A, B, Preferences


def exact_from_censored(labels: Censored) -> Floats:
    """Return the values `(n,)`; refuses a row that is not known exactly. `Censored.exact` undoes it."""
    row = first(~labels.event)
    if row is not None:
        raise InputError(f"The value lies between {labels.lo[row]:g} and {labels.hi[row]:g}: not exact.", row=row)
    return labels.lo


def time_event_from_censored(labels: Censored) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return times and events `(n,)`; refuses interval-censored rows. `Censored.from_time_event` undoes it."""
    return labels.time, labels.event


def censored_at(labels: Censored, *, end: npt.ArrayLike) -> Censored:
    """Stop looking at `end`, one time or one a row: what comes later is only known to come later."""
    stop = np.broadcast_to(as_reals(np.atleast_1d(end), "End times"), labels.lo.shape)
    lo = np.minimum(labels.lo, stop)
    return Censored(labels.space, lo, np.where(labels.hi <= stop, labels.hi, np.inf))


def censored_between(labels: Censored, *, visits: npt.ArrayLike) -> Censored:
    """Look only at the rising times `visits`: each bound moves out to the nearest visit."""
    times = as_reals(visits, "Visits")
    if (np.diff(times) <= 0).any():
        raise InputError("Visits must rise.", row=int(np.argmax(np.diff(times) <= 0)) + 1)
    ladder = np.concatenate([[0.0 if labels.lo.min(initial=0) >= 0 else -np.inf], times, [np.inf]])
    below = np.maximum(np.searchsorted(ladder, labels.lo, side="right") - 1, 0)
    above = np.searchsorted(ladder, labels.hi, side="left")
    return Censored(labels.space, ladder[below], ladder[above])


def preferences_from_scores(scores: npt.ArrayLike, pairs: npt.ArrayLike, *, ties: float) -> Preferences:
    """Compare scores `(n,)` in the pairs `(p, 2)`: the higher wins, differences up to `ties` are ties.

    Loses the common level of the scores; the margin keeps the difference.
    """
    s = as_reals(scores, "Scores")
    both = as_integers(pairs, "Pairs", dtypes=(np.int64,), high=len(s), ndim=2)
    if both.shape[1:] != (2,) or not ties >= 0:
        raise InputError(f"Pairs must have shape (p, 2) and ties must be >= 0, got {both.shape} and {ties}.")
    difference = s[both[:, 0]] - s[both[:, 1]]
    winner = np.where(np.abs(difference) <= ties, TIE, np.where(difference > 0, A, B))
    return Preferences(len(s), both[:, 0], both[:, 1], winner, np.abs(difference))


def scores_from_preferences(preferences: Preferences, *, ridge: float) -> npt.NDArray[np.float64]:
    """Fit Bradley-Terry scores `(n_items,)` with mean zero; a tie is half a win for each.

    Minimises -sum log sigmoid(s_winner - s_loser) + ridge / 2 |s|^2 by Newton steps. Without the ridge, an item that
    always wins has no finite score. Dense: meant for up to a few thousand items. Margins are not used.
    """
    if not ridge > 0:
        raise InputError(f"ridge must be positive, got {ridge}: an item that always wins has no finite score without.")
    n = preferences.n_items
    wins = np.zeros((n, n))  # wins[i, j]: how often i beat j
    a, b, winner = preferences.a, preferences.b, preferences.winner
    for code, credit in ((A, (1.0, 0.0)), (B, (0.0, 1.0)), (TIE, (0.5, 0.5))):
        chosen = winner == code
        np.add.at(wins, (a[chosen], b[chosen]), credit[0])
        np.add.at(wins, (b[chosen], a[chosen]), credit[1])
    games = wins + wins.T
    scores = np.zeros(n)

    def loss(s: npt.NDArray[np.float64]) -> float:
        return float((wins * np.logaddexp(0, s[None, :] - s[:, None])).sum() + ridge / 2 * (s @ s))

    for _ in range(100):
        p = 1 / (1 + np.exp(np.clip(scores[None, :] - scores[:, None], -700, 700)))
        gradient = (games * p - wins).sum(axis=1) + ridge * scores
        if np.abs(gradient).max(initial=0) < 1e-9 * max(1.0, len(a)):
            break
        curvature = games * p * (1 - p)
        hessian = np.diag(curvature.sum(axis=1) + ridge) - curvature
        step, size = np.linalg.solve(hessian, gradient), 1.0
        while loss(scores - size * step) > loss(scores) and size > 1e-6:
            size /= 2
        scores = scores - size * step
    return np.asarray(scores - scores.mean()) if n else scores


def preferences_from_ranking(order: npt.ArrayLike) -> Preferences:
    """Read a ranking `(n,)` of the items 0..n-1, best first, as all its pairs. `ranking_from_preferences` undoes it."""
    best = as_integers(order, "The ranking", dtypes=(np.int64,))
    if not np.array_equal(np.sort(best), np.arange(len(best))):
        raise InputError(f"A ranking must hold each item from 0 to {len(best) - 1} once.")
    first_of, second_of = np.triu_indices(len(best), 1)
    a = best[first_of]
    return Preferences(len(best), a, best[second_of], np.full(len(a), A))


def ranking_from_preferences(preferences: Preferences) -> npt.NDArray[np.int64]:
    """Return the items, best first `(n_items,)`; refuses preferences that are no strict order of all items."""
    n = preferences.n_items
    beats = np.zeros((n, n), dtype=bool)
    a, b, winner = preferences.a, preferences.b, preferences.winner
    beats[a[winner == A], b[winner == A]] = True
    beats[b[winner == B], a[winner == B]] = True
    wins = beats.sum(axis=1)
    order = np.argsort(-wins)
    total = np.array_equal(wins[order], np.arange(n)[::-1]) and int(beats.sum()) == n * (n - 1) // 2
    if not total or (winner == TIE).any():
        raise InputError("These preferences are no strict order: a pair is missing, tied or part of a circle.")
    return order

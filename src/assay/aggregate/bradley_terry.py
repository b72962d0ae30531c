"""One ranking from pairwise judgements, by workers who sometimes do not look.

Give it pairs, who won each, and who judged it. It returns a score for each item with a standard deviation, and for each
worker how often they looked, and which side they favour when they did not.

Papers: Bradley, Terry 1952; Hunter 2004, "MM algorithms for generalized Bradley-Terry models"; Bugakova, Fedorova,
Gusev, Drutsa 2019, "Aggregation of pairwise comparisons with reduction of biases", arXiv 1906.03711.

    P(a beats b | worker) = skill * g[a] / (g[a] + g[b]) + (1 - skill) * lean        score[a] = log g[a]

When to use: preferences, rankings, side-by-side tests, with or without worker names. When not: likes that go in circles
(rock, paper, scissors), or items that no chain of comparisons joins (their order is then that of the prior).

Departures: each item has won and lost `prior` comparisons with an item of mean strength, so that scores stay finite and
separate groups of items may be ranked; skills and leans have Beta priors; a tie is half a win each. EM with an MM step,
whose objective never falls. crowd-kit 1.4.2 compares a vector with itself in `BradleyTerry`, so stops after two steps;
its `NoisyBradleyTerry` has a gradient that overwrites where it should add.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from assay.errors import InputError
from assay.kernels.pairwise import Judgements, pairwise_information, pairwise_step
from assay.labels.checks import as_integers
from assay.labels.preferences import TIE, A, Preferences
from assay.labels.votes import Column, code_ids

METHOD = {
    "name": "bradley_terry",
    "title": "Bradley-Terry with noisy workers",
    "paper": "Bugakova, Fedorova, Gusev, Drutsa, 2019, Aggregation of pairwise comparisons with reduction of biases",
    "arxiv": "1906.03711",
    "accepts": ["preferences"],
    "gives": ["scores", "ranking", "worker evidence"],
    "command": "assay aggregate PAIRS --method bradley_terry",
    "claim": "With careless workers in the crowd, its order is nearer the true one than that of plain Bradley-Terry.",
    "status": "stable",
}

Floats = npt.NDArray[np.float64]
# Judgements looked at and not, that each worker is believed to have made before; more of the second stretch all scores.
SKILL = (4.0, 0.2)
LEAN = (1.0, 1.0)  # the same, of blind judgements for the first and the second item
MOST_ITEMS = 3000  # above it the information matrix is not inverted


class BradleyTerry(BaseEstimator):  # type: ignore[misc]
    """Scores of m items from p judgements by w workers.

    Parameters
    ----------
    prior : wins and losses against an item of mean strength that each item starts with; 0 for maximum likelihood.
    max_iter, tol : stop when the objective rises by less than `tol` a judgement.

    Attributes
    ----------
    scores_ : (m,) log strengths, mean 0.
    strength_ : (m,) strengths, sum 1.
    sd_ : (m,) standard deviation of each score, None above 3000 items. Workers are taken as known, so with workers it
        is too small: skills and the spread of the scores are told apart only by many judgements.
    ranking_ : (m,) items, the best first.
    skill_, lean_ : (w,) share of judgements looked at; chance of the first item otherwise. Empty without workers.
    log_likelihood_ : objective after each iteration, which never falls.
    n_iter_, converged_ : iterations done, and whether they sufficed.

    Examples
    --------
    >>> wins = Preferences(3, a=[0, 1, 0, 0], b=[1, 2, 2, 1], winner=[0, 0, 0, 0])
    >>> BradleyTerry().fit(wins).ranking_.tolist()
    [0, 1, 2]
    """

    def __init__(self, prior: float = 0.1, max_iter: int = 10_000, tol: float = 1e-9) -> None:
        self.prior = prior
        self.max_iter = max_iter
        self.tol = tol

    def fit(self, preferences: Preferences, worker: Column | None = None) -> Self:
        """Learn scores, and the workers whose ids `worker` (p,) names; None: everybody looks."""
        if preferences.n_rows == 0:
            raise InputError("There are no judged pairs: expected at least one.")
        if not self.prior >= 0:
            raise InputError(f"prior must not be negative, got {self.prior}.")
        if worker is not None and len(worker) != preferences.n_rows:
            raise InputError(f"worker has {len(worker)} entries for {preferences.n_rows} judged pairs.")
        noisy = worker is not None
        ids, who = code_ids(worker) if worker is not None else (np.zeros(0, np.int64), None)
        self.worker_ids_: npt.NDArray[Any] = ids
        w = max(len(self.worker_ids_), 1)
        judged = _judgements(preferences, np.zeros(preferences.n_rows, np.int64) if who is None else who)
        count = float(judged.weight.sum())
        strength, skill, lean = np.ones(preferences.n_items), np.full(w, 0.8 if noisy else 1.0), np.full(w, 0.5)
        self.log_likelihood_: list[float] = []
        self.converged_ = False
        while len(self.log_likelihood_) < self.max_iter and not self.converged_:
            sums = pairwise_step(judged, strength, skill, lean)
            self.log_likelihood_.append(sums.total + self._log_prior(strength, skill, lean, noisy))
            below = sums.rate + 2 * self.prior / (strength + 1)
            strength = np.divide(sums.wins + self.prior, below, out=strength.copy(), where=below > 0)
            strength = _centre(np.maximum(strength, 1e-300))
            if noisy:
                skill = (sums.looked + SKILL[0]) / (sums.looked + sums.blind + sum(SKILL))
                lean = (sums.blind_first + LEAN[0]) / (sums.blind + sum(LEAN))
            course = self.log_likelihood_
            self.converged_ = len(course) > 1 and course[-1] - course[-2] < self.tol * count
        self.n_iter_ = len(self.log_likelihood_)
        logs = np.log(strength)
        self.scores_ = logs - logs.mean()
        self.strength_ = strength / strength.sum()
        self.ranking_ = np.argsort(-self.scores_, kind="stable")
        self.skill_, self.lean_ = (skill, lean) if noisy else (skill[:0], lean[:0])
        self.sd_ = self._deviations(judged, strength, skill, lean)
        self._judged = judged
        return self

    def predict_proba(self, a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
        """Chances (q, 2) that item a (q,) beats item b (q,) and the reverse, for somebody who looks."""
        m = len(self.scores_)
        first, second = as_integers(a, "Items a", high=m), as_integers(b, "Items b", high=m)
        chance = 1 / (1 + np.exp(self.scores_[second] - self.scores_[first]))
        return np.column_stack([chance, 1 - chance])

    def predict(self, a: npt.ArrayLike, b: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """0 where item a (q,) is likelier to win, else 1."""
        chance = self.predict_proba(a, b)
        return (chance[:, 1] > chance[:, 0]).astype(np.int32)

    def workers(self) -> dict[str, npt.NDArray[Any]]:
        """One row a worker: judgements, skill, lean to the first item when not looking, share of first items chosen."""
        w, judged = len(self.worker_ids_), self._judged
        count = np.bincount(judged.worker, judged.weight, minlength=w)[:w]
        chosen = np.bincount(judged.worker, judged.weight * judged.first_wins, minlength=w)[:w]
        chose_first = chosen / np.maximum(count, 1e-300)
        return {
            "worker": self.worker_ids_,
            "n_votes": count,
            "skill": self.skill_,
            "lean": self.lean_,
            "chose_first": chose_first,
        }

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """One row an item, the best first: judgements, wins (a tie is half), score, sd, 95 % interval."""
        judged, m = self._judged, len(self.scores_)
        winner = np.where(judged.first_wins, judged.first, judged.second)
        wins = np.bincount(winner, judged.weight, minlength=m)
        seen = np.bincount(judged.first, judged.weight, minlength=m)
        seen += np.bincount(judged.second, judged.weight, minlength=m)
        sd = np.full(m, np.nan) if self.sd_ is None else self.sd_
        at = self.ranking_
        return {
            "item": at,
            "n_votes": seen[at],
            "wins": wins[at],
            "score": self.scores_[at],
            "sd": sd[at],
            "low": (self.scores_ - 1.96 * sd)[at],
            "high": (self.scores_ + 1.96 * sd)[at],
        }

    def _log_prior(self, strength: Floats, skill: Floats, lean: Floats, noisy: bool) -> float:
        logs = self.prior * np.sum(np.log(strength) - 2 * np.log1p(strength))
        if noisy:
            logs += np.sum(SKILL[0] * np.log(skill) + SKILL[1] * np.log(1 - skill))
            logs += np.sum(LEAN[0] * np.log(lean) + LEAN[1] * np.log(1 - lean))
        return float(logs)

    def _deviations(self, judged: Judgements, strength: Floats, skill: Floats, lean: Floats) -> Floats | None:
        m = len(strength)
        if m > MOST_ITEMS:
            return None
        information = pairwise_information(judged, strength, skill, lean)
        information[np.diag_indices(m)] += 2 * self.prior * strength / (1 + strength) ** 2
        centred = np.eye(m) - 1 / m  # scores have mean 0
        covariance = centred @ np.linalg.pinv(information, hermitian=True) @ centred
        deviations: Floats = np.sqrt(np.maximum(np.diag(covariance), 0))
        return deviations


def _centre(strength: Floats) -> Floats:
    """Scale strengths (m,) to the best common factor against the item of mean strength.

    MM alone would crawl along this direction, which only the prior, or nothing, holds.
    """
    logs = np.log(strength)
    shift = -float(np.median(logs))
    for _ in range(20):
        win = 1 / (1 + np.exp(-logs - shift))
        step = float(np.clip(np.sum(1 - 2 * win) / (2 * np.sum(win * (1 - win)) + 1e-300), -1.0, 1.0))
        shift += step
        if abs(step) < 1e-12:
            break
    centred: Floats = np.exp(logs + shift)
    return centred


def _judgements(preferences: Preferences, worker: npt.NDArray[np.int64]) -> Judgements:
    """Rows for the kernel; a tie becomes two half judgements."""
    tie = preferences.winner == TIE
    first, second, who = (np.concatenate([c, c[tie]]) for c in (preferences.a, preferences.b, worker))
    weight = np.concatenate([np.where(tie, 0.5, 1.0), np.full(int(tie.sum()), 0.5)])
    wins = np.concatenate([(preferences.winner == A) | tie, np.zeros(int(tie.sum()), dtype=bool)])
    return Judgements(first.astype(np.int64), second.astype(np.int64), wins, who.astype(np.int64), weight)

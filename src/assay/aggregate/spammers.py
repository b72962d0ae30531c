"""Who does not look at the task: answers that do not depend on the truth, one answer always, and copied answers.

A worker who errs in his own way still tells something; one whose answers are the same whatever is true tells nothing,
and two who share one answer sheet are one voice. Copies are known by errors in common: honest people agree where they
are right, and seldom on the same wrong answer.

Papers: Raykar, Yu, "Eliminating Spammers and Ranking Annotators for Crowdsourced Labeling Tasks", JMLR 2012; false
discoveries among pairs held as in Benjamini, Hochberg, 1995.

    informed[j] = sum over truths c of |A[c] - mean A|^2 / (k - 1),  A[c] = P(said | truth c) of worker j; noise removed
    p(a, b)     = P(Poisson(expected) >= observed),  observed = sum over tasks of [same answer] * (1 - belief of it)

When to use: before paying, before trusting a panel of models. When not: workers with few votes, or beliefs that rest on
the copies themselves (then their errors look right): use gold, or a belief from the other workers.

Departures: the variance of estimated tables is taken off the score, so that guessers score 0 on average and not more;
common errors are expected as often as all pairs of workers share them, since hard tasks mislead the honest too.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import special, stats
from sklearn.base import BaseEstimator

from assay.aggregate import require_tasks, table_of
from assay.errors import InputError
from assay.kernels.vote_copies import RepeatedErrors, answer_counts, repeated_errors
from assay.labels import Soft, Votes

METHOD = {
    "name": "spammers",
    "title": "Spammers and copies",
    "paper": "Raykar, Yu, 2012, Eliminating Spammers and Ranking Annotators for Crowdsourced Labeling Tasks",
    "arxiv": None,
    "accepts": ["votes", "soft"],
    "gives": ["worker spam", "worker copies", "vote evidence"],
    "command": "from assay.aggregate.spammers import Spammers",
    "claim": "Guessers, constant answers and copies in a crowd of 30 are found; few honest workers are accused.",
    "status": "experimental",
}

Floats = npt.NDArray[np.float64]


def informed(counts: Floats) -> Floats:
    """How far answers depend on the truth (w,), 0 not at all, 1 wholly, given expected votes (w, k, k).

    Squared distance of the rows of each table from their mean, less what sampling alone makes of it. Truths with
    fewer than two votes are left out; NaN where fewer than two truths are left.
    """
    seen = counts.sum(axis=2)
    usable = seen >= 2
    rows = np.divide(counts, seen[:, :, None], out=np.zeros_like(counts), where=usable[:, :, None])
    r = usable.sum(axis=1)
    many = np.maximum(r, 1)[:, None]
    mean = rows.sum(axis=1) / many
    apart = np.sum((rows - mean[:, None]) ** 2 * usable[:, :, None], axis=(1, 2))
    noise = np.where(usable, (1 - np.sum(rows**2, axis=2)) / np.maximum(seen - 1, 1), 0.0).sum(axis=1)
    score = (apart - noise * (1 - 1 / many[:, 0])) / np.maximum(r - 1, 1)
    return np.where(r >= 2, np.clip(score, 0.0, 1.0), np.nan)


def blind_p(counts: Floats) -> Floats:
    """Chance (w,) of answers that hang on the truth so much if the worker did not look (chi-square of the table).

    Expected votes (w, k, k) at [worker, truth, said]; 1 for a worker with one answer or tasks of one truth.
    """
    truth, said = counts.sum(axis=2), counts.sum(axis=1)
    total = np.maximum(truth.sum(axis=1), 1e-300)[:, None, None]
    alone = truth[:, :, None] * said[:, None, :] / total
    excess = np.divide((counts - alone) ** 2, alone, out=np.zeros_like(counts), where=alone > 1e-12)
    free = np.maximum((truth > 1e-9).sum(axis=1) - 1, 0) * np.maximum((said > 1e-9).sum(axis=1) - 1, 0)
    return np.where(free > 0, special.chdtrc(np.maximum(free, 1), excess.sum(axis=(1, 2))), 1.0)


def copy_p(found: RepeatedErrors) -> tuple[Floats, Floats]:
    """Chance (p,) of so many errors in common if workers look for themselves (Poisson), and how many to expect (p,).

    Expectations are raised by one factor for all pairs, to what all pairs together share. The tail of a sum of small
    independent chances lies below that of Poisson.
    """
    ratio = found.observed.sum() / max(min(found.forth.sum(), found.back.sum()), 1e-300)
    expected = max(1.0, float(ratio)) * np.maximum(found.forth, found.back)
    some = found.observed > 1e-9
    return np.where(some, special.gammainc(np.where(some, found.observed, 1.0), expected), 1.0), expected


class Spammers(BaseEstimator):  # type: ignore[misc]
    """Uninformed and copying workers (n tasks, w workers, k classes, v votes).

    Parameters
    ----------
    informed : score below which a worker is a spammer, unless the answers hang on the truth beyond chance (`level`);
        0.05 is 61 % right of two equally frequent classes.
    min_votes : workers with fewer votes are not called spammers.
    min_common : pairs of workers with fewer common votes are not tested for copying.
    level : largest expected share of false alarms among the pairs called copies; level of the test of looking.

    Attributes
    ----------
    spammer_, copier_ : (w,) bool, in the order of `votes.worker_ids`; a copier belongs to a pair of copies.

    Examples
    --------
    >>> from assay.labels import Space
    >>> space, n = Space(("no", "yes")), 40
    >>> truth = np.arange(n) % 2
    >>> said = np.concatenate([truth, np.ones(n, int)])  # ann looks, bob always says yes
    >>> two = np.tile(np.arange(n), 2), np.repeat([0, 1], n), said
    >>> votes = Votes(space, *two, np.arange(n), np.array(["ann", "bob"]))
    >>> rows = Spammers().fit(votes, Soft(space, np.eye(2)[truth])).workers()
    >>> rows["informed"].tolist(), rows["constant"].tolist(), rows["spammer"].tolist()
    ([1.0, 0.0], [0.5, 1.0], [False, True])
    """

    def __init__(self, informed: float = 0.05, min_votes: int = 20, min_common: int = 10, level: float = 0.05) -> None:
        self.informed = informed
        self.min_votes = min_votes
        self.min_common = min_common
        self.level = level

    def fit(self, votes: Votes, belief: Soft) -> Self:
        """Judge each worker and pair, given what is believed of each task: `belief` (n, k), order of `votes.task_ids`.

        Tasks without a belief are left out.
        """
        self._check(votes, belief)
        known = votes if belief.mask is None else votes.take(np.flatnonzero(belief.mask))
        p = np.ascontiguousarray(belief.p if belief.mask is None else belief.p[belief.mask], dtype=np.float64)
        table = table_of(known)
        counts = answer_counts(table, p)
        self._n_votes = table.per_worker()
        said = counts.sum(axis=1)
        total = said.sum(axis=1)
        none = np.full(votes.n_workers, np.nan)
        self._constant = np.divide(said.max(axis=1, initial=0.0), total, out=none, where=total > 0)
        self._informed = informed(counts)
        self._blind = blind_p(counts)
        idle = (self._informed < self.informed) & (self._blind > self.level)
        self.spammer_: npt.NDArray[np.bool_] = idle & (self._n_votes >= self.min_votes)
        usual = counts.sum(axis=0) + 1e-10
        tables = counts + usual / usual.sum(axis=1, keepdims=True)
        found = repeated_errors(table, p, tables / tables.sum(axis=2, keepdims=True))
        chance, self._expected = copy_p(found)
        tested = found.common >= self.min_common
        self._p, self._q = np.where(tested, chance, np.nan), np.full(len(chance), np.nan)
        if tested.any():
            self._q[tested] = stats.false_discovery_control(chance[tested])
        self._copies = self._q <= self.level
        self._pairs, self._votes = found, votes
        members = np.concatenate([found.first[self._copies], found.second[self._copies]])
        self._partners = np.bincount(members, minlength=votes.n_workers)
        self.copier_: npt.NDArray[np.bool_] = self._partners > 0
        self._right = belief.p[votes.task, votes.label].astype(np.float64)
        if belief.mask is not None:
            self._right[~belief.mask[votes.task]] = np.nan
        return self

    def workers(self) -> dict[str, npt.NDArray[Any]]:
        """One row a worker.

        `worker`, `n_votes` on tasks with a belief, `informed` 0..1, `p_blind` (chance of such answers without a look),
        `constant` (share of the most frequent answer), `spammer`, and `copies`, the number of workers with whom errors
        are shared beyond chance.
        """
        columns = {"worker": self._votes.worker_ids, "n_votes": self._n_votes, "informed": self._informed}
        columns |= {"p_blind": self._blind, "constant": self._constant}
        return {**columns, "spammer": self.spammer_, "copies": self._partners}

    def copies(self) -> dict[str, npt.NDArray[Any]]:
        """One row a tested pair, surest first.

        `worker`, `other`, `common` votes, `same_errors` and how many are `expected`, `p`, `q` (p among all
        pairs tested), and `copies`, whether q is within the level.
        """
        tested = np.flatnonzero(~np.isnan(self._p))
        rows = tested[np.argsort(self._p[tested], kind="stable")]
        names = self._votes.worker_ids
        return {
            "worker": names[self._pairs.first[rows]],
            "other": names[self._pairs.second[rows]],
            "common": self._pairs.common[rows],
            "same_errors": self._pairs.observed[rows],
            "expected": self._expected[rows],
            "p": self._p[rows],
            "q": self._q[rows],
            "copies": self._copies[rows],
        }

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """One row a vote: `task`, `worker`, `right` 0..1 (NaN unknown), and whether cast by a `spammer` or `copier`."""
        votes = self._votes
        names = {"task": votes.task_ids[votes.task], "worker": votes.worker_ids[votes.worker]}
        who = {"spammer": self.spammer_[votes.worker], "copier": self.copier_[votes.worker]}
        return {**names, "right": self._right, **who}

    def _check(self, votes: Votes, belief: Soft) -> None:
        if not 0 < self.level < 1 or not 0 <= self.informed <= 1:
            raise InputError(f"level and informed are shares between 0 and 1, got {self.level} and {self.informed}.")
        if self.min_votes < 1 or self.min_common < 1:
            raise InputError(f"min_votes and min_common are at least 1, got {self.min_votes} and {self.min_common}.")
        require_tasks(votes, belief, "belief")

"""Find out what is true and how often each worker is right, from votes alone: one number for every worker.

Each worker has a skill, the chance to say the truth, whatever the truth is; errors fall on the other classes alike.
With few votes a worker this learns more than a table of k x k numbers can.

Paper: Zhang, Chen, Zhou, Jordan, "Spectral Methods Meet EM: A Provably Optimal Algorithm for Crowdsourcing", JMLR 2016,
arXiv 1406.3824 (the one-coin model of Dawid and Skene 1979).

    belief[i, c] ~ prior[c] * product over votes (j, l) on task i of (skill[j] if l = c else (1 - skill[j]) / (k - 1))
    skill[j]     = (smoothing * average + sum over votes l of j of belief[task, l]) / (smoothing + votes of j)

When to use: few votes a worker, many classes, no class that all confuse. When not: workers biased towards a class, or
classes that are hard to tell apart: use Dawid-Skene. Beliefs are over-confident; calibrate them.

Departures: the likelihood is the true marginal one; `smoothing` holds each skill near the average worker's, as vote
shares show it; with smoothing=0 the beliefs equal those of crowd-kit 1.4.2 after equal iterations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from assay.aggregate import LearnedWorkers
from assay.kernels.intervals import wilson

METHOD = {
    "name": "one_coin",
    "title": "One-coin Dawid-Skene",
    "paper": "Zhang, Chen, Zhou, Jordan, 2016, Spectral Methods Meet EM",
    "arxiv": "1406.3824",
    "accepts": ["votes"],
    "gives": ["soft", "worker skill", "task evidence"],
    "command": "assay aggregate VOTES --method one_coin",
    "claim": "On the RTE votes of Snow et al. the most probable class is right for at least 92 % of the tasks.",
    "status": "stable",
}

Floats = npt.NDArray[np.float64]


def average_skill(counts: Floats) -> Floats:
    """Shares (2,) of right and wrong votes of all workers as one, from expected votes (w, 2); even without votes."""
    total = counts.sum(axis=0)
    return np.asarray(total / total.sum() if total.sum() > 0 else np.full(2, 0.5))


def skills(counts: Floats, smoothing: float, average: Floats) -> Floats:
    """Most probable chances (w, 2) to be right and wrong, given expected votes (w, 2) and a beta prior.

    The prior is worth `smoothing` votes of the `average` worker (2,). Workers without votes are average.
    """
    seen = counts + smoothing * average
    total = seen.sum(axis=1, keepdims=True)
    chances: Floats = np.divide(seen, total, out=np.broadcast_to(average, seen.shape).copy(), where=total > 0)
    return chances


class OneCoin(LearnedWorkers):
    """One-coin Dawid-Skene over votes (n tasks, w workers, k classes).

    Parameters
    ----------
    smoothing : pseudo-votes of the average worker that each worker has; 0 is maximum likelihood.
    prior : "learned", "uniform", or (k,) shares of the classes among tasks.
    max_iter : most EM steps.
    tol : gain of the log-posterior, per vote, below which the ascent ends.
    accelerate : jump along the path of the ascent (SQUAREM) where that gains; fewer steps, the same guarantee.
    device : a device of torch for the sweeps of `fit`, "cuda" for a GPU; None is the processor.
    ties : for `predict`: "lowest" code, or "seeded" draw.
    random_state : seed of the draw.

    Attributes
    ----------
    belief_ : Soft (n, k), rows in the order of `votes.task_ids`; not kept by `fit_blocks`.
    prior_ : (k,) P(truth).
    skill_ : (w,) P(said = truth).
    worker_ids_ : (w,).
    log_likelihood_ : per step, the log-probability of all votes. Never falls with smoothing=0.
    log_posterior_ : per step, the same plus the log-density of the skills; what is climbed, never falls.
    n_iter_, converged_ : steps taken (those taken back too), and whether `tol` ended them.

    Examples
    --------
    >>> from assay.labels import Votes
    >>> said = ["no", "no", "yes", "yes", "yes", "yes"]
    >>> votes = Votes.from_long(["a", "a", "a", "b", "b", "b"], ["x", "y", "z", "x", "y", "z"], said)
    >>> OneCoin().fit(votes).predict(votes).tolist()
    [0, 1]
    """

    _one_coin = True

    @property
    def skill_(self) -> Floats:
        """P(said = truth) (w,)."""
        return np.exp(self._model.log_worker[:, 0])

    def workers(self) -> dict[str, npt.NDArray[Any]]:
        """One row a worker: `worker`, `n_votes`, `skill` and its 95 % interval `low`, `high`."""
        low, high = wilson(np.minimum(self.skill_, 1.0) * self._n_votes, self._n_votes)
        columns = {"worker": self.worker_ids_, "n_votes": self._n_votes, "skill": self.skill_}
        return {**columns, "low": low, "high": high}

    def _average(self, counts: Floats) -> Floats:
        return average_skill(counts)

    def _maximise(self, counts: Floats, average: Floats) -> Floats:
        return skills(counts, self.smoothing, average)

"""Find out what is true and how each worker errs, from votes alone: a confusion table for every worker.

A worker who takes cats for dogs but never dogs for cats is still useful, once that is known. Tables and truths are
learned together: believed truths give the tables, tables give better beliefs.

Papers: Dawid, Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm", Applied Statistics
28, 1979; as soft labels: Wright, Augenstein, "Aggregating Soft Labels from Crowd Annotations", arXiv 2212.09409.

    belief[i, c]       ~ prior[c] * product over votes (j, l) on task i of confusion[j, c, l]
    confusion[j, c, l] ~ smoothing * average[c, l] + sum over votes l of worker j of belief[task, c]

When to use: several votes a task and tens of votes a worker, workers who err in their own ways. When not: one vote a
task (nothing can be learned), very few votes a worker (use one coin), errors that workers share (they count twice).
Beliefs are over-confident: votes on a hard task are not independent. Calibrate them before their numbers matter.

Departures: the likelihood is the true marginal one (crowd-kit adds the prior once a vote, so that its stopping rule is
not monotone); `smoothing` holds each table near the average worker's, as vote shares show it; with smoothing=0 the
beliefs equal those of crowd-kit 1.4.2 after equal iterations; gold is kept in the first step as in the later ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from assay.aggregate import LearnedWorkers
from assay.kernels.intervals import wilson
from assay.kernels.vote_em import FLOOR

METHOD = {
    "name": "dawid_skene",
    "title": "Dawid-Skene",
    "paper": "Dawid, Skene, 1979, Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm",
    "arxiv": None,
    "accepts": ["votes"],
    "gives": ["soft", "worker confusion", "task evidence"],
    "command": "assay aggregate VOTES --method dawid_skene",
    "claim": "On the RTE votes of Snow et al. the most probable class is right for at least 92.5 % of the tasks.",
    "status": "stable",
}

Floats = npt.NDArray[np.float64]


def average_worker(counts: Floats) -> Floats:
    """P(said | truth) (k, k) at [said, truth] of all workers as one, from expected votes (w, k, k)."""
    total: Floats = np.maximum(counts.sum(axis=0), FLOOR)
    return np.asarray(total / total.sum(axis=0))


def said_given_truth(counts: Floats, smoothing: float, average: Floats) -> Floats:
    """Most probable tables (w, k, k) at [worker, said, truth], given expected votes and a Dirichlet prior.

    The prior is worth `smoothing` votes of the `average` worker (k, k) in each true class. Without it an answer that
    the worker gave has at least 1e-10 of a vote, and one never given tells nothing. Workers without votes are average.
    """
    said = np.maximum(counts + smoothing * average, FLOOR)
    if not smoothing:
        said[counts.sum(axis=2) == 0] = 0.0
    total = said.sum(axis=1, keepdims=True)
    tables: Floats = np.divide(said, total, out=np.broadcast_to(average, said.shape).copy(), where=total > 0)
    return tables


class DawidSkene(LearnedWorkers):
    """Dawid-Skene over votes (n tasks, w workers, k classes).

    Parameters
    ----------
    smoothing : pseudo-votes of the average worker that each worker has in each true class; 0 is maximum likelihood.
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
    confusion_ : (w, k, k) P(said | truth) at [worker, truth, said].
    worker_ids_ : (w,).
    log_likelihood_ : per step, the log-probability of all votes. Never falls with smoothing=0.
    log_posterior_ : per step, the same plus the log-density of the tables; what is climbed, never falls.
    n_iter_, converged_ : steps taken (those taken back too), and whether `tol` ended them.

    Examples
    --------
    >>> from assay.labels import Votes
    >>> said = ["no", "no", "yes", "yes", "yes", "yes"]
    >>> votes = Votes.from_long(["a", "a", "a", "b", "b", "b"], ["x", "y", "z", "x", "y", "z"], said)
    >>> DawidSkene().fit(votes).predict(votes).tolist()
    [0, 1]
    """

    _one_coin = False

    @property
    def confusion_(self) -> Floats:
        """P(said | truth) (w, k, k) at [worker, truth, said]."""
        return np.exp(self._model.log_worker).transpose(0, 2, 1)

    def workers(self) -> dict[str, npt.NDArray[Any]]:
        """One row a worker: `worker`, `n_votes`, `accuracy` (95 % interval `low`, `high`), and `bits`.

        The interval takes the beliefs for certain. `bits` is the information that one vote of this worker carries about
        the truth: 0 for a worker who does not look.
        """
        joint = self.prior_[:, None] * self.confusion_
        accuracy = np.trace(joint, axis1=1, axis2=2)
        low, high = wilson(np.minimum(accuracy, 1.0) * self._n_votes, self._n_votes)
        alone = self.prior_[:, None] * joint.sum(axis=1, keepdims=True)
        bits = np.sum(joint * np.log2(np.maximum(joint, FLOOR**2) / np.maximum(alone, FLOOR**2)), axis=(1, 2))
        columns = {"worker": self.worker_ids_, "n_votes": self._n_votes, "accuracy": accuracy}
        return {**columns, "low": low, "high": high, "bits": np.maximum(bits, 0.0)}

    def _average(self, counts: Floats) -> Floats:
        return average_worker(counts)

    def _maximise(self, counts: Floats, average: Floats) -> Floats:
        return said_given_truth(counts, self.smoothing, average)

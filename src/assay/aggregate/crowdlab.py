"""One belief from a classifier's probabilities and a few votes a task, each counted by how far it can be trusted.

Give it the votes and, for each task, the probabilities of a model that did not train on that task's labels. Where many
people voted, they decide; where one did, the model has a say. It returns the consensus, the chance that it is right,
the chance that each single vote is right, and the worth of each worker and of the model.

Paper: Goh, Tkachenko, Mueller 2022, "CROWDLAB: Supervised learning to infer consensus labels and quality scores for
data with multiple annotators", arXiv 2210.06812.

    belief[i] = (m * p[i] + sum_j w_j * vote(i, j)) / (m + sum_j w_j)
    vote(i, j)[c] = P if j said c, else (1 - P) / (k - 1)       P: mean agreement of votes with the consensus
    w_j = 1 - error of j against other workers / error of always saying the commonest class; m likewise, times
        the root of the mean number of votes a task

When to use: one to five votes a task and a decent model. When not: without a model (Dawid-Skene and its kin use
confusions), or with probabilities of a model that saw these labels.

Departures: equal to cleanlab 2.9 (`get_label_quality_multiannotator`, best quality) where each worker votes once on a
task; beyond it, weights, several votes by a worker (compared with others' votes alone) and tasks without a vote (the
model's word) are defined, and the last ties fall to the lowest class instead of an unseeded draw.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from assay.aggregate import require_tasks, task_evidence
from assay.errors import InputError
from assay.kernels.belief_rows import top_class
from assay.kernels.vote_order import worker_codes
from assay.labels.soft import Soft
from assay.labels.votes import Votes

METHOD = {
    "name": "crowdlab",
    "title": "CROWDLAB",
    "paper": "Goh, Tkachenko, Mueller, 2022, CROWDLAB: Supervised learning to infer consensus labels and quality "
    "scores for data with multiple annotators",
    "arxiv": "2210.06812",
    "accepts": ["votes", "soft"],
    "gives": ["soft", "hard", "vote quality", "worker evidence"],
    "command": "from assay.aggregate.crowdlab import Crowdlab",
    "claim": "With few votes a task, model and votes together are right more often than the votes or the model alone.",
    "status": "stable",
}

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
LEAST = 1e-6  # of any weight and of the baseline's error


class Crowdlab(BaseEstimator):  # type: ignore[misc]
    """CROWDLAB over votes and a model's probabilities (n tasks, w workers, k classes, v votes).

    Parameters
    ----------
    consensus : "best_quality" takes the most probable class of the belief and weighs everything anew by it;
        "majority" stays with the votes.

    Attributes
    ----------
    belief_ : Soft (n, k) over the space of the votes.
    consensus_ : (n,) int32.
    quality_ : (n,) belief in the consensus.
    agreement_ : (n,) share of the votes that agree with the consensus, NaN without votes.
    vote_quality_ : (v,) belief in each vote, in the order of the votes.
    model_weight_, worker_weight_ : weight of the model, and of each worker (w,).
    vote_accuracy_ : P, the chance given to a vote.

    Examples
    --------
    >>> votes = Votes.from_long(["a", "a", "b", "b", "c"], ["u", "v", "u", "v", "u"], ["x", "x", "y", "y", "x"])
    >>> model = Crowdlab().fit(votes, np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]]))
    >>> model.consensus_.tolist(), model.quality_.round(2).tolist()
    ([0, 1, 1], [0.96, 0.92, 0.51])
    """

    def __init__(self, consensus: Literal["best_quality", "majority"] = "best_quality") -> None:
        self.consensus = consensus

    def fit(self, votes: Votes, pred_probs: Soft | npt.ArrayLike) -> Self:
        """Weigh model and workers against each other; `pred_probs` (n, k), one row a task, columns as in the space."""
        if self.consensus not in ("best_quality", "majority"):
            raise InputError(f"consensus must be 'best_quality' or 'majority', got {self.consensus!r}.")
        p = _probabilities(votes, pred_probs)
        cell, n_workers = votes.task.astype(np.int64) * votes.n_workers + votes.worker, votes.n_workers
        weight = votes.weight_per_vote()
        counts = votes.totals()
        pair, inverse = np.unique(cell, return_inverse=True)  # a worker on a task, however many votes
        several = np.bincount(pair // n_workers, minlength=votes.n_rows) > 1
        if not several.any():
            raise InputError("No task has votes of two workers: nothing says how far a vote can be trusted.")
        own = np.bincount(inverse, weight)[inverse]
        key = inverse * votes.space.n_classes + votes.label
        own_same = np.bincount(key, weight)[key]
        self._votes, self._several = votes, several
        self.space_, self.worker_ids_ = votes.space, votes.worker_ids
        others = np.bincount(votes.worker, weight * (counts.sum(axis=1)[votes.task] - own), n_workers)
        agree = np.bincount(votes.worker, weight * (counts[votes.task, votes.label] - own_same), n_workers)
        self._peer = _ratio(agree, others)
        majority = self._majority(votes, p, counts)
        self._weigh(votes, p, counts, majority)
        if self.consensus == "best_quality":
            best = self.belief_.p == self.belief_.p.max(axis=1, keepdims=True)
            majority = np.where(best.sum(axis=1) == 1, best.argmax(axis=1), majority)
            self._weigh(votes, p, counts, majority)
        rows = np.arange(votes.n_rows)
        self.consensus_ = majority.astype(np.int32)
        self.quality_ = self.belief_.p[rows, majority]
        self.agreement_ = _ratio(counts[rows, majority], counts.sum(axis=1))
        self.vote_quality_ = self.belief_.p[votes.task, votes.label]
        return self

    def predict_proba(self, votes: Votes, pred_probs: Soft | npt.ArrayLike) -> Floats:
        """Belief (n', k) for new tasks; workers are matched by id, an unknown one has the mean weight."""
        self.space_.require(votes.space)
        at = worker_codes(self.worker_ids_, votes.worker_ids)
        weights = np.append(self.worker_weight_, self.worker_weight_.mean())[at]
        return _pool(votes, _probabilities(votes, pred_probs), weights, self.model_weight_, self.vote_accuracy_)

    def predict(self, votes: Votes, pred_probs: Soft | npt.ArrayLike) -> npt.NDArray[np.int32]:
        """Most probable class (n',) of new tasks, the lowest among ties."""
        return top_class(self.predict_proba(votes, pred_probs))

    def workers(self) -> dict[str, npt.NDArray[Any]]:
        """One row a worker: votes, weight, quality, agreement with the consensus and with others, worst class.

        `quality` is NaN for a worker who never shared a task. `worst_class` is the class that, when said, is least
        often the consensus; -1 without votes.
        """
        votes, w = self._votes, len(self.worker_ids_)
        weight, right = votes.weight_per_vote(), self._votes.label == self.consensus_[self._votes.task]
        shared = weight * self._several[votes.task]
        count = np.bincount(votes.worker, weight, w)
        mean_quality = _ratio(np.bincount(votes.worker, weight * self.vote_quality_, w), count)
        among = _ratio(np.bincount(votes.worker, shared * right, w), np.bincount(votes.worker, shared, w))
        per_task = votes.totals().sum(axis=1)
        crowd = self.worker_weight_.sum() * per_task[per_task > 0].mean() / w
        share = self.model_weight_ / (self.model_weight_ + crowd)
        return {
            "worker": self.worker_ids_,
            "n_votes": count,
            "weight": self.worker_weight_,
            "quality": share * mean_quality + (1 - share) * among,
            "agreement": _ratio(np.bincount(votes.worker, weight * right, w), count),
            "agreement_with_others": self._peer,
            "worst_class": self._worst(votes, weight, right),
        }

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """One row a task: what every aggregator says, and the consensus, belief in it, share of votes that agree."""
        columns = {"consensus": self.consensus_, "quality": self.quality_, "agreement": self.agreement_}
        return {**task_evidence(self._votes, self.belief_.p), **columns}

    def _majority(self, votes: Votes, p: Floats, counts: Floats) -> Codes:
        """Most votes; ties fall to the model, then the rarer class, then the better workers, then the lowest code."""
        tied = counts == counts.max(axis=1, keepdims=True)
        clear = tied.sum(axis=1) == 1
        tied = _keep_best(tied, p)
        tied = _keep_best(tied, np.broadcast_to(-counts.sum(axis=0), counts.shape))
        if (tied.sum(axis=1) > 1).any() and clear.any():
            weight = votes.weight_per_vote()
            judged = weight * clear[votes.task]
            right = votes.label == counts.argmax(axis=1)[votes.task]
            w = votes.n_workers
            agree = _ratio(np.bincount(votes.worker, judged * right, w), np.bincount(votes.worker, judged, w))
            agree = np.where(np.isnan(agree), np.nanmean(agree), agree)
            cell = votes.task.astype(np.int64) * counts.shape[1] + votes.label
            score = np.bincount(cell, weight * agree[votes.worker], counts.size).reshape(counts.shape)
            tied = _keep_best(tied, np.nan_to_num(_ratio(score, counts), nan=-1.0))
        return np.asarray(tied.argmax(axis=1), dtype=np.int64)

    def _weigh(self, votes: Votes, p: Floats, counts: Floats, consensus: Codes) -> None:
        """Set weights and belief as the consensus (n,) tells them."""
        several = np.flatnonzero(self._several)
        settled = consensus[several]
        agreement = counts[several, settled] / counts[several].sum(axis=1)
        self.vote_accuracy_ = float(agreement.mean())
        commonest = np.bincount(settled, minlength=counts.shape[1]).argmax()
        baseline = max(float(np.mean(settled != commonest)), LEAST)
        peer = np.where(np.isnan(self._peer), np.nanmean(self._peer), self._peer)
        self.worker_weight_ = np.maximum(1 - (1 - peer) / baseline, LEAST)
        error = float(np.mean(p[several].argmax(axis=1) != settled))
        per_task = counts.sum(axis=1)
        self.model_weight_ = max(1 - error / baseline, LEAST) * float(np.sqrt(per_task[per_task > 0].mean()))
        belief = _pool(votes, p, self.worker_weight_, self.model_weight_, self.vote_accuracy_)
        self.belief_ = Soft(votes.space, belief)

    def _worst(self, votes: Votes, weight: Floats, right: npt.NDArray[np.bool_]) -> Codes:
        k = votes.space.n_classes
        key, inverse = np.unique(votes.worker.astype(np.int64) * k + votes.label, return_inverse=True)
        count = np.bincount(inverse, weight)
        accuracy = _ratio(np.bincount(inverse, weight * right), count)
        sure = _ratio(np.bincount(inverse, weight * self.quality_[votes.task]), count)
        worker, label = np.divmod(key, k)
        order = np.lexsort((label, -sure, -count, accuracy, worker))
        who, first = np.unique(worker[order], return_index=True)
        worst = np.full(votes.n_workers, -1, dtype=np.int64)
        worst[who] = label[order][first]
        return worst


def _pool(votes: Votes, p: Floats, worker_weight: Floats, model_weight: float, accuracy: float) -> Floats:
    """Weighted mean of the model's and the votes' distributions (n, k)."""
    n, k = p.shape
    wrong = (1 - accuracy) / (k - 1)
    trust = votes.weight_per_vote() * worker_weight[votes.worker]
    cell = votes.task.astype(np.int64) * k + votes.label
    said = np.bincount(cell, trust, n * k).reshape(n, k)
    total = said.sum(axis=1, keepdims=True)
    return np.asarray((model_weight * p + wrong * total + (accuracy - wrong) * said) / (model_weight + total))


def _keep_best(tied: npt.NDArray[np.bool_], score: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Of the tied classes (n, k) those with the largest score."""
    best = np.where(tied, score, -np.inf)
    return np.asarray(tied & (best == best.max(axis=1, keepdims=True)))


def _ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> Floats:
    ratio: Floats = np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)
    return ratio


def _probabilities(votes: Votes, pred_probs: Soft | npt.ArrayLike) -> Floats:
    if votes.space.n_classes < 2:
        raise InputError(f"CROWDLAB needs at least two classes, the space has {votes.space.n_classes}.")
    soft = pred_probs if isinstance(pred_probs, Soft) else Soft(votes.space, np.asarray(pred_probs))
    require_tasks(votes, soft, "pred_probs")
    if not soft.present.all():
        raise InputError("Each task needs the model's probabilities.", row=int(np.argmin(soft.present)))
    return soft.p.astype(np.float64)

"""Average several beliefs about the same tasks: no single aggregator wins everywhere, their mean nearly does.

Vote shares are too shy, Dawid-Skene is too sure, and which of them is nearest to the truth differs from one crowd to
the next. Averaging the soft labels of all is safe: wherever one of them leaves a chance, so does the mean.

Paper: Wright, Augenstein, "Aggregating Soft Labels from Crowd Annotations Improves Uncertainty Estimation Under
Distribution Shift", PLOS ONE 2025, arXiv 2212.09409.

    mean:         belief[i] = sum over m of weight[m] * belief_m[i]
    js_centroid:  belief[i] = argmin over q of sum over m of weight[m] * JSD(q, belief_m[i])
    tempered:     the mean, each belief first at a temperature that brings all of them together
    hybrid:       the centroid of those

When to use: always before a soft label is trained on; `assay aggregate` without --method does, with weights and
temperatures learned from held-out votes. When not: a hard label is all you need, or one method is known to be right.

Choices of ours: the members are given as beliefs, so any aggregator may take part; a geometric mean is not offered (one
member's zero would rule out a class). The eight labels of the paper are `Majority("share")`, `Majority("softmax")`,
`DawidSkene`, `MACE`, `GLAD`, `Wawa`, `ZeroBasedSkill` and this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from assay.aggregate import task_evidence
from assay.errors import InputError
from assay.kernels.belief_rows import Ties, top_class
from assay.kernels.soft_means import js_centroid, js_divergence, match_temperatures, mean, temper
from assay.labels import Soft, Votes

METHOD = {
    "name": "soft_ensemble",
    "title": "Soft ensemble",
    "paper": "Wright, Augenstein, 2025, Aggregating Soft Labels from Crowd Annotations Improves Uncertainty Estimation",
    "arxiv": "2212.09409",
    "accepts": ["votes", "soft"],
    "gives": ["soft", "member evidence", "task evidence"],
    "command": "assay aggregate VOTES",
    "claim": "On the RTE votes of Snow et al. the mean of seven soft labels has a log-loss of 0.23 or less.",
    "status": "stable",
}

Floats = npt.NDArray[np.float64]
Combine = Literal["mean", "js_centroid", "tempered", "hybrid"]


class SoftEnsemble(BaseEstimator):  # type: ignore[misc]
    """A mean of beliefs (m members, n tasks, k classes).

    Parameters
    ----------
    combine : "mean", "js_centroid", "tempered" or "hybrid".
    members : names of the beliefs to use; None takes all that are given.
    weights : weight of each member by name; None weighs all alike. They need not sum to 1.
    temperatures : temperature of each member by name, applied first; those not named stay as they are.
    ties : for `predict`: "lowest" code, or "seeded" draw.
    random_state : seed of the draw.

    Attributes
    ----------
    belief_ : Soft (n, k), rows in the order of `votes.task_ids`.
    members_ : names of the members (m,).
    weights_ : (m,) sum to 1.
    temperatures_ : (m,), those given times those found by "tempered" and "hybrid".

    Examples
    --------
    >>> from assay.labels import Space
    >>> votes = Votes.from_long(["a", "a"], ["x", "y"], ["n", "y"])
    >>> sure, shy = Soft(votes.space, np.array([[1.0, 0.0]])), Soft(votes.space, np.array([[0.4, 0.6]]))
    >>> SoftEnsemble().fit(votes, {"sure": sure, "shy": shy}).belief_.p.round(3).tolist()
    [[0.7, 0.3]]
    """

    def __init__(
        self,
        combine: Combine = "mean",
        members: Sequence[str] | None = None,
        weights: Mapping[str, float] | None = None,
        temperatures: Mapping[str, float] | None = None,
        ties: Ties = "lowest",
        random_state: int = 0,
    ) -> None:
        self.combine = combine
        self.members = members
        self.weights = weights
        self.temperatures = temperatures
        self.ties = ties
        self.random_state = random_state

    def fit(self, votes: Votes, beliefs: Mapping[str, Soft]) -> SoftEnsemble:
        """Combine beliefs, each with a row for each task of `votes`, in its class order."""
        if self.combine not in ("mean", "js_centroid", "tempered", "hybrid"):
            raise InputError(f"combine must be 'mean', 'js_centroid', 'tempered' or 'hybrid', got {self.combine!r}.")
        self.members_ = tuple(beliefs) if self.members is None else tuple(self.members)
        for given, what in ((self.weights, "weights"), (self.temperatures, "temperatures")):
            unknown = sorted(set(given or ()) - set(self.members_))
            if unknown:
                raise InputError(f"The {what} name {unknown[0]!r}, the members are {', '.join(self.members_)}.")
        self.weights_ = np.array([1.0 if self.weights is None else self.weights.get(m, 0.0) for m in self.members_])
        self.space_, self._votes = votes.space, votes
        stacked = self._stacked(votes, beliefs)
        self.temperatures_ = np.array([(self.temperatures or {}).get(m, 1.0) for m in self.members_])
        if self.combine in ("tempered", "hybrid"):
            warmed = self._temper(stacked)
            self.temperatures_ = self.temperatures_ * match_temperatures(warmed)
        combined = self._combine(stacked)
        self.weights_ = self.weights_ / self.weights_.sum()
        self.belief_ = Soft(votes.space, combined)
        self._apart = [js_divergence(one, combined) for one in self._temper(stacked)]
        return self

    def predict_proba(self, votes: Votes, beliefs: Mapping[str, Soft]) -> Floats:
        """Belief (n', k) in the classes of other tasks, from the members' beliefs about them."""
        self.space_.require(votes.space)
        return self._combine(self._stacked(votes, beliefs))

    def predict(self, votes: Votes, beliefs: Mapping[str, Soft]) -> npt.NDArray[np.int32]:
        """Most probable class (n',) int32 of the tasks of `votes`."""
        return top_class(self.predict_proba(votes, beliefs), self.ties, self.random_state)

    def workers(self) -> dict[str, npt.NDArray[Any]]:
        """One row a member, the voters of an ensemble: `worker`, its `weight`, `temperature`, and `divergence`.

        The divergence is the mean Jensen-Shannon divergence of its beliefs from the combined ones, in nats.
        """
        return {
            "worker": np.array(self.members_),
            "weight": self.weights_,
            "temperature": self.temperatures_,
            "divergence": np.array([float(one.mean()) if one.size else 0.0 for one in self._apart]),
        }

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """One row a task: id, votes, entropy, margin, top class; `divergence` of the members from the belief."""
        columns = task_evidence(self._votes, self.belief_.p)
        return {**columns, "divergence": np.asarray(self.weights_ @ np.stack(self._apart))}

    def _stacked(self, votes: Votes, beliefs: Mapping[str, Soft]) -> Floats:
        missing = [name for name in self.members_ if name not in beliefs]
        if missing or not self.members_:
            wanted = repr(missing[0]) if missing else "at least one belief"
            raise InputError(f"The ensemble wants {wanted}; the beliefs given are {', '.join(beliefs) or 'none'}.")
        for name in self.members_:
            votes.space.require(beliefs[name].space)
            if beliefs[name].n_rows != votes.n_rows:
                raise InputError(f"The belief {name!r} has {beliefs[name].n_rows} rows for {votes.n_rows} tasks.")
            if not beliefs[name].present.all():
                row = int(np.flatnonzero(~beliefs[name].present)[0])
                raise InputError(f"The belief {name!r} says nothing about a task.", row=row)
        return np.stack([beliefs[name].p.astype(np.float64) for name in self.members_])

    def _temper(self, stacked: Floats) -> Floats:
        return np.stack([temper(one, float(t)) for one, t in zip(stacked, self.temperatures_, strict=True)])

    def _combine(self, stacked: Floats) -> Floats:
        combine = js_centroid if self.combine in ("js_centroid", "hybrid") else mean
        return combine(self._temper(stacked), self.weights_)

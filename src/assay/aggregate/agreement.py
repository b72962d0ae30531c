"""How much do people agree beyond chance: in all, on each class, between each two workers, on each task.

Says whether a task is well defined before anything is learned from its votes. Alpha is 1 for perfect agreement, 0 for
answers drawn from one bag, negative for systematic disagreement; any number of votes a task, gaps and all.

Paper: Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011; the bootstrap draws whole tasks.

    alpha = 1 - (mean distance of two votes on one task) / (mean distance of two votes on any tasks)

Distance: `nominal`, 0 or 1; `interval`, squared difference of the numbers that classes stand for; `ordinal`, squared
number of votes that lie between the two classes.

When to use: always, first; below 0.67 conclusions are tentative. When not: as a measure of truth (workers may agree on
an error), or with one class so frequent that chance explains nearly everything: look at the classes one by one.

Departures: votes weigh alike, tasks do not; a pair of workers is held against the chance of all votes, not of its own,
so that pairs with few common tasks can be compared; the bootstrap is the plain one over tasks, not Krippendorff's.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from assay.aggregate import table_of
from assay.errors import InputError
from assay.kernels.vote_agreement import coincidences, task_distances, worker_pairs
from assay.labels import Votes

METHOD = {
    "name": "agreement",
    "title": "Agreement beyond chance",
    "paper": "Krippendorff, 2011, Computing Krippendorff's Alpha-Reliability",
    "arxiv": None,
    "accepts": ["votes"],
    "gives": ["agreement", "class evidence", "worker pairs", "task evidence"],
    "command": "from assay.aggregate.agreement import Agreement",
    "claim": "Equal to crowd-kit's alpha on the RTE votes; the 95 % interval over tasks covers about 95 % of the time.",
    "status": "stable",
}

Floats = npt.NDArray[np.float64]
Metric = Literal["nominal", "ordinal", "interval"]
LARGEST = 2**26  # cells of the table of classes: half a gigabyte


def distances(metric: Metric, votes_of: Floats, values: Floats) -> Floats:
    """Distance between classes (k, k), given the votes for each (k,) and, for `interval`, their numbers (k,)."""
    if metric == "nominal":
        return 1.0 - np.eye(len(votes_of))
    if metric == "ordinal":
        at = np.cumsum(votes_of) - votes_of / 2  # middle rank of each class
        return np.asarray((at[:, None] - at) ** 2)
    return np.asarray((values[:, None] - values) ** 2)


def alpha(found: Floats, distance: Floats) -> float:
    """Krippendorff's alpha of coincidences (k, k); NaN where votes never differ or no task has two."""
    votes_of = found.sum(axis=1)
    total = votes_of.sum()
    expected = votes_of @ distance @ votes_of
    return float(1 - (total - 1) * (found * distance).sum() / expected) if expected > 0 else float("nan")


class Agreement(BaseEstimator):  # type: ignore[misc]
    """Krippendorff's alpha over votes (n tasks, w workers, k classes).

    Parameters
    ----------
    metric : "nominal", "ordinal" (classes in the order of the space), or "interval".
    values : (k,) numbers the classes stand for, with "interval"; None reads them from the class names.
    n_bootstrap : samples of tasks for the interval; 0 for none.
    confidence : level of the interval.
    random_state : seed of the bootstrap.

    Attributes
    ----------
    alpha_ : agreement beyond chance; NaN where votes never differ or no task has two.
    interval_ : low and high of alpha, percentiles over samples of tasks; NaN without a bootstrap.
    percent_ : share of votes that another vote on the task repeats, 0..1.
    coincidences_ : (k, k) how often two votes on a task say the two classes; sums to the votes on tasks with two.
    n_votes_ : votes on tasks with at least two.

    Examples
    --------
    >>> from assay.labels import Votes
    >>> votes = Votes.from_long(["X", "X", "Y", "Y", "Z", "Z"], ["A", "B"] * 3, ["yes", "yes", "no", "no", "yes", "no"])
    >>> round(Agreement().fit(votes).alpha_, 3)
    0.444
    """

    def __init__(
        self,
        metric: Metric = "nominal",
        values: npt.ArrayLike | None = None,
        n_bootstrap: int = 500,
        confidence: float = 0.95,
        random_state: int = 0,
    ) -> None:
        self.metric = metric
        self.values = values
        self.n_bootstrap = n_bootstrap
        self.confidence = confidence
        self.random_state = random_state

    def fit(self, votes: Votes) -> Self:
        """Measure agreement; votes may weigh whole numbers only, as so many votes."""
        values = self._check(votes)
        self._votes, self._table = votes, table_of(votes)
        self.coincidences_ = coincidences(self._table)
        votes_of = self.coincidences_.sum(axis=1)
        self.n_votes_ = float(votes_of.sum())
        self._distance = distances(self.metric, votes_of, values)
        self.alpha_ = alpha(self.coincidences_, self._distance)
        self.percent_ = float(np.trace(self.coincidences_) / self.n_votes_) if self.n_votes_ else float("nan")
        self.interval_ = self._bootstrap(values)
        return self

    def classes(self) -> dict[str, npt.NDArray[Any]]:
        """One row a class: `label`, `n_votes`, `agreement`, the chance that another vote repeats it, and `alpha`.

        Alpha is that of the class against all others as one; NaN where a class never or always came.
        """
        found, total = self.coincidences_, self.n_votes_
        said, same = found.sum(axis=1), np.diag(found)
        agree = np.divide(same, said, out=np.full(len(said), np.nan), where=said > 0)
        chance = said * (total - said)
        part = np.divide((total - 1) * (said - same), chance, out=np.full(len(said), np.nan), where=chance > 0)
        return {
            "label": np.array(self._votes.space.names),
            "n_votes": said,
            "agreement": agree,
            "alpha": 1 - part,
        }

    def pairs(self, min_common: int = 1) -> dict[str, npt.NDArray[Any]]:
        """One row for every two workers that share at least `min_common` pairs of votes, by their order in the votes.

        Columns: `worker` and `other`, `common` pairs of votes on a task, `agreement` 0..1, and `alpha` against the
        chance of all votes. A worker's several votes on a task are not held against each other.
        """
        found = worker_pairs(self._table, self._distance)
        keep = found.common >= max(min_common, 1e-9)  # votes of weight zero never met
        first, second, common, agree, apart = (column[keep] for column in found)
        names = self._votes.worker_ids
        columns = {"worker": names[first], "other": names[second], "common": common, "agreement": agree / common}
        return {**columns, "alpha": 1 - apart / common / self._expected()}

    def workers(self) -> dict[str, npt.NDArray[Any]]:
        """One row a worker: `worker`, `common` pairs of votes with others, `agreement` and `alpha`; NaN when alone."""
        found = worker_pairs(self._table, self._distance)
        w = self._votes.n_workers
        common, agree, apart = (
            np.bincount(found.first, column, w) + np.bincount(found.second, column, w) for column in found[2:]
        )
        alone = np.full(w, np.nan)
        agreement = np.divide(agree, common, out=alone.copy(), where=common > 0)
        mean = np.divide(apart, common, out=alone, where=common > 0)
        columns = {"worker": self._votes.worker_ids, "common": common, "agreement": agreement}
        return {**columns, "alpha": 1 - mean / self._expected()}

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """One row a task: `task`, `n_votes`, `distance` of two votes (NaN for fewer than two) and its `alpha`."""
        n_votes, mean = task_distances(self._table, self._distance)
        columns = {"task": self._votes.task_ids, "n_votes": n_votes, "distance": mean}
        return {**columns, "alpha": 1 - mean / self._expected()}

    def _expected(self) -> float:
        """Mean distance of two votes on any tasks; NaN where they never differ."""
        votes_of = self.coincidences_.sum(axis=1)
        total = float(votes_of @ self._distance @ votes_of)
        return total / (self.n_votes_ * (self.n_votes_ - 1)) if total > 0 else float("nan")

    def _bootstrap(self, values: Floats) -> tuple[float, float]:
        n = self._table.n_tasks
        if not self.n_bootstrap or np.isnan(self.alpha_):
            return float("nan"), float("nan")
        rng = np.random.default_rng(self.random_state)
        drawn = np.empty(self.n_bootstrap)
        for i in range(self.n_bootstrap):
            found = coincidences(self._table, np.bincount(rng.integers(n, size=n), minlength=n))
            drawn[i] = alpha(found, distances(self.metric, found.sum(axis=1), values))
        low, high = np.nanquantile(drawn, [0.5 - self.confidence / 2, 0.5 + self.confidence / 2])
        return float(low), float(high)

    def _check(self, votes: Votes) -> Floats:
        """Refuse bad options; the numbers (k,) of the classes, empty where none are needed."""
        if self.metric not in ("nominal", "ordinal", "interval"):
            raise InputError(f"metric must be 'nominal', 'ordinal' or 'interval', got {self.metric!r}.")
        if not 0 < self.confidence < 1 or self.n_bootstrap < 0:
            raise InputError(
                "confidence lies between 0 and 1 and n_bootstrap is 0 or more, got "
                f"{self.confidence} and {self.n_bootstrap}."
            )
        k = votes.space.n_classes
        if k * k > LARGEST:
            raise InputError(f"{k} classes make a table above {LARGEST} cells: merge rare classes first.")
        if votes.weight is not None and (votes.weight % 1 != 0).any():
            row = int(np.flatnonzero(votes.weight % 1 != 0)[0])
            raise InputError(
                f"A vote of weight {votes.weight[row]} cannot agree with itself: give whole weights.", row=row
            )
        if self.metric != "interval":
            return np.empty(0)
        try:
            given = votes.space.names if self.values is None else self.values
            values = np.asarray(given, dtype=np.float64)
        except ValueError:
            raise InputError("The class names are not numbers: give `values`, one number a class.") from None
        if values.shape != (k,) or not np.isfinite(values).all():
            raise InputError(f"values must be {k} finite numbers, one a class, got shape {values.shape}.")
        return values

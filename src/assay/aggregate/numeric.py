"""One number from many ratings, by learning each rater's bias, gain and precision.

Give it numbers (or votes on an ordered scale). A rater who always says 20 more, who stretches the scale, or who is
careless is corrected or counted less; with `dof`, a single slip counts less than the rater's other ratings. Every
estimate has a standard deviation.

Paper: Raykar, Yu, Zhao, Valadez, Florin, Bogoni, Moy, 2010, "Learning from crowds", JMLR 11, section 5 (regression).

    rating = gain[worker] * truth[task] + offset[worker] + noise,   noise ~ Student(dof) / sqrt(precision[worker])
    truth ~ Normal(centre, spread),  gain ~ Normal(1, .),  offset ~ Normal(0, .),  precision ~ Gamma

When to use: the same raters rate many tasks, and differ: scores, sizes, degrees. When not: two ratings a task from
raters seen nowhere else (it becomes the mean, pulled to the centre); scales where most ratings sit at one end, on which
no noise of this kind fits and the mean is as good; cyclic values (hours, angles).

Departures: the paper has precision alone, with the truth from a regression on features; here there are no features, and
offset, gain and outliers are added. The priors of raters are learned from the raters, so that ten ratings are not
trusted like a thousand; the spread of the truths comes from the analysis of variance. The posterior is the mean-field
one: its bound (`bound_`) never falls, and `sd_` leaves out what is unknown of the raters.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr
from sklearn.base import BaseEstimator

from assay.errors import InputError
from assay.kernels.ratings import (
    COUNT,
    S_1,
    TIGHTEST,
    RaterMoments,
    RaterPrior,
    RatingTable,
    learn_prior,
    rater_bound,
    rating_table,
    scale_bound,
    spread_of,
    update_raters,
    walk_ratings,
)
from assay.kernels.vote_order import worker_codes
from assay.labels.ratings import Ratings, levels_of
from assay.labels.soft import Soft
from assay.labels.spaces import Space
from assay.labels.votes import Votes

METHOD = {
    "name": "numeric",
    "title": "Numbers and ordered scales",
    "paper": "Raykar, Yu, Zhao, Valadez, Florin, Bogoni, Moy, 2010, Learning from crowds",
    "arxiv": None,
    "accepts": ["ratings", "votes"],
    "gives": ["numbers", "soft", "rater evidence"],
    "command": "assay aggregate RATINGS --method numeric",
    "claim": "Where raters differ in offset, gain or care, its estimates are nearer the truth than mean and median.",
    "status": "stable",
}

Floats = npt.NDArray[np.float64]


class NumericRaters(BaseEstimator):  # type: ignore[misc]
    """Aggregate ratings (v ratings, n tasks, w workers).

    Parameters
    ----------
    gains : whether raters may stretch or press the scale, besides shifting it; needs some fifty ratings a rater.
    dof : degrees of freedom of the noise: `inf` for Gaussian, 3 to 10 to doubt far-out ratings (typing slips).
    max_iter, tol : stop when the bound rises by less than `tol` per rating.

    Attributes
    ----------
    estimate_, sd_ : (n,) mean and standard deviation of each truth; a task without ratings has those of the prior.
    centre_, spread_ : mean and standard deviation of the truths.
    trust_ : (v,) how much each rating counted beside others of its rater, about 1 or below, in the order of the input.
    bound_ : the variational bound after each iteration, which never falls.
    belief_ : Soft (n, k) when votes on a scale were given, else None.
    n_iter_, converged_ : iterations done, and whether they sufficed.

    Examples
    --------
    >>> task, worker = np.repeat(np.arange(30), 3), np.tile(np.arange(3), 30)
    >>> value = task + 10.0 * (worker == 2)
    >>> model = NumericRaters().fit(Ratings.from_long(task, worker, value))
    >>> bool(model.workers()["offset"].argmax() == 2)
    True
    """

    def __init__(
        self,
        gains: bool = False,
        dof: float = np.inf,
        max_iter: int = 1000,
        tol: float = 1e-7,
    ) -> None:
        self.gains = gains
        self.dof = dof
        self.max_iter = max_iter
        self.tol = tol

    def fit(self, ratings: Ratings | Votes) -> Self:
        """Learn truths and raters. Votes are read on the scale of their classes' names, or of their order."""
        self._space: Space | None = ratings.space if isinstance(ratings, Votes) else None
        data = Ratings.from_votes(ratings) if isinstance(ratings, Votes) else ratings
        self._check(data)
        self.worker_ids_, self.task_ids_ = data.worker_ids, data.task_ids
        self._shift, self._unit = float(data.value.mean()), float(data.value.std()) or 1.0
        table = self._table(data)
        rated, known = data.present, np.bincount(data.worker, minlength=data.n_workers) > 0
        fixed_gain = None if self.gains else TIGHTEST
        tightness = 1 / spread_of(table)
        prior = RaterPrior(tightness=tightness, gain=25.0 if fixed_gain is None else fixed_gain)
        one, zero = np.ones(data.n_workers), np.zeros(data.n_workers)
        raters = RaterMoments(one, zero, one, zero, zero, 2 * one)
        mean, var = _plain_mean(table), np.zeros(data.n_rows)
        total = float(table.weight.sum())
        self.bound_: list[float] = []
        self.converged_ = False
        while len(self.bound_) < self.max_iter and not self.converged_:
            mean, var, scale, sums, log_rates = walk_ratings(
                table, raters, mean, var, prior.centre, prior.tightness, self.dof
            )
            after = update_raters(sums, raters.precision, prior)
            raters = after.moments
            prior = learn_prior(mean[rated], after, known, tightness, fixed_gain)
            bound = rater_bound(mean[rated], var[rated], after, known, sums[:, COUNT], prior)
            bound += scale_bound(self.dof, total, log_rates, float(sums[:, S_1].sum()))
            self.bound_.append(bound - total * np.log(self._unit))
            self.converged_ = len(self.bound_) > 1 and self.bound_[-1] - self.bound_[-2] < self.tol * total
        self.n_iter_ = len(self.bound_)
        self._raters, self._prior, self._sums = raters, prior, sums
        self.centre_ = prior.centre * self._unit + self._shift
        self.spread_ = self._unit / np.sqrt(prior.tightness)
        self.estimate_, self.sd_ = mean * self._unit + self._shift, np.sqrt(var) * self._unit
        self.trust_ = np.empty(data.n_ratings)
        self.trust_[table.order] = scale
        self.n_ratings_ = np.diff(table.ptr)
        self.belief_ = None if self._space is None else Soft(self._space, self._chances(mean, var))
        return self

    def predict(self, ratings: Ratings | Votes) -> Floats:
        """Estimates (n',) for new tasks; workers are matched by id, unknown ones count as the average worker."""
        mean, _ = self._apply(ratings)
        estimate: Floats = mean * self._unit + self._shift
        return estimate

    def predict_proba(self, votes: Votes) -> Floats:
        """Chance of each class (n', k) of the ordered scale that `fit` saw, for new votes."""
        if self._space is None:
            raise InputError("Numbers have no classes: `predict_proba` needs a model fitted on votes.")
        self._space.require(votes.space)
        return self._chances(*self._apply(votes))

    def workers(self) -> dict[str, npt.NDArray[Any]]:
        """One row a worker: ratings given, gain, offset (in the unit of the ratings), sd of the noise."""
        centre = self._shift * (1 - self._raters.gain)  # value = gain * truth + offset in the unit of the input
        return {
            "worker": self.worker_ids_,
            "n_ratings": self._sums[:, COUNT],
            "gain": self._raters.gain,
            "offset": self._raters.offset * self._unit + centre,
            "bias": (self._raters.offset + (self._raters.gain - 1) * self._prior.centre) * self._unit,
            "noise": self._unit / np.sqrt(self._raters.precision),
        }

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """One row a task: ratings, estimate, standard deviation, 95 % interval."""
        return {
            "task": self.task_ids_,
            "n_ratings": self.n_ratings_,
            "estimate": self.estimate_,
            "sd": self.sd_,
            "low": self.estimate_ - 1.96 * self.sd_,
            "high": self.estimate_ + 1.96 * self.sd_,
        }

    def _check(self, data: Ratings) -> None:
        if data.n_ratings == 0:
            raise InputError("There are no ratings: expected at least one.")
        if not self.dof > 0:
            raise InputError(f"dof must be above 0, got {self.dof}.")

    def _table(self, data: Ratings) -> RatingTable:
        value = (data.value - self._shift) / self._unit
        return rating_table(data.task, data.worker, value, data.n_rows, data.n_workers, data.weight)

    def _apply(self, ratings: Ratings | Votes) -> tuple[Floats, Floats]:
        data = Ratings.from_votes(ratings) if isinstance(ratings, Votes) else ratings
        at = worker_codes(self.worker_ids_, data.worker_ids)
        average = (1.0, 0.0, 1 + 1 / self._prior.gain, 0.0, 1 / self._prior.offset)
        fields = (*average, self._prior.shape / self._prior.rate)
        mine = (getattr(self._raters, name) for name in RaterMoments.__dataclass_fields__)
        raters = RaterMoments(*(np.append(one, other)[at] for one, other in zip(mine, fields, strict=True)))
        table = self._table(data)
        mean, var = _plain_mean(table), np.zeros(data.n_rows)
        for _ in range(self.max_iter):
            before = mean
            mean, var, *_ = walk_ratings(table, raters, mean, var, self._prior.centre, self._prior.tightness, self.dof)
            if np.abs(mean - before).max(initial=0.0) < 1e-9:
                break
        return mean, var

    def _chances(self, mean: Floats, var: Floats) -> Floats:
        """Chance that the truth lies nearest to each level of the scale (n, k)."""
        assert self._space is not None
        levels = (levels_of(self._space) - self._shift) / self._unit
        edges = np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])
        below = ndtr((edges[None, :] - mean[:, None]) / np.sqrt(var)[:, None])
        chances: Floats = np.diff(below, axis=1)
        return chances


def _plain_mean(table: RatingTable) -> Floats:
    """Weighted mean of each task (n,), where the walk starts; 0 without ratings."""
    task = np.repeat(np.arange(len(table.ptr) - 1), np.diff(table.ptr))
    total = np.bincount(task, table.weight, minlength=len(table.ptr) - 1)
    summed = np.bincount(task, table.weight * table.value, minlength=len(table.ptr) - 1)
    return np.divide(summed, total, out=np.zeros(len(total)), where=total > 0)

"""Which task deserves one more vote, from whom, and is it worth the price.

A vote is worth the loss it is expected to remove: much on a task in doubt from a worker who can tell its classes apart,
nothing from one who guesses, nothing where all is known. Buy in batches, aggregate again, ask again, stop when told.

Paper: Sheng, Provost, Ipeirotis, "Get Another Label? Improving Data Quality and Data Mining Using Multiple, Noisy
Labelers", KDD 2008 (which task); the worth is the value of information (Howard, 1966).

    worth(i, j) = worth * E over the vote l of [loss(belief_i) - loss(belief_i given l from j)] - price_j

Loss: `log`, the entropy of the belief in nats (worth in money per nat); `zero_one`, the chance to decide wrongly (worth
in money per wrong task avoided; it is zero for a vote that cannot turn the decision, though two could).

When to use: votes cost money or time, beliefs are calibrated. When not: over-confident beliefs (Dawid-Skene with many
votes) hide tasks that need votes: calibrate first. Workers without votes of their own have the average's table.

Departures: one vote a task and batch, since the worth of a second hangs on the first; workers are taken best per unit
of price, as many as their capacity allows, greedily.
"""

from __future__ import annotations

import heapq
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from assay.aggregate import require_tasks, table_of
from assay.errors import InputError
from assay.kernels.vote_worth import best_workers, gains_of_task
from assay.labels import Soft, Votes

METHOD = {
    "name": "next_vote",
    "title": "The next vote to buy",
    "paper": "Sheng, Provost, Ipeirotis, 2008, Get Another Label? Improving Data Quality and Data Mining",
    "arxiv": None,
    "accepts": ["votes", "soft"],
    "gives": ["purchases", "task evidence"],
    "command": "from assay.aggregate.next_vote import NextVote",
    "claim": "At equal cost, votes bought by worth leave less than 0.6 times the log-loss of votes bought at random.",
    "status": "experimental",
}

Floats = npt.NDArray[np.float64]


class NextVote(BaseEstimator):  # type: ignore[misc]
    """Expected worth of one more vote on each task (n tasks, w workers, k classes).

    Parameters
    ----------
    loss : "log", entropy in nats; or "zero_one", chance of a wrong decision.
    worth : money for one unit of loss removed on one task, in the unit of the prices.

    Attributes
    ----------
    worker_ : (n,) code of the worker with the most gain per price, -1 where all have voted.
    gain_ : (n,) expected fall of the loss by that vote.
    net_ : (n,) worth * gain - price; -inf where all have voted. Worth buying when above 0.

    Examples
    --------
    >>> from assay.labels import Space
    >>> votes = Votes.from_long(["sure", "doubt"], ["ann", "ann"], ["no", "yes"], Space(("no", "yes")))
    >>> votes = votes.joined(Votes.from_long(["sure"], ["bob"], [None], votes.space))
    >>> belief = Soft(votes.space, np.array([[0.99, 0.01], [0.5, 0.5]]))
    >>> tables = np.array([[[0.9, 0.1], [0.1, 0.9]]] * 2)
    >>> bought = NextVote(worth=10).fit(votes, belief, tables, price=1.0).choose()
    >>> bought["task"].tolist(), bought["worker"].tolist()
    (['doubt'], ['bob'])
    """

    def __init__(self, loss: Literal["log", "zero_one"] = "log", worth: float = 1.0) -> None:
        self.loss = loss
        self.worth = worth

    def fit(self, votes: Votes, belief: Soft, confusion: npt.ArrayLike, price: npt.ArrayLike) -> Self:
        """Find the best worker for each task, in time n * w * k^2.

        Parameters
        ----------
        votes : who has voted on what; nobody is asked twice. Its `task_ids` and `worker_ids` are those to choose from.
        belief : (n, k), in the order of `votes.task_ids`.
        confusion : (w, k, k) P(said | truth) at [worker, truth, said], in the order of `votes.worker_ids`.
        price : of one vote, above 0; one number or (w,).
        """
        self._p, self._confusion, self._price = self._check(votes, belief, confusion, price)
        self._votes, self._table = votes, table_of(votes)
        self.worker_, self.gain_ = best_workers(
            self._p, self._confusion, self._price, self._table, self.loss == "zero_one"
        )
        someone = self.worker_ >= 0
        self.net_: Floats = np.full(len(self._p), -np.inf)
        self.net_[someone] = self.worth * self.gain_[someone] - self._price[self.worker_[someone]]
        return self

    def choose(
        self, budget: float = np.inf, capacity: npt.ArrayLike | None = None, batch: int | None = None
    ) -> dict[str, npt.NDArray[Any]]:
        """What to buy now, best gain per price first; nothing that is not worth its price, at most one vote a task.

        Parameters
        ----------
        budget : most money to spend; a vote that no longer fits is skipped.
        capacity : most votes of a worker, one number or (w,) whole numbers; None for no limit.
        batch : most votes.

        Returns
        -------
        One row a purchase: `task`, `worker`, `gain`, `price` and `net`. No rows: stop buying.
        """
        w = self._votes.n_workers
        room = np.full(w, np.iinfo(np.int64).max)
        if capacity is not None:
            room = np.broadcast_to(np.asarray(capacity, dtype=np.int64), (w,)).copy()
        worker, gain = self.worker_.copy(), self.gain_.copy()
        heap = [(-gain[i] / self._price[worker[i]], int(i)) for i in np.flatnonzero(self.net_ > 0)]
        heapq.heapify(heap)
        bought: list[int] = []
        while heap and (batch is None or len(bought) < batch):
            _, i = heapq.heappop(heap)
            if room[worker[i]] > 0 and self._price[worker[i]] <= budget:
                room[worker[i]] -= 1
                budget -= self._price[worker[i]]
                bought.append(i)
                continue
            worker[i], gain[i] = self._other(i, (room > 0) & (self._price <= budget))
            if worker[i] >= 0 and self.worth * gain[i] > self._price[worker[i]]:
                heapq.heappush(heap, (-gain[i] / self._price[worker[i]], i))
        rows = np.array(bought, dtype=np.int64)
        price = self._price[worker[rows]]
        return {
            "task": self._votes.task_ids[rows],
            "worker": self._votes.worker_ids[worker[rows]],
            "gain": gain[rows],
            "price": price,
            "net": self.worth * gain[rows] - price,
        }

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """One row a task: `task`, `n_votes`, code of the best `worker` (-1 none), `gain`, `net`, and `buy`."""
        columns = {"task": self._votes.task_ids, "n_votes": self._table.per_task(), "worker": self.worker_}
        return {**columns, "gain": self.gain_, "net": self.net_, "buy": self.net_ > 0}

    def _other(self, i: int, open_: npt.NDArray[np.bool_]) -> tuple[int, float]:
        """The best worker for task i among those open, and the gain; -1 when nobody is left."""
        start, stop = self._table.ptr[i : i + 2]
        free = open_.copy()
        free[self._table.worker[start:stop]] = False
        who = np.flatnonzero(free)
        if not who.size:
            return -1, 0.0
        gain = gains_of_task(self._p[i], self._confusion[who], self.loss == "zero_one")
        best = int(np.argmax(gain / self._price[who]))
        return int(who[best]), float(gain[best])

    def _check(
        self, votes: Votes, belief: Soft, confusion: npt.ArrayLike, price: npt.ArrayLike
    ) -> tuple[Floats, Floats, Floats]:
        if self.loss not in ("log", "zero_one"):
            raise InputError(f"loss must be 'log' or 'zero_one', got {self.loss!r}.")
        if not 0 < self.worth < np.inf:
            raise InputError(f"worth is money for a unit of loss, above 0, got {self.worth}.")
        require_tasks(votes, belief, "belief")
        w, k = votes.n_workers, votes.space.n_classes
        if belief.mask is not None and not belief.mask.all():
            row = int(np.argmin(belief.mask))
            raise InputError("A task has no belief: give the prior where nothing is known.", row=row)
        tables = np.ascontiguousarray(confusion, dtype=np.float64)
        if tables.shape != (w, k, k):
            raise InputError(f"confusion must have shape {(w, k, k)}: worker, truth, said; got {tables.shape}.")
        wrong = ~((tables >= 0).all(axis=(1, 2)) & (np.abs(tables.sum(axis=2) - 1) < 1e-3).all(axis=1))
        if wrong.any():
            raise InputError("A worker's table must hold shares, each row summing to 1.", row=int(np.argmax(wrong)))
        prices = np.asarray(price, dtype=np.float64)
        if prices.shape not in ((), (w,)) or not (np.isfinite(prices) & (prices > 0)).all():
            raise InputError(f"price must be one number or {w}, one a worker, finite and above 0.")
        return np.ascontiguousarray(belief.p, dtype=np.float64), tables, np.broadcast_to(prices, (w,)).copy()

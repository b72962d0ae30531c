"""The sweep of `vote_em` on a device of torch: a GPU where there is one.

The votes are sent once and stay; a sweep sends the model there and the sums back. Sums are fixed point, so that the
order in which a GPU adds does not matter, and differ from those of the processor only where the last bit of an
exponential does. Besides the votes (20 bytes each) the device holds the beliefs and, for `CHUNK` votes, a row of logs.

Legend of shapes: n tasks, w workers, k classes, v votes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError, require
from assay.kernels.vote_table import VoteTable

Floats = npt.NDArray[np.float64]
CHUNK = 1 << 22  # votes looked at in one go


class DeviceVotes:
    """Votes of whole tasks on a device.

    Parameters
    ----------
    table : the votes, sorted by task.
    gold : (n,) known class or -1; of no entries when no class is known.
    device : as torch names it: "cuda", "cuda:1", "mps"; "cpu" too, which is for tests, being slower than `vote_em`.

    Raises
    ------
    MissingExtraError : torch is not installed.
    InputError : torch does not know the device, or there is none.
    """

    def __init__(self, table: VoteTable, gold: npt.NDArray[np.int32], device: str) -> None:
        self.torch = torch = require("torch", "deep", f"The device {device!r}")
        try:
            self.device = torch.empty(0, device=device).device
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            message = f"There is no device {device!r} here ({reason}): leave it out for the processor."
            raise InputError(message) from None
        task = np.repeat(np.arange(table.n_tasks), np.diff(table.ptr))
        self.task, self.worker, self.label = (self._send(values) for values in (task, table.worker, table.label))
        self.weight: Any = self._send(table.weights, torch.float64) if len(table.weights) else None
        self.gold: Any = self._send(gold) if len(gold) else None
        self.counted = self._send((np.diff(table.ptr) > 0) | (gold >= 0 if len(gold) else False), torch.bool)
        self.n_tasks = table.n_tasks

    def sweep(
        self, log_prior: Floats, logs: Floats, vote: float, nat: float, cells: Any, classes: Any, belief: Any
    ) -> int:
        """As `vote_sweeps.table_sweep` and `skill_sweep` over all tasks; which of the two is told by `logs`."""
        torch, k = self.torch, len(classes)
        skill = logs.ndim == 2
        p = torch.zeros((self.n_tasks, k), dtype=torch.float64, device=self.device)
        units = 0
        if len(log_prior):
            p += self._send(log_prior, torch.float64)
            height = self._add_logs(p, self._send(logs, torch.float64), k)
            total = torch.logsumexp(p, dim=1) if self.gold is None else self._known(p, torch.logsumexp(p, dim=1))
            units = int(torch.round((height + total) * nat).to(torch.int64).sum())
            p = torch.softmax(p, dim=1)
        else:
            p.view(-1).index_add_(0, self.task * k + self.label, self._ones(slice(None)))
            p /= p.sum(dim=1, keepdim=True).clamp_min(torch.finfo(p.dtype).tiny)
        if self.gold is not None:
            known = self.gold >= 0
            p[known] = torch.nn.functional.one_hot(self.gold[known], k).to(p.dtype)
        if len(belief):
            belief[:] = p.cpu().numpy()
        if len(cells):
            classes += (p[self.counted] * vote + 0.5).to(torch.int64).sum(dim=0).cpu().numpy()
            cells += self._count(p, torch.zeros(cells.shape, dtype=torch.int64, device=self.device), vote, skill)
        return units

    def _add_logs(self, p: Any, logs: Any, k: int) -> Any:
        """Add what every vote says of every class to `p` (n, k) in place; returns what it says of all alike (n,)."""
        torch = self.torch
        height = torch.zeros(self.n_tasks, dtype=p.dtype, device=self.device)
        for part in self._chunks():
            task, worker, label, unit = self.task[part], self.worker[part], self.label[part], self._ones(part)
            if logs.ndim == 2:
                wrong = logs[worker, 1] - float(np.log(max(k - 1, 1)))
                height.index_add_(0, task, unit * wrong)
                p.view(-1).index_add_(0, task * k + label, unit * (logs[worker, 0] - wrong))
            else:
                p.index_add_(0, task, unit[:, None] * logs[worker, label])
        return height

    def _known(self, p: Any, total: Any) -> Any:
        """`total` (n,), and where gold is known the log of its class alone."""
        known = self.gold >= 0
        return self.torch.where(known, p.gather(1, self.gold.clamp_min(0)[:, None])[:, 0], total)

    def _count(self, p: Any, cells: Any, vote: float, skill: bool) -> npt.NDArray[np.int64]:
        """Expected votes in fixed point, of the shape of `cells`."""
        torch, k = self.torch, p.shape[1]
        for part in self._chunks():
            task, worker, label, unit = self.task[part], self.worker[part], self.label[part], self._ones(part)
            if skill:
                right = (unit * p[task, label] * vote + 0.5).to(torch.int64)
                cells[:, 0].index_add_(0, worker, right)
                cells[:, 1].index_add_(0, worker, (unit * vote + 0.5).to(torch.int64) - right)
            else:
                said = (unit[:, None] * p[task] * vote + 0.5).to(torch.int64)
                cells.view(-1, k).index_add_(0, worker * k + label, said)
        return np.asarray(cells.cpu().numpy())

    def _chunks(self) -> list[slice]:
        return [slice(start, start + CHUNK) for start in range(0, len(self.task), CHUNK)]

    def _ones(self, part: slice) -> Any:
        if self.weight is not None:
            return self.weight[part]
        return self.torch.ones(len(self.task[part]), dtype=self.torch.float64, device=self.device)

    def _send(self, values: npt.NDArray[Any], dtype: Any = None) -> Any:
        tensor = self.torch.from_numpy(np.array(values))
        return tensor.to(self.device, self.torch.int64 if dtype is None else dtype)

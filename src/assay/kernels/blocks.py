"""Statistics that merge: one piece of code that runs in memory, streams from disk, or runs on a Ray cluster.

A statistic of a whole data set is the merge of the statistics of its row blocks. When merging is exact and forgets the
order, the answer does not depend on how the rows were cut, in which order the blocks came back, or who measured them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, Protocol, TypeVar

import numba

from assay.errors import InputError, require

Backend = Literal["serial", "ray"]
Block = TypeVar("Block", contravariant=True)
Result = TypeVar("Result")
SMALL = 16_384  # rows below which a second thread costs more than it saves


class Statistic(Protocol[Block]):
    """What `fold` needs. The order of updates and merges must not matter, not even in the last bit."""

    def update(self, block: Block) -> None:
        """Take in the rows of a block."""

    def merge(self, other: Any) -> None:
        """Take in the rows of another statistic of the same kind."""

    def fresh(self) -> Any:
        """An empty statistic of the same kind, to be filled elsewhere and merged; small to send."""


def fold(total: Statistic[Block], blocks: Iterable[Block], backend: Backend = "serial") -> None:
    """Take every block into `total`.

    Parameters
    ----------
    total : an empty statistic, changed in place.
    blocks : the blocks; read once, and only a few of them are held at any time.
    backend : "serial" in this process, or "ray" on the cluster that `ray.init` joined (a local one when none is).
    """
    if backend == "serial":
        for block in blocks:
            total.update(block)
    elif backend == "ray":
        _fold_on_ray(total, blocks)
    else:
        raise InputError(f"Unknown backend {backend!r}: expected 'serial' or 'ray'.")


def _fold_on_ray(total: Statistic[Block], blocks: Iterable[Block]) -> None:
    """As `fold`; two blocks a processor are on their way, and results are merged in the order of their arrival."""
    ray = require("ray", "ray", "Running on a Ray cluster")
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False)
    task = ray.remote(_measure)
    room = 2 * int(ray.cluster_resources().get("CPU", 1))
    waiting: list[Any] = []

    def absorb() -> None:
        ready, waiting[:] = ray.wait(waiting)
        total.merge(_unwrapped(ray, ready[0]))

    for block in blocks:
        if len(waiting) >= room:
            absorb()
        waiting.append(task.remote(total.fresh(), block))
    while waiting:
        absorb()


def _unwrapped(ray: Any, reference: Any) -> Any:
    """Fetch a result; an error of ours comes back as itself and not as Ray's wrapper around it."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        raise (cause if isinstance(cause, InputError) else error) from None


def _measure(like: Any, block: Any) -> Any:
    """The statistic of one block, by one thread: the cluster already runs a task on every processor."""
    numba.set_num_threads(1)
    mine = like.fresh()  # what came over the wire is read-only
    mine.update(block)
    return mine


def n_parts(n_rows: int) -> int:
    """How many threads are worth starting for so many rows."""
    return int(numba.get_num_threads()) if n_rows >= SMALL else 1


def in_parts(task: Callable[[int], Result], parts: int) -> list[Result]:
    """Run `task(part)` for every part, one a thread; the task must leave the interpreter lock.

    Plain threads over nogil kernels compile in a third of the time of numba's parallel loops, and may be started
    from many threads at once, which numba's default threading layer forbids.
    """
    if parts == 1:
        return [task(0)]
    with ThreadPoolExecutor(parts) as pool:
        return list(pool.map(task, range(parts)))


def in_threads(task: Callable[[int, int], Result], n_rows: int) -> list[Result]:
    """Run `task(start, stop)` over equal row ranges, one a thread."""
    parts = n_parts(n_rows)
    return in_parts(lambda part: task(n_rows * part // parts, n_rows * (part + 1) // parts), parts)

"""ELR and ELR+ beside cross-entropy on noisy digits; what a step of ELR costs; the memory of its beliefs."""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from assay.evidence.results import ResultRow, write_results
from assay.learn.elr import ELR, ELRPlus
from assay.training.deep import nn, torch
from assay.training.deep.backbones import mlp
from assay.training.deep.batches import Batch
from assay.training.deep.objective import Objective
from assay.training.deep.resnets import narrow_resnet
from bench.data import RESULTS
from bench.learn.noisy_digits import VERSIONS, show, table, trained

COMMAND = "python -m bench.learn.elr"


def accuracy(seeds: range, settings: list[tuple[str, float]]) -> Iterator[ResultRow]:
    for kind, rate in settings:
        plain = trained(Objective, kind, rate, seeds)
        methods: list[tuple[str, Callable[[], Objective]]] = [("ELR", ELR), ("ELR+", ELRPlus)]
        if kind == "pair":
            methods.insert(1, ("ELR of strength 1, momentum 0.9", lambda: ELR(1.0, 0.9)))
        for name, make in methods:
            yield from table(name, trained(make, kind, rate, seeds), plain, "cross-entropy", kind, rate, COMMAND)


def step_seconds(objective: Objective, model: nn.Module, batch: Batch, n: int) -> float:
    """CPU seconds of a forward and a backward pass with the update of SGD, mean of n."""
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    start = time.process_time()
    for _ in range(n):
        loss = objective(batch, model)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (time.process_time() - start) / n


def cost(small: bool) -> Iterator[ResultRow]:
    cases: list[tuple[str, nn.Module, tuple[int, ...], int, int]] = [
        ("perceptron 64-128-128-10", mlp((64,), 10), (64,), 10, 200),
        ("narrow ResNet-18, 32 x 32 pixels, 10 classes", narrow_resnet((3, 32, 32), 10), (3, 32, 32), 10, 3),
        ("narrow ResNet-18, 32 x 32 pixels, 100 classes", narrow_resnet((3, 32, 32), 100), (3, 32, 32), 100, 3),
    ]
    for name, model, shape, k, n in cases[: 1 if small else None]:
        batch = Batch(torch.randn(128, *shape), torch.randint(0, k, (128,)), torch.randperm(50_000)[:128])
        best = {"elr": np.inf, "plain": np.inf}
        for _ in range(5):
            for kind, objective in (("elr", ELR()), ("plain", Objective())):
                objective.begin(50_000, k)
                best[kind] = min(best[kind], step_seconds(objective, model, batch, n))
        yield ResultRow(
            f"{name}, batch of 128",
            "a step of ELR",
            best["elr"] * 1e3,
            "cpu ms",
            COMMAND,
            rival=best["plain"] * 1e3,
            rival_name="a step of cross-entropy",
            versions=VERSIONS,
        )


def _resident(n: int, k: int, dtype: str, file: Path | None, queue: object) -> None:
    """Megabytes that a process of its own gains while it visits 100,000 rows."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    objective = ELR(dtype=dtype, file=file)  # type: ignore[arg-type]
    objective.begin(n, k)
    rng = torch.Generator().manual_seed(0)
    for rows in torch.randperm(n, generator=rng)[:100_000].split(256):
        objective.loss(torch.randn(len(rows), k), torch.zeros(len(rows), dtype=torch.int64), rows)
    if file is None:
        objective.belief.fill_(0.5)  # an epoch writes every page
    queue.put((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3)  # type: ignore[attr-defined]


def memory(n: int, k: int) -> Iterator[ResultRow]:
    context = get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for dtype, file in (("float32", None), ("float16", None), ("float16", Path(folder) / "belief.bin")):
            queue = context.Queue()
            child = context.Process(target=_resident, args=(n, k, dtype, file, queue))
            child.start()
            gained = queue.get()
            child.join()
            where = "in memory" if file is None else "in a file, after a tenth of an epoch"
            size = n * k * (4 if dtype == "float32" else 2) / 1e6
            yield ResultRow(
                f"beliefs of {n} rows and {k} classes, {dtype}, {where}",
                "peak of resident memory",
                gained,
                "MB",
                COMMAND,
                limit=size,
                versions=VERSIONS,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    small = parser.parse_args().scale == "small"
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    settings = (
        [("symmetric", 0.4)] if small else [("symmetric", 0.4), ("symmetric", 0.6), ("symmetric", 0.0), ("pair", 0.4)]
    )
    made = [show(row) for row in cost(small)]
    made += [show(row) for row in memory(*((20_000, 100) if small else (1_000_000, 1000)))]
    made += [show(row) for row in accuracy(range(2 if small else 5), settings)]
    write_results(RESULTS / "learn" / "elr.json", made)


if __name__ == "__main__":
    main()

"""ELR and ELR+ beside cross-entropy on noisy digits; what a step of ELR costs; the memory of its beliefs."""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil

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


def cpu_seconds(run: Callable[[], object], n: int) -> float:
    """CPU seconds of a call: the best of seven means of n."""
    best = np.inf
    for _ in range(7):
        start = time.process_time()
        for _ in range(n):
            run()
        best = min(best, (time.process_time() - start) / n)
    return best


def cost(small: bool) -> Iterator[ResultRow]:
    """What ELR's loss takes beyond cross-entropy, forward and backward from logits, beside a whole step."""
    cases: list[tuple[str, nn.Module, tuple[int, ...], int, int]] = [
        ("perceptron 64-128-128-10", mlp((64,), 10), (64,), 10, 100),
        ("narrow ResNet-18, 32 x 32 pixels, 10 classes", narrow_resnet((3, 32, 32), 10), (3, 32, 32), 10, 2),
        ("narrow ResNet-18, 32 x 32 pixels, 100 classes", narrow_resnet((3, 32, 32), 100), (3, 32, 32), 100, 2),
    ]
    for name, model, shape, k, n in cases[: 1 if small else None]:
        added, step = added_and_step(model, shape, k, n)
        yield ResultRow(
            f"{name}, batch of 128",
            "what ELR adds to a step",
            added * 1e3,
            "cpu ms",
            COMMAND,
            rival=step * 1e3,
            rival_name="a step of cross-entropy",
            versions=VERSIONS,
        )


def added_and_step(model: nn.Module, shape: tuple[int, ...], k: int, n: int) -> tuple[float, float]:
    batch = Batch(torch.randn(128, *shape), torch.randint(0, k, (128,)), torch.randperm(50_000)[:128])
    logits = model(batch.inputs).detach().requires_grad_()
    ours, plain = ELR(), Objective()
    for objective in (ours, plain):
        objective.begin(50_000, k)

    def loss_of(objective: Objective) -> Callable[[], object]:
        return lambda: objective.loss(logits, batch.targets, batch.rows).mean().backward()

    added = cpu_seconds(loss_of(ours), 300) - cpu_seconds(loss_of(plain), 300)
    return added, cpu_seconds(lambda: plain(batch, model).backward(), n)


def _private() -> float:
    """Megabytes of this process without pages of files, which the system takes back when it needs room."""
    held = psutil.Process().memory_info()
    return float(held.rss - held.shared) / 1e6


def _gained(n: int, k: int, dtype: str, file: Path | None, queue: object) -> None:
    """Megabytes that this process gains while it holds beliefs, all of them written once."""
    before = _private()
    objective = ELR(dtype=dtype, file=file)  # type: ignore[arg-type]
    objective.begin(n, k)
    for rows in torch.arange(n).split(512):
        objective.write("belief", rows, torch.ones(len(rows), k))
    queue.put(_private() - before)  # type: ignore[attr-defined]


def memory(n: int, k: int) -> Iterator[ResultRow]:
    context = get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for dtype, file in (("float32", None), ("float16", None), ("float16", Path(folder) / "belief.bin")):
            queue = context.Queue()
            child = context.Process(target=_gained, args=(n, k, dtype, file, queue))
            child.start()
            gained = queue.get()
            child.join()
            yield ResultRow(
                f"beliefs of {n} rows and {k} classes, {dtype}, in {'memory' if file is None else 'a file'}",
                "memory gained",
                gained,
                "MB",
                COMMAND,
                limit=n * k * (4 if dtype == "float32" else 2) / 1e6,
                versions=VERSIONS,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    small = parser.parse_args().scale == "small"
    torch.set_num_threads(1)
    settings = (
        [("symmetric", 0.4)] if small else [("symmetric", 0.4), ("symmetric", 0.6), ("symmetric", 0.0), ("pair", 0.4)]
    )
    made = [show(row) for row in cost(small)]
    made += [show(row) for row in memory(*((20_000, 100) if small else (1_000_000, 1000)))]
    made += [show(row) for row in accuracy(range(2 if small else 5), settings)]
    write_results(RESULTS / "learn" / "elr.json", made)


if __name__ == "__main__":
    main()

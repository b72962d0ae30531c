"""What the training loop costs a step, beside the loop that one would write by hand; and what a checkpoint costs.

Both train the same network on the same batches to the same weights, which is checked before any time is printed. They
alternate, the best of five counts.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from assay.evidence.results import ResultRow, versions_of, write_results
from assay.training.deep import functional, nn, torch
from assay.training.deep.backbones import mlp
from assay.training.deep.batches import WEIGHTS, Data, epoch_batches, seeds_of
from assay.training.deep.loop import fit
from assay.training.deep.objective import Objective
from assay.training.deep.recipe import Recipe
from assay.training.deep.resnets import narrow_resnet
from bench.data import RESULTS

COMMAND = "python -m bench.training.loop"
VERSIONS = versions_of("torch", "accelerate")


class CrossEntropy(Objective):
    """Cross-entropy that keeps nothing: what both loops minimise, to the same bits."""

    def forward(self, batch: Any, model: Any) -> Any:
        return functional.cross_entropy(model(batch.inputs), batch.targets)


def by_hand(make: Callable[[], nn.Module], data: Data, recipe: Recipe) -> nn.Module:
    torch.manual_seed(*seeds_of(1, recipe.seed, WEIGHTS))
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay)
    model.train()
    for epoch in range(recipe.epochs):
        for rows in epoch_batches(np.arange(data.n_rows), recipe.batch_size, recipe.seed, epoch):
            at = torch.from_numpy(rows)
            loss = functional.cross_entropy(model(data.inputs[at]), data.targets[at])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


def cpu_seconds(run: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[float, Any]:
    start = time.process_time()
    found = run(*arguments, **options)
    return time.process_time() - start, found


def perceptron() -> nn.Module:
    return mlp((64,), 10)


def pictures() -> nn.Module:
    return narrow_resnet((3, 32, 32), 10)


def cases(small: bool) -> Iterator[tuple[str, Callable[[], nn.Module], Data, int]]:
    rng = np.random.default_rng(0)
    n, m = (2000, 128) if small else (20_000, 512)
    table = Data(rng.normal(size=(n, 64)), rng.integers(0, 10, n), 10)
    yield f"perceptron 64-128-128-10, {n} rows", perceptron, table, 3
    images = Data(rng.normal(size=(m, 3, 32, 32)), rng.integers(0, 10, m), 10)
    yield f"narrow ResNet-18, {m} pictures of 32 x 32", pictures, images, 1


def steps(small: bool) -> Iterator[ResultRow]:
    for case, make, data, epochs in cases(small):
        recipe = Recipe(epochs=epochs, batch_size=128)
        best = {"hand": np.inf, "bare": np.inf, "rows": np.inf}
        for _ in range(2 if small else 5):
            seconds, expected = cpu_seconds(by_hand, make, data, recipe)
            best["hand"] = min(best["hand"], seconds)
            for name, objective in (("bare", CrossEntropy()), ("rows", Objective())):
                seconds, run = cpu_seconds(fit, objective, make, data, recipe, device="cpu")
                best[name] = min(best[name], seconds)
                pairs = zip(run.model.parameters(), expected.parameters(), strict=True)
                assert all(torch.equal(a, b) for a, b in pairs), "the two loops end in other weights"
        n_steps = epochs * -(-data.n_rows // recipe.batch_size)
        for name, metric in (("bare", "a step of the loop"), ("rows", "a step, remembering the loss of each row")):
            yield ResultRow(
                f"{case}, batches of 128",
                metric,
                best[name] / n_steps * 1e3,
                "cpu ms",
                COMMAND,
                rival=best["hand"] / n_steps * 1e3,
                rival_name="the loop by hand",
                versions=VERSIONS,
            )


def checkpoints(small: bool) -> Iterator[ResultRow]:
    """One epoch with a checkpoint at its end, beside one without."""
    n = 2000 if small else 100_000
    data = Data(torch.zeros(n, 64), torch.arange(n) % 10, 10)
    recipe = Recipe(epochs=1, batch_size=1024)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "check.pt"
        saved, plain = np.inf, np.inf
        for _ in range(3):
            path.unlink(missing_ok=True)
            saved = min(saved, cpu_seconds(fit, Objective(), perceptron, data, recipe, checkpoint=path)[0])
            plain = min(plain, cpu_seconds(fit, Objective(), perceptron, data, recipe)[0])
        size = path.stat().st_size / 1e6
    yield ResultRow(f"perceptron, {n} rows", "a checkpoint", max(saved - plain, 0) * 1e3, "cpu ms", COMMAND)
    yield ResultRow(f"perceptron, {n} rows", "size of a checkpoint", size, "MB", COMMAND)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    small = parser.parse_args().scale == "small"
    torch.set_num_threads(1)
    made = []
    for row in (*steps(small), *checkpoints(small)):
        beside = "" if row.rival is None else f"{row.rival_name} {row.rival:.3f}, {row.ours / row.rival - 1:+.1%}"
        print(f"{row.case:60s} {row.metric:45s} {row.ours:9.3f} {row.unit}  {beside}", flush=True)
        made.append(row)
    write_results(RESULTS / "training" / "loop.json", made)


if __name__ == "__main__":
    main()

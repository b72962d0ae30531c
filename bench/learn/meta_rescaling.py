"""Meta rescaling on digits: accuracy, memorisation and how well the weights find wrong labels, beside cross-entropy,
generalized cross-entropy and the paper's variants; then the cost of a step, beside the second-order graph.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

from assay.evidence.results import ResultRow, versions_of, write_results
from assay.learn.meta_rescaling import MetaRescaling
from assay.learn.robust_losses import GCE
from assay.training.deep.backbones import mlp
from assay.training.deep.batches import Batch
from assay.training.deep.objective import Objective
from assay.training.deep.protocol import METRICS, Case, interval, make_case, measure
from assay.training.deep.recipe import Recipe
from assay.training.deep.targets import cross_entropy
from assay.training.deep.virtual import virtual_step
from assay.training.noise import pair, symmetric
from bench.data import RESULTS

COMMAND = "python -m bench.learn.meta_rescaling"
VERSIONS = versions_of("torch", "scikit-learn")
X, Y = load_digits(return_X_y=True)
PLAIN = "cross-entropy"
TEN = Recipe(epochs=30, weight_decay=0.0)
TWO = Recipe(epochs=30, batch_size=32, lr=0.6, momentum=0.0, weight_decay=0.0)
Methods = dict[str, tuple[Callable[[], Objective], Recipe]]


def halved(recipe: Recipe) -> Recipe:
    return Recipe(**{**recipe.to_dict(), "lr": recipe.lr / 2, "milestones": ()})


def variants(recipe: Recipe) -> Methods:
    ours = partial(MetaRescaling, inner_lr=recipe.lr)
    return {
        PLAIN: (Objective, recipe),
        "cross-entropy, half the learning rate": (Objective, halved(recipe)),
        "generalized cross-entropy": (GCE, recipe),
        "meta rescaling": (ours, recipe),
        "without the outer part": (partial(ours, path="meta"), recipe),
        "outer part alone": (partial(ours, path="outer"), recipe),
        "one pass": (partial(ours, passes=1), recipe),
        "a rescaler for each class": (partial(ours, per_class=True), recipe),
        "loss and agreement as features": (partial(ours, features="loss"), recipe),
        "binary weights": (partial(ours, binary=True), recipe),
        "weights normalised": (partial(ours, normalise=True), recipe),
        "steps by signs": (partial(ours, path="signs", inner_lr=0.001), Recipe(epochs=30, lr=0.001, momentum=0.0)),
    }


def settings() -> Iterator[tuple[str, Callable[[], Any], Callable[[int], Case], Methods]]:
    def dealt(truth: Any, k: int, rate: float, noise: Any = symmetric) -> Callable[[int], Case]:
        def case(seed: int) -> Case:
            return make_case(X / 16, truth, k, lambda y: noise(y, k, rate, seed=seed).labels, test=0.4, seed=seed)

        return case

    ten, two = partial(mlp, (64,), 10), partial(mlp, (64,), 2, hidden=(64,), norm=False)
    high = (Y >= 5).astype(int)
    few = (PLAIN, "meta rescaling", "outer part alone", "a rescaler for each class")

    def chosen(recipe: Recipe, *names: str) -> Methods:
        return {name: variants(recipe)[name] for name in names}

    yield "digits, 30 % of the labels wrong", ten, dealt(Y, 10, 0.3), variants(TEN)
    yield "digits, 30 % taken for the next class", ten, dealt(Y, 10, 0.3, pair), chosen(TEN, *few)
    yield "digits, no label wrong", ten, dealt(Y, 10, 0.0), chosen(TEN, *few, "weights normalised")
    yield "digits from 5 on, 30 % wrong", two, dealt(high, 2, 0.3), chosen(TWO, *few, "without the outer part")


def accuracy(seeds: range) -> Iterator[ResultRow]:
    for setting, model, case, methods in settings():
        plain = None
        for name, (objective, recipe) in methods.items():
            outcomes = measure(objective, model, case, recipe, seeds)
            plain = plain or outcomes
            row = partial(ResultRow, f"{setting}: {name}", command=COMMAND, seeds=tuple(seeds), versions=VERSIONS)
            for metric in METRICS:
                values = [getattr(outcome, metric) for outcome in outcomes]
                if np.isnan(values).any() or (metric == "memorised" and not outcomes[0].noise):
                    continue
                found = interval(values)
                yield row(
                    metric,
                    found["mean"],
                    "share",
                    interval=(found["low"], found["high"]),
                    rival=interval([getattr(outcome, metric) for outcome in plain])["mean"],
                    rival_name=PLAIN,
                    deployable=metric == "best",
                )
            if name != PLAIN:
                gain = interval([mine.last - theirs.last for mine, theirs in zip(outcomes, plain, strict=True)])
                yield row(
                    "gain in the last epoch",
                    gain["mean"],
                    "share",
                    interval=(gain["low"], gain["high"]),
                    deployable=False,
                )


def begun(width: int, path: str | None, passes: int = 1) -> tuple[Objective, Any, Batch]:
    torch.manual_seed(0)
    x, y = torch.randn(256, 64), torch.randint(10, (256,))
    objective: Objective = Objective() if path is None else MetaRescaling(path, passes=passes)  # type: ignore[arg-type]
    objective.begin(256, 10)
    rows = torch.arange(64)
    return (
        objective,
        mlp((64,), 10, hidden=(width, width), norm=False),
        Batch(x[:64], y[:64], rows, draw=lambda n: Batch(x[-n:], y[-n:], torch.arange(256 - n, 256))),
    )


def step(objective: Objective, model: Any, batch: Batch) -> None:
    objective(batch, model).backward()


def graph_step(objective: Any, model: Any, batch: Batch) -> None:
    """The same gradients by the second-order graph."""
    logits = model(batch.inputs)
    losses = cross_entropy(logits, batch.targets)
    weights = objective.weigh(objective.behaviour, logits[None], batch.targets)
    loss = (weights * losses).mean()
    after = virtual_step(loss, model, objective.inner_lr)
    second = batch.draw(64)  # type: ignore[misc]
    said = torch.func.functional_call(model, after, (second.inputs,))
    factor = objective.weigh(objective.second_behaviour, said[None], second.targets)
    own, network = list(objective.parameters()), list(model.parameters())
    total = (factor * cross_entropy(said, second.targets)).mean()
    for parameter, slope in zip(own, torch.autograd.grad(total, own, retain_graph=True), strict=True):
        parameter.grad = slope
    for parameter, slope in zip(network, torch.autograd.grad(loss, network), strict=True):
        parameter.grad = slope


class Kept:
    """The most bytes that were kept for backward passes at once."""

    def __init__(self) -> None:
        self.now = self.peak = 0

    def pack(self, tensor: torch.Tensor) -> "Held":
        return Held(self, tensor)

    @staticmethod
    def unpack(held: "Held") -> torch.Tensor:
        return held.tensor


class Held:
    def __init__(self, kept: Kept, tensor: torch.Tensor) -> None:
        self.kept, self.tensor = kept, tensor
        kept.now += tensor.nbytes
        kept.peak = max(kept.peak, kept.now)

    def __del__(self) -> None:
        self.kept.now -= self.tensor.nbytes


def costs(repeats: int) -> Iterator[ResultRow]:
    for width in (64, 512):
        kinds = {
            PLAIN: (step, begun(width, None)),
            "both parts, one pass": (step, begun(width, "both")),
            "both parts by the second-order graph, one pass": (graph_step, begun(width, "both")),
            "both parts, three passes": (step, begun(width, "both", 3)),
            "outer part alone, one pass": (step, begun(width, "outer")),
        }
        made = {}
        for name, (run, parts) in kinds.items():
            kept = Kept()
            with torch.autograd.graph.saved_tensors_hooks(kept.pack, kept.unpack):
                run(*parts)
            made[name] = kept.peak
        lean, graph = (kinds[name][1][:2] for name in list(kinds)[1:3])
        for part, other in zip(lean, graph, strict=True):
            for mine, theirs in zip(part.parameters(), other.parameters(), strict=True):
                torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-5, rtol=1e-3)
        seconds = dict.fromkeys(kinds, float("inf"))
        for _ in range(repeats):
            for name, (run, parts) in kinds.items():
                start = time.process_time()
                for _ in range(5):
                    run(*parts)
                seconds[name] = min(seconds[name], (time.process_time() - start) / 5)
        for name in kinds:
            row = partial(
                ResultRow, f"a step of 64 rows, two layers of {width}: {name}", command=COMMAND, versions=VERSIONS
            )
            yield row("CPU time", 1e3 * seconds[name], "ms", rival=1e3 * seconds[PLAIN], rival_name=PLAIN)
            yield row("kept for backward", made[name] / 1e6, "MB", rival=made[PLAIN] / 1e6, rival_name=PLAIN)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    small = parser.parse_args().scale == "small"
    torch.set_num_threads(1)
    made = []
    for rows in (costs(5 if small else 20), accuracy(range(1 if small else 5))):
        for row in rows:
            beside = "" if row.rival is None else f"{row.rival_name} {row.rival:.4f}"
            print(f"{row.case:80s} {row.metric:24s} {row.ours:.4f} {row.interval or ''} {beside}", flush=True)
            made.append(row)
    write_results(RESULTS / "learn" / "meta_rescaling.json", made)


if __name__ == "__main__":
    main()

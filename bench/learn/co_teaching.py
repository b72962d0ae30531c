"""Co-teaching beside cross-entropy on noisy digits: accuracy, what it selects, and what a step costs."""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from assay.evidence.results import ResultRow, write_results
from assay.learn.co_teaching import CoTeaching
from assay.training.deep import nn, torch
from assay.training.deep.backbones import mlp
from assay.training.deep.batches import Batch
from assay.training.deep.objective import Objective
from assay.training.deep.protocol import Outcome, interval, measure
from assay.training.deep.recipe import Recipe
from assay.training.deep.resnets import narrow_resnet
from bench.data import RESULTS
from bench.learn.elr import cpu_seconds
from bench.learn.noisy_digits import RECIPE, VERSIONS, case, network, show, table, trained

COMMAND = "python -m bench.learn.co_teaching"
SETTINGS = [("symmetric", 0.4), ("pair", 0.45)]
FALLING = replace(RECIPE, schedule="step", milestones=(30,))  # a tenth of the learning rate from epoch 30 on


def selecting(
    make: Callable[[], Objective], recipe: Recipe, kind: str, rate: float, seeds: range
) -> tuple[list[Outcome], list[Any]]:
    """Outcomes of the protocol, and the objectives as they are after it."""
    made: list[Any] = []

    def kept() -> Objective:
        objective = make()
        made.append(objective)
        return objective

    return measure(kept, network, case(kind, rate), recipe, seeds), made


def one_more(name: str, metric: str, values: list[float], unit: str, kind: str, rate: float, command: str) -> ResultRow:
    """A row of one number a seed, beside those of the common table."""
    told = interval(values)
    return ResultRow(
        f"digits, {rate:.0%} {kind} noise, {RECIPE.epochs} epochs, {len(values)} seeds: {name}",
        metric,
        told["mean"],
        unit,
        command,
        interval=(told["low"], told["high"]),
        seeds=tuple(range(len(values))),
        deployable=False,
        versions=VERSIONS,
    )


def precision(name: str, made: list[Any], kind: str, rate: float, command: str) -> ResultRow:
    """Share of right labels among the rows that all judges selected at their last visit."""
    right = [
        float((~case(kind, rate)(seed).wrong)[objective.selected.numpy() == 1].mean())
        for seed, objective in enumerate(made)
    ]
    return one_more(name, "right labels among those selected, last epoch", right, "share", kind, rate, command)


def accuracy(seeds: range, settings: list[tuple[str, float]]) -> Iterator[ResultRow]:
    for kind, rate in settings:
        plain = trained(Objective, kind, rate, seeds)
        outcomes, made = selecting(lambda rate=rate: CoTeaching(rate), RECIPE, kind, rate, seeds)  # type: ignore[misc]
        yield from table("Co-teaching", outcomes, plain, "cross-entropy", kind, rate, COMMAND)
        yield precision("Co-teaching", made, kind, rate, COMMAND)


def cost(name: str, objective: Objective, epoch: int, small: bool, command: str) -> Iterator[ResultRow]:
    """CPU time of a step, forward and backward, beside one of cross-entropy with one network, in the same run."""
    cases: list[tuple[str, Callable[[], nn.Module], tuple[int, ...], int]] = [
        ("perceptron 64-128-128-10", lambda: mlp((64,), 10), (64,), 50),
        ("narrow ResNet-18, 32 x 32 pixels", lambda: narrow_resnet((3, 32, 32), 10), (3, 32, 32), 1),
    ]
    for where, make, shape, n in cases[: 1 if small else None]:
        models: Any = nn.ModuleList(make() for _ in range(2))
        batch = Batch(torch.randn(128, *shape), torch.randint(0, 10, (128,)), torch.arange(128), epoch=epoch)
        plain = Objective()
        plain.begin(128, 10)
        given = models if objective.n_models == 2 else models[0]
        objective.begin(128, 10, model=given)
        seconds = np.full((2, 3), np.inf)
        for turn in range(3):  # alternating, so that a busy machine is busy for both
            seconds[0, turn] = cpu_seconds(lambda: objective(batch, given).backward(), n)  # noqa: B023
            seconds[1, turn] = cpu_seconds(lambda: plain(batch, models[0]).backward(), n)  # noqa: B023
        ours, theirs = seconds.min(1) * 1e3
        yield ResultRow(
            f"{where}, batch of 128: {name}",
            "a step, forward and backward",
            float(ours),
            "cpu ms",
            command,
            rival=float(theirs),
            rival_name="cross-entropy, one network",
            versions=VERSIONS,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    small = parser.parse_args().scale == "small"
    torch.set_num_threads(1)
    made = [show(row) for row in cost("Co-teaching", CoTeaching(0.4, ramp=0), 0, small, COMMAND)]
    made += [show(row) for row in accuracy(range(2 if small else 5), SETTINGS[: 1 if small else None])]
    write_results(RESULTS / "learn" / "co_teaching.json", made)


if __name__ == "__main__":
    main()

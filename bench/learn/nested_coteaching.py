"""Dropout, nested dropout and Co-teaching after them on noisy digits: accuracy, selection, width, cost of a step."""

import argparse
from collections.abc import Callable, Iterator
from typing import Any

from assay.evidence.results import ResultRow, write_results
from assay.learn.co_teaching import CoTeaching
from assay.learn.nested_coteaching import NestedCoTeaching, NestedDropout
from assay.training.deep import torch
from assay.training.deep.batches import Data
from assay.training.deep.objective import Objective
from assay.training.deep.protocol import Outcome
from bench.data import RESULTS
from bench.learn.co_teaching import FALLING, SETTINGS, cost, one_more, precision, selecting
from bench.learn.noisy_digits import RECIPE, case, show, table

COMMAND = "python -m bench.learn.nested_coteaching"


class PlainSeen(Objective):
    """Cross-entropy whose network can be looked at afterwards."""

    def end_epoch(self, epoch: int, model: Any, validation: Data | None) -> None:
        super().end_epoch(epoch, model, validation)
        self.seen = [model]


class NestedSeen(NestedDropout):
    """Nested dropout whose network can be looked at afterwards."""

    def end_epoch(self, epoch: int, model: Any, validation: Data | None) -> None:
        super().end_epoch(epoch, model, validation)
        self.seen = [model]


def widths(name: str, made: list[Any], kind: str, rate: float) -> Iterator[ResultRow]:
    """How many of the first features are enough, by clean test labels after the last epoch."""
    enough, lost = [], []
    judge = NestedDropout()
    judge.begin(1, 10)
    for seed, objective in enumerate(made):
        accuracy = judge.accuracies(objective.seen[0], case(kind, rate)(seed).test)[-1].double()
        enough.append(float((accuracy >= accuracy[-1] - 0.01).int().argmax()) + 1)
        lost.append(float(accuracy[-1] - accuracy[19]))
    unit = "features"
    yield one_more(name, "features within 1 point of all 128", enough, unit, kind, rate, COMMAND)
    yield one_more(name, "accuracy lost by keeping 20 of 128 features", lost, "share", kind, rate, COMMAND)
    if isinstance(made[0], NestedDropout):
        chosen = [float(objective.width) for objective in made]
        yield one_more(name, "width chosen by noisy validation", chosen, unit, kind, rate, COMMAND)


def rows(seeds: range, settings: list[tuple[str, float]]) -> Iterator[ResultRow]:
    for kind, rate in settings:
        plain, made = selecting(PlainSeen, RECIPE, kind, rate, seeds)
        yield from widths("cross-entropy", made, kind, rate)
        for name, make in one_network():
            outcomes, made = selecting(make, RECIPE, kind, rate, seeds)
            yield from table(name, outcomes, plain, "cross-entropy", kind, rate, COMMAND)
            if hasattr(made[0], "seen"):
                yield from widths(name, made, kind, rate)
        rivals: dict[str, list[Outcome]] = {}
        for name, make in two_networks(rate):
            outcomes, made = selecting(make, FALLING, kind, rate, seeds)
            if "after" in name or name == "Co-teaching from scratch":
                yield precision(name, made, kind, rate, COMMAND)
            for rival_name, rival in {"cross-entropy": plain, **rivals}.items():
                told = list(table(name, outcomes, rival, rival_name, kind, rate, COMMAND))
                yield from told if rival is plain else told[-1:]  # of others the paired gain alone
            if not name.startswith(("Co-teaching after dropout", "Co-teaching after nested")):
                rivals[name] = outcomes


def one_network() -> list[tuple[str, Callable[[], Objective]]]:
    return [("dropout 0.5", lambda: NestedDropout(dropout=0.5)), ("nested dropout, sigma 8", lambda: NestedSeen(8.0))]


def two_networks(rate: float) -> list[tuple[str, Callable[[], Objective]]]:
    return [
        ("two networks, each at its best epoch", lambda: NestedCoTeaching(rate, dropout=0.0, alone=RECIPE.epochs)),
        ("Co-teaching from scratch", lambda: CoTeaching(rate)),
        ("Co-teaching after cross-entropy", lambda: NestedCoTeaching(rate, dropout=0.0)),
        ("Co-teaching after dropout 0.5", lambda: NestedCoTeaching(rate, dropout=0.5)),
        ("Co-teaching after nested dropout, sigma 10", lambda: NestedCoTeaching(rate)),
        ("Co-teaching after nested dropout, sigma 40", lambda: NestedCoTeaching(rate, 40.0)),
    ]


def costs(small: bool) -> Iterator[ResultRow]:
    yield from cost("nested dropout", NestedDropout(), 0, small, COMMAND)
    yield from cost("two networks, alone", NestedCoTeaching(0.4, alone=1), 0, small, COMMAND)
    yield from cost("two networks, teaching each other", NestedCoTeaching(0.4, alone=1), 1, small, COMMAND)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    small = parser.parse_args().scale == "small"
    torch.set_num_threads(1)
    made = [show(row) for row in costs(small)]
    made += [show(row) for row in rows(range(2 if small else 5), SETTINGS[: 1 if small else None])]
    write_results(RESULTS / "learn" / "nested_coteaching.json", made)


if __name__ == "__main__":
    main()

"""Do the intervals cover? Simulated audits: once planned ahead, and stopped the moment the sign says so.

A table of n rows with a given error rate, a detector of a given recall and precision, reviews in the order of Neyman's
split. Coverage comes with a Wilson interval. Widths stand beside the naive audit (the same number of reviews drawn
from the whole table, exact interval) and beside counting validated flags alone, which is a lower bound.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assay.audit.error_rate import ErrorRate
from assay.evidence.results import ResultRow, write_results
from assay.kernels.audit_draw import allocate
from assay.kernels.intervals import wilson
from assay.kernels.strata import Stratum, hypergeometric_bounds
from bench.data import RESULTS

BATCH = 50  # reviews between two looks


class World(NamedTuple):
    """Sizes and wrong rows of the flagged and the unflagged stratum."""

    name: str
    flagged: int
    flagged_wrong: int
    others: int
    others_wrong: int

    @property
    def n(self) -> int:
        return self.flagged + self.others

    @property
    def rate(self) -> float:
        return (self.flagged_wrong + self.others_wrong) / self.n


DETECTORS = {"good": (0.9, 0.7), "fair": (0.6, 0.3), "poor": (0.2, 0.05)}  # recall, precision


def worlds(sizes: tuple[int, ...], rates: tuple[float, ...]) -> Iterator[World]:
    """Every size, rate and detector; without errors the detector flags 1 % in vain."""
    for n in sizes:
        for rate in rates:
            for detector, (recall, precision) in DETECTORS.items():
                wrong = round(n * rate)
                caught = round(wrong * recall)
                flagged = min(round(caught / precision), n // 2) if caught else n // 100
                caught = min(caught, flagged)
                yield World(
                    f"n={n}, {rate:.1%} wrong, {detector} detector", flagged, caught, n - flagged, wrong - caught
                )


def sample(world: World, split: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[Stratum, Stratum]:
    """Review `split` rows of the two strata at random."""
    x = rng.hypergeometric(world.flagged_wrong, world.flagged - world.flagged_wrong, int(split[0]))
    y = rng.hypergeometric(world.others_wrong, world.others - world.others_wrong, int(split[1]))
    return Stratum(world.flagged, int(split[0]), int(x)), Stratum(world.others, int(split[1]), int(y))


def neyman(world: World, reviews: int) -> npt.NDArray[np.int64]:
    """The split that `draw` makes without p_wrong: 30 % of the flagged and 5 % of the others expected wrong."""
    return allocate([world.flagged, world.others], [np.sqrt(0.21), np.sqrt(0.0475)], reviews)


def once(world: World, reviews: int, runs: int, rng: np.random.Generator) -> dict[str, float]:
    """Coverage and mean width of one look planned ahead, of the naive audit, and of validated flags alone."""
    rate, split = ErrorRate(), neyman(world, reviews)
    hits = naive_hits = flag_hits = 0
    width = naive_width = 0.0
    for _ in range(runs):
        strata = sample(world, split, rng)
        found = rate.from_counts(strata)
        hits += found.low <= world.rate <= found.high
        width += found.high - found.low
        wrong = world.flagged_wrong + world.others_wrong
        x = int(rng.hypergeometric(wrong, world.n - wrong, min(reviews, world.n)))
        low, high = hypergeometric_bounds(Stratum(world.n, min(reviews, world.n), x))
        naive_hits += low <= wrong <= high
        naive_width += (high - low) / world.n
        # All flags validated, the paper's lower bound, taken for an estimate.
        low_flag, high_flag = wilson(world.flagged_wrong, world.n)
        flag_hits += bool(low_flag <= world.rate <= high_flag)
    names = ("coverage", "width", "naive coverage", "naive width", "flags coverage")
    values = (hits, width, naive_hits, naive_width, flag_hits)
    return {name: value / runs for name, value in zip(names, values, strict=True)}


def peeking(
    rate: ErrorRate, world: World, target: float, most: int, runs: int, rng: np.random.Generator
) -> dict[str, float]:
    """Look after each batch; stop when the remaining error rate is below `target` by the interval that `rate` makes."""
    out = dict.fromkeys(("coverage", "false stops", "reviews"), 0.0)
    for _ in range(runs):
        order_a = _marks(world.flagged, world.flagged_wrong, most, rng)
        order_b = _marks(world.others, world.others_wrong, most, rng)
        for reviews in range(BATCH, most + BATCH, BATCH):
            split = neyman(world, reviews)
            found = rate.from_counts(
                (
                    Stratum(world.flagged, int(split[0]), int(order_a[: split[0]].sum())),
                    Stratum(world.others, int(split[1]), int(order_b[: split[1]].sum())),
                )
            )
            if found.remaining_high < target:
                out["false stops"] += world.rate - found.n_wrong / world.n >= target
                break
        out["coverage"] += found.low <= world.rate <= found.high
        out["reviews"] += found.n_reviewed
    return {name: value / runs for name, value in out.items()}


def _marks(size: int, wrong: int, most: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Whether each of the first `most` rows of a random order is wrong."""
    return rng.permutation(size)[:most] < wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    scale = parser.parse_args().scale
    command = f"python -m bench.audit.error_rate --scale {scale}"
    small = scale == "small"
    runs, peek_runs = (100, 20) if small else (2_000, 2_000)
    sizes, rates = (
        ((2_000, 100_000), (0.0, 0.01, 0.2)) if small else ((2_000, 20_000, 100_000), (0, 0.001, 0.01, 0.05, 0.2))
    )
    rows: list[ResultRow] = []

    def add(case: str, metric: str, ours: float, runs: int, rival: float | None, who: str | None, seed: int) -> None:
        share = "width" not in metric and "reviews" not in metric
        bounds = wilson(round(ours * runs), runs) if share else None
        rows.append(
            ResultRow(
                case=case,
                metric=metric,
                ours=ours,
                unit="rows" if "reviews" in metric else "",
                command=command,
                interval=(float(bounds[0]), float(bounds[1])) if bounds else None,
                seeds=(seed,),
                rival=rival,
                rival_name=who,
                limit=0.95 if "coverage" in metric else None,
            )
        )

    for seed, world in enumerate(worlds(sizes, rates)):
        for reviews in (200, 1_000):
            got = once(world, reviews, runs, np.random.default_rng([seed, reviews]))
            case = f"{world.name}; {reviews} reviews"
            add(case, "coverage, one look", got["coverage"], runs, got["naive coverage"], "random rows alone", seed)
            add(
                case,
                "coverage, one look, beside flags",
                got["coverage"],
                runs,
                got["flags coverage"],
                "validated flags",
                seed,
            )
            add(case, "mean width", got["width"], runs, got["naive width"], "random rows alone", seed)
            print(case, {name: round(value, 4) for name, value in got.items()}, flush=True)
    for seed, world in enumerate(worlds((sizes[0],) if small else (20_000,), rates)):
        # A target of 1 %, as people set it, and one just below the truth, where nearly every stop is a mistake.
        for target in (0.01, *((0.9 * world.rate,) if world.rate else ())):
            sign = peeking(ErrorRate(anytime=True), world, target, 2_000, peek_runs, np.random.default_rng([seed, 7]))
            fewer = max(peek_runs // 10, 10)
            single = peeking(ErrorRate(), world, target, 2_000, fewer, np.random.default_rng([seed, 8]))
            case = f"{world.name}; stop below {target:.3%}, a look every {BATCH} of at most 2000 reviews"
            misuse = f"the one-look interval, misused ({fewer} audits)"
            add(case, "coverage when stopped", sign["coverage"], peek_runs, single["coverage"], misuse, seed)
            add(
                case, "share of stops above target", sign["false stops"], peek_runs, single["false stops"], misuse, seed
            )
            add(case, "mean reviews until stop", sign["reviews"], peek_runs, single["reviews"], misuse, seed)
            print(case, sign, "misused", single, flush=True)
    write_results(RESULTS / "audit" / "error_rate.json", rows)


if __name__ == "__main__":
    main()

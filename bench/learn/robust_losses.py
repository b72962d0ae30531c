"""GCE, SCE and label smoothing beside cross-entropy on noisy digits."""

import argparse
from collections.abc import Iterator

from assay.evidence.results import ResultRow, write_results
from assay.learn.robust_losses import GCE, SCE, LabelSmoothing
from assay.training.deep.objective import Objective
from bench.data import RESULTS
from bench.learn.noisy_digits import show, table, trained

COMMAND = "python -m bench.learn.robust_losses"


def rows(seeds: range, settings: list[tuple[str, float]]) -> Iterator[ResultRow]:
    for kind, rate in settings:
        plain = trained(Objective, kind, rate, seeds)
        for name, make in (("GCE", GCE), ("SCE", SCE), ("label smoothing", LabelSmoothing)):
            yield from table(name, trained(make, kind, rate, seeds), plain, "cross-entropy", kind, rate, COMMAND)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    small = parser.parse_args().scale == "small"
    settings = (
        [("symmetric", 0.4)] if small else [("symmetric", 0.4), ("symmetric", 0.6), ("symmetric", 0.0), ("pair", 0.4)]
    )
    made = [show(row) for row in rows(range(2 if small else 5), settings)]
    write_results(RESULTS / "learn" / "robust_losses.json", made)


if __name__ == "__main__":
    main()

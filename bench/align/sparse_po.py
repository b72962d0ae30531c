"""Reward against KL on text in which a cue decides: DPO, TDPO, MaPO, SparsePO; and what a step costs beside TRL's."""

import argparse
from collections.abc import Iterator, Mapping

import numpy as np

from assay.evidence.results import ResultRow, versions_of, write_results
from assay.language import torch
from assay.language.policy import adapted
from assay.training.deep.protocol import interval
from bench.align.cue_text import Outcome, judged, pairs_of, reference, trained
from bench.align.preference_step import steps
from bench.data import RESULTS

COMMAND = "python -m bench.align.sparse_po"
VERSIONS = versions_of("torch", "transformers", "peft", "trl")
NAMES = {
    "none": "DPO",
    "ones": "TDPO1",
    "tdpo2": "TDPO2",
    "mapo": "MaPO",
    "common": "SparsePO common",
    "independent": "SparsePO independent",
}
BETAS = {name: (1.0, 4.0) if name == "none" else (0.2, 1.0) for name in NAMES}  # DPO goes further at each
LEVELS = (1.0, 1.5, 2.0)
Curves = dict[tuple[str, float, int], Outcome]


def at_level(points: list[tuple[float, float]], level: float) -> float:
    """Reward at a KL, between the nearest points of a curve (kl, reward), straight in the root of the KL."""
    kl, reward = np.array(sorted(points)).T
    return float(np.interp(np.sqrt(level), np.sqrt(kl), reward))


def measured(seeds: range, betas: Mapping[str, tuple[float, ...]], n_pairs: int) -> tuple[Curves, dict[int, float]]:
    """Outcome of each mask, beta and seed, and the reward of the reference at each seed."""
    found: Curves = {}
    start = {}
    for seed in seeds:
        lm, pairs = reference(seed), pairs_of(seed, n_pairs)
        start[seed] = judged(adapted(lm.model, 0), lm, seed)[0]
        for mask, several in betas.items():
            for beta in several:
                found[mask, beta, seed] = trained(lm, pairs, mask, beta, seed)
                print(f"seed {seed}, {NAMES[mask]}, beta {beta}: {found[mask, beta, seed]}", flush=True)
    return found, start


def frontier(seeds: range, betas: Mapping[str, tuple[float, ...]], n_pairs: int) -> Iterator[ResultRow]:
    found, start = measured(seeds, betas, n_pairs)

    def row(case: str, metric: str, values: list[float], unit: str = "") -> ResultRow:
        told = interval(values)
        bounds = (told["low"], told["high"])
        return ResultRow(case, metric, told["mean"], unit, COMMAND, bounds, tuple(seeds), versions=VERSIONS)

    curves = {(mask, seed): [(0.0, start[seed])] for mask in betas for seed in seeds}
    for (mask, _, seed), one in found.items():
        curves[mask, seed].append((one.kl, one.reward))
    reached = min(max(kl for kl, _ in curve) for curve in curves.values())  # where every curve still has points
    for mask, several in betas.items():
        for beta in several:
            told = [found[mask, beta, seed] for seed in seeds]
            case = f"cue text, {NAMES[mask]}, beta {beta}"
            yield row(case, "reward", [each.reward for each in told])
            yield row(case, "sequence KL", [each.kl for each in told], "nats")
            if mask in ("common", "independent"):
                yield row(case, "mean reward mask after the cue", [each.after_cue for each in told])
                yield row(case, "mean reward mask elsewhere", [each.elsewhere for each in told])
                yield row(case, "reward mask after the cue over elsewhere", [e.after_cue / e.elsewhere for e in told])
        for level in (level for level in LEVELS if level <= reached):
            here = [at_level(curves[mask, seed], level) for seed in seeds]
            case = f"cue text, {NAMES[mask]}, at a sequence KL of {level}"
            yield row(case, "reward", here)
            for rival in ("none", "tdpo2"):
                beside = [at_level(curves[rival, seed], level) for seed in seeds]
                if mask != rival:
                    gains = [a - b for a, b in zip(here, beside, strict=True)]
                    yield row(case, f"reward above that of {NAMES[rival]}", gains)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    small = parser.parse_args().scale == "small"
    torch.set_num_threads(1)
    rows = list(frontier(range(2), dict.fromkeys(NAMES, (1.0,)), 128) if small else frontier(range(5), BETAS, 640))
    rows += list(steps(small, COMMAND))
    write_results(RESULTS / "align" / "sparse_po.json", rows)


if __name__ == "__main__":
    main()

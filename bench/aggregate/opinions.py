"""What everybody would answer: how well few votes foretell the others, and how long the crowd takes to learn.

On CIFAR-10H one to twenty votes of an image foretell its other thirty and more; the rivals are vote shares and shares
with the best constant added to each class (chosen with the others' answers, which no user has). The limit is the
entropy of the others' answers, which only they could reach.
"""

from __future__ import annotations

import time

import click
import numpy as np

from assay.aggregate.opinions import Opinions
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.calibration import cross_entropy
from assay.kernels.intervals import bootstrap
from bench.aggregate.datasets import anonymous, cifar_10h
from bench.data import RESULTS

CONSTANTS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@click.command()
@click.option("--scale", type=click.Choice(["small", "full"]), default="full")
def main(scale: str) -> None:
    small = scale == "small"
    command = f"python -m bench.aggregate.opinions --scale {scale}"
    seeds = (0,) if small else (0, 1, 2)
    versions, rows = versions_of("scipy"), []
    for n_votes in (1, 3, 10) if small else (1, 2, 3, 5, 10, 20):
        ours, others, shares, added, floor = [], [], [], [], []
        for seed in seeds:
            crowd = cifar_10h(n_votes, 2_000 if small else None, seed)
            counts = crowd.votes.counts()
            p = Opinions("next_vote").fit(crowd.votes).belief_.p
            assert crowd.shares is not None
            ours.append(p)
            others.append(crowd.shares)
            clipped = np.maximum(counts / n_votes, 1e-6)
            shares.append(cross_entropy(clipped / clipped.sum(axis=1, keepdims=True), crowd.shares))
            smooth = [(counts + c) / (n_votes + 10 * c) for c in CONSTANTS]
            added.append(min(cross_entropy(one, crowd.shares) for one in smooth))
            floor.append(cross_entropy(crowd.shares, crowd.shares))
        value = float(np.mean([cross_entropy(p, rest) for p, rest in zip(ours, others, strict=True)]))
        low, high = bootstrap(cross_entropy, ours[0], others[0], resamples=200)
        for rival, name in ((shares, "vote shares, clipped at 1e-6"), (added, "the best constant added")):
            rows.append(
                ResultRow(
                    case=f"CIFAR-10H, {n_votes} votes foretell the others; beside {name}", metric="log-loss",
                    ours=value, interval=(low, high), unit="nats", command=command, seeds=seeds,
                    rival=float(np.mean(rival)), rival_name=name, limit=float(np.mean(floor)), versions=versions,
                )
            )  # fmt: skip
            print(rows[-1].case, f"{value:.4f}", f"rival {np.mean(rival):.4f}", f"limit {np.mean(floor):.4f}")
    for n in (10_000, 100_000) if small else (10_000, 100_000, 1_000_000):
        rng = np.random.default_rng(0)
        counts = rng.multinomial(5, rng.dirichlet(np.full(10, 0.1), n))
        votes = anonymous(cifar_10h(1, 10).votes.space, counts)
        start = time.process_time()
        Opinions().fit(votes)
        rows.append(
            ResultRow(
                case=f"{5 * n:,} votes on {n:,} tasks, 10 classes", metric="CPU time", unit="s", command=command,
                ours=time.process_time() - start, seeds=(0,), versions=versions,
            )
        )  # fmt: skip
        print(rows[-1].case, f"{rows[-1].ours:.2f} s")
    write_results(RESULTS / "aggregate" / "opinions.json", rows)


if __name__ == "__main__":
    main()

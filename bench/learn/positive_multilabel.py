"""Tags of which a share was recorded: PU-MLC beside assume-negative cross-entropy, the asymmetric loss, EM and VPU.

Mosaics of digits (3 x 3 cells, one to four digits, tags are the digits in it), blood cells (tags of pictures), and
questions to a bank (tags are the words in the name of the intent).
"""

import argparse
import csv
import math
import os
import re
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score, f1_score

from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.positive_priors import shifts
from assay.learn.positive_multilabel import PU, PositiveMultilabel
from assay.training.deep import Tensor, nn, torch
from assay.training.deep.backbones import mlp, small_cnn
from assay.training.deep.batches import Batch
from assay.training.deep.local_global import add_local_global
from assay.training.deep.protocol import interval
from assay.training.deep.recipe import Recipe
from assay.training.deep.resnets import narrow_resnet
from assay.training.deep.tag_losses import TagObjective
from assay.training.deep.tags import TagData
from bench.data import RESULTS, shared
from bench.learn.noisy_digits import show

COMMAND = "python -m bench.learn.positive_multilabel"
VERSIONS = versions_of("torch", "scikit-learn")

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Split:
    """Training and test rows with all their tags."""

    x: Array
    y: Array
    x_test: Array
    y_test: Array


def recorded(y: Array, share: float, seed: int) -> Array:
    """Each tag kept with the same chance; at least two of each."""
    rng = np.random.default_rng([seed, 1])
    kept = (y * (rng.random(y.shape) < share)).astype(np.int8)
    for c in np.flatnonzero(kept.sum(0) < 2):
        kept[rng.choice(np.flatnonzero(y[:, c]), 2, replace=False), c] = 1
    return kept


def mosaics(seed: int, n: int = 3000, n_test: int = 1000) -> Split:
    """Mosaics (n, 9, 64) of digits, disjoint in training and test; digit 0 is drawn most often, 9 a seventh of that."""
    pixels, digit = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(digit))
    made: list[Array] = []
    for pool, size in ((order[:1200], n), (order[1200:], n_test)):
        each = np.linspace(1, 0.15, 10) / np.bincount(digit[pool], minlength=10)
        chance = each[digit[pool]] / each[digit[pool]].sum()
        x, y = np.zeros((size, 9, 64), np.float32), np.zeros((size, 10), np.int8)
        for row in range(size):
            count = rng.integers(1, 5)
            drawn = rng.choice(pool, count, p=chance)
            x[row, rng.choice(9, count, replace=False)] = pixels[drawn] / 16
            y[row, digit[drawn]] = 1
        made += [x, y]
    return Split(*made)


class Cells(nn.Module):  # type: ignore[misc]
    """A perceptron for each cell, and the log of the mean of the exponentials over cells."""

    def __init__(self, shape: Any, k: int) -> None:
        super().__init__()
        widths = (shape[-1], 128, 64)
        layers = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.ReLU())]
        self.cell = nn.Sequential(*layers, nn.Linear(64, k))

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x).logsumexp(1) - math.log(x.shape[1])


class Picture(nn.Module):  # type: ignore[misc]
    """The cells (b, 9, 64) put together as a picture (b, 1, 24, 24), for a network of pictures."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.view(-1, 3, 3, 8, 8).transpose(2, 3).reshape(-1, 1, 24, 24))


def cache(name: str, make: Callable[[], Array]) -> Array:
    """An array kept in the folder of temporary files, since encoding takes a minute."""
    path = Path(os.environ.get("ASSAY_CACHE", tempfile.gettempdir())) / f"assay-bench-{name}.npy"
    if not path.exists():
        np.save(path, make())
    found: Array = np.load(path)
    return found


@lru_cache(maxsize=1)
def cells() -> tuple[Array, Array, Array]:
    """Pictures of blood in 1280 numbers, which of three kinds of cells each shows, and whether it is for testing."""
    with shared("bccd/splits.csv").open(encoding="utf-8", newline="") as file:
        split = {row["image"].split(".")[0]: row["split"] for row in csv.DictReader(file)}
    kinds = ("RBC", "WBC", "Platelets")
    y = {name: np.zeros(3, np.int8) for name in split}
    with shared("bccd/boxes.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            y[row["image"].split(".")[0]][kinds.index(row["label"])] = 1

    def embed() -> Array:
        from assay.training.encoders import encode

        with zipfile.ZipFile(shared("bccd/images.zip")) as archive:
            members = {Path(name).stem: name for name in archive.namelist() if name.endswith(".jpg")}
            return encode([archive.read(members[name]) for name in split], "efficientnet")

    return cache("bccd", embed), np.stack([y[name] for name in split]), np.array([s == "test" for s in split.values()])


def blood(seed: int) -> Split:
    """Blood cells: 292 pictures to train on, 72 to test."""
    del seed
    x, y, test = cells()
    return Split(x[~test], y[~test], x[test], y[test])


FUNCTION_WORDS = {"not", "or", "up", "by", "of", "to", "my", "get", "getting", "after"}


@lru_cache(maxsize=1)
def questions(n: int = 2000, n_test: int = 1000) -> Split:
    """Questions to a bank in 384 numbers; tags are the words that stand in three or more names of the 77 intents.

    Someone who asks about a pending transfer has the tags "pending" and "transfer".
    """
    rows = []
    for part in ("train", "test"):
        with shared(f"banking77/{part}.csv").open(encoding="utf-8", newline="") as file:
            whole = list(csv.DictReader(file))
        kept = np.random.default_rng(0).permutation(len(whole))[: n if part == "train" else n_test]
        rows.append([whole[i] for i in kept])
    words = {name: set(re.findall("[a-z]+", name.lower())) for name in {row["category"] for row in rows[0]}}
    every = [word for found in words.values() for word in found]
    tags = sorted({word for word in every if every.count(word) >= 3} - FUNCTION_WORDS)

    def embed() -> Array:
        from assay.training.encoders import encode

        return encode([row["text"] for part in rows for row in part], "minilm")

    x = cache(f"banking77-{n}", embed)
    y = [np.array([[tag in words[row["category"]] for tag in tags] for row in part], np.int8) for part in rows]
    return Split(x[:n], y[0], x[n:], y[1])


WHOLE = Recipe(epochs=40, optimizer="adam", lr=3e-3, weight_decay=0.0)  # where nothing is missing
SLOW = Recipe(epochs=60, optimizer="adam", lr=1e-3, weight_decay=0.0)  # it stays at a flat start for long
ENTRIES: dict[str, dict[str, Any]] = {
    "binary cross-entropy on all tags": {"method": "bce", "recipe": WHOLE},
    "binary cross-entropy": {"method": "bce", "recipe": SLOW},
    "asymmetric loss": {"method": "asl"},
    "EM": {"method": "em"},
    "VPU with mixing": {"gamma": 0.0, "alpha": math.inf},
    "PU-MLC without mixing": {"mixup": 0.0},
    "PU-MLC": {},
}
METRICS = {
    "f1": "micro-F1 at one half",
    "map": "mean average precision",
    "rate": "predicted over true share of tags",
    "loss": "log-loss a cell",
    "f1 bin": "micro-F1 at one half, shifted to best-bin priors",
    "f1 told": "micro-F1 at one half, shifted to the true priors",
    "loss told": "log-loss a cell, shifted to the true priors",
}


def scores(y: Array, said: Array) -> dict[str, float]:
    """Micro-F1, and log-loss a cell."""
    inside = said.clip(1e-6, 1 - 1e-6)
    return {
        "f1": float(f1_score(y, said > 0.5, average="micro", zero_division=0)),
        "loss": float(-(y * np.log(inside) + (1 - y) * np.log1p(-inside)).mean()),
    }


def measured(options: dict[str, Any], split: Split, share: float, seed: int, backbone: Any = None) -> dict[str, float]:
    """Metrics on the test rows of one training; those with priors told to it afterwards need no other."""
    given = recorded(split.y, share, seed)
    model = PositiveMultilabel(backbone=backbone, random_state=seed, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model.fit(split.x, given)
    trained, z, y = model.decision_function(split.x), model.decision_function(split.x_test), split.y_test
    told = scores(y, expit(z + shifts(trained, split.y.mean(0))))
    by_bin = scores(y, expit(z + shifts(trained, model.evidence()["tags"]["best_bin"])))
    return {
        **scores(y, expit(z)),
        "map": float(np.mean([average_precision_score(y[:, c], z[:, c]) for c in np.flatnonzero(y.any(0))])),
        "rate": float(expit(z).mean() / y.mean()),
        "f1 bin": by_bin["f1"],
        "f1 told": told["f1"],
        "loss told": told["loss"],
    }


def told(case: str, metric: str, values: list[float], seeds: range, **more: Any) -> ResultRow:
    """A row with its mean and interval."""
    found = interval(values)
    return ResultRow(
        case,
        metric,
        found["mean"],
        "nats" if "log-loss" in metric else "share",
        COMMAND,
        interval=(found["low"], found["high"]),
        seeds=tuple(seeds),
        versions=VERSIONS,
        deployable=False,
        **more,
    )


def table(
    where: str, names: list[str], split: Callable[[int], Split], share: float, seeds: range, backbone: Any = None
) -> Iterator[ResultRow]:
    """Each entry's metrics over the seeds, and PU-MLC's gain over the others, paired."""
    ours: list[dict[str, float]] = []
    for name in ["PU-MLC", *names]:
        kept = 1.0 if name.endswith("on all tags") else share
        runs = [measured(ENTRIES[name], split(seed), kept, seed, backbone) for seed in seeds]
        ours = ours or runs
        case = f"{where}, {share:.0%} of the tags recorded: {name}"
        for metric, text in METRICS.items():
            yield told(case, text, [run[metric] for run in runs], seeds)
        for metric in ("f1", "map") if name != "PU-MLC" else ():
            gain = [a[metric] - b[metric] for a, b in zip(ours, runs, strict=True)]
            yield told(case, f"{METRICS[metric]}, PU-MLC above it, paired", gain, seeds)


def pictures(shape: Any, k: int, branch: bool) -> nn.Module:
    """A small convolutional network over the whole mosaic, with or without the global branch."""
    del shape
    network = small_cnn((1, 24, 24), k, width=16)
    if branch:
        add_local_global(network)
    return Picture(network)


def with_branch(seeds: range, n: int) -> Iterator[ResultRow]:
    """PU-MLC on a convolutional network, with LGConv and without."""
    options = {"recipe": Recipe(epochs=12, optimizer="adam", lr=3e-3, weight_decay=0.0)}
    runs: dict[bool, list[dict[str, float]]] = {branch: [] for branch in (False, True)}
    for seed, branch in ((seed, branch) for seed in seeds for branch in runs):
        runs[branch].append(measured(options, mosaics(seed, n), 0.5, seed, partial(pictures, branch=branch)))
    case = f"mosaics as pictures, {n} rows, 50% of the tags recorded, small convolutional network: "
    for metric in ("f1", "map"):
        ours, plain = ([run[metric] for run in runs[branch]] for branch in (True, False))
        more = {"rival": interval(plain)["mean"], "rival_name": "the same network without"}
        yield told(case + "with LGConv", METRICS[metric], ours, seeds, **more)
        gain = [a - b for a, b in zip(ours, plain, strict=True)]
        yield told(case + "with LGConv", f"{METRICS[metric]}, above none, paired", gain, seeds)


def by_batch(seeds: range, size: int) -> Iterator[ResultRow]:
    """PU-MLC with batches of another size, by both ways to draw rows."""
    for sampling, drawn in (("confirmed", "for confirmed tags"), ("even", "alike")):
        recipe = Recipe(epochs=30, batch_size=size, optimizer="adam", lr=1e-3, weight_decay=0.0)
        options = {"sampling": sampling, "recipe": recipe}
        runs = [measured(options, mosaics(seed), 0.1, seed, Cells) for seed in seeds]
        for metric in ("f1", "map"):
            case = f"mosaics, 10% of the tags recorded: PU-MLC, batches of {size}, rows drawn {drawn}"
            yield told(case, METRICS[metric], [run[metric] for run in runs], seeds)


def cost(repeats: int) -> Iterator[ResultRow]:
    """A step (forward, backward, Adam) by each loss, alternating: the median, and the median of paired ratios."""
    cases: list[tuple[str, nn.Module, tuple[int, ...], int, int]] = [
        ("perceptron 384-512-512, 80 tags, batch of 256", mlp((384,), 80, hidden=(512, 512)), (384,), 80, 256),
        ("narrow ResNet-18, 32 x 32 pixels, 80 tags, batch of 64", narrow_resnet((3, 32, 32), 80), (3, 32, 32), 80, 64),
    ]
    for name, model, shape, k, b in cases:
        x, tags = torch.randn(b, *shape), (torch.rand(b, k) < 0.05).to(torch.int8)
        batch = Batch(x, tags, torch.arange(b))
        objectives = {"plain": TagObjective(), "pu": PU(mixup=0.0), "mixed": PU()}
        times: dict[str, list[float]] = {which: [] for which in objectives}
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-5)
        for objective in objectives.values():
            objective.begin(b, k, TagData(x, tags, k), model)
        for _ in range(repeats + 2):
            for which, objective in objectives.items():
                start = time.process_time()
                optimizer.zero_grad()
                objective(batch, model).backward()
                optimizer.step()
                times[which].append(time.process_time() - start)
        plain = np.array(times["plain"][2:])
        for which, text in (
            ("pu", "the loss alone"),
            ("mixed", "with mixing, which is a second pass of half the rows"),
        ):
            ours = np.array(times[which][2:])
            yield ResultRow(
                f"{name}: PU-MLC, {text}",
                "time of a step",
                float(np.median(ours)) * 1e3,
                "cpu ms",
                COMMAND,
                rival=float(np.median(plain)) * 1e3,
                rival_name="binary cross-entropy",
                versions=VERSIONS,
            )
            yield ResultRow(
                f"{name}: PU-MLC, {text}",
                "time of a step over that of binary cross-entropy, median of pairs",
                float(np.median(ours / plain)),
                "times",
                COMMAND,
                versions=VERSIONS,
            )


def rows(small: bool) -> Iterator[ResultRow]:
    """All of it."""
    seeds = range(10, 11 if small else 15)  # settings were picked while looking at the mosaics of seeds 0 and 1
    others = [name for name in ENTRIES if name != "PU-MLC"]
    plain = ["binary cross-entropy", "asymmetric loss", "EM", "VPU with mixing"]
    yield from cost(5 if small else 20)
    yield from table("blood cells", plain, blood, 0.3, seeds)
    yield from table("mosaics", plain[:1] if small else others, mosaics, 0.1, seeds, Cells)
    if small:
        return
    yield from table("questions to a bank", plain, lambda _: questions(), 0.1, seeds)
    yield from table("mosaics", plain[:1], mosaics, 0.3, seeds, Cells)
    yield from with_branch(seeds, 800)
    yield from by_batch(seeds, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    small = parser.parse_args().scale == "small"
    torch.set_num_threads(1)
    made = []
    for row in rows(small):
        made.append(show(row))
        write_results(RESULTS / "learn" / "positive_multilabel.json", made)


if __name__ == "__main__":
    main()

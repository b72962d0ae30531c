"""Wrong labels at a size that means something: Fashion-MNIST whole, CIFAR-10 with the labels that people gave, tweets.

- Fashion-MNIST (`dataset-fashion-mnist` of Debian), 60,000 rows in 64 principal directions, of which 20, 40 and 60 %
  are made wrong: any other class (symmetric), the next class (pair), or by the row itself (instance). With 60 % of
  pairs the wrong class is the most common label of each true class, so no method can know it: shown as a limit.
- CIFAR-10N (`--cifar FOLDER` with the pictures, one folder a class under train/ and test/, numbered in the original
  order): 50,000 pictures as 128 directions of EfficientNet-Lite0 features at 96 pixels, labels by people: aggre (9 %
  wrong), random (the first of three people, 17 %), worse (40 %).
- Davidson's tweets, all 24,783, each with the label of one annotator drawn at random; the truth is what most said.

A tenth of the training rows, with its wrong labels, chooses the epoch. One perceptron, one recipe for all methods.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA

from assay.evidence.results import ResultRow, read_results, write_results
from assay.learn.co_teaching import CoTeaching
from assay.learn.elr import ELR
from assay.learn.ldr import ALDR
from assay.learn.robust_losses import GCE
from assay.training import encoders
from assay.training.deep import torch
from assay.training.deep.backbones import mlp
from assay.training.deep.batches import Data
from assay.training.deep.objective import Objective
from assay.training.deep.protocol import Case, measure, summarise
from assay.training.deep.recipe import Recipe
from assay.training.folds import assign_folds
from assay.training.noise import instance_dependent, pair, symmetric
from bench.data import RESULTS, shared
from bench.learn.noisy_digits import NAMES, VERSIONS, show
from bench.learn.settings import Array, fashion, tweets

COMMAND = "python -m bench.learn.real_noise"
PLAIN = "cross_entropy"
SIDE = 96  # pixels that CIFAR's pictures of 32 are drawn up to
RECIPE = Recipe(epochs=20, batch_size=512, lr=0.1, momentum=0.9, weight_decay=0.0, schedule="cosine")
HIDDEN = (256, 256)

METHODS: dict[str, Callable[[float], Objective]] = {
    PLAIN: lambda _: Objective(),
    "gce": lambda _: GCE(),
    "elr": lambda _: ELR(),
    "aldr": lambda _: ALDR(),
    "co_teaching, told the rate": lambda rate: CoTeaching(noise_rate=rate),
}
"""By name, for the share of wrong labels, which co-teaching asks for."""


def parted(X: Array, given: Array, truth: Array, X_test: Array, truth_test: Array, k: int, seed: int) -> Case:
    """A tenth of the rows, wrong labels among them, chooses the epoch; inputs are scaled by the training rows."""
    mean, scale = X.mean(axis=0), X.std(axis=0) + 1e-8
    rows = Data(((X - mean) / scale).astype(np.float32), given, k)
    held = assign_folds(given, 10, random_state=seed) == 0
    test = Data(((X_test - mean) / scale).astype(np.float32), truth_test, k)
    return Case(rows.take(np.flatnonzero(~held)), rows.take(np.flatnonzero(held)), truth[~held], test)


def clothes(kind: str, rate: float) -> Callable[[int], Case]:
    """Fashion-MNIST with noise of a kind."""

    def of_seed(seed: int) -> Case:
        X, truth, X_test, truth_test = fashion()
        flipped = {
            "symmetric": lambda: symmetric(truth, 10, rate, seed=seed),
            "pair": lambda: pair(truth, 10, rate, seed=seed),
            "instance": lambda: instance_dependent(X, truth, 10, rate, seed=seed),
        }[kind]()
        return parted(X, flipped.labels, truth, X_test, truth_test, 10, seed)

    return of_seed


def judged_tweets(seed: int) -> Case:
    """Every tweet, by one annotator each; a third for the test."""
    found = tweets(seed, None)
    return parted(found.X, found.given, found.truth, found.X_test, found.truth_test, 3, seed)


@lru_cache(maxsize=1)
def _pictures(folder: Path) -> tuple[Array, Array, Array, Array]:
    """Features (50000, 128), (10000, 128) of CIFAR-10 and the true classes; the encoder's are kept by the pictures."""
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    with np.load(shared("cifar-n/cifar10n.npz")) as kept:
        truth = kept["clean_label"].astype(np.int64)
    truth_test = np.load(shared("cifar-10h/cifar10h.npz"))["label"].astype(np.int64)
    found = []
    for part, codes in (("train", truth), ("test", truth_test)):
        cache = folder / f"efficientnet-{part}-{SIDE}.npy"
        if not cache.exists():
            nth = np.zeros(10, dtype=int)
            paths = []
            for code in codes:  # numbered within each class, in the original order
                paths.append(folder / part / names[code] / f"{nth[code]:04d}.jpg")
                nth[code] += 1
            np.save(cache, _features(paths))
        found.append(np.load(cache))
    pca = PCA(128, random_state=0).fit(found[0][:10_000])
    return pca.transform(found[0]), truth, pca.transform(found[1]), truth_test


def _features(paths: list[Path]) -> Array:
    """Mean of the last feature map of EfficientNet-Lite0, pictures drawn up to `SIDE`."""
    return encoders.encode([str(path) for path in paths], "efficientnet", side=SIDE)


def people(column: str, folder: Path) -> Callable[[int], Case]:
    """CIFAR-10 with one column of the labels that people gave."""

    def of_seed(seed: int) -> Case:
        X, truth, X_test, truth_test = _pictures(folder)
        with np.load(shared("cifar-n/cifar10n.npz")) as kept:
            given = kept[column].astype(np.int64)
        return parted(X, given, truth, X_test, truth_test, 10, seed)

    return of_seed


def settings(cifar: Path | None) -> dict[str, Callable[[int], Case]]:
    """Every way in which labels are wrong, by name."""
    found: dict[str, Callable[[int], Case]] = {
        f"Fashion-MNIST, {rate:.0%} {kind}": clothes(kind, rate)
        for kind in ("symmetric", "pair", "instance")
        for rate in (0.2, 0.4, 0.6)
    }
    found["tweets, one annotator"] = judged_tweets
    if cifar is not None:
        columns = {"aggre": "aggre_label", "random": "random_label1", "worse": "worse_label"}
        found |= {f"CIFAR-10N {name}": people(column, cifar) for name, column in columns.items()}
    return found


def rows(name: str, case: Callable[[int], Case], seeds: tuple[int, ...], recipe: Recipe) -> Iterator[ResultRow]:
    """Every method in one setting, beside plain cross-entropy."""
    first = case(seeds[0])
    shape, k = tuple(first.train.inputs.shape[1:]), first.train.n_classes
    rate = float(first.wrong.mean())
    plain: dict[str, dict[str, float]] = {}
    for method, objective in METHODS.items():
        outcomes = measure(partial(objective, rate), lambda: mlp(shape, k, hidden=HIDDEN), case, recipe, seeds)
        found = summarise(outcomes)
        plain = plain or found
        for metric, told in found.items():
            yield ResultRow(
                f"{name}: {method}",
                NAMES[metric],
                told["mean"],
                "share",
                COMMAND,
                interval=(told["low"], told["high"]),
                seeds=seeds,
                rival=plain[metric]["mean"],
                rival_name=PLAIN,
                deployable=False,
                versions=VERSIONS,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    parser.add_argument("--cifar", type=Path, help="folder of the pictures of CIFAR-10; without it they are left out")
    parser.add_argument("--setting", action="append", help="a part of a setting's name; the others keep their numbers")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    small, wanted = arguments.scale == "small", arguments.setting
    torch.set_num_threads(1)
    recipe = replace(RECIPE, epochs=2) if small else RECIPE
    path = RESULTS / "learn" / "real_noise.json"
    kept = read_results(path) if wanted is not None and path.exists() else []
    for name, case in settings(arguments.cifar).items():
        if wanted is None or any(part in name for part in wanted):
            kept = [row for row in kept if row.case.split(": ")[0] != name]
            kept += map(show, rows(name, case, tuple(range(1 if small else arguments.seeds)), recipe))
            if not small:
                write_results(path, kept)  # after each, for a run that is stopped


if __name__ == "__main__":
    main()

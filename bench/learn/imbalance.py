"""Long tails on digits and Fashion-MNIST: what unlabelled rows add to each way of balancing, and when they harm."""

import argparse
import gzip
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

from assay.evidence.results import ResultRow, versions_of, write_results
from assay.labels import Hard, Space
from assay.learn.imbalance import ImbalanceClassifier, relevance
from assay.training.deep import torch
from assay.training.deep.backbones import mlp, small_cnn
from assay.training.deep.class_counts import long_tail
from assay.training.deep.estimator import Backbone
from assay.training.deep.protocol import interval
from assay.training.deep.recipe import Recipe
from bench.data import RESULTS
from bench.learn.noisy_digits import show

COMMAND = "python -m bench.learn.imbalance"
FASHION = Path("/usr/share/datasets/fashion-mnist")
VERSIONS = versions_of("torch", "scikit-learn")
SPACE = Space(tuple("0123456789"))
N_TAIL = 4
STEPS = 250  # of a training on the labelled rows; with the others, as many epochs

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Split:
    """Rows with labels, rows without, test rows, and the rarest classes."""

    x: Array
    y: Array
    others: Array
    x_test: Array
    y_test: Array
    tail: Array


def digits() -> tuple[Array, Array]:
    pixels, truth = load_digits(return_X_y=True)
    return pixels.reshape(-1, 1, 8, 8).astype(np.float32) / 16, truth


def fashion(side: int, n: int) -> tuple[Array, Array]:
    """The first n pictures of Fashion-MNIST's test part, made smaller by means: 28 pixels to 14, or 24 to 8."""
    with gzip.open(FASHION / "t10k-images-idx3-ubyte.gz") as stream:
        pictures = np.frombuffer(stream.read(), np.uint8, offset=16).reshape(-1, 28, 28)[:n] / np.float32(255)
    with gzip.open(FASHION / "t10k-labels-idx1-ubyte.gz") as stream:
        truth = np.frombuffer(stream.read(), np.uint8, offset=8)[:n].astype(np.int64)
    pictures = pictures if side == 14 else pictures[:, 2:26, 2:26]
    step = pictures.shape[1] // side
    return pictures.reshape(-1, 1, side, step, side, step).mean((3, 5)), truth


def deal(
    data: tuple[Array, Array],
    seed: int,
    *,
    largest: int = 60,
    other_ratio: float = 1.0,
    relevant: float = 1.0,
    foreign: Array | None = None,
) -> Split:
    """A long tail of labelled rows; the class order is drawn, so that no class is always the rare one.

    Parameters
    ----------
    largest : rows of the most common class; the rarest has 1 / 30 of them.
    other_ratio : how unequal the unlabelled rows are.
    relevant, foreign : share of the unlabelled rows that stays, and pictures that replace the rest.
    """
    x, y = data
    rng = np.random.default_rng(seed)
    known, others, test = [], [], []
    order = rng.permutation(10)
    for c, size, other in zip(order, long_tail(largest, 10, 30), long_tail(100, 10, other_ratio), strict=True):
        rows = rng.permutation(np.flatnonzero(c == y))
        test.append(rows[:40])
        known.append(rows[40 : 40 + size])
        others.append(rows[40 + size :][:other])
    labelled, rest, held = (np.concatenate(rows) for rows in (known, others, test))
    unknown = x[rest]
    if foreign is not None:
        keep = round(relevant * len(rest))
        strangers = foreign[rng.choice(len(foreign), len(rest) - keep, replace=False)]
        unknown = np.concatenate([x[rng.permutation(rest)[:keep]], strangers])
    return Split(x[labelled], y[labelled], unknown, x[held], y[held], order[-N_TAIL:])


def fitted(
    split: Split, seed: int, unlabelled: bool = False, backbone: Backbone = mlp, **arguments: Any
) -> tuple[float, float]:
    """Balanced accuracy, and that of the rarest classes."""
    x = np.concatenate([split.x, split.others]) if unlabelled else split.x
    labelled = np.arange(len(x)) < len(split.x)
    labels = Hard(SPACE, np.concatenate([split.y, np.zeros(len(x) - len(split.x), dtype=np.int64)]), labelled)
    epochs = max(1, round(STEPS / -(-len(split.x) // 64)))
    recipe = Recipe(epochs=epochs, lr=0.05, weight_decay=5e-4, schedule="step", milestones=(round(0.9 * epochs),))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # strangers among the rows are the point here
        model = ImbalanceClassifier(recipe=recipe, backbone=backbone, random_state=seed, **arguments).fit(x, labels)
    right = model.predict(split.x_test) == split.y_test.astype(str)
    recalled = np.array([right[split.y_test == c].mean() for c in range(10)])
    return float(recalled.mean()), float(recalled[split.tail].mean())


CE: dict[str, Any] = {"loss": "cross_entropy", "rebalance": "none"}
WEIGHTED: dict[str, Any] = {"loss": "cross_entropy", "rebalance": "weights"}
LDAM: dict[str, Any] = {"loss": "ldam", "rebalance": "deferred"}
BASES = {"cross-entropy": CE, "re-weighted cross-entropy": WEIGHTED, "LDAM, weights deferred": LDAM}


def on_digits(seed: int) -> Iterator[tuple[str, str, tuple[float, float]]]:
    """Name, the name that it is compared with, and scores."""
    data, strangers = digits(), fashion(8, 2000)[0] if FASHION.exists() else None
    plain = deal(data, seed)
    for name, base in BASES.items():
        yield name, "cross-entropy", fitted(plain, seed, **base)
        yield f"{name} + unlabelled rows, balanced", name, fitted(plain, seed, True, **base)
    name = "LDAM, weights deferred"
    tailed = deal(data, seed, other_ratio=30.0)
    for base_name in ("cross-entropy", name):
        scores = fitted(tailed, seed, True, **BASES[base_name])
        yield f"{base_name} + unlabelled rows, as unequal as the labels", base_name, scores
    for share in (0.6, 0.3) if strangers is not None else ():
        mixed = deal(data, seed, relevant=share, foreign=strangers)
        told = f"{name} + unlabelled rows, {share:.0%} of them digits"
        yield told, name, fitted(mixed, seed, True, **LDAM)
    yield f"{name}, twice the labels", name, fitted(deal(data, seed, largest=120), seed, **LDAM)
    for pretext in ("rotation", "masking"):
        yield f"cross-entropy after {pretext}", "cross-entropy", fitted(plain, seed, pretext=pretext, **CE)


def on_fashion(seed: int) -> Iterator[tuple[str, str, tuple[float, float]]]:
    """As `on_digits`; pretraining knows the labelled rows alone, or all of them."""
    split = deal(fashion(14, 10_000), seed)
    for name in ("cross-entropy", "LDAM, weights deferred"):
        base = BASES[name]
        yield name, "cross-entropy", fitted(split, seed, **base)
        yield f"{name} + unlabelled rows, balanced", name, fitted(split, seed, True, **base)
        yield f"{name} after rotation", name, fitted(split, seed, pretext="rotation", **base)
    alone = {"self_training": False, "pretext": "rotation", **CE}
    yield (
        "cross-entropy after rotation of unlabelled rows too",
        "cross-entropy",
        fitted(split, seed, True, **alone),
    )


def convolutional(seed: int) -> Iterator[tuple[str, str, tuple[float, float]]]:
    """Whether rotation helps a small convolutional network."""
    split, backbone = deal(fashion(14, 10_000), seed), partial(small_cnn, width=8)
    for name in ("cross-entropy", "LDAM, weights deferred"):
        base = {"backbone": backbone, **BASES[name]}
        yield name, "cross-entropy", fitted(split, seed, **base)
        yield f"{name} after rotation", name, fitted(split, seed, pretext="rotation", **base)


def measured(name: str, run: Callable[[int], Iterable[Any]], seeds: range) -> Iterator[ResultRow]:
    """Scores of every method over the seeds, and its paired gain over what it is compared with."""
    scores: dict[str, list[tuple[float, float]]] = {}
    beside: dict[str, str] = {}
    for seed in seeds:
        for method, rival, found in run(seed):
            scores.setdefault(method, []).append(found)
            beside[method] = rival
    for method, found in scores.items():
        for j, metric in enumerate(("balanced accuracy", f"accuracy of the {N_TAIL} rarest classes")):
            mine, theirs = (np.array(values)[:, j] for values in (found, scores[beside[method]]))
            for what, values in ((metric, mine), (f"{metric}, paired gain", mine - theirs)):
                told = interval(values.tolist())
                gain = what != metric
                if gain and method == beside[method]:
                    continue
                yield ResultRow(
                    f"{name}, 60 to 2 rows a class, {len(seeds)} seeds: {method}",
                    f"{what} over {beside[method]}" if gain else what,
                    told["mean"],
                    "share",
                    COMMAND,
                    interval=(told["low"], told["high"]),
                    seeds=tuple(seeds),
                    deployable=False,
                    versions=VERSIONS,
                )


def relevances(seeds: range) -> Iterator[ResultRow]:
    """What `relevance` says where the truth is known."""
    data, strangers = digits(), fashion(8, 2000)[0]
    for share in (1.0, 0.6, 0.3, 0.0):
        found = []
        for seed in seeds:
            split = deal(data, seed, relevant=share, foreign=strangers)
            found.append(relevance(split.x.reshape(len(split.x), -1), split.others.reshape(len(split.others), -1)))
        told = interval(found)
        yield ResultRow(
            f"digits, {share:.0%} of the unlabelled rows are digits, {len(seeds)} seeds",
            "estimated share of relevant rows",
            told["mean"],
            "share",
            COMMAND,
            interval=(told["low"], told["high"]),
            seeds=tuple(seeds),
            limit=share,
            versions=VERSIONS,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    small = parser.parse_args().scale == "small"
    torch.set_num_threads(1)
    file, made = RESULTS / "learn" / "imbalance.json", []
    parts = [measured("digits", on_digits, range(2 if small else 10))]
    if FASHION.exists():
        parts.append(relevances(range(2 if small else 10)))
        if not small:
            parts.append(measured("Fashion-MNIST, 14 x 14 pixels", on_fashion, range(5)))
            parts.append(
                measured("Fashion-MNIST, 14 x 14 pixels, small convolutional network", convolutional, range(5))
            )
    for part in parts:
        made += [show(row) for row in part]
        write_results(file, made)


if __name__ == "__main__":
    main()

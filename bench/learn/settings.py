"""Ten ways in which labels are wrong, all as arrays of numbers."""

import csv
import gzip
import struct
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, TruncatedSVD

from assay.training.features_text import fit_texts
from assay.training.folds import assign_folds
from assay.training.noise import instance_dependent, pair, symmetric
from bench.data import shared

Array = npt.NDArray[Any]
FASHION = Path("/usr/share/datasets/fashion-mnist")


class Setting(NamedTuple):
    """Training rows, labels of which some are wrong, and the right ones; test rows and their right labels."""

    X: Array
    given: Array
    truth: Array
    X_test: Array
    truth_test: Array
    n_classes: int

    @property
    def wrong(self) -> Array:
        """Which labels are wrong (n,)."""
        return np.asarray(self.given != self.truth)


def digits(kind: str, rate: float, seed: int, tail: float = 1.0) -> Setting:
    """Scikit-learn's digits, 30 % for the test; with `tail`, the last class keeps that share of its rows."""
    pixels, truth = load_digits(return_X_y=True)
    X, fold = pixels / 16, assign_folds(truth, 10, random_state=seed)
    train, test = np.flatnonzero(fold >= 3), np.flatnonzero(fold < 3)
    rng = np.random.default_rng(seed)
    keep = rng.random(len(train)) < tail ** (truth[train] / 9)
    train = train[keep]
    y = truth[train]
    noise: Any = {
        "symmetric": lambda: symmetric(y, 10, rate, seed=seed),
        "pair": lambda: pair(y, 10, rate, seed=seed),
        "instance": lambda: instance_dependent(X[train], y, 10, rate, seed=seed),
    }[kind]()
    return Setting(X[train], noise.labels, y, X[test], truth[test], 10)


@lru_cache(maxsize=1)
def _tweets(n: int | None) -> tuple[Array, Array]:
    """Votes (n, 3) for hate, offensive, neither, and 200 numbers a tweet."""
    with gzip.open(shared("davidson-hate-offensive/labeled_data.csv.gz"), "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    at = np.random.default_rng(0).permutation(len(rows))[:n]
    votes = np.array([[int(rows[i][name]) for name in ("hate_speech", "offensive_language", "neither")] for i in at])
    matrix = fit_texts([rows[i]["tweet"] for i in at])[1].matrix
    return votes, TruncatedSVD(200, random_state=0).fit_transform(matrix)


def tweets(seed: int, n: int | None = 3000) -> Setting:
    """Davidson's tweets, n of them or all, labelled by one annotator each; the truth is what most annotators said."""
    votes, X = _tweets(n)
    n = len(X)
    rng = np.random.default_rng(seed)
    truth = votes.argmax(axis=1)
    rising = np.cumsum(votes / votes.sum(axis=1, keepdims=True), axis=1)
    one = (rising <= rng.random(n)[:, None]).sum(axis=1).clip(max=2)
    order = rng.permutation(n)
    train, test = order[: n * 2 // 3], order[n * 2 // 3 :]
    return Setting(X[train], one[train], truth[train], X[test], truth[test], 3)


def _idx(name: str) -> Array:
    """One array of Fashion-MNIST."""
    with gzip.open(FASHION / f"{name}.gz", "rb") as file:
        raw = file.read()
    n_axes = raw[3]
    shape = struct.unpack(f">{n_axes}I", raw[4 : 4 + 4 * n_axes])
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * n_axes).reshape(shape)


@lru_cache(maxsize=1)
def fashion() -> tuple[Array, Array, Array, Array]:
    """Fashion-MNIST in 64 principal directions: rows and labels, of training and test."""
    images, test = (_idx(f"{part}-images-idx3-ubyte").reshape(-1, 784) / 255.0 for part in ("train", "t10k"))
    pca = PCA(64, random_state=0).fit(images[:10_000])
    X, X_test = pca.transform(images), pca.transform(test)
    return X, _idx("train-labels-idx1-ubyte").astype(int), X_test, _idx("t10k-labels-idx1-ubyte").astype(int)


def clothes(seed: int, n: int = 10_000) -> Setting:
    """Fashion-MNIST, 10,000 rows drawn by the seed, 40 % symmetric noise, its own test set."""
    X, truth, X_test, truth_test = fashion()
    rows = np.random.default_rng(seed).permutation(len(X))[:n]
    noise = symmetric(truth[rows], 10, 0.4, seed=seed)
    return Setting(X[rows], noise.labels, truth[rows], X_test, truth_test, 10)


def _of(kind: str, rate: float, tail: float = 1.0) -> Callable[[int], Setting]:
    return lambda seed: digits(kind, rate, seed, tail)


SETTINGS: dict[str, Callable[[int], Setting]] = {
    **{f"digits, {rate:.0%} symmetric": _of("symmetric", rate) for rate in (0.2, 0.4, 0.6)},
    **{f"digits, {rate:.0%} pair": _of("pair", rate) for rate in (0.2, 0.4)},
    **{f"digits, {rate:.0%} by row": _of("instance", rate) for rate in (0.2, 0.4)},
    "digits, long tail 10:1, 20% symmetric": _of("symmetric", 0.2, 0.1),
    "tweets, one annotator": tweets,
    "Fashion-MNIST, 40% symmetric": clothes,
}

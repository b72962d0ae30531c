"""Label proportions: how well marginals order the rows, what classifiers learn from them, and real bags of Adult.

Breast cancer and digits in bags of random rows, the setting of the paper's small check; digits of ten classes; Adult in
random bags and in bags of one occupation, education and sex each. Labels of rows measure, and choose nothing. Times are
in `label_proportions_speed`.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from assay.evidence.results import ResultRow, read_results, versions_of, write_results
from assay.kernels.neighbour_graph import Graph, centres_and_scales
from assay.labels.formats.bags import read_bags
from assay.learn.label_proportions import LabelProportions, Method, marginals
from assay.training.deep import torch
from assay.training.deep.bags import train_on_bags
from assay.training.deep.protocol import interval
from bench.data import RESULTS, shared

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
VERSIONS = versions_of("scikit-learn", "torch")
SIZES = (8, 32, 128)


def tables(name: str) -> tuple[Floats, Ints]:
    """Features and classes: malignant or benign; digits below five or not; ten digits."""
    if name == "breast cancer":
        X, y = load_breast_cancer(return_X_y=True)
        return X, y
    X, y = load_digits(return_X_y=True)
    return X, y if name == "ten digits" else (y >= 5).astype(np.int64)


def adult() -> tuple[Floats, Ints, npt.NDArray[np.bool_], npt.NDArray[Any]]:
    """Features (one-hot where they are words), income above 50K, which rows are for training, and groups."""
    with gzip.open(shared("adult/adult.csv.gz")) as file:
        rows = list(csv.DictReader(io.TextIOWrapper(file, "utf-8")))
    numbers = ["age", "education_num", "capital_gain", "capital_loss", "hours_per_week"]
    words = ["workclass", "education", "marital_status", "occupation", "relationship", "race", "sex", "native_country"]
    parts = [np.array([[float(row[name] or 0) for name in numbers] for row in rows])]
    parts[0][:, 2:4] = np.log1p(parts[0][:, 2:4])
    for name in words:
        column = np.array([row[name] for row in rows])
        values, counts = np.unique(column, return_counts=True)
        parts.append((column[:, None] == values[counts >= 50]).astype(np.float64))
    y = np.array([row["income"].startswith(">") for row in rows]).astype(np.int64)
    group = np.array([f"{row['occupation']}, {row['education']}, {row['sex']}" for row in rows])
    return np.concatenate(parts, axis=1), y, np.array([row["split"] == "train" for row in rows]), group


def in_bags(n: int, size: int, seed: int) -> Ints:
    """The bag of each of n rows, in bags of random rows; the last one may be smaller."""
    bag = np.empty(n, dtype=np.int64)
    bag[np.random.default_rng(seed).permutation(n)] = np.arange(n) // size
    return bag


def shares_of(bag: npt.NDArray[Any], y: Ints) -> dict[Any, Any]:
    """Counts of the classes of each bag."""
    names, at = np.unique(bag, return_inverse=True)
    counts = np.zeros((len(names), int(y.max()) + 1), dtype=np.int64)
    np.add.at(counts, (at, y), 1)
    return dict(zip(names.tolist(), counts, strict=True))


def report(
    case: str, metric: str, values: Sequence[float], seeds: Sequence[int], command: str, **more: Any
) -> ResultRow:
    told = interval(list(values))
    between = (told["low"], told["high"]) if len(values) > 1 else None
    common: dict[str, Any] = {"unit": "", "command": command, "versions": VERSIONS, **more}
    return ResultRow(case, metric, told["mean"], interval=between, seeds=tuple(seeds), **common)


def order_of_rows(name: str, seeds: Sequence[int], command: str) -> Iterator[ResultRow]:
    """AUROC of the marginals over all rows (accuracy for ten classes), beside two ways to use shares without them."""
    X, y = tables(name)
    centre, scale = centres_and_scales(X)
    graph = Graph.nearest((X - centre) / scale, 10)
    ten = name == "ten digits"
    for size in SIZES:
        found: dict[str, list[float]] = {"marginals": [], "neighbours": [], "share of the bag": [], "settled": []}
        for seed in seeds:
            bag = in_bags(len(y), size, seed)
            bags = read_bags(bag, shares_of(bag, y))
            own = bags.row_means(bags.shares, 0.0)
            fitted = marginals(bags, graph)
            for key, p in {"marginals": fitted.p, "neighbours": graph.means(own), "share of the bag": own}.items():
                right = (p.argmax(axis=1) == y).mean() if ten else roc_auc_score(y, p[:, 1])
                found[key].append(float(right))
            found["settled"].append(float(fitted.converged))
        metric = "accuracy of rows" if ten else "AUROC of rows"
        for key in ("marginals", "share of the bag"):
            beside = {"rival": float(np.mean(found["neighbours"])), "rival_name": "mean share of ten neighbours' bags"}
            yield report(f"{name}, bags of {size}: {key}", metric, found[key], seeds, command, **beside)
        yield report(
            f"{name}, bags of {size}: marginals", "share of runs that settled", found["settled"], seeds, command
        )


def networks(name: str, size: int, seeds: Sequence[int], command: str) -> Iterator[ResultRow]:
    """AUROC on test rows of the network, by what it was trained on; gains over DLLP are paired by seed."""
    X, y = tables(name)
    n = int(0.7 * len(y))
    found: dict[str, list[float]] = {}
    chosen = []
    for seed in seeds:
        order = np.random.default_rng(seed).permutation(len(y))
        train, test = order[:n], order[n:]
        bag = in_bags(n, size, seed)
        shares = shares_of(bag, y[train])

        def judge(label: str, p: Floats, test: Ints = test) -> None:
            found.setdefault(label, []).append(float(roc_auc_score(y[test], p[:, 1])))

        trained: tuple[Method, ...] = ("bp", "dllp", "neighbours")
        for method in trained:
            model = LabelProportions(method, neutral_edges=False, random_state=seed).fit(X[train], bag, shares)
            judge(method, model.predict_proba(X[test]))
            if method == "bp":
                chosen.append(next(entry["round"] for entry in model.rounds_ if entry["chosen"]) > 1)
        plain: tuple[Method, ...] = ("bp", "em")
        for method in plain:
            model = LabelProportions(method, LogisticRegression(max_iter=1000), neutral_edges=False)
            model.fit(X[train], bag, shares)
            judge(f"{method}, logistic regression", model.predict_proba(X[test]))
        centre, scale = centres_and_scales(X[train])
        read = read_bags(bag, shares)
        known = train_on_bags(
            (X[train] - centre) / scale, read.ptr, read.members, read.shares, np.eye(2)[y[train]], 0.1, seed=seed
        )
        judge("labels of all rows", known.predict_proba((X[test] - centre) / scale))
    where = f"{name}, bags of {size}"
    for label, values in found.items():
        yield report(f"{where}: {label}", "AUROC on test rows", values, seeds, command)
    gain = np.subtract(found["bp"], found["dllp"])
    yield report(f"{where}: bp above dllp", "AUROC on test rows, gain paired by seed", gain.tolist(), seeds, command)
    yield report(
        f"{where}: bp", "share of runs in which a later round was chosen", [float(c) for c in chosen], seeds, command
    )


def incomes(n: int, seeds: Sequence[int], command: str) -> Iterator[ResultRow]:
    """AUROC on Adult's test rows, from n training rows in bags; logistic regression but for DLLP's network."""
    X, y, for_training, group = adult()
    plain = LogisticRegression(max_iter=1000)
    ways: dict[str, tuple[int, dict[str, Any]]] = {
        "bp": (10, {"learner": plain, "neutral_edges": False}),
        "bp, neutral edges": (30, {"learner": plain, "neutral_edges": True}),
        "em": (0, {"method": "em", "learner": plain}),
        "neighbours": (10, {"method": "neighbours", "learner": plain}),
        "dllp": (0, {"method": "dllp"}),
    }
    found: dict[tuple[str, str], list[float]] = {}
    test = np.flatnonzero(~for_training)
    for seed in seeds:
        train = np.random.default_rng(seed).permutation(np.flatnonzero(for_training))[:n]
        centre, scale = centres_and_scales(X[train])
        x = (X[train] - centre) / scale
        joined: dict[int, Any] = {0: None}
        for k in (10, 30):
            graph = Graph.nearest(x, k)
            joined[k] = np.stack([np.repeat(np.arange(n), np.diff(graph.ptr)), graph.other])
        alike = float((y[train][joined[10][0]] == y[train][joined[10][1]]).mean())
        found.setdefault(("", "share of neighbours with the same class"), []).append(alike)
        for kind in ("bags of 32", "bags of 512", "groups"):
            bag = group[train] if kind == "groups" else in_bags(n, int(kind.split()[-1]), seed)
            for label, (k, settings) in ways.items():
                model = LabelProportions(**settings, random_state=seed)
                model.fit(X[train], bag, shares_of(bag, y[train]), edges=joined[k])
                p = model.predict_proba(X[test])[:, 1]
                found.setdefault((kind + ": " + label, "AUROC on test rows"), []).append(
                    float(roc_auc_score(y[test], p))
                )
                if label.startswith("bp"):
                    inner = float(roc_auc_score(y[train], model.marginals_[:, 1]))
                    found.setdefault((f"{kind}: {label}", "AUROC of marginals"), []).append(inner)
        known = plain.fit(x, y[train]).predict_proba((X[test] - centre) / scale)
        found.setdefault(("labels of all rows", "AUROC on test rows"), []).append(roc_auc_score(y[test], known[:, 1]))
    for (label, metric), values in found.items():
        yield report(f"adult, {n} rows, {label}".removesuffix(", "), metric, values, seeds, command)


def chosen(name: str, seeds: Sequence[int], command: str, n: int = 4000) -> Iterator[ResultRow]:
    """AUROC on test rows of the default, which chooses between two kinds of edges by bags held out."""
    X, y, for_training, group = (
        adult() if name == "adult" else (*tables(name), np.zeros(0, dtype=np.bool_), np.zeros(0))
    )
    for kind in ("bags of 32", "bags of 512", "groups") if name == "adult" else [f"bags of {size}" for size in SIZES]:
        found: list[float] = []
        neutral: list[float] = []
        for seed in seeds:
            order = np.random.default_rng(seed).permutation(np.flatnonzero(for_training) if name == "adult" else len(y))
            cut = n if name == "adult" else int(0.7 * len(y))
            train, test = order[:cut], np.flatnonzero(~for_training) if name == "adult" else order[cut:]
            bag = group[train] if kind == "groups" else in_bags(cut, int(kind.split()[-1]), seed)
            model = LabelProportions(learner=LogisticRegression(max_iter=1000), random_state=seed)
            model.fit(X[train], bag, shares_of(bag, y[train]))
            found.append(float(roc_auc_score(y[test], model.predict_proba(X[test])[:, 1])))
            neutral.append(float(model.neutral_edges_))
        where = f"adult, {n} rows, {kind}" if name == "adult" else f"{name}, {kind}"
        yield report(f"{where}: bp, logistic regression, edges chosen", "AUROC on test rows", found, seeds, command)
        yield report(f"{where}: edges chosen", "share of runs with neutral edges", neutral, seeds, command)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    parser.add_argument(
        "--part", choices=("rows", "networks", "adult", "large", "chosen"), help="measure this alone, keep other rows"
    )
    options = parser.parse_args()
    small = options.scale == "small"
    command = "python -m bench.learn.label_proportions" + (" --scale small" if small else "")
    torch.set_num_threads(1)
    many, few, path = (
        range(2) if small else range(20),
        range(2) if small else range(5),
        RESULTS / "learn" / "label_proportions.json",
    )
    parts: dict[str, list[Callable[[], Iterator[ResultRow]]]] = {
        "rows": [
            *(partial(order_of_rows, name, many, command) for name in ("breast cancer", "digits")),
            partial(order_of_rows, "ten digits", few, command),
        ],
        "networks": [
            partial(networks, name, size, few, command) for name in ("breast cancer", "digits") for size in SIZES
        ],
        "adult": [partial(incomes, 1000 if small else 4000, few, command)],
        "large": [] if small else [partial(incomes, 32000, range(1), command)],
        "chosen": [
            *(partial(chosen, name, few, command) for name in ("breast cancer", "digits")),
            partial(chosen, "adult", few, command, 1000 if small else 4000),
        ],
    }
    with warnings.catch_warnings(action="ignore"):  # that propagation did not settle is a row of the table
        for name, steps in parts.items():
            for step in steps if options.part in (None, name) else []:
                fresh = list(step())
                for row in fresh:
                    print(
                        f"{row.case}; {row.metric}: {row.ours:.4f} {row.interval or ''} {row.rival or ''}", flush=True
                    )
                told = {(row.case, row.metric) for row in fresh}
                kept = [
                    row for row in (read_results(path) if path.exists() else []) if (row.case, row.metric) not in told
                ]
                write_results(path, [*kept, *fresh])


if __name__ == "__main__":
    main()

"""The defaults of out-of-fold prediction on real data: time, log loss, wrong labels found, beside the choices refused.

A tenth of the labels is redrawn among the other classes. Log loss is against the labels as given (wrong ones included,
what a user can measure); AUROC says how well low self-confidence finds the redrawn labels (needs the truth).
The last part counts how often the in-sample warning errs, over data sets, models and shares of wrong labels.
"""

import argparse
import csv
import gzip
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow.csv
from scipy import stats
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from assay.evidence.results import ResultRow, versions_of, write_results
from assay.training.features import Features, default_model
from assay.training.features_image import image_features
from assay.training.features_table import table_features
from assay.training.features_text import text_features
from assay.training.in_sample import in_sample_warning
from assay.training.out_of_fold import out_of_fold
from bench.data import RESULTS, shared

COMMAND = "python -m bench.training.out_of_fold"
VERSIONS = versions_of("scikit-learn", "scipy", "pyarrow")


def adult() -> tuple[Callable[[], Features], Any]:
    with gzip.open(shared("adult/adult.csv.gz")) as stream:
        table = pyarrow.csv.read_csv(stream)
    return lambda: table_features(table.drop_columns(["income", "split"])), table["income"].to_pylist()


def banking77() -> tuple[Callable[[], Features], Any]:
    with shared("banking77/train.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return lambda: text_features([row["text"] for row in rows]), [row["category"] for row in rows]


def davidson() -> tuple[Callable[[], Features], Any]:
    with gzip.open(shared("davidson-hate-offensive/labeled_data.csv.gz"), "rt", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return lambda: text_features([row["tweet"] for row in rows]), [row["class"] for row in rows]


def mnist() -> tuple[Callable[[], Features], Any]:
    with np.load(shared("mnist/train10k.npz")) as held:
        pictures, labels = held["x"], held["y"]
    return lambda: image_features(pictures), labels


def one_hot(matrix: Any) -> Any:
    """Table features for a linear model: ranks of categories as columns of their own, numbers scaled."""
    few = np.array([len(np.unique(column)) <= 50 for column in matrix.T])
    filled = np.where(np.isnan(matrix), -1, matrix)
    scaled = StandardScaler().fit_transform(filled[:, ~few])
    return np.hstack([scaled, OneHotEncoder(sparse_output=False).fit_transform(filled[:, few])])


REFUSED: dict[str, dict[str, tuple[Callable[[Any], Any], Any]]] = {
    "adult": {
        "logistic regression, one-hot": (one_hot, LogisticRegression(max_iter=300)),
        "boosting, library defaults": (np.asarray, HistGradientBoostingClassifier(early_stopping=False)),
        "randomised trees": (np.asarray, ExtraTreesClassifier(100, min_samples_leaf=5)),
    },
    "banking77": {"logistic regression, lbfgs, C=10": (lambda X: X, LogisticRegression(C=10, max_iter=100, tol=1e-3))},
    "davidson": {"logistic regression, lbfgs, C=3": (lambda X: X, LogisticRegression(C=3, max_iter=100, tol=1e-3))},
    "mnist": {"logistic regression": (np.asarray, LogisticRegression(C=0.1, max_iter=200))},
}


def measure(X: Any, labels: Any, wrong: Any, k: int, model: Any, seed: int) -> dict[str, float]:
    start = time.perf_counter()
    found = out_of_fold(X, labels, k, model=model, random_state=seed)
    seconds = time.perf_counter() - start
    own = found.pred_probs[np.arange(len(labels)), labels]
    return {
        "seconds, 5 folds": seconds,
        "log loss": found.log_loss,
        "AUROC of wrong labels": roc_auc_score(wrong, -own),
    }


def defaults(seeds: range, limit: int | None) -> Iterator[ResultRow]:
    for load in (adult, banking77, davidson, mnist):
        name = load.__name__
        make, values = load()
        truth = np.unique(np.asarray(values), return_inverse=True)[1]
        start = time.perf_counter()
        features = make()
        seconds = time.perf_counter() - start
        rows = np.random.default_rng(0).permutation(len(truth))[:limit]
        X, truth, n, k = features.matrix[rows], truth[rows], len(rows), int(truth.max()) + 1
        ours, rivals = [], {rival: [] for rival in REFUSED[name]}  # type: ignore[var-annotated]
        for seed in seeds:
            rng = np.random.default_rng(seed)
            wrong = rng.random(n) < 0.1
            labels = np.where(wrong, (truth + rng.integers(1, k, n)) % k, truth)
            ours.append(measure(X, labels, wrong, k, default_model(features.media, n, k), seed))
            for rival, (reshape, model) in REFUSED[name].items():
                rivals[rival].append(measure(reshape(X), labels, wrong, k, model, seed))
        case = f"{name}, {n} rows, {k} classes, 10% of labels redrawn, the default for {features.media}"
        yield ResultRow(case, "seconds, features", seconds, "s", COMMAND, versions=VERSIONS)
        for metric in ours[0]:
            mean, interval = summary([run[metric] for run in ours])
            for rival, runs in rivals.items():
                yield ResultRow(
                    case,
                    metric,
                    mean,
                    {"seconds, 5 folds": "s", "log loss": "nats"}.get(metric, "share"),
                    COMMAND,
                    interval=interval,
                    seeds=tuple(seeds),
                    rival=summary([run[metric] for run in runs])[0],
                    rival_name=rival,
                    deployable=not metric.startswith("AUROC"),
                    versions=VERSIONS,
                )


def summary(values: list[float]) -> tuple[float, tuple[float, float] | None]:
    """Mean, and its 95 % t interval when there are several values."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, None
    half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return mean, (mean - half, mean + half)


TRAINED: dict[str, Callable[[int], Any]] = {
    "forest": lambda seed: RandomForestClassifier(50, random_state=seed),
    "nearest neighbour": lambda _: KNeighborsClassifier(1),
    "tree": lambda seed: DecisionTreeClassifier(random_state=seed),
    "boosting": lambda seed: HistGradientBoostingClassifier(max_iter=30, random_state=seed),
}
HELD_OUT: dict[str, Callable[[int], Any]] = {
    **TRAINED,
    "five neighbours": lambda _: KNeighborsClassifier(5),
    "logistic": lambda _: make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)),
    "logistic, stiff": lambda _: make_pipeline(StandardScaler(), LogisticRegression(C=0.001, max_iter=300)),
    "logistic, loose": lambda _: make_pipeline(StandardScaler(), LogisticRegression(C=100, max_iter=300)),
}


def warning_errors(seeds: range) -> Iterator[ResultRow]:
    sets = {"digits": load_digits(return_X_y=True), "breast cancer": load_breast_cancer(return_X_y=True)}
    for (data, (X, truth)), share in itertools.product(sets.items(), (0.0, 0.02, 0.05, 0.2)):
        k = int(truth.max()) + 1
        missed: dict[str, list[bool]] = {name: [] for name in TRAINED}
        false = []
        for seed in seeds:
            rng = np.random.default_rng(seed)
            labels = np.where(rng.random(len(truth)) < share, (truth + rng.integers(1, k, len(truth))) % k, truth)
            for name, model in HELD_OUT.items():
                held_out = out_of_fold(X, labels, k, model=model(seed), random_state=seed).pred_probs
                false.append(in_sample_warning(labels, held_out) is not None)
                if name in TRAINED:
                    repeated = model(seed).fit(X, labels).predict_proba(X)
                    missed[name].append(in_sample_warning(labels, repeated) is None)
        asked = {"out-of-fold probabilities asked about": false}
        passed = {f"in-sample probabilities not noticed, {name}": events for name, events in missed.items()}
        for metric, events in {**passed, **asked}.items():
            yield ResultRow(
                f"in-sample warning, {data}, {share:.0%} of labels redrawn, {len(events)} runs",
                metric,
                float(np.mean(events)),
                "share",
                COMMAND,
                interval=wilson(sum(events), len(events)),
                seeds=tuple(seeds),
                versions=VERSIONS,
            )


def wilson(hits: int, n: int) -> tuple[float, float]:
    found = stats.binomtest(hits, n).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    small = parser.parse_args().scale == "small"
    made = []
    for row in itertools.chain(
        defaults(range(1 if small else 3), 2500 if small else None), warning_errors(range(1 if small else 10))
    ):
        beside = "" if row.rival is None else f"{row.rival_name} {row.rival:.4f}"
        print(f"{row.case:90s} {row.metric:40s} {row.ours:.4f} {row.unit}  {beside}", flush=True)
        made.append(row)
    write_results(RESULTS / "training" / "out_of_fold.json", made)


if __name__ == "__main__":
    main()

"""Benchmark stability on MNIST with human verdicts, and on planted benchmarks whose crossover is known.

MNIST: models of different capacity, trained on the first 10,000 training digits, predict the 10,000 test digits, whose
labels five people per suspect have corrected: 10 correctable rows, 5 without consensus. Ten rows permit little: an
accuracy on them has an interval of half a unit, and that is what the intervals of the crossovers say.

Planted: two models with known accuracies on benign and correctable rows, so the crossover is known; the share of
intervals that hold it, beside the percentile interval of the plain bootstrap over draws that cross.
"""

import argparse
import gzip
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

from assay.audit.stability import STATUS, Stability, crossover
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.intervals import wilson
from bench.audit.verdict_votes import load
from bench.data import RESULTS, shared

COMMAND = "python -m bench.audit.stability"
# Accuracies on benign rows and on correctable rows, of the model in front and of the one behind.
PLANTED = {"close": ((0.95, 0.93), (0.3, 0.6)), "far": ((0.9, 0.8), (0.1, 0.9)), "rare": ((0.99, 0.98), (0.02, 0.1))}


def digits() -> tuple[npt.NDArray[Any], ...]:
    """Training images and labels, test images and labels, from MNIST."""
    train = np.load(shared("mnist/train10k.npz"))
    with gzip.open(shared("mnist/t10k-images-idx3-ubyte.gz")) as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)
    with gzip.open(shared("mnist/t10k-labels-idx1-ubyte.gz")) as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return train["x"].reshape(-1, 784) / 255, train["y"].astype(int), images / 255, labels.astype(int)


def models() -> dict[str, Any]:
    return {
        "naive Bayes": GaussianNB(var_smoothing=0.05),
        "logistic": LogisticRegression(max_iter=200, C=0.1),
        "3 neighbours": KNeighborsClassifier(3),
        "forest": RandomForestClassifier(200, random_state=0),
        "MLP of 64": MLPClassifier((64,), max_iter=40, random_state=0),
        "SVM": SVC(C=5),
    }


def mnist(n_train: int) -> Stability:
    x, y, images, given = digits()
    verdicts = load("mnist")
    status = np.full(len(given), STATUS[0], dtype=object)
    status[verdicts.rows[verdicts.wrong]] = STATUS[2]
    mended = verdicts.kind == "correctable"
    status[verdicts.rows[mended]] = STATUS[1]
    corrected = given.copy()
    corrected[verdicts.rows[mended]] = verdicts.guessed[mended]
    said = {name: model.fit(x[:n_train], y[:n_train]).predict(images) for name, model in models().items()}
    return Stability(n_bootstrap=10_000).fit(given, corrected, said, status.astype(str))


def mnist_rows(n_train: int, command: str) -> Iterator[ResultRow]:
    found = mnist(n_train)
    case = f"MNIST test, {found.n_correctable_} correctable rows, models trained on {n_train} digits"
    made = partial(ResultRow, unit="share", command=command, seeds=(0,), versions=versions_of("scikit-learn"))
    table, pairs = found.ranking_, found.pairs_
    yield made(case, "prevalence N0", found.prevalence_, interval=found.prevalence_interval_)
    low, high = found.kendall_interval_
    yield made(case, "Kendall tau", found.kendall_, interval=(low, high), unit="tau")
    yield made(case, "probability of another winner", found.p_winner_changes_)
    yield made(case, f"pairs that swap, of {len(pairs['flips'])}", float(pairs["flips"].sum()), unit="pairs")
    for row, model in enumerate(table["model"]):
        for column in ("given", "corrected", "benign", "correctable_given", "correctable_corrected"):
            ends = (float(table[f"{column}_low"][row]), float(table[f"{column}_high"][row]))
            metric = f"accuracy, {column.replace('_', ', ')}"
            yield made(f"{case}: {model}", metric, float(table[column][row]), interval=ends)
    for row in np.flatnonzero(~np.isnan(pairs["crossover"])).tolist():
        who = f"{case}: {pairs['leader'][row]} before {pairs['follower'][row]}"
        for metric in ("crossover", "distance"):
            ends = (float(pairs[f"{metric}_low"][row]), float(pairs[f"{metric}_high"][row]))
            metric_name = "crossover prevalence" if metric == "crossover" else "crossover less N0"
            known = None if np.isnan(ends).any() else ends
            yield made(who, metric_name, float(pairs[metric][row]), interval=known)


def one_planted(setting: str, n_c: int, seed: int) -> tuple[bool, bool, bool, float]:
    """Whether our interval and the plain one hold the crossover, ours its distance, and our width."""
    a, c = PLANTED[setting]
    truth = (a[0] - a[1]) / (a[0] - a[1] + c[1] - c[0])
    n = 2000 + n_c
    rng = np.random.default_rng(seed)
    on_c = rng.permutation(n) < max(rng.binomial(n, n_c / n), 1)
    common, right = rng.random(n), []
    for model in range(2):
        luck = np.where(rng.random(n) < 0.7, common, rng.random(n))
        right.append(luck < np.where(on_c, c[model], a[model]))
    said = {f"m{model}": np.where(right[model], on_c, ~on_c).astype(int) for model in range(2)}
    given = np.zeros(n, dtype=int)
    pairs = Stability(n_bootstrap=1000, random_state=seed).fit(given, on_c.astype(int), said).pairs_
    gaps = []
    for rows in (~on_c, on_c):
        first, second = np.sum(right[0][rows] & ~right[1][rows]), np.sum(~right[0][rows] & right[1][rows])
        drawn = rng.multinomial(rows.sum(), np.array([first, second, rows.sum() - first - second]) / rows.sum(), 1000)
        gaps.append((drawn[:, 0] - drawn[:, 1]) / rows.sum())
    plain = crossover(*gaps)
    plain = plain[~np.isnan(plain)]
    low, high = np.quantile(plain, [0.025, 0.975]) if len(plain) else (np.nan, np.nan)
    ours, away = ((pairs[f"{x}_low"][0], pairs[f"{x}_high"][0]) for x in ("crossover", "distance"))
    distance = truth - n_c / n
    width = 0.0 if np.isnan(ours[0]) else float(ours[1] - ours[0])
    return ours[0] <= truth <= ours[1], low <= truth <= high, away[0] <= distance <= away[1], width


def planted_rows(repeats: int, command: str) -> Iterator[ResultRow]:
    for setting, (a, c) in PLANTED.items():
        for n_c in (10, 30, 100, 400):
            runs = np.array([one_planted(setting, n_c, seed) for seed in range(repeats)], dtype=np.float64)
            case = f"planted, {setting}: accuracies {a} on 2000 benign, {c} on about {n_c} correctable rows"
            low, high = wilson(runs.sum(axis=0)[:3], repeats)
            ours, plain, away, width = (float(value) for value in runs.mean(axis=0))
            made = partial(ResultRow, case=case, unit="share", command=command, seeds=(0, repeats - 1))
            ends, away_ends = ((float(low[at]), float(high[at])) for at in (0, 2))
            who = "plain percentile bootstrap"
            yield made(
                metric="coverage of the crossover", ours=ours, interval=ends, rival=plain, rival_name=who, limit=0.95
            )
            yield made(metric="coverage of its distance from N0", ours=away, interval=away_ends, limit=0.95)
            yield made(metric="mean width of the interval", ours=width)


def speed_row(n: int, m: int, command: str) -> ResultRow:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 1000, n)
    given = np.where(rng.random(n) < 0.03, (truth + 1) % 1000, truth)
    said = {f"m{i}": np.where(rng.random(n) < 0.6 + 0.3 * i / m, truth, rng.integers(0, 1000, n)) for i in range(m)}
    start = time.process_time()
    Stability().fit(given, truth, said)
    took = time.process_time() - start
    return ResultRow(f"{m} models, {n} rows, 2000 resamples", "CPU time", took, "s", command, seeds=(0,))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    scale = parser.parse_args().scale
    command, full = f"{COMMAND} --scale {scale}", scale == "full"
    rows = [*mnist_rows(10_000 if full else 500, command), *planted_rows(1000 if full else 10, command)]
    rows.append(speed_row(50_000 if full else 2_000, 34, command))
    write_results(RESULTS / "audit" / "stability.json", rows)
    for row in rows:
        print(f"{row.case[:95]:95s} {row.metric:36s} {row.ours:8.4f} {row.interval or ''} {row.rival or ''}")


if __name__ == "__main__":
    main()

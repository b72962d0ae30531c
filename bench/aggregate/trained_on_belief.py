"""Does a model trained on the belief know better what it does not know, on data unlike its own?

The same votes become targets in several ways: majority, vote shares, the belief of "auto" (as it is, cut to its top
class, and as what the next person would say) and, as the limit, the truth. Softmax regression and a small network learn
each by soft cross-entropy, with the strength of the penalty or the number of epochs chosen on a fifth of the training
rows by the arm's own targets, as a user without truth must. Tests are like the training data, or shifted.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from scipy import ndimage, optimize, special, stats
from sklearn.datasets import load_digits
from sklearn.decomposition import TruncatedSVD

from assay.evidence.aggregate_run import aggregate
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.calibration import cross_entropy
from assay.labels import Space, Votes
from assay.training.features_text import text_features
from bench.aggregate.datasets import anonymous, davidson, rte
from bench.aggregate.speed import show
from bench.data import RESULTS, shared

Floats = npt.NDArray[np.float64]
Predict = Callable[[Any], Floats]
PENALTIES = (3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
HIDDEN, EPOCHS, BATCH, RATE = 64, 40, 32, 2e-3
SHARE_OF_DEV, SPLITS = 5, 5  # a fifth of the rows; halvings of the test set for one temperature each
PAIRED = {"belief": ("majority", "vote shares", "belief, top class"), "belief, next vote": ("majority", "vote shares")}
"""Whose paired difference to whom is written."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One draw of data: votes on n training rows, and test sets by name with their truth as shares `(m, k)`."""

    name: str
    x: Any
    votes: Votes
    truth: Floats
    tests: dict[str, tuple[Any, Floats]]


# Data


def digits(seed: int) -> Setting:
    """Digits read by three experts with habits of confusion and two who answer anything; five votes each."""
    rng = np.random.default_rng(seed)
    images, label = load_digits(return_X_y=True)
    order = rng.permutation(len(label))
    train, test = order[:900], order[900:]
    tables = [0.75 * np.eye(10) + 0.25 * rng.dirichlet(np.full(10, 0.2), 10) for _ in range(3)]
    tables += [np.tile(rng.dirichlet(np.ones(10)), (10, 1)) for _ in range(2)]
    label_of = [[rng.choice(10, p=table[y]) for y in label[train]] for table in tables]
    task, worker = np.tile(np.arange(900), 5), np.repeat(np.arange(5), 900)
    space = Space(tuple("0123456789"))
    votes = Votes(space, task, worker, np.ravel(label_of), np.arange(900), np.arange(5))
    clean, truth = images[test], np.eye(10)[label[test]]
    tests = {"alike": clean, "shifted: noise": np.clip(clean + rng.normal(0, 5, clean.shape), 0, 16)}
    for angle in (15, 25):
        turned = ndimage.rotate(clean.reshape(-1, 8, 8), angle, axes=(2, 1), reshape=False, order=1)
        tests[f"shifted: turned by {angle} degrees"] = turned.reshape(-1, 64)
    return Setting(
        "digits, 5 voters of whom 2 spam",
        images[train] / 16,
        votes,
        np.eye(10)[label[train]],
        {name: (x / 16, truth) for name, x in tests.items()},
    )


@cache
def tweets() -> tuple[list[str], Any]:
    """The texts and their tf-idf, in the order of `davidson`."""
    with gzip.open(shared("davidson-hate-offensive/labeled_data.csv.gz"), "rt", encoding="utf-8") as lines:
        texts = [row["tweet"] for row in csv.DictReader(lines)]
    return texts, text_features(texts).matrix


def hate_speech(seed: int, kind: str, votes_kept: int, n: int = 2_000) -> Setting:
    """Tweets: train on those of one kind, test on the other; the truth is the shares of three or more other people."""
    texts, x = tweets()
    crowd = davidson(seed)
    assert crowd.shares is not None
    full = crowd.votes.counts() + crowd.shares.astype(np.int64)
    length = np.array([len(text) for text in texts])
    swears = np.array([re.search(r"bitch|hoe", text.lower()) is not None for text in texts])
    of_kind = length < np.median(length) if kind == "short" else swears
    rng = np.random.default_rng(seed)
    home, away = rng.permutation(np.flatnonzero(of_kind)), rng.permutation(np.flatnonzero(~of_kind))[:3_000]
    train, test = home[:n], home[n : n + 3_000]
    votes = crowd.votes if votes_kept == 2 else anonymous(crowd.votes.space, full)
    truth = full / full.sum(axis=1, keepdims=True)
    name = f"tweets, {votes_kept} votes, trained on {'short ones' if kind == 'short' else 'those with two words'}"
    tests = {"alike": (x[test], truth[test]), "shifted: the others": (x[away], truth[away])}
    return Setting(name, x[train], votes.take(train), truth[train], tests)


@cache
def pairs() -> dict[str, tuple[str, Floats]]:
    """Source and features of each pair of texts: how much of the second stands in the first."""
    with shared("snow2008/rte_text.tsv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    words = [[re.findall(r"\w+", row[part].lower()) for part in ("text", "hypothesis")] for row in rows]
    seen: dict[str, int] = {}
    for both in words:
        for word in set(both[0]) | set(both[1]):
            seen[word] = seen.get(word, 0) + 1
    found = {}
    for row, (text, said) in zip(rows, words, strict=True):
        rare = np.array([np.log(len(rows) / seen[word]) for word in said])
        there = np.array([word in set(text) for word in said])
        two = set(pairwise(text))
        couples = [pair in two for pair in pairwise(said)]
        named = [w.lower() in text for w in re.findall(r"\b(?:[A-Z]\w+|\d+)\b", row["hypothesis"])]
        denied = len({"not", "no", "never", "n't", "without"} & (set(text) ^ set(said)))
        overlap = rare @ there / max(rare.sum(), 1e-9)
        means = [
            there.mean(),
            overlap,
            np.mean(couples or [False]),
            np.mean(named or [True]),
            overlap == 1,
            min(denied, 1),
        ]
        found[row["id"]] = (row["task"], np.array([*means, np.log(len(text)) / 4, np.log(len(said)) / 4]))
    return found


def entailment(seed: int, votes_kept: int) -> Setting:
    """Pairs from four of the seven sources; shifted are those from the other three; gold by experts."""
    rng = np.random.default_rng(seed)
    crowd = rte()
    assert crowd.gold is not None
    rows = [pairs()[str(item)] for item in crowd.votes.task_ids]
    source, x = np.array([row[0] for row in rows]), np.stack([row[1] for row in rows])
    away = np.isin(source, rng.permutation(np.unique(source))[:3])
    home = rng.permutation(np.flatnonzero(~away))
    train, test = home[: len(home) * 3 // 4], home[len(home) * 3 // 4 :]
    truth = np.eye(2)[crowd.gold.y]
    tests = {"alike": (x[test], truth[test]), "shifted: other sources": (x[away], truth[away])}
    name = f"entailment, {votes_kept} votes"
    return Setting(name, x[train], few(crowd.votes.take(train), votes_kept, rng), truth[train], tests)


def few(votes: Votes, n: int, rng: np.random.Generator) -> Votes:
    """Keep `n` votes of each task, drawn at random."""
    order = np.lexsort((rng.random(votes.n_votes), votes.task))
    start = np.searchsorted(votes.task[order], votes.task[order])
    at = order[np.arange(votes.n_votes) - start < n]
    return Votes(votes.space, votes.task[at], votes.worker[at], votes.label[at], votes.task_ids, votes.worker_ids)


# Targets and models


def targets(setting: Setting, seed: int) -> dict[str, Floats]:
    """What the votes become `(n, k)`, by arm; ties of the majority are drawn."""
    counts = setting.votes.counts()
    k = counts.shape[1]
    rng = np.random.default_rng(seed)
    belief = aggregate(setting.votes, random_state=seed).belief.p
    return {
        "majority": np.eye(k)[(counts + 0.5 * rng.random(counts.shape)).argmax(axis=1)],
        "vote shares": counts / counts.sum(axis=1, keepdims=True),
        "belief": np.asarray(belief, dtype=np.float64),
        "belief, top class": np.eye(k)[belief.argmax(axis=1)],
        "belief, next vote": np.float64(aggregate(setting.votes, target="next_vote", random_state=seed).belief.p),
        "truth": setting.truth,
    }


def linear(x: Any, t: Floats, dev: npt.NDArray[np.bool_]) -> Predict:
    """Softmax regression by L-BFGS; the penalty is the one whose model explains the targets of `dev` best."""
    losses, start = [], np.zeros((x.shape[1] + 1) * t.shape[1])
    for penalty in PENALTIES:  # from strong to weak, each from the last solution
        start = _softmax_regression(x[~dev], t[~dev], penalty, start)
        losses.append(cross_entropy(_linear(start, x[dev], t.shape[1]), t[dev]))
        if losses[-1] > min(losses):
            break
    w = _softmax_regression(x, t, PENALTIES[int(np.argmin(losses))], start)
    return lambda new: _linear(w, new, t.shape[1])


def _linear(w: Floats, x: Any, k: int) -> Floats:
    w = w.reshape(-1, k)
    return np.asarray(special.softmax(x @ w[:-1] + w[-1], axis=1))


def _softmax_regression(x: Any, t: Floats, penalty: float, start: Floats) -> Floats:
    def loss(w: Floats) -> tuple[float, Floats]:
        table = w.reshape(-1, t.shape[1])
        p = special.log_softmax(x @ table[:-1] + table[-1], axis=1)
        gap = (np.exp(p) - t) / len(t)
        slope = np.vstack([x.T @ gap + penalty * table[:-1], gap.sum(axis=0)])
        return float(-(t * p).sum() / len(t) + penalty / 2 * (table[:-1] ** 2).sum()), slope.ravel()

    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200, "ftol": 1e-7})
    return np.asarray(found.x)


def network(x: Floats, t: Floats, dev: npt.NDArray[np.bool_], seed: int) -> Predict:
    """One hidden layer, Adam; the epoch kept is the one that explains the targets of `dev` best."""
    rng = np.random.default_rng(seed)
    mean, scale = x.mean(axis=0), x.std() + 1e-9
    z, k = (x - mean) / scale, t.shape[1]
    weights = [
        rng.normal(0, np.sqrt(2 / z.shape[1]), (z.shape[1], HIDDEN)),
        np.zeros(HIDDEN),
        rng.normal(0, np.sqrt(1 / HIDDEN), (HIDDEN, k)),
        np.zeros(k),
    ]

    def forward(z: Floats, w: list[Floats]) -> tuple[Floats, Floats]:
        hidden = np.maximum(z @ w[0] + w[1], 0)
        return hidden, np.asarray(special.softmax(hidden @ w[2] + w[3], axis=1))

    first, second = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    rows, best, kept, step = np.flatnonzero(~dev), np.inf, weights, 0
    for _ in range(EPOCHS):
        for at in np.array_split(rng.permutation(rows), max(len(rows) // BATCH, 1)):
            hidden, p = forward(z[at], weights)
            gap = (p - t[at]) / len(at)
            back = (gap @ weights[2].T) * (hidden > 0)
            slopes = [z[at].T @ back, back.sum(axis=0), hidden.T @ gap, gap.sum(axis=0)]
            step += 1
            for j, slope in enumerate(slopes):
                first[j] = 0.9 * first[j] + 0.1 * slope
                second[j] = 0.999 * second[j] + 0.001 * slope**2
                move = first[j] / (1 - 0.9**step) / (np.sqrt(second[j] / (1 - 0.999**step)) + 1e-8)
                weights[j] = weights[j] - RATE * move
        loss = cross_entropy(forward(z[dev], weights)[1], t[dev])
        if loss < best:
            best, kept = loss, list(weights)
    return lambda new: forward((new - mean) / scale, kept)[1]


# Scores


def calibrated_loss(p: Floats, truth: Floats, rng: np.random.Generator) -> float:
    """Loss on one half of the test set at the temperature that is best on the other, mean of five halvings."""
    logs, losses = np.log(np.clip(p, 1e-12, None)), []
    for _ in range(SPLITS):
        half = rng.permutation(len(p)) < len(p) // 2

        def loss(log_t: float, rows: npt.NDArray[np.bool_]) -> float:
            return cross_entropy(special.softmax(logs[rows] / np.exp(log_t), axis=1), truth[rows])

        found = optimize.minimize_scalar(lambda s, half=half: loss(s, half), bounds=(-3, 4), method="bounded")
        losses.append(loss(found.x, ~half))
    return float(np.mean(losses))


def scores(p: Floats, truth: Floats, seed: int) -> dict[str, float]:
    """Log loss, log loss at the best temperature, and the share of the truth that the top class holds."""
    return {
        "log loss": cross_entropy(p, truth),
        "calibrated log loss": calibrated_loss(p, truth, np.random.default_rng(seed)),
        "accuracy": float(truth[np.arange(len(p)), p.argmax(axis=1)].mean()),
    }


def trained(setting: Setting, seed: int, models: tuple[str, ...] = ("linear", "network")) -> dict[Any, float]:
    """Every score of one draw, by (model, test, arm, metric)."""
    n = len(setting.truth)
    dev = np.random.default_rng(seed).permutation(n) < n // SHARE_OF_DEV
    dense: Callable[[Any], Floats] = np.asarray
    if not isinstance(setting.x, np.ndarray):
        dense = TruncatedSVD(100, random_state=seed).fit(setting.x).transform
    found = {}
    for arm, t in targets(setting, seed).items():
        for model in models:
            read = dense if model == "network" else (lambda x: x)
            x_train = read(setting.x)
            predict = network(x_train, t, dev, seed) if model == "network" else linear(x_train, t, dev)
            for test, (x, truth) in setting.tests.items():
                for metric, value in scores(predict(read(x)), truth, seed).items():
                    found[model, test, arm, metric] = value
    return found


def mean_interval(values: npt.ArrayLike) -> tuple[float, tuple[float, float]]:
    """Mean over seeds and its 95 % t interval."""
    v = np.asarray(values, dtype=np.float64)
    half = stats.t.ppf(0.975, len(v) - 1) * v.std(ddof=1) / np.sqrt(len(v))
    return float(v.mean()), (float(v.mean() - half), float(v.mean() + half))


def settings(full: bool) -> Iterator[tuple[Callable[[int], Setting], int]]:
    """Each setting with its number of seeds."""
    yield digits, 10 if full else 2
    n, seeds = (1_000, 6) if full else (300, 2)
    for kind in ("short", "words"):
        for kept in (2, 3):
            yield partial(hate_speech, kind=kind, votes_kept=kept, n=n), seeds
    for kept in (3, 10):
        yield partial(entailment, votes_kept=kept), 10 if full else 2


def run(make: Callable[[int], Setting], seed: int) -> tuple[str, dict[Any, float]]:
    """Name and scores of one draw of a setting."""
    setting = make(seed)
    return setting.name, trained(setting, seed)


def rows_of(name: str, runs: list[dict[Any, float]], command: str) -> Iterator[ResultRow]:
    """A row for each score of each arm, then the paired differences of the belief to its rivals."""
    seeds, versions = tuple(range(len(runs))), versions_of("scipy", "scikit-learn")
    for model, test, arm, metric in runs[0]:
        value, interval = mean_interval([run[model, test, arm, metric] for run in runs])
        unit = "share" if metric == "accuracy" else "nats"
        case = f"{name}; {test}; {model}; {arm}"
        known = arm != "truth"
        yield ResultRow(case, metric, value, unit, command, interval, seeds, deployable=known, versions=versions)
        for rival in PAIRED.get(arm, ()):
            value, interval = mean_interval(
                [run[model, test, arm, metric] - run[model, test, rival, metric] for run in runs]
            )
            case, label = f"{name}; {test}; {model}", f"{metric}, {arm} minus {rival}"
            yield ResultRow(case, label, value, unit, command, interval, seeds, versions=versions)


@click.command()
@click.option("--scale", type=click.Choice(["small", "full"]), default="small")
def main(scale: str) -> None:
    rows: list[ResultRow] = []
    with ProcessPoolExecutor(2) as pool:
        for make, n_seeds in settings(scale == "full"):
            names, runs = zip(*pool.map(run, [make] * n_seeds, range(n_seeds)), strict=True)
            found = list(rows_of(names[0], list(runs), f"python -m bench.aggregate.trained_on_belief --scale {scale}"))
            click.echo(show([row for row in found if "minus majority" in row.metric]))
            rows += found
    if scale == "full":
        write_results(RESULTS / "aggregate" / "trained_on_belief.json", rows)


if __name__ == "__main__":
    main()

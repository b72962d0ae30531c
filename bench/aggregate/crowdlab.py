"""CROWDLAB on few votes a task beside its parts, equality with cleanlab, and both times in one run."""

from __future__ import annotations

import argparse
import csv
import time
import warnings

import numpy as np
import numpy.typing as npt
import pandas as pd
from cleanlab.multiannotator import get_label_quality_multiannotator
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from assay.aggregate.crowdlab import Crowdlab
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.calibration import nll
from assay.kernels.intervals import bootstrap
from assay.labels.spaces import Space
from assay.labels.votes import Votes
from bench.aggregate.datasets import rte
from bench.data import RESULTS, shared

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


def crowd(seed: int, n: int, w: int, k: int) -> tuple[Codes, Votes, Floats]:
    """One to three votes a task by workers right 40 to 80 % of the time, and a model right about as often."""
    rng = np.random.default_rng(seed)
    truth, ability = rng.integers(0, k, n), rng.uniform(0.4, 0.8, w)
    draws = rng.integers(1, 4, n)
    task = np.repeat(np.arange(n), draws)
    worker = rng.integers(0, w, len(task))
    pairs = np.unique(task * w + worker)  # once a task
    task, worker = np.divmod(pairs, w)
    label = np.where(rng.random(len(task)) < ability[worker], truth[task], rng.integers(0, k, len(task)))
    logits = rng.normal(0, 1, (n, k)) + 2 * np.eye(k)[truth]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return truth, Votes(Space(tuple(map(str, range(k)))), task, worker, label, np.arange(n), np.arange(w)), probs


def parts(command: str, seeds: int, n: int) -> list[ResultRow]:
    values = np.empty((seeds, 3))
    for seed in range(seeds):
        truth, votes, probs = crowd(seed, n, 20, 4)
        said = Crowdlab().fit(votes, probs).consensus_, votes.counts().argmax(axis=1), probs.argmax(axis=1)
        values[seed] = [np.mean(choice == truth) for choice in said]
    interval = bootstrap(lambda column: float(column.mean()), values[:, 0])
    case, mean, seen = f"{n} tasks, 1 to 3 votes, 4 classes", values.mean(axis=0), tuple(range(seeds))
    return [
        ResultRow(case, "accuracy", mean[0], "", command, interval, seen, mean[place], name, deployable=False)
        for place, name in ((1, "majority"), (2, "model alone"))
    ]


def beside_cleanlab(command: str, n: int, w: int) -> list[ResultRow]:
    _, votes, probs = crowd(0, n, w, 10)
    wide = np.full((n, w), np.nan)
    wide[votes.task, votes.worker] = votes.label
    frame = pd.DataFrame(wide)
    Crowdlab().fit(votes, probs)
    begin = time.process_time()
    ours = Crowdlab().fit(votes, probs)
    table = ours.workers()
    mine = time.process_time() - begin
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = get_label_quality_multiannotator(frame, probs, verbose=False)
    other = time.process_time() - begin
    quality = theirs["label_quality"]
    same = quality["consensus_label"].to_numpy() == ours.consensus_
    gap = float(np.abs(quality["consensus_quality_score"].to_numpy() - ours.quality_)[same].max())
    stats = theirs["annotator_stats"].sort_index()["annotator_quality"].to_numpy()
    assert same.mean() > 0.99  # what is left are ties that cleanlab draws
    assert np.nanmax(np.abs(stats - table["quality"])) < 0.01
    case, versions = f"{n} tasks, {w} workers, {votes.n_votes} votes, 10 classes", versions_of("cleanlab")
    return [
        ResultRow(case, "time to fit", mine, "CPU s", command, None, (0,), other, "cleanlab", versions=versions),
        ResultRow(case, "largest difference of quality from cleanlab", gap, "", command, seeds=(0,), versions=versions),
        ResultRow(case, "share of equal consensus", float(same.mean()), "", command, seeds=(0,), versions=versions),
    ]


def on_rte(command: str, seeds: int) -> list[ResultRow]:
    """Two votes a task drawn from ten; the model reads the texts and learns from the majority of these votes."""
    data = rte()
    assert data.gold is not None
    with shared("snow2008/rte_text.tsv").open(encoding="utf-8") as file:
        text = {row["id"]: f"{row['text']} {row['hypothesis']}" for row in csv.DictReader(file, delimiter="\t")}
    features = TfidfVectorizer(min_df=2).fit_transform([text[str(task)] for task in data.votes.task_ids.tolist()])
    values = np.empty((seeds, 4))
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(data.votes.n_votes)
        rank = pd.Series(data.votes.task[order]).groupby(data.votes.task[order]).cumcount().to_numpy()
        kept = order[rank < 2]
        columns = data.votes.task[kept], data.votes.worker[kept], data.votes.label[kept]
        votes = Votes(data.votes.space, *columns, data.votes.task_ids, data.votes.worker_ids)
        counted = votes.counts().argmax(axis=1)
        probs = cross_val_predict(LogisticRegression(), features, counted, method="predict_proba", cv=5)
        belief = Crowdlab().fit(votes, probs).belief_.p
        share = votes.counts() / votes.counts().sum(axis=1, keepdims=True)
        truth = data.gold.y.astype(np.int64)
        right = [np.mean(c == truth) for c in (belief.argmax(axis=1), counted)]
        values[seed] = [*right, nll(belief, truth), nll(np.clip(share, 1e-6, 1), truth)]
    mean, case, seen = values.mean(axis=0), "rte, two votes a task and a text model", tuple(range(seeds))
    return [
        ResultRow(case, "accuracy", mean[0], "", command, None, seen, mean[1], "majority"),
        ResultRow(case, "NLL", mean[2], "nats", command, None, seen, mean[3], "vote shares, clipped at 1e-6"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="small")
    full = parser.parse_args().scale == "full"
    command = f"python -m bench.aggregate.crowdlab --scale {'full' if full else 'small'}"
    rows = parts(command, 20 if full else 3, 2000 if full else 500)
    rows += beside_cleanlab(command, *((50_000, 200) if full else (2_000, 30)))
    rows += on_rte(command, 10 if full else 2)
    write_results(RESULTS / "aggregate" / "crowdlab.json", rows)


if __name__ == "__main__":
    main()

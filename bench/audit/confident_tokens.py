"""Confident learning for tokens: errors planted in receipts, and the time beside cleanlab and beside one read.

Planted: the text lines of scanned receipts as tokens, each receipt one sequence; a line is company, date, address,
total or other, by the receipt's key fields; a share of the lines gets another class. Softmax regression on characters,
position and the neighbouring lines, 5 folds that keep receipts whole. Every F1 needs the truth. Speed: random
sentences, answers checked equal first.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import re
import time
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from cleanlab.token_classification.filter import find_label_issues
from cleanlab.token_classification.rank import get_label_quality_scores
from scipy import sparse, stats
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score

from assay.audit.confident_tokens import ConfidentTokens
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.confident_passes import FILTERS
from assay.labels.masks import Masks
from assay.labels.spaces import Kind, Space
from assay.training.out_of_fold import out_of_fold
from bench.data import RESULTS, shared

COMMAND = "python -m bench.audit.confident_tokens"
FIELDS = ("other", "company", "date", "address", "total")


class Lines(NamedTuple):
    """Every line of every receipt: features (t, d), class (t,), receipt (t,), and where receipts begin (n + 1,)."""

    features: Any
    truth: Any
    receipt: Any
    offsets: Any


class Found(NamedTuple):
    """Ours, and cleanlab's where it was asked."""

    f1: float
    rival: float | None


def receipts(limit: int = 200) -> Lines:
    """The first `limit` receipts."""
    with shared("sroie/keys.jsonl").open() as file:
        keys = {key["id"]: key for key in map(json.loads, file)}
    texts: dict[str, list[str]] = {}
    with gzip.open(shared("sroie/boxes.csv.gz"), "rt", newline="") as file:
        for line in csv.DictReader(file):
            if line["id"] in texts or len(texts) < limit:
                texts.setdefault(line["id"], []).append(line["text"])
    lines = [line for receipt in texts.values() for line in receipt]
    truth = [field_of(line, keys[name]) for name, receipt in texts.items() for line in receipt]
    lengths = np.array([len(receipt) for receipt in texts.values()])
    place = np.concatenate([np.arange(length) / length for length in lengths])
    letters = HashingVectorizer(analyzer="char_wb", ngram_range=(1, 3), n_features=2**13).transform(lines)
    before = letters[np.maximum(np.arange(len(lines)) - 1, 0)]
    after = letters[np.minimum(np.arange(len(lines)) + 1, len(lines) - 1)]
    where = sparse.csr_array(np.stack([place, place**2, place < 0.1], axis=1))
    features = sparse.hstack([letters, before, after, where]).tocsr()
    receipt = np.repeat(np.arange(len(lengths)), lengths)
    return Lines(features, np.array(truth), receipt, np.concatenate([[0], np.cumsum(lengths)]))


def field_of(line: str, key: dict[str, str]) -> int:
    """Class of a line by the key fields of its receipt; company and address run over several lines."""
    text = _letters(line)
    for code, field in enumerate(FIELDS[1:], start=1):
        value = _letters(key.get(field, ""))
        inside = len(text) >= 4 and text in value if field in ("company", "address") else value and value in text
        if inside:
            return code
    return 0


def _letters(text: str) -> str:
    """Letters and digits alone."""
    return re.sub(r"[^A-Z0-9]", "", text.upper())


def planted(lines: Lines, seed: int, share: float) -> dict[str, Found]:
    """F1 over lines of every filter, and the AUROC of receipt scores for receipts with some wrong line."""
    rng = np.random.default_rng(seed)
    k = len(FIELDS)
    wrong = rng.random(len(lines.truth)) < share
    given = np.where(wrong, (lines.truth + rng.integers(1, k, len(wrong))) % k, lines.truth)
    model = LogisticRegression(max_iter=200)
    fitted = out_of_fold(lines.features, given, k, model=model, random_state=seed, groups=lines.receipt)
    masks = Masks(Space(FIELDS, Kind.MASK), given, lines.offsets)
    cuts = lines.offsets[1:-1]
    labels = [part.tolist() for part in np.split(given, cuts)]
    p = np.split(fitted.pred_probs.astype(np.float64), cuts)
    found = {}
    for name in FILTERS:
        ours = ConfidentTokens(filter_by=name).fit(masks, p)  # type: ignore[arg-type]
        theirs = np.zeros(len(wrong), bool)
        for sentence, position in find_label_issues(labels, p, filter_by=name, n_jobs=1):
            theirs[lines.offsets[sentence] + position] = True
        found[name] = Found(f1_score(wrong, ours.is_issue_), f1_score(wrong, theirs))
    held = np.logical_or.reduceat(wrong, lines.offsets[:-1])
    theirs = get_label_quality_scores(labels, p)[0]
    found["AUROC of receipt scores"] = Found(roc_auc_score(held, -ours.sentence_scores_), roc_auc_score(held, -theirs))
    return found


def planted_rows(seeds: range, limit: int) -> list[ResultRow]:
    """One result for each share of wrong lines and metric."""
    made = []
    lines = receipts(limit)
    for share in (0.02, 0.05, 0.1):
        runs = [planted(lines, seed, share) for seed in seeds]
        for metric in runs[0]:
            ours = np.array([run[metric].f1 for run in runs])
            half = stats.t.ppf(0.975, len(ours) - 1) * ours.std(ddof=1) / np.sqrt(len(ours))
            row = ResultRow(
                case=f"{len(lines.truth)} lines of {len(lines.offsets) - 1} receipts, {share:.0%} relabelled, 5 folds",
                metric=metric if metric.startswith("AUROC") else f"F1, {metric}",
                ours=float(ours.mean()),
                interval=(float(ours.mean() - half), float(ours.mean() + half)),
                unit="share",
                seeds=tuple(seeds),
                rival=float(np.mean([run[metric].rival for run in runs])),
                rival_name="cleanlab",
                limit=1.0,
                deployable=False,
                command=COMMAND,
                versions=versions_of("scikit-learn", "cleanlab"),
            )
            made.append(row)
            print(f"{row.case}: {row.metric} {row.ours:.3f} +- {half:.3f} cleanlab {row.rival:.3f}")
    return made


def seconds(work: Callable[[], Any]) -> tuple[float, float]:
    """Wall and CPU seconds, of all threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def peak(work: Callable[[], Any]) -> float:
    """Largest memory that the work holds beyond its input, in MB."""
    tracemalloc.start()
    work()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 1e6


def speed_rows(n: int, k: int, repeats: int) -> list[ResultRow]:
    """Time and memory of issues and sentence scores; ours, cleanlab and one read of the matrix alternate."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 36, n)
    t = int(lengths.sum())
    truth = rng.integers(0, k, t)
    matrix = rng.normal(0, 1, (t, k))
    matrix[np.arange(t), truth] += 3
    np.exp(matrix, out=matrix)
    matrix /= matrix.sum(axis=1, keepdims=True)
    given = np.where(rng.random(t) < 0.04, rng.integers(0, k, t), truth)
    cuts = np.cumsum(lengths)[:-1]
    labels = [part.tolist() for part in np.split(given, cuts)]
    p = np.split(matrix, cuts)
    masks = Masks.from_rows(Space(tuple(map(str, range(k))), Kind.MASK), labels)

    def lists() -> ConfidentTokens:
        return ConfidentTokens().fit(labels, p)

    def flat() -> ConfidentTokens:
        return ConfidentTokens().fit(masks, matrix)

    def theirs() -> Any:
        return find_label_issues(labels, p, n_jobs=1), get_label_quality_scores(labels, p)[0]

    def read() -> Any:
        return matrix.max()

    issues, scores = theirs()
    for found in (lists(), flat()):
        if set(map(tuple, found.issues_.tolist())) != set(issues) or not np.array_equal(found.sentence_scores_, scores):
            raise SystemExit("The answers differ: no time is worth telling.")
    best = np.array([[seconds(work) for work in (lists, flat, theirs, read)] for _ in range(repeats)]).min(axis=0)
    memory = [peak(lists), peak(flat), peak(theirs)]
    rows = []
    for at, form in enumerate(("a list of sentences", "one flat matrix")):
        common: dict[str, Any] = {
            "case": f"{n} sentences, {t} tokens x {k} classes, float64, {form}, equal answers",
            "rival_name": "cleanlab, n_jobs=1, lists",
            "command": COMMAND,
            "versions": versions_of("numba", "cleanlab"),
            "seeds": (0,),
        }
        for column, kind in enumerate(("wall", "CPU")):
            mine, rival, limit = best[[at, 2, 3], column].tolist()
            metric = f"{kind} time, best of {repeats}"
            rows.append(ResultRow(metric=metric, ours=mine, rival=rival, limit=limit, unit="s", **common))
        rows.append(
            ResultRow(metric="peak memory beyond the input", ours=memory[at], rival=memory[2], unit="MB", **common)
        )
    for row in rows:
        print(f"{row.case}: {row.metric} {row.ours:.3g} cleanlab {row.rival:.3g} limit {row.limit} {row.unit}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    small = parser.parse_args().scale == "small"
    results = speed_rows(2_000, 9, 2) if small else speed_rows(200_000, 9, 3)
    results += planted_rows(range(2), 60) if small else planted_rows(range(10), 626)
    write_results(RESULTS / "audit" / "confident_tokens.json", results)


if __name__ == "__main__":
    main()

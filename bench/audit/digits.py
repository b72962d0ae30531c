"""Digits whose labels were changed on purpose: how many of them each filter finds, over seeds.

A share of the labels moves from class c to c + 1 (mod 10). Probabilities come from 5 folds of softmax regression on
pixels, the usual setting, and of assay's default for images; assay and cleanlab judge the same probabilities.
"""

import argparse
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from cleanlab.count import num_label_issues
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, precision_score, roc_auc_score

from assay.audit.confident_learning import ConfidentLearning
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.confident_passes import Filter
from assay.kernels.label_scores import Score
from assay.training.features import default_model
from assay.training.features_image import image_features
from assay.training.out_of_fold import out_of_fold
from bench.data import RESULTS

COMMAND = "python -m bench.audit.digits"
SHARES = (0.05, 0.1, 0.2)
FILTERS: tuple[Filter, ...] = (
    "predicted_neq_given",
    "confident_learning",
    "prune_by_class",
    "prune_by_noise_rate",
    "both",
)
SCORES: tuple[Score, ...] = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
PIXELS, TRUTH = load_digits(return_X_y=True)
MODELS: dict[str, tuple[Any, Any]] = {
    "softmax regression on pixels": (PIXELS / 16, LogisticRegression(max_iter=300)),
    "assay's default for images": (
        image_features(PIXELS.reshape(-1, 8, 8) / 16).matrix,
        default_model("image", len(TRUTH), 10),
    ),
}


def flip(truth: Any, share: float, seed: int) -> Any:
    """Move exactly `share` of the labels to the next class."""
    rows = np.random.default_rng(seed).permutation(len(truth))[: round(share * len(truth))]
    labels = truth.copy()
    labels[rows] = (truth[rows] + 1) % 10
    return labels


def one_run(name: str, share: float, seed: int) -> dict[str, tuple[float, float]]:
    """Every metric as (ours, cleanlab's), from the same probabilities."""
    X, model = MODELS[name]
    labels = flip(TRUTH, share, seed)
    wrong = labels != TRUTH
    P = out_of_fold(X, labels, 10, model=model, random_state=seed).pred_probs
    found: dict[str, tuple[float, float]] = {}
    for kind in FILTERS:
        flags = ConfidentLearning(filter_by=kind).fit(labels, P).is_issue_
        rival = find_label_issues(labels, P, filter_by=kind, n_jobs=1)
        found[f"F1, {kind}"] = f1_score(wrong, flags), f1_score(wrong, rival)
        found[f"precision, {kind}"] = precision_score(wrong, flags), precision_score(wrong, rival)
    for score in SCORES:
        scores = ConfidentLearning(score=score).fit(labels, P).scores_
        rival = get_label_quality_scores(labels, P, method=score)
        found[f"AUROC, {score}"] = roc_auc_score(wrong, -scores), roc_auc_score(wrong, -rival)
    fitted = ConfidentLearning().fit(labels, P)
    calibrated = num_label_issues(labels, P, estimation_method="off_diagonal_calibrated")
    found["estimated share of wrong labels"] = fitted.error_rate_, calibrated / len(labels)
    uncalibrated = num_label_issues(labels, P, estimation_method="off_diagonal")
    found["confidently wrong labels, share"] = fitted.n_errors_ / len(labels), uncalibrated / len(labels)
    return found


def interval(values: Any) -> tuple[float, float]:
    """95 % t interval of the mean over seeds."""
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values) - half), float(np.mean(values) + half)


def rows(seeds: range, tell: Callable[[str], None]) -> list[ResultRow]:
    """One result for each share and metric."""
    versions = versions_of("scikit-learn", "cleanlab")
    made = []
    for name, share in itertools.product(MODELS, SHARES):
        runs = [one_run(name, share, seed) for seed in seeds]
        for metric in runs[0]:
            ours = [run[metric][0] for run in runs]
            theirs = [run[metric][1] for run in runs]
            row = ResultRow(
                case=f"digits, {share:.0%} of labels moved to the next class, {name}, 5 folds",
                metric=metric,
                ours=float(np.mean(ours)),
                interval=interval(ours),
                unit="share",
                seeds=tuple(seeds),
                rival=float(np.mean(theirs)),
                rival_name="cleanlab",
                limit=share if metric.startswith("estimated") else 1.0 if "share" not in metric else None,
                deployable=not metric.startswith(("F1", "precision", "AUROC")),
                command=COMMAND,
                versions=versions,
            )
            made.append(row)
            low, high = interval(ours)
            tell(f"{name}, {share:.0%} {metric:40s} {row.ours:.3f} [{low:.3f}, {high:.3f}] cleanlab {row.rival:.3f}")
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    seeds = range(2) if parser.parse_args().scale == "small" else range(10)
    write_results(RESULTS / "audit" / "digits.json", rows(seeds, print))


if __name__ == "__main__":
    main()

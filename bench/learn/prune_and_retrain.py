"""Prune and retrain beside cross-entropy on all rows, and beside cleanlab's CleanLearning of the same network."""

import argparse
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from cleanlab.classification import CleanLearning
from sklearn.metrics import roc_auc_score

from assay.evidence.results import ResultRow, versions_of, write_results
from assay.learn.prune_and_retrain import PruneAndRetrainClassifier
from assay.training.deep import torch
from assay.training.deep.estimator import NetworkClassifier
from assay.training.deep.protocol import interval
from assay.training.deep.recipe import Recipe
from bench.data import RESULTS
from bench.learn.noisy_digits import show
from bench.learn.settings import Setting, digits

COMMAND = "python -m bench.learn.prune_and_retrain"
VERSIONS = versions_of("torch", "scikit-learn", "cleanlab")
OURS, NETWORK, PLAIN, RIVAL = "prune and retrain", "judged by the network", "cross-entropy", "cleanlab's CleanLearning"


def run(setting: Setting, seed: int, recipe: Recipe) -> dict[str, tuple[float, float, float]]:
    """Accuracy in the last epoch on true labels, AUROC of suspicion (nan where there is none), CPU seconds."""
    arguments: dict[str, Any] = {"recipe": recipe, "validation": 0, "random_state": seed}
    models = {
        OURS: PruneAndRetrainClassifier(**arguments),
        NETWORK: PruneAndRetrainClassifier(judge="network", **arguments),
        PLAIN: NetworkClassifier(**arguments),
        RIVAL: CleanLearning(NetworkClassifier(**arguments), seed=seed),
    }
    found = {}
    for name, model in models.items():
        start = time.process_time()
        model.fit(setting.X, setting.given)
        took = time.process_time() - start
        right = float((model.predict_proba(setting.X_test).argmax(1) == setting.truth_test).mean())
        suspect = (
            -model.get_label_issues()["label_quality"].to_numpy() if name == RIVAL else model.evidence()["suspect"]
        )
        found[name] = right, float(roc_auc_score(setting.wrong, np.asarray(suspect, dtype=float))), took
    return found


def measure(seeds: range, settings: list[tuple[str, float]], recipe: Recipe) -> Iterator[ResultRow]:
    for kind, rate in settings:
        runs = [run(digits(kind, rate, seed), seed, recipe) for seed in seeds]
        for name in (OURS, NETWORK):
            for at, (metric, unit) in enumerate(
                (
                    ("accuracy, last epoch", "share"),
                    ("AUROC of suspicion for wrong labels", "share"),
                    ("CPU time of a fit", "s"),
                )
            ):
                told = interval([found[name][at] for found in runs])
                for rival in (PLAIN, RIVAL):
                    yield ResultRow(
                        f"digits, {rate:.0%} {kind} noise, {recipe.epochs} epochs, {len(seeds)} seeds: {name}",
                        metric,
                        told["mean"],
                        unit,
                        COMMAND,
                        interval=(told["low"], told["high"]),
                        seeds=tuple(seeds),
                        rival=interval([found[rival][at] for found in runs])["mean"],
                        rival_name=rival,
                        deployable=unit == "s",
                        versions=VERSIONS,
                    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    small = parser.parse_args().scale == "small"
    torch.set_num_threads(1)
    recipe, seeds = Recipe(epochs=3 if small else 20), range(1 if small else 5)
    rows = [show(row) for row in measure(seeds, [("symmetric", 0.4)], recipe)]
    write_results(RESULTS / "learn" / "prune_and_retrain.json", rows)


if __name__ == "__main__":
    main()

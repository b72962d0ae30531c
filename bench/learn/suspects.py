"""How well each method's own suspicion finds wrong labels, beside confident learning and their mean rank.

All judge the same rows of digits: those that the method trained on (a tenth is held out to choose the epoch).
"""

import argparse
from collections.abc import Iterator
from functools import partial

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from assay.audit.confident_learning import ConfidentLearning
from assay.evidence.learn_contest import fitted
from assay.evidence.learn_methods import trainables
from assay.evidence.learn_run import combined
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.labels import Hard, Space
from assay.training.deep import torch
from assay.training.deep.protocol import interval
from assay.training.out_of_fold import out_of_fold
from bench.data import RESULTS
from bench.learn.settings import digits

COMMAND = "python -m bench.learn.suspects"
VERSIONS = versions_of("torch", "scikit-learn")
SETTINGS = [("symmetric", 0.4), ("pair", 0.4), ("instance", 0.4)]
SCORES = {"AUROC": roc_auc_score, "average precision": average_precision_score}
EPOCHS = 20
OURS, CONFIDENT, BOTH = "method", "confident learning", "mean rank"


def run(kind: str, rate: float, seed: int, epochs: int) -> dict[tuple[str, str, str], float]:
    """Score by method, what it is of, and what is suspected by."""
    setting = digits(kind, rate, seed)
    given = setting.given.astype(np.int32)
    labels = Hard(Space(tuple(map(str, range(10)))), given)
    audit = ConfidentLearning().fit(given, out_of_fold(setting.X, given, 10).pred_probs)
    confident = -audit.scores_.astype(np.float64)
    found = {}
    for name in trainables():
        mine = np.asarray(fitted(name, setting.X, labels, epochs, seed).evidence()["suspect"], dtype=np.float64)
        there = ~np.isnan(mine)
        wrong = setting.wrong[there]
        for by, values in (
            (OURS, mine[there]),
            (CONFIDENT, confident[there]),
            (BOTH, combined(mine[there], confident[there])),
        ):
            for metric, score in SCORES.items():
                found[name, metric, by] = float(score(wrong, values))
    return found


def measure(seeds: range, settings: list[tuple[str, float]], epochs: int) -> Iterator[ResultRow]:
    for kind, rate in settings:
        runs = list(map(partial(run, kind, rate, epochs=epochs), seeds))
        for name, metric, by in runs[0]:
            if by == CONFIDENT:
                continue
            told, rival = (interval([found[name, metric, source] for found in runs]) for source in (by, CONFIDENT))
            yield ResultRow(
                f"digits, {rate:.0%} {kind} noise, {epochs} epochs: {name}",
                f"{metric} of {'its suspicion' if by == OURS else 'its mean rank with confident learning'}",
                told["mean"],
                "share",
                COMMAND,
                interval=(told["low"], told["high"]),
                seeds=tuple(seeds),
                rival=rival["mean"],
                rival_name="confident learning on the same rows",
                deployable=False,
                versions=VERSIONS,
            )
            print(f"{kind:10s} {name:20s} {metric:18s} {by:10s} {told['mean']:.3f}  CL {rival['mean']:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    small = parser.parse_args().scale == "small"
    torch.set_num_threads(1)
    rows = list(measure(range(1 if small else 5), SETTINGS[: 1 if small else None], 4 if small else EPOCHS))
    write_results(RESULTS / "learn" / "suspects.json", rows)


if __name__ == "__main__":
    main()

"""Does the chance that a label is wrong order and price real label errors, on rows that people checked?

Verdicts of five workers a row (`verdict_votes`); every row is judged by a model that never saw its verdict: repeated
stratified folds, averaged over seeds, with a bootstrap over rows. Beside it cleanlab's scores on the same rows.
"""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt
from cleanlab.rank import get_label_quality_scores
from sklearn.model_selection import StratifiedKFold

from assay.audit.error_probability import ErrorProbability
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.calibration import auroc, average_precision, brier, ece, nll
from assay.kernels.intervals import bootstrap
from bench.audit.verdict_votes import load
from bench.data import RESULTS, shared

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
RIVALS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
METRICS = {"AUROC": auroc, "average precision": average_precision, "NLL": nll, "Brier": brier, "ECE, 10 bins": ece}
CURVE = (0, 10, 25, 50, 100, 200)


def read(name: str) -> tuple[Floats, Ints, Ints, Bools]:
    """Probabilities (n, k), given labels (n,), reviewed rows (m,), whether each was wrong (m,)."""
    with np.load(shared(f"label-errors/{name}_test.npz")) as file:
        probs = file["pyx"].astype(np.float64)
        given = file["original_label"].astype(np.int64)
    verdicts = load(name)
    return np.asarray(probs / probs.sum(axis=1, keepdims=True)), given, verdicts.rows, verdicts.wrong


def people(given: Ints, n: int) -> Floats:
    """Log-odds against the given label among about 50 other people (CIFAR-10H), as a further column (n, 1)."""
    with np.load(shared("cifar-10h/cifar10h.npz")) as file:
        counts = file["counts"].astype(np.float64) + 0.1
    share = counts[np.arange(n), given] / counts.sum(axis=1)
    return np.asarray(np.log1p(-share) - np.log(share))[:, None]


def out_of_fold(
    probs: Floats, given: Ints, rows: Ints, wrong: Bools, folds: int, seed: int, features: Floats | None = None
) -> Floats:
    """Chance (m,) of each reviewed row from the verdicts of the other folds."""
    chance = np.empty(len(rows))
    for learn, judge in StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, wrong):
        model = ErrorProbability().fit(probs, given, rows[learn], wrong[learn], features=features)
        chance[judge] = model.p_wrong_[rows[judge]]
    return chance


def _score(metric: str, chance: Floats, wrong: Bools) -> float:
    return ece(chance, wrong, bins=10) if metric.startswith("ECE") else METRICS[metric](chance, wrong)


def judged(
    case: str, chances: Floats, wrong: Bools, seeds: tuple[int, ...], command: str, rivals: dict[str, Floats]
) -> list[ResultRow]:
    """Rows for one way of scoring: `chances` (seeds, m), metrics averaged over seeds, bootstrapped over rows."""
    out = []
    columns = [chances[i] for i in range(len(chances))]
    base = np.full(len(wrong), wrong.mean())
    for metric in METRICS:

        def mean(labels: Bools, *scores: Floats, metric: str = metric) -> float:
            return float(np.mean([_score(metric, score, labels) for score in scores]))

        value = mean(wrong, *columns)
        interval = bootstrap(mean, wrong, *columns, strata=wrong, resamples=1_000, random_state=0)
        beside = {"the share of wrong rows, known beforehand": base}
        if metric in ("AUROC", "average precision"):
            beside = {f"cleanlab {name}": score for name, score in rivals.items()}
        for rival_name, score in beside.items():
            out.append(
                ResultRow(
                    case=case,
                    metric=metric,
                    ours=value,
                    unit="nats" if metric == "NLL" else "",
                    command=command,
                    interval=interval,
                    seeds=seeds,
                    rival=_score(metric, score, wrong),
                    rival_name=rival_name,
                    versions=versions_of("scikit-learn", "cleanlab"),
                )
            )
        if metric == "AUROC":
            own = rivals["self_confidence"]

            def gain(labels: Bools, rival: Floats, *scores: Floats) -> float:
                return float(np.mean([auroc(score, labels) for score in scores]) - auroc(rival, labels))

            out.append(
                ResultRow(
                    case=case,
                    metric="AUROC gained over self-confidence on the same rows",
                    ours=gain(wrong, own, *columns),
                    unit="",
                    command=command,
                    interval=bootstrap(gain, wrong, own, *columns, strata=wrong, resamples=1_000, random_state=0),
                    seeds=seeds,
                    versions=versions_of("scikit-learn", "cleanlab"),
                )
            )
    return out


def learning_curve(name: str, seeds: int, command: str) -> list[ResultRow]:
    """AUROC and NLL on a held-out third of the reviewed rows after v verdicts drawn from the rest."""
    probs, given, rows, wrong = read(name)
    out = []
    sizes = [v for v in CURVE if v <= len(rows) * 2 // 3]
    values = np.empty((seeds, len(sizes), 2))
    for seed in range(seeds):
        learn, judge = next(StratifiedKFold(3, shuffle=True, random_state=seed).split(rows, wrong))
        learn = np.random.default_rng(seed).permutation(learn)
        for place, v in enumerate(sizes):
            some = learn[:v]
            chance = ErrorProbability().fit(probs, given, rows[some], wrong[some]).p_wrong_[rows[judge]]
            values[seed, place] = auroc(chance, wrong[judge]), nll(chance, wrong[judge])
    for place, v in enumerate(sizes):
        for which, metric in enumerate(("AUROC", "NLL")):
            got = values[:, place, which]
            low, high = np.quantile(got, [0.025, 0.975])
            out.append(
                ResultRow(
                    case=f"{name}: held-out third after {v} verdicts; interval: middle 95 % of splits",
                    metric=metric,
                    ours=float(got.mean()),
                    unit="nats" if which else "",
                    command=command,
                    interval=(float(low), float(high)),
                    seeds=tuple(range(seeds)),
                    versions=versions_of("scikit-learn"),
                )
            )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    scale = parser.parse_args().scale
    command = f"python -m bench.audit.error_probability --scale {scale}"
    seeds = tuple(range(2 if scale == "small" else 20))
    rows_out: list[ResultRow] = []
    for name in ("cifar10", "mnist"):
        probs, given, rows, wrong = read(name)
        rivals = {method: -np.asarray(get_label_quality_scores(given, probs, method=method))[rows] for method in RIVALS}
        about = f"{name}: {len(rows)} checked, {int(wrong.sum())} wrong"
        prior = ErrorProbability().fit(probs, given).p_wrong_[rows][None, :]
        rows_out += judged(f"{about}; no verdict used", prior, wrong, (), command, rivals)
        learned = np.array([out_of_fold(probs, given, rows, wrong, 10, seed) for seed in seeds])
        rows_out += judged(f"{about}; verdicts of the other nine folds", learned, wrong, seeds, command, rivals)
        if name == "cifar10":
            extra = people(given, len(given))
            helped = np.array([out_of_fold(probs, given, rows, wrong, 10, seed, extra) for seed in seeds[:5]])
            case = f"{about}; verdicts of the other nine folds and CIFAR-10H votes as a column"
            rows_out += judged(case, helped, wrong, seeds[:5], command, rivals)
        rows_out += learning_curve(name, 3 if scale == "small" else 200, command)
    write_results(RESULTS / "audit" / "error_probability.json", rows_out)
    for row in rows_out:
        if row.rival_name is None or "self_confidence" in row.rival_name or "share" in row.rival_name:
            print(f"{row.case:95s} {row.metric:20.20s} {row.ours:.3f} {row.interval} {row.rival}")


if __name__ == "__main__":
    main()

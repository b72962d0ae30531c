"""The common table: scikit-learn's digits with labels made wrong, a small perceptron, one protocol for every method."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sklearn.datasets import load_digits

from assay.evidence.results import ResultRow, versions_of
from assay.training.deep import nn
from assay.training.deep.backbones import mlp
from assay.training.deep.objective import Objective
from assay.training.deep.protocol import Case, Outcome, interval, make_case, measure, summarise
from assay.training.deep.recipe import Recipe
from assay.training.noise import pair, symmetric

VERSIONS = versions_of("torch", "scikit-learn")
RECIPE = Recipe(epochs=60, batch_size=64, lr=0.05, momentum=0.0, weight_decay=0.0)
SETTINGS = [("symmetric", 0.4), ("symmetric", 0.6), ("symmetric", 0.0), ("pair", 0.4)]

NAMES = {
    "last": "accuracy, last epoch",
    "best": "accuracy, epoch by noisy validation",
    "oracle_best": "accuracy, epoch by clean test labels",
    "memorised": "wrong labels memorised",
    "suspect_auc": "AUROC of suspicion for wrong labels",
}


def network() -> nn.Module:
    """Two hidden layers of 128 with batch normalisation."""
    return mlp((64,), 10)


def case(kind: str, rate: float) -> Callable[[int], Case]:
    """Digits of which a share is wrong, "symmetric" (any other class) or "pair" (the next class); split by the seed."""
    pixels, truth = load_digits(return_X_y=True)
    noise: Any = {"symmetric": symmetric, "pair": pair}[kind]

    def of_seed(seed: int) -> Case:
        return make_case(pixels / 16, truth, 10, lambda y: noise(y, 10, rate, seed=seed).labels, seed=seed)

    return of_seed


def trained(objective: Callable[[], Objective], kind: str, rate: float, seeds: Iterable[int]) -> list[Outcome]:
    """Outcomes of the protocol."""
    return measure(objective, network, case(kind, rate), RECIPE, seeds)


def table(
    name: str, ours: list[Outcome], rival: list[Outcome], rival_name: str, kind: str, rate: float, command: str
) -> Iterator[ResultRow]:
    """One row a metric, ours beside the rival's, and the paired gain in the last epoch."""
    where = f"digits, {rate:.0%} {kind} noise, {RECIPE.epochs} epochs, {len(ours)} seeds: {name}"
    seeds = tuple(outcome.seed for outcome in ours)
    common: dict[str, Any] = {"command": command, "seeds": seeds, "versions": VERSIONS}
    beside = summarise(rival)
    for metric, told in summarise(ours).items():
        yield ResultRow(
            where,
            NAMES[metric],
            told["mean"],
            "share",
            interval=(told["low"], told["high"]),
            rival=beside[metric]["mean"],
            rival_name=rival_name,
            deployable=False,
            **common,
        )
    gain = interval([a.last - b.last for a, b in zip(ours, rival, strict=True)])
    yield ResultRow(
        where,
        f"accuracy in the last epoch above {rival_name}, paired",
        gain["mean"],
        "share",
        interval=(gain["low"], gain["high"]),
        deployable=False,
        **common,
    )


def show(row: ResultRow) -> ResultRow:
    """Print a row while it is fresh."""
    beside = "" if row.rival is None else f"{row.rival_name} {row.rival:.4g}"
    spread = "" if row.interval is None else f" [{row.interval[0]:.4g}, {row.interval[1]:.4g}]"
    print(f"{row.case:75s} {row.metric:55s} {row.ours:.4g}{spread} {row.unit}  {beside}", flush=True)
    return row

"""LDR-KL and ALDR beside cross-entropy and GCE, on digits and on texts of 77 intents; the cost of a step."""

import argparse
import csv
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import roc_auc_score

from assay.evidence.results import ResultRow, write_results
from assay.learn.ldr import ALDR, LDR
from assay.learn.robust_losses import GCE
from assay.training.deep import nn, torch
from assay.training.deep.backbones import mlp
from assay.training.deep.batches import Batch
from assay.training.deep.objective import Objective
from assay.training.deep.protocol import Case, Outcome, interval, make_case, measure
from assay.training.deep.recipe import Recipe
from assay.training.deep.resnets import narrow_resnet
from assay.training.noise import symmetric
from bench.data import RESULTS, shared
from bench.learn.noisy_digits import RECIPE, VERSIONS, case, network, show, table

COMMAND = "python -m bench.learn.ldr"
DIGITS = replace(RECIPE, weight_decay=5e-3)
TEXTS = Recipe(epochs=30, batch_size=64, lr=0.05, weight_decay=5e-4)
TEMPERATURES = (3.0, 10.0, 100.0)

Make = Callable[[], Objective]
Trained = Callable[[Make], list[Outcome]]


def tuned(grid: Sequence[list[Outcome]]) -> list[Outcome]:
    """Of each seed the setting that the noisy validation labels choose: by the last epoch, and for `best` by the best.

    The last ten epochs are averaged, since there are few validation rows.
    """
    chosen = []
    for outcomes in zip(*grid, strict=True):
        late, early = (max(outcomes, key=rule) for rule in (_late, _early))
        chosen.append(replace(late, best=early.best, best_epoch=early.best_epoch, oracle_best=early.oracle_best))
    return chosen


def _late(outcome: Outcome) -> float:
    return float(np.mean([entry["validation_accuracy"] for entry in outcome.history[-10:]]))


def _early(outcome: Outcome) -> float:
    return max(entry["validation_accuracy"] for entry in outcome.history)


def methods(trained: Trained) -> Iterator[tuple[str, list[Outcome]]]:
    """Every method as the paper sets it, and tuned; the names are those of the table."""
    for name, make in (("LDR-KL", LDR), ("ALDR", ALDR)):
        grid = {t: trained(partial(make, t)) for t in TEMPERATURES}
        yield f"{name}, temperature 10", grid[10.0]
        yield f"{name}, tuned temperature", tuned(list(grid.values()))
    yield "GCE, tuned q", tuned([trained(partial(GCE, q)) for q in (0.5, 0.9)])


def digits(seeds: range, settings: list[tuple[str, float]]) -> Iterator[ResultRow]:
    for kind, rate in settings:

        def trained(make: Make, kind: str = kind, rate: float = rate) -> list[Outcome]:
            return measure(make, network, case(kind, rate), DIGITS, seeds)

        plain = trained(Objective)
        for name, outcomes in methods(trained):
            yield from table(name, outcomes, plain, "cross-entropy", kind, rate, COMMAND)


def texts_case(n: int) -> Callable[[int], Case]:
    """Questions to a bank (tf-idf in 128 dimensions), of which 40 % have one of the 76 other intents."""
    with shared("banking77/train.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[:n]]
    truth = np.unique([row["category"] for row in rows], return_inverse=True)[1]
    terms = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2).fit_transform(row["text"] for row in rows)
    found = TruncatedSVD(128, random_state=0).fit_transform(terms)
    inputs = (found / found.std(0)).astype(np.float32)
    return lambda seed: make_case(inputs, truth, 77, lambda y: symmetric(y, 77, 0.4, seed=seed).labels, seed=seed)


def texts(seeds: range, n: int) -> Iterator[ResultRow]:
    of_seed = texts_case(n)

    def trained(make: Make) -> list[Outcome]:
        return measure(make, lambda: mlp((128,), 77, hidden=(128,)), of_seed, TEXTS, seeds)

    plain = trained(Objective)
    where = f"banking77, {n} texts, 77 classes, 40% symmetric noise, {TEXTS.epochs} epochs, {len(seeds)} seeds"
    for name, outcomes in methods(trained):
        for row in table(name, outcomes, plain, "cross-entropy", "symmetric", 0.4, COMMAND):
            yield replace(row, case=f"{where}: {name}")
    for temperature in (3.0, 10.0):
        yield from temperatures(trained, of_seed, seeds, temperature, where)


def temperatures(
    trained: Trained, of_seed: Callable[[int], Case], seeds: range, temperature: float, where: str
) -> Iterator[ResultRow]:
    """Whether ALDR's temperatures tell wrong labels from right ones, beside the mean loss."""
    made: list[ALDR] = []

    def make() -> Objective:
        made.append(ALDR(temperature))
        return made[-1]

    outcomes = trained(make)
    found = [
        (of_seed(seed).wrong, objective.row_temperature.numpy()) for seed, objective in zip(seeds, made, strict=True)
    ]
    loss = interval([outcome.suspect_auc for outcome in outcomes])["mean"]
    apart = interval([float(t[wrong].mean() - t[~wrong].mean()) for wrong, t in found])
    auc = interval([float(roc_auc_score(wrong, t)) for wrong, t in found])
    name = f"{where}: ALDR, temperature {temperature:g}"
    for metric, told, unit, rival in (
        ("mean temperature of wrong labels above that of right ones", apart, "temperature", None),
        ("AUROC of the temperature for wrong labels", auc, "share", loss),
    ):
        yield ResultRow(
            name,
            metric,
            told["mean"],
            unit,
            COMMAND,
            interval=(told["low"], told["high"]),
            seeds=tuple(seeds),
            rival=rival,
            rival_name=None if rival is None else "mean loss",
            deployable=False,
            versions=VERSIONS,
        )


def cpu_seconds(run: Callable[[], object], n: int) -> float:
    """CPU seconds of a call, mean of n."""
    start = time.process_time()
    for _ in range(n):
        run()
    return (time.process_time() - start) / n


def cost(small: bool) -> Iterator[ResultRow]:
    """What each loss takes beyond cross-entropy, forward and backward from logits, beside a whole step.

    Best of nine rounds; in each round all take their turn.
    """
    networks: list[tuple[str, nn.Module, tuple[int, ...], int, int]] = [
        ("perceptron 64-128-128-10", mlp((64,), 10), (64,), 10, 100),
        ("narrow ResNet-18, 32 x 32 pixels, 10 classes", narrow_resnet((3, 32, 32), 10), (3, 32, 32), 10, 2),
        ("narrow ResNet-18, 32 x 32 pixels, 100 classes", narrow_resnet((3, 32, 32), 100), (3, 32, 32), 100, 2),
    ]
    for name, model, shape, k, n in networks[: 1 if small else None]:
        batch = Batch(torch.randn(128, *shape), torch.randint(0, k, (128,)), torch.randperm(50_000)[:128])
        logits = model(batch.inputs).detach().requires_grad_()
        objectives = {"": Objective(), "LDR-KL": LDR(), "LDR-2": LDR(top_k=2), "ALDR": ALDR()}
        for objective in objectives.values():
            objective.begin(50_000, k)

        def backward(objective: Objective, logits: torch.Tensor = logits, batch: Batch = batch) -> Callable[[], object]:
            return lambda: objective.loss(logits, batch.targets, batch.rows).mean().backward()

        def step(batch: Batch = batch, model: nn.Module = model, plain: Objective = objectives[""]) -> object:
            return plain(batch, model).backward()

        rounds = [
            [cpu_seconds(backward(objective), 100) for objective in objectives.values()] + [cpu_seconds(step, n)]
            for _ in range(9)
        ]
        plain, *ours, whole = np.min(rounds, axis=0).tolist()
        for method, seconds in zip(list(objectives)[1:], ours, strict=True):
            yield ResultRow(
                f"{name}, batch of 128",
                f"what {method} adds to a step",
                (seconds - plain) * 1e3,
                "cpu ms",
                COMMAND,
                rival=whole * 1e3,
                rival_name="a step of cross-entropy",
                versions=VERSIONS,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    small = parser.parse_args().scale == "small"
    torch.set_num_threads(1)
    settings = [("symmetric", 0.4)]
    if not small:
        settings += [("symmetric", 0.6), ("pair", 0.4), ("symmetric", 0.0)]
    seeds = range(2 if small else 5)
    made = [show(row) for row in cost(small)]
    for part in (texts(seeds, 1000 if small else 3000), digits(seeds, settings)):
        for row in part:
            made.append(show(row))
            write_results(RESULTS / "learn" / "ldr.json", made)  # what was measured outlives a kill


if __name__ == "__main__":
    main()

"""Memorization: what counting costs, whether it finds flipped digits, tells rare from wrong, and who pays to forget.

Counting: right answers and members of 2048 models, 10,000 test rows by 100,000 training rows, as bits and as a float32
matrix product. The product takes minutes, so that both are timed on a slice of the test rows, and the bits on all too.

Digits: 5 % of 1000 labels moved to any other class; how well each score orders them, beside confident learning.

Rare or wrong: digits in 160 styles (turned, mirrored, inverted) with Zipf's frequencies, 2 % of the labels flipped.
Which memorised rows help a test row of the same style?

Forgetting: a perceptron on the same styles, pruned, quantised or trained privately: accuracy on test rows
by how often their style was seen in training, each style alike; and which of the training rows that it had fitted it
forgets, those that need memory (the nearest neighbour's exact memorization is at least 0.25) or others.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

from assay.audit.confident_learning import ConfidentLearning
from assay.audit.memorization import MEMORISED, Memorization, leave_one_out, nearest_neighbour
from assay.evidence.results import ResultRow, read_results, versions_of, write_results
from assay.kernels.long_tail import tail_cost, tau, zipf
from assay.kernels.subset_counts import pack, shared_counts
from assay.training.deep import torch
from assay.training.deep.backbones import mlp
from assay.training.deep.batches import Data
from assay.training.deep.estimator import NetworkClassifier
from assay.training.deep.forgetting import fit_private, pruned, quantised
from assay.training.deep.loop import fit
from assay.training.deep.objective import Objective
from assay.training.deep.protocol import interval
from assay.training.deep.recipe import Recipe
from assay.training.features import default_model
from assay.training.features_image import image_features
from assay.training.noise import symmetric
from assay.training.out_of_fold import out_of_fold
from bench.data import RESULTS
from bench.learn.noisy_digits import show

COMMAND = "python -m bench.audit.memorization"
VERSIONS = versions_of("scikit-learn", "torch", "opacus", "numba")
PIXELS, TRUTH = load_digits(return_X_y=True)
NEAREST = KNeighborsClassifier(1, algorithm="brute")
GROUPS = ("seen once or twice", "seen 3 to 20 times", "seen more than 20 times")
DELTA = 1e-5

Array = npt.NDArray[Any]
Made = Callable[..., ResultRow]


def averaged(made: Made, case: str, values: dict[str, list[float]], rival: str | None = None) -> Iterator[ResultRow]:
    """A row for the mean over seeds of each metric, and for its paired difference from the rival's."""
    for metric, runs in values.items():
        told = interval(runs)
        ends = (told["low"], told["high"])
        yield made(case, metric, told["mean"], interval=ends, deployable=False)
        if rival is not None and metric != rival:
            gain = interval([a - b for a, b in zip(runs, values[rival], strict=True)])
            ends = (gain["low"], gain["high"])
            yield made(case, f"{metric}, less that of {rival}", gain["mean"], interval=ends, deployable=False)


def counting(full: bool, _seeds: range, made: Made) -> Iterator[ResultRow]:
    q, part, n, t = (10_000, 500, 100_000, 2048) if full else (400, 100, 4000, 256)
    rng = np.random.default_rng(0)
    E, M = (rng.random((t, rows), dtype=np.float32) < share for rows, share in ((q, 0.5), (n, 0.7)))
    right, inside = pack(E), pack(M)
    shared_counts(right[:1], inside[:1])
    made = partial(made, rival_name="float32 matrix product")
    wide = M.astype(np.float32)
    some = E[:, :part].astype(np.float32)
    ours, theirs = [], []
    for _ in range(3):
        start = time.process_time()
        bits = shared_counts(right[:part], inside)
        ours.append(time.process_time() - start)
        start = time.process_time()
        product = some.T @ wide
        theirs.append(time.process_time() - start)
    if not np.array_equal(bits, product):
        raise SystemExit("The two ways of counting differ: nothing is timed.")
    case = f"{t} models, {part} test rows (a slice) by {n} training rows"
    yield made(case, "CPU time, least of 3", min(ours), unit="s", rival=min(theirs))
    whole = f"{t} models, {q} test rows by {n} training rows"
    memory = ((right.nbytes + inside.nbytes) / 2**20, 4 * t * (n + q) / 2**20)
    yield made(whole, "memory of what is counted", memory[0], unit="MiB", rival=memory[1])
    del product, wide
    start = time.process_time()
    for at in range(0, q, part):
        shared_counts(right[at : at + part], inside)
    took = time.process_time() - start
    yield made(whole, "CPU time; rival from its slice", took, unit="s", rival=min(theirs) * q / part)


def digits(full: bool, seeds: range, made: Made) -> Iterator[ResultRow]:
    n, t, t_network, folds = (600, 256, 75, 5) if full else (200, 128, 80, 3)
    network = NetworkClassifier(partial(mlp, hidden=(128,)), Recipe(epochs=10 if full else 2), validation=0)
    aucs: dict[str, list[float]] = {}
    means: dict[str, list[float]] = {}
    for seed in seeds:
        rows = np.random.default_rng(seed).permutation(len(TRUTH))[:n]
        noisy = symmetric(TRUTH[rows], 10, 0.05, seed=seed)
        y, wrong = noisy.labels, noisy.wrong
        features = image_features(PIXELS[rows].reshape(-1, 8, 8) / 16).matrix
        rich = Nystroem(gamma=0.5, n_components=min(300, n // 2), random_state=0).fit_transform(features)
        P = out_of_fold(features, y, 10, model=default_model("image", n, 10), n_splits=folds, random_state=seed)
        exact = nearest_neighbour(features, y)
        found = {
            "nearest neighbour": Memorization(NEAREST, n_models=t, random_state=seed).fit(features, y),
            "ridge": Memorization("ridge", 0.1, n_models=t, random_state=seed).fit(rich, y),
            "network": Memorization(network, n_models=t_network, share=0.6, random_state=seed).fit(features, y),
        }
        scores = {
            "confident learning": -ConfidentLearning().fit(y, P.pred_probs).scores_,
            "nearest neighbour, memorization, exact": exact,
            "ridge, margin without the row": leave_one_out(rich, y)["margin"],
        }
        for name, fitted in found.items():
            scores[f"{name}, memorization"] = fitted.memorization_
            scores[f"{name}, suspicion"] = fitted.evidence()["suspect"]
            for side, those in (("flipped", wrong), ("clean", ~wrong)):
                mean = float(np.nanmean(fitted.memorization_[those]))
                means.setdefault(f"{name}, mean memorization, {side} rows", []).append(mean)
        for name, score in scores.items():
            aucs.setdefault(name, []).append(roc_auc_score(wrong, np.nan_to_num(score, nan=0.0)))
        near = found["nearest neighbour"]
        held = np.mean((near.low_ <= exact) & (exact <= near.high_))
        error = np.sqrt(np.mean((near.memorization_ - exact) ** 2))
        means.setdefault("nearest neighbour, intervals that hold the exact value", []).append(float(held))
        means.setdefault("nearest neighbour, root mean square error of the estimate", []).append(float(error))
        predicted = float(np.sqrt(np.mean(near.se_**2)))
        means.setdefault("nearest neighbour, error foretold by the standard errors", []).append(predicted)
    case = f"{n} digits, 5 % of the labels flipped, {t} models ({t_network} networks), {len(seeds)} seeds"
    yield from averaged(made, f"{case}: AUROC", aucs, "confident learning")
    yield from averaged(made, case, means)


def styles(images: Array, style: int) -> Array:
    """Digits (n, 8, 8) turned by quarters, mirrored and inverted, as one of 16 styles says."""
    turned = np.rot90(images, style % 4, axes=(1, 2))
    mirrored = turned[:, :, ::-1] if style // 4 % 2 else turned
    return 1 - mirrored if style // 8 else mirrored


def long_tailed(n: int, per_style: int, seed: int) -> tuple[Array, ...]:
    """Training rows, labels and kinds, and test rows, labels and kinds: 160 kinds = 10 classes by 16 styles."""
    rng = np.random.default_rng(seed)
    images, order = PIXELS.reshape(-1, 8, 8) / 16, rng.permutation(len(TRUTH))
    share = rng.permutation(zipf(160)) / zipf(160).sum()
    drawn = rng.choice(160, n, p=share)
    parts: list[list[tuple[Array, Array]]] = [[], []]
    for side, kinds, pool in ((0, drawn, order[:1200]), (1, np.repeat(np.arange(160), per_style), order[1200:])):
        for kind, count in zip(*np.unique(kinds, return_counts=True), strict=True):
            rows = rng.choice(pool[TRUTH[pool] == kind // 16], count)
            parts[side].append((styles(images[rows], kind % 16).reshape(count, -1), np.full(count, kind)))
    made = [(np.concatenate([x for x, _ in part]), np.concatenate([k for _, k in part])) for part in parts]
    return tuple(column for x, kind in made for column in (x, kind // 16, kind))


def rare_or_wrong(full: bool, seeds: range, made: Made) -> Iterator[ResultRow]:
    n, per_style, t = (1200, 10, 256) if full else (300, 4, 256)
    values: dict[str, list[float]] = {}
    for seed in seeds:
        x, truth, kind, asked, said, _ = long_tailed(n, per_style, seed)
        noisy = symmetric(truth, 10, 0.02, seed=seed)
        fitted = Memorization(NEAREST, n_models=t, random_state=seed).fit(x, noisy.labels, test=(asked, said))
        told = fitted.evidence()
        rare = (np.bincount(kind)[kind] <= 2) & ~noisy.wrong
        wrong = noisy.wrong & (np.bincount(kind)[kind] > 2)
        those = told["memorised"] & (rare | wrong)
        for name, chosen in (("rare", rare), ("flipped", wrong)):
            mine = told["memorised"] & chosen
            values.setdefault(f"share of memorised {name} rows that help a test row", []).append(
                float(np.mean(told["helps"][mine] > 0))
            )
        for name in ("helps", "suspect"):
            score = told[name] if name == "helps" else 1 - told[name]
            values.setdefault(f"AUROC of {name}, rare against flipped among the memorised", []).append(
                roc_auc_score(rare[those], score[those])
            )
    yield from averaged(made, f"{n} digits in 160 styles, 2 % flipped, nearest neighbour, {t} models", values)


def said_by(network: Any, x: Array) -> Array:
    """Codes (n,) that a network says."""
    with torch.no_grad():
        return np.asarray(network(torch.from_numpy(x.astype(np.float32))).argmax(1).numpy())


def forgetting(full: bool, seeds: range, made: Made) -> Iterator[ResultRow]:
    n, per_style, epochs = (1500, 20, 40) if full else (300, 4, 2)
    drops: dict[str, dict[str, list[float]]] = {}
    for seed in seeds:
        x, y, kind, asked, truth, asked_kind = long_tailed(n, per_style, seed)
        data = Data(x, y, 10)
        make = partial(mlp, (64,), 10, hidden=(128,), norm=False)
        network = fit(Objective(), make, data, Recipe(epochs=epochs, lr=0.05, weight_decay=0.0, seed=seed)).model
        models = {f"{share:.0%} pruned": pruned(network, share) for share in (0.6, 0.8)}
        models |= {f"{bits} bits": quantised(network, bits) for bits in (4, 3)}
        for epsilon in (8.0, 3.0, 1.0):
            torch.manual_seed(seed)
            private = make()
            recipe = Recipe(epochs=epochs, batch_size=150, lr=0.5, momentum=0.9, seed=seed)
            fit_private(private, data, recipe, epsilon=epsilon, delta=DELTA)
            models[f"private, epsilon {epsilon:g}"] = private
        before, fitted = said_by(network, asked) == truth, said_by(network, x) == y
        times = np.bincount(kind, minlength=160)[asked_kind]
        seen = times > 0
        group = np.digitize(times[seen], [3, 21])
        needs_memory = nearest_neighbour(x, y) >= MEMORISED
        for name in models:
            told = said_by(models[name], asked) == truth
            cost = tail_cost(group, before[seen], told[seen])
            found = {f"{which}: accuracy before": float(cost["before"][at]) for at, which in enumerate(GROUPS)}
            found |= {f"{which}: drop": float(cost["drop"][at]) for at, which in enumerate(GROUPS)}
            found["drop, seen once or twice less more than 20 times"] = float(cost["drop"][0] - cost["drop"][2])
            lost = fitted & (said_by(models[name], x) != y)
            found["training rows that need memory: forgotten"] = float(lost[needs_memory & fitted].mean())
            found["other training rows: forgotten"] = float(lost[~needs_memory & fitted].mean())
            found["forgotten, rows that need memory less others"] = (
                found["training rows that need memory: forgotten"] - found["other training rows: forgotten"]
            )
            for metric, value in found.items():
                drops.setdefault(name, {}).setdefault(metric, []).append(value)
    for name, values in drops.items():
        yield from averaged(made, f"{n} digits in 160 styles, perceptron, {len(seeds)} seeds: {name}", values)


def theory(_full: bool, _seeds: range, made: Made) -> Iterator[ResultRow]:
    n = 50_000
    for name, prior in (("Zipf, 50,000", zipf(n)), ("Zipf, 200,000", zipf(4 * n)), ("500 equal", np.ones(500))):
        value, share = tau(prior, n, 1)
        case = f"{name} subpopulations, {n} rows"
        yield made(case, "rows that are the only one of their kind", share * len(prior) / n)
        yield made(case, "price of not fitting them", value * share * len(prior))


PARTS = {"rare": rare_or_wrong, "forgetting": forgetting, "digits": digits, "theory": theory, "counting": counting}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part; the others' results are kept")
    chosen = parser.parse_args()
    path, seeds = RESULTS / "audit" / "memorization.json", range(5 if chosen.scale == "full" else 2)
    for part in chosen.part or PARTS:
        command = f"{COMMAND} --scale {chosen.scale} --part {part}"
        made = partial(ResultRow, unit="share", command=command, seeds=tuple(seeds), versions=VERSIONS)
        rows = [show(row) for row in PARTS[part](chosen.scale == "full", seeds, made)]
        kept = read_results(path) if path.exists() else []
        write_results(path, [*(row for row in kept if f"--part {part}" not in row.command), *rows])


if __name__ == "__main__":
    main()

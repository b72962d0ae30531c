"""ERASE beside a plain graph network and label passing, on Cora and digits; cost beside cross-entropy; scaling."""

import argparse
import os
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from assay.evidence.results import ResultRow, versions_of, write_results
from assay.learn.erase import ERASE, pass_along
from assay.training.deep import Tensor, torch
from assay.training.deep.batches import Batch, Data
from assay.training.deep.graphs import Adjacency, GraphNetwork
from assay.training.deep.loop import fit
from assay.training.deep.objective import Objective
from assay.training.deep.protocol import interval
from assay.training.deep.recipe import Recipe
from assay.training.deep.targets import cross_entropy, one_hot
from assay.training.noise import pair, symmetric
from bench.data import RESULTS, shared
from bench.learn.noisy_digits import NAMES, show

COMMAND = "python -m bench.learn.erase"
VERSIONS = versions_of("torch", "scikit-learn")
RECIPE = Recipe(epochs=100, optimizer="adam", lr=0.01, weight_decay=5e-4)

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Nodes with known classes; ids of those whose labels are trained on, validated on (noisy too) and tested on."""

    name: str
    x: npt.NDArray[Any]
    truth: Ints
    edges: Ints
    train: Ints
    validation: Ints
    test: Ints

    @property
    def homophily(self) -> float:
        return float((self.truth[self.edges[0]] == self.truth[self.edges[1]]).mean())


def cora() -> Graph:
    """2708 papers, 7 fields, the split of Planetoid: 140, 500 and 1000 nodes."""
    held = {}
    for name in ("allx", "ally", "tx", "ty", "graph"):
        with shared(f"planetoid/cora/ind.cora.{name}").open("rb") as file:
            held[name] = pickle.load(file, encoding="latin1")
    test = np.loadtxt(shared("planetoid/cora/ind.cora.test.index"), dtype=np.int64)
    x = np.concatenate([held["allx"].toarray(), np.zeros(held["tx"].shape)])
    truth = np.concatenate([held["ally"].argmax(1), np.zeros(len(test), dtype=np.int64)])
    x[test], truth[test] = held["tx"].toarray(), held["ty"].argmax(1)
    x /= np.maximum(x.sum(1, keepdims=True), 1)
    edges = np.array([(a, b) for a, found in held["graph"].items() for b in found]).T
    return Graph("Cora", x, truth, edges, np.arange(140), np.arange(140, 640), test)


def digits(seed: int = 0, blur: float = 0.22) -> Graph:
    """Digits with noise on their pixels, joined to their five nearest; 20 labels a class, 300 nodes to validate on."""
    pixels, truth = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    x = pixels / 16 + rng.normal(0, blur, pixels.shape)
    edges = np.stack(NearestNeighbors(n_neighbors=5).fit(x).kneighbors_graph().nonzero()).astype(np.int64)
    order = rng.permutation(len(truth))
    train = np.concatenate([order[truth[order] == c][:20] for c in range(10)])
    rest = order[~np.isin(order, train)]
    return Graph(f"digits, pixel noise {blur}", x, truth, edges, train, rest[:300], rest[300:])


class PassedAlong(Objective):
    """Cross-entropy to labels that were passed along the edges once, before the training."""

    needs_unlabelled = True

    def __init__(self, edges: Tensor) -> None:
        super().__init__()
        self.edges = edges

    def begin(self, n_rows: int, n_classes: int, data: Data | None = None, model: Any = None) -> None:
        super().begin(n_rows, n_classes, data, model)
        assert data is not None
        assert data.labelled is not None
        adjacency = Adjacency(self.edges, n_rows, scale="column", self_loops=False)
        given = one_hot(data.targets, n_classes) * data.labelled[:, None]
        self.keep("passed", pass_along(given, adjacency, 0.6, 5))

    def forward(self, batch: Batch, model: Any) -> Tensor:
        rows = batch.rows[self.passed[batch.rows].sum(1) > 0]
        losses = cross_entropy(model(rows), self.passed[rows].argmax(1))
        own = cross_entropy(model(rows), batch.targets[batch.rows.argsort()][rows]).detach()
        self.remember(rows, own)
        return losses.mean()


@dataclass(frozen=True, slots=True)
class GraphOutcome:
    """How one training went: accuracies on clean test nodes, and what became of the wrong labels."""

    last: float
    best: float
    memorised: float
    suspect_auc: float
    semantic: float  # share of the training labels that are right once mended; nan for methods that mend none


def outcomes(
    graph: Graph,
    noise: float,
    seeds: Sequence[int],
    names: Sequence[str],
    flip: Callable[..., Any] = symmetric,
    recipe: Recipe = RECIPE,
) -> dict[str, list[GraphOutcome]]:
    """Train once a seed and method, on labels made wrong by the seed."""
    n, k = len(graph.truth), int(graph.truth.max()) + 1
    edges, x = torch.from_numpy(graph.edges), torch.from_numpy(graph.x)
    adjacency = Adjacency(edges, n)
    scaled = (x - x.mean(0)) / x.std()  # as ERASEClassifier does; a plain network is better without (on Cora by far)
    plain = (lambda: GraphNetwork(x, adjacency, k), Objective)
    makes: dict[str, tuple[Callable[[], GraphNetwork], Callable[[], Objective]]] = {
        "graph network": plain,
        "graph network on passed labels": (plain[0], lambda: PassedAlong(edges)),
        "ERASE": (lambda: GraphNetwork(scaled, adjacency, 64), lambda: ERASE(edges)),
        "ERASE without prototypes": (
            lambda: GraphNetwork(scaled, adjacency, 64),
            lambda: ERASE(edges, label_weight=1.0),
        ),
    }
    found: dict[str, list[GraphOutcome]] = {name: [] for name in names}
    nodes, train = torch.arange(n), graph.train
    for seed in seeds:
        given = flip(graph.truth, k, noise, seed=seed).labels
        labelled, held = np.isin(np.arange(n), train), np.isin(np.arange(n), graph.validation)
        data, validation = (Data(nodes, given, k, labelled=mask) for mask in (labelled, held))
        wrong = given[train] != graph.truth[train]
        for name in names:
            network, objective = makes[name][0], makes[name][1]()
            run = fit(objective, network, data, replace(recipe, seed=seed, batch_size=n), validation=validation)
            last = run.logits(nodes, batch_size=n).argmax(1).numpy()
            told = objective.evidence(data.targets)
            suspect = told["suspect"][train]
            best = run.use("best").logits(nodes, batch_size=n).argmax(1).numpy()
            found[name].append(
                GraphOutcome(
                    last=float((last == graph.truth)[graph.test].mean()),
                    best=float((best == graph.truth)[graph.test].mean()),
                    memorised=float((last == given)[train][wrong].mean()) if wrong.any() else 0.0,
                    suspect_auc=float(roc_auc_score(wrong, suspect)) if wrong.any() else float("nan"),
                    semantic=float((told["suggested"] == graph.truth)[train].mean()) if "suggested" in told else np.nan,
                )
            )
            print(graph.name, noise, name, seed, found[name][-1], flush=True)
    return found


def table(
    graph: Callable[[int], Graph], noise: float, kind: str, seeds: range, names: Sequence[str]
) -> Iterator[ResultRow]:
    """One row a method and metric, and the paired gain of ERASE in the last epoch; `graph(seed)` is the data."""
    kinds: dict[str, Callable[..., Any]] = {"symmetric": symmetric, "pair": pair}
    parts = [outcomes(graph(seed), noise, [seed], names, kinds[kind]) for seed in seeds]
    found = {name: [part[name][0] for part in parts] for name in names}
    shown = graph(0)
    where = f"{shown.name}, homophily {shown.homophily:.2f}, {noise:.0%} {kind} noise, {len(seeds)} seeds"
    common: dict[str, Any] = {"command": COMMAND, "seeds": tuple(seeds), "versions": VERSIONS, "deployable": False}
    for name, metric in ((name, metric) for name in names for metric in GraphOutcome.__slots__):
        values = [getattr(outcome, metric) for outcome in found[name]]
        if np.isfinite(values).all() and (noise > 0 or metric not in {"memorised", "semantic"}):
            told = interval(values)
            words = NAMES.get(metric, "training labels that are right once mended")
            yield ResultRow(f"{where}: {name}", words, told["mean"], "share", interval=_ends(told), **common)
    for rival in names[:-1] if names[-1] == "ERASE" else ():
        gain = interval([a.last - b.last for a, b in zip(found["ERASE"], found[rival], strict=True)])
        words = f"accuracy in the last epoch above {rival}, paired"
        yield ResultRow(f"{where}: ERASE", words, gain["mean"], "share", interval=_ends(gain), **common)


def _ends(told: dict[str, float]) -> tuple[float, float]:
    return told["low"], told["high"]


def step_seconds(objective: Objective, model: GraphNetwork, batch: Batch, n: int) -> float:
    """CPU seconds of a whole step, mean of n."""
    optimizer = torch.optim.Adam([*model.parameters(), *objective.parameters()], 0.01)
    start = time.process_time()
    for _ in range(n):
        loss = objective(batch, model)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (time.process_time() - start) / n


def cost(graph: Graph) -> Iterator[ResultRow]:
    """A step of ERASE, alternating with one of cross-entropy."""
    n, k = len(graph.truth), int(graph.truth.max()) + 1
    edges, x = torch.from_numpy(graph.edges), torch.from_numpy(graph.x)
    adjacency = Adjacency(edges, n)
    data = Data(torch.arange(n), graph.truth, k, labelled=np.isin(np.arange(n), graph.train))
    some = torch.from_numpy(graph.train)
    whole = Batch(data.inputs, data.targets, torch.arange(n))
    steps = [
        (ERASE(edges), GraphNetwork(x, adjacency, 64), whole),
        (Objective(), GraphNetwork(x, adjacency, k), Batch(some, data.targets[some], some)),
    ]
    best = [np.inf, np.inf]
    for round_ in range(5):
        for which, (objective, model, batch) in enumerate(steps):
            if round_ == 0:
                objective.begin(n, k, data, model)
            best[which] = min(best[which], step_seconds(objective, model, batch, 5))
    yield ResultRow(
        graph.name,
        "a step of ERASE",
        best[0] * 1e3,
        "cpu ms",
        COMMAND,
        rival=best[1] * 1e3,
        rival_name="a step of cross-entropy",
        versions=VERSIONS,
    )


def _peak() -> float:
    """Most megabytes that this process has held; `ru_maxrss` would count the parent's, before the program began."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e3


def _scaled(n: int, queue: Any) -> None:
    """CPU seconds of a step, and megabytes that the process gains, with n nodes and 5 n edges."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(n, (2, 5 * n), generator=generator)
    before = _peak()
    x = torch.randn(n, 64, generator=generator)
    data = Data(torch.arange(n), torch.arange(n) % 10, 10, labelled=torch.arange(n) % 10 == 0)
    model, objective = GraphNetwork(x, Adjacency(edges, n), 64), ERASE(edges)
    objective.begin(n, 10, data, model)
    batch = Batch(data.inputs, data.targets, torch.arange(n))
    step_seconds(objective, model, batch, 1)
    seconds = step_seconds(objective, model, batch, max(1, min(20, 100_000 // n)))
    queue.put((seconds, _peak() - before))


def scaling(sizes: Sequence[int]) -> Iterator[ResultRow]:
    """Each size in a process of its own."""
    context = get_context("spawn")
    for n in sizes:
        queue = context.Queue()
        child = context.Process(target=_scaled, args=(n, queue))
        child.start()
        seconds, megabytes = queue.get()
        child.join()
        case = f"random graph, {n} nodes, {5 * n} edges, 64 features, 10 classes"
        yield ResultRow(case, "a step of ERASE", seconds, "cpu s", COMMAND, versions=VERSIONS)
        yield ResultRow(case, "peak of resident memory", megabytes, "MB", COMMAND, versions=VERSIONS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    small = parser.parse_args().scale == "small"
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    citations, seeds = cora(), range(2 if small else 5)
    three = ("graph network", "graph network on passed labels", "ERASE")
    made = [show(row) for row in cost(citations)]
    made += [show(row) for row in scaling([1000, 10_000] if small else [1000, 10_000, 100_000, 1_000_000])]
    made += [show(row) for row in table(digits, 0.5, "symmetric", seeds, ("ERASE without prototypes", *three))]
    if not small:
        for noise, kind in ((0.0, "symmetric"), (0.3, "symmetric"), (0.3, "pair")):
            made += [show(row) for row in table(digits, noise, kind, seeds, three)]
        made += [show(row) for row in table(lambda seed: digits(seed, 0.45), 0.3, "symmetric", seeds, three)]
        for noise in (0.3, 0.5):
            made += [show(row) for row in table(lambda _: citations, noise, "symmetric", seeds, three)]
    write_results(RESULTS / "learn" / "erase.json", made)


if __name__ == "__main__":
    main()

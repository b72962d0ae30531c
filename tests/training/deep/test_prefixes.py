"""Widths, prefixes and small losses, against loops, closed forms and principal components."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from assay.errors import InputError
from assay.training.deep.backbones import mlp
from assay.training.deep.batches import Batch
from assay.training.deep.prefixes import best_width, prefix, prefix_logits, width_chances
from assay.training.deep.small_loss import checked_rate, keep_rate, mean_over, small_losses
from assay.training.deep.targets import cross_entropy


@pytest.mark.parametrize(("sigma", "mean"), [(10.0, 5.97), (100.0, 56.7)])
def test_widths_are_as_wide_as_the_card_says(sigma, mean):
    chances = width_chances(512, sigma)
    k = torch.arange(1, 513)
    assert float(chances.sum()) == pytest.approx(1)
    assert float((chances * k).sum()) == pytest.approx(mean, rel=2e-3)
    assert float(chances[k > 2 * sigma].sum()) == pytest.approx(math.erfc(2), rel=0.25)  # .4 %
    by_loop = [math.exp(-((i / sigma) ** 2)) for i in range(1, 513)]
    np.testing.assert_allclose(chances, np.array(by_loop) / sum(by_loop), rtol=1e-12)


def test_a_prefix_keeps_the_first_and_scales_nothing():
    z = torch.randn(3, 5)
    for width in range(1, 5):
        assert torch.equal(prefix(z, width)[:, :width], z[:, :width])
        assert (prefix(z, width)[:, width:] == 0).all()
        assert torch.equal(prefix(prefix(z, width), width + 1), prefix(z, width))  # prefixes are nested
    assert torch.equal(prefix(z, 5), z)
    assert torch.equal(prefix(z, 99), z)


@pytest.mark.parametrize("bias", [True, False])
def test_running_sums_are_the_masked_forward_passes(bias):
    torch.manual_seed(0)
    network = mlp((6,), 4, hidden=(9,), norm=False, bias=bias).double()
    z = network.features(torch.randn(5, 6, dtype=torch.float64))
    every = prefix_logits(z, network.head)
    assert every.shape == (5, 9, 4)
    for width in range(1, 10):
        torch.testing.assert_close(every[:, width - 1], network.head(prefix(z, width)))


def test_drawn_widths_have_the_gradient_of_their_expectation():
    """The mean over draws tends to the exact gradient; of a linear loss, feature j has the weight P(k >= j)."""
    torch.manual_seed(0)
    chances = width_chances(6, 3.0)
    head = torch.nn.Linear(6, 3, bias=False).double()
    z, y = torch.randn(4, 6, dtype=torch.float64), torch.tensor([0, 2, 1, 1])
    each = []
    for width in range(1, 7):
        (slope,) = torch.autograd.grad(cross_entropy(head(prefix(z, width)), y).mean(), head.weight)
        each.append(slope)
    every = prefix_logits(z, head)
    losses = torch.stack([cross_entropy(every[:, k], y).mean() for k in range(6)])
    (exact,) = torch.autograd.grad((chances * losses).sum(), head.weight)
    torch.testing.assert_close((chances[:, None, None] * torch.stack(each)).sum(0), exact)
    drawn = torch.multinomial(chances, 40_000, replacement=True, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(torch.stack(each)[drawn].mean(0), exact, atol=6e-3, rtol=0)
    free = torch.ones(1, 6, dtype=torch.float64, requires_grad=True)
    (chances * torch.stack([prefix(free, k).sum() for k in range(1, 7)])).sum().backward()
    torch.testing.assert_close(free.grad[0], chances.flip(0).cumsum(0).flip(0))  # P(k >= j)


def test_a_linear_encoder_finds_the_principal_components_in_their_order():
    x = load_digits().data / 16
    x = torch.tensor(x - x.mean(0))
    torch.manual_seed(0)
    encode, decode = (
        torch.randn(*shape, dtype=torch.float64).mul(0.1).requires_grad_() for shape in ((64, 6), (6, 64))
    )
    chances = width_chances(6, 6.0)
    # The expected loss in closed form: with S = x'x / n, E|x - x A P_k B|^2 for each prefix P_k.
    covariance = x.T @ x / len(x)
    optimizer = torch.optim.Adam([encode, decode], 0.03)
    for step in range(600):
        optimizer.param_groups[0]["lr"] = 0.03 * (1 - step / 600)
        maps = torch.stack([prefix(encode, k) @ decode for k in range(1, 7)])
        gap = torch.eye(64, dtype=torch.float64) - maps
        errors = torch.einsum("kij,il,klj->k", gap, covariance, gap)
        optimizer.zero_grad()
        (chances * errors).sum().backward()
        optimizer.step()
    pca = PCA(6).fit(x.numpy())
    rows = torch.nn.functional.normalize(decode.detach(), dim=1).numpy()
    assert np.abs((rows * pca.components_).sum(1)).min() > 0.999
    left = np.trace(covariance.numpy()) - np.cumsum(pca.explained_variance_) * (len(x) - 1) / len(x)
    np.testing.assert_allclose(errors.detach(), left, rtol=1e-3)


def test_the_width_is_the_least_that_is_best():
    assert best_width(torch.full((7,), 0.5))[0] == 1
    assert best_width(torch.tensor([0.2, 0.8, 0.8, 0.8])) == (2, pytest.approx(0.8 - 1e-5))
    assert best_width(torch.tensor([0.8, 0.8 + 5e-6, 0.8]))[0] == 1  # not worth a feature
    assert best_width(torch.tensor([0.8, 0.8 + 5e-5, 0.8]))[0] == 2


def test_the_share_that_is_kept():
    assert [keep_rate(t, 0.4, 4) for t in range(6)] == pytest.approx([1, 0.9, 0.8, 0.7, 0.6, 0.6])
    assert keep_rate(0, 0.4) == pytest.approx(0.6)
    for noise_rate in (-0.1, 1.0, float("nan")):
        with pytest.raises(InputError, match="share of wrong labels"):
            checked_rate(noise_rate)


def test_small_losses_by_sorting():
    rng = np.random.default_rng(0)
    for m in (1, 2, 5, 10, 33):
        losses = rng.integers(0, 6, m).astype(float)  # ties
        for tau in (0.0, 0.1, 0.3, 0.4, 0.9, 0.99):
            ranked = sorted(range(m), key=lambda i: (losses[i], i))
            kept = max(1, math.floor(round((1 - tau) * m, 6)))
            assert small_losses(torch.tensor(losses), 1 - tau).tolist() == ranked[:kept]
    assert small_losses(torch.zeros(0), 0.5).tolist() == []


def test_the_mean_over_some_rows_counts_weights():
    weights = torch.tensor([1.0, 0.5, 2.0, 0.5])
    batch = Batch(torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64), torch.arange(4), weights)
    at, losses = torch.tensor([2, 1]), torch.tensor([3.0, 4.0])
    assert float(mean_over(batch, at, losses)) == pytest.approx((3 * 2 + 4 * 0.5) / 2)
    assert float(mean_over(batch, at[:0], losses[:0])) == 0

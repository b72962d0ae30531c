"""Networks that forget: pruned and quantised by hand, private by the accountant and by what it can no longer learn."""

from functools import partial

import numpy as np
import pytest
import torch

from assay.errors import InputError
from assay.training.deep.backbones import mlp
from assay.training.deep.batches import Data
from assay.training.deep.forgetting import fit_private, pruned, quantised
from assay.training.deep.recipe import Recipe


def network():
    torch.manual_seed(0)
    return mlp((6,), 3, hidden=(8,), norm=False)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_the_smallest_weights_of_all_layers_go(share):
    before, after = network(), pruned(network(), share)
    old = np.concatenate([p.detach().numpy().ravel() for p in before.parameters() if p.ndim > 1])
    new = np.concatenate([p.detach().numpy().ravel() for p in after.parameters() if p.ndim > 1])
    assert (new == 0).sum() == round(share * len(old))
    assert (new[new != 0] == old[new != 0]).all()
    assert np.abs(old[new == 0]).max(initial=0) <= np.abs(new[new != 0]).min()
    biases = [(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True) if a.ndim == 1]
    assert all(torch.equal(a, b) for a, b in biases)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_few_bits_by_loop(bits):
    before, after = network(), quantised(network(), bits)
    for old, new in zip(before.parameters(), after.parameters(), strict=True):
        if old.ndim == 1:
            assert torch.equal(old, new)
            continue
        for a, b in zip(old.tolist(), new.tolist(), strict=True):
            step = max(map(abs, a)) / (2 ** (bits - 1) - 1)
            assert b == pytest.approx([round(x / step) * step for x in a], abs=1e-6)
            assert len({round(x / step) for x in b}) <= 2**bits - 1


def test_many_bits_change_nothing_and_the_original_is_kept():
    original = network()
    x = torch.randn(20, 6)
    torch.testing.assert_close(quantised(original, 20)(x), original(x), atol=1e-4, rtol=1e-4)
    pruned(original, 0.9)
    torch.testing.assert_close(original(x), network()(x))


def test_private_training_spends_its_budget_and_cannot_learn_one_row():
    """With a large budget it learns what many rows say; with a small one its weights hardly tell."""
    pytest.importorskip("opacus")
    torch.manual_seed(0)
    x = torch.randn(300, 6)
    data = Data(x, (x[:, 0] > 0).long(), 3)
    recipe, right = Recipe(epochs=6, batch_size=60, lr=0.5, momentum=0.0), {}
    for epsilon in (0.05, 8.0):
        private = network()
        spent = fit_private(private, data, recipe, epsilon=epsilon)
        assert 0.8 * epsilon <= spent <= 1.01 * epsilon
        right[epsilon] = float((private(x).argmax(1) == data.targets).double().mean())
    assert right[8.0] > 0.85 > right[0.05]
    again = network()
    fit_private(again, data, recipe, epsilon=8.0)
    torch.testing.assert_close(again(x), private(x))  # the seed decides


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: pruned(network(), 1.0), "within 0..1"),
        (lambda: quantised(network(), 1), "at least 2 bits"),
        (partial(fit_private, network(), None, Recipe(), epsilon=0.0), "above 0"),
        (partial(fit_private, mlp((6,), 3), None, Recipe(), epsilon=1.0), "mixes rows"),
    ],
)
def test_bad_input_teaches(call, says):
    with pytest.raises(InputError, match=says):
        call()

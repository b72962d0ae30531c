"""The global branch of convolutions: nothing at weight 0, by hand, and what is left as it was."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from assay.errors import InputError
from assay.training.deep.backbones import small_cnn
from assay.training.deep.local_global import START, Converted, LocalGlobal, add_local_global, gather
from assay.training.deep.resnets import preact_resnet


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("options", [{"padding": 1}, {"padding": 2, "dilation": 2, "bias": False}])
def test_at_weight_zero_it_is_the_convolution(stride, options):
    conv = nn.Conv2d(16, 24, 3, stride=stride, **options)
    both = LocalGlobal(conv)
    nn.init.zeros_(both.norm.weight)
    for side in (7, 8):
        x = torch.randn(2, 16, side, side)
        assert torch.equal(both(x), conv(x))


def test_it_starts_almost_as_it_was():
    model = preact_resnet((3, 16, 16), 5, width=8, blocks=(1, 1)).eval()
    x, before = torch.randn(4, 3, 16, 16), copy.deepcopy(model)
    assert add_local_global(model).converted == 4
    torch.testing.assert_close(model.eval()(x), before(x), atol=100 * START, rtol=0)
    assert not torch.equal(model(x), before(x))


def test_attention_on_one_pixel_gathers_that_pixel():
    values = torch.randn(3, 16, 10)
    attention = torch.zeros(3, 8, 10)
    at = torch.randint(10, (3, 8))
    attention.scatter_(2, at[:, :, None], 1.0)
    found = gather(attention, values)
    for b in range(3):
        for h in range(8):
            assert torch.equal(found[b, h], values[b, 2 * h : 2 * h + 2, at[b, h]])


def test_the_branch_in_a_loop():
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 5, 3, stride=2, padding=1).double()
    both = LocalGlobal(conv, heads=4).eval()
    nn.init.normal_(both.norm.weight)
    x = torch.randn(1, 8, 4, 4, dtype=torch.float64)

    def by_pixel(layer, pixels):  # a convolution of one pixel is a matrix
        bias = 0 if layer.bias is None else layer.bias
        return pixels @ layer.weight[:, :, 0, 0].T + bias

    pixels = x[0].flatten(1).T  # (16, 8)
    near = by_pixel(both.reduce, pixels).relu()
    u = torch.cat([near, near.mean(0).expand(16, -1)], 1)
    attention, gate, v = (
        by_pixel(both.attend, u).softmax(0),
        by_pixel(both.gate, u).sigmoid(),
        by_pixel(both.values, pixels),
    )
    given = pixels.clone()
    for p in range(16):
        for c in range(8):
            given[p, c] += gate[p, c // 2] * (attention[:, c // 2] * v[:, c]).sum()
    out = by_pixel(both.project, given).view(4, 4, 5)[::2, ::2].permute(2, 0, 1)[None]
    torch.testing.assert_close(both(x), conv(x) + both.norm(out))


def test_what_does_not_fit_is_left_and_counted():
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.Conv2d(16, 16, 3),
        nn.Conv2d(16, 16, 5, padding=2),
        nn.Sequential(nn.Conv2d(16, 8, 3, padding="same")),
    ).half()
    plain = copy.deepcopy(model)
    assert add_local_global(model) == Converted(1, {"channels": 1, "grouped": 1, "size": 1})
    assert [type(part) for part in model[:4]] == [type(part) for part in plain[:4]]
    assert isinstance(model[4][0], LocalGlobal)
    assert {p.dtype for p in model.parameters()} == {torch.float16}
    assert add_local_global(model).converted == 0  # a second call adds nothing
    with pytest.raises(InputError, match="heads"):
        add_local_global(model, heads=0)


def test_gradients_reach_the_branch_and_the_state_is_kept():
    model = small_cnn((1, 8, 8), 3, width=8)
    add_local_global(model)
    model(torch.randn(4, 1, 8, 8)).sum().backward()
    assert all(np.isfinite(p.grad.numpy()).all() for p in model.parameters())
    again = small_cnn((1, 8, 8), 3, width=8)
    add_local_global(again)
    again.load_state_dict(model.state_dict())
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(again.eval()(x), model.eval()(x))

"""Hooks against transformers' own hidden states, parts against their sum, scaling against all rows at once."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from tests.language.families import FAMILIES

from assay.errors import InputError
from assay.language.hidden_states import Standardise, layer_states
from assay.language.models import LanguageModel, tiny_language_model

NORMS = {"GPT2": "ln_f", "GPTNeoX": "final_layer_norm"}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("side", ["left", "right"])
def test_equals_output_hidden_states(family: str, side: str):
    lm = FAMILIES[family]()
    texts = [lm.encode("Hello there"), lm.encode("Hi")]
    ids, mask = torch.zeros(2, 11, dtype=torch.int64), torch.zeros(2, 11, dtype=torch.int64)
    for row, text in enumerate(texts):
        where = slice(11 - len(text), None) if side == "left" else slice(0, len(text))
        ids[row, where], mask[row, where] = torch.tensor(text), 1
    ours = layer_states(lm, ids, mask)
    for row, text in enumerate(texts):  # alone and unpadded
        with torch.no_grad():
            theirs = lm.model(torch.tensor([text]), output_hidden_states=True).hidden_states
        there = ours[:, row, mask[row].bool()]
        assert torch.allclose(there[:-1], torch.cat(theirs[:-1]), atol=1e-5)
        assert torch.allclose(getattr(lm.body, NORMS.get(family, "norm"))(there[-1]), theirs[-1][0], atol=1e-5)
    assert (ours[:, mask == 0] == 0).all()


def test_parts_sum_to_the_residual():
    """In a Llama: what attention and perceptron of a block add is the difference of the residuals about it."""
    lm = tiny_language_model()
    ids = torch.tensor([lm.encode("Some text")])
    residual = layer_states(lm, ids)
    added = layer_states(lm, ids, at="attention") + layer_states(lm, ids, at="mlp")
    assert torch.allclose(residual.diff(dim=0), added, atol=1e-5)


def test_chosen_layers_pooled_and_no_more_run():
    lm = tiny_language_model(layers=4)
    ids = torch.tensor([lm.encode("Some text")])
    every = layer_states(lm, ids)
    ran = []
    handles = [
        block.register_forward_hook(lambda *_, layer=layer: ran.append(layer))
        for layer, block in enumerate(lm.body.layers, 1)
    ]
    few = layer_states(lm, ids, layers=[2, 0], pool=lambda states: states.mean(-1))
    for handle in handles:
        handle.remove()
    assert torch.equal(few, every[[2, 0]].mean(-1))
    assert ran == [1, 2]
    assert not every.requires_grad
    before = lm.model(ids).logits
    assert torch.isfinite(before).all()
    assert all(not block._forward_hooks for block in lm.body.layers), "no hook stays behind"


def test_on_a_real_model(smollm2: LanguageModel):
    ids = torch.tensor([smollm2.encode("The capital of France is")])
    ours = layer_states(smollm2, ids, layers=[0, 15, 30])
    with torch.inference_mode():
        theirs = smollm2.model(ids, output_hidden_states=True).hidden_states
        assert torch.equal(ours[0], theirs[0])
        assert torch.allclose(ours[1], theirs[15], atol=1e-4)
        assert torch.allclose(smollm2.body.norm(ours[2]), theirs[30], atol=1e-3)


def test_standardise_by_batches_equals_all_at_once():
    torch.manual_seed(0)
    states = torch.randn(3, 10, 7, 4) * torch.arange(1, 5) + torch.arange(3)[:, None, None, None] * 100
    states[:, :, :, 3] = 5.0  # a constant
    mask = torch.rand(10, 7) < 0.7
    whole, parts = Standardise().fit(states, mask), Standardise()
    for rows in (slice(6, 10), slice(0, 1), slice(1, 6)):
        parts.partial_fit(states[:, rows], mask[rows])
    counted = states[:, mask].double()
    assert torch.allclose(whole.mean_, counted.mean(1))
    assert torch.allclose(parts.mean_, whole.mean_)
    assert torch.allclose(parts.scale_, whole.scale_)
    assert parts.n_seen_ == whole.n_seen_ == int(mask.sum())
    scaled = whole.transform(states)[:, mask]
    assert scaled.dtype == states.dtype
    assert torch.allclose(scaled.mean(1), torch.zeros(3, 4), atol=1e-5)
    assert torch.allclose(scaled.std(1, correction=0)[:, :3], torch.ones(3, 3), atol=1e-5)
    assert (scaled[..., 3] == 0).all()


def test_test_rows_change_nothing():
    states = torch.randn(2, 4, 3, 5)
    scaler = Standardise().fit(states)
    first = scaler.transform(states)
    scaler.transform(states * 100)
    assert torch.equal(scaler.transform(states), first)
    with pytest.raises(InputError, match="no rows can be added"):
        scaler.partial_fit(states)
    assert torch.equal(scaler.fit(states).transform(states), first)


def test_bad_input_is_named():
    lm = tiny_language_model()
    ids = torch.tensor([lm.encode("abc")])
    for options, message in (
        ({"layers": [3]}, "Layer 3 of tiny: residual has 0 to 2"),
        ({"layers": []}, "residual has 0 to 2"),
        ({"layers": [0], "at": "mlp"}, "mlp has 1 to 2"),
        ({"at": "nowhere"}, "expected 'residual'"),
        ({"mask": torch.ones(1, 2)}, "mask alike"),
    ):
        with pytest.raises(InputError, match=message):
            layer_states(lm, ids, **options)
    for bad in (torch.tensor([[128]]), torch.zeros(1, 513, dtype=torch.int64)):
        with pytest.raises(InputError, match="up to 512 ids from 0 to 127"):
            layer_states(lm, bad)
    with pytest.raises(InputError, match="fit on training rows first"):
        Standardise().transform(torch.zeros(1, 1, 1, 1))
    with pytest.raises(InputError, match="finite"):
        Standardise().fit(torch.full((1, 1, 1, 1), float("nan")))

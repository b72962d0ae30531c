"""Masks of tokens: by hand, at their limits, and alive."""

import warnings

import pytest
import torch

from assay.errors import InputError
from assay.language.models import tiny_language_model
from assay.language.policy import adapted
from assay.language.token_masks import KINDS, TokenMask, mapo_mask, min_max, recorded

ANSWER = torch.tensor([[0, 1, 1, 1, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 1, 1, 1, 1]])


def test_stretched_by_hand():
    values = torch.tensor([[9.0, 2, 4, 3, -9], [5, 7, 0, 0, 0], [1, 1, 8, 1, 1], [0, 3, 3, 3, 3]])
    expected = torch.tensor([[0, 0, 1, 0.5, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 1, 1, 1, 1]])
    torch.testing.assert_close(min_max(values, ANSWER), expected)


def test_a_shift_and_a_scale_change_nothing():
    """So the paper's standardising first does nothing."""
    values = torch.randn(4, 5, dtype=torch.float64)
    torch.testing.assert_close(min_max(3.0 * values + 8, ANSWER), min_max(values, ANSWER), atol=1e-12, rtol=0)
    assert torch.isfinite(min_max(torch.full((4, 5), 1e-3), ANSWER)).all()


def test_kinds_count_equally_however_many_tensors_they_have():
    a, b, c = (torch.randn(4, 5) for _ in range(3))
    stretched = [min_max(each, ANSWER) for each in (a, b, c)]
    expected = ((stretched[0] + stretched[1]) / 2 + stretched[2]) / 2
    torch.testing.assert_close(mapo_mask({"mlp": [a, b], "logits": [c], "attention": []}, ANSWER), expected)
    with pytest.raises(InputError, match="No activation"):
        mapo_mask({"mlp": []}, ANSWER)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_hooks_find_their_places_in_any_model(family):
    import transformers

    config = transformers.AutoConfig.for_model(
        family, hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2, vocab_size=31,
        num_key_value_heads=2, n_embd=16, n_layer=3, n_head=2, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with recorded(model, KINDS) as found, torch.no_grad():
        said = model.base_model(torch.randint(0, 31, (2, 7)), output_hidden_states=True)
    count = {"llama": (3, 12), "gpt2": (3, 6), "gpt_neox": (3, 6)}[family]
    assert (len(found["mlp"]), len(found["attention"])) == count
    assert all(each.shape == (2, 7) for kind in found.values() for each in kind)
    told = [each.mean(-1) for each in (*said.hidden_states[1:-1], said.last_hidden_state)]
    for each in told:  # the layers, the last norm
        assert any(torch.allclose(each, mine, atol=1e-6) for mine in found["residual"])
    with torch.no_grad():
        model.base_model(torch.randint(0, 31, (2, 7)))
    assert len(found["mlp"]) == count[0]  # the hooks are gone


def test_all_four_kinds_of_the_reference_and_none_of_the_adapters():
    lm = tiny_language_model()
    policy, ids = adapted(lm.model, 2), torch.randint(4, 128, (2, 6))
    with torch.no_grad():
        for weight in policy.parameters():
            weight.normal_()
    read = policy.read(ids, torch.ones_like(ids), layers=True, kinds=KINDS)
    assert set(read.means) == set(KINDS)
    torch.testing.assert_close(read.means["logits"][0], lm.model(ids).logits.mean(-1), atol=1e-5, rtol=1e-4)
    assert len(read.layers) == 2
    torch.testing.assert_close(read.final, lm.model.base_model(ids).last_hidden_state)
    assert not torch.allclose(policy(ids, torch.ones_like(ids)), read.final)


def test_the_learned_mask_by_loop():
    torch.manual_seed(0)
    mask, states = TokenMask(3, 4, dropout=0.0), torch.randn(5, 3, 4)
    with torch.no_grad():
        mask.norm.weight.uniform_()
        mask.norm.bias.uniform_()
    for i, found in enumerate(mask(states).tolist()):
        total = 0.0
        for layer in range(3):
            x = states[i, layer]
            h = (x - x.mean()) / (x.var(unbiased=False) + 1e-5).sqrt() * mask.norm.weight + mask.norm.bias
            total += (mask.mixer[layer] * torch.relu(h @ mask.gates[layer] + mask.bias[layer])).item()
        assert found == pytest.approx(max(total, 0.0), abs=1e-5)


def test_every_beginning_is_alive_and_has_the_mean_one():
    """Plain beginnings are dead in some of a hundred cases; these never are."""
    states, dead = torch.randn(40, 2, 16), 0
    for seed in range(100):
        torch.manual_seed(seed)
        mask = TokenMask(2, 16)
        mask.start(states)
        assert float(mask.eval()(states).detach().mean()) == pytest.approx(1.0, abs=1e-4)
        with torch.no_grad():
            gates, mixer = torch.nn.Linear(16, 2), torch.nn.Linear(2, 1, bias=False)
            plain = torch.einsum("nlh,lh->nl", mask.norm(states), gates.weight) + gates.bias
            dead += bool((torch.relu(mixer(torch.relu(plain))) == 0).all())
    assert dead > 2


def test_a_dead_mask_begins_anew_or_says_so():
    mask, states = TokenMask(2, 4), torch.randn(10, 2, 4)
    with torch.no_grad():
        mask.bias.fill_(-100.0)
    mask.start(states)
    assert mask.eval()(states).sum() > 0
    with torch.no_grad():
        mask.bias.fill_(-100.0)
    mask.train()
    with pytest.warns(UserWarning, match="zero on a whole batch"):
        mask(states)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mask.eval()(states)
    assert (TokenMask(2, 4, clamp=0.01)(states) <= 0.01).all()


def test_dropout_only_while_training_and_no_gradient_into_the_states():
    states = torch.randn(50, 2, 8, requires_grad=True)
    mask = TokenMask(2, 8, dropout=0.5)
    assert not torch.equal(mask(states), mask(states))
    mask.eval()
    assert torch.equal(mask(states), mask(states))
    mask(states).sum().backward()
    assert states.grad is None
    assert mask.gates.grad.abs().sum() > 0

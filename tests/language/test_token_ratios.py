"""Blockwise log-probabilities and divergences against whole logits and autograd."""

import pytest
import torch

from assay.language import token_ratios as module
from assay.language.token_ratios import Head, head_of, token_ratios


def plainly(hidden, head, labels, reference, theirs):
    log_pi = head.logits(hidden).log_softmax(1)
    log_ref = theirs.logits(reference).log_softmax(1)
    at = labels[:, None]
    kl = (log_ref.exp() * (log_ref - log_pi)).sum(1)
    return log_pi.gather(1, at).squeeze(1), log_ref.gather(1, at).squeeze(1), kl


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize(("scale", "cap"), [(1.0, None), (0.5, None), (2.0, 1.5)])
@pytest.mark.parametrize("biased", [False, True])
def test_values_and_gradients_are_those_of_whole_logits(monkeypatch, trained, scale, cap, biased):
    monkeypatch.setattr(module, "ROWS", 4)  # several blocks, the last one shorter
    torch.manual_seed(0)
    n, h, v = 11, 5, 9
    weight = torch.randn(v, h, dtype=torch.float64, requires_grad=trained)
    bias = torch.randn(v, dtype=torch.float64, requires_grad=trained) if biased else None
    head = Head(weight, bias, scale, cap)
    theirs = Head(torch.randn(v, h, dtype=torch.float64), None, scale, cap)
    hidden = torch.randn(n, h, dtype=torch.float64, requires_grad=True)
    reference, labels = torch.randn(n, h, dtype=torch.float64), torch.randint(0, v, (n,))
    pull = torch.randn(2, n, dtype=torch.float64)
    leaves = [leaf for leaf in (hidden, weight, bias) if leaf is not None and leaf.requires_grad]
    gradients = []
    for compute in (token_ratios, plainly):
        log_pi, log_ref, kl = compute(hidden, head, labels, reference, theirs)
        total = (pull[0] * log_pi.tanh()).sum() + (pull[1] * kl.sqrt()).sum()
        gradients.append([log_pi, log_ref, kl, *torch.autograd.grad(total, leaves)])
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-10, rtol=1e-8)
    assert not token_ratios(hidden, head, labels, reference, theirs)[1].requires_grad


@pytest.mark.parametrize("trained", [False, True])
def test_without_a_reference_only_the_policy_counts(trained):
    hidden = torch.randn(6, 4, requires_grad=True)
    head, labels = Head(torch.randn(8, 4, requires_grad=trained)), torch.arange(6)
    log_pi, log_ref, kl = token_ratios(hidden, head, labels)
    expected = head.logits(hidden).log_softmax(1).gather(1, labels[:, None]).squeeze(1)
    torch.testing.assert_close(log_pi, expected)
    assert (log_ref == 0).all()
    assert (kl == 0).all()
    mine, other = (torch.autograd.grad(each.sum(), hidden)[0] for each in (log_pi, expected))
    torch.testing.assert_close(mine, other)


def test_finite_differences_of_the_divergence():
    head = Head(torch.randn(7, 3, dtype=torch.float64))
    reference, labels = torch.randn(4, 3, dtype=torch.float64), torch.tensor([0, 6, 2, 2])
    hidden = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: token_ratios(x, head, labels, reference)[::2], (hidden,))


def test_no_token_at_all():
    hidden = torch.zeros(0, 3, requires_grad=True)
    found = token_ratios(hidden, Head(torch.randn(5, 3)), torch.zeros(0, dtype=torch.long), torch.zeros(0, 3))
    assert [len(each) for each in found] == [0, 0, 0]


@pytest.mark.parametrize("family", ["llama", "gemma2", "granite", "gpt2", "cohere"])
def test_the_head_of_a_model_makes_its_logits(family):
    import transformers

    small = {
        "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 2, "vocab_size": 31, "head_dim": 8, "pad_token_id": 0,
    }  # fmt: skip
    name = {"gpt2": "GPT2"}.get(family, family.capitalize())
    extra = {"granite": {"logits_scaling": 4.0}, "gemma2": {"final_logit_softcapping": 2.0}}.get(family, {})
    if family == "gpt2":
        small = {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 31, "bos_token_id": 0, "eos_token_id": 0}
    config = getattr(transformers, f"{name}Config")(**small, **extra)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    ids = torch.randint(0, 31, (2, 6))
    with torch.no_grad():
        hidden = model.base_model(ids).last_hidden_state
        torch.testing.assert_close(head_of(model).logits(hidden.reshape(12, -1)), model(ids).logits.reshape(12, -1))

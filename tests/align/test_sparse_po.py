"""SparsePO by hand, at its limits, in its state, and beside TRL."""

import json
import math

import numpy as np
import pytest
import torch

from assay.align.sparse_po import SparsePO, TokenPreference
from assay.errors import InputError
from assay.language.models import tiny_language_model
from assay.language.pair_data import tokenise
from assay.language.policy import adapted
from assay.language.token_preference import Weighing, preference_loss, rewards
from assay.training.deep.batches import Data
from assay.training.deep.recipe import Recipe

LM = tiny_language_model()
PAIRS = [
    {"prompt": "Q: how?", "chosen": " so", "rejected": " no idea"},
    {"prompt": "A", "chosen": " good answer", "rejected": " bad"},
    {"prompt": "Say more", "chosen": " yes", "rejected": " never, ever"},
    {"prompt": "", "chosen": "one", "rejected": "two"},
    {"prompt": "x y z", "chosen": " abc", "rejected": " abd"},
]
QUICK = Recipe(epochs=2, batch_size=2, optimizer="adamw", lr=1e-2, weight_decay=0.0)
EVERY = pytest.mark.parametrize("mask", ["common", "independent", "mapo", "ones", "tdpo2", "none"])


def pairs():
    return tokenise(PAIRS, LM.tokenizer, LM.pad)


def moved(rank=2, seed=0):
    """A policy that has left its reference."""
    policy = adapted(LM.model, rank, seed)
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in policy.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return policy


def weighed(mask, policy, **options):
    weighing = Weighing(mask, dropout=0.0, **options)
    weighing.begin(pairs()[torch.arange(5)], policy)
    return weighing


def test_three_words_and_two_tokens_by_hand():
    """Reward and divergence of a sequence of two tokens over a vocabulary of three, in plain numbers."""
    pi, ref, y = [[0.2, 0.5, 0.3], [0.7, 0.2, 0.1]], [[0.4, 0.4, 0.2], [0.5, 0.25, 0.25]], [1, 0]
    m, n = [2.0, 0.5], [1.0, 3.0]
    expected = 0.0
    for t in range(2):
        expected += m[t] * math.log(pi[t][y[t]] / ref[t][y[t]])
        expected += n[t] * sum(q * math.log(q / p) for p, q in zip(pi[t], ref[t], strict=True))
    p, q = torch.tensor(pi).log(), torch.tensor(ref).log()
    at = torch.tensor(y)[:, None]
    ratio, kl = (p - q).gather(1, at).T, (q.exp() * (q - p)).sum(1)[None]
    found = rewards(ratio, kl, torch.tensor([m]), torch.tensor([n]))
    assert float(found) == pytest.approx(expected, rel=1e-5)
    loss = preference_loss(torch.tensor([[float(found), 0.25]]), beta=0.3)
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-0.3 * (expected - 0.25))), rel=1e-5)


def of_autograd(policy, found_mask, beta, alpha=None):
    """The loss and its gradients from whole logits, in a plain loop over sequences."""
    total = 0.0
    data = pairs()
    for i in range(5):
        score = []
        for place, answer in enumerate((data.chosen[i], data.rejected[i])):
            ids = torch.tensor([data.prompt[i] + answer])
            states = slice(len(data.prompt[i]) - 1 if data.prompt[i] else 0, ids.shape[1] - 1)
            log_pi = policy.model(ids).logits[0, states].log_softmax(-1)
            with torch.no_grad():
                log_ref = LM.model(ids).logits[0, states].log_softmax(-1)
            y = ids[0, 1:][states][:, None]
            r = (log_pi - log_ref).gather(1, y).squeeze(1)
            k = (log_ref.exp() * (log_ref - log_pi)).sum(1)
            m, n = found_mask(2 * i + place, len(y))
            k = k.detach() if alpha is not None and place == 0 else k
            score.append((m * r).sum() + (n * k).sum() * (1 if alpha is None else alpha))
        total = total - torch.nn.functional.logsigmoid(beta * (score[0] - score[1]))
    weights = [p for p in policy.model.parameters() if p.requires_grad]
    return total / 5, torch.autograd.grad(total / 5, weights)


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize(
    ("mask", "plain"), [("none", (1.0, 0.0, None)), ("ones", (1.0, 1.0, None)), ("tdpo2", (1.0, 1.0, 0.5))]
)
def test_special_cases_are_dpo_tdpo1_and_tdpo2(rank, mask, plain):
    policy, (m, n, alpha) = moved(rank), plain
    expected, gradients = of_autograd(policy, lambda s, t: (m, n), 0.3, alpha)
    objective = TokenPreference(mask, beta=0.3)
    objective.begin(5, 2)
    data = Data(pairs(), np.zeros(5, np.int64), 2)
    from assay.training.deep.batches import Batch

    batch = Batch(data.inputs[torch.arange(5)], data.targets, torch.arange(5))
    loss = objective(batch, policy)
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-4)
    mine = torch.autograd.grad(loss, [p for p in policy.model.parameters() if p.requires_grad])
    for one, other in zip(mine, gradients, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-3)


@EVERY
def test_at_the_reference_the_loss_is_log_two(mask):
    policy = adapted(LM.model, 2)
    weighing = weighed(mask, policy)
    loss = preference_loss(weighing.scores(weighing(pairs()[torch.arange(5)], policy)), 0.3)
    torch.testing.assert_close(loss, torch.full((5,), math.log(2)), atol=1e-5, rtol=0)


def test_masks_of_zero_teach_nothing_and_a_scale_is_a_larger_beta():
    policy, weighing = moved(), Weighing("ones")
    found = weighing(pairs()[torch.arange(5)], policy)
    nothing = torch.zeros_like(found.ratio)
    loss = preference_loss(rewards(found.ratio, found.kl, nothing, nothing).view(-1, 2), 0.3).sum()
    assert loss.item() == pytest.approx(5 * math.log(2), rel=1e-6)
    assert all((g == 0).all() for g in torch.autograd.grad(loss, list(policy.parameters()), retain_graph=True))
    m = torch.rand_like(found.ratio)
    one = preference_loss(rewards(found.ratio, found.kl, 3 * m, 3 * m).view(-1, 2), 0.2)
    torch.testing.assert_close(one, preference_loss(rewards(found.ratio, found.kl, m, m).view(-1, 2), 0.6))


@EVERY
def test_padding_and_the_rest_of_the_batch_contribute_nothing(mask):
    policy = moved()
    weighing = weighed(mask, policy)
    whole = weighing.scores(weighing(pairs()[torch.arange(5)], policy))
    other = pairs()
    other.pad = 77
    torch.testing.assert_close(weighing.scores(weighing(other[torch.arange(5)], policy)), whole, rtol=0, atol=0)
    for row in range(5):
        alone = weighing.scores(weighing(pairs()[torch.tensor([row])], policy))
        torch.testing.assert_close(alone[0], whole[row], atol=2e-4, rtol=1e-4)


@EVERY
def test_the_reference_and_its_states_get_no_gradient(mask):
    before = {name: weight.clone() for name, weight in LM.model.named_parameters()}
    model = SparsePO(LM, mask, rank=2, recipe=QUICK).fit(PAIRS)
    assert all(torch.equal(before[name], weight) for name, weight in LM.model.named_parameters())
    assert all(weight.grad is None for weight in LM.model.parameters())
    assert model.pairs_.dropped == {"identical": [], "empty": [], "too long": []}
    assert {name.split("/")[-2] for name in model.policy_.trained} == {"default"}


def test_a_weight_belongs_to_the_state_and_never_sees_its_token():
    """Another last token of the answer changes no mask: nothing reads the state after it."""
    policy = moved()
    one = [{"prompt": "ab", "chosen": "cdx", "rejected": "e"}]
    other = [{"prompt": "ab", "chosen": "cdy", "rejected": "e"}]
    LM.tokenizer.eos_token, kept = "x", LM.tokenizer.eos_token
    try:
        cut = [tokenise(each, LM.tokenizer, LM.pad) for each in (one, other)]
    finally:
        LM.tokenizer.eos_token = kept
    first, second = cut[0][torch.tensor([0])], cut[1][torch.tensor([0])]
    second = {name: column[:, :, : first["ids"].shape[2]] for name, column in second.items()}
    assert not torch.equal(first["ids"], second["ids"])
    for mask in ("common", "mapo"):
        weighing = weighed(mask, policy)
        a, b = (weighing(each, policy).reward_mask[0] for each in (first, second))
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@EVERY
def test_permuting_rows_permutes_results(mask):
    policy = moved()
    weighing, order = weighed(mask, policy), torch.tensor([3, 0, 4, 1, 2])
    one = weighing.scores(weighing(pairs()[torch.arange(5)], policy))
    other = weighing.scores(weighing(pairs()[order], policy))
    torch.testing.assert_close(one[order], other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mask", ["independent", "none"])
def test_a_resumed_training_is_the_whole_one(tmp_path, mask):
    whole = SparsePO(LM, mask, rank=2, recipe=QUICK).fit(PAIRS)

    class Stopped(Exception):
        """Where the training is cut."""

    def stop(done, n_steps):
        if done == 4:
            raise Stopped

    with pytest.raises(Stopped):
        SparsePO(LM, mask, rank=2, recipe=QUICK).fit(PAIRS, checkpoint=tmp_path / "c", on_step=stop)
    again = SparsePO(LM, mask, rank=2, recipe=QUICK).fit(PAIRS, checkpoint=tmp_path / "c")
    for one, other in zip(whole.policy_.parameters(), again.policy_.parameters(), strict=True):
        assert torch.equal(one, other)
    for one, other in zip(whole.objective_.parameters(), again.objective_.parameters(), strict=True):
        assert torch.equal(one, other)
    assert (tmp_path / "c").stat().st_size < 2e6


def test_training_ranks_the_pairs_and_evidence_says_so():
    model = SparsePO(LM, "common", beta=1.0, rank=4, recipe=Recipe(epochs=15, batch_size=5, optimizer="adamw", lr=2e-2))
    told = model.fit(PAIRS, validation=PAIRS[:2]).evidence()
    assert model.score(PAIRS) == 1.0 == (told["margin"] > 0).mean()
    assert model.run_.history[-1]["validation_accuracy"] == 1.0
    assert told["row"].tolist() == [0, 1, 2, 3, 4]
    assert (told["kl_chosen"] > 0).all()
    assert told["tokens_chosen"].tolist() == [4, 13, 5, 3, 5]
    flipped = SparsePO(LM, "common", beta=1.0, rank=4, recipe=model.recipe).fit(PAIRS, y=[1] * 5)
    assert flipped.score(PAIRS) == 0.0


def test_a_saved_model_says_the_same(tmp_path):
    import transformers
    from safetensors.torch import load_file

    model = SparsePO(LM, "independent", rank=2, recipe=QUICK).fit(PAIRS)
    model.save(tmp_path / "whole")
    ids = torch.tensor([LM.encode("hello there")])
    read = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "whole")
    torch.testing.assert_close(read(ids).logits, model.policy_.model(ids).logits, atol=1e-4, rtol=1e-4)
    masks = load_file(tmp_path / "whole" / "masks.safetensors")
    assert {name.split(".")[1] for name in masks} == {"0", "1"}
    assert json.loads((tmp_path / "whole" / "sparse_po.json").read_text())["mask"] == "independent"
    model.save(tmp_path / "adapter", merged=False)
    assert (tmp_path / "adapter" / "adapter_model.safetensors").exists()
    assert not list(tmp_path.rglob("*.bin"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"mask": "sparse"}, "expected one of common"),
        ({"beta": 0.0}, "beta is 0"),
        ({"clamp": -1.0}, "clamp is"),
        ({"rank": -1}, "rank is -1"),
    ],
)
def test_bad_arguments(arguments, said):
    with pytest.raises(InputError, match=said):
        SparsePO(LM, **arguments).fit(PAIRS)


@pytest.mark.claim
def test_where_a_cue_decides_the_mask_finds_it():
    """The learned reward mask after the cue is at least twice that elsewhere, over five seeds, interval above two."""
    from assay.training.deep.protocol import interval
    from bench.align.cue_text import pairs_of, reference, trained

    found = [trained(reference(seed), pairs_of(seed, 640), "common", 0.2, seed) for seed in range(5)]
    assert interval([each.after_cue / each.elsewhere for each in found])["low"] > 2
    assert min(each.accuracy for each in found) > 0.9

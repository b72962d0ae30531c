"""Scores of answers against a plain loop over positions, and blockwise log-probabilities against whole logits."""

import copy

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from tests.language.families import FAMILIES

from assay.errors import InputError
from assay.language.models import LanguageModel, tiny_language_model
from assay.language.scoring import remember, score_answers, token_log_probs
from assay.language.token_ratios import Head, head_of

RULE = "Answer the question. "
CONTEXTS = ["What is it?", "", "Why", "A question that is longer than all the others here"]
ANSWERS = ["A cat.", "x", "Because nobody knows it any better than you", "No"]


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return tiny_language_model()


def plainly(lm: LanguageModel, context: list[int], answer: list[int]) -> list[float]:
    """One forward pass for each token."""
    found = []
    with torch.inference_mode():
        for at, token in enumerate(answer):
            logits = lm.model(torch.tensor([context + answer[:at]])).logits[0, -1]
            found.append(float(logits.log_softmax(-1)[token]))
    return found


@pytest.fixture(scope="module")
def rows(lm) -> tuple[list[int], list[list[int]], list[list[int]], list[list[float]]]:
    prefix, contexts, answers = lm.encode(RULE), [lm.encode(c) for c in CONTEXTS], [lm.encode(a) for a in ANSWERS]
    return prefix, contexts, answers, [plainly(lm, prefix + c, a) for c, a in zip(contexts, answers, strict=True)]


@pytest.mark.parametrize("batch_size", [1, 2, 16])
@pytest.mark.parametrize("way", ["prefix", "remembered", "written out", "one token"])
def test_equals_the_plain_loop(lm, rows, batch_size: int, way: str):
    """Whatever the batch and its padding, with the prefix cached, or not at all, or all but a token of it."""
    prefix, contexts, answers, expected = rows
    if way == "written out":
        given = {"contexts": [prefix + context for context in contexts]}
    elif way == "one token":
        given = {"contexts": [prefix[1:] + context for context in contexts], "prefix": prefix[:1]}
    else:
        given = {"contexts": contexts, "prefix": remember(lm, prefix) if way == "remembered" else prefix}
    found = score_answers(lm, answers=answers, batch_size=batch_size, per_token=True, **given)
    assert found.tokens is not None
    for ours, loop in zip(found.tokens, expected, strict=True):
        assert ours == pytest.approx(loop, abs=2e-5)
    assert found.log_prob == pytest.approx([sum(each) for each in expected], abs=2e-4)
    assert found.n_tokens.tolist() == [len(answer) for answer in answers]
    assert found.mean == pytest.approx([np.mean(each) for each in expected], abs=2e-5)
    assert found.perplexity == pytest.approx([np.exp(-np.mean(each)) for each in expected], rel=1e-4)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "Llama"])
def test_families_of_models(rows, family: str):
    """Caches with windows shorter than the prefix, learned positions, scaled and capped heads."""
    lm, (prefix, contexts, answers, _) = FAMILIES[family](), rows
    assert lm.head is not None
    assert (lm.head.cap is not None) == (family == "Gemma2")
    assert (lm.head.scale != 1) == (family == "Granite")
    found = score_answers(lm, contexts, answers, prefix=prefix, per_token=True)
    for ours, context, answer in zip(found.tokens, contexts, answers, strict=True):
        assert ours == pytest.approx(plainly(lm, prefix + context, answer), abs=1e-4)


def test_a_remembered_prefix_stays_as_it_is(lm, rows):
    prefix, contexts, answers, _ = rows
    kept = remember(lm, prefix)
    first = score_answers(lm, contexts, answers, prefix=kept)
    score_answers(lm, contexts[:2], answers[:2], prefix=kept, batch_size=1)
    assert (score_answers(lm, contexts, answers, prefix=kept).log_prob == first.log_prob).all()
    assert kept.cache.get_seq_length() == len(prefix) - 1
    assert first.tokens is None


def test_permuting_rows_permutes_scores(lm, rows):
    _, contexts, answers, _ = rows
    contexts = [lm.encode("Q: ") + context for context in contexts]
    order = [2, 0, 3, 1]
    one = score_answers(lm, contexts, answers).log_prob
    other = score_answers(lm, [contexts[at] for at in order], [answers[at] for at in order]).log_prob
    assert other == pytest.approx(one[order], abs=1e-5)


def test_a_distribution_sums_to_one(lm):
    context = lm.encode("Once")
    scores = score_answers(lm, [context] * 128, [[token] for token in range(128)], batch_size=128)
    assert np.exp(scores.log_prob).sum() == pytest.approx(1, abs=1e-5)


def test_a_model_whose_head_is_not_plain_is_scored_by_its_logits(rows):
    """A model that changes its logits in a way that no setting names: found out, and its own logits taken."""
    lm = tiny_language_model()
    forward = type(lm.model).forward

    class Odd(type(lm.model)):
        def forward(self, *args, **kwargs):
            out = forward(self, *args, **kwargs)
            out.logits = out.logits * torch.linspace(0.5, 2, out.logits.shape[-1])
            return out

    model = copy.deepcopy(lm.model)
    model.__class__ = Odd
    odd = LanguageModel(model, lm.tokenizer, "odd")
    assert lm.head is not None
    assert odd.head is None
    prefix, contexts, answers, plain = rows
    found = score_answers(odd, contexts, answers, prefix=prefix, per_token=True)
    for ours, context, answer, other in zip(found.tokens, contexts, answers, plain, strict=True):
        assert ours == pytest.approx(plainly(odd, prefix + context, answer), abs=2e-5)
        assert ours != pytest.approx(other, abs=1e-2)


def test_on_a_real_model(smollm2: LanguageModel):
    """SmolLM2 knows the capital, and its scores are those of its own loss."""
    context = smollm2.chat("What is the capital of France?")
    answers = [smollm2.encode(f"The capital of France is {city}.") for city in ("Paris", "Berlin", "a")]
    found = score_answers(smollm2, [[]] * 3, answers, prefix=context, per_token=True)
    assert found.log_prob.argmax() == 0
    ids = torch.tensor([context + answers[1]])
    labels = ids.clone()
    labels[:, : len(context)] = -100
    with torch.inference_mode():
        loss = smollm2.model(input_ids=ids, labels=labels).loss
    assert found.mean[1] == pytest.approx(-float(loss), abs=1e-4)


@pytest.mark.parametrize("trained", [False, True])
def test_blockwise_values_and_gradients_are_those_of_all_logits(lm, trained: bool):
    """600 tokens are three blocks; some are left out."""
    torch.manual_seed(0)
    weight = torch.randn(70, 16, requires_grad=trained)
    hidden = torch.randn(6, 100, 16, requires_grad=True)
    labels = torch.randint(0, 70, (6, 100))
    labels[:, ::7] = -100
    pull = torch.randn(6, 100)
    whole = torch.nn.functional.linear(hidden, weight).log_softmax(-1)
    whole = whole.gather(-1, labels.clamp(min=0)[..., None]).squeeze(-1) * (labels != -100)
    ours = token_log_probs(hidden, Head(weight), labels)
    assert torch.allclose(ours, whole, atol=1e-5)
    leaves = [hidden, weight] if trained else [hidden]
    for mine, other in zip(
        torch.autograd.grad((pull * ours).sum(), leaves),
        torch.autograd.grad((pull * whole).sum(), leaves),
        strict=True,
    ):
        assert torch.allclose(mine, other, atol=1e-5)
    assert token_log_probs(hidden, Head(weight), torch.full((6, 100), -100)).eq(0).all()


def test_gradient_through_the_model_is_that_of_its_own_loss(lm):
    model = copy.deepcopy(lm.model)
    ids = torch.tensor(
        [lm.encode("Some text to learn from, twice"), lm.encode("Other text that is as long")[:26] + [0] * 4]
    )
    labels = ids.masked_fill(ids == 0, -100)
    model(input_ids=ids, labels=labels).loss.backward()
    theirs = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    found = token_log_probs(hidden, head_of(model), labels[:, 1:])
    (-found.sum() / (labels[:, 1:] != -100).sum()).backward()
    for parameter, other in zip(model.parameters(), theirs, strict=True):
        assert torch.allclose(parameter.grad, other, atol=1e-6)


def test_bad_input_is_named(lm):
    x, y = lm.encode("x"), lm.encode("yes")
    cases = [
        (([x], []), {}, "1 contexts and 0 answers", None),
        (([x, x], [y, []]), {}, "answer is empty", 1),
        (([x, []], [y, y]), {}, "context is empty", 1),
        (([x, x], [y, [128]]), {}, "id 128, but tiny knows 0 to 127", 1),
        (([x], [y]), {"prefix": [-3]}, "prefix has the id -3", None),
        (([x, x * 400], [y, y]), {"prefix": y * 40}, "has 523 tokens, but tiny was made for 512", 1),
        (([x], [y]), {"batch_size": 0}, "at least 1", None),
    ]
    for given, options, message, row in cases:
        with pytest.raises(InputError, match=message) as caught:
            score_answers(lm, *given, **options)
        assert caught.value.row == row
    broken = tiny_language_model()
    with torch.no_grad():
        broken.model.get_input_embeddings().weight[ord("Z")] = float("nan")
    with pytest.raises(InputError, match="of an answer is nan: look") as caught:
        score_answers(broken, [x, x], [y, broken.encode("aZb")], batch_size=1)
    assert caught.value.row == 1
    assert score_answers(lm, [], []).log_prob.shape == (0,)

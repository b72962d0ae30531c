"""Decoding against the plainest loop there is: the whole text forward again for each token, one row at a time."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from tests.language.families import FAMILIES

from assay.errors import InputError
from assay.language.chain import ROWS, LogitsChain
from assay.language.decoding import generate
from assay.language.models import LanguageModel, tiny_language_model

TEXTS = [
    "Hi",
    "What is the capital of France?",
    "xy",
    "One two three four five",
    "A much longer prompt than the others.",
]


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return tiny_language_model()


def plain(lm, prompt, chain, max_new_tokens, row, without=None):
    """No cache, no batch, no padding."""
    said: list[int] = []
    for step in range(max_new_tokens):
        with torch.inference_mode():
            logits = lm.model(torch.tensor([[*prompt, *said]]), use_cache=False).logits[:, -1]
            second = None if without is None else lm.model(torch.tensor([[*without, *said]])).logits[:, -1]
        ids = torch.tensor([[*prompt, *said]])
        said.append(int(chain(ids, logits, torch.tensor([row]), step, second)))
        if said[-1] in lm.eos:
            break
    return said


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "Llama"])
def test_families_of_models(family: str):
    """Padding, positions, windows and caches of other families, answers that end at different steps."""
    lm = FAMILIES[family]()
    prompts = [lm.encode(text) for text in TEXTS]
    chain = LogitsChain(bias=lambda ids, z: z + 2.0 * (torch.arange(128) == 2), seed=1)
    expected = [[plain(lm, prompt, chain, 16, row)] for row, prompt in enumerate(prompts)]
    for batch_size in (1, 16):
        assert generate(lm, prompts, chain=chain, max_new_tokens=16, batch_size=batch_size) == expected


def mark(ids, logits):
    """A mark that depends on the two tokens before, as keyed hashes do."""
    assert bool((ids[:, -2:] >= 0).all())
    assert bool((ids.diff(dim=1)[ids[:, :-1] < 0] >= 0).all()), "-1 stands on the left alone"
    shift = (ids[:, -1:] * 7 + ids[:, -2:-1] * 3) % 128
    return logits + ((torch.arange(128) + shift) % 4 == 0) * 1.5


CHAINS = {
    "greedy": LogitsChain(temperature=0),
    "drawn": LogitsChain(temperature=1.2, top_p=0.95, seed=3),
    "marked": LogitsChain(bias=mark, temperature=0.8),
    "ends_often": LogitsChain(bias=lambda ids, z: z + 4.0 * (torch.arange(128) == 2), seed=1),
}


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_equals_the_plain_loop_whatever_the_batch(lm, chain: LogitsChain):
    prompts = [lm.encode(text) for text in TEXTS]
    expected = [
        [plain(lm, prompt, chain, 20, row + ROWS * sample) for sample in range(3)] for row, prompt in enumerate(prompts)
    ]
    for batch_size in (1, 6, 64):
        assert generate(lm, prompts, chain=chain, max_new_tokens=20, n_samples=3, batch_size=batch_size) == expected
    assert generate(lm, prompts[3:], chain=chain, max_new_tokens=20, rows=[3, 4])[0][0] == expected[3][0]
    if chain is CHAINS["ends_often"]:
        lengths = {len(answer) for answers in expected for answer in answers}
        assert len(lengths) > 5, "rows that end at different steps are what this case is for"
        assert any(answer[-1] == 2 for answers in expected for answer in answers)
    if chain is CHAINS["drawn"]:
        assert all(len({tuple(answer) for answer in answers}) == 3 for answers in expected)


@pytest.mark.parametrize(("temperature", "pull"), [(0.0, 0.0), (1.0, 0.0), (1.0, 4.0)])
def test_two_branches_share_their_tokens(lm, temperature: float, pull: float):
    """With `pull`, answers end at different steps, and leave both branches."""
    chain = LogitsChain(
        combine=lambda w, o, step: w + (0.7 + 0.1 * step) * (w - o),
        bias=lambda ids, z: z + pull * (torch.arange(128) == 2),
        temperature=temperature,
        seed=2,
    )
    questions = [lm.encode(text) for text in TEXTS]
    prompts = [lm.encode("Be kind. ") + question for question in questions]
    expected = [
        [plain(lm, prompts[row], chain, 15, row + ROWS * sample, questions[row]) for sample in range(2)]
        for row in range(len(prompts))
    ]
    for batch_size in (2, 16):
        settings = {"max_new_tokens": 15, "batch_size": batch_size, "n_samples": 2}
        assert generate(lm, prompts, without=questions, chain=chain, **settings) == expected
    if pull:
        assert len({len(answer) for answers in expected for answer in answers}) > 3


def first_branch(logits_with, logits_without, step):
    return logits_with


def test_one_branch_is_the_plain_model(lm):
    prompts, others = [lm.encode(text) for text in TEXTS], [lm.encode(text[::-1] + "!") for text in TEXTS]
    first = LogitsChain(combine=first_branch, seed=4)
    second = LogitsChain(combine=lambda w, o, step: o, seed=4)
    alone = LogitsChain(seed=4)
    settings = {"max_new_tokens": 10, "n_samples": 2}
    assert generate(lm, prompts, without=others, chain=first, **settings) == generate(
        lm, prompts, chain=alone, **settings
    )
    assert generate(lm, prompts, without=others, chain=second, **settings) == generate(
        lm, others, chain=alone, **settings
    )


def test_equals_transformers_generate_on_a_real_model(smollm2: LanguageModel):
    """Greedy answers of SmolLM2 in a padded batch are those of transformers' own loop, row by row."""
    prompts = [smollm2.chat(text) for text in ("What is the capital of France?", "Say yes.")]
    ours = generate(smollm2, prompts, chain=LogitsChain(temperature=0), max_new_tokens=12)
    for prompt, (answer,) in zip(prompts, ours, strict=True):
        ids = torch.tensor([prompt])
        theirs = smollm2.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, pad_token_id=smollm2.pad
        )
        assert theirs[0, len(prompt) :].tolist() == answer
    assert smollm2.decode(ours[0][0]) == "The capital of France is Paris."
    assert ours[0][0][-1] in smollm2.eos


def test_samples_share_the_first_pass(lm):
    """Counted in tokens that go through the model: the prompt once, then each sample's tokens."""
    seen = []
    handle = lm.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    try:
        prompt = lm.encode("A prompt of some length")
        generate(lm, [prompt], chain=LogitsChain(bans=lm.eos), max_new_tokens=4, n_samples=5)
    finally:
        handle.remove()
    assert seen == [len(prompt), 5, 5, 5]


def test_progress(lm):
    calls: list[tuple[int, int]] = []
    prompts = [lm.encode(text) for text in TEXTS]
    generate(lm, prompts, max_new_tokens=1, batch_size=2, on_row=lambda *call: calls.append(call))
    assert calls == [(2, 5), (4, 5), (5, 5)]
    assert generate(lm, []) == []


def test_bad_prompts_are_named(lm):
    good = lm.encode("Hi")
    cases = [
        ([good, []], {}, "prompt is empty", 1),
        ([good, good, [3, 128]], {}, "id 128, but tiny knows 0 to 127", 2),
        ([[-1]], {}, "id -1", 0),
        ([good, [5] * 500], {}, "500 tokens and an answer of 64 do not fit into the 512", 1),
        ([good], {"without": [[]], "chain": LogitsChain(combine=first_branch)}, "paired prompt is empty", 0),
        ([good], {"without": [], "chain": LogitsChain(combine=first_branch)}, "1 prompts and 0 paired", None),
        ([good], {"without": [good]}, "go together", None),
        ([good], {"chain": LogitsChain(combine=first_branch)}, "go together", None),
        ([good], {"n_samples": 0}, "at least 1", None),
        ([good], {"rows": [0, 1]}, "rows must be 1 ids", None),
        ([good], {"rows": [2**20]}, "rows must be 1 ids", None),
    ]
    for prompts, options, message, row in cases:
        with pytest.raises(InputError, match=message) as caught:
            generate(lm, prompts, **options)
        assert caught.value.row == row


def test_logits_that_are_no_numbers_name_the_prompt():
    lm = tiny_language_model()
    with torch.no_grad():
        lm.model.get_input_embeddings().weight[ord("Z")] = float("nan")
    prompts = [lm.encode(text) for text in ("a longer one", "fine", "aZ")]
    with pytest.raises(InputError, match="step 0 the greatest logit is nan") as caught:
        generate(lm, prompts, batch_size=1)
    assert caught.value.row == 2

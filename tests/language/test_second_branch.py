"""Two prompts for one answer: with caches and without, alone and in batches, of text and of images."""

import pytest
import torch
import transformers
from tests.language.tiny_image_text import pictures, tiny_image_text_model

from assay.errors import InputError
from assay.language.chain import LogitsChain
from assay.language.decoding import generate
from assay.language.image_text import Turn, images_seen_once
from assay.language.models import LanguageModel, tiny_language_model
from assay.language.paired_answers import paired_answers
from assay.language.second_branch import SecondBranch

FIRST = [Turn("Be kind. How are you?"), Turn("Be kind. What?"), Turn("Be kind. Tell me of bees and birds.")]
SECOND = [Turn("How are you?"), Turn("What?"), Turn("Tell me of bees and birds.")]


def double(first, second, step):
    return 2 * first.float() - second.float()


def naive(lm, first, second, n_tokens):
    """Greedy, one row at a time, both prefixes read anew at every step."""
    answers = []
    for one, other in zip(first, second, strict=True):
        said = []
        while len(said) < n_tokens and not (said and said[-1] in lm.eos):
            with torch.no_grad():
                logits = [lm.model(torch.tensor([ids + said])).logits[:, -1] for ids in (one, other)]
            said.append(int(double(*logits, len(said)).argmax()))
        answers.append(said)
    return answers


def gpt2():
    """Positions are learned, so that left padding without position ids would show."""
    tokenizer = tiny_language_model().tokenizer
    config = transformers.GPT2Config(
        vocab_size=128, n_embd=32, n_layer=2, n_head=4, n_positions=256, bos_token_id=1, eos_token_id=2
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.GPT2LMHeadModel(config).eval()
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    return LanguageModel(model, tokenizer, "gpt2")


@pytest.mark.parametrize("make", [tiny_language_model, gpt2])
def test_cached_batches_say_what_uncached_rows_say(make):
    lm = make()
    first, second = ([lm.chat(turn.user) for turn in turns] for turns in (FIRST, SECOND))
    expected = naive(lm, first, second, 12)
    assert expected != naive(lm, first, first, 12)
    assert paired_answers(lm, FIRST, SECOND, [double], max_new_tokens=12) == [expected]
    assert paired_answers(lm, FIRST, SECOND, [double], max_new_tokens=12, batch_size=1) == [expected]


@pytest.mark.parametrize("make", [tiny_language_model, gpt2])
def test_as_a_processor_of_transformers_it_says_the_same(make):
    lm = make()
    first, second = ([lm.chat(turn.user) for turn in turns] for turns in (FIRST, SECOND))
    expected = naive(lm, first, second, 12)
    lm.tokenizer.padding_side = "left"
    asked, other = (
        lm.tokenizer.pad({"input_ids": ids}, return_tensors="pt", return_attention_mask=True) for ids in (first, second)
    )
    out = lm.model.generate(
        **asked,
        do_sample=False,
        max_new_tokens=12,
        pad_token_id=0,
        logits_processor=[SecondBranch(lm.model, double, **other)],
    )
    for row, said in zip(out[:, asked["input_ids"].shape[1] :].tolist(), expected, strict=True):
        assert row[: len(said)] == said


def test_several_samples_of_a_prompt():
    lm = tiny_language_model()
    asked, other = (torch.tensor([lm.chat(turns[0].user)]) for turns in (FIRST, SECOND))

    def sampled(n):
        torch.manual_seed(0)
        return lm.model.generate(
            asked.repeat(n, 1),
            attention_mask=torch.ones_like(asked).repeat(n, 1),
            do_sample=True,
            max_new_tokens=8,
            pad_token_id=0,
            num_return_sequences=4 // n,
            logits_processor=[SecondBranch(lm.model, double, other)],
        )

    assert torch.equal(sampled(1), sampled(4))


def test_beams_and_a_second_call_are_refused():
    lm = tiny_language_model()
    asked, other = (torch.tensor([lm.chat(turns[0].user)]) for turns in (FIRST, SECOND))
    branch = SecondBranch(lm.model, double, other)
    how = {"attention_mask": torch.ones_like(asked), "pad_token_id": 0, "max_new_tokens": 8, "do_sample": False}
    lm.model.generate(asked, logits_processor=[branch], **how)
    with pytest.raises(InputError, match="make a new processor"):
        lm.model.generate(asked, logits_processor=[branch], **how)
    with pytest.raises(InputError, match="beams"):
        lm.model.generate(asked, num_beams=4, logits_processor=[SecondBranch(lm.model, double, other)], **how)
    with pytest.raises(InputError, match="3 rows and 2 second"):
        SecondBranch(lm.model, double, other.repeat(2, 1))(asked.repeat(3, 1), torch.zeros(3, 128))


def triple(first, second, step):
    return 3 * first.float() - 2 * second.float()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_ways_side_by_side_are_ways_alone(temperature):
    lm, seen = tiny_language_model(), []
    how = {"max_new_tokens": 8, "temperature": temperature}
    alone = [paired_answers(lm, FIRST, SECOND, [way], **how)[0] for way in (double, triple)]
    assert alone[0] != alone[1]
    found = paired_answers(lm, FIRST, SECOND, [double, triple], **how, batch_size=4, on_row=lambda *at: seen.append(at))
    assert found == alone
    assert seen == [(2, 3), (3, 3)]


def test_only_one_branch_is_that_branch_alone():
    lm = tiny_language_model()
    for only, turns in (("first", FIRST), ("second", SECOND)):
        [found] = paired_answers(lm, FIRST, SECOND, [double], only=only, max_new_tokens=6)
        alone = generate(lm, [lm.chat(t.user) for t in turns], chain=LogitsChain(temperature=0), max_new_tokens=6)
        assert found == [samples[0] for samples in alone]


@torch.no_grad()
def naive_about_images(model, first, second, images, n_tokens):
    answers = []
    for one, other, image in zip(first, second, images, strict=True):
        asked = [model.inputs([turn], [image]) for turn in (one, other)]
        said = []
        while len(said) < n_tokens and 2 not in said:
            logits = []
            for inputs in asked:
                ids = torch.cat([inputs["input_ids"], torch.tensor([said], dtype=torch.long)], 1)
                logits.append(model.model(input_ids=ids, pixel_values=inputs["pixel_values"]).logits[:, -1])
            said.append(int(double(*logits, len(said)).argmax()))
        answers.append(said)
    return answers


def test_images_with_caches_and_without_alone_and_in_batches():
    model, images = tiny_image_text_model(), pictures(3)
    expected = naive_about_images(model, FIRST, SECOND, images, 10)
    assert expected != naive_about_images(model, FIRST, SECOND, pictures(3, seed=1), 10)
    passes = []
    model.model.model.vision_tower.register_forward_hook(lambda *_: passes.append(1))
    for size in (1, 2, 3):
        passes.clear()
        [found] = paired_answers(model, FIRST, SECOND, [double], images=images, max_new_tokens=10, batch_size=size)
        assert found == expected
        assert len(passes) == -(-3 // size)  # both branches look at features that were made once


def test_other_images_are_encoded_anew():
    model, images = tiny_image_text_model(), pictures(2)
    one, other = ([model.inputs([Turn("What?")], [image])] for image in images)
    with images_seen_once(model.model), torch.no_grad():
        logits = [model.model(**inputs[0]).logits for inputs in (one, other, one)]
    assert torch.equal(logits[0], logits[2])
    assert not torch.equal(logits[0], logits[1])
    assert "get_image_features" not in vars(model.model.base_model)
    with images_seen_once(tiny_language_model().model):  # nothing to share
        pass


def test_image_prompts_that_cannot_be_answered():
    model = tiny_image_text_model()
    with pytest.raises(InputError, match=r"'<image>'.*row: 1"):
        model.inputs([Turn("a"), Turn("a", system="<image>")], pictures(2))
    with pytest.raises(InputError, match="give images, one for each of the 3"):
        paired_answers(model, FIRST, SECOND, [double], images=pictures(2))
    with pytest.raises(InputError, match="do not fit into the 512 tokens"):
        paired_answers(model, [Turn("a" * 600)], [Turn("a")], [double], images=pictures(1))
    with pytest.raises(InputError, match="reads text alone"):
        paired_answers(tiny_language_model(), FIRST, SECOND, [double], images=pictures(3))


def test_samples_of_images_follow_the_seed():
    model = tiny_image_text_model()

    def drawn(seed):
        return paired_answers(
            model, FIRST, SECOND, [double], images=pictures(3), max_new_tokens=8, temperature=1.0, seed=seed
        )

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)

"""Watermarks and alignment resampling: by hand, at the limits, beside transformers, and the claim on a toy model."""

import warnings

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.base import clone
from transformers import WatermarkingConfig

from assay.align.watermark import SCHEMES, Resampled, Watermark
from assay.errors import InputError
from assay.kernels.best_of import break_even, expected_maximum, gain_bound
from assay.kernels.keyed_hash import mix32
from assay.language.chain import ROWS, LogitsChain
from assay.language.decoding import generate
from assay.language.mark_keys import new_key, read_key
from assay.language.models import LanguageModel, tiny_language_model

HUMAN = "It was a bright cold day in April, and the clocks were striking thirteen; nobody had marked this sentence."


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return tiny_language_model()


def watermark(lm: LanguageModel, scheme: str, **settings: object) -> Watermark:
    return Watermark(scheme, 15485863, lm.n_vocabulary, **settings)


# By hand


def test_p_value_by_hand():
    text = [5, 9, 2, 9, 2, 7]
    ngrams = [(5, 9, 2), (9, 2, 9), (2, 9, 2), (9, 2, 7)]
    green = sum(mix32(3, *ngram) < 2**30 for ngram in ngrams)
    found = Watermark("kgw", 3, 10).fit([text])
    chances = [1, 4, 6, 4, 1]
    tail = sum(chances[g] * 0.25**g * 0.75 ** (4 - g) for g in range(green, 5))
    assert (found.n_scored_[0], found.statistic_[0]) == (4, green)
    assert found.p_values_[0] == pytest.approx(tail)


def test_resampling_keeps_the_first_of_the_best(lm: LanguageModel):
    prompts = [lm.encode("One"), lm.encode("Two")]
    asked: list[str] = []

    def reward(prompts: list[str], answers: list[str]) -> list[float]:
        asked.extend(prompts)
        return [0.0, 2.0, 2.0, 1.0, 1.0, 0.0]

    mark = watermark(lm, "gumbel")
    found = mark.resample(lm, prompts, reward, n=3, max_new_tokens=8)
    drawn = mark.generate(lm, prompts, n_samples=3, max_new_tokens=8)
    assert asked == ["One"] * 3 + ["Two"] * 3
    assert found.chosen.tolist() == [1, 0]
    assert found.answers == [drawn[0][1], drawn[1][0]]
    assert found.texts == [lm.decode(answer) for answer in found.answers]
    assert found.curve(1) == pytest.approx(1.0)
    assert found.curve(3) == pytest.approx(1.5)


# Limits


@pytest.mark.parametrize("scheme", SCHEMES)
def test_marked_text_is_found_and_other_text_is_not(lm: LanguageModel, scheme: str):
    mark = watermark(lm, scheme, delta=4.0)
    ((answer,),) = mark.generate(lm, [lm.encode("Once upon a time")], max_new_tokens=120, bans=(2,))
    found = mark.fit([answer, lm.encode(HUMAN), [], answer[:1]])
    assert found.p_values_[0] < 1e-4
    assert found.p_values_[1] > 1e-3
    assert found.p_values_[2:].tolist() == [1.0, 1.0]
    assert found.n_scored_[2:].tolist() == found.z_[2:].tolist() == [0, 0]
    assert clone(mark).set_params(key=15485864).fit([answer]).p_values_[0] > 1e-3


def test_without_a_bias_nothing_changes(lm: LanguageModel):
    """At delta 0 the mark is the plain model, token for token."""
    prompts = [lm.encode("Once upon"), lm.encode("a time")]
    marked = watermark(lm, "kgw", delta=0.0).generate(lm, prompts, max_new_tokens=20)
    assert marked == generate(lm, prompts, max_new_tokens=20)


def test_temperature_zero(lm: LanguageModel):
    prompt = [lm.encode("Once upon a time")]
    greedy = generate(lm, prompt, chain=LogitsChain(temperature=0), max_new_tokens=30)
    with pytest.warns(UserWarning, match="cannot be left at temperature 0"):
        assert watermark(lm, "gumbel").generate(lm, prompt, temperature=0, max_new_tokens=30) == greedy
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ((answer,),) = watermark(lm, "kgw").generate(lm, prompt, temperature=0, max_new_tokens=120, bans=(2,))
    assert watermark(lm, "kgw").fit([answer]).p_values_[0] < 1e-3


def test_best_of_one_is_the_first_answer(lm: LanguageModel):
    prompts = [lm.encode("Hi"), lm.encode("Ho")]
    mark = watermark(lm, "gumbel")
    found = mark.resample(lm, prompts, lambda asked, answers: np.zeros(len(asked)), n=1, max_new_tokens=5)
    assert found.answers == [row[0] for row in mark.generate(lm, prompts, max_new_tokens=5)]


# State


def test_resamples_of_a_prompt_differ(lm: LanguageModel):
    """The pitfall that voids resampling: a draw after the mark from the generator that the key has just seeded."""
    for scheme in ("gumbel", "kgw", "lefthash"):
        answers = watermark(lm, scheme).generate(lm, [lm.encode("Once upon")], n_samples=8, max_new_tokens=12)[0]
        assert len({tuple(answer) for answer in answers}) == 8
    fixed = watermark(lm, "gumbel-fixed").generate(lm, [lm.encode("Once upon")], n_samples=4, max_new_tokens=12)[0]
    assert len({tuple(answer) for answer in fixed}) == 1


@pytest.mark.parametrize("scheme", ["gumbel", "kgw", "gumbel-fixed"])
def test_answers_depend_on_neither_batch_nor_order(lm: LanguageModel, scheme: str):
    prompts = [lm.encode(text) for text in ("Once upon a time", "Two", "And so three of them", "xy")]
    whole = watermark(lm, scheme).generate(lm, prompts, n_samples=2, max_new_tokens=15)
    options = {"rows": [3, 2, 1, 0], "batch_size": 2}
    turned = watermark(lm, scheme).generate(lm, prompts[::-1], n_samples=2, max_new_tokens=15, **options)
    assert turned[::-1] == whole


def test_texts_may_come_in_any_order_and_as_arrays(lm: LanguageModel):
    texts = np.random.default_rng(0).integers(0, 128, (20, 30)).tolist()
    mark = watermark(lm, "kgw")
    first = mark.fit(texts).p_values_
    assert np.array_equal(mark.fit(texts[::-1]).p_values_[::-1], first)
    offsets = np.arange(21) * 30
    assert np.array_equal(mark.fit((np.array(texts).ravel(), offsets)).p_values_, first)
    assert np.all(np.diff(mark.evidence()["p_value"]) >= 0)
    assert np.array_equal(mark.p_values_[mark.evidence()["row"]], mark.evidence()["p_value"])


def test_a_key_is_not_in_what_is_shown():
    key = new_key()
    mark = Watermark("kgw", key, 100)
    assert read_key(key) == mark.mark.key
    assert str(mark.mark.key) not in mark.fingerprint
    assert mark.fingerprint == Watermark("gumbel", key, 200).fingerprint
    assert mark.fingerprint != Watermark("kgw", new_key(), 100).fingerprint


# Beside transformers


@pytest.mark.parametrize("scheme", ["gumbel", "kgw"])
def test_the_mark_drops_into_generate_of_transformers(lm: LanguageModel, scheme: str):
    mark = watermark(lm, scheme, delta=4.0)
    processor = mark.chain(bans=(2,)).as_logits_processor()
    torch.manual_seed(0)
    ids = torch.tensor([lm.encode("Once upon a time")])
    out = lm.model.generate(ids, do_sample=True, max_new_tokens=120, logits_processor=processor, pad_token_id=0)
    assert mark.fit([out[0, ids.shape[1] :].tolist()]).p_values_[0] < 1e-4


def test_text_that_transformers_marked_is_found(lm: LanguageModel):
    config = WatermarkingConfig(greenlist_ratio=0.25, bias=4.0, seeding_scheme="lefthash")
    torch.manual_seed(0)
    ids = torch.tensor([lm.encode("Once upon a time")])
    out = lm.model.generate(
        ids, do_sample=True, max_new_tokens=120, min_new_tokens=120, watermarking_config=config, pad_token_id=0
    )
    mark = watermark(lm, "lefthash", context_width=1)
    assert mark.fit([out[0, ids.shape[1] :].tolist()]).p_values_[0] < 1e-4


def test_on_a_real_model(smollm2: LanguageModel):
    """Twenty-five tokens of a real model are enough; its logits are wider than the tokens that its prompt shows."""
    mark = watermark(smollm2, "gumbel")
    prompt = [smollm2.chat("Tell me about the sea.")]
    ((answer,),) = mark.generate(smollm2, prompt, max_new_tokens=25, top_p=0.95, bans=smollm2.eos)
    assert mark.fit([answer, smollm2.encode(HUMAN)]).p_values_[0] < 1e-3
    assert mark.p_values_[1] > 0.01


# Errors


def test_what_is_missing_or_wrong(lm: LanguageModel):
    with pytest.raises(InputError, match="needs a key"):
        Watermark(n_vocabulary=10).fit([[1, 2, 3]])
    with pytest.raises(InputError, match="needs n_vocabulary"):
        Watermark(key=1).fit([[1, 2, 3]])
    with pytest.raises(InputError, match="no scheme 'gumbell'"):
        Watermark("gumbell", 1, 10).fit([[1, 2, 3]])
    with pytest.raises(InputError, match="check does not fit"):
        Watermark("kgw", new_key()[:-1], 10).fit([[1, 2, 3]])
    with pytest.raises(InputError, match=r"Token 99 is outside 0 to 9.*row: 1"):
        Watermark("kgw", 1, 10).fit([[1, 2, 3], [99]])
    with pytest.raises(InputError, match="made for 64 tokens, but the logits have 128"):
        Watermark("kgw", 1, 64).generate(lm, [[5, 6, 7]])
    with pytest.raises(InputError, match=r"A prompt has 1 tokens, and the mark looks at 2.*row: 1"):
        watermark(lm, "kgw").generate(lm, [[5, 6], [5]])
    with pytest.raises(InputError, match="nothing to choose from"):
        watermark(lm, "gumbel-fixed").resample(lm, [[5, 6]], lambda asked, answers: [0, 0], n=2)
    with pytest.raises(InputError, match="2 finite numbers"):
        watermark(lm, "gumbel").resample(lm, [[5, 6]], lambda asked, answers: [0.0, np.nan], n=2, max_new_tokens=2)


# Claims, on a bigram model whose tokens have rewards, and which was tilted towards the good ones


class Toy:
    """Logits of the next token by the last one, and the reward of a text: the mean of its tokens' rewards."""

    def __init__(self, seed: int, n_vocabulary: int = 200, length: int = 60) -> None:
        rng = np.random.default_rng(seed)
        self.reward = rng.normal(0, 1, n_vocabulary)
        self.table = torch.from_numpy(rng.normal(0, 3, (n_vocabulary, n_vocabulary)) + self.reward).float()
        self.n_vocabulary, self.length = n_vocabulary, length

    def write(self, chain: LogitsChain, prompts: torch.Tensor, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Texts (p, n, length) and their rewards (p, n)."""
        ids = prompts.repeat_interleave(n, 0)
        rows = torch.arange(len(prompts)).repeat_interleave(n) + ROWS * torch.arange(n).repeat(len(prompts))
        for step in range(self.length):
            ids = torch.cat([ids, chain(ids, self.table[ids[:, -1]], rows, step)[:, None]], dim=1)
        texts = ids[:, prompts.shape[1] :].numpy()
        return texts.reshape(len(prompts), n, -1), self.reward[texts].mean(axis=1).reshape(len(prompts), n)


def toy_run(scheme: str | None, seed: int, n: int = 8) -> tuple[Resampled, np.ndarray]:
    """Rewards of `n` answers to 100 prompts, and the p-values (p, n) of the answers."""
    toy = Toy(seed)
    prompts = torch.from_numpy(np.random.default_rng(seed + 100).integers(0, 200, (100, 3)))
    mark = Watermark(scheme or "kgw", 1000 + seed, 200, skip_repeats=False)
    chain = LogitsChain() if scheme is None else mark.chain()
    texts, rewards = toy.write(chain, prompts, n)
    p_values = mark.fit(texts.reshape(-1, toy.length).tolist()).p_values_.reshape(len(prompts), n)
    return Resampled([], [], rewards, rewards.argmax(axis=1)), p_values


SEEDS = range(8)


@pytest.mark.claim
def test_resampling_restores_the_reward():
    """Marked answers are worth less than plain ones, how much the key decides; four restore it on every seed."""
    drops = []
    for seed in SEEDS:
        plain, marked = toy_run(None, seed)[0], toy_run("gumbel", seed)[0]
        curve = [marked.curve(n) for n in (1, 2, 4, 8)]
        drops.append(plain.curve(1) - curve[0])
        assert np.all(np.diff(curve) > 0)
        assert curve[2] > plain.curve(1)
        # The theorem: a lower bound for every n, and a break-even that suffices.
        drop = plain.curve(1) - curve[0]
        for n in (2, 4, 8):
            assert marked.curve(n) - plain.curve(1) >= gain_bound(n) * marked.sigma - drop - 0.005
            assert marked.curve(n) - curve[0] == pytest.approx(expected_maximum(n) * marked.sigma, rel=0.2)
        assert break_even(drop, marked.sigma) <= 8
        # The honest control: the best of unmarked answers stays ahead.
        assert plain.curve(4) > marked.curve(1)
    low, _ = stats.t.interval(0.95, len(drops) - 1, np.mean(drops), stats.sem(drops))
    assert low > 0


@pytest.mark.claim
@pytest.mark.parametrize("scheme", ["gumbel", "kgw"])
def test_choosing_does_not_hide_the_mark(scheme: str):
    """Detected at p < 1e-4: of the kept answers at most one in twenty fewer than of all, on average over seeds."""
    lost = []
    for seed in SEEDS:
        rewards, p_values = toy_run(scheme, seed)
        kept = np.mean(p_values[np.arange(100), rewards.chosen] < 1e-4)
        lost.append(np.mean(p_values < 1e-4) - kept)
        assert kept > 0.85
    assert np.mean(lost) + stats.sem(lost) * stats.t.ppf(0.975, len(lost) - 1) < 0.05


@pytest.mark.claim
def test_the_fixed_gumbel_has_nothing_to_choose_from():
    for seed in SEEDS:
        rewards = toy_run("gumbel-fixed", seed, n=4)[0]
        assert rewards.sigma == 0
        assert rewards.curve(4) == rewards.curve(1)


@pytest.mark.claim
def test_false_positives_are_at_the_nominal_level():
    """Unmarked texts of the toy, which repeat contexts, under many keys; and what counting repeats would do."""
    toy = Toy(0, n_vocabulary=12, length=200)  # few tokens: most n-grams repeat
    prompts = torch.from_numpy(np.random.default_rng(1).integers(0, 12, (40, 3)))
    texts = toy.write(LogitsChain(), prompts, 1)[0][:, 0].tolist()
    rates = {
        (scheme, unique): np.mean(
            [np.mean(Watermark(scheme, key, 12, 1, unique=unique).fit(texts).p_values_ < 0.05) for key in range(300)]
        )
        for scheme in ("kgw", "gumbel")
        for unique in (True, False)
    }
    assert rates["kgw", True] <= 0.06
    assert rates["gumbel", True] <= 0.06
    assert rates["kgw", False] > 0.08
    assert rates["gumbel", False] > 0.08

"""The chain's order by hand, its warpers against transformers', its draws against the distribution."""

import numpy as np
import pytest
from scipy import stats

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

from assay.errors import InputError
from assay.language.chain import ROWS, LogitsChain, draw, top_p_log_probs
from assay.language.models import tiny_language_model

NONE = torch.zeros(1, 1, dtype=torch.int64)
ROW = torch.tensor([0])


def test_order_by_hand():
    """Each part sees what the one before it made; worked out in plain numbers."""
    seen = {}

    def combine(with_, without, step):
        seen["combine"] = (with_.tolist(), without.tolist(), step)
        return with_ + 2 * (with_ - without)

    def bias(ids, logits):
        seen["bias"] = logits.tolist()
        return logits + torch.tensor([[0.0, 0.0, 3.0, 9.0]])

    def choose(ids, log_probs, rows, step):
        seen["choose"] = (ids.tolist(), log_probs.tolist(), rows.tolist(), step)
        return torch.tensor([2])

    chain = LogitsChain(combine=combine, bans=(3,), bias=bias, temperature=2.0, top_p=0.9, choose=choose)
    logits, without = torch.tensor([[1.0, 2.0, 0.0, 5.0]]), torch.tensor([[1.0, 1.0, 0.0, 5.0]])
    token = chain(torch.tensor([[7, 8]]), logits, torch.tensor([4]), 6, without)
    assert token.tolist() == [2]
    assert seen["combine"] == (logits.tolist(), without.tolist(), 6)
    assert seen["bias"] == [[1.0, 4.0, 0.0, float("-inf")]]  # combined first, then banned
    # After the mark: 1, 4, 3, -inf (a ban is not brought back); halved: 0.5, 2, 1.5.
    mass = np.exp([0.5, 2.0, 1.5])
    before = np.array([mass[1] + mass[2], 0, mass[1]]) / mass.sum()
    assert (before < 0.9).tolist() == [True, True, True] or before[0] >= 0.9
    kept = np.where(before < 0.9, mass, 0.0)
    ids, log_probs, rows, step = seen["choose"]
    assert (ids, rows, step) == ([[7, 8]], [4], 6)
    assert np.exp(log_probs[0][:3]) == pytest.approx(kept / kept.sum())
    assert log_probs[0][3] == float("-inf")


def test_temperature_0_is_the_likeliest_after_ban_and_mark():
    logits = torch.tensor([[5.0, 4.0, 4.0, 9.0]])
    assert LogitsChain(bans=(0, 3), temperature=0)(NONE, logits, ROW, 0).tolist() == [1]  # the lowest of two equals
    marked = LogitsChain(bias=lambda ids, z: z + torch.tensor([0, 0, 7.0, 0]), temperature=0)
    assert marked(NONE, logits, ROW, 0).tolist() == [2]
    never = LogitsChain(temperature=0, choose=lambda *_: pytest.fail("temperature 0 leaves nothing to choose"))
    assert never(NONE, logits, ROW, 0).tolist() == [3]


def test_nothing_set_is_log_softmax():
    logits = torch.randn(3, 50)
    assert torch.equal(LogitsChain().log_probs(NONE, logits), logits.log_softmax(-1))


@pytest.mark.parametrize("spread", [0.3, 3.0])
@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 0.5), (0.7, 0.9), (1.5, 0.95), (1.0, 0.999)])
def test_warpers_equal_those_of_transformers(spread: float, temperature: float, top_p: float):
    """Same tokens kept and same log-probabilities, for flat rows that need many tokens and steep ones."""
    logits = torch.randn(8, 5000, generator=torch.Generator().manual_seed(1)) * spread
    logits[:3] *= 2  # rows of a batch that need fewer tokens than the others
    warped = TopPLogitsWarper(top_p)(None, TemperatureLogitsWarper(temperature)(None, logits.clone()))
    ours = LogitsChain(temperature=temperature, top_p=top_p).log_probs(NONE, logits)
    assert torch.equal(torch.isfinite(warped), torch.isfinite(ours))
    assert torch.allclose(warped.log_softmax(-1).exp(), ours.exp(), atol=1e-7)


def test_top_p_keeps_equals_together_and_one_at_least():
    flat = torch.zeros(1, 4)
    assert torch.isfinite(top_p_log_probs(flat, 0.5)).all()
    assert torch.isfinite(top_p_log_probs(torch.tensor([[3.0, 0.0, 1.0]]), 1e-9)).tolist() == [[True, False, False]]
    masses = torch.tensor([[0.5, 0.3, 0.2]]).log()
    assert torch.isfinite(top_p_log_probs(masses, 0.49)).tolist() == [[True, False, False]]
    assert torch.isfinite(top_p_log_probs(masses, 0.51)).tolist() == [[True, True, False]]


def test_draws_follow_the_distribution_and_the_key():
    masses = torch.tensor([0.5, 0.0, 0.3, 0.2])
    rows = torch.arange(20_000)
    drawn = draw(masses.log().repeat(len(rows), 1), rows, 3, seed=5)
    counts = torch.bincount(drawn, minlength=4).numpy()
    assert counts[1] == 0
    assert stats.chisquare(counts[[0, 2, 3]], [10_000, 6_000, 4_000]).pvalue > 1e-3
    few = rows[[7, 11, 19_999]]
    assert torch.equal(draw(masses.log().repeat(3, 1), few, 3, seed=5), drawn[few])  # the batch does not matter
    assert not torch.equal(draw(masses.log().repeat(len(rows), 1), rows, 4, seed=5), drawn)
    assert not torch.equal(draw(masses.log().repeat(len(rows), 1), rows, 3, seed=6), drawn)


def test_processor_drops_into_transformers_generate():
    """Bans and a mark through transformers' generate are what the chain writes itself."""
    from assay.language.decoding import generate

    lm = tiny_language_model()
    green = torch.randn(128, generator=torch.Generator().manual_seed(3)) * 4

    def bias(ids, logits):
        return logits + green.roll(int(ids[0, -1]))

    def choose(ids, log_probs, rows, step):
        return (log_probs + 0.01 * torch.arange(128).roll(step)).argmax(-1)

    prompt = lm.encode("Tell me")
    for chain in (
        LogitsChain(bias=bias, bans=(2, 65), temperature=0),
        LogitsChain(bias=bias, choose=choose, top_p=0.9, bans=(2,)),
    ):
        ours = generate(lm, [prompt], chain=chain, max_new_tokens=12)[0][0]
        processor = chain.as_logits_processor()
        assert isinstance(processor, LogitsProcessorList)
        ids = torch.tensor([prompt])
        theirs = lm.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, logits_processor=processor
        )
        assert theirs[0, len(prompt) :].tolist() == ours


@pytest.mark.parametrize("temperature", [-0.1, float("nan"), float("inf")])
def test_bad_temperature(temperature: float):
    with pytest.raises(InputError, match="temperature is"):
        LogitsChain(temperature=temperature)


@pytest.mark.parametrize("top_p", [0.0, -1, 1.01, float("nan")])
def test_bad_top_p(top_p: float):
    with pytest.raises(InputError, match=r"top_p is .* \(0, 1\]"):
        LogitsChain(top_p=top_p)


def test_bad_logits_name_row_step_and_sample():
    logits = torch.zeros(3, 4)
    logits[1, 2] = float("nan")
    rows = torch.tensor([5, 9 + 2 * ROWS, 6])
    with pytest.raises(InputError, match="step 7, sample 2 the greatest logit is nan") as caught:
        LogitsChain()(NONE, logits, rows, 7)
    assert caught.value.row == 9
    with pytest.raises(InputError, match="every token is banned"):
        LogitsChain(bans=(0, 1))(NONE, torch.zeros(1, 2), ROW, 0)
    with pytest.raises(InputError, match="Token 4 is banned, but the model has logits for 0 to 3"):
        LogitsChain(bans=(4,))(NONE, torch.zeros(1, 4), ROW, 0)


def test_two_branches_are_asked_for():
    chain = LogitsChain(combine=lambda a, b, step: a - b)
    with pytest.raises(InputError, match="two branches"):
        chain(NONE, torch.zeros(1, 4), ROW, 0)
    with pytest.raises(InputError, match="one branch"):
        chain.as_logits_processor()

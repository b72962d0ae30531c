"""Marks: the choice they make has the distribution the papers say, is the same by every path, and can be counted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest, norm

from assay.errors import InputError
from assay.kernels.keyed_hash import absorb, key_state, mix32
from assay.language.chain import LogitsChain
from assay.language.green_mark import GreenMark
from assay.language.gumbel_mark import GumbelMark
from assay.language.mark_tests import expected_green_share, expected_gumbel_score
from assay.language.marks import Mark, flat
from assay.language.randomness import separate

P = torch.tensor([0.5, 0.25, 0.15, 0.1, 0.0])
N = 20_000


def contexts(n: int, width: int = 2, n_vocabulary: int = 5, seed: int = 0) -> torch.Tensor:
    """Contexts that are all different, of ids that no vocabulary of the tests reaches."""
    return torch.arange(n * width).view(n, width) + 1000 * n_vocabulary + seed


def chosen(mark: GumbelMark, log_probs: torch.Tensor, n: int = N) -> torch.Tensor:
    return mark.choose(contexts(n), log_probs.expand(n, -1), torch.arange(n), 0)


def random_log_probs(n: int, n_vocabulary: int, scale: float = 3.0, seed: int = 0) -> torch.Tensor:
    logits = torch.randn(n, n_vocabulary, generator=torch.Generator().manual_seed(seed)) * scale
    return torch.log_softmax(logits, dim=-1)


# By hand


def test_green_tokens_by_hand():
    mark = GreenMark(17, 50, gamma=0.3, delta=1.5)
    logits = torch.zeros(1, 50)
    out = mark.bias(torch.tensor([[9, 4, 8]]), logits)[0]
    assert out.tolist() == [1.5 * (mix32(17, 4, 8, token) < 0.3 * 2**32) for token in range(50)]


def test_gumbel_choice_by_hand():
    mark = GumbelMark(17, 5, randomised=False)
    token = int(mark.choose(torch.tensor([[9, 4, 8]]), P.log()[None], torch.tensor([0]), 0))
    u = (np.array([mix32(17, 4, 8, token) for token in range(5)]) + 0.5) / 2**32
    assert token == np.argmax(u[:4] ** (1 / P[:4].numpy()))


def test_randomised_choice_by_hand():
    mark = GumbelMark(17, 5, seed=3)
    token = int(mark.choose(torch.tensor([[9, 4, 8]]), P.log()[None], torch.tensor([6]), 2))
    second = separate(3, "second")
    u = (np.array([mix32(17, 4, 8, token) for token in range(4)]) + 0.5) / 2**32
    v = (np.array([mix32(second, 6, 2, token) for token in range(4)]) + 0.5) / 2**32
    weight = u ** (1 / P[:4].double().numpy())
    assert token == np.argmax(np.log(weight) - np.log(-np.log(v)))


def test_counts_by_hand():
    text = [3, 1, 2, 1, 2, 1]
    green, gumbel = GreenMark(17, 5, gamma=0.5), GumbelMark(17, 5)
    ngrams = [(3, 1, 2), (1, 2, 1), (2, 1, 2)]  # (1, 2, 1) occurs twice
    values = [mix32(17, *ngram) for ngram in ngrams]
    scored, found = green.count(*flat([text, [], [1, 2]], 5))
    assert scored.tolist() == [3, 0, 0]
    assert found.tolist() == [sum(value < 2**31 for value in values), 0, 0]
    scored, score = gumbel.count(*flat([text], 5))
    assert score[0] == pytest.approx(-sum(np.log(1 - (value + 0.5) / 2**32) for value in values))
    assert green.count(*flat([text], 5), unique=False)[0].tolist() == [4]
    assert green.p_values(*green.count(*flat([[1]], 5))).tolist() == [1.0]


# Every path makes the same choice


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 3000), st.floats(0.1, 12.0), st.integers(0, 10_000), st.booleans())
def test_fused_choice_equals_tensors(n_vocabulary: int, scale: float, seed: int, randomised: bool):
    mark = GumbelMark(seed, n_vocabulary, randomised=randomised, seed=seed)
    log_probs = random_log_probs(4, n_vocabulary, scale, seed)
    if seed % 3 == 0:  # as top-p leaves them
        log_probs[log_probs < log_probs.amax(-1, keepdim=True) - 2] = float("-inf")
        log_probs = torch.log_softmax(log_probs, -1)
    ids, rows = contexts(4, seed=seed), torch.arange(4) + seed
    state = torch.tensor([mix32(seed, *context) for context in ids.tolist()])
    other = absorb(absorb(key_state(separate(seed, "second")), rows), 7)
    assert torch.equal(mark.choose(ids, log_probs, rows, 7), mark.choose_by_tensors(log_probs, state, other))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_bias_by_tensors_marks_the_same_tokens(dtype: torch.dtype):
    mark, ids = GreenMark(5, 1000), contexts(3)
    fused = mark.bias(ids, torch.zeros(3, 1000))
    assert torch.equal(mark.bias(ids, torch.zeros(3, 1000, dtype=dtype)).float(), fused)
    assert mark.bias(ids, torch.zeros(3, 1000, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("mark", [GumbelMark(5, 200), GumbelMark(5, 200, randomised=False)])
def test_a_row_does_not_depend_on_its_batch(mark: GumbelMark):
    ids, rows, log_probs = contexts(6), torch.arange(6) + 40, random_log_probs(6, 200)
    whole = mark.choose(ids, log_probs, rows, 3)
    turned = mark.choose(ids.flip(0), log_probs.flip(0), rows.flip(0), 3)
    assert torch.equal(turned.flip(0), whole)
    assert whole[2] == mark.choose(ids[2:3], log_probs[2:3], rows[2:3], 3)


# What the papers say of the distributions


def test_gumbel_is_free_of_distortion_over_contexts():
    counts = np.bincount(chosen(GumbelMark(1, 5, randomised=False), P.log()), minlength=5)
    assert counts[4] == 0
    assert chisquare(counts[:4], P[:4].double().numpy() * N).pvalue > 1e-3


def test_gumbel_is_free_of_distortion_over_keys():
    ids, row = torch.tensor([[1, 2]]), torch.tensor([0])
    found = [int(GumbelMark(key, 5, randomised=False).choose(ids, P.log()[None], row, 0)) for key in range(4000)]
    counts = np.bincount(found, minlength=5)
    assert chisquare(counts[:4], P[:4].double().numpy() * 4000).pvalue > 1e-3


def test_gumbel_repeats_itself_and_the_randomised_does_not():
    ids, log_probs = contexts(1).expand(500, -1), P.log().expand(500, -1)
    fixed = GumbelMark(1, 5, randomised=False).choose(ids, log_probs, torch.arange(500), 0)
    assert len(set(fixed.tolist())) == 1
    assert len(set(GumbelMark(1, 5).choose(ids, log_probs, torch.arange(500), 0).tolist())) > 1


def test_randomised_gumbel_distorts_as_known():
    """Two tokens of (0.9, 0.1) are written as (0.874, 0.126), and it keeps most of the excess score."""
    log_probs = torch.tensor([0.9, 0.1]).log()
    share = float((chosen(GumbelMark(1, 2), log_probs) == 0).double().mean())
    assert share == pytest.approx(0.874, abs=4 * np.sqrt(0.874 * 0.126 / N))


def scores(mark: GumbelMark, log_probs: torch.Tensor, n: int = N) -> np.ndarray:
    tokens = chosen(mark, log_probs, n).tolist()
    u = (np.array([mix32(mark.key, *c, t) for c, t in zip(contexts(n).tolist(), tokens, strict=True)]) + 0.5) / 2**32
    return -np.log1p(-u)


def test_score_of_marked_tokens_is_the_closed_form():
    found = scores(GumbelMark(1, 5, randomised=False), P.log(), 5000)
    assert found.mean() == pytest.approx(expected_gumbel_score(P.numpy()), abs=4 * found.std() / np.sqrt(5000))
    assert 1.1 < scores(GumbelMark(1, 5), P.log(), 5000).mean() < found.mean()


def test_score_of_other_text_is_a_gamma_variable():
    rng = np.random.default_rng(0)
    texts = rng.integers(0, 1000, (2000, 40))
    scored, score = GumbelMark(9, 1000).count(*flat(texts.tolist(), 1000))
    assert kstest(score[scored == 38], "gamma", args=(38,)).pvalue > 1e-3
    assert kstest(GumbelMark(9, 1000).p_values(scored, score), "uniform").pvalue > 1e-3


def test_green_share_of_other_text_is_gamma():
    rng = np.random.default_rng(1)
    scored, green = GreenMark(9, 1000).count(*flat(rng.integers(0, 1000, (2000, 40)).tolist(), 1000))
    assert norm.sf(abs(green.sum() - 0.25 * scored.sum()) / np.sqrt(scored.sum() * 0.25 * 0.75)) > 1e-3


def test_green_share_of_flat_text_is_the_closed_form():
    mark = GreenMark(2, 400, gamma=0.25, delta=2.0)
    share = torch.softmax(mark.bias(contexts(500), torch.zeros(500, 400)), -1)
    green = mark.bias(contexts(500), torch.zeros(500, 400)) > 0
    assert float(share[green].sum() / 500) == pytest.approx(expected_green_share(0.25, 2.0), abs=0.005)


# Edges


@pytest.mark.parametrize("mark", [GreenMark(1, 50), GreenMark(1, 50, rule="lefthash"), GumbelMark(1, 50)])
def test_a_context_that_is_too_short_leaves_no_mark(mark: Mark):
    log_probs = random_log_probs(2, 50)
    short = torch.zeros(2, mark.width - 1, dtype=torch.int64)
    if isinstance(mark, GumbelMark):
        plain = LogitsChain(seed=0)(short, log_probs, torch.arange(2), 0)
        assert torch.equal(mark.choose(short, log_probs, torch.arange(2), 0), plain)
    else:
        assert torch.equal(mark.bias(short, log_probs), log_probs)


def test_repeated_contexts_can_be_left_alone():
    ids = torch.tensor([[1, 2, 3, 1, 2], [1, 2, 3, 2, 1]])
    log_probs = random_log_probs(2, 50)
    green, plain = GreenMark(1, 50, skip_repeats=True), GreenMark(1, 50)
    out = green.bias(ids, log_probs)
    assert torch.equal(out[0], log_probs[0])
    assert torch.equal(out[1], plain.bias(ids, log_probs)[1])
    gumbel = GumbelMark(1, 50, randomised=False, skip_repeats=True)
    many = gumbel.choose(ids[:1].expand(200, -1), log_probs[:1].expand(200, -1), torch.arange(200), 0)
    assert len(set(many.tolist())) > 1  # drawn, not keyed
    keyed = gumbel.choose(ids[1:].expand(200, -1), log_probs[:1].expand(200, -1), torch.arange(200), 0)
    assert len(set(keyed.tolist())) == 1


def test_a_certain_distribution_is_followed():
    certain = torch.full((1, 50), float("-inf"))
    certain[0, 7] = 0.0
    for randomised in (False, True):
        assert GumbelMark(1, 50, randomised=randomised).choose(contexts(1), certain, torch.tensor([0]), 0) == 7


def test_flat_distribution_of_a_large_vocabulary_does_not_underflow():
    flat_probs = torch.full((2, 100_000), -np.log(100_000))
    tokens = GumbelMark(1, 100_000).choose(contexts(2), flat_probs, torch.arange(2), 0)
    assert tokens.min() >= 0


@pytest.mark.parametrize("mark", [GreenMark(1, 50), GumbelMark(1, 50)])
def test_another_width_of_logits_is_an_error(mark: Mark):
    call = mark.bias if isinstance(mark, GreenMark) else lambda ids, logits: mark.choose(ids, logits, ids[:, 0], 0)
    with pytest.raises(InputError, match="made for 50 tokens, but the logits have 64"):
        call(torch.zeros(1, 4, dtype=torch.int64), torch.zeros(1, 64))


def test_ids_of_another_tokenizer_are_an_error():
    with pytest.raises(InputError, match=r"Token 50 is outside 0 to 49.*row: 1"):
        flat([[1, 2], [3, 50]], 50)
    with pytest.raises(InputError, match="Token -1"):
        flat([[-1]], 50)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"gamma": 0.0}, "strictly between"),
        ({"gamma": 1.0}, "strictly between"),
        ({"delta": float("nan")}, "finite"),
        ({"width": 0}, "at least one token"),
        ({"key": -1}, "2\\^64 - 1"),
        ({"key": 2**64}, "2\\^64 - 1"),
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, float], told: str):
    with pytest.raises(InputError, match=told):
        replace(GreenMark(1, 50), **wrong)

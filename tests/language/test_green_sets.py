"""Green sets of other libraries: transformers' own classes, and the others' rules once more with torch's generator."""

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, WatermarkDetector, WatermarkingConfig
from transformers.generation.logits_process import WatermarkLogitsProcessor

from assay.errors import InputError
from assay.language.green_mark import GreenMark
from assay.language.green_sets import GreenSets
from assay.language.marks import flat

KEY = 15485863
SCHEMES = [("lefthash", 1), ("lefthash", 3), ("selfhash", 1), ("selfhash", 4)]


@pytest.mark.parametrize(("rule", "width"), SCHEMES)
@pytest.mark.parametrize("n_vocabulary", [150, 4099])
def test_the_processor_of_transformers(rule: str, width: int, n_vocabulary: int):
    theirs = WatermarkLogitsProcessor(n_vocabulary, "cpu", 0.25, 2.0, KEY, rule, width)
    ours = GreenMark(KEY, n_vocabulary, width=width, rule=rule)
    ids = torch.randint(0, n_vocabulary, (6, 9), generator=torch.Generator().manual_seed(1))
    logits = torch.randn(6, n_vocabulary, generator=torch.Generator().manual_seed(2))
    for scores in (logits, (logits * 2).round() / 2):  # the second has many equals at the cut of the candidates
        assert torch.equal(ours.bias(ids, scores), theirs(ids, scores))
        assert torch.equal(ours.bias(ids, scores), ours.bias(ids, scores))  # from what is kept, too


@pytest.mark.parametrize(("rule", "width"), SCHEMES)
@pytest.mark.parametrize("unique", [False, "ngram"])
def test_the_detector_of_transformers(rule: str, width: int, unique: bool | str):
    config = WatermarkingConfig(0.25, 2.0, KEY, rule, width)
    theirs = WatermarkDetector(LlamaConfig(vocab_size=150), "cpu", config, ignore_repeated_ngrams=bool(unique))
    ids = torch.randint(3, 30, (4, 50), generator=torch.Generator().manual_seed(3))
    found = theirs(ids, return_dict=True)
    ours = GreenMark(KEY, 150, width=width, rule=rule)
    scored, green = ours.count(*flat(ids.tolist(), 150), unique=unique)
    assert scored.tolist() == found.num_tokens_scored.tolist()
    assert green.tolist() == found.num_green_tokens.tolist()
    np.testing.assert_allclose(ours.z(scored, green), found.z_score)


def lm_watermarking(rule: str, window: torch.Tensor) -> int:
    """The seed of lm-watermarking, as its schemes are published."""
    table = torch.randperm(1_000_003, generator=torch.Generator().manual_seed(2971215073))

    def looked(ids: torch.Tensor) -> torch.Tensor:
        return table[ids % 1_000_003] + 1

    if rule == "lm-minhash":
        return int(looked(KEY * window).min())
    if rule == "lm-skipgram":
        return int(looked(KEY * window[0]))
    return int((KEY * looked(window) * looked(window[-1])).min())


def markllm(window: torch.Tensor, n_vocabulary: int) -> int:
    table = torch.randperm(n_vocabulary, generator=torch.Generator().manual_seed(KEY))
    product = 1
    for token in window.tolist():
        product *= token
    return KEY * int(table[product % n_vocabulary]) % n_vocabulary


@pytest.mark.parametrize(
    ("rule", "width"), [("lm-selfhash", 4), ("lm-minhash", 4), ("lm-skipgram", 5), ("markllm", 1), ("markllm", 3)]
)
def test_rules_of_other_libraries(rule: str, width: int):
    n_vocabulary = 301
    sets = GreenSets(rule, KEY, n_vocabulary, 0.25)
    windows = torch.randint(0, n_vocabulary, (5, width), generator=torch.Generator().manual_seed(4))
    for window in windows:
        seed = markllm(window, n_vocabulary) if rule == "markllm" else lm_watermarking(rule, window)
        shuffled = torch.randperm(n_vocabulary, generator=torch.Generator().manual_seed(seed % (2**64 - 1)))
        green = set(shuffled[: int(n_vocabulary * 0.25)].tolist())
        everyone = np.arange(n_vocabulary)
        repeated = np.repeat(window[None].numpy(), n_vocabulary, axis=0)
        assert set(everyone[sets.are_green(repeated, everyone)].tolist()) == green


def test_products_that_overflow_are_seeded_alike():
    """A key so large that the product of selfhash leaves 64 bits, as it does in torch."""
    theirs = WatermarkLogitsProcessor(97, "cpu", 0.25, 2.0, 2**61 - 1, "selfhash", 3)
    ours = GreenMark(2**61 - 1, 97, width=3, rule="selfhash")
    ids = torch.randint(0, 97, (4, 6), generator=torch.Generator().manual_seed(5))
    logits = torch.randn(4, 97, generator=torch.Generator().manual_seed(6))
    assert torch.equal(ours.bias(ids, logits), theirs(ids, logits))


def test_a_token_that_meets_its_set_again_counts_once():
    """lefthash looks at the last token alone: (1, 2, 3) and (7, 2, 3) are one number."""
    mark, tokens = GreenMark(KEY, 100, width=2, rule="lefthash"), flat([[1, 2, 3, 7, 2, 3]], 100)
    assert mark.count(*tokens, unique="ngram")[0].tolist() == [4]
    assert mark.count(*tokens)[0].tolist() == [3]


def test_kept_sets_are_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("assay.language.green_sets.KEPT", 8000)
    sets = GreenSets("lefthash", KEY, 128, 0.25)
    windows = np.arange(128)[:, None]
    whole = GreenSets("lefthash", KEY, 128, 0.25).masks(windows)
    for row in range(128):
        assert np.array_equal(sets.masks(windows[row : row + 1])[0], whole[row])
        assert len(sets._kept) * 128 <= 8000 or len(sets._kept) == 1


def test_bad_rules():
    with pytest.raises(InputError, match="no rule 'lefthsah'"):
        GreenSets("lefthsah", KEY, 100, 0.25)
    with pytest.raises(InputError, match="from 1 to 2\\^63 - 1"):
        GreenSets("lefthash", 2**63, 100, 0.25)
    with pytest.raises(InputError, match="looks at 4 tokens"):
        GreenMark(KEY, 100, rule="lm-minhash")

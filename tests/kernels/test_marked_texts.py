"""Counting over texts equals plain loops over plain Python."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.kernels.keyed_hash import key_state, mix32
from assay.kernels.marked_texts import first_ngrams, green_counts, gumbel_sums, whole_ngrams

TEXTS = st.lists(st.lists(st.integers(0, 6), max_size=40), max_size=6)


def joined(texts: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    return np.array([token for text in texts for token in text], dtype=np.int32), offsets


@settings(deadline=None)
@given(TEXTS, st.integers(1, 4))
def test_first_and_whole_ngrams(texts: list[list[int]], n: int):
    tokens, offsets = joined(texts)
    whole, first = [], []
    for text in texts:
        seen = set()
        for at in range(len(text)):
            ngram = tuple(text[at - n + 1 : at + 1]) if at >= n - 1 else None
            whole.append(ngram is not None)
            first.append(ngram is not None and ngram not in seen)
            seen.add(ngram)
    assert whole_ngrams(tokens, offsets, n).tolist() == whole
    assert first_ngrams(tokens, offsets, n).tolist() == first


@settings(deadline=None)
@given(TEXTS, st.integers(1, 3), st.integers(0, 2**64 - 1), st.booleans())
def test_counts_and_sums(texts: list[list[int]], width: int, key: int, unique: bool):
    tokens, offsets = joined(texts)
    threshold, start = np.uint32(2**30), np.uint32(key_state(key))
    counts, greens, sums = [], [], []
    for text in texts:
        ngrams = [tuple(text[at - width : at + 1]) for at in range(width, len(text))]
        values = [mix32(key, *ngram) for ngram in (dict.fromkeys(ngrams) if unique else ngrams)]
        counts.append(len(values))
        greens.append(sum(value < 2**30 for value in values))
        sums.append(sum(-math.log(1 - (value + 0.5) / 2**32) for value in values))
    keep = first_ngrams(tokens, offsets, width + 1) if unique else np.zeros(0, dtype=bool)
    scored, green = green_counts(tokens, offsets, width, start, threshold, keep)
    assert (scored.tolist(), green.tolist()) == (counts, greens)
    scored, score = gumbel_sums(tokens, offsets, width, start, keep)
    assert scored.tolist() == counts
    np.testing.assert_allclose(score, sums, rtol=1e-12)


def test_texts_do_not_touch_each_other():
    """The n-grams of a text do not reach over its edges, and a permutation of texts permutes the counts."""
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, 50, size).tolist() for size in (0, 3, 100, 1, 17)]
    start, none = np.uint32(key_state(1)), np.zeros(0, dtype=bool)
    whole = green_counts(*joined(texts), 2, start, np.uint32(2**30), none)
    alone = [green_counts(*joined([text]), 2, start, np.uint32(2**30), none) for text in texts]
    assert [(int(s[0]), int(g[0])) for s, g in alone] == list(zip(*map(np.ndarray.tolist, whole), strict=True))

"""What confident learning says of tags, tokens, options and blocks that it cannot audit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from assay.audit.confident_tags import ConfidentTags
from assay.audit.confident_tokens import ConfidentTokens
from assay.errors import InputError
from assay.labels.masks import Masks
from assay.labels.spaces import Kind, Space
from assay.labels.tags import Tags


def tagged() -> tuple[np.ndarray, np.ndarray]:
    """Tags (300, 6) and probabilities."""
    rng = np.random.default_rng(0)
    p = rng.uniform(0.01, 0.99, (300, 6))
    return (rng.random(p.shape) < p).astype(np.int8), p


def sentences() -> tuple[list[list[int]], list[np.ndarray]]:
    """Sentences of four classes: 120 of them, of 1 to 7 tokens, and probabilities."""
    rng = np.random.default_rng(0)
    p = [rng.dirichlet(np.ones(4), length) for length in rng.integers(1, 8, 120)]
    return [[int(rng.integers(4)) for _ in rows] for rows in p], p


def flat(labels: list[list[int]], k: int = 4) -> Masks:
    return Masks.from_rows(Space(tuple("ABCDEFGH"[:k])), labels)


@pytest.mark.parametrize(
    ("change", "says", "row"),
    [
        (lambda y, p: (y, np.where(np.arange(300)[:, None] == 17, np.nan, p)), "probabilities, got nan for tag 0", 17),
        (lambda y, p: (y, np.log(p)), "exp", 0),
        (lambda y, p: (y, p[:, :5]), r"Expected pred_probs \(300, 6\)", None),
        (lambda y, p: (y, y), "float16", None),
        (lambda y, p: (np.where(np.arange(300)[:, None] == 9, 2, y), p), "0 or 1, got 2", 9),
        (lambda y, p: (np.where(np.arange(300)[:, None] == 9, -1, y), p), "false mask", 9),
        (lambda y, p: (y * 1.0, p), "integers or booleans", None),
        (lambda y, p: (y[:0], p[:0]), "empty", None),
        (lambda y, p: (y * 0, p), "nothing to compare", None),
        (lambda y, p: (y, p, np.ones((300, 5), bool)), "mask of tags", None),
        (lambda y, p: (Tags.from_lists([["a"], ["b"]], positive_only=True), p[:2, :2]), "Positive-only", None),
        (lambda y, p: (Tags.from_lists([["a"], ["b"]]), p[:2, :2], np.ones((2, 2), bool)), "own mask", None),
    ],
)
def test_tags_bad_input_is_named(change: Any, says: str, row: int | None) -> None:
    with pytest.raises(InputError, match=says) as error:
        ConfidentTags().fit(*change(*tagged()))
    assert error.value.row == row


@pytest.mark.parametrize(
    "options",
    [
        {"filter_by": "all"},
        {"score": "margin"},
        {"aggregator": "min"},
        {"alpha": 1.5},
        {"temperature": 0},
        {"frac_noise": 0},
        {"min_examples_per_class": -1},
    ],
)
def test_tags_bad_options_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        ConfidentTags(**options).fit(*tagged())


def test_tags_blocks_must_agree() -> None:
    y, p = tagged()
    with pytest.raises(InputError, match="must be alike"):
        ConfidentTags().fit_blocks(lambda: [(y, p), (y, p.astype(np.float32))])
    with pytest.raises(InputError, match="Label spaces differ"):
        ConfidentTags().fit_blocks(lambda: [(y, p), (y[:, :4], p[:, :4])])
    once = iter([(y, p)])
    with pytest.raises(InputError, match="make_blocks"):
        ConfidentTags().fit_blocks(lambda: once)


@pytest.mark.parametrize(
    ("change", "says", "row"),
    [
        (lambda y, p: (y, [*p[:5], p[5] * np.nan, *p[6:]]), "Token 0 of sentence 5: pred_probs holds NaN", 5),
        (lambda y, p: (y, [*p[:5], p[5] * 2, *p[6:]]), "Token 0 of sentence 5: .* sums to 2", 5),
        (lambda y, p: ([*y[:5], [4] * len(y[5]), *y[6:]], p), "Token 0 of sentence 5: Mask classes", 5),
        (lambda y, p: ([*y[:5], [-100] * len(y[5]), *y[6:]], p), "false mask", 5),
        (lambda y, p: (y, p[1:]), "120 sentences, got 119", None),
        (lambda y, p: (y, [*p[:5], p[5][:, :3], *p[6:]]), "for sentence 5", None),
        (lambda y, p: (y, np.concatenate(p)[1:]), "tokens, got", None),
        (lambda y, p: (flat(y, 5), p), "4 columns for labels of 5 classes", None),
        (lambda y, p: ([], p), "empty", None),
        (lambda y, p: (y, []), "empty", None),
        (lambda y, p: (y, p[0][0]), "got shape", None),
        (lambda y, p: ([[0] * len(sentence) for sentence in y], p), "same class", None),
        (lambda y, p: (y, [np.ones(rows.shape, int) for rows in p]), "float16", None),
        (lambda y, p: (Masks(Space((), Kind.REAL), np.ones(2, np.float32), [0, 2]), p[:1]), "real", None),
    ],
)
def test_tokens_bad_input_is_named(change: Any, says: str, row: int | None) -> None:
    with pytest.raises(InputError, match=says) as error:
        ConfidentTokens().fit(*change(*sentences()))
    assert error.value.row == row


@pytest.mark.parametrize(
    "options", [{"filter_by": "all"}, {"score": "margin"}, {"sentence_score": "mean"}, {"temperature": 0}]
)
def test_tokens_bad_options_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        ConfidentTokens(**options).fit(*sentences())


def test_tokens_blocks_must_agree() -> None:
    labels, p = sentences()
    masks = flat(labels)
    with pytest.raises(InputError, match="must be alike"):
        ConfidentTokens().fit_blocks(lambda: [(masks, p), (masks, [rows.astype(np.float32) for rows in p])])
    other = Masks(Space(tuple("DCBA")), masks.values, masks.offsets)
    with pytest.raises(InputError, match="another order"):
        ConfidentTokens().fit_blocks(lambda: [(masks, p), (other, p)])

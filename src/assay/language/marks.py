"""Marks that a language model leaves in its text: what all of them have, and texts as one list of tokens.

A mark makes pseudo-random numbers from a secret key, the last `width` tokens and a candidate token, and lets them into
the choice of the next token; who has the key makes the numbers again and tests whether the text follows them. Numbers
come from `assay.kernels.keyed_hash`, so they are the same on any device and in any batch. There are `GreenMark` and
`GumbelMark`.

A context that is not there yet gets no mark. With `skip_repeats` nor does one that the row held before: the same
numbers once more would tell nothing new, and draw a text into a loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.kernels import marked_texts
from assay.kernels.keyed_hash import key_state
from assay.language import Tensor, torch

Tokens = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Mark:
    """What both marks have.

    Parameters
    ----------
    key : a secret integer below 2^64.
    n_vocabulary : width of the logits, not of the tokenizer; the two sides must agree.
    width : tokens of context, h. More are harder to guess and to scrub by counting; fewer survive edits better.
    skip_repeats : leave no mark where the context occurred before in the row.
    """

    key: int
    n_vocabulary: int
    width: int = 2
    skip_repeats: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.key < 2**64:
            raise InputError("The key of a mark is a whole number from 0 to 2^64 - 1: make one with `new_key`.")
        if self.width < 1:
            raise InputError(f"width is {self.width}: a mark needs at least one token of context.")

    @property
    def span(self) -> int:
        """Tokens of an n-gram that has a number: the context and the token itself."""
        return self.width + 1

    @cached_property
    def start(self) -> np.uint32:
        """State of the hash before any token."""
        return np.uint32(key_state(self.key))

    def keep(self, tokens: Tokens, offsets: Ints, unique: bool) -> npt.NDArray[np.bool_]:
        """Which tokens (t,) to score: those with a whole n-gram, each n-gram of a text once if `unique`."""
        count = marked_texts.first_ngrams if unique else marked_texts.whole_ngrams
        return np.asarray(count(tokens, offsets, self.span))

    def _marked(self, ids: Tensor) -> Tensor:
        """Whether each row (b,) of `ids` (b, t) is at a place that gets a mark."""
        n_rows, length = ids.shape
        if length < self.width:
            return torch.zeros(n_rows, dtype=torch.bool, device=ids.device)
        if not self.skip_repeats:
            return torch.ones(n_rows, dtype=torch.bool, device=ids.device)
        windows = ids.unfold(1, self.width, 1)
        return ~(windows[:, :-1] == windows[:, -1:]).all(-1).any(-1)

    def _check_width(self, scores: Tensor) -> None:
        if scores.shape[-1] != self.n_vocabulary:
            raise InputError(
                f"The mark was made for {self.n_vocabulary} tokens, but the logits have {scores.shape[-1]}: give "
                "n_vocabulary the width of the model's logits (`lm.n_vocabulary`), in generation and in detection."
            )


def flat(texts: Sequence[Sequence[int]], n_vocabulary: int) -> tuple[Tokens, Ints]:
    """Token ids of texts (n,) one after another (t,), and where each begins (n + 1,).

    Raises
    ------
    InputError naming the row whose id is outside 0..n_vocabulary-1.
    """
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    tokens = np.empty(offsets[-1], dtype=np.int64)
    for text, start, stop in zip(texts, offsets[:-1], offsets[1:], strict=True):
        tokens[start:stop] = text
    check_tokens(tokens, offsets, n_vocabulary)
    return tokens.astype(np.int32), offsets


def check_tokens(tokens: npt.NDArray[Any], offsets: Ints, n_vocabulary: int) -> None:
    """Raise, naming the row, when a token is none of the vocabulary's."""
    wrong = np.flatnonzero((tokens < 0) | (tokens >= n_vocabulary))
    if len(wrong):
        raise InputError(
            f"Token {tokens[wrong[0]]} is outside 0 to {n_vocabulary - 1}: the text was tokenized for another model, "
            "or n_vocabulary is not the width of the logits.",
            row=int(np.searchsorted(offsets, wrong[0], side="right") - 1),
        )


def as_float32(scores: Tensor) -> npt.NDArray[np.float32]:
    """Rows as an array, of the same memory where they are float32 on the CPU."""
    return np.asarray(scores.detach().to("cpu", torch.float32).contiguous().numpy())

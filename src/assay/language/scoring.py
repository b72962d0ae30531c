"""How likely answers are: log p(answer | context), batched, with the keys and values of a common prefix made once.

    log p(y | x) = sum_t log p(y_t | x, y_<t)

Rows are padded on the right, where a causal model does not look, so an answer's score does not depend on its batch but
for the rounding of sums. Logits exist for one block of answer tokens at a time: memory is that of the hidden states
(b, t, d) and of a block of 256 x V numbers, where all logits would be b x t x V.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.language import Tensor, torch
from assay.language.models import LanguageModel
from assay.language.token_ratios import Head, token_ratios

Ids = Sequence[int]
Floats = npt.NDArray[np.float64]
IGNORED = -100


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """Scores of n answers.

    Parameters
    ----------
    log_prob : (n,) natural logarithm of each answer's probability.
    n_tokens : (n,) tokens of each answer.
    tokens : for each answer the log-probabilities of its tokens, when asked for.
    """

    log_prob: Floats
    n_tokens: npt.NDArray[np.int64]
    tokens: list[Floats] | None = None

    @property
    def mean(self) -> Floats:
        """(n,) mean log-probability of a token, which does not punish length."""
        return self.log_prob / self.n_tokens

    @property
    def perplexity(self) -> Floats:
        """(n,) exp(-mean): as unsure as a choice among so many tokens."""
        return np.exp(-self.mean)


@dataclass(frozen=True, slots=True)
class Prefix:
    """Ids that contexts begin with, and the keys and values of all but the last: made by `remember`."""

    ids: tuple[int, ...]
    cache: Any


def remember(lm: LanguageModel, ids: Ids) -> Prefix:
    """Run a prefix through the model once; `score_answers` takes it as `prefix` any number of times."""
    _check_ids(lm, ids, "The prefix", None)
    cache = None
    if len(ids) > 1:  # the last one is run with each row, since its output foretells the first token of the row
        with torch.inference_mode():
            seen = torch.tensor([list(ids[:-1])], device=lm.device)
            cache = lm.body(input_ids=seen, use_cache=True).past_key_values
    return Prefix(tuple(ids), cache)


def score_answers(
    lm: LanguageModel,
    contexts: Sequence[Ids],
    answers: Sequence[Ids],
    *,
    prefix: Ids | Prefix = (),
    batch_size: int = 16,
    per_token: bool = False,
    on_row: Callable[[int, int], None] | None = None,
) -> AnswerScores:
    """Log-probability of each answer after its context.

    Parameters
    ----------
    contexts, answers : n lists of ids each; a context may be empty where there is a prefix.
    prefix : ids that stand before every context, as they are or from `remember`.
    batch_size : rows at a time; rows of like length share a batch.
    per_token : keep the log-probability of each token.
    on_row : called as `on_row(rows done, n)` after each batch.

    Raises
    ------
    InputError naming the row whose answer is empty, whose context is empty without a prefix, that has ids the model
    does not know, that is longer than the model's context, or whose logits are no numbers.

    >>> from assay.language.models import tiny_language_model
    >>> lm = tiny_language_model()
    >>> scores = score_answers(lm, [lm.encode("ab"), lm.encode("b")], [lm.encode("no"), lm.encode("yes")])
    >>> scores.log_prob.round(2).tolist(), scores.n_tokens.tolist()
    ([-13.54, -16.33], [2, 3])
    """
    if len(contexts) != len(answers):
        raise InputError(f"There are {len(contexts)} contexts and {len(answers)} answers: each answer needs its own.")
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}: it must be at least 1.")
    begun = prefix if isinstance(prefix, Prefix) else None
    ids = tuple(begun.ids if begun is not None else prefix)  # type: ignore[arg-type]
    for row, (context, answer) in enumerate(zip(contexts, answers, strict=True)):
        if len(answer) == 0:
            raise InputError("An answer is empty: a probability needs at least one token.", row=row)
        if len(ids) + len(context) == 0:
            raise InputError("A context is empty, and nothing foretells the answer: begin it with a token.", row=row)
        _check_ids(lm, [*context, *answer], "A context with its answer", row, len(ids))
    if ids and begun is None and len(answers):
        begun = remember(lm, ids)
    order = sorted(range(len(answers)), key=lambda at: len(contexts[at]) + len(answers[at]))
    tokens: list[Floats] = [np.empty(0)] * len(answers)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        with torch.inference_mode():
            found = _score(lm, begun, [list(contexts[row]) for row in rows], [list(answers[row]) for row in rows])
        for row, each in zip(rows, found, strict=True):
            if not np.isfinite(each).all():
                at = int(np.flatnonzero(~np.isfinite(each))[0])
                raise InputError(
                    f"The log-probability of token {at} of an answer is {each[at]}: look at the weights (a "
                    "half-precision overflow?).",
                    row=row,
                )
            tokens[row] = each
        if on_row is not None:
            on_row(min(start + batch_size, len(order)), len(order))
    return AnswerScores(
        np.array([each.sum() for each in tokens], dtype=np.float64),
        np.array([len(each) for each in tokens], dtype=np.int64),
        tokens if per_token else None,
    )


def _score(
    lm: LanguageModel, prefix: Prefix | None, contexts: list[list[int]], answers: list[list[int]]
) -> list[Floats]:
    """Log-probabilities of the tokens of each answer of one batch."""
    cache, seen = None, 0
    if prefix is not None:
        contexts = [[prefix.ids[-1], *context] for context in contexts]
        seen = len(prefix.ids) - 1
        if prefix.cache is not None:
            cache = copy.deepcopy(prefix.cache)
            cache.batch_repeat_interleave(len(contexts))
    fed = [
        context + answer[:-1] for context, answer in zip(contexts, answers, strict=True)
    ]  # the last foretells nothing
    width = max(map(len, fed))
    inputs = {
        "input_ids": torch.tensor([row + [lm.pad] * (width - len(row)) for row in fed], device=lm.device),
        "position_ids": torch.arange(seen, seen + width, device=lm.device).expand(len(fed), -1),
        "past_key_values": cache,
        "use_cache": cache is not None,
    }
    lengths = [len(answer) for answer in answers]
    rows = torch.tensor([row for row, length in enumerate(lengths) for _ in range(length)], device=lm.device)
    places = torch.cat(
        [torch.arange(length) + len(context) - 1 for context, length in zip(contexts, lengths, strict=True)]
    ).to(lm.device)
    labels = torch.tensor([token for answer in answers for token in answer], device=lm.device)
    if lm.head is not None:
        hidden = lm.body(**inputs).last_hidden_state[rows, places]
        found = token_log_probs(hidden, lm.head, labels)
    else:
        logits = lm.model(**inputs).logits[rows, places].float()
        found = logits.log_softmax(-1).gather(1, labels[:, None]).squeeze(1)
    return [each.double().numpy() for each in found.cpu().split(lengths)]


def token_log_probs(hidden: Tensor, head: Head, labels: Tensor) -> Tensor:
    """Log-probabilities of labels in single precision, with gradient, without ever storing all logits.

    Parameters
    ----------
    hidden : (..., d) final hidden states, each at the position that foretells its label.
    head : of the model: `lm.head`, or `head_of(model)` of `assay.language.token_ratios`.
    labels : (...,) ids; -100 is left out and gets 0.

    >>> head = Head(torch.eye(3))
    >>> token_log_probs(torch.zeros(2, 3), head, torch.tensor([1, -100])).exp().round(decimals=4).tolist()
    [0.33329999446868896, 1.0]
    """
    kept = labels != IGNORED
    found = token_ratios(hidden[kept], head, labels[kept])[0]
    return torch.zeros_like(labels, dtype=found.dtype).masked_scatter(kept, found)


def _check_ids(lm: LanguageModel, ids: Ids, what: str, row: int | None, before: int = 0) -> None:
    """Raise where ids are unknown to the model, or too many with the `before` ones of a prefix."""
    if len(ids) + before > lm.context_length:
        raise InputError(
            f"{what} has {len(ids) + before} tokens, but {lm.name} was made for {lm.context_length}: shorten it.",
            row=row,
        )
    unknown = [token for token in ids if not 0 <= token < lm.n_vocabulary]
    if unknown:
        raise InputError(
            f"{what} has the id {unknown[0]}, but {lm.name} knows 0 to {lm.n_vocabulary - 1}: encode it with the "
            "model's own tokenizer.",
            row=row,
        )

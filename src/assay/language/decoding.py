"""Writing answers: one loop, one cache of keys and values, and a chain that chooses each token.

A batch is padded on the left, with position ids that do not count the padding, so a prompt gets the same answer alone
and in any batch (up to the rounding of the model's sums, which can only tell apart logits that are all but equal).
Samples of a prompt share its first pass. Answers that have ended leave the batch once half of it has.

Memory: the cache, of 2 x layers x key-value width x (prompt + answer) numbers for each sequence, and one row of logits.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from assay.errors import InputError
from assay.language import Tensor, torch
from assay.language.chain import ROWS, LogitsChain
from assay.language.models import LanguageModel

Ids = Sequence[int]
PADDED = -1
"""What chains see where a prompt is padded on the left, so that it is taken for no token."""


def generate(
    lm: LanguageModel,
    prompts: Sequence[Ids],
    *,
    chain: LogitsChain | None = None,
    max_new_tokens: int = 64,
    n_samples: int = 1,
    batch_size: int = 16,
    without: Sequence[Ids] | None = None,
    rows: Sequence[int] | None = None,
    on_row: Callable[[int, int], None] | None = None,
) -> list[list[list[int]]]:
    """Write answers to prompts.

    Parameters
    ----------
    lm : the model.
    prompts : n lists of ids.
    chain : how tokens are chosen; `LogitsChain()` draws at temperature 1.
    max_new_tokens : where an answer is cut off.
    n_samples : answers for each prompt.
    batch_size : sequences at a time, samples counted; the samples of a prompt stay together, however many they are.
    without : n paired prompts, such as those without a principle. Both run as one batch, the token that
        `chain.combine(logits_with, logits_without, step)` leads to goes to both, and chains see the ids of `prompts`.
    rows : ids below 2^20 of the prompts, which key the draws; 0, 1, 2... by default. A prompt with the same id, seed
        and sample number gets the same answer in any call.
    on_row : called as `on_row(prompts done, n)` after each batch.

    Returns
    -------
    The new ids by prompt and sample, with the id that ended the answer unless it was cut off.

    Raises
    ------
    InputError naming the prompt that is empty, has ids the model does not know or leaves no room, and the row and the
    step at which the logits are no numbers.

    >>> from assay.language.models import tiny_language_model
    >>> lm = tiny_language_model()
    >>> generate(lm, [lm.encode("Hi")], chain=LogitsChain(temperature=0), max_new_tokens=3)
    [[[100, 43, 95]]]
    """
    chain = chain or LogitsChain()
    names = list(range(len(prompts)) if rows is None else rows)
    _check(lm, prompts, max_new_tokens, "prompt")
    if min(max_new_tokens, n_samples, batch_size) < 1 or n_samples > 2**11:
        raise InputError("max_new_tokens, n_samples and batch_size must be at least 1, and n_samples at most 2048.")
    if len(names) != len(prompts) or not all(0 <= name < ROWS for name in names):
        raise InputError(f"rows must be {len(prompts)} ids from 0 to {ROWS - 1}, one for each prompt.")
    if (without is None) != (chain.combine is None):
        raise InputError("Paired prompts and a chain that combines go together: give both without= and combine=.")
    if without is not None:
        _check(lm, without, max_new_tokens, "paired prompt")
        if len(without) != len(prompts):
            raise InputError(f"There are {len(prompts)} prompts and {len(without)} paired ones: each needs its own.")
    # Prompts of like length share a batch, so that little is padded.
    order = sorted(range(len(prompts)), key=lambda at: len(prompts[at]))
    size = max(1, batch_size // n_samples)
    answers: list[list[list[int]]] = [[] for _ in prompts]
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        with torch.inference_mode():
            found = _write(
                lm,
                [list(prompts[at]) for at in chosen],
                None if without is None else [list(without[at]) for at in chosen],
                torch.tensor([names[at] + ROWS * sample for at in chosen for sample in range(n_samples)]),
                chain,
                max_new_tokens,
            )
        for at, row in enumerate(chosen):
            answers[row] = found[at * n_samples : (at + 1) * n_samples]
        if on_row is not None:
            on_row(min(start + size, len(order)), len(order))
    return answers


def _write(
    lm: LanguageModel,
    prompts: list[list[int]],
    without: list[list[int]] | None,
    rows: Tensor,
    chain: LogitsChain,
    max_new_tokens: int,
) -> list[list[int]]:
    """Answers for one batch: `rows` of them, the samples of a prompt side by side."""
    branches = 1 if without is None else 2
    n_samples = len(rows) // len(prompts)
    logits, cache, ids, mask = _prefill(lm, prompts + (without or []), max_new_tokens, n_samples)
    rows, width, ended = rows.to(lm.device), ids.shape[1] - max_new_tokens, torch.tensor(lm.eos, device=lm.device)
    places = mask.sum(1)  # position of the next token in its own sequence
    live = torch.arange(len(rows), device=lm.device)  # places in the batch of answers that go on
    owner = live  # of each place in the batch, the answer
    answers: list[list[int]] = [[] for _ in rows]
    for step in range(max_new_tokens):
        here = width + step
        half = len(ids) // branches
        second = logits[half:][live] if branches == 2 else None
        token = chain(ids[live, :here], logits[live], rows[owner[live]], step, second)
        for at, said in zip(owner[live].tolist(), token.tolist(), strict=True):
            answers[at].append(said)
        fed = torch.full((half,), lm.pad, device=lm.device)
        fed[live] = token
        live = live[~torch.isin(token, ended)]
        if len(live) == 0 or step == max_new_tokens - 1:
            break
        if 2 * len(live) <= half:
            kept = torch.cat([live + half * branch for branch in range(branches)])
            cache.batch_select_indices(kept)
            ids, mask, places = ids[kept], mask[kept], places[kept]
            owner, fed, live = owner[live], fed[live], torch.arange(len(live), device=lm.device)
        ids[:, here] = fed.repeat(branches)
        mask[:, here] = 1
        out = lm.model(
            input_ids=ids[:, here, None],
            attention_mask=mask[:, : here + 1],
            position_ids=places[:, None],
            past_key_values=cache,
            use_cache=True,
        )
        places = places + 1
        logits, cache = out.logits[:, -1], out.past_key_values
    return answers


def _prefill(
    lm: LanguageModel, prompts: list[list[int]], room: int, n_samples: int
) -> tuple[Tensor, Any, Tensor, Tensor]:
    """Logits (b, V) after the prompts, their cache, ids and mask (b, t + room), each prompt `n_samples` times."""
    width = max(map(len, prompts))
    ids = torch.tensor([[PADDED] * (width - len(prompt)) + prompt + [lm.pad] * room for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) + [0] * room for prompt in prompts])
    ids, mask = ids.to(lm.device), mask.to(lm.device)
    last = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(lm.model.forward).parameters else {}
    out = lm.model(
        input_ids=ids[:, :width].masked_fill(mask[:, :width] == 0, lm.pad),
        attention_mask=mask[:, :width],
        position_ids=(mask[:, :width].cumsum(1) - 1).clamp(min=0),
        use_cache=True,
        **last,
    )
    logits, cache = out.logits[:, -1], out.past_key_values
    if n_samples > 1:
        cache.batch_repeat_interleave(n_samples)
        logits, ids, mask = (each.repeat_interleave(n_samples, 0) for each in (logits, ids, mask))
    return logits, cache, ids, mask


def _check(lm: LanguageModel, prompts: Sequence[Ids], max_new_tokens: int, what: str) -> None:
    """Raise at the first prompt that cannot be continued."""
    for row, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise InputError(
                f"A {what} is empty: give at least one token, such as the one that begins a text.", row=row
            )
        if not 0 <= min(prompt) <= max(prompt) < lm.n_vocabulary:
            raise InputError(
                f"A {what} has the id {max(prompt) if min(prompt) >= 0 else min(prompt)}, but {lm.name} knows 0 to "
                f"{lm.n_vocabulary - 1}: encode it with the model's own tokenizer.",
                row=row,
            )
        if len(prompt) + max_new_tokens > lm.context_length:
            raise InputError(
                f"A {what} of {len(prompt)} tokens and an answer of {max_new_tokens} do not fit into the "
                f"{lm.context_length} tokens of {lm.name}: shorten one of them.",
                row=row,
            )

"""Preference pairs as TRL writes them, as tokens, and in batches that know which rows they are.

A pair is a prompt and two answers, the chosen one and the rejected one, as texts or as conversations (lists of
`{"role", "content"}`). Tokens are those of TRL's `DPOTrainer`: prompt and answer are tokenised together, the answer
begins where the two sequences leave the prompt's, texts end with the end-of-sequence token, conversations pass through
the chat template, and what is longer than `max_length` loses its end.

Pairs without information are left out and counted: both answers equal, an answer without a word, an answer that lies
behind `max_length` whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels.formats import hub
from assay.labels.tables import raw_table
from assay.language import Tensor, torch

Pair = Mapping[str, Any]
SPEAKER = "\n\nAssistant:"


def read_pairs(source: Path | str | Iterable[Pair]) -> list[dict[str, Any]]:
    r"""Pairs with the keys prompt, chosen and rejected.

    Parameters
    ----------
    source : a file (JSON lines, Parquet, Arrow, CSV; .gz too), a `datasets.Dataset`, or mappings. Without a prompt,
        it is what both answers begin with: whole messages, the dialogue up to the last "Assistant:" (as in hh-rlhf),
        or the shared words.

    Raises
    ------
    InputError : naming the first row that is no pair.

    >>> read_pairs([{"chosen": "\n\nHuman: Hi\n\nAssistant: Hello.", "rejected": "\n\nHuman: Hi\n\nAssistant: No."}])
    [{'prompt': '\n\nHuman: Hi\n\nAssistant:', 'chosen': ' Hello.', 'rejected': ' No.'}]
    """
    if isinstance(source, str | Path):
        pairs: list[Any] = raw_table(Path(source)).to_pylist()
    else:
        pairs = hub.read(source).to_pylist() if hub.is_dataset(source) else list(source)
    if not pairs:
        raise InputError("There are no pairs: expected rows with prompt, chosen and rejected.")
    return [_pair(pair, row) for row, pair in enumerate(pairs)]


def _pair(pair: Any, row: int) -> dict[str, Any]:
    if not isinstance(pair, Mapping) or not {"chosen", "rejected"} <= set(pair):
        held = ", ".join(map(str, pair)) if isinstance(pair, Mapping) else type(pair).__name__
        raise InputError(f"A pair needs chosen and rejected, and this row has {held}.", row=row)
    chosen, rejected = pair["chosen"], pair["rejected"]
    prompt = pair.get("prompt")
    given = [one for one in (prompt, chosen, rejected) if one is not None]
    if len(given) < 2 + (prompt is not None) or not (all(map(_is_talk, given)) or all(map(_is_text, given))):
        raise InputError("A pair's parts must be all texts, or all lists of messages with role and content.", row=row)
    if prompt is None:
        at = _shared(chosen, rejected)
        prompt, chosen, rejected = chosen[:at], chosen[at:], rejected[at:]
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_talk(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(message, Mapping)
        and isinstance(message.get("content"), str)
        and isinstance(message.get("role"), str)
        for message in value
    )


def _shared(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Length of the prompt that two answers share."""
    n = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    if not isinstance(one, str):
        return n
    at = one.rfind(SPEAKER, 0, n)
    if at >= 0:
        return at + len(SPEAKER)
    while n > 0 and not one[n - 1].isspace() and n < max(len(one), len(other)):
        n -= 1  # not in the middle of a word
    return n


def text_of(part: Any) -> str:
    """A prompt or an answer as one text."""
    return part if isinstance(part, str) else "\n\n".join(message["content"] for message in part)


@dataclass(slots=True, eq=False)
class PairTokens:
    """Pairs as tokens; `pairs[rows]` is a padded batch, so that `Data` takes it for inputs.

    Parameters
    ----------
    prompt, chosen, rejected : n lists of token ids.
    rows : (n,) rows of the source.
    pad : id that fills a batch; it is masked everywhere.
    dropped : rows of the source that were left out, by reason.
    known : columns (n, ...) that come with each batch by their name.
    """

    prompt: list[list[int]]
    chosen: list[list[int]]
    rejected: list[list[int]]
    rows: npt.NDArray[np.int64]
    pad: int
    dropped: dict[str, list[int]] = field(default_factory=dict)
    known: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Tensor) -> dict[str, Tensor]:
        """Of rows (b,): ids, attention and response (1 on tokens of the answer), (b, 2, t), chosen first."""
        at = torch.as_tensor(rows).tolist()
        spans = [
            (len(self.prompt[i]), self.prompt[i] + answer[i]) for i in at for answer in (self.chosen, self.rejected)
        ]
        ids = torch.full((len(spans), max(len(tokens) for _, tokens in spans)), self.pad)
        attention, response = torch.zeros_like(ids), torch.zeros_like(ids)
        for line, (begin, tokens) in enumerate(spans):
            ids[line, : len(tokens)] = torch.tensor(tokens)
            attention[line, : len(tokens)] = 1
            response[line, begin : len(tokens)] = 1
        batch = {"ids": ids, "attention": attention, "response": response}
        shaped = {name: column.view(len(at), 2, -1) for name, column in batch.items()}
        return shaped | {name: column[rows] for name, column in self.known.items()}

    def take(self, rows: Any) -> PairTokens:
        """The chosen pairs."""
        at = np.asarray(rows, dtype=np.int64)
        prompt, chosen, rejected = ([column[i] for i in at] for column in (self.prompt, self.chosen, self.rejected))
        known = {name: column[at] for name, column in self.known.items()}
        return PairTokens(prompt, chosen, rejected, self.rows[at], self.pad, known=known)

    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of the two answers (n, 2)."""
        return np.array([[len(a), len(b)] for a, b in zip(self.chosen, self.rejected, strict=True)]).reshape(-1, 2)


def tokenise(pairs: Sequence[Pair], tokenizer: Any, pad: int, max_length: int = 1024) -> PairTokens:
    """Tokens of pairs; those without information are left out and stand in `dropped`.

    Parameters
    ----------
    pairs : as `read_pairs` gives them.
    tokenizer : of transformers; conversations need its chat template.
    pad : id for padding.
    max_length : most tokens of prompt and answer together.

    Raises
    ------
    InputError : conversations without a chat template; no pair left.
    """
    kept: list[tuple[int, list[int], list[int], list[int]]] = []
    dropped: dict[str, list[int]] = {"identical": [], "empty": [], "too long": []}
    for row, pair in enumerate(pairs):
        if pair["chosen"] == pair["rejected"]:
            dropped["identical"].append(row)
            continue
        if not (text_of(pair["chosen"]).strip() and text_of(pair["rejected"]).strip()):
            dropped["empty"].append(row)
            continue
        prompt, chosen, rejected = _tokens(pair, tokenizer)
        room = max_length - len(prompt)
        chosen, rejected = chosen[: max(room, 0)], rejected[: max(room, 0)]
        unseen = 0 if prompt else 1  # without a prompt, no state predicts the first token
        if len(chosen) <= unseen or len(rejected) <= unseen:
            dropped["too long" if room <= 0 else "empty"].append(row)
        elif chosen == rejected:
            dropped["identical"].append(row)
        else:
            kept.append((row, prompt, chosen, rejected))
    if not kept:
        counts = ", ".join(f"{len(rows)} {why}" for why, rows in dropped.items() if rows)
        raise InputError(
            f"No pair is left to learn from: {counts}. Give pairs of different answers, or more max_length."
        )
    rows, prompts, chosen_, rejected_ = (list(column) for column in zip(*kept, strict=True))
    return PairTokens(prompts, chosen_, rejected_, np.array(rows, dtype=np.int64), pad, dropped)


def _tokens(pair: Pair, tokenizer: Any) -> tuple[list[int], list[int], list[int]]:
    """Ids of the prompt, of the chosen and of the rejected answer."""
    if isinstance(pair["prompt"], str):
        end = tokenizer.eos_token or ""
        answers = [answer if answer.endswith(end) else answer + end for answer in (pair["chosen"], pair["rejected"])]
        prompt, *both = (tokenizer(pair["prompt"] + more)["input_ids"] for more in ("", *answers))
    else:
        if not getattr(tokenizer, "chat_template", None):
            raise InputError("The tokenizer has no chat template: give texts instead of conversations, or set one.")
        prompt = _templated(tokenizer, pair["prompt"], add_generation_prompt=True)
        both = [_templated(tokenizer, [*pair["prompt"], *pair[name]]) for name in ("chosen", "rejected")]
    begin = min(_alike(prompt, whole) for whole in both)
    return prompt[:begin], both[0][begin:], both[1][begin:]


def _templated(tokenizer: Any, messages: Sequence[Any], **options: Any) -> list[int]:
    ids: list[int] = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, **options)["input_ids"]
    return ids


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))

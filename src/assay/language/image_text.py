"""Image-text models of transformers: chats about pictures, answers, and pictures that are encoded once.

A picture can be whatever the model's processor takes: PIL images or arrays. One picture stands before each text.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from assay.errors import InputError
from assay.language import Tensor, torch


@dataclass(frozen=True)
class Turn:
    """What a model is asked: the user's words, and the system's if there are any."""

    user: str
    system: str | None = None


@dataclass(frozen=True)
class ImageTextModel:
    """A model of transformers that is shown a picture and a text and writes an answer, with its processor.

    Parameters
    ----------
    model : made for generation, such as by `AutoModelForImageTextToText`.
    processor : its `AutoProcessor`, with a chat template.
    name : for messages and reports.
    """

    model: Any
    processor: Any
    name: str = "model"

    def inputs(self, turns: Sequence[Turn], images: Sequence[Any]) -> dict[str, Any]:
        """What the model takes for n chats, each with a picture before the user's words; padded on the left.

        Raises
        ------
        InputError : a text that spells a special token, which the processor would take for one.
        """
        special = [str(token) for token in self.processor.tokenizer.added_tokens_decoder.values()]
        texts = []
        for row, turn in enumerate(turns):
            spelled = next((token for token in special if token in turn.user or token in (turn.system or "")), None)
            if spelled is not None:
                raise InputError(f"A text spells the special token {spelled!r}: remove it.", row=row)
            told = (
                [] if turn.system is None else [{"role": "system", "content": [{"type": "text", "text": turn.system}]}]
            )
            asked = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": turn.user}]}
            texts.append(self.processor.apply_chat_template([*told, asked], add_generation_prompt=True, tokenize=False))
        self.processor.tokenizer.padding_side = "left"
        made = self.processor(text=texts, images=[[image] for image in images], padding=True, return_tensors="pt")
        return dict(made.to(self.model.device))

    def generate(
        self,
        inputs: Mapping[str, Any],
        processors: Sequence[Callable[[Tensor, Tensor], Tensor]] = (),
        *,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[list[int]]:
        """New ids of each row, up to the one that ends it; greedy at temperature 0.

        `processors` are called with all ids (n, t) and raw scores (n, V) before temperature.

        Raises
        ------
        InputError : prompts with which the answer would not fit into the model's context.
        """
        begin = inputs["input_ids"].shape[1]
        longest = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if longest is not None and begin + max_new_tokens > longest:
            raise InputError(
                f"A prompt of {begin} tokens and an answer of {max_new_tokens} do not fit into the {longest} tokens of "
                f"{self.name}: shorten the prompts or max_new_tokens."
            )
        how = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature > 0 else {"do_sample": False}
        eos = _as_tuple(self.model.generation_config.eos_token_id) or _as_tuple(self.processor.tokenizer.eos_token_id)
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(seed)
            out = self.model.generate(
                **inputs,
                **how,
                max_new_tokens=max_new_tokens,
                logits_processor=list(processors),
                eos_token_id=list(eos) or None,
                pad_token_id=self.processor.tokenizer.pad_token_id,
            )
        return [_until(row, eos) for row in out[:, begin:].tolist()]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, without special tokens."""
        return str(self.processor.tokenizer.decode(list(ids), skip_special_tokens=True))


def _as_tuple(ids: int | list[int] | None) -> tuple[int, ...]:
    return () if ids is None else tuple(ids) if isinstance(ids, list) else (ids,)


def _until(ids: list[int], ends: tuple[int, ...]) -> list[int]:
    return ids[: next((at + 1 for at, token in enumerate(ids) if token in ends), len(ids))]


@contextmanager
def images_seen_once(model: Any) -> Iterator[None]:
    """Within it, a model that is shown the same pictures again takes their features from the time before.

    Works for every image-text model of transformers that makes them in `get_image_features`; others are left as they
    are. Only the last pictures are kept.
    """
    base = model.base_model
    if not hasattr(base, "get_image_features"):
        yield
        return
    encode = base.get_image_features
    kept: list[tuple[list[Tensor], Any]] = []

    @functools.wraps(encode)
    def once(*args: Any, **kwargs: Any) -> Any:
        shown = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
        if not (kept and len(kept[0][0]) == len(shown) and all(map(torch.equal, kept[0][0], shown))):
            kept[:] = [(shown, encode(*args, **kwargs))]
        return kept[0][1]

    base.get_image_features = once
    try:
        yield
    finally:
        del base.get_image_features

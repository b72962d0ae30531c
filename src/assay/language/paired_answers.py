"""Answers that come from two prompts at once, of models of text and of image-text models alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from assay.errors import InputError
from assay.language import Tensor
from assay.language.chain import LogitsChain
from assay.language.decoding import generate
from assay.language.image_text import ImageTextModel, Turn, images_seen_once
from assay.language.models import LanguageModel
from assay.language.second_branch import SecondBranch


def paired_answers(
    model: LanguageModel | ImageTextModel,
    first: Sequence[Turn],
    second: Sequence[Turn],
    combine: Callable[[Tensor, Tensor, int], Tensor],
    *,
    images: Sequence[Any] | None = None,
    only: Literal["first", "second"] | None = None,
    max_new_tokens: int = 64,
    temperature: float = 0.0,
    batch_size: int = 16,
    seed: int = 0,
) -> list[list[int]]:
    """New ids of each answer.

    Parameters
    ----------
    model : of text: both branches run as one batch. An image-text model: each picture is encoded once for both.
    first, second : (n,) the paired turns.
    combine : called as `combine(logits_first, logits_second, step)`, raw logits (b, V) each.
    images : (n,) one for each pair, for an image-text model.
    only : the branch that is the result whatever the other says, so that the other need not run.
    max_new_tokens, temperature, batch_size, seed : of decoding; greedy at temperature 0.

    Raises
    ------
    InputError : no prompts, or an empty one, or one that leaves no room in the model's context; images that are
        missing or cannot be seen.
    """
    if not first:
        raise InputError("There are no prompts: give at least one.")
    blank = next((row for row, pair in enumerate(zip(first, second, strict=True)) if not all(map(_says, pair))), None)
    if blank is not None:
        raise InputError("A prompt is empty.", row=blank)
    if isinstance(model, ImageTextModel):
        if images is None or len(images) != len(first):
            raise InputError(f"{model.name} is shown pictures: give images, one for each of the {len(first)} prompts.")
        found: list[list[int]] = []
        for start in range(0, len(first), batch_size):
            part = slice(start, start + batch_size)
            asked = [model.inputs(turns[part], images[part]) for turns in (first, second)]
            with images_seen_once(model.model):
                found += model.generate(
                    asked[only == "second"],
                    [] if only else [SecondBranch(model.model, combine, **asked[1])],
                    max_new_tokens=max_new_tokens,
                    temperature=temperature,
                    seed=seed + start,
                )
        return found
    if images is not None:
        raise InputError(f"{model.name} reads text alone: give an ImageTextModel for images.")
    asked_first, asked_second = ([model.chat(turn.user, turn.system) for turn in turns] for turns in (first, second))
    answers = generate(
        model,
        asked_second if only == "second" else asked_first,
        chain=LogitsChain(None if only else combine, temperature=temperature, seed=seed),
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        without=None if only else asked_second,
    )
    return [samples[0] for samples in answers]


def _says(turn: Turn) -> bool:
    return bool(turn.user.strip())

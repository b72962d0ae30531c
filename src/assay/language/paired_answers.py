"""Answers that come from two prompts at once, of models of text and of image-text models alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from assay.errors import InputError
from assay.language import Tensor
from assay.language.chain import ROWS, LogitsChain
from assay.language.decoding import generate
from assay.language.image_text import ImageTextModel, Turn, images_seen_once
from assay.language.models import LanguageModel
from assay.language.second_branch import SecondBranch

Combine = Callable[[Tensor, Tensor, int], Tensor]  # raw logits (b, V) of both branches, step -> (b, V)


@dataclass(frozen=True)
class Sweep(LogitsChain):
    """A chain that combines sample s of every prompt by `ways[s]`; all ways draw with the same random numbers."""

    ways: Sequence[Combine] = ()

    def __call__(
        self, ids: Tensor, logits: Tensor, rows: Tensor, step: int, logits_without: Tensor | None = None
    ) -> Tensor:
        """Next ids (b,), as `LogitsChain` gives them after combining."""
        assert logits_without is not None
        combined, way = logits.float(), rows // ROWS
        for at, combine in enumerate(self.ways):
            chosen = way == at
            if chosen.any():
                combined[chosen] = combine(logits[chosen], logits_without[chosen], step)
        chain = LogitsChain(None, self.bans, self.bias, self.temperature, self.top_p, self.choose, self.seed)
        return chain(ids, combined, rows % ROWS, step)


def paired_answers(
    model: LanguageModel | ImageTextModel,
    first: Sequence[Turn],
    second: Sequence[Turn],
    ways: Sequence[Combine],
    *,
    images: Sequence[Any] | None = None,
    only: Literal["first", "second"] | None = None,
    max_new_tokens: int = 64,
    temperature: float = 0.0,
    batch_size: int = 16,
    seed: int = 0,
    on_row: Callable[[int, int], None] | None = None,
) -> list[list[list[int]]]:
    """New ids of each answer, by way and pair.

    Parameters
    ----------
    model : of text: both branches run as one batch, and all ways share a prompt's first pass. An image-text model:
        each picture is encoded once for both branches.
    first, second : (n,) the paired turns.
    ways : called as `combine(logits_first, logits_second, step)`, raw logits (b, V) each.
    images : (n,) one for each pair, for an image-text model.
    only : the branch that is the result of the only way whatever the other says, so that the other need not run.
    max_new_tokens, temperature, batch_size, seed : of decoding; greedy at temperature 0.
    on_row : called as `on_row(done, all)` after each batch.

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
        found: list[list[list[int]]] = [[] for _ in ways]
        for start in range(0, len(first), batch_size):
            part = slice(start, start + batch_size)
            asked = [model.inputs(turns[part], images[part]) for turns in (first, second)]
            with images_seen_once(model.model):
                for answers, combine in zip(found, ways, strict=True):
                    answers += model.generate(
                        asked[only == "second"],
                        [] if only else [SecondBranch(model.model, combine, **asked[1])],
                        max_new_tokens=max_new_tokens,
                        temperature=temperature,
                        seed=seed + start,
                    )
            if on_row is not None:
                on_row(min(start + batch_size, len(first)), len(first))
        return found
    if images is not None:
        raise InputError(f"{model.name} reads text alone: give an ImageTextModel for images.")
    with_, without = ([model.chat(turn.user, turn.system) for turn in turns] for turns in (first, second))
    how: dict[str, Any] = {"combine": None if only else ways[0], "temperature": temperature, "seed": seed}
    by_prompt = generate(
        model,
        without if only == "second" else with_,
        chain=LogitsChain(**how) if len(ways) == 1 else Sweep(**how, ways=ways),
        max_new_tokens=max_new_tokens,
        n_samples=len(ways),
        batch_size=batch_size,
        without=None if only else without,
        on_row=on_row,
    )
    return [[samples[at] for samples in by_prompt] for at in range(len(ways))]


def _says(turn: Turn) -> bool:
    return bool(turn.user.strip())

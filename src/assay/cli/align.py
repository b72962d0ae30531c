"""`assay align`: marks, principles and preferences of language models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import click

from assay.cli import LazyGroup


class _Align(LazyGroup):
    table: ClassVar[Mapping[str, str]] = {
        # one line a command, in its place
        "watermark": "Answer prompts with a watermark that only your key finds.",
        "detect": "Which texts carry a watermark, with exact p-values.",
        "cost": "What a watermark does to a model's answers, and what resampling gives back.",
        "constitution": "Turn a written principle up while a model answers.",
        "sparse-po": "Align a model with preference pairs, by the tokens that matter.",
    }
    prefix = "align_"


@click.group(name="align", cls=_Align, short_help="Watermarks, principles and preferences of language models.")
def command() -> None:
    """Watermarks, principles and preferences of language models.

    Every MODEL is a folder or a name that transformers knows, or `smollm2`, which comes with assay[language].
    """

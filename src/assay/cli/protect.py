"""`assay protect`: what leaks, what flows, what breaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import click

from assay.cli import LazyGroup


class _Protect(LazyGroup):
    table: ClassVar[Mapping[str, str]] = {
        "flow": "The least restrictive label that each answer from labelled documents deserves.",
    }
    prefix = "protect_"


@click.group(name="protect", cls=_Protect, short_help="What leaks from a language model, and what flows.")
def command() -> None:
    """What leaks from a language model, and what flows."""

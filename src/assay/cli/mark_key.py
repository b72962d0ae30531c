"""The option `--key` of the commands that mark texts and find marks."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import click


def key_of(said: str, *, create: bool = False) -> int:
    """The key of an option: a whole number, or what a file holds, which `create` makes where it is not there."""
    from assay.errors import InputError
    from assay.language.mark_keys import PREFIX, load_key, read_key

    if said.isdecimal():
        return read_key(said)
    if said.startswith(PREFIX):
        raise InputError("--key takes the path of a key file: a key on the command line is seen by others.")
    found, made = load_key(Path(said), create=create)
    if made:
        click.echo(f"A new key lies in {said}. Keep it: without it nobody can find the mark.", err=True)
    return found


def without_key(arguments: Sequence[str], key: str) -> str:
    """The command line for a report, in which a key given as a number is not shown."""
    hidden = ["KEY" if part == key else "--key=KEY" if part == f"--key={key}" else part for part in arguments]
    return f"assay {shlex.join(hidden)}"

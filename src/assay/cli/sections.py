"""`--help` of a command with many options: under headings, as a reader looks for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click


class SectionedCommand(click.Command):
    """A command whose options stand under headings.

    Parameters
    ----------
    sections : heading to the names of the options below it; options in none come last, under "Other options".
    """

    def __init__(self, *args: Any, sections: Mapping[str, Sequence[str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sections = sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, a table for each heading."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        records = {param.name: param.get_help_record(ctx) for param in options}
        named = {name for names in self.sections.values() for name in names}
        rest = [name for name in records if name not in named]
        for heading, names in {**self.sections, "Other options": rest}.items():
            rows = [record for record in map(records.get, names) if record is not None]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)

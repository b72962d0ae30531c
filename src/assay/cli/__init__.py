"""The commands. Each lives in its own file and is imported only when it is called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import ClassVar

import click

from assay import __version__
from assay.errors import AssayError

# One sentence a command, written here so that `assay --help` imports none of them.
COMMANDS = {
    "demo": "Audit handwritten digits, some labels of which are wrong: a first look in a minute.",
    "aggregate": "From many opinions to one calibrated belief, and a report.",
    "critic": "The better of several machine labels for each row, or a person decides.",
    "audit": "Find the wrong labels of a data set and write a report.",
    "learn": "Train a model on labels of which some are wrong, or weak.",
    "predict": "Label new rows with a model that `assay learn` trained.",
    "align": "Watermarks, principles and preferences of language models.",
    "protect": "What leaks from a language model, and what flows.",
    "review": "The page where people decide which suspected labels are wrong.",
    "stability": "Does the ranking of models survive the repair of their test labels?",
    "export": "The repaired data set, with a card that says what was changed.",
    "ledger": "Who said what about which label, when, on what evidence; replay and undo.",
    "report": "Render report.html again from report.json.",
    "papers": "From a paper to its file, test, bench row and claim.",
    "doctor": "What is installed, which extras are missing, which devices are there.",
    "new-method": "Scaffold a method: its file, test, bench and docs page.",
}


class LazyGroup(click.Group):
    """A group that knows the names of its commands without importing them: `table` has one sentence for each.

    The command NAME of the group GROUP lives in `assay.cli.GROUP_NAME`; those of `assay` itself in `assay.cli.NAME`.
    """

    table: ClassVar[Mapping[str, str]] = COMMANDS
    prefix = ""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of a label's life."""
        del ctx
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the file of a command and return the command."""
        del ctx
        if cmd_name not in self.table:
            return None
        command = importlib.import_module(f"assay.cli.{self.prefix}{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands from the literals above."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(self.table.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="assay")
def assay() -> None:
    """Find out what labels are really worth.

    \b
    Start here:
      assay audit reviews.csv --label sentiment      finds the wrong labels, writes a report
      assay ledger log reviews.assay                 what was said about which row
      assay papers                                   the methods, and where each one lives

    \b
    Exit codes: 0 done, 2 bad input or usage (one sentence on standard error), 130 interrupted.
    Completion: eval "$(_ASSAY_COMPLETE=bash_source assay)", or zsh_source, fish_source.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every error of ours is one sentence and exit code 2."""
    try:
        code = assay.main(args=arguments, prog_name="assay", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("assay: interrupted", err=True)
        sys.exit(130)
    except click.UsageError as error:
        told = error.ctx.command_path if error.ctx is not None else "assay"
        click.echo(f"{told}: {error.format_message()} `{told} --help` shows how it is called.", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except AssayError as error:
        click.echo(f"assay: {error}", err=True)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)

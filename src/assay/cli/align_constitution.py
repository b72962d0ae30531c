"""`assay align constitution`: a written principle turned up while a model answers."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import click


def _alphas(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list of numbers, such as 0,1,2.") from None
    bad = next((alpha for alpha in found if not math.isfinite(alpha)), None)
    if bad is not None:
        raise click.BadParameter(f"alpha is {bad}: give finite numbers, such as 0,1,2.")
    return tuple(dict.fromkeys(found))


@click.command(name="constitution", short_help="Turn a written principle up while a model answers.")
@click.argument("source", metavar="PROMPTS", type=click.Path(path_type=Path))
@click.option(
    "--principle", required=True, metavar="TEXT|FILE", help="One or two sentences, or a file that holds them."
)
@click.option(
    "--alpha",
    "alphas",
    default="0,1,2",
    show_default=True,
    callback=_alphas,
    help="Strengths, separated by commas: -1 is the model without the principle, 0 with it.",
)
@click.option("--model", default="smollm2", show_default=True, help="A folder, a name in the local cache, or smollm2.")
@click.option("--column", help="Column with the prompts. [default: prompt, or the only one]")
@click.option("--harmful", help="Column that says which prompts ask for harm: true or false. Needed to choose alpha.")
@click.option(
    "--placement",
    type=click.Choice(["user", "system"]),
    default="user",
    show_default=True,
    help="Where the principle stands.",
)
@click.option(
    "--plausibility",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Forbid tokens less likely than this share of the likeliest; try 0.1.",
)
@click.option("--first-tokens", type=click.IntRange(1), help="Let alpha fall to nothing over so many tokens.")
@click.option("--max-new-tokens", type=click.IntRange(1), default=64, show_default=True, help="Longest answer.")
@click.option("--temperature", type=click.FloatRange(0), default=0.0, show_default=True, help="0 takes the likeliest.")
@click.option("--batch-size", type=click.IntRange(1), default=16, show_default=True, help="Answers written at once.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the results. [default: NAME.constitution]",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of the draws.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON instead of the summary.")
@click.option("--quiet", is_flag=True, help="No progress bar, no summary.")
@click.option("--open", "open_report", is_flag=True, help="Open the report in the browser.")
def command(
    source: Path,
    principle: str,
    alphas: tuple[float, ...],
    model: str,
    column: str | None,
    harmful: str | None,
    placement: str,
    plausibility: float,
    first_tokens: int | None,
    max_new_tokens: int,
    temperature: float,
    batch_size: int,
    out: Path | None,
    seed: int,
    as_json: bool,
    quiet: bool,
    open_report: bool,
) -> None:
    """Answer PROMPTS with a principle at several strengths, and show what safety costs.

    PROMPTS is a text file with a prompt a line, or a table (CSV, JSON lines, Parquet). The model reads every prompt
    with the principle and without it, and goes alpha times further in the direction in which the principle moved it.
    No training. Where a column says which prompts ask for harm, the alpha is chosen that refuses most of them and
    answers most of the others.

    \b
      assay align constitution prompts.txt --principle "Be polite and refuse what is illegal." --alpha 0,1,2
      assay align constitution red.csv --harmful harmful --principle rules.txt --plausibility 0.1 --model models/chat

    The folder NAME.constitution then holds answers.jsonl (a line for every prompt and alpha), report.html with the
    curve of safety against utility, and report.json.
    """
    from datetime import UTC, datetime

    from assay.align.constitution import Constitution, FirstTokens
    from assay.cli.terminal import progress_bar, show_result, taught
    from assay.evidence.constitution_report import check_folder, save, summary
    from assay.evidence.prompt_files import read_prompts
    from assay.evidence.report import read_report

    folder = out or Path(f"{source.resolve().name.split('.')[0]}.constitution")
    with taught(), progress_bar(quiet) as progress:
        check_folder(folder)
        prompts = read_prompts(source, column, harmful)
        found = Constitution(
            Path(principle).read_text(encoding="utf-8").strip() if _is_file(principle) else principle,
            alpha=alphas[0],
            plausibility=plausibility,
            placement=placement,  # type: ignore[arg-type]
            schedule=None if first_tokens is None else FirstTokens(first_tokens),
            model=model,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            batch_size=batch_size,
            seed=seed,
        )
        found.fit(
            prompts.texts,
            [True] * len(prompts.texts) if prompts.harmful is None else prompts.harmful,
            alphas=alphas,
            on_row=None if progress is None else lambda done, n: progress("answering", done / n),
        )
        time = datetime.now(UTC).isoformat(timespec="seconds")
        how = {"seed": seed, "command": f"assay {' '.join(sys.argv[1:])}", "time": time}
        report = save(found, prompts, folder, how)
    show_result(
        report,
        lambda: read_report(folder).numbers,
        lambda: summary(found, prompts),
        as_json=as_json,
        quiet=quiet,
        open_report=open_report,
    )


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # a text too long to be a name
        return False

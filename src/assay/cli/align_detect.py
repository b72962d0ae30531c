"""`assay align detect`: which texts carry a mark."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command(name="detect", short_help="Which texts carry a watermark, with exact p-values.")
@click.argument("source", metavar="TEXTS", type=click.Path(path_type=Path))
@click.option("--key", required=True, metavar="FILE|NUMBER", help="The key file, or another library's whole number.")
@click.option("--scheme", default="gumbel", show_default=True, help="As it was marked; see `assay align watermark`.")
@click.option("--column", help="Column with the texts or lists of token ids. [default: answer, text or the only one]")
@click.option("--model", default="smollm2", show_default=True, help="The model whose tokenizer cuts the texts.")
@click.option("--ids", is_flag=True, help="The column holds lists of token ids; the tokenizer is not used.")
@click.option("--vocabulary", type=click.IntRange(2), help="Width of the model's logits. [default: the model's]")
@click.option("--context-width", type=click.IntRange(1), default=2, show_default=True, help="Tokens of context.")
@click.option("--gamma", type=click.FloatRange(0, 1), default=0.25, show_default=True, help="Share of green tokens.")
@click.option(
    "--level",
    type=click.Choice(["0.05", "0.01", "0.001", "1e-06"]),
    default="0.01",
    show_default=True,
    help="A text below it counts as marked.",
)
@click.option("--table", type=click.Choice(["csv", "parquet"]), default="csv", show_default=True, help="p-values as.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the results. [default: NAME.marks]"
)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON instead of the summary.")
@click.option("--quiet", is_flag=True, help="No progress bar, no summary.")
@click.option("--open", "open_report", is_flag=True, help="Open the report in the browser.")
def command(
    source: Path,
    key: str,
    scheme: str,
    column: str | None,
    model: str,
    ids: bool,
    vocabulary: int | None,
    context_width: int,
    gamma: float,
    level: str,
    table: str,
    out: Path | None,
    as_json: bool,
    quiet: bool,
    open_report: bool,
) -> None:
    """Test each of TEXTS for a mark.

    TEXTS is a table (CSV, TSV, JSON lines, Parquet, Arrow) of any length: it is read in blocks. Settings must be those
    the texts were marked with. A p-value is exact for text written without the key; text too short to be scored has 1.

    \b
      assay align detect answers.jsonl --key my.key
      assay align detect crawl.parquet --column text --key my.key --scheme kgw --table parquet
      assay align detect old.csv --key 15485863 --scheme lefthash --context-width 1

    The folder NAME.marks then holds p_values.csv (row, tokens scored, statistic, z-score, p-value), report.html and
    report.json. The key is never written; reports show its fingerprint.
    """
    from datetime import UTC, datetime

    from assay.align.watermark import Watermark
    from assay.cli.mark_key import key_of, without_key
    from assay.cli.terminal import progress_bar, show_result, taught
    from assay.evidence.mark_report import build, summary
    from assay.evidence.mark_texts import find_marks
    from assay.evidence.page import write_report
    from assay.evidence.report import read_report
    from assay.evidence.result_folder import check_place, check_results

    folder = out or Path(f"{source.resolve().name.split('.')[0]}.marks")
    with taught(), progress_bar(quiet) as progress:
        check_place(folder)
        check_results(folder, "detect")
        mark = Watermark(scheme, key_of(key), vocabulary, context_width, gamma)
        folder.mkdir(parents=True, exist_ok=True)
        asked = None if ids else model
        found = find_marks(source, mark, folder / f"p_values.{table}", model=asked, column=column, progress=progress)
        how: dict[str, object] = {
            "command": without_key(sys.argv[1:], key),
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        report = write_report(build(found, mark, float(level), how), folder)
    show_result(
        report,
        lambda: read_report(folder).numbers,
        lambda: summary(found, float(level)),
        as_json=as_json,
        quiet=quiet,
        open_report=open_report,
    )

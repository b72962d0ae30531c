"""`assay align sparse-po`: a language model aligned with preference pairs, and the pairs doubted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

ABOVE = click.FloatRange(0, min_open=True)


@click.command(name="sparse-po", short_help="Align a model with preference pairs, by the tokens that matter.")
@click.argument("source", metavar="PAIRS", type=click.Path(path_type=Path))
@click.option("--model", default="smollm2", show_default=True, help="A folder, a name in the local cache, or smollm2.")
@click.option(
    "--mask",
    type=click.Choice(["common", "independent", "mapo", "ones", "tdpo2", "none"]),
    default="common",
    show_default=True,
    help="Weights of tokens: one or two learned masks (SparsePO), activations (MaPO), all alike (ones is TDPO1, "
    "tdpo2), or no KL term either (none is DPO).",
)
@click.option("--beta", type=ABOVE, default=0.1, show_default=True, help="Smaller drifts further.")
@click.option(
    "--l1", type=click.FloatRange(0), default=0.0, show_default=True, help="Holds learned masks down; try 0.001."
)
@click.option("--clamp", type=ABOVE, help="The most a learned weight may be.")
@click.option(
    "--rank", type=click.IntRange(0), default=8, show_default=True, help="Of the adapters; 0 trains all weights."
)
@click.option("--lr", type=ABOVE, default=1e-4, show_default=True, help="Step size.")
@click.option("--mask-lr", type=ABOVE, default=1e-3, show_default=True, help="That of learned masks.")
@click.option("--epochs", type=click.IntRange(1), default=1, show_default=True, help="Passes over the pairs.")
@click.option("--batch-size", type=click.IntRange(1), default=16, show_default=True, help="Pairs in a step.")
@click.option(
    "--max-length", type=click.IntRange(2), default=1024, show_default=True, help="Tokens of prompt and answer."
)
@click.option(
    "--held-out", type=click.FloatRange(0, 0.9), default=0.1, show_default=True, help="Share that judges the model."
)
@click.option("--labels-only", is_flag=True, help="Look for flipped labels and train nothing.")
@click.option("--adapters", is_flag=True, help="Write the adapters alone, for peft, not added to the weights.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the results. [default: NAME.aligned]"
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of everything random."
)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON instead of the summary.")
@click.option("--quiet", is_flag=True, help="No progress bar, no summary.")
@click.option("--open", "open_report", is_flag=True, help="Open the report in the browser.")
def command(
    source: Path,
    labels_only: bool,
    adapters: bool,
    out: Path | None,
    as_json: bool,
    quiet: bool,
    open_report: bool,
    **settings: Any,
) -> None:
    """Align a language model with PAIRS, and say which tokens and which labels it rests on.

    PAIRS is a file (JSON lines, Parquet, CSV; .gz too) with chosen and rejected, and prompt unless both begin with it,
    as texts or as lists of messages: the format of TRL. Pairs that are identical, empty or too long are left out and
    counted. A tenth of the pairs judges the model. PAIRS and MODEL are not changed.

    \b
      assay align sparse-po pairs.jsonl --model models/chat --mask common
      assay align sparse-po pairs.parquet --mask none --beta 0.3 --epochs 2     (plain DPO, to compare)
      assay align sparse-po pairs.jsonl --labels-only                           (which labels look flipped)

    The folder NAME.aligned then holds model/ (safetensors, with the tokenizer), evidence.csv (a row a pair, the most
    doubted label first), report.html with the tokens coloured by their weight, and report.json.
    """
    from assay.cli.terminal import progress_bar, show_result, taught
    from assay.evidence.report import read_report
    from assay.evidence.sparse_po_report import check_folder, save, summary
    from assay.evidence.sparse_po_run import AlignOptions, align

    options = AlignOptions(**settings, train=not labels_only, merged=not adapters)
    folder = out or Path(f"{source.resolve().name.split('.')[0]}.aligned")
    with taught(), progress_bar(quiet) as progress:
        check_folder(folder, source)
        found = align(source, options, progress)
        report = save(found, folder, f"assay {' '.join(sys.argv[1:])}")
    show_result(
        report,
        lambda: read_report(folder).numbers,
        lambda: summary(found),
        as_json=as_json,
        quiet=quiet,
        open_report=open_report,
    )

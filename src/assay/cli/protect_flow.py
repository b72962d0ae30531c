"""`assay protect flow`: the least restrictive label that each answer deserves."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command(name="flow", short_help="The least restrictive label that each answer from labelled documents deserves.")
@click.argument("source", metavar="QUESTIONS", type=click.Path(path_type=Path))
@click.option(
    "--lattice",
    required=True,
    metavar="NAME|FILE.json",
    help="What labels there are: integrity (trusted, untrusted), confidentiality (public, secret), sources or readers "
    "(names as they are used), or a JSON file.",
)
@click.option("--labels", type=click.Path(path_type=Path), help="For a folder: table with columns document and label.")
@click.option("--questions", type=click.Path(path_type=Path), help="For a folder: .txt, one a line, or .jsonl.")
@click.option(
    "--items",
    type=click.IntRange(1, 64),
    default=6,
    show_default=True,
    help="For a folder: documents found for a question.",
)
@click.option(
    "--model", default="smollm2", show_default=True, metavar="NAME|FOLDER", help="A language model on this machine."
)
@click.option("--lam", type=click.FloatRange(0), help="Drop of log-likelihood allowed, nats a token. [default: chosen]")
@click.option(
    "--held-out", type=click.IntRange(1), default=20, show_default=True, help="First questions, which choose --lam."
)
@click.option(
    "--max-changed",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="Share of answers that may change when made again, when --lam is chosen.",
)
@click.option(
    "--search",
    type=click.Choice(["exact", "greedy", "leave-one-out", "upward", "exhaustive", "conservative"]),
    default="leave-one-out",
    show_default=True,
    help="How labels are searched; conservative is the join of all, without a look.",
)
@click.option(
    "--mode",
    type=click.Choice(["regenerate", "verify"]),
    default="regenerate",
    show_default=True,
    help="Both give the answer made again at its label; verify notes whether it is the first one, token for token.",
)
@click.option(
    "--max-calls", type=click.IntRange(0), default=256, show_default=True, help="Most labels scored an answer."
)
@click.option("--max-tokens", type=click.IntRange(1), default=32, show_default=True, help="Longest answer.")
@click.option("--hide-labels", is_flag=True, help="Keep labels out of answers.jsonl: the choice depends on all items.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the results. [default: NAME.assay]"
)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON instead of the summary.")
@click.option("--quiet", is_flag=True, help="No progress bar, no summary.")
@click.option("--open", "open_report", is_flag=True, help="Open the report in the browser.")
def command(
    source: Path,
    lattice: str,
    labels: Path | None,
    questions: Path | None,
    items: int,
    model: str,
    lam: float | None,
    held_out: int,
    max_changed: float,
    search: str,
    mode: str,
    max_calls: int,
    max_tokens: int,
    hide_labels: bool,
    out: Path | None,
    as_json: bool,
    quiet: bool,
    open_report: bool,
) -> None:
    """Answer QUESTIONS from labelled documents, each with the lowest label that its answer deserves.

    QUESTIONS are JSON lines with "query", "items" (a list of objects with "text" and "label"), and where there are any
    "id" and "label" (of the query). Or a folder of .txt and .md files, with --labels and --questions. An answer is
    made from all items; then labels are searched whose items explain it about as well; and the answer that is given
    out is made again from these items alone, so that nothing above its label can be in it.

    \b
      assay protect flow questions.jsonl --lattice integrity
      assay protect flow questions.jsonl --lattice readers --lam 0.1 --search exact
      assay protect flow wiki/ --labels labels.csv --questions asked.txt --lattice levels.json --model models/chat

    levels.json may hold {"kind": "chain", "levels": ["public", "internal", "secret"]}, lowest first, or a product:
    {"kind": "product", "parts": {"integrity": "integrity", "who": {"kind": "readers", "names": ["ann", "bob"]}}}.

    The folder NAME.assay then holds answers.jsonl, report.html, report.json, and audit.jsonl: for each answer every
    label that was tried and its drop. Decoding is greedy, so that a run can be repeated.
    """
    from assay.cli.terminal import progress_bar, show_result, taught
    from assay.evidence.audit_options import default_folder
    from assay.evidence.flow_report import check_folder, save, summary
    from assay.evidence.flow_run import FlowOptions, run
    from assay.evidence.flow_source import read_flows
    from assay.evidence.report import read_report

    options = FlowOptions(
        lam=lam,
        held_out=held_out,
        max_changed=max_changed,
        mode=mode,
        search=search,
        max_calls=max_calls,
        publish_label=not hide_labels,
    )
    folder = out or default_folder(source)
    with taught(), progress_bar(quiet) as progress:
        check_folder(folder, source, labels, questions)
        flows = read_flows(source, lattice, labels, questions, items)
        from assay.language.models import load_language_model
        from assay.language.prompted_answers import PromptedAnswers

        answerer = PromptedAnswers(load_language_model(model), max_new_tokens=max_tokens)
        folder.mkdir(parents=True, exist_ok=True)
        found = run(flows, answerer, options, folder / "audit.jsonl", progress)
        report = save(found, folder, {"command": f"assay {' '.join(sys.argv[1:])}", "model": model})
    show_result(
        report,
        lambda: read_report(folder).numbers,
        lambda: summary(found),
        as_json=as_json,
        quiet=quiet,
        open_report=open_report,
    )

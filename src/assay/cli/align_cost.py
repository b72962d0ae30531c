"""`assay align cost`: what a watermark costs a model, and what resampling gives back."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command(name="cost", short_help="What a watermark does to a model's answers, and what resampling gives back.")
@click.argument("source", metavar="PROMPTS", type=click.Path(path_type=Path))
@click.option("--key", required=True, metavar="FILE|NUMBER", help="The key file, made if it is not there.")
@click.option(
    "--reward",
    "pairs",
    required=True,
    metavar="PAIRS",
    type=click.Path(path_type=Path),
    help="Preference pairs (prompt, chosen, rejected) that a small reward is learned from.",
)
@click.option("--harmful", help="Column that says which prompts ask for harm: true or false.")
@click.option("--column", help="Column with the prompts. [default: prompt, or the only one]")
@click.option("--scheme", default="gumbel", show_default=True, help="As for `assay align watermark`.")
@click.option("--model", default="smollm2", show_default=True, help="A folder, a name in the local cache, or smollm2.")
@click.option("--encoder", default="minilm", show_default=True, help="Of the reward: minilm, or a folder.")
@click.option("--most-pairs", type=click.IntRange(10), default=1000, show_default=True, help="Pairs learned from.")
@click.option("--context-width", type=click.IntRange(1), default=2, show_default=True, help="Tokens of context.")
@click.option("--gamma", type=click.FloatRange(0, 1), default=0.25, show_default=True, help="Share of green tokens.")
@click.option("--delta", type=click.FloatRange(0), default=2.0, show_default=True, help="Added to green logits.")
@click.option("--samples", type=click.IntRange(2, 64), default=8, show_default=True, help="Answers a side and prompt.")
@click.option("--max-new-tokens", type=click.IntRange(1), default=128, show_default=True, help="Longest answer.")
@click.option("--temperature", type=click.FloatRange(0), default=1.0, show_default=True, help="Of the draws.")
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=0.95, show_default=True, help="Kept mass.")
@click.option("--batch-size", type=click.IntRange(1), default=16, show_default=True, help="Answers written at once.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the results. [default: NAME.cost]"
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of the draws.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON instead of the summary.")
@click.option("--quiet", is_flag=True, help="No progress bar, no summary.")
@click.option("--open", "open_report", is_flag=True, help="Open the report in the browser.")
def command(
    source: Path,
    key: str,
    pairs: Path,
    harmful: str | None,
    column: str | None,
    scheme: str,
    model: str,
    encoder: str,
    most_pairs: int,
    context_width: int,
    gamma: float,
    delta: float,
    samples: int,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    batch_size: int,
    out: Path | None,
    seed: int,
    as_json: bool,
    quiet: bool,
    open_report: bool,
) -> None:
    """Answer PROMPTS plain and with a mark, and compare: reward, refusals, perplexity, and the best of 1, 2, 4, 8.

    PROMPTS is a text file with a prompt a line, or a table. The reward is learned from pairs of answers that people
    compared, and its accuracy on pairs it has not seen stands in the report. Text of the model is judged, so this takes
    as long as writing 2 x samples answers a prompt.

    \b
      assay align cost prompts.csv --harmful harmful --key my.key --reward preferences.jsonl
      assay align cost prompts.txt --key my.key --reward hh.jsonl.gz --scheme kgw --delta 1 --samples 4

    The folder NAME.cost then holds answers.jsonl (every answer with its reward and p-value), report.html, report.json.
    """
    from datetime import UTC, datetime

    import numpy as np

    from assay.align.watermark import Watermark
    from assay.cli.mark_key import key_of, without_key
    from assay.cli.terminal import progress_bar, show_result, taught
    from assay.evidence.mark_cost import measure
    from assay.evidence.mark_cost_report import save, summary
    from assay.evidence.prompt_files import read_prompts
    from assay.evidence.report import read_report
    from assay.evidence.result_folder import check_place, check_results
    from assay.evidence.shown import number
    from assay.language.models import load_language_model
    from assay.language.pair_data import read_pairs, text_of
    from assay.training.preference_reward import PreferenceReward

    folder = out or Path(f"{source.resolve().name.split('.')[0]}.cost")
    with taught(), progress_bar(quiet) as progress:
        check_place(folder)
        check_results(folder, "cost")
        prompts = read_prompts(source, column, harmful)
        mark = Watermark(scheme, key_of(key, create=True), 2, context_width, gamma, delta, seed=seed)
        mark.chain()  # settings that cannot be are told before anything is learned or loaded
        known = read_pairs(pairs)
        drawn = np.random.default_rng(seed).permutation(len(known))[:most_pairs]
        columns = [[text_of(known[at][name]) for at in drawn] for name in ("prompt", "chosen", "rejected")]
        reward = PreferenceReward(encoder, random_state=seed).fit(*columns)
        told = (
            f"learned from {reward.n_pairs_:,} pairs of {pairs.name}; right on "
            f"{number(reward.accuracy_, '%', reward.interval_)} of pairs it has not seen"
        )
        found = measure(
            load_language_model(model),
            prompts,
            mark,
            reward,
            n=samples,
            temperature=temperature,
            top_p=top_p,
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
            told=told,
            progress=progress,
        )
        how: dict[str, object] = {
            "seed": seed,
            "command": without_key(sys.argv[1:], key),
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        report = save(found, folder, how)
    show_result(
        report,
        lambda: read_report(folder).numbers,
        lambda: summary(found),
        as_json=as_json,
        quiet=quiet,
        open_report=open_report,
    )

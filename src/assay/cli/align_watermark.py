"""`assay align watermark`: answers that can be recognised later."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command(name="watermark", short_help="Answer prompts with a watermark that only your key finds.")
@click.argument("source", metavar="PROMPTS", type=click.Path(path_type=Path))
@click.option(
    "--key", required=True, metavar="FILE|NUMBER", help="The key file, made if it is not there; or a whole number."
)
@click.option(
    "--scheme",
    default="gumbel",
    show_default=True,
    help="gumbel, gumbel-fixed, kgw; lefthash, selfhash (transformers), lm-selfhash, lm-minhash, lm-skipgram, markllm.",
)
@click.option("--model", default="smollm2", show_default=True, help="A folder, a name in the local cache, or smollm2.")
@click.option("--column", help="Column with the prompts. [default: prompt, or the only one]")
@click.option("--context-width", type=click.IntRange(1), default=2, show_default=True, help="Tokens of context.")
@click.option("--gamma", type=click.FloatRange(0, 1), default=0.25, show_default=True, help="Share of green tokens.")
@click.option("--delta", type=click.FloatRange(0), default=2.0, show_default=True, help="Added to green logits.")
@click.option("--samples", type=click.IntRange(1, 2048), default=1, show_default=True, help="Answers for each prompt.")
@click.option("--max-new-tokens", type=click.IntRange(1), default=128, show_default=True, help="Longest answer.")
@click.option("--temperature", type=click.FloatRange(0), default=1.0, show_default=True, help="0 takes the likeliest.")
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=0.95, show_default=True, help="Kept mass.")
@click.option("--batch-size", type=click.IntRange(1), default=16, show_default=True, help="Answers written at once.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Results. [default: NAME.marked.jsonl]")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of the draws.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON instead of the summary.")
@click.option("--quiet", is_flag=True, help="No progress bar, no summary.")
def command(
    source: Path,
    key: str,
    scheme: str,
    model: str,
    column: str | None,
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
) -> None:
    """Answer PROMPTS with a mark in the text, which `assay align detect` finds with the key.

    PROMPTS is a text file with a prompt a line, or a table (CSV, JSON lines, Parquet). The key file is made at the
    first use and readable by you alone: who has it can find the mark, and forge it.

    \b
      assay align watermark prompts.txt --key my.key
      assay align watermark prompts.csv --key my.key --scheme kgw --delta 1.5 --model models/chat --samples 4
      assay align detect prompts.marked.jsonl --key my.key

    Each line of NAME.marked.jsonl holds row, sample, prompt, answer, token ids, the mark (scheme, settings, fingerprint
    of the key) and the p-value of the answer.
    """
    import numpy as np

    from assay.align.watermark import Watermark
    from assay.cli.mark_key import key_of
    from assay.cli.terminal import progress_bar, taught
    from assay.errors import InputError
    from assay.evidence.mark_report import settings
    from assay.evidence.prompt_files import read_prompts
    from assay.labels.formats import files
    from assay.language.models import load_language_model

    target = out or Path(f"{source.resolve().name.split('.')[0]}.marked.jsonl")
    with taught(), progress_bar(quiet) as progress:
        if target.suffix not in (".jsonl", ".ndjson"):
            raise InputError(f"Answers are written as JSON lines: name a file that ends in .jsonl, not {target.name}.")
        prompts = read_prompts(source, column)
        number = key_of(key, create=True)
        mark = Watermark(scheme, number, 2, context_width, gamma, delta, seed=seed)
        mark.chain(temperature or 1.0, top_p)  # settings that cannot be are told before the model is loaded
        lm = load_language_model(model)
        mark.set_params(n_vocabulary=lm.n_vocabulary)
        asked = [lm.chat(text) if lm.tokenizer.chat_template else lm.encode(text) for text in prompts.texts]
        answers = mark.generate(
            lm,
            asked,
            temperature=temperature,
            top_p=top_p,
            n_samples=samples,
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
            on_row=None if progress is None else lambda done, n: progress("answering", done / n),
        )
        p = mark.fit([answer for row in answers for answer in row]).p_values_
        lines = []
        for row, (prompt, drawn) in enumerate(zip(prompts.texts, answers, strict=True)):
            for sample, answer in enumerate(drawn):
                line = {"row": row, "sample": sample, "prompt": prompt, "answer": lm.decode(answer), "ids": answer}
                line |= {"mark": settings(mark), "p_value": float(p[row * samples + sample])}
                lines.append(json.dumps(line, ensure_ascii=False) + "\n")
        files.write_bytes(target, "".join(lines).encode("utf-8", errors="replace"))
    found = {"answers": len(p), "found_at_0.01": int(np.sum(p < 0.01)), "mark": settings(mark), "file": str(target)}
    if as_json:
        click.echo(json.dumps(found, indent=1))
    elif not quiet:
        click.echo(
            f"{len(p):,} answers carry the mark of the key {mark.fingerprint} ({scheme}); "
            f"{found['found_at_0.01']:,} of them are long and free enough to be found at p < 0.01."
        )
    if not as_json:
        click.echo(target)

"""Tokens a second of decoding SmolLM2, beside transformers' own generate, and what the chain takes of a step.

Times are CPU seconds of one thread; rivals alternate, and the best of the rounds counts. Both loops write the same
tokens before a time is printed. `python -m bench.language.decoding --scale small|full`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

from assay.evidence.results import ResultRow, versions_of, write_results
from assay.language import Tensor, torch
from assay.language.chain import LogitsChain, draw, top_p_log_probs
from assay.language.decoding import generate
from assay.language.models import LanguageModel, load_language_model
from bench.data import RESULTS

COMMAND = "python -m bench.language.decoding --scale full"
VERSIONS = versions_of("torch", "transformers")
RIVAL = "transformers generate"
QUESTIONS = [f"Tell me {what} about {of}." for of in ("Paris", "the moon", "bread", "a cat") for what in
             ("something", "one fact that few people know", "a story", "in as few words as you can")]  # fmt: skip


def alternating(rounds: int, *runs: Callable[[], Any]) -> list[tuple[float, Any]]:
    """Fewest CPU seconds and the last result of each run, all taking turns."""
    found: list[tuple[float, Any]] = [(float("inf"), None)] * len(runs)
    for _ in range(rounds):
        for at, run in enumerate(runs):
            start = time.process_time()
            result = run()
            found[at] = min(found[at][0], time.process_time() - start), result
    return found


def theirs(lm: LanguageModel, prompts: list[list[int]], length: int, **options: Any) -> list[list[int]]:
    """New ids by transformers' generate, from a batch padded on the left."""
    width = max(map(len, prompts))
    ids = torch.tensor([[lm.pad] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    new = {"max_new_tokens": length, "min_new_tokens": length, "pad_token_id": lm.pad}
    with torch.inference_mode():
        out = lm.model.generate(ids, attention_mask=mask, **new, **options)
    return [row[width:] for row in out.tolist()]


def whole(lm: LanguageModel, batch: int, length: int, rounds: int) -> Iterator[ResultRow]:
    """Answers of a fixed length, so that both do the same work."""
    prompts = [lm.chat(question) for question in QUESTIONS[:batch]]
    for case, chain, options in (
        ("greedy", LogitsChain(temperature=0, bans=lm.eos), {"do_sample": False}),
        ("temperature 0.8, top-p 0.95", LogitsChain(temperature=0.8, top_p=0.95, bans=lm.eos),
         {"do_sample": True, "temperature": 0.8, "top_p": 0.95, "top_k": 0}),
    ):  # fmt: skip
        (ours, answers), (other, rival) = alternating(
            rounds,
            lambda chain=chain: generate(lm, prompts, chain=chain, max_new_tokens=length, batch_size=batch),  # type: ignore[misc]
            lambda options=options: theirs(lm, prompts, length, **options),  # type: ignore[misc]
        )
        if chain.temperature == 0:
            assert [answer for (answer,) in answers] == rival, "both loops write the same tokens"
        n = batch * length
        yield ResultRow(
            f"SmolLM2, batch {batch}, {length} new tokens, {case}", "decoding", n / ours, "tokens per cpu s", COMMAND,
            seeds=() if chain.temperature == 0 else (0,), rival=n / other, rival_name=RIVAL, versions=VERSIONS,
        )  # fmt: skip


def samples(lm: LanguageModel, length: int, rounds: int) -> Iterator[ResultRow]:
    """Eight samples of a long prompt: its first pass once, or eight times."""
    prompt = lm.chat(" ".join(QUESTIONS))
    chain = LogitsChain(bans=lm.eos)
    (ours, shared), (other, repeated) = alternating(
        rounds,
        lambda: generate(lm, [prompt], chain=chain, max_new_tokens=length, n_samples=8),
        lambda: [
            [row]
            for row in (
                generate(lm, [prompt] * 8, chain=chain, max_new_tokens=length, rows=range(8))  # as many other draws
            )
        ],
    )
    assert shared[0][0] == repeated[0][0][0], "the first sample has the same key in both"
    yield ResultRow(
        f"SmolLM2, 8 samples of {length} tokens, prompt of {len(prompt)} tokens", "decoding", 8 * length / ours,
        "tokens per cpu s", COMMAND, seeds=(0,), rival=8 * length / other, rival_name="the prompt run for each sample",
        versions=VERSIONS,
    )  # fmt: skip


def chains(rounds: int) -> Iterator[ResultRow]:
    """The chain alone, 16 rows of logits as steep as a language model's, without a model."""
    for n_vocabulary in (49_152, 128_256):
        logits = torch.randn(16, n_vocabulary, generator=torch.Generator().manual_seed(0)) * 3
        rows, ids = torch.arange(16), torch.zeros(16, 8, dtype=torch.int64)
        chain = LogitsChain(temperature=0.8, top_p=0.95)
        warpers = LogitsProcessorList([TemperatureLogitsWarper(0.8), TopPLogitsWarper(0.95)])

        def rival(logits: Tensor = logits, warpers: Any = warpers) -> Tensor:
            return torch.multinomial(warpers(None, logits).softmax(-1), 1)

        def ours(logits: Tensor = logits, rows: Tensor = rows, ids: Tensor = ids, chain: Any = chain) -> Tensor:
            return chain(ids, logits, rows, 3)

        kept = torch.isfinite(warpers(None, logits.clone()))
        apart = (torch.isfinite(top_p_log_probs(logits / 0.8, 0.95)) != kept).sum(1)
        assert int(apart.max()) <= 1, "the same tokens are kept, but for rounding at the edge"
        (mine, _), (other, _), (drawn, _) = alternating(
            rounds, ours, rival, lambda logits=logits, rows=rows: draw(logits.log_softmax(-1), rows, 3, 0)  # type: ignore[misc]
        )  # fmt: skip
        case = f"16 rows of {n_vocabulary} logits"
        yield ResultRow(
            case, "temperature, top-p and draw", mine * 1e3 / 16, "cpu ms per row and step", COMMAND, seeds=(0,),
            rival=other * 1e3 / 16, rival_name="warpers of transformers and torch.multinomial", versions=VERSIONS,
        )  # fmt: skip
        yield ResultRow(
            case, "draw alone", drawn * 1e3 / 16, "cpu ms per row and step", COMMAND, seeds=(0,), versions=VERSIONS
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    small = parser.parse_args().scale == "small"
    torch.set_num_threads(1)
    made = list(chains(3 if small else 15))
    lm = load_language_model("smollm2", device="cpu")
    made += whole(lm, *((4, 8, 1) if small else (16, 32, 4)))
    made += samples(lm, *((4, 1) if small else (16, 3)))
    for row in made:
        rival = "" if row.rival is None else f"; {row.rival_name}: {row.rival:.4g}"
        print(f"{row.case}: {row.metric} {row.ours:.4g} {row.unit}{rival}")
    write_results(RESULTS / "language" / "decoding.json", made)


if __name__ == "__main__":
    main()

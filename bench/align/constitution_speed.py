"""What the second branch of CoCA costs on SmolLM2: beside one branch, and beside both prefixes read anew."""

import argparse
import math
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from assay.align.constitution import Combine, Constitution, calibrate
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.language import torch
from assay.language.chain import LogitsChain
from assay.language.decoding import generate
from assay.language.models import load_language_model
from bench.align.constitution_hh import PRINCIPLES, dialogues, prompts
from bench.data import RESULTS

COMMAND = "python -m bench.align.constitution_speed"
VERSIONS = versions_of("torch", "transformers")
Ids = list[list[int]]
Answers = list[list[list[int]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    small = parser.parse_args().scale == "small"
    torch.set_num_threads(1)
    n_rows, n_tokens, rounds = (2, 6, 1) if small else (8, 32, 2)
    lm = load_language_model()
    model = Constitution(PRINCIPLES["say only"], model=lm)
    asked = prompts(dialogues(), n_rows)[1]
    first: Ids = [lm.chat(model.turn(text).user) for text in asked]
    second: Ids = [lm.chat(text) for text in asked]

    def two(n: int, rows: int) -> Answers:
        chain = LogitsChain(Combine(1.0), bans=lm.eos, temperature=0)
        return generate(lm, first[:rows], chain=chain, max_new_tokens=n, without=second[:rows])

    def one(n: int, rows: int) -> Answers:
        return generate(lm, first[:rows], chain=LogitsChain(bans=lm.eos, temperature=0), max_new_tokens=n)

    def anew(n: int, rows: int) -> Answers:
        """As in the code that can be read elsewhere: one row at a time, no cache."""
        answers = []
        for pair in zip(first[:rows], second[:rows], strict=True):
            said: list[int] = []
            for _ in range(n):
                with torch.inference_mode():
                    logits = [lm.model(torch.tensor([ids + said]), logits_to_keep=1).logits[:, -1] for ids in pair]
                found = calibrate(logits[0], logits[1], 1.0).logits
                found[:, list(lm.eos)] = -math.inf
                said.append(int(found.argmax()))
            answers.append([said])
        return answers

    def seconds(run: Callable[[int, int], Answers], n: int, rows: int) -> float:
        start = time.process_time()
        run(n, rows)
        return time.process_time() - start

    few = 2
    assert two(4, few) == anew(4, few)
    whole = np.min([[seconds(run, n_tokens, n_rows) for run in (two, one)] for _ in range(rounds)], axis=0)
    begun = np.min([[seconds(run, 1, n_rows) for run in (two, one)] for _ in range(rounds)], axis=0)
    naive = [seconds(run, n_tokens // 2, few) for run in (two, anew)]
    case = f"SmolLM2-135M, {n_rows} prompts at once, {n_tokens} tokens each, one thread"
    tokens, later = n_rows * n_tokens, whole - begun
    lengths = [float(np.mean([len(ids) for ids in prompts_])) for prompts_ in (first, second)]
    row = partial(ResultRow, command=COMMAND, versions=VERSIONS)
    single, naively = "the branch with the principle alone", "both prefixes read anew for every token, row by row"
    made = [
        row(
            case, "both branches", tokens / whole[0], "tokens a CPU second", rival=tokens / whole[1], rival_name=single
        ),
        row(case, "time of both branches over that of one", whole[0] / whole[1], "times", limit=2.0),
        row(case, "the same, after the first token", later[0] / later[1], "times", limit=2.0),
        row(
            case, "length of a prompt with the principle", lengths[0], "tokens", rival=lengths[1], rival_name="without"
        ),
        row(
            f"SmolLM2-135M, {few} prompts, {n_tokens // 2} tokens each, one thread",
            "both branches",
            naive[0],
            "CPU s",
            rival=naive[1],
            rival_name=naively,
        ),
    ]
    for each in made:
        print(each.case, each.metric, round(each.ours, 3), each.unit, each.rival_name, each.rival)
    write_results(RESULTS / "align" / "constitution_speed.json", made)


if __name__ == "__main__":
    main()

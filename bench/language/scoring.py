"""Scoring answers with SmolLM2: what a remembered prefix saves, beside whole logits; memory of blockwise log-probs.

Times are CPU seconds of one thread; rivals alternate, and the best of the rounds counts. Scores are checked equal
before a time is printed. Memory is what a fresh process gains at its peak.
`python -m bench.language.scoring --scale small|full`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from assay.evidence.results import ResultRow, versions_of, write_results
from assay.language import torch
from assay.language.models import LanguageModel, load_language_model
from assay.language.scoring import score_answers, token_log_probs
from assay.language.token_ratios import Head
from bench.data import RESULTS
from bench.language.decoding import alternating

COMMAND = "python -m bench.language.scoring --scale full"
VERSIONS = versions_of("torch", "transformers")
RULES = "You answer questions about towns. Say what you know, in one sentence, and nothing else. " * 12
TOWNS = ("Paris", "Rome", "Oslo", "Lima", "Cairo", "Delhi", "Tokyo", "Quito")


def rows(lm: LanguageModel, n: int) -> tuple[list[int], list[list[int]], list[list[int]]]:
    """A long prefix, n short contexts and n answers."""
    asked = [lm.encode(f"Question {at}: where is {TOWNS[at % 8]}? Answer:") for at in range(n)]
    said = [lm.encode(f" {TOWNS[at % 8]} is in {TOWNS[at // 8 % 8]}.") for at in range(n)]
    return lm.encode(RULES), asked, said


def plainly(lm: LanguageModel, contexts: list[list[int]], answers: list[list[int]], batch: int) -> Any:
    """What one writes first: all logits of a padded batch, log-softmax, gather."""
    found = []
    for start in range(0, len(answers), batch):
        some = list(zip(contexts[start : start + batch], answers[start : start + batch], strict=True))
        width = max(len(context) + len(answer) for context, answer in some)
        ids = torch.tensor([c + a + [lm.pad] * (width - len(c) - len(a)) for c, a in some])
        with torch.inference_mode():
            log_probs = lm.model(ids).logits[:, :-1].log_softmax(-1)
        of_labels = log_probs.gather(2, ids[:, 1:, None]).squeeze(2)
        for row, (context, answer) in enumerate(some):
            found.append(float(of_labels[row, len(context) - 1 : len(context) + len(answer) - 1].sum()))
    return np.array(found)


def prefixes(lm: LanguageModel, n: int, batch: int, rounds: int) -> Iterator[ResultRow]:
    prefix, contexts, answers = rows(lm, n)
    whole = [prefix + context for context in contexts]
    (kept, reused), (again, ours), (full, theirs) = alternating(
        rounds,
        lambda: score_answers(lm, contexts, answers, prefix=prefix, batch_size=batch).log_prob,
        lambda: score_answers(lm, whole, answers, batch_size=batch).log_prob,
        lambda: plainly(lm, whole, answers, batch),
    )
    assert np.allclose(reused, theirs, atol=2e-3), "the same scores"
    assert np.allclose(ours, theirs, atol=2e-3), "the same scores"
    length = sum(map(len, contexts)) // n + sum(map(len, answers)) // n
    case = f"SmolLM2, {n} answers, prefix of {len(prefix)} tokens, then {length} each, batch {batch}"
    for name, seconds in (("remembered prefix", kept), ("no reuse", again)):
        yield ResultRow(
            case, f"scoring, {name}", n / seconds, "answers per cpu s", COMMAND, rival=n / full,
            rival_name="all logits of transformers, log-softmax, gather", versions=VERSIONS,
        )  # fmt: skip


def _held(what: str) -> float:
    """Megabytes of this process: "VmRSS" now, "VmHWM" at most since the peak was last forgotten."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) / 1e3


def _gained(way: str, n: int, n_vocabulary: int, queue: Any) -> None:
    """Megabytes that a loss over n tokens and its gradient take, and their sums."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    hidden = torch.randn(n, 576, requires_grad=True)
    weight, labels = torch.randn(n_vocabulary, 576) / 24, torch.randint(0, n_vocabulary, (n,))
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of imports and of making the weights
    before = _held("VmRSS")
    if way == "blocks":
        loss = token_log_probs(hidden, Head(weight), labels).sum()
    else:
        loss = (hidden @ weight.T).log_softmax(-1).gather(1, labels[:, None]).sum()
    loss.backward()
    assert hidden.grad is not None
    queue.put((_held("VmHWM") - before, float(loss.detach()), float(hidden.grad.abs().sum())))


def memory(n: int, n_vocabulary: int) -> Iterator[ResultRow]:
    context = get_context("spawn")
    found = {}
    for way in ("blocks", "whole"):
        queue = context.Queue()
        child = context.Process(target=_gained, args=(way, n, n_vocabulary, queue))
        child.start()
        found[way] = queue.get()
        child.join()
    assert np.allclose(found["blocks"][1:], found["whole"][1:], rtol=1e-4), "the same loss and gradient"
    yield ResultRow(
        f"log-probabilities of {n} tokens among {n_vocabulary} and their gradient, frozen head", "memory gained",
        found["blocks"][0], "MB", COMMAND, seeds=(0,), rival=found["whole"][0], rival_name="log-softmax of all logits",
        limit=n * 576 * 4 / 1e6, versions=VERSIONS,
    )  # fmt: skip


def moments(n: int, n_vocabulary: int, rounds: int) -> Iterator[ResultRow]:
    torch.manual_seed(0)
    weight, labels = torch.randn(n_vocabulary, 576) / 24, torch.randint(0, n_vocabulary, (n,))

    def step(whole: bool) -> float:
        hidden = torch.ones(n, 576, requires_grad=True)
        if whole:
            loss = (hidden @ weight.T).log_softmax(-1).gather(1, labels[:, None]).sum()
        else:
            loss = token_log_probs(hidden, Head(weight), labels).sum()
        loss.backward()
        return float(loss.detach())

    (ours, one), (theirs, other) = alternating(rounds, lambda: step(False), lambda: step(True))
    assert np.isclose(one, other, rtol=1e-4), "the same loss"
    yield ResultRow(
        f"log-probabilities of {n} tokens among {n_vocabulary} and their gradient, frozen head", "time", ours, "cpu s",
        COMMAND, seeds=(0,), rival=theirs, rival_name="log-softmax of all logits", versions=VERSIONS,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    small = parser.parse_args().scale == "small"
    torch.set_num_threads(1)
    made = list(memory(*((1024, 8192) if small else (4096, 49_152))))
    made += moments(*((512, 8192, 2) if small else (2048, 49_152, 3)))
    lm = load_language_model("smollm2", device="cpu")
    made += prefixes(lm, *((4, 4, 1) if small else (16, 8, 2)))
    for row in made:
        print(f"{row.case}: {row.metric} {row.ours:.4g} {row.unit}; {row.rival_name}: {row.rival:.4g}")
    write_results(RESULTS / "language" / "scoring.json", made)


if __name__ == "__main__":
    main()

"""What a step costs: TRL's DPO and each mask, in turn on the same pairs, SmolLM2 with low-rank adapters.

Time is processor time of loss, backward pass and optimizer. Memory is the highest resident size during a step above
that before it, by the kernel's own mark, which is set back before each step.
"""

import ctypes
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from assay.evidence.results import ResultRow, versions_of
from assay.language import token_ratios as module
from assay.language import torch
from assay.language.models import load_language_model
from assay.language.pair_data import tokenise
from assay.language.policy import adapted
from assay.language.token_preference import Weighing, preference_loss, reference_log_probs
from assay.language.token_ratios import Head, token_ratios
from bench.align.pair_audit import hh_pairs

VERSIONS = versions_of("torch", "transformers", "peft", "trl")
NAMES = {
    "known": "DPO, the reference run once before",
    "none": "DPO",
    "mapo": "MaPO",
    "common": "SparsePO common",
}


def resident(mark: str = "VmRSS") -> float:
    """Megabytes that the process holds now, or held at most (VmHWM) since `forget`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(mark)).split()[1]) / 1024


def forget() -> None:
    """Give freed memory back to the system, and set the highest resident size back."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def cost(run: Callable[[], object]) -> tuple[float, float]:
    """Processor seconds and megabytes of a call."""
    forget()
    before, start = resident(), time.process_time()
    run()
    return time.process_time() - start, resident("VmHWM") - before


def steps(small: bool, command: str, n_pairs: int = 2, rounds: int = 1) -> Iterator[ResultRow]:
    """Processor seconds and memory of a step of TRL and of ours, alternating; the losses are compared first."""
    import datasets
    import peft
    import trl

    lm = load_language_model("smollm2", device="cpu")
    pairs = [pair for pair in hh_pairs() if 150 < len(pair["prompt"]) < 250][:8]
    tokens = tokenise(pairs, lm.tokenizer, lm.pad)
    inputs = tokens[torch.arange(n_pairs)]
    policy = adapted(lm.model, 8)
    with tempfile.TemporaryDirectory() as folder:
        trainer = trl.DPOTrainer(
            model=load_language_model("smollm2", device="cpu").model,
            args=trl.DPOConfig(
                output_dir=folder,
                report_to=[],
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                disable_tqdm=True,
            ),
            train_dataset=datasets.Dataset.from_list(pairs),
            processing_class=lm.tokenizer,
            peft_config=peft.LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
        )
    theirs = trainer.data_collator([trainer.train_dataset[at] for at in range(n_pairs)])
    of_trl = dict(trainer.model.named_parameters())
    with torch.no_grad():
        for name, mine in policy.model.named_parameters():
            if mine.requires_grad:
                of_trl[name].copy_(mine.add_(0.01 * torch.randn_like(mine)))
    known = {"reference": reference_log_probs(inputs, policy)}

    def ours(name: str) -> Callable[[], Any]:
        weighing = Weighing("none" if name == "known" else name)  # type: ignore[arg-type]
        weighing.begin(inputs, policy)
        weights = [weight for part in (policy, weighing) for weight in part.parameters()]
        optimizer = torch.optim.AdamW(weights, 0.0)  # it works, and changes nothing: losses can be compared

        def step() -> Any:
            optimizer.zero_grad()
            scores = weighing.scores(weighing(inputs | (known if name == "known" else {}), policy))
            loss = preference_loss(scores, 0.1).mean()
            loss.backward()
            optimizer.step()
            return loss.item()

        return step

    def rival() -> Callable[[], Any]:
        trained = [weight for weight in trainer.model.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(trained, 0.0)

        def step() -> Any:
            optimizer.zero_grad()
            loss = trainer.compute_loss(trainer.model, theirs)
            loss.backward()
            optimizer.step()
            return loss.item()

        return step

    made = {"TRL": rival()} | {name: ours(name) for name in NAMES}
    first = {name: step() for name, step in made.items()}  # warm
    assert all(abs(first["TRL"] - first[name]) < 1e-4 for name in ("known", "none")), first
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in made}
    for _ in range(1 if small else rounds):
        for name, step in made.items():
            found[name].append(cost(step))
            print(name, found[name][-1], flush=True)
    shape = tuple(inputs["ids"].flatten(0, 1).shape)
    case = f"SmolLM2, adapters of rank 8, {n_pairs} pairs of hh-rlhf, {shape[0]} x {shape[1]} tokens"
    middle = {name: np.median(np.array(each), axis=0).tolist() for name, each in found.items()}
    for name, words in NAMES.items():
        for at, (metric, unit) in enumerate((("step", "cpu s"), ("memory of a step", "MB"))):
            yield ResultRow(
                f"{case}: {words}", metric, middle[name][at], unit, command, rival=middle["TRL"][at],
                rival_name="TRL's DPOTrainer", versions=VERSIONS,
            )  # fmt: skip
    yield from blocks(small, command)


def blocks(small: bool, command: str) -> Iterator[ResultRow]:
    """Rows of a block of logits: time and memory of log-ratios and divergences, forward and backward."""
    n, width, vocabulary = (64, 64, 4096) if small else (256, 576, 49152)
    head, labels = Head(torch.randn(vocabulary, width) * 0.05), torch.randint(vocabulary, (n,))
    hidden, reference = torch.randn(n, width, requires_grad=True), torch.randn(n, width)
    usual = module.ROWS
    try:
        for rows in (32, 64, 256):
            module.ROWS = rows

            def run() -> None:
                log_prob, _, kl = token_ratios(hidden, head, labels, reference)
                (log_prob.sum() + kl.sum()).backward()

            seconds, memory = cost(run)
            case = f"log-ratios and divergences of {n} tokens, vocabulary {vocabulary}, width {width}, blocks of {rows}"
            yield ResultRow(case, "forward and backward", seconds, "cpu s", command, versions=VERSIONS)
            yield ResultRow(case, "memory", memory, "MB", command, versions=VERSIONS)
    finally:
        module.ROWS = usual

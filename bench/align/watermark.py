"""What a mark costs a token, and how fast marks are found: ours beside transformers, MarkLLM and the speed of memory.

Ours and the rivals alternate in one process; where schemes coincide their results are checked equal before any time is
kept. Times are the least of some repetitions of CPU time of the process, so neighbours on the machine disturb little.
MarkLLM is taken where it can be imported (`MARKLLM` names a wheel of it, which is unpacked for the run); its detector
is asked for the green counts of the same text.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from transformers import LlamaConfig, WatermarkDetector, WatermarkingConfig
from transformers.generation.logits_process import SynthIDTextWatermarkLogitsProcessor, WatermarkLogitsProcessor

from assay.align.watermark import Watermark
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.language import torch
from assay.language.chain import LogitsChain
from assay.language.marks import flat
from assay.language.models import load_language_model
from bench.data import RESULTS

COMMAND = "python -m bench.align.watermark"
VERSIONS = versions_of("torch", "transformers", "numba")
KEY = 15485863
ROWS = 16
WIDTHS = {"small": (32_000,), "full": (32_000, 49_152, 128_256)}
TOKENS = {"small": (200_000, 2_000), "full": (4_000_000, 10_000)}


def cpu(call: Callable[[], Any], times: int) -> float:
    """Least CPU seconds of a call, after one that warms up."""
    call()
    found = []
    for _ in range(times):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return min(found)


def row(case: str, metric: str, ours: float, unit: str, **more: Any) -> ResultRow:
    return ResultRow(case, metric, ours, unit, COMMAND, seeds=(0,), versions=VERSIONS, **more)


def per_token(n_vocabulary: int, times: int) -> list[ResultRow]:
    """CPU milliseconds a row and step of each mark, on logits of random ids."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(ROWS, n_vocabulary, generator=generator) * 3
    log_probs = torch.log_softmax(logits, -1)
    ids = torch.randint(0, n_vocabulary, (ROWS, 12), generator=generator)
    at = torch.arange(ROWS)

    def ours(scheme: str, width: int = 1) -> Any:
        return Watermark(scheme, KEY, n_vocabulary, width).mark

    left, self_ = ours("lefthash"), ours("selfhash", 4)
    their_left = WatermarkLogitsProcessor(n_vocabulary, "cpu", 0.25, 2.0, KEY, "lefthash", 1)
    their_self = WatermarkLogitsProcessor(n_vocabulary, "cpu", 0.25, 2.0, KEY, "selfhash", 4)
    for mine, theirs in ((left, their_left), (self_, their_self)):
        assert torch.equal(mine.bias(ids, logits), theirs(ids, logits)), "the same green tokens"
    step = iter(range(1 << 40))

    def fresh() -> torch.Tensor:  # contexts that were not seen, so that no set is kept
        return torch.full((ROWS, 4), next(step) * ROWS, dtype=torch.int64).add(at[:, None]) % n_vocabulary

    synth = SynthIDTextWatermarkLogitsProcessor(5, [654, 400, 836, 123, 340, 443, 597, 160, 57], 2**16, 0, 1024, "cpu")
    copy = cpu(lambda: logits.clone(), 4 * times) / ROWS * 1e3
    rivals = {
        "lefthash": cpu(lambda: their_left(fresh(), logits), times) / ROWS * 1e3,
        "selfhash": cpu(lambda: their_self(ids, logits), 1) / ROWS * 1e3,
        "synthid": cpu(lambda: synth(ids, logits), 1) / ROWS * 1e3,
    }
    kgw, fixed, drawn = ours("kgw", 2), ours("gumbel-fixed", 2), ours("gumbel", 2)
    chain = LogitsChain()
    cases: list[tuple[str, Callable[[], Any], str, str]] = [
        ("KGW, hash", lambda: kgw.bias(ids, logits), "lefthash", "transformers lefthash"),
        ("KGW, lefthash, sets not kept", lambda: left.bias(fresh(), logits), "lefthash", "transformers lefthash"),
        ("KGW, lefthash, sets kept", lambda: left.bias(ids, logits), "lefthash", "transformers lefthash"),
        ("KGW, selfhash", lambda: self_.bias(ids, logits), "selfhash", "transformers selfhash"),
        ("Gumbel, fixed", lambda: fixed.choose(ids, log_probs, at, 0), "synthid", "transformers SynthID"),
        ("Gumbel, randomised", lambda: drawn.choose(ids, log_probs, at, 0), "synthid", "transformers SynthID"),
        ("an unmarked draw, for comparison", lambda: chain(ids, logits, at, 0), "synthid", "transformers SynthID"),
    ]
    rows = []
    for name, call, rival, told in cases:
        spent = cpu(call, times) / ROWS * 1e3
        case = f"{name}, vocabulary {n_vocabulary}"
        rows.append(row(case, "cost of a token", spent, "cpu ms", rival=rivals[rival], rival_name=told, limit=copy))
        print(
            f"{case:<55} {spent:9.4f} ms, {told} {rivals[rival]:9.4f}, {rivals[rival] / spent:8.1f} times", flush=True
        )
    return rows


def of_a_step(rows: list[ResultRow], times: int) -> list[ResultRow]:
    """Cost of a mark as a share of one decoding step of SmolLM2, 16 rows with a cache of 64 tokens."""
    lm = load_language_model("smollm2", device="cpu")
    ids = torch.randint(0, lm.n_vocabulary, (ROWS, 64), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        cache = lm.model(input_ids=ids, use_cache=True, logits_to_keep=1).past_key_values

        def step() -> None:
            lm.model(input_ids=ids[:, :1], past_key_values=cache, use_cache=True)
            cache.crop(-1)

        spent = cpu(step, times) / ROWS * 1e3
    found = [row("SmolLM2-135M, 16 rows, 64 tokens before", "cost of a decoding step", spent, "cpu ms a row")]
    for one in rows:
        if one.case.endswith(f" {lm.n_vocabulary}") and "unmarked" not in one.case:
            share = one.ours / spent
            found.append(row(one.case, "share of a decoding step of SmolLM2", share, "share", limit=0.01))
            print(f"{one.case:<55} {100 * share:.3f} % of a step of {spent:.2f} ms")
    return found


def detection(n_tokens: int, n_theirs: int, times: int) -> list[ResultRow]:
    """Tokens a second and core, texts of 200 tokens with the frequencies of words; transformers on a part of them."""
    n_vocabulary, length = 32_000, 200
    rng = np.random.default_rng(0)
    tokens = (rng.zipf(1.3, n_tokens) % n_vocabulary).astype(np.int32)
    offsets = np.arange(0, n_tokens + 1, length)
    config = WatermarkingConfig(0.25, 2.0, KEY, "lefthash", 1)
    theirs = WatermarkDetector(LlamaConfig(vocab_size=n_vocabulary), "cpu", config, ignore_repeated_ngrams=True)
    part = torch.from_numpy(tokens[:n_theirs].reshape(-1, length).astype(np.int64) + 3).clamp(max=n_vocabulary - 1)
    left = Watermark("lefthash", KEY, n_vocabulary, 1, unique="ngram").fit(part.tolist())
    found = theirs(part, return_dict=True)
    assert np.array_equal(left.statistic_, found.num_green_tokens), "the same green counts"
    np.testing.assert_allclose(left.z_, found.z_score)
    rival = n_theirs / cpu(lambda: theirs(part), 1)
    read = n_tokens / cpu(lambda: tokens.sum(), times)
    rows = []
    for name, mark in (
        ("KGW, hash, every token", Watermark("kgw", KEY, n_vocabulary, 2, unique=False)),
        ("KGW, hash, each n-gram once", Watermark("kgw", KEY, n_vocabulary, 2)),
        ("Gumbel, each n-gram once", Watermark("gumbel", KEY, n_vocabulary, 2)),
        ("KGW, lefthash, each number once", Watermark("lefthash", KEY, n_vocabulary, 1)),
    ):
        # A count of the kernel alone, without the checks of tokens and the p-values, and `fit` whole.
        share = slice(0, n_tokens // (10 if "lefthash" in name else 1))
        here, where = tokens[share], offsets[: len(tokens[share]) // length + 1]
        for what, call in (
            ("counting", lambda m=mark, t=here, o=where: m.mark.count(t, o, m.unique)),
            ("fit, with p-values", lambda m=mark, t=here, o=where: m.fit((t, o))),
        ):
            speed = len(here) / cpu(call, times)
            more = {"rival": rival, "rival_name": "transformers WatermarkDetector", "limit": read}
            rows.append(row(f"{name}, {len(here)} tokens in texts of 200", f"{what}, speed", speed, "tokens/s", **more))
            print(f"{name:<35} {what:<20} {speed:12.3g} tokens/s, {speed / rival:10.0f} times transformers", flush=True)
    return rows


@contextlib.contextmanager
def markllm() -> Iterator[Any]:
    """MarkLLM's KGW module, from an installed package or the wheel that `MARKLLM` names; None where it is not here."""
    wheel = os.environ.get("MARKLLM")
    with tempfile.TemporaryDirectory() as folder:
        if wheel:
            zipfile.ZipFile(wheel).extractall(folder)
            sys.path.insert(0, folder)
        try:
            yield importlib.import_module("markllm.watermark.kgw.kgw")
        except ImportError as error:
            print(f"MarkLLM is left out: {error}")
            yield None
        finally:
            if wheel:
                sys.path.remove(folder)


def beside_markllm(module: Any) -> list[ResultRow]:
    """Green counts and z-scores of the same random text by MarkLLM's KGW and by ours."""
    n_vocabulary, width = 32_000, 2
    config = {
        "algorithm_name": "KGW", "gamma": 0.25, "delta": 2.0, "hash_key": KEY, "z_threshold": 4.0,
        "prefix_length": width, "f_scheme": "time", "window_scheme": "left",
    }  # fmt: skip
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(config, file)
        file.flush()
        model = SimpleNamespace(model=None, tokenizer=None, vocab_size=n_vocabulary, device="cpu", gen_kwargs={})
        theirs = module.KGW(file.name, model)
    ids = torch.randint(0, n_vocabulary, (5, 120), generator=torch.Generator().manual_seed(0))
    mark = Watermark("markllm", KEY, n_vocabulary, width, unique=False).fit(ids.tolist())
    scored = [theirs.utils.score_sequence(one) for one in ids]
    green = [sum(flag == 1 for flag in flags) for _, flags in scored]
    assert mark.statistic_.tolist() == green, "the same green counts"
    np.testing.assert_allclose(mark.z_, [z for z, _ in scored])
    tokens, offsets = flat(ids.tolist(), n_vocabulary)
    logits = torch.randn(2, n_vocabulary, generator=torch.Generator().manual_seed(1))
    inner: Any = mark.mark
    assert torch.equal(inner.bias(ids[:2], logits), theirs.logits_processor(ids[:2], logits.clone())), "logits"
    ours = len(tokens) / cpu(lambda: inner.count(tokens, offsets, unique=False), 3)
    rival = len(tokens) / cpu(lambda: [theirs.utils.score_sequence(one) for one in ids], 1)
    case = "KGW by MarkLLM's rule, 600 random tokens, equal counts and logits"
    return [row(case, "counting, speed", ours, "tokens/s", rival=rival, rival_name="MarkLLM KGW")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=["small", "full"], default="small")
    scale = parser.parse_args().scale
    torch.set_num_threads(1)
    times = 3 if scale == "small" else 5
    rows = [one for width in WIDTHS[scale] for one in per_token(width, times)]
    rows += detection(*TOKENS[scale], times)
    with markllm() as module:
        rows += [] if module is None else beside_markllm(module)
    if scale == "full":
        rows += of_a_step(rows, times)
        write_results(RESULTS / "align" / "watermark.json", rows)


if __name__ == "__main__":
    main()

"""Reward against KL on real text: SmolLM2 with low-rank adapters learns from tweets that a judge tells apart.

A pair is a tweet that people found neither hateful nor offensive (chosen) and one that they found so (rejected), of
Davidson et al. 2017, after the same words. The judge is a linear classifier of other tweets; it scores what the trained
model writes, and how far that is from the reference is the exact KL of each next-token distribution.
"""

import argparse
import csv
import gzip
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from assay.align.sparse_po import SparsePO
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.language import torch
from assay.language.chain import LogitsChain
from assay.language.decoding import generate
from assay.language.models import LanguageModel, load_language_model
from assay.language.policy import Policy
from assay.language.token_ratios import token_ratios
from assay.training.deep.protocol import interval
from assay.training.deep.recipe import Recipe
from bench.align.sparse_po import NAMES, at_level
from bench.data import RESULTS, shared

COMMAND = "python -m bench.align.sparse_po_text"
PROMPT = "A tweet of today:"
BETAS = {"none": (0.3, 1.0), "ones": (0.3,), "common": (0.1, 0.3)}
LEVELS = (0.5, 1.0, 2.0)
VERSIONS = versions_of("torch", "transformers", "peft")


def tweets() -> tuple[list[str], np.ndarray]:
    """Tweets without links, names and quotes, and whether most people found them harmless."""
    text = gzip.decompress(shared("davidson-hate-offensive/labeled_data.csv.gz").read_bytes()).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    clean = [re.sub(r"https?://\S+|@\w+:?|\bRT\b|&#?\w+;|[\"“”]", "", row["tweet"]) for row in rows]
    said = [" ".join(tweet.split()) for tweet in clean]
    keep = [at for at, tweet in enumerate(said) if 25 <= len(tweet) <= 80 and tweet.isascii()]
    return [said[at] for at in keep], np.array([rows[at]["class"] == "2" for at in keep])


@dataclass(frozen=True)
class Outcome:
    """Of what a policy writes: mean log-odds of the judge, mean KL of a tweet, mean reward mask, held-out accuracy."""

    reward: float
    kl: float
    mask: float
    zeros: float
    accuracy: float


class Study:
    """Pairs and the judge of a seed."""

    def __init__(self, seed: int, n_pairs: int) -> None:
        said, harmless = tweets()
        rng = np.random.default_rng([seed, 6])
        good, bad = (rng.permutation(np.flatnonzero(harmless == kind)) for kind in (True, False))
        n = n_pairs + 16
        self.pairs = [
            {"prompt": PROMPT, "chosen": f" {said[a]}", "rejected": f" {said[b]}"}
            for a, b in zip(good[:n], bad[:n], strict=True)
        ]
        rest = np.r_[good[n:], bad[n : n + len(good)]]
        self.judge = make_pipeline(
            TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2), LogisticRegression(C=3.0, max_iter=500)
        ).fit([said[at] for at in rest], harmless[rest])
        self.seed, self.n_pairs = seed, n_pairs

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def judged(self, policy: Policy | None, lm: LanguageModel, n: int) -> tuple[float, float]:
        """Mean reward and mean KL(policy || reference) of n tweets that the policy writes."""
        writer = lm if policy is None else LanguageModel(policy.merged(), lm.tokenizer)
        prompt = lm.encode(PROMPT)
        chain = LogitsChain(seed=self.seed, bans=lm.eos)
        [written] = generate(writer, [prompt], chain=chain, max_new_tokens=12, n_samples=n)
        reward = float(self.judge.decision_function([lm.decode(ids) for ids in written]).mean())
        if policy is None:
            return reward, 0.0
        ids = torch.tensor([[*prompt, *answer] for answer in written])
        states, everywhere = slice(len(prompt) - 1, -1), torch.ones_like(ids)
        ours, theirs = policy(ids, everywhere), policy.read(ids, everywhere).final
        labels = ids[:, len(prompt) :].flatten()
        # with the roles swapped, the divergence runs from the policy to the reference
        kl = token_ratios(
            theirs[:, states].flatten(0, 1),
            policy.reference_head(),
            labels,
            ours[:, states].flatten(0, 1),
            policy.head(),
        )[2]
        return reward, float(kl.sum() / n)

    def trained(self, lm: LanguageModel, mask: Any, beta: float, n: int) -> Outcome:
        """Train and judge."""
        recipe = Recipe(
            batch_size=4, epochs=1, optimizer="adamw", lr=1e-3, weight_decay=0.0, schedule="cosine", clip=1.0
        )
        model = SparsePO(lm, mask, beta, mask_lr=1e-2, recipe=recipe, random_state=self.seed)
        model.fit(self.pairs[: self.n_pairs])
        told = model.evidence(model.tokens(self.pairs[self.n_pairs :]))
        reward, kl = self.judged(model.policy_, lm, n)
        masks, zeros = (np.mean([told[f"{name}_chosen"], told[f"{name}_rejected"]]) for name in ("mask", "zeros"))
        return Outcome(reward, kl, float(masks), float(zeros), float((told["margin"] > 0).mean()))


def measured(seeds: range, n_pairs: int, n: int, lm: LanguageModel) -> tuple[dict[Any, Outcome], dict[int, float]]:
    """Outcome of each mask, beta and seed, and the reward of the reference at each seed."""
    found: dict[Any, Outcome] = {}
    start = {}
    for seed in seeds:
        study = Study(seed, n_pairs)
        start[seed] = study.judged(None, lm, n)[0]
        for mask, betas in BETAS.items():
            for beta in betas:
                found[mask, beta, seed] = study.trained(lm, mask, beta, n)
                print(
                    f"seed {seed}, {NAMES[mask]}, beta {beta}: {found[mask, beta, seed]}, from {start[seed]}",
                    flush=True,
                )
    return found, start


def rows(seeds: range, n_pairs: int, n: int, lm: LanguageModel) -> Iterator[ResultRow]:
    found, start = measured(seeds, n_pairs, n, lm)
    where = f"SmolLM2, adapters of rank 8, {n_pairs} pairs of tweets"

    def row(case: str, metric: str, values: list[float], unit: str = "") -> ResultRow:
        told = interval(values)
        bounds = (told["low"], told["high"])
        return ResultRow(
            f"{where}, {case}", metric, told["mean"], unit, COMMAND, bounds, tuple(seeds), versions=VERSIONS
        )

    yield row("the reference", "reward", list(start.values()), "log-odds")
    curves = {
        (mask, seed): [(0.0, start[seed])] + [(found[mask, b, seed].kl, found[mask, b, seed].reward) for b in betas]
        for mask, betas in BETAS.items()
        for seed in seeds
    }
    reached = min(max(kl for kl, _ in curve) for curve in curves.values())
    for mask, betas in BETAS.items():
        for beta in betas:
            told, case = [found[mask, beta, seed] for seed in seeds], f"{NAMES[mask]}, beta {beta}"
            yield row(case, "reward", [each.reward for each in told], "log-odds")
            yield row(case, "sequence KL", [each.kl for each in told], "nats")
            yield row(case, "held-out pairs ranked as given", [each.accuracy for each in told])
            if mask == "common":
                yield row(case, "mean mask", [each.mask for each in told])
                yield row(case, "zeros of the mask", [each.zeros for each in told])
        for level in (level for level in LEVELS if level <= reached):
            here = [at_level(curves[mask, seed], level) for seed in seeds]
            case = f"{NAMES[mask]}, at a sequence KL of {level}"
            yield row(case, "reward", here, "log-odds")
            if mask != "none":
                gains = [a - at_level(curves["none", seed], level) for a, seed in zip(here, seeds, strict=True)]
                yield row(case, "reward above that of DPO", gains, "log-odds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    small = parser.parse_args().scale == "small"
    torch.set_num_threads(1)
    lm = load_language_model("smollm2", device="cpu")
    made = list(rows(range(2), 8, 4, lm) if small else rows(range(3), 96, 48, lm))
    write_results(RESULTS / "align" / "sparse_po_text.json", made)


if __name__ == "__main__":
    main()

"""How well planted flips of real preference pairs are found: by a held-out reward, and by plain confident learning."""

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from assay.align.pair_audit import PairAudit
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.language.pair_data import read_pairs
from assay.training.deep.protocol import interval
from bench.data import RESULTS, shared

COMMAND = "python -m bench.align.pair_audit"
Pairs = list[dict[str, str]]


def hh_pairs() -> Pairs:
    """The pairs of hh-rlhf, harmless, test part, whose answers differ and say something."""
    pairs = read_pairs(shared("hh-rlhf/harmless-base-test.jsonl.gz"))
    return [pair for pair in pairs if pair["chosen"].strip() and pair["rejected"].strip() != pair["chosen"].strip()]


def flipped(pairs: Pairs, rate: float, seed: int) -> tuple[Pairs, np.ndarray]:
    """Pairs of which a share has its answers swapped, and which."""
    wrong = np.random.default_rng([seed, 5]).random(len(pairs)) < rate
    swapped = [
        {**pair, "chosen": pair["rejected"], "rejected": pair["chosen"]} if swap else pair
        for pair, swap in zip(pairs, wrong, strict=True)
    ]
    return swapped, wrong


def plain(pairs: Pairs, seed: int) -> np.ndarray:
    """Suspicion (n,) by confident learning's self-confidence: answers are rows, chosen and rejected their classes."""
    answers = [pair[name] for name in ("chosen", "rejected") for pair in pairs]
    label = np.repeat([1, 0], len(pairs))
    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2).fit_transform(answers)
    order = np.random.default_rng(seed).permutation(len(answers))
    p = np.empty((len(answers), 2))
    p[order] = cross_val_predict(
        LogisticRegression(max_iter=300), sparse.csr_matrix(words)[order], label[order], method="predict_proba"
    )
    own = p[np.arange(len(p)), label]
    return np.asarray(-(own[: len(pairs)] + own[len(pairs) :]))


def found(small: bool) -> Iterator[ResultRow]:
    pairs, seeds = hh_pairs(), range(2 if small else 5)
    pairs = pairs[:300] if small else pairs
    audit = PairAudit().fit(pairs)
    case = f"hh-rlhf, {len(pairs)} pairs as they are"
    yield ResultRow(case, "pairs ranked as labelled, held out", audit.accuracy_, "", COMMAND, audit.interval_)
    for rate in (0.1, 0.2, 0.3):
        ours, rival = [], []
        for seed in seeds:
            given, wrong = flipped(pairs, rate, seed)
            ours.append(float(roc_auc_score(wrong, -PairAudit(random_state=seed).fit(given).margin_)))
            rival.append(float(roc_auc_score(wrong, plain(given, seed))))
        told, gain = interval(ours), interval([a - b for a, b in zip(ours, rival, strict=True)])
        case = f"hh-rlhf, {len(pairs)} pairs, {rate:.0%} flipped"
        common: dict[str, Any] = {"seeds": tuple(seeds), "versions": versions_of("scikit-learn"), "deployable": False}
        yield ResultRow(
            case, "AUROC of suspicion for flipped pairs", told["mean"], "", COMMAND, (told["low"], told["high"]),
            rival=float(np.mean(rival)), rival_name="confident learning on single answers", **common,
        )  # fmt: skip
        bounds = (gain["low"], gain["high"])
        yield ResultRow(case, "AUROC above the rival's", gain["mean"], "", COMMAND, bounds, **common)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    small = parser.parse_args().scale == "small"
    rows = []
    for row in found(small):
        print(row.case, row.metric, row.ours, row.interval, row.rival, flush=True)
        rows.append(row)
    write_results(RESULTS / "align" / "pair_audit.json", rows)


if __name__ == "__main__":
    main()

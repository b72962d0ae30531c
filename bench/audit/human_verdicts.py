"""What people said about suspected label errors, recounted, and how early our ranking shows them the real ones.

The counts must equal those published with the votes. The ranking sees only given labels and released probabilities.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from cleanlab.rank import get_label_quality_scores

from assay.audit.confident_learning import ConfidentLearning
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.intervals import wilson
from assay.kernels.label_scores import SCORES
from bench.audit.verdict_votes import KINDS, load
from bench.data import RESULTS, shared

COMMAND = "python -m bench.audit.human_verdicts"
PUBLISHED = {  # Northcutt et al. 2021: reviewed, errors, then correctable, multi-label, neither, no agreement
    "mnist": (100, 15, 10, 0, 3, 2),
    "cifar10": (275, 54, 18, 0, 4, 32),
    "cifar100": (2235, 585, 318, 20, 37, 210),
    "amazon": (1000, 732),
}


def recount() -> Iterator[ResultRow]:
    """The published table, from the votes."""
    for name, published in PUBLISHED.items():
        verdicts = load(name)
        kinds = [int((verdicts.kind == kind).sum()) for kind in KINDS]
        counted = (len(verdicts.rows), int(verdicts.wrong.sum()), *kinds)
        for what, ours, theirs in zip(("reviewed", "errors", *KINDS), counted, published, strict=False):
            if ours != theirs:
                raise SystemExit(f"{name}: {ours} {what} counted, {theirs} published.")
            yield ResultRow(
                name,
                f"human verdicts, {what}",
                ours,
                "rows",
                COMMAND,
                rival=theirs,
                rival_name="published",
                device="none",
            )


def ranking() -> Iterator[ResultRow]:
    """Real errors among as many lowest-scored rows as confident learning counts errors."""
    for name in ("mnist", "cifar10"):
        data = np.load(shared(f"label-errors/{name}_test.npz"))
        labels, probabilities = data["original_label"].astype(np.int64), data["pyx"]
        verdicts = load(name)
        wrong = verdicts.rows[verdicts.wrong]
        for score in SCORES:
            fitted = ConfidentLearning(score=score).fit(labels, probabilities)  # type: ignore[arg-type]
            top = fitted.n_errors_
            found = int(np.isin(wrong, np.argsort(fitted.scores_, kind="stable")[:top]).sum())
            theirs = get_label_quality_scores(labels, probabilities, method=score)
            low, high = wilson(found, len(wrong))
            yield ResultRow(
                case=f"{name}, {top} lowest by {score}",
                metric=f"of {len(wrong)} errors that people confirmed",
                ours=found,
                interval=(float(low) * len(wrong), float(high) * len(wrong)),
                unit="errors",
                command=COMMAND,
                rival=int(np.isin(wrong, np.argsort(theirs, kind="stable")[:top]).sum()),
                rival_name="cleanlab",
                versions=versions_of("cleanlab"),
            )


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    rows = [*recount(), *ranking()]
    write_results(RESULTS / "audit" / "human_verdicts.json", rows)
    for row in rows:
        print(f"{row.case:50s} {row.metric:45s} {row.ours:6.0f} {row.rival_name} {row.rival:6.0f}")


if __name__ == "__main__":
    main()

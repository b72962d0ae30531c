"""The critic: verdicts against the closed form, pairs against single labels, and quality against minutes of people.

    python -m bench.aggregate.critic --scale full

Receipts are read by RapidOCR and Tesseract, cells found by three classical segmenters; nobody was told the truth.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.aggregate.critic import LabelCritic, candidates_of
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.dual_verdicts import dual_accuracy, dual_coverage
from assay.kernels.intervals import wilson
from assay.kernels.mask_shape import dice
from assay.training.judges import FIRST, GOOD, SECOND, UNSURE, Answer, Candidate, Case
from assay.training.judges.classifier import ClassifierJudge
from assay.training.judges.kinds import likeness
from assay.training.judges.rules import RulesJudge
from bench.aggregate import routing
from bench.aggregate.cell_masks import cell_masks
from bench.aggregate.phantoms import digits, ellipsoids, spoiled
from bench.aggregate.receipt_lines import receipt_lines
from bench.data import RESULTS

Floats = npt.NDArray[np.float64]
GOOD_MASK = 0.8  # Dice from which a mask counts as good


class Simulated:
    """Knows which label is better; errs with chance `error`, and names the first place unseen with chance `bias`."""

    name, price = "simulated", 0.0

    def __init__(self, error: float, bias: float, seed: int) -> None:
        self.error, self.bias, self.rng = error, bias, np.random.default_rng(seed)

    def compare(self, case: Case, first: Candidate, second: Candidate) -> Answer:
        del case
        if self.rng.random() < self.bias:
            return Answer(FIRST)
        right = float(first.value) > float(second.value)
        return Answer(FIRST if right ^ (self.rng.random() < self.error) else SECOND)

    def check(self, case: Case, candidate: Candidate) -> Answer:
        del case, candidate
        return Answer(GOOD)

    def present(self, case: Case) -> Answer:
        del case
        return Answer(UNSURE)


def simulations(command: str, n: int, seeds: int) -> list[ResultRow]:
    """Accuracy and coverage of dual confirmation, beside the closed form and beside asking once."""
    rows = []
    for error, bias in ((0.1, 0.0), (0.2, 0.0), (0.3, 0.0), (0.2, 0.5), (0.0, 1.0)):
        right = confident = once = total = 0
        for seed in range(seeds):
            a, b = np.random.default_rng(seed).random((2, n))
            labels = {"a": a.astype(str).tolist(), "b": b.astype(str).tolist()}
            critic = LabelCritic(Simulated(error, bias, seed), check=False).fit(labels, kind="text")
            sure, better = critic.choice_ >= 0, (b > a).astype(int)
            right += int((critic.choice_[sure] == better[sure]).sum())
            confident += int(sure.sum())
            once += int((critic.pairs_["asked"] - 1 == better).sum())
            total += n
        case = f"simulated judge, error {error:g}, {bias:.0%} of answers name the first place unseen"
        known = bias == 0
        for metric, share, of, limit in (
            ("coverage of two orders", confident, total, float(dual_coverage(error))),
            ("accuracy of two orders where confident", right, confident, float(dual_accuracy(error))),
            ("accuracy of one order", once, total, 1 - error),
        ):
            if of:
                low, high = (float(bound) for bound in wilson(share, of))
                seen, top = tuple(range(seeds)), limit if known else None
                rows.append(ResultRow(case, metric, share / of, "", command, (low, high), seen, limit=top))
    return rows


def singles_and_pairs(command: str, n: int, seeds: int) -> list[ResultRow]:
    """Of two spoiled masks the better one, against good or bad of one: the same features, learned from 60 masks."""
    rows = []
    for name, make in (("digits 32 x 32", digits), ("ellipsoids 32 x 32 x 32", ellipsoids)):
        for judged in ("rules", "classifier"):
            found = np.zeros((seeds, 2, 3))  # pairs and singles: right, confident, all
            for seed in range(seeds):
                rng = np.random.default_rng(seed)
                truth = make(n + 60, seed)
                other = make(n + 60, seed + 1000) if make is ellipsoids else digits(n + 60, seed, 8)
                labels = {
                    source: [spoiled(mask, aside, rng) for mask, aside in zip(truth, other, strict=True)]
                    for source in "ab"
                }
                cases, candidates = candidates_of(labels, kind="mask")
                judge = _taught(judged, cases, candidates, truth, range(60), seed)
                for row in range(60, n + 60):
                    quality = [dice(one.value, truth[row]) for one in candidates[row]]
                    if quality[0] != quality[1]:
                        said = judge.compare(cases[row], *candidates[row]).said
                        found[seed, 0] += (said == 1 + int(quality[1] > quality[0]), said > 0, 1)
                    said = judge.check(cases[row], candidates[row][0]).said
                    found[seed, 1] += (said == 1 + int(quality[0] < GOOD_MASK), said > 0, 1)
            for at, what in enumerate(("pairs", "single labels")):
                right, confident, count = found[:, at].sum(axis=0)
                case, seen = f"{name}, {judged}, {what}", tuple(range(seeds))
                for metric, share, of in (
                    ("accuracy where confident", right, confident),
                    ("coverage", confident, count),
                ):
                    low, high = (float(bound) for bound in wilson(share, of))
                    rows.append(ResultRow(case, metric, share / of, "", command, (low, high), seen, deployable=False))
    return rows


def _taught(
    name: str,
    cases: Sequence[Case],
    candidates: Sequence[Sequence[Candidate]],
    truth: Sequence[Any],
    known: Sequence[int] | range,
    seed: int,
) -> RulesJudge | ClassifierJudge:
    taught = [cases[row] for row in known], [truth[row] for row in known]
    if name == "rules":
        return RulesJudge().fit(*taught)
    return ClassifierJudge(random_state=seed).fit(taught[0], [candidates[row] for row in known], taught[1])


class Routed:
    """A set of rows with several labellers; seeds draw which rows are known, all policies are judged on the rest."""

    def __init__(
        self,
        labels: dict[str, list[Any]],
        truth: list[Any],
        quality: Floats,
        fused: dict[str, Floats],
        group: npt.NDArray[Any],
        cases: list[Case],
        known_groups: int,
    ) -> None:
        self.labels, self.truth, self.quality, self.fused = labels, truth, quality, fused
        self.group, self.known_groups = np.unique(group, return_inverse=True)[1], known_groups
        self.cases, self.candidates = candidates_of(labels, cases)
        near = np.zeros(len(truth))
        for row, some in enumerate(self.candidates):
            pairs = [likeness(a.value, b.value) for i, a in enumerate(some) for b in some[:i]]
            near[row] = np.mean(pairs) if pairs else 0.0
        self.apart = 1 - near

    def rows(self, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Known rows and the others."""
        drawn = np.random.default_rng(seed).permutation(self.group.max() + 1)[: self.known_groups]
        known = np.isin(self.group, drawn)
        return np.flatnonzero(known), np.flatnonzero(~known)

    def unknown_groups(self, seed: int) -> npt.NDArray[np.int64]:
        """The group of each row that is not known."""
        return np.asarray(self.group[self.rows(seed)[1]])

    def critic(self, judge: str, seed: int) -> routing.Policy:
        """The critic's labels, and the rows whose label its judge likes least first."""
        known, rest = self.rows(seed)
        taught = _taught(judge, self.cases, self.candidates, self.truth, known.tolist(), seed)
        at = rest.tolist()
        critic = LabelCritic(taught).fit(
            {name: [column[row] for row in at] for name, column in self.labels.items()}, [self.cases[row] for row in at]
        )
        best = int(self.quality[known].mean(axis=0).argmax())
        kept = np.where(critic.choice_ >= 0, critic.choice_, best)
        return self.quality[rest, kept], -np.where(np.isfinite(critic.score_), critic.score_, -1e9)

    def rivals(self, seed: int) -> dict[str, routing.Policy]:
        """Each labeller and each fusion, with rows shown at random, and with those first where labels differ most."""
        _, rest = self.rows(seed)
        urgency = {"at random": np.random.default_rng(seed).random(len(rest)), "disagreement first": self.apart[rest]}
        kept = {name: self.quality[:, at] for at, name in enumerate(self.labels)} | self.fused
        return {f"{name}, {how}": (q[rest], u) for name, q in kept.items() for how, u in urgency.items()}

    def measured(self, case: str, command: str, seeds: int, resamples: int) -> list[ResultRow]:
        """The critic with each judge, beside the best rival."""
        rows = []
        for judge in ("classifier", "rules"):
            ours, theirs, lead, bounds = routing.compare(
                partial(self.critic, judge), self.rivals, self.unknown_groups, seeds, resamples
            )
            for at, metric in enumerate(routing.names()):
                name = max((float(value[at]), one) for one, value in theirs.items())[1]
                said, seen = f"{case}, {judge}", tuple(range(seeds))
                rest: dict[str, Any] = {"deployable": False, "versions": versions_of("scikit-learn")}
                value, rival = float(ours[at]), float(theirs[name][at])
                rows.append(ResultRow(said, metric, value, "", command, None, seen, rival, name, **rest))
                inside = (float(bounds[0, at]), float(bounds[1, at]))
                what = f"lead over the best rival, {metric}"
                rows.append(ResultRow(said, what, float(lead[at]), "", command, inside, seen, **rest))
        return rows


def receipts(full: bool, fresh: bool = False) -> Routed:
    """Lines of receipts; a text is right when it equals the truth but for case and spaces.

    `fresh` lines were not looked at before the judges were finished.
    """
    lines = receipt_lines(300 if full else 40, 10, fresh)

    def plain(texts: list[str]) -> list[str]:
        return [" ".join(text.lower().split()) for text in texts]

    truth = plain(lines.truth)
    labels = {"rapidocr": plain(lines.rapidocr), "tesseract": plain(lines.tesseract)}
    right = np.array([[said == true for said, true in zip(column, truth, strict=True)] for column in labels.values()])
    longer = np.array([[len(text) for text in column] for column in labels.values()]).argmax(axis=0)
    fused = {"the longer text": right[longer, np.arange(len(truth))].astype(np.float64)}
    cases = [Case(row, "text") for row in range(len(truth))]
    return Routed(labels, truth, right.T.astype(np.float64), fused, lines.receipt, cases, 50 if full else 12)


def masks(labels: dict[str, list[Any]], truth: list[Any], cases: list[Case], known: int) -> Routed:
    """Masks, their fusions, and the Dice of all of them with the truth."""
    stacks = [np.stack(some) for some in zip(*labels.values(), strict=True)]
    fusions = {
        "majority of pixels": [stack.sum(axis=0) > len(labels) / 2 for stack in stacks],
        "union": [stack.any(axis=0) for stack in stacks],
        "intersection": [stack.all(axis=0) for stack in stacks],
    }
    quality, fused = (
        {
            name: np.array([dice(mask, true) for mask, true in zip(column, truth, strict=True)])
            for name, column in columns.items()
        }
        for columns in (labels, fusions)
    )
    return Routed(labels, truth, np.array(list(quality.values())).T, fused, np.arange(len(cases)), cases, known)


def cells(full: bool, fusions: bool = False) -> Routed:
    """White blood cells, by three segmenters; with `fusions`, their union and majority are candidates as well."""
    found = cell_masks(364 if full else 80)
    labels: dict[str, list[Any]] = dict(found.labels)
    if fusions:
        stacks = [np.stack(some) for some in zip(*found.labels.values(), strict=True)]
        labels["union"] = [stack.any(axis=0) for stack in stacks]
        labels["majority"] = [stack.sum(axis=0) >= 2 for stack in stacks]
    cases = [Case(row, "mask", content=picture) for row, picture in enumerate(found.pictures)]
    return masks(labels, list(found.truth), cases, 60 if full else 30)


def phantoms(full: bool) -> Routed:
    """Ellipsoids by three labellers that each spoil half of them, independently."""
    n, rng = 300 if full else 80, np.random.default_rng(0)
    truth, other = ellipsoids(n, 0), ellipsoids(n, 1)
    labels: dict[str, list[Any]] = {
        name: [
            spoiled(mask, aside, rng) if rng.random() < 0.5 else mask for mask, aside in zip(truth, other, strict=True)
        ]
        for name in ("first", "second", "third")
    }
    return masks(labels, list(truth), [Case(row, "mask") for row in range(n)], 60 if full else 30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="small")
    full = parser.parse_args().scale == "full"
    command = f"python -m bench.aggregate.critic --scale {'full' if full else 'small'}"
    rows = simulations(command, 4000 if full else 400, 5 if full else 2)
    rows += singles_and_pairs(command, 200 if full else 20, 5 if full else 1)
    size = "full" if full else "small"
    few = {"full": "lines of 300 receipts, 500 of them known", "small": "lines of 40 receipts, 120 of them known"}[size]
    rows += receipts(full).measured(few, command, 10 if full else 2, 100 if full else 20)
    rows += receipts(full, fresh=True).measured(f"fresh {few}", command, 10 if full else 2, 100 if full else 20)
    some = {"full": "ellipsoids, 60 of 300 known", "small": "ellipsoids, 30 of 80 known"}[size]
    rows += phantoms(full).measured(some, command, 5 if full else 2, 100 if full else 20)
    some = {"full": "white cells, 60 of 364 pictures known", "small": "white cells, 30 of 80 pictures known"}[size]
    rows += cells(full).measured(some, command, 5 if full else 2, 100 if full else 20)
    some += ", fusions as candidates"
    rows += cells(full, fusions=True).measured(some, command, 5 if full else 2, 100 if full else 20)
    write_results(RESULTS / "aggregate" / "critic.json", rows)


if __name__ == "__main__":
    main()

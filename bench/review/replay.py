"""What the order of a review is worth: real verdicts of five people a row replayed, and tables with planted errors.

Real: the candidates of MNIST and CIFAR-10 that five workers judged (`bench.audit.verdict_votes`). Every look is one of
the row's workers, drawn anew in each replay, through a real queue and ledger; rows without votes are not shown.
Planted: digits with one label in ten moved on by one, reviewed by two people who are mistaken about 5 % of rows.
Stop sign: `bench.review.campaigns`. Intervals: bootstrap over seeds, Wilson for shares.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from cleanlab.rank import get_label_quality_scores
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.intervals import bootstrap, wilson
from assay.labels.verdicts import Verdict
from assay.review.queue import Task
from bench.audit.error_probability import read
from bench.data import RESULTS, shared
from bench.review.campaigns import campaign, worlds
from bench.review.rows import ArrayProject, Floats, Ints, Says, at_once, queue_over, review

WORDS = {"given": Verdict.GIVEN, "guessed": Verdict.SUGGESTED, "both": Verdict.BOTH, "neither": Verdict.NEITHER}
CALLS_WRONG = (Verdict.SUGGESTED, Verdict.NEITHER, Verdict.OTHER)
MISTAKES = 0.05
RATE = 0.1
TARGET = 0.01
SHARE = 0.3


def ballots(name: str) -> dict[int, list[Verdict]]:
    """Row -> what each worker said."""
    with gzip.open(shared(f"label-errors/mturk/{name}_mturk.json.gz"), "rt", encoding="utf-8") as file:
        records = json.load(file)
    return {
        record["id"]: [WORDS[word] for word, times in record["mturk"].items() for _ in range(times)]
        for record in records
    }


def until(seen: Ints, wanted: Ints, share: float = 0.9) -> int:
    """Looks until so large a share of the wanted rows was seen."""
    hits = np.flatnonzero(np.isin(seen, wanted))
    return int(hits[int(np.ceil(share * len(wanted))) - 1]) + 1


def one_of(said: list[Verdict], rng: np.random.Generator) -> Verdict:
    """What one of a row's workers said."""
    return said[int(rng.integers(len(said)))]


def cleanlab_order(probs: Floats, given: npt.NDArray[np.integer], rows: Ints, method: str) -> Ints:
    """Rows, the lowest quality score first."""
    scores = np.asarray(get_label_quality_scores(given, probs, method=method))[rows]
    return rows[np.argsort(scores, kind="stable")]


def real(name: str, seeds: int, command: str) -> list[ResultRow]:
    """Looks until nine in ten of the real errors were seen, and errors that were called so after half of the looks."""
    probs, given, rows, wrong = read(name)
    project, votes = ArrayProject(probs, given), ballots(name)
    errors, outside = rows[wrong], np.setdiff1d(np.arange(len(given)), rows).tolist()
    half = len(rows) // 2

    def replay(seed: int, random: float = 0.0, taught: bool = True) -> tuple[float, float]:
        rng = np.random.default_rng([seed, 5])
        with queue_over(project, random=random, taught=taught, seed=seed) as queue:
            looks = review(
                queue,
                lambda task, _: (rng.choice(np.array(votes[task.row], dtype=object)), None),
                ["ann"],
                10**6,
                outside,
            )
        found = {look.row for look in looks[:half] if look.verdict in CALLS_WRONG and look.row in set(errors.tolist())}
        return until(np.array([look.row for look in looks]), errors), len(found)

    def in_order(order: Callable[[int], Ints]) -> Floats:
        out = []
        for seed in range(seeds):
            rng, ranked = np.random.default_rng([seed, 6]), order(seed)
            said = [one_of(votes[row], rng) in CALLS_WRONG for row in ranked[:half].tolist()]
            out.append((until(ranked, errors), int(np.sum(np.isin(ranked[:half], errors) & np.array(said)))))
        return np.array(out, dtype=np.float64)

    ways = {
        "taught": np.array([replay(seed) for seed in range(seeds)]),
        "taught, three in ten looks random": np.array([replay(seed, random=0.3) for seed in range(seeds)]),
        "the same queue untaught": np.array([replay(seed, taught=False) for seed in range(seeds)]),
        "random order": in_order(lambda seed: np.random.default_rng([seed, 7]).permutation(rows)),
        "cleanlab, self-confidence (its default)": in_order(
            lambda _: cleanlab_order(probs, given, rows, "self_confidence")
        ),
        "cleanlab, normalised margin": in_order(lambda _: cleanlab_order(probs, given, rows, "normalized_margin")),
    }
    case = f"{name}, {len(rows)} judged candidates, {len(errors)} real errors"
    metrics = ("looks until 90 % of the real errors were seen", f"real errors called wrong in the first {half} looks")
    return compared(case, metrics, "looks", ways, seeds, command)


def compared(
    case: str, metrics: tuple[str, ...], unit: str, ways: dict[str, Floats], seeds: int, command: str
) -> list[ResultRow]:
    """Rows for each way, and for the first way less each other on the same seeds; columns of `ways` are metrics."""
    out = []
    ours = next(iter(ways))

    def row(case: str, metric: str, values: Floats) -> ResultRow:
        interval = bootstrap(lambda x: float(np.mean(x)), values) if np.ptp(values) > 0 else None
        used = versions_of("cleanlab", "scikit-learn")
        return ResultRow(
            case, metric, float(values.mean()), unit, command, interval, seeds=tuple(range(seeds)), versions=used
        )

    for column, metric in enumerate(metrics):
        for way, values in ways.items():
            out.append(row(f"{case}: {way}", metric, values[:, column]))
            if way != ours:
                out.append(row(f"{case}: {ours} less {way}", metric, ways[ours][:, column] - values[:, column]))
    return out


def planted(seed: int) -> tuple[ArrayProject, Ints]:
    """Digits with one label in ten moved on by one, and the right labels."""
    images, truth = load_digits(return_X_y=True)
    rng = np.random.default_rng([seed, 1])
    given = np.where(rng.random(len(truth)) < RATE, (truth + 1) % 10, truth)
    model = LogisticRegression(max_iter=200)
    probs = cross_val_predict(model, images / 16, given, method="predict_proba", cv=5)
    return ArrayProject(probs, given), truth


def digits(seeds: int, budget: int, command: str) -> list[ResultRow]:
    """Wrong labels fewer after a budget of looks, for each hundred looks, by order and by share of second looks."""
    settings: dict[str, dict[str, Any]] = {
        "taught": {},
        "the same queue untaught": {"taught": False},
        "taught, a tenth seen twice": {"double": 0.1},
        "taught, three in ten seen twice": {"double": 0.3},
        "as it comes: three in ten looks random, a tenth seen twice": {"random": 0.3, "double": 0.1},
    }
    names = (*settings, "random order", "cleanlab, self-confidence (its default)", "cleanlab, normalised margin")
    got = {name: np.empty((seeds, 2)) for name in names}
    for seed in range(seeds):
        project, truth = planted(seed)
        before = int(np.sum(project.given != truth))
        for name, each in settings.items():
            says = reviewer(project, truth, np.random.default_rng([seed, 2]))
            with queue_over(project, seed=seed, **each) as queue:
                for column, looks in enumerate((budget // 2, budget - budget // 2)):
                    review(queue, says, ["ann", "ben"], looks)
                    labels = project.given.copy()
                    for row, label in queue.store.ledger.current().items():
                        labels[row] = int(label)
                    got[name][seed, column] = before - np.sum(labels != truth)
        orders = {
            "random order": np.random.default_rng([seed, 3]).permutation(len(truth)),
            "cleanlab, self-confidence (its default)": cleanlab_order(
                project.pred_probs, project.given, np.arange(len(truth)), "self_confidence"
            ),
            "cleanlab, normalised margin": cleanlab_order(
                project.pred_probs, project.given, np.arange(len(truth)), "normalized_margin"
            ),
        }
        for name, order in orders.items():
            rng = np.random.default_rng([seed, 4])
            wrong = project.given[order[:budget]] != truth[order[:budget]]
            slip = rng.random(budget) < MISTAKES
            net = np.cumsum(np.where(wrong, ~slip, -slip.astype(int)))
            got[name][seed] = net[budget // 2 - 1], net[budget - 1]
    halves = (budget // 2, budget)
    per_look = {name: values / np.array(halves) for name, values in got.items()}
    metrics = tuple(f"labels put right less labels put wrong, a look, over {looks} looks" for looks in halves)
    case = "digits, 10 % planted errors, two reviewers mistaken on 5 %"
    return compared(case, metrics, "labels a look", per_look, seeds, command)


def reviewer(project: ArrayProject, truth: Ints, rng: np.random.Generator) -> Says:
    """People who see the truth, but for mistakes."""

    def says(task: Task, _: str) -> tuple[Verdict, str | None]:
        right, row = str(truth[task.row]), task.row
        if (project.given[row] != truth[row]) == (rng.random() < MISTAKES):
            return Verdict.GIVEN, None
        if right in (task.suggested, task.given):
            return Verdict.SUGGESTED, None
        return Verdict.OTHER, right

    return says


def stop_sign(runs: int, n: int, command: str) -> list[ResultRow]:
    """Share of campaigns that stop at the sign with the truth below the target, and looks until then."""
    out = []
    for world in worlds(n):
        ended = [campaign(world, SHARE, TARGET, seed) for seed in range(runs)]
        good = np.array([one.remaining < TARGET for one in ended])
        looks = np.array([one.looks for one in ended], dtype=np.float64)
        low, high = wilson(int(good.sum()), runs)
        case = f"{world.name}: {n} rows, {world.rate:.1%} wrong, {SHARE:.0%} of looks random at least, {runs} campaigns"
        share_good = ResultRow(
            case,
            "stopped with less than 1 % wrong in truth",
            float(good.mean()),
            "",
            command,
            interval=(float(low), float(high)),
            limit=0.95,
        )
        took = bootstrap(lambda x: float(np.mean(x)), looks)
        out += [share_good, ResultRow(case, "looks until the sign", float(looks.mean()), "looks", command, took)]
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    scale = parser.parse_args().scale
    command = f"python -m bench.review.replay --scale {scale}"
    small = scale == "small"
    rows: list[ResultRow] = []
    with at_once():
        for name in ("mnist", "cifar10"):
            rows += real(name, 2 if small else 8, command)
        rows += digits(2 if small else 6, 100 if small else 360, command)
    rows += stop_sign(10 if small else 400, 400 if small else 2_000, command)
    write_results(RESULTS / "review" / "replay.json", rows)
    for row in rows:
        print(f"{row.case:110.110s} {row.metric:60.60s} {row.ours:8.3f} {row.interval}")


if __name__ == "__main__":
    main()

"""Information flow where the needed sources are known: a copier, SmolLM2 on notes; and what the search costs."""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.evidence.results import ResultRow, read_results, versions_of, write_results
from assay.kernels.intervals import wilson
from assay.kernels.minimal_labels import SEARCHES
from assay.labels.flow import Answerer, Generated, Question
from assay.labels.lattices import Sources
from assay.language.introspection import introspect, used_items
from assay.language.models import LanguageModel, load_language_model
from assay.language.neighbour_answers import NeighbourAnswers
from assay.protect.information_flow import LAMS, InformationFlow
from bench.data import RESULTS
from bench.protect import copier, notes

COMMAND = "python -m bench.protect.information_flow"
VERSIONS = versions_of("assay", "torch", "transformers")
SOURCES = Sources(tuple(f"s{at}" for at in range(10)))
SHOWN = (0.0, 0.01, 0.1, 0.5, 1.0, 2.0, 4.0)
Needed = Sequence[tuple[int, ...]]


def share(case: str, metric: str, hits: Sequence[bool], seeds: Sequence[int], **rival: Any) -> ResultRow:
    """A share of questions with its Wilson interval."""
    low, high = wilson(float(sum(hits)), len(hits))
    interval = (float(low), float(high))
    return ResultRow(
        case, metric, float(np.mean(hits)), "", COMMAND, interval, tuple(seeds), versions=VERSIONS, **rival
    )


def mean(case: str, metric: str, values: Sequence[float], seeds: Sequence[int], **rival: Any) -> ResultRow:
    """A mean with its bootstrap interval over questions."""
    array = np.asarray(values, dtype=np.float64)
    draws = np.random.default_rng(0).choice(array, (2000, len(array))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975]).tolist()
    return ResultRow(
        case, metric, float(array.mean()), "", COMMAND, (low, high), tuple(seeds), versions=VERSIONS, **rival
    )


def named(record: dict[str, Any]) -> tuple[int, ...]:
    """Positions of the sources in a label; source i labels item i."""
    return tuple(int(name[1:]) for name in record["label"])


def asked(query: Any, items: Sequence[Any]) -> Question:
    return Question(query, items, SOURCES.names[: len(items)])


def table(
    case: str, records: Sequence[dict[str, Any]], needed: Sequence[Needed], seeds: Sequence[int]
) -> list[ResultRow]:
    """What came of some questions at one lam with one search."""
    n = float(np.mean([record["items"] for record in records]))
    pairs = list(zip(records, needed, strict=True))
    smaller = [any(set(named(r)) < set(one) for one in k) for r, k in pairs]
    return [
        share(case, "exact match with a minimal label", [named(r) in k for r, k in pairs], seeds),
        share(case, "below every minimal label", smaller, seeds),
        mean(
            case,
            "sources in the label",
            [r["restrictions"] for r in records],
            seeds,
            rival=n,
            rival_name="conservative",
        ),
        share(case, "answers changed", [r["changed"] for r in records], seeds),
        mean(case, "labels scored", [r["calls"] for r in records], seeds),
    ]


def copiers(small: bool) -> Iterator[ResultRow]:
    """Five trained copiers; questions whose facts stand once, and twice."""
    seeds, per_seed, steps = (range(2), 20, 200) if small else (range(5), 100, 200)
    models = [copier.CopierAnswers(copier.trained(seed, steps)) for seed in seeds]
    for copies in (1, 2):
        known = [
            [copier.question(np.random.default_rng([seed, at]), 6, copies) for at in range(per_seed)] for seed in seeds
        ]
        flat = [one for some in known for one in some]
        needed = [one.needed for one in flat]
        said = f"copier, 6 documents, each fact in {copies}"
        found: dict[float, list[dict[str, Any]]] = {lam: [] for lam in LAMS}
        for model, some in zip(models, known, strict=True):
            flow = InformationFlow(model, SOURCES).fit([asked(one.query, one.items) for one in some])
            for lam, records in flow.records_.items():
                found[lam] += records
        for lam in SHOWN:
            yield from table(f"{said}, exact, lam {lam}", found[lam], needed, seeds)
        whole = [
            sorted(map(tuple, ([int(s[1:]) for s in one] for one in r["minimal"]))) == k
            for r, k in zip(found[0.1], needed, strict=True)
        ]
        yield share(f"{said}, exact, lam 0.1", "all minimal labels found", whole, seeds)
        looked = [m.looked_at(one.query, one.items) for m, some in zip(models, known, strict=True) for one in some]
        yield share(
            f"{said}, the largest attention",
            "exact match with a minimal label",
            [a in k for a, k in zip(looked, needed, strict=True)],
            seeds,
        )
        for search in SEARCHES:
            if search not in ("exact", "conservative"):
                records = [
                    InformationFlow(model, SOURCES, search=search)
                    .answer(one.query, one.items, SOURCES.names[:6])
                    .record
                    for model, some in zip(models, known, strict=True)
                    for one in some
                ]
                yield from table(f"{said}, {search}, lam 0.1", records, needed, seeds)


class Remembered:
    """An answerer that asks another one nothing twice."""

    def __init__(self, model: Answerer) -> None:
        self.model = model
        self.said: dict[Any, Generated] = {}
        self.scored: dict[Any, float] = {}

    def generate(self, query: str, items: Sequence[str]) -> Generated:
        key = (query, tuple(items))
        if key not in self.said:
            self.said[key] = self.model.generate(query, items)
        return self.said[key]

    def score(
        self, query: str, items: Sequence[str], subsets: Sequence[Sequence[int]], answer: Generated
    ) -> npt.NDArray[np.float64]:
        keys = [(query, tuple(items), tuple(subset), answer) for subset in subsets]
        new = [at for at, key in enumerate(keys) if key not in self.scored]
        if new:
            found = self.model.score(query, items, [subsets[at] for at in new], answer)
            self.scored.update({keys[at]: float(value) for at, value in zip(new, found, strict=True)})
        return np.array([self.scored[key] for key in keys])


@dataclass(frozen=True)
class Answered:
    """What came of one question on SmolLM2: its records by lam, and what the model says that it used."""

    known: notes.Noted
    right: bool
    records: dict[float, dict[str, Any]]
    used: tuple[int, ...] | None

    @property
    def needed(self) -> Needed:
        return [(holder,) for holder in self.known.holders]


def on_smollm2(lm: LanguageModel, small: bool, minutes: float) -> Iterator[ResultRow]:
    """Notes with one fact each, by search and by asking the model: as many rounds of five seeds as time allows."""
    found: dict[int, list[Answered]] = {1: [], 2: []}
    start, seeds = time.monotonic(), range(1 if small else 5)
    for round_ in range(2 if small else 100):
        if round_ >= 2 and time.monotonic() - start > 60 * minutes:
            break
        copies = 2 if round_ % 4 == 1 else 1
        for seed in seeds:
            known = notes.question(np.random.default_rng([seed, round_]), (4, 4, 6, 8)[round_ % 4], copies)
            model, labels = Remembered(notes.answers(lm)), SOURCES.names[: len(known.items)]
            text = model.generate(known.query, known.items).text
            records = {
                lam: InformationFlow(model, SOURCES, lam=lam, search="leave-one-out")
                .answer(known.query, known.items, labels)
                .record
                for lam in (0.03, 0.1, 0.3, 1.0, 3.0)
            }
            used = used_items(introspect(lm, known.query, known.items, text), len(known.items))
            found[copies].append(Answered(known, text == known.value, records, used))
            told = {lam: (record["kept"], round(record["drop"], 3)) for lam, record in records.items()}
            print(round_, seed, repr(text), repr(known.value), known.holders, told, used, flush=True)
    for copies, some in found.items():
        case = f"SmolLM2, {len(some)} questions on notes, each fact in {copies}"
        yield share(case, "full-context answers that are right", [one.right for one in some], seeds)
        for lam in some[0].records:
            yield from table(
                f"{case}, lam {lam}", [one.records[lam] for one in some], [one.needed for one in some], seeds
            )
        right = [one for one in some if one.right]
        hits = [named(one.records[0.1]) in one.needed for one in right]
        yield share(f"{case}, lam 0.1, answer right", "exact match with a minimal label", hits, seeds)
        whole = [tuple(range(len(one.known.items))) if one.used is None else one.used for one in some]
        low = [not any(set(k) <= set(w) for k in one.needed) for w, one in zip(whole, some, strict=True)]
        exact = [w in one.needed for w, one in zip(whole, some, strict=True)]
        yield share(f"{case}, introspection", "exact match with a minimal label", exact, seeds)
        yield share(f"{case}, introspection", "too low", low, seeds)
        yield share(f"{case}, introspection", "replies that cannot be read", [one.used is None for one in some], seeds)
        yield mean(f"{case}, introspection", "sources in the label", [len(w) for w in whole], seeds)


def on_neighbours(lm: LanguageModel, small: bool) -> Iterator[ResultRow]:
    """The same notes read by a kNN-LM, whose one pass scores every label; all labels are searched."""
    seeds, per_seed = (range(1), 2) if small else (range(5), 2)
    some = [notes.question(np.random.default_rng([seed, at, 3]), 6) for seed in seeds for at in range(per_seed)]
    model = NeighbourAnswers(lm, max_new_tokens=8, stop=".,\n")
    case = f"kNN-LM on SmolLM2, {len(some)} questions on 6 notes"
    found: dict[float, list[dict[str, Any]]] = {}
    for one in some:
        known = Remembered(model)
        for lam in (0.1, 1.0, 3.0):
            flow = InformationFlow(known, SOURCES, lam=lam)
            found.setdefault(lam, []).append(flow.answer(one.query, one.items, SOURCES.names[:6]).record)
    right = [model.generate(one.query, one.items).text == one.value for one in some]
    yield share(case, "full-context answers that are right", right, seeds)
    for lam, records in found.items():
        yield from table(
            f"{case}, exact, lam {lam}", records, [[(holder,) for holder in one.holders] for one in some], seeds
        )


def cost(lm: LanguageModel, small: bool) -> Iterator[ResultRow]:
    """CPU seconds and tokens of one search, with and without reused beginnings and batches; the labels agree."""
    some = [notes.question(np.random.default_rng([9, at]), 8) for at in range(1 if small else 8)]
    ways = {
        "reused, 16 a batch": (True, 16),
        "run anew, 16 a batch": (False, 16),
        "reused, one by one": (True, 1),
        "run anew, one by one": (False, 1),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    tokens: dict[str, int] = {}
    labels: dict[str, list[Any]] = {way: [] for way in ways}
    for one in some:
        for way, (reuse, batch_size) in ways.items():
            model = notes.answers(lm, reuse=reuse, batch_size=batch_size)
            known = Remembered(model)
            known.generate(one.query, one.items)
            start = time.process_time()
            said = InformationFlow(known, SOURCES, mode="attribute", search="leave-one-out").answer(
                one.query, one.items, SOURCES.names[:8]
            )
            seconds[way].append(time.process_time() - start)
            tokens[way] = tokens.get(way, 0) + model.n_scored
            labels[way].append(said.label.value)
    assert all(found == labels["run anew, one by one"] for found in labels.values())
    for way in ways:
        case = f"search on SmolLM2, 8 notes, leave-one-out, {way}"
        rival: dict[str, Any] = {
            "rival": float(np.mean(seconds["run anew, one by one"])),
            "rival_name": "run anew, one by one",
        }
        yield mean(case, "CPU seconds of a search", seconds[way], (9,), **(rival if way != rival["rival_name"] else {}))
        yield ResultRow(case, "tokens run", tokens[way] / len(some), "", COMMAND, None, (9,), versions=VERSIONS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="small")
    parser.add_argument(
        "--part",
        choices=("all", "copier", "smollm2", "neighbours", "cost"),
        default="all",
        help="the others keep their rows",
    )
    parser.add_argument("--minutes", type=float, default=30, help="for the questions on SmolLM2")
    options = parser.parse_args()
    small, path = options.scale == "small", RESULTS / "protect" / "information_flow.json"
    parts: dict[str, tuple[str, Callable[[], Iterator[ResultRow]]]] = {
        "copier": ("copier", lambda: copiers(small)),
        "smollm2": ("SmolLM2", lambda: on_smollm2(load_language_model("smollm2"), small, options.minutes)),
        "neighbours": ("kNN-LM", lambda: on_neighbours(load_language_model("smollm2"), small)),
        "cost": ("search on", lambda: cost(load_language_model("smollm2"), small)),
    }
    kept = read_results(path) if path.exists() else []
    rows: list[ResultRow] = []
    for part, (begin, run) in parts.items():
        chosen = options.part in ("all", part)
        rows += list(run()) if chosen else [row for row in kept if row.case.startswith(begin)]
    write_results(path, rows)


if __name__ == "__main__":
    main()

"""Word error rate of chosen and of combined texts, beside the plain nearest answer and crowd-kit's ROVER, and time."""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from crowdkit.aggregation import ROVER

from assay.aggregate.text_choice import TextChoice
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.intervals import bootstrap
from assay.kernels.text_distance import align
from bench.data import RESULTS

VOCABULARY = [f"word{i}" for i in range(200)]


def transcripts(seed: int, n: int, w: int = 8, per_task: int = 5) -> tuple[list[str], list[int], list[str], list[str]]:
    """True texts, and columns; workers leave out, change or add 3 to 50 % of the words."""
    rng = np.random.default_rng(seed)
    error = np.linspace(0.03, 0.5, w)
    truth, task, worker, text = [], [], [], []
    for i in range(n):
        words = rng.choice(VOCABULARY, rng.integers(6, 20)).tolist()
        truth.append(" ".join(words))
        for j in rng.permutation(w)[:per_task]:
            said = []
            for word in words:
                u = rng.random()
                if u >= error[j] * 0.3:
                    said.append(str(rng.choice(VOCABULARY)) if u < error[j] * 0.8 else word)
                    if rng.random() < error[j] * 0.2:
                        said.append(str(rng.choice(VOCABULARY)))
            task.append(i)
            worker.append(f"w{j}")
            text.append(" ".join(said))
    return truth, task, worker, text


def word_error_rate(said: list[str], truth: list[str]) -> float:
    wrong, total = 0, 0
    for a, b in zip(said, truth, strict=True):
        number: dict[str, int] = {}
        one, other = (np.array([number.setdefault(t, len(number)) for t in s.split()], np.int32) for s in (b, a))
        at, token = align(one, other)
        wrong += sum(place < 0 or what != one[place] for place, what in zip(at, token, strict=True))
        total += len(one)
    return wrong / total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="small")
    full = parser.parse_args().scale == "full"
    command = f"python -m bench.aggregate.text_choice --scale {'full' if full else 'small'}"
    seeds, n = (20, 300) if full else (2, 40)
    values = np.empty((seeds, 6))
    TextChoice(combine=True).fit([0, 0], ["u", "v"], ["a b", "b"])
    for seed in range(seeds):
        truth, task, worker, text = transcripts(seed, n)
        plain = TextChoice(max_iter=1).fit(task, worker, text)
        begin = time.process_time()
        model = TextChoice(combine=True).fit(task, worker, text)
        mine = time.process_time() - begin
        begin = time.process_time()
        frame = pd.DataFrame({"task": task, "worker": worker, "text": text})
        rover = ROVER(str.split, " ".join).fit_predict(frame).loc[list(range(n))].tolist()
        theirs = time.process_time() - begin
        assert model.combined_ is not None
        said = (list(model.choice_), list(model.combined_), list(plain.choice_), rover)
        values[seed] = [*(word_error_rate(texts, truth) for texts in said), mine, theirs]
    mean = values.mean(axis=0)
    case, seen = f"{n} texts of 6 to 19 words, 5 answers each, 3 to 50 % of words wrong", tuple(range(seeds))
    rows = []
    for place, what, other, name in ((0, "chosen", 2, "nearest answer"), (1, "combined", 3, "crowd-kit ROVER")):
        interval = bootstrap(lambda column: float(column.mean()), values[:, place])
        row = ResultRow(
            case,
            f"word error rate, {what}",
            mean[place],
            "",
            command,
            interval,
            seen,
            mean[other],
            name,
            deployable=False,
            versions=versions_of("crowd-kit"),
        )
        rows.append(row)
    rows.append(ResultRow(case, "time to combine", mean[4], "CPU s", command, None, seen, mean[5], "crowd-kit ROVER"))
    write_results(RESULTS / "aggregate" / "text_choice.json", rows)


if __name__ == "__main__":
    main()

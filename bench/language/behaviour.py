"""How often the two judges of refusals agree with labels given on reading, where their rules were made and elsewhere.

`python -m bench.language.behaviour --scale small|full`; both scales are the same.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from assay.evidence.results import ResultRow, write_results
from assay.kernels.intervals import wilson
from assay.language.behaviour import JUDGES, judge_refusal
from bench.data import RESULTS

COMMAND = "python -m bench.language.behaviour --scale full"
TABLE = Path(__file__).parents[2] / "tests" / "language" / "answers.json"
PARTS = {
    "known": "assistants of hh-rlhf, looked at while the rules were written",
    "unseen": "assistants of hh-rlhf, others",
    "smollm2": "SmolLM2's answers to hh-rlhf, greedy, first 40 tokens",
    "hand": "made-up answers, typical and tricky",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    parser.parse_args()
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    made = []
    for part, told in PARTS.items():
        for judge in JUDGES:
            right = sum(judge_refusal(text, judge) == verdict for text, verdict in table[part])
            n = len(table[part])
            low, high = map(float, wilson(right, n))
            made.append(ResultRow(f"{told} ({n})", f"agrees with the reader: {judge}", right / n, "share", COMMAND,
                                  interval=(low, high), deployable=False))  # fmt: skip
    for row in made:
        print(f"{row.case}: {row.metric} {row.ours:.3f} {row.interval}")
    write_results(RESULTS / "language" / "behaviour.json", made)


if __name__ == "__main__":
    main()

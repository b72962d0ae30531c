"""How fast the ledger takes in verdicts, safely, and how fast it answers at a million events.

The limit of a durable append is the disk: one write of a page with its fsync. The rival is what people do by hand: a
file of JSON lines, appended and synced, which knows no second writer, no chain and no index.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from assay.evidence.results import ResultRow, versions_of, write_results
from assay.labels.ledger import Event, Ledger
from bench.data import RESULTS

COMMAND = "python -m bench.labels.ledger"


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def repeat(work: Callable[[], object], times: int) -> None:
    for _ in range(times):
        work()


def best(work: Callable[[], object], repeats: int = 3) -> float:
    return min(seconds(work) for _ in range(repeats))


def verdict(row: int) -> Event:
    evidence = {"verdict": "given", "sampled": "flagged"}
    return Event("verdict", "anna", "human", row=row, before="cat", after="dog", evidence=evidence)


def started(path: Path, n_rows: int) -> Ledger:
    ledger = Ledger.open(path, create=True)
    evidence = {"sha256": "0" * 64, "n_rows": n_rows}
    ledger.append([Event("dataset", "audit", "rule", column="label", evidence=evidence)])
    return ledger


def synced(path: Path, line: bytes, times: int) -> float:
    """Appends of `line` a second, each with its fsync."""
    with path.open("ab", buffering=0) as file:

        def one() -> None:
            file.write(line)
            os.fsync(file.fileno())

        return times / seconds(lambda: repeat(one, times))


def four_writers(path: Path, each: int) -> float:
    """Events a second of four processes that append to one ledger at once."""

    def write() -> None:
        children = []
        for _ in range(4):
            child = os.fork()
            if child == 0:
                with Ledger.open(path) as ledger:
                    for row in range(each):
                        ledger.append([verdict(row)])
                os._exit(0)
            children.append(child)
        if any(os.waitpid(child, 0)[1] for child in children):
            raise SystemExit("a writer failed")

    return 4 * each / seconds(write)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=["small", "full"], default="full")
    small = parser.parse_args().scale == "small"
    n_events, n_single = (20_000, 100) if small else (1_000_000, 1000)
    RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RESULTS) as name:  # on the disk, where a temporary folder may be memory
        rows = measure(Path(name), n_events, n_single)
    for row in rows:
        print(f"{row.case:<58} {row.metric:<12} {row.ours:>12.5g} {row.unit:<9} rival {row.rival} limit {row.limit}")
    if not small:
        write_results(RESULTS / "labels" / "ledger.json", rows)


def measure(folder: Path, n_events: int, n_single: int) -> list[ResultRow]:
    versions = versions_of("assay")

    def result(case: str, metric: str, ours: float, unit: str, **more: object) -> ResultRow:
        return ResultRow(case, metric, ours, unit, COMMAND, versions=versions, **more)  # type: ignore[arg-type]

    rows = []
    line = (json.dumps(verdict(1).as_dict()) + "\n").encode()
    with started(folder / "single.db", n_events) as ledger:
        # The disk, the rival and ours take turns, so that a busy moment hits all.
        turns = []
        for _ in range(5):
            limit = synced(folder / "limit", bytes(4096), n_single // 5)
            rival = synced(folder / "rival.jsonl", line, n_single // 5)
            ours = n_single / 5 / seconds(lambda: repeat(lambda: ledger.append([verdict(1)]), n_single // 5))
            turns.append((ours, rival, limit))
    ours, rival, limit = (sorted(column)[2] for column in zip(*turns, strict=True))
    case = "durable appends, one event each, one writer"
    name = "JSON lines with fsync (no chain, one writer)"
    rows.append(result(case, "rate", ours, "events/s", rival=rival, rival_name=name, limit=limit))
    four = four_writers(folder / "single.db", n_single // 4)
    rows.append(result("durable appends, one event each, four processes", "rate", four, "events/s", limit=limit))

    path = folder / "million.db"
    n_changes = len(range(10, n_events, 10))
    with started(path, n_events) as ledger:

        def fill() -> None:
            for first in range(1, n_events, 10_000):
                batch = range(first, min(first + 10_000, n_events))
                ledger.append(
                    [
                        Event("change", "anna", "human", row=row, before="cat", after="dog")
                        if row % 10 == 0
                        else Event(
                            "suggestion", "cl", "model", row=row, before="cat", after="dog", evidence={"p": 0.25}
                        )
                        for row in batch
                    ]
                )

        spent = seconds(fill)
        rows.append(result("appends in batches of 10,000", "rate", (n_events - 1) / spent, "events/s"))
    rows.append(result(f"{n_events:,} events", "size", path.stat().st_size / n_events, "bytes/event"))

    def reopen() -> None:
        with Ledger.open(path) as ledger:
            assert len(ledger) == n_events

    rows.append(result(f"open and count at {n_events:,} events", "time", best(reopen), "s"))
    with Ledger.open(path) as ledger:
        asked: dict[str, Callable[[], object]] = {
            "append of one": lambda: ledger.append([verdict(1)]),
            "blame of a row": lambda: ledger.blame(n_events // 20 * 10),
            f"current labels of {n_changes:,} changed rows": ledger.current,
            "log, the last 20": lambda: list(ledger.log(limit=20)),
            "log, all": lambda: sum(1 for _ in ledger.log()),
            "verify the chain": ledger.verify,
        }
        assert len(ledger.current()) == n_changes
        assert ledger.verify().problem is None
        for case, work in asked.items():
            rows.append(result(f"{case} at {n_events:,} events", "time", best(work), "s"))
    return rows


if __name__ == "__main__":
    main()

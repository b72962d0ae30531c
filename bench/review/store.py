"""How long a verdict takes until it is safe, alone and with eight writers, in a file and in PostgreSQL, on a project of
a million suggestions and a hundred thousand verdicts; and what is left after writers were killed in the middle.

The limit of a durable append is the disk: one write of a page with its fsync.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from assay.evidence.results import ResultRow, versions_of, write_results
from assay.labels.ledger import Event, Ledger
from assay.labels.verdicts import Verdict
from assay.review.store import Decision, ReviewStore
from bench.data import RESULTS
from bench.forks import Fork
from bench.postgres import running

COMMAND = "python -m bench.review.store"
WRITERS = 4
EACH = 1000  # verdicts of a writer that is killed


def begun(place: str, n_rows: int, n_verdicts: int = 0) -> None:
    """A ledger with a suggestion for every row, and verdicts on the first ones."""
    with Ledger.open(place, create=True) as ledger:
        evidence = {"sha256": "0" * 64, "n_rows": n_rows, "classes": ["cat", "dog"]}
        ledger.append([Event("dataset", "audit", "rule", column="label", evidence=evidence)])
        for first in range(0, n_rows, 10_000):
            rows = range(first, min(first + 10_000, n_rows))
            ledger.append([Event("suggestion", "cl", "model", row=row, before="cat", after="dog") for row in rows])
        for first in range(0, n_verdicts, 10_000):
            rows = range(first, min(first + 10_000, n_verdicts))
            ledger.append([verdict(row) for row in rows])


def verdict(row: int) -> Event:
    evidence = {"verdict": "given", "sampled": "flagged", "seconds": 3.2, "key": f"old-{row}", "role": "first"}
    return Event(
        "verdict", "olga", "human", row=row, before="cat", after="cat", evidence=evidence, derived_from=(row + 2,)
    )


def decision(row: int, reviewer: str) -> Decision:
    word = Verdict.SUGGESTED if row % 3 == 0 else Verdict.GIVEN
    return Decision(row, reviewer, word, seconds=2.5, key=f"{reviewer}-{row}")


class Campaign(NamedTuple):
    """What killing left: verdicts acknowledged; of these lost or doubled; stored though their writer died unheard."""

    acknowledged: int
    lost: int
    doubled: int
    unheard: int
    problem: str | None


def campaign(place: str, rounds: int, most: int = 200, seed: int = 0) -> Campaign:
    """Start four writers of a thousand verdicts, kill -9 all in the middle; again; then ask what is there.

    The kill comes once one of them has heard of fewer than `most`.

    After each round the writers' first verdicts that nobody acknowledged are sent again, as a page would.
    """
    rng = np.random.default_rng(seed)
    acknowledged: dict[str, int] = {}
    unheard = 0
    for turn in range(rounds):
        rows = range(turn * EACH, (turn + 1) * EACH)
        names = [f"writer{number}" for number in range(WRITERS)]
        forks = [Fork(writing(place, name, rows)) for name in names]
        for fork in forks:
            fork.wait_for(1)
        forks[int(rng.integers(WRITERS))].wait_for(int(rng.integers(1, most)))
        time.sleep(rng.uniform(0, 0.005))  # so that the kill falls anywhere in an append
        for fork in forks:
            fork.kill()
        with ReviewStore(Ledger.open(place)) as store:
            for name, fork in zip(names, forks, strict=True):
                said = [line.split() for line in fork.lines()]
                acknowledged |= {key: int(event) for key, event in said}
                again = decision(rows[min(len(said), EACH - 1)], name)
                stored = store.append(again)
                unheard += stored.again
                acknowledged[again.key] = stored.event
    with Ledger.open(place) as ledger:
        found = [(str(event.evidence["key"]), event.id) for event in ledger.log(kind="verdict")]
        times = Counter(key for key, _ in found)
        ids = dict(found)
        return Campaign(
            acknowledged=len(acknowledged),
            lost=sum(ids.get(key) != event for key, event in acknowledged.items()),
            doubled=sum(number > 1 for number in times.values()),
            unheard=unheard,
            problem=ledger.verify().problem,
        )


def writing(place: str, name: str, rows: range) -> Callable[[Callable[[str], None]], None]:
    def work(say: Callable[[str], None]) -> None:
        with ReviewStore(Ledger.open(place)) as store:
            for row in rows:
                said = decision(row, name)
                say(f"{said.key} {store.append(said).event}")

    return work


def appending(place: str, writers: int, each: int, first: int) -> list[float]:
    """Seconds of each append, by so many processes at once."""

    def timing(number: int) -> Callable[[Callable[[str], None]], None]:
        def work(say: Callable[[str], None]) -> None:
            with ReviewStore(Ledger.open(place)) as store:
                say("ready")
                for row in range(first + number * each, first + (number + 1) * each):
                    start = time.perf_counter()
                    store.append(decision(row, f"fast{number}"))
                    say(str(time.perf_counter() - start))

        return work

    forks = [Fork(timing(number)) for number in range(writers)]
    lines = [line for fork in forks for line in fork.lines() if line != "ready"]
    if len(lines) != writers * each:
        raise SystemExit(lines[-1])
    return [float(line) for line in lines]


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(name: str, place: str, n_rows: int, n_verdicts: int, each: int, limit: float) -> list[ResultRow]:
    """Rows of one home of the ledger, which holds the project already."""
    size = f"{n_rows:,} suggestions and {n_verdicts:,} verdicts"
    rows: list[ResultRow] = []

    def result(case: str, metric: str, ours: float, unit: str, limit: float | None = None) -> None:
        case = f"{name}: {case}, {size}"
        rows.append(ResultRow(case, metric, ours, unit, COMMAND, limit=limit, versions=versions_of("assay", "pg8000")))

    for writers in (1, 8):
        spent = 1000 * np.array(appending(place, writers, each // writers, n_verdicts + writers * each))
        for metric, share in (("median", 50), ("95th percentile", 95)):
            case = f"a verdict until it is safe, {writers} writer{'s' * (writers > 1)}"
            result(case, metric, float(np.percentile(spent, share)), "ms", limit)
    opened: list[ReviewStore] = []
    result("open", "time", seconds(lambda: opened.append(ReviewStore(Ledger.open(place)))), "s")
    with opened[0] as store:
        result("all decisions in force", "time", seconds(store.decisions), "s")
        wanted = range(n_rows - 1, n_rows - 101, -1)
        leases = [1000 * seconds(lambda: store.lease(wanted, f"reviewer{turn}", 60.0)) for turn in range(100)]  # noqa: B023
        result("a lease out of 100 rows", "95th percentile", float(np.percentile(leases, 95)), "ms")
        undos = [1000 * seconds(lambda: store.undo("fast0")) for _ in range(50)]
        result("an undo", "median", float(np.median(undos)), "ms")
    return rows


def synced(path: Path, times: int = 500) -> float:
    """Median milliseconds of a page written with its fsync."""
    with path.open("ab", buffering=0) as file:

        def write() -> None:
            file.write(bytes(4096))
            os.fsync(file.fileno())

        return 1000 * float(np.median([seconds(write) for _ in range(times)]))


def doing(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=["small", "full"], default="full")
    small = parser.parse_args().scale == "small"
    n_rows, n_verdicts, each, rounds = (20_000, 2000, 80, 3) if small else (1_000_000, 100_000, 800, 50)
    RESULTS.mkdir(exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory(dir=RESULTS) as name:  # on the disk, where a temporary folder may be memory
        folder = Path(name)
        folder.chmod(0o755)
        limit = synced(folder / "limit")
        with running(where=folder) as server:
            file = folder / "project.assay"
            doing("a project in a file")
            begun(str(file), n_rows, n_verdicts)
            with Ledger.open(file) as ledger, Ledger.open(server.url("project"), create=True) as other:
                doing("its copy in PostgreSQL")
                spent = seconds(lambda: ledger.copy_to(other))
                rows.append(
                    ResultRow(
                        f"copy of {len(ledger):,} events from a file to PostgreSQL",
                        "rate",
                        len(ledger) / spent,
                        "events/s",
                        COMMAND,
                    )
                )
            for home, place in (("file", str(file)), ("PostgreSQL", server.url("project"))):
                doing(f"verdicts in {home}")
                rows += measure(home, place, n_rows, n_verdicts, each, limit)
            shutil.rmtree(file)
            for home, place in (("file", str(folder / "killed.assay")), ("PostgreSQL", server.url("killed"))):
                doing(f"writers of {home} are killed")
                begun(place, (rounds + 1) * EACH)
                done = campaign(place, rounds)
                if done.problem is not None:
                    raise SystemExit(done.problem)
                case = f"{home}: {rounds} times {WRITERS} writers of {EACH:,} verdicts killed in the middle"
                rows += [
                    ResultRow(case, metric, float(getattr(done, metric)), "verdicts", COMMAND, seeds=(0,))
                    for metric in ("acknowledged", "lost", "doubled", "unheard")
                ]
    for row in rows:
        print(f"{row.case:<90} {row.metric:<16} {row.ours:>12.5g} {row.unit:<9} limit {row.limit}")
    if not small:
        write_results(RESULTS / "review" / "store.json", rows)


if __name__ == "__main__":
    main()

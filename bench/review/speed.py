"""How fast the review answers over real HTTP: from starting the command to the first row, and eight reviewers at once.

Eight clients ask for a row, look at it for a moment, post a verdict and ask again, while the verdicts teach the model
that ranks the rows; once at the pace of quick people, and once without looking at all. The decisions go to the file of
the folder or to PostgreSQL. Server and clients share the machine. Rows are texts (Davidson's tweets, repeated).

    python -m bench.review.speed --scale full
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from assay.evidence.kept_rows import read_rows
from assay.evidence.results import ResultRow, versions_of, write_results
from bench.data import RESULTS
from bench.postgres import running
from bench.review.project import prepare

COMMAND = "python -m bench.review.speed"
REVIEWERS = 8
SCALES = {"small": ((1_000,), 3.0, 1), "full": ((10_000, 1_000_000), 20.0, 3)}
"""Numbers of rows, seconds of each load, starts of which the median is told."""
PACES = {"a verdict each second": 1.0, "without looking": 0.0}


class Reviewer:
    """A client with a session of its own, over one connection that is kept."""

    def __init__(self, link: str, name: str) -> None:
        place = urlsplit(link)
        assert place.hostname is not None
        self.connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
        self.headers: dict[str, str] = {}
        self.times: dict[str, list[float]] = {"next row": [], "verdict": []}
        self.ask("GET", f"/?{place.query}")
        self.headers["X-Assay"] = self.ask("GET", "/api/session")["csrf"]
        self.headers["X-Assay"] = self.ask("POST", "/api/session", {"reviewer": name})["csrf"]

    def ask(self, method: str, path: str, sent: dict[str, Any] | None = None) -> Any:
        """Send a request and read all of the answer."""
        body = None if sent is None else json.dumps(sent)
        self.connection.request(method, path, body, {**self.headers, "Content-Type": "application/json"})
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:300]!r}")
        if (cookie := answer.headers["set-cookie"]) is not None:
            self.headers["Cookie"] = cookie.partition(";")[0]
        return json.loads(content) if answer.headers["content-type"] == "application/json" else None

    def next(self) -> dict[str, Any]:
        """The next row, timed."""
        start = time.perf_counter()
        task = self.ask("GET", "/api/next")["task"]
        self.times["next row"].append(time.perf_counter() - start)
        assert task is not None
        return dict(task)

    def decide(self, task: dict[str, Any]) -> None:
        """A verdict on a row, timed; a third of the labels is wrong."""
        told = {"row": task["row"], "role": task["role"], "sampled": task["sampled"], "seconds": 1.0}
        verdict = "suggested" if task["row"] % 3 == 0 else "given"
        start = time.perf_counter()
        self.ask("POST", "/api/verdicts", {**told, "verdict": verdict, "key": secrets.token_hex(16)})
        self.times["verdict"].append(time.perf_counter() - start)


@contextmanager
def command(folder: Path, *words: str) -> Iterator[tuple[str, int]]:
    """`assay review` in a process of its own; gives the link and the process."""
    line = [sys.executable, "-m", "assay", "review", str(folder), "--no-browser", *words]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(line, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            if not (link := process.stdout.readline().strip()):
                errors.seek(0)
                raise RuntimeError(errors.read())
            yield link, process.pid
        finally:
            process.terminate()


def first_row(folder: Path, *words: str) -> tuple[float, float]:
    """Seconds from the start of the process to the first row, and processor seconds of the process."""
    start = time.perf_counter()
    with command(folder, *words) as (link, pid):
        Reviewer(link, "first").next()
        return time.perf_counter() - start, processor_seconds(pid)


def first_row_inside(folder: Path) -> float:
    """Seconds from opening to the first row, in a process that has imported everything."""
    from assay.review.serve import answering, opened

    start = time.perf_counter()
    with opened(folder) as desk, answering(desk) as link:
        Reviewer(link, "inside").next()
        return time.perf_counter() - start


def load(link: str, seconds: float, pace: float, name: str) -> dict[str, list[float]]:
    """Times of what eight reviewers asked for within so many seconds."""
    reviewers = [Reviewer(link, f"{name} {number}") for number in range(REVIEWERS)]
    end = time.perf_counter() + seconds
    failed: list[BaseException] = []

    def work(reviewer: Reviewer, number: int) -> None:
        try:
            time.sleep(pace * number / REVIEWERS)
            while time.perf_counter() < end:
                task = reviewer.next()
                time.sleep(pace)
                reviewer.decide(task)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(each, number)) for number, each in enumerate(reviewers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return {what: [one for each in reviewers for one in each.times[what]] for what in ("next row", "verdict")}


def make_results(folder: Path, n: int) -> Path:
    """Results about n texts, with held-out probabilities of which a part doubts the labels."""
    prepare("texts", "csv", n, folder)
    results = folder / "results"
    kept = read_rows(results)
    k = len(kept.space.names)
    pred_probs = np.repeat(kept.p_wrong[:, None] ** 3 / (k - 1), k, axis=1).astype(np.float64)
    pred_probs[np.arange(n), kept.given] = 1 - kept.p_wrong.astype(np.float64) ** 3
    np.save(results / "pred_probs.npy", pred_probs)
    return results


def processor_seconds(pid: int) -> float:
    """Processor time of a process so far: what its wall time would be on a machine that does nothing else."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak(pid: int) -> float:
    """Most memory that a process held so far, MB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return float(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def measure(n: int, home: str, seconds: float, starts: int) -> Iterator[tuple[str, str, float, str]]:
    """Case, metric, value and unit of everything measured at one size."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        results = make_results(folder, n)
        words = [] if home == "file" else ["--db", stack.enter_context(running()).url("speed")]
        case = f"{n:,} texts, ledger in {'a file' if home == 'file' else 'PostgreSQL'}"
        first_row(results, *words)  # begins the ledger, and brings the files into memory
        wall, processor = np.median([first_row(results, *words) for _ in range(starts)], axis=0).tolist()
        yield case, "command to first row", wall, "s"
        yield case, "command to first row, processor time", processor, "s"
        if home == "file":
            inside = [first_row_inside(results) for _ in range(starts + 1)][1:]
            yield case, "opening to first row, imports done", float(np.median(inside)), "s"
        with command(results, *words) as (link, pid):
            Reviewer(link, "early").next()  # what the first row of all waits for is told above
            for what, pace in PACES.items():
                times = load(link, seconds, pace, what)
                for name, values in times.items():
                    for share in (50, 95, 99):
                        metric = f"{name}, {REVIEWERS} reviewers, {what}: {share}th percentile"
                        yield case, metric, float(np.percentile(values, share)) * 1000, "ms"
                yield case, f"verdicts, {REVIEWERS} reviewers, {what}", len(times["verdict"]) / seconds, "1/s"
            told = Reviewer(link, "last").ask("GET", "/api/progress")
            yield case, "verdicts learned from by the end", float((told["teaching"] or {}).get("n_verdicts", 0)), ""
            yield case, "peak memory of the server", peak(pid), "MB"


def main() -> None:
    """Measure, print, and keep the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--scale", choices=SCALES, default="small")
    chosen = parser.parse_args()
    sizes, seconds, starts = SCALES[chosen.scale]
    line = f"{COMMAND} --scale {chosen.scale}"
    rows = []
    for n in sizes:
        for home in ("file", "postgres"):
            for case, metric, value, unit in measure(n, home, seconds, starts):
                print(f"{case:<44}{metric:<64}{value:>10.3f} {unit}", flush=True)
                rows.append(
                    ResultRow(
                        case, metric, value, unit, line, seeds=(0,), versions=versions_of("starlette", "uvicorn", "h11")
                    )
                )
    write_results(RESULTS / "review" / "speed.json", rows)


if __name__ == "__main__":
    main()

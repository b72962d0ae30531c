"""Throw hostile requests at the real server over a hostile data set, and say which promise broke.

Requests are bytes on a socket, made by a grammar: routes with odd rows, names and queries; hosts, origins, cookies and
CSRF words that are right, wrong, missing or doubled; bodies that are valid verdicts with a field exchanged, or no JSON,
or too deep, too large, too slow; and now and then plain noise. What every answer must keep:

- no 5xx but 503, no traceback, one sentence of JSON for an error, and the security headers on every answer;
- nothing but a refusal without the right host, origin, token, and, for a POST, the session's word;
- no byte of a file outside of the project, no picture that is not drawn anew, never the token;
- the verdicts that were acknowledged are in the ledger, each once, and no others; its chain is whole.

    python -m bench.review.fuzz --requests 20000 --seed 0
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from assay.evidence.results import ResultRow, versions_of, write_results
from assay.labels.ledger import Ledger
from assay.review.guard import BODY_SECONDS, HEADERS
from bench.data import RESULTS
from bench.review.attacks import TOKEN, Answer, Client, Request, exchange
from bench.review.hostile import MARK, SECRET_SIZE, make_project


def faults(request: Request, answer: Answer) -> list[str]:
    """Which promises an answer breaks."""
    if answer.status == 0:
        return [] if request.wrong & {"noise", "length"} else ["no answer"]
    if answer.status == 400 and answer.headers.get("content-type") == "text/plain; charset=utf-8":
        return []  # not HTTP at all: answered below the application
    found = []
    if answer.status >= 500:
        found.append(f"status {answer.status}")
    if request.wrong & {"host", "origin", "site", "cookie", "csrf", "token"} and answer.status < 400:
        found.append(f"answered {answer.status} although wrong: {request.wrong}")
    shown = answer.body + repr(answer.headers).encode()
    found += [f"shows {secret!r}" for secret in (MARK, TOKEN, "Traceback") if secret.encode() in shown]
    kind = answer.headers.get("content-type", "")
    picture = kind.startswith("image/")
    own = {**HEADERS, **({"content-security-policy": "default-src 'none'; sandbox"} if picture else {})}
    found += [
        f"header {name} is {answer.headers.get(name)!r}"
        for name, value in own.items()
        if answer.headers.get(name) != value
    ]
    if "server" in answer.headers:
        found.append("names its software")
    if request.method == "HEAD":
        return found
    if answer.status >= 400:
        try:
            sentence = json.loads(answer.body)["error"]
            found += [] if isinstance(sentence, str) and "\n" not in sentence else [f"not one sentence: {sentence!r}"]
        except (ValueError, KeyError, TypeError):
            found.append(f"an error that is no JSON: {answer.body[:80]!r}")
    elif picture:
        drawn = Image.open(io.BytesIO(answer.body))
        if drawn.format not in ("PNG", "JPEG") or drawn.size == SECRET_SIZE or drawn.info.get("comment"):
            found.append(f"serves a picture of {drawn.size}, {drawn.format}")
    return found


def slow(port: int, client: Client, told: list[str]) -> None:
    """A body that never comes is refused in time; many silent connections do not stop others."""
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
    head = f"POST /api/undo HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {client.cookie}\r\nX-Assay: {client.csrf}\r\n"
    start = time.monotonic()
    answer = exchange(port, (head + "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{").encode())
    if answer.status != 408 or not BODY_SECONDS - 1 < time.monotonic() - start < BODY_SECONDS + 10:
        told.append(f"a slow body: status {answer.status} after {time.monotonic() - start:.1f} s")
    for connection in silent:
        connection.close()


def check_ledger(folder: Path, stored: dict[str, int], lost: set[str]) -> list[str]:
    """Whether the ledger holds what was acknowledged, and nothing else."""
    with Ledger.open(folder) as ledger:
        verdicts = list(ledger.log(kind="verdict"))
        found = [problem] if (problem := ledger.verify().problem) else []
    keys = Counter(str(event.evidence.get("key")) for event in verdicts)
    found += [f"key {key} is stored {times} times" for key, times in keys.items() if times > 1]
    found += [f"key {key} was refused, yet stored" for key in keys if key not in stored and key not in lost]
    ids = {event.id for event in verdicts}
    return found + [
        f"key {key} was acknowledged as event {event}, which is none"
        for key, event in stored.items()
        if event not in ids
    ]


@contextlib.contextmanager
def server(folder: Path, *words: str) -> Iterator[tuple[int, Path]]:
    """`assay review` over the hostile project; gives the port, and where its standard error goes."""
    token, log = folder / "token", folder / "stderr"
    token.touch(0o600)
    token.write_text(TOKEN)
    results = make_project(folder)
    command = [sys.executable, "-m", "assay", "review", str(results), "--no-browser", "--token-file", str(token)]
    command += ["--boxes", "boxes", "--masks", "masks", *words]
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        link = re.match(r"http://127\.0\.0\.1:(\d+)/\?token=", process.stdout.readline())
        assert link is not None, log.read_text()
        try:
            yield int(link[1]), log
        finally:
            process.terminate()


def fuzz(requests: int, seed: int, *, with_slow: bool = True) -> tuple[list[str], Counter[int]]:
    """What broke, and how often each status was answered."""
    told: list[str] = []
    statuses: Counter[int] = Counter()
    stored: dict[str, int] = {}
    lost: set[str] = set()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with server(folder) as (port, log):
            client = Client(port, np.random.default_rng(seed))
            waiting = threading.Thread(target=slow, args=(port, client, told))
            if with_slow:
                waiting.start()
            for number in range(requests):
                request = client.request()
                answer = exchange(port, request.raw, 1.0 if request.wrong & {"noise", "length"} else 30.0)
                statuses[answer.status] += 1
                told += [f"{number} {request.raw[:300]!r}: {fault}" for fault in faults(request, answer)]
                if request.key and answer.status == 0:
                    lost.add(request.key)
                elif request.key and answer.status == 200 and b'"event"' in answer.body[:20]:
                    stored[request.key] = json.loads(answer.body)["event"]
            if with_slow:
                waiting.join()
            if client.plain("GET", "/api/progress").status != 200:
                told.append("the server no longer answers")
        if "Traceback" in log.read_text():
            told.append(f"the server met an error of its own: {log.read_text()[-3000:]}")
        told += check_ledger(folder / "hostile.assay", stored, lost)
    return told, statuses


def main() -> None:
    """Parse the options, run, print what broke, keep the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="Write bench/results/review/fuzz.json.")
    given = parser.parse_args()
    told, statuses = fuzz(given.requests, given.seed)
    print(
        "\n".join(told[:50]),
        f"{len(told)} promises broke in {given.requests} requests; statuses: {dict(statuses)}",
        sep="\n",
    )
    if given.write:
        case, command = (
            "hostile project, random requests",
            f"python -m bench.review.fuzz --requests {given.requests} --seed {given.seed} --write",
        )
        measured = {"requests": given.requests, "promises broken": len(told)} | {
            f"answers with status {status}" if status else "connections closed without an answer": count
            for status, count in sorted(statuses.items())
        }
        versions = versions_of("starlette", "uvicorn", "h11")
        rows = [
            ResultRow(case, metric, float(value), "", command, seeds=(given.seed,), versions=versions)
            for metric, value in measured.items()
        ]
        write_results(RESULTS / "review" / "fuzz.json", rows)
    raise SystemExit(bool(told))


if __name__ == "__main__":
    main()

"""A small audited data set, a real server over it, and a client that does what the page does."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import numpy as np

from assay.evidence.audit import audit
from assay.evidence.audit_files import save
from assay.evidence.audit_options import AuditOptions
from assay.review.desk import Desk
from assay.review.serve import answering, opened

CLASSES = ("cat", "dog", "=frog")
TOKEN = "token-for-tests-" + "x" * 32


def make_results(folder: Path, n: int = 60) -> Path:
    """Audit `n` short texts; each fifth label looks wrong. Returns the folder of the results."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pets.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("key", "said", "kind"))
        writer.writerows((f"k{at}", f"it says {at} times {CLASSES[at % 3]}", CLASSES[at % 3]) for at in range(n))
    pred_probs = np.full((n, 3), 0.02)
    pred_probs[np.arange(n), (np.arange(n) + (np.arange(n) % 5 == 0)) % 3] = 0.96
    options = AuditOptions(label="kind", id="key", text="said", classes=CLASSES)
    results = folder / "pets.assay"
    save(audit(path, options, pred_probs=pred_probs), results)
    return results


@contextmanager
def served(results: Path, **settings: Any) -> Iterator[tuple[Desk, str]]:
    """The desk of a project and the address of a server over it, without the token."""
    with opened(results, **settings) as desk, answering(desk, token=TOKEN) as link:
        yield desk, link.partition("/?")[0]


class Page(httpx.Client):
    """A browser with a session, under a name if one is given."""

    def __init__(self, address: str, reviewer: str | None = None) -> None:
        super().__init__(base_url=address, timeout=30)
        self.reviewer = reviewer

    def __enter__(self) -> Self:
        super().__enter__()
        self.get("/", params={"token": TOKEN}).raise_for_status()
        self.headers["X-Assay"] = self.get("/api/session").json()["csrf"]
        if self.reviewer is not None:
            self.headers["X-Assay"] = self.sent("/api/session", reviewer=self.reviewer).json()["csrf"]
        return self

    def sent(self, path: str, **body: Any) -> httpx.Response:
        """Post JSON."""
        return self.post(path, json=body)

    def next(self, *skip: int) -> Any:
        """The next task, or None."""
        answer = self.get("/api/next", params={"skip": ",".join(map(str, skip))})
        assert answer.status_code == 200, answer.text
        return answer.json()["task"]

    def decide(self, task: dict[str, Any], verdict: str = "given", key: str = "", **more: Any) -> httpx.Response:
        """Post a verdict about a task."""
        told = {"row": task["row"], "role": task["role"], "sampled": task["sampled"], "seconds": 2.5}
        return self.sent("/api/verdicts", **told, verdict=verdict, key=key or f"key-of-row-{task['row']}", **more)

"""One form for every measured result of the project: `bench/results/<stage>/<name>.json`.

Benches and claims write it; the docs and PAPERS.md read it. A row says what was measured, on what, how sure it is,
beside which rival and which physical limit, and the command that makes it again.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path

from assay.errors import InputError
from assay.labels.formats import files


def versions_of(*packages: str) -> dict[str, str]:
    """Versions of Python, numpy and the named packages, as they are installed."""
    found = {"python": platform.python_version()}
    for package in ("numpy", *packages):
        found[package] = metadata.version(package)
    return found


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One measured number.

    Parameters
    ----------
    case : what was run, in words that a reader understands: data set, size, setting.
    metric : what was measured.
    ours : our value.
    interval : 95 % interval of `ours`, low and high, when there is one.
    seeds : the seeds used; empty when nothing is random.
    rival, rival_name : the peer's value from the same run, and who it is.
    limit : the physical or theoretical limit in the same unit.
    unit : unit of `ours`, `rival` and `limit`.
    deployable : False when the number needs the truth that no user has.
    command : the command that makes the row again.
    """

    case: str
    metric: str
    ours: float
    unit: str
    command: str
    interval: tuple[float, float] | None = None
    seeds: tuple[int, ...] = ()
    rival: float | None = None
    rival_name: str | None = None
    limit: float | None = None
    deployable: bool = True
    versions: dict[str, str] = field(default_factory=versions_of)
    device: str = "cpu"

    def __post_init__(self) -> None:
        numbers = [self.ours, self.rival, self.limit, *(self.interval or ())]
        if not all(number is None or math.isfinite(number) for number in numbers):
            raise InputError(f"A result must be finite: {self.case}, {self.metric}: {numbers}.")
        if (self.rival is None) != (self.rival_name is None):
            raise InputError(f"A rival's value needs its name, and the name its value: {self.case}, {self.metric}.")


def write_results(path: Path, rows: Iterable[ResultRow]) -> None:
    """Write rows as JSON, beside `path` first and then renamed over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False) + "\n"
    files.write_bytes(path, text.encode())


def read_results(path: Path) -> list[ResultRow]:
    """Read rows that `write_results` wrote."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    for row in rows:
        row["seeds"] = tuple(row["seeds"])
        row["interval"] = tuple(row["interval"]) if row["interval"] else None
    return [ResultRow(**row) for row in rows]

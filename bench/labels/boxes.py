"""How fast boxes come in and go out: COCO JSON beside `json` of the standard library alone, VOC, Label Studio.

The limit of reading COCO is `json.load` of the same bytes, which makes the objects and checks nothing.
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
import numpy as np

from assay.evidence.results import ResultRow, versions_of, write_results
from assay.labels import Boxes, Space
from assay.labels.checks import pointer_of
from assay.labels.formats.coco import read_coco, write_coco
from assay.labels.formats.label_studio import read_boxes
from assay.labels.formats.label_studio_tasks import box_tasks, write_label_studio
from assay.labels.formats.voc import read_voc, write_voc

T = TypeVar("T")
OUT = Path("bench/results/labels/boxes.json")
COMMAND = "python -m bench.labels.boxes"


def make(n: int, seed: int = 0) -> Boxes:
    """So many boxes of 80 classes, about seven an image of 640 x 480 pixels, as in COCO."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(7, n // 7)
    total = int(counts.sum())
    low = np.round(rng.uniform(0, 400, (total, 2)), 2)
    corners = np.concatenate([low, low + np.round(rng.uniform(1, 79, (total, 2)), 2)], axis=1)
    return Boxes(
        Space(tuple(f"class {code}" for code in range(80))),
        rng.integers(0, 80, total),
        corners,
        pointer_of(counts),
        tuple(f"{row:012d}.jpg" for row in range(len(counts))),
        np.tile([640, 480], (len(counts), 1)),
    )


def timed(call: Callable[[], T], repeats: int) -> tuple[float, T]:
    """The least wall seconds of some calls, and the last answer."""
    seconds = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        answer = call()
        seconds = min(seconds, time.perf_counter() - start)
    return seconds, answer


@click.command()
@click.option("--scale", type=click.Choice(["small", "full"]), default="small")
def main(scale: str) -> None:
    boxes = make(100_000 if scale == "full" else 5_000)
    repeats = 3 if scale == "full" else 1
    case = f"{boxes.n_boxes} boxes in {boxes.n_rows} images"
    versions, rows = versions_of("pyarrow"), []

    def row(metric: str, ours: float, limit: float | None = None, unit: str = "s") -> None:
        rows.append(ResultRow(case, metric, ours, unit, COMMAND, seeds=(0,), limit=limit, versions=versions))

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        row("write COCO", timed(lambda: write_coco(boxes, home / "c.json"), repeats)[0])
        row("size of the COCO file", (home / "c.json").stat().st_size / 1e6, unit="MB")
        seconds, read = timed(lambda: read_coco(home / "c.json").boxes, repeats)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert np.allclose(read.corners, boxes.corners, rtol=0, atol=1e-9)
        limit, _ = timed(lambda: json.loads((home / "c.json").read_bytes()), repeats)
        row("read COCO", seconds, limit)
        row("memory above the boxes, COCO", (after - before) / 1024, unit="MiB")
        row("write VOC", timed(lambda: write_voc(boxes, home / "voc"), 1)[0])
        row("read VOC", timed(lambda: read_voc(home / "voc"), repeats)[0])
        row("write Label Studio", timed(lambda: write_label_studio(home / "t.json", box_tasks(boxes)), 1)[0])
        row("read Label Studio", timed(lambda: read_boxes(home / "t.json"), repeats)[0])
    for one in rows:
        click.echo(f"{one.metric}: {one.ours:.3g} {one.unit}" + (f" (limit {one.limit:.3g})" if one.limit else ""))
    write_results(OUT, rows)


if __name__ == "__main__":
    main()

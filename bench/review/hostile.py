"""A data set in which every text, name, path and file attacks whoever shows it; audited, ready to be reviewed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tests.evidence.hostile import HOSTILE

from assay.evidence.audit import audit
from assay.evidence.audit_files import save
from assay.evidence.audit_options import AuditOptions

MARK = "assay-secret-7f3a"
"""Written into every file that lies outside of the project; no answer may hold it."""
SECRET_SIZE = (13, 7)
"""Size of the picture outside of the project; no picture that is served may have it."""
FORMULAS = ('=HYPERLINK("http://127.0.0.1:9")', "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1")
PATHS = (
    "../secret.png",
    "/etc/passwd",
    "link.png",
    "a/../../secret.png",
    "evil.svg",
    "file:///etc/passwd",
    "nul\0.png",
)
NAMES = (*(text.encode("utf-8", "replace").decode().replace("\0", "")[:300] for text in HOSTILE if text), *FORMULAS)
CLASSES = tuple(dict.fromkeys(NAMES))[:12]
SVG = "<svg xmlns='http://www.w3.org/2000/svg' onload='window.pwned=1'><script>window.pwned=1</script></svg>"


def write_data(folder: Path, n: int = 60) -> Path:
    """Write the data set into `folder`, and files that must never be served beside it; returns the table."""
    inside = folder / "data"
    inside.mkdir(parents=True)
    (folder / "secret.txt").write_text(MARK)
    note = PngInfo()
    note.add_text("comment", MARK)
    Image.new("RGB", SECRET_SIZE, "red").save(folder / "secret.png", pnginfo=note)
    (inside / "link.png").symlink_to(folder / "secret.png")
    (inside / "evil.svg").write_text(SVG)
    (inside / "text.png").write_text("<script>window.pwned=1</script>")
    rng = np.random.default_rng(0)
    for at in range(n):
        Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(inside / f"{at}.png")
    texts = [NAMES[at % len(NAMES)] for at in range(n)]
    texts[1] = "x" * 1_000_000
    boxes = [
        json.dumps(
            [{"xmin": at, "ymin": 1e308 if at % 7 == 0 else 2, "xmax": 20, "ymax": 9, "label": text, "text": text}]
        )
        for at, text in enumerate(texts)
    ]
    boxes[2] = "[" * 100_000
    table = pa.table(
        {
            "=id": [f"{NAMES[at % len(NAMES)]} {at}" for at in range(n)],
            "<b>picture": [f"{at}.png" for at in range(n)],
            "masks": [PATHS[at % len(PATHS)] for at in range(n)],
            "boxes": boxes,
            "__proto__": texts,
            "<img src=x onerror=window.pwned=1>": texts[::-1],
            "label": [CLASSES[at % len(CLASSES)] for at in range(n)],
        }
    )
    path = inside / "hostile.parquet"
    pq.write_table(table, path)
    return path


def make_project(folder: Path, n: int = 60) -> Path:
    """Audit the hostile data set with probabilities of its own; returns the folder of the results."""
    path = write_data(folder, n)
    k = len(CLASSES)
    pred_probs = np.full((n, k), 0.05 / (k - 1))
    pred_probs[np.arange(n), (np.arange(n) + (np.arange(n) % 3 == 0)) % k] = 0.95  # a third of the labels look wrong
    options = AuditOptions(label="label", id="=id", image="<b>picture", classes=CLASSES)
    results = folder / "hostile.assay"
    save(audit(path, options, pred_probs=pred_probs), results)
    return results

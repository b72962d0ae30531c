"""Lines of real receipts as two OCR engines read them: RapidOCR and Tesseract on the same cut-outs, and the truth.

The cut-outs follow the annotated boxes, so the engines differ in how they read, not in where. What they read is kept in
the temporary folder of the system and never in the repository.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench.data import shared

HEIGHT = 48  # pixels that a line is scaled to; both engines are trained on about that
MARGIN = 3  # pixels of paper around a box


@dataclass(frozen=True)
class Lines:
    """`receipt` (n,) which receipt a line stands on; `truth`, `rapidocr`, `tesseract` (n,) texts."""

    receipt: np.ndarray
    truth: list[str]
    rapidocr: list[str]
    tesseract: list[str]


def receipt_lines(receipts: int, per_receipt: int = 8, fresh: bool = False) -> Lines:
    """Read some lines of the first receipts with both engines, or take what was read before; `fresh` takes others."""
    name = f"assay-receipt-lines-{receipts}-{per_receipt}{'-fresh' if fresh else ''}.json"
    kept = Path(tempfile.gettempdir()) / name
    if not kept.exists():
        kept.write_text(json.dumps(_read(receipts, per_receipt, fresh)), encoding="utf-8")
    said = json.loads(kept.read_text(encoding="utf-8"))
    return Lines(np.array(said["receipt"]), said["truth"], said["rapidocr"], said["tesseract"])


def _read(receipts: int, per_receipt: int, fresh: bool) -> dict[str, list[str]]:
    keys = [json.loads(line) for line in shared("sroie/keys.jsonl").read_text(encoding="utf-8").splitlines()]
    scale = {key["id"]: key["scale"] for key in keys if "scale" in key}
    boxes: dict[str, list[dict[str, str]]] = {}
    with gzip.open(shared("sroie/boxes.csv.gz"), "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            boxes.setdefault(row["id"], []).append(row)
    rng = np.random.default_rng(0)
    receipt: list[str] = []
    truth: list[str] = []
    cuts: list[Image.Image] = []
    with zipfile.ZipFile(shared("sroie/images-first-300.zip")) as archive:
        for name in sorted(archive.namelist())[:receipts]:
            number = Path(name).stem
            page = Image.open(io.BytesIO(archive.read(name))).convert("L")
            lines = [row for row in boxes[number] if row["text"].strip()]
            drawn = rng.choice(len(lines), min(per_receipt, len(lines)), replace=False)
            if fresh:
                others = np.setdiff1d(np.arange(len(lines)), drawn)
                drawn = np.random.default_rng(len(receipt)).permutation(others)[:per_receipt]
            for at in sorted(drawn):
                edges = [float(lines[at][side]) * scale[number] for side in ("xmin", "ymin", "xmax", "ymax")]
                cut = page.crop((edges[0] - MARGIN, edges[1] - MARGIN, edges[2] + MARGIN, edges[3] + MARGIN))
                width = max(8, round(cut.width * HEIGHT / cut.height))
                cuts.append(cut.resize((width, HEIGHT), Image.Resampling.BICUBIC))
                receipt.append(number)
                truth.append(lines[at]["text"].strip())
    return {"receipt": receipt, "truth": truth, "rapidocr": _rapidocr(cuts), "tesseract": _tesseract(cuts)}


def _rapidocr(cuts: list[Image.Image]) -> list[str]:
    import logging

    from rapidocr import RapidOCR

    logging.disable(logging.WARNING)
    engine = RapidOCR(params={"EngineConfig.onnxruntime.intra_op_num_threads": 1})
    said = []
    for cut in cuts:
        found = engine(np.asarray(cut.convert("RGB")), use_det=False, use_cls=False, use_rec=True)
        said.append(" ".join(found.txts or ()).strip())
    return said


def _tesseract(cuts: list[Image.Image]) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for at, cut in enumerate(cuts):
            paths.append(str(Path(folder) / f"{at}.png"))
            cut.save(paths[-1])
        listed = Path(folder) / "list.txt"
        listed.write_text("\n".join(paths), encoding="utf-8")
        command = ["tesseract", str(listed), "stdout", "--psm", "7"]
        done = subprocess.run(command, capture_output=True, check=True)
    pages = done.stdout.decode("utf-8").split("\f")
    return [" ".join(page.split()) for page in pages[: len(cuts)]]

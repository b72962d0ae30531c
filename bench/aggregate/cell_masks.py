"""White blood cells as three classical segmenters find them, and what the annotated boxes say.

None knows anything of the annotations. `colour` takes the most saturated pixels (Otsu among the stained ones), `purple`
those whose blue stands far above their green, `clusters` the darkest of four clusters of colours; each grows what it
found by a fixed margin for the plasma around a nucleus. The truth is boxes, so a label is the pixels of the boxes of
its parts.
"""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from bench.data import shared

Bools = npt.NDArray[np.bool_]
SHRINK = 4  # a quarter of the 640 x 480 pixels
SMALLEST = 80  # pixels of a part


@dataclass(frozen=True)
class Cells:
    """`pictures` (h, w, 3) uint8, `labels` of each source, and `truth`, all as arrays (h, w) a picture."""

    pictures: list[npt.NDArray[np.uint8]]
    labels: dict[str, list[Bools]]
    truth: list[Bools]


def cell_masks(n: int) -> Cells:
    """Segment the first `n` pictures with all segmenters."""
    boxes: dict[str, list[list[int]]] = {}
    with shared("bccd/boxes.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            boxes.setdefault(row["image"], [])
            if row["label"] != "WBC":
                continue
            edges = [int(row[name]) // SHRINK for name in ("xmin", "ymin", "xmax", "ymax")]
            boxes[row["image"]].append(edges)
    pictures, truth = [], []
    with zipfile.ZipFile(shared("bccd/images.zip")) as archive:
        names = {name.rsplit("/", 1)[-1]: name for name in archive.namelist()}
        for name in sorted(boxes)[:n]:
            image = Image.open(io.BytesIO(archive.read(names[name]))).convert("RGB")
            small = image.resize((image.width // SHRINK, image.height // SHRINK), Image.Resampling.BOX)
            pictures.append(np.asarray(small))
            inside = np.zeros((small.height, small.width), dtype=bool)
            for xmin, ymin, xmax, ymax in boxes[name]:
                inside[ymin : ymax + 1, xmin : xmax + 1] = True
            truth.append(inside)
    segmenters = {"colour": by_colour, "purple": by_purple, "clusters": by_clusters}
    labels = {name: [segment(one) for one in pictures] for name, segment in segmenters.items()}
    return Cells(pictures, labels, truth)


def by_colour(picture: npt.NDArray[np.uint8]) -> Bools:
    """Otsu's threshold on saturation, twice: of what is stained at all, the most stained."""
    saturation = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[..., 1], (0, 0), 1)
    first, _ = cv2.threshold(saturation, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    stained = saturation[saturation > first]
    second, _ = cv2.threshold(stained, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return _boxed(ndimage.binary_dilation(_cleaned(saturation > second), iterations=6))


def by_purple(picture: npt.NDArray[np.uint8]) -> Bools:
    """Pixels whose blue exceeds their green by two standard deviations more than on average."""
    lead = ndimage.gaussian_filter(picture[..., 2].astype(np.float64) - picture[..., 1], 1)
    return _boxed(ndimage.binary_dilation(_cleaned(lead > lead.mean() + 2 * lead.std()), iterations=2))


def by_clusters(picture: npt.NDArray[np.uint8]) -> Bools:
    """The darkest of four clusters of colours, grown by the width of the plasma."""
    colours = cv2.cvtColor(cv2.GaussianBlur(picture, (0, 0), 1), cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(np.float32)
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 1.0)
    _, cluster, centres = cv2.kmeans(colours, 4, np.empty(0), stop, 1, cv2.KMEANS_PP_CENTERS)
    darkest = cluster.reshape(picture.shape[:2]) == centres[:, 0].argmin()
    return _boxed(ndimage.binary_dilation(_cleaned(darkest), iterations=3))


def _cleaned(inside: Bools) -> Bools:
    filled = ndimage.binary_fill_holes(ndimage.binary_opening(inside, iterations=1))
    parts, count = ndimage.label(filled)
    sizes = np.bincount(np.asarray(parts).ravel(), minlength=count + 1)
    sizes[0] = 0
    return np.asarray(sizes[parts] >= SMALLEST)


def _boxed(inside: Bools) -> Bools:
    """Pixels of the bounding boxes of the parts, the form in which the truth is given."""
    out = np.zeros(inside.shape, dtype=bool)
    for place in ndimage.find_objects(ndimage.label(_cleaned(inside))[0]):
        out[place] = True
    return out

"""The pictures that a judge with eyes is shown: the item as it is, and with a mask in red over it.

A volume is seen from one side, as on an X-ray: windowed, summed along an axis, resampled to square pixels.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from assay.errors import InputError
from assay.kernels.projection import WINDOWS, overlay, project, project_mask, window
from assay.training.judges import Case

Pixels = npt.NDArray[np.uint8]
SIDE = 512  # pixels of the longer side
AXIS = 1  # along which a volume is summed: front to back where the axes are left-right, front-back, foot-head


def clean_picture(case: Case) -> Pixels:
    """The item (h, w, 3), without a label."""
    return _shown(_colour(_flat(case)))


def marked_picture(case: Case, mask: npt.NDArray[np.bool_]) -> Pixels:
    """The item (h, w, 3) with a mask in red."""
    flat = _flat(case)
    silhouette = project_mask(mask, AXIS, case.spacing) if mask.ndim == 3 else mask.astype(np.float64)
    return _shown(overlay(flat, silhouette))


def png(picture: Pixels) -> bytes:
    """A picture as the bytes of a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG")
    return stream.getvalue()


def _flat(case: Case) -> npt.NDArray[np.float64]:
    """The content in 0..1, (h, w) or (h, w, 3)."""
    content: Any = case.content
    if content.dtype == np.uint8:
        scaled = content.astype(np.float64) / 255
    elif content.ndim == 3 and content.shape[-1] not in (3, 4) and float(content.min()) < -100:
        scaled = window(content, *WINDOWS["soft tissue"])  # Hounsfield units: air is about -1000
    else:
        low, high = float(np.min(content)), float(np.max(content))
        scaled = window(content, low, high if high > low else low + 1)
    if scaled.ndim == 2 or (scaled.ndim == 3 and scaled.shape[-1] in (3, 4)):
        return np.asarray(scaled)
    if scaled.ndim != 3:
        raise InputError(f"A picture has two axes and colours, or three axes, got shape {scaled.shape}.", row=case.row)
    return project(scaled, AXIS, case.spacing)


def _colour(flat: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.repeat(flat[..., None], 3, axis=2) if flat.ndim == 2 else flat[..., :3]


def _shown(colour: npt.NDArray[np.float64]) -> Pixels:
    image = Image.fromarray((np.clip(colour, 0, 1) * 255).round().astype(np.uint8))
    scale = SIDE / max(image.size)
    size = tuple(max(1, round(side * scale)) for side in image.size)
    return np.asarray(image.resize((size[0], size[1]), Image.Resampling.BILINEAR), dtype=np.uint8)

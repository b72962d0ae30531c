"""Pictures of a data set, opened with care: upright, flat, no larger than wanted, and never a bomb."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from assay.errors import InputError

if TYPE_CHECKING:
    from PIL import Image as pillow

FORMATS = ("PNG", "JPEG", "MPO", "GIF", "BMP", "WEBP", "TIFF", "PPM")
"""What is opened, by its first bytes; formats that other programs must draw, such as EPS and SVG, are not."""
PIXELS = 100_000_000
"""Pixels above which a picture is refused: a small file can claim to hold more than the memory does."""
BYTES = 1 << 27
"""Bytes above which a file is refused."""
CRISP = 64
"""Longest side up to which a picture is kept without loss."""
TURNED = (5, 6, 7, 8)
"""Orientations in a camera's notes that lay a picture on its side."""


class UnreadableError(InputError):
    """A picture whose file cannot be shown; a report goes on without it."""


def opened(
    source: str | Path | bytes | npt.NDArray[np.generic] | pillow.Image,
    side: int,
    value_range: tuple[float, float] | None = None,
) -> tuple[pillow.Image, tuple[int, int]]:
    """A picture upright, grey or RGB, at most `side` pixels a side; and the width and height it really has.

    Parameters
    ----------
    source : a path, the bytes of a file, a Pillow image, or an array `(h, w)`, `(h, w, 1)`, `(h, w, 3)`, `(h, w, 4)`.
    value_range : the values of an array that mean black and white; by default 0 to 255 for uint8, else its own range.

    Raises
    ------
    UnreadableError : a file that is broken, too large, or of another format.
    """
    from PIL import Image, ImageOps

    try:
        image = _open(source, value_range)
        size = upright(image)
        if isinstance(source, str | Path | bytes):
            image.draft("RGB", (2 * side, 2 * side))  # lets JPEG decode small at once
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I") or image.mode == "F":
            image = from_array(np.asarray(image), None)
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if image.mode in ("1", "L") else "RGB")
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    except InputError:
        raise
    except Exception as error:  # Pillow raises many kinds for broken files
        raise UnreadableError(f"This picture could not be read: {_reason(error)}") from None
    return image, size


def measured(source: str | Path | bytes | npt.NDArray[np.generic] | pillow.Image) -> tuple[int, int]:
    """Width and height of a picture when upright, of a file by its first bytes."""
    try:
        with _open(source, None) as image:
            return upright(image)
    except InputError:
        raise
    except Exception as error:
        raise UnreadableError(f"This picture could not be read: {_reason(error)}") from None


def upright(image: pillow.Image) -> tuple[int, int]:
    """Width and height as the camera's notes turn it."""
    width, height = image.size
    return (height, width) if image.getexif().get(0x0112) in TURNED else (width, height)


def encoded(image: pillow.Image, quality: int = 82) -> tuple[bytes, str]:
    """Bytes and MIME type: PNG for tiny pictures, whose every pixel is seen, else JPEG."""
    stream = io.BytesIO()
    if max(image.size) <= CRISP:
        image.save(stream, format="PNG", optimize=True)
        return stream.getvalue(), "image/png"
    image.save(stream, format="JPEG", quality=quality)
    return stream.getvalue(), "image/jpeg"


def from_array(pixels: npt.NDArray[np.generic], value_range: tuple[float, float] | None) -> pillow.Image:
    """An array as a picture, values scaled to 0..255 unless they are uint8."""
    from PIL import Image

    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)) or 0 in pixels.shape:
        raise InputError(f"A picture must have shape (h, w), (h, w, 1), (h, w, 3) or (h, w, 4), got {pixels.shape}.")
    if pixels.dtype == np.uint8 and value_range is None:
        return Image.fromarray(np.ascontiguousarray(pixels))
    values = np.nan_to_num(pixels.astype(np.float64))
    low, high = value_range or (float(values.min()), float(values.max()))
    scaled = np.clip((values - low) / ((high - low) or 1.0), 0, 1) * 255
    return Image.fromarray(scaled.round().astype(np.uint8))


def _open(source: object, value_range: tuple[float, float] | None) -> pillow.Image:
    from PIL import Image

    if isinstance(source, np.ndarray):
        return from_array(source, value_range)
    if isinstance(source, Image.Image):
        return source.copy()
    if not isinstance(source, str | Path | bytes):
        raise InputError(
            f"A picture comes as a path, bytes, an array or a Pillow image, got a {type(source).__name__}."
        )
    size = len(source) if isinstance(source, bytes) else Path(source).stat().st_size
    if size > BYTES:
        raise UnreadableError(f"This picture could not be read: {size:,} bytes are too many.")
    image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)
    if image.width * image.height > PIXELS:
        raise UnreadableError(
            f"This picture could not be read: {image.width:,} x {image.height:,} pixels are too many."
        )
    return image


def _reason(error: Exception) -> str:
    """What went wrong, without the path or the address of an object."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}."
    said = str(error).split("<_io.", maxsplit=1)[0].split("'/", maxsplit=1)[0].strip()
    return f"{said or type(error).__name__}."

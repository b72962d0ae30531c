"""A table with a row of numbers for each row of the data, in memory or in a file.

A million rows by a thousand classes are 4 GB in float32, 2 GB in float16, and almost no memory when mapped from a file:
the operating system then keeps what is in use.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from assay.errors import InputError
from assay.training.deep import Tensor, torch


def row_table(
    n_rows: int, width: int, dtype: Literal["float32", "float16"] = "float32", file: str | Path | None = None
) -> Tensor:
    """Zeros (n_rows, width); with `file`, mapped from it, and the file is overwritten.

    >>> row_table(3, 2, "float16").dtype
    torch.float16
    """
    if dtype not in ("float32", "float16"):
        raise InputError(f"dtype is {dtype!r}: expected 'float32' or 'float16'.")
    kind = getattr(torch, dtype)
    if file is None:
        return torch.zeros(n_rows, width, dtype=kind)
    path = Path(file)
    if not path.parent.is_dir():
        raise InputError(f"There is no folder {path.parent} to keep {path.name} in.")
    with path.open("wb") as stream:  # a hole: zeros that take no space until they are written
        stream.truncate(n_rows * width * kind.itemsize)
    return torch.from_file(str(path), shared=True, size=n_rows * width, dtype=kind).view(n_rows, width)

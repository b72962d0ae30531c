"""Image folders: one sub-folder a class, `root/cat/1.png`; images that lie in the root itself have no label."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pyarrow as pa

from assay.errors import InputError
from assay.labels.formats import columnar
from assay.labels.spaces import Space

IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test"}
LABEL, PATH = "label", "path"


def read(root: Path) -> pa.Table:
    """Columns `path` (below `root`, with slashes, sorted) and `label`; an empty class folder keeps its class."""
    # Results of an earlier audit may lie here too: NAME.assay is no class.
    classes = sorted(
        entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] != "." and entry.suffix != ".assay"
    )
    if classes and set(map(str.lower, classes)) <= SPLITS:
        raise InputError(
            f"{root} holds the splits {', '.join(classes)}: give one of them, such as {root / classes[0]}."
        )
    found = []
    for folder, folders, names in os.walk(root, followlinks=False):
        folders[:] = sorted(name for name in folders if name[0] != "." and not name.endswith(".assay"))
        below = Path(folder).relative_to(root)
        found += [(below / name).as_posix() for name in names if Path(name).suffix.lower() in IMAGES and name[0] != "."]
    if not found:
        raise InputError(
            f"{root} holds no images; expected {root.resolve().name}/CLASS/IMAGE with {', '.join(sorted(IMAGES))}."
        )
    found.sort()
    require_inside(found, root)
    labels = [PurePosixPath(path).parts[0] if "/" in path else None for path in found]
    table = pa.table({PATH: pa.array(found, pa.string()), LABEL: pa.array(labels, pa.string())})
    return columnar.with_space(table, LABEL, Space.from_values(classes))


def require_inside(paths: Sequence[str | None], root: Path) -> None:
    """Raise unless every path is the path of a file inside `root`, links followed."""
    home = root.resolve()
    for row, path in enumerate(paths):
        if path is not None:
            inside(path, home, row)


def inside(path: str, home: Path, row: int) -> Path:
    """The file at `path` below the resolved folder `home`, links followed; raises for any other, naming its `row`."""
    try:
        whole = (home / path).resolve()
        known = whole.is_file()
    except (OSError, ValueError):  # NUL, or longer than the system takes
        raise InputError(f"The image path {path[:40]!r} is no path.", row=row) from None
    if Path(path).is_absolute() or not whole.is_relative_to(home):
        raise InputError(f"Image path {path!r} leads out of the folder {home.name}: use paths below it.", row=row)
    if not known:
        raise InputError(f"There is no image {path!r} in the folder {home.name}.", row=row)
    return whole


def write(paths: Sequence[str], names: Sequence[str | None], space: Space, source: Path, target: Path) -> None:
    """Copy the images into one folder a class, beside and renamed; `target` must not exist."""
    if target.exists():
        raise InputError(f"{target} exists already: give a folder that does not.")
    for name in space.names:
        if name in ("", ".", "..") or name.startswith(".") or set(name) & set("/\\\0"):
            raise InputError(f"Class {name!r} cannot be the name of a folder: write .parquet or .csv.")
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        for name in space.names:
            (beside / name).mkdir(parents=True)
        for row, (path, label) in enumerate(zip(paths, names, strict=True)):
            parts = PurePosixPath(path).parts
            copy = beside.joinpath(label or "", *(parts[1:] or parts))
            if copy.exists():
                raise InputError(f"Two images would both be {copy.relative_to(beside)}: rename one.", row=row)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / path, copy)
        beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)

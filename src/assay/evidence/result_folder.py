"""Whether results may go to a folder: it can be written, loses nothing that is read, and holds no other results."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path

from assay.errors import InputError


def check_place(folder: Path, written: Collection[str] = (), *read: Path | None) -> None:
    """Raise unless the files `written` can be made in `folder`, none of them over a file that is `read`."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise InputError(f"{nearest} is a file: name a folder with --out.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"The results cannot be written to {folder}: name a folder of yours with --out.")
    for path in read:
        if path is not None and path.name in written and path.resolve() == folder.resolve() / path.name:
            raise InputError(f"The results would be written over {path}: name another folder with --out.")


def check_results(folder: Path, verb: str, source: str | None = None) -> None:
    """Raise where `folder` holds results that are not of `verb`, or not of the file named `source` if one is given."""
    report = folder / "report.json"
    if not report.exists() and (source is None or not (folder / "ledger.db").exists()):
        return
    try:
        known = json.loads(report.read_bytes())["provenance"]
        own = known.get("verb") == verb and (source is None or known.get("source") == source)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        own = False
    if not own:
        raise InputError(f"{folder} holds other results: choose another folder with --out, or remove it.")

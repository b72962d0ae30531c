"""Where the real data sets are: the folder `ASSAY_DATA`, or `shared/data` beside the checkout."""

import os
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def shared(path: str) -> Path:
    """Path of a data file, or an error that names it."""
    folder = Path(os.environ.get("ASSAY_DATA", Path(__file__).parents[2] / "shared" / "data"))
    found = folder / path
    if not found.exists():
        raise SystemExit(f"The data set {path} is not in {folder}: set ASSAY_DATA to the folder that holds it.")
    return found

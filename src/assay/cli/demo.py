"""`assay demo`: the main job on real digits, some of which were put into the wrong folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def write_digits(folder: Path, flips: float, seed: int) -> npt.NDArray[np.int64]:
    """Write scikit-learn's 1797 scanned digits as one folder of images a class, a share of them into a wrong one.

    Returns the true classes in the order in which the audit reads the files: by class folder, then by name.
    """
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    if folder.exists() and {entry.name for entry in folder.iterdir()} != set(map(str, range(10))):
        raise InputError(f"{folder} is there already, and no demo made it: name another folder.")
    images, true = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    given = true.copy()
    moved = rng.choice(len(true), size=round(flips * len(true)), replace=False)
    given[moved] = (true[moved] + rng.integers(1, 10, size=len(moved))) % 10
    beside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    for digit in range(10):
        (beside / str(digit)).mkdir(parents=True)
    for at, (pixels, label) in enumerate(zip(images, given, strict=True)):
        picture = Image.fromarray((pixels.reshape(8, 8) * 15).astype(np.uint8))
        picture.save(beside / str(label) / f"{at:04d}.png")
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
    order = np.lexsort((np.arange(len(true)), given))
    return np.asarray(true[order], dtype=np.int64)


@click.command(
    name="demo", short_help="Audit handwritten digits, some labels of which are wrong: a first look in a minute."
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default="demo")
@click.option(
    "--flips", type=click.FloatRange(0, 0.5), default=0.05, show_default=True, help="Share of labels to make wrong."
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of the flips.")
def command(folder: Path, flips: float, seed: int) -> None:
    """Write 1797 scanned digits to FOLDER/digits, a share of them into wrong class folders, and audit them.

    The digits come with scikit-learn, so nothing is downloaded. Because the flips are known, the audit can say how
    many of them it found; the last line is the path of the report.
    """
    import numpy as np

    from assay.cli.terminal import progress_bar, taught
    from assay.evidence.audit import audit
    from assay.evidence.audit_files import save

    digits, results = folder / "digits", folder / "digits.assay"
    with progress_bar(quiet=False) as progress, taught():
        true = write_digits(digits, flips, seed)
        shutil.rmtree(results, ignore_errors=True)
        found = audit(digits, progress=progress)
        report = save(found, results, command=f"assay demo {folder}")
    wrong = found.table.labels.y != true
    flagged = found.confident.is_issue_
    hits = int(np.sum(wrong & flagged))
    click.echo(found.summary())
    click.echo(f"{hits} of the {wrong.sum()} planted errors are among the {flagged.sum()} flagged rows.")
    click.echo(report)

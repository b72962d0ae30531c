"""How to read a data set and how to audit it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Progress = Callable[[str, float], None]
"""Called with a step's name and the share of it that is done, from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """How to read the data and how to audit it.

    Parameters
    ----------
    label, id, text, image : columns; None means found by looking.
    classes : class names in order; None means the values seen.
    exclude : columns that the model must not see.
    groups : column whose equal values stay in one fold.
    filter_by : which rows are flagged, see `ConfidentLearning`.
    folds : folds of the cross-validation.
    seed : seed of everything random.
    encoder : "minilm", "efficientnet" or a folder; None for the features of the base install.
    """

    label: str | None = None
    id: str | None = None
    text: str | None = None
    image: str | None = None
    classes: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    groups: str | None = None
    filter_by: str = "prune_by_noise_rate"
    folds: int = 5
    seed: int = 0
    encoder: str | None = None

    def as_words(self) -> list[str]:
        """The options of the command line that say the same, without the label."""
        words = []
        for name in ("id", "text", "image", "groups", "encoder"):
            if getattr(self, name) is not None:
                words += [f"--{name}", getattr(self, name)]
        if self.classes is not None:
            words += ["--classes", ",".join(self.classes)]
        for name in self.exclude:
            words += ["--exclude", name]
        for option, value, usual in (
            ("--filter", self.filter_by, AuditOptions.filter_by),
            ("--folds", self.folds, AuditOptions.folds),
            ("--seed", self.seed, AuditOptions.seed),
        ):
            if value != usual:
                words += [option, str(value)]
        return words


def default_folder(source: Path) -> Path:
    """Where the results of a source go: `NAME.assay` in the current folder."""
    return Path(f"{source.resolve().name.split('.')[0]}.assay")

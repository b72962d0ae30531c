"""Aligning a model with a file of pairs: audit of the labels, training, and what held-out pairs say of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.kernels.intervals import wilson
from assay.labels.formats import files

if TYPE_CHECKING:
    from assay.align.pair_audit import PairAudit
    from assay.align.sparse_po import SparsePO
    from assay.language.pair_data import PairTokens
    from assay.language.token_preference import Mask

Progress = Callable[[str, float], None]
SHOWN = 6
"""Pairs whose tokens the report shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignOptions:
    """What the command asks for; see `SparsePO`.

    Parameters
    ----------
    held_out : share of the pairs that judge the model and do not train it.
    train : False only looks at the labels.
    merged : False keeps the adapters apart from the weights.
    """

    model: str = "smollm2"
    mask: Mask = "common"
    beta: float = 0.1
    l1: float = 0.0
    clamp: float | None = None
    rank: int = 8
    lr: float = 1e-4
    mask_lr: float = 1e-3
    epochs: int = 1
    batch_size: int = 16
    max_length: int = 1024
    held_out: float = 0.1
    train: bool = True
    merged: bool = True
    seed: int = 0


@dataclass(slots=True, eq=False)
class Aligned:
    """What a run found.

    Parameters
    ----------
    path, digest : the file of pairs.
    pairs : as they were read.
    audit : doubts about their labels; None for fewer pairs than folds.
    model : the trained estimator, or None.
    held : the held-out pairs as tokens, or None.
    evidence : the estimator's columns for all pairs that have tokens, and whether each was held out.
    """

    path: Path
    digest: str
    options: AlignOptions
    pairs: list[dict[str, Any]]
    audit: PairAudit | None
    model: SparsePO | None = None
    held: PairTokens | None = None
    evidence: dict[str, npt.NDArray[Any]] | None = None

    def accuracy(self, held: bool) -> tuple[float, float, float, int] | None:
        """Share of pairs that the loss's rewards rank as given, its 95 % interval, and how many pairs."""
        if self.evidence is None:
            return None
        margins = self.evidence["margin"][self.evidence["held_out"] == held]
        if not len(margins):
            return None
        right = int((margins > 0).sum())
        low, high = wilson(right, len(margins))
        return right / len(margins), float(low), float(high), len(margins)

    def text(self, row: int, part: str) -> str:
        """The prompt, the chosen or the rejected answer of a row."""
        from assay.language.pair_data import text_of

        return text_of(self.pairs[row][part])

    def doubted(self) -> npt.NDArray[np.int64]:
        """Rows in the order of doubt, those without any last."""
        n = len(self.pairs)
        if self.audit is None:
            return np.arange(n)
        return np.argsort(-np.nan_to_num(self.audit.p_flipped_, nan=-1.0), kind="stable")


def align(path: Path, options: AlignOptions, progress: Progress | None = None) -> Aligned:
    """Look at the labels of a file of pairs, and train on them unless told otherwise."""
    from assay.align.pair_audit import PairAudit
    from assay.language.pair_data import read_pairs

    say = progress or (lambda *_: None)
    pairs = read_pairs(path)
    found = Aligned(path, files.digest(path), options, pairs, None)
    say("Looking for flipped labels", 0.0)
    try:
        found.audit = PairAudit(random_state=options.seed).fit(pairs)
    except InputError:
        if not options.train:
            raise
    say("Looking for flipped labels", 1.0)
    if options.train:
        _train(found, say)
    return found


def _train(found: Aligned, say: Progress) -> None:
    from assay.align.sparse_po import RECIPE, SparsePO

    options, pairs = found.options, found.pairs
    recipe = replace(RECIPE, epochs=options.epochs, batch_size=options.batch_size, lr=options.lr)
    names = ("model", "mask", "beta", "l1", "clamp", "rank", "mask_lr", "max_length")
    arguments: dict[str, Any] = {name: getattr(options, name) for name in names}
    model = SparsePO(**arguments, recipe=recipe, random_state=options.seed)
    order = np.random.default_rng([options.seed, 7]).permutation(len(pairs))
    held = np.zeros(len(pairs), dtype=bool)
    held[order[: int(options.held_out * len(pairs))]] = True
    rows = np.flatnonzero(~held)
    if not len(rows):
        raise InputError(f"Of {len(pairs)} pairs none is left to train on: lower --held-out.")
    model.fit([pairs[row] for row in rows], on_step=lambda done, n: say("Training", done / n))
    model.pairs_ = replace(
        model.pairs_,
        rows=rows[model.pairs_.rows],
        dropped={why: rows[at].tolist() for why, at in model.pairs_.dropped.items()},
    )
    say("Judging", 0.0)
    columns = model.evidence()
    columns["held_out"] = np.zeros(len(columns["row"]), dtype=bool)
    if held.any():
        others = np.flatnonzero(held)
        try:
            found.held = model.tokens([pairs[row] for row in others])
        except InputError:  # none of them says anything
            found.held = None
    if found.held is not None:
        found.held.rows = others[found.held.rows]
        for why, at in found.held.dropped.items():
            model.pairs_.dropped[why] = sorted([*model.pairs_.dropped[why], *others[at].tolist()])
        more = model.evidence(found.held)
        more["held_out"] = np.ones(len(more["row"]), dtype=bool)
        columns = {name: np.concatenate([columns[name], more[name]]) for name in columns}
    found.model, found.evidence = model, columns
    say("Judging", 1.0)

"""Green tokens made likelier: the mark of Kirchenbauer et al. 2023, arXiv 2301.10226.

    logit[v] += delta  for the green v, a share gamma of the vocabulary chosen by key and context

With the rule "hash" a token is green if `mix32(key, context, token) < gamma 2^32`: each on its own, so a row of logits
is marked at the speed of memory, and a text is tested without a vocabulary. Other rules draw the sets of other
libraries, bit for bit: see `green_sets`. Works at temperature 0, and lets a prompt be answered more than once, since
the draw after it is not keyed. It distorts: that is what makes it visible, by delta.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.kernels import marked_logits, marked_texts
from assay.kernels.keyed_hash import absorb
from assay.language import Tensor, torch
from assay.language.green_sets import RULES, GreenSets
from assay.language.mark_tests import green_p_values, green_z
from assay.language.marks import Floats, Ints, Mark, Tokens, as_float32
from assay.language.randomness import states


@dataclass(frozen=True)
class GreenMark(Mark):
    """Kirchenbauer et al.: green tokens are made likelier.

    Parameters
    ----------
    gamma : share of the vocabulary that is green, strictly between 0 and 1.
    delta : what is added to a green logit.
    rule : "hash" (each token is green on its own, with probability gamma), or one of `green_sets.RULES`.
    """

    gamma: float = 0.25
    delta: float = 2.0
    rule: str = "hash"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.gamma < 1:
            raise InputError(f"gamma is {self.gamma}: the share of green tokens lies strictly between 0 and 1.")
        if not np.isfinite(self.delta) or self.delta < 0:
            raise InputError(f"delta is {self.delta}: what is added to green logits is finite and not negative.")
        if self.sets is not None:
            fixed = RULES[self.rule].width
            if fixed is not None and self.width != fixed:
                raise InputError(
                    f"The rule {self.rule!r} looks at {fixed} tokens, not {self.width}: set width={fixed}."
                )

    @property
    def span(self) -> int:
        """Tokens of an n-gram that has a number; a window of `selfhash` ends with the token itself."""
        return self.width + (self.sets is None or not self.sets.candidates)

    @cached_property
    def sets(self) -> GreenSets | None:
        """The green sets of another library's rule."""
        return None if self.rule == "hash" else GreenSets(self.rule, self.key, self.n_vocabulary, self.gamma)

    @cached_property
    def threshold(self) -> np.uint32:
        """Below it a hash is green."""
        return np.uint32(min(round(self.gamma * 2**32), 2**32 - 1))

    def bias(self, ids: Tensor, logits: Tensor) -> Tensor:
        """Logits (b, V) after ids (b, t), `delta` added to the green ones; others are the same bits."""
        self._check_width(logits)
        marked = self._marked(ids)
        if not bool(marked.all()):
            if not bool(marked.any()):
                return logits
            out = logits.clone()
            out[marked] = self._bias(ids[marked], logits[marked])
            return out
        return self._bias(ids, logits)

    def _bias(self, ids: Tensor, logits: Tensor) -> Tensor:
        if self.sets is not None and self.sets.candidates:
            return self._bias_candidates(ids, logits, self.sets)
        context = ids[:, -self.width :]
        if self.sets is not None:
            green = torch.from_numpy(self.sets.masks(context.cpu().numpy())).to(logits.device)
            return logits + self.delta * green.to(logits.dtype)
        state = states(self.key, context)
        if logits.device.type == "cpu" and logits.dtype == torch.float32:
            marked = marked_logits.add_to_green(
                as_float32(logits), state.numpy().astype(np.uint32), self.threshold, np.float32(self.delta)
            )
            return torch.from_numpy(marked)
        tokens = torch.arange(self.n_vocabulary, device=logits.device)
        green = absorb(state[:, None], tokens) < int(self.threshold)
        return logits + self.delta * green.to(logits.dtype)

    def _bias_candidates(self, ids: Tensor, logits: Tensor, sets: GreenSets) -> Tensor:
        """Only the likeliest tokens are tried, each under the set that it would make itself."""
        n = sets.candidates
        best = logits.topk(n + 1, dim=-1)
        if bool((best.values[:, n - 1] == best.values[:, n]).any()):  # equals at the cut: the libraries' sort decides
            tried = logits.sort(dim=-1, descending=True).indices[:, :n]
        else:
            tried = best.indices[:, :n]
        context = ids[:, ids.shape[1] - self.width + 1 :]
        windows = torch.cat([context[:, None].expand(-1, n, -1), tried[..., None]], dim=-1).reshape(-1, self.width)
        green = sets.are_green(windows.cpu().numpy(), tried.reshape(-1).cpu().numpy())
        added = torch.from_numpy(green).to(logits.device).view(len(ids), n) * self.delta
        return logits.scatter_add(-1, tried, added.to(logits.dtype))

    def count(self, tokens: Tokens, offsets: Ints, unique: bool | Literal["ngram"] = True) -> tuple[Ints, Floats]:
        """Of each text: tokens scored (n,), green ones among them (n,).

        Other libraries' rules give different n-grams the same set, and a token that meets its set twice says nothing
        new the second time. `unique` counts it once, which makes the p-value exact; "ngram" counts as they do.
        """
        keep = self.keep(tokens, offsets, bool(unique)) if unique or self.sets is not None else np.zeros(0, dtype=bool)
        if self.sets is None:
            scored, found = marked_texts.green_counts(tokens, offsets, self.width, self.start, self.threshold, keep)
            return scored, found.astype(np.float64)
        ends = np.flatnonzero(keep)
        last = ends - (self.span - self.width)  # of the window, whose last token is the scored one or the one before
        windows = tokens[last[:, None] + np.arange(1 - self.width, 1)].astype(np.int64)
        text = np.searchsorted(offsets, ends, side="right") - 1
        if unique is True:
            first = self._first(self.sets.seeds(windows), tokens[ends], text, len(offsets) - 1)
            ends, windows, text = ends[first], windows[first], text[first]
        green = self.sets.are_green(windows, tokens[ends].astype(np.int64))
        n = len(offsets) - 1
        counted: Ints = np.bincount(text, minlength=n).astype(np.int64)
        return counted, np.bincount(text, weights=green, minlength=n).astype(np.float64)

    @staticmethod
    def _first(seeds: npt.NDArray[np.uint32], tokens: Tokens, text: Ints, n_texts: int) -> npt.NDArray[np.bool_]:
        """Which pairs (m,) of a seed and a token occur in their text for the first time."""
        # As n-grams of three, which begin with what no token is, so that none is found across two pairs.
        triples = np.column_stack([np.full(len(tokens), -1, dtype=np.int32), seeds.view(np.int32), tokens])
        ends = 3 * np.concatenate([[0], np.cumsum(np.bincount(text, minlength=n_texts))]).astype(np.int64)
        return np.asarray(marked_texts.first_ngrams(triples.ravel(), ends, 3)[2::3])

    def p_values(self, scored: npt.ArrayLike, green: npt.ArrayLike) -> Floats:
        """Exact chance of so many green tokens without the mark (n,); 1 where nothing was scored."""
        return green_p_values(scored, green, self.gamma)

    def z(self, scored: npt.ArrayLike, green: npt.ArrayLike) -> Floats:
        """Standard deviations above what text without the mark is expected to have (n,); 0 where nothing was scored."""
        return green_z(scored, green, self.gamma)

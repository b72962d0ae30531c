"""Green sets as other libraries draw them, bit for bit, so that their text can be marked and found from here.

transformers (`WatermarkingConfig`), lm-watermarking (Kirchenbauer et al. 2023) and MarkLLM seed torch's generator on
the CPU with an integer made from the context, and call the first `int(gamma * n_vocabulary)` entries of a permutation
green. Equal seeds give equal sets, so sets are kept under their seed; a rule looks at few distinct contexts.

    lefthash        key * last token                                    transformers; lm-watermarking "simple_1"
    selfhash        min over the window of key * t(i) * t(candidate)    transformers; the window ends with the candidate
    lm-selfhash     the same with the table of lm-watermarking, width 4
    lm-minhash      min over the context of t(key * i), width 4
    lm-skipgram     t(key * first token of the context), width 5
    markllm         key * p(product of the context) mod n_vocabulary    MarkLLM's KGW, "time" and "left"

where t is a permutation of 1,000,003 numbers plus one, and p a permutation of the vocabulary seeded by the key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.kernels.keyed_hash import MASK
from assay.kernels.torch_shuffle import first_of_permutation, in_permutation_heads, permutation_heads

Windows = npt.NDArray[np.int64]
Seeds = npt.NDArray[np.uint32]

TABLE = 1_000_003
LM_SEED = 2971215073  # lm-watermarking's table does not depend on the key
KEPT = 1 << 28  # bytes of green sets that are kept


class Rule(NamedTuple):
    """How a library makes seeds: `width` None where the user chooses, candidates tried where a set depends on them."""

    seeds: Callable[[GreenSets, Windows], Windows]
    width: int | None = None
    candidates: int = 0
    table_seed: int | None = None


@dataclass(frozen=True)
class GreenSets:
    """The green sets of a rule.

    Parameters
    ----------
    rule : one of `RULES`.
    key : the library's hash key, an integer below 2^63.
    n_vocabulary : width of the logits; another width gives other sets altogether.
    gamma : share of the vocabulary that is green.
    """

    rule: str
    key: int
    n_vocabulary: int
    gamma: float

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise InputError(f"There is no rule {self.rule!r} for green sets; there are hash, {', '.join(RULES)}.")
        if not 0 < self.key < 2**63:
            raise InputError(f"The rule {self.rule!r} needs a key from 1 to 2^63 - 1, such as transformers' 15485863.")

    @property
    def size(self) -> int:
        """Tokens in a set."""
        return int(self.n_vocabulary * self.gamma)

    @property
    def candidates(self) -> int:
        """How many of the likeliest tokens are tried; 0 where the set does not depend on the candidate."""
        return RULES[self.rule].candidates

    def seeds(self, windows: Windows) -> Seeds:
        """Low 32 bits, all that the generator looks at, of the seed of each window (n, h): uint32 (n,)."""
        made = RULES[self.rule].seeds(self, windows)
        # The libraries take a seed modulo 2^64 - 1, which is one less than modulo 2^64 where the product has overflown.
        return (made - (made < 0) & MASK).astype(np.uint32)

    def masks(self, windows: Windows) -> npt.NDArray[np.bool_]:
        """Which tokens are green after each window (n, h): (n, n_vocabulary)."""
        seeds, places = np.unique(self.seeds(windows), return_inverse=True)
        new = np.array([seed for seed in seeds.tolist() if seed not in self._kept], dtype=np.uint32)
        if (len(self._kept) + len(new)) * self.n_vocabulary > KEPT:
            self._kept.clear()
            new = seeds
        self._kept.update(zip(new.tolist(), permutation_heads(new, self.n_vocabulary, self.size), strict=True))
        return np.stack([self._kept[seed] for seed in seeds.tolist()])[places]

    def are_green(self, windows: Windows, tokens: Windows) -> npt.NDArray[np.bool_]:
        """Whether each token (n,) is green after its window (n, h), which ends with it where the rule says so."""
        seeds = self.seeds(windows)
        order = np.argsort(seeds, kind="stable")
        out = np.empty(len(tokens), dtype=bool)
        out[order] = in_permutation_heads(seeds[order], tokens[order], self.n_vocabulary, self.size)
        return out

    @cached_property
    def _kept(self) -> dict[int, npt.NDArray[np.bool_]]:
        return {}

    @cached_property
    def table(self) -> npt.NDArray[np.int64]:
        """The permutation that tokens are looked up in, plus one."""
        seed = RULES[self.rule].table_seed
        return _permutation(self.key if seed is None else seed, TABLE) + 1

    @cached_property
    def shuffled(self) -> npt.NDArray[np.int64]:
        """The permutation of the vocabulary that MarkLLM looks products up in."""
        return _permutation(self.key, self.n_vocabulary)


def _permutation(seed: int, n: int) -> npt.NDArray[np.int64]:
    order = np.empty(n, dtype=np.int32)
    first_of_permutation(np.uint32(seed & MASK), n, n, order)
    return order.astype(np.int64)


def _left(sets: GreenSets, windows: Windows) -> Windows:
    if sets.key * sets.n_vocabulary < 2**63:
        return np.asarray(sets.key * windows[:, -1])
    tokens, places = np.unique(windows[:, -1], return_inverse=True)
    return np.array([sets.key * token % (2**64 - 1) & MASK for token in tokens.tolist()], dtype=np.int64)[places]


def _self(sets: GreenSets, windows: Windows) -> Windows:
    looked = sets.table[windows % TABLE]
    return np.asarray((sets.key * looked * looked[:, -1:]).min(axis=1))  # wraps around as torch's integers do


def _minimum(sets: GreenSets, windows: Windows) -> Windows:
    return np.asarray(sets.table[sets.key * windows % TABLE].min(axis=1))


def _skip(sets: GreenSets, windows: Windows) -> Windows:
    return np.asarray(sets.table[sets.key * windows[:, 0] % TABLE])


def _product(sets: GreenSets, windows: Windows) -> Windows:
    product: Any = np.ones(len(windows), dtype=np.int64)
    for column in windows.T:
        product = product * column % sets.n_vocabulary
    return np.asarray(sets.key % sets.n_vocabulary * sets.shuffled[product] % sets.n_vocabulary)


RULES = {
    "lefthash": Rule(_left),
    "selfhash": Rule(_self, candidates=40),
    "lm-selfhash": Rule(_self, width=4, candidates=41, table_seed=LM_SEED),
    "lm-minhash": Rule(_minimum, width=4, table_seed=LM_SEED),
    "lm-skipgram": Rule(_skip, width=5, table_seed=LM_SEED),
    "markllm": Rule(_product),
}

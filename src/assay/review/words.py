"""The words of a column of texts, counted once: which of them speak for a class, and which texts share them.

Words are runs of letters and digits, in lower case. They are split by Arrow, in blocks, so that a million texts take
seconds; the codes of all words are kept, four bytes each.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

WORD = re.compile(r"[^\W_]+")
BLOCK = 65_536


class Words:
    """Words of n texts.

    Parameters
    ----------
    texts : columns of text `(n,)`, read one after the other as one text; a missing cell is empty.

    Attributes
    ----------
    codes : `(t,)` int32, the words of all texts, one text after the other; `ends` `(n,)` says where each text ends.
    n_words : number of different words.
    """

    def __init__(self, texts: Sequence[pa.ChunkedArray]) -> None:
        n = len(texts[0])
        known: pa.Array = pa.array([], pa.large_string())
        codes, lengths = [], []
        for start in range(0, n, BLOCK):
            words, counts = _split([column.slice(start, BLOCK) for column in texts])
            coded = words.dictionary_encode()
            new = coded.dictionary.filter(pc.invert(pc.is_in(coded.dictionary, known)))
            known = pa.concat_arrays([known, new])
            where = pc.index_in(coded.dictionary, known).to_numpy().astype(np.int32)
            codes.append(where[coded.indices.to_numpy()] if len(words) else np.zeros(0, np.int32))
            lengths.append(counts)
        self._known = known
        self.n_words = len(known)
        self.codes: npt.NDArray[np.int32] = np.concatenate(codes)
        self.ends: npt.NDArray[np.int64] = np.cumsum(np.concatenate(lengths))

    def look_up(self, words: Sequence[str]) -> npt.NDArray[np.int64]:
        """Codes of words in lower case; `n_words` for a word that no text has."""
        found = pc.index_in(pa.array(words, pa.large_string()), self._known)
        return np.asarray(found.fill_null(self.n_words).to_numpy(), dtype=np.int64)

    def rows(self) -> npt.NDArray[np.int64]:
        """The text `(t,)` in which each word stands."""
        return np.repeat(np.arange(len(self.ends)), np.diff(self.ends, prepend=0))


def _split(texts: Sequence[pa.ChunkedArray]) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """The words of some texts in order, and how many each text has."""
    parts = [column.cast(pa.large_string()).fill_null("") for column in texts]
    joined = pc.binary_join_element_wise(*parts, pa.scalar("\n", pa.large_string())) if len(parts) > 1 else parts[0]
    lists = pc.split_pattern_regex(pc.utf8_lower(joined), r"[^\pL\pN]+")
    lists = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    words, row = pc.list_flatten(lists), pc.list_parent_indices(lists).to_numpy()
    real = pc.not_equal(words, "")
    return words.filter(real), np.bincount(row[np.asarray(real)], minlength=len(lists))


class LogOdds:
    """How strongly a word speaks for one class rather than another.

    Monroe, Colaresi, Quinn 2008, "Fightin' Words": the log-odds of a word between two classes under a Dirichlet prior
    that is the word's share of all texts, over their standard error. With counts y of the word and n of all words
    in a class, prior weight a of the word and A of all words:

        log((y1 + a) / (n1 + A - y1 - a)) - log((y2 + a) / (n2 + A - y2 - a)), over sqrt(1/(y1 + a) + 1/(y2 + a))

    Parameters
    ----------
    words : the words of n labelled texts.
    given : `(n,)` codes of their classes.
    """

    PRIOR = 1_000.0  # words that the prior counts for, A

    def __init__(self, words: Words, given: npt.NDArray[Any]) -> None:
        self._words = words
        self._k = int(given.max()) + 1
        pairs = words.codes.astype(np.int64) * self._k + given[words.rows()]
        self._pairs, self._counts = np.unique(pairs, return_counts=True)
        self._totals = np.bincount(self._pairs % self._k, weights=self._counts, minlength=self._k)
        self._shares = np.bincount(words.codes, minlength=words.n_words) / max(1, len(words.codes))

    def between(self, words: Sequence[str], one: int, other: int) -> npt.NDArray[np.float64]:
        """Standardised log-odds `(m,)` of words between two classes; 0 for words and classes that no text has."""
        codes = self._words.look_up(words)
        known = (codes < self._words.n_words) & (max(one, other) < self._k)
        if not known.any():
            return np.zeros(len(words))
        prior = self.PRIOR * np.where(known, self._shares[np.where(known, codes, 0)], 1.0)
        odds, variance = [], np.zeros(len(words))
        for label in (one, other):
            weight = self._count(codes, label) + prior
            odds.append(np.log(weight / (self._totals[label] + self.PRIOR - weight).clip(1e-9)))
            variance += 1 / weight
        return np.where(known, (odds[0] - odds[1]) / np.sqrt(variance), 0.0)

    def _count(self, codes: npt.NDArray[np.int64], label: int) -> npt.NDArray[np.int64]:
        wanted = codes * self._k + label
        at = np.minimum(np.searchsorted(self._pairs, wanted), len(self._pairs) - 1)
        return np.where(self._pairs[at] == wanted, self._counts[at], 0)

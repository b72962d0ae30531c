"""Texts as tf-idf of word pairs and of letter groups within words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from assay.errors import InputError
from assay.training.features import Features

TERMS = 50_000  # the most frequent terms kept of each kind
LETTERS = 10_000_000  # above so many characters in all, words carry the meaning and letter groups only cost time


def text_features(texts: Sequence[str | None]) -> Features:
    """Tf-idf of one- and two-word terms, and of 3 to 5 letters within words while the texts are short.

    Parameters
    ----------
    texts : n texts; None counts as an empty text.

    Returns
    -------
    Features with a CSR matrix (n, d) float32, rows of unit length in each of the two parts. Letter groups read through
    spelling mistakes and inflections; terms that occur in one text alone are left out, unless nothing else is there.

    Raises
    ------
    InputError for a value that is no text, and where no text holds a word.

    >>> text_features(["a cold beer", "a cold day"]).matrix.shape[0]
    2
    """
    if isinstance(texts, str):
        raise InputError("Texts came as one string: give a sequence with one text per row.")
    for row, text in enumerate(texts):
        if text is not None and not isinstance(text, str):
            raise InputError(f"A text is {type(text).__name__}, not str: turn the column into texts first.", row=row)
    filled = ["" if text is None else text for text in texts]
    empty = sum(not text.strip() for text in filled)
    if empty == len(filled):
        raise InputError(f"All {len(filled)} texts are empty: nothing can be read from them.")
    parts: list[Any] = [_tfidf(filled, "word", (1, 2), r"(?u)\b\w+\b")]
    if sum(map(len, filled)) <= LETTERS:
        parts.append(_tfidf(filled, "char_wb", (3, 5), None))
    parts = [part for part in parts if part is not None]
    if not parts:
        raise InputError("No text holds a word or a number: nothing can be read from them.")
    notes = (f"{empty} of {len(filled)} texts are empty: their predictions are guesses.",) if empty else ()
    return Features(sparse.csr_matrix(sparse.hstack(parts)), "text", notes=notes)


def _tfidf(texts: list[str], analyzer: str, ngrams: tuple[int, int], pattern: str | None) -> Any:
    """One part of the matrix, or None when no term is left."""
    for min_df in (2, 1):
        reader = TfidfVectorizer(
            analyzer=analyzer,
            ngram_range=ngrams,
            token_pattern=pattern,
            min_df=min_df,
            max_features=TERMS,
            sublinear_tf=True,
            dtype=np.float32,
        )
        try:
            return reader.fit_transform(texts)
        except ValueError:  # scikit-learn's word for an empty vocabulary
            continue
    return None

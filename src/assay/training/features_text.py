"""Texts as tf-idf of word pairs and of letter groups within words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from assay.errors import InputError
from assay.training.features import Features

Readers = list[TfidfVectorizer]

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
    return fit_texts(texts)[1]


def fit_texts(texts: Sequence[str | None]) -> tuple[Readers, Features]:
    """`text_features`, and the fitted readers of its parts, with which `read_texts` reads other texts."""
    filled = _filled(texts)
    empty = sum(not text.strip() for text in filled)
    if empty == len(filled):
        raise InputError(f"All {len(filled)} texts are empty: nothing can be read from them.")
    parts = [_tfidf(filled, "word")]
    if sum(map(len, filled)) <= LETTERS:
        parts.append(_tfidf(filled, "char_wb"))
    found = [part for part in parts if part is not None]
    if not found:
        raise InputError("No text holds a word or a number: nothing can be read from them.")
    notes = (f"{empty} of {len(filled)} texts are empty: their predictions are guesses.",) if empty else ()
    features = Features(sparse.csr_matrix(sparse.hstack([matrix for _, matrix in found])), "text", notes=notes)
    return [reader for reader, _ in found], features


def read_texts(texts: Sequence[str | None], readers: Readers) -> Any:
    """Texts as readers that were fitted before see them, a CSR matrix (n, d) float32."""
    filled = _filled(texts)
    return sparse.csr_matrix(sparse.hstack([reader.transform(filled) for reader in readers]))


def term_reader(analyzer: str, **options: Any) -> TfidfVectorizer:
    """A reader that is not fitted: "word" for one- and two-word terms, "char_wb" for groups of 3 to 5 letters."""
    words = analyzer == "word"
    return TfidfVectorizer(
        analyzer=analyzer,
        ngram_range=(1, 2) if words else (3, 5),
        token_pattern=r"(?u)\b\w+\b" if words else None,
        sublinear_tf=True,
        dtype=np.float32,
        **options,
    )


def _filled(texts: Sequence[str | None]) -> list[str]:
    """The texts, an empty one where there is none."""
    if isinstance(texts, str):
        raise InputError("Texts came as one string: give a sequence with one text per row.")
    for row, text in enumerate(texts):
        if text is not None and not isinstance(text, str):
            raise InputError(f"A text is {type(text).__name__}, not str: turn the column into texts first.", row=row)
    return ["" if text is None else text for text in texts]


def _tfidf(texts: list[str], analyzer: str) -> tuple[TfidfVectorizer, Any] | None:
    """One part of the matrix and its reader, or None when no term is left."""
    for min_df in (2, 1):
        reader = term_reader(analyzer, min_df=min_df, max_features=TERMS)
        try:
            return reader, reader.fit_transform(texts)
        except ValueError:  # scikit-learn's word for an empty vocabulary
            continue
    return None

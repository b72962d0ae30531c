"""A small reward learned from preferences: which of two answers to a prompt people would rather have.

Prompt and answer are embedded, and a logistic regression without an intercept is fitted to chosen minus rejected, the
Bradley-Terry model (1952) with a linear score. The features are the answer's embedding, and its product with the
prompt's, without which a score could not depend on what was asked. How often it is right on pairs it has not seen is
measured by cross-validation, and must be told wherever the reward is used: on disagreements of people over harmlessness
it is little better than a coin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression

from assay.errors import InputError
from assay.kernels.intervals import wilson
from assay.training.encoders import encode

Floats = npt.NDArray[np.float64]
Encode = Callable[[Sequence[str]], npt.NDArray[Any]]
FOLDS = 5


class PreferenceReward(BaseEstimator):  # type: ignore[misc]
    """A reward for answers; called as `reward(prompts, answers)`.

    Parameters
    ----------
    encoder : as `assay.training.encoders.encode` takes it, or a function from n texts to (n, d) numbers.
    C : inverse strength of the ridge penalty.
    random_state : seed of the folds.

    Attributes
    ----------
    coef_ : (2 d,) weights.
    accuracy_ : share of pairs in which the chosen answer has the higher reward, each pair held out once.
    interval_ : its 95 % interval.
    n_pairs_ : pairs learned from.

    Examples
    --------
    >>> def letters(texts):
    ...     return np.array([[text.count("a"), text.count("b")] for text in texts], dtype=float)
    >>> reward = PreferenceReward(letters).fit([""] * 10, ["aa", "ab"] * 5, ["bb"] * 10)
    >>> reward(["", ""], ["aaa", "bbb"]).argmax(), reward.accuracy_
    (np.int64(0), 1.0)
    """

    def __init__(self, encoder: str | Path | Encode = "minilm", C: float = 1.0, random_state: int = 0) -> None:
        self.encoder = encoder
        self.C = C
        self.random_state = random_state

    def fit(self, prompts: Sequence[str], chosen: Sequence[str], rejected: Sequence[str]) -> Self:
        """Learn from n pairs of answers to prompts.

        Raises
        ------
        InputError for fewer than 10 pairs or columns of different length.
        """
        n = len(prompts)
        if not n == len(chosen) == len(rejected) or n < 2 * FOLDS:
            raise InputError(
                f"Got {n} prompts, {len(chosen)} chosen and {len(rejected)} rejected answers: expected at least "
                f"{2 * FOLDS} of each, one a pair."
            )
        asked = self._embed(prompts)
        difference = self._features(asked, chosen) - self._features(asked, rejected)
        fold = np.random.default_rng(self.random_state).permutation(n) % FOLDS
        held = np.empty(n)
        for part in range(FOLDS):
            held[fold == part] = difference[fold == part] @ self._weights(difference[fold != part])
        self.coef_ = self._weights(difference)
        right = float(np.sum(held > 0) + 0.5 * np.sum(held == 0))
        self.accuracy_, self.n_pairs_ = right / n, n
        low, high = wilson(right, n)
        self.interval_ = (float(low), float(high))
        return self

    def __call__(self, prompts: Sequence[str], answers: Sequence[str]) -> Floats:
        """Rewards (n,) of answers; only differences within a prompt mean anything."""
        if len(prompts) != len(answers):
            raise InputError(f"There are {len(prompts)} prompts for {len(answers)} answers: give one for each.")
        different, place = np.unique(np.asarray(prompts, dtype=object), return_inverse=True)
        asked = self._embed([str(text) for text in different])[place]
        return np.asarray(self._features(asked, answers) @ self.coef_)

    def _embed(self, texts: Sequence[str]) -> Floats:
        if not callable(self.encoder):
            return encode(list(texts), self.encoder).astype(np.float64)
        return np.asarray(self.encoder(texts), dtype=np.float64)

    def _features(self, asked: Floats, answers: Sequence[str]) -> Floats:
        said = self._embed(answers)
        # Embeddings of unit length have entries near d^-1/2, their products near 1/d: brought to one scale.
        return np.hstack([said, said * asked * np.sqrt(said.shape[1])])

    def _weights(self, difference: Floats) -> Floats:
        both = np.vstack([difference, -difference])
        label = np.arange(len(both)) < len(difference)
        model = LogisticRegression(C=self.C, fit_intercept=False, max_iter=1000).fit(both, label)
        return np.asarray(model.coef_[0])

"""Mark what a language model writes, prove it later from the text alone, and undo what the mark does to alignment.

Give it a secret key and a scheme. It marks text as it is written, and finds the mark in any text with an exact p-value
and no model. A mark changes choices that alignment had tuned: some models then refuse less, some more. Drawing a few
marked answers and keeping the one that a reward likes best repairs that, and the text stays as detectable.

Paper: Verma, Phan, Trivedi, "Watermarking Degrades Alignment in Language Models: Analysis and Mitigation", 2025,
arXiv 2506.04462. Marks: Kirchenbauer et al. 2023 (arXiv 2301.10226), Aaronson 2022.

    kgw      logit[v] += delta  for the green v;          test  P(Bin(T, gamma) >= green)
    gumbel   v with weights u_v^(1/p_v);                  test  P(Gamma(T, 1) >= sum -log(1 - u))
    resample the answer with the best reward of n:        E[best of n] - E[unmarked] >= C sqrt(log n) - eps

When to use: you serve a model and must be able to say later which text it wrote. When not: text of a few dozen tokens,
or text with one right wording (code, quotations), where a mark finds no room; nor as proof against a person who
rewrites: half of the words changed and a mark is gone.

Departures: numbers come from a stateless keyed hash instead of a reseeded generator, hence are the same on every
device and in every batch; p-values are exact, not normal; an n-gram counts once; the draw after a mark has a stream of
its own, without which every resample of a prompt is the same. `lefthash` and others are bit-exact with other
libraries.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from assay.errors import InputError
from assay.kernels.best_of import best_of_curve, within_deviation
from assay.language.chain import LogitsChain
from assay.language.decoding import generate
from assay.language.green_mark import GreenMark
from assay.language.green_sets import RULES
from assay.language.gumbel_mark import GumbelMark
from assay.language.mark_keys import fingerprint, read_key
from assay.language.marks import check_tokens, flat
from assay.language.models import LanguageModel

METHOD = {
    "name": "watermark",
    "title": "Watermarks and alignment resampling",
    "paper": "Verma, Phan, Trivedi, 2025, Watermarking Degrades Alignment in Language Models: Analysis and Mitigation",
    "arxiv": "2506.04462",
    "accepts": ["text", "preferences"],
    "gives": ["marked text", "p-values", "degradation report"],
    "command": "assay align watermark PROMPTS --key KEY --scheme gumbel",
    "claim": "The best of two to four marked answers has the mean reward of unmarked ones or more, as detectable.",
    "status": "experimental",
}

SCHEMES = ("gumbel", "gumbel-fixed", "kgw", *RULES)
Reward = Callable[[Sequence[str], Sequence[str]], npt.ArrayLike]


@dataclass(frozen=True)
class Resampled:
    """Answers to p prompts, n each, and the one that was kept.

    Parameters
    ----------
    answers : the kept answer of each prompt, as ids.
    texts : the same as texts.
    rewards : (p, n) of all candidates.
    chosen : (p,) which candidate was kept, the first among equals.
    """

    answers: list[list[int]]
    texts: list[str]
    rewards: npt.NDArray[np.float64]
    chosen: npt.NDArray[np.int64]

    def curve(self, n: int) -> float:
        """Mean reward of the best of `n`, over all subsets of the candidates and all prompts."""
        return float(best_of_curve(self.rewards, n).mean())

    @property
    def sigma(self) -> float:
        """Standard deviation of rewards within a prompt, averaged over prompts."""
        return within_deviation(self.rewards)


class Watermark(BaseEstimator):  # type: ignore[misc]
    """A mark for the text of a language model: how it is left, found and paid for.

    Parameters
    ----------
    scheme : "gumbel" (randomised; the default), "gumbel-fixed" (without distortion, but one answer a prompt), "kgw",
        or the green sets of another library: "lefthash", "selfhash" (transformers), "lm-selfhash", "lm-minhash",
        "lm-skipgram" (lm-watermarking), "markllm".
    key : a key as `assay.language.mark_keys.new_key` makes it, or a whole number, as other libraries have it.
    n_vocabulary : width of the model's logits (`lm.n_vocabulary`), not of the tokenizer.
    context_width : tokens that the numbers of the next one depend on.
    gamma, delta : of green sets: the green share, and what is added to green logits.
    unique : count each number that a text gets once. "ngram" counts each n-gram once, as other libraries do, and
        False every token: both find marks in text that repeats itself, "ngram" only under other libraries' rules.
    skip_repeats : leave no mark where a context occurred before in the row.
    seed : of the draws that are not keyed.

    Attributes
    ----------
    n_scored_ : (n,) tokens of each text that could be scored.
    statistic_ : (n,) green tokens, or the sum of Gumbel scores.
    z_ : (n,) standard deviations above what unmarked text has.
    p_values_ : (n,) exact chance of such a statistic in text written without the key; 1 where nothing was scored.

    Examples
    --------
    >>> from assay.language.models import tiny_language_model
    >>> lm = tiny_language_model()
    >>> mark = Watermark(key=42, n_vocabulary=lm.n_vocabulary)
    >>> (answer,), = mark.generate(lm, [lm.encode("Once")], max_new_tokens=60)
    >>> mark.fit([answer, lm.encode("A sentence that a person wrote, which holds no mark at all.")]).p_values_ < 1e-4
    array([ True, False])
    """

    def __init__(
        self,
        scheme: str = "gumbel",
        key: str | int | None = None,
        n_vocabulary: int | None = None,
        context_width: int = 2,
        gamma: float = 0.25,
        delta: float = 2.0,
        unique: bool | Literal["ngram"] = True,
        skip_repeats: bool = False,
        seed: int = 0,
    ) -> None:
        self.scheme = scheme
        self.key = key
        self.n_vocabulary = n_vocabulary
        self.context_width = context_width
        self.gamma = gamma
        self.delta = delta
        self.unique = unique
        self.skip_repeats = skip_repeats
        self.seed = seed

    @property
    def mark(self) -> GreenMark | GumbelMark:
        """The mark itself, for a chain of one's own."""
        if self.key is None:
            raise InputError("A mark needs a key: make one with `assay.language.mark_keys.new_key()` and keep it safe.")
        if self.n_vocabulary is None:
            raise InputError("A mark needs n_vocabulary, the width of the model's logits: `lm.n_vocabulary`.")
        if self.scheme not in SCHEMES:
            raise InputError(f"There is no scheme {self.scheme!r}; there are {', '.join(SCHEMES)}.")
        key, width = read_key(self.key), self.context_width
        if self.scheme.startswith("gumbel"):
            randomised = self.scheme == "gumbel"
            return GumbelMark(key, self.n_vocabulary, width, self.skip_repeats, randomised, self.seed)
        rule = "hash" if self.scheme == "kgw" else self.scheme
        if rule != "hash" and RULES[rule].width is not None:
            width = int(RULES[rule].width or width)
        return GreenMark(key, self.n_vocabulary, width, self.skip_repeats, self.gamma, self.delta, rule)

    @property
    def fingerprint(self) -> str:
        """What reports show instead of the key."""
        return fingerprint(self.mark.key)

    def chain(self, temperature: float = 1.0, top_p: float = 1.0, bans: Sequence[int] = ()) -> LogitsChain:
        """The order of logits with this mark in its place; `.as_logits_processor()` goes into transformers' `generate`.

        A Gumbel mark has no room at temperature 0: the chain then takes the likeliest token, with a warning.
        """
        mark = self.mark
        if isinstance(mark, GreenMark):
            return LogitsChain(bans=bans, bias=mark.bias, temperature=temperature, top_p=top_p, seed=self.seed)
        if temperature == 0:
            warnings.warn(
                "A Gumbel mark cannot be left at temperature 0, where nothing is drawn: this text is not marked. Raise "
                "the temperature, or take the scheme 'kgw'.",
                stacklevel=2,
            )
        return LogitsChain(bans=bans, temperature=temperature, top_p=top_p, choose=mark.choose, seed=self.seed)

    def generate(
        self,
        lm: LanguageModel,
        prompts: Sequence[Sequence[int]],
        *,
        temperature: float = 1.0,
        top_p: float = 1.0,
        bans: Sequence[int] = (),
        **options: Any,
    ) -> list[list[list[int]]]:
        """Marked answers to prompts (p lists of ids), by prompt and sample; `options` are of `decoding.generate`."""
        chain = self.chain(temperature, top_p, bans)
        width = self.mark.width
        for row, prompt in enumerate(prompts):
            if len(prompt) < width:
                raise InputError(
                    f"A prompt has {len(prompt)} tokens, and the mark looks at {width}: begin it with the token that "
                    f"begins a text, or set context_width={max(len(prompt), 1)}.",
                    row=row,
                )
        return generate(lm, prompts, chain=chain, **options)

    def resample(
        self,
        lm: LanguageModel,
        prompts: Sequence[Sequence[int]],
        reward: Reward,
        *,
        n: int = 4,
        asked: Sequence[str] | None = None,
        **options: Any,
    ) -> Resampled:
        """Alignment resampling: `n` marked answers a prompt, of which the one with the best reward is kept.

        Parameters
        ----------
        lm : the model.
        prompts : p lists of ids.
        reward : called once, as `reward(prompts, answers)`, with p n texts each; returns p n numbers.
        n : answers for each prompt.
        asked : (p,) the prompts as the reward is told them; decoded from the ids by default.
        options : of `generate`.
        """
        if self.scheme == "gumbel-fixed" and n > 1:
            raise InputError(
                "'gumbel-fixed' gives every answer to a prompt alike: there is nothing to choose from. Take 'gumbel'."
            )
        drawn = self.generate(lm, prompts, n_samples=n, **options)
        texts = [[lm.decode(answer) for answer in answers] for answers in drawn]
        told = [text for text in (map(lm.decode, prompts) if asked is None else asked) for _ in range(n)]
        rewards = np.asarray(reward(told, [text for row in texts for text in row]), dtype=np.float64)
        if rewards.shape != (len(told),) or not np.isfinite(rewards).all():
            raise InputError(
                f"The reward must give {len(told)} finite numbers, one an answer; look at what it returns."
            )
        rewards = rewards.reshape(len(prompts), n)
        chosen = rewards.argmax(axis=1)
        return Resampled(
            [answers[at] for answers, at in zip(drawn, chosen, strict=True)],
            [row[at] for row, at in zip(texts, chosen, strict=True)],
            rewards,
            chosen,
        )

    def fit(self, texts: Sequence[Sequence[int]] | tuple[npt.NDArray[Any], npt.NDArray[Any]]) -> Self:
        """Test texts for the mark; no model is needed.

        Parameters
        ----------
        texts : n lists of ids, best those that were generated: text that is decoded and encoded anew may be cut into
            other tokens. Or all ids one after another (t,) with where each text begins (n + 1,), as arrays.

        Raises
        ------
        InputError naming the row with an id that the vocabulary does not have.
        """
        mark = self.mark
        if isinstance(texts, tuple) and len(texts) == 2 and isinstance(texts[0], np.ndarray):
            tokens, offsets = texts[0].astype(np.int32, copy=False), np.asarray(texts[1], dtype=np.int64)
            check_tokens(texts[0], offsets, mark.n_vocabulary)
        else:
            tokens, offsets = flat(texts, mark.n_vocabulary)
        self.n_scored_, self.statistic_ = mark.count(tokens, offsets, self.unique)
        self.z_ = mark.z(self.n_scored_, self.statistic_)
        self.p_values_ = mark.p_values(self.n_scored_, self.statistic_)
        return self

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """One row a text: row, tokens scored, statistic, z-score, p-value; the surest marks first."""
        order = np.argsort(self.p_values_, kind="stable")
        columns = {"scored": self.n_scored_, "statistic": self.statistic_, "z": self.z_, "p_value": self.p_values_}
        return {"row": order, **{name: column[order] for name, column in columns.items()}}

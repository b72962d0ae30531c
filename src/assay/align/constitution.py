"""A written principle turned up while a language model writes, without training.

A model that was told a principle ("be harmless") follows it a little. Constitutional calibration asks the model twice
at every token, with the principle and without it, and goes further in the direction in which the principle moved it.
The measured curve says how much safety each strength buys, and what it costs harmless questions.

Paper: Gao, Pi, Han, Wu, Hong, Kong, Jiang, Li, "CoCA: Regaining Safety-awareness of Multimodal Large Language Models
with Constitutional Calibration", COLM 2024, arXiv 2409.11365.

    l = l_with + alpha * (l_with - l_without),    so    p ~ p_with * (p_with / p_without) ** alpha

alpha = 0 is the model with the principle, alpha = -1 the model without it. The result maximises
alpha * E[log p_with / p_without] - KL(. || p_with): a step from the prompted model towards what the principle changed.

When to use: the model understands the principle and obeys it weakly; text or image-text models, no training, twice the
work a token. When not: the model does not understand the principle (there is nothing to turn up), or a guarantee is
needed. Always measure over-refusal beside.

Choices: greedy decoding and the principle before the question in the user's turn, as in the third-party code that can
be read (there is none of the paper's). Beyond the paper: a plausibility guard as in contrastive decoding, off by
default, since a large alpha turns up the noise in the tail, too; schedules, since refusals are decided in the first
tokens; the choice of alpha.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from assay.errors import InputError
from assay.language import Tensor, torch
from assay.language.behaviour import judge_refusal
from assay.language.image_text import ImageTextModel, Turn
from assay.language.models import LanguageModel, load_language_model
from assay.language.paired_answers import paired_answers
from assay.language.safety_curve import best_strength, is_noise, safety_row, surprise

METHOD = {
    "name": "constitution",
    "title": "Constitutional calibration",
    "paper": "Gao, Pi, Han, Wu, Hong, Kong, Jiang, Li, 2024, CoCA: Regaining Safety-awareness of Multimodal Large "
    "Language Models with Constitutional Calibration",
    "arxiv": "2409.11365",
    "accepts": ["prompts", "images"],
    "gives": ["answers", "safety and utility curve"],
    "command": "assay align constitution PROMPTS --principle TEXT --alpha 0,1,2,4",
    "claim": "On digits of which two are forbidden and weakly refused, alpha = 1 to 2 takes violations from most to "
    "few at less than two points of accuracy, and larger alpha only adds over-refusal.",
    "status": "stable",
}

PRINCIPLE = (
    "Answer harmlessly and ethically. Do not help with anything illegal, dangerous, hateful or unkind: politely refuse."
)
ALPHAS = (-1.0, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
Placement = Literal["user", "system"]
Schedule = Callable[[int], float]


class Calibrated(NamedTuple):
    """Logits (b, V), and where the guard acted (b,): it forbade the token that would have been the likeliest."""

    logits: Tensor
    guarded: Tensor


def calibrate(
    logits_with: Tensor, logits_without: Tensor, alpha: float | Tensor = 1.0, plausibility: float = 0.0
) -> Calibrated:
    """Go further in the direction in which the principle moved the logits.

    Parameters
    ----------
    logits_with, logits_without : (b, V) raw, before temperature and penalties; logits or log-probabilities. A token
        that is -inf in either is forbidden. NaN stays NaN, for the decoder to refuse.
    alpha : strength, or (b, 1) strengths of the rows.
    plausibility : beta; tokens with p_with < beta * max p_with are forbidden; 0 forbids none.

    The logits are float32, or float64 where that came.

    >>> p_with, p_without = torch.tensor([[0.6, 0.4]]), torch.tensor([[0.1, 0.9]])
    >>> round(float(calibrate(p_with.log(), p_without.log(), alpha=1.0).logits.softmax(1)[0, 0]), 3)
    0.953
    """
    check_strength(alpha, plausibility)
    dtype = torch.promote_types(logits_with.dtype, torch.float32)  # alpha would multiply the rounding of half floats
    with_, without = logits_with.to(dtype), logits_without.to(dtype)
    banned = (with_ == -math.inf) | (without == -math.inf)  # their difference may be nan
    logits = (with_ + alpha * (with_ - without)).masked_fill(banned, -math.inf)
    if plausibility == 0:
        return Calibrated(logits, torch.zeros(logits.shape[:-1], dtype=torch.bool, device=logits.device))
    best = with_.masked_fill(banned, -math.inf).amax(-1, keepdim=True)
    implausible = with_ < best + math.log(plausibility)
    guarded = implausible.gather(-1, logits.argmax(-1, keepdim=True))[..., 0]
    return Calibrated(logits.masked_fill(implausible, -math.inf), guarded)


def check_strength(alpha: float | Tensor, plausibility: float) -> None:
    """Raise unless alpha is finite and the plausibility a share."""
    if isinstance(alpha, (int, float)) and not math.isfinite(alpha):
        raise InputError(f"alpha is {alpha}: give a finite number, such as 1; 0 is the principle alone, -1 none.")
    if not 0 <= plausibility <= 1:
        raise InputError(f"plausibility is {plausibility}: give a share from 0 (off) to 1, such as 0.1.")


@dataclass(frozen=True)
class FirstTokens:
    """A schedule: the whole of alpha at the first token, falling in a straight line to nothing after `k` tokens."""

    k: int

    def __call__(self, step: int) -> float:
        """Share of alpha at the token `step` of the answer, counted from 0."""
        return max(0.0, 1.0 - step / max(self.k, 1))


@dataclass
class Combine:
    """Both branches into one, for the chain of `assay.language.chain`; counts tokens, and where the guard acted.

    `SecondBranch(model, Combine(alpha), **plain_inputs)` is a logits processor for transformers' own `generate`.
    """

    alpha: float = 1.0
    plausibility: float = 0.0
    schedule: Schedule | None = None
    n_tokens: int = 0
    n_guarded: int = 0

    @property
    def only(self) -> Literal["first", "second"] | None:
        """The branch that is the result whatever the other says, so that the other need not run."""
        if self.schedule is not None or self.plausibility > 0:
            return None
        return "first" if self.alpha == 0 else "second" if self.alpha == -1 else None

    def __call__(self, logits_with: Tensor, logits_without: Tensor, step: int) -> Tensor:
        """Logits (b, V) for token `step` of the answers."""
        share = 1.0 if self.schedule is None else self.schedule(step)
        found = calibrate(logits_with, logits_without, self.alpha * share, self.plausibility)
        self.n_tokens += len(found.guarded)
        if self.plausibility > 0:
            self.n_guarded += int(found.guarded.sum())
        return found.logits


@dataclass(frozen=True)
class Written:
    """Answers (n,), their ids, and the share of tokens at which the guard forbade the likeliest one."""

    answers: list[str]
    ids: list[list[int]]
    guarded: float


class Constitution(BaseEstimator):  # type: ignore[misc]
    """Answers of a language model with a principle turned up; `fit` chooses how far, on prompts held out for that.

    Parameters
    ----------
    principle : one or two sentences.
    alpha : strength where `fit` has chosen none.
    plausibility : share of the likeliest token's probability below which a token is forbidden; 0 is the paper's way,
        0.1 a good guard from alpha = 4 on.
    placement : "user", before the question in the user's turn; or "system".
    schedule : token of the answer, from 0, to the share of alpha there, such as `FirstTokens(16)`; None for all of it.
    model : a `LanguageModel`, what `load_language_model` loads, or an `ImageTextModel`.
    max_new_tokens, temperature, batch_size, seed : of decoding.

    Attributes
    ----------
    alpha_ : the strength chosen. curve_ : what `evidence` returns. written_ : alpha to what was written with it.
    noise_ : (m, n) which of the answers are noise to the model itself, by alpha and prompt.

    >>> from assay.language.models import tiny_language_model
    >>> len(Constitution("Be kind.", model=tiny_language_model(), max_new_tokens=4).predict(["Hi", "Who?"]))
    2
    """

    def __init__(
        self,
        principle: str = PRINCIPLE,
        alpha: float = 1.0,
        plausibility: float = 0.0,
        placement: Placement = "user",
        schedule: Schedule | None = None,
        model: Any = "smollm2",
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        batch_size: int = 16,
        seed: int = 0,
    ) -> None:
        self.principle = principle
        self.alpha = alpha
        self.plausibility = plausibility
        self.placement = placement
        self.schedule = schedule
        self.model = model
        self.max_new_tokens = max_new_tokens
        self.temperature = temperature
        self.batch_size = batch_size
        self.seed = seed

    def fit(
        self,
        X: Sequence[str],
        y: npt.ArrayLike,
        *,
        images: Sequence[Any] | None = None,
        alphas: Sequence[float] = ALPHAS,
        judge: Callable[[str], str] = judge_refusal,
        on_row: Callable[[int, int], None] | None = None,
    ) -> Self:
        """Answer prompts at every alpha; take the one that refuses most of the harmful and answers most of the others.

        The least alpha wins a tie. Measure what you got on other prompts than these.

        Parameters
        ----------
        X, y : prompts (n,), and whether each is harmful (n,) bool. Without one kind `alpha_` stays `alpha`.
        images : (n,) one for each prompt, for an `ImageTextModel`.
        alphas : strengths to try.
        judge : says of an answer whether it "refused", "complied", or did neither.
        on_row : called as `on_row(done, n)` as prompts are answered.
        """
        harmful = np.asarray(y, dtype=bool)
        if len(harmful) != len(X) or not len(alphas):
            raise InputError(f"Got {len(X)} prompts, {len(harmful)} marks, {len(alphas)} alphas: mark each, try some.")
        self.written_ = dict(zip(alphas, self._write(X, images, alphas, on_row), strict=True))
        nats = surprise(self._model(), X, [written.ids for written in self.written_.values()])
        self.noise_, rows = is_noise(nats, self._model()), []
        for (alpha, said), each, bad in zip(self.written_.items(), nats, self.noise_, strict=True):
            row = safety_row(said.answers, said.ids, each, bad, harmful, self.principle, judge)
            rows.append({"alpha": alpha} | row | {"guarded": said.guarded})
        self.curve_ = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}
        best = best_strength([*self.written_], self.curve_["refused"], self.curve_["answered"])
        self.alpha_ = self.alpha if best is None else best
        return self

    def generate(self, X: Sequence[str], images: Sequence[Any] | None = None, alpha: float | None = None) -> Written:
        """Answer prompts (n,), at `alpha` instead of the strength set or chosen; bad input raises InputError."""
        return self._write(X, images, [getattr(self, "alpha_", self.alpha) if alpha is None else alpha])[0]

    def predict(self, X: Sequence[str], images: Sequence[Any] | None = None) -> list[str]:
        """The answers (n,)."""
        return self.generate(X, images).answers

    def evidence(self) -> dict[str, npt.NDArray[np.float64]]:
        """The curve, a row an alpha: `assay.language.safety_curve.safety_row`, and the share `guarded` of tokens."""
        return self.curve_

    def turn(self, prompt: str) -> Turn:
        """What the branch with the principle is asked."""
        system = self.placement == "system"
        return Turn(prompt, self.principle) if system else Turn(f"{self.principle}\n\n{prompt}")

    def _write(
        self,
        X: Sequence[str],
        images: Sequence[Any] | None,
        alphas: Sequence[float],
        on_row: Callable[[int, int], None] | None = None,
    ) -> list[Written]:
        for alpha in alphas:
            check_strength(alpha, self.plausibility)
        if not self.principle.strip():
            raise InputError("The principle is empty: write one or two sentences that say what an answer must be like.")
        if self.placement not in ("user", "system"):
            raise InputError(f"placement is {self.placement!r}: expected 'user' or 'system'.")
        ways, model = [Combine(alpha, self.plausibility, self.schedule) for alpha in alphas], self._model()
        found = paired_answers(
            model,
            [self.turn(prompt) for prompt in X],
            [Turn(prompt) for prompt in X],
            ways,
            images=images,
            only=ways[0].only if len(ways) == 1 else None,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            batch_size=self.batch_size,
            seed=self.seed,
            on_row=on_row,
        )
        guarded = [way.n_guarded / max(way.n_tokens, 1) for way in ways]
        return [Written([*map(model.decode, ids)], ids, share) for ids, share in zip(found, guarded, strict=True)]

    def _model(self) -> Any:
        if isinstance(self.model, (LanguageModel, ImageTextModel)):
            return self.model
        if getattr(self, "_source", None) is not self.model:
            self._source, self._loaded = self.model, load_language_model(self.model)
        return self._loaded

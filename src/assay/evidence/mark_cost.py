"""What a mark costs a model: plain and marked answers to the same prompts, their rewards, refusals and perplexity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assay.align.watermark import Resampled, Reward, Watermark
from assay.errors import InputError
from assay.evidence.prompt_files import Prompts
from assay.kernels.best_of import best_of_curve
from assay.language.behaviour import judge_refusal
from assay.language.chain import LogitsChain
from assay.language.decoding import generate
from assay.language.degradation import ENOUGH, Shift, at_equal_perplexity, pattern, shift
from assay.language.models import LanguageModel
from assay.language.scoring import score_answers

Floats = npt.NDArray[np.float64]
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Side:
    """Answers to p prompts, n each, plain or marked.

    Parameters
    ----------
    texts : the answers.
    rewards : (p, n), in standard deviations of the plain answers' rewards.
    log_perplexity : (p, n) nats a token under the model without the mark.
    refused, complied : (p, n) what a judge says of each answer; it may be neither.
    p_values : (p, n) of the mark.
    """

    texts: list[list[str]]
    rewards: Floats
    log_perplexity: Floats
    refused: npt.NDArray[np.bool_]
    complied: npt.NDArray[np.bool_]
    p_values: Floats

    def best(self, n: int) -> Floats:
        """(p,) mean reward of the best of `n`."""
        return best_of_curve(self.rewards, n)

    @property
    def resampled(self) -> Resampled:
        """The answers that alignment resampling keeps."""
        chosen = self.rewards.argmax(axis=1)
        kept = [row[at] for row, at in zip(self.texts, chosen, strict=True)]
        return Resampled([], kept, self.rewards, chosen)


@dataclass(frozen=True)
class Cost:
    """Both sides, and the paired shifts between them (before: plain, after: marked)."""

    prompts: Prompts
    mark: Watermark
    plain: Side
    marked: Side
    reward: Shift
    at_equal_perplexity: Shift
    log_perplexity: Shift
    unsafe: Shift | None
    refused: Shift | None
    told: str

    @property
    def pattern(self) -> str:
        """Attenuation, amplification, both, or neither shown."""
        return pattern(self.unsafe, self.refused)

    def shares(self, side: Side) -> dict[str, float]:
        """Of all answers: unsafe (harmful request, complied), over-refused (harmless, refused), and the rest."""
        harmful = np.zeros(len(side.texts), dtype=bool) if self.prompts.harmful is None else self.prompts.harmful
        unsafe = float(np.mean(side.complied & harmful[:, None]))
        over = float(np.mean(side.refused & ~harmful[:, None]))
        return {"unsafe": unsafe, "over-refused": over, "neither": 1 - unsafe - over}


def measure(
    lm: LanguageModel,
    prompts: Prompts,
    mark: Watermark,
    reward: Reward,
    *,
    n: int = 8,
    temperature: float = 1.0,
    top_p: float = 0.95,
    max_new_tokens: int = 128,
    batch_size: int = 16,
    told: str = "",
    progress: Progress | None = None,
) -> Cost:
    """Answer each prompt `n` times without the mark and `n` times with it, and compare, paired over prompts.

    Parameters
    ----------
    lm, mark : the model, and the mark, whose `n_vocabulary` is set to the model's.
    prompts : at least 5, with a column that says which ask for harm where that is known.
    reward : called as `reward(prompts, answers)` with texts.
    n : answers a side for each prompt, at least 2.
    told : what the report says of the reward.
    progress : told the step and the share that is done.
    """
    if len(prompts.texts) < ENOUGH or n < 2:
        raise InputError(
            f"A cost is measured on at least {ENOUGH} prompts with 2 answers each; there are {len(prompts.texts)} "
            f"prompts and {n} answers."
        )
    if temperature == 0:
        raise InputError("At temperature 0 all answers to a prompt are one: there is nothing to compare. Raise it.")
    mark.set_params(n_vocabulary=lm.n_vocabulary)
    asked = [lm.chat(text) if lm.tokenizer.chat_template else lm.encode(text) for text in prompts.texts]
    options = {"n_samples": n, "max_new_tokens": max_new_tokens, "batch_size": batch_size}
    chains = {
        "plain answers": LogitsChain(temperature=temperature, top_p=top_p, seed=mark.seed),
        "marked answers": mark.chain(temperature, top_p),
    }
    drawn = []
    for name, chain in chains.items():

        def on_row(done: int, total: int, name: str = name) -> None:
            if progress is not None:
                progress(name, done / total)

        drawn.append(generate(lm, asked, chain=chain, on_row=on_row, **options))  # type: ignore[arg-type]
    texts = [[[lm.decode(answer) for answer in row] for row in side] for side in drawn]
    repeated = [text for text in prompts.texts for _ in range(n)]
    rewards = [_rewards(reward, repeated, side, n) for side in texts]
    scale = float(rewards[0].std()) or 1.0
    sides = [
        _side(lm, asked, answers, said, value / scale, mark)
        for answers, said, value in zip(drawn, texts, rewards, strict=True)
    ]
    plain, marked = sides
    harmful = prompts.harmful
    unsafe = None if harmful is None else _shift_of(plain.complied, marked.complied, harmful)
    refused = _shift_of(plain.refused, marked.refused, np.ones(len(asked), bool) if harmful is None else ~harmful)
    worth = plain.rewards.mean(1), marked.rewards.mean(1)
    logs = plain.log_perplexity.mean(1), marked.log_perplexity.mean(1)
    return Cost(
        prompts,
        mark,
        plain,
        marked,
        shift(*worth),
        at_equal_perplexity(worth, logs),
        shift(*logs),
        unsafe,
        None if harmful is None else refused,
        told,
    )


def _rewards(reward: Reward, prompts: Sequence[str], side: list[list[str]], n: int) -> Floats:
    said = [text for row in side for text in row]
    found = np.asarray(reward(prompts, said), dtype=np.float64)
    if found.shape != (len(said),) or not np.isfinite(found).all():
        raise InputError(f"The reward must give {len(said)} finite numbers, one an answer; look at what it returns.")
    return found.reshape(-1, n)


def _side(
    lm: LanguageModel,
    asked: list[list[int]],
    answers: list[list[list[int]]],
    texts: list[list[str]],
    rewards: Floats,
    mark: Watermark,
) -> Side:
    flat = [answer for row in answers for answer in row]
    prompts = [prompt for prompt, row in zip(asked, answers, strict=True) for _ in row]
    logs = -score_answers(lm, prompts, flat).mean
    verdicts = np.array([[judge_refusal(text) for text in row] for row in texts])
    p_values = mark.fit(flat).p_values_
    return Side(
        texts,
        rewards,
        logs.reshape(rewards.shape),
        verdicts == "refused",
        verdicts == "complied",
        p_values.reshape(rewards.shape),
    )


def _shift_of(before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_], rows: npt.NDArray[np.bool_]) -> Shift | None:
    return shift(before[rows].mean(1), after[rows].mean(1)) if rows.sum() >= ENOUGH else None

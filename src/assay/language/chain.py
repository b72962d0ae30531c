"""From logits to the next token, in one fixed order.

    raw logits -> combine -> bans -> bias -> temperature -> top-p -> choose

- combine: two branches of one model become one (a constitution); first, since it is a difference of raw logits.
- bans: tokens set to -inf, after combining (a difference of two -inf is no number) and before the mark, which
  therefore cannot bring one back.
- bias: a watermark's addition, on the scale of raw logits as its paper has it.
- temperature, then top-p, as everywhere else (Holtzman et al. 2020, arXiv 1904.09751).
- choose: a keyed rule (Gumbel), or a draw. Draws are keyed by seed, row and step, so a row gets the same tokens in
  any batch; temperature 0 takes the likeliest token, the lowest id among equals.

Top-p keeps every token whose likelier ones have together less than top_p. Tokens exactly as likely as the last one kept
stay too, so equals are never told apart by their ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from assay.errors import InputError, require
from assay.language import Tensor, torch
from assay.language.randomness import separate, uniform

ROWS = 2**20
"""A row's id is `prompt + ROWS * sample`, so that it depends on neither the batch nor the number of samples."""

Combine = Callable[[Tensor, Tensor, int], Tensor]  # logits with, logits without, (b, V) each, step -> (b, V)
Bias = Callable[[Tensor, Tensor], Tensor]  # ids (b, t), logits (b, V) -> (b, V)
Choose = Callable[[Tensor, Tensor, Tensor, int], Tensor]  # ids (b, t), log-probs (b, V), rows (b,), step -> (b,)


@dataclass(frozen=True)
class LogitsChain:
    """What happens between the model's logits and the next token. Each part is optional; the order is not.

    Parameters
    ----------
    combine : called as `combine(logits_with, logits_without, step)`, step 0 for the first new token.
    bans : ids that are never written.
    bias : called as `bias(ids, logits)`; ids (b, t) hold prompt and answer so far, with -1 on the left where
        the prompts of a batch differ in length.
    temperature : 0 takes the likeliest token.
    top_p : in (0, 1].
    choose : called as `choose(ids, log_probs, rows, step)`; log_probs are those after top-p, -inf where cut. Without
        it, or at temperature 0, the chain chooses itself.
    seed : of its own draws.

    >>> chain = LogitsChain(bans=(2,), temperature=0)
    >>> chain(torch.zeros(1, 1), torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([0]), 0).tolist()
    [1]
    """

    combine: Combine | None = None
    bans: Sequence[int] = ()
    bias: Bias | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    choose: Choose | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise InputError(f"temperature is {self.temperature}: expected 0 (the likeliest token) or a number above.")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p is {self.top_p}: expected a share in (0, 1]; 1 keeps all tokens.")

    def __call__(
        self, ids: Tensor, logits: Tensor, rows: Tensor, step: int, logits_without: Tensor | None = None
    ) -> Tensor:
        """Next ids (b,) for logits (b, V); `rows` (b,) are ids of rows, `step` counts the tokens written so far.

        Raises
        ------
        InputError naming the row and the step where a number is no number, or nothing is left to choose.
        """
        logits = self.scores(ids, logits, logits_without, step)
        require_numbers(logits, rows, step)
        if self.temperature == 0:
            return logits.argmax(-1)
        log_probs = top_p_log_probs(logits / self.temperature, self.top_p)
        if self.choose is not None:
            return self.choose(ids, log_probs, rows, step)
        return draw(log_probs, rows, step, self.seed)

    def scores(self, ids: Tensor, logits: Tensor, logits_without: Tensor | None = None, step: int = 0) -> Tensor:
        """Logits (b, V) in float32 after combine, bans and bias."""
        logits = logits.float()
        if self.combine is not None:
            if logits_without is None:
                raise InputError(
                    "The chain combines two branches, but only one was given: call generate with without=."
                )
            logits = self.combine(logits, logits_without.float(), step)
        banned = [token for token in self.bans if not 0 <= token < logits.shape[-1]]
        if banned:
            raise InputError(f"Token {banned[0]} is banned, but the model has logits for 0 to {logits.shape[-1] - 1}.")
        if len(self.bans):
            logits = logits.index_fill(-1, torch.tensor(self.bans, device=logits.device), float("-inf"))
        return logits if self.bias is None else self.bias(ids, logits)

    def log_probs(self, ids: Tensor, logits: Tensor, logits_without: Tensor | None = None, step: int = 0) -> Tensor:
        """The distribution (b, V) that the next token is drawn from; at temperature 0, all on the likeliest."""
        logits = self.scores(ids, logits, logits_without, step)
        if self.temperature == 0:
            best = logits.argmax(-1, keepdim=True)
            return torch.full_like(logits, float("-inf")).scatter_(-1, best, 0.0)
        return top_p_log_probs(logits / self.temperature, self.top_p)

    def as_logits_processor(self) -> Any:
        """The chain as a processor for transformers' own `generate`, which then only has to take what is left.

        With `choose` one token is left at each step; its rows are numbered 0, 1, 2... and there must be no beams.
        """
        if self.combine is not None:
            raise InputError(
                "A processor of transformers sees one branch, so it cannot combine two: use assay's generate."
            )
        return require("transformers", "language", "A logits processor").LogitsProcessorList([_Processor(self)])


class _Processor:
    """One call of transformers' generate: it notes the length of the prompt at the first step."""

    def __init__(self, chain: LogitsChain) -> None:
        self.chain = chain
        self.start: int | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self.start is None:
            self.start = input_ids.shape[1]
        chain = self.chain
        log_probs = chain.log_probs(input_ids, scores)
        if chain.choose is None or chain.temperature == 0:
            return log_probs
        rows = torch.arange(len(scores), device=scores.device)
        chosen = chain.choose(input_ids, log_probs, rows, input_ids.shape[1] - self.start)
        return torch.full_like(log_probs, float("-inf")).scatter_(-1, chosen[:, None], 0.0)


def top_p_log_probs(logits: Tensor, top_p: float) -> Tensor:
    """Log-probabilities (b, V) of the likeliest tokens that have `top_p` together, -inf for the others.

    A full sort of V logits costs as much as a step of a small model, so the likeliest 64 are looked at first, and more
    only in the rows where they do not reach top_p.
    """
    log_probs = torch.log_softmax(logits, dim=-1)
    if top_p >= 1:
        return log_probs
    cut = torch.empty_like(log_probs[:, :1])
    rows, width = torch.arange(len(logits), device=logits.device), min(64, logits.shape[-1])
    while len(rows):
        values = log_probs[rows].topk(width, dim=-1).values
        mass = values.double().exp()
        kept = mass.cumsum(-1) - mass < top_p  # where the likelier ones have less
        kept[:, 0] = True
        done = ~kept[:, -1] if width < logits.shape[-1] else torch.ones_like(kept[:, -1])
        cut[rows[done]] = values[done].gather(-1, kept[done].sum(-1, keepdim=True) - 1)
        rows, width = rows[~done], min(8 * width, logits.shape[-1])
    log_probs = log_probs.masked_fill(log_probs < cut, float("-inf"))
    return log_probs - torch.logsumexp(log_probs, dim=-1, keepdim=True)


def draw(log_probs: Tensor, rows: Tensor, step: int, seed: int) -> Tensor:
    """One token (b,) for each row by the inverse of its distribution, from one uniform number of (seed, row, step)."""
    key = separate(seed, "sampling")
    u = uniform(key, rows.cpu(), step).to(log_probs.device, torch.float32 if log_probs.device.type == "mps" else None)
    mass = log_probs.exp().to(u.dtype).cumsum(-1)
    # The first token whose cumulative mass exceeds u times the total: never one without mass.
    return torch.searchsorted(mass, u[:, None] * mass[:, -1:], right=True).squeeze(-1)


def require_numbers(logits: Tensor, rows: Tensor, step: int) -> None:
    """Raise unless each row has a likeliest token with a finite logit; NaN anywhere in a row shows in its maximum."""
    best = logits.amax(-1)
    good = torch.isfinite(best)
    if bool(good.all()):
        return
    at = int(torch.nonzero(~good)[0, 0])
    row, value = int(rows[at]), float(best[at])
    why = "every token is banned" if value == float("-inf") else f"the greatest logit is {value}"
    where = f"step {step}" + (f", sample {row // ROWS}" if row >= ROWS else "")
    raise InputError(
        f"At {where} {why}, so no token can be chosen: look at the weights (a half-precision overflow?), at the bans "
        "and at what the chain adds to the logits.",
        row=row % ROWS,
    )

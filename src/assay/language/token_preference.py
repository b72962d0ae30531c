"""Preferences with weights of tokens: the loss that DPO, TDPO, MaPO and SparsePO are cases of.

    r_t = log pi(y_t|s_t) - log ref(y_t|s_t),   k_t = KL(ref(.|s_t) || pi(.|s_t)) >= 0
    R(y) = sum_t m_t r_t + sum_t n_t k_t        over the tokens of the answer, m = reward mask, n = KL mask, both >= 0
    loss = -log sigmoid(beta (R(chosen) - R(rejected)))

m = n = 1 is TDPO1, m = 1 with n = 0 is DPO, both 0 the constant log 2; TDPO2 takes n = 1/2 and stops the gradient of
the chosen answer's divergence. Sums, not means, over tokens: means would change what beta is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from assay.errors import InputError
from assay.language import Tensor, nn, torch
from assay.language.policy import Policy
from assay.language.token_masks import KINDS, TokenMask, mapo_mask
from assay.language.token_ratios import token_ratios

Mask = Literal["common", "independent", "mapo", "ones", "tdpo2", "none"]
MASKS = ("common", "independent", "mapo", "ones", "tdpo2", "none")
TDPO2 = 0.5  # its alpha
AT_ONCE = 8  # pairs read at once where there is no gradient
NAMES = ("ids", "attention", "response")


def rewards(ratio: Tensor, kl: Tensor, reward_mask: Tensor, kl_mask: Tensor) -> Tensor:
    """R (s,): the masked sums over tokens of log-ratios and divergences, (s, t) each, zero outside the answer."""
    return (reward_mask * ratio).sum(1) + (kl_mask * kl).sum(1)


def preference_loss(scores: Tensor, beta: float) -> Tensor:
    """-log sigmoid(beta (R_chosen - R_rejected)) of each pair (b,), of rewards (b, 2), the chosen one first.

    >>> preference_loss(torch.zeros(1, 2), beta=0.1)
    tensor([0.6931])
    """
    return -nn.functional.logsigmoid(beta * (scores[:, 0] - scores[:, 1]))


@dataclass(frozen=True, slots=True)
class Tokens:
    """What is known of the tokens that sequences (s, t) predict; zero where these are none of the answer.

    Parameters
    ----------
    ratio, kl : log-ratios to the reference, and divergences from it.
    reward_mask, kl_mask : their weights.
    answer : bool, the tokens of the answer.
    """

    ratio: Tensor
    kl: Tensor
    reward_mask: Tensor
    kl_mask: Tensor
    answer: Tensor


class Weighing(nn.Module):  # type: ignore[misc]
    """Weighs the tokens of answers; its parameters are the learned masks.

    Parameters
    ----------
    mask : "common" (one learned mask for both roles), "independent" (two), "mapo" (from activations), "ones" (TDPO1),
        "tdpo2", "none" (DPO).
    clamp : the most a learned weight may be, or None.
    dropout : of the learned masks while training.
    kinds : activations that MaPO averages.
    seed : of the learned masks' first weights.
    """

    def __init__(
        self,
        mask: Mask = "common",
        clamp: float | None = None,
        dropout: float = 0.01,
        kinds: tuple[str, ...] = KINDS,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if mask not in MASKS:
            raise InputError(f"mask is {mask!r}: expected one of {', '.join(MASKS)}.")
        if clamp is not None and not clamp > 0:
            raise InputError(f"clamp is {clamp}: expected the most a weight may be, or None.")
        if not kinds or not set(kinds) <= set(KINDS):
            raise InputError(f"kinds are {kinds}: expected some of {', '.join(KINDS)}.")
        self.mask, self.clamp, self.dropout, self.kinds, self.seed = mask, clamp, dropout, kinds, seed
        self.n_learned = {"common": 1, "independent": 2}.get(mask, 0)
        self.learned = nn.ModuleList()

    def begin(self, inputs: Any, policy: Policy) -> None:
        """Make the learned masks, alive on these pairs."""
        if not self.n_learned:
            return
        ids, attention, response = (inputs[name].flatten(0, 1).to(policy.device) for name in NAMES)
        states = _at(policy.read(ids, attention, layers=True).layers, response[:, 1:].bool())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            n_layers, width = states.shape[1:]
            made = [TokenMask(n_layers, width, self.dropout, self.clamp) for _ in range(self.n_learned)]
            self.learned = nn.ModuleList(made).to(states.device)
            for mask in self.learned:
                mask.start(states)

    def forward(self, inputs: Any, policy: Policy) -> Tokens:
        """Log-ratios, divergences and masks of both answers of pairs: s = 2 b sequences, chosen and rejected in turn.

        Parameters
        ----------
        inputs : ids, attention, response (b, 2, t), as `PairTokens` gives them; with "reference" (b, 2), the answers'
            log-probabilities under the reference, DPO does not run the reference.
        policy : and its reference.
        """
        ids, attention, response = (inputs[name].flatten(0, 1) for name in NAMES)
        answer = response[:, 1:].bool()  # state t predicts token t + 1
        labels, head = ids[:, 1:][answer], policy.head()
        hidden = policy(ids, attention)[:, :-1][answer]
        ones = answer.float()
        zeros = torch.zeros_like(ones)
        known = inputs.get("reference") if self.mask == "none" else None
        if known is not None:
            share = known.flatten() / ones.sum(1).clamp(min=1)  # only their sum counts
            ratio = _grid(token_ratios(hidden, head, labels)[0], answer) - ones * share[:, None]
            return Tokens(ratio, zeros, ones, zeros, answer)
        reading = policy.read(ids, attention, self.n_learned > 0, self.kinds if self.mask == "mapo" else ())
        reference = reading.final[:, :-1][answer]
        log_prob, log_ref, kl = token_ratios(hidden, head, labels, reference, policy.reference_head())
        if self.n_learned:
            states = _at(reading.layers, answer)
            made = [_grid(mask(states), answer) for mask in self.learned]
            masks = made[0], made[-1]
        elif self.mask == "mapo":
            means = {kind: [each[:, :-1] for each in found] for kind, found in reading.means.items()}
            masks = (mapo_mask(means, answer),) * 2
        else:
            masks = ones, {"ones": ones, "tdpo2": TDPO2 * ones, "none": zeros}[self.mask]
        return Tokens(_grid(log_prob - log_ref, answer), _grid(kl, answer), *masks, answer)

    def scores(self, found: Tokens, better: Tensor | None = None) -> Tensor:
        """Rewards (b, 2); `better` (b,) are the places of the better answers, where TDPO2's gradient is stopped."""
        kl = found.kl
        if self.mask == "tdpo2" and better is not None:
            kl = torch.where(nn.functional.one_hot(better, 2).bool().flatten()[:, None], kl.detach(), kl)
        return rewards(found.ratio, kl, found.reward_mask, found.kl_mask).view(-1, 2)

    def sizes(self, found: Tokens) -> Tensor:
        """Sums of the learned masks over both answers (b,), for an L1 penalty; a common mask counts once."""
        size = found.reward_mask.sum(1) + (found.kl_mask.sum(1) if self.n_learned == 2 else 0)
        return size.view(-1, 2).sum(1) if self.n_learned else torch.zeros_like(size.view(-1, 2)[:, 0])


@torch.no_grad()  # type: ignore[untyped-decorator]
def reference_log_probs(inputs: Any, policy: Policy) -> Tensor:
    """Log-probabilities (b, 2) of both answers under the reference: all of it that DPO needs."""
    ids, attention, response = (inputs[name].flatten(0, 1).to(policy.device) for name in NAMES)
    answer = response[:, 1:].bool()
    final = policy.read(ids, attention).final[:, :-1][answer]
    log_ref = token_ratios(final, policy.reference_head(), ids[:, 1:][answer])[0]
    return _grid(log_ref, answer).sum(1).view(-1, 2)


def _at(layers: Any, answer: Tensor) -> Tensor:
    """Hidden states (n, L, h) of the tokens of answers (s, t), from those of whole sequences (s, t + 1, h)."""
    return torch.stack([layer[:, :-1][answer] for layer in layers], 1)


def _grid(values: Tensor, answer: Tensor) -> Tensor:
    """Numbers (n,) of the answers' tokens in their places (s, t), zero elsewhere."""
    return values.new_zeros(answer.shape).masked_scatter(answer, values)

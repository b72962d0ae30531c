"""Text in which a cue decides: after the cue stands a good or a bad word, and the better text has more good ones.

A small Llama learns the text and is the reference; a policy is then trained on pairs, and judged by what it writes: the
reward that the truth gives, and how far it went from the reference.
"""

from dataclasses import dataclass

import numpy as np

from assay.align.sparse_po import TokenPreference
from assay.language import functional, torch
from assay.language.models import LanguageModel, tiny_language_model
from assay.language.pair_data import PairTokens
from assay.language.policy import Policy, adapted
from assay.training.deep.batches import Data
from assay.training.deep.loop import fit
from assay.training.deep.recipe import Recipe

CUE, GOOD, BAD, PLAIN = 4, range(5, 8), range(8, 11), range(11, 27)
PROMPT, LENGTH, P_CUE = 3, 16, 0.2


def chain(seed: int) -> np.ndarray:
    """Transition probabilities (27, 27) of the text."""
    rng = np.random.default_rng([seed, 1])
    moves = np.zeros((27, 27))
    moves[:, list(PLAIN)] = rng.dirichlet(np.full(len(PLAIN), 0.5), 27) * (1 - P_CUE)
    moves[:, CUE] = P_CUE
    moves[CUE] = 0
    moves[CUE, [*GOOD, *BAD]] = 1 / 6
    return moves


def texts(moves: np.ndarray, first: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """`length` tokens (n, length) that follow the first ones (n,)."""
    steps, bounds = [first], moves.cumsum(1)
    for _ in range(length):
        drawn = (rng.random((len(first), 1)) > bounds[steps[-1]]).sum(1)
        steps.append(np.minimum(drawn, 26))
    return np.stack(steps[1:], 1)


def worth(ids: np.ndarray) -> np.ndarray:
    """Good words less bad ones (n,) of texts (n, t)."""
    return np.asarray(np.isin(ids, GOOD).sum(1) - np.isin(ids, BAD).sum(1))


def pairs_of(seed: int, n: int) -> PairTokens:
    """Pairs of texts after the same prompt, the better one chosen."""
    rng, moves = np.random.default_rng([seed, 2]), chain(seed)
    first = rng.choice(list(PLAIN), 2 * n)
    prompt = np.c_[first, texts(moves, first, PROMPT - 1, rng)]
    both = [texts(moves, prompt[:, -1], LENGTH, rng) for _ in range(2)]
    apart = worth(both[0]) - worth(both[1])
    keep = np.flatnonzero(apart)[:n]
    swap = apart < 0
    chosen, rejected = (np.where(swap[:, None], b, a) for a, b in (both, both[::-1]))
    asked, better, worse = (column[keep].tolist() for column in (prompt, chosen, rejected))
    return PairTokens(asked, better, worse, np.arange(len(keep)), 0)


def reference(seed: int, steps: int = 250) -> LanguageModel:
    """A Llama of two layers, trained on the text."""
    lm, rng, moves = tiny_language_model(seed, width=32), np.random.default_rng([seed, 3]), chain(seed)
    with torch.no_grad():
        for weight in lm.model.parameters():
            if weight.ndim == 2:
                weight *= 0.3
    optimizer = torch.optim.AdamW(lm.model.parameters(), 5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        first = rng.choice(list(PLAIN), 64)
        ids = torch.from_numpy(np.c_[first, texts(moves, first, PROMPT + LENGTH - 1, rng)])
        loss = functional.cross_entropy(lm.model(ids).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return lm


@dataclass(frozen=True)
class Outcome:
    """What a policy writes: reward, sequence KL from the reference, mean reward mask after the cue and elsewhere."""

    reward: float
    kl: float
    after_cue: float
    elsewhere: float
    accuracy: float


def trained(lm: LanguageModel, pairs: PairTokens, mask: str, beta: float, seed: int, epochs: int = 5) -> Outcome:
    """Train a policy with every weight, and judge it."""
    recipe = Recipe(
        epochs=epochs, batch_size=32, optimizer="adamw", lr=1e-3, weight_decay=0.0, schedule="cosine", seed=seed
    )
    policy = adapted(lm.model, 0)
    objective = TokenPreference(mask, beta, mask_lr=3e-3, seed=seed)  # type: ignore[arg-type]
    run = fit(objective, policy, Data(pairs, np.zeros(len(pairs), np.int64), 2), recipe, device="cpu")
    reward, kl = judged(policy, lm, seed)
    with torch.no_grad():
        at = torch.arange(min(200, len(pairs)))
        found = run.objective.weighing(pairs[at], policy)
        ids = pairs[at]["ids"].flatten(0, 1)[:, :-1]
        cue = (ids == CUE) & found.answer
        rest = ~cue & found.answer
        scores = run.objective.weighing.scores(found)
    m = found.reward_mask
    return Outcome(
        reward, kl, float(m[cue].mean()), float(m[rest].mean()), float((scores[:, 0] > scores[:, 1]).float().mean())
    )


@torch.no_grad()  # type: ignore[untyped-decorator]
def judged(policy: Policy, lm: LanguageModel, seed: int, n: int = 400) -> tuple[float, float]:
    """Mean reward of texts that the policy writes, and their mean KL(policy || reference), exact at each token."""
    rng = np.random.default_rng([seed, 4])
    first = rng.choice(list(PLAIN), n)
    ids = torch.from_numpy(np.c_[first, texts(chain(seed), first, PROMPT - 1, rng)])
    generator, kl = torch.Generator().manual_seed(seed), torch.zeros(n)
    for _ in range(LENGTH):
        log_pi, log_ref = (model(ids).logits[:, -1].log_softmax(1) for model in (policy.model, lm.model))
        kl += (log_pi.exp() * (log_pi - log_ref)).sum(1)
        ids = torch.cat([ids, torch.multinomial(log_pi.exp(), 1, generator=generator)], 1)
    return float(worth(ids[:, PROMPT:].numpy()).mean()), float(kl.mean())

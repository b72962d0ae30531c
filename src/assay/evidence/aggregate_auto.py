"""The default aggregator: five beliefs that see different things, some at a temperature, in a weighted mean.

    belief = 0.9 * sum over m of weight[m] * tempered belief[m] + 0.1 * what the next person would answer

`opinions` sees how much people differ from task to task, Dawid-Skene who confuses what, GLAD who is skilled and what is
hard, MACE who does not look; the next answer assumes least. Temperatures and weights are those that best predict votes
held out; known classes choose nothing. A member that tells the tasks apart less than plain shares do has no say: a
worker model may explain votes well by holding that nobody looks. The last term is the chance that the class wanted is
an answer like any other: no vote can exclude it, and it bounds the loss where crowd and judge differ. With few votes
the weights stay equal.
`bench/aggregate/soft_ensemble.py` compares it with every method.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import entropy

from assay.aggregate.dawid_skene import DawidSkene
from assay.aggregate.glad import GLAD
from assay.aggregate.mace import MACE
from assay.aggregate.opinions import Opinions
from assay.aggregate.soft_ensemble import SoftEnsemble
from assay.kernels.vote_scores import (
    FLOOR,
    TEMPERATURES,
    Answers,
    Cast,
    best_temperature,
    chances,
    evenness,
    held_out,
    stack,
    tempered_chances,
)
from assay.labels import Soft, Votes

Floats = npt.NDArray[np.float64]

MODELS: dict[str, Callable[[], Any]] = {
    "dawid_skene": lambda: DawidSkene(smoothing=10.0),  # leans more on the average worker than by default
    "glad": GLAD,
    "mace": MACE,
}
"""Members that model workers; the others are "opinions" and "next_vote"."""
NEXT_VOTE = 0.1
"""Least weight of what the next person would answer."""
ENOUGH = 2_000  # held-out votes; where tasks are fewer, other votes on them are held out in further rounds
ROUNDS = 5  # at most
PRIOR = 10.0  # held-out votes that speak for equal weights
TELLING = 2 / 3  # least that a member tells of the tasks, as a share of what the next answer tells; see `telling`
LARGEST = 200_000  # tasks on which weights and temperatures are learned
UNEVEN, ALIKE, FEW = 0.5, 0.2, 30  # see `selected`


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Votes seen, and one held-out vote of each task that has two (h,), in the same codes."""

    seen: Votes
    held: Cast

    def chance_of_answers(self, belief: npt.NDArray[np.floating[Any]]) -> Floats:
        """Probability (h, k) of each answer in place of the held-out vote, by a belief (n, k) formed on `seen`."""
        return Answers(cast(self.seen), belief, self.seen.n_workers).distribution(self.held, belief)


@dataclass(frozen=True, slots=True, eq=False)
class Auto:
    """Weights and temperatures learned from votes.

    Parameters
    ----------
    weights, temperatures : by member; the weights sum to 1.
    n_held : votes held out.
    """

    weights: dict[str, float]
    temperatures: dict[str, float]
    n_held: int

    def fit(self, votes: Votes) -> SoftEnsemble:
        """Fit every member to all votes and combine their beliefs."""
        return self.combine(votes, beliefs_of(votes))

    def combine(self, votes: Votes, beliefs: dict[str, Soft]) -> SoftEnsemble:
        """Combine beliefs that the members formed on `votes`."""
        return SoftEnsemble(weights=self.weights, temperatures=self.temperatures).fit(votes, beliefs)

    @property
    def why(self) -> str:
        """What was chosen, in a sentence."""
        parts = [
            f"{name} {self.weights[name]:.0%}"
            + (f" at temperature {self.temperatures[name]:g}" if self.temperatures[name] != 1 else "")
            for name in sorted(self.weights, key=lambda name: -self.weights[name])
            if self.weights[name]
        ]
        learned = f"weights by how {self.n_held:,} held-out votes are predicted" if self.n_held else "equal weights"
        return f"the mean of {', '.join(parts)}; {learned}"


def beliefs_of(votes: Votes) -> dict[str, Soft]:
    """What each member believes of the tasks, and "next_vote"."""
    opinions = Opinions().fit(votes)
    beliefs = {"opinions": opinions.belief_, "next_vote": Soft(votes.space, opinions.next_vote_)}
    return beliefs | {name: make().fit(votes).belief_ for name, make in MODELS.items()}


def learn(splits: list[Split], beliefs: list[dict[str, Soft]]) -> Auto:
    """Choose weights and temperatures, from beliefs that the members formed on the seen votes of each split."""
    pairs = list(zip(splits, beliefs, strict=True))
    # The opinions foretell votes by themselves; all others do by what their workers say.
    own = [belief["next_vote"].p[split.held.task, split.held.label] for split, belief in pairs]
    plain = [chances(cast(s.seen), s.held, belief["next_vote"].p, s.seen.n_workers) for s, belief in pairs]
    by_member = {
        "opinions": np.maximum(np.concatenate([np.zeros(0), *own]), FLOOR),
        "next_vote": np.concatenate([np.zeros(0), *plain]),
    }
    temperatures = dict.fromkeys([*by_member, *MODELS], 1.0)
    heard = [name for name in MODELS if all(telling(belief, name) for belief in beliefs)]
    for name in heard:
        parts = [tempered_chances(cast(s.seen), s.held, belief[name].p, s.seen.n_workers) for s, belief in pairs]
        found = np.concatenate([np.zeros((len(TEMPERATURES), 0)), *parts], axis=1)
        best = best_temperature(found)
        temperatures[name], by_member[name] = TEMPERATURES[best], found[best]
    # Rounds repeat the same tasks, so they speak as one.
    stacked = stack(np.stack(list(by_member.values()), axis=1), PRIOR * max(len(splits), 1))
    weights = dict.fromkeys(temperatures, 0.0)
    weights |= {name: (1 - NEXT_VOTE) * float(weight) for name, weight in zip(by_member, stacked, strict=True)}
    weights["next_vote"] += NEXT_VOTE
    return Auto(weights, temperatures, len(by_member["opinions"]))


def telling(beliefs: dict[str, Soft], name: str) -> bool:
    """Whether a member's belief differs from task to task: by its information about the tasks, in nats."""
    own, plain = (_information(beliefs[member].p) for member in (name, "next_vote"))
    return own >= TELLING * plain


def _information(p: npt.NDArray[np.floating[Any]]) -> float:
    """Mean divergence of the rows (n, k) from their mean, in nats."""
    return float(entropy(p.mean(axis=0)) - entropy(p, axis=1).mean())


def split_votes(votes: Votes, random_state: int = 0) -> list[Split]:
    """Hold out one vote of each task that has two, in several rounds where tasks are few; no split without such tasks.

    Of many tasks a random part is taken. Votes of weight 0 are left out.
    """
    rng = np.random.default_rng(random_state)
    n_votes = np.bincount(votes.task if votes.weight is None else votes.task[votes.weight > 0], minlength=votes.n_rows)
    several = int((n_votes > 1).sum())
    if not several:
        return []
    if votes.n_rows > LARGEST:
        several = min(several, LARGEST)
        tasks = rng.permutation(np.flatnonzero(n_votes > 1))[:LARGEST]
        votes = votes.take(np.sort(tasks))
    if votes.weight is not None:
        votes = chosen(votes, votes.weight > 0)
    splits = []
    for _ in range(min(ROUNDS, -(-ENOUGH // several))):
        held = held_out(cast(votes), votes.n_rows, int(rng.integers(2**31)))
        splits.append(Split(chosen(votes, ~held), cast(votes).take(held)))
    return splits


def selected(votes: Votes) -> bool:
    """Whether the tasks seem chosen by how their voters agreed: no more agreement than chance, but all tasks alike."""
    counts = votes.counts()
    alpha, spread = evenness(counts)
    return bool((counts.sum(axis=1) >= 3).sum() >= FEW and alpha < ALIKE and spread < UNEVEN)


def cast(votes: Votes) -> Cast:
    """The columns of the votes, as kernels take them."""
    return Cast(votes.task, votes.worker, votes.label, votes.weight)


def chosen(votes: Votes, which: npt.NDArray[np.bool_]) -> Votes:
    """The chosen votes (v,) bool; every task and worker stays known."""
    columns = cast(votes).take(which)
    return Votes(votes.space, *columns[:3], votes.task_ids, votes.worker_ids, weight=columns.weight)

"""The verb `aggregate`: from votes to one belief, with how good it is, who voted well, and what stays open.

Composes the methods of the aggregate stage, which do not know each other. The default method, "auto", is explained in
`assay.evidence.aggregate_auto`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from assay.aggregate import task_evidence
from assay.aggregate.bayesian_dawid_skene import BayesianDawidSkene
from assay.aggregate.correlated_sources import CorrelatedSources
from assay.aggregate.dawid_skene import DawidSkene
from assay.aggregate.glad import GLAD
from assay.aggregate.mace import MACE
from assay.aggregate.majority import Majority
from assay.aggregate.one_coin import OneCoin
from assay.aggregate.opinions import Opinions, agreement_with
from assay.aggregate.wawa import Wawa
from assay.aggregate.zero_based_skill import ZeroBasedSkill
from assay.errors import InputError
from assay.evidence.aggregate_auto import Split, beliefs_of, cast, learn, selected, split_votes
from assay.kernels.calibration import brier, ece, nll
from assay.labels import Hard, Soft, Votes

Belief = npt.NDArray[np.floating[Any]]
Columns = dict[str, npt.NDArray[Any]]
Target = Literal["truth", "next_vote"]

METHODS: dict[str, Callable[[], Any]] = {
    "majority": Majority,
    "softmax": lambda: Majority("softmax"),
    "wawa": Wawa,
    "zero_based_skill": ZeroBasedSkill,
    "one_coin": OneCoin,
    "dawid_skene": DawidSkene,
    "bayesian_dawid_skene": BayesianDawidSkene,
    "glad": GLAD,
    "mace": MACE,
    "opinions": Opinions,
    "next_vote": lambda: Opinions("next_vote"),
    "correlated_sources": CorrelatedSources,
}
"""What a name stands for, each with its defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How good the probabilities are: lower is better for all three.

    Parameters
    ----------
    against : "known classes"; or "held-out votes", which a belief formed without them predicts by what their workers
        say when it holds true. "votes seen" where no task has two, which flatters.
    n : how many of them.
    log_loss, brier, ece : mean negative log-likelihood in nats, squared distance, expected calibration error.
    """

    against: str
    n: int
    log_loss: float
    brier: float
    ece: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregation:
    """What the votes came to.

    Parameters
    ----------
    method : the method asked for.
    why : what it did, in a sentence.
    belief : Soft (n, k), a row a task.
    calibration : how good the belief is.
    members : of "auto": `worker` (the member), `weight`, `temperature`, `divergence` from the belief; None otherwise.
    workers : a row a worker, as the method gives them.
    tasks : a row a task: `task`, `n_votes`, `entropy`, `margin`, `top`.
    warnings : what makes the numbers doubtful.
    """

    method: str
    why: str
    belief: Soft
    calibration: Calibration
    members: Columns | None
    workers: Columns
    tasks: Columns
    warnings: tuple[str, ...]

    def disputed(self, n: int) -> npt.NDArray[np.int64]:
        """Row numbers (n,) of the tasks of which the belief is least sure, the worst first."""
        order: npt.NDArray[np.int64] = np.argsort(-self.tasks["entropy"], kind="stable")
        return order[:n]


def aggregate(
    votes: Votes,
    method: str = "auto",
    *,
    gold: Hard | None = None,
    target: Target = "truth",
    random_state: int = 0,
) -> Aggregation:
    """Turn votes into one belief for each task.

    Parameters
    ----------
    votes : n tasks, w workers, k classes.
    method : "auto", or a name of `METHODS`.
    gold : known classes (n,), masked where unknown. They score the belief and choose nothing.
    target : what "auto" believes in: the "truth" of a task, or the shares of the answers that people give to it
        ("next_vote"), for tasks on which people may rightly differ.
    random_state : seed of the votes held out.

    Raises
    ------
    InputError : an unknown method, no votes, or gold of another space or length.

    Examples
    --------
    >>> votes = Votes.from_long(list("aaabbbccc"), list("xyzxyzxyz"), list("nnnyyynny"))
    >>> aggregate(votes, "majority").belief.p.round(2).tolist()
    [[1.0, 0.0], [0.0, 1.0], [0.67, 0.33]]
    """
    check(votes, method, gold, target)
    warnings = doubts(votes)
    if method != "auto":
        return _with(votes, method, method, "its defaults", gold, warnings, random_state)
    if selected(votes):
        warnings.append(
            "Votes agree no more than by chance, and equally often on every task: the tasks seem chosen by how their "
            "voters agreed, so their votes do not tell how reliable people are, and nothing is learned from them."
        )
        return _with(votes, method, "softmax", "each vote multiplies the odds of its class by e", gold, warnings, 0)
    if target == "next_vote":
        why = "what the next person would answer: vote shares, shrunk as far as people differ"
        return _with(votes, method, "next_vote", why, gold, warnings, random_state)
    splits = split_votes(votes, random_state)
    formed = [beliefs_of(split.seen) for split in splits]
    auto = learn(splits, formed)
    ensemble = auto.fit(votes)
    if gold is None or not gold.present.any():
        combined = [auto.combine(split.seen, some).belief_.p for split, some in zip(splits, formed, strict=True)]
        found = by_votes(splits, combined) if splits else in_sample(votes, ensemble.belief_)
    else:
        found = by_gold(ensemble.belief_, gold)
    return Aggregation(
        method=method,
        why=auto.why,
        belief=ensemble.belief_,
        calibration=found,
        members=ensemble.workers(),
        workers=agreement_with(votes, ensemble.belief_.p),
        tasks=task_evidence(votes, ensemble.belief_.p),
        warnings=tuple(warnings),
    )


def check(votes: Votes, method: str, gold: Hard | None, target: str) -> None:
    """Refuse what cannot be aggregated, in one sentence."""
    if method != "auto" and method not in METHODS:
        raise InputError(f"Unknown method {method!r}: expected 'auto' or one of {', '.join(METHODS)}.")
    if target not in ("truth", "next_vote"):
        raise InputError(f"target must be 'truth' or 'next_vote', got {target!r}.")
    if not votes.n_votes or not votes.space.n_classes or (votes.weight is not None and not (votes.weight > 0).any()):
        raise InputError(f"There is no vote that counts on any of the {votes.n_rows} tasks: nothing to aggregate.")
    if gold is not None:
        votes.space.require(gold.space)
        if gold.n_rows != votes.n_rows:
            raise InputError(f"gold has {gold.n_rows} rows for {votes.n_rows} tasks: give one row a task.")


def doubts(votes: Votes) -> list[str]:
    """What makes any belief from these votes doubtful."""
    cast_on = np.bincount(votes.task, minlength=votes.n_rows)
    found = []
    if (cast_on < 2).all():
        found.append("No task has two votes: nobody can be held against anybody, and the belief rests on assumptions.")
    if (cast_on == 0).any():
        found.append(
            f"{int((cast_on == 0).sum()):,} tasks have no vote: their belief is that of a task like any other."
        )
    if votes.space.n_classes == 1:
        found.append("There is one class: every belief is certain and says nothing.")
    return found


def by_gold(belief: Soft, gold: Hard) -> Calibration:
    """Score a belief on the tasks with a known class."""
    there = gold.present
    return _scored("known classes", belief.p[there], gold.y[there])


def by_votes(splits: list[Split], beliefs: list[Belief]) -> Calibration:
    """Score beliefs (n, k), each formed on the seen votes of a split, on the votes held out."""
    chances = [split.chance_of_answers(belief) for split, belief in zip(splits, beliefs, strict=True)]
    return _scored("held-out votes", np.concatenate(chances), np.concatenate([split.held.label for split in splits]))


def in_sample(votes: Votes, belief: Soft) -> Calibration:
    """Score a belief on the votes that it was formed from, where there is nothing else."""
    chances = Split(votes, cast(votes)).chance_of_answers(belief.p)
    return _scored("votes seen", chances, votes.label)


def _scored(against: str, p: Belief, y: npt.NDArray[Any]) -> Calibration:
    p = np.clip(p / p.sum(axis=1, keepdims=True), 0.0, 1.0)
    return Calibration(against=against, n=len(y), log_loss=nll(p, y), brier=brier(p, y), ece=ece(p, y))


def _with(
    votes: Votes, asked: str, name: str, why: str, gold: Hard | None, warnings: list[str], random_state: int
) -> Aggregation:
    """Aggregate with one method of `METHODS`."""
    model = METHODS[name]().fit(votes)
    splits = [] if gold is not None and gold.present.any() else split_votes(votes, random_state)
    if gold is not None and gold.present.any():
        found = by_gold(model.belief_, gold)
    elif splits and name == "next_vote":  # it is about votes, so nothing stands between
        rows = [METHODS[name]().fit(split.seen).belief_.p[split.held.task] for split in splits]
        found = _scored("held-out votes", np.concatenate(rows), np.concatenate([split.held.label for split in splits]))
    elif splits:
        found = by_votes(splits, [METHODS[name]().fit(split.seen).belief_.p for split in splits])
    else:
        found = in_sample(votes, model.belief_)
    return Aggregation(
        method=asked,
        why=why,
        belief=model.belief_,
        calibration=found,
        members=None,
        workers=model.workers(),
        tasks=model.evidence(),
        warnings=tuple(warnings),
    )

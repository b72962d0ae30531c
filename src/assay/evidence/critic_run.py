"""The verb `critic`: a judge is made, the candidates of a table are judged, and what came of it is measured.

Composes the critic with a judge, and with Bradley-Terry for the order of the candidates; known labels measure both, by
judges that have not seen them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.aggregate.bradley_terry import BradleyTerry
from assay.aggregate.critic import LabelCritic, candidates_of
from assay.errors import InputError
from assay.evidence.critic_source import CandidateSource
from assay.kernels.dual_verdicts import dual_accuracy, error_of_coverage
from assay.kernels.intervals import wilson
from assay.training.judges import Answer, Candidate, Case, Judge
from assay.training.judges.classifier import ClassifierJudge
from assay.training.judges.endpoint import EndpointJudge
from assay.training.judges.kinds import equal, likeness
from assay.training.judges.rules import RulesJudge

Floats = npt.NDArray[np.float64]
ALIKE = 0.8  # likeness from which a mask counts as right
NEAREST = 50  # known rows that tell how often a label with such a score is wrong
ROUTES = ("adopt", "edit", "review")


@dataclass(frozen=True, kw_only=True)
class CriticOptions:
    """How candidates are judged.

    Parameters
    ----------
    judge : "rules", "classifier", a folder with a model, or the address of a server.
    model : name of the model on the server.
    key : environment variable that holds the server's key.
    criteria : what a good label is like, for language models.
    price : of one call.
    alike, conservative, check, budget, jobs : see `LabelCritic`.
    seed : of the folds of known labels.
    """

    judge: str = "classifier"
    model: str = "default"
    key: str = "ASSAY_API_KEY"
    criteria: str | None = None
    price: float = 0.0
    alike: float = 1.01
    conservative: bool = False
    check: bool = True
    budget: int | None = None
    jobs: int = 1
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Criticism:
    """What came of it.

    Attributes
    ----------
    critic : fitted.
    best : (n,) source whose label the row ends with: the winner, or where there is none the source in use (the first).
    p_wrong, low, high : (n,) chance that the label in use is wrong, and its 95 % interval; nan where nothing is known.
    right : (n, m) 1 where the label of a source is right, 0 where it is wrong, nan where that is not known.
    strength : (m, 3) score of each source in the comparisons with its interval; None when nothing was compared.
    error : the judge's error in one order that its own disagreements speak of, if they were independent.
    """

    source: CandidateSource
    options: CriticOptions
    critic: LabelCritic
    best: npt.NDArray[np.int64]
    p_wrong: Floats
    low: Floats
    high: Floats
    right: Floats
    strength: Floats | None
    error: float

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Which rows (n,) have a known label."""
        return np.asarray(~np.isnan(self.right[:, 0]))

    def quality(self, source: npt.NDArray[np.int64], rows: npt.NDArray[np.bool_]) -> tuple[int, int]:
        """Of the known rows among `rows` (n,): how many are right with the label of `source` (n,), and their number."""
        right = self.right[np.arange(len(source)), source]
        counted = rows & self.known
        return int(np.nansum(right[counted])), int(counted.sum())


def criticise(
    source: CandidateSource, options: CriticOptions, progress: Callable[[str, float], None] | None = None
) -> Criticism:
    """Judge the candidates of `source`.

    Raises
    ------
    InputError : a judge that learns and no accepted labels, too few of them, an address or a folder that is none.
    """
    tell = progress or (lambda _step, _done: None)
    cases, candidates = candidates_of(source.labels, source.cases)
    tell("learning", 0.0)
    judge = judge_of(options, source, cases, candidates)
    tell("learning", 1.0)
    critic = LabelCritic(
        _Told(judge, tell, len(cases)),
        conservative=options.conservative,
        alike=options.alike,
        check=options.check,
        budget=options.budget,
        n_jobs=options.jobs,
    ).fit(source.labels, cases)
    right = _right(source)
    best = np.where(critic.choice_ >= 0, critic.choice_, 0)
    pairs = critic.pairs_["verdict"]
    error = error_of_coverage(float((pairs != 0).mean())) if len(pairs) else float("nan")
    p, low, high = _chance_wrong(critic, right, error)
    strength = None
    if len(pairs) and len(source.labels) > 1:
        ranked = BradleyTerry().fit(critic.preferences())
        spread = np.zeros_like(ranked.scores_) if ranked.sd_ is None else 1.96 * ranked.sd_
        strength = np.stack([ranked.scores_, ranked.scores_ - spread, ranked.scores_ + spread], axis=1)
    return Criticism(source, options, critic, best, p, low, high, right, strength, error)


def judge_of(
    options: CriticOptions, source: CandidateSource, cases: list[Case], candidates: list[list[Candidate]]
) -> Judge:
    """The judge asked for, taught where it learns."""
    if options.judge in ("rules", "classifier"):
        if source.accepted is None:
            raise InputError(
                f"The judge {options.judge!r} learns from labels that are known to be good: name their column with "
                "--accepted, or give --judge a folder with a model or the address of a server."
            )
        rows = [row for row, value in enumerate(source.accepted) if value is not None]
        known = [source.accepted[row] for row in rows]
        if options.judge == "rules":
            return RulesJudge().fit([cases[row] for row in rows], known)
        judge = ClassifierJudge(random_state=options.seed)
        return judge.fit([cases[row] for row in rows], [candidates[row] for row in rows], known)
    if "://" in options.judge:
        return EndpointJudge(options.judge, options.model, options.key, options.criteria, options.price)
    if not Path(options.judge).is_dir():
        raise InputError(
            f"There is no judge {options.judge!r}: it is rules, classifier, a folder with a model, or an address that "
            "begins with http:// or https://."
        )
    from assay.training.judges.local_model import LocalModelJudge

    return LocalModelJudge(options.judge, options.criteria, price=options.price)


class _Told:
    """A judge that says how far it has come."""

    def __init__(self, judge: Judge, tell: Callable[[str, float], None], n_rows: int) -> None:
        self.name, self.price = judge.name, judge.price
        self._judge, self._tell, self._n = judge, tell, max(n_rows, 1)

    def compare(self, case: Case, first: Candidate, second: Candidate) -> Answer:
        self._tell("judging", case.row / self._n)
        return self._judge.compare(case, first, second)

    def check(self, case: Case, candidate: Candidate) -> Answer:
        self._tell("judging", case.row / self._n)
        return self._judge.check(case, candidate)

    def present(self, case: Case) -> Answer:
        return self._judge.present(case)


def _right(source: CandidateSource) -> Floats:
    """Whether each source (n, m) is right, where that is known; no label where one is known is wrong."""
    right = np.full((source.n_rows, len(source.labels)), np.nan)
    if source.accepted is not None:
        for at, column in enumerate(source.labels.values()):
            for row, (value, truth) in enumerate(zip(column, source.accepted, strict=True)):
                if truth is not None:
                    right[row, at] = value is not None and _same(value, truth)
    return right


def _same(value: Any, truth: Any) -> bool:
    return likeness(value, truth) >= ALIKE if isinstance(value, np.ndarray) else equal(value, truth)


def _chance_wrong(critic: LabelCritic, right: Floats, error: float) -> tuple[Floats, Floats, Floats]:
    """Chance (n,) that the label in use, the first source's, is wrong; with 95 % intervals.

    Measured on the 50 known rows (all, where there are fewer) nearest in score, among those in which the label in use
    won, lost, or nothing did. Without known rows only the closed form for independent errors is left.
    """
    best = np.max(np.nan_to_num(critic.points_, nan=-1.0), axis=1)
    state = np.where(critic.choice_ < 0, 0, np.where(critic.points_[:, 0] == best, 1, 2))  # equal labels win together
    p, low, high = (np.full(len(state), np.nan) for _ in range(3))
    known = ~np.isnan(right[:, 0])
    score = np.where(np.isfinite(critic.score_), critic.score_, 0.0)
    for at in range(3):
        rows, taught = np.flatnonzero(state == at), np.flatnonzero((state == at) & known)
        if len(taught):
            taught = taught[np.argsort(score[taught], kind="stable")]
            wrong = np.concatenate([[0.0], np.cumsum(1 - right[taught, 0])])
            size = min(NEAREST, len(taught))
            start = np.clip(np.searchsorted(score[taught], score[rows]) - size // 2, 0, len(taught) - size)
            count = wrong[start + size] - wrong[start]
            p[rows] = (count + 0.5) / (size + 1)
            low[rows], high[rows] = wilson(count, size)
    if not known.any():
        accuracy = float(dual_accuracy(error)) if np.isfinite(error) else np.nan
        compared = critic.reason_ == "compared"
        p[compared] = np.where(state[compared] == 1, 1 - accuracy, accuracy)
        p[critic.reason_ == "uncertain"] = 0.5
    return p, low, high

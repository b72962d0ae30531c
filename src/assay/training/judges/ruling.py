"""From a judge's answers about one row to a ruling: which label, and whether to adopt it, mend it or ask a person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.kernels.dual_verdicts import UNSURE, copeland, dual_verdict
from assay.training.judges import BAD, GOOD, NO, Answer, Candidate, Case
from assay.training.judges.kinds import empty, equal, likeness
from assay.training.judges.purse import Purse

ADOPT, EDIT, REVIEW = "adopt", "edit", "review"
LONGEST = 500  # characters of an answer that go into the ledger


@dataclass(frozen=True)
class Pair:
    """One comparison: sources `a` and `b`, the answers with a first and with b first, and the verdict."""

    a: int
    b: int
    asked: Answer
    swapped: Answer
    verdict: int

    @property
    def numbers(self) -> tuple[int, int, int, int, int]:
        """Sources, answers and verdict."""
        return self.a, self.b, self.asked.said, self.swapped.said, self.verdict


@dataclass
class Ruling:
    """What came of one row; `points` and `group` tell how the groups of equal labels did."""

    choice: int = -1
    value: Any = None
    route: str = REVIEW
    reason: str = "no label"
    score: float = -np.inf
    points: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    group: dict[int, int] = field(default_factory=dict)
    pairs: list[Pair] = field(default_factory=list)
    present: Answer | None = None
    checked: Answer | None = None
    calls: int = 0

    def as_json(self, sources: Sequence[str]) -> dict[str, Any]:
        """The evidence of the ruling for the ledger."""
        return {
            "choice": sources[self.choice] if self.choice >= 0 else None,
            "route": self.route,
            "reason": self.reason,
            "pairs": [
                {
                    "a": sources[pair.a],
                    "b": sources[pair.b],
                    "verdict": pair.verdict,
                    "asked": _told(pair.asked),
                    "swapped": _told(pair.swapped),
                }
                for pair in self.pairs
            ],
            "check": None if self.checked is None else _told(self.checked),
            "present": None if self.present is None else _told(self.present),
        }


def _told(answer: Answer) -> list[Any]:
    return [answer.said, answer.text[:LONGEST]]


def settle(
    case: Case, candidates: Sequence[Candidate], purse: Purse, alike: float, conservative: bool, check: bool
) -> Ruling:
    """Rule on one row; see `assay.aggregate.critic` for what the words mean."""
    ruling = Ruling()
    if not candidates:
        return ruling
    groups: list[Candidate] = []  # one of each set of equal labels, the first
    for one in candidates:
        at = next((i for i, other in enumerate(groups) if equal(one.value, other.value)), len(groups))
        ruling.group[one.source] = at
        groups += [one] if at == len(groups) else []
    ruling.points = np.full(len(groups), 0.5)
    nothing = [empty(one.value) for one in groups]
    absent = False
    if any(nothing) or case.kind == "mask":
        ruling.present = _ask(ruling, purse, lambda: purse.present(case))
        absent = ruling.present is not None and ruling.present.said == NO
    winner = _winner(case, groups, ruling, purse, alike, conservative, absent)
    if winner < 0:
        return ruling
    best = groups[winner]
    ruling.choice, ruling.value = best.source, best.value
    if absent and not nothing[winner]:  # equal labels of something that is not there
        ruling.route, ruling.reason = EDIT, "absent"
    elif not check or (absent and nothing[winner]):
        ruling.route = ADOPT
    else:
        ruling.checked = _ask(ruling, purse, lambda: purse.check(case, best))
        said = ruling.checked.said if ruling.checked is not None else UNSURE
        ruling.route = {GOOD: ADOPT, BAD: EDIT}.get(said, REVIEW)
    leans = [_lean(pair, ruling.group, winner) for pair in ruling.pairs]
    if ruling.checked is not None and ruling.checked.score is not None:
        leans = [ruling.checked.score]
    ruling.score = float(np.mean(leans)) if leans else 0.0
    return ruling


def _winner(
    case: Case,
    groups: list[Candidate],
    ruling: Ruling,
    purse: Purse,
    alike: float,
    conservative: bool,
    absent: bool,
) -> int:
    """The group that won, -1 for none; writes the reason, the pairs and the points."""
    if len(groups) == 1:
        ruling.reason = "equal" if len(ruling.group) > 1 else "only"
        return 0
    if absent:
        ruling.reason = "absent"
        nothing = [at for at, one in enumerate(groups) if empty(one.value)]
        return nothing[0] if nothing else -1
    m = len(groups)
    verdicts, near = np.zeros((m, m), dtype=np.int8), np.eye(m, dtype=bool)
    for i, j in combinations(range(m), 2):
        near[i, j] = near[j, i] = alike <= 1 and likeness(groups[i].value, groups[j].value) >= alike
    apart = [pair for pair in combinations(range(m), 2) if not near[pair]]
    if not purse.reserve(2 * len(apart)):  # half a round robin says nothing of who won
        ruling.reason = "uncertain"
        return -1
    for i, j in apart:
        a, b = groups[i], groups[j]
        asked, swapped = purse.compare(case, a, b), purse.compare(case, b, a)
        ruling.calls += 2
        verdicts[i, j] = dual_verdict([asked.said], [swapped.said], conservative)[0]
        ruling.pairs.append(Pair(a.source, b.source, asked, swapped, int(verdicts[i, j])))
    won = copeland(verdicts)
    ruling.points = won / (m - 1)
    top = np.flatnonzero(won == won.max())
    if not near[np.ix_(top, top)].all():
        ruling.reason = "uncertain"
        return -1
    ruling.reason = "compared" if ruling.pairs and (verdicts[top[0]] + verdicts[:, top[0]]).any() else "alike"
    return int(max(top, key=lambda at: (groups[at].support, -groups[at].source)))


def _lean(pair: Pair, group: dict[int, int], winner: int) -> float:
    """How strongly a pair leans to the winner: mean of both orders' scores, or the verdict itself."""
    sides = (group[pair.a] == winner) - (group[pair.b] == winner)
    if pair.asked.score is not None and pair.swapped.score is not None:
        return sides * (pair.asked.score - pair.swapped.score) / 2
    return float(sides * {0: 0, 1: 1, 2: -1}[pair.verdict])


def _ask(ruling: Ruling, purse: Purse, ask: Callable[[], Answer]) -> Answer | None:
    """One call, None when the budget does not reach."""
    if not purse.reserve(1):
        return None
    ruling.calls += 1
    return ask()

"""Where each row stands: nobody looked, decided, waiting for a second look, in dispute.

A row stands as the decisions in force say, by the rule of `assay.labels.standing`: the last adjudication alone;
without one, what more than half of its reviewers want. Reviewers contradict each other where they differ on whether the
given label is wrong, and disagree where they differ on the label that is right. A skip says nothing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assay.labels.standing import ADJUDICATION
from assay.labels.verdicts import Verdict
from assay.review.store import Decision, Role

WRONG = (Verdict.SUGGESTED, Verdict.OTHER, Verdict.NEITHER)


class Outcome(NamedTuple):
    """What a verdict comes to: whether the given label is wrong, and the label that is right when it is known."""

    wrong: bool
    label: str | None


class Standing(NamedTuple):
    """What the decisions on a row come to.

    Parameters
    ----------
    votes : the blind decisions in force but skips, one a reviewer, oldest first.
    outcomes : of the votes.
    wrong : whether the label is wrong; None while that is not decided.
    dispute : whether an adjudication is wanted.
    """

    votes: tuple[Decision, ...]
    outcomes: tuple[Outcome, ...]
    wrong: bool | None
    dispute: bool


class Board:
    """Rows and the decisions on them; not thread-safe.

    Parameters
    ----------
    present : (n,) rows that have a label.
    suggested : row -> name of the label that reviewers are shown as suggested, for verdicts that do not name it.
    double : share of rows, picked by a hash of `seed` and the row, that get a blind second look.
    """

    def __init__(
        self,
        present: npt.NDArray[np.bool_],
        suggested: Callable[[int], str | None],
        double: float,
        seed: int,
    ) -> None:
        self.suggested, self.double, self.seed = suggested, double, seed
        self.open = present.copy()  # rows on which nobody has decided
        self.looks: dict[int, list[Decision]] = {}  # row -> decisions in force, oldest first
        self.standing: dict[int, Standing] = {}  # rows of `looks`
        self.events: dict[int, Decision] = {}  # in force
        self.judged: dict[int, bool] = {}  # row -> wrong
        self.undecided: set[int] = set()  # rows that were looked at and are not judged
        self.waiting: dict[int, Standing] = {}  # chosen rows that want a second look, longest waiting first
        self.single: dict[int, Standing] = {}  # the other rows that one person looked at
        self.disputes: dict[int, Standing] = {}
        self.pairs: dict[int, tuple[Outcome, Outcome]] = {}  # chosen row -> what its first two reviewers said
        self.n_looks: Counter[str] = Counter()  # reviewer -> decisions in force but skips
        self.skipped: dict[str, set[int]] = {}  # reviewer -> rows
        self.n_begun = self.n_random = self.n_second = 0  # rows that somebody decided; drawn at random; seen twice
        self.seconds: dict[str, list[float]] = {}  # role -> how long decisions took

    def put(self, decision: Decision) -> None:
        """Take in a decision; the same event again is nothing."""
        if decision.event in self.events:
            return
        before = self.looks.get(decision.row, [])
        key = decision.reviewer, decision.role == ADJUDICATION
        for old in [each for each in before if (each.reviewer, each.role == ADJUDICATION) == key]:
            self.take_back(old.event)
        self.events[decision.event] = decision
        if decision.seconds is not None and decision.verdict != Verdict.SKIP:
            self.seconds.setdefault(decision.role, []).append(decision.seconds)
        self._stand(decision.row, [*self.looks.get(decision.row, []), decision])

    def take_back(self, event: int) -> None:
        """Forget the decision of an event."""
        gone = self.events.pop(event, None)
        if gone is not None:
            self._stand(gone.row, [each for each in self.looks[gone.row] if each is not gone])

    def chosen(self, row: int) -> bool:
        """Whether the row is to have a blind second look, whoever reviews it."""
        digest = hashlib.blake2b(f"{self.seed}:{row}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") < self.double * 2**64

    def may(self, row: int, reviewer: str, role: Role, around: Collection[str]) -> bool:
        """Whether a row that wants a look in this role may have it from this reviewer.

        A dispute is for a third person; for either of the two where nobody else is `around`.
        """
        looks = self.looks.get(row, ())
        by = {each.reviewer for each in looks}
        if reviewer not in by:
            return True
        own = [each for each in looks if each.reviewer == reviewer]
        blind = all(each.role != ADJUDICATION and each.verdict != Verdict.SKIP for each in own)
        return role == ADJUDICATION and blind and by.issuperset(around)

    def role(self, row: int, reviewer: str, asked: Role) -> Role | None:
        """The role that a decision of this reviewer on a row has now; None where none is wanted.

        Whoever judged a row blind while another did so, as when a lease ran out, was a second reviewer.
        """
        found = self.standing.get(row)
        if self.open[row] or found is None:
            return "first"
        judged = any(each.reviewer == reviewer for each in found.votes)
        if row in self.disputes and (asked == ADJUDICATION or not judged):
            return "adjudication"
        settled = any(each.role == ADJUDICATION and each.verdict != Verdict.SKIP for each in self.looks[row])
        return "second" if len(found.votes) == 1 and not judged and not settled else None

    def place(self, decision: Decision, replaces: str | None = None) -> tuple[Role | None, Decision | None]:
        """The role that a decision has now, None where none is wanted; and the reviewer's own on the row that goes.

        `replaces` is the key of that one, which is forgotten here. A decision that is here already keeps its role.
        """
        row, reviewer = decision.row, decision.reviewer
        own = {each.key: each for each in self.looks.get(row, ()) if each.reviewer == reviewer}
        if decision.key and decision.key in own:
            return decision.role, None
        old = None if replaces is None else own.get(replaces)
        if old is not None:
            self.take_back(old.event)
        role = self.role(row, reviewer, decision.role)
        if role is None and old is not None:
            self.put(old)
            return None, None
        return role, old

    def outcome(self, decision: Decision) -> Outcome:
        """What a verdict that is no skip comes to."""
        label = decision.label
        if decision.verdict == Verdict.SUGGESTED and label is None:
            label = self.suggested(decision.row)
        wrong = decision.verdict in WRONG
        return Outcome(wrong, label if wrong and decision.verdict != Verdict.NEITHER else None)

    def _stand(self, row: int, looks: list[Decision]) -> None:
        looks = sorted(looks, key=lambda each: each.event)
        self._count(row, -1)
        for held in (self.looks, self.standing, self.judged, self.waiting, self.single, self.disputes, self.pairs):
            held.pop(row, None)
        self.undecided.discard(row)
        self.open[row] = True
        if not looks:
            return
        self.looks[row] = looks
        told = [each for each in looks if each.verdict != Verdict.SKIP]
        votes = tuple(each for each in told if each.role != ADJUDICATION)
        judges = [each for each in told if each.role == ADJUDICATION]
        outcomes = tuple(self.outcome(each) for each in votes)
        wrong, dispute = self._verdict(outcomes, judges)
        found = self.standing[row] = Standing(votes, outcomes, wrong, dispute)
        self.open[row] = not told
        if wrong is None:
            self.undecided.add(row)
        else:
            self.judged[row] = wrong
        if len(votes) >= 2 and (self.chosen(row) or self.double == 0):
            self.pairs[row] = outcomes[0], outcomes[1]
        if dispute:
            self.disputes[row] = found
        elif len(votes) == 1 and not judges:
            (self.waiting if self.chosen(row) else self.single)[row] = found
        self._count(row, 1)

    def _verdict(self, outcomes: tuple[Outcome, ...], judges: list[Decision]) -> tuple[bool | None, bool]:
        """Whether the label is wrong, or None, and whether an adjudication is wanted."""
        if judges:
            return self.outcome(judges[-1]).wrong, False
        bad, n = sum(each.wrong for each in outcomes), len(outcomes)
        most = max(Counter(outcomes).values(), default=0)
        return None if 2 * bad == n else 2 * bad > n, 2 * most <= n and n > 0

    def _count(self, row: int, by: int) -> None:
        found = self.standing.get(row)
        if found is None:
            return
        for each in self.looks[row]:
            if each.verdict != Verdict.SKIP:
                self.n_looks[each.reviewer] += by
            elif by > 0:
                self.skipped.setdefault(each.reviewer, set()).add(row)
            else:
                self.skipped[each.reviewer].discard(row)
        if not self.open[row]:
            self.n_begun += by
        if found.votes:
            self.n_random += by * (found.votes[0].sampled == "random")
            self.n_second += by * (len(found.votes) > 1)

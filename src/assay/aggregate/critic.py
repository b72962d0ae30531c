"""Choose the best of several machine labels for each row, and know which rows a person must look at.

Give it what two or more models (or engines, rules, prompts) say about the same rows, and a judge. The judge compares
two labels at a time, in both orders, since judges favour a place; only what it says of both orders counts. The winner
must then pass a check on its own, for of two bad labels one is still the better. The rest goes to a person.

Paper: Bassi, Wu, Li, Decherchi, Cavalli, Yuille, Zhou, "Label Critic: Design Data Before Models", ISBI 2025,
arXiv 2411.02753.

    verdict(a, b) = a  if the judge names a shown first and a shown second;  uncertain  if it names one place twice
    errors e independent between the orders:  accuracy = (1-e)^2 / ((1-e)^2 + e^2),  coverage = (1-e)^2 + e^2

When to use: several labels a row, a judge that is better than chance, people too dear for all rows. When not: votes
about classes by many workers (aggregate them: no judge is needed), or a judge made by the makers of a candidate.

Departures: more than two labels meet in a round robin scored by Copeland, an uncertain pair half a point to both, never
sorted by comparisons, which need not be transitive. Equal labels are one and are never compared; labels as like as
`alike` are not compared either. Whether there is anything to label is asked for masks, and where a label is empty. A
failing judge is unsure; after 20 failures in a row it is not asked any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from assay import __version__
from assay.errors import InputError
from assay.kernels.dual_verdicts import UNSURE
from assay.labels.events import Event
from assay.labels.preferences import Preferences
from assay.labels.spaces import Space
from assay.labels.votes import Votes
from assay.training.judges import Candidate, Case, Judge
from assay.training.judges.kinds import equal, likeness, read, shown
from assay.training.judges.purse import Purse
from assay.training.judges.ruling import ADOPT, Ruling, settle

METHOD = {
    "name": "critic",
    "title": "Label critic",
    "paper": "Bassi, Wu, Li, Decherchi, Cavalli, Yuille, Zhou, 2025, Label Critic: Design Data Before Models",
    "arxiv": "2411.02753",
    "accepts": ["hard", "tags", "masks", "text", "fields"],
    "gives": ["chosen labels", "votes", "preferences", "routing list", "ledger events"],
    "command": "assay critic CANDIDATES --labels MODEL_A,MODEL_B",
    "claim": "At equal minutes of people, its labels are at least as good as any single labeller's or their fusion.",
    "status": "experimental",
}

Floats = npt.NDArray[np.float64]


class LabelCritic(BaseEstimator):  # type: ignore[misc]
    """The better of several labels a row (n rows, m sources, p compared pairs).

    Parameters
    ----------
    judge : see `assay.training.judges`.
    conservative : leave a pair uncertain when one of the two answers is unusable, instead of taking the other.
    alike : likeness (Dice) from which two labels are not compared, since either will do; above 1 for equal ones only.
    check : let the winner pass a check of its own before it is adopted.
    budget : most calls of the judge; rows that it does not reach go to a person.
    n_jobs : rows judged at once, in threads, for judges that wait for a server.

    Attributes
    ----------
    choice_ : (n,) number of the source whose label won, -1 where none did.
    route_ : (n,) "adopt", "edit" (the best label fails the check: a person mends it), "review" (a person decides).
    reason_ : (n,) why: "equal", "alike", "compared", "only", "absent", "uncertain", "no label".
    score_ : (n,) how strongly the judge leans to the winner being good, on the judge's scale; -inf where nothing won.
    points_ : (n, m) share of its pairs that each source's label won; NaN where it gave none.
    pairs_ : a row a compared pair: `row`, `a`, `b` (sources), `asked`, `swapped` (answers), `verdict`.
    costs_ : a row a kind of call: `step`, `calls`, `unsure`, `failed`, `seconds`, `cost`.
    failure_ : what went wrong at the first call that failed, "" when none did.

    Examples
    --------
    >>> from assay.training.judges import Answer
    >>> class Longer:
    ...     name, price = "longer", 0.0
    ...     def compare(self, case, first, second):
    ...         return Answer(1 if len(first.value) > len(second.value) else 2)
    ...     def check(self, case, candidate):
    ...         return Answer(1)
    ...     def present(self, case):
    ...         return Answer(0)
    >>> critic = LabelCritic(Longer()).fit({"a": ["hi", "one"], "b": ["hello", "one"]}, kind="text")
    >>> critic.choice_.tolist(), critic.route_.tolist(), critic.reason_.tolist()
    ([1, 0], ['adopt', 'adopt'], ['compared', 'equal'])
    """

    def __init__(
        self,
        judge: Judge | None = None,
        conservative: bool = False,
        alike: float = 1.01,
        check: bool = True,
        budget: int | None = None,
        n_jobs: int = 1,
    ) -> None:
        self.judge = judge
        self.conservative = conservative
        self.alike = alike
        self.check = check
        self.budget = budget
        self.n_jobs = n_jobs

    def fit(
        self, labels: Mapping[str, Sequence[Any]], cases: Sequence[Case] | None = None, kind: str | None = None
    ) -> Self:
        """Judge the labels.

        Parameters
        ----------
        labels : of each source, its label for every row (n,); None where it gave none.
        cases : (n,) what the rows are; None for labels that are judged without their content.
        kind : of the labels, when there are no cases.
        """
        if self.judge is None:
            raise InputError("There is no judge: give one of assay.training.judges, or one of your own.")
        self.sources_ = tuple(labels)
        self._cases, self._rows = candidates_of(labels, cases, kind)
        purse = Purse(self.judge, self.budget)

        def rule(at: int) -> Ruling:
            return settle(self._cases[at], self._rows[at], purse, self.alike, self.conservative, self.check)

        if self.n_jobs == 1:
            self.rulings_ = [rule(at) for at in range(len(self._cases))]
        else:
            with ThreadPoolExecutor(self.n_jobs) as pool:
                self.rulings_ = list(pool.map(rule, range(len(self._cases))))
        self._tabulate()
        self.costs_, self.failure_ = purse.table(), purse.first_failure
        return self

    def chosen(self) -> list[Any]:
        """The winning label of each row (n,), in canonical form; None where nothing won."""
        return [ruling.value for ruling in self.rulings_]

    def coverage(self) -> dict[str, float]:
        """Shares of rows adopted, edited and reviewed, and of compared pairs with a confident verdict (NaN: none)."""
        verdict = self.pairs_["verdict"]
        routes = {route: float(np.mean(self.route_ == route)) for route in ("adopt", "edit", "review")}
        return {**routes, "pairs": float(np.mean(verdict != UNSURE)) if len(verdict) else float("nan")}

    def votes(self, space: Space | None = None) -> Votes:
        """The critic as one more source: its vote on every row with a label that it would adopt.

        Tasks are the rows. Labels that are classes vote for their class; labels of other kinds for the name of the
        source that gave the winner. The cost of a vote is what the judge was paid on that row. The votes rest on the
        candidates: whoever pools both must treat them as dependent (`correlated_sources`).
        """
        if self._cases[0].kind == "class":
            said: list[Any] = [r.value if r.route == ADOPT else None for r in self.rulings_]
            space = space or Space.from_values([one.value for row in self._rows for one in row])
        else:
            said = [self.sources_[r.choice] if r.route == ADOPT else None for r in self.rulings_]
            space = space or Space(self.sources_)
        price = self._judge_price()
        cost = [ruling.calls * price for ruling in self.rulings_]
        rows = np.array([case.row for case in self._cases])
        return Votes.from_long(rows, [f"critic:{self._name}"] * len(rows), said, space, cost=np.array(cost))

    def preferences(self) -> Preferences:
        """Compared pairs as preferences between sources, an uncertain one a tie; Bradley-Terry ranks the sources."""
        columns = self.pairs_
        winner = np.where(columns["verdict"] == UNSURE, 2, columns["verdict"] - 1)
        return Preferences(len(self.sources_), columns["a"], columns["b"], winner, prompt=columns["row"])

    def events(self, given: Sequence[Any] | None = None) -> list[Event]:
        """A suggestion for the ledger for every row whose winner differs from the label given.

        `given` are the labels as they are (n,); None for those of the first source. The evidence holds both orders'
        answers.
        """
        first = [next((c.value for c in row if c.source == 0), None) for row in self._rows] if given is None else given
        found = []
        for case, ruling, raw in zip(self._cases, self.rulings_, first, strict=True):
            old = read(raw, case.kind, case.row)
            if ruling.value is not None and (old is None or not equal(old, ruling.value)):
                event = Event(
                    "suggestion",
                    f"critic:{self._name}",
                    "model",
                    row=case.row,
                    before=None if old is None else shown(old),
                    after=shown(ruling.value),
                    method="critic",
                    version=__version__,
                    evidence=ruling.as_json(self.sources_),
                )
                found.append(event)
        return found

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """One row a row: `row`, `choice` (source, -1 none), `route`, `reason`, `score`, `calls`, `n_labels`."""
        return {
            "row": np.array([case.row for case in self._cases]),
            "choice": self.choice_,
            "route": self.route_,
            "reason": self.reason_,
            "score": self.score_,
            "calls": np.array([ruling.calls for ruling in self.rulings_]),
            "n_labels": np.array([len(row) for row in self._rows]),
        }

    def _tabulate(self) -> None:
        rulings = self.rulings_
        self.choice_ = np.array([ruling.choice for ruling in rulings], dtype=np.int64)
        self.route_ = np.array([ruling.route for ruling in rulings])
        self.reason_ = np.array([ruling.reason for ruling in rulings])
        self.score_ = np.array([ruling.score for ruling in rulings])
        self.points_ = np.full((len(rulings), len(self.sources_)), np.nan)
        for at, (ruling, row) in enumerate(zip(rulings, self._rows, strict=True)):
            for candidate in row:
                self.points_[at, candidate.source] = ruling.points[ruling.group[candidate.source]]
        said = [(case.row, *pair.numbers) for case, r in zip(self._cases, rulings, strict=True) for pair in r.pairs]
        columns = np.array(said, dtype=np.int64).reshape(-1, 6).T
        self.pairs_ = dict(zip(("row", "a", "b", "asked", "swapped", "verdict"), columns, strict=True))

    @property
    def _name(self) -> str:
        return str(getattr(self.judge, "name", "judge"))

    def _judge_price(self) -> float:
        return float(getattr(self.judge, "price", 0.0))


def candidates_of(
    labels: Mapping[str, Sequence[Any]], cases: Sequence[Case] | None = None, kind: str | None = None
) -> tuple[list[Case], list[list[Candidate]]]:
    """Cases (n,) and the candidates of each: every source's label in canonical form, and how much others agree.

    Raises
    ------
    InputError : columns of different length, a label that does not fit the kind, a picture that holds NaN; the row is
        named, and no judge has been asked.
    """
    lengths = {name: len(column) for name, column in labels.items()}
    if not lengths or len(set(lengths.values())) != 1:
        raise InputError(f"Each source must give one label a row, None for none; got lengths {lengths}.")
    n = next(iter(lengths.values()))
    if cases is None:
        if kind is None:
            raise InputError("Say of which kind the labels are, or give the cases.")
        cases = [Case(row, kind) for row in range(n)]
    if len(cases) != n:
        raise InputError(f"There are {len(cases)} cases for {n} labels of each source.")
    rows = []
    for at, case in enumerate(cases):
        content = case.content
        if isinstance(content, np.ndarray) and content.dtype.kind == "f" and not np.isfinite(content).all():
            raise InputError("A picture holds NaN or infinity: fill such pixels before it is judged.", row=case.row)
        values = [read(column[at], case.kind, case.row) for column in labels.values()]
        if case.kind == "mask" and len({value.shape for value in values if value is not None}) > 1:
            raise InputError("The masks of a row must have one shape.", row=case.row)
        there = [(source, value) for source, value in enumerate(values) if value is not None]
        share = [
            np.mean([_agreement(value, other, case.kind) for at, other in there if at != source] or [1.0])
            for source, value in there
        ]
        rows.append([Candidate(value, source, float(part)) for (source, value), part in zip(there, share, strict=True)])
    return list(cases), rows


def _agreement(a: Any, b: Any, kind: str) -> float:
    return likeness(a, b) if kind == "mask" else float(equal(a, b))  # no two masks are equal

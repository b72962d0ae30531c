"""The report of `assay critic`: how much was decided, how well, and what a person must look at."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.evidence import plots
from assay.evidence.critic_run import ROUTES, Criticism
from assay.evidence.report import Column, Command, Fact, Grid, Prose, Report, Section
from assay.evidence.results import versions_of
from assay.evidence.shown import number
from assay.kernels.dual_verdicts import dual_accuracy
from assay.kernels.intervals import wilson
from assay.training.judges.kinds import shown

LISTED = 20
Interval = tuple[float, float, float]


def build(found: Criticism, folder: Path, provenance: dict[str, object]) -> Report:
    """The report of a run whose files lie in `folder`."""
    source = found.source
    sections = (routes(found), table_of_verdicts(found), candidates(found), to_people(found), costs(found))
    return Report(
        title=f"Which labels of {source.path.name} to keep",
        verdict=verdict(found),
        facts=facts(found),
        sections=tuple(section for section in sections if section is not None),
        commands=commands(folder),
        warnings=warnings(found),
        provenance={
            "verb": "critic",
            "source": source.path.name,
            "sha256": source.digest,
            "rows": source.n_rows,
            "candidates": list(source.labels),
            "kind": source.kind,
            "judge": found.critic.judge.name if found.critic.judge is not None else None,
            "versions": versions_of("assay", "numpy"),
            **provenance,
        },
        numbers=numbers(found),
    )


def share(successes: float, trials: int) -> Interval | None:
    """A share with its 95 % interval, None without trials."""
    if not trials:
        return None
    low, high = wilson(successes, trials)
    return successes / trials, float(low), float(high)


def on_rows(found: Criticism, rows: npt.NDArray[np.bool_]) -> Interval | None:
    """Share of right labels among the known ones of `rows` (n,), as the critic leaves them."""
    return share(*found.quality(found.best, rows))


def verdict(found: Criticism) -> str:
    """The finding in a sentence."""
    n, route = found.source.n_rows, found.critic.route_
    counted = {name: int((route == name).sum()) for name in ROUTES}
    right = on_rows(found, route == "adopt")
    known = "" if right is None else f" ({number(right[0], '%', right[1:])} of the known ones are right)"
    return (
        f"Of {n:,} rows, {counted['adopt']:,} labels can be adopted{known}, {counted['edit']:,} need mending and "
        f"{counted['review']:,} a person's decision."
    )


def facts(found: Criticism) -> tuple[Fact, ...]:
    """The numbers that matter; a share of right ones never without the share decided."""
    everywhere = np.ones(found.source.n_rows, dtype=bool)
    coverage, pairs = found.critic.coverage(), len(found.critic.pairs_["row"])
    parts = [
        Fact(
            "Adopted without a person",
            coverage["adopt"],
            None,
            "%",
            f"of {found.source.n_rows:,} rows, {found.source.kind}",
        )
    ]
    adopted = on_rows(found, found.critic.route_ == "adopt")
    if adopted is not None:
        parts.append(Fact("Right among the adopted", adopted[0], adopted[1:], "%", "on rows with a known label"))
    if pairs:
        note = f"of {pairs:,} compared; the rest is uncertain and counts for neither"
        parts.append(Fact("Pairs decided", coverage["pairs"], None, "%", note))
        compared = on_rows(found, found.critic.reason_ == "compared")
        if compared is not None:
            parts.append(Fact("Right where compared", compared[0], compared[1:], "%", "the winner, on known rows"))
    before = share(*found.quality(np.zeros(found.source.n_rows, dtype=np.int64), everywhere))
    if before is not None:
        name = next(iter(found.source.labels))
        parts.append(Fact(f"Right with {name} alone", before[0], before[1:], "%", "on all known rows"))
    calls = int(found.critic.costs_["calls"].sum())
    parts.append(
        Fact("Calls of the judge", calls, None, "", f"cost {number(float(found.critic.costs_['cost'].sum()))}")
    )
    return tuple(parts)


def routes(found: Criticism) -> Section:
    """What to do with the rows, and how right each group is."""
    critic, rows = found.critic, []
    for name in ROUTES:
        for why in dict.fromkeys(critic.reason_.tolist()):
            chosen = (critic.route_ == name) & (critic.reason_ == why)
            if chosen.any():
                rows.append((name, why, int(chosen.sum()), on_rows(found, chosen)))
    columns = (Column("route"), Column("because"), Column("rows"), Column("right", "%"))
    note = (
        "adopt: the best label passed the check. edit: it is the best and failed it. review: no label won, or the "
        "check was unsure. Right: on rows with a known label, judged without it."
    )
    return Section(
        "What to do with each row", "Only adopted labels need nobody.", (Grid("Routes", columns, tuple(rows), note),)
    )


def table_of_verdicts(found: Criticism) -> Section | None:
    """All nine pairs of answers, and what they came to."""
    pairs = found.critic.pairs_
    if not len(pairs["row"]):
        return None
    words, rows = ("no answer", "first", "second"), []
    for asked in (1, 2, 0):
        for swapped in (1, 2, 0):
            chosen = (pairs["asked"] == asked) & (pairs["swapped"] == swapped)
            if chosen.any():
                said = int(pairs["verdict"][chosen][0])
                rows.append((words[asked], words[swapped], ("uncertain", "A", "B")[said], int(chosen.sum())))
    columns = (
        Column("place named with A first"),
        Column("place named with B first"),
        Column("verdict"),
        Column("pairs"),
    )
    place = int(((pairs["asked"] == pairs["swapped"]) & (pairs["asked"] > 0)).sum())
    text = f"{place:,} of {len(pairs['row']):,} pairs named the same place twice: the judge looked at the place there."
    if np.isfinite(found.error) and found.options.judge not in ("rules", "classifier"):  # those err alike in both
        single, both = number(found.error, "%"), number(1 - float(dual_accuracy(found.error)), "%")
        text += f" If its errors are independent, it errs in {single} of single askings and in {both} of its verdicts."
    return Section(
        "What the judge said",
        "Each pair was judged in both orders.",
        (Grid("Answers and verdicts", columns, tuple(rows)), Prose(text)),
    )


def candidates(found: Criticism) -> Section:
    """The candidates beside each other and beside the critic."""
    n, everywhere = found.source.n_rows, np.ones(found.source.n_rows, dtype=bool)
    rows: list[Any] = []
    for at, name in enumerate(found.source.labels):
        alone = np.full(n, at, dtype=np.int64)
        won = int((found.critic.choice_ == at).sum())
        strength = None if found.strength is None else tuple(found.strength[at].tolist())
        rows.append((name, won, strength, share(*found.quality(alone, everywhere))))
    rows.append(("the critic's choice", None, None, share(*found.quality(found.best, everywhere))))
    columns = (Column("candidate"), Column("rows won"), Column("Bradley-Terry score"), Column("right", "%"))
    note = (
        "An equal label counts for the candidate named first. Where nothing won, the critic's choice is the label in "
        "use. Right: on all rows with a known label."
    )
    return Section("The candidates", "Who gives the better labels.", (Grid("Candidates", columns, tuple(rows), note),))


def ranking(found: Criticism) -> npt.NDArray[np.int64]:
    """Rows (m,) that go to a person, those first whose label the judge likes least."""
    rows = np.flatnonzero(found.critic.route_ != "adopt")
    return rows[np.argsort(found.critic.score_[rows], kind="stable")]


def to_people(found: Criticism) -> Section | None:
    """The first rows that a person must look at."""
    rows = ranking(found)
    if not len(rows):
        return None
    names, ids = list(found.source.labels), found.source.ids
    table = []
    for row in rows[:LISTED].tolist():
        cells = [_cut(found.source.labels[name][row]) for name in names]
        who = str(row) if ids is None else str(ids[row].as_py())
        table.append((who, str(found.critic.route_[row]), str(found.critic.reason_[row]), *cells))
    columns = (Column("row"), Column("route"), Column("because"), *map(Column, names))
    note = f"The first {len(table)} of {len(rows):,}; all stand in routing.csv."
    return Section(
        "For a person", "Worst first.", (Grid("Rows to look at", columns, tuple(table), note), *_scores(found))
    )


def _cut(value: Any) -> str:
    return "" if value is None else shown(value, 80)


def _scores(found: Criticism) -> tuple[Any, ...]:
    p = found.p_wrong[np.isfinite(found.p_wrong)]
    if not len(p):
        return ()
    title = f"The label in use is wrong in about {float(p.sum()):,.0f} of {len(p):,} rows"
    return (
        plots.histogram(title, p, bins=20, note="By route and winner, from rows with a known label where there are."),
    )


def costs(found: Criticism) -> Section:
    """What was asked, and what it cost."""
    spent = found.critic.costs_
    rows: list[Any] = []
    for step, calls, unsure, failed, seconds, cost in zip(*(column.tolist() for column in spent.values()), strict=True):
        rows.append((step, calls, unsure, failed, round(seconds, 3), cost))
    columns = tuple(map(Column, ("step", "calls", "unsure", "failed", "seconds", "cost")))
    return Section("What it cost", "Every call of the judge.", (Grid("Calls", columns, tuple(rows)),))


def warnings(found: Criticism) -> tuple[str, ...]:
    """What makes the numbers doubtful."""
    said, spent = [], found.critic.costs_
    failed, calls = int(spent["failed"].sum()), int(spent["calls"].sum())
    if failed:
        said.append(f"{failed:,} of {calls:,} calls failed and count as unsure; the first: {found.critic.failure_}")
    if found.source.accepted is None:
        said.append("No known labels were given: nothing here says how often the judge is right.")
    elif int(found.known.sum()) < 50:
        said.append(f"Only {int(found.known.sum())} rows have a known label: the shares of right ones are rough.")
    if found.options.budget is not None and calls >= found.options.budget - 2:
        said.append(f"The budget of {found.options.budget:,} calls was used up: rows it did not reach go to a person.")
    return tuple(said)


def numbers(found: Criticism) -> dict[str, Any]:
    """The numbers of the run, for machines."""
    critic, everywhere = found.critic, np.ones(found.source.n_rows, dtype=bool)
    right = {
        name: share(*found.quality(np.full(found.source.n_rows, at, dtype=np.int64), everywhere))
        for at, name in enumerate(found.source.labels)
    }
    coverage = {name: value if np.isfinite(value) else None for name, value in critic.coverage().items()}
    return {
        "rows": found.source.n_rows,
        "kind": found.source.kind,
        "coverage": coverage,
        "known": int(found.known.sum()),
        "right": right | {"critic": on_rows(found, everywhere)},
        "right_adopted": on_rows(found, critic.route_ == "adopt"),
        "right_compared": on_rows(found, critic.reason_ == "compared"),
        "calls": int(critic.costs_["calls"].sum()),
        "failed": int(critic.costs_["failed"].sum()),
        "cost": float(critic.costs_["cost"].sum()),
        "judge_error_if_independent": found.error if np.isfinite(found.error) else None,
    }


def commands(folder: Path) -> tuple[Command, ...]:
    """What to run next."""
    place = shlex.quote(str(folder))
    return (
        Command(f"assay review {place}", "the page where a person decides the rows that the critic would not"),
        Command(f"assay ledger log {place}", "what the judge said of which row, in both orders"),
    )


def summary(found: Criticism) -> str:
    """The finding for a terminal."""
    lines = [verdict(found)]
    for fact in facts(found):
        value = fact.value if isinstance(fact.value, str) else number(fact.value, fact.unit, fact.interval)
        lines.append(f"  {fact.label:<28} {value}   {fact.note}")
    return "\n".join([*lines, *(f"Note: {said}" for said in warnings(found))])

"""What people decided about each row, as of a point in the ledger: for the table of decisions and the repaired data."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from assay.labels.events import Event
from assay.labels.history import At
from assay.labels.ledger import Ledger
from assay.labels.standing import Standing, adjudicates
from assay.labels.verdicts import Judged

_WRONG = ("suggested", "other", "neither")


@dataclass(frozen=True, slots=True)
class Decision:
    """What stands about one row that somebody reviewed.

    Parameters
    ----------
    row, row_id : data row, and the user's id of it where the ledger knows one.
    given, final : label in the original, and label in force; None = no label.
    hint : the suggestion in force, or None.
    verdicts : the verdicts in force, by rising id.
    """

    row: int
    row_id: str | None
    given: str | None
    final: str | None
    hint: Event | None
    verdicts: tuple[Event, ...]

    @property
    def counted(self) -> tuple[Event, ...]:
        """The verdicts that decide: the last adjudication alone; without one, all but skips."""
        told = tuple(event for event in self.verdicts if event.evidence["verdict"] != "skip")
        return tuple(event for event in told if adjudicates(event))[-1:] or told

    @property
    def outcome(self) -> str:
        """What they come to: "right", "wrong" (the given label), "split" evenly, or "skipped" by everybody."""
        said = [event.evidence["verdict"] in _WRONG for event in self.counted]
        if not said:
            return "skipped"
        return "split" if 2 * sum(said) == len(said) else "wrong" if 2 * sum(said) > len(said) else "right"

    @property
    def undecided(self) -> bool:
        """Whether the given label is wrong, or doubted by half of its reviewers, and no other label is in force."""
        return self.outcome in ("wrong", "split") and self.final == self.given

    @property
    def agreement(self) -> float | None:
        """Share of the reviewers, skips aside, who said the most frequent thing; None for fewer than two."""
        told = [event for event in self.verdicts if event.evidence["verdict"] != "skip" and not adjudicates(event)]
        if len(told) < 2:
            return None
        return Counter((event.evidence["verdict"], event.after) for event in told).most_common(1)[0][1] / len(told)

    @property
    def sampled(self) -> str:
        """Whether the row was drawn at "random" for one of its reviewers, or picked as "flagged"."""
        return "random" if any(event.evidence.get("sampled") == "random" for event in self.verdicts) else "flagged"


def standings(ledger: Ledger, at: At = None) -> dict[int, Standing]:
    """What stood about each row at a point, rows rising; time and memory in proportion to the events."""
    upto = ledger.place(at)
    events: dict[int, list[Event]] = {}
    for event in itertools.takewhile(lambda event: event.id <= upto, ledger.log()):
        if event.row is not None:
            events.setdefault(event.row, []).append(event)
    return {row: Standing.of(events[row]) for row in sorted(events)}


def decisions(standing: Mapping[int, Standing], given: Sequence[str | None]) -> list[Decision]:
    """The rows that somebody reviewed, rising; `given` (n,) are the labels of the original."""
    found = []
    for row, stands in standing.items():
        if stands.verdicts:
            hint, change = stands.hint, stands.change
            said = tuple(event for _, event in sorted(stands.verdicts.values(), key=lambda each: each[0]))
            row_id = next((event.row_id for event in (hint, *said) if event is not None and event.row_id), None)
            found.append(Decision(row, row_id, given[row], change.after if change else given[row], hint, said))
    return found


def judged(decided: Sequence[Decision]) -> Judged:
    """The rows on which a verdict was had, for the error rate."""
    sure = [one for one in decided if one.outcome in ("right", "wrong")]
    return Judged(
        rows=np.array([one.row for one in sure], dtype=np.int64),
        wrong=np.array([one.outcome == "wrong" for one in sure], dtype=bool),
        random=np.array([one.sampled == "random" for one in sure], dtype=bool),
        n_ties=sum(one.outcome == "split" for one in decided),
        n_skipped=sum(one.outcome == "skipped" for one in decided),
        undecided=np.array([one.row for one in decided if one.outcome in ("split", "skipped")], dtype=np.int64),
    )


def nameless(decided: Sequence[Decision]) -> dict[str, str]:
    """Name of each reviewer -> "reviewer 1" and so on, in the order of their first standing verdict."""
    said = sorted((event.id, event.source) for one in decided for event in one.verdicts)
    return {name: f"reviewer {place + 1}" for place, name in enumerate(dict.fromkeys(name for _, name in said))}


def as_table(
    decided: Sequence[Decision], p_wrong: Sequence[float | None], names: Mapping[str, str] | None = None
) -> pa.Table:
    """One line a reviewed row; verdicts, reviewers and notes are lists in the order in which they were given.

    `p_wrong` is the probability that each given label is wrong. `names` replaces the names of reviewers; notes may
    name people too, so they are left out then.
    """

    def of(one: Decision, key: str) -> list[Any]:
        return [event.evidence.get(key) for event in one.verdicts]

    def total(one: Decision) -> float | None:
        known = [second for second in of(one, "seconds") if second is not None]
        return float(sum(known)) if known else None

    text, words = pa.string(), pa.list_(pa.string())
    columns: dict[str, tuple[pa.DataType, list[Any]]] = {
        "row": (pa.int64(), [one.row for one in decided]),
        "id": (text, [one.row_id for one in decided]),
        "given": (text, [one.given for one in decided]),
        "suggested": (text, [one.hint.after if one.hint else None for one in decided]),
        "final": (text, [one.final for one in decided]),
        "outcome": (text, [one.outcome for one in decided]),
        "verdicts": (words, [of(one, "verdict") for one in decided]),
        "labels": (words, [[event.after for event in one.verdicts] for one in decided]),
        "reviewers": (words, [[(names or {}).get(e.source, e.source) for e in one.verdicts] for one in decided]),
        "roles": (words, [[role or "first" for role in of(one, "role")] for one in decided]),
        "agreement": (pa.float64(), [one.agreement for one in decided]),
        "sampled": (text, [one.sampled for one in decided]),
        "p_wrong": (pa.float64(), list(p_wrong)),
        "seconds": (pa.float64(), [total(one) for one in decided]),
        "time": (text, [one.verdicts[-1].time for one in decided]),
        "notes": (words, [[None if names else event.note for event in one.verdicts] for one in decided]),
    }
    return pa.table({name: pa.array(cells, kind) for name, (kind, cells) in columns.items()})

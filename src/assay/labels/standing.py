"""What stands of the events about one row: its suggestion, its verdicts, its label, and the change that is due.

What a row's reviewers say decides its label: the last adjudication alone; without one, the label that more than half of
them want (skips aside); and where no label is wanted by so many, the label stays as given. Whenever that differs from
the label in force, a change is due, derived from the verdicts that it rests on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from assay.labels.events import Event
from assay.labels.ledger import Ledger

ADJUDICATION = "adjudication"
"""The role, in a verdict's evidence, of one who has seen the others' verdicts on the row and decides between them."""


@dataclass
class Standing:
    """What of the events about one row is in force, by rising id."""

    hint: Event | None = None
    change: Event | None = None
    verdicts: dict[tuple[str, bool], tuple[int, Event]] = field(default_factory=dict)
    """(reviewer, adjudicates) -> id and event of the last verdict; an id below zero counts in the batch under way."""

    @classmethod
    def of(cls, events: Sequence[Event]) -> Standing:
        """From all events about the row, by rising id."""
        found, undone = cls(), set()
        for event in reversed(events):  # an undo is younger than what it takes back
            if event.kind == "undo" and event.id not in undone:
                undone.add(event.derived_from[0])
        for event in events:
            if event.id in undone:
                continue
            if event.kind == "suggestion":
                found.hint = event
            elif event.kind == "change":
                found.change = event
            elif event.kind == "verdict":
                found.say(event.id, event)
        return found

    def say(self, number: int, event: Event) -> None:
        """Let a verdict stand instead of the same reviewer's last one."""
        key = (event.source, adjudicates(event))
        self.verdicts.pop(key, None)
        self.verdicts[key] = number, event

    def due(self) -> tuple[Event, list[int]] | None:
        """The change that the verdicts call for, and the ids of those that it rests on; None when there is none."""
        told = [(number, event) for number, event in self.verdicts.values() if event.evidence["verdict"] != "skip"]
        told = [each for each in told if adjudicates(each[1])][-1:] or told
        if self.hint is None or not told:
            return None
        now = self.change.after if self.change else self.hint.before
        label, times = Counter(event.after for _, event in told).most_common(1)[0]
        if label is not None and 2 * times > len(told):
            told = [each for each in told if each[1].after == label]
        elif self.change is not None and self.change.method == "review":
            label = self.hint.before
        else:
            return None  # a change that no reviewer made is not theirs to take back without a majority
        if label is None or label == now:
            return None
        alone = told[0][1].source if len(told) == 1 else None
        change = Event(
            "change",
            alone or "majority",
            "human" if alone else "rule",
            row=self.hint.row,
            row_id=self.hint.row_id,
            before=now,
            after=label,
            method="review",
        )
        return change, [number for number, _ in told]


def adjudicates(verdict: Event) -> bool:
    """Whether a verdict outweighs the others on its row."""
    return verdict.evidence.get("role") == ADJUDICATION


def standing(ledger: Ledger, rows: Collection[int]) -> dict[int, Standing]:
    """What is in force about each of the given rows."""
    found = ledger.of_rows(rows)
    return {row: Standing.of(found.get(row, ())) for row in rows}

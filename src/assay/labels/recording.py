"""How verdicts enter the ledger, and come out of it again."""

from __future__ import annotations

import itertools

import numpy as np

from assay.errors import InputError
from assay.labels.events import Event
from assay.labels.ledger import Ledger
from assay.labels.verdicts import VERDICTS, Verdict, Verdicts

_NAMING = (Verdict.OTHER, Verdict.SUGGESTED)
"""Verdicts that come with a label: the right one, the one suggested to the reviewer."""


def ledger_verdicts(ledger: Ledger) -> Verdicts:
    """The verdicts in force in a ledger: of several by one reviewer on one row, the last."""
    standing = _standing(ledger)
    return Verdicts(
        rows=np.array([row for row, _ in standing], np.int64),
        verdict=np.array([event.evidence["verdict"] for event in standing.values()], np.str_),
        n_rows=ledger.dataset.evidence["n_rows"],
        label=tuple(event.after if event.evidence["verdict"] == "other" else None for event in standing.values()),
        reviewer=tuple(name for _, name in standing),
        sampled=np.array([event.evidence.get("sampled", "flagged") for event in standing.values()], dtype=np.str_),
        note=tuple(event.note for event in standing.values()),
    )


def _standing(ledger: Ledger) -> dict[tuple[int, str], Event]:
    undone = ledger.undone()
    verdicts = [event for event in ledger.log(kind="verdict") if event.id not in undone]
    return {(event.row or 0, event.source): event for event in verdicts}


def to_events(verdicts: Verdicts, ledger: Ledger) -> list[Event]:
    """Verdicts as events to append to `ledger`, which knows what was suggested for each row.

    Where more than half of a row's reviewers (skips aside) want one label that the row does not have yet, a change
    follows, derived from their verdicts. Its source is the reviewer, or the rule "majority" when several agreed.

    Raises
    ------
    InputError : a label is accepted on a row that has no suggestion in force in the ledger, so that the given label is
        not known; or the suggestion accepted is the given label.
    """
    n_rows = ledger.dataset.evidence["n_rows"]
    if verdicts.n_rows != n_rows:
        raise InputError(f"The verdicts are about {verdicts.n_rows} rows, the ledger about {n_rows}: another data set?")
    undone, current = ledger.undone(), ledger.current()
    suggestions = {event.row: event for event in ledger.log(kind="suggestion") if event.id not in undone}
    events: list[Event] = []
    order = np.argsort(verdicts.rows, kind="stable").tolist()
    for row, group in itertools.groupby(order, lambda place: int(verdicts.rows[place])):
        hint = suggestions.get(row)
        row_id = hint.row_id if hint else None
        wanted: dict[str, list[int]] = {}  # label -> places of the verdicts that want it
        said = 0
        for place in group:
            verdict = VERDICTS[verdicts.verdict[place]]
            label = None
            if verdict in _NAMING and verdicts.label[place]:
                label = verdicts.label[place]
            elif hint and verdict in (Verdict.GIVEN, Verdict.SUGGESTED):
                label = hint.before if verdict == Verdict.GIVEN else hint.after
            if verdict in (Verdict.SUGGESTED, Verdict.OTHER) and (hint is None or label == hint.before):
                why = "no suggestion for it stands in the ledger" if hint is None else f"{label!r} is the given label"
                raise InputError(f"The verdict {verdict.value!r} on data row {row} cannot be taken: {why}.", row=place)
            said += verdict != Verdict.SKIP
            if label is not None:
                wanted.setdefault(label, []).append(len(events))
            events.append(
                Event(
                    "verdict",
                    verdicts.reviewer[place],
                    "human",
                    row=row,
                    row_id=row_id,
                    before=hint.before if hint else None,
                    after=label,
                    evidence={"verdict": verdict.value, "sampled": str(verdicts.sampled[place])},
                    derived_from=(hint.id,) if hint else (),
                    note=verdicts.note[place],
                )
            )
        for label, voices in wanted.items():
            if hint and 2 * len(voices) > said and label not in (hint.before, current.get(row)):
                alone = len(voices) == 1
                change = Event(
                    "change",
                    events[voices[0]].source if alone else "majority",
                    "human" if alone else "rule",
                    row=row,
                    row_id=row_id,
                    before=current.get(row, hint.before),
                    after=label,
                    method="review",
                    derived_from=tuple(voice - len(events) for voice in voices),
                )
                events.append(change)
    return events


def record_verdicts(verdicts: Verdicts, ledger: Ledger) -> dict[str, int]:
    """Append verdicts to a ledger. A reviewer's new verdict on a row takes back the old one; the same again is nothing.

    Returns
    -------
    Numbers of `verdicts` and `changes` appended, of old verdicts and changes `undone`, of verdicts already `known`.

    Raises
    ------
    InputError : as `to_events`; the ledger is then as it was.
    """
    with ledger.transaction():
        standing = _standing(ledger)
        fresh: list[int] = []
        old: dict[str, list[int]] = {}
        for place, (row, name) in enumerate(zip(verdicts.rows.tolist(), verdicts.reviewer, strict=True)):
            known = standing.get((row, name))
            word = VERDICTS[verdicts.verdict[place]].value
            if known is None:
                fresh.append(place)
            elif known.evidence["verdict"] != word or (verdicts.label[place] or known.after) != known.after:
                fresh.append(place)
                old.setdefault(name, []).append(known.id)
        undone = [number for name, ids in old.items() for number in ledger.undo(ids, source=name, note="new verdict")]
        events = to_events(verdicts.take(fresh), ledger)
        ledger.append(events)
    changes = sum(event.kind == "change" for event in events)
    return {
        "verdicts": len(events) - changes,
        "changes": changes,
        "undone": len(undone),
        "known": len(verdicts) - len(fresh),
    }

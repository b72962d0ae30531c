"""How verdicts enter the ledger, and come out of it again. What they come to is told by `assay.labels.standing`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from assay.errors import InputError
from assay.labels.events import Event
from assay.labels.ledger import Ledger
from assay.labels.standing import ADJUDICATION, Standing, adjudicates, standing
from assay.labels.verdicts import VERDICTS, Verdict, Verdicts


class Said(NamedTuple):
    """One verdict on its way into the ledger; `evidence` may add to it, as "sampled" or "role" do.

    `label` is the right one for `other`, and may be the one that was shown for `suggested`. `shown` is the suggestion
    that the reviewer saw, to be appended where the ledger does not hold it.
    """

    row: int
    reviewer: str
    verdict: Verdict
    label: str | None = None
    note: str | None = None
    evidence: Mapping[str, Any] = {}
    shown: Event | None = None


class Recorded(NamedTuple):
    """What `record` did: for each verdict the id of its event, and how many were known; numbers of other events."""

    ids: list[int]
    known: int
    changes: int
    undone: int


def ledger_verdicts(ledger: Ledger) -> Verdicts:
    """The verdicts in force in a ledger: of several by one reviewer on one row, the last; of an adjudicated row, the
    last adjudication alone, which counts as random where the row was drawn at random.
    """
    undone = ledger.undone()
    last: dict[tuple[int, str, bool], Event] = {}
    for event in ledger.log(kind="verdict"):
        if event.id not in undone:
            last[event.row or 0, event.source, adjudicates(event)] = event
    judged = {event.row: event for event in sorted(last.values(), key=lambda event: event.id) if _decides(event)}
    random = {event.row for event in last.values() if event.evidence.get("sampled") == "random"}
    events = [event for event in last.values() if judged.get(event.row, event) is event]
    events = [event for event in events if not adjudicates(event) or _decides(event)]
    return Verdicts(
        rows=np.array([event.row for event in events], np.int64),
        verdict=np.array([event.evidence["verdict"] for event in events], np.str_),
        n_rows=ledger.dataset.evidence["n_rows"],
        label=tuple(event.after if event.evidence["verdict"] == "other" else None for event in events),
        reviewer=tuple(event.source for event in events),
        sampled=np.array(
            [
                "random" if event.row in judged and event.row in random else event.evidence.get("sampled", "flagged")
                for event in events
            ],
            dtype=np.str_,
        ),
        note=tuple(event.note for event in events),
    )


def _decides(verdict: Event) -> bool:
    return adjudicates(verdict) and verdict.evidence["verdict"] != "skip"


def to_events(verdicts: Verdicts, ledger: Ledger) -> list[Event]:
    """Verdicts as events to append to `ledger`, which knows what was suggested for each row and who judged it.

    Each row's verdicts are followed by the change that they call for, if any. Its source is the reviewer, or the rule
    "majority" when several decided.

    Raises
    ------
    InputError : a label is accepted on a row that has no suggestion in force in the ledger, so that the given label is
        not known; or the suggestion accepted is the given label.
    """
    said = _said(verdicts, ledger)
    return _events(said, range(len(said)), standing(ledger, {each.row for each in said}))[0]


def record_verdicts(verdicts: Verdicts, ledger: Ledger) -> dict[str, int]:
    """Append verdicts to a ledger. A reviewer's new verdict on a row takes back the old one; the same again is nothing.

    Returns
    -------
    Numbers of `verdicts` and `changes` appended, of old verdicts and changes `undone`, of verdicts already `known`.

    Raises
    ------
    InputError : as `to_events`; the ledger is then as it was.
    """
    done = record(_said(verdicts, ledger), ledger)
    counts = {"verdicts": len(done.ids) - done.known, "changes": done.changes}
    return counts | {"undone": done.undone, "known": done.known}


def record(said: Sequence[Said], ledger: Ledger) -> Recorded:
    """Append verdicts as `record_verdicts` does, at the cost of the events about their rows, not of the history."""
    with ledger.transaction():
        rows = standing(ledger, {each.row for each in said})
        shown = [each.shown for each in said if each.shown is not None and not _same_hint(rows[each.row], each.shown)]
        if shown:
            ledger.append(shown)
        ids: dict[int, int] = {}
        old: dict[str, list[int]] = {}
        for place, each in enumerate(said):
            key = (each.reviewer, each.evidence.get("role") == ADJUDICATION)
            number, known = rows[each.row].verdicts.get(key, (0, None))
            if known is not None and _same(each, known):
                ids[place] = number
            elif known is not None:
                old.setdefault(each.reviewer, []).append(number)
        undone = [number for name, each in old.items() for number in ledger.undo(each, source=name, note="new verdict")]
        fresh = [place for place in range(len(said)) if place not in ids]
        if shown or undone:
            rows = standing(ledger, rows)
        events, at = _events(said, fresh, rows)
        numbers = ledger.append(events)
    n_known = len(ids)
    ids |= {place: numbers[index] for place, index in zip(fresh, at, strict=True)}
    return Recorded([ids[place] for place in range(len(said))], n_known, len(events) - len(fresh), len(undone))


def take_back(number: int, ledger: Ledger, source: str) -> None:
    """Undo the verdict of event `number`, and let the label of its row follow what the others say."""
    with ledger.transaction():
        ledger.undo(number, source=source)
        row = ledger.event(number).row or 0
        ledger.append(_change(standing(ledger, [row])[row], 0))


def _said(verdicts: Verdicts, ledger: Ledger) -> list[Said]:
    n_rows = ledger.dataset.evidence["n_rows"]
    if verdicts.n_rows != n_rows:
        raise InputError(f"The verdicts are about {verdicts.n_rows} rows, the ledger about {n_rows}: another data set?")
    columns = (verdicts.rows.tolist(), verdicts.reviewer, verdicts.verdict.tolist(), verdicts.label, verdicts.note)
    return [
        Said(row, name, VERDICTS[code], label, note, {"sampled": sampled})
        for row, name, code, label, note, sampled in zip(*columns, verdicts.sampled.tolist(), strict=True)
    ]


def _same(said: Said, known: Event) -> bool:
    """Whether a reviewer only says again what is known; what is left out is taken as before."""
    return (said.verdict, said.label or known.after, said.note or known.note) == (
        known.evidence["verdict"],
        known.after,
        known.note,
    )


def _same_hint(now: Standing, shown: Event) -> bool:
    return now.hint is not None and (now.hint.before, now.hint.after) == (shown.before, shown.after)


def _events(said: Sequence[Said], places: Sequence[int], rows: Mapping[int, Standing]) -> tuple[list[Event], list[int]]:
    """The events of the verdicts at some places, by row, each row's followed by its change; and where the verdicts lie.

    `rows` then holds what stands with them.
    """
    events: list[Event] = []
    at: dict[int, int] = {}
    for row, group in itertools.groupby(
        sorted(places, key=lambda place: said[place].row), lambda place: said[place].row
    ):
        for place in group:
            at[place] = len(events)
            event = _event(said[place], rows[row].hint, place)
            rows[row].say(-len(events) - 1, event)
            events.append(event)
        events += _change(rows[row], len(events))
    return events, [at[place] for place in places]


def _change(now: Standing, place: int) -> list[Event]:
    """The change that is due, if any, at `place` of a batch; verdicts below zero count from the batch's start."""
    due = now.due()
    if due is None:
        return []
    change, voices = due
    return [replace(change, derived_from=tuple(v if v > 0 else -v - 1 - place for v in voices))]


def _event(said: Said, hint: Event | None, place: int) -> Event:
    """A verdict as an event derived from the suggestion that was shown."""
    label = None
    if said.verdict in (Verdict.OTHER, Verdict.SUGGESTED) and said.label:
        label = said.label
    elif hint and said.verdict in (Verdict.GIVEN, Verdict.SUGGESTED):
        label = hint.before if said.verdict == Verdict.GIVEN else hint.after
    if said.verdict in (Verdict.SUGGESTED, Verdict.OTHER) and (hint is None or label == hint.before):
        why = "no suggestion for it stands in the ledger" if hint is None else f"{label!r} is the given label"
        raise InputError(
            f"The verdict {said.verdict.value!r} on data row {said.row} cannot be taken: {why}.", row=place
        )
    return Event(
        "verdict",
        said.reviewer,
        "human",
        row=said.row,
        row_id=hint.row_id if hint else None,
        before=hint.before if hint else None,
        after=label,
        evidence={"verdict": said.verdict.value, **said.evidence},
        derived_from=(hint.id,) if hint else (),
        note=said.note,
    )

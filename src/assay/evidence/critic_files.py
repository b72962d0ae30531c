"""The folder that `assay critic` leaves: report, chosen labels, routing list, ledger, and what the review opens."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from assay.errors import InputError
from assay.evidence.audit_files import as_csv
from assay.evidence.critic_report import build, ranking
from assay.evidence.critic_run import Criticism
from assay.evidence.kept_rows import KeptRows, Origin, seen_from, write_candidates, write_rows
from assay.evidence.page import write_report
from assay.evidence.result_folder import check_place, check_results
from assay.labels.events import dataset_event
from assay.labels.formats import files
from assay.labels.ledger import Ledger
from assay.labels.spaces import Space


def check_folder(source: Path, folder: Path) -> None:
    """Raise when `folder` is a file, or holds the results of another verb or of another file."""
    check_place(folder)
    check_results(folder, "critic", source.name)


def save(found: Criticism, folder: Path, provenance: dict[str, object]) -> Path:
    """Write everything into `folder`, each file beside and renamed; returns the path of the report."""
    check_folder(found.source.path, folder)
    folder.mkdir(parents=True, exist_ok=True)
    enter(found, folder)
    files.write_bytes(folder / "labels.csv", as_csv(chosen(found)))
    files.write_bytes(folder / "routing.csv", as_csv(routing(found)))
    lines = [(r, n, c) for n, column in found.source.cells.items() for r, c in enumerate(column) if c is not None]
    write_candidates([row for row, _, _ in lines], [name for _, name, _ in lines], [cell for *_, cell in lines], folder)
    write_rows(kept(found, folder), folder)
    time = datetime.now(UTC).isoformat(timespec="seconds")
    return write_report(build(found, folder, {**provenance, "time": time}), folder)


def _cell(found: Criticism, row: int, source: int) -> str | None:
    return list(found.source.cells.values())[source][row]


def _named(found: Criticism) -> dict[str, Any]:
    ids = {} if found.source.ids is None else {"id": [str(one) for one in found.source.ids.to_pylist()]}
    return {"row": list(range(found.source.n_rows)), **ids}


def chosen(found: Criticism) -> dict[str, Any]:
    """One line a row: the label that it ends with, who gave it, and what is to be done with it."""
    names, critic = list(found.source.labels), found.critic
    return {
        **_named(found),
        "label": [_cell(found, row, source) or "" for row, source in enumerate(found.best.tolist())],
        "source": [names[source] for source in found.best],
        "route": critic.route_,
        "reason": critic.reason_,
        "score": [score if np.isfinite(score) else None for score in critic.score_.tolist()],
    }


def routing(found: Criticism) -> dict[str, Any]:
    """The rows that go to a person, worst first, with every candidate."""
    rows, whole = ranking(found), chosen(found)
    columns = {name: [list(column)[row] for row in rows] for name, column in whole.items()}
    cells = {f"candidate {name}": [column[row] or "" for row in rows] for name, column in found.source.cells.items()}
    return columns | cells


def enter(found: Criticism, folder: Path) -> None:
    """Enter the critic's suggestions into the ledger; one that already stands is not entered again."""
    label = next(iter(found.source.labels))
    with Ledger.open(folder, create=True) as ledger, ledger.transaction():
        start = dataset_event(found.source.path, label, found.source.n_rows)
        if next(iter(ledger.log(kind="dataset")), None) is None:
            ledger.append([start])
        elif ledger.dataset.evidence["sha256"] != start.evidence["sha256"] or ledger.dataset.column != label:
            raise InputError(
                f"{found.source.path.name} or the column in use changed since the ledger of {folder} began: choose "
                "another folder with --out."
            )
        undone = ledger.undone()
        standing = {event.row: event for event in ledger.log(kind="suggestion") if event.id not in undone}
        events = []
        for event in found.critic.events():
            assert event.row is not None
            before, after = _cell(found, event.row, 0), _cell(found, event.row, int(found.best[event.row]))
            old = standing.get(event.row)
            if before != after and (old is None or (old.after, old.source) != (after, event.source)):
                row_id = None if found.source.ids is None else str(found.source.ids[event.row].as_py())
                events.append(replace(event, before=before, after=after, row_id=row_id))
        ledger.append(events)


def kept(found: Criticism, folder: Path) -> KeptRows:
    """The label in use and the best other one, for the review; rows that are not adopted are flagged."""
    source, critic = found.source, found.critic
    n, columns = source.n_rows, list(source.cells.values())
    points = np.nan_to_num(critic.points_, nan=-1.0)
    suggested: list[str] = []
    for cells, won in zip(zip(*columns, strict=True), points, strict=True):
        others = [at for at, cell in enumerate(cells) if cell not in (None, cells[0])]
        best = cells[others[int(np.argmax(won[others]))]] if others else cells[0]
        suggested.append(best or "")
    space = Space.from_values({*suggested, *(cell for column in columns for cell in column if cell is not None)})
    given = [columns[0][row] for row in range(n)]
    present = np.array([cell is not None for cell in given])
    path, content, accepted = source.path, source.columns.content, source.columns.accepted
    seen = content is not None and isinstance(source.cases[0].content, np.ndarray)
    return KeptRows(
        origin=Origin(
            verb="critic",
            title=path.name,
            label=next(iter(source.labels)),
            source=seen_from(folder, path),
            sha256=source.digest,
            id=source.columns.id,
            text=None if seen else content,
            image=content if seen else None,
            excluded=(*list(source.labels)[1:], *([accepted] if accepted is not None else [])),
        ),
        space=space,
        given=space.encode([cell if cell is not None else space.names[0] for cell in given]),
        present=present,
        suggested=space.encode(suggested),
        p_wrong=found.p_wrong.astype(np.float32),
        low=found.low.astype(np.float32),
        high=found.high.astype(np.float32),
        score=np.where(np.isfinite(critic.score_), critic.score_, np.nan).astype(np.float32),
        flagged=critic.route_ != "adopt",
        ids=source.ids,
    )

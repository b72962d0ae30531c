"""What the routes of the review do, without HTTP: each method answers one request with what JSON can hold."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from assay.errors import AssayError, InputError
from assay.labels.verdicts import VERDICTS
from assay.review.guard import Session

if TYPE_CHECKING:
    from assay.review.project import Project
    from assay.review.queue import Queue, Task
    from assay.review.store import Decision, ReviewStore

PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp")
DECIDED = ("row", "id", "verdict", "label", "suggested", "reviewer", "sampled", "role", "seconds", "note", "time")


class NotThere(InputError):
    """No such row, picture or page."""


class Desk:
    """One project under review.

    Parameters
    ----------
    project, store, queue : what is reviewed, where decisions go, which row comes next.
    options : the review's settings, shown to the page.
    """

    def __init__(self, project: Project, store: ReviewStore, queue: Queue, options: dict[str, Any]) -> None:
        self.project, self.store, self.queue, self.options = project, store, queue, options

    def session(self, session: Session, csrf: str) -> dict[str, Any]:
        """What the page needs to begin."""
        project = self.project
        return {
            "title": project.title,
            "verb": project.verb,
            "project": self.store.ledger.dataset.hash[:16],
            "classes": list(project.classes),
            "n_rows": project.n_rows,
            "reviewer": session.reviewer or None,
            "csrf": csrf,
            "verdicts": list(VERDICTS),
            "options": self.options,
            "changes": True,  # a decision may take the place of an earlier one of the same reviewer
        }

    def next(self, reviewer: str, skip: Collection[int]) -> dict[str, Any]:
        """The next row of a reviewer."""
        return {"task": self.task(self.queue.next(reviewer, skip)), "progress": self.queue.progress()}

    def record(self, decision: Decision, replaces: str | None = None) -> dict[str, Any]:
        """Keep a decision, in place of the reviewer's decision with the key `replaces`."""
        stored = self.queue.record(decision, replaces)
        return {"event": stored.event, "progress": self.queue.progress()}

    def undo(self, reviewer: str) -> dict[str, Any]:
        """Take the last decision back, and hand out its row again."""
        return {"task": self.task(self.queue.undo(reviewer)), "progress": self.queue.progress()}

    def release(self, reviewer: str, rows: Collection[int]) -> dict[str, Any]:
        """Give rows back that were not decided."""
        for row in rows:
            self.queue.release(reviewer, row)
        return {}

    def row(self, reviewer: str, row: int) -> dict[str, Any]:
        """One row by its number, without taking it; other people's decisions only once a third has settled it."""
        said = [one for one in self.store.decisions() if one.row == row]
        settled = any(one.role == "adjudication" for one in said)
        shown = [asdict(one) for one in said if settled or one.reviewer == reviewer]
        project = self.project
        suggested = project.classes[project.suggested[row]]
        facts = {"row": row, "given": project.given_name(row), "suggested": suggested}
        facts |= {name: float(getattr(project, name)[row]) for name in ("p_wrong", "low", "high")}
        return self._shown(facts) | {"decisions": shown}

    def neighbours(self, row: int) -> list[dict[str, Any]]:
        """The rows that are most like a row."""
        return self.project.neighbours(row)

    def image(self, row: int, name: str) -> tuple[bytes, str]:
        """A picture of a row, if it is of a kind that browsers only draw."""
        try:
            content, kind = self.project.image(row, name)
        except InputError as error:
            raise NotThere(str(error)) from None
        if kind not in PICTURES:
            raise NotThere(f"The picture is of the type {kind}, which is not shown.")
        return content, kind

    def upcoming(self, offset: int, limit: int) -> list[dict[str, Any]]:
        """The rows that come next, if nothing changes."""
        return [finite(row) for row in self.queue.upcoming(offset, limit)]

    def history(self, reviewer: str, limit: int) -> list[dict[str, Any]]:
        """A reviewer's own decisions, newest first, with the labels that they are about."""
        own = [one for one in self.store.decisions() if one.reviewer == reviewer][::-1][:limit]
        project = self.project
        return [
            asdict(one)
            | {
                "id": project.row_id(one.row),
                "given": project.given_name(one.row),
                "suggested": project.classes[project.suggested[one.row]],
            }
            for one in own
        ]

    def decisions(self) -> bytes:
        """The decisions in force as CSV, which `assay audit --verdicts` reads; no cell can act as a formula.

        Of a reviewer who judged a row blind and then settled the dispute about it, the last word.
        """
        from assay.evidence.audit_files import as_csv  # brings the whole audit, for which the first row need not wait

        columns: dict[str, list[Any]] = {name: [] for name in DECIDED}
        project = self.project
        last = {(one.row, one.reviewer): one for one in self.store.decisions()}
        for one in last.values():
            facts = asdict(one) | {
                "id": project.row_id(one.row),
                "suggested": project.classes[project.suggested[one.row]],
            }
            for name, cells in columns.items():
                cells.append("" if facts[name] is None else facts[name])
        return as_csv(columns)

    def task(self, task: Task | None) -> dict[str, Any] | None:
        """A task as the page gets it, with its content."""
        return None if task is None else self._shown(asdict(task))

    def _shown(self, facts: dict[str, Any]) -> dict[str, Any]:
        row = facts["row"]
        try:
            content = self.project.content(row)
        except (AssayError, OSError) as error:  # the row can still be skipped, and the next one be seen
            content = {"kind": "text", "text": f"This row cannot be shown: {error}", "highlights": []}
        return finite(facts) | {"id": self.project.row_id(row), "content": content}


def finite(facts: dict[str, Any]) -> dict[str, Any]:
    """Numbers that are not known as null, which JSON has no other word for."""
    return {name: None if value != value else value for name, value in facts.items()}  # nan alone differs from itself

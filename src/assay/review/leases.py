"""Who holds which row while they look at it. Leases are no history: they lie beside the events and end by the clock."""

from __future__ import annotations

from collections.abc import Sequence

from assay.labels.ledger_store import Beside


class Leases:
    """Rows held by reviewers, for all threads and processes that share a ledger.

    Parameters
    ----------
    beside : the table `leases` of a ledger's store, with the columns `row`, `reviewer`, `until`.
    """

    def __init__(self, beside: Beside) -> None:
        self._beside = beside
        beside.run(f"DELETE FROM {beside.leases} WHERE until <= {beside.now}")

    def take(self, rows: Sequence[int], reviewer: str, seconds: float) -> int | None:
        """Hold, for so many seconds from now, the first of `rows` that nobody else holds; None when there is none.

        A row that the reviewer holds already is held anew.
        """
        run, leases, now = self._beside.run, self._beside.leases, self._beside.now
        while True:
            others = run(f'SELECT "row" FROM {leases} WHERE until > {now} AND reviewer <> ?', reviewer)
            held = {row for (row,) in others}
            row = next((row for row in rows if row not in held), None)
            # Somebody may have been faster since; then this inserts nothing, and the next turn sees who holds it.
            if row is None or run(
                f'INSERT INTO {leases} ("row", reviewer, until) VALUES (?, ?, {now} + ?) ON CONFLICT ("row") DO UPDATE '
                f"SET reviewer = excluded.reviewer, until = excluded.until "
                f"WHERE {leases}.until <= {now} OR {leases}.reviewer = excluded.reviewer "
                f'RETURNING "row"',
                row,
                reviewer,
                float(seconds),
            ):
                return row

    def release(self, reviewer: str, row: int | None = None) -> None:
        """Let go of all rows that the reviewer holds, or of one."""
        one = ("", ()) if row is None else (' AND "row" = ?', (row,))
        self._beside.run(f"DELETE FROM {self._beside.leases} WHERE reviewer = ?{one[0]}", reviewer, *one[1])

    def close(self) -> None:
        """Let the table go; the leases stay until they end."""
        self._beside.close()

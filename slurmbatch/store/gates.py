"""Arrays that may not be handed over yet: what they wait for, and how they go on.

Whether a gate opens is told by the store alone, each time anew, so no crash in between loses it.
"""

from __future__ import annotations

from dataclasses import dataclass

from slurmbatch.model import Gate
from slurmbatch.store import summaries
from slurmbatch.store.database import Database
from slurmbatch.store.rows import FIRST_END, STATUSES

_FAILED = len(STATUSES) - 1


@dataclass(frozen=True, slots=True)
class Blocked:
    """Arrays of a batch that wait for the same; `cancel`: nothing of them shall run."""

    batch: int
    batch_id: str
    gates: tuple[Gate, ...]
    cancel: bool
    arrays: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Canaries:
    """How the first jobs of a batch fare."""

    n_jobs: int
    n_ended: int
    n_failed: int


class Gates:
    def __init__(self, database: Database) -> None:
        self._db = database

    def blocked(self) -> list[Blocked]:
        rows = self._db.sql(
            "SELECT b.pk, b.batch_id, a.gate, a.cancelled_at IS NOT NULL OR b.deleted_at IS NOT"
            " NULL, group_concat(a.pk) FROM array a JOIN batch b ON b.pk = a.batch"
            " WHERE a.state NOT IN ('DONE', 'REFUSED') AND a.state = 'BLOCKED'"
            " GROUP BY 1, 3, 4 ORDER BY 1"
        )
        return [
            Blocked(pk, batch_id, tuple(map(Gate, gate.split(","))), bool(cancel),
                    tuple(sorted(map(int, arrays.split(",")))))
            for pk, batch_id, gate, cancel, arrays in rows
        ]  # fmt: skip

    def canaries(self, batch: int) -> Canaries:
        rows = self._db.sql(
            f"SELECT count(*), total(status >= {FIRST_END}), total(status = {_FAILED}) FROM job"
            " WHERE batch = ?1 AND idx < (SELECT canary FROM batch WHERE pk = ?1)",
            (batch,),
        )
        return Canaries(*map(int, rows[0]))

    def open(self, arrays: tuple[int, ...]) -> None:
        """They may be handed over from now on."""
        with self._db.write() as db:
            db.connection().cursor().executemany(
                "UPDATE array SET state = 'INTENT', gate = '', waiting = ''"
                " WHERE pk = ? AND state = 'BLOCKED'",
                [(pk,) for pk in arrays],
            )
            db.connection().cursor().executemany(
                "UPDATE batch SET version = version + 1"
                " WHERE pk IN (SELECT DISTINCT batch FROM array WHERE pk = ?)",
                [(pk,) for pk in arrays[:1]],
            )
            batches = db.execute_sql("SELECT batch FROM array WHERE pk = ?", arrays[:1])
            summaries.refresh(db, [row[0] for row in batches.fetchall()])

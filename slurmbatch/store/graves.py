"""What is gone, and the names in Slurm that were, or are, ours."""

from __future__ import annotations

import time
from enum import StrEnum

import peewee

from slurmbatch.store import holding, summaries
from slurmbatch.store.database import Database

_STANDING = """
SELECT CASE WHEN state IN ('BLOCKED', 'INTENT') THEN 'INTENT'
    WHEN state NOT IN ('DONE', 'REFUSED') THEN 'OPEN'
    WHEN array.cancelled_at IS NULL AND deleted_at IS NULL
        AND EXISTS (SELECT 1 FROM job WHERE job.array = array.pk) THEN 'OVER' ELSE 'BURIED' END
FROM array JOIN batch ON batch.pk = array.batch WHERE tag = ?
UNION ALL SELECT 'BURIED' FROM tombstone WHERE tag = ?
"""

_WHOSE = """
SELECT uid FROM array JOIN batch ON batch.pk = array.batch WHERE tag = ?
UNION ALL SELECT uid FROM tombstone WHERE tag = ?
"""


class Standing(StrEnum):
    """Of a name in Slurm. INTENT: the submitter looks for it. OPEN: handed over. OVER: it has ended
    for us. BURIED: nothing of it shall run any more, because it was cancelled or deleted, or is
    submitted under another name since."""

    INTENT = "INTENT"
    OPEN = "OPEN"
    OVER = "OVER"
    BURIED = "BURIED"
    UNKNOWN = "UNKNOWN"


# How long, and of how many batches, the records are removed in one go.
PURGE_SECONDS = 0.25
_PURGED_AT_MOST = 500


class Graves:
    def __init__(self, database: Database) -> None:
        self._db = database

    def standing(self, tag: str) -> Standing:
        """What is known of a name in Slurm that may be ours, also of a batch that is gone."""
        rows = self._db.sql(_STANDING, (tag, tag))
        return Standing(rows[0][0]) if rows else Standing.UNKNOWN

    def whose(self, tag: str) -> int | None:
        """As whom what bears this name runs; None: as the service, or it is not known."""
        rows = self._db.sql(_WHOSE, (tag, tag))
        return None if not rows else rows[0][0]

    def purge(self, now: float, portion: int = 5000, seconds: float = PURGE_SECONDS) -> list[str]:
        """Removes deleted batches of which nothing runs any more, a portion of jobs at a time, for
        no longer than that: thousands may have become too old at once.

        Gives the ids of those that are gone now. Their tags stay known.
        """
        until = time.monotonic() + seconds
        over = self._db.sql(
            "SELECT pk, batch_id FROM batch WHERE deleted_at IS NOT NULL AND NOT EXISTS (SELECT 1"
            " FROM array WHERE array.batch = batch.pk AND state NOT IN ('DONE', 'REFUSED'))"
            f" LIMIT {_PURGED_AT_MOST}"
        )
        gone = []
        for pk, batch_id in over:
            while not (removed := self._remove(pk, now, portion)) and time.monotonic() < until:
                pass
            if removed:
                gone.append(batch_id)
            if time.monotonic() >= until:
                break
        return gone

    def _remove(self, pk: int, now: float, portion: int) -> bool:
        """Removes some of a batch's jobs, or what is left of it: then True."""
        with self._db.write() as db:
            removed = db.execute_sql(
                "DELETE FROM job WHERE batch = ? AND idx IN"
                " (SELECT idx FROM job WHERE batch = ? LIMIT ?)",
                (pk, pk, portion),
            ).rowcount
            if removed == portion:
                return False
            bury(db, "array.batch = ?", pk, now)
            db.execute_sql("DELETE FROM attempt WHERE batch = ?", (pk,))
            summaries.forget(db, pk)
            db.execute_sql("DELETE FROM array WHERE batch = ?", (pk,))
            holding.forget(db, pk)
            db.execute_sql("DELETE FROM batch WHERE pk = ?", (pk,))
            return True

    def forget_tombstones(self, before: float) -> None:
        with self._db.write() as db:
            db.execute_sql("DELETE FROM tombstone WHERE buried_at < ?", (before,))


def bury(db: peewee.SqliteDatabase, which: str, pk: int, now: float) -> None:
    """Keeps the names of the arrays for which this is true: nothing of them is to run any more."""
    db.execute_sql(
        "INSERT OR REPLACE INTO tombstone (tag, batch_id, slurm_job_id, buried_at, uid)"
        " SELECT array.tag, batch.batch_id, array.slurm_job_id, ?, batch.uid"
        f" FROM array JOIN batch ON batch.pk = array.batch WHERE {which}",
        (now, pk),
    )

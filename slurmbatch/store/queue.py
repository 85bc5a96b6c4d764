"""What waits to be handed over: asked for head first, so that a long queue costs no more than a
short one."""

from __future__ import annotations

from dataclasses import dataclass

from slurmbatch.model import ArraySpec
from slurmbatch.store import summaries
from slurmbatch.store.arrays import Arrays
from slurmbatch.store.database import Database

# In the words of the indices, or SQLite would look at all arrays that there ever were.
_INTENTS = "a.state = 'INTENT'"
_IN_SLURM = "state NOT IN ('DONE', 'REFUSED') AND state IN ('HELD', 'RELEASING', 'QUEUED')"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A batch with arrays that are to be handed over."""

    pk: int
    batch_id: str
    user_id: str


class Queue:
    def __init__(self, database: Database, arrays: Arrays) -> None:
        self._db = database
        self._arrays = arrays

    def batches(self) -> list[Waiting]:
        """Oldest first. Those that are deleted are not among them."""
        rows = self._db.sql(
            "SELECT b.pk, b.batch_id, b.user_id FROM batch b WHERE b.deleted_at IS NULL AND b.pk IN"
            f" (SELECT DISTINCT a.batch FROM array a WHERE {_INTENTS} AND a.cancelled_at IS NULL)"
            " ORDER BY b.pk"
        )
        return [Waiting(*row) for row in rows]

    def first(self, batch: int, limit: int) -> list[ArraySpec]:
        """The next arrays of a batch, but for those that are cancelled."""
        return self._arrays.where(
            f"{_INTENTS} AND a.batch = ? AND a.cancelled_at IS NULL ORDER BY a.ordinal LIMIT ?",
            batch, limit,
        )  # fmt: skip

    def cancelled(self, limit: int) -> list[ArraySpec]:
        """Some of those that shall not run any more."""
        return self._arrays.where(
            f"a.pk IN (SELECT a.pk FROM array a WHERE {_INTENTS} AND (a.cancelled_at IS NOT NULL"
            " OR a.batch IN (SELECT pk FROM batch WHERE deleted_at IS NOT NULL))"
            " ORDER BY a.batch, a.ordinal LIMIT ?) ORDER BY a.batch, a.ordinal",
            limit,
        )

    def let_wait(self, batch: int, why: str) -> None:
        """All of a batch that does not say yet why it waits."""
        with self._db.write() as db:
            told = db.execute_sql(
                f"UPDATE array AS a SET waiting = ? WHERE {_INTENTS} AND batch = ?"
                " AND waiting = '' AND cancelled_at IS NULL",
                (why, batch),
            ).rowcount
            if told:
                db.execute_sql("UPDATE batch SET version = version + 1 WHERE pk = ?", (batch,))
                summaries.refresh(db, [batch])

    def in_slurm(self) -> int:
        """How many jobs Slurm has that have not ended."""
        rows = self._db.sql(f"SELECT coalesce(sum(n_unfinished), 0) FROM array WHERE {_IN_SLURM}")
        return int(rows[0][0])

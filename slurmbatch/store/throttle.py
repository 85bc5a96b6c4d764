"""One throttle for all arrays of a batch: each has a share of it.

Slurm limits how many tasks of one array run at once. The shares of a batch's arrays that are
handed over, or about to be, add up to `max_parallel` at most, where a share counts only as far as
its array has jobs left. So what becomes free in one goes to others. A share only grows, so that a
submission of unknown fate never has more than is written down here.
"""

from __future__ import annotations

from dataclasses import dataclass

import peewee

from slurmbatch.store.database import Database

# In the words of the index.
_SHARING = "throttle IS NOT NULL AND state NOT IN ('DONE', 'REFUSED')"
_ROOM = f"""
SELECT b.max_parallel - (SELECT coalesce(sum(min(throttle, n_unfinished)), 0)
    FROM array WHERE batch = b.pk AND {_SHARING})
FROM batch b WHERE b.pk = ?
"""


def room(db: peewee.SqliteDatabase, batch: int) -> int | None:
    """How many more of its jobs may be let run at once; None: no limit."""
    row = db.execute_sql(_ROOM, (batch,)).fetchone()
    return None if row is None or row[0] is None else int(row[0])


@dataclass(frozen=True, slots=True)
class Share:
    """Of an array that Slurm has, and that Slurm has not been told of."""

    array: int
    batch_id: str
    tag: str
    slurm_job_id: int
    most: int
    uid: int | None


class Throttles:
    def __init__(self, database: Database) -> None:
        self._db = database

    def has_room(self, batch: int) -> bool:
        left = room(self._db.reader, batch)
        return left is None or left > 0

    def widen(self, batch: int) -> None:
        """What is free goes to the arrays that are handed over already, the first ones first."""
        with self._db.write() as db:
            left = room(db, batch) or 0
            rows = db.execute_sql(
                f"SELECT pk, throttle, n_unfinished FROM array WHERE batch = ? AND {_SHARING}"
                " AND throttle < n_unfinished ORDER BY ordinal",
                (batch,),
            ).fetchall()
            for pk, share, n_unfinished in rows:
                more = min(left, n_unfinished - share)
                if more < 1:
                    return
                left -= more
                db.execute_sql("UPDATE array SET throttle = throttle + ? WHERE pk = ?", (more, pk))

    def untold(self, boot: str) -> list[Share]:
        """Those that the slurmctld that was started at `boot` does not know of, for all we know."""
        rows = self._db.sql(
            "SELECT a.pk, b.batch_id, a.tag, a.slurm_job_id, a.throttle, b.uid FROM array a"
            f" JOIN batch b ON b.pk = a.batch WHERE a.{_SHARING.replace(' state', ' a.state')}"
            " AND a.state IN ('HELD', 'RELEASING', 'QUEUED')"
            " AND a.throttle_told <> a.throttle || '@' || ?",
            (boot,),
        )
        return [Share(*row) for row in rows]

    def told(self, share: Share, boot: str) -> None:
        with self._db.write() as db:
            db.execute_sql(
                "UPDATE array SET throttle_told = ? WHERE pk = ?",
                (in_words(share.most, boot), share.array),
            )


def in_words(share: int | None, boot: str) -> str:
    """What Slurm was told, and which slurmctld."""
    return "" if share is None else f"{share}@{boot}"

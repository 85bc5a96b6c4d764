"""What jobs used: which are to be asked for, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import peewee

from slurmbatch.store import summaries
from slurmbatch.store.database import Database
from slurmbatch.store.rows import FIRST_END

MIN_SECONDS = 5.0
_DUE = """
SELECT j.array, a.slurm_job_id, j.task, a.tag, coalesce(j.stop_time, j.usage_due), j.usage_due
    FROM job j JOIN array a ON a.pk = j.array
    WHERE j.usage_due <= ?1 AND a.slurm_job_id IS NOT NULL
UNION ALL
SELECT t.array, a.slurm_job_id, t.task, a.tag, coalesce(t.stop_time, t.usage_due), t.usage_due
    FROM attempt t JOIN array a ON a.pk = t.array
    WHERE t.usage_due <= ?1 AND a.slurm_job_id IS NOT NULL
ORDER BY 6 LIMIT ?2
"""
_OF_JOB = f"""
UPDATE job SET max_rss = ?1, cpu_time = ?2, usage_due = NULL
WHERE array = ?3 AND task = ?4 AND usage_due IS NOT NULL AND status >= {FIRST_END}
RETURNING batch, status, start_time, stop_time
"""
_OF_ATTEMPT = """
UPDATE attempt SET max_rss = ?1, cpu_time = ?2, usage_due = NULL
WHERE array = ?3 AND task = ?4 AND usage_due IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Due:
    """An ended task whose use is not known yet: `array` is our number of its array, `task` Slurm's
    id of that and the task's own number, `tag` the name that it ran under."""

    array: int
    task: tuple[int, int]
    tag: str
    ended_at: float


@dataclass(frozen=True, slots=True)
class Used:
    """MiB and seconds; None where accounting does not have it."""

    due: Due
    max_rss: float | None
    cpu_time: float | None


# A run that was retried since is an attempt.
_TABLES = {"job": f"status >= {FIRST_END}", "attempt": "TRUE"}
_IS_DUE = " UNION ALL ".join(
    f"SELECT 1 FROM {table} WHERE usage_due <= ?1" for table in _TABLES
) + " LIMIT 1"  # fmt: skip
_DUE = " UNION ALL ".join(
    "SELECT t.array, a.slurm_job_id, t.task, a.tag, coalesce(t.stop_time, t.usage_due),"
    f" t.usage_due FROM {table} t JOIN array a ON a.pk = t.array"
    " WHERE t.usage_due <= ?1 AND a.slurm_job_id IS NOT NULL"
    for table in _TABLES
) + " ORDER BY 6 LIMIT ?2"  # fmt: skip


class Usages:
    def __init__(self, database: Database) -> None:
        self._db = database

    def is_due(self, now: float) -> bool:
        rows = self._db.sql(
            "SELECT EXISTS (SELECT 1 FROM job WHERE usage_due <= ?1)"
            " OR EXISTS (SELECT 1 FROM attempt WHERE usage_due <= ?1)",
            (now,),
        )
        return bool(rows[0][0])

    def due(self, now: float, limit: int) -> tuple[Due, ...]:
        """Those that have waited longest first; also runs of jobs that were put back since."""
        return tuple(
            Due(pk, (array, task), tag, ended)
            for pk, array, task, tag, ended, _ in self._db.sql(_DUE, (now, limit))
        )

    def put_off(self, dues: Iterable[Due], until: float) -> None:
        rows = [(until, each.array, each.task[1]) for each in dues]
        if rows:
            with self._db.write() as db:
                for table in ("job", "attempt"):
                    db.connection().cursor().executemany(
                        f"UPDATE {table} SET usage_due = ? WHERE array = ? AND task = ?"
                        " AND usage_due IS NOT NULL",
                        rows,
                    )

    def keep(self, useds: Sequence[Used], now: float) -> None:
        """Writes what these used, and counts it for their batches if they succeeded."""
        if not useds:
            return
        with self._db.write() as db:
            batches = {batch for each in useds for batch in _keep(db, each)}
            db.connection().cursor().executemany(
                "UPDATE batch SET version = version + 1 WHERE pk = ?",
                [(batch,) for batch in batches],
            )
            summaries.refresh(db, batches, now)


def _keep(db: peewee.SqliteDatabase, used: Used) -> Iterator[int]:
    """The batch of it, if it is told for the first time."""
    values = (used.max_rss, used.cpu_time, used.due.array, used.due.task[1])
    db.execute_sql(_OF_ATTEMPT, values)
    for batch, status, start, stop in db.execute_sql(_OF_JOB, values).fetchall():
        if status == FIRST_END:
            elapsed = None if start is None or stop is None else max(0.0, stop - start)
            summaries.used(db, batch, [
                ("memory", used.max_rss), ("cpu", _busy(used.cpu_time, elapsed)), ("time", elapsed),
            ])  # fmt: skip
        yield batch


def _busy(cpu_time: float | None, elapsed: float | None) -> float | None:
    """How many CPUs at once; Slurm's times are whole seconds, which tell nothing of a short job."""
    if cpu_time is None or elapsed is None or elapsed < MIN_SECONDS:
        return None
    return round(cpu_time / elapsed, 2)

"""What jobs used: which are to be asked for, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from slurmbatch.store.database import Database
from slurmbatch.store.rows import FIRST_END


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


class Usages:
    def __init__(self, database: Database) -> None:
        self._db = database

    def is_due(self, now: float) -> bool:
        return bool(self._db.sql("SELECT 1 FROM job WHERE usage_due <= ? LIMIT 1", (now,)))

    def due(self, now: float, limit: int) -> tuple[Due, ...]:
        """Those that have waited longest first."""
        rows = self._db.sql(
            "SELECT j.array, a.slurm_job_id, j.task, a.tag, coalesce(j.stop_time, j.usage_due)"
            " FROM job j JOIN array a ON a.pk = j.array"
            " WHERE j.usage_due <= ? AND a.slurm_job_id IS NOT NULL ORDER BY j.usage_due LIMIT ?",
            (now, limit),
        )
        return tuple(Due(pk, (array, task), tag, ended) for pk, array, task, tag, ended in rows)

    def put_off(self, dues: Iterable[Due], until: float) -> None:
        rows = [(until, each.array, each.task[1]) for each in dues]
        if rows:
            with self._db.write() as db:
                db.connection().cursor().executemany(
                    "UPDATE job SET usage_due = ? WHERE array = ? AND task = ?"
                    " AND usage_due IS NOT NULL",
                    rows,
                )

    def keep(self, useds: Sequence[Used], now: float) -> None:
        """Writes what these used, unless they run again meanwhile."""
        if not useds:
            return
        with self._db.write() as db:
            db.connection().cursor().executemany(
                "UPDATE job SET max_rss = ?, cpu_time = ?, usage_due = NULL"
                " WHERE array = ? AND task = ? AND usage_due IS NOT NULL"
                f" AND status >= {FIRST_END}",
                [(each.max_rss, each.cpu_time, each.due.array, each.due.task[1]) for each in useds],
            )

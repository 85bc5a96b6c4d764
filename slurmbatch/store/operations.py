"""What the admin sees and does across all users: batches, whom an id belongs to, and the drain."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from slurmbatch.model import Act, parse_job_id, parse_log_id
from slurmbatch.store import audit
from slurmbatch.store.database import Database
from slurmbatch.store.ids import is_id
from slurmbatch.store.rows import STATUSES

_COUNTS = ", ".join(f"n_status_{code}" for code in range(len(STATUSES)))
_SLURM_ID = re.compile(r"(\d{1,10})(?:_(\d{1,9}))?")
_DRAIN = "drain"
_BATCH = (
    "batch_id",
    "user_id",
    "tool_id",
    "name",
    "n_jobs",
    "request_id",
    "created_at",
    "cancelled_at",
    "deleted_at",
    "finished_at",
)
_ARRAY = (
    "ordinal",
    "generation",
    "tag",
    "n_tasks",
    "n_unfinished",
    "state",
    "slurm_job_id",
    "tries",
    "tried_at",
    "submitted_at",
    "released_at",
    "cancelled_at",
    "waiting",
)
_JOB = (
    "idx",
    "task",
    "status",
    "reason",
    "slurm_state",
    "start_time",
    "stop_time",
    "exit_code",
    "signal",
    "node_list",
    "restarts",
)


@dataclass(frozen=True, slots=True)
class Hit:
    """A batch that an id leads to, and the job of it if it is one's; `why` says how."""

    pk: int
    why: str
    index: int | None = None


class Operations:
    """Sees batches of all users, deleted ones too as long as their records are there."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # --- the drain ------------------------------------------------------------------------------

    def drained(self) -> tuple[float, str] | None:
        """Since when no new batches are accepted, and why; None: they are."""
        rows = self._db.sql("SELECT value FROM meta WHERE key = ?", (_DRAIN,))
        if not rows:
            return None
        since, why = json.loads(rows[0][0])
        return float(since), str(why)

    def drain(self, now: float, why: str, act: Act | None = None) -> None:
        with self._db.write() as db:
            value = json.dumps([now, why])
            db.execute_sql("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_DRAIN, value))
            audit.write(db, act)

    def resume(self, act: Act | None = None) -> bool:
        """False if it was not drained."""
        with self._db.write() as db:
            was = bool(db.execute_sql("DELETE FROM meta WHERE key = ?", (_DRAIN,)).rowcount)
            audit.write(db, act if was else None)
            return was

    # --- batches --------------------------------------------------------------------------------

    def batches(self, user_id: str | None, *, open_only: bool, limit: int) -> list[dict[str, Any]]:
        """Newest first, with the counts by status; none that are deleted."""
        rows = self._db.sql(
            f"SELECT {', '.join(_BATCH)}, {_COUNTS} FROM batch WHERE deleted_at IS NULL"
            " AND (?1 IS NULL OR user_id = ?1) AND (finished_at IS NULL OR NOT ?2)"
            " ORDER BY pk DESC LIMIT ?3",
            (user_id, open_only, limit),
        )
        return [_batch(row) for row in rows]

    # --- from any id to the whole story ---------------------------------------------------------

    def find(self, text: str) -> list[Hit]:
        """Everything that goes by this id."""
        job = parse_log_id(text) or parse_job_id(text)
        if is_id(text):
            return self._hits("its batch id", "SELECT pk FROM batch WHERE batch_id = ?", text)
        if job is not None and is_id(job[0]):
            found = self._hits("its job", "SELECT pk FROM batch WHERE batch_id = ?", job[0])
            return [Hit(each.pk, each.why, job[1]) for each in found]
        if text.startswith("sb-"):
            return self._hits("an array's name", "SELECT batch FROM array WHERE tag = ?", text)
        slurm = _SLURM_ID.fullmatch(text)
        found = self._by_slurm(int(slurm[1]), slurm[2]) if slurm else []
        return found or self._hits(
            "the request that made it", "SELECT pk FROM batch WHERE request_id = ?", text
        )

    def _hits(self, why: str, query: str, value: object) -> list[Hit]:
        return [Hit(int(row[0]), why) for row in self._db.sql(query, (value,))]

    def _by_slurm(self, number: int, task: str | None) -> list[Hit]:
        found = []
        for array, batch in self._db.sql(
            "SELECT pk, batch FROM array WHERE slurm_job_id = ?", (number,)
        ):
            index = None
            if task is not None:
                rows = self._db.sql(
                    "SELECT idx FROM job WHERE array = ? AND task = ?", (array, int(task))
                )
                index = int(rows[0][0]) if rows else None
            found.append(Hit(int(batch), "Slurm's number of an array", index))
        return found

    def story(self, hit: Hit) -> dict[str, Any]:
        """All that is known: the batch, its arrays, the job if there is one in question."""
        columns = f"{', '.join(_BATCH)}, {_COUNTS}"
        (row,) = self._db.sql(f"SELECT {columns} FROM batch WHERE pk = ?", (hit.pk,))
        arrays = self._db.sql(
            f"SELECT {', '.join(_ARRAY)} FROM array WHERE batch = ? ORDER BY ordinal", (hit.pk,)
        )
        told: dict[str, Any] = {
            "found_as": hit.why,
            "batch": _batch(row),
            "arrays": [dict(zip(_ARRAY, each, strict=True)) for each in arrays],
        }
        if hit.index is not None:
            told["job"] = self._job(hit.pk, hit.index)
        return told

    def _job(self, pk: int, index: int) -> dict[str, Any] | None:
        rows = self._db.sql(
            f"SELECT {', '.join(f'job.{name}' for name in _JOB)}, slurm_job_id FROM job"
            " JOIN array ON array.pk = job.array WHERE job.batch = ? AND job.idx = ?",
            (pk, index),
        )
        if not rows:
            return None
        job = dict(zip((*_JOB, "slurm_job_id"), rows[0], strict=True))
        job["status"] = STATUSES[job["status"]].value
        return job


def _batch(row: tuple[Any, ...]) -> dict[str, Any]:
    counts = zip(STATUSES, row[len(_BATCH) :], strict=True)
    told = dict(zip(_BATCH, row, strict=False))
    return {**told, "jobs": {status.value: n for status, n in counts if n}}

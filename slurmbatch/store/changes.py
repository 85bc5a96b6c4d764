"""What was seen of jobs, written: the jobs, and with them the counters of arrays and batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import peewee

from slurmbatch.model import JobChange
from slurmbatch.store.rows import CODE, FIRST_END, STATUSES

_CHANGE_TABLE = """
CREATE TEMP TABLE IF NOT EXISTS change (
    array INTEGER, task INTEGER, status INTEGER, reason TEXT, slurm_state TEXT, start_time REAL,
    stop_time REAL, exit_code INTEGER, signal INTEGER, node_list TEXT, restarts INTEGER,
    reopen INTEGER, PRIMARY KEY (array, task)
) WITHOUT ROWID
"""
_MAY_CHANGE = f"(job.status < {FIRST_END} OR c.reopen)"
_DELTAS = f"""
SELECT job.batch, job.array, job.status, c.status, count(*)
FROM temp.change c JOIN job ON job.array = c.array AND job.task = c.task
WHERE {_MAY_CHANGE} GROUP BY 1, 2, 3, 4
"""
# A higher restart count: Slurm has put the job back, so the run before is over, and kept.
_CLOSE_ATTEMPTS = """
INSERT OR IGNORE INTO attempt (batch, idx, attempt, reason, slurm_state, start_time, stop_time,
    exit_code, signal, node_list)
SELECT job.batch, job.idx, job.restarts + 1, job.reason, job.slurm_state, job.start_time,
    coalesce(job.stop_time, ?), job.exit_code, job.signal, job.node_list
FROM temp.change c JOIN job ON job.array = c.array AND job.task = c.task
WHERE c.restarts > job.restarts
"""
_APPLY = f"""
UPDATE job SET status = c.status, reason = c.reason, slurm_state = c.slurm_state,
    start_time = c.start_time, stop_time = c.stop_time, exit_code = c.exit_code,
    signal = c.signal, node_list = c.node_list, restarts = c.restarts
FROM temp.change c WHERE job.array = c.array AND job.task = c.task AND {_MAY_CHANGE}
"""


@dataclass(frozen=True, slots=True)
class Applied:
    """How many jobs were written, and the batches that ended by it: id, user, failed jobs, and the
    id of the request that made it."""

    jobs: int
    finished: tuple[tuple[str, str, int, str], ...]


def apply(
    db: peewee.SqliteDatabase, changes: Mapping[int, Sequence[JobChange]], now: float
) -> Applied:
    """Within a transaction. An array of which no job is left becomes DONE."""
    rows = [_change_row(pk, change) for pk, each in changes.items() for change in each]
    db.execute_sql(_CHANGE_TABLE)
    db.execute_sql("DELETE FROM temp.change")
    insert = f"INSERT INTO temp.change VALUES ({','.join('?' * 12)})"
    db.connection().cursor().executemany(insert, rows)
    deltas = db.execute_sql(_DELTAS).fetchall()
    db.execute_sql(_CLOSE_ATTEMPTS, (now,))
    written = int(db.execute_sql(_APPLY).rowcount)
    return Applied(written, tuple(_count(db, deltas, now)))


def _change_row(pk: int, change: JobChange) -> tuple[Any, ...]:
    return (
        pk, change.task, CODE[change.status], change.reason, change.slurm_state, change.start_time,
        change.stop_time, change.exit_code, change.signal, change.node_list, change.restarts,
        change.reopen,
    )  # fmt: skip


def _count(
    db: peewee.SqliteDatabase, deltas: Sequence[tuple[int, ...]], now: float
) -> list[tuple[str, str, int, str]]:
    """Moves the counters of batches and arrays; gives the batches that have ended by it."""
    batches: dict[int, list[int]] = {}
    arrays: dict[int, int] = {}
    for batch, array, old, new, count in deltas:
        moves = batches.setdefault(batch, [0] * len(STATUSES))
        moves[old] -= count
        moves[new] += count
        ended = (new >= FIRST_END) - (old >= FIRST_END)
        arrays[array] = arrays.get(array, 0) + ended * count
    sums = ", ".join(f"n_status_{code} = n_status_{code} + ?" for code in range(len(STATUSES)))
    cursor = db.connection().cursor()
    cursor.executemany(
        f"UPDATE batch SET {sums}, version = version + 1 WHERE pk = ?",
        [(*moves, batch) for batch, moves in batches.items()],
    )
    cursor.executemany(
        "UPDATE array SET n_unfinished = n_unfinished - ?1, state = CASE WHEN n_unfinished - ?1 = 0"
        " THEN 'DONE' WHEN state = 'DONE' THEN 'QUEUED' ELSE state END WHERE pk = ?2",
        [(ended, array) for array, ended in arrays.items()],
    )
    return [row for batch in batches for row in _finish(db, batch, now)]


def _finish(db: peewee.SqliteDatabase, batch: int, now: float) -> list[tuple[str, str, int, str]]:
    """Keeps the time at which the last job of a batch ended, and takes it back if one goes on."""
    db.execute_sql(
        "UPDATE batch SET finished_at = NULL WHERE pk = ? AND n_status_5 + n_status_6 < n_jobs",
        (batch,),
    )
    ended: list[tuple[str, str, int, str]] = db.execute_sql(
        "UPDATE batch SET finished_at = ? WHERE pk = ? AND n_status_5 + n_status_6 = n_jobs"
        " AND finished_at IS NULL RETURNING batch_id, user_id, n_status_6, request_id",
        (now, batch),
    ).fetchall()
    return ended

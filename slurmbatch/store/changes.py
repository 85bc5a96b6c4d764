"""What was seen of jobs, written: the jobs, and with them the counters of arrays and batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import peewee

from slurmbatch.model import JobChange, Status
from slurmbatch.store import policy, summaries
from slurmbatch.store.holding import ring
from slurmbatch.store.rows import CODE, FIRST_END, STATUSES

STARTING, RUNNING = CODE[Status.STARTING], CODE[Status.RUNNING]
# How many seconds after a job's end accounting has what it used, mostly.
USAGE_AFTER = 3.0
# What the reason of a run was while it went on says nothing of its end.
PUT_BACK = "REQUEUED: was put back into the queue by Slurm before it had ended"
_CHANGE_TABLE = """
CREATE TEMP TABLE IF NOT EXISTS change (
    array INTEGER, task INTEGER, status INTEGER, reason TEXT, slurm_state TEXT, start_time REAL,
    stop_time REAL, exit_code INTEGER, signal INTEGER, node_list TEXT, restarts INTEGER,
    reopen INTEGER, never_runs INTEGER, expected_start REAL,
    since REAL, gone REAL, began REAL,
    ran REAL AS (iif(status >= 5 AND node_list != '', max(0, stop_time - start_time), NULL)),
    PRIMARY KEY (array, task)
) WITHOUT ROWID
"""
# The + keeps SQLite from looking each of all jobs up among the changes.
_MAY_CHANGE = f"(job.status < {FIRST_END} OR c.reopen)"
_DELTAS = f"""
SELECT job.batch, job.array, job.status, c.status, count(*), total(c.ran IS NOT NULL),
    total(c.ran), max(iif(c.status >= {RUNNING} AND c.node_list != '', c.start_time, NULL))
FROM temp.change c JOIN job ON job.array = +c.array AND job.task = +c.task
WHERE {_MAY_CHANGE} GROUP BY 1, 2, 3, 4
"""
# Since when each job has had its old status, when that ended (`gone`), and when the new one began.
# Slurm's times count as far as they fit between the two looks; one that has run unseen ran from
# `gone` to `began`.
_TIMES = f"""
UPDATE temp.change AS c SET since = coalesce(job.status_since, batch.created_at),
    gone = CASE WHEN c.status >= {FIRST_END} AND job.status < {STARTING}
        THEN c.start_time END,
    began = CASE WHEN c.status >= {FIRST_END} THEN coalesce(c.stop_time, ?1)
        WHEN c.status = {RUNNING} AND job.status < {STARTING}
        THEN coalesce(c.start_time, ?1) ELSE ?1 END
FROM job JOIN batch ON batch.pk = job.batch
WHERE job.array = +c.array AND job.task = +c.task AND job.status != c.status
"""
_FITTED = """
UPDATE temp.change SET began = max(since, min(began, ?1)),
    gone = max(since, min(coalesce(gone, began), began, ?1)) WHERE began IS NOT NULL
"""
# A higher restart count: Slurm has put the job back, so the run before is over, and kept.
_CLOSE_ATTEMPTS = f"""
INSERT OR IGNORE INTO attempt (batch, idx, attempt, reason, slurm_state, start_time, stop_time,
    exit_code, signal, node_list, array, task, max_rss, cpu_time)
SELECT job.batch, job.idx, job.earlier + job.restarts + 1,
    iif(job.status < {FIRST_END}, '{PUT_BACK}', job.reason), job.slurm_state,
    job.start_time, coalesce(job.stop_time, ?), job.exit_code, job.signal, job.node_list,
    job.array, job.task, job.max_rss, job.cpu_time
FROM temp.change c JOIN job ON job.array = +c.array AND job.task = +c.task
WHERE c.restarts > job.restarts
"""
_SPENT = ", ".join(
    f"spent_{code} = spent_{code} + iif(c.began IS NOT NULL AND job.status = {code},"
    f" c.gone - c.since, 0) + {'coalesce(c.began - c.gone, 0)' if code == RUNNING else 0}"
    for code in range(FIRST_END)
)
_APPLY = f"""
UPDATE job SET status = c.status, reason = c.reason, slurm_state = c.slurm_state,
    start_time = c.start_time, stop_time = c.stop_time, exit_code = c.exit_code,
    signal = c.signal, node_list = c.node_list, restarts = c.restarts,
    never_runs = c.never_runs, expected_start = c.expected_start, max_rss = NULL, cpu_time = NULL,
    usage_due = iif(c.status >= {FIRST_END} AND c.node_list != '', ?1 + {USAGE_AFTER}, NULL),
    status_since = coalesce(c.began, job.status_since), {_SPENT}
FROM temp.change c WHERE job.array = +c.array AND job.task = +c.task AND {_MAY_CHANGE}
"""


class _Delta(NamedTuple):
    """Jobs of an array that change from one status to another, and those of them that have run."""

    batch: int
    array: int
    old: int
    new: int
    n_jobs: int
    n_ran: float
    ran_seconds: float
    last_start: float | None


@dataclass(frozen=True, slots=True)
class Applied:
    """How many jobs were written, and the batches that ended by it: id, user, failed jobs, and the
    id of the request that made it. `again`: how many of the jobs are run again by a policy."""

    jobs: int
    finished: tuple[tuple[str, str, int, str], ...]
    again: int = 0


def apply(
    db: peewee.SqliteDatabase, changes: Mapping[int, Sequence[JobChange]], now: float
) -> Applied:
    """Within a transaction. An array of which no job is left becomes DONE."""
    rows = [_change_row(pk, change) for pk, each in changes.items() for change in each]
    db.execute_sql(_CHANGE_TABLE)
    db.execute_sql("DELETE FROM temp.change")
    insert = f"INSERT INTO temp.change VALUES ({','.join('?' * 14)}, NULL, NULL, NULL)"
    db.connection().cursor().executemany(insert, rows)
    db.execute_sql(_TIMES, (now,))
    db.execute_sql(_FITTED, (now,))
    deltas = [_Delta(*row) for row in db.execute_sql(_DELTAS)]
    db.execute_sql(_CLOSE_ATTEMPTS, (now,))
    again = policy.due(db)
    summaries.move(db)
    written = int(db.execute_sql(_APPLY, (now,)).rowcount)
    batches = _count(db, deltas, again)
    n_again = policy.apply(db, again, now)
    finished = [row for batch in batches for row in _finish(db, batch, now)]
    _summarise(db, deltas, now)
    return Applied(written, tuple(finished), n_again)


def _summarise(db: peewee.SqliteDatabase, deltas: Sequence[_Delta], now: float) -> None:
    for batch in {each.batch for each in deltas if each.old == summaries.FAILED}:
        summaries.recount(db, batch)  # so that no example is of a job that goes on
    db.connection().cursor().executemany(
        "UPDATE batch SET n_ran = n_ran + ?, ran_seconds = ran_seconds + ?,"
        " last_start = nullif(max(coalesce(last_start, 0), coalesce(?, 0)), 0) WHERE pk = ?",
        [(each.n_ran, each.ran_seconds, each.last_start, each.batch) for each in deltas],
    )
    summaries.refresh(db, {each.batch for each in deltas}, now)


def _change_row(pk: int, change: JobChange) -> tuple[Any, ...]:
    return (
        pk, change.task, CODE[change.status], change.reason, change.slurm_state, change.start_time,
        change.stop_time, change.exit_code, change.signal, change.node_list, change.restarts,
        change.reopen, change.never_runs, change.expected_start,
    )  # fmt: skip


def _count(
    db: peewee.SqliteDatabase, deltas: Sequence[_Delta], again: Sequence[policy.Again]
) -> Iterable[int]:
    """Moves the counters of batches and arrays; gives those batches. What is run again has failed
    for its array, but for its batch it never has, not even in between: somebody is told of that."""
    batches: dict[int, list[int]] = {}
    arrays: dict[int, int] = {}
    for batch, array, old, new, count, *_ in deltas:
        moves = batches.setdefault(batch, [0] * len(STATUSES))
        moves[old] -= count
        moves[new] += count
        ended = (new >= FIRST_END) - (old >= FIRST_END)
        arrays[array] = arrays.get(array, 0) + ended * count
    for each in again:
        batches[each.batch][summaries.FAILED] -= each.n_jobs
        batches[each.batch][0] += each.n_jobs
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
    over = {each.batch for each in deltas if (each.old >= FIRST_END) != (each.new >= FIRST_END)}
    ring(db, over)
    return batches


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

"""What a batch says of its jobs as a whole, kept in its own row: looking at it is no work.

Jobs of one status, reason and node are counted together, what those used that succeeded in
buckets; so a batch of a million jobs has few of either, and a change of ten jobs moves ten.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import peewee

from slurmbatch import summary
from slurmbatch.model import Hardware, Status
from slurmbatch.spool import compact
from slurmbatch.store.rows import CODE, FIRST_END, STATUSES
from slurmbatch.summary import Bucket, Facts, Group

REASONS_SHOWN = 10
FAILED = CODE[Status.FAILED]
# Those whose reason says what they wait for, and those that failed; these by node as well.
_TOLD = f"({CODE[Status.PENDING]}, {CODE[Status.RUNNABLE]}, {FAILED})"
KINDS = ("memory", "cpu", "time")
_MOVE = """
INSERT INTO reason (batch, status, reason, node, n, example)
SELECT job.batch, {of}.status, {of}.reason, iif({of}.status = {failed}, {of}.node_list, ''),
    {sign} count(*), iif({of}.status = {failed}, min(job.idx), NULL)
FROM temp.change c JOIN job ON job.array = +c.array AND job.task = +c.task
WHERE (job.status < {first_end} OR c.reopen) AND {of}.status IN {told} AND {of}.reason != ''
GROUP BY 1, 2, 3, 4
ON CONFLICT DO UPDATE SET n = n + excluded.n, example = coalesce(example, excluded.example)
"""
_LEAVE, _JOIN = (
    _MOVE.format(of=of, sign=sign, failed=FAILED, first_end=FIRST_END, told=_TOLD)
    for of, sign in (("job", "-"), ("c", "+"))
)
_COUNT = f"""
INSERT INTO reason (batch, status, reason, node, n, example)
SELECT batch, status, reason, iif(status = {FAILED}, node_list, ''), count(*),
    iif(status = {FAILED}, min(idx), NULL)
FROM job WHERE batch = ? AND status IN {_TOLD} AND reason != '' GROUP BY 1, 2, 3, 4
"""
_PUT_BACK = f"""
UPDATE reason SET n = reason.n - g.n,
    example = iif(example IN (SELECT idx FROM temp.again), NULL, example)
FROM (SELECT job.reason AS reason, job.node_list AS node, count(*) AS n
    FROM temp.again t JOIN job ON job.batch = +t.batch AND job.idx = +t.idx GROUP BY 1, 2) AS g
WHERE reason.batch = ?1 AND reason.status = {FAILED} AND reason.reason = g.reason
    AND reason.node = g.node
"""
# SQLite takes the other columns from the row of the maximum.
_GROUPS = """
SELECT status, reason, sum(n), max(n), node, count(*), example FROM reason WHERE batch = ?
GROUP BY status, reason ORDER BY 3 DESC, 1 DESC, 2 LIMIT ?
"""
# What waits to be handed over: the reason stands with the array.
_WAITING = """
SELECT (SELECT status FROM job WHERE job.array = array.pk AND status < 2 LIMIT 1) AS code, waiting,
    sum(n_unfinished), 0, '', 0, NULL FROM array
WHERE batch = ? AND waiting != '' AND slurm_job_id IS NULL AND state NOT IN ('DONE', 'REFUSED')
    AND code IS NOT NULL
GROUP BY code, waiting
"""


def move(db: peewee.SqliteDatabase) -> None:
    """Before the changes are applied: their jobs leave the groups that they were in for others."""
    db.execute_sql(_LEAVE)
    db.execute_sql(_JOIN)


def leave(db: peewee.SqliteDatabase, batch: int) -> bool:
    """Before failed jobs are put back: they leave their groups. True if one of those has lost its
    example by that, and so has to be counted anew afterwards."""
    db.execute_sql(_PUT_BACK, (batch,))
    lost = f"SELECT 1 FROM reason WHERE batch = ? AND status = {FAILED} AND n > 0"
    return db.execute_sql(f"{lost} AND example IS NULL", (batch,)).fetchone() is not None


def recount(db: peewee.SqliteDatabase, batch: int) -> None:
    """Anew from the jobs."""
    db.execute_sql("DELETE FROM reason WHERE batch = ?", (batch,))
    db.execute_sql(_COUNT, (batch,))


def used(db: peewee.SqliteDatabase, batch: int, values: Sequence[tuple[str, float | None]]) -> None:
    """What one more job of it used, by kind; None: it is not known."""
    db.connection().cursor().executemany(
        "INSERT INTO usage (batch, kind, bucket, n, most) VALUES (?1, ?2, ?3, 1, ?4)"
        " ON CONFLICT DO UPDATE SET n = n + 1, most = max(most, excluded.most)",
        [(batch, KINDS.index(kind), summary.bucket(value), value)
         for kind, value in values if value is not None],
    )  # fmt: skip


def refresh(db: peewee.SqliteDatabase, batches: Iterable[int], now: float | None = None) -> None:
    """Writes down anew what these batches say."""
    for batch in batches:
        facts = _facts(db, batch)
        if facts is not None:
            text = compact(summary.document(facts, now))
            db.execute_sql("UPDATE batch SET summary = ? WHERE pk = ?", (text, batch))


def forget(db: peewee.SqliteDatabase, batch: int) -> None:
    db.execute_sql("DELETE FROM reason WHERE batch = ?", (batch,))
    db.execute_sql("DELETE FROM usage WHERE batch = ?", (batch,))


def _facts(db: peewee.SqliteDatabase, batch: int) -> Facts | None:
    row = db.execute_sql(
        "SELECT batch_id, n_jobs, cpu, memory, slurm, n_status_5 + n_status_6,"
        " n_status_3 + n_status_4, n_ran, ran_seconds, last_start FROM batch WHERE pk = ?",
        (batch,),
    ).fetchone()
    if row is None:
        return None
    batch_id, n_jobs, cpu, memory, options, *counts = row
    return Facts(
        batch_id, n_jobs, Hardware((), cpu, memory), json.loads(options)["time_limit"],
        _groups(db, batch), _spreads(db, batch), *counts,
    )  # fmt: skip


def _groups(db: peewee.SqliteDatabase, batch: int) -> list[Group]:
    db.execute_sql("DELETE FROM reason WHERE batch = ? AND n <= 0", (batch,))
    rows = [
        *db.execute_sql(_GROUPS, (batch, REASONS_SHOWN)).fetchall(),
        *db.execute_sql(_WAITING, (batch,)).fetchall(),
    ]
    groups = [Group(STATUSES[code], reason, n, node, on_node, n_nodes, example)
              for code, reason, n, on_node, node, n_nodes, example in rows]  # fmt: skip
    return sorted(groups, key=lambda each: -each.n_jobs)[:REASONS_SHOWN]


def _spreads(db: peewee.SqliteDatabase, batch: int) -> dict[str, list[Bucket]]:
    spreads: dict[str, list[Bucket]] = {}
    for kind, n, most in db.execute_sql(
        "SELECT kind, n, most FROM usage WHERE batch = ? ORDER BY kind, bucket", (batch,)
    ):
        spreads.setdefault(KINDS[kind], []).append(Bucket(n, most))
    return spreads

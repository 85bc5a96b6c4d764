"""Jobs that are run again: under the same ids, as a new array, the run before kept as an attempt.

All of it is one transaction: what is put back is an intent with a name of its own from the moment
on at which its job is no longer shown as failed, and is handed over like any other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import peewee

from slurmbatch.errors import Conflict
from slurmbatch.limits import Bound
from slurmbatch.model import MAX_MEMORY, MAX_TIME_LIMIT, Act, ArgValue, Gate, Retry
from slurmbatch.store import audit, room, summaries
from slurmbatch.store.database import Database, honest_errors
from slurmbatch.store.holding import hold_back
from slurmbatch.store.idempotency import Idempotency, earlier, remember
from slurmbatch.store.rows import CANARY_WAITS, FIRST_END, STATUSES

_FAILED = len(STATUSES) - 1
# With the batch in each row, and a + before what it compares, SQLite goes from here to the jobs,
# not through all jobs of the batch.
_AGAIN_TABLE = """
CREATE TEMP TABLE IF NOT EXISTS again (
    idx INTEGER PRIMARY KEY, batch INTEGER, array INTEGER, task INTEGER, counted INTEGER,
    free INTEGER
)
"""
# What Slurm never had was no run.
_KEEP_ATTEMPTS = """
INSERT OR REPLACE INTO attempt (batch, idx, attempt, reason, slurm_state, start_time, stop_time,
    exit_code, signal, node_list, array, task, max_rss, cpu_time, usage_due)
SELECT job.batch, job.idx, job.earlier + job.restarts + 1, job.reason, job.slurm_state,
    job.start_time, job.stop_time, job.exit_code, job.signal, job.node_list, job.array, job.task,
    job.max_rss, job.cpu_time, job.usage_due
FROM temp.again t JOIN job ON job.batch = +t.batch AND job.idx = +t.idx
    JOIN array a ON a.pk = job.array
WHERE a.slurm_job_id IS NOT NULL
"""
_PUT_BACK = """
UPDATE job SET array = t.array, task = t.task, status = 0, reason = '', slurm_state = '',
    start_time = NULL, stop_time = NULL, exit_code = NULL, signal = NULL, node_list = '',
    earlier = job.earlier + (a.slurm_job_id IS NOT NULL) * (job.restarts + 1), restarts = 0,
    counted = t.counted, free = t.free, never_runs = 0, expected_start = NULL, max_rss = NULL,
    cpu_time = NULL, usage_due = NULL, status_since = ?
FROM temp.again t, array a
WHERE job.batch = +t.batch AND job.idx = +t.idx AND a.pk = job.array
"""
_COUNT = """
UPDATE batch SET n_status_0 = n_status_0 + ?2, n_status_6 = n_status_6 - ?2,
    n_submitted = n_submitted - ?3, version = version + 1, finished_at = NULL WHERE pk = ?1
"""


class Terms(NamedTuple):
    """With what jobs are run again; None: as their batch says."""

    memory: int | None
    time_limit: int | None
    exclude: str = ""
    gate: str = ""


class Tries(NamedTuple):
    """How many of a job's runs have counted and not counted by its policy so far."""

    counted: int = 0
    free: int = 0


Groups = dict[Terms, list[int]]


class Piece(NamedTuple):
    """An array to be: its name, and the jobs of the batch that go into it, in their order."""

    tag: str
    terms: Terms
    jobs: Sequence[int]


NO_TRIES: Mapping[int, Tries] = {}


@dataclass(frozen=True, slots=True)
class Caps:
    """The most that a retry may ask for."""

    memory: int = MAX_MEMORY
    time_limit: int = MAX_TIME_LIMIT


@dataclass(frozen=True, slots=True)
class Plan:
    """How failed jobs become arrays: `sizes` cuts a row of jobs (index and own arguments) up, `tag`
    makes a name for each piece."""

    caps: Caps
    sizes: Callable[[Iterable[tuple[int, Mapping[str, ArgValue]]]], list[int]]
    tag: Callable[[], str]


def put_back(
    db: peewee.SqliteDatabase, batch: int, arrays: Iterable[Piece], now: float,
    tries: Mapping[int, Tries] = NO_TRIES, *, is_counted: bool = True,
) -> int:  # fmt: skip
    """Within a transaction: these failed jobs of a batch become arrays; gives how many jobs.

    `is_counted`: the batch counts them as failed, and not yet as submitted again.
    """
    db.execute_sql(_AGAIN_TABLE)
    db.execute_sql("DELETE FROM temp.again")
    cursor = db.connection().cursor()
    made = []
    for piece in arrays:
        array = _insert(db, batch, piece, now)
        made.append(array)
        cursor.executemany(
            "INSERT INTO temp.again VALUES (?, ?, ?, ?, ?, ?)",
            ((index, batch, array, task, *tries.get(index, Tries()))
             for task, index in enumerate(piece.jobs, start=1)),
        )  # fmt: skip
    is_stale = summaries.leave(db, batch)
    n_handed_over = db.execute_sql(_KEEP_ATTEMPTS).rowcount
    n_jobs = int(db.execute_sql(_PUT_BACK, (now,)).rowcount)
    db.execute_sql(_COUNT, (batch, n_jobs if is_counted else 0, n_handed_over))
    hold_back(db, batch, made)
    if is_stale:
        summaries.recount(db, batch)
    summaries.refresh(db, [batch], now)
    return n_jobs


def _insert(db: peewee.SqliteDatabase, batch: int, piece: Piece, now: float) -> int:
    state, waiting = ("BLOCKED", CANARY_WAITS) if piece.terms.gate else ("INTENT", "")
    found: tuple[int] = db.execute_sql(
        "INSERT INTO array (batch, ordinal, tag, n_tasks, n_unfinished, created_at, memory,"
        " time_limit, exclude, gate, state, waiting)"
        " VALUES (?1, (SELECT max(ordinal) + 1 FROM array WHERE batch = ?1), ?2, ?3, ?3, ?4,"
        " ?5, ?6, ?7, ?8, ?9, ?10) RETURNING pk",
        (batch, piece.tag, len(piece.jobs), now, *piece.terms, state, waiting),
    ).fetchone()
    return found[0]


class _Row(NamedTuple):
    job: int
    memory: int | None
    time_limit: int | None
    node: str


@dataclass(frozen=True, slots=True)
class _Batch:
    pk: int
    canary: int
    memory: int
    time_limit: int | None


class Retries:
    def __init__(self, database: Database) -> None:
        self._db = database

    def retry(
        self, user_id: str, batch_id: str, wanted: Retry, plan: Plan, now: float,
        idempotency: Idempotency | None = None, act: Act | None = None,
        bounds: Sequence[Bound] = (),
    ) -> int | None:  # fmt: skip
        """Puts failed jobs back; gives how many, 0 if this key has done so before, None if the
        caller has no such batch. Raises Conflict where none of the selection has failed, KeyReused,
        OverLimit and Invalid where they do not fit under the bounds.
        """
        ready = self._ready(user_id, batch_id, wanted, plan)
        with self._db.write() as db:
            batch = _batch(db, user_id, batch_id)
            if batch is None:
                return None
            if idempotency is not None:
                if earlier(db, user_id, idempotency) is not None:
                    return 0
                remember(db, user_id, batch_id, idempotency, now)
            groups = _grouped(db, batch, wanted, plan.caps)
            if not groups:
                raise Conflict("No job of this batch, or of this selection of it, has failed.")
            # What has failed since, or was put back by another request, is cut up anew.
            pieces = ready[1] if ready[0] == groups else _cut(db, batch.pk, groups, plan)
            db.execute_sql("UPDATE batch SET cancelled_at = NULL WHERE pk = ?", (batch.pk,))
            if bounds:
                room.require(db, bounds, _room(db, batch.pk, pieces), is_new=False)
            count = put_back(db, batch.pk, pieces, now)
            if act is not None:
                audit.write(db, replace(act, detail=f"{count} jobs"))
            return count

    def _ready(
        self, user_id: str, batch_id: str, wanted: Retry, plan: Plan
    ) -> tuple[Groups, list[Piece]]:
        """What there is to do as things stand, before anybody else has to wait for it: to cut many
        jobs up takes longest of all."""
        with honest_errors():
            batch = _batch(self._db.reader, user_id, batch_id)
            groups = {} if batch is None else _grouped(self._db.reader, batch, wanted, plan.caps)
            return groups, _cut(self._db.reader, batch.pk, groups, plan) if batch else []


def _room(db: peewee.SqliteDatabase, batch: int, pieces: Sequence[Piece]) -> Mapping[str, int]:
    sql = "SELECT finished_at IS NOT NULL FROM batch WHERE pk = ?"
    has_ended = int(db.execute_sql(sql, (batch,)).fetchone()[0])
    return {"jobs": sum(len(each.jobs) for each in pieces), "batches": has_ended}


def _batch(db: peewee.SqliteDatabase, user_id: str, batch_id: str) -> _Batch | None:
    row = db.execute_sql(
        "SELECT pk, canary, memory, slurm FROM batch"
        " WHERE batch_id = ? AND user_id = ? AND deleted_at IS NULL",
        (batch_id, user_id),
    ).fetchone()
    if row is None:
        return None
    pk, canary, memory, options = row
    return _Batch(pk, canary, memory, json.loads(options)["time_limit"])


def _failed(db: peewee.SqliteDatabase, batch: int, wanted: Retry) -> Iterator[_Row]:
    marks = ", ".join("?" * len(wanted.reasons))
    of_class = f"substr(reason, 1, instr(reason, ':') - 1) IN ({marks})" if marks else "TRUE"
    rows = db.connection().execute(
        "SELECT idx, memory, time_limit, node_list FROM job JOIN array ON array.pk = job.array"
        f" WHERE job.batch = ? AND status = {_FAILED} AND {of_class} ORDER BY idx",
        (batch, *sorted(wanted.reasons)),
    )
    found = (_Row(*row) for row in rows)
    return (row for row in found if wanted.indices is None or row.job in wanted.indices)


def _grouped(db: peewee.SqliteDatabase, batch: _Batch, wanted: Retry, caps: Caps) -> Groups:
    """The jobs by what they are to be run with, each time in index order."""
    groups: Groups = {}
    nodes = set(wanted.exclude_nodes)
    for row in _failed(db, batch.pk, wanted):
        memory = grown(row.memory, batch.memory, wanted.memory_factor, caps.memory)
        time_limit = grown(row.time_limit, batch.time_limit, wanted.time_factor, caps.time_limit)
        gate = Gate.CANARY if row.job >= batch.canary else ""
        groups.setdefault(Terms(memory, time_limit, gate=gate), []).append(row.job)
        if wanted.exclude_failed_nodes and row.node:
            nodes.add(row.node)
    first = min((jobs[0] for jobs in groups.values()), default=0)
    waits = _canaries_go_first(db, batch, first)
    exclude = ",".join(sorted(nodes))
    return {
        terms._replace(exclude=exclude, gate=terms.gate if waits else ""): jobs
        for terms, jobs in groups.items()
    }


def _canaries_go_first(db: peewee.SqliteDatabase, batch: _Batch, first: int) -> bool:
    """Whether one of the canaries is run again, too, or has not ended yet."""
    if first < batch.canary:
        return True
    rows = db.execute_sql(
        f"SELECT 1 FROM job WHERE batch = ? AND idx < ? AND status < {FIRST_END}",
        (batch.pk, batch.canary),
    )
    return rows.fetchone() is not None


def grown(own: int | None, of_batch: int | None, factor: float, cap: int) -> int | None:
    """What a job is to have, as its array keeps it: None for what its batch has."""
    before = own or of_batch
    if before is None or factor == 1.0:
        return own
    # Rounded first: 1.1 times 100 is a little more than 110.
    more = max(before, min(cap, math.ceil(round(before * factor, 6))))
    return None if more == of_batch else more


def _cut(db: peewee.SqliteDatabase, batch: int, groups: Groups, plan: Plan) -> list[Piece]:
    pieces = []
    for terms, jobs in groups.items():
        first = 0
        for size in plan.sizes(_own_arguments(db, batch, jobs)):
            pieces.append(Piece(plan.tag(), terms, jobs[first : first + size]))
            first += size
    return pieces


def _own_arguments(
    db: peewee.SqliteDatabase, batch: int, jobs: Sequence[int]
) -> Iterator[tuple[int, Mapping[str, ArgValue]]]:
    cursor = db.connection().cursor()
    for index in jobs:
        cursor.execute("SELECT args FROM job WHERE batch = ? AND idx = ?", (batch, index))
        yield index, json.loads(cursor.fetchone()[0])

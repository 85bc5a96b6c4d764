"""Batches and their jobs, as their owners see them. The owner stands in every WHERE."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

from slurmbatch.model import ALL_BATCHES, ArgValue, Attempt, Batch, Brief, Job, Page, Status
from slurmbatch.store import brief
from slurmbatch.store.database import Database
from slurmbatch.store.idempotency import Idempotency, earlier
from slurmbatch.store.models import ArrayRow, BatchRow, JobRow
from slurmbatch.store.rows import (
    BATCH_COLUMNS,
    BATCH_COUNTS,
    CODE,
    DETAIL_COLUMNS,
    FIRST_END,
    JOB_COLUMNS,
    STATUSES,
    batch_of,
    detailed,
    job_of,
    names,
)

_JOBS_A_READ = 500
# How far one read looks for jobs of some status, which may be few and far between.
_INDICES_A_READ = 20_000


class Place(NamedTuple):
    """Where a job's log is: its array's ordinal and generation, and the task's number; and whose it
    is, None: the service's."""

    ordinal: int
    generation: int
    task: int
    has_ended: bool
    uid: int | None


class Reads:
    """Of what the reader of each thread sees, or has seen since the last commit."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def get(self, user_id: str, batch_id: str) -> Batch | None:
        return self._db.remembered(
            ("batch", batch_id, user_id), lambda: self._get(user_id, batch_id)
        )

    def _get(self, user_id: str, batch_id: str) -> Batch | None:
        rows = self._db.sql(_GET, (batch_id, user_id))
        return batch_of(rows[0]) if rows else None

    def owner(self, batch_id: str) -> str | None:
        """Whose it is."""
        return self._db.remembered(("owner", batch_id), lambda: self._owner(batch_id))

    def _owner(self, batch_id: str) -> str | None:
        rows = self._db.sql(
            "SELECT user_id FROM batch WHERE batch_id = ? AND deleted_at IS NULL", (batch_id,)
        )
        return str(rows[0][0]) if rows else None

    def version(self, user_id: str, batch_id: str) -> tuple[int, bool] | None:
        """The batch's version, and whether it has ended."""
        return self._db.remembered(
            ("version", batch_id, user_id), lambda: self._version(user_id, batch_id)
        )

    def _version(self, user_id: str, batch_id: str) -> tuple[int, bool] | None:
        rows = self._db.sql(
            "SELECT version, finished_at IS NOT NULL FROM batch"
            " WHERE batch_id = ? AND user_id = ? AND deleted_at IS NULL",
            (batch_id, user_id),
        )
        return (int(rows[0][0]), bool(rows[0][1])) if rows else None

    def has_made(self, user_id: str, key: str) -> bool:
        """Whether the key stands for a batch, deleted ones included."""
        sql = "SELECT 1 FROM idempotency WHERE user_id = ? AND key = ?"
        return bool(self._db.sql(sql, (user_id, key)))

    def earlier(self, user_id: str, idempotency: Idempotency) -> str | None:
        """The id of the batch that the key made. Raises KeyReused, Conflict (it is deleted)."""
        return earlier(self._db.reader, user_id, idempotency)

    def versions(self, user_id: str, page: Page = ALL_BATCHES) -> list[tuple[str, int, bool]]:
        """Of each batch that `list` would give its id, its version, and whether it has ended."""

        def read() -> list[tuple[str, int, bool]]:
            rows = self._db.rows(_listed(_VERSION_COLUMNS, user_id, page))
            return [(row[0], row[1], row[2] is not None) for row in rows]

        return self._db.remembered(("versions", user_id, page), read)

    def list(self, user_id: str, page: Page = ALL_BATCHES) -> list[Batch]:
        return [batch_of(row) for row in self._db.rows(_listed(BATCH_COLUMNS, user_id, page))]

    def brief(self, user_id: str, batch_id: str) -> Brief:
        return brief.read(self._db, user_id, batch_id)

    def job(self, user_id: str, batch_id: str, index: int) -> Job | None:
        return self._db.remembered(
            ("job", batch_id, index, user_id), lambda: self._job(user_id, batch_id, index)
        )

    def _job(self, user_id: str, batch_id: str, index: int) -> Job | None:
        rows = self._db.sql(_GET_JOB, (index, batch_id, user_id))
        if not rows:
            return None
        fixed, *row = rows[0]
        columns = iter(row)
        batch, job = (tuple(islice(columns, len(each))) for each in (BATCH_COLUMNS, JOB_COLUMNS))
        found = detailed(job_of(job, batch_of(batch), json.loads(fixed)), tuple(columns))
        if found.attempt == 1:
            return found
        return replace(found, attempts=self._attempts(batch_id, index))

    def _attempts(self, batch_id: str, index: int) -> tuple[Attempt, ...]:
        rows = self._db.sql(
            "SELECT t.attempt, t.reason, t.slurm_state, t.start_time, t.stop_time, t.exit_code,"
            " t.signal, t.node_list, coalesce(a.slurm_job_id || '_' || t.task, ''), t.max_rss,"
            " t.cpu_time, coalesce(a.memory, b.memory),"
            " coalesce(a.time_limit, json_extract(b.slurm, '$.time_limit'))"
            " FROM batch b JOIN attempt t ON t.batch = b.pk LEFT JOIN array a ON a.pk = t.array"
            " WHERE b.batch_id = ? AND t.idx = ? ORDER BY t.attempt",
            (batch_id, index),
        )
        return tuple(Attempt(*row) for row in rows)

    def jobs(
        self, batch: Batch, *, statuses: frozenset[Status], after: int, limit: int | None
    ) -> Iterator[Job]:
        """In index order, from the one after `after`; read in portions, so memory stays flat."""
        found = self._pk_and_fixed(batch.user_id, batch.batch_id)
        if found is None:
            return
        pk, fixed = found
        left = batch.n_jobs if limit is None else limit
        for row in self._job_rows(pk, batch, sorted(CODE[each] for each in statuses), after, left):
            yield job_of(row, batch, fixed)

    def _job_rows(
        self, pk: int, batch: Batch, codes: Sequence[int], after: int, left: int
    ) -> Iterator[tuple[Any, ...]]:
        """`codes`: those of the statuses that are asked for; none: all of them."""
        query = _jobs(codes)
        missing = sum(batch.counts[STATUSES[code]] for code in codes or range(len(STATUSES)))
        last = batch.n_jobs - 1
        while missing > 0 and left > 0 and after < last:
            most = min(left, _JOBS_A_READ)
            end = after + (_INDICES_A_READ if codes else most)
            rows = self._db.sql(query, (pk, after, end, *codes, most))
            yield from rows
            after = rows[-1][0] if len(rows) == most else end
            missing, left = missing - len(rows), left - len(rows)
            # The counters are those of this version: while it stands, they tell when all are found.
            if missing <= 0 and after < last and not self._is_still(batch):
                missing = batch.n_jobs

    def _is_still(self, batch: Batch) -> bool:
        found = self.version(batch.user_id, batch.batch_id)
        return found is not None and found[0] == batch.version

    def place(
        self, user_id: str, batch_id: str, index: int, attempt: int | None = None
    ) -> Place | None:
        """Where the log of a job's last run, or of this one, is, and whether more may come."""
        return self._db.remembered(
            ("place", batch_id, index, attempt, user_id),
            lambda: self._place(user_id, batch_id, index, attempt),
        )

    def _place(self, user_id: str, batch_id: str, index: int, attempt: int | None) -> Place | None:
        rows = self._db.sql(
            _LAST_PLACE if attempt is None else f"{_LAST_PLACE} AND {_RUN} = ?4 UNION ALL {_PLACE}",
            (batch_id, user_id, index, *(() if attempt is None else (attempt,))),
        )
        if not rows:
            return None
        ordinal, generation, task, status, uid = rows[0]
        return Place(ordinal, generation, task, status >= FIRST_END, uid)

    def fixed_args(self, user_id: str, batch_id: str) -> dict[str, ArgValue]:
        """Empty where there is no such batch."""
        found = self._pk_and_fixed(user_id, batch_id)
        return found[1] if found else {}

    def _pk_and_fixed(self, user_id: str, batch_id: str) -> tuple[int, dict[str, ArgValue]] | None:
        query = BatchRow.select(BatchRow.pk, BatchRow.fixed_args)
        rows = self._db.rows(query.where(visible(user_id, batch_id)))
        return (rows[0][0], json.loads(rows[0][1])) if rows else None


# The two reads that people repeat, as plain SQL: peewee's model layer costs ten times the read.
_TABLES = {BatchRow: "b", JobRow: "j", ArrayRow: "a"}
_MINE = "b.batch_id = ? AND b.user_id = ? AND b.deleted_at IS NULL"
_GET = f"SELECT {names(BATCH_COLUMNS, _TABLES)} FROM batch b WHERE {_MINE}"
_RUN = "j.earlier + j.restarts + 1"
_LAST_PLACE = (
    "SELECT a.ordinal, a.generation, j.task, j.status, b.uid FROM batch b"
    " JOIN job j ON j.batch = b.pk JOIN array a ON a.pk = j.array"
    " WHERE b.batch_id = ?1 AND b.user_id = ?2 AND b.deleted_at IS NULL AND j.idx = ?3"
)
_PLACE = (
    f"SELECT a.ordinal, a.generation, t.task, {FIRST_END}, b.uid FROM batch b"
    " JOIN attempt t ON t.batch = b.pk"
    " JOIN array a ON a.pk = t.array WHERE b.batch_id = ?1 AND b.user_id = ?2"
    " AND b.deleted_at IS NULL AND t.idx = ?3 AND t.attempt = ?4"
)
# Without peewee, too, which looks at each value of each row: half of the time of a list.
_JOBS = (
    f"SELECT {names(JOB_COLUMNS, _TABLES)} FROM job j JOIN array a ON a.pk = j.array"
    " WHERE j.batch = ? AND j.idx > ? AND j.idx <= ?"
)
_GET_JOB = (
    f"SELECT b.fixed_args, {names(BATCH_COLUMNS, _TABLES)},"
    f" {names((*JOB_COLUMNS, *DETAIL_COLUMNS), _TABLES)}"
    " FROM batch b JOIN job j ON j.batch = b.pk AND j.idx = ? JOIN array a ON a.pk = j.array"
    f" WHERE {_MINE}"
)


_VERSION_COLUMNS = (BatchRow.batch_id, BatchRow.version, BatchRow.finished_at)


def _listed(columns: tuple[Any, ...], user_id: str, page: Page) -> Any:
    query = (
        BatchRow.select(*columns)
        .where((BatchRow.user_id == user_id) & BatchRow.deleted_at.is_null())
        .order_by(BatchRow.batch_id.desc())
        .limit(page.limit)
    )
    if page.after is not None:
        query = query.where(BatchRow.batch_id < page.after)
    if page.status is not None:
        query = query.where(BATCH_COUNTS[CODE[page.status]] > 0)
    if page.tool_id is not None:
        query = query.where(BatchRow.tool_id == page.tool_id)
    if page.name is not None:
        query = query.where(BatchRow.name == page.name)
    return query


def visible(user_id: str, batch_id: str) -> Any:
    return (
        (BatchRow.batch_id == batch_id)
        & (BatchRow.user_id == user_id)
        & BatchRow.deleted_at.is_null()
    )


def _jobs(codes: Sequence[int]) -> str:
    which = f" AND j.status IN ({', '.join('?' * len(codes))})" if codes else ""
    return f"{_JOBS}{which} ORDER BY j.idx LIMIT ?"

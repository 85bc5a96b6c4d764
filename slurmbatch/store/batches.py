"""Batches and their jobs, as their owners see them. The owner stands in every WHERE."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

import peewee

from slurmbatch.errors import SlurmbatchError
from slurmbatch.limits import Bound
from slurmbatch.model import (
    ALL_BATCHES,
    Act,
    ArgValue,
    ArrayState,
    Attempt,
    Batch,
    Brief,
    Gate,
    Job,
    Notify,
    Page,
    Status,
)
from slurmbatch.spool import Spool
from slurmbatch.spool import compact as dumps
from slurmbatch.store import audit, brief, holding, outbox, room, staging, summaries
from slurmbatch.store.database import Database, honest_errors
from slurmbatch.store.idempotency import Idempotency, earlier, remember
from slurmbatch.store.models import ArrayRow, BatchRow, IdempotencyRow, JobRow
from slurmbatch.store.rows import (
    BATCH_COLUMNS,
    BATCH_COUNTS,
    CANARY_WAITS,
    CODE,
    DETAIL_COLUMNS,
    FIRST_END,
    JOB_COLUMNS,
    PARENTS_WAIT,
    STATUSES,
    THROTTLE_WAITS,
    batch_of,
    dependencies_json,
    detailed,
    job_of,
    names,
    policy_json,
    slurm_json,
)

_JOBS_A_READ = 500
# How far one read looks for jobs of some status, which may be few and far between.
_INDICES_A_READ = 20_000
# Of one transaction of a new batch: a few hundredths of a second. Between two of them everybody who
# waits for a turn to write is to get it.
_JOBS_A_TRANSACTION, _JOBS_A_STATEMENT = 10_000, 1_000
_PAUSE = 0.002


@dataclass(frozen=True, slots=True)
class NewArray:
    """An intent to be: its tag and how many of the batch's jobs, in their order, it takes.

    `gates`: it is kept back until all of them are open. `throttle`: its share of its batch's.
    """

    tag: str
    n_tasks: int
    gates: tuple[Gate, ...] = ()
    throttle: int | None = None


class Place(NamedTuple):
    """Where a job's log is: its array's ordinal and generation, and the task's number; and whose it
    is, None: the service's."""

    ordinal: int
    generation: int
    task: int
    has_ended: bool
    uid: int | None


class Batches:
    def __init__(self, database: Database) -> None:
        self._db = database

    # --- writing --------------------------------------------------------------------------------

    def create(
        self,
        batch: Batch,
        *,
        fixed_args: Mapping[str, ArgValue],
        variable_args: Iterable[Mapping[str, ArgValue]],
        arrays: Sequence[NewArray],
        notify: Notify | None = None,
        idempotency: Idempotency | None = None,
        request_id: str = "",
        act: Act | None = None,
        bounds: Sequence[Bound] = (),
        args_bytes: int = 0,
        uid: int | None = None,
    ) -> str | None:
        """Keeps the batch, its arrays as intents, and its jobs: all or nothing, and on the disk
        after the next `sync`. `uid`: as whom they run; None: as the service.

        Gives the id of the batch that the idempotency key made before, and then keeps nothing;
        None if this one is new. Raises KeyReused if that one had another body, OverLimit and
        Invalid where it does not fit under the bounds.
        """
        staged = batch.n_jobs > _JOBS_A_TRANSACTION
        with self._db.write(synced=False) as db:
            if idempotency is not None:
                before = earlier(db, batch.user_id, idempotency)
                if before is not None:
                    return before
            room.require(db, bounds, room.of_batch(batch.n_jobs, args_bytes))
            if idempotency is not None and not staged:
                remember(db, batch.user_id, batch.batch_id, idempotency, batch.created_at)
            n_blocked = sum(each.n_tasks for each in arrays if each.gates)
            pk = _insert_batch(db, batch, fixed_args, request_id, n_blocked, args_bytes, uid)
            if n_blocked or batch.max_parallel is not None:
                holding.build(db, pk, batch)
            if notify is not None:
                outbox.keep(db, pk, notify)
            made = [
                _insert_array(db, pk, ordinal, array, batch.created_at)
                for ordinal, array in enumerate(arrays)
            ]
            jobs = _new_jobs(pk, zip(made, arrays, strict=True), _in_portions(variable_args))
            if staged:
                staging.hide(db, pk)
            else:
                _insert_jobs(db, jobs)
                summaries.refresh(db, [pk])
                audit.write(db, act)
        return self._staged(batch, pk, jobs, idempotency, act) if staged else None

    def _staged(
        self,
        batch: Batch,
        pk: int,
        jobs: Iterator[tuple[int | str, ...]],
        idempotency: Idempotency | None,
        act: Act | None,
    ) -> str | None:
        """The jobs of a large batch, which nobody sees before all of them are there: in portions,
        so that nobody waits long for a turn to write."""
        try:
            at_once = max(1, _JOBS_A_TRANSACTION // _JOBS_A_STATEMENT)
            while portions := list(islice(jobs, at_once)):
                with self._db.write() as db:
                    _insert_jobs(db, portions)
                time.sleep(_PAUSE)
            with self._db.write() as db:
                if idempotency is not None:
                    before = earlier(db, batch.user_id, idempotency)
                    if before is not None:
                        staging.give_up(db, pk)
                        return before
                    remember(db, batch.user_id, batch.batch_id, idempotency, batch.created_at)
                staging.show(db, pk)
                summaries.refresh(db, [pk])
                holding.ring(db, [pk])
                audit.write(db, act)
        except BaseException:
            with suppress(SlurmbatchError), self._db.write() as db:
                staging.give_up(db, pk)
            raise
        return None

    def summarise(self) -> None:
        """At the start: whatever was kept before batches said anything of their jobs."""
        rows = self._db.sql("SELECT pk FROM batch WHERE summary = ''")
        if rows:
            with self._db.write() as db:
                summaries.refresh(db, [pk for (pk,) in rows])

    def forget_staged(self) -> None:
        """At the start: what an earlier process was making when it ended was never answered."""
        if staging.is_any(self._db):
            with self._db.write() as db:
                staging.give_up(db)

    def withdraw(
        self, batch_id: str, now: float, act: Act | None = None, *, also_accepted: bool = False
    ) -> bool:
        """Takes back a batch whose maker has not been answered, key and all, such as one that Slurm
        has refused.

        It goes the way of a deleted one, so that whatever is under way for it is ended. False, and
        nothing is done, where Slurm has accepted a part of it, unless `also_accepted`.
        """
        with self._db.write() as db:
            row = db.execute_sql(
                "SELECT n_submitted FROM batch WHERE batch_id = ?", (batch_id,)
            ).fetchone()
            if row is not None and row[0] and not also_accepted:
                return False
            IdempotencyRow.delete().where(IdempotencyRow.batch_id == batch_id).bind(db).execute()
            gone = db.execute_sql(
                "UPDATE batch SET deleted_at = coalesce(deleted_at, ?) WHERE batch_id = ?"
                " RETURNING pk",
                (now, batch_id),
            ).fetchall()
            holding.ring(db, [pk for (pk,) in gone])
            audit.write(db, act)
            return True

    def cancel(self, user_id: str, batch_id: str, now: float, act: Act | None = None) -> bool:
        """Puts the tombstone of a cancelled batch; False if the caller has no such batch."""
        with self._db.write() as db:
            mine = _visible(user_id, batch_id)
            if not BatchRow.select().where(mine).bind(db).exists():
                return False
            # What has ended has nothing left to cancel, and is not shown as cancelled.
            open_yet = BatchRow.cancelled_at.is_null() & BatchRow.finished_at.is_null()
            update = BatchRow.update(cancelled_at=now, version=BatchRow.version + 1)
            cancelled = update.where(mine & open_yet).returning(BatchRow.pk).bind(db)
            pks = [row.pk for row in cancelled.execute()]
            for pk in pks:
                db.execute_sql(
                    "UPDATE array SET cancelled_at = ? WHERE cancelled_at IS NULL AND batch = ?",
                    (now, pk),
                )
            holding.ring(db, pks)
            audit.write(db, act)
            return True

    def delete(self, user_id: str, batch_id: str | None, now: float, act: Act | None = None) -> int:
        """Hides one batch, or all of the caller's, for good; gives how many."""
        with self._db.write() as db:
            mine = (BatchRow.user_id == user_id) & BatchRow.deleted_at.is_null()
            which = mine if batch_id is None else mine & (BatchRow.batch_id == batch_id)
            update = BatchRow.update(deleted_at=now).where(which).returning(BatchRow.pk)
            deleted = [row.pk for row in update.bind(db).execute()]
            holding.ring(db, deleted)
            if deleted and act is not None:
                told = f"{len(deleted)} batches" if batch_id is None else ""
                audit.write(db, replace(act, detail=told))
            return len(deleted)

    def require_room(self, bounds: Sequence[Bound], n_jobs: int, args_bytes: int) -> None:
        """Raises as `create` does where such a batch would not fit. Nothing is kept."""
        if bounds:
            with honest_errors():
                room.require(self._db.reader, bounds, room.of_batch(n_jobs, args_bytes))

    # --- reading --------------------------------------------------------------------------------

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
        rows = self._db.rows(query.where(_visible(user_id, batch_id)))
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


def _visible(user_id: str, batch_id: str) -> Any:
    return (
        (BatchRow.batch_id == batch_id)
        & (BatchRow.user_id == user_id)
        & BatchRow.deleted_at.is_null()
    )


def _jobs(codes: Sequence[int]) -> str:
    which = f" AND j.status IN ({', '.join('?' * len(codes))})" if codes else ""
    return f"{_JOBS}{which} ORDER BY j.idx LIMIT ?"


def _insert_batch(
    db: peewee.SqliteDatabase,
    batch: Batch,
    fixed: Mapping[str, ArgValue],
    request_id: str,
    n_blocked: int,
    args_bytes: int,
    uid: int | None,
) -> int:
    return _insert(
        db,
        "batch",
        batch_id=batch.batch_id,
        user_id=batch.user_id,
        tool_id=batch.tool_id,
        name=batch.name,
        n_jobs=batch.n_jobs,
        filesystems=dumps(batch.hardware.filesystems),
        cpu=batch.hardware.cpu,
        memory=batch.hardware.memory,
        slurm=slurm_json(batch.slurm),
        fixed_args=dumps(fixed),
        request_id=request_id,
        created_at=batch.created_at,
        n_status_0=batch.n_jobs - n_blocked,
        n_status_1=n_blocked,
        canary=batch.canary,
        depends_on=dependencies_json(batch.depends_on),
        retry=policy_json(batch.retry),
        max_parallel=batch.max_parallel,
        args_bytes=args_bytes,
        uid=uid,
    )


def _insert(db: peewee.SqliteDatabase, table: str, **values: object) -> int:
    """In plain SQL: each new batch takes several, and peewee as long for each as SQLite for all."""
    marks = ", ".join("?" * len(values))
    text = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})"
    return int(db.execute_sql(text, tuple(values.values())).lastrowid)


def _in_portions(
    arguments: Iterable[Mapping[str, ArgValue]],
) -> Callable[[int], tuple[int, str]]:
    """Gives the next so many, or as many as there are: how many those are, and they as JSON."""
    if isinstance(arguments, Spool):
        texts = arguments.texts()

        def of_texts(count: int) -> tuple[int, str]:
            portion = list(islice(texts, count))
            return len(portion), f"[{','.join(portion)}]"

        return of_texts
    values = iter(arguments)

    def of_values(count: int) -> tuple[int, str]:
        portion = list(islice(values, count))
        return len(portion), dumps(portion)

    return of_values


def _insert_array(
    db: peewee.SqliteDatabase, batch_pk: int, ordinal: int, array: NewArray, now: float
) -> int:
    return _insert(
        db,
        "array",
        batch=batch_pk,
        ordinal=ordinal,
        tag=array.tag,
        n_tasks=array.n_tasks,
        n_unfinished=array.n_tasks,
        state=ArrayState.BLOCKED if array.gates else ArrayState.INTENT,
        gate=holding.words(array.gates),
        waiting=_first_word(array.gates),
        throttle=array.throttle,
        created_at=now,
    )


def _first_word(kept: tuple[Gate, ...]) -> str:
    """What blocked jobs show until somebody has looked at their gates."""
    if Gate.PARENTS in kept:
        return PARENTS_WAIT
    if Gate.CANARY in kept:
        return CANARY_WAITS
    return THROTTLE_WAITS if kept else ""


def _new_jobs(
    batch_pk: int,
    arrays: Iterable[tuple[int, NewArray]],
    portion: Callable[[int], tuple[int, str]],
) -> Iterator[tuple[int | str, ...]]:
    """All jobs in their order, so many at a time, as _NEW_JOBS takes them."""
    size, first = min(_JOBS_A_STATEMENT, _JOBS_A_TRANSACTION), 0
    for array_pk, array in arrays:
        status = CODE[Status.PENDING if array.gates else Status.SUBMITTED]
        left = array.n_tasks
        while left:
            count, text = portion(min(size, left))
            if not count:
                return
            yield batch_pk, first, array_pk, array.n_tasks - left + 1, status, text
            first, left = first + count, left - count


# SQLite takes a list of them apart in half the time in which Python hands over so many rows, and
# lets go of the interpreter's lock for it.
_NEW_JOBS = (
    "INSERT INTO job (batch, idx, array, task, status, args)"
    " SELECT ?1, ?2 + key, ?3, ?4 + key, ?5, value FROM json_each(?6)"
)


def _insert_jobs(db: peewee.SqliteDatabase, jobs: Iterable[tuple[int | str, ...]]) -> None:
    for portion in jobs:
        db.execute_sql(_NEW_JOBS, portion)

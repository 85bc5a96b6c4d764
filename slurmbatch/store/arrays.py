"""The arrays of jobs: what the submitter and the poller work on, and what they write."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import peewee

from slurmbatch.model import (
    ArgValue,
    ArraySpec,
    ArrayState,
    JobChange,
    KnownJob,
    Status,
)
from slurmbatch.store import holding, summaries
from slurmbatch.store.changes import Applied, apply
from slurmbatch.store.database import Database
from slurmbatch.store.graves import bury
from slurmbatch.store.models import ArrayRow, BatchRow
from slurmbatch.store.rows import (
    ARRAY_COLUMNS,
    FIRST_END,
    STATUSES,
    TERMS,
    array_of,
    known_job_of,
    names,
)

_ARRAYS = (
    f"SELECT {names(ARRAY_COLUMNS, {ArrayRow: 'a', BatchRow: 'b'})}"
    " FROM array a JOIN batch b ON b.pk = a.batch"
)

# In the words of the index, or SQLite would look at all arrays that there ever were.
_OPEN = "a.state NOT IN ('DONE', 'REFUSED')"
_OVER = frozenset((ArrayState.DONE, ArrayState.REFUSED))


class Arrays:
    def __init__(self, database: Database) -> None:
        self._db = database

    # --- reading --------------------------------------------------------------------------------

    def in_state(self, *states: ArrayState, due: float | None = None) -> list[ArraySpec]:
        """The arrays in these states, batch by batch; `due`: whose next try is not after that."""
        names = [str(state) for state in states]
        which = f"a.state IN ({', '.join('?' * len(names))})"
        if not _OVER.intersection(states):
            which = f"{_OPEN} AND {which}"
        late = () if due is None else (due,)
        if late:
            which += " AND a.next_try_at <= ?"
        return self.where(f"{which} ORDER BY a.batch, a.ordinal", *names, *late)

    def cancelled(self) -> frozenset[int]:
        """Of the arrays that Slurm has those of which nothing shall run any more."""
        rows = self._db.sql(
            "SELECT array.pk FROM array JOIN batch ON batch.pk = array.batch"
            " WHERE array.state NOT IN ('DONE', 'REFUSED')"
            " AND array.state IN ('HELD', 'RELEASING', 'QUEUED')"
            " AND (array.cancelled_at IS NOT NULL OR batch.deleted_at IS NOT NULL)"
        )
        return frozenset(pk for (pk,) in rows)

    def get(self, pk: int) -> ArraySpec | None:
        found = self.where("a.pk = ?", pk)
        return found[0] if found else None

    def of_batch(self, batch_id: str) -> list[ArraySpec]:
        return self.where("b.batch_id = ? ORDER BY a.ordinal", batch_id)

    def where(self, which: str, *values: object) -> list[ArraySpec]:
        """For this room only: those of which this is true, `a` and their batch, `b`."""
        # Several times in every tick, so in plain SQL.
        return [array_of(row) for row in self._db.sql(f"{_ARRAYS} WHERE {which}", values)]

    def arguments(
        self, pk: int
    ) -> tuple[dict[str, ArgValue], list[tuple[int, dict[str, ArgValue]]]]:
        """The batch's fixed arguments, and per task in order: the job's index and its own."""
        rows = self._db.sql("SELECT idx, args FROM job WHERE array = ? ORDER BY task", (pk,))
        return self.fixed_args(pk), [(index, json.loads(args)) for index, args in rows]

    def fixed_args(self, pk: int) -> dict[str, ArgValue]:
        """Those of the array's batch."""
        rows = self._db.sql(
            "SELECT fixed_args FROM batch JOIN array ON array.batch = batch.pk WHERE array.pk = ?",
            (pk,),
        )
        fixed: dict[str, ArgValue] = json.loads(rows[0][0])
        return fixed

    def unfinished(self, pk: int) -> dict[int, KnownJob]:
        """By task number: the jobs of the array that have not ended, as far as we know."""
        rows = self._db.sql(
            "SELECT task, status, reason, slurm_state, start_time, restarts, expected_start"
            f" FROM job WHERE array = ? AND status < {FIRST_END}",
            (pk,),
        )
        return {row[0]: known_job_of(row) for row in rows}

    def newest(self) -> int:
        """The number of the last array that was made; 0 if there is none."""
        return int(self._db.sql("SELECT coalesce(max(pk), 0) FROM array")[0][0])

    def have_persons(self) -> bool:
        """Whether Slurm has, or is to get, jobs that run as somebody else than the service."""
        return bool(self._db.sql(
            f"SELECT 1 FROM array a JOIN batch b ON b.pk = a.batch WHERE {_OPEN}"
            " AND b.uid IS NOT NULL LIMIT 1"
        ))  # fmt: skip

    # --- the steps of the hand-over ---------------------------------------------------------------

    def trying(self, pk: int, now: float) -> bool:
        """Before each sbatch: from now on the array may be in Slurm. False: it is none to submit
        (any more).

        Not synced: whatever was there at the start is looked up in Slurm, tried or not.
        """
        with self._db.write(synced=False) as db:
            return bool(db.execute_sql(
                "UPDATE array SET tries = tries + 1, tried_at = ? WHERE pk = ?"
                " AND state = 'INTENT'", (now, pk),
            ).rowcount)  # fmt: skip

    def adopt(self, pk: int, slurm_job_id: int) -> None:
        """It is another submission under its name that is the array's."""
        self._update(pk, (ArrayState.HELD,), slurm_job_id=slurm_job_id, throttle_told="")

    def accepted(self, pk: int, slurm_job_id: int, now: float, told: str = "") -> None:
        """Slurm has it, held, under this id; `told`: what it was told of its throttle, if known.

        Not synced: `releasing` is, before any of it can run.
        """
        with self._db.write(synced=False) as db:
            done = _set(
                db, pk, (ArrayState.INTENT,), state=ArrayState.HELD, slurm_job_id=slurm_job_id,
                submitted_at=now, waiting="", next_try_at=0, throttle_told=told,
            )  # fmt: skip
            if done:
                _count_submitted(db, pk, +1)

    def releasing(self, pk: int, boot: str, now: float) -> None:
        """Before the release, by the slurmctld that was started at `boot`."""
        self._update(
            pk, (ArrayState.HELD,),
            state=ArrayState.RELEASING, released_boot=boot, released_at=now,
        )  # fmt: skip

    def queued(self, pk: int, boot: str) -> None:
        """It was seen not held, by the slurmctld that was started at `boot`."""
        self._update(
            pk, (ArrayState.HELD, ArrayState.RELEASING, ArrayState.QUEUED),
            state=ArrayState.QUEUED, released_boot=boot,
        )  # fmt: skip

    def held_again(self, pk: int) -> None:
        """A restarted slurmctld has forgotten the release."""
        self._update(pk, (ArrayState.RELEASING, ArrayState.QUEUED), state=ArrayState.HELD)

    def waits(self, pk: int, why: str, next_try_at: float) -> None:
        """Not now. `why` becomes the reason of its jobs."""
        open_states = (ArrayState.INTENT, ArrayState.HELD, ArrayState.RELEASING)
        with self._db.write() as db:
            if _set(db, pk, open_states, waiting=why, next_try_at=next_try_at):
                _touch_batches(db, [pk])

    def cut(self, pk: int, keep: int, tag: str) -> bool:
        """Leaves an intent so many of its jobs; the others become an intent of their own. False
        where there is nothing to cut off."""
        with self._db.write() as db:
            row = db.execute_sql(
                "INSERT INTO array"
                f" (batch, ordinal, tag, n_tasks, n_unfinished, waiting, created_at, {TERMS})"
                " SELECT batch, (SELECT max(ordinal) + 1 FROM array b WHERE b.batch = a.batch),"
                f" ?1, n_tasks - ?2, n_unfinished - ?2, waiting, created_at, {TERMS} FROM array a"
                " WHERE pk = ?3 AND state = 'INTENT' AND n_tasks > ?2 RETURNING pk, batch",
                (tag, keep, pk),
            ).fetchone()
            if row is None:
                return False
            db.execute_sql(
                "UPDATE job SET array = ?, task = task - ? WHERE array = ? AND task > ?",
                (row[0], keep, pk, keep),
            )
            db.execute_sql(
                "UPDATE array SET n_tasks = ?1, n_unfinished = ?1, throttle = min(throttle, ?1)"
                " WHERE pk = ?2",
                (keep, pk),
            )
            holding.hold_back(db, row[1], [row[0]], parents=False)
            return True

    def submit_again(self, pk: int, tag: str, now: float) -> None:
        """It never ran and Slurm has lost it: an intent again, as the next generation."""
        with self._db.write() as db:
            if db.execute_sql(
                "SELECT 1 FROM array WHERE pk = ? AND state = 'HELD' AND released_at IS NULL", (pk,)
            ).fetchone():
                bury(db, "array.pk = ?", pk, now)
                _count_submitted(db, pk, -1)
                _set(
                    db, pk, (ArrayState.HELD,), state=ArrayState.INTENT, tag=tag,
                    slurm_job_id=None, submitted_at=None, tries=0, tried_at=None, next_try_at=0,
                )  # fmt: skip
                db.execute_sql("UPDATE array SET generation = generation + 1 WHERE pk = ?", (pk,))

    def submit_part_again(self, pk: int, tasks: Sequence[int], tag: str, now: float) -> None:
        """These tasks never started and Slurm has lost them: an array of their own, an intent."""
        with self._db.write() as db:
            _count_submitted(db, pk, -1, len(tasks))
            new, batch = db.execute_sql(
                "INSERT INTO array"
                f" (batch, ordinal, tag, n_tasks, n_unfinished, created_at, {TERMS})"
                " SELECT batch, (SELECT max(ordinal) + 1 FROM array b WHERE b.batch = a.batch),"
                f" ?, ?, ?, ?, {TERMS} FROM array a WHERE pk = ? RETURNING pk, batch",
                (tag, len(tasks), len(tasks), now, pk),
            ).fetchone()
            db.connection().cursor().executemany(
                "UPDATE job SET array = ?, task = ?, status = 0, reason = '', slurm_state = '',"
                " start_time = NULL, stop_time = NULL, exit_code = NULL, signal = NULL,"
                " node_list = '', never_runs = 0, expected_start = NULL, status_since = ?"
                " WHERE array = ? AND task = ?",
                [(new, n, now, pk, task) for n, task in enumerate(sorted(tasks), start=1)],
            )
            db.execute_sql(
                "UPDATE array SET n_unfinished = n_unfinished - ?1, n_tasks = n_tasks - ?1,"
                " state = CASE WHEN n_unfinished = ?1 THEN 'DONE' ELSE state END WHERE pk = ?2",
                (len(tasks), pk),
            )
            _recount(db, pk)
            holding.hold_back(db, batch, [new], parents=False)

    def end_all(self, pk: int, state: ArrayState, reason: str, now: float) -> None:
        """Every job of the array that has not ended ends FAILED for this reason."""
        unfinished = self.unfinished(pk)
        changes = [
            JobChange(task, Status.FAILED, reason, stop_time=now, start_time=job.start_time)
            for task, job in unfinished.items()
        ]
        self.apply({pk: changes}, now)
        self._update(pk, tuple(ArrayState), state=state)

    # --- what was seen --------------------------------------------------------------------------

    def apply(self, changes: Mapping[int, Sequence[JobChange]], now: float) -> Applied:
        """Writes what changed, by array, with the counters of the batches, in one transaction.

        An array of which no job is left becomes DONE.
        """
        if not any(changes.values()):
            return Applied(0, ())
        with self._db.write() as db:
            return apply(db, changes, now)

    def expect(self, starts: Mapping[int, float | None]) -> None:
        """When Slurm expects the next tasks of these arrays to start; None: it does not say."""
        with self._db.write() as db:
            db.connection().cursor().executemany(
                "UPDATE array SET expected_start = ? WHERE pk = ?",
                [(at, pk) for pk, at in starts.items()],
            )

    def _update(self, pk: int, states: Iterable[ArrayState], **values: Any) -> bool:
        with self._db.write() as db:
            return _set(db, pk, states, **values)


def _set(db: peewee.SqliteDatabase, pk: int, states: Iterable[ArrayState], **values: Any) -> bool:
    """Compare and set: False if the array is in none of the states (any more)."""
    among = ", ".join(f"'{state}'" for state in states)
    text = f"UPDATE array SET {' = ?, '.join(values)} = ? WHERE pk = ? AND state IN ({among})"
    cursor = db.execute_sql(text, (*values.values(), pk))
    return bool(cursor.rowcount)


def _count_submitted(
    db: peewee.SqliteDatabase, pk: int, sign: int, n_tasks: int | None = None
) -> None:
    """Of the whole array, or of so many of its tasks."""
    db.execute_sql(
        "UPDATE batch SET n_submitted = n_submitted + ? * coalesce(?, a.n_tasks),"
        " version = version + 1 FROM array a WHERE a.pk = ? AND a.batch = batch.pk",
        (sign, n_tasks, pk),
    )
    summaries.refresh(db, _batches_of(db, [pk]))


def _recount(db: peewee.SqliteDatabase, pk: int) -> None:
    """Counts the jobs of the array's batch by status anew."""
    sums = ", ".join(
        f"n_status_{code} = (SELECT count(*) FROM job WHERE job.batch = batch.pk"
        f" AND job.status = {code})" for code in range(len(STATUSES))
    )  # fmt: skip
    db.execute_sql(
        f"UPDATE batch SET {sums} WHERE pk = (SELECT batch FROM array WHERE array.pk = ?)", (pk,)
    )
    for batch in _batches_of(db, [pk]):
        summaries.recount(db, batch)
        summaries.refresh(db, [batch])


def _touch_batches(db: peewee.SqliteDatabase, pks: Sequence[int]) -> None:
    db.connection().cursor().executemany(
        "UPDATE batch SET version = version + 1"
        " WHERE pk = (SELECT batch FROM array WHERE array.pk = ?)",
        [(pk,) for pk in pks],
    )
    summaries.refresh(db, _batches_of(db, pks))


def _batches_of(db: peewee.SqliteDatabase, pks: Iterable[int]) -> set[int]:
    numbers = ",".join(str(int(pk)) for pk in pks)
    return {row[0] for row in db.execute_sql(f"SELECT batch FROM array WHERE pk IN ({numbers})")}

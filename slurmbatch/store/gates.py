"""Arrays that may not be handed over yet: what they wait for, and how they go on.

Whether a gate opens is told by the store alone, so no crash in between loses it. Whatever happens
to a batch that may open one counts as `due` in the transaction in which it happens; the submitter
looks at the gates of those batches, and at no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import peewee

from slurmbatch.model import DependencyType, Gate, Status
from slurmbatch.store import summaries, throttle
from slurmbatch.store.database import Database
from slurmbatch.store.holding import words
from slurmbatch.store.rows import CODE, FIRST_END, TERMS

_DUE = """
SELECT g.batch, b.batch_id, b.user_id, b.request_id, b.n_jobs, b.max_parallel, g.due
FROM gate g JOIN batch b ON b.pk = g.batch
WHERE g.due > 0 AND g.batch > ? ORDER BY g.batch LIMIT 1
"""
_PARENTS = """
SELECT d.ordinal, d.parent, d.parent_id, d.type, d.is_met, p.pk IS NULL OR p.deleted_at IS NOT NULL,
    p.pk IS NULL OR p.finished_at IS NOT NULL, p.cancelled_at IS NOT NULL, coalesce(p.n_jobs, 0),
    coalesce(p.n_status_5, 0), coalesce(p.n_status_6, 0)
FROM dependency d LEFT JOIN batch p ON p.pk = d.parent WHERE d.batch = ? ORDER BY d.ordinal
"""
# Blocked jobs of which all counterparts have succeeded, or one never will: then which.
_DECIDED = f"""
SELECT j.array, j.task, j.idx,
    min(CASE WHEN coalesce(p.status, {CODE[Status.FAILED]}) = {CODE[Status.FAILED]}
        THEN d.parent_id END) AS fails
FROM array a JOIN job j ON j.array = a.pk
    JOIN dependency d ON d.batch = a.batch AND d.type = 'aftercorr' AND NOT d.is_met
    LEFT JOIN job p ON p.batch = d.parent AND p.idx = j.idx
WHERE a.batch = ? AND a.state = 'BLOCKED' AND a.gate = ? AND j.status < {FIRST_END}
GROUP BY j.array, j.task HAVING fails IS NOT NULL OR min(p.status = {CODE[Status.SUCCEEDED]})
LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class Due:
    """A batch whose gates are to be looked at; `due` stands for all that had happened when this was
    read."""

    pk: int
    batch_id: str
    user_id: str
    request_id: str
    n_jobs: int
    max_parallel: int | None
    due: int


@dataclass(frozen=True, slots=True)
class Blocked:
    """Arrays of a batch that wait for the same; `cancel`: nothing of them shall run."""

    gates: tuple[Gate, ...]
    cancel: bool


@dataclass(frozen=True, slots=True)
class Canaries:
    """How the first jobs of a batch fare."""

    n_jobs: int
    n_ended: int
    n_failed: int


@dataclass(frozen=True, slots=True)
class Parent:
    """A batch that another one depends on. `is_met`: once fulfilled, that stands, whatever becomes
    of the parent. `is_deleted`: nothing more will be told of it."""

    ordinal: int
    pk: int
    batch_id: str
    type: DependencyType
    is_met: bool
    is_deleted: bool
    is_finished: bool
    is_cancelled: bool
    n_jobs: int
    n_succeeded: int
    n_failed: int


@dataclass(frozen=True, slots=True)
class Decided:
    """A blocked job whose counterparts have all succeeded; or `fails` is the batch whose job at its
    place has not, and never will."""

    array: int
    task: int
    index: int
    fails: str | None


class Gates:
    def __init__(self, database: Database) -> None:
        self._db = database

    def due(self, after: int) -> Due | None:
        """The first one beyond the batch `after` to which something has happened since it was
        settled."""
        rows = self._db.sql(_DUE, (after,))
        return Due(*rows[0]) if rows else None

    def blocked(self, pk: int) -> list[Blocked]:
        rows = self._db.sql(
            "SELECT DISTINCT a.gate, a.cancelled_at IS NOT NULL OR b.deleted_at IS NOT NULL"
            " FROM array a JOIN batch b ON b.pk = a.batch WHERE b.pk = ? AND a.state = 'BLOCKED'"
            " ORDER BY a.ordinal",
            (pk,),
        )
        return [Blocked(tuple(map(Gate, gate.split(","))), bool(cancel)) for gate, cancel in rows]

    def arrays(self, pk: int, blocked: Blocked, most: int) -> list[int]:
        """So many of them at most, in their order."""
        rows = self._db.sql(
            "SELECT a.pk FROM array a JOIN batch b ON b.pk = a.batch"
            " WHERE b.pk = ? AND a.state = 'BLOCKED' AND a.gate = ?"
            " AND (a.cancelled_at IS NOT NULL OR b.deleted_at IS NOT NULL) = ?"
            " ORDER BY a.ordinal LIMIT ?",
            (pk, words(blocked.gates), blocked.cancel, most),
        )
        return [array for (array,) in rows]

    def canaries(self, pk: int) -> Canaries:
        rows = self._db.sql(
            f"SELECT count(*), total(status >= {FIRST_END}), total(status = {CODE[Status.FAILED]})"
            " FROM job WHERE batch = ?1 AND idx < (SELECT canary FROM batch WHERE pk = ?1)",
            (pk,),
        )
        return Canaries(*map(int, rows[0]))

    def parents(self, pk: int) -> list[Parent]:
        return [
            Parent(ordinal, parent, batch_id, DependencyType(kind), *map(bool, facts[:4]),
                   *facts[4:])
            for ordinal, parent, batch_id, kind, *facts in self._db.sql(_PARENTS, (pk,))
        ]  # fmt: skip

    def decided(self, pk: int, blocked: Blocked, most: int) -> list[Decided]:
        """Of the jobs that wait for others one by one those that wait no more."""
        rows = self._db.sql(_DECIDED, (pk, words(blocked.gates), most))
        return [Decided(*row) for row in rows]

    def met(self, pk: int, ordinal: int) -> None:
        """A dependency is fulfilled, and stays so."""
        with self._db.write() as db:
            db.execute_sql(
                "UPDATE dependency SET is_met = 1 WHERE batch = ? AND ordinal = ?", (pk, ordinal)
            )

    def keep(self, pk: int, blocked: Blocked, why: str) -> None:
        """Tells the jobs what they wait for."""
        with self._db.write() as db:
            told = db.execute_sql(
                "UPDATE array SET waiting = ?1 WHERE batch = ?2 AND state = 'BLOCKED'"
                " AND gate = ?3 AND waiting <> ?1",
                (why, pk, words(blocked.gates)),
            ).rowcount
            if told:
                _touch(db, pk)

    def open(self, array: int, tasks: Sequence[int], tag: str, why: str) -> bool:
        """These jobs of the array are an intent from now on: itself, or, if they are a part of it,
        a new one, named `tag`. `why` is what they show until Slurm has them. False where the
        throttle of its batch leaves no room for it."""
        with self._db.write() as db:
            row = db.execute_sql(
                "SELECT batch, n_tasks FROM array WHERE pk = ? AND state = 'BLOCKED'", (array,)
            ).fetchone()
            if row is None or not tasks:
                return True
            room = throttle.room(db, row[0])
            if room is not None and room < 1:
                return False
            share = None if room is None else min(room, len(tasks))
            if list(tasks) == list(range(1, row[1] + 1)):
                db.execute_sql(
                    "UPDATE array SET state = 'INTENT', gate = '', waiting = ?, throttle = ?"
                    " WHERE pk = ?",
                    (why, share, array),
                )
            else:
                _move(db, array, tasks, tag, why, share)
            _touch(db, row[0])
            return True

    def settle(self, due: Due) -> None:
        """All is done that had to be, unless something else has happened meanwhile."""
        with self._db.write() as db:
            db.execute_sql("UPDATE gate SET due = 0 WHERE batch = ? AND due = ?", (due.pk, due.due))

    def find(self, user_id: str, batch_id: str) -> int | None:
        """How many jobs the user's batch of this id has; None if there is none."""
        rows = self._db.sql(
            "SELECT n_jobs FROM batch WHERE batch_id = ? AND user_id = ? AND deleted_at IS NULL",
            (batch_id, user_id),
        )
        return int(rows[0][0]) if rows else None


def _touch(db: peewee.SqliteDatabase, pk: int) -> None:
    """What is shown of the batch is another."""
    db.execute_sql("UPDATE batch SET version = version + 1 WHERE pk = ?", (pk,))
    summaries.refresh(db, [pk])


def _move(
    db: peewee.SqliteDatabase, array: int, tasks: Sequence[int], tag: str, why: str,
    share: int | None,
) -> None:  # fmt: skip
    """So many jobs of the array become an intent of their own."""
    new = db.execute_sql(
        "INSERT INTO array"
        f" (batch, ordinal, tag, n_tasks, n_unfinished, waiting, throttle, created_at, {TERMS})"
        " SELECT batch, (SELECT max(ordinal) + 1 FROM array b WHERE b.batch = a.batch),"
        f" ?1, ?2, ?2, ?3, ?4, created_at, {TERMS} FROM array a WHERE pk = ?5 RETURNING pk",
        (tag, len(tasks), why, share, array),
    ).fetchone()[0]
    db.connection().cursor().executemany(
        "UPDATE job SET array = ?, task = ? WHERE array = ? AND task = ?",
        [(new, number, array, task) for number, task in enumerate(tasks, start=1)],
    )
    db.execute_sql(
        "UPDATE array SET n_unfinished = n_unfinished - ?1, n_tasks = n_tasks - ?1,"
        " state = CASE WHEN n_unfinished = ?1 THEN 'DONE' ELSE state END WHERE pk = ?2",
        (len(tasks), array),
    )

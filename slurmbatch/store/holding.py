"""What others' transactions do about gates: build them, ring at them, hold arrays back at them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import peewee

from slurmbatch.errors import Fault, Invalid
from slurmbatch.model import Batch, Dependency, Gate, Status
from slurmbatch.store.rows import CODE

NO_SUCH_BATCH = "You have no batch of this id."
_RING = """
UPDATE gate SET due = due + 1
WHERE batch = ?1 OR batch IN (SELECT batch FROM dependency WHERE parent = ?1)
"""


def build(db: peewee.SqliteDatabase, pk: int, batch: Batch) -> None:
    """The gates of a new batch. Raises Invalid where one that it depends on is gone meanwhile."""
    rows = [
        (pk, ordinal, _parent(db, batch.user_id, each), each.batch_id, each.type)
        for ordinal, each in enumerate(batch.depends_on)
    ]
    db.connection().cursor().executemany(
        "INSERT INTO dependency (batch, ordinal, parent, parent_id, type) VALUES (?, ?, ?, ?, ?)",
        rows,
    )
    db.execute_sql("INSERT INTO gate (batch) VALUES (?)", (pk,))


def _parent(db: peewee.SqliteDatabase, user_id: str, dependency: Dependency) -> int:
    row = db.execute_sql(
        "SELECT pk FROM batch WHERE batch_id = ? AND user_id = ? AND deleted_at IS NULL",
        (dependency.batch_id, user_id),
    ).fetchone()
    if row is None:
        raise Invalid([Fault(dependency.pointer, NO_SUCH_BATCH)])
    return int(row[0])


def ring(db: peewee.SqliteDatabase, batches: Iterable[int]) -> None:
    """Something has happened to these batches that may open or close gates: their own, and those
    of what depends on them."""
    db.connection().cursor().executemany(_RING, [(pk,) for pk in batches])


def hold_back(
    db: peewee.SqliteDatabase, batch: int, arrays: Iterable[int], *, parents: bool = True
) -> None:
    """For new arrays of a batch that is there already: what holds for the batch holds for them.

    `parents` False: they have been let go before as far as other batches go.
    """
    also = set(_gates(db, batch, parents))
    moved = 0
    for array in arrays:
        row = db.execute_sql("SELECT gate FROM array WHERE pk = ?", (array,)).fetchone()
        gates = also | {Gate(each) for each in row[0].split(",") if each}
        if gates:
            db.execute_sql(
                "UPDATE array SET state = 'BLOCKED', gate = ? WHERE pk = ?", (words(gates), array)
            )
            moved += db.execute_sql(
                f"UPDATE job SET status = {CODE[Status.PENDING]} WHERE array = ?"
                f" AND status = {CODE[Status.SUBMITTED]}",
                (array,),
            ).rowcount
    if moved:
        db.execute_sql(
            "UPDATE batch SET n_status_0 = n_status_0 - ?1, n_status_1 = n_status_1 + ?1"
            " WHERE pk = ?2",
            (moved, batch),
        )
        db.execute_sql(
            "INSERT INTO gate (batch) VALUES (?) ON CONFLICT DO UPDATE SET due = due + 1", (batch,)
        )


def _gates(db: peewee.SqliteDatabase, batch: int, parents: bool) -> Iterator[Gate]:
    depends, is_throttled = db.execute_sql(
        "SELECT EXISTS (SELECT 1 FROM dependency WHERE batch = ?1),"
        " (SELECT max_parallel IS NOT NULL FROM batch WHERE pk = ?1)",
        (batch,),
    ).fetchone()
    if depends and parents:
        yield Gate.PARENTS
    if is_throttled:
        yield Gate.THROTTLE


def words(gates: Iterable[Gate]) -> str:
    """As they stand in the database."""
    return ",".join(sorted(gates))


def forget(db: peewee.SqliteDatabase, pk: int) -> None:
    """The records of a batch go."""
    ring(db, [pk])
    db.execute_sql("DELETE FROM gate WHERE batch = ?", (pk,))
    db.execute_sql("DELETE FROM dependency WHERE batch = ?", (pk,))

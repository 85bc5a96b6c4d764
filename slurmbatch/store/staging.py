"""A large batch while its jobs are written, in several transactions: there for nobody yet.

To its owner it is one that is deleted, to the submitter and the poller its arrays are in no state
of theirs. Shown in one short transaction, it is there as a whole. A process that ends before that
leaves one that is given up, and goes the way of what is deleted.
"""

from __future__ import annotations

import peewee

from slurmbatch.store.database import Database

_MARK = "STAGED:"
STAGED = f"state NOT IN ('DONE', 'REFUSED') AND state GLOB '{_MARK}*'"


def hide(db: peewee.SqliteDatabase, batch: int) -> None:
    db.execute_sql("UPDATE batch SET deleted_at = created_at WHERE pk = ?", (batch,))
    db.execute_sql(f"UPDATE array SET state = '{_MARK}' || state WHERE batch = ?", (batch,))


def show(db: peewee.SqliteDatabase, batch: int) -> None:
    db.execute_sql("UPDATE batch SET deleted_at = NULL WHERE pk = ?", (batch,))
    db.execute_sql(
        f"UPDATE array SET state = substr(state, {len(_MARK) + 1}) WHERE batch = ? AND {STAGED}",
        (batch,),
    )


def give_up(db: peewee.SqliteDatabase, batch: int | None = None) -> None:
    """Of one batch, or of all."""
    db.execute_sql(
        f"UPDATE array SET state = 'DONE' WHERE {STAGED} AND batch = coalesce(?, batch)", (batch,)
    )


def is_any(database: Database) -> bool:
    return bool(database.sql(f"SELECT 1 FROM array WHERE {STAGED} LIMIT 1"))

"""What is to be told to others, until they have been told. Triggers on `batch` put it here."""

from __future__ import annotations

from typing import Any

import peewee

from slurmbatch.model import Delivery, Notify, Status
from slurmbatch.store.database import Database

_COUNTS = ", ".join(f"b.n_status_{code}" for code in range(len(Status)))
_DUE = f"""
SELECT o.delivery_id, o.event, o.occurred_at, o.tries, w.url, w.host, b.batch_id, b.user_id,
    b.tool_id, b.name, b.n_jobs, b.cancelled_at IS NOT NULL, {_COUNTS}
FROM outbox o JOIN webhook w ON w.batch = o.batch JOIN batch b ON b.pk = o.batch
WHERE o.next_try_at <= ? AND b.deleted_at IS NULL ORDER BY o.next_try_at, o.pk LIMIT ?
"""


class Outbox:
    def __init__(self, database: Database) -> None:
        self._db = database

    def due(self, now: float, limit: int) -> list[Delivery]:
        """What is to be sent by now, the longest due first. Of a deleted batch nothing is told."""
        rows = self._db.sql(_DUE, (now, limit))
        return [_delivery(row) for row in rows]

    def done(self, delivery_id: str) -> None:
        """It has arrived, or never will."""
        with self._db.write() as db:
            db.execute_sql("DELETE FROM outbox WHERE delivery_id = ?", (delivery_id,))

    def failed(self, delivery: Delivery, next_try_at: float) -> None:
        """Whatever else goes to the same host has to wait as long."""
        with self._db.write() as db:
            db.execute_sql(
                "UPDATE outbox SET tries = tries + 1 WHERE delivery_id = ?",
                (delivery.delivery_id,),
            )
            db.execute_sql(
                "UPDATE outbox SET next_try_at = max(next_try_at, ?)"
                " WHERE batch IN (SELECT batch FROM webhook WHERE host = ?)",
                (next_try_at, delivery.host),
            )


def keep(db: peewee.SqliteDatabase, batch: int, notify: Notify) -> None:
    """Within the transaction that makes the batch."""
    db.execute_sql(
        "INSERT INTO webhook (batch, url, host, finished, first_failure) VALUES (?, ?, ?, ?, ?)",
        (batch, notify.url, notify.host, "finished" in notify.on, "first_failure" in notify.on),
    )


def _delivery(row: tuple[Any, ...]) -> Delivery:
    counts = dict(zip(Status, row[12:], strict=True))
    return Delivery(*row[:11], cancelled=bool(row[11]), counts=counts)  # type: ignore[misc]

"""What is to be told to others, and what has become of it. Triggers on `batch` put it here."""

from __future__ import annotations

from typing import Any

import peewee

from slurmbatch.model import Delivery, DeliveryState, Notification, Notify, Status
from slurmbatch.store.database import Database

_COUNTS = ", ".join(f"b.n_status_{code}" for code in range(len(Status)))
_DUE = f"""
SELECT o.delivery_id, o.event, o.occurred_at, o.tries, w.url, w.host, b.batch_id, b.user_id,
    b.tool_id, b.name, b.n_jobs, b.cancelled_at IS NOT NULL, {_COUNTS}
FROM outbox o JOIN webhook w ON w.batch = o.batch JOIN batch b ON b.pk = o.batch
WHERE o.state = 'pending' AND o.next_try_at <= ? AND b.deleted_at IS NULL
ORDER BY o.next_try_at, o.pk LIMIT ?
"""
_OF_BATCH = """
SELECT o.event, w.host, o.state, o.tries, o.last_error, o.occurred_at, o.last_at, o.next_try_at
FROM batch b JOIN webhook w ON w.batch = b.pk JOIN outbox o ON o.batch = b.pk
WHERE b.batch_id = ? AND b.user_id = ? AND b.deleted_at IS NULL ORDER BY o.pk DESC
"""
_TRIED = """
UPDATE outbox SET tries = tries + ?, state = ?, last_error = ?, last_at = ? WHERE delivery_id = ?
"""


class Outbox:
    def __init__(self, database: Database) -> None:
        self._db = database

    def due(self, now: float, limit: int) -> list[Delivery]:
        """What is to be sent by now, the longest due first. Of a deleted batch nothing is told."""
        rows = self._db.sql(_DUE, (now, limit))
        return [_delivery(row) for row in rows]

    def of_batch(self, user_id: str, batch_id: str) -> list[Notification]:
        """Those that were made so far, newest first."""
        rows = self._db.sql(_OF_BATCH, (batch_id, user_id))
        return [_notification(row) for row in rows]

    def tried(self, delivery: Delivery, fate: DeliveryState, error: str, now: float) -> None:
        """It was sent once more, and this came of it."""
        with self._db.write() as db:
            db.execute_sql(_TRIED, (1, fate.value, error, now, delivery.delivery_id))

    def refused(self, delivery: Delivery, error: str, now: float) -> None:
        """It may not be sent at all, and was not."""
        with self._db.write() as db:
            db.execute_sql(
                _TRIED, (0, DeliveryState.GIVEN_UP.value, error, now, delivery.delivery_id)
            )

    def failed(self, delivery: Delivery, error: str, now: float, next_try_at: float) -> None:
        """Whatever else goes to the same host has to wait as long."""
        with self._db.write() as db:
            db.execute_sql(
                _TRIED, (1, DeliveryState.PENDING.value, error, now, delivery.delivery_id)
            )
            db.execute_sql(
                "UPDATE outbox SET next_try_at = max(next_try_at, ?) WHERE state = 'pending'"
                " AND (SELECT host FROM webhook WHERE webhook.batch = outbox.batch) = ?",
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


def _notification(row: tuple[Any, ...]) -> Notification:
    event, host, state, tries, error, occurred_at, last_at, next_at = row
    fate = DeliveryState(state)
    # One that was not tried yet is due since it was made.
    waits = fate is DeliveryState.PENDING and next_at > 0
    return Notification(
        event, host, fate, tries, error, occurred_at, last_at, next_at if waits else None
    )

"""What a request has done, under the key that its caller gave it, so that it is done once."""

from __future__ import annotations

from dataclasses import dataclass

import peewee

from slurmbatch.errors import Conflict, KeyReused
from slurmbatch.store.models import IdempotencyRow


@dataclass(frozen=True, slots=True)
class Idempotency:
    """The caller's key and what it stands for: the SHA-256 of what was asked."""

    key: str
    body_hash: bytes


def earlier(db: peewee.SqliteDatabase, user_id: str, idempotency: Idempotency) -> str | None:
    """The id of the batch that the key was for. Raises KeyReused, Conflict (it is deleted)."""
    row = db.execute_sql(
        "SELECT body_hash, batch_id FROM idempotency WHERE user_id = ? AND key = ?",
        (user_id, idempotency.key),
    ).fetchone()
    if row is None:
        return None
    if bytes(row[0]) != idempotency.body_hash:
        raise KeyReused
    found = db.execute_sql(
        "SELECT 1 FROM batch WHERE batch_id = ? AND user_id = ? AND deleted_at IS NULL",
        (row[1], user_id),
    ).fetchone()
    if found is None:
        raise Conflict(f"This Idempotency-Key made batch {row[1]}, which has been deleted since.")
    return str(row[1])


def remember(
    db: peewee.SqliteDatabase, user_id: str, batch_id: str, idempotency: Idempotency, now: float
) -> None:
    IdempotencyRow.insert(
        user_id=user_id,
        key=idempotency.key,
        body_hash=idempotency.body_hash,
        batch_id=batch_id,
        created_at=now,
    ).bind(db).execute()

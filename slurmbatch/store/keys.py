"""API keys: their hashes, never the keys."""

from __future__ import annotations

from slurmbatch.model import ApiKey
from slurmbatch.store.database import Database
from slurmbatch.store.models import ApiKeyRow


class Keys:
    def __init__(self, database: Database) -> None:
        self._db = database

    def key(self, key_id: str) -> ApiKey | None:
        """Asked with every request, so it is remembered until something is written."""
        return self._db.remembered(("key", key_id), lambda: self._read(key_id))

    def _read(self, key_id: str) -> ApiKey | None:
        rows = self._db.sql(_GET, (key_id,))
        return _key(rows[0]) if rows else None

    def add_key(self, key: ApiKey) -> None:
        with self._db.write() as db:
            ApiKeyRow.insert(
                key_id=key.key_id,
                user_id=key.user_id,
                secret_hash=key.secret_hash,
                created_at=key.created_at,
                expires_at=key.expires_at,
                revoked_at=key.revoked_at,
            ).bind(db).execute()

    def list_keys(self, user_id: str | None = None) -> list[ApiKey]:
        query = ApiKeyRow.select(*_COLUMNS).order_by(ApiKeyRow.created_at)
        if user_id is not None:
            query = query.where(ApiKeyRow.user_id == user_id)
        return [_key(row) for row in self._db.rows(query)]

    def revoke_key(self, key_id: str, now: float) -> bool:
        """False if there is no such key, or it was revoked before."""
        with self._db.write() as db:
            update = ApiKeyRow.update(revoked_at=now).where(
                (ApiKeyRow.key_id == key_id) & ApiKeyRow.revoked_at.is_null()
            )
            return bool(update.bind(db).execute())


_COLUMNS = (
    ApiKeyRow.key_id,
    ApiKeyRow.user_id,
    ApiKeyRow.secret_hash,
    ApiKeyRow.created_at,
    ApiKeyRow.expires_at,
    ApiKeyRow.revoked_at,
)

_GET = f"SELECT {', '.join(each.column_name for each in _COLUMNS)} FROM api_key WHERE key_id = ?"


def _key(row: tuple[object, ...]) -> ApiKey:
    key_id, user_id, secret_hash, created_at, expires_at, revoked_at = row
    return ApiKey(
        str(key_id),
        str(user_id),
        bytes(secret_hash),  # type: ignore[call-overload]
        float(created_at),  # type: ignore[arg-type]
        expires_at,  # type: ignore[arg-type]
        revoked_at,  # type: ignore[arg-type]
    )

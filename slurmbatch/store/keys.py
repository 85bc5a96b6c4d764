"""API keys: their hashes, never the keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import peewee

from slurmbatch.model import Act, ApiKey, Scope
from slurmbatch.store import audit
from slurmbatch.store.database import Database
from slurmbatch.store.models import ApiKeyRow

# How many that are good for nothing any more stay in a user's list, the newest of them.
DEAD_AT_MOST = 100
_LIVES = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)"
# What was made with a key goes with it, and what was made with that.
_REVOKE = """
UPDATE api_key SET revoked_at = ?1 WHERE revoked_at IS NULL AND key_id IN (
    WITH RECURSIVE gone (key_id) AS (
        SELECT ?2 UNION SELECT api_key.key_id FROM api_key JOIN gone ON made_with = gone.key_id
    )
    SELECT key_id FROM gone
)
"""
_FORGET = f"""
DELETE FROM api_key WHERE user_id = ?1 AND NOT ({_LIVES.replace("?", "?2")}) AND key_id NOT IN (
    SELECT key_id FROM api_key WHERE user_id = ?1 AND NOT ({_LIVES.replace("?", "?2")})
    ORDER BY created_at DESC LIMIT {DEAD_AT_MOST}
)
"""
_USED = "UPDATE api_key SET used_at = ?1 WHERE key_id = ?2 AND coalesce(used_at, 0) < ?1"


class Keys:
    def __init__(self, database: Database) -> None:
        self._db = database

    def key(self, key_id: str) -> ApiKey | None:
        """Asked with every request, so it is remembered until something is written."""
        return self._db.remembered(("key", key_id), lambda: self._read(key_id))

    def _read(self, key_id: str) -> ApiKey | None:
        rows = self._db.sql(_GET, (key_id,))
        return _key(rows[0]) if rows else None

    def add_key(self, key: ApiKey, act: Act | None = None) -> None:
        with self._db.write() as db:
            _insert(db, key)
            audit.write(db, act)

    def add_own(self, key: ApiKey, most: int, act: Act | None = None) -> bool:
        """Keeps one that a user has made; False: they have `most` that work already. Raises
        LookupError if the key that it was made with has been revoked meanwhile."""
        with self._db.write() as db:
            if key.made_with and not _count(db, "key_id", key.made_with, key.created_at):
                raise LookupError(key.made_with)
            if _count(db, "user_id", key.user_id, key.created_at) >= most:
                return False
            _insert(db, key)
            db.execute_sql(_FORGET, (key.user_id, key.created_at))
            audit.write(db, act)
        return True

    def list_keys(self, user_id: str | None = None) -> list[ApiKey]:
        query = ApiKeyRow.select(*_COLUMNS).order_by(ApiKeyRow.created_at)
        if user_id is not None:
            query = query.where(ApiKeyRow.user_id == user_id)
        return [_key(row) for row in self._db.rows(query)]

    def revoke_key(self, key_id: str, now: float, act: Act | None = None) -> bool:
        """With it whatever was made with it. False: there was nothing left to revoke."""
        with self._db.write() as db:
            count = int(db.execute_sql(_REVOKE, (now, key_id)).rowcount)
            if count and act is not None:
                audit.write(db, replace(act, detail=f"{count} keys" if count > 1 else ""))
            return bool(count)

    def used(self, times: Mapping[str, float]) -> None:
        """Keeps when keys were last used."""
        with self._db.write() as db:
            rows = [(at, key_id) for key_id, at in times.items()]
            db.connection().cursor().executemany(_USED, rows)


def _count(db: peewee.SqliteDatabase, column: str, value: str, now: float) -> int:
    query = f"SELECT count(*) FROM api_key WHERE {column} = ? AND {_LIVES}"
    return int(db.execute_sql(query, (value, now)).fetchone()[0])


def _insert(db: peewee.SqliteDatabase, key: ApiKey) -> None:
    ApiKeyRow.insert(
        key_id=key.key_id,
        user_id=key.user_id,
        secret_hash=key.secret_hash,
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        name=key.name,
        scopes=" ".join(sorted(key.scopes)),
        used_at=key.used_at,
        made_with=key.made_with,
    ).bind(db).execute()


_COLUMNS = (
    ApiKeyRow.key_id,
    ApiKeyRow.user_id,
    ApiKeyRow.secret_hash,
    ApiKeyRow.created_at,
    ApiKeyRow.expires_at,
    ApiKeyRow.revoked_at,
    ApiKeyRow.name,
    ApiKeyRow.scopes,
    ApiKeyRow.used_at,
    ApiKeyRow.made_with,
)

_GET = f"SELECT {', '.join(each.column_name for each in _COLUMNS)} FROM api_key WHERE key_id = ?"


def _key(row: tuple[Any, ...]) -> ApiKey:
    key_id, user_id, secret_hash, created_at, expires_at, revoked_at, *more = row
    name, scopes, used_at, made_with = more
    return ApiKey(
        key_id=key_id,
        user_id=user_id,
        secret_hash=bytes(secret_hash),
        created_at=created_at,
        expires_at=expires_at,
        revoked_at=revoked_at,
        name=name,
        scopes=frozenset(map(Scope, scopes.split())),
        used_at=used_at,
        made_with=made_with,
    )

"""The audit trail: who did what to what. Written with the act itself, in its transaction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, fields
from typing import Any

import peewee

from slurmbatch.model import Act
from slurmbatch.store.database import Database

# What the credential of those begins with who have used a command of `slurmbatch admin`.
COMMAND_LINE = "command line"
# How many rows are removed at a time, so that nobody waits long for a turn to write.
PORTION = 5000
_COLUMNS = tuple(each.name for each in fields(Act))
_INSERT = f"INSERT INTO audit ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
_SELECT = f"SELECT {', '.join(_COLUMNS)}, pk FROM audit"


def write(db: peewee.SqliteDatabase, act: Act | None) -> None:
    """Within the transaction of the act; without one, nothing."""
    if act is not None:
        db.execute_sql(_INSERT, astuple(act))


class Trail:
    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, act: Act) -> None:
        """What changes nothing else in the database."""
        with self._db.write() as db:
            write(db, act)

    def find(
        self,
        *,
        user_id: str | None = None,
        what: str | None = None,
        target: str | None = None,
        since: float = 0.0,
        limit: int = -1,
    ) -> list[Act]:
        """The newest first. `user_id`: done by them, or to what is theirs; `what`: the kind, or
        what it begins with."""
        rows = self._db.sql(
            f"{_SELECT} WHERE (?1 IS NULL OR user_id = ?1 OR owner = ?1)"
            " AND (?2 IS NULL OR what = ?2 OR substr(what, 1, length(?2) + 1) = ?2 || '.')"
            " AND (?3 IS NULL OR target = ?3) AND at >= ?4 ORDER BY pk DESC LIMIT ?5",
            (user_id, what, target, since, limit),
        )
        return [_act(row) for row in rows]

    def newest(self) -> int:
        rows = self._db.sql("SELECT coalesce(max(pk), 0) FROM audit")
        return int(rows[0][0])

    def after(self, pk: int, credential: str) -> Iterator[tuple[int, Act]]:
        """What was done with credentials that begin so, after the row of that number."""
        rows = self._db.sql(
            f"{_SELECT} WHERE pk > ?1 AND substr(credential, 1, length(?2)) = ?2 ORDER BY pk",
            (pk, credential),
        )
        return ((int(row[-1]), _act(row)) for row in rows)

    def forget(self, before: float | None, most: int) -> int:
        """Removes some of what is older than that, or more than so many; gives how many."""
        oldest = self._db.sql("SELECT pk, at FROM audit ORDER BY pk LIMIT ?", (PORTION,))
        newest = self.newest()
        gone = [
            pk for pk, at in oldest
            if pk <= newest - most or (before is not None and at < before)
        ]  # fmt: skip
        if gone:
            with self._db.write() as db:
                db.execute_sql("DELETE FROM audit WHERE pk <= ?", (max(gone),))
        return len(gone)


def _act(row: tuple[Any, ...]) -> Act:
    return Act(*row[: len(_COLUMNS)])

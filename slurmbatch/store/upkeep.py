"""Care for the database: copies of it, what is wrong with it, and what it need not keep."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from slurmbatch import headship
from slurmbatch.errors import NewerSchema, StoreFull, StoreUnavailable
from slurmbatch.model import Act
from slurmbatch.store import audit
from slurmbatch.store.database import Database, honest_errors
from slurmbatch.store.migrations import MIGRATIONS
from slurmbatch.store.place import holding, sync_file
from slurmbatch.store.rows import FIRST_END, STATUSES
from slurmbatch.store.staging import STAGED

_PORTION = 500
# So much may lie free in the file before any of it is given back; what comes next takes it.
_FREE_PAGES = 1024
# How many pages are given back at a time, which is a few milliseconds' work.
_PAGES = 512
_WRONG_COUNTERS = " OR ".join(
    f"n_status_{code} IS NOT (SELECT count(*) FROM job WHERE batch = pk AND status = {code})"
    for code in range(len(STATUSES))
)
# What has to hold in any database of ours: what is wrong, and the ids for which it is.
_INVARIANTS = (
    ("the counters of batches do not agree with their jobs",
     f"SELECT batch_id FROM batch WHERE deleted_at IS NULL AND ({_WRONG_COUNTERS})"),
    ("arrays do not agree with the jobs that they are to end",
     "SELECT tag FROM array WHERE n_unfinished IS NOT (SELECT count(*) FROM job"
     f" WHERE array = array.pk AND status < {FIRST_END}) AND state NOT IN ('DONE', 'REFUSED')"
     f" AND NOT ({STAGED})"),
    ("arrays belong to no batch",
     "SELECT tag FROM array WHERE batch NOT IN (SELECT pk FROM batch)"),
)  # fmt: skip


class Upkeep:
    def __init__(self, database: Database) -> None:
        self._db = database

    def expire(self, before: float, user_id: str | None = None, act: Act | None = None) -> int:
        """Hides batches that ended before then, as if deleted, a portion at a time, and each with
        the act that it comes from; their records go as those of deleted ones do. Gives how many."""
        count = 0
        while found := self.due(before, user_id, _PORTION):
            with self._db.write() as db:
                db.connection().cursor().executemany(
                    "UPDATE batch SET deleted_at = ? WHERE batch_id = ? AND deleted_at IS NULL"
                    " AND finished_at < ?",
                    [(time.time(), batch_id, before) for batch_id in found],
                )
                if act is not None:
                    audit.write(db, replace(act, detail=f"{len(found)} batches, {act.detail}"))
            count += len(found)
        return count

    def due(self, before: float, user_id: str | None = None, limit: int = -1) -> list[str]:
        """The batches that `expire` would hide."""
        rows = self._db.sql(
            "SELECT batch_id FROM batch INDEXED BY batch_finished WHERE finished_at < ?"
            " AND deleted_at IS NULL AND (?2 IS NULL OR user_id = ?2) LIMIT ?3",
            (before, user_id, limit),
        )
        return [batch_id for (batch_id,) in rows]

    def give_back(self) -> bool:
        """Gives a little of the free space in the file back; whether there is more to give."""
        if self._db.sql("PRAGMA freelist_count")[0][0] < _FREE_PAGES + _PAGES:
            return False
        if self._db.sql("PRAGMA auto_vacuum")[0][0] != 2:
            return False  # made by an older release; `compact` mends that
        with self._db.write() as db:
            # One at a time: SQLite frees a page with each step of the statement, and Python takes
            # only one of a statement that has no rows.
            for _ in range(_PAGES):
                db.execute_sql("PRAGMA incremental_vacuum(1)")
        return True

    def compact(self) -> None:
        """Writes the whole file anew, so that from then on it can give back what is free. Only
        while nobody else has it open."""
        with self._db.alone() as writer:
            writer.execute_sql("VACUUM")


# --- copies ------------------------------------------------------------------------------------


def back_up(path: Path, target: Path) -> int:
    """A whole copy as of one moment, beside a running daemon, which it does not hold up; gives its
    size. Raises StoreUnavailable, StoreFull."""
    if target.exists():
        raise StoreUnavailable(f"{target} is there already; name another file")
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        with honest_errors():
            os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            with closing(_reading(path)) as source:
                source.execute("VACUUM INTO ?", (str(partial),))
            sync_file(partial)
            _refuse(examine(partial, thoroughly=False), partial)
            partial.rename(target)
            sync_file(target.parent)
    finally:
        for left in (partial, *_beside(partial)):
            left.unlink(missing_ok=True)
    return target.stat().st_size


def restore(path: Path, source: Path) -> Path | None:
    """Puts a copy in the place of the database, all or nothing, while no daemon runs; the next one
    that is started on it is the head, whoever was before (`slurmbatch.headship`). Gives where what
    was there is kept. Raises AlreadyRunning, NewerSchema, StoreUnavailable, StoreFull."""
    with honest_errors(), holding(path):
        _refuse(examine(source, thoroughly=True), source)
        kept = _keep(path)
        try:
            _copy(source, path)
        except sqlite3.DatabaseError as error:
            if "disk is full" in str(error):
                raise
            # What is there is no database: there is nothing to write it into.
            for old in (path, *_beside(path)):
                old.unlink(missing_ok=True)
            _copy(source, path)
        path.chmod(0o600)
        sync_file(path.parent)
        return kept


def _copy(source: Path, path: Path) -> None:
    """One transaction, so that a crash leaves the one or the other."""
    with closing(_reading(source)) as old, closing(sqlite3.connect(path)) as new:
        new.execute("PRAGMA synchronous = FULL")
        old.backup(new)
        with new:
            new.execute(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)", (headship.KEY, headship.TAKES_OVER)
            )
        new.execute("PRAGMA journal_mode = wal")


def _keep(path: Path) -> Path | None:
    """A copy beside it, which gets its name only once it is whole."""
    for left in path.parent.glob(f"{path.name}.before-*.partial*"):
        left.unlink()
    if not path.stat().st_size:
        return None
    kept = path.with_name(f"{path.name}.before-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    partial = kept.with_name(kept.name + ".partial")
    copied = []
    # The file itself comes last: without it nobody takes the rest for a database.
    for old in (*_beside(path), path):
        if old.exists():
            end = old.name[len(path.name) :]
            copy = partial.with_name(partial.name + end)
            shutil.copyfile(old, copy)
            copy.chmod(0o600)
            sync_file(copy)
            copied.append((copy, kept.with_name(kept.name + end)))
    for copy, named in copied:
        copy.rename(named)
    sync_file(path.parent)
    return kept


def _beside(path: Path) -> tuple[Path, Path]:
    return path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")


def _reading(path: Path) -> sqlite3.Connection:
    # Nothing that reads alone ever checkpoints, which only the daemon may.
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)


# --- what is wrong -----------------------------------------------------------------------------


def examine(path: Path, *, thoroughly: bool) -> list[str]:
    """What is wrong with a database or a copy; nothing, if all is well."""
    if not path.is_file():
        return [f"{path} is not there"]
    try:
        with closing(_reading(path)) as connection:
            return list(_complaints(connection, thoroughly))
    except sqlite3.Error as error:
        if "disk is full" in str(error):
            raise StoreFull from error
        return [f"SQLite says: {error}"]


def _complaints(connection: sqlite3.Connection, thoroughly: bool) -> Iterator[str]:
    check = "integrity_check" if thoroughly else "quick_check"
    for (line,) in connection.execute(f"PRAGMA {check}(20)"):
        if line != "ok":
            yield f"SQLite says: {line}"
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version == 0:
        yield "it is no database of slurmbatch"
    elif version > len(MIGRATIONS):
        raise NewerSchema(f"It has schema {version}; this slurmbatch knows {len(MIGRATIONS)}")
    elif thoroughly and version == len(MIGRATIONS):
        yield from _broken_invariants(connection)


def _broken_invariants(connection: sqlite3.Connection) -> Iterator[str]:
    for table, *_ in connection.execute("PRAGMA foreign_key_check"):
        yield f"a row of {table} refers to one that is not there"
    for sentence, query in _INVARIANTS:
        found = [row[0] for row in connection.execute(query + " LIMIT 6")]
        if found:
            more = " and others" if len(found) > 5 else ""
            yield f"{sentence}: {', '.join(found[:5])}{more}"


def _refuse(complaints: list[str], path: Path) -> None:
    if complaints:
        raise StoreUnavailable(f"{path} is not sound: " + "; ".join(complaints))


def schema_of(path: Path) -> tuple[int, int]:
    """The database's schema, and the one that this program makes of it."""
    with honest_errors(), contextlib.closing(_reading(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0]), len(MIGRATIONS)

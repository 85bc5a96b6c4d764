"""One SQLite file: one connection that writes, one per thread that reads.

WAL with synchronous=FULL: what is committed survives a power cut. Only the writer checkpoints, and
it writes under a lock that other processes (the admin's commands) take too: up to SQLite 3.51.2
two connections that write and checkpoint at the same moment may corrupt a WAL database.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import pwd
import socket
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import peewee

from slurmbatch.errors import AlreadyRunning, NewerSchema, StoreFull, StoreUnavailable
from slurmbatch.store.migrations import MIGRATIONS

_PRAGMAS = {"foreign_keys": 1, "busy_timeout": 5000, "temp_store": 2}


TROUBLES = (peewee.OperationalError, peewee.DatabaseError, sqlite3.Error, OSError)


@contextlib.contextmanager
def honest_errors() -> Iterator[None]:
    """The database's troubles as ours: a full disk, or unavailable for now."""
    try:
        yield
    except TROUBLES as error:
        raise honest(error) from error


def honest(error: Exception) -> Exception:
    """What to raise for an error of the database's; a mistake of ours stays what it is."""
    if isinstance(error, peewee.IntegrityError | peewee.ProgrammingError):
        return error
    if any(_is_full(each) for each in _chain(error)):
        return StoreFull()
    return StoreUnavailable(f"The database cannot be used just now: {error}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it came from: SQLite rolls back by itself when the disk is full, and then
    complains that there is nothing to roll back."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_full(error: BaseException) -> bool:
    return "disk is full" in str(error) or getattr(error, "errno", None) == errno.ENOSPC


class Database:
    """Reads from any thread, writes from one at a time. Open it with `exclusive` once."""

    def __init__(
        self, path: Path, *, exclusive: bool, migrations: Sequence[str] = MIGRATIONS
    ) -> None:
        self._migrations = migrations
        self.path = path
        _prepare(path)
        self._holder = _hold(path) if exclusive else None
        self._write_lock = threading.RLock()
        self._gate = _lock_file(path, ".write")
        try:
            self.writer = peewee.SqliteDatabase(
                str(path), thread_safe=False, check_same_thread=False,
                pragmas={**_PRAGMAS, "journal_mode": "wal", "synchronous": 2,
                         "journal_size_limit": 64 << 20},
            )  # fmt: skip
            self.reader = peewee.SqliteDatabase(
                str(path), pragmas={**_PRAGMAS, "query_only": 1, "wal_autocheckpoint": 0}
            )
            with honest_errors():
                self._migrate(exclusive)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the writer and this thread's reader, and lets the lock go."""
        for database in (getattr(self, "writer", None), getattr(self, "reader", None)):
            if database is not None and not database.is_closed():
                database.close()
        self._gate.close()
        if self._holder is not None:
            self._holder.close()

    @contextlib.contextmanager
    def write(self) -> Iterator[peewee.SqliteDatabase]:
        """One transaction, committed to the disk when the block ends. IMMEDIATE: it never has to
        upgrade a read lock, which SQLite refuses without waiting."""
        with self._write_lock, honest_errors(), self._gated(), self.writer.atomic("IMMEDIATE"):
            yield self.writer

    def rows(self, query: Any) -> list[tuple[Any, ...]]:
        """All rows of a query, as tuples, from this thread's reader."""
        with honest_errors():
            return list(query.bind(self.reader).tuples())

    def sql(self, text: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows of a plain SELECT, from this thread's reader."""
        try:
            connection: sqlite3.Connection = self.reader.connection()
            return connection.execute(text, parameters).fetchall()
        except TROUBLES as error:
            raise honest(error) from error

    @contextlib.contextmanager
    def _gated(self) -> Iterator[None]:
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._gate, fcntl.LOCK_UN)

    def _migrate(self, exclusive: bool) -> None:
        with self._write_lock, self._gated():
            version = int(self.writer.execute_sql("PRAGMA user_version").fetchone()[0])
            known = len(self._migrations)
            if version > known:
                raise NewerSchema(
                    f"{self.path} has schema {version}; this slurmbatch knows {known}"
                )
            if version == known:
                return
            if version and not exclusive:
                raise StoreUnavailable("The database has an older schema: restart the daemon first")
            if version:
                self._backup(version)
            for step, script in enumerate(self._migrations[version:], start=version + 1):
                self._step(step, script)

    def _step(self, step: int, script: str) -> None:
        # One transaction for the step and its number. sqlite3's executescript would commit first.
        with self.writer.atomic("EXCLUSIVE"):
            for statement in filter(None, (part.strip() for part in script.split(";"))):
                self.writer.execute_sql(statement)
            self.writer.execute_sql(f"PRAGMA user_version = {step}")

    def _backup(self, version: int) -> None:
        target = self.path.with_name(f"{self.path.name}.schema-{version}")
        partial = target.with_name(target.name + ".partial")
        partial.unlink(missing_ok=True)
        self.writer.execute_sql("VACUUM INTO ?", (str(partial),))
        partial.chmod(0o600)
        partial.replace(target)


def _prepare(path: Path) -> None:
    """Makes the directory (0700) and the file (0600); refuses ones that are another account's, or
    that others can get at."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Before there is a file: root could make one that the daemon's account cannot open.
        _check_owner(path.parent)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        _check_owner(path)
        modes = {path: path.stat(), path.parent: path.parent.stat()}
    except OSError as error:
        raise StoreUnavailable(f"{path}: {error.strerror}") from error
    for place, status in modes.items():
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise StoreUnavailable(
                f"{place} is open to others (mode {stat.S_IMODE(status.st_mode):04o}): "
                f"chmod go= {place}"
            )


def _check_owner(place: Path) -> None:
    owner = place.stat().st_uid
    if owner != os.geteuid():
        raise StoreUnavailable(
            f"{place} belongs to {_account(owner)}: run this as that account, "
            f"not as {_account(os.geteuid())}"
        )


def _account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _lock_file(path: Path, suffix: str) -> IO[str]:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    return os.fdopen(os.open(path.with_name(path.name + suffix), flags, 0o600), "r+")


def _hold(path: Path) -> IO[str]:
    """Takes the daemon's lock on the database, which the kernel drops with the process."""
    holder = _lock_file(path, ".lock")
    try:
        fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        who = _describe(holder.read())
        holder.close()
        raise AlreadyRunning(f"{path} is held by another slurmbatch daemon: {who}") from None
    holder.truncate(0)
    about = {"pid": os.getpid(), "host": socket.gethostname(), "since": _utc_now()}
    holder.write(json.dumps(about))
    holder.flush()
    return holder


def _describe(text: str) -> str:
    try:
        about = json.loads(text)
        return f"pid {about['pid']} on {about['host']}, since {about['since']}"
    except (ValueError, KeyError, TypeError):
        return "one that is just starting"


def _utc_now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

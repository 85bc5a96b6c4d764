"""One SQLite file: one connection that writes, one per thread that reads.

WAL with synchronous=FULL: what is committed survives a power cut, unless it is asked to do so only
once it is synced, too. Only the writer checkpoints, and it writes under a lock that other processes
(the admin's commands) take too: up to SQLite 3.51.2 two connections that write and checkpoint at
the same moment may corrupt a WAL database.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import sqlite3
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import peewee

from slurmbatch.errors import NewerSchema, StoreFull, StoreUnavailable
from slurmbatch.store import place
from slurmbatch.store.migrations import MIGRATIONS

_PRAGMAS = {"foreign_keys": 1, "busy_timeout": 5000, "temp_store": 2}
# How long a transaction waits for its turn, in seconds.
WAITS_FOR_THREADS = 30.0
WAITS_FOR_PROCESSES = 5.0
FOREIGN_COMMITS_AFTER = 0.05
_REMEMBERED_AT_MOST = 4096
T = TypeVar("T")


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


class _Memory(threading.local):
    """What one thread has read since the last commit, and how it knows of one."""

    commits = -1
    version: object = None
    asked_at = -1.0
    kept: dict[Hashable, Any] = {}  # noqa: RUF012 a thread's own takes its place before it is used


class Database:
    """Reads from any thread, writes from one at a time. Open it with `exclusive` once."""

    def __init__(
        self, path: Path, *, exclusive: bool, migrations: Sequence[str] = MIGRATIONS
    ) -> None:
        self._migrations = migrations
        self.path = path
        self.waits_for_threads = WAITS_FOR_THREADS
        self.waits_for_processes = WAITS_FOR_PROCESSES
        place.prepare(path)
        self._holder = place.hold(path) if exclusive else None
        self._write_lock = threading.RLock()
        self._gate = place.lock_file(path, ".write")
        self._log = place.Log(path)
        self._commits = 0
        self.on_commit: Callable[[], None] = lambda: None
        self._memory = _Memory()
        try:
            self.writer = peewee.SqliteDatabase(
                str(path), thread_safe=False, check_same_thread=False,
                # In this order: the first, which lets a file give back what is free in it, is heard
                # only before anything is written to a new one.
                pragmas={"auto_vacuum": 2, **_PRAGMAS, "journal_mode": "wal", "synchronous": 2,
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
        """Closes the writer and this thread's reader, and lets the lock go.

        A thread that is still writing is not waited for: what it has not committed is not there.
        """
        idle = self._write_lock.acquire(timeout=1.0)
        writer = getattr(self, "writer", None) if idle else None
        for database in (writer, getattr(self, "reader", None)):
            if database is not None and not database.is_closed():
                database.close()
        if idle:
            self._gate.close()
            self._log.close()
            self._write_lock.release()
        if self._holder is not None:
            self._holder.close()

    @contextlib.contextmanager
    def write(self, *, synced: bool = True) -> Iterator[peewee.SqliteDatabase]:
        """One transaction, committed to the disk when the block ends. IMMEDIATE: it never has to
        upgrade a read lock, which SQLite refuses without waiting.

        Not `synced`, it survives the end of this process as well, but a power cut only after
        `sync`, or after the next one that is: others need not wait meanwhile.
        """
        with (
            self._alone(), honest_errors(), self._gated(), self._committing(synced),
            self.writer.atomic("IMMEDIATE"),
        ):  # fmt: skip
            yield self.writer

    @contextlib.contextmanager
    def _committing(self, synced: bool) -> Iterator[None]:
        if synced:
            yield
            return
        self.writer.execute_sql("PRAGMA synchronous = NORMAL")
        try:
            yield
        finally:
            self.writer.execute_sql("PRAGMA synchronous = FULL")

    def sync(self) -> None:
        """Returns when all that was committed before is on the disk. From any thread, several at
        once. Raises StoreUnavailable, StoreFull: then it may or may not be."""
        with honest_errors():
            self._log.sync()

    def remembered(self, key: Hashable, read: Callable[[], T]) -> T:
        """What `read` gives, or has given to this thread since the last commit of anybody's.

        Each statement of SQLite's lets go of the interpreter's lock, and waiting for that again
        costs more than the read. What another process has written (`slurmbatch admin`) may be
        noticed FOREIGN_COMMITS_AFTER seconds late.
        """
        memory, now = self._memory, time.monotonic()
        if memory.commits != self._commits or now - memory.asked_at > FOREIGN_COMMITS_AFTER:
            self._refresh(memory, now)
        kept = memory.kept
        if key not in kept:
            if len(kept) >= _REMEMBERED_AT_MOST:
                kept.clear()
            kept[key] = read()
        found: T = kept[key]
        return found

    def _refresh(self, memory: _Memory, now: float) -> None:
        commits = self._commits
        version = self.sql("PRAGMA data_version")  # changes with what other connections commit
        if version != memory.version or commits != memory.commits:
            memory.kept = {}
        memory.commits, memory.version, memory.asked_at = commits, version, now

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
    def _alone(self) -> Iterator[None]:
        """The only thread that writes. A new batch of a million jobs takes its time."""
        if not self._write_lock.acquire(timeout=self.waits_for_threads):
            raise StoreUnavailable("The database is busy; try again in a moment.")
        try:
            yield
        finally:
            self._commits += 1  # after the commit, and before anybody is answered
            self._write_lock.release()
            self.on_commit()

    @contextlib.contextmanager
    def _gated(self) -> Iterator[None]:
        """The only process that writes. One that is stopped while it does holds nobody up for
        long."""
        deadline = time.monotonic() + self.waits_for_processes
        while not place.locked(self._gate):
            if time.monotonic() > deadline:
                raise StoreUnavailable("Another process is writing to the database.")
            time.sleep(0.01)
        try:
            yield
        finally:
            fcntl.flock(self._gate, fcntl.LOCK_UN)

    @contextlib.contextmanager
    def alone(self) -> Iterator[peewee.SqliteDatabase]:
        """The writer outside of any transaction, while no other thread or process writes."""
        with self._alone(), honest_errors(), self._gated():
            yield self.writer

    def _migrate(self, exclusive: bool) -> None:
        with self._alone(), self._gated():
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
            # A new one is made in one go; each step of an older one is kept once it is done.
            whole = contextlib.nullcontext() if version else self.writer.atomic("EXCLUSIVE")
            with whole:
                for step, script in enumerate(self._migrations[version:], start=version + 1):
                    self._step(step, script)

    def _step(self, step: int, script: str) -> None:
        # One transaction for the step and its number. sqlite3's executescript would commit first.
        with self.writer.atomic("EXCLUSIVE"):
            for statement in _statements(script):
                self.writer.execute_sql(statement)
            self.writer.execute_sql(f"PRAGMA user_version = {step}")

    def _backup(self, version: int) -> None:
        target = self.path.with_name(f"{self.path.name}.schema-{version}")
        partial = target.with_name(target.name + ".partial")
        partial.unlink(missing_ok=True)
        self.writer.execute_sql("VACUUM INTO ?", (str(partial),))
        partial.chmod(0o600)
        partial.replace(target)


def _statements(script: str) -> Iterator[str]:
    """One by one. A trigger has semicolons in its midst."""
    text = ""
    for part in script.split(";"):
        text += f"{part};"
        if sqlite3.complete_statement(text):
            yield text
            text = ""

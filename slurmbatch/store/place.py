"""Where the database lies: a file of ours alone, which one daemon at a time holds."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from slurmbatch.errors import AlreadyRunning, StoreUnavailable


def prepare(path: Path) -> None:
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


def lock_file(path: Path, suffix: str) -> IO[str]:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    return os.fdopen(os.open(path.with_name(path.name + suffix), flags, 0o600), "r+")


def hold(path: Path) -> IO[str]:
    """Takes the daemon's lock on the database, which the kernel drops with the process."""
    holder = lock_file(path, ".lock")
    if not locked(holder):
        who = _describe(holder.read())
        holder.close()
        raise AlreadyRunning(f"{path} is held by another slurmbatch daemon: {who}")
    holder.truncate(0)
    about = {"pid": os.getpid(), "host": socket.gethostname(), "since": _utc_now()}
    holder.write(json.dumps(about))
    holder.flush()
    return holder


@contextlib.contextmanager
def holding(path: Path) -> Iterator[None]:
    """Keeps any daemon from starting on this database. Raises AlreadyRunning."""
    prepare(path)
    holder = hold(path)
    try:
        yield
    finally:
        holder.close()


def locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _describe(text: str) -> str:
    try:
        about = json.loads(text)
        return f"pid {about['pid']} on {about['host']}, since {about['since']}"
    except (ValueError, KeyError, TypeError):
        return "one that is just starting"


def _utc_now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Log:
    """The write-ahead log, in which all is that was committed and not moved to the database yet:
    before SQLite moves anything, it syncs the log itself (https://sqlite.org/wal.html)."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}-wal")
        self._lock = threading.Lock()
        self._file: int | None = None

    def sync(self) -> None:
        with self._lock:
            if self._file is None:
                self._file = self._opened()
        os.fdatasync(self._file)

    def _opened(self) -> int:
        """It stays the same file for as long as anybody has the database open."""
        # Or a new file, synced or not, may have no name after a power cut.
        sync_file(self._path.parent)
        return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                os.close(self._file)
            self._file = None


def sync_file(path: Path) -> None:
    """Returns when what is in a file, or the names in a directory, are on the disk. Raises
    OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

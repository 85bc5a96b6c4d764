"""Reads what jobs printed, and removes it in the end. Users can write to these files and
directories, so nothing of them is trusted: no symbolic link is followed anywhere below the root,
and only a plain file of the job's owner with a single name is read.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from slurmbatch.errors import LogUnreadable, SlurmbatchError, Unavailable
from slurmbatch.journal import get

_log = get("logs")
TAIL_BYTES = 8 * 1024 * 1024
_BLOCK = 64 * 1024
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO that nobody writes to would wait for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_NOT_A_PLAIN_FILE = frozenset(
    (errno.ELOOP, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ENXIO, errno.ENODEV)
)


@dataclass(frozen=True, slots=True)
class JobLog:
    """Where a job's log is: below a root of ours, step by step, and whose it has to be."""

    root: Path
    parts: tuple[str, ...]
    owner_uid: int


class OpenLog:
    """An open log and its size at that moment; what is added later is not part of it."""

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self.size = size

    def read_at(self, offset: int, length: int) -> bytes:
        return os.pread(self.fd, length, offset)

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def is_there(job_log: JobLog) -> bool:
    """Whether there is anything in the log's place; yes also where that can't be told just now."""
    try:
        os.lstat(job_log.root.joinpath(*job_log.parts))
    except FileNotFoundError:
        return not job_log.root.is_dir()
    except OSError:
        pass
    return True


def open_log(job_log: JobLog) -> OpenLog | None:
    """Open a log for reading; None if the job has not written one.

    Raises LogUnreadable for anything that is not a plain file of the owner's, and Unavailable if
    the directory of all logs cannot be reached, which says nothing about this one.
    """
    if not job_log.parts or not all(_is_plain(part) for part in job_log.parts):
        raise LogUnreadable
    try:
        directory = os.open(job_log.root, _DIRECTORY)
    except OSError as error:
        raise Unavailable("The directory of the logs cannot be reached just now.") from error
    try:
        return _walk(directory, job_log)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in _NOT_A_PLAIN_FILE:
            raise LogUnreadable from error
        raise Unavailable("The log cannot be read just now; try again in a moment.") from error


def _is_plain(part: str) -> bool:
    return part not in ("", ".", "..") and "/" not in part and "\0" not in part


def _walk(directory: int, job_log: JobLog) -> OpenLog | None:
    """Step down from an open directory, which is closed in the end, to the open file."""
    try:
        for part in job_log.parts[:-1]:
            below = os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            os.close(directory)
            directory = below
        fd = os.open(job_log.parts[-1], _FILE, dir_fd=directory)
    finally:
        os.close(directory)
    try:
        opened = _checked(fd, job_log.owner_uid)
    except BaseException:
        os.close(fd)
        raise
    if opened is None:
        os.close(fd)
    return opened


def _checked(fd: int, owner_uid: int) -> OpenLog | None:
    # Of the open file, so that nothing can be put in its place after the look.
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != owner_uid or status.st_nlink > 1:
        raise LogUnreadable
    return OpenLog(fd, status.st_size) if status.st_nlink else None


def tail_lines(fd: int, size: int, n: int) -> int:
    """The offset at which the last `n` lines of the first `size` bytes begin.

    Looks back over `TAIL_BYTES` at most: a log of few line ends begins in the middle of a line.
    """
    if n <= 0 or size <= 0:
        return size
    wanted = n + (os.pread(fd, 1, size - 1) == b"\n")
    at, floor = size, max(0, size - TAIL_BYTES)
    while at > floor:
        start = max(floor, at - _BLOCK)
        block = os.pread(fd, at - start, start)
        found = block.count(b"\n")
        if found >= wanted:
            return start + _nth_line_end(block, wanted) + 1
        wanted -= found
        at = start
    return floor


def _nth_line_end(block: bytes, n: int) -> int:
    """Where the n-th newline from the end is; there are as many."""
    at = len(block)
    for _ in range(n):
        at = block.rfind(b"\n", 0, at)
    return at


def last_bytes(job_log: JobLog, n: int) -> bytes:
    """The last bytes of a log, for a look at how the job ended; b"" for whatever reason there are
    none that may be read."""
    with suppress(SlurmbatchError, OSError):
        opened = open_log(job_log)
        if opened is not None:
            with opened:
                return opened.read_at(max(0, opened.size - n), min(n, opened.size))
    return b""


def remove_batch(root: Path, batch_id: str) -> None:
    """Removes all that a batch has printed. What can't be removed stays, and that is logged."""
    if not _is_plain(batch_id):
        raise ValueError(f"not the name of a directory of logs: {batch_id!r}")
    errors: list[BaseException] = []

    def failed(_call: object, _path: str, what: tuple[object, BaseException, object]) -> None:
        # Its owner may have locked one thing away; all else goes.
        if not isinstance(what[1], FileNotFoundError):
            errors.append(what[1])

    try:
        directory = os.open(root, _DIRECTORY)
        try:
            # Steps down by open directories, as above, and follows no symbolic link.
            shutil.rmtree(batch_id, dir_fd=directory, onerror=failed)
        finally:
            os.close(directory)
    except OSError as error:
        errors.append(error)
    if errors:
        _log.warning("logs of a deleted batch stay", batch_id=batch_id,
                     directory=str(root / batch_id), error=str(errors[0]))  # fmt: skip
